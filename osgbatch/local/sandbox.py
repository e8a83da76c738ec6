"""A job's scratch folder: brought in, its environment, brought home, removed."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from osgbatch import names
from osgbatch.local.events import classad_string

EXECUTABLE = "condor_exec.exe"
STDOUT = "_condor_stdout"
STDERR = "_condor_stderr"
JOB_AD = ".job.ad"
MACHINE_AD = ".machine.ad"
"""HTCondor's own names for what it puts beside a job's files."""

PATH = "/usr/local/bin:/usr/bin:/bin"
THREADS = (
    "CUBACORES",
    "GOMAXPROCS",
    "JULIA_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OMP_THREAD_LIMIT",
    "OPENBLAS_NUM_THREADS",
    "PYTHON_CPU_COUNT",
    "ROOT_MAX_THREADS",
    "TF_LOOP_PARALLEL_ITERATIONS",
    "TF_NUM_THREADS",
)
"""What HTCondor sets to the number of cores (STARTER_NUM_THREADS_ENV_VARS, 25.14)."""


FOLDER_VARIABLE = "OSGBATCH_LOCAL_DIR"


def scratch_parent() -> Path:
    """The folder in which rounds have their scratch folders."""
    chosen = os.environ.get(FOLDER_VARIABLE) or os.environ.get("TMPDIR") or "/tmp"
    return Path(chosen).absolute()


def scratch_prefix(batch_id: str, round_folder: Path) -> str:
    """How the name of a round's scratch folder begins; no other round's begins so."""
    return f"osgbatch-{names.slug(batch_id)}-{round_folder.name}-"


LINKED_FOLDER = "Transfer of symlinks to directories is not supported."
"""What HTCondor says of a link to a folder, before it holds the job (13.21, seen on 25.14)."""


class TransferError(Exception):
    """A file cannot be brought in or home; `subcode` is that of HTCondor's holds 12 and 13."""

    def __init__(self, path: str, subcode: int, more: str = "") -> None:
        super().__init__(path)
        self.path = path
        self.subcode = subcode
        self.more = more

    def __str__(self) -> str:
        more = f"; {self.more}" if self.more else ""
        return f"{self.path}: (errno {self.subcode}) {os.strerror(self.subcode)}{more}"


def bring_in(source: Path, scratch: Path, carried: str) -> int:
    """Copy a file or a folder to its place in the scratch folder; returns its bytes.

    carried: relative to the scratch folder. As with HTCondor, links to files are followed, those to
    folders are refused.
    Raises TransferError.
    """
    place = PurePosixPath(carried)
    if place.is_absolute() or ".." in place.parts:
        raise TransferError(carried, errno.EPERM)
    target = scratch / place
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        return _bring(source, target)
    except OSError as problem:
        name = problem.filename if isinstance(problem.filename, str) else str(source)
        raise TransferError(name, problem.errno or errno.EIO) from problem


def _bring(source: Path, target: Path) -> int:
    size = 0
    todo = [(source, target)]
    while todo:
        source, target = todo.pop()
        kind = source.stat().st_mode
        if stat.S_ISREG(kind):
            size += _copy(source, target)
        elif not stat.S_ISDIR(kind):
            raise _no_file(source)
        elif source.is_symlink():  # a link to a folder above it would never end
            raise TransferError(str(source), errno.EISDIR, LINKED_FOLDER)
        else:
            target.mkdir(exist_ok=True)
            with os.scandir(source) as entries:
                todo += [(Path(entry.path), target / entry.name) for entry in entries]
    return size


