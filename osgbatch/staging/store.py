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

from osgbatch.errors import StagingError
from osgbatch.model import Profile, Stash
from osgbatch.places import cache_folder
from osgbatch.staging.hold import Hold
from osgbatch.staging.objects import FOLDER, Object
from osgbatch.staging.quota import Room, room_left

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
        return Hold(cache_folder() / "stashes" / f"{name}.lock", alone=alone)

    def disk(self) -> Path | None:
        """A folder on the file system that objects are written to; None when it is not here."""
        return None

    def begun(self, objects: Iterable[Object]) -> int:
        """Bytes that interrupted uploads of these objects take already."""
        return 0

    def room(self) -> Room:
        """What there is room for, by the quota and the file system."""
        return room_left(self.quota, self.disk())


def expanded(text: str) -> str:
    """A folder or URL with `~`, $USER and $HOME put in. Raises StagingError for other variables."""
    for name in re.findall(r"\$\{?(\w+)\}?", text):
        if name not in ("USER", "HOME"):
            raise StagingError(
                f"the variable ${name} is not known in a stash",
                where=text,
                fix="Known are $USER and $HOME.",
            )
    user = os.environ.get("USER") or os.environ.get("LOGNAME") or Path.home().name
    values = {"USER": user, "HOME": str(Path.home())}
    text = re.sub(r"\$\{?(USER|HOME)\}?", lambda found: values[found[1]], text)
    return str(Path(text).expanduser()) if text.startswith("~") else text


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

        folder = Path(expanded(stash.folder))
        url = expanded(stash.url).replace("{folder}", str(folder))
        return FolderStore(folder, url)
    if stash.kind == "s3":
        from osgbatch.staging.s3 import S3Store

        return S3Store(stash)
    if stash.kind == "pelican":
        from osgbatch.staging.pelican import PelicanStore

        return PelicanStore(expanded(stash.url))
    raise StagingError(f"a stash of the kind {stash.kind} is not known")
