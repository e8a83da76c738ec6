"""The shim: told to stop, killed, over its time; nothing of a task outlives it."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest
import shim_harness
from shim_harness import Outcome, Slot, alive, row, sh, wait_for

slot = shim_harness.slot


def started_then(slot: Slot, process: subprocess.Popen[str], number: int) -> None:
    wait_for((slot.scratch / "ready").exists)
    os.kill(process.pid, number)


def test_told_to_stop_it_passes_it_on_and_brings_home_what_there_is(slot: Slot) -> None:
    script = "trap 'echo bye; exit 0' TERM; echo x >outputs/x; >../../ready"
    script += "; while :; do sleep 0.05; done"
    process = slot.start({0: row("true"), 1: sh(script), 2: row("true")})
    started_then(slot, process, signal.SIGTERM)
    done = slot.finish(process)
    assert done.code == 113 and sorted(done.tasks) == [0, 1]
    assert (done.tasks[1]["reason"], done.tasks[1]["exit_code"]) == ("stopped", "113")
    assert done.text(1, "stdout") == "bye\n" and done.names(1) == {"outputs/x"}
    assert (done.job["state"], done.job["reason"]) == ("finished", "stopped")


def test_killed_it_leaves_an_archive_that_says_started_and_takes_its_command_along(
    slot: Slot,
) -> None:
    script = "trap '' TERM; echo $$ >../../pid; sleep 3600 & echo $! >>../../pid; "
    script += ">../../ready; wait"
    process = slot.start({0: sh(script)})
    started_then(slot, process, signal.SIGKILL)
    process.wait()  # a zombie would still count as alive
    process.communicate(timeout=180)  # the helpers of the shim end too
    leader, child = map(int, (slot.scratch / "pid").read_text().split())
    wait_for(lambda: not alive(leader) and not alive(child))
    done = slot.outcome(-9)
    assert (done.job["state"], done.job["tasks"], done.job["cluster"]) == ("started", "0", "12")
    assert not done.tasks


def test_the_trap_comes_first(slot: Slot) -> None:
    def told_at_once(text: str) -> str:
        lines = text.splitlines(keepends=True)
        code = [n for n, line in enumerate(lines) if not line.startswith("#") and line.strip()]
        assert lines[code[0]] == "stopped=''\n" and lines[code[1]].startswith("trap ")
        return "".join([*lines[: code[1] + 1], "kill -TERM $$\n", *lines[code[1] + 1 :]])

    done = slot.finish(slot.start({0: sh("echo x >../../ran")}, edit=told_at_once))
    assert (done.code, done.stderr) == (113, "") and not done.tasks
    assert (done.job["state"], done.job["reason"]) == ("finished", "stopped")
    assert not (slot.scratch / "ran").exists()


@pytest.mark.parametrize("deaf", [False, True])
def test_over_time_the_whole_group_ends_and_partial_outputs_come_home(
    slot: Slot, deaf: bool
) -> None:
    slot.environ["OSGBATCH_KILL_AFTER"] = "1"
    ignore = "trap '' TERM; " if deaf else ""
    script = f"{ignore}echo part >outputs/x; sleep 3600 & echo $!; wait; sleep 3600"
    begun = time.monotonic()
    done = slot.run({0: sh(script, ["time_limit", "1"]), 1: row("true")}, time_limit=50)
    assert time.monotonic() - begun < 40
    assert done.code == 111 and only_first(done) == ("time", "111")
    assert done.names(0) == {"outputs/x"} and done.tasks[1]["reason"] == "ok"
    assert not alive(int(done.text(0, "stdout")))


def only_first(done: Outcome) -> tuple[str, str]:
    return done.tasks[0]["reason"], done.tasks[0]["exit_code"]


def test_nothing_of_a_task_outlives_it(slot: Slot) -> None:
    done = slot.run({0: sh("sleep 3600 & echo $!")})
    assert done.code == 0
    wait_for(lambda: not alive(int(done.text(0, "stdout"))))
