"""Why one job waits, in plain words, and what to do."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from osgbatch.condor.hold_codes import explain_hold
from osgbatch.condor.idle import Condition, Factory, Idle, Place

REMOVE = "osgbatch cancel {batch} {waiting}"
AGAIN = "osgbatch resubmit {batch} {removed}"
"""What changes a request that no slot meets: a live job is never run a second time beside.

{waiting} and {removed} stand for the tasks, or for all that are so.
"""
_HELD, _ALL_MADE, _REMOVED = 1, 2, 3
"""Why a factory makes no jobs; below 0 it never will. Source: HTCondor's MaterializeMode."""
SHOWN = 200
"""Characters of a condition that are shown."""
SOON_S = 300
"""Seconds within which a pool's negotiator has looked at every job, as a rule."""

_REQUEST = re.compile(r"\b(Memory|Disk|Cpus|GPUs)\s*>=\s*(?:MY\.)?Request\1\b", re.I)
_CALLED = {"Cpus": "cores", "Memory": "memory", "Disk": "disk", "GPUs": "GPUs"}
_KEYS = {"Cpus": "cpus", "Memory": "memory", "Disk": "disk", "GPUs": "gpus"}
_PILOTS = (
    "Take it with caution: the slots of this pool are pilots, which come and go, and sites start "
    "more for what waits. What no slot offers now may come in minutes; what no site has, never."
)
_NO_PROJECT = (
    "It has no ProjectName. On the OSPool no pilot is started for such a job, so that it waits "
    "for ever. `project:` in the sweep sets it."
)
_MOMENT = "These are the slots of this moment."


@dataclass(frozen=True)
class Waiting:
    """Why something waits. cause: in one sentence; details: more of them; todo: what to do."""

    cause: str
    details: tuple[str, ...] = ()
    todo: str = ""
    commands: tuple[str, ...] = ()


def idle_words(idle: Idle) -> Waiting:
    """Why a job waits. The commands hold {batch}, {waiting} and {removed}."""
    if idle.status == "held":
        row = explain_hold(*idle.held)
        told = (f'"{idle.held[2]}"',) if idle.held[2] else ()
        return Waiting(f"Its job {idle.job} is held. {row.cause}", told, row.todo, row.commands)
    if idle.status != "waiting":
        return Waiting(
            f"HTCondor says that its job {idle.job} is {idle.status}; the event log does not yet.",
            todo="Look again in a moment.",
        )
    cause, details, todo, commands = _cause(idle)
    if idle.starts:
        times = "once" if idle.starts == 1 else f"{idle.starts} times"
        ended = f"; the last start ended so: {idle.came_back}" if idle.came_back else ""
        details = (*details, f"It was started {times} already{ended}")
    if idle.pilots and not idle.project:
        details = (*details, _NO_PROJECT)
    details = (*details, _PILOTS if idle.pilots else _MOMENT)
    if idle.flocking:
        details = (*details, f"This access point also sends jobs to {idle.flocking}; not asked.")
    return Waiting(cause, details, todo, (*commands, f"condor_q -better-analyze {idle.job}"))


_Words = tuple[str, tuple[str, ...], str, tuple[str, ...]]


def _cause(idle: Idle) -> _Words:
    if not idle.slots:
        return "The pool has no slots at all now.", (), "Wait, or see `condor_status`.", ()
    if not idle.fitting:
        return _nothing_fits(idle)
    suited = f"{idle.fitting:,} of {_slots(idle.slots)}" if idle.slots > 1 else _slots(1)
    if idle.asked and idle.refusing == idle.asked:
        return _refused(idle, suited)
    if not idle.free:
        return (
            f"It waits for its turn: {suited} could run it, but {_busy(idle)}.",
            (*_place(idle.place), *_rejected(idle)),
            "Wait. A job that asks for less finds a place sooner.",
            (),
        )
    if not idle.matched and not idle.rejected_at:
        age = f", {_duration(idle.now - idle.queued)} ago" if idle.now > idle.queued > 0 else ""
        return (
            f"It was not yet considered: it came into the queue just now{age}."
            if idle.now - idle.queued < SOON_S
            else f"It was never considered{age and f' since it was queued{age}'}.",
            (f"{_capital(suited)} could run it, {_room(idle)} now.", *_place(idle.place)),
            "Wait some minutes. If it stays so, jobs of other users or your quota come first.",
            (),
        )
    return (
        f"It waits for its turn: {suited} could run it, {_room(idle)} now.",
        (*_rejected(idle), *_place(idle.place)),
        "Wait.",
        (),
    )


_CONTAINERS = re.compile(r"\bHas(Container|Docker|DockerURL|SIF|Singularity)\b", re.I)
"""What slots say of themselves that can run them."""


