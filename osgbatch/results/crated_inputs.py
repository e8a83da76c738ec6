"""The inputs of a batch, for its crate: where each lies, its checksum, and whether it holds."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import stat
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import astuple, dataclass, fields, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TextIO

from osgbatch import names
from osgbatch.batches.folder import Batch, read_note, read_tasks_csv
from osgbatch.batches.moved import as_moved
from osgbatch.errors import StagingError
from osgbatch.packing.tree import is_clutter
from osgbatch.places import cache_folder
from osgbatch.planning.inputs import ARCHIVED
from osgbatch.provenance.layout import FACTS, FOLDER, INPUTS
from osgbatch.provenance.manifest import walk
from osgbatch.staging.hashes import Hashes
from osgbatch.staging.objects import checksum_of
from osgbatch.staging.stage import Progress
from osgbatch.submission.origin import read_origin
from osgbatch.sums import CHUNK
from osgbatch.urls import is_object, is_url, without_login

MOST_READ = 10 << 30
"""Bytes of inputs that are read for their checksums, unless the user wants them all."""

UNCHANGED, TOUCHED, CHANGED, GONE, FETCHED = "unchanged", "touched", "changed", "gone", "fetched"
MENDED = "mended"
"""What became of an input since it was submitted: `touched` has the time of then, but something was
put into its place, or it was renamed or given other rights since; `mended` has not changed since
the newest round that was brought it, but an older one was brought something else; `fetched` is a
URL, which jobs fetch themselves."""


@dataclass(frozen=True)
class InputRow:
    """A line of `inputs.csv`. path: relative to the spec's folder; size in bytes, -1 not known.

    modified: as ISO 8601; sha256: empty where the file was not read, or is another one now.
    """

    path: str
    url: str
    size: int
    modified: str
    sha256: str
    state: str


@dataclass
class Inputs:
    """How the inputs were told: how many, how many of them without checksum, and which changed."""

    count: int = 0
    unread: int = 0
    unread_bytes: int = 0
    changed: int = 0
    first_changed: str = ""
    mended: int = 0
    first_mended: str = ""


def write_inputs(out: TextIO, batch: Batch, progress: Progress, most: int = MOST_READ) -> Inputs:
    """Write `inputs.csv`. most: bytes that are read; what was read before is not read again."""
    told = Inputs()
    writer = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_MINIMAL)
    writer.writerow([one.name for one in fields(InputRow)])
    progress.start("reading inputs for their checksums", 0)
    try:
        with Hashes(cache_folder()) as hashes:
            known, rounds = _known_before(batch.folder / FOLDER)
            for row, round_ in _rows(batch, _Reader(hashes, most)):
                # read while it was what was submitted
                if row.path in known and not row.sha256 and round_ in rounds:
                    row = replace(row, sha256=known[row.path])
                writer.writerow("" if cell == -1 else cell for cell in astuple(row))
                told.count += 1
                if row.state == MENDED:
                    told.mended += 1
                    told.first_mended = told.first_mended or row.path
                if row.state in (CHANGED, TOUCHED, GONE) and not row.sha256:
                    told.changed += 1
                    told.first_changed = told.first_changed or row.path
                elif not row.sha256 and not row.url:
                    told.unread += 1
                    told.unread_bytes += max(0, row.size)
    finally:
        progress.end()
    return told


def _known_before(crate: Path) -> tuple[dict[str, str], frozenset[int]]:
    """The checksums that the crate of before has of files here, and the rounds it tells of.

    What a later round was brought may be something else. Empty when there is none.
    """
    try:
        facts = json.loads((crate / FACTS).read_text())
        rounds = frozenset(int(one["number"]) for one in facts["rounds"])
        with (crate / INPUTS).open(newline="", encoding="utf-8", errors="surrogateescape") as text:
            rows = csv.DictReader(text)
            sums = {row["path"]: row["sha256"] for row in rows if row["path"] and row["sha256"]}
            return sums, rounds
    except (OSError, KeyError, ValueError, TypeError, csv.Error):
        return {}, frozenset()


class _Reader:
    """Checksums of files, within so many bytes that are read."""

    def __init__(self, hashes: Hashes, most: int) -> None:
        self.hashes = hashes
        self.most = most

    def sum_of(self, path: Path, size: int) -> str:
        """Empty when it would be too much, or the file cannot be read."""
        try:
            known = self.hashes.known(path)
            if known or self.hashes.read_bytes + size > self.most:
                return known
            for sha256, _ in self.hashes.of_files([path], lambda count: None):
                return sha256
        except StagingError:
            pass
        return ""

    def sum_before(self, path: Path, made: float) -> str:
        """What was read of a file before a round was made; empty when it was not, or is another."""
        try:
            return self.hashes.known_before(path, made)
        except StagingError:
            return ""


class _Names:
    """What the spec calls files: HTCondor is given their real paths, links followed."""

    def __init__(self, batch: Batch, home: Path) -> None:
        self.home = home
        self._folders: dict[str, str] = {}
        self._known: dict[str, str] = {}
        self._archived: dict[str, str] = {}
        columns = list(batch.data["columns"])
        places = [columns.index(name) for name in batch.data["file_columns"]]
        for row in read_tasks_csv(batch) if places else ():
            for place in places:
                if not is_url(row[place]):
                    self._add(row[place])
        for round_ in batch.rounds():
            with suppress(OSError):
                shim = (round_.folder / names.SHIM).read_bytes().decode("utf-8", "surrogateescape")
                for found in _BROUGHT.finditer(shim):
                    self._add(found[2])
                    self._archived[found[1]] = found[2]

    def _add(self, text: str) -> None:
        above, name = os.path.split(os.path.join(self.home, text))
        if above not in self._folders:
            self._folders[above] = os.path.realpath(above)
        real = f"{self._folders[above]}/{name}"
        real = os.path.realpath(real) if os.path.islink(real) else real
        self._known[real] = text
        lies = hashlib.sha256(os.fsencode(os.path.relpath(real, self.home))).hexdigest()[:16]
        self._archived[f"{ARCHIVED}/{lies}/{os.path.basename(real)}"] = text

    def of(self, path: Path) -> str:
        """Relative to the spec's folder; of what lies far from it the whole path."""
        text = self._known.get(str(path)) or os.path.relpath(path, self.home)
        return str(path) if text.startswith("../../../") else text

    def of_archived(self, name: str) -> str:
        """The same of what travelled in an archive, under a name made of its path."""
        parts = name.split("/")
        text = self._archived.get("/".join(parts[:3]), parts[2] if len(parts) > 2 else name)
        return "/".join([text, *parts[3:]])


