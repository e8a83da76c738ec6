"""Keeps packed environments: one folder per fingerprint, written whole, built once at a time."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from osgbatch.errors import PackingError
from osgbatch.packing.archive import Archive
from osgbatch.packing.disk_full import full_disk, is_full, told_when_full
from osgbatch.packing.environment.locks import ALONE, SHARED, Held, take
from osgbatch.sums import file_sum

FOLDER = "environments"
MANIFEST = "manifest.json"
PACKING = ".packing.lock"
"""Shared by all that pack, taken alone to remove what any of them may be using."""
STALE_SECONDS = 86400
"""Nobody builds for longer: what is older was left by a process that was killed."""


@dataclass(frozen=True)
class EnvironmentArchive:
    """A packed and tried environment.

    path, sha256, size, unpacked_size: of the archive, sizes in bytes. python: its version,
    `3.11.2`. packages: `name==version` of everything installed. glibc: the version that travels
    with it, so that the execution point's does not matter; glibc_needed: the least that the
    execution point must have, where none travels (conda); else empty. microarch: the CPU level that
    what comes from this machine was built for, `x86_64-v2`; empty when any will do. notes: for
    reports.
    modules: what can be imported besides the standard library, by top-level names; empty when it
    is not known. kind: as in the spec. made_from: the file or folder, for people.
    lock: the text of a lock file, from which a conda environment can be made again.
    held: keeps `osgbatch pack clean` from removing the archive; None for what is not in the cache.
    """

    path: Path
    sha256: str
    size: int
    unpacked_size: int
    python: str
    packages: tuple[str, ...]
    glibc: str = ""
    glibc_needed: str = ""
    microarch: str = ""
    fingerprint: str = ""
    notes: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    kind: str = ""
    made_from: str = ""
    lock: str = ""
    held: Held | None = field(default=None, compare=False, repr=False)

    @property
    def known_modules(self) -> tuple[str, ...] | None:
        """The modules where they are known, be they none; None for an image."""
        return self.modules if self.python or self.modules else None


_NOT_NOTED = ("path", "held")


def read_entry(cache: Path, fingerprint: str) -> EnvironmentArchive | None:
    """The entry of a fingerprint; None when there is none, or it is damaged.

    It is not cleaned away while what is returned is in use. The archive is hashed again only when
    its time is not the one that was noted.
    """
    folder = cache / FOLDER / fingerprint
    try:
        held = take(folder / MANIFEST, SHARED, create=False)
        if held is None:
            return None
        with open(held.descriptor, encoding="utf-8", closefd=False) as file:
            noted: dict[str, Any] = json.load(file)
        path = folder / Path(noted["archive"]).name
        status = path.stat()
        entry = EnvironmentArchive(
            path=path,
            sha256=noted["sha256"],
            size=noted["size"],
            unpacked_size=noted["unpacked_size"],
            python=noted["python"],
            packages=tuple(noted["packages"]),
            glibc=noted["glibc"],
            glibc_needed=noted.get("glibc_needed", ""),
            microarch=noted["microarch"],
            fingerprint=noted["fingerprint"],
            notes=tuple(noted["notes"]),
            modules=tuple(noted.get("modules", ())),
            kind=noted.get("kind", ""),
            made_from=noted.get("made_from", ""),
            lock=noted.get("lock", ""),
            held=held,
        )
        if status.st_size != entry.size or entry.fingerprint != fingerprint:
            return None
        if status.st_mtime_ns != noted["mtime_ns"] and file_sha256(path) != entry.sha256:
            return None
        with contextlib.suppress(OSError):
            os.utime(folder / MANIFEST)  # when it was last used, for `osgbatch pack clean`
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return entry


def write_entry(cache: Path, built: Path, entry: EnvironmentArchive) -> EnvironmentArchive:
    """Make a built archive the entry of its fingerprint, in place of what was there.

    built: the folder that holds the archive and nothing else; it is moved. Only for whoever has
    the fingerprint `locked`. There is one whole entry at any time; the archive of the one before
    stays for as long as somebody uses it. Raises PackingError when the disk is full.
    """
    folder = cache / FOLDER / entry.fingerprint
    noted = {one.name: getattr(entry, one.name) for one in fields(entry)}
    noted = {key: value for key, value in noted.items() if key not in _NOT_NOTED}
    noted["archive"] = _named_by_content(entry)
    noted["mtime_ns"] = entry.path.stat().st_mtime_ns
    text = json.dumps(noted, indent=1, sort_keys=True) + "\n"
    try:
        entry.path.rename(built / noted["archive"])
        (built / MANIFEST).write_text(text, encoding="utf-8")
        built.chmod(0o755)
        _put(built, folder, noted["archive"])
    except OSError as error:
        raise _unwritable(error, cache) from error
    held = take(folder / MANIFEST, SHARED, create=False)
    return replace(entry, path=folder / noted["archive"], held=held)


def _named_by_content(entry: EnvironmentArchive) -> str:
    """A name that another archive of the same entry does not have."""
    name, digest = entry.path.name, entry.sha256[:16]
    return name if digest in name else f"{entry.path.stem}-{digest}{entry.path.suffix}"


def _put(built: Path, folder: Path, archive: str) -> None:
    """Move an entry to its place: as a whole, or over the one that is there, manifest last."""
    try:
        built.rename(folder)
        return
    except OSError:
        if not folder.is_dir():
            raise
    try:
        unused = take(folder / MANIFEST, ALONE, wait=False, create=False)
    except OSError:  # without a manifest nobody could use it
        unused = take(folder / f".{MANIFEST}", ALONE)
    (built / archive).replace(folder / archive)
    (built / MANIFEST).replace(folder / MANIFEST)
    if unused is not None:
        for path in folder.iterdir():
            if path.name not in (archive, MANIFEST):
                path.unlink()
        unused.release()


def _unwritable(error: OSError, folder: Path) -> PackingError:
    if is_full(error):
        return full_disk(error, folder)
    return PackingError(
        f"the cache cannot be written: {error.strerror}",
        where=str(folder),
        fix="Let XDG_CACHE_HOME name a folder that you can write to.",
    )


def entry_of(archive: Archive, **facts: Any) -> EnvironmentArchive:
    """An entry for an archive that was just written."""
    return EnvironmentArchive(
        archive.path, archive.sha256, archive.size, archive.unpacked_size, **facts
    )


@contextlib.contextmanager
def packing(cache: Path) -> Iterator[None]:
    """Keep what all packing shares, and what is just being built, from being cleaned away."""
    folder = cache / FOLDER
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = take(folder / PACKING, SHARED)
    except OSError as error:
        raise _unwritable(error, folder) from error
    try:
        yield
    finally:
        if held is not None:
            held.release()


@contextlib.contextmanager
def locked(cache: Path, fingerprint: str) -> Iterator[bool]:
    """Let one process at a time build a fingerprint; gives whether we had to wait.

    Where the file system has no locks two may build at once: the later one's entry stays.
    """
    path = cache / FOLDER / f".{fingerprint}.lock"
    with packing(cache):
        try:
            held = take(path, ALONE, wait=False)
            waited = held is None
            held = held or take(path, ALONE)
        except OSError as error:
            raise _unwritable(error, path.parent) from error
        try:
            yield waited
        finally:
            if held is not None:
                held.release()


@contextlib.contextmanager
def workshop(cache: Path) -> Iterator[Path]:
    """A folder beside the entries to build in; removed, a killed builder's the next time.

    Whatever fails in it because the disk is full is told as one FullDiskError.
    """
    folder = cache / FOLDER
    with packing(cache):
        for left in (*folder.glob(".build-*"), *folder.glob(".old-*")):
            with contextlib.suppress(OSError):
                if time.time() - left.stat().st_mtime > STALE_SECONDS:
                    shutil.rmtree(left, ignore_errors=True)
        try:
            shop = tempfile.TemporaryDirectory(
                prefix=".build-", dir=folder, ignore_cleanup_errors=True
            )
        except OSError as error:
            raise _unwritable(error, folder) from error
        with shop as name:
            real = Path(os.path.realpath(name))
            with told_when_full(cache, measured=real):
                yield real


def file_sha256(path: Path) -> str:
    """The sha256 of a file, in hex."""
    return file_sum(path)[0]