def _nothing_fits(idle: Idle) -> _Words:
    impossible = [condition for condition in idle.conditions if not condition.slots]
    details = [_condition(condition, idle) for condition in impossible]
    blamed = impossible
    if not impossible:
        details = ["Each of its conditions is met by some slots, but no slot meets all."]
        blamed = [condition for condition in idle.conditions if condition.rest]
        for condition in sorted(blamed, key=lambda c: -c.rest):
            many = _many(condition.rest)
            details.append(f"Without this one {many} would do: {_condition(condition, idle)}")
        if not blamed:
            rarest = sorted(idle.conditions, key=lambda c: c.slots)[:3]
            details += [f"{_many(c.slots)}: {_condition(c, idle)}" for c in rarest]
    blamed_resources = [name for c in blamed if (name := _resource(c.text))]
    keys = [f"resources.{_KEYS[name]}" for name in blamed_resources]
    what = (
        "Ask for less"
        if keys and len(keys) == len(blamed)
        else "Change `requirements:` in the sweep"
    )
    if keys and len(keys) < len(blamed):
        what += " and ask for less"
    if any(_CONTAINERS.search(condition.text) for condition in blamed):
        what = (
            "These slots run no containers: Apptainer must be there. Use another pool, or another"
        )
        what += " kind of `environment:`" + (", and ask for less" if keys else "")
    named = f" ({', '.join(keys)})" if keys else ""
    todo = f"{what}{named}, and run what is missing."
    remove, again = _commands(blamed_resources, idle)
    if found := list(dict.fromkeys(filter(None, map(_requirement, blamed)))):
        left_out = " and ".join(f"`{key}:`" for key in found)
        todo += f" To run it without {left_out}:"
        again += "".join(f" --set requirements.{key}=null" for key in found)
    return _none(idle), tuple(details), todo, (remove, again)


def _none(idle: Idle) -> str:
    if idle.slots == 1:
        return "The pool's only slot could not run it, not even when nothing else runs there."
    return f"None of {_slots(idle.slots)} could run it, not even when nothing else runs there."


def _commands(over: Sequence[str], idle: Idle) -> tuple[str, str]:
    """How to ask for no more than the largest slot has."""
    changes = ""
    for name in over:
        most = idle.largest.get(name, 0)
        if name in ("Memory", "Disk"):
            most_mib = most // 1024 if name == "Disk" else most
            amount = f"{most_mib}MB" if most_mib < 2048 else f"{most_mib // 1024}GB"
        else:
            amount = str(most)
        changes += f' --set "resources.{_KEYS[name]}={amount}"'
    return REMOVE, AGAIN + changes


def _refused(idle: Idle, suited: str) -> _Words:
    over = [name for name, asked in idle.asked_for.items() if asked > idle.largest.get(name, 0)]
    if over:
        keys = ", ".join(f"resources.{_KEYS[name]}" for name in over)
        return (
            _none(idle),
            tuple(_asks(name, idle) for name in over),
            f"Ask for less ({keys}), and run what is missing.",
            _commands(over, idle),
        )
    return (
        f"{_capital(suited)} would suit it, but {_refuse(idle)}.",
        ("Their owners' rules (START) are about users, projects, or how long a job may be.",),
        "See what the pool says of its rules; on the OSPool, `project:` and shorter jobs.",
        (),
    )


def _asks(name: str, idle: Idle) -> str:
    asked, most = idle.asked_for[name], idle.largest.get(name, 0)
    return (
        f"{_CALLED[name]}: it asks for {_amount(name, asked)}; the largest slot has "
        f"{_amount(name, most)}"
    )


def _condition(condition: Condition, idle: Idle) -> str:
    name = _resource(condition.text)
    if name and name in idle.asked_for:
        return _asks(name, idle)
    text = condition.text if len(condition.text) <= SHOWN else condition.text[:SHOWN] + "..."
    about = next((words for sign, words in _ABOUT if sign in condition.text), "")
    text = f"{about}: `{text}`" if about else f"`{text}`"
    if condition.unknown:
        return f"{text}: no slot has {' or '.join(condition.unknown)}"
    return text + ("" if condition.slots else ": true for no slot")


_ABOUT = (
    ("OSGVO_OS_STRING", "the operating system (`os:`)"),
    ("OpSysName", "the operating system (`os:`)"),
    ("OpSys ", "the operating system"),
    ("Microarch", "the level of the CPU (`microarch:`)"),
    ("Arch ", "the kind of CPU"),
    ("CVMFS", "CVMFS (`cvmfs:`)"),
    ("GLIDEIN_Site", "the site (`sites:`)"),
    ("HasSIF", "containers"),
    ("HasSingularity", "containers"),
    ("HasContainer", "containers"),
    ("HasFileTransfer", "the transfer of files"),
    ("GPUs", "GPUs (`gpus:`)"),
)
"""What conditions are about, by what stands in them; those that the sweep asks for, by its keys."""


