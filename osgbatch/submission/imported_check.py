"""Compares the jobs of a submit file with those of the sweep.yaml that was made of it."""

from __future__ import annotations

import os
import re
import shlex
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

from osgbatch.condor.dry_run import dry_run
from osgbatch.errors import OsgbatchError, SpecError, SpecErrors
from osgbatch.importing import words
from osgbatch.importing.jobs import Sweep
from osgbatch.importing.made import Converted
from osgbatch.linting.job import canonical
from osgbatch.linting.lines import SubmitText, read
from osgbatch.plan_model import Plan
from osgbatch.spec.layers import read_layers, short_path
from osgbatch.submission.planned import Choices, plan_sweep

ELSEWHERE = frozenset((
    "AllowedExecuteDuration", "Args", "Arguments", "ClusterId", "Cmd", "CommittedTime",
    "ContainerImage", "ContainerImageFullPath", "ContainerImageSource", "ContainerIsCommon",
    "CurrentHosts", "DiskUsage", "DockerImage", "EnteredCurrentStatus", "Env", "Environment",
    "EraseOutputAndErrorOnRestart", "Err", "ExecutableSize", "FileSystemDomain", "ImageSize", "In",
    "Iwd", "JobBatchName", "JobDescription", "JobDurationCategory", "JobLeaseDuration",
    "JobMaterializeLimit", "JobMaterializeMaxIdle", "JobMaxRetries", "JobNotification",
    "JobSetName", "JobStatus", "JobSubmitFile", "JobSuccessExitCode", "JobUniverse",
    "LastMatchListLength", "MountUnderScratch", "NextRequestMemory", "NotifyUser", "OnExitRemove",
    "OnExitRemoveCheck", "OriginalCluster", "Out", "PreserveRelativePaths", "ProcId", "ProjectName",
    "QDate", "RequestDisk", "RequestMemory", "Requirements", "RetryRequestMemory",
    "RetryRequestMemoryIncrease", "RetryRequestMemoryMax", "ShouldTransferFiles",
    "SingularityImage", "SkipFileChecks", "StreamErr", "StreamIn", "StreamOut", "SubmitEventNotes",
    "SubmitEventUserNotes", "SuccessCheckpointExitCode", "TransferCheckpoint", "TransferContainer",
    "TransferErr", "TransferExecutable", "TransferIn", "TransferInput", "TransferInputSizeMB",
    "TransferOut", "TransferOutput", "TransferOutputRemaps", "ULogExecuteEventAttrs", "UserLog",
    "UserLogExecuteEventAttrs", "UserLogUseXML", "WantContainer", "WantDocker", "WantDockerImage",
    "WantSIF", "WantSandboxImage", "WhenToTransferOutput",
))  # fmt: skip
"""Attributes that are compared in their own way, or that osgbatch makes otherwise by design."""
Told = tuple[str, list[str], list[str]]


def compare(
    parsed: SubmitText,
    path: Path,
    text: str,
    table: tuple[str, str] | None,
    out: Path,
    made: Converted,
    sweep: Sweep,
) -> Told:
    """How the jobs were compared, what is wrong, and what differs for the better.

    parsed: the submit file; text: of the sweep.yaml; it is planned, and its submit file made.
    """
    with tempfile.TemporaryDirectory() as temporary:
        ran = dry_run(_at_once(parsed, Path(temporary)), path.parent)
    try:
        plan = _planned(text, table, out)
    except (SpecError, SpecErrors, OsgbatchError) as error:
        return "", [str(error)], []
    wrong: list[str] = []
    if len(plan.table) != sweep.count:
        wrong.append(f"{len(plan.table)} tasks in place of {sweep.count} jobs")
    if ran is None:
        told = "not compared by condor_submit -dry-run: it is not here"
        return told, wrong, []
    ads, said = ran
    if said or not ads:
        return "", [f"condor_submit refuses the submit file: {said or 'it makes no job'}"], []
    if len(ads) != len(plan.table):
        wrong.append(f"{len(plan.table)} tasks in place of {len(ads)} jobs")
        return "", wrong, []
    script = _script_says(plan, made, sweep)
    wrong += [script] if script else []
    for number, ad in enumerate(ads):
        wrong += [f"job {number}: {one}" for one in _job(ad, plan, number, made, sweep)]
        if len(wrong) > 5:
            break
    more, better = _requests(ads, plan, made, path.parent)
    told = f"compared by condor_submit -dry-run: {len(ads)} jobs and tasks agree"
    own = _defaults(text, out)
    if own:
        told += ", but for what your own defaults add"
        if wrong or more:
            more.append("; ".join(own) + ": say it otherwise in the submit file")
    return told, wrong + more, better + own


