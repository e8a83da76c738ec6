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
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from osgbatch.errors import StagingError
from osgbatch.staging.hashes import CHUNK, changed
from osgbatch.staging.objects import FOLDER, Object, checksum_of
from osgbatch.staging.store import Advance, Kept, Store
from osgbatch.staging.tokens import find_token, token_warning

COMMANDS = ("pelican", "osdf")
"""The client's names; the second is the same program."""
WORKERS = 4
"""So many commands run at a time: each asks the federation anew where things are."""
RETRYABLE = 11
"""The client's exit code for what may go well the next time. Source: cmd/object_put.go."""
WAITS_S = (1.0, 4.0, 16.0)
"""How long is waited before each new attempt."""
_MISSING = re.compile(r"\b404\b|not found|no such|does not exist", re.IGNORECASE)
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?(?:Z|([+-])(\d\d):(\d\d))")


class PelicanStore(Store):
    """Objects are those below a URL of the federation, put there and asked for by the client.

    An upload that was killed can leave a part under the final name, for the client has no other
    way to write; its size gives it away, and it is refused, never used.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._client = _client(self.url)

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

        with ThreadPoolExecutor(WORKERS) as pool:
            found = [pair for part in pool.map(ask, wanted) for pair in part.items()]
        return {name: size for name, size in found if name in wanted[name.partition("/")[0]]}

    def _size(self, name: str) -> int | None:
        """Bytes of an object; None when it is not there."""
        told = self._json(["stat", "--json", self.object_url(name)])
        return None if told is None else int(_field(told, "Size"))

    def _folder(self, folder: str) -> Iterator[Kept]:
        for one in self._entries(f"{self.url}/{FOLDER}/{folder}"):
            name = f"{folder}/{_base(one)}"
            if checksum_of(name):
                yield Kept(name, int(_field(one, "Size")), _seconds(_field(one, "ModTime")))

    def _entries(self, url: str) -> list[Any]:
        """What a folder holds; nothing when there is none."""
        return self._json(["ls", "--long", "--json", url]) or []

    def put(self, source: Path, wanted: Object, advance: Advance) -> bool:
        """See Store."""
        token_warning(find_token())  # raises when it has expired
        there = self._size(wanted.name)
        if there is None:
            _make_sure(source, wanted)
            try:
                self._run(["put", str(source), self.object_url(wanted.name)])
            except StagingError:
                if self._size(wanted.name) != wanted.size:
                    raise
                return False  # another osgbatch was faster, and the client refused to write over it
            there = self._size(wanted.name)
            brought = True
        else:
            brought = False
        if there != wanted.size:
            if brought and there is not None:
                with suppress(StagingError):
                    self.remove(wanted.name)
            raise StagingError(
                f"the object is there with {there} bytes and not {wanted.size}"
                if there is not None
                else "the federation took the object and does not show it",
                where=self.object_url(wanted.name),
                fix="An upload that was cut short leaves this. Remove the object at its origin, "
                "or let the owner of the namespace do so; then try again.",
            )
        advance(wanted.size)
        return brought

    def put_all(self, files: Sequence[tuple[Path, Object]], advance: Advance) -> Iterator[bool]:
        """See Store."""
        pool = ThreadPoolExecutor(WORKERS)
        try:
            asked = [pool.submit(self.put, path, one, advance) for path, one in files]
            for one in asked:
                yield one.result()
        finally:
            pool.shutdown(cancel_futures=True)

    def listing(self) -> Iterator[Kept]:
        """See Store."""
        folders = sorted(_base(one) for one in self._entries(f"{self.url}/{FOLDER}"))
        with ThreadPoolExecutor(WORKERS) as pool:
            for found in pool.map(lambda folder: list(self._folder(folder)), folders):
                yield from sorted(found, key=lambda kept: kept.name)

    def checksum(self, name: str, advance: Advance) -> str:
        """See Store. It is read from the origin: a cache would tell what it remembers."""
        digest = hashlib.sha256()
        with tempfile.TemporaryDirectory(prefix="osgbatch-verify-") as folder:
            target = Path(folder, "object")
            self._run(["get", f"{self.object_url(name)}?directread", str(target)])
            with target.open("rb") as stream:
                while part := stream.read(CHUNK):
                    digest.update(part)
                    advance(len(part))
        return digest.hexdigest()

    def remove(self, name: str) -> None:
        """See Store. Caches keep what they have; older clients have no such command."""
        self._run(["delete", self.object_url(name)], missing=True)

    # --- the client -----------------------------------------------------------------------------

    def _json(self, words: Sequence[str]) -> Any:
        """What the client tells, as JSON in its last line; None when there is no such thing."""
        printed = self._run(words, missing=True)
        if printed is None:
            return None
        for line in reversed(printed.splitlines()):
            if line.strip():
                with suppress(ValueError):
                    return json.loads(line)
                break
        raise self._error(words, "its answer is not understood")

    def _run(self, words: Sequence[str], *, missing: bool = False) -> str | None:
        """What the client prints; tried again when it says that this may help.

        missing: None when what is asked for is not there. Raises StagingError.
        """
        for wait in (*WAITS_S, None):
            done = subprocess.run(
                [*self._client, *words],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                check=False,
            )
            if done.returncode == 0:
                return done.stdout
            if done.returncode != RETRYABLE or wait is None:
                break
            time.sleep(wait)
        if missing and _MISSING.search(done.stderr):
            return None
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        said = lines[0].strip() if lines else f"exit code {done.returncode}"
        raise self._error(words, said)

    def _error(self, words: Sequence[str], said: str) -> StagingError:
        command = f"{Path(self._client[0]).name} object {words[0]}"
        fix = "Run it by hand to see more, and to give it a token if it has none."
        url = next((word for word in reversed(words) if "://" in word), self.url)
        return StagingError(f"`{command}` failed: {said}", where=url, fix=fix)


def _client(url: str) -> list[str]:
    for name in COMMANDS:
        found = shutil.which(name)
        if found:
            return [found, "object"]
    raise StagingError(
        "this stash needs the `pelican` command, which is not here",
        where=url,
        fix="Install the Pelican client (docs.pelicanplatform.org), or use a stash that is a "
        "folder here: `stash: {folder: DIR, url: osdf:///…}`.",
    )


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