_BROUGHT = re.compile(r"^ *input '([^'\n]*)' '(?:inputs|related)/([^'\n]*)'$", re.M)
"""A line of the shim: what all tasks are brought."""


def _rows(batch: Batch, reader: _Reader) -> Iterator[tuple[InputRow, int]]:
    """Each input, with the newest round that was brought it."""
    spec_folder = as_moved(batch, Path(str(batch.data["spec_folder"])))
    home = _Names(batch, spec_folder)
    seen: set[str] = set()
    rounds = batch.rounds()
    first = dict[Path, float]()
    """When what later rounds may be brought, too, was brought for the first time."""
    for round_ in rounds[:-1]:
        data = batch.round_data(round_.number)
        start, made = as_moved(batch, Path(str(data["initialdir"]))), _made(round_.folder)
        for name in _transferred(round_.folder, data):
            if not is_url(name):
                first.setdefault(start / name, made)
    for round_ in reversed(rounds):
        made = _made(round_.folder)
        data = batch.round_data(round_.number)
        start = as_moved(batch, Path(str(data["initialdir"])))
        placed = read_origin(round_.folder).get("placed", [])
        paths = {spec_folder / str(one): made for one in placed if isinstance(placed, list)}
        for name in _transferred(round_.folder, data):
            if not is_url(name):
                paths[start / name] = first.get(start / name, made)
            elif name not in seen:
                seen.add(name)
                yield _of_url(name), round_.number
        for path, earliest in paths.items():
            if str(path) not in seen:
                seen.add(str(path))
                for row in _of_path(path, home, (earliest, made), reader):
                    yield row, round_.number
        for item in data["payload"]:
            if item["kind"] == "inputs" and item["sha256"] not in seen:
                seen.add(item["sha256"])
                for row in _of_archive(batch.folder / item["file"], home):
                    yield row, round_.number


