"""Words and paths whose parts may differ between jobs."""

from __future__ import annotations

import re
from collections.abc import Mapping

from osgbatch.importing import words
from osgbatch.importing.macros import Call, Evaluate, NotImported, Part, Variable


def filled(part: Part, job: Mapping[str, str], evaluate: Evaluate) -> str:
    """A part of a value for one job. Raises NotImported."""
    if isinstance(part, str):
        return part
    if isinstance(part, Variable):
        return job[part.name]
    told = evaluate(part.text, job)
    if told is None:
        raise NotImported(f"{part.text} needs HTCondor's bindings, which are not here")
    return told


def plain(word: words.Word) -> bool:
    """Whether a word is the same for all jobs."""
    return all(isinstance(part, str) for part in word)


def trimmed(word: words.Word) -> words.Word:
    """Without ./ before it and / behind it."""
    found = list(word)
    if isinstance(found[0], str):
        found[0] = re.sub(r"^(\./+)+", "", found[0]) or "."
    if isinstance(found[-1], str):
        found[-1] = found[-1].rstrip("/") or found[-1]
    return tuple(part for part in found if part != "")


def basename(word: words.Word) -> words.Word:
    """What stands behind the last slash; of a variable, its own last name."""
    found: list[Part] = []
    for part in reversed(word):
        if isinstance(part, str) and "/" in part:
            behind = part.rpartition("/")[2]
            return tuple(p for p in (behind, *found) if p != "")
        if isinstance(part, Call):
            raise NotImported(f"the name of {shown(word)} cannot be told here")
        found.insert(0, part)
    return tuple(found)


def below(folder: words.Word, path: words.Word) -> words.Word:
    """A path below a folder; a whole path, or a URL, stays as it is."""
    first = path[0]
    if isinstance(first, str) and (first.startswith("/") or "://" in first):
        return path
    return tuple(words.merged([*trimmed(folder), "/", *path]))


def shown(word: words.Word) -> str:
    """A word as the submit file has it."""
    return "".join(
        part if isinstance(part, str) else part.text if isinstance(part, Call)
        else f"$({part.name})" for part in word
    )  # fmt: skip
