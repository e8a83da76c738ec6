"""The rows of tasks as shell text, and as one word that HTCondor carries unread."""

from __future__ import annotations

import base64
import json
import zlib
from binascii import b2a_base64
from collections.abc import Sequence

from osgbatch.plan_model import InputFile, TaskRows
from osgbatch.tables import Column, Table, is_json

MAX_ITEM_BYTES = 16 * 1024
"""Rows longer than this travel as a file instead of in the item file."""
PLAIN_BYTES = 300
"""A fragment shorter than this does not get smaller by gzip."""
_SAMPLE = 64


def shell_word(text: str) -> str:
    """`text` single-quoted for POSIX sh; any characters but NUL."""
    return "'" + text.replace("'", "'\\''") + "'"


class RowWriter:
    """Writes the rows of tasks, one shell function each, as docs/architecture.md fixes it.

    columns: the columns in the order in which a row's values are given to the shim's `row`.
    numbers: those whose text stands in params.json as it is; the others stand there as text. A
    task with a value that is neither, a number among words or a word with a quote, say, has the
    text of its params.json in its row.
    """

    def __init__(self, table: Table, tasks: TaskRows) -> None:
        self.table = table
        self.tasks = tasks
        self.columns = [column.name for column in table.columns]
        self.files = {column.name for column in table.columns if column.is_file}
        self.numbers = {column.name for column in table.columns if _mostly_numbers(column)}
        self.has_seconds = tasks.seconds(0, 1) is not None
        words = [" '%s'"] * (len(self.columns) + self.has_seconds)
        self._form = f"row_%d(){{ %srow{''.join(words)};}}\n"

    def functions(self, start: int, stop: int) -> list[str]:
        """The functions of the tasks from `start` up to `stop`."""
        before = self._inputs(start, stop)
        columns: list[Sequence[str]] = []
        odd: set[int] = set()
        for name in self.columns:
            texts = self.tasks.texts(name, start, stop)
            odd.update(self._odd(name, texts, start, stop))
            columns.append(_quotable(texts))
        seconds = self.tasks.seconds(start, stop)
        if seconds is not None:
            columns.append(list(map(str, seconds)))
        for position in odd:
            word = shell_word(self._params(start + position))
            before[position] += f"params {word};"
        rows = zip(range(start, stop), before, *columns, strict=True)
        return list(map(self._form.__mod__, rows))

    def _inputs(self, start: int, stop: int) -> list[str]:
        """The lines of the inputs that tasks have for themselves."""
        inputs = self.tasks.inputs(start, stop)
        if inputs is None:
            return [""] * (stop - start)
        return ["".join(map(input_line, files)) for files in inputs]

    def _odd(self, name: str, texts: Sequence[str], start: int, stop: int) -> list[int]:
        """Which of these cells stand in params.json otherwise than is usual in their column."""
        kind = "text" if name in self.files else self.table.kind(name, start, stop)
        if name in self.numbers:
            if kind == "number":
                return []
            values = self.table.values(name, start, stop)
            return [i for i, v in enumerate(values) if not is_json(v, texts[i])]
        if kind == "text":
            return [] if _plain(" ".join(texts)) else _not_plain(texts)
        values = self.table.values(name, start, stop)
        return [i for i, v in enumerate(values) if not isinstance(v, str) or not _plain(texts[i])]

    def _params(self, index: int) -> str:
        """The text of a task's params.json: its row, typed, files as the task opens them."""
        row: dict[str, object] = {}
        for name in self.columns:
            if name in self.files:
                row[name] = self.tasks.texts(name, index, index + 1)[0]
            else:
                row[name] = self.table.values(name, index, index + 1)[0]
        return json.dumps(row)


def input_line(file: InputFile) -> str:
    """The line of a row that brings an input to its place."""
    if file.is_object:
        form = "" if file.form == "file" else f" {file.form}"
        return f"object {shell_word(file.carried)} {shell_word(file.task_path)}{form};"
    words = f"{shell_word(file.carried)} {shell_word(file.task_path)}"
    if file.url:
        known = f" {file.size} {file.md5}".rstrip() if file.size >= 0 else ""
        return f"fetched {words}{known};"
    return f"input {words};"


def _mostly_numbers(column: Column) -> bool:
    """Whether a column is one of numbers, by its first cells."""
    if column.is_file:
        return False
    count = min(_SAMPLE, len(column.cells))
    values, texts = column.values(0, count), column.texts(0, count)
    return 2 * sum(map(is_json, values, texts)) > count


def _plain(text: str) -> bool:
    """Whether a text stands in JSON as it is."""
    return text.isascii() and text.isprintable() and '"' not in text and "\\" not in text


def _not_plain(texts: Sequence[str]) -> list[int]:
    return [i for i, text in enumerate(texts) if not _plain(text)]


def _quotable(texts: Sequence[str]) -> Sequence[str]:
    """Texts as they stand between single quotes."""
    if "'" not in "".join(texts):
        return texts
    return [text.replace("'", "'\\''") for text in texts]


def encode_rows(functions: str) -> str:
    """The rows of a job as one word; the same rows give the same word.

    A dot and base64(rows), or base64(gzip(rows)) where that is shorter. Bytes that are not UTF-8
    (file names) are kept as they are.
    """
    fragment = functions.encode("utf-8", "surrogateescape")
    if len(fragment) < PLAIN_BYTES:
        return "." + b2a_base64(fragment, newline=False).decode("ascii")
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    packed = packer.compress(fragment) + packer.flush()
    return base64.b64encode(packed).decode("ascii")


def encode_singly(functions: Sequence[str]) -> list[str]:
    """`encode_rows` of each of these, fast for many short ones."""
    fragments = "\0".join(functions).encode("utf-8", "surrogateescape").split(b"\0")
    if len(fragments) != len(functions) or max(map(len, fragments)) >= PLAIN_BYTES:
        return list(map(encode_rows, functions))
    lines = b"".join(map(b2a_base64, fragments)).decode("ascii")  # each ends with a line break
    return [f".{word}" for word in lines.splitlines()]


def decode_rows(word: str) -> bytes:
    """The inverse of `encode_rows`, as bytes."""
    if word.startswith("."):
        return base64.b64decode(word[1:])
    return zlib.decompress(base64.b64decode(word), 31)
