"""Runs `osgbatch stage put` many times, each killed (kill -9) at another step of it.

    killed_put.py FOLDER RUNS

FOLDER is one of `sweep` (test_staging_faults.py). A step is a call to the system that has to do
with the stash; a run makes the same ones each time. After a kill nothing false may have a final
name, and the same command must end well. Prints the steps of a whole run, then those of the kills.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from test_staging_faults import objects, whole

import osgbatch.cli.stage_commands
import osgbatch.staging.folder
import osgbatch.submission.stashing  # noqa: F401 # what each run would import
from osgbatch.cli.app import run

COPIED = 30_000
"""Bytes that are copied in one step."""
CALLS = ("os.mkdir", "os.chmod", "os.link", "os.remove", "os.rename", "os.truncate", "fcntl.flock")


class Steps:
    """Counts the steps of this process from the first that has to do with the stash on."""

    def __init__(self, stash: Path, last: int) -> None:
        self.stash = os.fsencode(stash)
        self.last = last
        self.count = 0
        sys.addaudithook(self._call)
        for name in ("copy_file_range", "fsync"):
            setattr(os, name, self._counted(getattr(os, name)))

    def _call(self, event: str, about: tuple[Any, ...]) -> None:
        if (self.count and event in CALLS) or (event == "open" and self._is_in_stash(about[0])):
            self._step()

    def _is_in_stash(self, place: Any) -> bool:
        return not isinstance(place, int) and os.fsencode(place).startswith(self.stash)

    def _counted(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*words: Any) -> Any:
            self._step()
            return real(*words) if len(words) == 1 else real(*words[:2], COPIED, *words[3:])

        return counted

    def _step(self) -> None:
        self.count += 1
        if self.count == self.last:
            os.kill(os.getpid(), signal.SIGKILL)


def put(folder: Path, last: int = 0) -> tuple[int, int]:
    """One `osgbatch stage put`, killed at a step unless that is 0: how it ended, and its steps."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        os.chdir(folder)
        said = os.open("said", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(said, 1)
        os.dup2(said, 2)
        sys.argv[1:] = ["stage", "put", "--tree", "--spec", "sweep.yaml", "tree"]
        steps = Steps(folder / "stash", last)
        code = run()
        os.write(writer, str(steps.count).encode())
        os._exit(code)
    os.close(writer)
    with open(reader) as stream:
        steps_text = stream.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return status, int(steps_text or 0)


def main(folder: Path, runs: int) -> None:
    """Count the steps, then kill."""

    def fresh() -> None:
        for name in ("stash", "cache"):
            shutil.rmtree(folder / name, ignore_errors=True)
        (folder / "stash").mkdir()

    code, steps = put(folder)
    assert code == 0, (folder / "said").read_text()
    print(steps)
    for last in sorted({1 + index * (steps - 1) // (runs - 1) for index in range(runs)}):
        fresh()
        code, _ = put(folder, last)
        assert code == -signal.SIGKILL, f"not killed at {last}: {(folder / 'said').read_text()}"
        there = len(objects(folder / "stash"))
        code, _ = put(folder)
        assert code == 0, f"killed at {last}: {(folder / 'said').read_text()}"
        whole(folder)
        print(last, there)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
