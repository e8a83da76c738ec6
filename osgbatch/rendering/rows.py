"""The rows of a job's tasks as shell text, and as one word that HTCondor carries unread."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable

from osgbatch.model import TaskPlan

MAX_ITEM_BYTES = 16 * 1024
"""Rows longer than this travel as a file instead of in the item file."""


def shell_word(text: str) -> str:
    """`text` single-quoted for POSIX sh; any characters but NUL."""
    return "'" + text.replace("'", "'\\''") + "'"


def rows_fragment(tasks: Iterable[TaskPlan]) -> bytes:
    """One shell function per task, as docs/architecture.md fixes it.

    Bytes that are not UTF-8 (file names) are kept as they are.
    """
    lines: list[str] = []
    for task in tasks:
        lines.append(f"row_{task.index}() {{")
        for file in task.inputs:
            lines.append(f"input {shell_word(file.carried)} {shell_word(file.task_path)}")
        for pattern, optional in task.outputs:
            lines.append(f"output {shell_word(pattern)} {'optional' if optional else 'required'}")
        lines.append(f"params {shell_word(params_json(task))}")
        lines.append("run " + " ".join(shell_word(word) for word in task.argv))
        lines.append("}")
    return ("\n".join(lines) + "\n").encode("utf-8", "surrogateescape")


def params_json(task: TaskPlan) -> str:
    """The text of params.json: the row, typed, files as the task opens them; ASCII only."""
    return json.dumps(dict(task.params))


def encode_rows(fragment: bytes) -> str:
    """base64(gzip(fragment)) as one word; the same bytes give the same word."""
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    packed = packer.compress(fragment) + packer.flush()
    return base64.b64encode(packed).decode("ascii")


def decode_rows(word: str) -> bytes:
    """The inverse of `encode_rows`."""
    return zlib.decompress(base64.b64decode(word), 31)