_LITTLE_BY_LITTLE = ("maxidle", "maxmaterialize")


def _at_once(parsed: SubmitText, folder: Path) -> Path:
    """A copy of a submit file without late materialization, of which a dry run shows no jobs."""
    text = parsed.text
    for one in reversed(parsed.statements):
        if one.kind == "set" and canonical(one.key) in _LITTLE_BY_LITTLE:
            start, end = one.whole
            text = text[:start] + "#\n" * text[start:end].count("\n") + text[end:]
    copy = folder / "copy.submit"
    copy.write_bytes(text.encode("utf-8", "surrogateescape"))
    return copy


def _planned(text: str, table: tuple[str, str] | None, out: Path) -> Plan:
    """The plan of the spec that is not there yet. A file of rows is put into the spec for that."""
    raw = text.encode("utf-8", "surrogateescape")
    if table is None:
        return plan_sweep(out, choices=Choices(copy=raw))
    with tempfile.NamedTemporaryFile("w", suffix=".csv", encoding="utf-8",
                                     errors="surrogateescape") as file:  # fmt: skip
        file.write(table[1])
        file.flush()
        named = text.replace(f"{{table: {table[0]}", f"{{table: {file.name}")
        return plan_sweep(out, choices=Choices(copy=named.encode("utf-8", "surrogateescape")))


# --- one job -------------------------------------------------------------------------------------


def _string(ad: Mapping[str, str], name: str) -> str:
    """The text of an attribute; empty when there is none."""
    value = ad.get(name, "")
    if not value.startswith('"'):
        return ""
    return re.sub(r"\\(.)", r"\1", value[1:-1])


def _argv(ad: Mapping[str, str]) -> list[str]:
    new = _string(ad, "Arguments")
    if new:
        return _texts(words.arguments(('"' + new.replace('"', '""') + '"',)))
    return _texts(words.arguments((_string(ad, "Args").replace('"', '\\"'),)))


def _texts(found: Sequence[words.Word]) -> list[str]:
    return ["".join(map(str, word)) for word in found]


def _environment(ad: Mapping[str, str]) -> dict[str, str]:
    new, old = _string(ad, "Environment"), _string(ad, "Env")
    parts = ('"' + new.replace('"', '""') + '"',) if new else (old,) if old else ()
    return {name: "".join(map(str, word)) for name, word in words.environment(parts)}


def _job(
    ad: Mapping[str, str], plan: Plan, number: int, made: Converted, sweep: Sweep
) -> Iterator[str]:
    """What of a job is not as the task has it."""
    task = plan.tasks[number]
    row = {**dict(task.params), "index": number}
    row |= dict(
        zip((c.name for c in plan.table.columns), map(str, _cells(plan, number)), strict=False)
    )
    ours = list(task.argv) if plan.spec.command else _filled(made, sweep, row)
    if not made.shell:
        cmd = _string(ad, "Cmd")
        if os.path.basename(cmd) != os.path.basename(ours[0]):
            yield f"the program was {cmd}, and is now {ours[0]}"
        if _argv(ad) != ours[1:]:
            yield f"arguments were {_argv(ad)}, and are now {ours[1:]}"
    theirs = _environment(ad)
    texts = {name: str(value) for name, value in row.items()}
    variables = {name: value.fill(texts) for name, value in plan.spec.environment_variables}
    if theirs != variables:
        yield f"environment was {theirs}, and is now {variables}"
    outputs = _outputs(ad, plan, texts)
    if outputs:
        yield outputs
    iwd = _string(ad, "Iwd")
    brought = {_real(iwd, name) for name in _string(ad, "TransferInput").split(",") if name.strip()}
    found = {one.url or os.path.realpath(one.source) for one in task.inputs}
    found |= {os.path.realpath(plan.spec.folder / file.text) for file in plan.spec.files}
    found.discard(os.path.realpath(_string(ad, "Cmd")))
    stdin = _string(ad, "In")
    brought |= {_real(iwd, stdin)} if stdin not in ("", "/dev/null") else set()
    brought.discard(_image(plan))
    if brought != found:
        yield f"inputs were {sorted(brought)}, and are now {sorted(found)}"


