"""The batch folder on disk: made whole or not at all, read back, locked."""

from __future__ import annotations

import csv
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from osgbatch import names
from osgbatch.errors import BatchError, BusyError
from osgbatch.model import Delivery, Payload, Plan, Resolved, Retries, Round, Submitted, Table


@dataclass(frozen=True)
class Batch:
    """A batch as its folder tells it. data: what `resolved.json` holds."""

    folder: Path
    data: Mapping[str, Any]

    @property
    def id(self) -> str:
        """12 hexadecimal characters."""
        return str(self.data["batch_id"])

    @property
    def name(self) -> str:
        """The spec's name."""
        return str(self.data["name"])

    @property
    def tasks(self) -> int:
        """How many tasks it has."""
        return int(self.data["tasks"])

    def rounds(self) -> list[Round]:
        """Its rounds, in order."""
        parent = self.folder / names.ROUNDS
        numbers = sorted(int(p.name) for p in parent.iterdir() if p.name.isdigit())
        return [
            Round(
                folder=names.round_folder(self.folder, number),
                batch_id=self.id,
                batch_name=self.name,
                number=number,
                jobs=int(self.data["jobs"]),
                initialdir=Path(self.data["initialdir"]),
            )
            for number in numbers
        ]


def new_id() -> str:
    """A batch's id: 12 random hexadecimal characters."""
    return secrets.token_hex(6)


