"""The local runner: cancelled, killed, told to stop."""

from __future__ import annotations

import os
import select
import signal
from pathlib import Path

import pytest
from test_local_harness import (
    LIMIT_S,
    last,
    make_round,
    no_runner_left,
    numbers,
    processes_of,
    read_events,
    record_of,
    returned,
    wait_for_end,
    wait_until,
)

from osgbatch import names
from osgbatch.errors import BusyError, OsgbatchError
from osgbatch.local import backend, events, processes, record
from osgbatch.model import Round

STUBBORN = "trap '' TERM; echo up > '{fifo}'; sleep 600 & wait; sleep 600"
POLITE = "trap 'exit 113' TERM; echo up > '{fifo}'; sleep 600 & wait"
ESCAPED = 'setsid sh -c \'trap "" TERM HUP; echo up > "{fifo}"; sleep 600\''


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OSGBATCH_LOCAL_GRACE", "0.2")
    monkeypatch.setenv("OSGBATCH_LOCAL_SLOTS", "3")
    (tmp_path / "scratch").mkdir()
    monkeypatch.setenv("OSGBATCH_LOCAL_DIR", str(tmp_path / "scratch"))


def started(tmp_path: Path, jobs: list[str], ups: int) -> Round:
    """Submit jobs, and wait until `ups` of them have said that they are up."""
    fifo = tmp_path / "up"
    os.mkfifo(fifo)
    round_ = make_round(tmp_path, [job.replace("{fifo}", str(fifo)) for job in jobs])
    reader = os.open(fifo, os.O_RDWR)  # so that neither side waits for the other to open it
    try:
        backend.submit(round_)
        said = b""
        while said.count(b"\n") < ups:
            assert select.select([reader], [], [], LIMIT_S)[0], f"{said!r} within {LIMIT_S} s"
            said += os.read(reader, 100)
    except BaseException:
        with no_runner_left(round_):
            raise
    finally:
        os.close(reader)
    return round_


def nothing_is_left(round_: Round) -> bool:
    found = record_of(round_)
    places = [Path(found.scratch), *([Path(found.group)] if found.group else [])]
    return processes_of(round_) == [] and not any(place.exists() for place in places)


def test_cancel_ends_running_waiting_and_held_jobs(tmp_path: Path) -> None:
    held = "rm osgbatch-out.tar.gz"
    done = "exit 4"
    jobs = [held, done, STUBBORN, POLITE, ESCAPED, POLITE, POLITE]
    round_ = started(tmp_path, jobs, ups=3)
    with no_runner_left(round_):
        wait_until(lambda: numbers(read_events(round_), 1)[-1] == 5, "the end of job 1")
        backend.cancel(round_, 1)
        assert not backend.alive(round_, 1)
        assert nothing_is_left(round_)
        found = read_events(round_)
        assert numbers(found, 0) == [0, 1, 12, 9]
        assert numbers(found, 1) == [0, 1, 5]
        for proc in (2, 3, 4):
            assert numbers(found, proc) == [0, 1, 9]
        for proc in (5, 6):
            assert numbers(found, proc) == [0, 9]
        assert last(found, 2)["Reason"].startswith("via osgbatch cancel (by user ")
        assert list(returned(round_)) == ["0/1_1_0.tar.gz"]
        assert not backend.interrupted(round_, 1)
        assert not (round_.folder / record.CANCEL).exists()
        backend.cancel(round_, 1)
        assert read_events(round_) == found


@pytest.mark.parametrize("guardian_too", [False, True])
def test_a_killed_runner_takes_its_jobs_with_it(tmp_path: Path, guardian_too: bool) -> None:
    round_ = started(tmp_path, ["true", STUBBORN, ESCAPED, POLITE], ups=2)
    found = record_of(round_)
    with no_runner_left(round_):
        wait_until(lambda: numbers(read_events(round_))[-1] == 5, "the end of job 0")
        if guardian_too:
            os.kill(found.guardian, signal.SIGKILL)
        os.kill(found.pid, signal.SIGKILL)
        wait_for_end(round_)
        if not guardian_too:
            assert nothing_is_left(round_)
        assert backend.interrupted(round_, 1)
        # A power failure may leave an event half written.
        with (round_.folder / names.EVENTS).open("ab") as log:
            log.write(b"005 (001.001.000) 2026-11-20 10:30:11 Job termin")
        backend.cancel(round_, 1)
        assert nothing_is_left(round_)
        assert not backend.interrupted(round_, 1)
        log_events = read_events(round_)
        assert numbers(log_events, 0) == [0, 1, 5]
        assert numbers(log_events, 1) == [0, 1, 9]
        assert numbers(log_events, 2) == [0, 1, 9]
        assert numbers(log_events, 3)[-1] == 9


def test_a_loop_that_does_not_listen_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "PATIENCE_S", 0.5)
    round_ = started(tmp_path, ["true", ESCAPED, STUBBORN, POLITE], ups=3)
    with no_runner_left(round_):
        wait_until(lambda: numbers(read_events(round_))[-1] == 5, "the end of job 0")
        os.kill(record_of(round_).pid, signal.SIGSTOP)  # as if it waited for a file system
        backend.cancel(round_, 1)
        assert not backend.alive(round_, 1)
        assert nothing_is_left(round_)
        found = read_events(round_)
        assert [numbers(found, proc)[-1] for proc in range(4)] == [5, 9, 9, 9]
        assert not backend.interrupted(round_, 1)


