"""Runs the command line as users do, in a process of its own, but hundreds of times a minute.

Two thirds of a short command's time are the loading of other people's libraries. A server process
loads them once; each command is a fork of it that then loads osgbatch, all of it, anew. Tests of
what is loaded, of signals, terminals and crashes, or of other people's libraries that are absent,
start a Python instead (`subprocess`).
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
LIBRARIES = [
    *("csv", "http.client", "sqlite3", "ssl", "tarfile", "zipfile"),
    *("isal.igzip", "jinja2", "pydantic.type_adapter", "rich", "yaml"),
    *("boto3.session", "rocrate.rocrate", "typer.main"),
]
"""Not htcondor2: it reads CONDOR_CONFIG when it is loaded."""


def osgbatch(
    arguments: Sequence[str | Path], cwd: Path, env: Mapping[str, str], seconds: float
) -> subprocess.CompletedProcess[str]:
    """Run `osgbatch ARGUMENTS` in a folder with just this environment and no input.

    seconds: after which it is killed, and subprocess.TimeoutExpired raised.
    """
    words = [str(word) for word in arguments]
    for name in {*env, *os.environ} - {"PYTHONPATH"}:
        if name.startswith(("PYTHON", "LC_", "LANG")) and env.get(name) != os.environ.get(name):
            raise ValueError(f"only a Python that starts heeds {name}: use subprocess")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LIBRARIES)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        streams = [folder / stream for stream in ("stdout", "stderr")]
        for stream in streams:
            stream.touch()
        process = context.Process(target=_become, args=(words, cwd, dict(env), streams))
        process.start()
        process.join(seconds)
        late = process.exitcode is None
        if late:
            process.kill()
            process.join()
        said = [stream.read_text() for stream in streams]
        code = process.exitcode
        process.close()
    if late:
        raise subprocess.TimeoutExpired(words, seconds, *said)
    assert code is not None
    return subprocess.CompletedProcess(words, code, *said)


def _become(arguments: list[str], cwd: Path, env: dict[str, str], streams: list[Path]) -> None:
    """In the process of a command: all that `python -m osgbatch` would find, then run it."""
    for number, path in enumerate((Path(os.devnull), *streams)):
        opened = os.open(path, os.O_WRONLY | os.O_APPEND if number else os.O_RDONLY)
        os.dup2(opened, number)
        os.close(opened)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    ours = (CHECKOUT / "tests", CHECKOUT / "tools")
    others = [p for p in sys.path if p and not any(Path(p).is_relative_to(o) for o in ours)]
    more = list(filter(None, env.get("PYTHONPATH", "").split(os.pathsep)))
    sys.path[:] = [str(cwd), *more, *others]
    sys.argv = ["osgbatch", *arguments]
    runpy.run_module("osgbatch", run_name="__main__", alter_sys=True)
