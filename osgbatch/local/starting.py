"""How the local runner starts a job: its scratch folder is filled, its processes are made."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from osgbatch import names
from osgbatch.local import container, processes, sandbox
from osgbatch.local.jobs import Setting
from osgbatch.local.record import Item
from osgbatch.urls import is_url


def fill(setting: Setting, scratch: Path, proc: int, item: Item, slot: str) -> int:
    """Make a job's scratch folder, with all that is not fetched; returns the bytes copied.

    Raises TransferError.
    """
    work, request = setting.work, item.need.request
    batch = setting.round_folder.parent.parent
    try:
        scratch.mkdir(0o700)
        sandbox.write_ads(
            scratch,
            {
                "ClusterId": setting.cluster,
                "ProcId": proc,
                names.BATCH_ATTRIBUTE: work.batch_id,
                "RequestCpus": request.cpus,
                "RequestMemory": request.memory_mb,
                "RequestDisk": request.disk_kb,
                "Tasks": os.fsdecode(item.tasks),
            },
            slot,
            setting.host,
        )
    except OSError as problem:
        raise sandbox.TransferError(str(scratch), problem.errno or errno.EIO) from problem
    size = sandbox.bring_in(setting.round_folder / names.SHIM, scratch, sandbox.EXECUTABLE)
    (scratch / sandbox.EXECUTABLE).chmod(0o755)
    for file, carried in work.payload:
        size += sandbox.bring_in(batch / file, scratch, carried)
    for path in (*work.shared_inputs, *item.inputs):
        if not is_url(path):
            size += sandbox.bring_in(Path(work.initialdir, path), scratch, path)
    return size


def spawn(
    setting: Setting, scratch: Path, group: Path | None, slot: str, proc: int, item: Item
) -> subprocess.Popen[bytes]:
    """Start a job's shim in its scratch folder. Raises OSError."""
    prepare = preparation()

    def prepare_job() -> None:
        prepare()
        if group is not None:
            (group / "cgroup.procs").write_text("0")

    words = [str(setting.cluster), str(proc), os.fsdecode(item.tasks), os.fsdecode(item.rows)]
    cpus = item.need.request.cpus
    if setting.work.image:
        image = setting.round_folder.parent.parent / setting.work.image
        argv = [sandbox.EXECUTABLE, *words]
        command = container.command(image, scratch, item.need.gpus, argv)
        inside = sandbox.environment(Path(container.INSIDE), slot, cpus)
        variables = container.environment(inside)
    else:
        command = [str(scratch / sandbox.EXECUTABLE), *words]
        variables = sandbox.environment(scratch, slot, cpus)
    with (
        (scratch / sandbox.STDOUT).open("wb") as out,
        (scratch / sandbox.STDERR).open("wb") as err,
    ):
        return subprocess.Popen(
            command,
            cwd=scratch,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
            preexec_fn=prepare_job,
        )


def preparation() -> Callable[[], None]:
    """What a new process of a job does before anything else: it dies with this one."""
    runner = os.getpid()

    def prepare() -> None:
        processes.die_with_parent(runner)
        os.umask(0o022)
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    return prepare
