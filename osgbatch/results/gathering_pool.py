"""Gathering as a last job of the pool: a batch of one task, inside the batch that it gathers.

It is an ordinary batch folder, `gather/<key>` of the batch, where the key tells the results that
are gathered and what gathers: so whoever comes again finds it, and it is submitted once.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from osgbatch import names
from osgbatch.batches import folder as folders
from osgbatch.batches.folder import Batch
from osgbatch.batches.gathered import inputs_of, noted_run, read_gathered
from osgbatch.batches.moved import as_moved
from osgbatch.batches.notes import FIRST
from osgbatch.collecting.collect import collect, results_folder
from osgbatch.collecting.gather import GatherError, is_of_r, write_rows
from osgbatch.life.following import status
from osgbatch.life.naming import shown_path
from osgbatch.model import OPEN, TaskState
from osgbatch.packing.archive import write_archive
from osgbatch.rendering.templates import template_folder
from osgbatch.results.gathering import DRIVER, Gathering, GatherPending, stamps
from osgbatch.results.gathering_files import bring, members
from osgbatch.returned import number
from osgbatch.spec.layers import read_layers
from osgbatch.spec.writing import effective_text
from osgbatch.submission.packed import pack_environment
from osgbatch.submission.planned import Choices, plan_sweep
from osgbatch.submission.rendered import Made, render_batch
from osgbatch.submission.staged import Silent, stage_plan
from osgbatch.submission.submitting import choose_backend, give, has_jobs, was_queued

Say = Callable[[str], None]
KEPT = (
    "project", "requirements", "environment", "libraries", "submit", "profile", "stash", "files",
)  # fmt: skip
"""What holds for the job as for those of the tasks."""
NOT = ("sweep", "outputs", "outputs_to", "checkpoint", "gather", "notify", "tags", "tasks_per_job")
"""What defaults of the user's may say, and is not for it."""
RESULTS, ROWS = "results.tar.gz", "rows.jsonl"
DISK_MB = 2048
"""What the job asks for besides the results, where the spec does not say."""
_LENGTH = 12


def gather_in_pool(
    task: Gathering, states: Sequence[TaskState], say: Say, *, force: bool = False
) -> None:
    """Submit the job, look how it is getting on, or bring home what it has made.

    The batch's lock is held. Raises GatherPending while it waits or runs, GatherError when it did
    not succeed, other OsgbatchErrors when it cannot be submitted.
    """
    folder = _folder(task, force)
    job = _submitted(task, folder, states, say)
    now = status(job, all_tasks=True)
    state = now.states[0]
    shown = shown_path(folder)
    if state.state in OPEN and not now.stalled:
        raise GatherPending(
            f"a job of the pool does it ({_cluster(job)}), and {_doing(state)}",
            where="gather",
            fix=f"`osgbatch watch {shlex.quote(shown)}` follows it; `osgbatch collect` brings what "
            "it makes.",
            batch=job,
        )
    if state.state == "succeeded":
        state = collect(results_folder(folder), [state]).states[0]
    if state.state != "succeeded":
        code = "" if state.exit_code is None else f"exit code {state.exit_code}"
        why = state.detail or code or state.reason or now.stalled
        word = shlex.quote(shown)
        then = "`osgbatch collect --gather` submits it once more."
        if state.state == "held":
            then = f"`osgbatch release {word}` lets it go on, `osgbatch cancel {word}` ends it."
        raise GatherError(
            f"the job that gathers {_doing(state)}{f' ({why})' if why else ''}",
            where=shown,
            fix=f"The results are in place. `osgbatch why {word}` tells more; {then}",
        )
    before = stamps(task.results)
    known = read_gathered(task.batch.folder)
    brought: dict[str, str] = {}
    earlier = known.brought if known else {}
    with noted_run(task.batch.folder, task.results):
        for note in bring(folder / names.RESULTS / "0", task.results, earlier, brought):
            say(f"note: {note}")
    start, end = number(state.record, "start"), number(state.record, "end")
    task.write_done(before, max(0.0, (end or 0.0) - (start or 0.0)), brought)
    shutil.rmtree(inputs_of(folder), ignore_errors=True)
    for line in _last_lines(folder / names.RESULTS / "0" / "stdout"):
        say(line)
    say(f"gather: {task.text} has ended as a job of the pool, and what it made is in results/")


