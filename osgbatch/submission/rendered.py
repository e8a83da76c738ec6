"""Writes what a round is: its archives, and the files of its folder."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from osgbatch import names
from osgbatch.batches import folder as folders
from osgbatch.batches.folder import Batch, RoundNote
from osgbatch.batches.keys import write_keys
from osgbatch.errors import PackingError
from osgbatch.model import Round
from osgbatch.packing.archive import Archive, printable
from osgbatch.packing.environment import EnvironmentArchive
from osgbatch.packing.environment.cache import file_sha256
from osgbatch.packing.files import entries_of, files_archive
from osgbatch.packing.inputs import inputs_archive
from osgbatch.packing.libraries import libraries_archive
from osgbatch.places import cache_folder
from osgbatch.plan_model import Delivery, Payload, Plan, Resolved
from osgbatch.planning.keys import NONE, Keys
from osgbatch.planning.resolve import resolve
from osgbatch.planning.summary import plan_data
from osgbatch.rendering.items import (
    ROWS_FILE,
    RowsTooLongError,
    item_lines,
    item_names,
    rows_lines,
)
from osgbatch.rendering.program import program_file
from osgbatch.rendering.shim import shim_text
from osgbatch.rendering.submit import execute_seconds, job_retries, submit_text
from osgbatch.staging.stage import Progress
from osgbatch.submission.delivering import delivery_of, prepare
from osgbatch.submission.keyed import archive_sums
from osgbatch.submission.origin import write_origin
from osgbatch.submission.staged import Staging, stage_payload
from osgbatch.task_ranges import task_ranges

Say = Callable[[str], None]


@dataclass(frozen=True)
class Rendered:
    """A round that is ready to be submitted, in its batch's folder."""

    folder: Path
    round: Round
    resolved: Resolved


@dataclass(frozen=True)
class Made:
    """What a round is made of, when its inputs and its environment are where they belong.

    why: the round is made (batches/notes.py); settings: of the command line. keys: of its tasks.
    node: it is submitted by DAGMan.
    """

    staging: Staging
    environment: EnvironmentArchive | None
    why: str
    settings: Sequence[str] = ()
    keys: Keys = NONE
    node: bool = False

    def note(self) -> RoundNote:
        """What is written down of the round."""
        jobs, count = self.staging.plan.jobs, len(self.staging.plan.table)
        whole = sum(map(len, jobs)) == count
        tasks = task_ranges(range(count) if whole else [index for job in jobs for index in job])
        return RoundNote(self.why, tasks, len(jobs), tuple(self.settings), time.time())


def render_batch(made: Made, folder: Path, batch_id: str, say: Say, progress: Progress) -> Rendered:
    """Write everything that the first round needs into an empty batch folder."""
    plan = made.staging.plan
    round_ = Round(
        folder=names.round_folder(folder, 1),
        batch_id=batch_id,
        batch_name=plan.spec.name,
        number=1,
        jobs=len(plan.jobs),
        initialdir=plan.initialdir,
    )
    staging, resolved = _write_round(made, folder, round_, round_.folder, say, progress)
    folders.write_bytes(folder / names.SPEC, plan.spec.text)
    _write_environment_lock(made, folder)
    _write_objects(staging, folder)
    _write_listing(plan, folder)
    folders.write_json(folder / names.PLAN, plan_data(staging.plan, resolved))
    folders.write_stream(folder / names.TASKS, folders.tasks_csv(plan.table))
    # Last: only with it is a folder a batch.
    folders.write_json(folder / names.RESOLVED, _data(resolved, folder, batch_id))
    if plan.stash.presigned_s:
        folders.make_private(folder)
    prepare(resolved.delivery)
    return Rendered(folder, round_, resolved)


def render_round(batch: Batch, made: Made, say: Say, progress: Progress) -> Rendered:
    """Write a later round into a folder of another name; `Round.folder` is what it is to become.

    Whoever calls holds the batch's lock. What an earlier call left half written is removed.
    """
    plan = made.staging.plan
    number = batch.rounds()[-1].number + 1
    round_ = Round(
        folder=names.round_folder(batch.folder, number),
        batch_id=batch.id,
        batch_name=batch.name,
        number=number,
        jobs=len(plan.jobs),
        initialdir=plan.initialdir,
    )
    for left in (batch.folder / names.ROUNDS).glob(".*"):
        shutil.rmtree(left, ignore_errors=True)
    half = names.half_round_folder(batch.folder, number)
    try:
        staging, resolved = _write_round(made, batch.folder, round_, half, say, progress)
        if plan.spec.text != (batch.folder / names.SPEC).read_bytes():
            folders.write_bytes(half / names.SPEC, plan.spec.text)
        _write_environment_lock(made, half)
        _write_objects(staging, batch.folder)
        _write_listing(plan, half)
        folders.write_json(half / names.RESOLVED, _data(resolved, batch.folder, batch.id))
        if plan.stash.presigned_s:
            folders.make_private(batch.folder)
        prepare(resolved.delivery)
    except BaseException:
        shutil.rmtree(half, ignore_errors=True)
        raise
    return Rendered(half, round_, resolved)


