"""All printing: results go to stdout, what is being done and what is wrong to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

ORDER = ("succeeded", "failed", "held", "removed", "unknown", "running", "waiting")


def say(text: str) -> None:
    """Tell what is being done."""
    print(text, file=sys.stderr, flush=True)


def error(text: str) -> None:
    """Tell what is wrong."""
    print(f"osgbatch: {text}", file=sys.stderr, flush=True)


def out(text: str) -> None:
    """Print a result."""
    print(printable(text), flush=True)


def out_json(data: Any) -> None:
    """Print a result for machines."""
    print(json.dumps(data, indent=1), flush=True)


def printable(text: str) -> str:
    """`text` with what the terminal's encoding cannot show escaped."""
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def counts(numbers: Mapping[str, int]) -> str:
    """`8 succeeded, 2 running`."""
    return ", ".join(f"{numbers[state]} {state}" for state in ORDER if numbers.get(state))


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns of text, aligned, two blanks between."""
    cells = [list(map(_one_line, row)) for row in [header, *rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in cells]
    return "\n".join(line.rstrip() for line in lines)


def _one_line(text: str) -> str:
    shown = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
    return shown if len(shown) <= 60 else shown[:57] + "..."


def size(count: float) -> str:
    """Bytes for people: `3.4 MB`, powers of 1024."""
    for unit in ("bytes", "KB", "MB", "GB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TB"
