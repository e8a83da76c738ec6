"""`osgbatch pool`: a real pool of the user's own, beside the one that the other tests use."""

from __future__ import annotations

import json
import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import Pool, wait_for
from sweeps import osgbatch, write_sweep

from osgbatch import personal_pool
from osgbatch.condor.personal import leftovers

pytestmark = [pytest.mark.pool, pytest.mark.once]

SWEEP = """\
command: sh -c 'echo {x}; sleep {x}'
sweep: {x: [0, 60]}
resources: {memory: 64 MB, disk: 64 MB, time: 5 min}
"""


LONG = SWEEP.replace("[0, 60]", "[300, 301]")


NEVER = f"{LONG}requirements: TARGET.Cpus < 0\n"


@contextmanager
def personal() -> Iterator[dict[str, str]]:
    """What hides the other pool, and gives this one a folder; it is down afterwards."""
    with tempfile.TemporaryDirectory(prefix="osgb-own-") as name:
        env = {"CONDOR_CONFIG": "", "OSGBATCH_PROFILE": "", "XDG_STATE_HOME": name}
        try:
            yield env
        finally:
            osgbatch("pool", "down", cwd=Path(name), env=env, check=None)


@pytest.fixture
def own(pool: Pool) -> Iterator[dict[str, str]]:
    with personal() as env:
        yield env


def submitted(batch: dict[str, Any]) -> list[Path]:
    """What is noted of its rounds."""
    return sorted(Path(batch["folder"]).glob("rounds/*/submitted.json"))


