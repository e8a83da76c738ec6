"""A stash in the OSDF, or another Pelican federation, written through the `pelican` command.

The commands and what they print are taken from the client's manual (`pelican object`) and source
(cmd/object_*.go). No object is overwritten: whether it is there is asked before, and the client
refuses it, too, since 7.19.
"""

from __future__ import annotations

import calendar
import hashlib
import json
import re
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from osgbatch.errors import StagingError
from osgbatch.places import cache_folder
from osgbatch.staging.hashes import CHUNK, changed
from osgbatch.staging.objects import FOLDER, Object, checksum_of
from osgbatch.staging.pelican_client import Client
from osgbatch.staging.store import Advance, Kept, Store
from osgbatch.staging.tokens import find_token, token_warning
from osgbatch.staging.uploads import Upload, begun_sizes, forget

_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?(?:Z|([+-])(\d\d):(\d\d))")
_EXISTS = "already exists"


class PelicanStore(Store):
    """Objects are those below a URL of the federation, put there and asked for by the client.

    An upload that was killed can leave a part under the final name, for the client has no other
    way to write. Its size gives it away: where a note here says that it is of an upload of this
    user's, it is removed and brought anew; any other is refused, never used.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._client = Client(self.url)
        name = hashlib.sha256(self.url.encode()).hexdigest()[:16]
        self._notes = cache_folder() / "stashes" / f"{name}.uploads"

    def sizes(self, names: Iterable[str]) -> dict[str, int]:
        """See Store. A listing for each folder of several objects, a question for a single one."""
        wanted: dict[str, list[str]] = {}
        for name in set(names):
            wanted.setdefault(name.partition("/")[0], []).append(name)

        def ask(folder: str) -> dict[str, int]:
            if len(wanted[folder]) == 1:
                size = self._size(wanted[folder][0])
                return {} if size is None else {wanted[folder][0]: size}
            return {kept.name: kept.size for kept in self._folder(folder)}

        found = {
            name: size
            for part in self._client.each(ask, wanted)
            for name, size in part.items()
            if name in wanted[name.partition("/")[0]]
        }
        for name, size in begun_sizes(self._notes).items() if found else ():
            if found.get(name) == size:
                forget(self._notes, name)
            else:
                found.pop(name, None)  # a part that an upload from here has left: `put` sees to it
        return found

    def _size(self, name: str) -> int | None:
        """Bytes of an object; None when it is not there."""
        told = self._client.json(["stat", "--json", self.object_url(name)])
        return None if told is None else int(_field(told, "Size"))

    def _folder(self, folder: str) -> Iterator[Kept]:
        for one in self._entries(f"{self.url}/{FOLDER}/{folder}") or ():
            name = f"{folder}/{_base(one)}"
            if checksum_of(name):
                yield Kept(name, int(_field(one, "Size")), _seconds(_field(one, "ModTime")))

    def _entries(self, url: str) -> list[Any] | None:
        """What a folder holds; None when there is no such folder."""
        found: list[Any] | None = self._client.json(["ls", "--long", "--json", url])
        return found

    def put(self, source: Path, wanted: Object, advance: Advance) -> bool:
        """See Store."""
        token_warning(find_token())  # raises when it has expired
        with Upload(self._notes, wanted, self._client.stopped, self.tell) as upload:
            there = self._size(wanted.name)
            if there not in (None, wanted.size) and upload.was_begun:
                self.remove(wanted.name)
                there = None
            if brought := there is None:
                _make_sure(source, wanted)
                brought = self._upload(source, wanted, upload)
                there = self._size(wanted.name) if brought else wanted.size
            if there != wanted.size:
                if brought and there is not None:
                    with suppress(StagingError):
                        self.remove(wanted.name)
                if there is not None:  # as an upload that was cut short leaves it
                    raise self.other_size(wanted.name, there, wanted.size)
                raise StagingError(
                    "the federation took the object and does not show it",
                    where=self.object_url(wanted.name),
                    fix="Try again; if it stays so, its origin is at fault.",
                )
            upload.done()
        advance(wanted.size)
        return brought

    def _upload(self, source: Path, wanted: Object, upload: Upload) -> bool:
        """Run the client's put. Returns whether it was this one that brought the object."""

        def clear() -> None:  # the client refuses to write over what its first attempt has left
            if self._size(wanted.name) not in (None, wanted.size):
                self.remove(wanted.name)

        words = ["put", str(source), self.object_url(wanted.name)]
        upload.begin()
        try:
            self._client.run(words, keep=upload.descriptor, between=clear)
        except StagingError as error:
            if _EXISTS in error.what:
                upload.done()  # what is there is another's
            if self._size(wanted.name) != wanted.size:
                raise
            return False  # another osgbatch was faster, and the client refused to write over it
        return True

    def put_all(self, files: Sequence[tuple[Path, Object]], advance: Advance) -> Iterator[bool]:
        """See Store."""
        return self._client.each(lambda file: self.put(*file, advance), files)

    def listing(self) -> Iterator[Kept]:
        """See Store. A place that is not there at all is an error: it may have another name."""
        top = self._entries(f"{self.url}/{FOLDER}")
        if top is None and self._client.json(["stat", "--json", self.url]) is None:
            raise StagingError(
                "the stash is not there",
                where=self.url,
                fix="Is its URL right, and does an origin serve it? The first file that is "
                "staged makes it.",
            )
        folders = sorted(_base(one) for one in top or ())
        for found in self._client.each(lambda folder: list(self._folder(folder)), folders):
            yield from sorted(found, key=lambda kept: kept.name)

    def checksum(self, name: str, advance: Advance) -> str:
        """See Store. It is read from the origin: a cache would tell what it remembers."""
        digest = hashlib.sha256()
        with tempfile.TemporaryDirectory(prefix="osgbatch-verify-") as folder:
            target = Path(folder, "object")
            self._client.run(["get", f"{self.object_url(name)}?directread", str(target)])
            with target.open("rb") as stream:
                while part := stream.read(CHUNK):
                    digest.update(part)
                    advance(len(part))
        return digest.hexdigest()

    def remove(self, name: str) -> None:
        """See Store. Caches keep what they have; older clients have no such command."""
        self._client.run(["delete", self.object_url(name)], missing=True)


def _make_sure(source: Path, wanted: Object) -> None:
    """Read a file once more before it goes. Raises StagingError when it has changed."""
    digest = hashlib.sha256()
    try:
        with source.open("rb") as stream:
            while part := stream.read(CHUNK):
                digest.update(part)
    except OSError as error:
        raise StagingError(f"cannot be read: {error.strerror}", where=str(source)) from None
    if digest.hexdigest() != wanted.sha256:
        raise changed(source)


def _field(told: Any, name: str) -> Any:
    """A field of the client's JSON, whose names are those of its structures or in small letters."""
    for key, value in told.items():
        if key.lower() == name.lower():
            return value
    raise StagingError(f"the pelican command tells no {name}: {json.dumps(told)[:80]}")


def _base(told: Any) -> str:
    return str(_field(told, "Name")).rstrip("/").rpartition("/")[2]


def _seconds(text: str) -> float:
    """A time of RFC 3339 in seconds since 1970; one not known is now: it counts as young."""
    match = _TIME.fullmatch(text)
    if match is None or text.startswith("0001"):
        return time.time()
    seconds = calendar.timegm(time.strptime(match[1], "%Y-%m-%dT%H:%M:%S"))
    if match[2]:
        away = 60 * (60 * int(match[3]) + int(match[4]))
        seconds += away if match[2] == "-" else -away
    return float(seconds)
