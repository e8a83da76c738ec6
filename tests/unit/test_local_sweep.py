"""The local runner with the real shim: a sweep that osgbatch renders, run on this machine."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from test_local_harness import last, read_events, wait_for_end

from osgbatch import local, names
from osgbatch.batches.eventlog import LogReader
from osgbatch.model import Round
from osgbatch.submission import steps

SPEC = """\
command: sh work.sh {value} {file}
sweep:
  value: [one, "it's two"]
  file: {files: "data/*.txt"}
files: [work.sh]
outputs: [outputs/result]
tasks_per_job: 3
"""
WORK = """\
printf '%s:' "$1" > outputs/result
cat "$2" >> outputs/result
[ "$1" = one ] || exit 4
"""


def test_a_rendered_sweep_runs_as_on_htcondor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OSGBATCH_LOCAL_SLOTS", "2")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    folder = tmp_path / "a sweep"
    (folder / "data").mkdir(parents=True)
    for name in ("a", "b c"):
        (folder / "data" / f"{name}.txt").write_text(name)
    (folder / "sweep.yaml").write_text(SPEC)
    (folder / "work.sh").write_text(WORK)
    round_ = steps.render_sweep(folder / "sweep.yaml", None, print).rounds()[-1]
    submitted = local.submit(round_)
    wait_for_end(round_)
    events = read_events(round_)
    assert [last(events, proc)["ReturnValue"] for proc in range(2)] == [0, 4]
    reader = LogReader(round_.folder / names.EVENTS, submitted.cluster)
    reader.read()
    assert [(job.state, job.exit_code, job.starts) for job in reader.jobs.values()] == [
        ("completed", 0, 1),
        ("completed", 4, 1),
    ]
    archives = sorted(round_.folder.glob("returned/0/*.tar.gz"))
    results = {}
    for path in archives:
        with tarfile.open(path) as archive:
            for member in archive.getmembers():
                if member.name.endswith("data/outputs/result"):
                    stream = archive.extractfile(member)
                    assert stream is not None
                    results[member.name.removeprefix("./").split("/")[1]] = stream.read().decode()
    assert [path.name for path in archives] == ["1_0_0.tar.gz", "1_1_0.tar.gz"]
    assert results == {"0": "one:a", "1": "one:b c", "2": "it's two:a", "3": "it's two:b c"}


NEEDS = """\
script: |
  grep -h '^RequestMemory' ../../.job.ad > outputs/memory
  cat inputs/ref.txt related/{n}.txt > outputs/brought
sweep: {n: [1, 2]}
inputs: {"URL": ref.txt}
related: {"data/{n}.txt": "{n}.txt"}
resources: {memory: {expr: "100 MB * n"}, time: {expr: "1 min * n"}}
"""


def test_jobs_have_their_own_memory_and_fetch_their_urls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OSGBATCH_LOCAL_SLOTS", "2")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "ref-v1.txt").write_text("reference ")
    folder = tmp_path / "sweep"
    (folder / "data").mkdir(parents=True)
    for n in (1, 2):
        (folder / "data" / f"{n}.txt").write_text(f"of {n}")
    url = (tmp_path / "web" / "ref-v1.txt").as_uri()
    (folder / "sweep.yaml").write_text(NEEDS.replace("URL", url))
    round_ = steps.render_sweep(folder / "sweep.yaml", None, print).rounds()[-1]
    local.submit(round_)
    wait_for_end(round_)
    events = read_events(round_)
    assert [last(events, proc)["ReturnValue"] for proc in range(2)] == [0, 0]
    assert [last(events, proc)["RequestMemory"] for proc in range(2)] == [100, 200]
    assert outputs(round_, 0, "memory") == "RequestMemory = 100\n"
    assert outputs(round_, 1, "memory") == "RequestMemory = 200\n"
    assert [outputs(round_, n, "brought") for n in range(2)] == ["reference of 1", "reference of 2"]


def outputs(round_: Round, index: int, name: str) -> str:
    """The text of a file that task `index`, alone in its job, wrote into outputs/."""
    with tarfile.open(round_.folder / "returned" / "0" / f"1_{index}_0.tar.gz") as archive:
        for member in archive.getmembers():
            if member.name.endswith(f"tasks/{index}/data/outputs/{name}"):
                stream = archive.extractfile(member)
                assert stream is not None
                return stream.read().decode()
    raise AssertionError(f"no {name} of task {index}")


COUNT = """\
script: |
  n=0; [ ! -e n ] || n=$(cat n)
  echo "from $n"
  n=$((n + 1)); echo "$n" >n
  [ "$n" -ge 3 ] || exit 85
  echo done >outputs/result
outputs: [outputs/result]
checkpoint: n
"""


def test_a_program_that_saves_its_state_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "sweep.yaml").write_text(COUNT)
    round_ = steps.render_sweep(tmp_path / "sweep.yaml", None, print).rounds()[-1]
    local.submit(round_)
    wait_for_end(round_)
    events = read_events(round_)
    assert [event["number"] for event in events] == [0, 1, 5]  # HTCondor's log has one start, too
    assert last(events, 0)["ReturnValue"] == 0
    (path,) = round_.folder.glob("returned/0/*.tar.gz")
    with tarfile.open(path) as archive:
        stream = archive.extractfile("tasks/0/stdout")
        assert stream is not None
        assert stream.read() == b"from 0\nfrom 1\nfrom 2\n"
