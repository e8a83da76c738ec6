"""Why one job waits: asks schedd, collector and negotiator, and matches the job against the slots.

What `condor_q -better-analyze` prints differs between versions (23.9, 25.14); this evaluates the
same conditions itself, asks the collector for the few attributes that they read, and counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from osgbatch.condor.conditions import conjuncts, read_by, scoped
from osgbatch.condor.schedd import call_schedd, constraint_of
from osgbatch.errors import CondorError
from osgbatch.model import Round

SLOTS_ASKED = 25
"""Of the slots that suit a job, so many are asked whether they want it."""
RESOURCES = ("Cpus", "Memory", "Disk", "GPUs")
STATUS = {
    1: "waiting", 2: "running", 3: "removed", 4: "completed", 5: "held",
    6: "transferring output", 7: "suspended",
}  # fmt: skip
"""JobStatus in our words. Source: the manual's job status codes."""
_IDLE = 1


@dataclass(frozen=True)
class Condition:
    """One of the conditions that a job's Requirements join by `&&`.

    slots: how many meet it when nothing runs on them; rest: how many meet all the others.
    unknown: the attributes in it that no slot has.
    """

    text: str
    slots: int
    rest: int
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True)
class Place:
    """A user's place in the pool, as the negotiator tells it.

    priority: effective, smaller is better; better: of `users` who want or use something, so many
    have a better one; used: cores in use, by slot weights; ceiling: most that is allowed, -1: none.
    """

    priority: float
    better: int
    users: int
    used: float
    ceiling: float = -1


@dataclass(frozen=True)
class Idle:
    """What is known of a job that waits.

    status: one of STATUS; slots: of the pool, those made for a job by dividing another left out;
    fitting: those that meet its conditions when nothing runs on them; free: those that do so now;
    refusing: of the `asked` fitting ones those that do not want the job. conditions: in the job's
    order. asked_for, largest: of each resource, what the job asks for and the most that a slot has
    (cores, MiB, KiB, GPUs). rejected: what the negotiator said last, and when; times in seconds
    since 1970, 0 for never. project: its ProjectName. pilots: whether the slots are glideins.
    flocking: other pools that the access point sends jobs to, which were not asked. held: code,
    subcode and reason of a job that is held.
    """

    job: str
    status: str
    slots: int = 0
    fitting: int = 0
    free: int = 0
    asked: int = 0
    refusing: int = 0
    conditions: Sequence[Condition] = ()
    asked_for: Mapping[str, int] = field(default_factory=dict)
    largest: Mapping[str, int] = field(default_factory=dict)
    queued: float = 0
    matched: float = 0
    rejected: str = ""
    rejected_at: float = 0
    starts: int = 0
    came_back: str = ""
    project: str = ""
    pilots: bool = False
    flocking: str = ""
    place: Place | None = None
    held: tuple[int, int, str] = (0, 0, "")
    now: float = 0


@dataclass(frozen=True)
class Factory:
    """The part of a cluster that is not yet in the queue.

    paused: HTCondor's number for why it makes no more jobs, 0 when it does; 1: held, 3: removed,
    -1: its items are wrong. reason: in HTCondor's words. max_idle: how many jobs may wait or be
    held at once, 0: no limit.
    """

    paused: int = 0
    reason: str = ""
    max_idle: int = 0


def ask_idle(round_: Round, cluster: int, proc: int) -> Idle | None:
    """Why a job waits: one query of the schedd, two of the collector, one of the negotiator.

    None when it is not in the queue (any more, or yet). Raises CondorError when schedd or
    collector do not answer; without the negotiator, what it would tell is left out.
    """
    mine = f"ClusterId == {cluster} && ProcId == {proc} && {constraint_of(round_)}"
    found = call_schedd(lambda condor: condor.Schedd().query(mine, []))
    if not found:
        return None
    job = found[0]
    if _number(job, "JobStatus") != _IDLE:
        return _basics(job)
    text = str(job.lookup("Requirements")) if "Requirements" in job else "true"
    wanted = sorted({*read_by(job, text), *_ALWAYS})
    if "AvailableGPUs" in wanted:  # a list of other attributes, each a GPU
        wanted = []
    slots = call_schedd(
        lambda condor: list(
            condor.Collector().query(
                condor.AdType.Startd, constraint="DynamicSlot =!= true", projection=wanted
            )
        ),
        "collector",
    )
    idle = match(job, slots, conjuncts(text))
    return _complete(idle, job, slots)