def folder_name(name: str, batch_id: str, now: float) -> str:
    """`find-peaks-20261120-093012-7f3a`."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(now))
    return f"{name}-{stamp}-{batch_id[:4]}"


def create(folder: Path, *, private: bool = False) -> None:
    """Make an empty batch folder. Raises BatchError when it is there or cannot be made.

    private: nobody else may look into it.
    """
    try:
        folder.mkdir(parents=True, mode=0o700 if private else 0o777)
        (folder / names.PAYLOAD).mkdir()
    except FileExistsError:
        half = folder.is_dir() and not (folder / names.RESOLVED).exists()
        raise BatchError(
            "this folder is already there",
            where=str(folder),
            fix="It is no whole batch; remove it if nothing in it is wanted." if half else "",
        ) from None
    except OSError as error:
        raise BatchError(
            f"cannot make the batch folder: {error.strerror}",
            where=str(folder),
            fix="Batches lie beside their spec; copy the spec to a folder of yours.",
        ) from None


def make_private(folder: Path) -> None:
    """Take from all others the right to read what is in a batch folder, also in a copy of it."""
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            path.chmod(0o700)
        elif path.parent.name != names.PAYLOAD or path.stat().st_nlink == 1:  # no link to the cache
            path.chmod(path.stat().st_mode & 0o700)


def remove(folder: Path) -> None:
    """Remove a batch folder that was never submitted, and `batches/` if it is empty then."""
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):
        folder.parent.rmdir()


def resolved_data(
    resolved: Resolved,
    folder: Path,
    batch_id: str,
    execute_s: int,
    retries: Retries,
    item_names: Sequence[str],
) -> Any:
    """What `resolved.json` holds (docs/architecture.md)."""
    plan = resolved.plan
    return {
        "version": 1,
        "batch_id": batch_id,
        "name": plan.spec.name,
        "folder": str(folder),
        "spec_folder": str(plan.spec.folder),
        "initialdir": str(plan.initialdir),
        "tasks": len(plan.table),
        "jobs": len(plan.jobs),
        "max_idle": resolved.max_idle,
        "payload": [_payload_data(item, plan, folder) for item in resolved.payload],
        "item_names": list(item_names),
        "shared_inputs": [f.transferred for f in plan.tasks.shared if not f.archived],
        "resources": {**asdict(resolved.resources), "execute_s": execute_s},
        "retries": {
            "times": retries.times,
            "any": retries.on == "any",
            "codes": list(retries.codes),
        },
        "environment": plan.spec.environment.kind,
        "gather": plan.spec.gather.text if plan.spec.gather else "",
        "columns": [column.name for column in plan.table.columns],
        "file_columns": [column.name for column in plan.table.columns if column.is_file],
        "outputs": [
            {"parts": list(output.pattern.parts), "optional": output.optional}
            for output in plan.outputs
        ],
        "outputs_to": _delivery_data(resolved.delivery) if resolved.delivery else None,
    }


def _delivery_data(delivery: Delivery) -> dict[str, Any]:
    """Where the data is, and how it is read from here; keys to it are never written down."""
    stash = {key: value for key, value in asdict(delivery.stash).items() if key != "place"}
    return {"url": delivery.url, "stash": stash}


def _payload_data(item: Payload, plan: Plan, folder: Path) -> dict[str, Any]:
    return {
        "kind": item.kind,
        "file": os.path.relpath(item.path, folder),
        "url": item.url,
        "carried": item.carried(plan.initialdir),
        "sha256": item.sha256,
        "size": item.size,
        "unpacked_size": item.unpacked_size,
    }


def write_json(path: Path, data: Any) -> None:
    """Write JSON so that a reader sees the old file or the new one, never a part."""
    write_bytes(path, (json.dumps(data, indent=1, sort_keys=False) + "\n").encode())


def write_bytes(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write a file under another name, flush it to the disk, rename it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        temporary.rename(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        _name(path, error)
        raise


def _name(path: Path, error: BaseException) -> None:
    """A full disk says in the error which file did not fit."""
    if isinstance(error, OSError) and error.errno and error.filename is None:
        error.filename = str(path)


def write_stream(path: Path, parts: Iterable[bytes]) -> tuple[str, int]:
    """Write what comes in parts, and flush it to the disk. Returns its SHA-256 and its size."""
    digest = hashlib.sha256()
    try:
        with path.open("wb") as stream:
            for part in parts:
                digest.update(part)
                stream.write(part)
            stream.flush()
            os.fsync(stream.fileno())
            return digest.hexdigest(), stream.tell()
    except OSError as error:
        _name(path, error)
        raise


def tasks_csv(table: Table) -> Iterator[bytes]:
    """The copy of the table for people: index and every column as it was written.

    Every text is quoted: Python 3.11's writer leaves a lone CR bare, and cannot read it back.
    """
    names_ = [column.name for column in table.columns]
    yield (",".join(f'"{name}"' for name in ("index", *names_)) + "\n").encode()
    form = ",".join(["%d", *('"%s"' for _ in names_)]) + "\n"
    for start in range(0, len(table), 4096):
        stop = min(start + 4096, len(table))
        columns = []
        for name in names_:
            texts = table.texts(name, start, stop)
            if '"' in "".join(texts):
                texts = [text.replace('"', '""') for text in texts]
            columns.append(texts)
        rows = zip(range(start, stop), *columns, strict=True)
        yield "".join(map(form.__mod__, rows)).encode("utf-8", "surrogateescape")


def read_tasks_csv(batch: Batch) -> Iterator[list[str]]:
    """The rows of `tasks.csv`, without its header and without the index."""
    path = batch.folder / names.TASKS
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
        reader = csv.reader(stream)
        next(reader)
        for row in reader:
            yield row[1:]


def load(folder: Path) -> Batch:
    """Read a batch folder. Raises BatchError when it is none, or cannot be read."""
    path = folder / names.RESOLVED
    try:
        data = json.loads(path.read_text())
        if data["version"] != 1:
            raise BatchError("made by another version of osgbatch", where=str(folder))
        _check_data(data)
        return Batch(folder, data)
    except FileNotFoundError:
        raise BatchError(
            "this is no batch folder", where=str(folder), fix="`osgbatch status` lists none here."
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BatchError(f"cannot read {path.name}: {error}", where=str(folder)) from None


_FIELDS: Mapping[str, type] = {
    "batch_id": str,
    "name": str,
    "initialdir": str,
    "spec_folder": str,
    "gather": str,
    "tasks": int,
    "jobs": int,
    "payload": list,
    "columns": list,
    "file_columns": list,
    "outputs": list,
}


def _check_data(data: Any) -> None:
    """Raises ValueError when `resolved.json` lacks what is read of it later."""
    for name, kind in _FIELDS.items():
        if not isinstance(data.get(name), kind):
            raise ValueError(f'"{name}" is missing, or is not what it should be')
    if data["tasks"] < 1 or data["jobs"] < 1:
        raise ValueError("no tasks")


def write_submitted(round_: Round, submitted: Submitted) -> None:
    """Write down what the backend said."""
    write_json(round_.folder / names.SUBMITTED, asdict(submitted))


def read_submitted(round_: Round) -> Submitted | None:
    """What the backend said when it took the round; None when it was not asked.

    A cluster of 0 says that it was asked, and what came of it was not written down.
    """
    try:
        return Submitted(**json.loads((round_.folder / names.SUBMITTED).read_text()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise BatchError(
            f"cannot read {names.SUBMITTED}: {error}", where=str(round_.folder)
        ) from None


def round_tasks(round_: Round) -> list[str]:
    """The first field of every line of the item file: which tasks each proc runs."""
    path = round_.folder / names.ITEMS
    try:
        with path.open(encoding="utf-8") as stream:
            return [line.split(" ", 1)[0].rstrip("\n") for line in stream]
    except OSError as error:
        raise BatchError(f"cannot read {names.ITEMS}: {error}", where=str(round_.folder)) from None


def interrupted(parent: Path, spec: bytes) -> Batch | None:
    """The newest batch of a spec in a `batches/` folder, if its submission was cut short."""
    folders = sorted(
        (p for p in parent.glob("*") if (p / names.RESOLVED).is_file()),
        key=lambda p: (p / names.RESOLVED).stat().st_mtime_ns,
        reverse=True,
    )
    for folder in folders:
        if _read_or_none(folder / names.SPEC) != spec:
            continue
        batch = load(folder)
        noted = read_submitted(batch.rounds()[-1])
        return batch if noted is not None and not noted.cluster else None
    return None


def same_work(one: Batch, other: Batch) -> bool:
    """Whether two batches would run the very same: equal archives, shims, submit and item files."""
    work = _work(one)
    return work is not None and work == _work(other)


def _work(batch: Batch) -> list[bytes] | None:
    """What a batch would run, without its own name and id; None when it is not whole."""
    round_folder = batch.rounds()[0].folder
    found = [_read_or_none(round_folder / name) for name in (names.ITEMS, names.SHIM)]
    found.append(_read_or_none(round_folder / names.SUBMIT_FILE))
    own = [os.fsencode(batch.folder.name), batch.id.encode()]
    work = sorted(f"{p['kind']} {p['sha256']}".encode() for p in batch.data["payload"])
    for content in found:
        if content is None:
            return None
        for word in own:
            content = content.replace(word, b"-")
        work.append(content)
    return work


def _read_or_none(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


@contextmanager
def locked(folder: Path, *, wait: bool = False) -> Iterator[int]:
    """Hold the batch's lock; gives its file descriptor, which condor_submit inherits.

    Raises BusyError when another process holds it, unless told to wait.
    """
    try:
        descriptor = os.open(folder / names.LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise BatchError(
            f"this batch cannot be changed: {error.strerror}",
            where=str(folder),
            fix="Is it yours? Copy the folder to work on its results.",
        ) from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise BusyError(
                "another osgbatch is working on this batch",
                where=str(folder),
                fix="Wait for it to end, or stop it.",
            ) from None
        yield descriptor
    finally:
        os.close(descriptor)