def _copy(source: Path, target: Path) -> int:
    # O_NONBLOCK: were it a pipe by now, to open it would wait for somebody who writes.
    descriptor = os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as reader:
        status = os.fstat(reader.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise _no_file(source)
        with target.open("wb") as writer:
            _copy_bytes(reader.fileno(), writer.fileno())
            os.fchmod(
                writer.fileno(), stat.S_IMODE(status.st_mode) & 0o777 | stat.S_IRUSR | stat.S_IWUSR
            )
    return status.st_size


def _no_file(path: Path) -> TransferError:
    return TransferError(str(path), errno.EINVAL, "It is neither a file nor a folder.")


def _copy_bytes(source: int, target: int) -> None:
    """Copy all bytes; where the file system can, by sharing blocks."""
    try:
        left = os.fstat(source).st_size
        while count := os.copy_file_range(source, target, 1 << 30):
            left -= count
        if left <= 0:  # Linux 5.3-5.18 says 0 too early on some file systems
            return
    except (AttributeError, OSError) as problem:
        if getattr(problem, "errno", 0) in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise
    os.lseek(source, 0, os.SEEK_SET)
    os.lseek(target, 0, os.SEEK_SET)
    with (
        os.fdopen(source, "rb", closefd=False) as reader,
        os.fdopen(target, "wb", closefd=False) as writer,
    ):
        shutil.copyfileobj(reader, writer, 1 << 20)


def write_ads(scratch: Path, ad: Mapping[str, str | int], slot: str, host: str) -> None:
    """Write the two ads that a job finds beside it, as far as jobs look at them."""
    (scratch / MACHINE_AD).write_text(
        f'Name = "{slot}@{host}"\nMachine = "{host}"\n', encoding="utf-8"
    )
    lines = (
        f"{name} = {classad_string(value) if isinstance(value, str) else value}\n"
        for name, value in ad.items()
    )
    (scratch / JOB_AD).write_text("".join(lines), encoding="utf-8")


def environment(scratch: Path, slot: str, cpus: int) -> dict[str, str]:
    """The environment of a job: that of an execution point, nothing of the user's own."""
    folder = str(scratch)
    return {
        "PATH": PATH,
        "_CONDOR_SCRATCH_DIR": folder,
        "_CONDOR_JOB_IWD": folder,
        "_CONDOR_JOB_AD": f"{folder}/{JOB_AD}",
        "_CONDOR_MACHINE_AD": f"{folder}/{MACHINE_AD}",
        "_CONDOR_SLOT": slot,
        "BATCH_SYSTEM": "HTCondor",
        "TMPDIR": folder,
        "TMP": folder,
        "TEMP": folder,
        **dict.fromkeys(THREADS, str(cpus)),
    }


@dataclass(frozen=True)
class Delivery:
    """Where one file of the scratch folder goes; without `required` only if it is not empty."""

    name: str
    target: Path
    required: bool = False


def bring_home(scratch: Path, delivery: Delivery) -> int:
    """Move a file out of the scratch folder, whole or not at all; returns its bytes.

    Nothing but a regular file is accepted: what a job leaves there is not trusted.
    Raises TransferError.
    """
    source = scratch / delivery.name
    target = delivery.target
    temporary = target.with_name(f".{target.name}.new")
    try:
        descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as problem:
        if delivery.required:
            raise TransferError(str(source), problem.errno or errno.EIO) from problem
        return 0
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), str(source))
        if not (status.st_size or delivery.required):
            return 0
        target.parent.mkdir(parents=True, exist_ok=True)
        if not _rename(source, temporary, status):
            with temporary.open("wb") as writer:
                _copy_bytes(descriptor, writer.fileno())
                os.fsync(writer.fileno())
        else:
            os.fsync(descriptor)
        temporary.replace(target)
    except OSError as problem:
        temporary.unlink(missing_ok=True)
        where = str(source) if problem.filename == str(source) else str(target)
        raise TransferError(where, problem.errno or errno.EIO) from problem
    finally:
        os.close(descriptor)
    return status.st_size


def _rename(source: Path, temporary: Path, status: os.stat_result) -> bool:
    """Move without copying where that is possible, and nobody has another name for the file."""
    if status.st_nlink != 1:
        return False
    try:
        source.rename(temporary)
    except OSError as problem:
        if problem.errno == errno.EXDEV:
            return False
        raise
    temporary.chmod(0o644)
    return True


def remove(folder: Path) -> int:
    """Remove a scratch folder, whatever its modes and depth; returns the KiB that it took."""
    kilobytes = 0
    _make_writable(str(folder))
    for root, folders, files in os.walk(folder):
        for name in folders:
            path = os.path.join(root, name)
            if not os.access(path, os.R_OK | os.W_OK | os.X_OK) and not os.path.islink(path):
                _make_writable(path)
        for name in files:
            try:
                kilobytes += os.lstat(os.path.join(root, name)).st_blocks // 2
            except OSError:
                continue
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():  # deeper than Python's recursion goes
        subprocess.run(["rm", "-rf", "--", str(folder)], check=False, stdin=subprocess.DEVNULL)
    return kilobytes


def _make_writable(path: str) -> None:
    try:
        os.chmod(path, 0o700)
    except OSError:
        return
