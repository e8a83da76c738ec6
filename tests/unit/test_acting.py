"""`cancel`, `release` and `prioritize` on the local runner; what is pure of acting on HTCondor."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import started
from hypothesis import given
from hypothesis import strategies as st
from test_local_harness import wait_until

from osgbatch import local, names
from osgbatch.batches import folder as folders
from osgbatch.condor import Queue, QueuedJob, act
from osgbatch.condor import queue as in_queue
from osgbatch.condor.recurring import will_recur
from osgbatch.errors import CondorError
from osgbatch.life.acting import Cancelling, Choice, cancel_chosen
from osgbatch.model import Round

SPEC = """\
command: [sh, -c, "until [ -e {go} ]; do sleep 0.05; done"]
sweep: {n: {range: 8}, go: ['%s']}
tasks_per_job: 2
resources: {memory: 64 MB, disk: 10 MB}
"""


class Batch:
    """A batch on the local runner that runs one job at a time, and the command line on it."""

    def __init__(self, folder: Path) -> None:
        self.environment = {
            **os.environ,
            "OSGBATCH_LOCAL_SLOTS": "1",
            "OSGBATCH_LOCAL_GRACE": "0.2",
            "XDG_STATE_HOME": str(folder / "state"),
        }
        (folder / "sweep.yaml").write_text(SPEC % (folder / "go"))
        self.folder = folder
        self("submit", "--pool", "local", "--no-watch", "sweep.yaml", on=False)
        (made,) = (folder / "batches").iterdir()
        self.batch = folders.load(made)

    def __call__(
        self, *words: str, code: int = 0, on: bool = True, answer: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a command. answer: what is typed on its terminal; without one it has none."""
        words = (*words, *(["batches/" + self.name] if on else []))
        if answer:
            done = self.answered(words, answer)
        else:
            done = started.osgbatch(words, self.folder, self.environment, 120)
        assert done.returncode == code, (done.stdout, done.stderr)
        return done

    def answered(self, words: Sequence[str], answer: str) -> subprocess.CompletedProcess[str]:
        top, end = pty.openpty()
        os.write(top, answer.encode())
        done = subprocess.run(
            [sys.executable, "-m", "osgbatch", *words],
            cwd=self.folder,
            env=self.environment,
            stdin=end,
            stdout=subprocess.PIPE,
            stderr=end,
            text=True,
            check=False,
        )
        os.close(end)
        done.stderr = os.read(top, 4096).decode()
        os.close(top)
        return done

    @property
    def name(self) -> str:
        return self.batch.folder.name

    @property
    def states(self) -> list[str]:
        return local.job_states(self.batch.rounds()[0], 1)


def test_a_cancellation_says_what_it_means_and_asks_on_a_terminal(tmp_path: Path) -> None:
    batch = Batch(tmp_path)
    try:
        wait_until(lambda: batch.states[0] == "running", "start")
        before = ["running", "waiting", "waiting", "waiting"]
        assert "too: 3" in batch("cancel", "--tasks", "2", code=2).stderr
        asked = batch("cancel", "--tasks", "2", answer="n\n").stderr
        assert "cancel 2 tasks in 1 job (1 not chosen, but in the same jobs) of batch" in asked
        assert "nothing was changed" in asked
        asked = batch("cancel", answer="n\n").stderr  # folded at 80 columns
        assert "of which 8 tasks have not ended? [y/N]:" in " ".join(asked.split())
        assert "there is no task 8" in batch("cancel", "--tasks", "8", code=2).stderr
        assert "knows no priorities" in batch("prioritize", "5", code=2).stderr
        assert "nothing to release" in batch("release", "--memory", "4GB").stdout
        assert "a size needs a unit" in batch("release", "--memory", "4", code=2).stderr
        assert batch.states == before
        assert "cancelled 2 tasks in 1 job" in batch("cancel", "--tasks", "2", answer="y\n").stdout
        assert batch.states == ["running", "ended", "waiting", "waiting"]
        told = json.loads(batch("cancel", "--idle", "--max", "3", "--json").stdout)
        assert (told["tasks"], told["jobs"], told["not_queued"]) == ([6, 7], 1, 0)
        assert batch.states == ["running", "ended", "waiting", "ended"]
        (tmp_path / "go").touch()
        wait_until(lambda: batch.states == ["ended"] * 4, "the end")
        log = (batch.batch.folder / "rounds/001" / names.EVENTS).read_text()
        assert (log.count("Job was aborted"), log.count("Job terminated")) == (2, 2)
        assert "nothing to cancel" in batch("cancel", "--yes").stdout
    finally:
        batch("cancel", "--yes")


