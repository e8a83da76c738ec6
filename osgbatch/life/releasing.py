"""Releases the held jobs of a batch, with more memory or disk; sets a batch's priority."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from osgbatch import condor, local, names
from osgbatch.batches import folder as folders
from osgbatch.batches.folder import Batch, write_bytes
from osgbatch.batches.moved import submitted_from
from osgbatch.errors import OsgbatchError
from osgbatch.life.acting import HELD, Live, live_rounds
from osgbatch.texts import size


@dataclass(frozen=True)
class More:
    """What released jobs ask for from now on: 0 for what they did. lower: it may be less."""

    memory_mb: int = 0
    disk_kb: int = 0
    lower: bool = False

    def edits(self) -> dict[str, int]:
        """The attributes of jobs that it sets."""
        found = {"RequestMemory": self.memory_mb, "RequestDisk": self.disk_kb}
        return {name: value for name, value in found.items() if value}


@dataclass(frozen=True)
class Released:
    """tasks, jobs: how many were released; again: jobs of them that were held again at once.

    later: tasks not yet in the queue that ask for the new amount, too; notes, warnings: for people.
    """

    tasks: int = 0
    jobs: int = 0
    again: int = 0
    later: int = 0
    resumed: bool = False
    notes: Sequence[str] = ()
    warnings: Sequence[str] = ()


_ITEMS = {"RequestMemory": "memory_mb", "RequestDisk": "disk_kb"}
"""The field of an item that holds what a job asks for, where that differs between jobs."""


def release_batch(batch: Batch, tasks: Sequence[int], more: More) -> Released:
    """Release the held jobs of a batch; with `more` they ask for more memory or disk first.

    tasks: only the jobs of these, when there are any; else what is not yet in the queue is released
    and changed, too. Raises OsgbatchError, and changes nothing, when a job asks for more already;
    CondorError when the schedd does not answer or does not let us.
    """
    wanted = set(tasks)
    with folders.locked(batch.folder, wait=True):
        chosen: list[tuple[Live, list[int]]] = []
        for live in live_rounds(batch):
            held = [
                proc
                for proc, job in sorted(live.queue.jobs.items())
                if job.state == HELD and not (wanted and wanted.isdisjoint(live.tasks_of(proc)))
            ]
            if held or (live.queue.paused and not wanted):
                _check_not_lower(live, held, more)
                chosen.append((live, held))
        parts = [_release(batch, live, held, more, whole=not wanted) for live, held in chosen]
    return Released(
        tasks=sum(part.tasks for part in parts),
        jobs=sum(part.jobs for part in parts),
        again=sum(part.again for part in parts),
        later=sum(part.later for part in parts),
        resumed=any(part.resumed for part in parts),
        notes=list(dict.fromkeys(note for part in parts for note in part.notes)),
        warnings=list(dict.fromkeys(text for part in parts for text in part.warnings)),
    )


def _release(batch: Batch, live: Live, held: list[int], more: More, *, whole: bool) -> Released:
    round_, cluster, queue = live.round, live.cluster, live.queue
    if live.local:
        return _release_local(batch, live, held, more)
    warnings = condor.will_recur(queue, held, more.memory_mb, more.disk_kb)
    notes: list[str] = []
    later = 0
    edits = more.edits()
    if edits and whole and queue.unqueued:
        why = _kept(batch, live, edits, lower=more.lower)
        if why:
            notes.append(f"what is not yet in the queue asks for what it did: {why}")
        else:
            condor.edit_all(round_, cluster, {name: str(value) for name, value in edits.items()})
            later = live.count(queue.unqueued)
    if edits and held:
        condor.edit(round_, cluster, held, {name: str(value) for name, value in edits.items()})
    condor.release(round_, cluster, held, factory=whole and queue.paused)
    now = condor.look(round_, cluster).jobs
    again = [proc for proc in held if proc in now and now[proc].state == HELD]
    return Released(
        live.count(held), len(held), len(again), later, whole and queue.paused, notes, warnings
    )


def _release_local(batch: Batch, live: Live, held: list[int], more: More) -> Released:
    old, new = submitted_from(live.round) or batch.folder, batch.folder
    asked = {field: local.requests_of(live.round, held, field) for field in _ITEMS.values()}
    jobs = {
        proc: replace(
            job,
            # of a batch that was moved: what was missed there, jobs find here from now on
            reason=job.reason.replace(f"{old}/", f"{new}/"),
            memory_mb=asked["memory_mb"][proc],
            disk_kb=asked["disk_kb"][proc],
        )
        for proc, job in live.queue.jobs.items()
        if proc in held
    }
    warnings = condor.will_recur(replace(live.queue, jobs=jobs), held, more.memory_mb, more.disk_kb)
    local.release(live.round, live.cluster, held, more.memory_mb, more.disk_kb)
    return Released(live.count(held), len(held), warnings=warnings)


def _kept(batch: Batch, live: Live, edits: Mapping[str, int], *, lower: bool) -> str:
    """Why what is not yet in the queue cannot be given the new amounts; empty when it can.

    An edit of the cluster sets them for all its jobs, so that one that asks for more would lose it.
    """
    shared = live.queue.shared or {}
    items = batch.round_data(live.round.number).get("item_names", [])
    for name, value in edits.items():
        now = shared.get(name)
        if _ITEMS[name] in items:
            return "its jobs ask for different amounts"
        if not isinstance(now, int):
            return "an expression in the submit file says how much"
        if lower:
            continue
        if now > value or condor.asking_more(live.round, live.cluster, name, value):
            return "some of its jobs ask for more"
    return ""


def _check_not_lower(live: Live, held: list[int], more: More) -> None:
    """Raises OsgbatchError when a job asks for more already, and it was not said to lower that."""
    if more.lower or not held:
        return
    for name, value in more.edits().items():
        if live.local:
            field_ = _ITEMS[name]
            asked: Mapping[int, int | None] = {
                proc: request
                for proc, request in local.requests_of(live.round, held, field_).items()
                if request > value
            }
        else:
            asked = condor.asking_more(live.round, live.cluster, name, value)
        beyond = [proc for proc in held if proc in asked]
        if not beyond:
            continue
        worst = max(beyond, key=lambda proc: asked[proc] or 0)
        amount = asked[worst]
        unit = 1024**2 if name == "RequestMemory" else 1024
        what = "memory" if name == "RequestMemory" else "disk"
        says = f"{size(amount * unit)} of {what}" if amount else f"more {what}"
        raise OsgbatchError(
            f"the job of task {live.tasks_of(worst)[0]} asks for {says} already"
            + (f", and {len(beyond) - 1:,} others for more than {size(value * unit)}, too"
               if len(beyond) > 1 else ""),
            where=f"--{what}",
            fix="Give more, choose other tasks (`--tasks`), or say `--lower`.",
        )  # fmt: skip


# --- priorities ----------------------------------------------------------------------------------


def prioritize_batch(batch: Batch, priority: int) -> int:
    """Set the priority of a batch among its user's own jobs; gives how many tasks it holds for.

    Higher goes first. Raises OsgbatchError for the local runner, which starts jobs in their order,
    CondorError when the schedd does not answer or does not let us.
    """
    count = 0
    with folders.locked(batch.folder, wait=True):
        for live in live_rounds(batch):
            if live.local:
                raise OsgbatchError(
                    "the local runner starts jobs in their order; it knows no priorities",
                    where=str(batch.folder),
                )
            edits = {"JobPrio": str(priority)}
            if live.queue.unqueued:
                condor.edit_all(live.round, live.cluster, edits)
            elif live.queue.jobs:
                condor.edit(live.round, live.cluster, list(live.queue.jobs), edits)
            count += live.count([*live.queue.jobs, *live.queue.unqueued])
        if count:
            write_bytes(batch.folder / names.PRIORITY, f"{priority}\n".encode())
    return count


def noted_priority(batch: Batch) -> int:
    """The priority that the batch was given last; 0 when none, or none that can be read."""
    with suppress(OSError, ValueError):
        return int((batch.folder / names.PRIORITY).read_text())
    return 0
