"""The crate of a batch that HTCondor has run, by its history; and the same once more from it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import Pool
from sweeps import osgbatch, run_sweep, write_sweep

pytestmark = [pytest.mark.pool, pytest.mark.once]  # of files here, whatever runs the jobs

SPEC = """\
command: sh job.sh {x}
sweep: {x: {files: "data/*.txt"}}
files: [job.sh]
resources: {memory: 100 MB, disk: 50 MB}
"""
JOB = 'cat "$1" >outputs/copy; [ "$1" != inputs/data/b.txt ] || exit 3\n'


def test_a_batch_is_told_verified_and_run_again(tmp_path: Path, pool: Pool) -> None:
    files = {"job.sh": JOB, "data/a.txt": "a\n", "data/b.txt": "b\n"}
    spec = write_sweep(tmp_path / "first", SPEC, files)
    ran = run_sweep("condor", spec)
    crate = ran.folder / "provenance"
    cluster = int(ran.submitted["cluster"])
    told = {
        one["@id"]: one
        for one in json.loads((crate / "ro-crate-metadata.json").read_text())["@graph"]
    }
    assert f"cluster {cluster}" in told[f"#batch-{ran.submitted['id']}"]["description"]
    assert told["#HTCondor"]["softwareVersion"] in pool.history_ad(cluster, 0)["CondorVersion"]
    assert told[f"#batch-{ran.submitted['id']}"]["error"].endswith(": 1 failed")
    osgbatch("verify", ran.folder, cwd=tmp_path)

    (spec.parent / "job.sh").write_text("changed since\n")
    arguments = ("submit", "--from", crate, "--into", "again", "--pool", "condor", "--json")
    again = json.loads(osgbatch(*arguments, cwd=tmp_path).stdout)
    osgbatch("watch", again["folder"], cwd=tmp_path, check=None)
    osgbatch("collect", again["folder"], cwd=tmp_path, check=1)
    ad = pool.history_ad(again["cluster"], 1)
    assert (ad["OSGBatchID"], ad["ExitCode"]) == (again["id"], 3)
    results = Path(again["folder"]) / "results"
    assert (results / "0/outputs/copy").read_bytes() == ran.result(0, "outputs/copy") == b"a\n"
    (results / "0/outputs/copy").write_text("A\n")
    done = osgbatch("verify", again["folder"], cwd=tmp_path, check=1)
    assert "1 file changed:\n  0/outputs/copy\n" in done.stdout
