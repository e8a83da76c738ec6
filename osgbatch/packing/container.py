"""Container images: a .sif is looked at before it is sent, a definition file is built into one."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from osgbatch.errors import PackingError, SpecError
from osgbatch.model import Environment, Place, UserPath
from osgbatch.packing.environment.cache import (
    EnvironmentArchive,
    file_sha256,
    locked,
    read_entry,
    workshop,
    write_entry,
)

KIND = "container"
PROGRAMS = ("apptainer", "singularity")
NO_FAKEROOT = "--ignore-fakeroot-command"
CODE_VERSION = "1"
"""Raise it when what _built() makes from the same definition changes."""

Say = Callable[[str], None]

# The header of a SIF file, and its codes of architectures. Source: github.com/apptainer/sif,
# pkg/sif/sif.go.
_HEADER = struct.Struct("<32s10s3s3s16s8q")
_MAGIC = b"SIF_MAGIC"
_ARCHITECTURES = {
    b"01": "i686",
    b"02": "x86_64",
    b"03": "armv7l",
    b"04": "aarch64",
    b"05": "ppc64",
    b"06": "ppc64le",
    b"11": "s390x",
    b"12": "riscv64",
}
_SAME = {"amd64": "x86_64", "arm64": "aarch64"}


def packed_image(
    wanted: Environment, folder: Path, cache: Path, say: Say, arch: Sequence[str] = ()
) -> EnvironmentArchive | None:
    """The image file that travels with the jobs; None for one that execution points get themselves.

    folder: the spec's, where paths start; arch: what execution points may be, by default what this
    machine is, as HTCondor has it. A definition file is built, unless it was before.
    Raises SpecError for a file that is no image, or not one for such execution points, PackingError
    when it cannot be built; the cache is then as it was.
    """
    if wanted.path is None or is_elsewhere(wanted.path.text):
        return None
    path = folder / Path(wanted.path.text).expanduser()
    if path.suffix == ".def":
        found = _built_definition(path, wanted.path, cache, say)
        _check_image(found.path, wanted.path, arch)
        return found
    _check_image(path, wanted.path, arch)
    return EnvironmentArchive(
        path=path.resolve(),
        sha256=file_sha256(path),
        size=path.stat().st_size,
        unpacked_size=0,
        python="",
        packages=(),
        kind=KIND,
        made_from=str(path),
    )


def image_size(wanted: Environment, folder: Path, cache: Path) -> int | None:
    """The bytes of the image that will travel; None when it does not, or must be built first."""
    if wanted.path is None or is_elsewhere(wanted.path.text):
        return None
    path = folder / Path(wanted.path.text).expanduser()
    try:
        if path.suffix == ".def":
            entry = read_entry(cache, _fingerprint(path))
            return entry.size if entry else None
        return path.stat().st_size
    except OSError:
        return None


def is_elsewhere(text: str) -> bool:
    """Whether execution points get the image themselves: by a URL, or from CVMFS."""
    return "://" in text or text.startswith("/cvmfs/")


# --- an image that is there -----------------------------------------------------------------------


def architecture(path: Path) -> str:
    """What an image was built for, as uname says it; empty when it does not tell.

    Raises ValueError, with what is wrong, for a file that is no image or not all of one.
    """
    with path.open("rb") as file:
        head = file.read(_HEADER.size)
        size = os.fstat(file.fileno()).st_size
    if len(head) < _HEADER.size or not head[32:].startswith(_MAGIC):
        raise ValueError("is no container image")
    fields = _HEADER.unpack(head)
    end = max(fields[9] + fields[10], fields[11] + fields[12])
    if size < end:
        raise ValueError(f"is not all of an image: it has {size} bytes of {end}")
    return _ARCHITECTURES.get(fields[3].rstrip(b"\0"), "")


def _check_image(path: Path, named: UserPath, arch: Sequence[str]) -> None:
    place = _place(named)
    if path.is_dir():
        raise SpecError(
            f'"{named.text}" is a folder; jobs are brought an image in one file',
            place,
            fix=f"Make one: apptainer build image.sif {named.text}",
        )
    try:
        built_for = architecture(path)
    except FileNotFoundError:
        fix = "Paths start from the spec's folder."
        raise SpecError(f'"{named.text}" does not exist', place, fix=fix) from None
    except OSError as error:
        raise SpecError(f'"{named.text}" cannot be read: {error.strerror}', place) from None
    except ValueError as error:
        raise SpecError(f'"{named.text}" {error}', place, fix=_advice(path)) from None
    allowed = [_SAME.get(name.lower(), name.lower()) for name in arch or (platform.machine(),)]
    if built_for and built_for not in allowed:
        raise SpecError(
            f'"{named.text}" is an image for {built_for}; the jobs run on {", ".join(allowed)}',
            place,
            fix=f"Build it for {allowed[0]}, or write `requirements: {{arch: {built_for}}}`.",
        )


def _advice(path: Path) -> str:
    """What to do about a file that is no image, or not all of one."""
    with path.open("rb") as file:
        head = file.read(512)
    if head.startswith(b"hsqs"):
        return f"It is a bare file system; make an image of it: apptainer build new.sif {path.name}"
    if re.search(rb"^\s*bootstrap\s*:", head, re.IGNORECASE | re.MULTILINE):
        return f"It is a definition file; name it {path.stem}.def, and it is built."
    return "Copy or build it again. `apptainer inspect` shows whether a file is an image."


def _place(named: UserPath) -> Place:
    return named.place.at(named.text)


# --- a definition file ----------------------------------------------------------------------------


def built_image(
    source: str, folder: Path, cache: Path, say: Say, refresh: bool = False
) -> EnvironmentArchive:
    """The image of a definition file or of a reference such as docker://…, from the cache or built.

    folder: where a relative path starts. refresh: build even when there is one, for what a registry
    has now. Raises SpecError and PackingError; the cache is then as it was.
    """
    named = UserPath(source, Place(source, 1, 1))
    if "://" in source:
        parts = (CODE_VERSION, platform.machine(), source)
        fingerprint = hashlib.sha256(
            "\0".join(parts).encode("utf-8", "surrogateescape")
        ).hexdigest()
        return _built(source, named, folder, fingerprint, cache, say, refresh)
    path = folder / Path(source).expanduser()
    return _built_definition(path, named, cache, say, refresh)


def _built_definition(
    path: Path, named: UserPath, cache: Path, say: Say, refresh: bool = False
) -> EnvironmentArchive:
    """The image of a definition file, from the cache or built now."""
    try:
        fingerprint = _fingerprint(path)
    except OSError as error:
        what = f'"{named.text}" cannot be read: {error.strerror}'
        raise SpecError(what, _place(named)) from None
    path = path.absolute()
    return _built(str(path), named, path.parent, fingerprint, cache, say, refresh)


def _built(
    source: str,
    named: UserPath,
    folder: Path,
    fingerprint: str,
    cache: Path,
    say: Say,
    refresh: bool,
) -> EnvironmentArchive:
    """What apptainer makes of a definition file or a reference; folder: where paths in it start."""
    found = None if refresh else read_entry(cache, fingerprint)
    if found:
        return found
    short = source if "://" in source else Path(source).name
    program = next((there for name in PROGRAMS if (there := shutil.which(name))), None)
    if program is None:
        raise SpecError(
            f'"{named.text}" must be built into an image, and there is no apptainer here',
            _place(named),
            fix=f"Build it where there is one, apptainer build image.sif {short}, and write the "
            ".sif in its place.",
        )
    with locked(cache, fingerprint) as waited, workshop(cache) as shop:
        found = read_entry(cache, fingerprint) if waited or not refresh else None
        if found:
            return found
        say(f"building an image from {short} with {Path(program).name}")
        made = shop / "entry" / "image.sif"
        made.parent.mkdir()
        _run(program, made, source, short, folder, shop)
        return write_entry(
            cache,
            made.parent,
            EnvironmentArchive(
                path=made,
                sha256=file_sha256(made),
                size=made.stat().st_size,
                unpacked_size=0,
                python="",
                packages=(),
                fingerprint=fingerprint,
                kind=KIND,
                made_from=source,
            ),
        )


def _run(program: str, made: Path, source: str, short: str, folder: Path, shop: Path) -> None:
    """`apptainer build` in the definition's folder, where the paths in it start.

    Without root it runs %post under this machine's fakeroot, which does not start in an image with
    an older glibc; then it says so, and is called again without (1.4.5).
    """
    temporary = shop / "tmp"
    temporary.mkdir()
    # Its own choice is /tmp, which is small on many access points; what the user chose stays.
    names = ("TMPDIR", "APPTAINER_TMPDIR", "SINGULARITY_TMPDIR")
    variables = {**dict.fromkeys(names, str(temporary)), **_without(os.environ, "TMPDIR")}
    done = None
    for option in ((), (NO_FAKEROOT,)):
        if done is None or NO_FAKEROOT in done.stderr:
            done = subprocess.run(
                [program, "build", *option, str(made), source],
                cwd=folder,
                env=variables,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
            )
        if not done.returncode and made.is_file():
            return
    lines = [line for line in done.stderr.splitlines() if line.strip()][-12:] if done else []
    raise PackingError(
        f"{Path(program).name} cannot build {short}:\n    " + "\n    ".join(lines),
        where=source,
        fix=f"`apptainer build image.sif {short}` shows all of its words.",
    )


def _without(variables: os._Environ[str], name: str) -> dict[str, str]:
    return {key: value for key, value in variables.items() if key != name}


def _fingerprint(path: Path) -> str:
    """What decides whether the image must be built again: the definition, and the files it takes.

    Of what it takes from a registry only the name is known.
    """
    text = path.read_text(encoding="utf-8", errors="surrogateescape")
    digest = hashlib.sha256()
    parts = [CODE_VERSION, platform.machine(), text]
    parts += [line for source in _sources(text) for line in _state(path.parent / source)]
    for part in parts:
        digest.update(part.encode("utf-8", "surrogateescape") + b"\0")
    return digest.hexdigest()


def _sources(text: str) -> Iterator[str]:
    """The local files that a definition names: in %files, and as the image that it starts from."""
    section = agent = ""
    for line in text.splitlines():
        words = line.split("#")[0].split()
        if not words:
            continue
        if words[0].startswith("%"):
            section = " ".join(words)
        elif section == "%files":
            yield words[0]
        elif not section:
            key, _, value = line.partition(":")
            if key.strip().lower() == "bootstrap":
                agent = value.strip().lower()
            elif key.strip().lower() == "from" and agent == "localimage":
                yield value.strip()


def _state(source: Path) -> Iterator[str]:
    """One line per file below a path, which changes when the file does."""
    found = [source]
    if source.is_dir() and not source.is_symlink():
        found += sorted(source.rglob("*"))
    for path in found:
        try:
            status = path.lstat()
        except OSError:
            yield f"{path} is missing"
            continue
        yield f"{path} {status.st_ino} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"
