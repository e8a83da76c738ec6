"""Keeps packed environments: one folder per fingerprint, written whole, built once at a time."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from osgbatch.errors import PackingError
from osgbatch.packing.archive import Archive

FOLDER = "environments"
MANIFEST = "manifest.json"
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


def read_entry(cache: Path, fingerprint: str) -> EnvironmentArchive | None:
    """The entry of a fingerprint; None when there is none, or it is damaged.

    The archive is hashed again only when its time is not the one that was noted.
    """
    folder = cache / FOLDER / fingerprint
    try:
        noted: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
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

    built: the folder that holds the archive and nothing else; it is moved. Two renames: between
    them there is no entry, never half a one. Raises PackingError when the disk is full.
    """
    folder = cache / FOLDER / entry.fingerprint
    noted = {key: value for key, value in asdict(entry).items() if key != "path"}
    noted["archive"] = entry.path.name
    noted["mtime_ns"] = entry.path.stat().st_mtime_ns
    text = json.dumps(noted, indent=1, sort_keys=True) + "\n"
    try:
        (built / MANIFEST).write_text(text, encoding="utf-8")
    except OSError as error:
        raise PackingError(
            f"the cache cannot be written: {error.strerror}",
            where=str(cache),
            fix="Make room there, or let XDG_CACHE_HOME name a folder with more.",
        ) from error
    aside = folder.with_name(f".old-{secrets.token_hex(6)}")
    with contextlib.suppress(FileNotFoundError):
        folder.rename(aside)
    built.rename(folder)
    folder.chmod(0o755)
    shutil.rmtree(aside, ignore_errors=True)
    return replace(entry, path=folder / entry.path.name)


def entry_of(archive: Archive, **facts: Any) -> EnvironmentArchive:
    """An entry for an archive that was just written."""
    return EnvironmentArchive(
        archive.path, archive.sha256, archive.size, archive.unpacked_size, **facts
    )


@contextlib.contextmanager
def locked(cache: Path, fingerprint: str) -> Iterator[bool]:
    """Let one process at a time build a fingerprint; gives whether we had to wait.

    Where the file system has no locks two may build at once: the later one's entry stays.
    """
    folder = cache / FOLDER
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / f".{fingerprint}.lock").open("w")
    except OSError as error:
        raise PackingError(
            f"the cache cannot be written: {error.strerror}",
            where=str(folder),
            fix="Let XDG_CACHE_HOME name a folder that you can write to.",
        ) from error
    with lock as file:
        waited = False
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waited = True
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            pass
        yield waited


@contextlib.contextmanager
def workshop(cache: Path) -> Iterator[Path]:
    """A folder beside the entries to build in; removed, a killed builder's the next time."""
    folder = cache / FOLDER
    for left in (*folder.glob(".build-*"), *folder.glob(".old-*")):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > STALE_SECONDS:
                shutil.rmtree(left, ignore_errors=True)
    shop = tempfile.TemporaryDirectory(prefix=".build-", dir=folder, ignore_cleanup_errors=True)
    with shop as name:
        yield Path(os.path.realpath(name))


def file_sha256(path: Path) -> str:
    """The sha256 of a file, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
