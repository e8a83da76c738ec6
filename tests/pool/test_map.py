"""Calls from Python in a real pool: one cluster each, values and failures by their items."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import Pool

import osgbatch
from osgbatch.batches.folder import read_submitted
from osgbatch.batches.notes import cluster_of

pytestmark = [pytest.mark.pool, pytest.mark.once, pytest.mark.usefixtures("calls_can_run")]

KEYS: dict[str, Any] = {
    "pool": "condor",
    "quiet": True,
    "resources": {"memory": "60 MB", "disk": "100 MB"},
}


def ended(pool: Pool, batch: Any, proc: int) -> int | None:
    """The exit code of a job by its terminate event, which its history ad must agree with."""
    [round_] = batch._batch.rounds()
    cluster = cluster_of(round_)
    event = pool.terminate_event(round_.folder / "events.log", cluster, proc)
    ad = pool.history_ad(cluster, proc)
    assert ad["OSGBatchID"] == batch.id
    assert (ad["JobStatus"], ad["ExitCode"]) == (4, event.exit_code)
    return event.exit_code


def test_calls_run_in_the_pool(pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    offset = 100

    def work(x: int) -> tuple[int, str]:
        if x == 7:
            raise ValueError("seven")
        return x + offset, "it's"

    results = osgbatch.map(work, range(20), tasks_per_job=5, **KEYS)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) <= 20
    with osgbatch.Executor(name="powers", tasks_per_job=3, **KEYS) as executor:
        futures = [executor.submit(pow, 2, exponent) for exponent in (3, 4)]
        futures.append(executor.submit(int, "no number"))
    assert [future.result() for future in futures[:2]] == [8, 16]
    with pytest.raises(ValueError, match="no number"):
        futures[2].result()
    one = {outcome.index: outcome for outcome in results.as_completed(timeout=300)}
    assert [one[x].value for x in range(20) if x != 7] == [
        (x + offset, "it's") for x in range(20) if x != 7
    ]
    assert "item 7 (7) failed: ValueError: seven" in str(one[7].error)
    assert [ended(pool, results, proc) for proc in range(4)] == [0, 1, 0, 0]
    assert ended(pool, executor.batches[0], 0) == 1
    submitted = read_submitted(results._batch.rounds()[0])
    assert submitted is not None
    assert (submitted.backend, submitted.jobs) == ("condor", 4)
    code = (
        "import osgbatch\n"
        "found = osgbatch.load('work')\n"
        "print(found[3], found.status(), found.errors()[0].kind)"
    )
    top = Path(osgbatch.__file__).parents[1]
    told = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(top)!r})\n{code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout == ("(103, \"it's\") {'failed': 1, 'succeeded': 19} ValueError\n")
