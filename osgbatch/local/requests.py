"""What is asked of a runner while it runs: chosen jobs to end, held jobs to release.

A request is a file in the round's folder. The loop is woken by SIGUSR1, does what the file says and
removes it. What released jobs ask for from then on stands in a file of its own, for it must be
known as long as the round is.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from osgbatch.errors import BatchError, BusyError
from osgbatch.local.events import Request as Amounts
from osgbatch.local.processes import take_lock
from osgbatch.local.record import LOG, Item

REQUEST = "local.request"
MORE = "local.more.json"
LOCK_LIMIT_S = 10.0


@dataclass(frozen=True)
class Request:
    """Procs to end and to release. why: stands in their events."""

    why: str
    end: Sequence[int] = ()
    release: Sequence[int] = ()


def write_request(folder: Path, request: Request) -> None:
    """Ask it of the round's runner, which has then to be woken."""
    found = {"why": request.why, "end": list(request.end), "release": list(request.release)}
    _write(folder / REQUEST, found)


def read_request(folder: Path) -> Request | None:
    """What is asked; None when nothing is. Raises BatchError when it cannot be read."""
    found = _read(folder / REQUEST)
    if found is None:
        return None
    try:
        end, release = ([int(proc) for proc in found[key]] for key in ("end", "release"))
        return Request(str(found["why"]), end, release)
    except (ValueError, KeyError, TypeError) as problem:
        raise BatchError("cannot be read", where=str(folder / REQUEST)) from problem


def done(folder: Path) -> None:
    """What was asked is done."""
    (folder / REQUEST).unlink(missing_ok=True)


def asked_for(folder: Path) -> dict[int, tuple[int, int]]:
    """What released jobs ask for, by proc: memory (MiB) and disk (KiB), 0 for what they did."""
    found = _read(folder / MORE) or {}
    try:
        return {int(proc): (int(memory), int(disk)) for proc, (memory, disk) in found.items()}
    except (ValueError, TypeError) as problem:
        raise BatchError("cannot be read", where=str(folder / MORE)) from problem


def ask_for(folder: Path, procs: Sequence[int], memory_mb: int, disk_kb: int) -> None:
    """Write down what these jobs ask for from now on; 0 for what they do.

    Runners and `osgbatch release` do so. Raises BusyError when one of them keeps it locked.
    """
    lock = take_lock(folder / LOG, LOCK_LIMIT_S)  # a file that nobody else locks
    if lock is None:
        raise BusyError(f"{MORE} is locked by another osgbatch", where=str(folder))
    try:
        known = asked_for(folder)
        for proc in procs:
            memory, disk = known.get(proc, (0, 0))
            known[proc] = (memory_mb or memory, disk_kb or disk)
        _write(folder / MORE, {str(proc): list(amounts) for proc, amounts in known.items()})
    finally:
        os.close(lock)


def with_amounts(item: Item, amounts: tuple[int, int] | None) -> Item:
    """A job that asks for these amounts."""
    if amounts is None:
        return item
    old, (memory, disk) = item.need.request, amounts
    request = Amounts(old.cpus, memory or old.memory_mb, disk or old.disk_kb)
    return replace(item, need=replace(item.need, request=request))


def _write(path: Path, data: Mapping[str, object]) -> None:
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(json.dumps(data) + "\n", encoding="utf-8")
    temporary.replace(path)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise BatchError("cannot be read", where=str(path))
        return found
    except FileNotFoundError:
        return None
    except ValueError as problem:
        raise BatchError("cannot be read", where=str(path)) from problem
