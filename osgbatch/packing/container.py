"""Container images: looked at before they are sent, or before execution points get them."""

from __future__ import annotations

import os
import platform
import re
import struct
import tarfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from osgbatch.errors import SpecError
from osgbatch.packing.container_build import KIND, built_definition, fingerprint
from osgbatch.packing.container_registry import can_be_asked, image_architectures
from osgbatch.packing.environment.cache import EnvironmentArchive, file_sha256, read_entry
from osgbatch.spec_model import Environment, Place, UserPath

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
    machine is, as HTCondor has it. A definition file is built, unless it was before. Of an image in
    a registry its architectures are asked for, which takes some seconds at most.
    Raises SpecError for a file that is no image, or not one for such execution points, PackingError
    when it cannot be built; the cache is then as it was.
    """
    if wanted.path is None:
        return None
    if is_elsewhere(wanted.path.text):
        _check_reference(wanted.path, arch, say)
        return None
    path = folder / Path(wanted.path.text).expanduser()
    if path.suffix == ".def":
        found = built_definition(path, wanted.path, cache, say)
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
            entry = read_entry(cache, fingerprint(path)[0])
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
        agent = "oci:" if (path / "oci-layout").exists() else ""
        raise SpecError(
            f'"{named.text}" is a folder; jobs are brought an image in one file',
            place,
            fix=f"Make one: apptainer build image.sif {agent}{named.text}",
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
    _check_architecture(named, [built_for] if built_for else [], arch)


def _check_reference(named: UserPath, arch: Sequence[str], say: Say) -> None:
    """Of what execution points get themselves: is it there, for them, as far as can be known."""
    found = image_architectures(named.text)
    if found is None and can_be_asked(named.text):
        why = "its registry was not reached, or does not show it to everybody"
        say(f"note: {named.text} could not be checked: {why}")
    if found is not None and not found:
        fix = "Look at its name and its tag: no execution point could get it."
        raise SpecError(f'its registry has no image "{named.text}"', _place(named), fix=fix)
    _check_architecture(named, sorted(found or ()), arch)


def _check_architecture(named: UserPath, built_for: Iterable[str], arch: Sequence[str]) -> None:
    """built_for: what it was built for, as uname says it; nothing when that is not known."""
    allowed = [_SAME.get(name.lower(), name.lower()) for name in arch or (platform.machine(),)]
    there = list(built_for)
    missing = [name for name in allowed if name not in there]
    if not there or not missing:
        return
    known = next((name for name in there if name in allowed), there[0])
    raise SpecError(
        f'"{named.text}" is an image for {", ".join(there)}; the jobs run on {", ".join(allowed)}',
        _place(named),
        fix=f"Use one for {missing[0]}, or write `requirements: {{arch: {known}}}`.",
    )


def _advice(path: Path) -> str:
    """What to do about a file that is no image, or not all of one."""
    with path.open("rb") as file:
        head = file.read(512)
    if tarfile.is_tarfile(path):
        with tarfile.open(path) as archive:
            first = {
                member.name.removeprefix("./")
                for member, _ in zip(archive, range(64), strict=False)
            }
        agent = "oci-archive" if "oci-layout" in first else "docker-archive"
        return f"It is an archive; make an image of it: apptainer build new.sif {agent}:{path.name}"
    if head.startswith(b"hsqs"):
        return f"It is a bare file system; make an image of it: apptainer build new.sif {path.name}"
    if re.search(rb"^\s*bootstrap\s*:", head, re.IGNORECASE | re.MULTILINE):
        return f"It is a definition file; name it {path.stem}.def, and it is built."
    return "Copy or build it again. `apptainer inspect` shows whether a file is an image."


def _place(named: UserPath) -> Place:
    return named.place.at(named.text)
