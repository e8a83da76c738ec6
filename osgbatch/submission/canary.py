"""A few tasks first (`submit --canary`): what they taught, and the rest once they succeeded."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from osgbatch.batches import folder as folders
from osgbatch.batches.folder import Batch, payload_sums
from osgbatch.batches.keys import read_digest
from osgbatch.batches.notes import REST
from osgbatch.condor.hold_codes import MEMORY, explain_hold
from osgbatch.errors import BatchError, BusyError
from osgbatch.life.following import Status, status
from osgbatch.life.naming import in_commands
from osgbatch.model import OPEN, TaskState
from osgbatch.reporting.sizing import MARGINS, enough, enough_time
from osgbatch.returned import number
from osgbatch.staging.stage import Progress
from osgbatch.submission.later_rounds import SILENT, Choice, add_round
from osgbatch.submission.planned import AS_WRITTEN, Choices
from osgbatch.submission.rendered import Rendered
from osgbatch.submission.submitting import settle
from osgbatch.texts import duration, size

Say = Callable[[str], None]
_MB = 1024**2


class FilesChangedError(BatchError):
    """What tasks are brought is not what the canary was brought."""


def spread(count: int, tasks: int) -> list[int]:
    """Which of a sweep's tasks are its canary: the first, the last, and others evenly between."""
    count = min(count, tasks)
    if count == 1:
        return [0]
    return sorted({round(i * (tasks - 1) / (count - 1)) for i in range(count)})


@dataclass(frozen=True)
class Used:
    """The most that any of some tasks took; None where no record tells.

    memory and disk in bytes, time in seconds.
    """

    memory: float | None
    disk: float | None
    time: float | None


def used_by(states: Sequence[TaskState]) -> Used:
    """What tasks that have ended took, by their records."""

    def most(values: Iterator[float | None]) -> float | None:
        return max((value for value in values if value is not None), default=None)

    def times() -> Iterator[float | None]:
        for state in states:
            start, end = number(state.record, "start"), number(state.record, "end")
            yield end - start if start is not None and end is not None else None

    memory = most(number(state.record, "memory_kb") for state in states)
    disk = most(number(state.record, "disk_kb") for state in states)
    return Used(
        memory * 1024 if memory is not None else None,
        disk * 1024 if disk is not None else None,
        most(times()),
    )


def learnt(batch: Batch, states: Sequence[TaskState]) -> str:
    """What the canary took against what is requested, and the `resources:` that would do."""
    used = used_by(states)
    wanted = batch.data["resources"]
    rows = []
    suggested = []
    if used.memory is not None:
        requested = size(int(wanted["memory_mb"]) * _MB)
        rows.append(f"memory  at most {size(used.memory)}; {requested} is requested")
        asked = int(wanted["memory_mb"])
        suggested.append(f"memory: {enough(used.memory, MARGINS['memory'][0], asked)} MB")
    if used.disk is not None:
        requested = size(int(wanted["disk_kb"]) * 1024)
        rows.append(f"disk    at most {size(used.disk)}; {requested} is requested for a job")
        asked = int(wanted["disk_kb"]) // 1024
        suggested.append(f"disk: {enough(used.disk, MARGINS['disk'][0], asked)} MB")
    if used.time is not None:
        limit = int(wanted["time_s"])
        most = f"; {duration(limit)} is the limit for a job" if limit else "; there is no limit"
        rows.append(f"time    at most {duration(math.ceil(used.time))}{most}")
        suggested.append(f"time: {enough_time(used.time, MARGINS['time'][0])} min")
    lines = [f"  {row}" for row in rows]
    if suggested:
        lines.append(f"  enough, as far as they tell: resources: {{{', '.join(suggested)}}}")
    return "\n".join(lines)


def _mended(batch: Batch, tasks: Sequence[TaskState]) -> str:
    """The commands that bring back the tasks of a canary that has failed."""
    name = in_commands(batch)
    held = [state for state in tasks if state.state == "held"]
    found = []
    if held:
        jobs = [state.job for state in held if state.job]
        rows = [explain_hold(job.hold_code, job.hold_subcode, job.reason) for job in jobs]
        more = any(MEMORY in row.commands for row in rows)
        asked = int(batch.data["resources"]["memory_mb"])
        found.append(f"`osgbatch release {name}{f' --memory {2 * asked}MB' * more}`")
    if any(state.state in ("failed", "removed", "unknown") for state in tasks):
        found.append(f"`osgbatch resubmit {name}`")
    return " and ".join(found)


