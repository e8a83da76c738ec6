"""Columns that come from the disk: the files of a pattern, the lines of a text file."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from osgbatch.errors import SpecError
from osgbatch.spec_model import Place, UserPath
from osgbatch.sweep.cells import TextCells
from osgbatch.urls import is_url


def matches(
    patterns: tuple[UserPath, ...],
    folder: Path,
    list_urls: Callable[[UserPath], list[str]] | None = None,
) -> list[str]:
    """The files of patterns, each once, relative to the spec's folder as its pattern is.

    list_urls: gives what a pattern that is a URL stands for. The patterns come in their order, the
    files of one in natural order. `**` is any depth.
    Raises SpecError for a pattern without a match.
    """
    found: dict[str, None] = {}
    for pattern in patterns:
        if is_url(pattern.text):
            urls = list_urls(pattern) if list_urls else []
            if not urls:
                what = f'nothing matches "{pattern.text}"'
                raise SpecError(what, pattern.place, fix=_pattern_fix(pattern.text))
            found.update(dict.fromkeys(sorted(urls, key=natural_key)))
            continue
        if os.path.isabs(pattern.text):
            paths = glob.glob(pattern.text, recursive=True)
        else:
            paths = glob.glob(pattern.text, root_dir=folder, recursive=True)
        paths = sorted((p for p in paths if (folder / p).is_file()), key=natural_key)
        if not paths:
            raise SpecError(
                f'no file matches "{pattern.text}"',
                pattern.place,
                fix=f"Paths start from the spec's folder, {folder}.",
            )
        found.update(dict.fromkeys(paths))
    return list(found)


def _pattern_fix(url: str) -> str:
    """What to write in place of a URL that matches nothing."""
    if not glob.has_magic(url):
        return f"Write a pattern: {url.rstrip('/')}/*."
    return "" if "**" in url else "A * stops at slashes; **/ is any depth."


def natural_key(text: str) -> list[tuple[int, int, str]]:
    """A key that sorts `2.npy` before `10.npy`."""
    return [
        (0, int(part), part) if part.isdigit() and part.isascii() else (1, 0, part)
        for part in re.split(r"([0-9]+)", text)
    ]


def read_lines(path: UserPath, folder: Path) -> TextCells:
    """One value per line, without the blanks around it; blank lines are left out.

    Raises SpecError when the file cannot be read, is not UTF-8, holds a NUL, or has no line.
    """
    cells = TextCells.of(text for _, text in numbered_lines(path, folder))
    if not len(cells):
        raise SpecError(f'"{path.text}" has no lines', path.place)
    return cells


def numbered_lines(path: UserPath, folder: Path) -> Iterator[tuple[int, str]]:
    """The lines of a UTF-8 file with their numbers (1-based), without blanks around them.

    Lines end with LF or CRLF, and with nothing else.
    """
    try:
        with (folder / path.text).open("rb") as stream:
            for number, raw in enumerate(stream, 1):
                text = decoded(raw, path.text, number)
                if number == 1:
                    text = text.removeprefix("\ufeff")
                text = text.strip()
                if "\0" in text:
                    raise SpecError(
                        "a NUL character", Place(path.text, number, text.index("\0") + 1)
                    )
                if text:
                    yield number, text
    except OSError as error:
        raise cannot_read(path, error, folder) from None


def cannot_read(path: UserPath, error: OSError, folder: Path) -> SpecError:
    """The error for a file that the spec names and that cannot be read."""
    what = f'cannot read "{path.text}": {error.strerror}'
    return SpecError(what, path.place, fix=f"Paths start from the spec's folder, {folder}.")


def decoded(raw: bytes, file: str, line: int) -> str:
    """The text of a line. Raises SpecError where it is not UTF-8."""
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        source = raw.decode("utf-8", "replace").rstrip("\r\n")
        column = len(raw[: error.start].decode()) + 1
        utf16 = raw.startswith((b"\xff\xfe", b"\xfe\xff"))
        fix = "It looks like UTF-16, which Excel calls Unicode text. " if utf16 else ""
        raise SpecError(
            f"byte 0x{raw[error.start]:02x} is not UTF-8",
            Place(file, line, column, source),
            fix=f"{fix}Save the file as UTF-8.",
        ) from None
