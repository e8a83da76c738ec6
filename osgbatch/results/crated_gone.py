"""What an earlier crate tells of results that are not there any more, and who made what is."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from osgbatch import names
from osgbatch.batches.gathered import Gathered
from osgbatch.model import TaskState
from osgbatch.provenance.layout import BY_GATHER, BY_HAND, BY_US, FAILED, STATUSES
from osgbatch.provenance.manifest import ManifestError, is_inside, line
from osgbatch.results.crated_before import Before
from osgbatch.sums import parse_sum

_PLACE = re.compile(rf"({FAILED}/)?(0|[1-9][0-9]{{0,8}})/(.*)", re.S)


@dataclass(frozen=True)
class Listed:
    """What a task's status.json lists: files with their checksums, links with their targets.

    light: data of the task lies elsewhere (`outputs_to`), and was not fetched.
    """

    files: Mapping[str, str]
    links: Mapping[str, str]
    light: bool


def read_status(folder: str) -> tuple[str, bytes]:
    """The name and text of the status.json of a task's folder, lost or not. Raises OSError."""
    for name in STATUSES:
        with suppress(FileNotFoundError), open(f"{folder}/{name}", "rb") as stream:
            return name, stream.read()
    raise FileNotFoundError(folder)


def listed_in(raw: bytes, state: TaskState, place: str) -> Listed:
    """What the text of a task's status.json lists, in its folder (`3`, `failed/3`).

    Raises ValueError for what is none, and for that of another task or another result: somebody has
    copied it there.
    """
    try:
        said = json.loads(raw)
        if said["index"] != state.index:
            raise ValueError("it is that of another task")
        accepted = str(state.index) if state.state == "succeeded" else f"{FAILED}/{state.index}"
        archive = f"{state.archive.parent.name}/{state.archive.name}" if state.archive else ""
        if archive and place == accepted and said["archive"] != archive:
            raise ValueError("it is that of another result")
        files, links = said["files"], said["links"]
        light = "data_url" in said and not said.get("fetched")
        if not all(map(is_inside, (*files, *links))):
            raise ValueError("a name in it leads out of the task's folder")
        if not all(isinstance(one, str) for one in (*files.values(), *links.values())):
            raise ValueError("it lists no checksums")
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it is no status.json: {error}") from None
    return Listed(files, links, light)