def _tasks(count: int) -> str:
    return f"{count:,} task" if count == 1 else f"{count:,} tasks"


def verdict(now: Status) -> tuple[list[TaskState], str]:
    """The tasks of a canary, and what has become of it: open, succeeded or failed."""
    rest = set(now.batch.unsubmitted())
    tasks = [state for state in now.states if state.index not in rest and state.round]
    if any(state.state in OPEN for state in tasks):
        return tasks, "open"
    return tasks, "succeeded" if all(s.state == "succeeded" for s in tasks) else "failed"


def go_on(
    batch: Batch, say: Say, choices: Choices = AS_WRITTEN, *, progress: Progress = SILENT
) -> Batch | None:
    """See to what is left to be done in a batch; gives it, read again, when more of it runs now.

    A later round whose submission was cut short is looked for; and when a canary has succeeded,
    what waits for it is submitted. Says what the canary taught, or why nothing more is submitted.
    Raises OsgbatchError when the rest cannot be submitted: then it waits still.
    """
    if _cut_short(batch):
        with folders.locked(batch.folder, wait=True):
            settle(batch, say)
        if len(batch.rounds()) > 1:
            return folders.load(batch.folder)
    rest = batch.unsubmitted()
    if not rest or batch.rest_cancelled:
        return None
    tasks, what = verdict(status(batch, all_tasks=True))
    if what == "open":
        return None
    name = in_commands(batch)
    if what == "failed":
        good = sum(state.state == "succeeded" for state in tasks)
        say(
            f"canary: {good} of {_tasks(len(tasks))} succeeded, so the other "
            f"{len(rest):,} {'was' if len(rest) == 1 else 'were'} not submitted\n"
            f"  `osgbatch why {name}` tells what is wrong; mend it, then "
            f"{_mended(batch, tasks)}\n"
            f"  then `osgbatch watch {name}` submits the rest"
        )
        return None
    say(f"canary: {_tasks(len(tasks))} succeeded\n{learnt(batch, tasks)}".rstrip())
    say(f"submitting the other {len(rest):,}")
    newest = batch.rounds()[-1]
    before, digest = payload_sums(batch.round_data(newest.number)), read_digest(newest.folder)

    def again() -> Choice:
        fresh = folders.load(batch.folder)
        return Choice(() if fresh.rest_cancelled else fresh.unsubmitted())

    def accept(rendered: Rendered) -> None:
        now = sorted(
            (item.kind, item.sha256)
            for item in rendered.resolved.payload
            if item.kind not in ("rows", "inputs")
        )
        # The digest knows the command, outputs and shared inputs, too.
        mine = read_digest(rendered.folder)
        if now != before or (digest and mine and mine != digest):
            what = "files have" if now != before else "what tasks run or are brought has"
            raise FilesChangedError(
                f"{what} changed since the canary ran, so the rest was not submitted",
                where=str(batch.folder),
                fix=f"`osgbatch resubmit {name} --missing` runs the rest with them as they are "
                "now; `osgbatch submit` makes a new batch.",
            )

    try:
        return add_round(
            batch,
            Choice(rest),
            REST,
            say,
            choices,
            again=again,
            progress=progress,
            accept=accept,
        ).batch
    except BusyError:
        fresh = folders.load(batch.folder)
        if fresh.unsubmitted():
            if not fresh.rest_cancelled:
                raise
            say("canary: the rest was cancelled meanwhile, so it was not submitted")
            return None
        return fresh  # another osgbatch, which watched it as well, was faster


def _cut_short(batch: Batch) -> bool:
    """Whether the submission of a later round was cut short."""
    newest = batch.rounds()[-1]
    noted = folders.read_submitted(newest)
    return newest.number > 1 and not (noted and noted.cluster)