def test_a_runner_told_to_stop_by_the_system_leaves_its_jobs_waiting(tmp_path: Path) -> None:
    round_ = started(tmp_path, [POLITE, STUBBORN, POLITE, POLITE], ups=3)
    with no_runner_left(round_):
        os.kill(record_of(round_).guardian, signal.SIGTERM)
        wait_for_end(round_)
        assert nothing_is_left(round_)
        found = read_events(round_)
        for proc in range(3):
            assert numbers(found, proc) == [0, 1, 4]
            assert last(found, proc)["TerminatedAndRequeued"] is False
            assert "SIGTERM" in last(found, proc)["Reason"]
        assert numbers(found, 3) == [0]
        assert backend.interrupted(round_, 1)


def test_the_runner_outlives_the_terminal(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    round_ = started(tmp_path, [f"echo up > '{{fifo}}'; read x < '{gate}'"], ups=1)
    with no_runner_left(round_):
        found = record_of(round_)
        for pid in (found.pid, found.guardian):
            assert os.getsid(pid) != os.getsid(0)
            for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
                os.kill(pid, number)
        gate.write_text("go\n")
        wait_for_end(round_)
        assert numbers(read_events(round_)) == [0, 1, 5]


def test_jobs_do_not_inherit_what_the_parent_ignores(tmp_path: Path) -> None:
    before = {n: signal.signal(n, signal.SIG_IGN) for n in (signal.SIGHUP, signal.SIGTERM)}
    try:
        # builtins only: dash blocks all signals for as long as it starts a program
        look = "while read -r k m; do case $k in SigBlk: | SigIgn:) echo $k $m ;; esac; done"
        round_ = started(tmp_path, [look + " </proc/$$/status; echo > '{fifo}'"], 1)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    wait_for_end(round_)
    out = returned(round_)["0/1_0.out"].split()
    # signals 32 and 33 are glibc's own: nobody can set them, and some library of this process did
    # what makes the kernel show 32 as ignored
    ours = ~(0b11 << 31)
    assert [int(mask, 16) & ours for mask in out[1::2]] == [0, 0]


def test_a_recycled_pid_is_not_signalled(tmp_path: Path) -> None:
    round_ = started(tmp_path, ["true"], ups=0)
    wait_for_end(round_)
    path = round_.folder / record.RECORD
    text = path.read_text().replace(f'"pid": {record_of(round_).pid}', f'"pid": {os.getpid()}')
    path.write_text(text)
    lock = processes.take_lock(round_.folder / record.LOCK, 1)
    assert lock is not None
    with pytest.raises(BusyError, match=r"within 0\.2 s"):
        backend.cancel(round_, 1, limit_s=0.2)
    os.close(lock)


def test_a_runner_on_another_machine_is_not_signalled(tmp_path: Path) -> None:
    round_ = started(tmp_path, ["true"], ups=0)
    wait_for_end(round_)
    found = record_of(round_)
    path = round_.folder / record.RECORD
    path.write_text(
        path.read_text().replace(found.boot_id, "another").replace(found.host, "elsewhere")
    )
    lock = processes.take_lock(round_.folder / record.LOCK, 1)
    assert lock is not None
    with pytest.raises(BusyError, match="is on elsewhere"):
        backend.cancel(round_, 1)
    os.close(lock)


def test_cancel_of_what_was_never_submitted_changes_nothing(tmp_path: Path) -> None:
    round_ = make_round(tmp_path, ["true"])
    before = sorted(round_.folder.iterdir())
    backend.cancel(round_, 1)
    assert sorted(round_.folder.iterdir()) == before
    assert not backend.interrupted(round_, 1)
    assert not backend.alive(round_, 1)


def test_a_runner_that_hangs_while_it_starts_is_ended(tmp_path: Path) -> None:
    round_ = make_round(tmp_path, ["true"])
    before = sorted(round_.folder.iterdir())
    os.mkfifo(round_.folder / names.EVENTS)  # opening it to write waits for a reader
    with pytest.raises(OsgbatchError, match="has not entered the jobs within 1 s"):
        backend.submit(round_, limit_s=1)
    assert sorted(round_.folder.iterdir()) == before
    assert list((tmp_path / "scratch").iterdir()) == []
    assert not backend.alive(round_, 1)


def test_a_full_disk_leaves_the_log_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "events.log"
    log = events.EventLog(path)
    log.write(events.submit_events(1, range(3), "here"))
    before = path.read_bytes()
    write = os.write

    def full(descriptor: int, text: bytes) -> int:
        monkeypatch.setattr(os, "write", fail)
        return write(descriptor, text[:20])

    def fail(descriptor: int, text: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        log.write(events.aborted_event(1, 0, "why"))
    monkeypatch.undo()
    assert path.read_bytes() == before
    log.close()