def test_a_pool_of_the_users_own(
    own: dict[str, str], pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def said(*words: str, check: int | None = 0) -> Any:
        return json.loads(osgbatch(*words, "--json", cwd=tmp_path, env=own, check=check).stdout)

    write_sweep(tmp_path / "theirs", LONG, {})
    theirs = json.loads(
        osgbatch("submit", "theirs/sweep.yaml", "--no-watch", "--json", cwd=tmp_path).stdout
    )
    pool.run("condor_hold", str(theirs["cluster"]))
    started = said("pool", "up")
    assert (started["state"], started["started"]) == ("up", True)
    assert started["slots"]["cpus"] == started["slots"]["free_cpus"] >= 1
    again = said("pool", "up")
    assert (again["pid"], again["started"]) == (started["pid"], False)

    # What another HTCondor has is not looked for here, nor given to this one; its log is read.
    before = [json.loads(p.read_text()) for p in submitted(theirs)]
    assert said("status", theirs["folder"], check=None)["counts"] == {"held": 2}
    for act in ("cancel --yes", "cancel --held --yes", "resubmit --held", "release"):
        words = [*act.split(), theirs["folder"]]
        done = osgbatch(*words, cwd=tmp_path, env=own, check=5)
        assert f'with the schedd "{before[0]["schedd"]}"' in done.stderr, act
        assert "@personal.pool" in done.stderr
    assert [json.loads(p.read_text()) for p in submitted(theirs)] == before
    # A submission that was cut short there before its log had a word is not made again here.
    note, log = submitted(theirs)[0], Path(theirs["folder"]) / "rounds/001/events.log"
    cut = json.dumps({**before[0], "cluster": 0})
    log.rename(log.with_suffix(".aside"))
    note.write_text(cut)
    done = osgbatch("submit", "theirs/sweep.yaml", "--no-watch", cwd=tmp_path, env=own, check=5)
    assert "@personal.pool" in done.stderr
    assert note.read_text() == cut
    log.with_suffix(".aside").rename(log)
    # The same schedd by another name, as after its machine was renamed, is known by its jobs.
    note.write_text(json.dumps({**before[0], "schedd": "ap@before.example.edu"}))
    assert said("pool", "status")["jobs"]["jobs"] == 0
    queued = f"ClusterId == {theirs['cluster']}"
    assert [ad["JobStatus"] for ad in pool.queue_ads(queued)] == [5, 5]
    osgbatch("cancel", "--yes", theirs["folder"], cwd=tmp_path)
    assert [ad for ad in pool.queue_ads(queued) if ad["JobStatus"] != 3] == []

    # Found by itself; HTCondor's commands find it as `up` has told.
    write_sweep(tmp_path / "s", SWEEP, {})
    batch = said("submit", "s/sweep.yaml", "--no-watch")
    assert batch["backend"] == "condor"
    assert "unset CONDOR_CONFIG" in osgbatch("cancel", "--yes", batch["folder"], cwd=tmp_path,
                                             check=5).stderr  # fmt: skip
    monkeypatch.setenv("CONDOR_CONFIG", started["condor_config"])
    monkeypatch.setenv("XDG_STATE_HOME", own["XDG_STATE_HOME"])
    folder = Path(started["folder"])
    mine = Pool(folder)
    log = Path(batch["folder"]) / "rounds" / "001" / "events.log"
    assert mine.terminate_event(log, batch["cluster"], 0).exit_code == 0
    ad = mine.history_ad(batch["cluster"], 0)
    assert (ad["ExitCode"], ad["OSGBatchID"]) == (0, batch["id"])
    assert ad["User"].endswith("@personal.pool")
    mine.event(1, log, batch["cluster"], 1)
    assert said("pool", "status")["jobs"] == {"jobs": 1, "idle": 0, "running": 1, "held": 0}

    # The running job is told to end, is evicted, and waits; nothing is left running.
    assert said("pool", "down") == {"stopped": True, "jobs_kept": 1}
    assert [e.number for e in mine.events(log) if e.proc == 1][-1] == 4
    assert list(leftovers(folder)) == []
    assert said("pool", "status", check=5)["state"] == "down"
    lost = osgbatch("cancel", batch["id"], cwd=tmp_path, env=own, check=5)
    assert "your personal pool is down\n  `osgbatch pool up`" in lost.stderr

    # It goes up with its queue; and of one whose master was killed nothing is left, either.
    crashed = said("pool", "up")
    assert (crashed["started"], crashed["jobs"]["jobs"]) == (True, 1)
    os.kill(crashed["pid"], signal.SIGKILL)
    wait_for(lambda: personal_pool.master() is None, 10, "the end of the master")
    assert said("pool", "down") == {"stopped": False, "jobs_kept": None}
    assert list(leftovers(folder)) == []


def test_two_pools_of_one_user_are_told_apart(own: dict[str, str], tmp_path: Path) -> None:
    def said(*words: str, env: dict[str, str] = own) -> Any:
        return json.loads(osgbatch(*words, "--json", cwd=tmp_path, env=env).stdout)

    folder = Path(said("pool", "up")["folder"])
    write_sweep(tmp_path / "s", NEVER, {})
    batch = said("submit", "s/sweep.yaml", "--no-watch")
    note, log = submitted(batch)[0], Path(batch["folder"]) / "rounds/001/events.log"
    before = json.loads(note.read_text())
    assert before["schedd"].endswith(f"-{(folder / 'id').read_text().strip()}@personal.pool")
    with personal() as another:
        assert said("pool", "up", env=another)["started"]
        refused = osgbatch("cancel", "--yes", batch["folder"], cwd=tmp_path, env=another, check=5)
        assert f'with the schedd "{before["schedd"]}"' in refused.stderr
        assert "Let XDG_STATE_HOME be" in refused.stderr
        assert json.loads(note.read_text()) == before
        # A submission that was cut short before its log had a word is not made again there.
        log.rename(log.with_suffix(".aside"))
        note.write_text(json.dumps({**before, "cluster": 0}))
        osgbatch("submit", "s/sweep.yaml", "--no-watch", cwd=tmp_path, env=another, check=5)
        assert json.loads(note.read_text()) == {**before, "cluster": 0}
        assert said("pool", "status", env=another)["jobs"]["jobs"] == 0
    log.with_suffix(".aside").rename(log)
    note.write_text(json.dumps(before))
    assert said("pool", "status")["jobs"]["idle"] == 2

    # The name is kept; and by whatever name, as of the earliest pools, it is known by its jobs.
    for id_ in ((folder / "id").read_text(), ""):
        if not id_:
            (folder / "id").unlink()
        said("pool", "down")
        said("pool", "up")
        ad = (folder / "spool" / ".schedd_classad").read_text()
        assert (f'\nName = "{before["schedd"]}"\n' in ad) == bool(id_)
        assert not (folder / "id").exists() or id_
    osgbatch("cancel", "--yes", batch["folder"], cwd=tmp_path, env=own)
    wait_for(lambda: said("pool", "status")["jobs"]["jobs"] == 0, 30, "an empty queue")
