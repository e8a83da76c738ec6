"""What `osgbatch pack` is asked for, and what it prints."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from osgbatch import ui
from osgbatch.cli.pack_sources import check_slip, is_sweep
from osgbatch.errors import OsgbatchError
from osgbatch.packing.archive import Archive
from osgbatch.packing.disk_full import told_when_full
from osgbatch.packing.environment import (
    EnvironmentArchive,
    packed_environment,
    with_channels_from,
)
from osgbatch.packing.environment.cache import packing
from osgbatch.packing.environment.cleaning import Cleaned, Kept
from osgbatch.packing.environment.conda_lock import LOCK_HEAD
from osgbatch.spec.environment_kinds import FITS, environment_kind
from osgbatch.spec_model import Environment, Place, Spec, UserPath

Say = Callable[[str], None]

OUT_FIX = "Make room there, or write the archive elsewhere; it stays in the cache."


@dataclass(frozen=True)
class Asked:
    """What the command line says besides the file; empty or None where it says nothing."""

    strip: bool = False
    test: bool = True
    refresh: bool = False
    python: str = ""
    channels: Sequence[str] = ()
    imports: Sequence[str] = ()
    locked: Path | None = None


def environment_of(source: Path, asked: Asked) -> tuple[Environment, Path, Spec | None]:
    """What is to be packed, the folder that its path starts from, and the spec if it is one.

    source: a sweep.yaml, or what an environment is made from. Raises SpecErrors, OsgbatchError.
    """
    spec: Spec | None = None
    check_slip(source)
    if is_sweep(source):
        from osgbatch.planning.checks import missing_files
        from osgbatch.spec.load import load_spec

        spec = load_spec(source)
        for error in missing_files(spec):
            if spec.environment.path and error.place == spec.environment.path.place:
                raise error
        found, folder = spec.environment, spec.folder
        if found.path is None:
            raise OsgbatchError(
                "this sweep has no environment to pack",
                where=str(source),
                fix="Give it one: `environment: requirements.txt`.",
            )
    else:
        if not source.exists():
            raise OsgbatchError(f'"{source}" does not exist', fix="Check the path.")
        kind = "prefix" if source.is_dir() else environment_kind(source.name)
        if not kind:
            raise OsgbatchError(
                "this is neither a sweep.yaml nor what an environment is made from",
                where=str(source),
                fix="Name a sweep, environment.yml, requirements.txt, pyproject.toml, uv.lock, an "
                ".tar.gz or the folder of an environment.",
            )
        folder = Path.cwd()
        found = Environment(kind, UserPath(str(source), Place(str(source), 1, 1)))
    if found.kind == "container":
        raise OsgbatchError(
            "a container is not packed: its image is what travels",
            where=str(source),
            fix="`osgbatch pack container` makes an image from a definition file.",
        )
    _check_options(found.kind, asked)
    changed = replace(
        found,
        strip=found.strip or asked.strip,
        test=found.test and asked.test,
        python=asked.python or found.python,
        python_place=None if asked.python else found.python_place,
        channels=(*map(_channel, asked.channels), *found.channels),
        imports=(*found.imports, *(one for one in asked.imports if one not in found.imports)),
    )
    return with_channels_from(changed, folder), folder, spec


def _channel(named: str) -> str:
    """A channel of the command line: its folder is one below the current folder."""
    return str(Path(named).absolute()) if named.startswith((".", "/")) else named


def _check_options(kind: str, asked: Asked) -> None:
    """Refuse options that would change nothing. Raises OsgbatchError."""
    given = {
        "--strip": ("strip", asked.strip),
        "--python": ("python", bool(asked.python)),
        "--channel": ("channels", bool(asked.channels)),
        "--import": ("imports", bool(asked.imports)),
    }
    fits = {option: FITS[key] for option, (key, is_given) in given.items() if is_given}
    if asked.locked:
        fits["--locked"] = ("conda",)
    if asked.refresh:
        fits["--refresh"] = ("requirements", "conda")
    for option, kinds in fits.items():
        if kind not in kinds:
            raise OsgbatchError(
                f"this means nothing for an environment of the kind {kind}",
                where=option,
                fix=f"It goes with {', '.join(kinds)}.",
            )


def pack_environment(
    source: Path, cache: Path, asked: Asked, say: Say
) -> tuple[EnvironmentArchive, list[str]]:
    """Pack an environment, or take it from the cache; the archive, and warnings.

    Of a sweep, the imports of its scripts are tried in it, as submitting it does.
    Raises PackingError, SpecErrors, OsgbatchError.
    """
    wanted, folder, spec = environment_of(source, asked)
    assert wanted.path is not None
    path = folder / Path(wanted.path.text).expanduser()
    made: EnvironmentArchive | None
    if wanted.kind == "conda" and (asked.refresh or asked.locked):
        from osgbatch.packing.environment.conda import conda_archive

        made = conda_archive(wanted, path, cache, say, asked.refresh, asked.locked)
    elif wanted.kind == "requirements" and asked.refresh:
        from osgbatch.packing.environment import environment_archive

        made = environment_archive(path, cache, say, refresh=True, wanted=wanted)
    else:
        made = packed_environment(wanted, folder, cache, say)
    if made is None:
        raise OsgbatchError("this environment is not packed", where=str(source))
    if spec is None:
        return made, []
    from osgbatch.packing.environment.imports import import_warnings
    from osgbatch.packing.environment.script_trial import try_scripts

    warnings = import_warnings(spec, made.known_modules)
    if wanted.test:
        warnings += try_scripts(spec, made, cache, say)
    return made, warnings


def pack_container(source: str, cache: Path, refresh: bool, say: Say) -> EnvironmentArchive:
    """Build the image of a definition file or of a reference, or take it from the cache.

    Raises OsgbatchError for what is neither, SpecError and PackingError as building does.
    """
    if "://" not in source and not source.endswith(".def"):
        raise OsgbatchError(
            "this is neither a definition file nor a reference to an image",
            where=source,
            fix="Name an image.def, or a reference such as docker://python:3.12; a .sif is an "
            "image already.",
        )
    from osgbatch.packing.container_build import built_image

    return built_image(source, Path.cwd(), cache, say, refresh)


def image_sources(source: str) -> list[Path]:
    """What of this machine an image is made of, as far as it can be read."""
    path = Path(source).expanduser()
    try:
        from osgbatch.packing.container_build import local_sources

        return [] if "://" in source else local_sources(path)
    except OSError:  # building tells it better
        return [path]


def check_out(target: Path, sources: Sequence[Path]) -> None:
    """Refuse to write over what is packed, before it is. Raises OsgbatchError.

    sources: what the archive is made from, and what else the user named.
    """
    where = f"--out {target}"
    if target.is_dir():
        raise OsgbatchError(
            "this is a folder", where=where, fix=f"Name a file in it: {target / 'env.tar.gz'}."
        )
    if not target.parent.is_dir():
        raise OsgbatchError("its folder does not exist", where=where, fix="Make it first.")
    for source in sources:
        if target.exists() and source.exists() and target.samefile(source):
            raise OsgbatchError(
                f"this would write over {source}, from which it is made",
                where=where,
                fix="Choose another name.",
            )
        if source.is_dir() and target.resolve().is_relative_to(source.resolve()):
            raise OsgbatchError(
                f"this lies in {source}, which is packed",
                where=where,
                fix="Choose another folder.",
            )


def check_environment_out(out: Path, source: Path, asked: Asked) -> None:
    """`check_out` for an environment and, of conda's, its lock file. Raises OsgbatchError."""
    wanted, folder, spec = environment_of(source, asked)
    assert wanted.path is not None
    path = folder / Path(wanted.path.text).expanduser()
    found = [source, path, *([asked.locked] if asked.locked else [])]
    if spec is not None:
        found += [file for one in spec.files if (file := spec.folder / one.text).is_file()]
    if wanted.kind == "requirements" and path.is_file():
        from osgbatch.packing.environment.projects import is_lock, is_project
        from osgbatch.packing.environment.requirements import local_path, read_lines

        if is_project(path) or is_lock(path):
            found += [path.with_name(name) for name in ("pyproject.toml", "uv.lock", "setup.py")]
        else:
            lines = read_lines(path)
            local = [local_path(line, path.parent) for line in lines]
            found += [*(line.file for line in lines), *(one for one in local if one is not None)]
    check_out(out, found)
    if wanted.kind == "conda":
        lock_beside(out, asked.locked)


