"""`submit --from`: from a crate to a folder with the same spec, code and data, to be submitted."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from osgbatch import names
from osgbatch.batches.writing import write_json
from osgbatch.errors import OsgbatchError
from osgbatch.packing.files import entries_of, files_archive
from osgbatch.packing.libraries import libraries_archive
from osgbatch.places import cache_folder
from osgbatch.provenance.layout import LOCK, SPEC, crate_of
from osgbatch.provenance.reading import Crate, read_crate
from osgbatch.provenance.unpacking import unpack
from osgbatch.spec.load import load_spec
from osgbatch.spec_model import Spec
from osgbatch.staging.hashes import Hashes
from osgbatch.staging.stage import Progress
from osgbatch.submission.rerun_environment import same_environment
from osgbatch.sums import file_sum
from osgbatch.tables import Table
from osgbatch.urls import without_login

Say = Callable[[str], None]
LIBRARIES = "libraries"
"""Where libraries are unpacked that do not lie in the spec's folder."""
CHUNK = 4096
"""Rows that are read at a time."""
TOLD = 10
"""So many differences are told one by one."""


@dataclass
class Rerun:
    """A folder that was made from a crate.

    spec: the sweep.yaml in it; settings: what wins over that, where paths are others now.
    differences: what is not as it was, a sentence each; notes: what the user should know.
    """

    crate: Crate
    home: Path
    settings: dict[str, str] = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def spec(self) -> Path:
        """The spec, as it held."""
        return self.home / names.SPEC

    @property
    def words(self) -> tuple[str, ...]:
        """The settings as `--set` takes them."""
        return tuple(f"{key}={value}" for key, value in self.settings.items())

    def same_tasks(self, table: Table) -> Table:
        """The table itself, when it has the tasks of the batch. Raises OsgbatchError."""
        columns = [column.name for column in table.columns]
        where = str(self.spec)
        if columns != list(self.crate.facts["columns"]):
            raise OsgbatchError("the sweep has other columns than the batch had", where=where)
        now = _rows(table, columns)
        for index, (was, is_) in enumerate(zip_longest(self.crate.tasks(), now)):
            if _shown(was) != _shown(is_):  # a crate has no keys of URLs
                raise OsgbatchError(
                    f"the sweep gives other tasks than the batch had, from task {index} on: "
                    f"{_row(columns, is_)}, which was {_row(columns, was)}",
                    where=where,
                    fix=f"What they were stands in {self.crate.folder / names.TASKS}.",
                )
        return table


def _rows(table: Table, columns: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(table), CHUNK):
        stop = min(start + CHUNK, len(table))
        if columns:
            texts = (table.texts(name, start, stop) for name in columns)
            yield from map(list, zip(*texts, strict=True))
        else:
            yield from ([] for _ in range(start, stop))


def _shown(row: list[str] | None) -> list[str] | None:
    return row and [without_login(cell) if "://" in cell else cell for cell in row]


def _row(columns: list[str], cells: list[str] | None) -> str:
    if cells is None:
        return "none"
    return " ".join(f"{name}={cell}" for name, cell in zip(columns, cells, strict=True))[:80]