def _outputs(ad: Mapping[str, str], plan: Plan, texts: Mapping[str, str]) -> str:
    """What is wrong with what comes back; empty when nothing is."""
    ours = [one.pattern.fill(texts) for one in plan.spec.outputs]
    if "TransferOutput" not in ad:
        return "" if plan.spec.changed_only and not ours else f"all files came back, and now {ours}"
    named = [name.strip() for name in _string(ad, "TransferOutput").split(",")]
    theirs = [re.sub(r"^(\./+)+", "", name) for name in named if name]
    wrong = theirs != ours or plan.spec.changed_only
    return f"outputs were {theirs}, and are now {ours}" if wrong else ""


def _filled(made: Converted, sweep: Sweep, row: Mapping[str, object]) -> list[str]:
    return [sweep.filled(word, row) for word in made.program]


def _script_says(plan: Plan, made: Converted, sweep: Sweep) -> str:
    """What is wrong with the line of the script that runs the program; empty when nothing is."""
    if plan.spec.script is None or made.shell:
        return ""
    line = plan.spec.script.written.rstrip("\n").split("\n")[-1]
    marked = re.sub(r"(?<![{$])\{(\w+)\}(?!\})", "\0\\1\0", line)
    found = [re.sub(r"\{\{(\w+)\}\}", r"{\1}", word) for word in shlex.split(marked)]
    wanted = [_marked(sweep, word) for word in made.program]
    wanted += ["<", _marked(sweep, made.stdin)] if made.stdin else []
    return "" if found == wanted else f"the script runs {found}, and not {wanted}"


def _marked(sweep: Sweep, word: words.Word) -> str:
    parts = enumerate(sweep.template(word))
    return "".join(f"\0{part}\0" if number % 2 else part for number, part in parts)


def _cells(plan: Plan, number: int) -> list[object]:
    return [cell.text if hasattr(cell, "text") else cell for cell in plan.tasks[number].row]


def _real(folder: str, name: str) -> str:
    name = name.strip()
    return name if "://" in name else os.path.realpath(os.path.join(folder, name))


# --- what they ask for ---------------------------------------------------------------------------


def _requests(
    ads: Sequence[Mapping[str, str]], plan: Plan, made: Converted, folder: Path
) -> tuple[list[str], list[str]]:
    """What the ads of both say of the slots they want, and of attributes that the file sets."""
    with tempfile.TemporaryDirectory() as temporary:
        ran = _ours(plan, Path(temporary))
    base = _bare()
    if ran is None or base is None or not base[0] or not ran[0] or ran[1]:
        return [f"condor_submit refuses what osgbatch would write: {ran[1] if ran else ''}"], []
    mine, baseline, theirs = ran[0][0], base[0][0], ads[0]
    wrong: list[str] = []
    better: list[str] = []
    for name, value in theirs.items():
        if name not in ELSEWHERE and mine.get(name) != value:
            own = ", as the pool has it for all jobs" if baseline.get(name) == value else ""
            wrong.append(f"{name} was {value}{own}, and is now {mine.get(name, 'not set')}")
    told, ours = theirs.get("RequestMemory", ""), mine.get("RequestMemory", "")
    has = "memory" in str(made.settings.get("resources", ""))
    if told != ours and (has or ours != _NOTED_MB):
        line = f"RequestMemory was {told or 'the default of the pool'}, and is now {ours} MB"
        (wrong if has else better).append(line)
    disk = theirs.get("RequestDisk", "")
    asked = "disk" in str(made.settings.get("resources", ""))
    noted = not asked and mine.get("RequestDisk", "").startswith(_NOTED_KB)
    if disk != mine.get("RequestDisk") and not noted:
        better.append(f"RequestDisk was {_short(disk)}, and is now {mine.get('RequestDisk')} KB: "
                      "with room for what osgbatch packs")  # fmt: skip
        if disk.isdigit() and int(disk) > int(mine.get("RequestDisk", "0")):
            wrong.append(f"RequestDisk was {disk}, and is now {mine.get('RequestDisk')}")
    wrong += _requirements(theirs, mine, baseline)
    project = theirs.get("ProjectName")
    if project and mine.get("ProjectName") != project:
        wrong.append(f"ProjectName was {project}, and is now {mine.get('ProjectName', 'not set')}")
    was, now = _image_of(theirs, folder), _image(plan) or _image_of(mine, folder)
    if was != now:
        wrong.append(f"the image was {was or 'none'}, and is now {now or 'none'}")
    return wrong, better