def _made(round_: Path) -> float:
    """When a round was made, in seconds since 1970; 0 when that is not known."""
    note = read_note(round_)
    return note.time if note else 0.0


def _transferred(round_: Path, data: Any) -> Iterator[str]:
    """What HTCondor brings to the jobs of a round besides the payload: paths and URLs."""
    yield from map(str, data.get("shared_inputs", ()))
    fields_ = list(data.get("item_names", ()))
    if "inputs" not in fields_:
        return
    place = fields_.index("inputs")
    with (
        suppress(OSError),
        (round_ / names.ITEMS).open(encoding="utf-8", errors="surrogateescape") as stream,
    ):
        for line in stream:
            cells = line.rstrip("\n").split(" ", place)
            if len(cells) > place:
                yield from filter(None, cells[place].split(","))


def _of_url(url: str) -> InputRow:
    sha256 = ""
    if is_object(url):
        sha256 = checksum_of("/".join(url.partition("?")[0].split("/")[-2:]))
    return InputRow("", without_login(url), -1, "", sha256, FETCHED)


def _of_path(
    path: Path, home: _Names, made: tuple[float, float], reader: _Reader
) -> Iterator[InputRow]:
    """A file, or each file of a folder. made: the first and the last round that was brought it."""
    try:
        status = path.stat()
        if not stat.S_ISDIR(status.st_mode):
            yield _of_file(path, status, home, made, reader)
            return
        for name, entry in walk(path):
            if is_clutter(name, False):
                continue
            found = path / name
            with suppress(OSError):  # a link that leads nowhere does not travel
                status = found.stat() if entry.is_symlink() else entry.stat()
                if stat.S_ISREG(status.st_mode):
                    yield _of_file(found, status, home, made, reader)
    except OSError:
        yield InputRow(home.of(path), "", -1, "", "", GONE)


def _of_file(
    path: Path, status: os.stat_result, home: _Names, made: tuple[float, float], reader: _Reader
) -> InputRow:
    earliest, last = made
    sha256 = ""
    if last and status.st_mtime > last:
        state = CHANGED
    elif last and status.st_ctime > last:
        # `mv` and `cp -p` bring an old time with them: what it was is known only from before
        state, sha256 = TOUCHED, reader.sum_before(path, last)
    else:
        state = MENDED if 0 < earliest < max(status.st_mtime, status.st_ctime) else UNCHANGED
        sha256 = reader.sum_of(path, status.st_size)
    modified = datetime.fromtimestamp(int(status.st_mtime), timezone.utc).isoformat()
    return InputRow(home.of(path), "", status.st_size, modified, sha256, state)


def _of_archive(archive: Path, home: _Names) -> Iterator[InputRow]:
    """What travelled in an archive, since HTCondor cannot transfer files of such names."""
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                stream = tar.extractfile(member) if member.isreg() else None
                if stream is None:
                    continue
                digest = hashlib.sha256()
                while part := stream.read(CHUNK):
                    digest.update(part)
                yield InputRow(
                    home.of_archived(member.name),
                    "",
                    member.size,
                    "",
                    digest.hexdigest(),
                    UNCHANGED,
                )
    except (OSError, tarfile.TarError, EOFError):
        return
