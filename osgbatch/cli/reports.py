"""A batch's status as text and as data."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from osgbatch import names, ui
from osgbatch.batches.folder import load, read_tasks_csv
from osgbatch.batches.gathered import gathered_of
from osgbatch.batches.measures import Measures
from osgbatch.batches.moved import other_places, results_outside
from osgbatch.cli.batch_names import short_name
from osgbatch.life.causes import STOPPED, describe, group, heading, time_limit
from osgbatch.life.following import WRONG, Status
from osgbatch.life.naming import in_commands, shown_path
from osgbatch.life.rounds import LATER_CUT_SHORT, RUNNER_DIED
from osgbatch.model import ACTIVE, TaskState
from osgbatch.task_ranges import task_list
from osgbatch.texts import about, duration

SITES_SHOWN = 4
SHOWN = 10
"""How many groups of tasks that went wrong alike are shown."""
LISTED = 20
"""Characters for the tasks of a group."""


def status_data(now: Status) -> dict[str, Any]:
    """What `osgbatch status --json` prints."""
    return {
        "id": now.batch.id,
        "name": now.batch.name,
        "folder": str(now.batch.folder),
        "backend": now.backend,
        "cluster": now.cluster,
        "ended": now.ended,
        "counts": now.counts,
        "tasks": [_task_data(state) for state in now.states],
        "notes": list(now.notes),
    }


def _task_data(state: TaskState) -> dict[str, Any]:
    return {
        "index": state.index,
        "state": state.state,
        "reason": state.reason,
        "detail": state.detail,
        "exit_code": state.exit_code,
        "signal": state.signal,
        "attempts": state.attempts,
        "proc": state.job.proc if state.job else None,
    }


def status_text(now: Status) -> str:
    """What `osgbatch status` prints."""
    lines = [
        head(now),
        shown_path(now.batch.folder),
        f"{ui.number_of(now.batch.tasks, 'task')}: {counts_text(now)}",
    ]
    lines += map(_folded, measures_lines(now))
    endings = endings_text(now)
    if endings:
        lines.append(endings)
    notes = [now.stalled] if is_stalled(now) else []
    lines += [_folded(f"note: {note}") for note in (*notes, *now.notes)]
    lines += [f"next: {step}" for step in next_steps(now)]
    return "\n".join(lines)


def is_stalled(now: Status) -> bool:
    """Whether it is to be told why nothing goes on: tasks wait in vain, or were to run again."""
    return bool(now.stalled and now.counts.get("waiting")) or now.stalled == LATER_CUT_SHORT


def counts_text(now: Status) -> str:
    """`8 succeeded, 20 running in 2 jobs`: a job runs its tasks in turn."""
    text = ui.counts(now.counts)
    if not in_turns(now):
        return text
    assert now.measures is not None
    told = f"{now.counts['running']:,} running"
    return text.replace(told, f"{told} in {ui.number_of(now.measures.running_jobs, 'job')}")


def in_turns(now: Status) -> bool:
    """Whether tasks count as running that may wait for their turn in their job."""
    return now.measures is not None and (
        0 < now.measures.running_jobs < now.counts.get("running", 0)
    )


def head(now: Status, more: int = 0) -> str:
    """Which batch it is, and where it runs. more: characters that are to follow in the line."""
    where = {"condor": "HTCondor", "local": "local runner"}.get(now.backend, "not submitted")
    rounds = len(now.batch.rounds())
    several = f", round {rounds}" if rounds > 1 else ""
    cluster = f", cluster {now.cluster}" if now.cluster else ""
    rest = f"  batch {now.batch.id}  {where}{several}{cluster}"
    room = shutil.get_terminal_size().columns - len(rest) - more
    return short_name(now.batch, room) + rest


def _folded(line: str) -> str:
    return ui.wrapped(line, sys.stdout)


def measures_lines(now: Status) -> Iterator[str]:
    """How fast tasks end, what they have used of what was asked for, and where they ended."""
    found = now.measures
    if found is None:
        return
    if found.rate and now.open_tasks:
        text = f"{rate(found.rate)}"
        if found.left_s is not None and any(now.counts.get(state) for state in ACTIVE):
            text += f", {left_words(found.left_s, found)}"
        yield text
    asked = requested(now)
    used = [
        (found.memory_mb, "memory", asked["memory_mb"] * 2**20),
        (found.disk_mb, "disk", asked["disk_kb"] * 2**10),
    ]
    parts = [
        ui.size(most * 2**20) + (f" of {ui.size(wanted)}" if wanted else "") + f" {what}"
        for most, what, wanted in used
        if most
    ]
    if found.wall_s:
        limit = f" of {duration(asked['time_s'])}" if asked["time_s"] else ""
        parts.append(f"{about(found.wall_s)}{limit}")
    if parts:
        yield f"a task used at most {', '.join(parts)}"
    if found.sites:
        yield f"ran at {_sites(found.sites)}"


def requested(now: Status) -> dict[str, int]:
    """What all jobs asked for: memory_mb, disk_kb, time_s; 0 of what is not the same for all.

    Rounds and their jobs may differ; of released jobs, and of those with a ladder of memory, the
    event of their end tells.
    """
    found: dict[str, set[int]] = {"memory_mb": set(), "disk_kb": set(), "time_s": set()}
    for round_ in now.batch.rounds():
        data = now.batch.round_data(round_.number)
        resources, own = data.get("resources") or {}, set(data.get("item_names") or ())
        for key, values in found.items():
            of_job = int(resources.get(key) or 0)
            values.add(time_limit(now.batch, round_.number) if key == "time_s" else of_job)
            if key in own or (key == "time_s" and "execute_s" in own):
                values.add(0)
    if now.measures:
        if now.measures.requested_mb:
            found["memory_mb"] = set(now.measures.requested_mb)
        most = now.measures.disk_mb or 0
        found["disk_kb"] |= {0} if most * 1024 > max(found["disk_kb"], default=0) else set()
    return {key: next(iter(values)) if len(values) == 1 else 0 for key, values in found.items()}


def left_words(seconds: float, found: Measures) -> str:
    """`about 48 min left`; `at least` while tasks run that take longer than any before."""
    return f"{'at least' if found.at_least else 'about'} {about(seconds)} left"


def _sites(sites: Sequence[tuple[str, int, int]]) -> str:
    shown = [
        f"{name} ({ui.number_of(count, 'task')}" + (f", {bad:,} not succeeded)" if bad else ")")
        for name, count, bad in sites[:SITES_SHOWN]
    ]
    more = len(sites) - SITES_SHOWN
    return ", ".join(shown) + (f" and {more:,} more" if more > 0 else "")


def rate(per_second: float) -> str:
    """Tasks per second, minute or hour: the first of these of which there is one at least."""
    for factor, unit in ((1, "s"), (60, "min")):
        if per_second * factor >= 1:
            return f"{per_second * factor:.3g} tasks/{unit}"
    return f"{per_second * 3600:.3g} tasks/h"


def next_steps(now: Status) -> list[str]:
    """The commands that make sense now."""
    name, counts = in_commands(now.batch), now.counts
    steps = []
    wrong = any(counts.get(state) for state in WRONG)
    rest_waits = bool(now.held_back) and now.ended and not now.stalled
    cut_short = now.stalled == LATER_CUT_SHORT  # watch sees to it
    if (now.open_tasks and not now.ended) or (rest_waits and not wrong) or cut_short:
        steps.append(f"osgbatch watch {name}")
    if any(counts.get(state) for state in ("failed", "held", "unknown")) or only_waits(now):
        steps.append(f"osgbatch why {name}")
    steps += _of_held(now, name)
    may_resubmit = now.ended and now.stalled in ("", LATER_CUT_SHORT, RUNNER_DIED)
    if may_resubmit and any(counts.get(s) for s in WRONG if s != "held"):
        lost = not any(counts.get(s) for s in WRONG if s not in ("held", "unknown"))
        steps.append(f"osgbatch resubmit {name}{' --missing' * lost}")
    if rest_waits and wrong:
        steps.append(f"osgbatch watch {name}")
    if now.ended and counts.get("succeeded") and not rest_waits and not _collected(now):
        steps.append(f"osgbatch collect {name}")
    above = gathered_of(now.batch.folder)
    return steps if above is None else _of_gathering(steps, in_commands(load(above)))


def _of_gathering(steps: Sequence[str], above: str) -> list[str]:
    """The steps after a job that gathers: what it made is brought by the batch that it is of."""
    instead = {
        "resubmit": f"osgbatch collect {above} --gather",
        "collect": f"osgbatch collect {above}",
    }
    return [instead.get(step.split()[1], step) for step in steps]


def _of_held(now: Status, name: str) -> list[str]:
    """What to do about held tasks, where all are held alike; else `why` tells."""
    held = [state for state in now.wrong if state.state == "held"]
    causes = group(held)
    if len(causes) != 1 or len(held) != now.counts.get("held"):
        return []
    if STOPPED in held[0].reason:  # what is released would fail as the first ones did
        return []
    if now.backend == "condor" and other_places(now.batch):  # a note tells what comes before
        return []
    return list(describe(now.batch, name, causes[0]).commands[:1])


def only_waits(now: Status) -> bool:
    """Whether tasks wait in the queue, and none is under way."""
    waits = now.counts.get("waiting", 0) > now.held_back and not now.ended
    return waits and not any(now.counts.get(state) for state in ACTIVE)


def _collected(now: Status) -> bool:
    """Whether nothing has happened since results were collected: what came is then in them."""
    try:
        collected = (now.batch.folder / names.RESULTS / names.RESULTS_TABLE).stat().st_mtime
    except OSError:
        return False
    for round_ in now.batch.rounds():
        with suppress(OSError):
            if (round_.folder / names.EVENTS).stat().st_mtime > collected:
                return False
    return True


def watch_line(now: Status) -> str:
    """One line of `osgbatch watch`; of held jobs it gives the first reason at once."""
    line = f"{time.strftime('%H:%M:%S')}  {counts_text(now)}"
    held = next((state for state in now.wrong if state.state == "held"), None)
    if is_stalled(now):
        line += f"\n          {now.stalled}"
    return f"{line}\n          held: {brief(held)}" if held else line


def endings_text(now: Status) -> str:
    """The tasks that failed, are held, removed or unknown, and why; empty when there are none.

    Those alike together, in a line or two; `osgbatch why` tells the rest.
    """
    wrong = now.wrong
    if not wrong:
        return ""
    alike = group(wrong)
    shown = alike[:SHOWN]
    parameters = dict(_parameters(now, {same[0].index for same in shown if len(same) == 1}))
    rows = [
        (_indices(same), f"{len(same):,} {same[0].state}", parameters.get(same[0].index, ""))
        for same in shown
    ]
    # A column in which nothing stands is left out.
    used = [any(row[i] for row in rows) for i in range(3)]
    header = [word for word, use in zip(("tasks", "state", "parameters"), used, strict=True) if use]
    cells = [[cell for cell, use in zip(row, used, strict=True) if use] for row in rows]
    widths = [max(map(len, column)) + 2 for column in zip(header, *cells, strict=True)]
    room = max(20, shutil.get_terminal_size().columns - sum(widths))
    whys = [ui.cut(brief(same[0]), 3 * room - 15) for same in shown]  # three lines, once wrapped
    text = ui.table((*header, "why"), [(*row, line) for row, line in zip(cells, whys, strict=True)])
    told = sum(map(len, shown))
    more = sum(now.counts.get(state, 0) for state in WRONG) - told
    if more:
        text += f"\nand {more:,} more"
    if any(s.archive for s in wrong):
        first = next(s for s in wrong if s.archive)
        text += f"\nits output: osgbatch logs {in_commands(now.batch)} --task {first.index}"
    hints = dict.fromkeys(filter(None, map(hint, wrong)))
    return "\n".join([text, *(_folded(f"try: {one}") for one in hints)])


def _indices(same: Sequence[TaskState]) -> str:
    """`0-9,12`, cut at a comma where it would be longer than a column should be."""
    return listed([state.index for state in same], LISTED)


def listed(indices: Sequence[int], room: int) -> str:
    """`0-9,12,...`: the tasks, as many as have room."""
    text = task_list(indices)
    return text if len(text) <= room else text[: room - 3].rpartition(",")[0] + ",..."


def _parameters(now: Status, wanted: set[int]) -> Iterator[tuple[int, str]]:
    """(index, `x=1 y=b`) of tasks, from the batch's copy of the table."""
    if not wanted:
        return
    columns = now.batch.data["columns"]
    for index, row in enumerate(read_tasks_csv(now.batch)):
        if index in wanted:
            text = " ".join(f"{name}={cell}" for name, cell in zip(columns, row, strict=True))
            yield index, text if len(text) <= 24 else text[:21] + "..."
        if index >= max(wanted):
            return


