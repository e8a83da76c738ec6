"""Memory limits of jobs through control groups, where this user may make some."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Protocol

PROBE_MB = 64
"""The limit of a group that is only made to see whether one can be."""


class Limits(Protocol):
    """A way to keep jobs to their memory."""

    why: str
    """Why jobs are not kept to it; empty when they are."""

    @property
    def group(self) -> Path | None:
        """The round's group."""

    def open(self, name: str, memory_mb: int) -> Path | None:
        """Make the group of a job; what is started into it writes "0" to its `cgroup.procs`."""

    def close(self, group: Path | None) -> bool:
        """End what is left in the group and remove it; whether the job was over its memory."""

    def remove(self) -> None:
        """Remove the round's group."""


class NoLimits:
    """Nothing is limited."""

    group: Path | None = None

    def __init__(self, why: str) -> None:
        self.why = why

    def open(self, name: str, memory_mb: int) -> Path | None:
        return None

    def close(self, group: Path | None) -> bool:
        return False

    def remove(self) -> None:
        return


class GroupLimits:
    """One control group per job below one of the round, in version 1 or 2."""

    why = ""
    group: Path

    def __init__(self, group: Path, version: int) -> None:
        self.group = group
        self._version = version
        group.mkdir()
        try:
            if version == 2:
                _write(group / "cgroup.subtree_control", "+memory")
            _remove_one(self._make("probe", PROBE_MB))
        except OSError:
            self.remove()
            raise

    def _make(self, name: str, memory_mb: int) -> Path:
        group = self.group / name
        limit = str(memory_mb << 20)
        group.mkdir()
        if self._version == 2:
            _write(group / "memory.max", limit)
            with suppress(OSError):
                _write(group / "memory.swap.max", "0")
            with suppress(OSError):
                _write(group / "memory.oom.group", "1")
        else:
            _write(group / "memory.limit_in_bytes", limit)
            with suppress(OSError):
                _write(group / "memory.memsw.limit_in_bytes", limit)
        return group

    def open(self, name: str, memory_mb: int) -> Path | None:
        return self._make(name, memory_mb)

    def close(self, group: Path | None) -> bool:
        if group is None:
            return False
        events = "memory.events" if self._version == 2 else "memory.oom_control"
        killed = _counter(group / events, "oom_kill")
        _remove_one(group)
        return killed > 0

    def remove(self) -> None:
        remove_group(self.group)


def remove_group(group: Path) -> None:
    """Remove a round's group and those of its jobs, ending what is left in them."""
    with suppress(OSError):
        for job in group.iterdir():
            if job.is_dir():
                _remove_one(job)
    with suppress(OSError):
        group.rmdir()


def group_named(name: str) -> Path | None:
    """Where a group of that name is, when this process or one it started made it."""
    place = _own_group()
    return place[0] / name if place else None


def _remove_one(group: Path) -> None:
    """Remove a job's group; the kernel lets go of it a moment after its last process."""
    limit = time.monotonic() + 2
    while time.monotonic() < limit:
        try:
            return group.rmdir()
        except FileNotFoundError:
            return None
        except OSError:
            _kill_all(group)
            time.sleep(0.005)
    return None


def memory_limits(name: str) -> Limits:
    """The best way to keep jobs to their memory that this user has here.

    name: of the round's group.
    """
    place = _own_group()
    if place is None:
        return NoLimits("this system has no memory control groups")
    folder, version = place
    if not os.access(folder, os.W_OK):
        return NoLimits(f"this user may not make control groups in {folder}")
    try:
        if version == 2 and "memory" not in (folder / "cgroup.subtree_control").read_text().split():
            _write(folder / "cgroup.subtree_control", "+memory")
        return GroupLimits(folder / name, version)
    except OSError as problem:
        return NoLimits(f"no memory control group can be made in {folder}: {problem.strerror}")


def _own_group() -> tuple[Path, int] | None:
    """The control group, with memory accounting, that this process is in, and its version."""
    mounts: dict[int, tuple[Path, str]] = {}
    paths: dict[int, str] = {}
    try:
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            left, _, right = line.partition(" - ")
            kind, _, options = right.split(" ", 2)
            root, mount = left.split()[3:5]
            if kind == "cgroup" and "memory" in options.split(","):
                mounts[1] = (Path(mount), root)
            elif kind == "cgroup2":
                mounts[2] = (Path(mount), root)
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                paths[2] = path
            elif "memory" in controllers.split(","):
                paths[1] = path
    except (OSError, ValueError):
        return None
    for version in (1, 2):  # with both, the memory controller belongs to version 1
        if version in mounts and version in paths:
            mount_point, top = mounts[version]
            folder = mount_point / paths[version].removeprefix(top).lstrip("/")
            if version == 1 or "memory" in _text(folder / "cgroup.controllers").split():
                return folder, version
    return None


def _kill_all(group: Path) -> None:
    for pid in _text(group / "cgroup.procs").split():
        with suppress(OSError):
            os.kill(int(pid), 9)


def _counter(path: Path, name: str) -> int:
    for line in _text(path).splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _write(path: Path, text: str) -> None:
    with path.open("w") as file:
        file.write(text)
