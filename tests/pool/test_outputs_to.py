"""What tasks made goes to a URL, and comes home when it is asked for."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
import stashes
from conftest import Pool
from sweeps import Ran, ended_truly, osgbatch, run_sweep, write_sweep

pytestmark = pytest.mark.pool

JOB = """\
echo "said $1"
if [ "$1" = b ] && ! grep -q '^NumJobStarts = [1-9]' "$OSGBATCH_SCRATCH/.job.ad"; then exit 3; fi
printf '%01000d' 0 | tr 0 "$1" >outputs/result.txt
"""
"""Writes its letter a thousand times; with b only when its job is started again. In sh, for an
execution point like the OSPool's has no Python."""
SPEC = """\
name: away
command: sh job.sh {{x}}
sweep: {{x: [a, b]}}
files: [job.sh]
outputs: [outputs/result.txt]
outputs_to: {url}
retries: {{times: 1, on: any}}
gather: gather.py
resources: {{memory: 100 MB, disk: 100 MB}}
"""
GATHER = """\
import pathlib
found = sorted(pathlib.Path().glob("[0-9]*/outputs/result.txt"))
pathlib.Path("gathered").write_text("".join(p.read_text()[0] for p in found))
"""


def test_data_goes_to_a_url_under_a_name_for_each_start(pool: Pool, tmp_path: Path) -> None:
    away = tmp_path / "away"
    away.mkdir()
    text = SPEC.format(url=f"file://{away}")
    spec = write_sweep(tmp_path / "sweep", text, {"job.sh": JOB, "gather.py": GATHER})
    ran = run_sweep("condor", spec)
    cluster = ran.submitted["cluster"]
    for proc in (0, 1):
        ended_truly(ran, pool, proc)
    assert [ran.task(i)["state"] for i in (0, 1)] == ["succeeded"] * 2, ran.log.read_text()
    assert ran.task(1)["attempts"] == 2
    (folder,) = away.iterdir()
    assert sorted(path.name for path in folder.iterdir()) == [
        f"{cluster}_0_0.tar.gz", f"{cluster}_1_0.tar.gz", f"{cluster}_1_1.tar.gz"
    ]  # fmt: skip
    home = ran.folder / "rounds" / "001" / "returned" / "0" / f"{cluster}_1_1.tar.gz"
    with tarfile.open(home) as tar:
        assert not [name for name in tar.getnames() if "data/" in name]
    told = json.loads(ran.result(1, "status.json"))
    assert told["data_url"] == f"file://{folder}/{cluster}_1_1.tar.gz"
    assert ran.result(1, "stdout") == b"said b\n"
    assert not (ran.folder / "results" / "1" / "outputs").exists()

    said = osgbatch("collect", ran.folder, cwd=tmp_path)
    assert "the data of 2 tasks is at" in said.stderr
    assert not (ran.folder / "results" / "gathered").exists()
    osgbatch("collect", ran.folder, "--fetch", cwd=tmp_path)
    assert ran.result(0, "outputs/result.txt") == b"a" * 1000
    assert ran.result(1, "outputs/result.txt") == b"b" * 1000
    assert ran.result(0, "../gathered") == b"ab"
    assert "0 newly" in osgbatch("collect", ran.folder, cwd=tmp_path).stdout


def fetch(ran: Ran, expected: bytes) -> None:
    """Bring the data of the only task home; it is what the task made, and nothing is left over."""
    assert not (ran.folder / "results" / "0" / "outputs").exists()
    osgbatch("collect", ran.folder, "--fetch", cwd=ran.folder)
    assert ran.result(0, "outputs/result.txt") == expected
    assert not (ran.folder / "fetched").exists()


def one_task(folder: Path, away: str, stash: str) -> Path:
    text = SPEC.format(url=away).replace("[a, b]", "[c]").replace("gather", "# gather")
    return write_sweep(folder / "sweep", f"{text}stash: {stash}\n", {"job.sh": JOB})


def last_name(ad: dict[str, Any]) -> str:
    """The data's name of a job's last start: one that was started twice has two."""
    return f"{ad['ClusterId']}_{ad['ProcId']}_{ad['NumJobStarts'] - 1}.tar.gz"


