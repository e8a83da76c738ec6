"""`osgbatch doctor` in a real pool with a real stash: what it finds, and that it leaves nothing."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import stashes
from conftest import Pool
from sweeps import osgbatch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "faults"))

from clock import Clock, why_no_clock
from daemons_of import Daemons

from osgbatch.batches import registry
from osgbatch.examining.check import FAILURE, HTCONDOR, SKIPPED, exit_code
from osgbatch.examining.doctor import checks, examine, look_around

pytestmark = [pytest.mark.pool, pytest.mark.once]  # of access points; the canary is any job

HELD = "executable = /bin/true\nhold = true\nrequest_memory = 1 MB\nrequest_disk = 1 MB\nqueue 2\n"
ASKED = """\
profile: ./pool.yaml
stash: {folder: %s, url: '%s'}
"""


@pytest.fixture
def settings(stash: stashes.Stash, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder of settings: a pool that wants projects, and a stash of the OSDF."""
    part = stash.posix / "doctor"
    part.mkdir(exist_ok=True)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("OSGBATCH_PROFILE")
    folder = tmp_path / "config" / "osgbatch"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(ASKED % (part, f"{stash.osdf_url}/doctor"))
    (folder / "pool.yaml").write_text(f"title: Ours\nprojects: {tmp_path}/projects\n")
    return folder


def doctor(folder: Path, *words: str, code: int) -> dict[str, dict[str, Any]]:
    """`osgbatch doctor --json`: each check by its name."""
    folder.mkdir(exist_ok=True)
    done = osgbatch("doctor", "--json", *words, cwd=folder, check=code)
    return {one["name"]: one for one in json.loads(done.stdout)["checks"]}


def objects(stash: stashes.Stash) -> list[Path]:
    return list((stash.posix / "doctor").rglob("*"))


def test_all_is_well_and_one_real_job_tells_so(
    pool: Pool, stash: stashes.Stash, settings: Path, tmp_path: Path
) -> None:
    user = pool.run("id", "-un").strip()
    (tmp_path / "projects").write_text(f"* {user} TheProject\n")
    cluster = pool.submit(HELD, tmp_path)
    found = doctor(tmp_path / "here", "--canary", code=0)
    states = {name: one["state"] for name, one in found.items()}
    assert not [name for name, state in states.items() if state == FAILURE]
    assert found["version"]["data"]["htcondor"] in pool.run("condor_version")
    assert found["project"]["what"] == "TheProject"
    assert found["slots"]["data"]["fitting"] > 0
    assert found["schedd clock"]["state"] == "ok"
    queue = found["queue"]
    assert (queue["state"], queue["data"]["held"]) == ("warning", 2)
    assert "(2)" in queue["what"]
    # The small file came back as jobs get it, through the cache, and is gone.
    assert "by its URL, with osdf_plugin" in found["round trip"]["what"]
    fetched = [r for r in stash.requests("cache") if "/doctor/osgbatch/" in r.path]
    assert [r.status for r in fetched if r.method == "GET"] == [200]
    assert objects(stash) == []
    # The canary was a job of this pool, and all of it is gone.
    told = found["canary"]["data"]
    ad = pool.history_ad(told["cluster"], 0)
    assert (ad["OSGBatchID"], ad["JobStatus"], ad["ExitCode"]) == (told["batch"], 4, 0)
    assert list((tmp_path / "here").iterdir()) == []
    assert [one.folders for one in registry.entries() if one.id == told["batch"]] == [[]]
    left = {ad["ClusterId"] for ad in pool.queue_ads()}
    assert left == {cluster}
    pool.run("condor_rm", str(cluster))


def test_a_url_that_serves_nothing_is_found(
    pool: Pool, stash: stashes.Stash, settings: Path, tmp_path: Path
) -> None:
    text = (settings / "config.yaml").read_text()
    (settings / "config.yaml").write_text(text.replace("/doctor'", "/elsewhere'"))
    (tmp_path / "projects").write_text("* somebody Else\n")
    found = doctor(tmp_path / "here", code=4)
    assert found["round trip"]["state"] == FAILURE
    assert "404" in found["round trip"]["what"]
    assert found["project"]["state"] == "warning"
    assert objects(stash) == []


@contextmanager
def stopped(pool: Pool) -> Iterator[None]:
    """The schedd hangs: its process is stopped."""
    pids = Daemons(pool.folder).pids("condor_schedd")
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def test_a_schedd_that_hangs_does_not_hang_doctor(
    pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    wanted = ("commands", "bindings", "schedd", "queue", "slots")
    every = [replace(one, limit_s=min(one.limit_s, 3)) for one in checks() if one.name in wanted]
    with stopped(pool):
        found = {t.check.name: t for t in examine(look_around(tmp_path), lambda told: None, every)}
    assert found["schedd"].found.what == "no answer within 3 s"
    assert found["schedd"].seconds < 10
    assert found["queue"].found.state == SKIPPED
    assert found["slots"].found.state == "ok"  # the collector answers
    assert exit_code([*found.values()]) == 5
    assert {t.check.group for t in found.values()} == {HTCONDOR}


@pytest.mark.skipif(bool(why_no_clock()), reason=why_no_clock())
def test_a_clock_that_is_not_the_schedds_is_found(pool: Pool, tmp_path: Path) -> None:
    clock = Clock(tmp_path / "clock")
    clock.set(3600)
    code = "import pathlib; from osgbatch.examining import doctor, pool; "
    code += "print(pool.schedd_clock(doctor.look_around(pathlib.Path.cwd())).what)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, **clock.environment},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert re.fullmatch(
        r"the schedd's clock is (1 h|59 min) behind this machine's clock", done.stdout.strip()
    )


def test_a_lost_connection_takes_the_canary_away(
    pool: Pool, settings: Path, tmp_path: Path
) -> None:
    text = (settings / "config.yaml").read_text()
    (settings / "config.yaml").write_text(f"{text}requirements: {{expr: MY.NeverGoes}}\n")
    folder = tmp_path / "here"
    folder.mkdir()
    with subprocess.Popen(
        [sys.executable, "-m", "osgbatch", "doctor", "--canary", "--json"],
        cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    ) as running:  # fmt: skip
        assert running.stderr is not None
        guard = threading.Timer(120, running.kill)
        guard.start()
        said = ""
        for line in running.stderr:
            said += line
            if "canary: waiting" in line:
                running.send_signal(signal.SIGHUP)
        guard.cancel()
    assert running.returncode == 130, said
    found = re.search(r"batch (\w{12}) is submitted", said)
    assert found
    assert list(folder.iterdir()) == []
    assert pool.queue_ads(f'OSGBatchID == "{found[1]}"') == []
    late = doctor(folder, "--canary", "--wait", "1 s", code=1)["canary"]
    assert "has not ended within 1 s: waiting" in late["what"]
    assert list(folder.iterdir()) == []
    assert pool.queue_ads("OSGBatchID isnt undefined") == []