_NOTED_MB, _NOTED_KB = "1024", "2097"
"""Memory, and how the number of KB of disk starts, of which a note has told already. Source:
osgbatch.importing.resources."""


def _defaults(text: str, out: Path) -> list[str]:
    """What the user's own defaults add to the spec: the submit file's jobs do not have them."""
    layered = read_layers(out, (), text.encode("utf-8", "surrogateescape"))
    files = {one.file for one in layered.layers if one.kind in ("class", "user")}
    found: dict[str, list[str]] = {}
    for loc, place in layered.document.keys.items():
        inner = any(len(other) > len(loc) and other[: len(loc)] == loc
                    for other in layered.document.keys)  # fmt: skip
        if place.file in files and not inner and loc[0] not in ("profile", "stash"):
            found.setdefault(place.file, []).append(".".join(map(str, loc)))
    return [f"{short_path(file)} adds {', '.join(names)}" for file, names in found.items()]


@cache
def _bare() -> tuple[list[dict[str, str]], str] | None:
    """The ad of a job that asks for nothing: what HTCondor and the access point add to all."""
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "bare.submit"
        file.write_text("executable = /bin/true\nqueue\n")
        return dry_run(file, Path(temporary))


def _requirements(
    theirs: Mapping[str, str], mine: Mapping[str, str], baseline: Mapping[str, str]
) -> Iterator[str]:
    """What the file's jobs require and the sweep's do not, but for what HTCondor adds to all."""
    plain = re.sub(r"\s", "", mine.get("Requirements", ""))
    common = set(_clauses(baseline.get("Requirements", "")))
    for clause in _clauses(theirs.get("Requirements", "")):
        inner = clause[1:-1] if clause.startswith("(") and clause.endswith(")") else clause
        # osgbatch always brings files, whatever a shared file system would spare.
        shared = "TARGET.FileSystemDomain==MY.FileSystemDomain" in clause
        if not shared and clause not in common and clause not in plain and inner not in plain:
            yield f"the sweep's jobs do not require {clause}"


def _clauses(expression: str) -> list[str]:
    """What stands between the && of an expression, outside of brackets, without blanks."""
    found, depth, last = [], 0, 0
    text = re.sub(r"\s", "", expression)
    for at, character in enumerate(text):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if not depth and text.startswith("&&", at):
            found.append(text[last:at])
            last = at + 2
    return [part for part in (*found, text[last:]) if part]


def _image_of(ad: Mapping[str, str], folder: Path) -> str:
    """A job's image, a URL or a real path; empty when it has none. folder: where paths start."""
    docker = _string(ad, "DockerImage")
    if docker:
        return docker if "://" in docker else f"docker://{docker}"
    image = _string(ad, "ContainerImage")
    return _real(str(folder), image) if image else ""


def _image(plan: Plan) -> str:
    """The real path of the plan's image, of which a batch has a copy; empty for a URL, or none."""
    image = plan.spec.environment
    if image.kind != "container" or image.path is None or "://" in image.path.text:
        return ""
    return os.path.realpath(plan.spec.folder / image.path.text)


def _short(text: str) -> str:
    return text if text.isdigit() else "the default of the pool"


def _ours(plan: Plan, folder: Path) -> tuple[list[dict[str, str]], str] | None:
    """The ads of the first jobs as osgbatch would submit them, without what is packed."""
    from osgbatch.model import Round
    from osgbatch.rendering.items import ROWS_FILE, item_lines, item_names
    from osgbatch.rendering.submit import submit_text
    from osgbatch.submission.explained_sweep import as_if_packed

    resolved = as_if_packed(plan)
    round_ = Round(folder, "0" * 12, plan.spec.name, 1, len(plan.jobs), plan.initialdir)
    shim = folder / "shim.sh"
    shim.write_text("#!/bin/sh\n")
    shim.chmod(0o755)
    fields = item_names(resolved)
    with_rows = any(item.path.name == ROWS_FILE for item in resolved.payload)
    first = next(iter(item_lines(resolved, rows_file=with_rows)))
    (folder / "jobs.items").write_bytes(first)
    return dry_run(_at_once(read(submit_text(resolved, round_, fields)), folder), folder)
