"""Asks the collector how many jobs of one kind the pool could start now."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from osgbatch.condor.schedd import call_schedd
from osgbatch.errors import CondorError

ANSWER_LIMIT_S = 30
"""Seconds after which a collector that does not answer is called silent."""
MEMORY_STEP_MB = 128
DISK_STEP_KB = 1024
"""What an execution point rounds requests up to unless it is configured otherwise
(MODIFY_REQUEST_EXPR_REQUESTMEMORY and _REQUESTDISK, seen on 25.14.1)."""
_STRING_OR_TARGET = re.compile(r'"(?:\\.|[^"\\])*"|\bTARGET\s*\.', re.IGNORECASE)
_FREE = 'State == "Unclaimed" && DynamicSlot =!= true && Start =!= false'


def matching_slots(
    cpus: int, memory_mb: int, disk_kb: int, gpus: int, requirements: str = "true"
) -> int:
    """How many jobs that ask for this the pool's free slots would hold now, by one query.

    memory_mb: MiB; disk_kb: KiB, of a whole job; requirements: a ClassAd expression over the
    slot, as a submit file has it. Slots that are claimed or dynamic hold none. Whether a slot's
    owner wants the user's jobs, and what other users wait for, is not known: it is an estimate.
    Raises CondorError when the collector does not answer or cannot read the expression.
    """
    needs = {
        "Cpus": max(1, cpus),
        "Memory": _rounded(memory_mb, MEMORY_STEP_MB),
        "Disk": _rounded(disk_kb, DISK_STEP_KB),
        "GPUs": gpus,
    }
    constraint = f"{_FREE} && ({over_the_slot(requirements) or 'true'})"
    return count_fitting(_query(constraint, ["PartitionableSlot", *needs]), needs)


def count_fitting(slots: Iterable[Mapping[str, Any]], needs: Mapping[str, int]) -> int:
    """How many times the needs fit into free slots, slot by slot.

    A partitionable slot is divided; a static one holds one job or none.
    """
    total = 0
    for slot in slots:
        times = min(_number(slot.get(name)) // need for name, need in needs.items() if need > 0)
        if slot.get("PartitionableSlot") is not True:
            times = min(times, 1)
        total += max(0, times)
    return total


def _number(value: Any) -> int:
    """A resource of a slot; what is absent or no number counts as nothing."""
    return int(value) if isinstance(value, int | float) else 0


def _rounded(count: int, step: int) -> int:
    return -(-count // step) * step


def over_the_slot(requirements: str) -> str:
    """The expression as the collector evaluates it: there, the slot is MY and TARGET is nothing."""
    return _STRING_OR_TARGET.sub(
        lambda found: found[0] if found[0].startswith('"') else "MY.", requirements
    )


def _query(constraint: str, projection: list[str]) -> list[Any]:
    def ask(htcondor: Any) -> list[Any]:
        htcondor.param["QUERY_TIMEOUT"] = str(ANSWER_LIMIT_S)
        kind = htcondor.AdType.Startd
        return list(htcondor.Collector().query(kind, constraint=constraint, projection=projection))

    try:
        found: list[Any] = call_schedd(ask, "collector")
    except CondorError as error:
        error.what = error.what.replace("did not answer", "did not tell the pool's free slots")
        error.fix = "Try again without --fit-pool, or see `condor_status`."
        raise
    return found
