"""The shim's echo: what its tasks print, on its own stdout while they run, for condor_tail."""

from __future__ import annotations

import os
import signal
import time

from shim_harness import Slot, sh, slot, wait_for

__all__ = ["slot"]

WAIT = "until [ -e ../../{} ]; do sleep 0.02; done"


def test_a_running_task_is_echoed_and_sees_nothing_of_it(slot: Slot) -> None:
    slot.echo = slot.root / "stdout"
    files = "for n in 3 4 5 6 7 8 9; do [ ! -e /proc/$$/fd/$n ] || echo $n >&2; done; echo open >&2"
    first = f"echo a; printf 'b '; {WAIT.format('go')}; printf 'c\\nd'; {files}"
    rows = {3: sh(first), 4: sh(f"printf 'e \\\\ %%s\\n' ; echo f >&2; {WAIT.format('end')}")}
    process = slot.start(rows)
    wait_for(lambda: slot.echo.read_text() == "[3] a\n[3] b ")
    slot.file("go")
    wait_for(lambda: slot.echo.read_text().endswith("[4 err] f\n"))
    told = slot.echo.read_text()
    slot.file("end")
    done = slot.finish(process)
    assert done.code == 0
    assert done.stderr == ""
    assert done.text(3, "stdout") == "a\nb c\nd"
    assert done.text(3, "stderr") == "open\n", "no file of the shim's is open in a task"
    assert told == "[3] a\n[3] b c\n[3] d\n[3 err] open\n[4] e \\ %s\n[4 err] f\n"
    # Nothing of it comes home beside the archive.
    assert slot.echo.read_bytes() == b""


def test_the_echo_is_short_and_begins_anew_for_a_later_task(slot: Slot) -> None:
    slot.echo = slot.root / "stdout"
    endless = "head -c 300000 /dev/zero | tr '\\0' x"
    quick = "printf 'x\\n%.0s' 1 2 3"
    rows = {
        0: sh(f"{endless}; echo; echo late; {WAIT.format('go')}; echo later"),
        1: sh(f"{quick}; {WAIT.format('end')}"),
    }
    process = slot.start(rows)
    wait_for(lambda: b"[osgbatch] " in slot.echo.read_bytes())
    told = slot.echo.read_bytes()
    slot.file("go")
    wait_for(lambda: slot.echo.read_bytes().startswith(b"[1]"))
    assert slot.echo.read_bytes() == b"[1] x\n" * 3
    slot.file("end")
    done = slot.finish(process)
    assert told.count(b"[osgbatch] ") == 1
    assert 90_000 < len(told) < 101_000
    assert done.text(0, "stdout") == "x" * 300_000 + "\nlate\nlater\n"


def test_what_a_task_leaves_behind_holds_up_nothing(slot: Slot) -> None:
    slot.echo = slot.root / "stdout"
    began = time.monotonic()
    done = slot.run({0: sh("setsid sleep 3600 & echo $!")})
    os.kill(int(done.text(0, "stdout")), signal.SIGKILL)
    assert done.code == 0
    assert time.monotonic() - began < 30


def test_what_is_much_is_echoed_alike(slot: Slot) -> None:
    slot.echo = slot.root / "stdout"
    numbers = [str(n) for n in range(1, 501)]
    script = f"seq 1 500; printf 'b '; {WAIT.format('go')}; seq 1 500; printf d"
    process = slot.start({3: sh(script), 4: sh(f"echo e; {WAIT.format('end')}")})
    wait_for(lambda: slot.echo.read_text().endswith("[3] b "))
    slot.file("go")
    wait_for(lambda: slot.echo.read_text().endswith("[4] e\n"))
    told = slot.echo.read_text()
    slot.file("end")
    slot.finish(process)
    lines = [*numbers, f"b {numbers[0]}", *numbers[1:], "d"]
    assert told == "".join(f"[3] {line}\n" for line in lines) + "[4] e\n"
