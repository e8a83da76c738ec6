"""What runs once over all results of a batch: a script or a function, and on what it has run."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from osgbatch.batches.folder import Batch, payload_sums
from osgbatch.batches.gathered import Gathered, noted_run, read_gathered, write_gathered
from osgbatch.batches.moved import as_moved
from osgbatch.collecting.gather import Call, GatherError, run_gather
from osgbatch.life.following import Status
from osgbatch.model import TaskState
from osgbatch.rendering.templates import template_folder
from osgbatch.results.result_rows import result_table, task_folder
from osgbatch.targets import TAKEN
from osgbatch.texts import size

Say = Callable[[str], None]

LARGE_BYTES = 1024**3
LONG_S = 600
"""What a gathering may read, and how long it may take, on an access point, which is shared."""
_MOST_LOOKED_AT = 100_000
"""Files whose sizes are summed up, to know whether they are large."""
DRIVER = "gather.py"


class GatherPending(GatherError):
    """It runs as a job of the pool, and has not ended. batch: its own."""

    def __init__(self, what: str, *, where: str, fix: str, batch: Batch) -> None:
        super().__init__(what, where=where, fix=fix)
        self.batch = batch


class Gathering:
    """The script or function that gathers the results of a batch."""

    def __init__(self, batch: Batch, results: Path, states: Sequence[TaskState]) -> None:
        self.batch = batch
        self.results = results
        self.text = str(batch.data["gather"])
        how: Mapping[str, Any] = batch.data.get("gather_how") or {}
        function = how.get("function")
        self.function: tuple[str, str] | None = (function[0], function[1]) if function else None
        self.in_pool = bool(how.get("in_pool"))
        self.resources: Mapping[str, Any] = how.get("resources") or {}
        self.inputs: Sequence[Any] = how.get("inputs") or ()
        self.spec_folder = as_moved(batch, Path(str(batch.data["spec_folder"])))
        # As the user has mended it.
        self.round = batch.round_data(batch.rounds()[-1].number)
        self.key = self._key(states)

    @property
    def script(self) -> Path:
        """Where it is no function."""
        return self.spec_folder / self.text

    def is_done(self) -> bool:
        """Whether it ended well on these very results, and what it made is still there."""
        known = read_gathered(self.batch.folder)
        return (
            known is not None
            and known.key == self.key
            and all(os.path.lexists(self.results / name) for name in known.made)
        )

    def run_here(self, now: Status, quiet: bool, say: Say) -> None:
        """Run it in the foreground. Raises GatherError."""
        shared = now.backend == "condor"
        if shared and _is_large(self.results):
            say(f"note: it reads more than {size(LARGE_BYTES)} on this machine; {self._advice()}")
        before, began = stamps(self.results), time.monotonic()
        with noted_run(self.batch.folder, self.results):
            run_gather(
                self._call(now.states) if self.function else self.script,
                self.results,
                spec_folder=self.spec_folder,
                batch_folder=self.batch.folder,
                environment=next(iter(self._packed("environment")), None),
                libraries=self._packed("library"),
                stdout_to_stderr=quiet,
            )
        seconds = time.monotonic() - began
        self.write_done(before, seconds)
        if shared and seconds > LONG_S:
            say(f"note: it took {seconds / 60:.0f} min on this machine; {self._advice()}")

    def _packed(self, kind: str) -> list[Path]:
        payload = self.round["payload"]
        return [self.batch.folder / item["file"] for item in payload if item["kind"] == kind]

    def write_done(
        self, before: Mapping[str, object], seconds: float, brought: Mapping[str, str] | None = None
    ) -> None:
        """Write down that it ended well.

        before: what was at the top of `results/`; brought: the SHA-256 of each file that a job of
        the pool has made, by its path there.
        """
        known, after = read_gathered(self.batch.folder), stamps(self.results)
        made = {name for name, stamp in after.items() if before.get(name) != stamp}
        made |= {path.partition("/")[0] for path in brought or ()}
        made |= set(known.made if known else ())
        all_brought = {**(known.brought if known else {}), **(brought or {})}
        there, runs = sorted(made & after.keys()), known.runs if known else ()
        done = Gathered(self.key, there, round(seconds, 1), all_brought, runs)
        write_gathered(self.batch.folder, done)

    def _call(self, states: Sequence[TaskState]) -> Call:
        assert self.function is not None
        driver = template_folder() / DRIVER
        return Call(*self.function, driver, self.rows(states), [self.spec_folder])

    def rows(self, states: Sequence[TaskState]) -> Iterator[tuple[str | None, dict[str, Any]]]:
        """What a function is given: each task's folder, relative to `results/`, and its row."""
        table = result_table(self.batch, states)
        empty = dict.fromkeys(table.metrics)
        for row in table.rows:
            folder = task_folder(self.batch, row.state)
            where = None if folder is None else folder.relative_to(self.results).as_posix()
            yield where, {**row.flat(), **empty, **row.metrics}

    def _advice(self) -> str:
        kind = "function" if self.function else "script"
        return f"`gather: {{{kind}: {self.text}, in: pool}}` lets a job of the pool do it"

    def _key(self, states: Sequence[TaskState]) -> str:
        """A digest of the results, by what tells of them, and of what gathers.

        Not by their table: an event log may tell of a job's end later than its results come.
        """
        digest = hashlib.sha256()
        for one in states:
            name = one.archive.name if one.archive else ""
            told = (one.index, one.state, one.round, one.attempt, name, one.reason, one.detail)
            digest.update(repr(told).encode("utf-8", "backslashreplace"))
        parts = [self.text, self.function, self.in_pool, payload_sums(self.round), *self._files()]
        digest.update(json.dumps(parts).encode())
        return digest.hexdigest()

    def _files(self) -> Iterator[tuple[str, int, int]]:
        """The programs in the folder of what gathers: it may import them."""
        folder = self.spec_folder
        if self.function:
            folder = folder.joinpath(*self.function[0].split(".")[:-1])
        else:
            folder = self.script.parent
        try:
            with os.scandir(folder) as entries:
                found = [e for e in entries if e.name.lower().endswith((".py", ".r"))]
                for entry in sorted(found, key=lambda e: e.name):
                    status = entry.stat()
                    yield entry.name, status.st_size, status.st_mtime_ns
        except OSError:  # the module is in a library, or the script is gone, which is told later
            return


def stamps(results: Path) -> dict[str, tuple[int, int, int]]:
    """What lies at the top of `results/` beside the tasks, and how to see that it was written.

    What osgbatch itself writes there is nothing that gathering has made.
    """
    found = {}
    with os.scandir(results) as entries:
        for entry in entries:
            name = entry.name
            if name.isdigit() or name.startswith(".") or name.lower() in TAKEN:
                continue
            status = entry.stat(follow_symlinks=False)
            found[entry.name] = (status.st_ino, status.st_size, status.st_mtime_ns)
    return found


def _is_large(results: Path) -> bool:
    """Whether all results together are large, as far as a short look tells."""
    total = count = 0
    for folder, _, files in os.walk(results):
        for name in files:
            count += 1
            try:
                total += os.lstat(f"{folder}/{name}").st_size
            except OSError:
                continue
            if total > LARGE_BYTES:
                return True
        if count > _MOST_LOOKED_AT:
            return False
    return False
