"""When HTCondor starts a job again, or holds it: what the submit file says of that.

Each expression is bounded by the job's own counts, and leaves holds by a user alone. Which
attributes a job has, and with which codes it is held, was seen on HTCondor 25.14.1 and 23.9.6.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from osgbatch.plan_model import Resolved
from osgbatch.spec_model import Ladder, Profile
from osgbatch.urls import scheme

MEMORY_LADDERS = "25.2.1"
"""The first version with retry_request_memory_increase and retry_request_memory_max."""
DISK_LADDERS = "25.10.1"
"""The first version with retry_request_disk."""
OVER_MEMORY, OVER_DISK = 102, 104
"""Subcodes of a job that an execution point stopped for using too much (hold codes 21 and 34)."""
NEVER_MENDED = (1, 2, 13, 20, 21, 28, 36, 122)
"""Subcodes of transfer holds that waiting does not mend: errno of a file that is not there or may
not be read or written (EPERM, ENOENT, EACCES, ENOTDIR, EISDIR, ENAMETOOLONG), of a full disk
(ENOSPC) or quota (EDQUOT). Those of plugins for URLs are 256 and more."""
NOT_STARTED = 1
"""The subcode (of hold code 3) of a job that was started in vain too often."""
AVOID_S = 3600
"""For how long a job avoids a place after it was started there."""
FEW_SITES = 3
"""Of fewer sites than these none is avoided: there would be nothing left."""


def again(resolved: Resolved) -> dict[str, Any]:
    """What the template of the submit file needs of this."""
    retries, profile = resolved.plan.spec.retries, resolved.plan.spec.profile
    memory = _requests(resolved, "memory_mb")
    disk = _requests(resolved, "disk_kb")
    return {
        "memory_ladder": _memory(retries.memory, memory) if retries.memory else None,
        "disk_ladder": _disk(retries.disk, disk) if retries.disk else None,
        "resource_holds": RESOURCE_HOLDS,
        "transfer_holds": TRANSFER_HOLDS,
        "transfer_release": _transfer_release(resolved, profile),
        "never_started": _never_started(profile.bad_starts),
        "not_started_subcode": NOT_STARTED,
        "avoid": _avoided(resolved),
    }


def _requests(resolved: Resolved, name: str) -> tuple[str, int, int]:
    """What jobs ask for at first: as it stands in the submit file, the least, and the most."""
    each: Sequence[int] = getattr(resolved.each, name)
    same: int = getattr(resolved.resources, name)
    return (f"$({name})", min(each), max(each)) if each else (str(same), same, same)


# --- more memory, more disk ----------------------------------------------------------------------


def _holds(*labels: str) -> str:
    """How often a job was held for these reasons, by the labels of NumHoldsByReason."""
    return "(" + " + ".join(f"(NumHoldsByReason.{label} ?: 0)" for label in labels) + ")"


RESOURCE_HOLDS = _holds("StartdHeldJob", "JobOutOfResources")
"""Holds of the codes 21 and 34."""
_TOO_MUCH = "$(resource_holds)"


def _memory(ladder: Ladder, request: tuple[str, int, int]) -> dict[str, Any]:
    """retry_request_memory_increase and its fallback.

    The step is an expression over the request of the time, so that it never lowers one, also one
    that was edited in the queue. At the last step it changes nothing; HTCondor then holds the job.
    """
    first, least, most = request
    return {
        "version": MEMORY_LADDERS,
        "increase": _next("RequestMemory", ladder),
        "most": max(ladder.most, most),
        "fallback": _by_holds(ladder, first),
        "release": _released(OVER_MEMORY, len(ladder.steps(least))),
    }


def _disk(ladder: Ladder, request: tuple[str, int, int]) -> dict[str, Any]:
    """retry_request_disk, which takes nothing but a list, and its fallback.

    The list is the same for all jobs, so it begins above the largest of their requests.
    """
    first, least, most = request
    return {
        "version": DISK_LADDERS,
        "sizes": ladder.steps(most),
        "fallback": _by_holds(ladder, first),
        "release": _released(OVER_DISK, len(ladder.steps(least))),
    }


def _next(request: str, ladder: Ladder) -> str:
    """What comes after a request."""
    if ladder.factor:
        return f"max({{{request}, min({{{_times(request, ladder.factor)}, {ladder.most}}})}})"
    found = request
    for size in reversed(ladder.sizes):
        found = f"ifThenElse({request} < {size}, {size}, {found})"
    return found


def _times(what: str, factor: float) -> str:
    return f"{what} * {factor:g}" if factor.is_integer() else f"int({what} * {factor:g})"


def _by_holds(ladder: Ladder, first: str) -> str:
    """What a job asks for by how often it was held for using too much."""
    if ladder.factor:
        more = f"int({first} * pow({ladder.factor:g}, {_TOO_MUCH}))"
        return f"max({{{first}, min({{{more}, {ladder.most}}})}})"
    found = str(ladder.most)
    for number, size in reversed(list(enumerate((0, *ladder.sizes[:-1])))):
        found = f"ifThenElse({_TOO_MUCH} <= {number}, {size or first}, {found})"
    return f"max({{{first}, {found}}})"


def _released(subcode: int, steps: int) -> str:
    """Whether a job that used too much is released: it asks for more now, as often as it can."""
    return (
        f"(member(HoldReasonCode, {{21, 34}}) && HoldReasonSubCode == {subcode} && "
        f"{_TOO_MUCH} <= {steps})"
    )


# --- files that could not be brought -------------------------------------------------------------

TRANSFER_HOLDS = _holds("TransferInputError", "TransferOutputError")
"""Holds of the codes 13 and 12."""
_TRANSFER_HOLDS = "$(transfer_holds)"


def _transfer_release(resolved: Resolved, profile: Profile) -> str:
    """Whether a job whose files could not be brought is released: a few times, after longer pauses.

    With outputs in a bucket HTCondor 25.14.1 holds jobs whose output has arrived: not those.
    """
    if not profile.releases:
        return ""
    delivery = resolved.delivery
    in_bucket = delivery is not None and scheme(delivery.url) == "s3"
    codes = "HoldReasonCode == 13" if in_bucket else "member(HoldReasonCode, {12, 13})"
    never = ", ".join(map(str, NEVER_MENDED))
    return (
        f"({codes} && !member(HoldReasonSubCode, {{{never}}}) && "
        f"{_TRANSFER_HOLDS} <= {profile.releases} && "
        f"time() - EnteredCurrentStatus >= {profile.release_after_s} * {_TRANSFER_HOLDS})"
    )


# --- starts that come to nothing -----------------------------------------------------------------

_IN_VAIN = ("SingularityTestFailed", "TransferInputError", "StarterError")


def _never_started(limit: int) -> str:
    """Whether an idle job was started in vain so often that it will not do better.

    The last vacate tells why: 13 and 45 are an input and an image (25.14), 1007 any fault of the
    starter (23.9). 25.14 counts vacates by reason; where that is missing, the number of starts has
    to do. Held so once and released, a job has as many starts again.
    """
    if not limit:
        return ""
    last = " || ".join(f"VacateReasonCode =?= {code}" for code in (13, 45, 1007))
    counted = " + ".join(f"(NumVacatesByReason.{label} ?: 0)" for label in _IN_VAIN)
    starts = f"ifThenElse(isUndefined(NumVacatesByReason), NumShadowStarts, {counted})"
    allowed = f"{limit} * (1 + (NumHoldsByReason.JobPolicy ?: 0))"
    return f"JobStatus == 1 && ({last}) && {starts} >= {allowed}"


# --- places that have just failed a job ----------------------------------------------------------


def _avoided(resolved: Resolved) -> str:
    """The attribute that names a place to avoid; empty where there is nowhere else to go."""
    spec = resolved.plan.spec
    only = spec.requirements.only_sites
    return "" if 0 < len(only) < FEW_SITES else spec.profile.avoid


def avoidance(attribute: str) -> str:
    """A requirement: none of the last two places, for an hour; then a pool with no other may.

    A place without the attribute is none to avoid. (Seen on 25.14 and 23.9: never the last one; the
    one before may come again while the claim on its slot is still held.) The time is that of the
    last start, which a job that was never started lacks: so all of those stay alike for the
    negotiator.
    """
    last, before = (f"MachineAttr{attribute}{number}" for number in (0, 1))
    elsewhere = f"TARGET.{attribute} =!= {last} && TARGET.{attribute} =!= {before}"
    long_ago = f"time() - (JobCurrentStartDate ?: 0) > {AVOID_S}"
    nowhere = f"isUndefined({last}) || isUndefined(TARGET.{attribute})"
    return f"({nowhere} || ({elsewhere}) || {long_ago})"
