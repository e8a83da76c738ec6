"""The batch folder on disk: made whole or not at all, read back, locked."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from osgbatch import names, targets
from osgbatch.batches.gathered import gather_data
from osgbatch.batches.notes import CANARY
from osgbatch.batches.notes import RoundNote as RoundNote
from osgbatch.batches.notes import read_note as read_note
from osgbatch.batches.notes import read_submitted as read_submitted
from osgbatch.batches.notes import round_tasks as round_tasks
from osgbatch.batches.notes import write_note as write_note
from osgbatch.batches.notes import write_submitted as write_submitted
from osgbatch.batches.reading import read_data, read_rows
from osgbatch.batches.writing import write_bytes as write_bytes
from osgbatch.batches.writing import write_json as write_json
from osgbatch.batches.writing import write_stream as write_stream
from osgbatch.errors import BatchError, BusyError
from osgbatch.model import Round
from osgbatch.tables import Table

if TYPE_CHECKING:  # to look at a batch takes no plan
    from osgbatch.plan_model import Delivery, Payload, Plan, Resolved
    from osgbatch.spec_model import Retries


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
        """Its rounds, in order; one that is still being written is none."""
        parent = self.folder / names.ROUNDS
        try:
            found = [p.name for p in parent.iterdir() if p.name.isascii() and p.name.isdigit()]
        except OSError as error:
            raise BatchError(
                f"its rounds cannot be read: {error.strerror}",
                where=str(parent),
                fix="Was the batch moved or removed? `osgbatch ls --all` shows where batches are.",
            ) from None
        numbers = sorted(map(int, found))
        if not numbers:
            raise BatchError("the batch has no rounds", where=str(parent), fix="It is not whole.")
        return [self.round(number) for number in numbers]

    def round(self, number: int) -> Round:
        """A round by its number."""
        folder = names.round_folder(self.folder, number)
        note = read_note(folder)
        return Round(
            folder=folder,
            batch_id=self.id,
            batch_name=self.name,
            number=number,
            jobs=note.jobs if note else int(self.data["jobs"]),
            initialdir=Path(self.round_data(number)["initialdir"]),
        )

    def round_data(self, number: int) -> Mapping[str, Any]:
        """What `resolved.json` says of a round: a later one has its own."""
        if number == 1:
            return self.data
        path = names.round_folder(self.folder, number) / names.RESOLVED
        return read_data(path, self.folder) if path.is_file() else self.data

    @property
    def rest_cancelled(self) -> bool:
        """Whether what waited for a canary was cancelled."""
        return (self.folder / names.REST_CANCELLED).exists()

    def unsubmitted(self) -> list[int]:
        """The tasks that no round has: those that wait for a canary, unless `rest_cancelled`."""
        notes = [read_note(round_.folder) for round_ in self.rounds()]
        if not any(note and note.why == CANARY for note in notes):
            return []
        from osgbatch.batches.reused import read_reused

        given = {index for note in notes if note for index in note.indices()}
        given.update(read_reused(self.folder))
        return [index for index in range(self.tasks) if index not in given]


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
        "spec": str(plan.spec.path),
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
            "memory": asdict(ladder) if (ladder := plan.spec.retries.memory) else None,
        },
        "checkpoint": plan.spec.checkpoint is not None,
        "environment": plan.spec.environment.kind,
        "gather": plan.spec.gather.text if plan.spec.gather else "",
        "gather_how": gather_data(plan.spec.gather) if plan.spec.gather else None,
        "tags": list(plan.spec.tags),
        "columns": [column.name for column in plan.table.columns],
        "file_columns": [column.name for column in plan.table.columns if column.is_file],
        "outputs": [
            {
                "parts": list(output.pattern.parts),
                "optional": output.optional,
                **({"to": list(output.to.parts)} if output.to else {}),
            }
            for output in plan.outputs
        ],
        "file_bases": targets.bases(plan.spec.sources),
        "home": [plan.spec.profile.home, dict(plan.spec.profile.quotas).get("home", "")],
        "outputs_to": _delivery_data(resolved.delivery) if resolved.delivery else None,
        "results_to": plan.spec.results_to,
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
    """The rows of `tasks.csv`, without its header and without the index. Raises BatchError."""
    return read_rows(batch.folder / names.TASKS, len(batch.data["columns"]), batch.tasks)


def load(folder: Path) -> Batch:
    """Read a batch folder. Raises BatchError when it is none, or cannot be read."""
    return Batch(folder, read_data(folder / names.RESOLVED, folder))


def newest_of(parent: Path, spec: bytes, besides: Path | None = None) -> Batch | None:
    """The newest batch of a spec in a `batches/` folder. besides: a folder that does not count."""
    return next((load(folder) for folder in folders_of(parent, spec) if folder != besides), None)


def folders_of(parent: Path, spec: bytes) -> Iterator[Path]:
    """The batches of a spec in a `batches/` folder, the newest first.

    Raises OSError when that, or one in it, cannot be looked into: it may be one of them.
    """
    folders = sorted(
        (p for p in entries_of(parent) if (p / names.RESOLVED).is_file()),
        key=lambda p: (p / names.RESOLVED).stat().st_mtime_ns,
        reverse=True,
    )
    yield from (folder for folder in folders if _read_or_none(folder / names.SPEC) == spec)


def entries_of(parent: Path) -> list[Path]:
    """What is in a `batches/` folder, but for hidden things. Raises OSError: it cannot be read."""
    try:
        return [parent / name for name in os.listdir(parent) if not name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return []


@contextmanager
def one_at_a_time(parent: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Nobody else submits from a `batches/` folder meanwhile; who comes second waits, and says so.

    The lock is a file that is gone afterwards, so that an empty folder can be removed.
    """
    path = parent / f".{names.LOCK}"
    descriptor = -1
    while descriptor < 0:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another osgbatch submits from this folder just now; waiting for it")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                break
        os.close(descriptor)  # the one before has removed it
        descriptor = -1
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def interrupted(batch: Batch) -> bool:
    """Whether the submission of a batch's first round was cut short."""
    rounds = batch.rounds()
    noted = read_submitted(rounds[0])
    return len(rounds) == 1 and noted is not None and not noted.cluster


def same_content(one: Batch, other: Batch) -> bool:
    """Whether two batches are of one table and run the same files and programs in one environment.

    How tasks are put into jobs does not matter.
    """
    if payload_sums(one.data) != payload_sums(other.data):
        return False
    table = _read_or_none(one.folder / names.TASKS)
    return table is not None and table == _read_or_none(other.folder / names.TASKS)


def payload_sums(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Kind and checksum of the archives that tasks see, whichever tasks a round has."""
    return sorted(
        (str(item["kind"]), str(item["sha256"]))
        for item in data["payload"]
        if item["kind"] not in ("rows", "inputs")
    )


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