class Gone:
    """Goes through an earlier manifest, and says of each result whether it has to stay in the next.

    It stays when nothing tells of its task any more, or only of data that lies elsewhere. tasks: of
    which something stays; replaced: those that have succeeded with another result since. What a
    failed task has brought makes way for what a later start of it brings. made: what stays although
    no task has brought it: the gather script has made it, and was not run again since.
    """

    def __init__(self, results: Path, states: Sequence[TaskState], before: Before) -> None:
        self.tasks: set[int] = set()
        self.replaced: set[int] = set()
        self.made: list[str] = []
        self._results = results
        self._states = states
        self._before = before
        self._sums: set[str] = set()
        """Those of what stays."""
        self._others: list[tuple[str, str]] = []
        """Other names of results that are not there."""
        self._last: tuple[str, Listed | None] = "", None

    def lines(self, is_told: Callable[[bytes], bool]) -> Iterator[tuple[bytes, str, str]]:
        """Each line of the earlier manifest that is not in the new one, with its name and checksum.

        Raises ManifestError, OSError.
        """
        assert self._before.manifest is not None
        with self._before.manifest.open("rb") as stream:
            for raw in stream:
                if is_told(raw):
                    continue
                try:
                    name, sha256 = parse_sum(raw.removesuffix(b"\n"))
                except ValueError as error:
                    fix = "Give that folder another name, and run `osgbatch collect` again."
                    where = str(self._before.manifest)
                    raise ManifestError(str(error), where=where, fix=fix) from None
                if is_inside(name):
                    yield raw, name, sha256

    def stays(self, name: str, sha256: str) -> bool:
        """Whether the checksum of a file that is not there has to stay."""
        added = self._before.added
        if added is not None and name in added:
            stays = added[name] == BY_GATHER and not self._before.gathered_since
            self.made += [name] if stays else []
            return stays
        place = self._place(name)
        if place is None:
            if added is not None:
                self._others.append((name, sha256))
            return False
        index, folder, rest = place
        listed = self._listed(index, folder)
        failed = folder.startswith(FAILED)
        if failed and self._states[index].state == "succeeded":
            return False
        if listed is None or (listed.light and rest not in listed.files and rest not in STATUSES):
            self.tasks.add(index)
            self._sums.add(sha256)
            return True
        if rest in STATUSES or failed:
            return False
        if rest in listed.files or added is not None:
            self.replaced.add(index)
        return False

    def other_names(self) -> list[bytes]:
        """The lines of other names (`to:`) of what stays; ask last."""
        return [line(name, sha256) for name, sha256 in self._others if sha256 in self._sums]

    def links(self, there: Mapping[str, str]) -> Iterator[tuple[str, str]]:
        """The symbolic links that have to stay. there: those of the new crate."""
        added = self._before.added
        for name, target in self._before.links.items():
            place = self._place(name)
            if there.get(name) == target or place is None or (added and name in added):
                continue
            index, folder, _ = place
            if folder.startswith(FAILED) and self._states[index].state == "succeeded":
                continue
            listed = self._listed(index, folder)
            if listed is None or listed.light:
                if name not in there:
                    self.tasks.add(index)
                    yield name, target
            elif added is not None and not folder.startswith(FAILED):
                self.replaced.add(index)

    def _place(self, name: str) -> tuple[int, str, str] | None:
        """Of what lies in a task's folder: the task, its folder and the rest of the name."""
        match = _PLACE.fullmatch(name)
        if match is None or int(match[2]) >= len(self._states):
            return None
        return int(match[2]), f"{match[1] or ''}{match[2]}", match[3]

    def _listed(self, index: int, folder: str) -> Listed | None:
        """What the status.json of a folder lists that is there; None where it tells nothing."""
        if self._last[0] != folder:
            try:
                raw = read_status(f"{self._results}/{folder}")[1]
                found = listed_in(raw, self._states[index], folder)
            except (OSError, ValueError):
                found = None
            self._last = folder, found
        return self._last[1]

    @property
    def notes(self) -> Iterator[str]:
        """What is to be said of it."""
        if self.tasks:
            whose = "1 task" if len(self.tasks) == 1 else f"{len(self.tasks):,} tasks"
            yield (
                f"what {whose} brought back once is not in results/ any more; the manifest keeps "
                "its checksums, and `osgbatch verify` tells it as missing"
            )
        if self.made:
            more = f" and {len(self.made) - 1:,} more" if len(self.made) > 1 else ""
            yield (
                f"what the gather script had made is not there any more: {self.made[0]}{more}; "
                "`osgbatch verify` tells it as missing until that has run again"
            )


class Makers:
    """Says who made what no task has brought: osgbatch itself, the gather script, or the user."""

    def __init__(self, gathered: Gathered | None) -> None:
        runs = gathered.runs if gathered else ()
        # Of one that was killed it is not known when it ended.
        nexts = [*(began for began, _ in runs), 1 << 63][1:]
        self._runs = [(b, e or next_) for (b, e), next_ in zip(runs, nexts, strict=True)]
        self._made = frozenset([*gathered.made, *gathered.brought]) if gathered else frozenset()

    def of(self, name: str, entry: os.DirEntry[str]) -> str:
        """name: relative to `results/`. Raises OSError."""
        if name in (names.RESULTS_TABLE, names.RESULTS_PARQUET) or name.startswith(".results."):
            return BY_US
        if name in self._made:
            return BY_GATHER
        return BY_GATHER if self._runs and self.wrote(entry) else BY_HAND

    def wrote(self, path: str | os.PathLike[str]) -> bool:
        """Whether a file was last changed while the gather script ran. Raises OSError."""
        changed = os.lstat(path).st_ctime_ns
        return any(began < changed <= end for began, end in self._runs)
