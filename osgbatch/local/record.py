"""What the local runner writes down about itself, and what it reads about its round."""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from osgbatch import names
from osgbatch.errors import BatchError
from osgbatch.local.events import Request

if TYPE_CHECKING:
    from osgbatch.spec_model import Ladder

RECORD = "local.json"
LOCK = "local.lock"
LOG = "local.log"
CANCEL = "local.cancel"
"""Who asks for the cancellation, written before the runner is signalled."""


@dataclass(frozen=True)
class Record:
    """`local.json`: which process runs the round, where, and under which limits.

    start_time: of process pid, in clock ticks since boot; scratch: the folder of all jobs' scratch
    folders; group: the control group of all jobs, if any; memory_enforced, why: whether a job over
    its memory is stopped, and why not; grace_s: seconds between TERM and KILL for a job; folder:
    where the round was when the process began with it, which goes on to deliver there.
    """

    host: str
    boot_id: str
    pid: int
    start_time: int
    guardian: int
    cluster: int
    jobs: int
    slots: int
    scratch: str
    group: str
    memory_enforced: bool
    why: str
    started: float
    grace_s: float
    version: int = 1
    folder: str = ""


def write_record(record: Record, path: Path) -> None:
    """Write `local.json`, whole or not at all."""
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(json.dumps(asdict(record), indent=1) + "\n")
    temporary.replace(path)


def read_record(path: Path) -> Record | None:
    """Read `local.json`; None when there is none. Raises BatchError when it is damaged."""
    try:
        found = json.loads(path.read_text())
        found.setdefault("folder", "")  # of an older osgbatch
        return Record(**{f.name: found[f.name] for f in fields(Record)})
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as problem:
        raise BatchError(
            "this record of the local runner cannot be read", where=str(path)
        ) from problem


@dataclass(frozen=True)
class Need:
    """What one job asks for. execute_s: 0 or allowed_execute_duration in seconds."""

    request: Request
    gpus: int = 0
    execute_s: int = 0


NEEDS = ("cpus", "memory_mb", "disk_kb", "gpus", "execute_s")
"""The fields of an item that hold for its job instead of the round's resources."""


CHECKPOINT_CODE = 85
"""With which a job says that it has saved its state and wants to go on (docs/architecture.md)."""


@dataclass(frozen=True)
class Work:
    """What resolved.json says to a backend (docs/architecture.md).

    payload: (file relative to the batch folder, path relative to the scratch folder) of each;
    item_names: of the fields of an item, in order; empty: `tasks rows [inputs]`.
    shared_inputs: URLs, and paths relative to the initial directory, that every job is brought.
    in_container: the jobs run in an image; image: its file relative to the batch folder, empty
    where execution points get it themselves. checkpoint: a job that ends with CHECKPOINT_CODE goes
    on at once in the same folder. memory: what a job asks for that used more than it asked for.
    """

    batch_id: str
    initialdir: str
    payload: tuple[tuple[str, str], ...]
    need: Need
    retry_times: int
    retry_any: bool
    retry_codes: frozenset[int]
    item_names: tuple[str, ...] = ()
    shared_inputs: tuple[str, ...] = ()
    in_container: bool = False
    image: str = ""
    checkpoint: bool = False
    memory: Ladder | None = None

    def more_memory(self, request_mb: int) -> int:
        """What a job asks for next, in MiB, when so much was not enough; 0: it is held."""
        return next(iter(self.memory.steps(request_mb)), 0) if self.memory else 0

    def retries(self, code: int) -> bool:
        """Whether a job that ended so (code: minus the signal) is started again, if it may be."""
        return code < 0 or (self.retry_any and code != 0) or code in self.retry_codes