def lock_beside(out: Path, locked: Path | None) -> Path | None:
    """Where the lock file goes that belongs to an archive; None where it is there already.

    locked: the one it is made from. Raises OsgbatchError when another tool's file is there.
    """
    lock = out.with_name(out.name.removesuffix(".tar.gz") + ".lock")
    if not lock.exists():
        return lock
    if locked is not None and locked.exists() and lock.samefile(locked):
        return None
    with lock.open(encoding="utf-8", errors="replace") as file:
        if not file.readline().startswith(LOCK_HEAD):
            raise OsgbatchError(
                f"the lock file that belongs to it would be written over {lock}, which is not "
                "osgbatch's",
                where=f"--out {out}",
                fix="Choose another name.",
            )
    return lock


def write_out(made: EnvironmentArchive | Archive, target: Path, text: str | None = None) -> None:
    """Copy an archive to where the user wants it, whole or not at all.

    text: what to write there instead. Raises PackingError when the disk is full, OSError.
    """
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with told_when_full(target.absolute().parent, fix=OUT_FIX):
            if text is None:
                shutil.copyfile(made.path, temporary)
            else:
                temporary.write_text(text, encoding="utf-8")
            temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def pack_libraries(folders: Sequence[Path], out: Path | None, cache: Path) -> Archive:
    """Pack private packages as `libraries:` would. Raises PackingError."""
    if out is not None:
        check_out(out, folders)
    with packing(cache), told_when_full(cache):
        from osgbatch.packing.libraries import libraries_archive

        made = libraries_archive((str(path) for path in folders), Path.cwd(), cache / "libraries")
        if made is None:
            raise OsgbatchError("there is nothing to pack", fix="Name the folder of a package.")
        if out is not None:
            write_out(made, out)
            return replace(made, path=out)
    return made


