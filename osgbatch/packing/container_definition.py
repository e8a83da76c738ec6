"""What apptainer reads to build an image from a definition file, so that changes of it are seen.

Source: the parser of Apptainer 1.4, pkg/build/types/parser/deffile.go, and how it copies files,
internal/pkg/build/files.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path

_STAGE = re.compile(r"^(?=bootstrap:)", re.IGNORECASE | re.MULTILINE)
_ARGUMENT = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_FIRST_WORD = re.compile(r'"[^"]*"|(?:\{\{\s*\w+\s*\}\}|[^\s"])+')
_SHELLS_OWN = re.compile(r"[\"'`\\{}$]")
"""With these in it a path is what the shell makes of it, which may run programs."""
_ON_HOST = ("setup", "pre")
"""Sections that run on this machine, and may take anything from it."""
_FILES = ("localimage", "docker-archive", "oci-archive", "oci")
"""Bootstrap agents that start from a file or a folder of this machine."""


@dataclass(frozen=True)
class Definition:
    """What a definition file takes.

    sources: paths of this machine, relative ones from the folder of the build, maybe with
    wildcards. unseen: what else it starts from and what may change unnoticed, for people:
    `debian:12`, `%setup`.
    """

    sources: tuple[str, ...]
    unseen: tuple[str, ...]


def read_definition(text: str) -> Definition:
    """What a definition file takes, of all its stages; what %post fetches is known to nobody."""
    sources: list[str] = []
    unseen: list[str] = []
    for stage in _STAGE.split(text):
        header, sections = _parts(stage)
        values = dict(_arguments(sections))
        base = _base({key: _filled(value, values) for key, value in header.items()})
        for name, what in [*base, *_sections(sections, values)]:
            (sources if name == "source" else unseen).append(what)
    return Definition(
        tuple(dict.fromkeys(filter(None, sources))), tuple(dict.fromkeys(filter(None, unseen)))
    )


def state(source: str, folder: Path) -> Iterator[str]:
    """One line per file of a source, links followed as apptainer's `cp -L`; changes as they do."""
    found = expanded(source, folder)
    yield f"{source}: {len(found)}"
    seen: set[tuple[int, int]] = set()
    for name in found:
        yield from _below(name, folder, seen)


def expanded(source: str, folder: Path) -> list[str]:
    """The paths that a source means, as the shell would have them."""
    path = os.path.expandvars(os.path.expanduser(source))
    return sorted(glob(path, root_dir=folder)) if has_magic(path) else [path]


def is_pinned(reference: str) -> bool:
    """Whether a reference to an image says which content is meant, and not only a name."""
    return "@sha256:" in reference or ":sha256." in reference


def _below(name: str, folder: Path, seen: set[tuple[int, int]]) -> Iterator[str]:
    """A file by what a change of it changes; of a folder also all in it, each folder once."""
    path = folder / name
    try:
        found = path.stat()
        inside = os.listdir(path) if path.is_dir() else []
    except OSError as error:
        yield f"{name}: {error.strerror}"
        return
    times = f"{found.st_mtime_ns} {found.st_ctime_ns}"
    yield f"{name}: {found.st_mode} {found.st_ino} {found.st_size} {times}"
    if inside and (found.st_dev, found.st_ino) not in seen:
        seen.add((found.st_dev, found.st_ino))
        for entry in sorted(inside):
            yield from _below(os.path.join(name, entry), folder, seen)


def _parts(stage: str) -> tuple[dict[str, str], list[tuple[str, list[str]]]]:
    """The header of a stage, and its sections: the line that begins each, and those in it."""
    header: list[str] = []
    sections: list[tuple[str, list[str]]] = []
    for line in stage.splitlines():
        if line.lstrip().startswith("%"):
            sections.append((line.strip(), []))
        elif sections:
            sections[-1][1].append(line.strip())
        else:
            header.append(line.split("#")[0].strip())
    pairs = (line.partition(":") for line in "\n".join(header).replace("\\\n", "").splitlines())
    return {key.strip().lower(): value.strip() for key, _, value in pairs}, sections


def _name(title: str) -> tuple[str, str]:
    """A section's name, and what else stands on its line: `from build` of %files."""
    name, _, rest = title.lstrip("%").partition(" ")
    return name.lower(), rest.split("#")[0].strip()


def _arguments(sections: list[tuple[str, list[str]]]) -> Iterator[tuple[str, str]]:
    """The values that %arguments gives the {{ names }} of a stage."""
    for title, lines in sections:
        if _name(title)[0] == "arguments":
            for line in lines:
                key, sign, value = line.partition("=")
                if sign:
                    yield key.strip(), value.strip().strip('"')


def _filled(text: str, values: Mapping[str, str]) -> str:
    return _ARGUMENT.sub(lambda found: values.get(found[1], found[0]), text)


def _base(header: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """What a stage starts from: ("source", a path), or ("unseen", what it is called)."""
    agent, base = header.get("bootstrap", "").lower(), header.get("from", "")
    if agent in _FILES and not base.startswith("/cvmfs/"):
        yield "source", base
        if agent != "localimage":
            yield "source", base.partition(":")[0]  # behind it, which image of an archive
    elif agent and agent != "scratch" and not is_pinned(base):
        yield "unseen", base or header.get("mirrorurl", agent)


def _sections(
    sections: list[tuple[str, list[str]]], values: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """What the sections of a stage take from this machine."""
    for title, lines in sections:
        name, rest = _name(title)
        if name in _ON_HOST and any(line and not line.startswith("#") for line in lines):
            yield "unseen", f"%{name}"
        # With words behind it, %files takes from another stage, and %appfiles names its app.
        if name == "appfiles" or (name == "files" and not rest):
            for line in lines:
                first = _FIRST_WORD.match(line)
                if first and not line.startswith("#"):
                    path = _filled(first[0], values).strip('"')
                    plain = not _SHELLS_OWN.search(os.path.expandvars(path))
                    yield ("source" if plain else "unseen"), path
