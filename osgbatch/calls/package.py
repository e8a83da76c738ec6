"""What travels for a batch of calls, as bytes: the package that makes a call, rows, the spec."""

from __future__ import annotations

import io
import json
import sys
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from osgbatch.calls import values
from osgbatch.calls.pickling import cloudpickle_files
from osgbatch.errors import OsgbatchError

PACKAGE = "osgbatch_call"
WHEEL, ROWS, SPEC, BLOCKS = f"{PACKAGE}.whl", "items.jsonl", "sweep.yaml", "items"
"""Names in the folder of a batch of calls."""
RETURNED, PLAIN = "outputs/returned.value", "outputs/returned.plain"
"""What a function returned, in the task's folder; PLAIN: never a pickle."""
RAISED = "outputs/raised.value"
OWN_KEYS = (
    "command", "script", "function", "sweep", "gather", "steps", "extends", "name", "outputs_to",
)  # fmt: skip
"""Keys of a sweep.yaml that say what map itself says."""
ROW_BYTES = 12 * 1024
"""Of the rows of one job; more than that travels as files, of which each job is brought its own."""
MOST_JOBS = 500
"""Of a batch of which nobody says how long a call takes, if each job may have several calls."""
BLOCK_BYTES = 8 << 20
_DATE = (2000, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Calls:
    """What is to be called.

    functions: pickled, each once; rows: of each call its item, as text; which: the number of its
    function, where there are several. form: "item" for f(item), "arguments" for f(*args, **kwargs);
    the column of the rows is called so.
    plain: nothing is pickled on its way back.
    """

    functions: Sequence[bytes]
    rows: Sequence[str]
    which: Sequence[int] = ()
    form: str = "item"
    plain: bool = False

    @property
    def returned(self) -> str:
        """The output that a call must bring."""
        return PLAIN if self.plain else RETURNED


@dataclass(frozen=True)
class Files:
    """The files of a batch of calls, by name; place: of their folder below that of the spec."""

    content: Mapping[str, bytes]
    tasks_per_job: int | str


def wheel(calls: Calls, programs: Mapping[str, bytes]) -> bytes:
    """The package that tasks import, and cloudpickle, as a wheel; the same calls, the same bytes.

    programs: `__main__.py`, which makes the calls, and what it imports of the templates.
    """
    places: list[tuple[int, int]] = []
    end = 0
    for data in calls.functions:
        places.append((end, end + len(data)))
        end += len(data)
    told = {
        "python": list(sys.version_info[:2]),
        "form": calls.form,
        "functions": places,
        "plain": calls.plain,
        "returned": calls.returned,
        "raised": RAISED,
    }
    files = [
        (f"{PACKAGE}/__init__.py", b""),
        (f"{PACKAGE}/call.json", json.dumps(told).encode()),
        *((f"{PACKAGE}/{name}", data) for name, data in sorted(programs.items())),
        (f"{PACKAGE}/functions.bin", b"".join(calls.functions)),
        (f"{PACKAGE}/values.py", Path(values.__file__).read_bytes()),
        *cloudpickle_files(),
    ]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files:
            archive.writestr(zipfile.ZipInfo(name, _DATE), data, zipfile.ZIP_DEFLATED, 1)
    return out.getvalue()


def files_of(
    calls: Calls, programs: Mapping[str, bytes], tasks_per_job: int | str | None, timed: bool
) -> Files:
    """All files but the spec. tasks_per_job: as the caller has it; timed: a time is given."""
    rows = calls.rows
    wanted = tasks_per_job
    if wanted is None:
        wanted = "auto" if timed else -(-len(rows) // MOST_JOBS)
    per_job = wanted if isinstance(wanted, int) else -(-len(rows) // MOST_JOBS)
    content = {WHEEL: wheel(calls, programs)}
    longest = max(map(len, rows)) if rows else 0
    if longest * per_job <= ROW_BYTES or _most(rows, per_job) <= ROW_BYTES:
        columns: dict[str, Sequence[str]] = {calls.form: rows}
    else:
        columns, blocks = _blocks(rows, per_job)
        content.update(blocks)
        wanted = per_job
    if len(calls.functions) > 1:
        columns = {"function": list(map(str, calls.which)), **columns}
    content[ROWS] = _lines(columns)
    return Files(content, wanted)


def _most(rows: Sequence[str], per_job: int) -> int:
    """Bytes of the rows of the largest job."""
    starts = range(0, len(rows), max(1, per_job))
    return max(sum(map(len, rows[start : start + per_job])) for start in starts)


def _blocks(rows: Sequence[str], per_job: int) -> tuple[dict[str, Sequence[str]], dict[str, bytes]]:
    """Items that are too large for rows: files of those of about one job, and where they are."""
    numbers: list[str] = []
    offsets: list[str] = []
    sizes: list[str] = []
    files: dict[str, bytes] = {}
    waiting: list[bytes] = []
    count = size = 0

    def close() -> None:
        nonlocal count, size
        files[f"{BLOCKS}/{len(files)}"] = b"".join(waiting)
        waiting.clear()
        count = size = 0

    for row in rows:
        data = row.encode("ascii")
        if count == per_job or (count and size + len(data) > BLOCK_BYTES):
            close()
        numbers.append(str(len(files)))
        offsets.append(str(size))
        sizes.append(str(len(data)))
        waiting.append(data)
        count, size = count + 1, size + len(data)
    close()
    return {"block": numbers, "offset": offsets, "size": sizes}, files


def _lines(columns: Mapping[str, Sequence[str]]) -> bytes:
    """A table as JSON lines, all cells texts."""
    keys = list(columns)
    rows = zip(*columns.values(), strict=True)
    dumps = json.dumps
    return "".join(dumps(dict(zip(keys, row, strict=True))) + "\n" for row in rows).encode()


def spec_text(name: str, place: str, calls: Calls, files: Files, keys: Mapping[str, Any]) -> bytes:
    """The sweep.yaml of a batch of calls.

    place: of the folder with its files, below that of the spec. keys: what the caller says, by the
    keys of a sweep.yaml. Raises OsgbatchError for those that map itself has.
    """
    for key in keys:
        if key in OWN_KEYS:
            raise OsgbatchError(
                f"{key}= is not for calls: the function, its items and what it returns say that",
                where="map",
            )
    sweep = {"table": f"{place}/{ROWS}"}
    document: dict[str, Any] = {
        "name": name,
        "command": ["python", "-m", PACKAGE],
        "sweep": sweep,
        "tasks_per_job": files.tasks_per_job,
        "libraries": [f"{place}/{WHEEL}", *_listed(keys.get("libraries"))],
        "outputs": [
            calls.returned,
            {"path": "outputs", "optional": True},
            *_listed(keys.get("outputs")),
        ],
    }
    if any(file.startswith(f"{BLOCKS}/") for file in files.content):
        document["inputs"] = [{f"{place}/{BLOCKS}/{{block}}": "{block}"}]
        document["command"] += ["{block}", "{offset}", "{size}"]  # for people: params.json is read
    if keys.get("inputs"):
        document.setdefault("inputs", []).extend(_listed(keys["inputs"]))
    document.update(
        (key, value)
        for key, value in keys.items()
        if key not in ("libraries", "outputs", "inputs") and value is not None
    )
    text = yaml.safe_dump(plain(document), sort_keys=False, allow_unicode=True, width=100)
    return b"# Written by osgbatch.\n" + text.encode()


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def plain(value: Any) -> Any:
    """The same as YAML knows it: paths as text, tuples as lists."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    return value


def is_returned(patterns: Iterable[Sequence[str]]) -> str:
    """Of the patterns of a batch's outputs the one of calls; empty for any other batch."""
    return next((p[0] for p in patterns if len(p) == 1 and p[0] in (RETURNED, PLAIN)), "")
