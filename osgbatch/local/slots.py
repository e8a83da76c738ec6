"""How many jobs run at a time on this machine."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from osgbatch.errors import OsgbatchError
from osgbatch.local.record import Work

SLOTS_VARIABLE = "OSGBATCH_LOCAL_SLOTS"
MEMORY_SHARE = 0.8
"""Share of the available memory that jobs may ask for together."""


def slots(work: Work, override: str | None) -> int:
    """The number of jobs that run at a time: by processors and memory, or as the user says.

    override: the value of OSGBATCH_LOCAL_SLOTS. Raises OsgbatchError when it is no number.
    """
    if override:
        if not (override.isascii() and override.isdigit() and int(override) > 0):
            raise OsgbatchError(
                f'"{override}" is not a number of jobs',
                where=SLOTS_VARIABLE,
                fix=f"Write how many jobs may run at a time, for example {SLOTS_VARIABLE}=2.",
            )
        return int(override)
    if work.gpus:
        return 1
    by_cpus = usable_cpus() // max(1, work.request.cpus)
    by_memory = int(MEMORY_SHARE * available_memory_mb() / max(1, work.request.memory_mb))
    return max(1, min(by_cpus, by_memory))


def usable_cpus() -> int:
    """The processors that this process may use, a container's quota included."""
    count = len(os.sched_getaffinity(0))
    for limit in (
        _read("cpu.max"),
        f"{_read('cpu/cpu.cfs_quota_us')} {_read('cpu/cpu.cfs_period_us')}",
    ):
        with suppress(ValueError):
            quota, period = map(int, limit.split())
            if quota > 0:
                count = min(count, max(1, quota // period))
    return count


def available_memory_mb() -> int:
    """The memory that is free or can be made so, in MiB, a container's limit included."""
    available = 1 << 40
    with suppress(OSError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                available = int(line.split()[1]) // 1024
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        with suppress(ValueError):
            available = min(available, (int(_read(limit)) - int(_read(used))) >> 20)
    return max(0, available)


def _read(name: str) -> str:
    try:
        return (Path("/sys/fs/cgroup") / name).read_text().strip()
    except OSError:
        return ""
