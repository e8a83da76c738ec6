"""All printing: results go to stdout, what is being done and what is wrong to stderr."""

from __future__ import annotations

import json
import re
import shutil
import sys
import textwrap
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

from osgbatch.texts import number_of as number_of

SMALL_STEP = 8 * 1024**2
"""Bytes that are moved too fast for a bar to be of use."""
_SOURCE = re.compile(r"\s+\d* *\| ")
_PATH = re.compile(r"(?<![\w.~$}/])(?:/[^\s/'\":,;()]+)+")
_PARTS = range(8, 1, -1)
"""Of a long path so many last parts are kept, as many as there is room for."""
_COMMAND = re.compile(r"`[^`]*`")
ORDER = (
    "succeeded", "failed", "held", "removed", "unknown", "transferring output", "running",
    "suspended", "transferring input", "waiting",
)  # fmt: skip


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


def out_json_rows(rows: Iterable[Any]) -> None:
    """Print a list for machines, a row on each line, as they come: there may be very many."""
    before = "[\n "
    for row in rows:
        sys.stdout.write(before + json.dumps(row))
        before = ",\n "
    print("[]" if before[0] == "[" else "\n]", flush=True)


def wrapped(text: str, stream: TextIO) -> str:
    """`text` with lines no longer than the terminal that `stream` is; as it is for a pipe.

    What stands in `…` stays together, to be copied, and so do paths; lines that show a source and
    the caret under it stay as they are, and so do commands, which begin with four blanks.
    """
    if not stream.isatty():
        return text
    width = shutil.get_terminal_size().columns
    return "\n".join(_folded(line, width) for line in text.split("\n"))


def _folded(line: str, width: int) -> str:
    if len(line) <= width or line.startswith(("/", "~", "    ")) or _SOURCE.match(line):
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


def cut(text: str, width: int) -> str:
    """`text` as one line of at most `width` characters, its beginning and its end kept.

    Of a path its last parts are kept: what is before is most often a scratch folder. It is cut
    between words, unless these are long.
    """

    def shorter(parts: int) -> str:
        return _PATH.sub(lambda path: _last_parts(path[0], parts), text)

    text = one_line(text.replace("\n", " "))
    if len(text) <= width:
        return text
    found = map(shorter, _PARTS)
    text = next((one for one in found if len(one) <= width), shorter(_PARTS[-1]))
    if len(text) <= width:
        return text
    room = max(0, width - 5) // 3
    head = text[:room]
    if text[room] != " " and room - head.rfind(" ") <= _LONG_WORD:
        head = head[: head.rfind(" ")]
    start = len(text) - max(0, width - 5 - len(head))
    after = text.find(" ", start - 1)
    if start <= after + 1 <= start + _LONG_WORD:
        start = after + 1
    return f"{head.rstrip()} ... {text[start:]}"[:width]


_LONG_WORD = 20
"""Characters of a word that is cut."""


def _last_parts(path: str, parts: int) -> str:
    """`.../c/d` of `/a/b/c/d`; a path with few more parts stays as it is."""
    last = path.split("/")
    return path if len(last) < parts + 3 else "/".join(["...", *last[-parts:]])


def size(count: float) -> str:
    """Bytes for people: `3.4 MB`, powers of 1024."""
    for unit in ("bytes", "KB", "MB", "GB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TB"


def amounts(done: float, total: float, rate: float | None) -> str:
    """`1.0/3.4 MB, 512.0 KB/s`, without the rate where it is not known yet."""
    number, unit = size(total).split()
    have = f"{done * float(number) / total:.1f}" if total else "0"
    return f"{have}/{number} {unit}" + (f", {size(rate)}/s" if rate else "")


def day(moment: float) -> str:
    """Seconds since 1970 as a date and time here."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(moment))


class Bar:
    """How far a long step has come: bytes, rate and time left on a terminal, nothing elsewhere."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._task: Any = None
        self._pending = 0

    def start(self, what: str, total: int) -> None:
        """A step of so many bytes begins."""
        if not sys.stderr.isatty() or total < SMALL_STEP:
            return
        from rich import progress
        from rich.console import Console
        from rich.text import Text

        class Amounts(progress.ProgressColumn):
            """Bytes and rate, in the units of all that osgbatch prints; rich's own are others."""

            def render(self, task: progress.Task) -> Text:
                told = amounts(task.completed, task.total or 0, task.speed)
                return Text(told, no_wrap=True)

        self._bar = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(bar_width=24),  # all fits into 80 columns
            Amounts(),
            progress.TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task(what, total=total)
        self._bar.start()

    def advance(self, count: int) -> None:
        """So many bytes more are done."""
        if self._bar is None:
            return
        self._pending += count
        if self._pending >= SMALL_STEP // 8:  # telling each small file would cost more than it
            self._bar.advance(self._task, self._pending)
            self._pending = 0

    def end(self) -> None:
        """The step has ended, well or not."""
        if self._bar is not None:
            self._bar.advance(self._task, self._pending)
            self._bar.stop()
            self._bar, self._pending = None, 0


@contextmanager
def progress() -> Iterator[Bar]:
    """A bar that leaves the terminal as it was, whatever happens."""
    bar = Bar()
    try:
        yield bar
    finally:
        bar.end()


def work(tasks: int, jobs: int) -> str:
    """`10 tasks in 1 job`."""
    return f"{number_of(tasks, 'task')} in {number_of(jobs, 'job')}"
