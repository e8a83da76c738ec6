"""Why tasks of a batch are held, failed or wait, and what to do: what `osgbatch why` tells."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

from osgbatch import names
from osgbatch.batches import folder as folders
from osgbatch.batches.folder import Batch
from osgbatch.batches.notes import cluster_so_far
from osgbatch.condor.idle import ask_factory, ask_idle
from osgbatch.condor.idle_words import Waiting, factory_words, idle_words
from osgbatch.errors import CondorError, OsgbatchError
from osgbatch.life.causes import (
    AGAIN,
    Cause,
    Suspect,
    asked_for,
    describe,
    fill,
    for_tasks,
    group,
    host_of,
    site_of,
    suggestions,
    suspects,
    with_sign,
)
from osgbatch.life.following import WRONG, Status, copy_log, status
from osgbatch.life.naming import in_commands
from osgbatch.life.required import required_now
from osgbatch.model import Round, TaskState
from osgbatch.task_ranges import parse_task_ranges
from osgbatch.texts import about, duration

LINES = 8
"""Of what a task wrote, so many last lines are shown."""
TAIL_BYTES = 16 * 1024


@dataclass(frozen=True)
class Why:
    """What is told. causes: of tasks that went wrong, and of a waiting one that was asked about.

    task: the one asked about, None for all. name: of the batch in the commands.
    notes: what else is to be known. hint: the command that tells why a task waits, where some do
    and none was asked about.
    """

    status: Status
    name: str
    causes: tuple[Cause, ...]
    suspects: tuple[Suspect, ...] = ()
    task: TaskState | None = None
    notes: tuple[str, ...] = ()
    hint: str = ""


def explain(batch: Batch, index: int | None = None) -> Why:
    """Why tasks are held, failed or wait; one task, or all that went wrong.

    HTCondor is asked only about a waiting task: about one that is named, or the first one when no
    task runs and none went wrong. Raises OsgbatchError for a task that is not there.
    """
    if index is not None and not 0 <= index < batch.tasks:
        raise OsgbatchError(f"there is no task {index}", fix=f"Tasks are 0 to {batch.tasks - 1}.")
    now = status(batch, all_tasks=True)
    task = None if index is None else now.states[index]
    chosen = now.wrong if task is None else [task] if task.state in WRONG else []
    name = in_commands(batch)
    causes = _causes(now, name, chosen, named=task is not None)
    asked = task
    waits = now.counts.get("waiting", 0)
    if task is None and waits and not now.wrong and waits + _succeeded(now) == batch.tasks:
        asked = next(state for state in now.states if state.state == "waiting")
    if asked is not None and asked.state not in WRONG:
        cause = _of_open(now, asked, named=task is not None)
        causes.append(cause if task is not None else _of_all(now, asked, cause))
    hint = ""
    if asked is None and waits:
        first = next(state.index for state in now.states if state.state == "waiting")
        hint = f"osgbatch why {name} {first}"
    blamed = _suspects(now, name) if task is None and now.wrong else []
    notes = (*_stopped(now), *now.notes)
    return Why(now, name, tuple(causes), tuple(blamed), task, notes, hint)


def explain_wrong(now: Status, name: str, most: int) -> tuple[list[Cause], list[Suspect]]:
    """What went wrong by cause, and the places to blame, of a status of all tasks.

    name: of the batch, as commands have it; most: no more causes than these.
    """
    return _causes(now, name, now.wrong, most), _suspects(now, name)


def _suspects(now: Status, name: str) -> list[Suspect]:
    return suspects(now.states, name, lambda: required_now(now.batch))


def _causes(
    now: Status, name: str, chosen: Sequence[TaskState], most: int = -1, *, named: bool = False
) -> list[Cause]:
    """Of tasks that went wrong; most: no more than these, -1 for all.

    named: whether the user named the task; commands then are about it, and touch no other.
    """
    groups = group(chosen)
    # What the same option of `osgbatch resubmit` would run again.
    kinds = [AGAIN[same[0].state] for same in groups]
    kinds += [AGAIN["removed"]] * bool(now.batch.unsubmitted())
    shown = groups if most < 0 else groups[:most]
    return [
        _described(now.batch, name, same, not named and kinds.count(AGAIN[same[0].state]) == 1)
        for same in shown
    ]


def _succeeded(now: Status) -> int:
    return now.counts.get("succeeded", 0)


# --- what a task wrote ----------------------------------------------------------------------------


class _Tail(BytesIO):
    """Keeps the last bytes of what is written to it."""

    def write(self, data: bytes) -> int:  # type: ignore[override]
        kept = (self.getvalue() + bytes(data))[-TAIL_BYTES:]
        self.seek(0)
        self.truncate()
        super().write(kept)
        return len(data)


def _described(batch: Batch, name: str, same: Sequence[TaskState], alone: bool) -> Cause:
    cause = _with_output(describe(batch, name, same, alone=alone), same)
    return with_sign(batch, name, cause, same, alone) if cause.state == "failed" else cause


def _with_output(cause: Cause, same: Sequence[TaskState]) -> Cause:
    """With the last lines of what the first of a group wrote."""
    state = next(state for state in same if state.index == cause.example)
    if state.state not in ("failed", "unknown"):
        return cause
    stream = ""
    lines: tuple[str, ...] = ()
    for stream in ("stderr", "stdout"):
        lines = _last_lines(state, stream)
        if lines:
            break
    else:
        stream, lines = "shim's stderr", _shim_lines(state)
    if not lines:
        return cause
    return replace(cause, stream=stream, output=lines)


def _last_lines(state: TaskState, stream: str) -> tuple[str, ...]:
    if state.archive is None:
        return ()
    tail = _Tail()
    with suppress(OsgbatchError, OSError):
        copy_log(state, stream, tail)
    return _lines(tail.getvalue())


def _shim_lines(state: TaskState) -> tuple[str, ...]:
    """What the shim itself had to say, when it could not write it into its archive."""
    if state.archive is None:
        return ()
    path = state.archive.with_name(state.archive.name.rpartition("_")[0] + ".err")
    return _file_lines(path)


def _file_lines(path: Path) -> tuple[str, ...]:
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, path.stat().st_size - TAIL_BYTES))
            return _lines(stream.read())
    except OSError:
        return ()


def _lines(data: bytes) -> tuple[str, ...]:
    text = data.decode("utf-8", "replace")
    return tuple(line for line in text.splitlines() if line.strip())[-LINES:]


# --- tasks that wait or run -----------------------------------------------------------------------


def _of_open(now: Status, state: TaskState, *, named: bool) -> Cause:
    """Why a task that has not gone wrong has not succeeded yet. named: by the user."""
    words = _waiting(now, state) if state.state == "waiting" else _going(now, state)
    values = {
        "batch": in_commands(now.batch),
        **(_this(state) if named else _chosen(now, state)),
        **suggestions(now.batch, [state]),
    }
    return Cause(
        state=state.state,
        code="",
        cause=words.cause,
        tasks=(state.index,),
        example=state.index,
        told=" ".join(state.reason.split()) if state.state == "waiting" else "",
        details=words.details,
        todo=words.todo,
        commands=tuple(fill(command, values) for command in words.commands),
    )


def _of_all(now: Status, asked: TaskState, cause: Cause) -> Cause:
    """With all tasks that wait as the one that was asked about does, and a word of the others."""
    waiting = [state for state in now.states if state.state == "waiting"]
    alike = [asked]
    if "--idle" in _chosen(now, asked).values():
        held_back = set(now.batch.unsubmitted())
        alike = [
            state
            for state in waiting
            if state.round == asked.round
            and (state.index in held_back) == (asked.index in held_back)
        ]
    details = cause.details
    if others := len(waiting) - len(alike):
        known = {state.index for state in alike}
        one = next(state.index for state in waiting if state.index not in known)
        wait = "task waits" if others == 1 else "tasks wait"
        ask = f"`osgbatch why {in_commands(now.batch)} {one}`"
        details = (*details, f"{others:,} more {wait}, which may be for another reason: {ask}")
    return replace(cause, tasks=tuple(state.index for state in alike), details=details)


def _chosen(now: Status, state: TaskState) -> dict[str, str]:
    """How commands name a waiting task: with all others where they ask for the same."""
    data = now.batch.round_data(max(1, state.round))
    differing = set(data.get("item_names") or ()) - {"tasks", "rows", "inputs"}
    if differing or now.counts.get("waiting") == 1:
        return _this(state)
    return {"waiting": "--idle", "removed": "--missing"}


def _this(state: TaskState) -> dict[str, str]:
    """How commands name a waiting task alone."""
    return dict.fromkeys(("waiting", "removed"), f"--tasks {state.index}")


def _going(now: Status, state: TaskState) -> Waiting:
    where = f" on {host_of(state)}" if host_of(state) else ""
    where += f" at {site_of(state)}" if site_of(state) else ""
    turn = ", or waits in its job for its turn" * _shares_its_job(now, state)
    return {
        "succeeded": Waiting(f"It has succeeded{where}."),
        "running": Waiting(
            f"It runs{where}{turn}.",
            _how_long(now, state, shared=bool(turn)),
            "Wait; see what it prints.",
            (f"osgbatch logs {{batch}} {state.index} -f",),
        ),
        "transferring input": Waiting(f"Its files are on their way{where}.", todo="Wait."),
        "transferring output": Waiting(f"Its results are on their way{where}.", todo="Wait."),
        "suspended": Waiting(
            f"It is suspended{where}: the owner of the machine needs it.",
            todo="Wait: it goes on, or is started anew elsewhere.",
        ),
    }.get(state.state, Waiting(f"It is {state.state}."))


def _how_long(now: Status, state: TaskState, *, shared: bool) -> tuple[str, ...]:
    """For how long it runs, and may run. shared: its job runs others, too."""
    if state.job is None or not state.job.started:
        return ()
    so_far = about(max(0.0, time.time() - state.job.started))
    limit = asked_for(now.batch, [state])["time_s"]
    if shared:
        may = f"; each task may take {duration(limit)}" if limit else ""
        return (f"Its job, which runs several tasks in turn, has run for {so_far} so far{may}.",)
    of = f" of at most {duration(limit)}" if limit else "; it has no time limit"
    return (f"It has run for {so_far} so far{of}.",)


def _shares_its_job(now: Status, state: TaskState) -> bool:
    """Whether the job of a task runs others, too."""
    job = (state.round, state.job.proc) if state.job else None
    return any(
        other.job and (other.round, other.job.proc) == job and other.index != state.index
        for other in now.states
    )


def _waiting(now: Status, state: TaskState) -> Waiting:
    if state.index in set(now.batch.unsubmitted()):
        return Waiting(
            "It is not submitted yet: the rest of the batch waits for its canary.",
            todo="See how the canary does; once it is checked, the rest follows.",
            commands=("osgbatch watch {batch}",),
        )
    round_ = _round_of(now.batch, state)
    noted = folders.read_submitted(round_)
    cluster = cluster_so_far(round_)
    if now.stalled or not cluster:
        return Waiting(f"Nothing is done for it: {now.stalled or 'it was not submitted'}.")
    if noted and noted.backend == "local":
        return Waiting(
            "It waits for room on this machine: the local runner starts jobs in their order.",
            ("OSGBATCH_LOCAL_SLOTS says how many run at once.",),
            "Wait.",
        )
    try:
        proc = state.job.proc if state.job else _proc_of(round_, state.index)
        idle = ask_idle(round_, cluster, proc)
        if idle is not None:
            words = idle_words(idle)
            if idle.status != "held":
                return words
            same = [replace(state, state="held")]
            return replace(words, commands=tuple(for_tasks(words.commands, same)))
        factory = ask_factory(round_, cluster)
    except CondorError as error:
        return Waiting(
            f"HTCondor cannot be asked now why: {error.what.rstrip('.')}.", todo=error.fix
        )
    return factory_words(factory, _held_jobs(now, round_.number))


def _held_jobs(now: Status, number: int) -> int:
    """How many jobs of a round are held."""
    held = [s.job.proc for s in now.wrong if s.state == "held" and s.round == number and s.job]
    return len(set(held))


def _stopped(now: Status) -> tuple[str, ...]:
    """What is to be told of rounds that make no more jobs, since too many are held."""
    told = []
    for round_ in now.batch.rounds():
        max_idle = int(now.batch.round_data(round_.number).get("max_idle") or 0)
        held = _held_jobs(now, round_.number)
        if max_idle and held >= max_idle and now.counts.get("waiting"):
            told.append(
                f"{held:,} jobs are held, and no more than {max_idle:,} may wait or be held at "
                "once: no more jobs come into the queue until these are released or removed"
            )
    return tuple(told)


def _round_of(batch: Batch, state: TaskState) -> Round:
    """The latest round that has the task."""
    rounds = batch.rounds()
    if state.round:
        return next(round_ for round_ in rounds if round_.number == state.round)
    for round_ in reversed(rounds):
        with suppress(OsgbatchError):
            _proc_of(round_, state.index)
            return round_
    return rounds[-1]


def _proc_of(round_: Round, index: int) -> int:
    for proc, text in enumerate(folders.round_tasks(round_)):
        if index in parse_task_ranges(text):
            return proc
    raise OsgbatchError(f"no job of {names.ITEMS} runs task {index}", where=str(round_.folder))
