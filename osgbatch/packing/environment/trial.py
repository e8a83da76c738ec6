"""Tries a packed environment where nothing of this machine is named: another path, no variables."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SECONDS = 600
PLACE = "moved to here"
"""A path with blanks: whoever quotes badly fails on this machine already."""

_TRIAL = r"""
import importlib, json, os, subprocess, sys, traceback, warnings
warnings.simplefilter("ignore")
modules = json.loads(sys.argv[1])
failed = {}
for name in modules:
    print("trying", name, file=sys.stderr, flush=True)
    try:
        importlib.import_module(name)
    except BaseException as error:
        failed[name] = traceback.format_exception_only(type(error), error)[-1].strip()
for name in ("ssl", "sqlite3", "ctypes", "zlib", "lzma", "bz2", "multiprocessing.pool", "uuid"):
    try:
        importlib.import_module(name)
    except ImportError:
        pass
maps = set()
try:
    with open("/proc/self/maps", errors="surrogateescape") as lines:
        for line in lines:
            path = line.rstrip("\n").split(None, 5)[5:]
            if path and ".so" in path[0] and path[0].startswith("/"):
                maps.add(path[0])
except FileNotFoundError:  # macOS has none
    pass
child = subprocess.run(
    [sys.executable, "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True
)
text = json.dumps({
    "failed": failed, "path": sys.path, "loaded": sorted(maps),
    "own": [sys.prefix, sys.executable, child.stdout.strip() or child.stderr.strip()[-200:]],
    "encoding": sys.getfilesystemencoding() + " " + sys.stdout.encoding,
})
print("\nosgbatch-trial " + text, flush=True)
os._exit(0)
"""


@dataclass(frozen=True)
class Trial:
    """What came of trying an environment.

    failed: module → last line of its traceback. outside: shared libraries that were loaded from
    this machine, not from the environment. broken: why it cannot be used; empty when it can.
    """

    failed: dict[str, str]
    outside: tuple[Path, ...]
    broken: str = ""


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack an archive of ours with the tar that is here, as an execution point would.

    Raises CalledProcessError with tar's words, OSError.
    """
    root = folder / PLACE
    root.mkdir(parents=True)
    command = shutil.which("tar")
    if command:
        subprocess.run(
            [command, "-xzf", str(archive), "-C", str(root)],
            env={**os.environ, "LC_ALL": "C"},
            check=True,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
    else:
        with tarfile.open(archive) as tar:
            if hasattr(tarfile, "fully_trusted_filter"):
                tar.extractall(root, filter="fully_trusted")
            else:
                tar.extractall(root)
    return root


def try_environment(root: Path, modules: Iterable[str], scratch: Path) -> Trial:
    """Start an unpacked environment as `env -i` would and import modules in it.

    root: the folder it was unpacked to. scratch: an existing folder, the home of what it may write.
    """
    done = run_python(root / "bin" / "python", list(modules), scratch)
    if isinstance(done, str):
        return Trial({}, (), done)
    inside = root.resolve()

    def strays(paths: Iterable[str]) -> list[str]:
        return [path for path in paths if not Path(path).resolve().is_relative_to(inside)]

    problems = [f"it takes {path} for its own" for path in strays(done.own)]
    problems += [f"sys.path has {path}" for path in strays(filter(None, done.path))]
    if done.encoding != "utf-8 utf-8":
        problems.append(f"its encoding is {done.encoding}")
    outside = tuple(Path(path) for path in strays(done.loaded))
    return Trial(done.failed, outside, "; ".join(problems))


@dataclass(frozen=True)
class Report:
    """What the trial says of itself. own: prefix, executable and the prefix of a child."""

    failed: dict[str, str]
    own: list[str]
    path: list[str]
    loaded: list[str]
    encoding: str


def run_python(python: Path, modules: list[str], scratch: Path) -> str | Report:
    """Run the trial with one interpreter; what it reports, or why it reports nothing."""
    done = run_program(
        [str(python), "-c", _TRIAL, json.dumps(modules)],
        scratch,
        {"PYTHONDONTWRITEBYTECODE": "1"},  # it may be a prefix, which stays as it is
    )
    for line in reversed(done.stdout.splitlines()):
        if line.startswith("osgbatch-trial "):
            return Report(**json.loads(line.partition(" ")[2]))
    if done.code is None:
        return done.said
    return f"it ended with {done.code}: {done.said or 'it said nothing'}"


@dataclass(frozen=True)
class Ran:
    """What came of running a program of an unpacked environment.

    code: how it ended, negative for a signal; None when it did not start or took too long.
    said: the last line of its stderr, else of its stdout, or why there is no code; may be empty.
    """

    code: int | None
    stdout: str
    said: str


def run_program(
    command: Sequence[str], scratch: Path, variables: Mapping[str, str] | None = None
) -> Ran:
    """Run a program of an unpacked environment as `env -i` would, for at most `SECONDS`.

    scratch: an existing folder, its working folder and home. variables: besides HOME, TMPDIR and a
    bare PATH.
    """
    environment = {"HOME": str(scratch), "TMPDIR": str(scratch), "PATH": "/usr/bin:/bin"}
    try:
        done = subprocess.run(
            list(command),
            cwd=scratch,
            env={**environment, **(variables or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Ran(None, "", f"it took more than {SECONDS} s")
    except OSError as error:
        return Ran(None, "", f"it does not start: {error.strerror}")
    said = done.stderr.strip() or done.stdout.strip()
    return Ran(done.returncode, done.stdout, said.rpartition("\n")[2])