def read_work(path: Path) -> Work:
    """Read `resolved.json`. Raises BatchError when it is not there or says something else."""
    try:
        found: dict[str, Any] = json.loads(path.read_text())
        resources, retries = found["resources"], found["retries"]
        images = [str(p["file"]) for p in found["payload"] if p.get("kind") == "container"]
        return Work(
            batch_id=str(found["batch_id"]),
            initialdir=str(found["initialdir"]),
            payload=tuple(
                (str(p["file"]), str(p["carried"]))
                for p in found["payload"]
                if p.get("kind") != "container"
            ),
            need=Need(
                Request(
                    int(resources["cpus"]), int(resources["memory_mb"]), int(resources["disk_kb"])
                ),
                int(resources.get("gpus", 0)),
                int(resources.get("execute_s", 0)),
            ),
            retry_times=int(retries["times"]),
            retry_any=bool(retries["any"]),
            retry_codes=frozenset(int(code) for code in retries["codes"]),
            item_names=_item_names(found.get("item_names", [])),
            shared_inputs=tuple(str(text) for text in found.get("shared_inputs", [])),
            in_container=found.get("environment") == "container",
            image=images[0] if images else "",
            checkpoint=bool(found.get("checkpoint")),
            memory=_ladder(retries.get("memory")),
        )
    except OSError as problem:
        raise BatchError(f"cannot be read: {problem.strerror}", where=str(path)) from problem
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        raise BatchError(
            "says something else than a backend needs to know",
            where=str(path),
            fix="Submit the spec again: osgbatch then makes a new batch.",
        ) from problem


def _ladder(found: dict[str, Any] | None) -> Ladder | None:
    if not found:
        return None
    from osgbatch.spec_model import Ladder

    return Ladder(float(found["factor"]), tuple(int(size) for size in found["sizes"]))


def _item_names(found: list[str]) -> tuple[str, ...]:
    """The names of an item's fields. Raises ValueError when jobs cannot be told from them."""
    names_ = tuple(str(name) for name in found)
    known = {"tasks", "rows", "inputs", *NEEDS}
    if names_ and (
        not {"tasks", "rows"} <= set(names_) <= known
        or len(set(names_)) != len(names_)
        or "inputs" in names_[:-1]
    ):
        raise ValueError(f"item_names: {found}")
    return names_


@dataclass(frozen=True)
class Item:
    """One line of `jobs.items`; inputs: what its job is brought beside the shared ones."""

    tasks: bytes
    rows: bytes
    inputs: tuple[str, ...]
    need: Need


class Items:
    """The lines of `jobs.items`, found by number; only their places are kept in memory."""

    def __init__(self, path: Path, work: Work) -> None:
        self._path = path
        self._work = work
        self._file = path.open("rb")
        self._places = array("Q")
        place = 0
        for line in self._file:
            if line.strip():
                self._places.append(place)
            place += len(line)

    def __len__(self) -> int:
        return len(self._places)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __getitem__(self, proc: int) -> Item:
        self._file.seek(self._places[proc])
        return self._read(self._file.readline(), proc)

    def __iter__(self) -> Iterator[Item]:
        self._file.seek(0)
        lines = (line for line in self._file if line.strip())
        for proc, line in enumerate(lines):
            yield self._read(line, proc)

    def _read(self, line: bytes, proc: int) -> Item:
        """Raises BatchError when the line does not hold what its names say."""
        names_ = self._work.item_names or ("tasks", "rows", "inputs")
        values = dict(zip(names_, line.rstrip(b"\r\n").split(b" ", len(names_) - 1), strict=False))
        if self._work.item_names and len(values) < len(names_) - ("inputs" in names_):
            raise self._damaged(proc)
        need = self._work.need
        if any(name in values for name in NEEDS):
            try:
                own = {name: int(values[name]) for name in NEEDS if name in values}
            except ValueError:
                raise self._damaged(proc) from None
            request = need.request
            need = Need(
                Request(
                    own.get("cpus", request.cpus),
                    own.get("memory_mb", request.memory_mb),
                    own.get("disk_kb", request.disk_kb),
                ),
                own.get("gpus", need.gpus),
                own.get("execute_s", need.execute_s),
            )
        inputs = values.get("inputs", b"").split(b",")
        return Item(
            values.get("tasks", b""),
            values.get("rows", b""),
            tuple(os.fsdecode(i) for i in inputs if i),
            need,
        )

    def _damaged(self, proc: int) -> BatchError:
        names_ = ", ".join(self._work.item_names)
        return BatchError(
            f"job {proc} has not the fields {names_}",
            where=str(self._path),
            fix="Submit the spec again: osgbatch then makes a new batch.",
        )


def resolved_path(round_folder: Path) -> Path:
    """The `resolved.json` that holds for a round: its own, else its batch's."""
    own = round_folder / names.RESOLVED
    return own if own.is_file() else round_folder.parent.parent / names.RESOLVED