def make_folder(
    source: Path,
    into: Path | None,
    data: Path | None,
    say: Say,
    progress: Progress,
    insist: Callable[[str], bool],
) -> Rerun:
    """Make a folder from which a batch can be submitted as it was; whole, or not at all.

    source: the crate. into: the folder to make; none is `<name>-again` here. data: where the inputs
    are looked for first, in place of the spec's folder. insist: is asked, when something is not as
    it was, whether to go on. Raises OsgbatchError when not, when something is missing, and for what
    is no whole crate.
    """
    if data is not None and not data.is_dir():
        raise OsgbatchError("there is no such folder", where=f"--data {data}")
    crate = read_crate(crate_of(source))
    target = (into or Path(f"{crate.name}-again")).absolute()
    if os.path.lexists(target):
        made = _made_before(crate, target)
        _Maker(crate, made, target, None, say).look(progress)
        _agree(made, insist, "Nothing was submitted.")
        say(f"{made.home} was made from this crate before, and is used as it is now")
        return made
    fresh = target.with_name(f".{target.name}-{os.getpid()}")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        made = Rerun(crate, fresh)
        _Maker(crate, made, fresh, data, say).make(progress)
        _agree(made, insist, "Nothing was made or submitted.")
        below = made.home.relative_to(fresh)
        settings = {k: v.replace(str(fresh), str(target)) for k, v in made.settings.items()}
        note = {
            "version": 1,
            "batch": crate.batch,
            "crate": str(crate.folder),
            "settings": settings,
        }
        write_json(made.home / names.RERUN, note)
        fresh.rename(target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    for one in made.notes:
        say(f"note: {one}")
    say(f"made {target / below} from {crate.folder}")
    return Rerun(crate, target / below, settings)


def _agree(made: Rerun, insist: Callable[[str], bool], nothing: str) -> None:
    found = made.differences
    if not found:
        return
    more = [f"and {len(found) - TOLD} more"] if len(found) > TOLD else []
    listed = "".join(f"\n  - {one}" for one in [*found[:TOLD], *more])
    reason = f"this would not be what the batch was:{listed}"
    if not insist(reason):
        raise OsgbatchError(
            reason,
            fix=f"{nothing} --again submits it all the same.",
        )


def _made_before(crate: Crate, target: Path) -> Rerun:
    """The folder of an earlier `submit --from` of the same crate, as it is now."""
    for note in (target / names.RERUN, *target.glob(f"*/{names.RERUN}")):
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            told = json.loads(note.read_text())
            if told["batch"] == crate.batch:
                settings = {str(k): str(v) for k, v in told["settings"].items()}
                return Rerun(crate, note.parent, settings)
    raise OsgbatchError(
        "this is there already", where=str(target), fix="Name another folder: --into DIR."
    )


class _Maker:
    """Puts a crate's code, and links to its inputs, where its spec has them."""

    def __init__(self, crate: Crate, made: Rerun, top: Path, data: Path | None, say: Say) -> None:
        self.crate = crate
        self.made = made
        self.data = data.absolute() if data else None
        self.top = top
        self.say = say
        self.rows = [row for row in crate.inputs() if not row["url"]]

    @property
    def home(self) -> Path:
        """The folder of the spec."""
        return self.made.home

    def make(self, progress: Progress) -> None:
        """Make it all. Raises OsgbatchError when an input, or code, is to be had nowhere."""
        paths = [row["path"] for row in self.rows]
        paths += [one["path"] for one in self.crate.facts["kept"] if one["role"] != "spec"]
        depth = max((_ups(path) for path in paths), default=0)
        if depth:  # `../` in the spec must stay inside of what is made
            self.made.home = self.top.joinpath(*self.crate.spec_folder.parts[1:][-depth:])
        if not Path(os.path.realpath(self.home)).is_relative_to(os.path.realpath(self.top)):
            raise OsgbatchError("the spec's folder is none", where=str(self.crate.folder))
        self.home.mkdir(parents=True)
        shutil.copyfile(self.crate.folder / SPEC, self.home / names.SPEC)
        self._code("files", self.home)
        self._code("library", self.top / f".{LIBRARIES}")
        self._kept()
        for row, found in self._compared(progress, self._place_of):
            target = self._place_for(row["path"])
            if target and not os.path.lexists(target):
                _link(found, target)
        spec = load_spec(self.home / names.SPEC)
        if spec.name != self.crate.name:  # it went by the name of its folder
            self.made.settings["name"] = json.dumps(self.crate.name)
        self._libraries(spec)
        self._compare_code(spec)
        lock, told = self.crate.folder / LOCK, self.crate.facts["environment"]
        places = [*filter(None, [self.data]), self.crate.spec_folder]
        same_environment(told, spec, lock, places, self.made, self.say)

    def look(self, progress: Progress) -> None:
        """See what is not as it was in a folder that was made before."""
        if file_sum(self.home / names.SPEC) != file_sum(self.crate.folder / SPEC):
            self.made.differences.append(f"{self.home / names.SPEC} is not what it was")
        for _ in self._compared(progress, lambda path: self.home / path):
            pass
        self._compare_code(load_spec(self.home / names.SPEC, self.made.words))

    # --- code -------------------------------------------------------------------------------

    def _code(self, kind: str, folder: Path) -> None:
        told = self.crate.archive(kind)
        if told is None:
            return
        if not told.get("file"):
            raise OsgbatchError(
                f"its code ({kind}, {int(told['size']):,} bytes) was too much for the crate",
                where=str(self.crate.folder),
                fix="Submit the spec where it lies; `git` in osgbatch.json names the commit.",
            )
        fresh = self.top / f".unpacked-{kind}"
        tops = unpack(self.crate.folder / told["file"], fresh)
        folder.mkdir(parents=True, exist_ok=True)
        for name in tops:
            if os.path.lexists(folder / name):
                raise OsgbatchError(f"{name!r} of {told['file']} has no place of its own")
            (fresh / name).rename(folder / name)
        fresh.rmdir()

    def _libraries(self, spec: Spec) -> None:
        """Put libraries where the spec has them; what has no such place lies in `libraries/`."""
        unpacked = self.top / f".{LIBRARIES}"
        if not unpacked.is_dir():
            return
        for one in spec.libraries:
            path = Path(one.text)
            inside = not path.is_absolute() and ".." not in path.parts and path.parts
            target = self._place_for(one.text) if inside else None
            if target and (unpacked / path.name).exists() and not os.path.lexists(target):
                target.parent.mkdir(parents=True, exist_ok=True)
                (unpacked / path.name).rename(target)
        if any(unpacked.iterdir()):
            others = [one.text for one in spec.libraries if (self.home / one.text).exists()]
            left = sorted(os.listdir(unpacked))
            unpacked.rename(self.home / LIBRARIES)
            self.made.settings["libraries"] = json.dumps(
                [*others, *(f"{LIBRARIES}/{name}" for name in left)]
            )
        else:
            unpacked.rmdir()

    def _compare_code(self, spec: Spec) -> None:
        """See that what would be packed is what was: its archive has the same checksum."""
        with TemporaryDirectory(prefix="osgbatch-code-") as room:
            self._compare_archives(spec, Path(room))

    def _compare_archives(self, spec: Spec, room: Path) -> None:
        for kind, entries, archive in (
            ("files", spec.files, files_archive),
            ("library", spec.libraries, libraries_archive),
        ):
            told = self.crate.archive(kind)
            key = "files" if kind == "files" else "libraries"
            texts: list[Any] = [*entries_of(entries)]
            if key in self.made.settings:
                texts = json.loads(self.made.settings[key])
            if told is None or _sum(archive, texts, self.home, room) == told["sha256"]:
                continue
            with_tops = unpack(self.crate.folder / told["file"], room / f"tops-{kind}")
            if kind == "files" and _sum(archive, with_tops, self.home, room) == told["sha256"]:
                self.made.settings[key] = json.dumps(with_tops)
            else:
                self.made.differences.append(f"{key}: what would be packed is not what was")

    # --- what the spec reads, and the inputs ------------------------------------------------

    def _kept(self) -> None:
        for one in self.crate.facts["kept"]:
            if one["role"] == "spec" or Path(one["path"]).is_absolute():
                continue
            target = self._place_for(one["path"])
            if target is None or os.path.lexists(target):
                continue
            if one.get("redacted") and (found := self._whole(one)):
                _link(found, target)
                continue
            if one.get("file"):
                if one.get("redacted"):
                    what = f"{one['path']}: the crate has it without the keys of its URLs"
                    self.made.notes.append(what)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(self.crate.folder / one["file"], target)
                continue
            found = self._place_of(one["path"])
            if one.get("sha256") and file_sum(found)[0] != one["sha256"]:
                self.made.differences.append(f"{found} is not what it was")
            _link(found, target)

    def _whole(self, one: Mapping[str, Any]) -> Path | None:
        """The file of which the crate lacks the keys, where it is there as it was."""
        for place in self._places(one["path"]):
            with suppress(OSError):
                if file_sum(place)[0] == one.get("sha256"):
                    return place
        return None

    def _compared(
        self, progress: Progress, place: Callable[[str], Path]
    ) -> Iterator[tuple[Mapping[str, str], Path]]:
        """Each input with the file that is there for it now; differences are noted."""
        progress.start("comparing inputs", sum(int(row["size"] or 0) for row in self.rows))
        try:
            with Hashes(cache_folder()) as hashes:
                for row in self.rows:
                    found = place(row["path"])
                    if not row["sha256"]:
                        what = f"{row['path']} has no checksum in the crate ({row['state']})"
                        self.made.differences.append(what)
                    elif next(hashes.of_files([found], progress.advance))[0] != row["sha256"]:
                        self.made.differences.append(f"{found} is not what it was")
                    yield row, found
        finally:
            progress.end()

    def _place_of(self, path: str) -> Path:
        """Where an input is. Raises OsgbatchError."""
        places = self._places(path)
        found = next((place for place in places if place.is_file()), None)
        if found is None:
            raise _missing(path, places)
        return found

    def _places(self, path: str) -> list[Path]:
        """Where a file of the spec's is looked for."""
        if Path(path).is_absolute():
            return [Path(path)]
        first = [self.data / path] if self.data else []
        return [*first, self.crate.spec_folder / path]

    def _place_for(self, path: str) -> Path | None:
        """Where a file of the spec's is put, all links on its way followed.

        None for what lies outside of the folder that is made: nothing of a crate is written there,
        neither by way of `..` nor through a link that the crate brought.
        """
        above, name = os.path.split(self.home / path)
        real = Path(os.path.realpath(above))  # Path.resolve raises for links in a circle
        inside = name not in ("", ".", "..") and real.is_relative_to(os.path.realpath(self.top))
        return real / name if inside else None


def _ups(path: str) -> int:
    """How many folders up a relative path begins."""
    parts = Path(os.path.normpath(path)).parts
    return sum(part == ".." for part in parts)


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    os.symlink(os.path.normpath(source), target)


def _sum(archive: Callable[..., Any], texts: list[Any], home: Path, room: Path) -> str:
    """The checksum of the archive that would be made; empty when there would be none."""
    try:
        made = archive(texts, home, room)
    except OsgbatchError:
        return ""
    return str(made.sha256) if made else ""


def _missing(path: str, places: list[Path]) -> OsgbatchError:
    return OsgbatchError(
        f"the input {path} is not there",
        where=" or ".join(map(str, places)),
        fix="--data DIR names a folder in which inputs lie as they did in the spec's.",
    )
