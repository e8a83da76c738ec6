"""Results are collected as jobs end, where the spec wants them; what is dropped stays known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import Pool
from sweeps import Ran, ended_truly, osgbatch, write_sweep

pytestmark = [pytest.mark.pool, pytest.mark.once]

JOB = """\
echo "said $1"
cat "$2" >outputs/copy
echo beside >"$2.log"
echo changed >>list.txt
echo x >outputs/left.tmp
[ "$1" != bad ] || exit 3
"""
SPEC = """\
name: places
command: sh job.sh {x} {f}
sweep: {x: [good, bad], f: {files: "data/*/*.txt"}}
files: [job.sh, list.txt]
outputs:
  include: [{path: outputs/copy, to: "by/{x}/{f}.txt"}, list.txt, inputs]
  exclude: "*.tmp"
  changed_only: true
retries: 0
resources: {memory: 100 MB, disk: 100 MB}
"""


def test_what_is_collected_while_jobs_end_is_known_when_archives_are_gone(
    pool: Pool, tmp_path: Path
) -> None:
    data = {"data/s1/a.txt": "one", "data/s2/a.txt": "two"}
    sweep = tmp_path / "sweep"
    spec = write_sweep(sweep, SPEC, {"job.sh": JOB, "list.txt": "given\n", **data})
    said = json.loads(osgbatch("submit", "--json", spec, cwd=sweep).stdout)
    batch = Path(said["folder"])
    done = osgbatch("collect", batch, "--watch", cwd=sweep, check=1)
    assert "4 tasks: 2 succeeded, 2 failed; 4 newly unpacked" in done.stdout
    assert f"next: osgbatch resubmit {said['id'][:6]}" in done.stdout
    ran = Ran("condor", said, told(batch), batch)
    for proc in range(4):
        ended_truly(ran, pool, proc)
    results = batch / "results"
    for index, content in ((0, "one"), (1, "two")):
        place = results / f"by/good/s{index + 1}/a.txt"
        assert place.read_text() == content
        assert place.samefile(results / str(index) / "outputs/copy")
        assert names(results / str(index)) == {
            "outputs/copy", "list.txt", f"inputs/data/s{index + 1}/a.txt.log",
            "stdout", "stderr", "status.json",
        }  # fmt: skip
    assert not (results / "by/bad").exists()
    assert "list.txt" in names(results / "failed/2")

    dropped = osgbatch("collect", batch, "--drop-archives", cwd=sweep, check=1)
    assert "dropped 4 archives" in dropped.stderr
    assert not list((batch / "rounds").rglob("*.tar.gz"))
    before = told(batch)
    (batch / "state.db").unlink()
    assert told(batch)["tasks"] == before["tasks"] == ran.status["tasks"]
    assert "said bad" in osgbatch("logs", batch, "--task", "3", cwd=sweep).stdout

    (sweep / "job.sh").write_text(JOB.replace("exit 3", "true"))
    osgbatch("resubmit", batch, "--failed", cwd=sweep)
    osgbatch("collect", batch, "--watch", cwd=sweep)
    assert (results / "by/bad/s2/a.txt").samefile(results / "3/outputs/copy")
    assert not (results / "failed/3").exists()


def told(batch: Path) -> dict[str, object]:
    """What status says."""
    said = osgbatch("status", batch, "--json", cwd=batch, check=None).stdout
    found: dict[str, object] = json.loads(said)
    return found


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
