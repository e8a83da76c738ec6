"""Builds a container image with apptainer, and keeps it for as long as what it is made of stays."""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from osgbatch.errors import OsgbatchError, PackingError, SpecError
from osgbatch.packing.archive import printable
from osgbatch.packing.container_definition import expanded, is_pinned, read_definition, state
from osgbatch.packing.environment.cache import (
    EnvironmentArchive,
    file_sha256,
    locked,
    read_entry,
    workshop,
    write_entry,
)
from osgbatch.spec_model import Place, UserPath

KIND = "container"
PROGRAMS = ("apptainer", "singularity")
NO_FAKEROOT = "--ignore-fakeroot-command"
CODE_VERSION = "2"
"""Raise it when what _built() makes from the same definition changes."""

_PROGRESS = ("INFO:", "WARNING:", "DEBUG:", "VERBOSE:", "LOG:")

Say = Callable[[str], None]


def built_image(
    source: str, folder: Path, cache: Path, say: Say, refresh: bool = False
) -> EnvironmentArchive:
    """The image of a definition file or of a reference such as docker://…, from the cache or built.

    folder: where a relative path starts. refresh: build even when there is one, for what a registry
    has now. say: called with a line about what takes time, or may have changed since it was built.
    Raises OsgbatchError, of building PackingError; the cache is then as it was.
    """
    named = UserPath(source, Place(source, 1, 1))
    try:
        if "://" in source:
            unseen = () if is_pinned(source) else (source,)
            mark = _digest([CODE_VERSION, platform.machine(), source])
            return _built(source, named, folder, lambda: mark, unseen, cache, say, refresh)
        path = folder / Path(source).expanduser()
        return built_definition(path, named, cache, say, refresh)
    except SpecError as error:  # there is no spec that it could point into
        raise OsgbatchError(error.what, fix=error.fix) from None


def built_definition(
    path: Path, named: UserPath, cache: Path, say: Say, refresh: bool = False
) -> EnvironmentArchive:
    """The image of a definition file, from the cache or built; raises SpecError, PackingError."""
    try:
        _, unseen = fingerprint(path)
    except OSError as error:
        what = f'"{named.text}" cannot be read: {error.strerror}'
        raise SpecError(what, named.place.at(named.text)) from None
    path = path.absolute()
    return _built(
        str(path), named, path.parent, lambda: fingerprint(path)[0], unseen, cache, say, refresh
    )


def fingerprint(path: Path) -> tuple[str, tuple[str, ...]]:
    """What decides whether an image is built again: the definition, and the files that it takes.

    Returns it with what else the image is made of, whose changes are not seen. Raises OSError.
    """
    text = path.read_text(encoding="utf-8", errors="surrogateescape")
    definition = read_definition(text)
    parts = [CODE_VERSION, platform.machine(), text]
    parts += [line for source in definition.sources for line in state(source, path.parent)]
    return _digest(parts), definition.unseen


def local_sources(path: Path) -> list[Path]:
    """The definition file and the files and folders that it names. Raises OSError."""
    text = path.read_text(encoding="utf-8", errors="surrogateescape")
    named = read_definition(text).sources
    return [
        path,
        *(path.parent / name for source in named for name in expanded(source, path.parent)),
    ]


def _digest(parts: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode("utf-8", "surrogateescape") + b"\0")
    return digest.hexdigest()


def _built(
    source: str,
    named: UserPath,
    folder: Path,
    marked: Callable[[], str],
    unseen: Sequence[str],
    cache: Path,
    say: Say,
    refresh: bool,
) -> EnvironmentArchive:
    """What apptainer makes of a definition file or a reference; folder: where paths in it start.

    marked: gives the name of its entry in the cache, for what there is now. unseen: what may have
    changed since it was built.
    """
    mark = marked()
    found = None if refresh else read_entry(cache, mark)
    if found:
        if unseen:
            say(_remark(found, named.text, unseen))
        return found
    short = source if "://" in source else Path(source).name
    program = next((there for name in PROGRAMS if (there := shutil.which(name))), None)
    if program is None:
        raise SpecError(
            f'"{named.text}" must be built into an image, and there is no apptainer here',
            named.place.at(named.text),
            fix=f"Build it where there is one, apptainer build image.sif {shlex.quote(short)}, "
            "and write the .sif in its place.",
        )
    with locked(cache, mark) as waited:
        found = read_entry(cache, mark) if waited or not refresh else None
        if found:
            return found
        say(f"building an image from {short} with {Path(program).name}")
        with workshop(cache) as shop:
            made = shop / "entry" / "image.sif"
            made.parent.mkdir()
            _run(program, made, source, short, folder, shop)
            if marked() != mark:
                raise PackingError(
                    "it, or a file that it takes, was changed while its image was built",
                    where=printable(source),
                    fix="Do the same again: the image may be of neither.",
                )
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
                    fingerprint=mark,
                    kind=KIND,
                    made_from=source,
                ),
            )


def _remark(found: EnvironmentArchive, named: str, unseen: Sequence[str]) -> str:
    """That an image of before is taken, though it might come out otherwise now."""
    day = time.strftime("%Y-%m-%d", time.localtime(found.path.stat().st_mtime))
    if list(unseen) == [named]:
        return f"{named} as it was on {day}; --refresh takes what the registry has now"
    return (
        f"the image of {named} is that of {day}; {', '.join(unseen)} may have changed since: "
        f"`osgbatch pack container {shlex.quote(named)} --refresh` builds it anew"
    )


def _run(program: str, made: Path, source: str, short: str, folder: Path, shop: Path) -> None:
    """`apptainer build` in the definition's folder, where the paths in it start.

    Without root it runs %post under this machine's fakeroot, which does not start in an image with
    an older glibc; then it says so, and is called again without (1.4.5).
    """
    # Its own choice is /tmp, which is small on many access points; what the user chose stays.
    temporary = os.environ.get("TMPDIR") or str(shop / "tmp")
    (shop / "tmp").mkdir()
    names = ("APPTAINER_TMPDIR", "SINGULARITY_TMPDIR")
    variables = {**dict.fromkeys(names, temporary), **os.environ, "TMPDIR": temporary}
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
    lines = failure_lines(done.stderr, done.stdout) if done else []
    raise PackingError(
        f"{Path(program).name} cannot build {short}:\n    " + "\n    ".join(lines),
        where=source,
        fix=f"`apptainer build image.sif {shlex.quote(short)}` shows all of its words.",
    )


def failure_lines(stderr: str, stdout: str) -> list[str]:
    """What to show of a build that failed: apptainer's errors, then the last lines of %post.

    What it says of its progress, and its warnings, are left out, unless it says nothing else.
    """
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("FATAL:", "ERROR:"))]
    rest = [line for line in lines if not line.startswith(_PROGRESS) and line not in errors]
    rest = rest or [line.strip() for line in stdout.splitlines() if line.strip()]
    return [*errors[-4:], *rest[-8:]] or lines[-8:]
