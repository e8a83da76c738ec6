"""All printing: results go to stdout, what is being done and what is wrong to stderr."""

from __future__ import annotations

import json
import re
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

_SOURCE = re.compile(r"\s+\d* *\| ")
_COMMAND = re.compile(r"`[^`]*`")
ORDER = ("succeeded", "failed", "held", "removed", "unknown", "running", "waiting")


def say(text: str) -> None:
    """Tell what is being done."""
    print(wrapped(text, sys.stderr), file=sys.stderr, flush=True)


def error(text: str) -> None:
    """Tell what is wrong."""
    print(wrapped(f"osgbatch: {text}", sys.stderr), file=sys.stderr, flush=True)


def out(text: str) -> None:
    """Print a result."""
    print(printable(text), flush=True)


def out_json(data: Any) -> None:
    """Print a result for machines."""
    print(json.dumps(data, indent=1), flush=True)


def wrapped(text: str, stream: TextIO) -> str:
    """`text` with lines no longer than the terminal that `stream` is; as it is for a pipe.

    What stands in `…` stays together, to be copied, and so do paths; lines that show a source and
    the caret under it stay as they are.
    """
    if not stream.isatty():
        return text
    width = shutil.get_terminal_size().columns
    return "\n".join(_folded(line, width) for line in text.split("\n"))


def _folded(line: str, width: int) -> str:
    if len(line) <= width or line.startswith(("/", "~")) or _SOURCE.match(line):
        return line
    indent = line[: len(line) - len(line.lstrip())]
    kept = _COMMAND.sub(lambda found: found[0].replace(" ", "\0"), line.strip())
    found = textwrap.wrap(
        kept, width, initial_indent=indent, subsequent_indent=indent or "  ",
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
    return "\n".join(found).replace("\0", " ")


def printable(text: str) -> str:
    """`text` with what the terminal's encoding cannot show escaped."""
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def counts(numbers: Mapping[str, int]) -> str:
    """`8 succeeded, 2 running`."""
    return ", ".join(f"{numbers[state]:,} {state}" for state in ORDER if numbers.get(state))


def table(header: Sequence[str], rows: Sequence[Sequence[str]], width: int = 0) -> str:
    """Columns of text, aligned, two blanks between; the last one is wrapped, never cut.

    width: of the terminal in characters; 0 asks it.
    """
    width = width or shutil.get_terminal_size().columns
    cells = [[one_line(text) for text in row] for row in [header, *rows]]
    before = [max(len(row[i]) for row in cells) for i in range(len(header) - 1)]
    indent = sum(before) + 2 * len(before)
    lines: list[str] = []
    for row in cells:
        start = "".join(c.ljust(w) + "  " for c, w in zip(row[:-1], before, strict=True))
        wrapped = textwrap.wrap(row[-1], max(20, width - indent), break_on_hyphens=False)
        lines += [(start if i == 0 else " " * indent) + t for i, t in enumerate(wrapped or [""])]
    return "\n".join(line.rstrip() for line in lines)


def one_line(text: str) -> str:
    """`text` without line breaks and without what a terminal would take for a command."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def size(count: float) -> str:
    """Bytes for people: `3.4 MB`, powers of 1024."""
    for unit in ("bytes", "KB", "MB", "GB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TB"


def work(tasks: int, jobs: int) -> str:
    """`10 tasks in 1 job`."""
    return f"{number_of(tasks, 'task')} in {number_of(jobs, 'job')}"


def number_of(count: int, noun: str) -> str:
    """`1 task`, `2,000 tasks`."""
    return f"{count:,} {noun}{'s' * (count != 1)}"
