"""Runs osgbatch by a clock that can be set, and writes down each question to the schedd.

`other_clock.py TRACE ARG...`, in the environment of clock.py. A line of TRACE is when it was asked,
by a clock that nobody sets (s).
"""

from __future__ import annotations

import runpy
import select
import sys
import time
from pathlib import Path

from osgbatch.condor import Queued
from osgbatch.life.rounds import RoundFollower


def sleep(seconds: float) -> None:
    """libfaketime 0.9.10 now and then makes clock_nanosleep fail with EINVAL."""
    if seconds > 0:
        select.select([], [], [], seconds)


def main() -> None:
    trace = Path(sys.argv.pop(1))
    ask = RoundFollower.ask

    def counted(self: RoundFollower) -> Queued:
        with trace.open("a") as stream:
            stream.write(f"{time.monotonic():.1f}\n")
        return ask(self)

    RoundFollower.ask = counted  # type: ignore[method-assign]
    time.sleep = sleep
    runpy.run_module("osgbatch", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