def aws(stash: stashes.Stash, monkeypatch: pytest.MonkeyPatch) -> None:
    """What AWS's own tools would be told of the server, for this process and its children."""
    keys = stash.keys()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", keys.access)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", keys.secret)
    monkeypatch.setenv("AWS_CA_BUNDLE", stash.about["s3"]["ca_file"])


@pytest.mark.once  # of HTCondor's plugins, which run outside of the container
def test_data_goes_to_a_bucket(
    pool: Pool, stash: stashes.Stash, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws(stash, monkeypatch)
    about = stash.about["s3"]
    place = f"{{s3: s3://{stashes.BUCKET}/staged, endpoint: {about['endpoint']}}}"
    spec = one_task(tmp_path, f"s3://{stashes.BUCKET}/away/$USER", place)
    said = osgbatch("submit", "--pool", "condor", "--json", spec, cwd=tmp_path)
    submitted = json.loads(said.stdout)
    folder = Path(submitted["folder"])
    log, cluster = folder / "rounds" / "001" / "events.log", submitted["cluster"]
    last = pool.wait_for(
        lambda: next((e for e in pool.events(log) if e.number in (5, 12)), None), 60, "its end"
    )
    if last.number == 12:  # the fault of 25.14.1, of which was warned
        assert "illegal sandbox path" in last.body
        assert "holds each job whose output goes to s3://" in said.stderr
        osgbatch("cancel", folder, cwd=tmp_path)
        pool.event(9, log, cluster, 0)
    else:
        assert last.exit_code == 0
    osgbatch("collect", folder, cwd=tmp_path)
    status = json.loads(osgbatch("status", folder, "--json", cwd=tmp_path).stdout)
    ran = Ran("condor", submitted, status, folder)
    name = last_name(pool.history_ad(submitted["cluster"], 0))
    url = json.loads(ran.result(0, "status.json"))["data_url"]
    assert url.startswith(f"{stash.bucket_url}/away/")
    assert stash.wait(lambda: stash.count("s3", "PUT", name, 200) == 1)
    for path in ran.folder.rglob("*"):
        if path.is_file():
            assert stash.keys().secret.encode() not in path.read_bytes(), path
    fetch(ran, b"c" * 1000)
    assert stash.wait(lambda: stash.count("s3", "GET", name) == 1)


@pytest.mark.once  # of HTCondor's plugins, which run outside of the container
def test_data_goes_to_the_osdf(pool: Pool, stash: stashes.Stash, tmp_path: Path) -> None:
    place = f'{{folder: {stash.posix}, url: "{stash.osdf_url}"}}'
    ran = run_sweep("condor", one_task(tmp_path, f"{stash.osdf_url}/away", place))
    ended_truly(ran, pool, 0)
    assert ran.task(0)["state"] == "succeeded", ran.log.read_text()
    name = last_name(pool.history_ad(ran.submitted["cluster"], 0))
    assert stash.wait(lambda: stash.count("origin", "PUT", name) == 1)
    assert list((stash.posix / "away").glob(f"*{ran.submitted['id']}/{name}"))
    fetch(ran, b"c" * 1000)


def test_a_job_whose_data_cannot_be_brought_has_not_succeeded(
    pool: Pool, stash: stashes.Stash, tmp_path: Path
) -> None:
    spec = one_task(tmp_path, "osdf:///elsewhere/away", "none")
    said = osgbatch("submit", "--pool", "condor", "--json", spec, cwd=tmp_path)
    submitted = json.loads(said.stdout)
    log = Path(submitted["folder"], "rounds", "001", "events.log")
    held = pool.event(12, log, submitted["cluster"], 0)
    assert "no namespace of the OSDF holds" in held.body
    told = osgbatch("status", submitted["folder"], "--json", cwd=tmp_path, check=None).stdout
    (task,) = json.loads(told)["tasks"]
    assert task["state"] == "held"
    osgbatch("cancel", submitted["folder"], cwd=tmp_path)
