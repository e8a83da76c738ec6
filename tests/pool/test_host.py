"""`--host` on a real pool: submitted from a laptop, run by HTCondor, brought to the laptop."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from conftest import Pool, events, wait_for
from laptops import Laptop, install, sshd

pytestmark = [pytest.mark.pool, pytest.mark.once]

SWEEP = """\
command: cp {f} outputs/
sweep:
  f: {files: data/*.txt}
outputs: [outputs/*.txt]
"""


def test_jobs_of_a_laptop_run_in_the_pool(pool: Pool, tmp_path: Path) -> None:
    work = tmp_path / "laptop" / "my work"
    (work / "data").mkdir(parents=True)
    for name in ("a", "b"):
        (work / "data" / f"{name}.txt").write_text(name)
    (work / "sweep.yaml").write_text(SWEEP)
    taken = ("PATH", "LD_LIBRARY_PATH", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "OSGBATCH_PROFILE")
    of_pool = {key: value for key, value in os.environ.items() if "CONDOR" in key or key in taken}
    with sshd.running() as host:
        install(host, of_pool)
        laptop = Laptop(host, tmp_path)
        out, _ = laptop.run("--host", "ap40", "submit", "sweep.yaml", cwd=work)
        assert "2 tasks in 2 jobs" in out
        (there,) = (laptop.there(work) / "batches").iterdir()
        log = there / "rounds/001/events.log"

        def ended() -> bool:
            return sum(one.number == 5 for one in events(log)) == 2

        wait_for(ended, 120, "both jobs to end")
        # what HTCondor says of the jobs
        assert [one.exit_code for one in events(log) if one.number == 5] == [0, 0]
        out, err = laptop.run("--host", "ap40", "collect", cwd=work)
        assert "2 succeeded" in out and "from ap40" in err
        results = work / "batches" / there.name / "results"
        assert (results / "0/outputs/a.txt").read_text() == "a"
        assert (results / "1/outputs/b.txt").read_text() == "b"
