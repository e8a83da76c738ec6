"""The stash by itself, without a sweep: put files there, list, verify, clear away."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from osgbatch import names
from osgbatch.batches import registry
from osgbatch.errors import OsgbatchError, StagingError
from osgbatch.packing.archive import printable
from osgbatch.places import cache_folder, state_folder
from osgbatch.plan_model import Placed
from osgbatch.spec.load import load_stash
from osgbatch.staging.hashes import Hashes
from osgbatch.staging.objects import checksum_of
from osgbatch.staging.puts import Puts
from osgbatch.staging.stage import Progress, Staged, hash_files
from osgbatch.staging.store import Kept, Store, open_store
from osgbatch.submission.planned import stash_here
from osgbatch.submission.staged import bring, files_of
from osgbatch.texts import size

Say = Callable[[str], None]

YOUNG_S = 86_400
"""A younger object may belong to a batch that is being submitted just now."""
_READ = (".yaml", ".yml", ".txt", ".items", ".submit", ".csv", ".tsv")
_SHA256 = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")


@dataclass(frozen=True)
class Put:
    """A file or folder in the stash.

    path: as the user named it, of a tree with what is below; odd characters are escaped.
    """

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

    verify: read what is there already, too. It is remembered when they were put: no batch names
    them yet, and `garbage` lets them be for a while. Raises OsgbatchError, of the right kind.
    """
    for path in paths:
        if not path.exists():
            raise OsgbatchError("there is no such file", where=printable(str(path)))
    placed = [Placed(path.absolute(), _bytes(path), "", tree) for path in paths]
    with Hashes(cache_folder()) as hashes:
        files = files_of(placed, hashes, progress)
        objects = hash_files(files.wanted, hashes, progress)
    store.tell = say
    with store.hold():  # what is there already must not be removed before it is noted
        done = bring(files, objects, store, say, progress, verify=verify)
        try:
            Puts(state_folder()).note(store.object_url(one.name) for one in objects)
        except OSError as error:
            say(f"warning: cannot note what was put, for `stage gc`: {error.strerror or error}")
    asked = {one.source: printable(str(path)) for one, path in zip(placed, paths, strict=True)}
    made = []
    for ((source, _), below, _), one in zip(files.uses, objects, strict=True):
        name = f"{asked[source]}/{printable(below)}" if below else asked[source]
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
            yield Verified(one, _fault(store, one, progress))
    finally:
        progress.end()


def _fault(store: Store, kept: Kept, progress: Progress) -> str:
    """What is wrong with an object that is read back; empty when nothing is."""
    found = store.checksum(kept.name, progress.advance)
    return "" if found == checksum_of(kept.name) else "its content is not what its name says"


def remove_damaged(store: Store, found: Iterable[Verified], progress: Progress) -> list[str]:
    """Remove the objects that are not what their names say: nothing can want them.

    Each is read once more, when no osgbatch can be writing it. Returns the names of those removed.
    Raises StagingError, with nothing removed when the stash is in use.
    """
    removed = []
    with store.hold(alone=True):
        for one in found:
            if one.what and store.sizes([one.kept.name]) and _fault(store, one.kept, progress):
                store.remove(one.kept.name)
                removed.append(one.kept.name)
    return removed


# --- what nothing refers to ---------------------------------------------------------------------


@dataclass(frozen=True)
class Garbage:
    """Objects that nothing refers to. batches: how many were looked at.

    young: how many more there are that may belong to a submission of today. lost: where batches of
    this user were that are no longer there, and that osgbatch did not remove.
    """

    objects: tuple[Kept, ...]
    batches: int
    young: int
    lost: tuple[Path, ...] = ()


def garbage(store: Store, folders: Iterable[Path], older_s: float = YOUNG_S) -> Garbage:
    """The objects that no batch, and no spec or table below the folders, refers to.

    Batches are those below the folders and those that this user has submitted, wherever they are.
    A batch names its objects in objects.txt; any checksum in another .yaml, .txt, .csv, .items or
    .submit file counts as well, so that URLs that were copied into a spec keep what they lead to.

    older_s: seconds since an object was brought, or was last asked for with `put`.
    Raises StagingError when a folder cannot be read whole: then nothing may be removed.
    """
    seen: set[tuple[int, int]] = set()
    registered = (path for folder in _registered() for path in _of_batch(folder, seen))
    used: set[str] = set()
    batches: set[Path] = set()
    for path in chain(_texts(folders, seen), registered):
        used |= _checksums(path)
        of_round = path.parent.parent.name == names.ROUNDS
        if path.name in (names.RESOLVED, names.OBJECTS) and not of_round:
            batches.add(path.parent)
    puts = Puts(state_folder())
    try:
        put_at = puts.times()
    except OSError as error:
        raise _unread(puts.path, error) from None
    unused = [one for one in store.listing() if checksum_of(one.name) not in used]
    old = [
        one
        for one in unused
        if time.time() - max(one.changed, put_at.get(store.object_url(one.name), 0.0)) >= older_s
    ]
    lost = tuple(entry.last for entry in registry.lost(batches))
    return Garbage(tuple(old), len(batches), len(unused) - len(old), lost)


def clear(
    store: Store, folders: Sequence[Path], older_s: float = YOUNG_S, *, force: bool = False
) -> Garbage:
    """Remove what `garbage` finds, and what interrupted uploads left; what was removed.

    force: also when there is no batch at all, which is rather a wrong folder. Raises OsgbatchError
    for that, StagingError when a submission uses the stash; then nothing is removed.
    """
    with store.hold(alone=True):  # a submission that trusts an object has not named it yet
        found = garbage(store, folders, older_s)
        if found.objects and not found.batches and not force:
            raise OsgbatchError(
                "no batch was found, so nothing tells which objects are in use",
                where=" ".join(map(str, folders)),
                fix="Name the folders where your batches are. To remove "
                f"{amount(found.objects)} all the same, add --force; nothing was removed.",
            )
        for one in found.objects:
            store.remove(one.name)
        store.tidy(older_s)
    return found


def _registered() -> list[Path]:
    """The batches that this user has submitted, as far as they are still there."""
    try:
        return [path for path in dict.fromkeys(registry.registered_surely()) if path.is_dir()]
    except OSError as error:
        raise _unread(Path(error.filename or registry.registry_path()), error) from None


def _of_batch(folder: Path, seen: set[tuple[int, int]]) -> Iterator[Path]:
    """The files of a batch that name objects; none when it was looked at already."""
    try:
        rounds = folder / names.ROUNDS
        below = [path for path in rounds.iterdir() if path.is_dir()] if rounds.is_dir() else []
        for above in (folder, *below):
            status = above.stat()
            if (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                yield from (path for path in above.iterdir() if _is_read(path.name))
    except FileNotFoundError:  # removed meanwhile
        return
    except OSError as error:
        raise _unread(folder, error) from None


def _is_read(name: str) -> bool:
    return name.endswith(_READ) or name == names.RESOLVED


def _texts(folders: Iterable[Path], seen: set[tuple[int, int]]) -> Iterator[Path]:
    """The files below folders that may name objects. seen: folders, by device and inode."""

    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError) or error.filename in tops:
            raise _unread(Path(str(error.filename)), error) from None

    tops = [os.fspath(folder) for folder in folders]
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
            yield from (Path(above, name) for name in found if _is_read(name))


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
