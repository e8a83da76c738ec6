"""What every kind of stash can do; `open_store` gives the one that a spec or profile names."""

from __future__ import annotations

import hashlib
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path
from urllib.parse import quote

from osgbatch.errors import StagingError
from osgbatch.places import cache_folder
from osgbatch.spec_model import Profile, Stash
from osgbatch.staging.hold import Hold, quiet
from osgbatch.staging.objects import FOLDER, Object
from osgbatch.staging.quota import Room, room_left
from osgbatch.urls import scheme

Advance = Callable[[int], None]


@dataclass(frozen=True)
class Kept:
    """An object that is in a stash. size in bytes; changed: seconds since 1970."""

    name: str
    size: int
    changed: float


class Store(ABC):
    """A stash, open. All names are those of objects, `3f/3f…e2.npy`."""

    url: str
    """What jobs are given, without a slash at its end; objects lie below it in `osgbatch/`."""
    quota: str = ""
    """The command that tells how much may still be brought; empty when there is none."""
    tell: Callable[[str], None] = staticmethod(quiet)
    """Is given a line before this waits for another osgbatch."""

    def object_url(self, name: str) -> str:
        """The URL of an object."""
        return f"{self.url}/{FOLDER}/{name}"

    def fetch_url(self, name: str) -> str:
        """The URL that jobs are given for an object; a secret where it is signed in advance."""
        return self.object_url(name)

    @abstractmethod
    def sizes(self, names: Iterable[str]) -> Mapping[str, int]:
        """Bytes of those of these objects that are there. Raises StagingError."""

    @abstractmethod
    def put(self, source: Path, wanted: Object, advance: Advance) -> bool:
        """Bring a file, whole or not at all; what is there already is never written over.

        advance: is told of bytes brought. Returns whether it was brought now. Raises StagingError
        when it cannot be, or when the file is no longer what `wanted` says.
        """

    def put_all(self, files: Sequence[tuple[Path, Object]], advance: Advance) -> Iterator[bool]:
        """Bring files, as many at a time as it likes; what `put` says of each, in order.

        Raises StagingError with the first that cannot be brought; those before it are there.
        """
        for path, wanted in files:
            yield self.put(path, wanted, advance)

    @abstractmethod
    def listing(self) -> Iterator[Kept]:
        """Every object that is there. Raises StagingError."""

    @abstractmethod
    def checksum(self, name: str, advance: Advance) -> str:
        """The SHA-256 of an object as it is read back. Raises StagingError."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove an object. Raises StagingError."""

    def damaged(
        self, name: str, what: str = "its content is not what its name says"
    ) -> StagingError:
        """The error that an object is not what it should be. what: is wrong with it."""
        return StagingError(
            f"the object in the stash is damaged: {what}",
            where=self.object_url(name),
            fix="`osgbatch stage verify --remove` removes such objects; the same command then "
            "stages this one anew. A cache that has it may give it out for some days: jobs notice.",
        )

    def other_size(self, name: str, size: int, wanted: int) -> StagingError:
        """The error that an object is there with `size` bytes instead of the wanted."""
        return self.damaged(name, f"it has {size:,} bytes and should have {wanted:,}")

    def tidy(self, older_s: float) -> int:
        """Remove what interrupted uploads have left for longer than this. Returns how many."""
        return 0

    def commands(self) -> tuple[tuple[str, str], ...]:
        """What a submit file must say so that jobs can fetch objects. Raises StagingError."""
        return ()

    def fetch_commands(self) -> tuple[tuple[str, str], ...]:
        """The same for what jobs fetch by its `fetch_url`. Raises StagingError."""
        return self.commands()

    def hold(self, *, alone: bool = False) -> Hold:
        """Keep objects that are trusted from being removed, until it is closed.

        alone: to remove some. What is not a folder is locked for this machine only. Raises
        StagingError when others use the stash and it is wanted alone.
        """
        name = hashlib.sha256(self.url.encode()).hexdigest()[:16]
        return Hold(cache_folder() / "stashes" / f"{name}.lock", alone=alone, tell=self.tell)

    def disk(self) -> Path | None:
        """A folder on the file system that objects are written to; None when it is not here."""
        return None

    def begun(self, objects: Iterable[Object]) -> int:
        """Bytes that interrupted uploads of these objects take already."""
        return 0

    def room(self) -> Room:
        """What there is room for, by the quota and the file system."""
        return room_left(self.quota, self.disk())


