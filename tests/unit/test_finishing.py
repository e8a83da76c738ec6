"""From a returned archive to states, results and gather, on a batch folder as it stands on disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from returned_archives import returned, two_jobs

from osgbatch.batches.folder import Batch
from osgbatch.life.following import Follower, status
from osgbatch.results.finishing import collect_batch

SPEC = """\
command: sh job.sh {x}
sweep: {x: [a, b]}
files: [job.sh]
outputs: ['outputs/{x}.txt']
gather: gather.py
"""
GATHER = "print('gathered')\nopen('gathered', 'a').write('once\\n')\n"


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    """A batch of two jobs that HTCondor has run, as its log tells; nothing has come back yet."""
    (tmp_path / "job.sh").write_text("true\n")
    (tmp_path / "gather.py").write_text(GATHER)
    (tmp_path / "sweep.yaml").write_text(SPEC)
    return two_jobs(tmp_path / "sweep.yaml")


def bring(
    batch: Batch,
    proc: int,
    *,
    state: str = "succeeded",
    lies: Mapping[str, str] | None = None,
    name: str = "",
) -> None:
    """Deliver the archive of a job. lies: what its record says otherwise; name: of its output."""
    returned(batch, proc, name or f"outputs/{'ab'[proc]}.txt", state, job=lies)


def states(batch: Batch) -> list[str]:
    return [state.state for state in status(batch, all_tasks=True).states]


def test_what_came_back_is_collected_and_gathered(
    batch: Batch, capfd: pytest.CaptureFixture[str]
) -> None:
    bring(batch, 0)
    bring(batch, 1)
    now, collected, failure = collect_batch(batch, lambda text: None, quiet=True)
    assert [s.state for s in now.states] == ["succeeded"] * 2
    assert (collected.unpacked, failure) == (2, None)
    assert (batch.folder / "results/1/outputs/b.txt").read_text() == "result\n"
    assert (batch.folder / "results/gathered").read_text() == "once\n"
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "gathered\n")


def test_the_other_table_is_told_of(batch: Batch) -> None:
    pytest.importorskip("pyarrow")
    bring(batch, 0)
    said: list[str] = []
    collect_batch(batch, said.append, parquet=True, gather=False)
    (told,) = said
    assert told.startswith("wrote ") and "results/results.parquet: 2 rows, 2" in told
    collect_batch(batch, said.append, gather=False)  # written anew, and told once
    assert len(said) == 1


def test_gather_is_left_out_when_a_task_failed(batch: Batch) -> None:
    bring(batch, 0)
    bring(batch, 1, state="failed")
    said: list[str] = []
    now, _, failure = collect_batch(batch, said.append)
    assert now.counts == {"succeeded": 1, "failed": 1}
    assert failure is None
    told = "gather: left out, since some task did not succeed; --partial gathers the others"
    assert said == [told]
    assert not (batch.folder / "results/gathered").exists()


def test_a_gather_script_that_fails_leaves_the_results(batch: Batch) -> None:
    (batch.folder.parents[1] / "gather.py").write_text("raise SystemExit(4)\n")
    bring(batch, 0)
    bring(batch, 1)
    _, _, failure = collect_batch(batch, lambda text: None)
    assert "exited with 4" in str(failure)
    assert (batch.folder / "results/results.csv").exists()


@pytest.mark.parametrize(
    "lie", [{"batch": "0" * 12}, {"round": "2"}, {"cluster": "8"}, {"proc": "1"}]
)
def test_an_archive_of_another_job_is_no_success(batch: Batch, lie: dict[str, str]) -> None:
    bring(batch, 0, lies=lie)
    assert states(batch)[0] == "unknown"


@pytest.mark.parametrize("name", ["8_0_0.tar.gz", "7_1_0.tar.gz"])
def test_an_archive_under_another_name_is_no_success(batch: Batch, name: str) -> None:
    bring(batch, 0)
    path = batch.rounds()[0].folder / "returned/0/7_0_0.tar.gz"
    path.rename(path.with_name(name))
    assert states(batch) == ["unknown", "unknown"]


def test_a_required_output_that_did_not_come_is_no_success(batch: Batch) -> None:
    bring(batch, 0, name="outputs/b.txt")
    bring(batch, 1)
    assert states(batch) == ["unknown", "succeeded"]


def test_a_later_look_sees_what_has_come_since(batch: Batch) -> None:
    follower = Follower(batch)
    assert follower.status().counts == {"unknown": 2}
    bring(batch, 1)
    assert [s.state for s in follower.status(all_tasks=True).states] == ["unknown", "succeeded"]
