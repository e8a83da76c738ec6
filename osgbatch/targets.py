"""Where outputs lie in `results/` by a pattern of the spec's (`to:`), by names alone."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from osgbatch import names
from osgbatch.urls import file_name

if TYPE_CHECKING:
    from osgbatch.spec_model import ColumnSource

FIX = "Write it relative to results/, with the names of columns: {x}/{index}.npy."
TAKEN = frozenset(["failed", "old", "results.csv", "results.parquet", "report.html", "provenance"])
"""What osgbatch itself writes in `results/`, beside the tasks' folders, which are numbers."""
MAX_PART, MAX_PATH = 255, 2048
"""Bytes of a file's name and of a path, at most."""


def problem(target: str) -> str:
    """Why no output can lie there; empty when it can. target: ends in "/" where it is a folder."""
    parts = target.removesuffix("/").split("/")
    first = parts[0]
    if target.startswith(("/", "~")) or ".." in parts:
        return f'"{target}" leads out of results/'
    if not all(parts) or "." in parts:
        return f'"{target}" has a part without a name'
    if re.search(r"[\0-\x1f\x7f]", target):
        return f"{target!r} has a line break or another character that no name should have"
    if first.lower() in TAKEN or first.startswith("."):
        return f'"{first}" in results/ is osgbatch\'s own'
    if re.fullmatch("[0-9]+", first):
        return f'"{first}" in results/ is the folder of a task'
    sizes = [len(os.fsencode(part)) for part in parts]
    if max(sizes) > MAX_PART or sum(sizes) + len(sizes) > MAX_PATH:
        return f'"{target[:40]}..." is too long for a file\'s name'
    return ""


def base_of(patterns: Sequence[str]) -> str:
    """The folder that all files of some patterns are in, by what stands before their wildcards.

    `data/*.npy`: "data"; `data/**/*.npy`: "data". Empty for the spec's own folder, and for URLs.
    """
    folders = []
    for pattern in patterns:
        if "://" in pattern:
            return ""
        parts = os.path.normpath(pattern).split("/")[:-1]
        fixed = next((i for i, part in enumerate(parts) if glob.has_magic(part)), len(parts))
        folders.append("/".join(parts[:fixed]) or ("/" if pattern.startswith("/") else ""))
    try:
        return os.path.commonpath(folders) if all(folders) else ""
    except ValueError:  # a relative and an absolute one
        return ""


def file_word(text: str, base: str) -> str:
    """What `{column}` is in a target, of a column of files: the file's name without its suffix.

    With the folders below those that the column's pattern names (`base`): of `data/**/*.npy`,
    `data/s1/a.npy` is `s1/a`.
    """
    if "://" in text:
        text = file_name(text)
    else:
        text = os.path.normpath(text)
        below = text.removeprefix(f"{base.rstrip('/')}/") if base else text
        text = below if not below.startswith(("/", "../")) else os.path.basename(text)
    folder, name = os.path.split(text)
    return os.path.join(folder, os.path.splitext(name)[0])


def texts_of(
    values: Mapping[str, str], files: Collection[str], folders: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    """What the names of columns stand for in a target, and in the pattern of an output.

    values: a row's, by column; files: the columns of files; folders: what `bases` gives.
    """
    words, seen = dict(values), dict(values)
    for name in files:
        if name in values:
            text = values[name]
            words[name] = file_word(text, folders.get(name, ""))
            # Where the task finds it.
            seen[name] = names.task_path(file_name(text) if "://" in text else text)
    return words, seen


def fill(parts: Sequence[str], values: Mapping[str, str]) -> str:
    """A target of one task. parts: as those of a Template."""
    return "".join(values[part] if i % 2 else part for i, part in enumerate(parts))


def plain(path: str) -> str:
    """A path without empty parts and dots."""
    return "/".join(part for part in path.split("/") if part not in ("", "."))


def place_of(target: str, pattern: str, name: str) -> str:
    """Where a file lies that is, or lies below, what a pattern of an output matches.

    name, pattern: relative to the task's folder.
    """
    depth = len(plain(pattern).split("/"))
    parts = name.split("/")
    if target.endswith("/"):
        return target + "/".join(parts[depth - 1 :])
    return "/".join([target, *parts[depth:]])


def bases(sources: Iterable[ColumnSource]) -> dict[str, str]:
    """Of each column of files the folder that its patterns name (`base_of`)."""
    found: dict[str, str] = {}
    for source in sources:
        if source.kind == "files":
            found[source.name] = base_of([path.text for path in source.paths])
        found.update(bases(source.parts))
    return found