def test_what_runs_by_the_time_of_the_answer_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("osgbatch.condor.configured", lambda: False)
    batch = Batch(tmp_path)

    def agree(plan: Cancelling) -> bool:
        assert plan.tasks == [2, 3, 4, 5, 6, 7]
        batch("cancel", "--tasks", "0-1")
        wait_until(lambda: batch.states[1] == "running", "the next job")
        return True

    try:
        wait_until(lambda: batch.states[0] == "running", "start")
        done = cancel_chosen(batch.batch, Choice(idle=True), agree)
        assert done is not None and done.tasks == [4, 5, 6, 7]
        assert batch.states == ["ended", "running", "ended", "ended"]
    finally:
        batch("cancel", "--yes")


def test_a_hold_without_a_reason_has_none() -> None:
    job = in_queue._job({"ProcId": 3, "JobStatus": 5, "HoldReasonCode": None, "HoldReason": None})
    assert job == QueuedJob(3, "held")


@given(st.sets(st.integers(0, 40), min_size=1))
def test_jobs_are_named_one_by_one_or_as_ranges(procs: set[int]) -> None:
    (text,) = in_queue.in_pieces(procs)
    named: set[int] = set()
    for part in text.split(" || "):
        found = [int(number) for number in re.findall(r"\d+", part)]
        assert re.fullmatch(r"\(ProcId == \d+\)|\(ProcId >= \d+ && ProcId <= \d+\)", part)
        named |= set(range(found[0], found[-1] + 1))
    assert named == procs


def test_jobs_in_too_many_pieces_are_refused_before_anything_is_asked(tmp_path: Path) -> None:
    round_ = Round(tmp_path, "4a80deadbeef", "test", 1, 9000, tmp_path)
    queue = Queue(7, {}, range(9000), shared={"JobMaterializeNextProcId": 0})
    with pytest.raises(CondorError, match="in 1,001 pieces"):
        act.forget(round_, queue, range(0, 2002, 2))


def test_a_hold_that_will_come_again_is_warned_of() -> None:
    jobs = {
        0: QueuedJob(0, "held", 34, 102, "over cgroup memory limit", memory_mb=1024, disk_kb=10),
        1: QueuedJob(1, "held", 34, 102, "over cgroup memory limit", memory_mb=4096, disk_kb=10),
        2: QueuedJob(2, "held", 1, 0, "via condor_hold (by user alice)", 1024, 10),
        3: QueuedJob(3, "held", 34, 104, "over disk", 1024, 10),
    }
    queue = Queue(7, jobs)
    assert [text[:6] for text in will_recur(queue, jobs, 0, 0)] == ["2 jobs", "1 job "]
    assert [text[:6] for text in will_recur(queue, jobs, 2048, 0)] == ["1 job ", "1 job "]
    assert will_recur(queue, jobs, 8192, 20) == []
    assert will_recur(queue, [2], 0, 0) == []


def test_an_input_that_is_still_missing_is_warned_of(tmp_path: Path) -> None:
    path = tmp_path / "a b.npy"
    said = (
        f"Transfer input files failure at access point ap: reading from file {path}: (errno 2) No"
    )
    queue = Queue(7, {0: QueuedJob(0, "held", 13, 2, said), 1: QueuedJob(1, "held", 13, 256, said)})
    (told,) = will_recur(queue, [0, 1], 0, 0)
    assert told.startswith("1 job will probably be held again. A file that the job needs is not")
    assert f"any more: {path}. Put it back" in told
    path.touch()
    assert will_recur(queue, [0, 1], 0, 0) == []
