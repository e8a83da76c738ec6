"""Event logs and records to the states of tasks."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osgbatch.batches.eventlog import Clock, LogReader, log_cluster
from osgbatch.batches.states import Attempt, supersedes, task_state
from osgbatch.model import JobState, TaskState
from osgbatch.returned import Returned

SUBMIT = "000 (7.{p}.000) 2026-11-20 10:00:0{t} Job submitted from host: <1.2.3.4>\n...\n"
EXECUTE = (
    "001 (7.{p}.000) 2026-11-20 10:00:0{t} Job executing on host: <1.2.3.4:9618?x>\n"
    "\tSlotName: slot1_1@ep.example\n...\n"
)
EVICTED = (
    "004 (7.{p}.000) 2026-11-20 10:00:0{t} Job was evicted.\n"
    "\t(0) Job terminated and was requeued\n\t(1) Normal termination (return value 103)\n...\n"
)
VACATED = (
    "004 (7.{p}.000) 2026-11-20 10:00:0{t} Job was evicted. Code 1022 Subcode 0\n"
    "\t(0) CPU times\n\t\tUsr 0 00:00:00, Sys 0 00:00:00  -  Run Remote Usage\n"
    "\t0  -  Run Bytes Sent By Job\n\tReason: Job vacated by schedd\n"
    "\t   Disk (KB)            :       45     1024      1024 \n...\n"
)
EXITED = (
    "005 (7.{p}.000) 2026-11-20 10:00:0{t} Job terminated.\n"
    "\t(1) Normal termination (return value 3)\n"
    "\t   Memory (MB)          :       42      100       128 \n...\n"
)
KILLED = (
    "005 (7.{p}.000) 2026-11-20 10:00:0{t} Job terminated.\n"
    "\t(0) Abnormal termination (signal 9)\n\t(0) No core file\n...\n"
)
HELD = (
    "012 (7.{p}.000) 2026-11-20 10:00:0{t} Job was held.\n"
    "\tTransfer output files failure\n\tCode 12 Subcode 2\n...\n"
)
RELEASED = "013 (7.{p}.000) 2026-11-20 10:00:0{t} Job was released.\n\tvia condor_release\n...\n"
ABORTED = "009 (7.{p}.000) 2026-11-20 10:00:0{t} Job was aborted.\n\tvia condor_rm\n...\n"


def fold(text: str) -> dict[int, JobState]:
    """The states of the jobs of a log; also as HTCondor writes it, with numbers of three digits."""
    reader, other = LogReader(Path("no-such-log"), 7), LogReader(Path("no-such-log"), 7)
    reader.take(text.encode())
    padded = re.sub(r"\(7\.(\d+)\.", lambda found: f"(007.{int(found[1]):03}.", text)
    other.take(padded.encode())
    assert other.jobs == reader.jobs
    return reader.jobs


def job(*events: str) -> JobState:
    return fold("".join(event.format(p=0, t=t) for t, event in enumerate(events)))[0]


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ([SUBMIT], "waiting"),
        ([SUBMIT, EXECUTE], "running"),
        ([SUBMIT, EXECUTE, EVICTED], "waiting"),
        ([SUBMIT, EXECUTE, HELD], "held"),
        ([SUBMIT, EXECUTE, HELD, RELEASED], "waiting"),
        ([SUBMIT, EXECUTE, EXITED], "completed"),
        ([SUBMIT, EXECUTE, ABORTED], "removed"),
        ([SUBMIT, EXITED, EXECUTE], "completed"),  # an execute event that comes late
    ],
)
def test_a_jobs_state_follows_from_its_events(events: list[str], state: str) -> None:
    assert job(*events).state == state


def test_an_event_tells_its_details() -> None:
    ended = job(SUBMIT, EXECUTE, EVICTED, EXECUTE, EXITED)
    assert (ended.exit_code, ended.signal, ended.starts) == (3, None, 2)
    assert (ended.host, ended.memory_mb) == ("slot1_1@ep.example", 42)
    assert job(SUBMIT, KILLED).signal == 9
    held = job(SUBMIT, HELD)
    assert (held.hold_code, held.hold_subcode) == (12, 2)
    assert held.reason == "Transfer output files failure"
    assert job(SUBMIT, ABORTED).reason == "via condor_rm"
    assert job(SUBMIT, EXECUTE, VACATED).reason == "Job vacated by schedd"
    silent = VACATED.replace("\tReason: Job vacated by schedd\n", "")
    assert job(SUBMIT, EXECUTE, silent).reason.startswith("Job was evicted.")


def test_an_event_that_is_there_twice_changes_nothing() -> None:
    text = "".join(e.format(p=0, t=t) for t, e in enumerate([SUBMIT, EXECUTE, EXECUTE, EXITED]))
    twice = "".join(block + "\n...\n" for block in text.split("\n...\n")[:-1] for _ in range(2))
    assert fold(twice) == fold(text)


@pytest.mark.parametrize("cut", range(1, 60))
def test_an_event_that_is_still_being_written_is_left_out(cut: int) -> None:
    text = SUBMIT.format(p=0, t=0) + EXITED.format(p=0, t=1)
    assert fold(text[:-cut])[0].state == "waiting"


@pytest.mark.parametrize(
    "date",
    [f"{datetime.now().year}-11-20{rest}" for rest in (" 10:00:00", " 10:00:00.25", "T10:00:00")]
    + ["11/20 10:00:00"],
)
def test_every_form_of_date_is_read(date: str) -> None:
    text = SUBMIT.format(p=0, t=0).replace("2026-11-20 10:00:00", date)
    year = datetime.now().year
    assert int(fold(text)[0].submitted) == datetime(year, 11, 20, 10).timestamp()


def test_other_clusters_and_other_text_are_passed_over(tmp_path: Path) -> None:
    log = tmp_path / "events.log"
    assert log_cluster(log) == 0
    log.write_text("nonsense\n...\n" + SUBMIT.format(p=0, t=0).replace("(7.", "(8."))
    reader = LogReader(log, 7)
    assert reader.read()
    assert reader.jobs == {}
    assert log_cluster(log) == 8
    log.write_text("035 (7.-1.000) 2026-11-20 10:00:00 Cluster submitted from host: <x>\n...\n")
    assert log_cluster(log) == 7


def test_a_log_is_read_on_from_where_the_last_look_ended(tmp_path: Path) -> None:
    log = tmp_path / "events.log"
    whole = "".join(e.format(p=0, t=t) for t, e in enumerate([SUBMIT, EXECUTE, EXITED]))
    reader = LogReader(log)
    assert not reader.read()
    for end in range(len(whole) + 1):
        log.write_text(whole[:end])
        reader.read()
        assert reader.jobs == ({} if end < len(SUBMIT.format(p=0, t=0)) else fold(whole[:end]))
    assert reader.jobs[0].state == "completed"
    assert not reader.read()


def test_a_log_that_was_replaced_is_read_from_its_start(tmp_path: Path) -> None:
    log = tmp_path / "events.log"
    log.write_text(SUBMIT.format(p=0, t=0) + EXITED.format(p=0, t=1))
    reader = LogReader(log)
    reader.read()
    log.write_text(SUBMIT.format(p=0, t=2) + SUBMIT.format(p=1, t=2))
    reader.read()
    # What is known of a job stays: the events that told it may be lost.
    assert [reader.jobs[proc].state for proc in (0, 1)] == ["completed", "waiting"]
    assert reader.restarted


def test_a_log_longer_than_a_block_is_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("osgbatch.batches.eventlog._BLOCK", 64)
    log = tmp_path / "events.log"
    log.write_text("".join(SUBMIT.format(p=p, t=0) + EXITED.format(p=p, t=1) for p in range(50)))
    reader = LogReader(log)
    reader.read()
    assert {j.state for j in reader.jobs.values()} == {"completed"}
    assert len(reader.jobs) == 50


def test_a_cluster_that_has_left_the_queue_is_noticed_among_other_events() -> None:
    for cluster in ("7", "007", "12345"):
        log = "".join(
            SUBMIT.format(p=p, t=t).replace("(7.", f"({cluster}.") for p, t in ((0, 0), (1, 1))
        )
        log += (
            f"036 ({cluster}.-01.000) 2026-11-20 10:00:02 Cluster removed\n\tMaterialized 2\n...\n"
        )
        reader = LogReader(Path("no-such-log"))
        reader.take(log.encode())
        assert (reader.cluster, reader.removed, sorted(reader.jobs)) == (int(cluster), True, [0, 1])


def test_a_second_hold_within_a_second_is_a_hold() -> None:
    events = [SUBMIT, HELD, RELEASED, HELD]
    assert fold("".join(e.format(p=0, t=1) for e in events))[0].state == "held"


def test_a_29_february_without_a_year_is_read_later_too() -> None:
    clock = Clock(2027)
    assert clock(b"02/29 10:00") == datetime(2024, 2, 29, 10).timestamp()
    assert clock(b"02/31 10:00") is None


def test_a_torn_terminate_event_does_not_end_a_job() -> None:
    torn = "005 (7.{p}.000) 2026-11-20 10:00:0{t} Job terminated.\n\t(1) Nor\n...\n"
    assert job(SUBMIT, EXECUTE, torn).state == "running"


def test_a_torn_event_does_not_speak_with_anothers_words() -> None:
    before = SUBMIT.format(p=0, t=0) + SUBMIT.format(p=1, t=0)
    for torn in (EXECUTE, EXITED, KILLED, HELD, ABORTED):
        for cut in ("\n", ""):  # a full disk also cuts in the middle of a line
            half = torn.format(p=0, t=1)[:45]
            jobs = fold(before + half + cut + KILLED.format(p=1, t=2))
            assert (jobs[0].state, jobs[1].signal) == ("waiting", 9)


@pytest.mark.parametrize("bad", ["0a0", "000\0", "\0" * 400])
def test_bytes_that_are_no_event_are_passed_over(bad: str) -> None:
    first = SUBMIT.format(p=0, t=0) + SUBMIT.format(p=1, t=0)
    jobs = fold(first + EXITED.format(p=bad, t=1) + f"{bad}\n...\n" + EXITED.format(p=1, t=2))
    assert [jobs[proc].state for proc in (0, 1)] == ["waiting", "completed"]


def test_a_start_that_is_told_again_later_is_no_second_one() -> None:
    events = [SUBMIT, EXECUTE, EVICTED, EXECUTE, EXITED]
    told_once = job(*events)
    again = [e.format(p=0, t=t) for t, e in ((0, SUBMIT), (1, EXECUTE), (2, EVICTED), (1, EXECUTE))]
    assert fold("".join(again))[0].starts == 1
    assert told_once.starts == 2


def test_what_was_removed_after_its_end_has_ended() -> None:
    assert job(SUBMIT, EXECUTE, EXITED, ABORTED).state == "completed"


# --- tasks --------------------------------------------------------------------------------------


def attempt(number: int, tasks: dict[int, str], reason: str = "ok") -> Attempt:
    records = {
        index: {"state": state, "reason": "ok" if state == "succeeded" else "exit",
                "exit_code": "0" if state == "succeeded" else "3"}
        for index, state in tasks.items()
    }  # fmt: skip
    archive = Path(f"/returned/7_0_{number}.tar.gz")
    return Attempt(0, number, Returned(archive, {"reason": reason, "batch": "x"}, records))


COMPLETED = JobState(0, "completed", exit_code=0, starts=1)


def told(job: JobState | None, attempts: Sequence[Attempt], index: int = 0) -> TaskState:
    return task_state(index, job, sorted(attempts, key=lambda attempt: attempt.number))


def states(job: JobState | None, *attempts: Attempt, count: int = 1) -> list[str]:
    return [told(job, attempts, index).state for index in range(count)]


def test_a_success_needs_its_record() -> None:
    assert states(COMPLETED) == ["unknown"]
    assert states(COMPLETED, attempt(0, {0: "succeeded"})) == ["succeeded"]
    assert states(COMPLETED, attempt(0, {0: "failed"})) == ["failed"]
    assert states(COMPLETED, attempt(0, {0: "started"})) == ["unknown"]
    assert states(COMPLETED, attempt(0, {}, "infrastructure")) == ["failed"]


def test_the_first_success_stays_whatever_comes_later() -> None:
    first, later = attempt(0, {0: "succeeded"}), attempt(1, {0: "failed"})
    for job in (COMPLETED, JobState(0, "waiting"), JobState(0, "held"), JobState(0, "removed")):
        for order in itertools.permutations([first, later]):
            state = told(job, order)
            assert state.state == "succeeded"
            assert state.archive == first.returned.path


def test_a_killed_shim_fails_its_open_tasks_only() -> None:
    job = JobState(0, "completed", signal=9, starts=1)
    assert states(job, attempt(0, {0: "succeeded", 1: "started"}), count=2) == [
        "succeeded",
        "failed",
    ]


def test_a_shim_killed_inside_a_container_is_told_as_one_killed_outside() -> None:
    job = JobState(0, "completed", exit_code=137, starts=1)
    begun = attempt(0, {0: "succeeded", 1: "started"}, "")
    for attempts, others in (([begun], "succeeded"), ([], "failed")):
        first, second = (told(job, attempts, index) for index in range(2))
        assert first.state == others
        assert (second.state, second.reason, second.signal) == ("failed", "shim-killed", 9)
        assert second.exit_code is None
    ended = attempt(0, {0: "failed"}, "exit")
    ended = Attempt(
        0, 0, Returned(ended.returned.path, {"state": "finished"}, ended.returned.tasks)
    )
    state = told(job, [ended])
    assert (state.reason, state.exit_code) == ("exit", 3)


def test_a_later_round_does_not_undo_a_success() -> None:
    good = task_state(0, COMPLETED, [attempt(0, {0: "succeeded"})], round_=1)
    again = task_state(0, JobState(0, "running"), [], round_=2)
    failed = task_state(0, COMPLETED, [attempt(0, {0: "failed"})], round_=1)
    assert not supersedes(again, good)
    assert supersedes(again, failed)
    assert supersedes(good, again)
    assert not supersedes(failed, again)
    assert supersedes(failed, good)  # of one round it is the newer look that counts


@given(st.sampled_from(["waiting", "running", "held", "removed"]))
def test_nothing_that_has_not_ended_has_succeeded(state: str) -> None:
    assert states(JobState(0, state), attempt(0, {0: "failed"})) == [state]


def test_a_success_with_an_exit_code_is_none() -> None:
    returned = Returned(Path("a"), {"reason": "ok"}, {0: {"state": "succeeded", "exit_code": "1"}})
    assert states(COMPLETED, Attempt(0, 0, returned)) == ["unknown"]


def test_a_success_with_a_problem_is_none() -> None:
    good = attempt(0, {0: "succeeded"}).returned
    bad = Returned(good.path, good.job, good.tasks, {0: "its checksum differs"})
    state = told(COMPLETED, [Attempt(0, 0, bad)])
    assert (state.state, state.reason) == ("unknown", "damaged")
    assert told(COMPLETED, [Attempt(0, 0, bad), attempt(1, {0: "succeeded"})]).state == "succeeded"


def test_an_older_attempt_does_not_tell_of_the_last() -> None:
    job = JobState(0, "completed", exit_code=0, starts=2)
    assert states(job, attempt(0, {0: "failed"}, "infrastructure")) == ["unknown"]


def test_a_start_that_the_schedd_forgot_is_told_by_its_time() -> None:
    """The second start's archive has the first one's number, when NumJobStarts was lost."""
    job = JobState(0, "completed", exit_code=3, starts=2, started=100.0)
    failed = attempt(0, {0: "failed"}).returned
    assert told(job, [Attempt(0, 0, failed, came=99.0)]).state == "unknown"
    assert told(job, [Attempt(0, 0, failed, came=101.0)]).state == "failed"


def test_a_finished_record_counts_though_the_shim_was_killed_after_it() -> None:
    job = JobState(0, "completed", signal=9, starts=1)
    state = told(job, [attempt(0, {0: "failed"})])
    assert (state.reason, state.exit_code) == ("exit", 3)