# --- what is printed ------------------------------------------------------------------------------


def environment_data(made: EnvironmentArchive, path: Path, warnings: list[str]) -> dict[str, Any]:
    """What was packed, for other programs. path: where it is; sizes in bytes."""
    return {
        "path": str(path),
        "sha256": made.sha256,
        "size": made.size,
        "unpacked_size": made.unpacked_size,
        "kind": made.kind,
        "made_from": made.made_from,
        "python": made.python,
        "packages": list(made.packages),
        "glibc": made.glibc,
        "glibc_needed": made.glibc_needed,
        "microarch": made.microarch,
        "notes": list(made.notes),
        "warnings": warnings,
    }


def environment_text(made: EnvironmentArchive, path: Path) -> str:
    """What was packed, for people."""
    what = [f"Python {made.python}"] if made.python else []
    if made.packages:
        what.append(ui.number_of(len(made.packages), "package"))
    sizes = ui.size(made.size)
    if made.unpacked_size:
        sizes += f", {ui.size(made.unpacked_size)} unpacked"
    lines = [
        f"packed {', '.join(what) or made.kind}: {sizes}",
        *(f"  note: {note}" for note in made.notes),
        str(path),
    ]
    return "\n".join(lines)


def kept_text(things: list[Kept], cache: Path) -> str:
    """The content of the cache, for people."""
    if not things:
        return f"nothing in {cache}"
    rows = [
        (one.name[:12], one.kind, ui.size(one.size), age(one.made), age(one.used), _about(one))
        for one in things
    ]
    total = ui.size(sum(one.size for one in things))
    table = ui.table(("name", "kind", "size", "made", "used", "from"), rows)
    return f"{table}\n{total} in {cache}"


def _about(one: Kept) -> str:
    facts = [f"Python {one.python}"] if one.python else []
    facts += one.packed
    return f"{one.made_from} ({', '.join(facts)})" if facts else one.made_from


def kept_data(things: list[Kept]) -> list[dict[str, Any]]:
    """The content of the cache, for other programs; sizes in bytes, times in seconds since 1970."""
    return [{**vars(one), "path": str(one.path)} for one in things]


def cleaned_text(done: Cleaned) -> str:
    """What was removed, for people."""
    size = ui.size(sum(one.size for one in done.removed))
    lines = [f"removed {ui.number_of(len(done.removed), 'thing')}, {size}"]
    lines += [f"kept {one.name[:12]}: another osgbatch uses it" for one in done.busy]
    lines += [f"cannot remove {one.path}: see who it belongs to" for one in done.failed]
    return "\n".join(lines)


def age(then: float) -> str:
    """How long ago something was: `3 h ago`."""
    seconds = max(0.0, time.time() - then)
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        count = int(seconds // length)
        if count:
            return f"{count} {'day' if (unit, count) == ('days', 1) else unit} ago"
    return "just now"
