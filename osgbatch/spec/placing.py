"""What travels under which name, and where results are to lie: `files:` and `results_to:`."""

from __future__ import annotations

import os
from collections.abc import Iterator

from osgbatch.names import BATCHES
from osgbatch.spec.reading import Reading
from osgbatch.spec.schema import SpecModel
from osgbatch.spec_model import UserPath
from osgbatch.urls import is_url

RESERVED = ("params.json", "outputs", "inputs", "related")
"""What a task's folder has of its own, first parts of paths."""


def read_files(reading: Reading, model: SpecModel) -> tuple[UserPath, ...]:
    """The entries of `files:`: a path or pattern, or a path and its name in the task's folder."""
    return tuple(_files(reading, model))


def _files(reading: Reading, model: SpecModel) -> Iterator[UserPath]:
    for loc, entry in reading.entries("files", model.files):
        if not isinstance(entry, dict):
            yield UserPath(entry, reading.place(loc))
            continue
        ((source, target),) = entry.items()
        text = reading.text((*loc, source), target)
        place = reading.place((*loc, source))
        plain = os.path.normpath(text)
        if text.endswith("/"):
            plain = os.path.normpath(f"{text}/{os.path.basename(source.rstrip('/'))}")
        fix = f'Write it relative to the task\'s folder: {{"{source}": data/a.csv}}, or data/.'
        if "\0" in text:
            reading.fail("a path cannot hold a NUL character", place)
        elif text.startswith(("/", "~")) or ".." in text.split("/") or is_url(text):
            reading.fail(f'"{text}": a file must lie in the task\'s own folder', place, fix)
        elif plain == ".":
            reading.fail(f'"{text}" is no name for a file', place, fix)
        elif plain.split("/")[0] in RESERVED:
            what = f"a task finds its own {plain.split('/')[0]} in its folder"
            reading.fail(what, place, "Give it another name.")
        else:
            yield UserPath(source, reading.key((*loc, source)), plain)


def read_results_to(reading: Reading, model: SpecModel) -> str:
    """`results_to:`, a path without a slash at its end; what is wrong is noted."""
    text = (model.results_to or "").strip()
    if not text:
        return ""
    place = reading.place(("results_to",))
    plain = os.path.normpath(text)
    fix = "Write a folder beside the spec, such as peaks/, or one with its whole path."
    if is_url(text):
        what = "results_to: is a folder here, and a URL is none"
        reading.fail(what, place, "`outputs_to` brings outputs to a URL.")
    elif not text.isprintable() or text.startswith("~"):
        reading.fail(f"results_to: {text!r} cannot be a folder's name here", place, fix)
    elif plain.split("/")[0] in (BATCHES, ".") or not plain.strip("./"):
        reading.fail("results_to: should be a folder of its own", place, fix)
    return plain