def ask_factory(round_: Round, cluster: int) -> Factory | None:
    """The factory of a cluster; None when it has none, or the queue does not know the cluster."""
    wanted = ["ProcId", *(f"JobMaterialize{name}" for name in ("Paused", "PauseReason", "MaxIdle"))]
    found = call_schedd(
        lambda condor: condor.Schedd().query(
            f"ClusterId == {cluster} && ProcId =?= undefined && {constraint_of(round_)}",
            wanted,
            opts=condor.QueryOpt.IncludeClusterAd,
        )
    )
    for ad in found:
        if "ProcId" not in ad:
            reason = str(ad.get("JobMaterializePauseReason", ""))
            most = _number(ad, "JobMaterializeMaxIdle")
            return Factory(_number(ad, "JobMaterializePaused"), reason, most)
    return None


# --- matching -----------------------------------------------------------------------------------


def match(job: Any, slots: Sequence[Any], texts: Sequence[str]) -> Idle:
    """Count the slots that meet the conditions of a job, each by itself and all together.

    job, slots: ads of classad2; texts: the conditions.
    """
    import classad2

    conditions = [classad2.ExprTree(scoped(job, text)) for text in texts]
    met, rest = [0] * len(texts), [0] * len(texts)
    fitting = free = 0
    largest = dict.fromkeys(RESOURCES, 0)
    for slot in slots:
        whole = _emptied(slot)
        for name in RESOURCES:
            largest[name] = max(largest[name], _number(whole, name))
        missed = [i for i, c in enumerate(conditions) if c.eval(job, whole) is not True]
        for i in range(len(texts)):
            met[i] += i not in missed
            rest[i] += missed in ([], [i])
        if not missed:
            fitting += 1
            free += _has_room(slot, job) and all(c.eval(job, slot) is True for c in conditions)
    counted = [
        Condition(text, met[i], rest[i], _unknown(job, text, slots) if not met[i] else ())
        for i, text in enumerate(texts)
    ]
    return _basics(
        job, slots=len(slots), fitting=fitting, free=free, conditions=counted, largest=largest
    )


def _emptied(slot: Any) -> Any:
    """A slot as it is when nothing runs on it: of a partitionable one, all that it has."""
    if slot.get("PartitionableSlot") is not True:
        return slot
    import classad2

    whole = classad2.ClassAd(str(slot))
    for name in RESOURCES:
        total = slot.get(f"TotalSlot{name}")
        if isinstance(total, int | float):
            whole[name] = total
    return whole


def _has_room(slot: Any, job: Any) -> bool:
    """Whether what is left of a slot is enough for a job.

    Its Requirements do not always say so: those of 25.14 have no condition on Cpus.
    """
    if slot.get("PartitionableSlot") is not True and slot.get("State") != "Unclaimed":
        return False
    return all(_number(slot, name) >= _number(job, f"Request{name}") for name in RESOURCES)


def _unknown(job: Any, text: str, slots: Sequence[Any]) -> tuple[str, ...]:
    """The attributes that a condition reads and no slot has."""
    return tuple(name for name in read_by(job, text) if not any(name in slot for slot in slots))


_ALWAYS = (
    "Name", "State", "PartitionableSlot", "GLIDEIN_Site", "GLIDEIN_ResourceName", *RESOURCES,
    *(f"TotalSlot{name}" for name in RESOURCES),
)  # fmt: skip
# --- asking -------------------------------------------------------------------------------------


