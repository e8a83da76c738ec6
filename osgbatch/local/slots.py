"""How many jobs run at a time on this machine."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from osgbatch.errors import OsgbatchError
from osgbatch.local.record import Need, Work

SLOTS_VARIABLE = "OSGBATCH_LOCAL_SLOTS"
MEMORY_SHARE = 0.8
"""Share of the available memory that jobs may ask for together."""


class Room:
    """What the jobs that run at the same time may ask for together.

    count: how many they may be at most. cpus, memory_mb (MiB): None where only their number counts,
    because the user says so.
    """

    def __init__(self, count: int, cpus: int | None = None, memory_mb: int | None = None) -> None:
        self.count = count
        self._cpus = cpus
        self._memory_mb = memory_mb
        self._taken: dict[int, Need] = {}

    def fits(self, need: Need) -> bool:
        """Whether a job may start now; one alone always may. With GPUs it must be alone."""
        if not self._taken:
            return True
        if len(self._taken) >= self.count:
            return False
        if self._cpus is None or self._memory_mb is None:
            return True
        all_ = [need, *self._taken.values()]
        return (
            not any(n.gpus for n in all_)
            and sum(n.request.cpus for n in all_) <= self._cpus
            and sum(n.request.memory_mb for n in all_) <= self._memory_mb
        )

    def take(self, need: Need) -> int:
        """A job starts; returns the number of its slot, from 1."""
        slot = next(n for n in range(1, len(self._taken) + 2) if n not in self._taken)
        self._taken[slot] = need
        return slot

    def give_back(self, slot: int) -> None:
        """The job in `slot` has ended."""
        del self._taken[slot]


def room(work: Work, override: str | None) -> Room:
    """How many jobs run at a time: by processors and memory, or as the user says.

    override: the value of OSGBATCH_LOCAL_SLOTS. Raises OsgbatchError when it is no number.
    """
    if override:
        if not (override.isascii() and override.isdigit() and int(override) > 0):
            raise OsgbatchError(
                f'"{override}" is not a number of jobs',
                where=SLOTS_VARIABLE,
                fix=f"Write how many jobs may run at a time, for example {SLOTS_VARIABLE}=2.",
            )
        return Room(int(override))
    cpus, memory_mb = usable_cpus(), int(MEMORY_SHARE * available_memory_mb())
    need = work.need
    least_cpus = 1 if "cpus" in work.item_names else max(1, need.request.cpus)
    count = cpus // least_cpus
    if "memory_mb" not in work.item_names:
        count = min(count, memory_mb // max(1, need.request.memory_mb))
    if need.gpus and "gpus" not in work.item_names:
        count = 1
    return Room(max(1, count), cpus, memory_mb)


def usable_cpus() -> int:
    """The processors that this process may use, a container's quota included."""
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:  # macOS has none
        count = os.cpu_count() or 1
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
    available = machine_memory_mb()  # macOS does not say what of it is free
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


def machine_memory_mb() -> int:
    """The memory that there is, used or not, in MiB, a container's limit included."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
    for limit in ("memory.max", "memory/memory.limit_in_bytes"):
        with suppress(ValueError):
            total = min(total, int(_read(limit)) >> 20)
    return total


def _read(name: str) -> str:
    try:
        return (Path("/sys/fs/cgroup") / name).read_text().strip()
    except OSError:
        return ""
