"""Makes archives as execution points return them, and batches that they come back of, for tests."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

from osgbatch.batches.folder import Batch
from osgbatch.submission import steps

CLUSTER = 7

Member = tuple[tarfile.TarInfo, bytes]


def member(name: str, content: bytes = b"") -> Member:
    """A file of an archive."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    return info, content


def archive(path: Path, *members: Member) -> Path:
    """Write an archive; gives its path."""
    with tarfile.open(path, "w:gz", format=tarfile.GNU_FORMAT, compresslevel=1) as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return path


def two_jobs(spec: Path) -> Batch:
    """A batch of two tasks that HTCondor has run, as its log tells; nothing has come back yet."""
    made = steps.render_sweep(spec, None, lambda text: None)
    round_ = made.rounds()[0]
    noted = {"backend": "condor", "cluster": CLUSTER, "jobs": 2, "time": 1.0, "host": "ap.example"}
    (round_.folder / "submitted.json").write_text(json.dumps(noted))
    log = ""
    for proc in range(2):
        head = f"({CLUSTER:03d}.{proc:03d}.000) 2026-11-20 10:00:0{proc}"
        log += f"000 {head} Job submitted from host: <x>\n...\n"
        log += f"001 {head} Job executing on host: <x>\n...\n"
        log += f"005 {head} Job terminated.\n\t(1) Normal termination (return value 0)\n...\n"
    (round_.folder / "events.log").write_text(log)
    return made


def record(told: Mapping[str, object]) -> bytes:
    """The lines of a record."""
    return "".join(f"{key}={value}\n" for key, value in told.items()).encode()


def job_record(batch: Batch, proc: int, more: Mapping[str, object] | None = None) -> bytes:
    """What the shim tells of a job. more: what it says besides, or otherwise."""
    told = {"shim": 1, "batch": batch.id, "round": 1, "cluster": CLUSTER, "proc": proc}
    return record({**told, "tasks": proc, "state": "finished", "reason": "ok", **(more or {})})


def task_record(index: int, state: str = "succeeded", **more: object) -> bytes:
    """What it tells of a task with one output, or otherwise."""
    good = state == "succeeded"
    told = {"index": index, "state": state, "exit_code": 0 if good else 3}
    return record({**told, "reason": "ok" if good else "exit", "outputs": 1, **more})


def returned(
    batch: Batch,
    proc: int,
    name: str,
    state: str = "succeeded",
    *,
    content: bytes = b"result\n",
    job: Mapping[str, object] | None = None,
    **task: object,
) -> Path:
    """Deliver the archive of a job of `two_jobs`, as its shim would have made it.

    name, content: of its only output. job, task: what its records say besides, or otherwise.
    """
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n")
    start = "\\" * (escaped != name)
    above = f"tasks/{proc}"
    folder = batch.rounds()[0].folder / "returned/0"
    folder.mkdir(exist_ok=True)
    return archive(
        folder / f"{CLUSTER}_{proc}_0.tar.gz",
        member("job", job_record(batch, proc, job)),
        member(f"{above}/status", task_record(proc, state, **task)),
        member(f"{above}/stdout"),
        member(f"{above}/stderr"),
        member(
            f"{above}/sha256",
            f"{start}{hashlib.sha256(content).hexdigest()}  {escaped}\n".encode(),
        ),
        member(f"{above}/data/{name}", content),
    )
