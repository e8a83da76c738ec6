"""Counting the jobs that the pool's free slots would hold, as --fit-pool does."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from socket import create_server

import pytest
from conftest import Pool

from osgbatch.condor.slots import matching_slots
from osgbatch.errors import CondorError

pytestmark = [pytest.mark.pool, pytest.mark.once]  # of the collector, whatever runs the jobs

CPUS, MEMORY_MB = 64, 65536
SLEEPER = """\
executable = /bin/sleep
arguments = 600
transfer_executable = false
should_transfer_files = YES
log = events.log
request_cpus = 16
request_memory = 1024 MB
request_disk = 10 MB
queue
"""


@pytest.fixture
def free_pool(pool: Pool) -> Iterator[Pool]:
    """The pool with nothing running."""
    if pool.queue_ads():
        pool.clear()
    # The schedd may keep a claim for more jobs of the same kind; there are none.
    pool.run("condor_vacate", "-all", "-fast")
    pool.wait_for(
        lambda: matching_slots(CPUS, 128, 1024, 0) == 1,
        120,
        lambda: "the whole slot to be free:\n" + pool.run("condor_status", "-long"),
    )
    yield pool
    if pool.queue_ads():
        pool.clear()


def test_it_agrees_with_the_pools_configuration(free_pool: Pool) -> None:
    assert matching_slots(1, 128, 1024, 0) == CPUS
    assert matching_slots(7, 128, 1024, 0) == CPUS // 7
    assert matching_slots(1, 10_000, 1024, 0) == MEMORY_MB // 10_112  # rounded up to 128 MB
    assert matching_slots(1, 100, 1024, 0) == CPUS
    assert matching_slots(CPUS + 1, 128, 1024, 0) == 0
    disk_kb = int(free_pool.run("condor_status", "-af", "Disk").split()[0])
    assert matching_slots(1, 128, disk_kb // 2 - 4096, 0) == 2
    assert matching_slots(1, 128, disk_kb * 2, 0) == 0
    assert matching_slots(1, 128, 1024, 1) == 0


def test_requirements_are_those_of_a_submit_file(free_pool: Pool) -> None:
    del free_pool
    assert matching_slots(1, 128, 1024, 0, "") == CPUS
    assert matching_slots(1, 128, 1024, 0, 'TARGET.OpSys == "LINUX" && TotalCpus > 1') == CPUS
    assert matching_slots(1, 128, 1024, 0, 'OpSys == "WINDOWS"') == 0
    assert matching_slots(1, 128, 1024, 0, "TARGET.NoSuchAttribute > 3") == 0


def test_it_falls_while_a_job_runs_and_rises_again(free_pool: Pool, tmp_path: Path) -> None:
    cluster = free_pool.submit(SLEEPER, tmp_path)
    free_pool.event(1, tmp_path / "events.log", cluster, 0)
    free_pool.wait_for(
        lambda: matching_slots(1, 128, 1024, 0) == CPUS - 16, 60, "16 cores to be taken"
    )
    assert matching_slots(16, 128, 1024, 0) == 3
    free_pool.run("condor_rm", str(cluster))
    free_pool.wait_for(lambda: matching_slots(1, 128, 1024, 0) == CPUS, 60, "all cores to be free")


def test_jobs_counted_as_fitting_do_run_side_by_side(free_pool: Pool, tmp_path: Path) -> None:
    count = matching_slots(5, 5000, 1024, 0)
    assert count == 12
    text = SLEEPER.replace("= 16", "= 5").replace("1024 MB", "5000 MB")
    cluster = free_pool.submit(text.replace("queue", f"queue {count + 1}"), tmp_path)

    def running() -> int:
        ads = free_pool.queue_ads(f"ClusterId == {cluster}")
        return sum(ad["JobStatus"] == 2 for ad in ads)

    free_pool.wait_for(lambda: running() == count, 90, f"{count} jobs to run")
    free_pool.wait_for(lambda: matching_slots(5, 5000, 1024, 0) == 0, 60, "no room for another")
    assert running() == count


def test_a_wrong_expression_is_an_error_in_plain_words(free_pool: Pool) -> None:
    del free_pool
    with pytest.raises(CondorError, match="free slots"):
        matching_slots(1, 128, 1024, 0, "Foo ==")


def test_a_silent_collector_is_an_error_after_the_limit(free_pool: Pool) -> None:
    """In a process of its own: the bindings read the collector's address only once."""
    del free_pool
    code = (
        "from osgbatch.condor import slots\n"
        "from osgbatch.errors import CondorError\n"
        "slots.ANSWER_LIMIT_S = 2\n"
        "try: slots.matching_slots(1, 128, 1024, 0)\n"
        "except CondorError as error: print(error)\n"
    )
    with create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "_CONDOR_COLLECTOR_HOST": address},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    assert "the collector did not tell the pool's free slots" in done.stdout
    assert "without --fit-pool" in done.stdout
    assert 1.5 < time.monotonic() - began < 30
