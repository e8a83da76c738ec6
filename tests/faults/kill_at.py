"""Runs osgbatch, and kills it with KILL right before its N-th effect: `kill_at.py N TRACE ARG...`.

An effect is a file opened for writing, a rename, a removal, a new folder, a program started:
whatever could be seen from outside. They are counted by Python's audit hooks, so every step of a
command is met, and no test has to know the steps. N is 0 to kill nothing, or names an effect, or
the one after it: "run condor_submit+1". TRACE is a file that tells the effects, one a line.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
from typing import Any

CHANGES = {
    "os.chmod", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink",
    "os.truncate", "os.utime", "sqlite3.connect", "subprocess.Popen",
}  # fmt: skip
FOR_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def effect(event: str, args: tuple[Any, ...]) -> str:
    """What an audit event would change, in a few words; empty where it changes nothing."""
    if event == "open":
        path, _, flags = args
        changes = isinstance(flags, int) and flags & FOR_WRITING and path != os.devnull
        return f"open {os.path.basename(os.fsdecode(path))}" if changes and _named(path) else ""
    if event == "subprocess.Popen":
        return f"run {os.path.basename(os.fsdecode(args[0]))}"
    if event in CHANGES:
        last = next((os.fsdecode(a) for a in reversed(args) if _named(a)), "")
        return f"{event.rpartition('.')[2]} {os.path.basename(last)}"
    return ""


def _named(path: object) -> bool:
    return isinstance(path, str | bytes | os.PathLike)


def main() -> None:
    named, _, later = sys.argv[1].partition("+")
    last = int(named) if named.isdigit() else -1
    trace = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    del sys.argv[1:3]
    count = 0

    def hook(event: str, args: tuple[Any, ...]) -> None:
        nonlocal count, last
        said = effect(event, args)
        if said:
            count += 1
            if said == named and last < 0:
                last = count + int(later or 0)
            os.write(trace, f"{said}\n".encode("utf-8", "replace"))
            if count == last:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    runpy.run_module("osgbatch", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