def _requirement(condition: Condition) -> str:
    """The key of `requirements:` that may be left out, and asks for the condition; or nothing."""
    about = next((words for sign, words in _ABOUT if sign in condition.text), "")
    return next((key for key in ("os", "cvmfs", "sites") if f"`{key}:`" in about), "")


def _resource(text: str) -> str:
    found = _REQUEST.search(text)
    known = {name.lower(): name for name in _CALLED}
    return known[found[1].lower()] if found else ""


_REJECTED = (
    ("submitter limit", "your share of the pool, or your group's quota, was used up"),
    ("concurrency limit", "a limit on how many such jobs may run at once was reached"),
    ("priority", "users with a better priority came first"),
    ("preemption", "it may not take the place of running jobs"),
    ("network", "the network has no room for more"),
    ("no match", "no slot was free for it"),
)


def _rejected(idle: Idle) -> tuple[str, ...]:
    if not idle.rejected or idle.matched > idle.rejected_at:
        return ()
    told = idle.rejected.strip()
    meant = next((words for sign, words in _REJECTED if sign in told.lower()), "")
    when = f" {_duration(idle.now - idle.rejected_at)} ago" if idle.now > idle.rejected_at else ""
    return (f'The negotiator\'s last word{when}: "{told}"{f" ({meant})" if meant else ""}.',)


def _place(place: Place | None) -> tuple[str, ...]:
    if place is None:
        return ()
    before = f"{place.better:,} of {place.users:,} users" if place.better else "no other user"
    text = (
        f"Your priority is {place.priority:,.0f} (less is better): {before} before you. "
        f"You use {_cores(place.used)} now."
    )
    if 0 <= place.ceiling <= place.used:
        text += f" More than {place.ceiling:,.0f} you may not use."
    return (text,)


def _cores(count: float) -> str:
    return f"{count:,.0f} core{'s' * (f'{count:.0f}' != '1')}"


def factory_words(factory: Factory | None, held: int) -> Waiting:
    """Why a task is not even in the queue. held: how many jobs of its cluster are."""
    if factory is None or factory.paused == _ALL_MADE:
        return Waiting(
            "Its job is not in the queue, and HTCondor knows of none to come.",
            todo="If the jobs were removed outside of osgbatch, run what is missing.",
            commands=("osgbatch resubmit {batch} --missing",),
        )
    if factory.paused:
        words = {1: "held", 3: "removed"}.get(factory.paused, "stopped")
        why = f': "{factory.reason}"' if factory.reason else ""
        cause = f"Its job is not in the queue yet, and the making of new jobs is {words}{why}."
        if factory.paused == _HELD:
            todo = "Release the batch: what makes new jobs is released with it."
            return Waiting(cause, todo=todo, commands=("osgbatch release {batch}",))
        # No release brings it back.
        none = "What is not queued yet will never come."
        if factory.paused >= _REMOVED:
            return Waiting(cause, (), f"{none} Run what is missing.", (AGAIN,))
        told = ("Its submit file or its items cannot be read, or are not as they were submitted.",)
        return Waiting(cause, told, f"{none} Cancel it, and run what is missing.", (REMOVE, AGAIN))
    max_idle = factory.max_idle
    if max_idle and held >= max_idle:
        return Waiting(
            f"Its job is not in the queue yet, and none will come: {held:,} jobs are held, and "
            f"no more than {max_idle:,} may wait or be held at once.",
            todo="Release the held jobs, or remove them.",
            commands=("osgbatch release {batch}", "osgbatch cancel {batch} --held"),
        )
    some = f"; {held:,} held ones count among them" if held else ""
    return Waiting(
        "Its job is not in the queue yet: it comes when others have started.",
        (f"At most {max_idle:,} wait at a time{some}.",) if max_idle else (),
        "Wait.",
    )


def _busy(idle: Idle) -> str:
    return "it has no room now" if idle.slots == 1 else "none of them has room now"


def _room(idle: Idle) -> str:
    return "and has room" if idle.slots == 1 else f"{idle.free:,} of them have room"


def _refuse(idle: Idle) -> str:
    if idle.asked == 1:
        return "does not want it"
    return f"do not want it: all {idle.asked:,} that were asked refuse"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _slots(count: int) -> str:
    return "the pool's only slot" if count == 1 else f"the pool's {count:,} slots"


def _many(count: int) -> str:
    return f"{count:,} slot{'s' * (count != 1)}"


def _amount(name: str, count: int) -> str:
    """MiB of memory and KiB of disk in GB or MB; others as they are."""
    if name not in ("Memory", "Disk"):
        return f"{count:,}"
    mib = count / 1024 if name == "Disk" else count
    return f"{mib:,.0f} MB" if mib < 1024 else f"{mib / 1024:,.1f} GB"


def _duration(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(0, seconds):.0f} s"