def _last_lines(path: Path) -> list[str]:
    """What the job printed, the end of it."""
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - 10_000))
            lines = stream.read().decode("utf-8", "replace").splitlines()[-20:]
    except OSError:
        return []
    # What comes from an execution point must not steer a terminal.
    return ["".join(c if c.isprintable() else "?" for c in line[:500]) for line in lines]


def _doing(state: TaskState) -> str:
    return {"waiting": "waits", "failed": "failed", "held": "is held"}.get(
        state.state, f"is {state.state}"
    )


def _cluster(job: Batch) -> str:
    noted = folders.read_submitted(job.rounds()[-1])
    return f"cluster {noted.cluster}" if noted else "not submitted"


def _folder(task: Gathering, force: bool) -> Path:
    """Where the job's batch is, or is to be.

    force: one that has ended is done with, and the next one is made.
    """
    above = task.batch.folder / names.GATHER
    first = folder = above / task.key[:_LENGTH]
    number = 1
    while (folder / names.RESOLVED).is_file():
        number += 1
        following = first.with_name(f"{first.name}-{number}")
        if not (following / names.RESOLVED).is_file() and not (force and _is_over(folder)):
            break
        folder = following
    return folder


def _is_over(folder: Path) -> bool:
    """Whether nothing of a job changes any more by itself, or by a release."""
    now = status(folders.load(folder), all_tasks=True)
    return bool(now.stalled) or now.states[0].state not in (*OPEN, "held")


def is_waited_for(task: Gathering) -> bool:
    """Whether a job was submitted of which nothing has been brought, as after `--gather`."""
    return inputs_of(_folder(task, force=False)).is_dir()


def _submitted(task: Gathering, folder: Path, states: Sequence[TaskState], say: Say) -> Batch:
    """The batch of the job, which a backend has, whatever was interrupted when."""
    if not (folder / names.RESOLVED).is_file():
        _clear(folder)
        say(f"gather: {task.text}, as a job of the pool")
        _render(task, folder, states, say, _backend(task.batch))
    job = folders.load(folder)
    noted = folders.read_submitted(job.rounds()[0])
    if noted is not None and noted.cluster:
        return job
    if noted is not None:
        was_queued(job, say)
    with folders.locked(folder, wait=True) as lock:
        if not has_jobs(job):
            give(_backend(task.batch), job.rounds()[0], lock, say)
    return folders.load(folder)


def _backend(batch: Batch) -> str:
    """Who runs it: the one that has run the tasks; it answers."""
    noted = folders.read_submitted(batch.rounds()[-1])
    return choose_backend(noted.backend if noted else "auto")


def _clear(folder: Path) -> None:
    """Make way for a job, and remove what others that have ended were brought.

    Raises GatherPending while one gathers other results, or with another script.
    """
    shutil.rmtree(folder, ignore_errors=True)  # half written: nobody was asked to run it
    for inputs in folder.parent.glob("*.in"):
        other = inputs.with_suffix("")
        if (other / names.RESOLVED).is_file() and not _is_over(other):
            shown = shlex.quote(shown_path(other))
            raise GatherPending(
                "an earlier job of the pool gathers other results, or in another way",
                where="gather",
                fix=f"Wait for it, or `osgbatch cancel {shown}`; then `osgbatch collect` again.",
                batch=folders.load(other),
            )
        shutil.rmtree(inputs, ignore_errors=True)


