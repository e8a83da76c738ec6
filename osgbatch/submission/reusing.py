"""`submit --reuse`: what earlier batches of a sweep have computed is not computed again."""

from __future__ import annotations

import os
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from osgbatch import names
from osgbatch.batches import folder as folders
from osgbatch.batches.folder import Batch
from osgbatch.batches.keys import read_keys
from osgbatch.batches.reused import (
    Origin,
    is_there,
    origin_of,
    read_reused,
    read_status,
    write_reused,
)
from osgbatch.collecting.copied import copy_result
from osgbatch.errors import BusyError, OsgbatchError, ResultError
from osgbatch.life.following import status
from osgbatch.life.naming import in_commands
from osgbatch.plan_model import Plan
from osgbatch.planning.keys import NO_KEY, Keys
from osgbatch.submission.keyed import archive_sums
from osgbatch.submission.rendered import pack

if TYPE_CHECKING:
    from osgbatch.packing.environment import EnvironmentArchive

Say = Callable[[str], None]


@dataclass
class Search:
    """What is looked for in earlier batches, and what was found there.

    digest: of what all tasks share. wanted: the tasks of each key that are still without a result.
    found: the tasks that have one. used: results that are taken, so that repetitions of a row are
    not all given the same one. damaged, uncollected: results that could not be taken, by batch:
    why, or which tasks, and their keys. others: whether an earlier batch has any keys.
    """

    digest: str
    wanted: dict[str, deque[int]]
    found: dict[int, Origin] = field(default_factory=dict)
    used: set[Origin] = field(default_factory=set)
    damaged: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    uncollected: dict[str, list[tuple[int, str]]] = field(default_factory=lambda: defaultdict(list))
    others: bool = False


@dataclass(frozen=True)
class Reused:
    """What a new batch is spared: the digest of what its tasks share, and the tasks' origins."""

    digest: str
    tasks: Mapping[int, Origin]

    def left(self, count: int) -> Sequence[int]:
        """The tasks, of so many, that have to be run."""
        return [index for index in range(count) if index not in self.tasks]


def reuse(
    plan: Plan,
    keys: Keys,
    environment: EnvironmentArchive | None,
    folder: Path,
    say: Say,
    again: Callable[[str], bool],
) -> Reused:
    """Copy the results of tasks that have succeeded before into a new batch folder.

    folder: with nothing in it yet but its payload folder; earlier batches lie beside it. Each file
    is verified as it is copied. again: is asked, with the reason, whether to run again what has
    succeeded in batches that were not collected yet. Raises OsgbatchError for a sweep whose tasks
    cannot be known again, BusyError when the answer is no.
    """
    problem = keys.problem
    if plan.spec.outputs_to:
        problem = "its data does not come home (outputs_to)"
    if problem:
        raise OsgbatchError(
            f"nothing of this sweep can be reused: {problem}",
            where="--reuse",
            fix="Submit without --reuse.",
        )
    digest = keys.digest(_archive_sums(plan, environment, folder))
    wanted: dict[str, deque[int]] = {}
    for index, key in zip(keys.tasks, keys.rows, strict=True):
        if key != NO_KEY:
            wanted.setdefault(key, deque()).append(index)
    search = Search(digest, wanted)
    results = folder / names.RESULTS
    results.mkdir()
    for batch in _earlier(folder):
        _take(batch, search, results)
    if search.found:
        write_reused(folder, search.found)
    else:
        results.rmdir()
    for line in _told(search, len(plan.table), list(keys.rows).count(NO_KEY)):
        say(line)
    _ask_of_uncollected(search, folder.parent, again)
    return Reused(digest, search.found)


def _archive_sums(
    plan: Plan, environment: EnvironmentArchive | None, room: Path
) -> list[tuple[str, str]]:
    """Of the archives that all tasks see, before anything is rendered. room: to make them in."""
    code = replace(plan, archived_inputs=())
    with TemporaryDirectory(prefix=".keys-", dir=room) as folder:
        return archive_sums(pack(code, environment, "elsewhere" * bool(environment), Path(folder)))


def _earlier(folder: Path) -> Iterator[Batch]:
    """The other batches beside a folder, the newest first."""
    beside = [p for p in folder.parent.iterdir() if (p / names.RESOLVED).is_file() and p != folder]
    beside.sort(key=lambda p: (p / names.RESOLVED).stat().st_mtime_ns, reverse=True)
    for path in beside:
        try:
            batch = folders.load(path)
        except OsgbatchError:
            continue
        if not batch.data.get("outputs_to"):
            yield batch


def _take(batch: Batch, search: Search, results: Path) -> None:
    """Take the results of one batch."""
    for round_ in batch.rounds():
        digest, keys = read_keys(round_.folder)
        search.others = search.others or bool(digest)
        if digest != search.digest:
            continue
        for task, key in keys.items():
            tasks = search.wanted.get(key)
            if not tasks:
                continue
            source = batch.folder / names.RESULTS / str(task)
            told = read_status(source)
            if not told and not source.parent.joinpath("failed", str(task)).exists():
                search.uncollected[batch.folder.name].append((task, key))
            elif told.get("state") == "succeeded" and _round_of(told) == round_.number:
                origin = origin_of(told) or Origin(batch.folder.name, task)
                if _taken(source, told, origin, results / str(tasks[0]), search):
                    search.found[tasks.popleft()] = origin


