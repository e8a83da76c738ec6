"""Runs tasks of a batch again: which ones, and why others cannot be."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from osgbatch.batches import folder as folders
from osgbatch.batches.folder import Batch
from osgbatch.batches.notes import RESUBMIT
from osgbatch.collecting.collect import note_losses, results_folder
from osgbatch.errors import BatchError, BusyError, OsgbatchError
from osgbatch.life.following import Status, status
from osgbatch.life.rounds import NOT_SUBMITTED
from osgbatch.model import OPEN, TaskState
from osgbatch.staging.stage import Progress
from osgbatch.submission.later_rounds import SILENT, Choice, Later, add_round
from osgbatch.submission.planned import Choices
from osgbatch.submission.submitting import settle
from osgbatch.task_ranges import parse_tasks as parse_tasks

Say = Callable[[str], None]


@dataclass(frozen=True)
class Wanted:
    """Which tasks to run again; with nothing said those that failed, were removed or are unknown.

    failed, held: the tasks in these states. missing: those without a result that nobody runs:
    removed, unknown, never submitted. tasks: these, by index; with the others said, those of these.
    """

    failed: bool = False
    held: bool = False
    missing: bool = False
    tasks: Sequence[int] = ()

    @property
    def nothing_said(self) -> bool:
        """Whether the command line names no tasks."""
        return not (self.failed or self.held or self.missing or self.tasks)


def resubmit(
    batch: Batch,
    wanted: Wanted,
    say: Say,
    choices: Choices,
    *,
    pool: str = "",
    progress: Progress = SILENT,
) -> Later | None:
    """Run tasks of a batch again, in a new round of it; None when there are none.

    pool: `condor`, `local` or `auto`; empty for that of the round before. Raises OsgbatchError when
    a task is held by a live job, has succeeded, or is not what it was; nothing is submitted then.
    """
    with folders.locked(batch.folder, wait=True):
        settle(batch, say)
        now = status(batch, all_tasks=True)
        # Files of a success may be gone that no archive can bring back.
        if note_losses(results_folder(batch.folder), now.states):
            now = status(batch, all_tasks=True)
    choice = chosen_tasks(now, wanted)
    if not choice.tasks:
        return None
    return add_round(
        batch,
        choice,
        RESUBMIT,
        say,
        choices,
        pool=pool,
        progress=progress,
        again=lambda: chosen_tasks(status(batch, all_tasks=True), wanted),
    )


def count_held(batch: Batch) -> int:
    """How many tasks of a batch are in held jobs."""
    return status(batch).counts.get("held", 0)


# --- which tasks ---------------------------------------------------------------------------------


def chosen_tasks(now: Status, wanted: Wanted) -> Choice:
    """The tasks that are wanted, as they are now.

    Raises OsgbatchError for those named that cannot be run again: a task that has succeeded, or
    that a live job holds.
    """
    if now.stalled == NOT_SUBMITTED:
        raise BatchError(
            "this batch was never submitted",
            where=str(now.batch.folder),
            fix="`osgbatch submit` of its sweep makes one that is.",
        )
    if folders.interrupted(now.batch) and not now.cluster:
        raise BatchError(
            "the submission of this batch was cut short",
            where=str(now.batch.folder),
            fix="`osgbatch submit` of its sweep continues it.",
        )
    never = set(now.batch.unsubmitted())
    some = wanted.failed or wanted.held or wanted.missing
    if wanted.tasks and not some:
        for index in wanted.tasks:
            _refuse(now.states[index], never)
        return Choice(wanted.tasks)
    states = {"failed"} if wanted.failed else set()
    if wanted.missing:
        states |= {"removed", "unknown"}
    if wanted.held:
        states.add("held")
    if wanted.nothing_said:
        states = {"failed", "removed", "unknown"}
    found = [s for s in now.states if s.state in states or (wanted.missing and s.index in never)]
    if wanted.tasks:
        found = list(_of_those(found, set(wanted.tasks)))
    tasks = [s.index for s in found]
    held: dict[int, set[int]] = {}
    for state in found if wanted.held else ():
        if state.state == "held" and state.job is not None:
            held.setdefault(state.round, set()).add(state.job.proc)
    return Choice(tasks, held)


def _of_those(found: Sequence[TaskState], named: Collection[int]) -> Iterator[TaskState]:
    """Those named, and what is held in one job with them: a held job is removed as a whole."""
    jobs = {_job(s) for s in found if s.index in named and s.state == "held"} - {None}
    for state in found:
        if state.index in named or (state.state == "held" and _job(state) in jobs):
            yield state


def _job(state: TaskState) -> tuple[int, int] | None:
    return (state.round, state.job.proc) if state.job else None


def _refuse(state: TaskState, never: Collection[int]) -> None:
    """Raises OsgbatchError when a task cannot be run again."""
    if state.index in never:
        return
    if state.state == "succeeded":
        raise OsgbatchError(
            f"task {state.index} has succeeded, and its first success is its result",
            where="--tasks",
            fix="Leave it out. To run it in another way, submit a new batch.",
        )
    if state.state == "held":
        raise BusyError(
            f"task {state.index} is in a job that is held: {state.reason}",
            where="--tasks",
            fix="`osgbatch resubmit --held` removes the held jobs first; or release them.",
        )
    if state.state in OPEN:
        raise BusyError(
            f"task {state.index} is in a job that has not ended ({state.state})",
            where="--tasks",
            fix="Wait for it (`osgbatch watch`), or remove it first (`osgbatch cancel`).",
        )