_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


def expanded(text: str) -> str:
    """A folder with `~`, $USER and $HOME put in. Raises StagingError for other variables."""
    text = _with_variables(text)
    return str(Path(text).expanduser()) if text.startswith("~") else text


def expanded_url(text: str, folder: str = "") -> str:
    """A URL with $USER, $HOME and {folder} put in, quoted as a URL must have them.

    folder: what {folder} stands for. In that of a bucket nothing is quoted: HTCondor does that
    itself (seen on 25.14.1). Raises StagingError for other variables, and for what a bucket's
    cannot hold.
    """
    is_bucket = scheme(text) == "s3"
    put = str if is_bucket else quote
    parts = text.split("{folder}")  # first: nothing is looked for in what is put in
    url = put(folder).join(_with_variables(part, put) for part in parts)
    odd = re.search(r"[^A-Za-z0-9._~-]", _with_variables("$USER")) if "$" in text else None
    if is_bucket and odd:
        raise StagingError(f"the URL of a bucket cannot hold {odd[0]!r} of $USER", where=url)
    return url


def stash_url(stash: Stash) -> str:
    """The URL of a stash, without a slash at its end; of a bucket as the spec has it.

    Raises StagingError.
    """
    return expanded_url(stash.url, expanded(stash.folder)).rstrip("/")


def _with_variables(text: str, put: Callable[[str], str] = str) -> str:
    """A text with its variables; put: what is put in of the value of one."""
    user = os.environ.get("USER") or os.environ.get("LOGNAME") or Path.home().name
    values = {"USER": user, "HOME": str(Path.home())}

    def value(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        if name not in values:
            raise StagingError(
                f"the variable ${name} is not known in a stash",
                where=text,
                fix="Known are $USER and $HOME.",
            )
        return put(values[name])

    return _VARIABLE.sub(value, text)


def folder_here(text: str) -> Path | None:
    """The folder that a pattern means on this machine, if it is there and may be written to.

    text: a path, which may hold `~`, $USER and `*`; the first of several is meant.
    """
    path = expanded(text)
    for found in sorted(glob(path)) if has_magic(path) else [path]:
        if os.path.isdir(found) and os.access(found, os.W_OK | os.X_OK):
            return Path(found)
    return None


def open_store(stash: Stash, profile: Profile | None = None) -> Store:
    """The stash that a spec or profile describes. Raises StagingError when it cannot be used.

    profile: tells by which command its quota is asked for.
    """
    store = _opened(stash)
    store.quota = quota_command(stash, profile) if profile else ""
    return store


def quota_command(stash: Stash, profile: Profile) -> str:
    """The profile's quota command, if it tells of this stash; else empty.

    A profile that names a stash means that one, and no other.
    """
    pools = profile.stash
    if pools.kind != "none" and (stash.kind, stash.url) != (pools.kind, pools.url):
        return ""
    return dict(profile.quotas).get("stash", "")


def _opened(stash: Stash) -> Store:
    if stash.kind == "folder":
        from osgbatch.staging.folder import FolderStore

        return FolderStore(Path(expanded(stash.folder)), stash_url(stash))
    if stash.kind == "s3":
        from osgbatch.staging.s3 import S3Store

        return S3Store(stash)
    if stash.kind == "pelican":
        from osgbatch.staging.pelican import PelicanStore

        return PelicanStore(stash_url(stash))
    raise StagingError(f"a stash of the kind {stash.kind} is not known")