def _taken(
    source: Path, told: Mapping[str, Any], origin: Origin, target: Path, search: Search
) -> bool:
    """Copy a task's result, unless another task was given it, or it is not what came back."""
    if origin in search.used:
        return False
    try:
        copy_result(source, target, told, _more(target, origin))
    except ResultError as error:
        batch = source.parent.parent.name
        search.damaged[batch].append(f"task {source.name}: {error.what}")
        return False
    search.used.add(origin)
    return True


def _round_of(told: Mapping[str, Any]) -> int:
    """The round by whose keys a result is known; what was reused is of the first one's."""
    if told.get("reused_from"):
        return 1
    job = told.get("job")
    word = str(job.get("round")) if isinstance(job, dict) else ""
    return int(word) if word.isdigit() else 0


def _more(target: Path, origin: Origin) -> dict[str, Any]:
    """What the status.json of a copy says for itself."""
    reused_from = {"batch": origin.batch, "index": origin.task}
    return {"index": int(target.name), "reused_from": reused_from}


def _told(search: Search, count: int, unknown: int) -> Iterator[str]:
    """What is said of a search. count: of the sweep's tasks; unknown: of those without a key."""
    found = len(search.found)
    if found:
        batches = list(dict.fromkeys(origin.batch for origin in search.found.values()))
        more = f" and {len(batches) - 1} more" if len(batches) > 1 else ""
        what = "has" if count == 1 else "have"
        yield (
            f"reuse: {found:,} of {_tasks(count)} {what} succeeded before (batch {batches[0]}"
            f"{more}) and {'is' if found == 1 else 'are'} not run again"
        )
    elif search.others and not search.uncollected and not search.damaged:
        yield (
            "reuse: no task has succeeded before with this code, environment, data and parameters"
        )
    else:
        yield "reuse: no result of an earlier batch can be used"
    if unknown:
        yield (
            f"reuse: {_tasks(unknown)} run in any case: what their URLs lead to may be another "
            "file the next time"
        )
    for name, why in search.damaged.items():
        more = f" (and {len(why) - 1:,} more)" if len(why) > 1 else ""
        yield f"reuse: results in {name} are not as they came back: {why[0]}{more}"


def _ask_of_uncollected(search: Search, beside: Path, again: Callable[[str], bool]) -> None:
    """Raises BusyError, unless what was not collected yet is to be run again."""
    for name, tasks in search.uncollected.items():
        good = _succeeded(beside / name) if any(search.wanted[key] for _, key in tasks) else set()
        # each once, though later rounds have keys of the same tasks
        left = len({task for task, key in tasks if task in good and search.wanted[key]})
        if not left:
            continue
        told = f"{_tasks(left)} {'has' if left == 1 else 'have'} succeeded in batch {name}, which"
        it = "it is" if left == 1 else "they are"
        collect = f"`osgbatch collect {in_commands(folders.load(beside / name))}`"
        if not again(f"{told} is not collected: without {collect} first {it} run again"):
            raise BusyError(
                f"{told} is not collected yet; nothing was submitted",
                where="--reuse",
                fix=f"{collect}, then submit again; with --again {it} run once more.",
            )


def _succeeded(folder: Path) -> set[int]:
    """The tasks of a batch that have succeeded, collected or not."""
    try:
        states = status(folders.load(folder), all_tasks=True).states
    except (OsgbatchError, OSError):
        return set()
    return {state.index for state in states if state.state == "succeeded"}


def _tasks(count: int) -> str:
    return f"{count:,} task" if count == 1 else f"{count:,} tasks"


def check_unchanged(round_: Path, reused: Reused) -> None:
    """Raises BusyError when what was rendered is other work than was looked for."""
    digest, _ = read_keys(round_)
    if digest != reused.digest:
        raise BusyError(
            "files have changed while the batch was made; nothing was submitted",
            where="--reuse",
            fix="Submit again.",
        )


def bring_back(batch: Batch) -> list[str]:
    """Copy reused results anew that are not there any more, as far as their batches still are.

    Gives what the user is to be told: where files of theirs have been moved to. Whoever calls holds
    the batch's lock. Raises OSError when the disk is full or cannot be written.
    """
    found = read_reused(batch.folder)
    results = batch.folder / names.RESULTS
    notes: list[str] = []
    for index, origin in found.items():
        target = results / str(index)
        told = read_status(target)
        if is_there(target, origin, told):
            continue
        if told and origin_of(told) != origin:  # it was run again
            continue
        source = batch.folder.parent / origin.batch / names.RESULTS / str(origin.task)
        told = read_status(source)
        results.mkdir(exist_ok=True)
        if told.get("state") == "succeeded":
            with suppress(ResultError):
                notes += copy_result(source, target, told, _more(target, origin))
        os.utime(results)  # so that the next look sees what is there
    return notes
