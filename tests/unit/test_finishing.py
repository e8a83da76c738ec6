"""From a returned archive to states, results and gather, on a batch folder as it stands on disk."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from osgbatch.batches.folder import Batch
from osgbatch.life.following import Follower, status
from osgbatch.results.finishing import collect_batch
from osgbatch.submission import steps

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
    made = steps.render_sweep(tmp_path / "sweep.yaml", None, lambda text: None)
    round_ = made.rounds()[0]
    noted = {"backend": "condor", "cluster": 7, "jobs": 2, "time": 1.0}
    (round_.folder / "submitted.json").write_text(json.dumps(noted))
    log = ""
    for proc in range(2):
        head = f"(007.{proc:03d}.000) 2026-11-20 10:00:0{proc}"
        log += f"000 {head} Job submitted from host: <x>\n...\n"
        log += f"001 {head} Job executing on host: <x>\n...\n"
        log += f"005 {head} Job terminated.\n\t(1) Normal termination (return value 0)\n...\n"
    (round_.folder / "events.log").write_text(log)
    return made


def bring(
    batch: Batch,
    proc: int,
    *,
    state: str = "succeeded",
    lies: Mapping[str, str] | None = None,
    name: str = "",
) -> None:
    """Deliver the archive of a job, as its shim would have made it.

    lies: what its record says otherwise; name: of its only output.
    """
    content = b"result\n"
    name = name or f"outputs/{'ab'[proc]}.txt"
    record = {"shim": "1", "batch": batch.id, "round": "1", "cluster": "7", "proc": str(proc)}
    record |= {"tasks": str(proc), "state": "finished", "reason": "ok", **(lies or {})}
    task = {"index": str(proc), "state": state, "exit_code": "0" if state == "succeeded" else "3"}
    task |= {"reason": "ok" if state == "succeeded" else "exit", "outputs": "1"}
    members = {
        "job": "".join(f"{k}={v}\n" for k, v in record.items()).encode(),
        f"tasks/{proc}/status": "".join(f"{k}={v}\n" for k, v in task.items()).encode(),
        f"tasks/{proc}/stdout": b"",
        f"tasks/{proc}/stderr": b"",
        f"tasks/{proc}/sha256": f"{hashlib.sha256(content).hexdigest()}  {name}\n".encode(),
        f"tasks/{proc}/data/{name}": content,
    }
    folder = batch.rounds()[0].folder / "returned/0"
    folder.mkdir(exist_ok=True)
    with tarfile.open(folder / f"7_{proc}_0.tar.gz", "w:gz") as tar:
        for member, data in members.items():
            info = tarfile.TarInfo(member)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


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