def explain(state: TaskState) -> str:
    """Why a task is as it is, in one line."""
    reasons = {
        "exit": f"exit code {state.exit_code}",
        "signal": f"killed by signal {state.signal}",
        "time": "stopped",
        "missing-output": "a required output is missing",
        "command-not-found": "the command was not found",
        "infrastructure": f"the execution point failed (code {state.exit_code})",
        "stopped": "was told to stop",
        "shim-killed": "its job was killed",
        "no-archive": "nothing came back",
        "damaged": "what came back is damaged",
        "dropped": "its result is gone",
        "archive-gone": "its result is gone",
        "reused-gone": "nothing is left of it",
    }
    head = reasons.get(state.reason, state.reason)
    return ": ".join(filter(None, (head, state.detail)))


def brief(state: TaskState) -> str:
    """The same, short: of a held task what HTCondor's codes mean."""
    if state.state != "held" or state.job is None or not state.job.hold_code:
        return explain(state)
    code, cause = heading(state)
    return f"{code.partition(',')[0]}: {cause}"


def hint(state: TaskState) -> str:
    """What to try when a task's input was not what it should be; empty for other endings."""
    if state.exit_code != 114 or state.reason != "infrastructure":
        return ""
    if "has changed it" in state.detail:
        return "tasks_per_job: 1, or a copy of what a task writes into: the tasks of a job share it"
    if "was staged" in state.detail:
        return (
            "osgbatch stage verify (with --spec, of the sweep's stash): the stash, or a cache that "
            "jobs read through, holds damaged data"
        )
    return "submit again if it has changed since; else it, or a cache's copy of it, is damaged"


def collect_text(now: Status, unpacked: int) -> str:
    """What `osgbatch collect` prints."""
    results = Path(shown_path(now.batch.folder)) / names.RESULTS
    tasks = ui.number_of(now.batch.tasks, "task")
    lines = [f"{tasks}: {ui.counts(now.counts)}; {unpacked:,} newly unpacked"]
    endings = endings_text(now)
    if endings:
        lines.append(endings)
        all_of_them = f"osgbatch tasks {in_commands(now.batch)} --failed --state unknown --ids"
        if sum(now.counts.get(state, 0) for state in ("failed", "unknown")) > LISTED:
            lines.append(f"all of them: {all_of_them}")
    outside = results_outside(now.batch)
    lines.append(f"results: {results}{f', and {shown_path(outside)}' if outside else ''}")
    lines.append(f"table:   {results / names.RESULTS_TABLE}")
    steps = [step for step in next_steps(now) if not step.startswith("osgbatch collect ")]
    lines += [f"next: {step}" for step in steps]
    return "\n".join(lines)