def _write_round(
    made: Made, batch: Path, round_: Round, folder: Path, say: Say, progress: Progress
) -> tuple[Staging, Resolved]:
    """The archives of a round, and the files of its folder, which may still have another name."""
    plan, environment = made.staging.plan, made.environment
    (folder / names.RETURNED).mkdir(parents=True)
    payload_folder = batch / names.PAYLOAD
    microarch = environment.microarch if environment else ""
    packed = pack(plan, environment, made.staging.environment, payload_folder)
    staging, packed = stage_payload(made.staging, packed, say, progress)
    delivery = delivery_of(plan, f"{plan.spec.name}-{round_.batch_id}")
    resolved = resolve(plan, packed, microarch)
    resolved = replace(resolved, commands=staging.commands, delivery=delivery, node=made.node)
    items_path = folder / names.ITEMS
    try:
        folders.write_stream(items_path, item_lines(resolved, rows_file=False))
    except RowsTooLongError:
        name = ROWS_FILE if round_.number == 1 else f"{round_.number:03d}-{ROWS_FILE}"
        resolved = _with_rows_file(resolved, payload_folder / name, microarch, delivery)
        folders.write_stream(items_path, item_lines(resolved, rows_file=True))
    fields = item_names(resolved)
    folders.write_note(folder, made.note())
    write_origin(folder, plan, environment)
    if not made.keys.problem:
        digest = made.keys.digest(archive_sums(resolved.payload))
        write_keys(folder, digest, made.keys.tasks, made.keys.rows)
    folders.write_bytes(folder / names.SHIM, _encoded(shim_text(resolved, round_)), 0o755)
    folders.write_bytes(folder / names.SUBMIT_FILE, _encoded(submit_text(resolved, round_, fields)))
    return staging, resolved


def _with_rows_file(
    resolved: Resolved, path: Path, microarch: str, delivery: Delivery | None
) -> Resolved:
    """The rows of the tasks in a file that travels with the jobs."""
    digest, size = folders.write_stream(path, rows_lines(resolved))
    rows = Payload("rows", path, digest, size, size)
    again = resolve(resolved.plan, [*resolved.payload, rows], microarch)
    return replace(again, commands=resolved.commands, delivery=delivery, node=resolved.node)


def _data(resolved: Resolved, batch: Path, batch_id: str) -> object:
    """What `resolved.json` holds."""
    return folders.resolved_data(
        resolved,
        batch,
        batch_id,
        execute_seconds(resolved),
        job_retries(resolved.plan.spec),
        item_names(resolved),
    )


def _write_environment_lock(made: Made, folder: Path) -> None:
    if made.environment is not None and made.environment.lock:
        folders.write_bytes(folder / names.ENVIRONMENT_LOCK, _encoded(made.environment.lock))


def _write_objects(staging: Staging, folder: Path) -> None:
    """Name the objects that the batch refers to, those of its earlier rounds too."""
    if not staging.objects:
        return
    path = folder / names.OBJECTS
    known = path.read_text("utf-8", "surrogateescape").splitlines() if path.exists() else []
    lines = dict.fromkeys([*known, staging.url, *staging.objects])
    folders.write_bytes(path, _encoded("".join(f"{line}\n" for line in lines)))


def _write_listing(plan: Plan, folder: Path) -> None:
    if plan.listing:
        listed = (f"{url},{size},{md5}\n" for url, (size, md5) in plan.listing.items())
        folders.write_stream(folder / names.LISTING, map(_encoded, ["url,size,md5\n", *listed]))


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


# --- the archives that travel with the jobs -----------------------------------------------------


def pack(
    plan: Plan, environment: EnvironmentArchive | None, url: str, payload: Path
) -> list[Payload]:
    """All archives that travel with the jobs, in the batch's payload folder.

    url: of the environment in the stash; empty when it travels, too.
    """
    folder = plan.spec.folder
    packed: list[tuple[str, Archive | EnvironmentArchive | None]] = [
        ("library", libraries_archive((p.text for p in plan.spec.libraries), folder, payload)),
        ("files", files_archive(entries_of(plan.spec.files), folder, payload)),
        ("inputs", inputs_archive(((f.source, f.carried) for f in plan.archived_inputs), payload)),
    ]
    if environment is not None:
        is_image = plan.spec.environment.kind == "container"
        kind, suffix = ("container", ".sif") if is_image else ("environment", ".tar.gz")
        name = f"{kind}-{environment.sha256[:16]}{suffix}"
        placed = environment.path
        if not url:
            placed = link_or_copy(environment.path, payload / name, environment.sha256)
        packed.insert(0, (kind, replace(environment, path=placed)))
    made = [
        Payload(kind, item.path, item.sha256, item.size, item.unpacked_size)
        for kind, item in packed
        if item is not None
    ]
    if url:
        made[0] = replace(made[0], url=url)
    program = program_file(plan)
    if program:
        suffix, content = program
        digest = hashlib.sha256(content).hexdigest()
        path = payload / f"program-{digest[:16]}{suffix}"
        folders.write_bytes(path, content)
        made.append(Payload("program", path, digest, len(content), 0))
    return made


def link_or_copy(source: Path, target: Path, sha256: str = "") -> Path:
    """What was packed, in the batch folder: of the cache a link, since it never changes there.

    An image of the user's is copied: written over later, it must not change what jobs run. sha256:
    its content; where another batch of this sweep has a copy, it is a link to that one. What an
    earlier round brought stays: jobs may be fetching it.
    """
    if target.exists():
        if file_sha256(target) == sha256:
            return target
        target.unlink()
    same = [source] if source.resolve().is_relative_to(cache_folder().resolve()) else []
    if sha256 and not same:
        batches = target.parent.parent.parent
        same += batches.glob(f"*/{names.PAYLOAD}/{target.name}")
    for there in same:
        try:
            if there == source or file_sha256(there) == sha256:
                os.link(there, target)
                return target
        except OSError:
            continue  # it is being removed, or the file system has no links
    if _copied(source, target) != sha256 and sha256:
        raise PackingError(
            "it was changed while it was copied",
            where=printable(str(source)),
            fix="Submit again when nothing writes to it.",
        )
    return target


def _copied(source: Path, target: Path) -> str:
    """Copy a file; the sha256 of what was written."""
    digest = hashlib.sha256()
    with source.open("rb") as file, target.open("wb") as copy:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
            copy.write(chunk)
    return digest.hexdigest()