def _render(
    task: Gathering, folder: Path, states: Sequence[TaskState], say: Say, backend: str
) -> None:
    """Make the batch of the job; nothing is submitted. A folder that is left is not whole."""
    inputs = inputs_of(folder)
    shutil.rmtree(inputs, ignore_errors=True)
    inputs.mkdir(parents=True)
    known = read_gathered(task.batch.folder)
    made = known.made if known else ()
    left_out: list[str] = []
    archive = write_archive(members(task.results, made, left_out), inputs, "results")
    if left_out:
        more = f", and {len(left_out) - 1:,} more" if len(left_out) > 1 else ""
        say(
            f"note: results/{left_out[0]}{more}: left out, since a link out of results/, or no file"
        )
    archive.path.rename(inputs / RESULTS)
    room = {"disk": f"{DISK_MB + (archive.unpacked_size >> 20)} MB", **task.resources}
    if task.function:
        write_rows(inputs / ROWS, task.rows(states))
    path = task.spec_folder / f".{task.batch.name}-{names.GATHER}.yaml"
    copy = inputs / names.SPEC
    copy.write_bytes(_spec(task, inputs, room))
    settings = tuple(f"{key}=null" for key in NOT)
    choices = Choices(settings=settings, staging=backend != "local", copy=copy)
    plan = plan_sweep(path, folder.parent, choices)
    for warning in plan.warnings:
        say(f"warning: {warning}")
    environment = pack_environment(plan, say)
    staging = stage_plan(plan, environment, say, Silent())
    folders.create(folder)
    made_of = Made(staging, environment, FIRST, settings)
    render_batch(made_of, folder, folders.new_id(), say, Silent())


def _spec(task: Gathering, inputs: Path, resources: Mapping[str, Any]) -> bytes:
    """The spec of the job: what holds for the tasks' jobs, and what it runs."""
    batch = task.batch
    spec_folder = task.spec_folder
    path = as_moved(batch, Path(str(batch.data.get("spec") or spec_folder / names.SPEC)))
    newest = batch.rounds()[-1]
    copies = (newest.folder / names.SPEC, batch.folder / names.SPEC)
    copy = next(copy for copy in copies if copy.is_file())
    note = folders.read_note(newest.folder)
    document = read_layers(path, note.settings if note else (), copy).document
    data: dict[str, Any] = {key: document.data[key] for key in KEPT if key in document.data}
    texts = {loc: text for loc, text in document.texts.items() if loc[0] in data}
    brought: list[Any] = [{"path": str(inputs / RESULTS), "as": RESULTS}, *task.inputs]
    if task.function:
        brought.append({"path": str(inputs / ROWS), "as": ROWS})
        brought.append({"path": str(template_folder() / DRIVER), "as": "osgbatch_gather.py"})
    files = data.get("files", [])
    texts = {loc: text for loc, text in texts.items() if loc[0] != "files"}
    files = files if isinstance(files, list) else [files]
    data["files"] = [*files, *(name for name in _programs(task) if name not in files)]
    data |= {
        "name": f"{batch.name}-{names.GATHER}",
        "script": _script(task),
        "inputs": brought,
        "resources": dict(resources),
    }
    return effective_text(replace(document, data=data, texts=texts), [str(path)])


def _programs(task: Gathering) -> list[str]:
    """What runs, from the spec's folder; of a function its module, where it lies there."""
    if not task.function:
        return [task.text]
    path = task.function[0].replace(".", "/")
    found = (f"{path}.py", f"{path}/__init__.py")
    return [name for name in found if (task.spec_folder / name).is_file()]


def _script(task: Gathering) -> str:
    """What the job runs, in bash: its working folder is as `results/`.

    What is new there, or was changed, comes back. (`script:` ends at the first command that fails.)
    """
    if task.function:
        module, name = task.function
        words = ["python", "../inputs/osgbatch_gather.py", f"../inputs/{ROWS}", module, name, ".."]
    else:
        words = ["Rscript" if is_of_r(task.script) else "python", f"../{_brought_as(task.text)}"]
    run = " ".join(shlex.quote(word).replace("{", "{{").replace("}", "}}") for word in words)
    return f"""\
cd outputs
tar -xzf ../inputs/{RESULTS}
rm ../inputs/{RESULTS}
touch ../.osgbatch-began
export OSGBATCH_SPEC_DIR="${{PWD%/*}}/inputs" OSGBATCH_BATCH_DIR="${{PWD%/*}}"
{run}
find . ! -type d ! -newer ../.osgbatch-began -print0 | xargs -0 rm -f
find . -depth -type d ! -name . -print0 | xargs -0 rmdir 2> /dev/null || true
"""


def _brought_as(text: str) -> str:
    """Where a task finds one of its `files:`: from outside the spec's folder, by its name."""
    path = os.path.normpath(text)
    return os.path.basename(path) if path.startswith(("/", "../", "~")) else path