def _basics(job: Any, **more: Any) -> Idle:
    asked_for = {name: _number(job, f"Request{name}") for name in RESOURCES}
    return Idle(
        job=f"{_number(job, 'ClusterId')}.{_number(job, 'ProcId')}",
        status=STATUS.get(_number(job, "JobStatus"), "unknown"),
        asked_for={name: count for name, count in asked_for.items() if count},
        queued=_number(job, "QDate"),
        matched=_number(job, "LastMatchTime"),
        rejected=str(job.get("LastRejMatchReason", "")),
        rejected_at=_number(job, "LastRejMatchTime"),
        starts=_number(job, "NumJobStarts"),
        came_back=str(job.get("VacateReason", "")),
        project=str(job.get("ProjectName", "")),
        held=(
            _number(job, "HoldReasonCode"),
            _number(job, "HoldReasonSubCode"),
            str(job.get("HoldReason", "")),
        ),
        now=_number(job, "ServerTime"),
        **more,
    )


def _complete(idle: Idle, job: Any, slots: Sequence[Any]) -> Idle:
    """With what more is asked: whether slots want the job, other pools, the user's place."""
    asked = refusing = 0
    if idle.fitting:
        import classad2

        texts = [classad2.ExprTree(scoped(job, c.text)) for c in idle.conditions]
        suited = [s for s in slots if all(t.eval(job, _emptied(s)) is True for t in texts)]
        named = [str(slot.get("Name", "")) for slot in suited[:SLOTS_ASKED]]
        asked, refusing = _refusing(job, named)
    return replace(
        idle,
        asked=asked,
        refusing=refusing,
        pilots=any("GLIDEIN_Site" in s or "GLIDEIN_ResourceName" in s for s in slots),
        flocking=_flocking(),
        place=_place(str(job.get("AccountingGroup", job.get("User", "")))),
    )


def _refusing(job: Any, named: Sequence[str]) -> tuple[int, int]:
    """Of some slots, how many tell what they want, and how many of these do not want the job."""
    chosen = " || ".join(f'Name == "{name}"' for name in named)
    whole = call_schedd(
        lambda condor: list(condor.Collector().query(condor.AdType.Startd, constraint=chosen)),
        "collector",
    )
    return refusing(job, whole)


def refusing(job: Any, slots: Sequence[Any]) -> tuple[int, int]:
    """Of whole ads of slots, how many tell what they want, and how many do not want the job."""
    answers = [_wants(slot, job) for slot in slots if "Requirements" in slot]
    return len(answers), answers.count(False)


def _wants(slot: Any, job: Any) -> bool:
    """Whether a slot, when nothing runs on it, wants a job.

    Names without a scope are those of the slot, then those of the job, also in other attributes
    that its Requirements read: so the negotiator has it, where `eval` alone finds them undefined.
    """
    import classad2

    both = classad2.ClassAd(str(_emptied(slot)))
    for name in job:
        if name not in both:
            both[name] = job.lookup(name)
    return slot.lookup("Requirements").eval(both, job) is not False


def _flocking() -> str:
    try:
        import htcondor2

        return str(htcondor2.param.get("FLOCK_TO", "") or "")
    except (ImportError, KeyError, RuntimeError, OSError):
        return ""


def _place(user: str) -> Place | None:
    """The user's place; None where the negotiator does not say."""
    try:
        found = call_schedd(lambda c: list(c.Negotiator().getPriorities()), "negotiator")
    except CondorError:
        return None
    users = [ad for ad in found if ad.get("IsAccountingGroup") is not True]
    own = next((ad for ad in users if str(ad.get("Name", "")) == user), None)
    if own is None:
        return None
    priority = float(own.get("Priority", 0))
    return Place(
        priority,
        sum(float(ad.get("Priority", 0)) < priority for ad in users),
        len(users),
        float(own.get("WeightedResourcesUsed", 0)),
        float(own.get("Ceiling", -1)),
    )


def _number(ad: Any, name: str) -> int:
    """An attribute that is a number; 0 when it is absent or something else."""
    value = ad.get(name)
    if hasattr(value, "eval"):
        value = value.eval(ad)
    return int(value) if isinstance(value, int | float) else 0
