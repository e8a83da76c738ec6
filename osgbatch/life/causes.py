"""Tasks that went wrong, put together by cause, and hosts and sites at which all go wrong."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache

from osgbatch import names
from osgbatch.batches.folder import Batch
from osgbatch.condor.hold_codes import explain_hold, subcode_words
from osgbatch.errors import OsgbatchError
from osgbatch.life.required import avoiding
from osgbatch.model import TaskState
from osgbatch.returned.codes import EXIT_CODES, SIGNALS, Ending, ShimCode, ending, sign
from osgbatch.spec_model import Requirements
from osgbatch.task_ranges import parse_task_ranges, task_list

BADLY = ("failed", "held", "unknown")
"""States that speak against the place where a task ran."""
NAMED = 20
"""Characters that the tasks may take in a command; longer, all failed ones are run again."""
STOPPED = "osgbatch --stop-after"
"""With this the reason of a hold by `--stop-after` begins."""
SUSPECT_JOBS = 2
"""A place is suspected once so many of its jobs have gone wrong, and none right."""


@dataclass(frozen=True)
class Cause:
    """What several tasks have in common that did not go as they should.

    code: HTCondor's or the shim's, or the exit code, as a heading; cause: in plain words; told: in
    the words of HTCondor or the shim, of the task `example`; details: what more is known;
    hosts, sites: how many of the tasks were where. todo, commands: what to do, and to type.
    output: the last lines of what the example wrote to `stream`.
    """

    state: str
    code: str
    cause: str
    tasks: tuple[int, ...]
    example: int
    told: str = ""
    details: tuple[str, ...] = ()
    hosts: Mapping[str, int] = field(default_factory=dict)
    sites: Mapping[str, int] = field(default_factory=dict)
    todo: str = ""
    commands: tuple[str, ...] = ()
    stream: str = ""
    output: tuple[str, ...] = ()


@dataclass(frozen=True)
class Suspect:
    """A host or site at which all tasks went wrong, while elsewhere they did not.

    kind: host or site; bad: how many tasks went wrong there; there, elsewhere: (bad, all) of those
    that ended elsewhere.
    """

    kind: str
    name: str
    bad: int
    elsewhere_bad: int
    elsewhere: int
    command: str


def group(states: Iterable[TaskState]) -> list[list[TaskState]]:
    """Tasks that did not go as they should, those alike together, the most frequent first."""
    found: dict[object, list[TaskState]] = {}
    for state in states:
        found.setdefault(_key(state), []).append(state)
    order = {"held": 0, "failed": 1, "unknown": 2, "removed": 3}
    return sorted(found.values(), key=lambda same: (order.get(same[0].state, 9), -len(same)))


def _key(state: TaskState) -> object:
    if state.state == "held" and state.job:
        return ("held", state.job.hold_code, state.job.hold_subcode, normalized(state.reason))
    told = normalized(state.detail)
    if state.state == "removed":
        return ("removed", normalized(state.reason))
    return (state.state, state.reason, state.exit_code, state.signal, told)


_SLOT = re.compile(r"\bslot[\w.-]*@[\w.:-]+")
_ADDRESS = re.compile(r"<[^<>\s]*>")
_PATH = re.compile(r"[^\s'\"(),;]*/[^\s'\"(),;]+")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


def normalized(text: str) -> str:
    """A reason without what differs between jobs: slots, addresses, paths and numbers."""
    for pattern, instead in ((_SLOT, "slot"), (_ADDRESS, "<>"), (_PATH, "/"), (_NUMBER, "#")):
        text = pattern.sub(instead, text)
    return " ".join(text.split())


def describe(batch: Batch, name: str, same: Sequence[TaskState], *, alone: bool = True) -> Cause:
    """What a group has in common.

    name: of the batch, as commands have it; alone: whether no others are in the same state, so that
    commands need not name the tasks.
    """
    first = next((state for state in same if state.archive), same[0])
    code, cause, todo, commands, details = _words(first)
    values = {"batch": name, "task": str(first.index), **suggestions(batch, same)}
    told = _told(first)
    return Cause(
        state=first.state,
        code=code,
        cause=cause,
        tasks=tuple(state.index for state in same),
        example=first.index,
        told=told if told.casefold() != cause.rstrip(".").casefold() else "",
        details=details,
        hosts=_places(same, host_of),
        sites=_places(same, site_of),
        todo=todo,
        commands=_chosen_all(commands, values, same, alone),
    )


def with_sign(
    batch: Batch, name: str, cause: Cause, same: Sequence[TaskState], alone: bool
) -> Cause:
    """With what the end of stderr suggests, where it does."""
    found = sign("\n".join(cause.output))
    if found is None or cause.stream == "stdout":
        return cause
    values = {"batch": name, "task": str(cause.example), **suggestions(batch, same)}
    return replace(
        cause,
        details=(*cause.details, f"Its stderr suggests: {found.cause}."),
        todo=f"{found.todo} Then run the tasks again.",
        commands=_chosen_all(found.commands, values, same, alone),
    )


AGAIN = {"failed": "--failed", "held": "--held", "unknown": "--missing", "removed": "--missing"}
"""By which option of `osgbatch resubmit` tasks in a state are run again."""
_AGAIN = re.compile(" --(?:failed|held|missing)(?![\\w-])")


def _chosen_all(
    commands: Iterable[str], values: Mapping[str, str], same: Sequence[TaskState], alone: bool
) -> tuple[str, ...]:
    filled = (fill(command, values) for command in commands)
    return tuple(one for command in filled for one in _chosen(command, same, alone))


def for_tasks(commands: Iterable[str], same: Sequence[TaskState]) -> Iterator[str]:
    """Commands, not filled in yet, as they are for these tasks and no others."""
    return (one for command in commands for one in _chosen(command, same, alone=False))


def _chosen(command: str, same: Sequence[TaskState], alone: bool) -> Iterator[str]:
    """A command for these tasks only, where others went wrong in other ways; may take two."""
    tasks = task_list([state.index for state in same])
    named = not alone and len(tasks) <= NAMED
    program, verb, batch, *_ = command.split(" ", 3)
    if verb == "resubmit":
        state = same[0].state
        if named and state == "held":  # `--held` would remove all that are held
            yield f"{program} cancel {batch} --tasks {tasks}"
        yield _AGAIN.sub(f" --tasks {tasks}" if named else f" {AGAIN[state]}", command)
    elif verb in ("release", "cancel") and named:
        yield f"{command} --tasks {tasks}"
    else:
        yield command


def fill(text: str, values: Mapping[str, str]) -> str:
    """A command with {batch}, {memory} and the like filled in."""
    return re.sub(r"\{(\w+)\}", lambda found: values.get(found[1], found[0]), text)


_NEVER = Ending(
    "it was cancelled while it waited for the canary, and never submitted",
    "Run it now, if it is wanted after all; what it waited for is not waited for any more.",
    ("osgbatch resubmit {batch} --missing",),
)
_Words = tuple[str, str, str, tuple[str, ...], tuple[str, ...]]


def _words(state: TaskState) -> _Words:
    """Heading, cause, what to do, commands, details."""
    if state.state == "held":
        code, subcode = (state.job.hold_code, state.job.hold_subcode) if state.job else (0, 0)
        row = explain_hold(code, subcode, state.reason)
        meant = subcode_words(code, subcode)
        label = f"hold {code}.{subcode}" + (f", {row.name}" if row.name else "")
        details = (f"Subcode {subcode} is: {meant}.",) if meant and row.subcode is None else ()
        return label, row.cause, row.todo, row.commands, details
    known = ending("removed" if state.state == "removed" else state.reason, state.exit_code)
    if state.state == "removed" and not state.round:
        known = _NEVER
    if known is None:
        known = Ending("osgbatch has no more to say about it", "Run the tasks again.")
    cause = _sentence(known.cause)
    return _heading(state, known), cause, known.todo, known.commands, _meaning(state)


def heading(state: TaskState) -> tuple[str, str]:
    """The code and the cause of a task that went wrong: `hold 13.2, TransferInputError`."""
    return _words(state)[:2]


def _heading(state: TaskState, known: Ending) -> str:
    if state.reason == "exit":
        return f"exit code {state.exit_code}"
    if state.signal is not None:
        name = SIGNALS.get(state.signal, ("", ""))[0]
        return f"signal {state.signal}" + (f" ({name})" if name else "")
    if isinstance(known, ShimCode):
        return f"shim code {known.code}"
    return "" if state.state == "removed" else state.reason


def _meaning(state: TaskState) -> tuple[str, ...]:
    """What an exit code or a signal most often means."""
    code, signal = state.exit_code or 0, state.signal or 0
    if state.reason == "exit" and code in EXIT_CODES:
        return (f"{code} most often means: {EXIT_CODES[code]}.",)
    if state.reason == "signal" and signal in SIGNALS:
        return (f"Signal {signal}: {SIGNALS[signal][1]}.",)
    return ()


_LONG = re.compile(r"\.?[A-Za-z0-9+=]{12}[A-Za-z0-9+/=]{28,}")
"""The rows of tasks, as they stand in a job's arguments."""


