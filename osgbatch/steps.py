"""The flow from a spec to a submitted batch: plan, render and submit as lists of steps."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from osgbatch import condor, local, names
from osgbatch.batches import folder as folders
from osgbatch.batches import registry
from osgbatch.batches.eventlog import log_cluster
from osgbatch.batches.folder import Batch
from osgbatch.delivering import delivery_of, fault_of, prepare, withdraw
from osgbatch.errors import CondorError, OsgbatchError, PackingError, RefusedError
from osgbatch.model import Payload, Plan, Resolved, Round, Submitted
from osgbatch.packed import pack_environment
from osgbatch.packing.archive import Archive, printable
from osgbatch.packing.disk_full import BATCH_FIX, told_when_full
from osgbatch.packing.environment import EnvironmentArchive
from osgbatch.packing.environment.cache import file_sha256
from osgbatch.packing.files import files_archive
from osgbatch.packing.inputs import inputs_archive
from osgbatch.packing.libraries import libraries_archive
from osgbatch.places import cache_folder
from osgbatch.planned import AS_WRITTEN, Choices, plan_sweep
from osgbatch.planning.resolve import resolve
from osgbatch.planning.summary import plan_data
from osgbatch.quotas import look_ahead
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
from osgbatch.staged import Silent, Staging, stage_payload, stage_plan
from osgbatch.staging.stage import Progress

Say = Callable[[str], None]
_SILENT = Silent()


# --- packing, rendering, submitting ------------------------------------------------------------


def _pack(
    plan: Plan, environment: EnvironmentArchive | None, url: str, payload: Path
) -> list[Payload]:
    """All archives that travel with the jobs, in the batch's payload folder.

    url: of the environment in the stash; empty when it travels, too.
    """
    folder = plan.spec.folder
    packed: list[tuple[str, Archive | EnvironmentArchive | None]] = [
        ("library", libraries_archive((p.text for p in plan.spec.libraries), folder, payload)),
        ("files", files_archive((p.text for p in plan.spec.files), folder, payload)),
        ("inputs", inputs_archive(((f.source, f.carried) for f in plan.archived_inputs), payload)),
    ]
    if environment is not None:
        is_image = plan.spec.environment.kind == "container"
        kind, suffix = ("container", ".sif") if is_image else ("environment", ".tar.gz")
        name = f"{kind}-{environment.sha256[:16]}{suffix}"
        placed = environment.path
        if not url:
            placed = _link_or_copy(environment.path, payload / name, environment.sha256)
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


def _link_or_copy(source: Path, target: Path, sha256: str = "") -> Path:
    """What was packed, in the batch folder: of the cache a link, since it never changes there.

    An image of the user's is copied: written over later, it must not change what jobs run. sha256:
    its content; where another batch of this sweep has a copy, it is a link to that one.
    """
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


@dataclass(frozen=True)
class Rendered:
    """A batch folder that is ready to be submitted."""

    folder: Path
    round: Round
    resolved: Resolved


def _render(
    staging: Staging,
    environment: EnvironmentArchive | None,
    folder: Path,
    batch_id: str,
    say: Say,
    progress: Progress,
) -> Rendered:
    """Write everything that the first round needs into an empty batch folder."""
    plan = staging.plan
    round_ = Round(
        folder=names.round_folder(folder, 1),
        batch_id=batch_id,
        batch_name=plan.spec.name,
        number=1,
        jobs=len(plan.jobs),
        initialdir=plan.initialdir,
    )
    (round_.folder / names.RETURNED).mkdir(parents=True)
    payload_folder = folder / names.PAYLOAD
    microarch = environment.microarch if environment else ""
    packed = _pack(plan, environment, staging.environment, payload_folder)
    staging, packed = stage_payload(staging, packed, say, progress)
    delivery = delivery_of(plan, f"{plan.spec.name}-{batch_id}")
    resolved = resolve(plan, packed, microarch)
    resolved = replace(resolved, commands=staging.commands, delivery=delivery)
    items_path = round_.folder / names.ITEMS
    try:
        folders.write_stream(items_path, item_lines(resolved, rows_file=False))
    except RowsTooLongError:
        rows_path = payload_folder / ROWS_FILE
        digest, size = folders.write_stream(rows_path, rows_lines(resolved))
        rows = Payload("rows", rows_path, digest, size, size)
        again = resolve(plan, [*resolved.payload, rows], microarch)
        resolved = replace(again, commands=staging.commands, delivery=delivery)
        folders.write_stream(items_path, item_lines(resolved, rows_file=True))
    fields = item_names(resolved)
    folders.write_bytes(folder / names.SPEC, plan.spec.text)
    if environment is not None and environment.lock:
        folders.write_bytes(folder / names.ENVIRONMENT_LOCK, _encoded(environment.lock))
    if staging.objects:
        lines = "".join(f"{name}\n" for name in (staging.url, *staging.objects))
        folders.write_bytes(folder / names.OBJECTS, _encoded(lines))
    if plan.listing:
        listed = (f"{url},{size},{md5}\n" for url, (size, md5) in plan.listing.items())
        folders.write_stream(folder / names.LISTING, map(_encoded, ["url,size,md5\n", *listed]))
    folders.write_json(folder / names.PLAN, plan_data(plan, resolved))
    folders.write_stream(folder / names.TASKS, folders.tasks_csv(plan.table))
    folders.write_bytes(round_.folder / names.SHIM, _encoded(shim_text(resolved, round_)), 0o755)
    folders.write_bytes(
        round_.folder / names.SUBMIT_FILE, _encoded(submit_text(resolved, round_, fields))
    )
    data = folders.resolved_data(
        resolved, folder, batch_id, execute_seconds(resolved), job_retries(plan.spec), fields
    )
    folders.write_json(folder / names.RESOLVED, data)
    if plan.stash.presigned_s:
        folders.make_private(folder)
    prepare(delivery)
    return Rendered(folder, round_, resolved)


def _remove(folder: Path) -> None:
    """Remove a batch folder that was never submitted, and what was prepared for it elsewhere."""
    withdraw(folder)
    folders.remove(folder)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _batches(plan: Plan) -> Path:
    return plan.spec.folder / names.BATCHES


def _batch_folder(plan: Plan, batch_id: str) -> Path:
    return _batches(plan) / folders.folder_name(plan.spec.name, batch_id, time.time())


def render_sweep(
    path: Path,
    out: Path | None,
    say: Say,
    choices: Choices = AS_WRITTEN,
    progress: Progress = _SILENT,
) -> Batch:
    """Make a batch folder and submit nothing. Whatever fails, no folder is left behind."""
    out = out.absolute() if out else None
    plan = plan_sweep(path, out.parent if out else None, choices)
    environment = pack_environment(plan, say)
    for warning in look_ahead(plan, environment, out.parent if out else _batches(plan)):
        say(f"warning: {warning}")
    staging = stage_plan(plan, environment, say, progress, verify=choices.verify)
    batch_id = folders.new_id()
    folder = out or _batch_folder(plan, batch_id)
    folders.create(folder, private=bool(plan.stash.presigned_s))
    try:
        with told_when_full(folder.parent, BATCH_FIX):
            _render(staging, environment, folder, batch_id, say, progress)
    except BaseException:
        _remove(folder)
        raise
    return folders.load(folder)


def choose_backend(pool: str) -> str:
    """`condor` where HTCondor is configured, `local` where there is none; checked to answer."""
    if pool == "auto":
        pool = "condor" if condor.configured() else "local"
    if pool == "condor":
        condor.check_alive()
    return pool


def submit_sweep(
    path: Path,
    pool: str,
    say: Say,
    choices: Choices = AS_WRITTEN,
    progress: Progress = _SILENT,
) -> Batch:
    """load → expand → plan → pack → stage → resolve → render → submit.

    Whatever fails before a backend has the jobs leaves nothing on disk or in the queue. A batch of
    this very spec whose submission was cut short is continued instead of made a second time.
    """
    if pool == "local" or (pool == "auto" and not condor.configured()):
        choices = replace(choices, staging=False)
    plan = plan_sweep(path, choices=choices)
    for warning in plan.warnings:
        say(f"warning: {warning}")
    backend = choose_backend(pool)
    cut_short = folders.interrupted(plan.spec.folder / names.BATCHES, plan.spec.text)
    if cut_short is not None and _was_queued(cut_short, say):
        return folders.load(cut_short.folder)
    environment = pack_environment(plan, say)
    for warning in look_ahead(plan, environment, _batches(plan)):
        say(f"warning: {warning}")
    staging = stage_plan(plan, environment, say, progress, verify=choices.verify)
    batch_id = folders.new_id()
    folder = _batch_folder(plan, batch_id)
    folders.create(folder, private=bool(plan.stash.presigned_s))
    try:
        with folders.locked(folder) as lock:
            with told_when_full(folder.parent, BATCH_FIX):
                rendered = _render(staging, environment, folder, batch_id, say, progress)
            delivery = rendered.resolved.delivery
            if delivery and backend == "condor" and (fault := fault_of(delivery, condor.version())):
                say(f"warning: {fault}")
            if cut_short is None or _replaced(cut_short, folders.load(folder), say):
                registry.register(batch_id, folder)
                _give(backend, rendered.round, lock, say)
                return folders.load(folder)
        _remove(folder)
    except BaseException:
        # Ctrl-C can come after the queue has the jobs: then the folder must stay.
        if not (names.round_folder(folder, 1) / names.SUBMITTED).exists():
            _remove(folder)
        raise
    with folders.locked(cut_short.folder, wait=True) as lock:
        # Looked at again under the lock: another osgbatch may have continued it meanwhile.
        if not _has_jobs(cut_short):
            _give(backend, cut_short.rounds()[-1], lock, say)
    return cut_short


def _replaced(cut_short: Batch, fresh: Batch, say: Say) -> bool:
    """Remove a cut short batch that would run something else than is there now.

    False when it is to be continued: it is the same work, or somebody has submitted it meanwhile.
    """
    if folders.same_work(cut_short, fresh):
        return False
    with folders.locked(cut_short.folder, wait=True):
        if _has_jobs(cut_short):
            return False
        say("files have changed since then, so a new batch is made")
        _remove(cut_short.folder)
    return True


def _has_jobs(batch: Batch) -> bool:
    """Whether a batch whose lock we hold was submitted, as its notes and the queue tell."""
    round_ = batch.rounds()[-1]
    noted = folders.read_submitted(round_)
    if noted is None:
        return False
    return bool(noted.cluster or _queued_cluster(noted.backend, round_))


def _give(backend: str, round_: Round, lock: int, say: Say) -> None:
    """Submit a round: first it is written down that this is being done, then what came of it."""
    folders.write_submitted(round_, Submitted(backend, 0, round_.jobs, time.time()))
    try:
        if backend == "condor":
            submitted = condor.submit(round_, lock)
        else:
            submitted = local.submit(round_)
            runner = local.runner_record(round_)
            if runner and not runner.memory_enforced:
                say(f"the local runner cannot enforce memory limits: {runner.why}")
    except OsgbatchError as error:
        # Most likely it was refused; but a command can fail after its work is done.
        if isinstance(error, RefusedError) or not _queued_cluster(backend, round_, error):
            (round_.folder / names.SUBMITTED).unlink(missing_ok=True)
        raise
    folders.write_submitted(round_, submitted)


def _queued_cluster(backend: str, round_: Round, because: OsgbatchError | None = None) -> int:
    """The cluster of a round by its event log, else by the queue; 0 when neither knows it.

    Raises CondorError when the queue cannot be asked, so that nothing is known; because: the
    error that made us ask, which is told with it.
    """
    cluster = log_cluster(round_.folder / names.EVENTS)
    if not cluster and backend == "condor":
        try:
            cluster = condor.find_cluster(round_) or 0
        except CondorError as later:
            if because is None:
                raise
            raise CondorError(
                f"{because.what}; and whether it is queued is not known: {later.what}",
                where=str(round_.folder),
                fix="When HTCondor answers, `osgbatch submit` of the same sweep continues.",
            ) from None
    return cluster


def _was_queued(batch: Batch, say: Say) -> bool:
    """Whether a batch whose submission was cut short is in the queue after all.

    Its lock is held for as long as a condor_submit of it works, whatever became of its osgbatch;
    then the event log tells, last the queue. Only a round that neither knows may be given to a
    backend again, so that no job is ever submitted twice.
    """
    say(f"continuing batch {batch.id}, whose submission was interrupted: {batch.folder}")
    with folders.locked(batch.folder, wait=True):
        round_ = batch.rounds()[-1]
        noted = folders.read_submitted(round_)
        if noted is None:  # the one who held the lock was refused, and has said so
            return False
        if noted.cluster:
            return True
        cluster = _queued_cluster(noted.backend, round_)
        if cluster:
            where = {"condor": "HTCondor", "local": "the local runner"}[noted.backend]
            say(f"it had been submitted to {where}, as cluster {cluster}")
            folders.write_submitted(round_, replace(noted, cluster=cluster))
    return bool(cluster)
