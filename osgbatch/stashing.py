"""The stash by itself, without a sweep: put files there, list, verify, clear away."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from osgbatch import names
from osgbatch.errors import StagingError
from osgbatch.model import Placed
from osgbatch.places import cache_folder
from osgbatch.planned import stash_here
from osgbatch.planning.grouping import size
from osgbatch.spec.load import load_stash
from osgbatch.staged import bring, files_of
from osgbatch.staging.hashes import Hashes
from osgbatch.staging.objects import checksum_of
from osgbatch.staging.stage import Progress, Staged, hash_files
from osgbatch.staging.store import Kept, Store, open_store

Say = Callable[[str], None]

YOUNG_S = 86_400
"""A younger object may belong to a batch that is being submitted just now."""
_READ = (".yaml", ".yml", ".txt", ".items", ".submit", ".csv", ".tsv")
_SHA256 = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")


@dataclass(frozen=True)
class Put:
    """A file or folder in the stash. path: as the user named it, of a tree with what is below."""

    path: str
    url: str
    sha256: str
    size: int


def stash_store(spec: Path | None, settings: Sequence[str] = ()) -> Store:
    """The stash of a spec, or of the defaults. Raises SpecErrors, StagingError when there is none.

    spec: None for what would hold in the current folder.
    """
    wanted, profile = load_stash(spec, settings)
    found = stash_here(wanted, profile, spec.absolute().parent if spec else Path.cwd())
    if found.kind == "none":
        raise StagingError(
            "there is no stash",
            where=f"profile {profile.name}",
            fix="Name one: `stash: {folder: DIR, url: …}` or `stash: s3://bucket/prefix`, in a "
            "sweep.yaml (--spec) or in your config.yaml.",
        )
    return open_store(found, profile)


def put(
    paths: Sequence[Path],
    store: Store,
    say: Say,
    progress: Progress,
    *,
    tree: bool = False,
    verify: bool = False,
) -> tuple[list[Put], Staged]:
    """Bring files and folders to the stash. tree: each file of a folder by itself.

    verify: read what is there already, too. Raises StagingError, PackingError.
    """
    for path in paths:
        if not path.exists():
            raise StagingError("there is no such file", where=str(path))
    placed = [Placed(path.absolute(), _bytes(path), "", tree) for path in paths]
    with Hashes(cache_folder()) as hashes:
        files = files_of(placed, hashes, progress)
        objects = hash_files(files.wanted, hashes, progress)
    done = bring(files, objects, store, say, progress, verify=verify)
    asked = {one.source: str(path) for one, path in zip(placed, paths, strict=True)}
    made = []
    for ((source, _), below, _), one in zip(files.uses, objects, strict=True):
        name = f"{asked[source]}/{below}" if below else asked[source]
        made.append(Put(name, store.object_url(one.name), one.sha256, one.size))
    return made, done


def _bytes(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


@dataclass(frozen=True)
class Verified:
    """An object that was read back. what: is wrong with it; empty when nothing is."""

    kept: Kept
    what: str


def verify(store: Store, progress: Progress) -> Iterator[Verified]:
    """Read every object of a stash and compare it with its name. Raises StagingError."""
    kept = list(store.listing())
    progress.start("verifying", sum(one.size for one in kept))
    try:
        for one in kept:
            found = store.checksum(one.name, progress.advance)
            wrong = found != checksum_of(one.name)
            yield Verified(one, "its content is not what its name says" if wrong else "")
    finally:
        progress.end()


# --- what nothing refers to ---------------------------------------------------------------------


@dataclass(frozen=True)
class Garbage:
    """Objects that nothing under the folders refers to; batches: how many were looked at.

    young: how many more there are that may belong to a submission of today.
    """

    objects: tuple[Kept, ...]
    batches: int
    young: int


def garbage(store: Store, folders: Iterable[Path], older_s: float = YOUNG_S) -> Garbage:
    """The objects that no batch and no file of settings below the folders refers to.

    A batch names its objects in objects.txt; any checksum in another .yaml, .txt, .csv, .items or
    .submit file counts as well, so that URLs that were copied into a spec keep what they lead to.
    Raises StagingError when a folder cannot be read whole: then nothing may be removed.
    """
    used: set[str] = set()
    batches = 0
    for path in _texts(folders):
        batches += path.name == names.OBJECTS
        used |= _checksums(path)
    unused = [one for one in store.listing() if checksum_of(one.name) not in used]
    old = [one for one in unused if time.time() - one.changed >= older_s]
    return Garbage(tuple(old), batches, len(unused) - len(old))


def remove(store: Store, objects: Iterable[Kept]) -> None:
    """Remove objects. Raises StagingError."""
    for one in objects:
        store.remove(one.name)


def _texts(folders: Iterable[Path]) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError) or error.filename in tops:
            raise _unread(Path(str(error.filename)), error) from None

    tops = [os.fspath(folder) for folder in folders]
    seen = set()
    for folder in tops:
        # A batch behind a link is one as well.
        for above, below, found in os.walk(folder, onerror=refuse, followlinks=True):
            try:
                status = os.stat(above)
            except FileNotFoundError:  # removed meanwhile
                continue
            if (status.st_dev, status.st_ino) in seen:
                below.clear()
                continue
            seen.add((status.st_dev, status.st_ino))
            yield from (Path(above, name) for name in found if name.endswith(_READ))


def _unread(path: Path, error: OSError) -> StagingError:
    return StagingError(
        f"cannot be read, so what it refers to is not known: {error.strerror}",
        where=str(path),
        fix="Name folders that you can read; nothing was removed.",
    )


def _checksums(path: Path) -> set[str]:
    """All SHA-256 sums in a text."""
    found: set[str] = set()
    rest = b""
    try:
        if not path.is_file():  # a pipe of this name would be waited for
            return found
        with path.open("rb") as stream:
            while part := stream.read(1 << 22):
                text = rest + part
                found.update(match.decode() for match in _SHA256.findall(text))
                rest = text[-130:]
    except FileNotFoundError:
        return found
    except OSError as error:
        raise _unread(path, error) from None
    return found


def amount(objects: Iterable[Kept]) -> str:
    """`12 objects (1.4 GB)`."""
    objects = list(objects)
    noun = "object" if len(objects) == 1 else "objects"
    return f"{len(objects):,} {noun} ({size(sum(one.size for one in objects))})"