def _told(state: TaskState) -> str:
    text = state.reason if state.state in ("held", "removed") else state.detail
    return _LONG.sub(lambda word: word[0][:12] + "...", " ".join(text.split()))


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


# --- what to ask for instead ----------------------------------------------------------------------


def suggestions(batch: Batch, same: Sequence[TaskState]) -> dict[str, str]:
    """Of memory, disk, cores and time what to ask for next: twice as much, more if it used more."""
    asked = asked_for(batch, same)
    used = max((state.job.memory_mb for state in same if state.job), default=0)
    limits = [int(n) for s in same[:LOOKED_AT] for n in _LIMIT.findall(s.reason)]
    memory = max(2 * asked["memory_mb"], 2 * max(limits, default=0), used * 3 // 2, 1)
    disk = max(2 * asked["disk_kb"] // 1024, 1024)
    return {
        "memory": _size(memory),
        "disk": _size(disk),
        "cpus": str(2 * max(1, asked["cpus"])),
        "time": _time(2 * asked["time_s"]) if asked["time_s"] else "2 h",
    }


LOOKED_AT = 100
"""Of a group, so many tasks are looked at for what they asked for."""
_LIMIT = re.compile(r"limit of (\d+) megabytes")
_ASKED = ("memory_mb", "disk_kb", "cpus", "time_s")


def asked_for(batch: Batch, same: Sequence[TaskState]) -> dict[str, int]:
    """The most that jobs of a group asked for: what their round or their own lines say."""
    procs: dict[int, set[int]] = {}
    for state in same[:LOOKED_AT]:
        proc = {state.job.proc} if state.job else set()
        procs.setdefault(max(1, state.round), set()).update(proc)
    found = dict.fromkeys(_ASKED, 0)
    for number, chosen in procs.items():
        data = batch.round_data(number)
        fields = list(data.get("item_names") or ())
        lines = list(_lines(batch, number, chosen)) if set(fields) & set(_ASKED) else []
        for key in _ASKED:
            at = fields.index(key) if key in fields else len(fields)
            words = [word for line in lines for word in line[at : at + 1] if word.isdigit()]
            shared = int((data.get("resources") or {}).get(key) or 0)
            found[key] = max(found[key], *map(int, words)) if words else max(found[key], shared)
    found["time_s"] = max((time_limit(batch, number) for number in procs), default=0)
    return found


def time_limit(batch: Batch, number: int) -> int:
    """How long a task of a round may take, in s; 0: as long as it likes.

    The round tells of its jobs, whose limit is the sum of their tasks': the first has most of them.
    """
    of_job = int((batch.round_data(number).get("resources") or {}).get("time_s") or 0)
    first = next(_lines(batch, number, (0,)), None) if of_job else None
    with suppress(OsgbatchError, ValueError, IndexError):
        return of_job // max(1, len(parse_task_ranges(first[0]))) if first else of_job
    return of_job


def _lines(batch: Batch, number: int, procs: Container[int]) -> Iterator[list[str]]:
    """The fields of some jobs' lines in a round's item file."""
    path = names.round_folder(batch.folder, number) / names.ITEMS
    with suppress(OSError), path.open() as items:
        for proc, line in enumerate(items):
            if proc in procs:
                yield line.rstrip("\n").split(" ")


def _size(mib: int) -> str:
    """MiB as a setting: in steps of 256 MB below 1 GB, else in whole GB."""
    return f"{-(-mib // 256) * 256}MB" if mib <= 768 else f"{-(-mib // 1024)}GB"


def _time(seconds: int) -> str:
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{-(-seconds // length)} {unit}"
    return f"{seconds} s"


# --- places ---------------------------------------------------------------------------------------


def host_of(state: TaskState) -> str:
    """The machine on which a task ran last; empty when it is not known."""
    slot = state.job.host if state.job else ""
    return state.job_record.get("host") or slot.rpartition("@")[2]


def site_of(state: TaskState) -> str:
    """The site, as its own job record tells it; empty when it is not known."""
    return state.job_record.get("site", "")


def _places(same: Sequence[TaskState], place: Callable[[TaskState], str]) -> dict[str, int]:
    return dict(Counter(filter(None, map(place, same))).most_common())


Required = Callable[[], Requirements | None]


def suspects(
    states: Sequence[TaskState], name: str, required: Required = Requirements
) -> list[Suspect]:
    """Sites, and hosts of other sites, at which all tasks went wrong, and elsewhere few did.

    states: of all tasks; name: of the batch, as commands have it; required: what it requires of
    execution points now, which holds on; asked only where a place is suspected.
    """
    # Records are read when they are looked into: once each, of as many tasks as there may be.
    where = {s.index: (host_of(s), site_of(s)) for s in states if s.state in (*BADLY, "succeeded")}
    ended = [state for state in states if where.get(state.index, ("", ""))[0]]
    required = cache(required)
    sites = _suspects("site", ended, lambda state: where[state.index][1], name, required)
    bad_sites = {suspect.name for suspect in sites}
    left = [state for state in ended if where[state.index][1] not in bad_sites]
    hosts = _suspects("host", left, lambda state: where[state.index][0], name, required)
    return [*sites, *hosts]


def _suspects(
    kind: str,
    ended: Sequence[TaskState],
    place: Callable[[TaskState], str],
    name: str,
    required: Required,
) -> list[Suspect]:
    total = Counter(map(place, ended))
    wrong = [state for state in ended if state.state in BADLY]
    bad = Counter(map(place, wrong))
    jobs: dict[str, set[tuple[int, int]]] = {}
    for state in wrong:
        jobs.setdefault(place(state), set()).add((state.round, state.job.proc if state.job else -1))
    found = []
    for where, count in bad.most_common():
        elsewhere, elsewhere_bad = len(ended) - total[where], len(wrong) - count
        if not where or count < total[where] or len(jobs[where]) < SUSPECT_JOBS:
            continue
        if elsewhere_bad * 2 >= elsewhere:  # it is as bad elsewhere: the place is not to blame
            continue
        states = {s.state for s in wrong if place(s) == where}
        which = " ".join(AGAIN[state] for state in BADLY if state in states)
        how = avoiding(kind, where, required())
        command = f"osgbatch resubmit {name} {which} --set {how}" if how else ""
        found.append(Suspect(kind, where, count, elsewhere_bad, elsewhere, command))
    return found
