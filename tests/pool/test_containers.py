"""Jobs in containers, and jobs on an execution point like the OSPool's, with a real Apptainer."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import stashes
from conftest import Pool
from sweeps import BACKENDS, Ran, ended_truly, osgbatch, run_sweep, write_sweep
from test_find_peaks import ROOT

sys.path.insert(0, str(ROOT / "tools"))

import apptainer

pytestmark = pytest.mark.pool

FOLDERS = """\
environment: image.sif
command:
  - sh
  - -c
  - |
    echo "task {index}"; echo "code {code}" >&2
    cat /inputs/data/*; cat inputs/data/* >>/outputs/both
    cat /related/* >>outputs/both; cp params.json "/outputs/of {index}"
    [ ! -L outputs ] && (cd outputs && mv both x && cp ../params.json y && mv /outputs/x both &&
      rm y && [ . -ef /outputs ]) || exit 9
    ls -A /outputs /inputs/data; command -v bash python3
    exit {code}
sweep:
  data: {files: data/*.txt}
  code: [0, 3]
related: [about.txt]
resources: {memory: 200 MB, disk: 200 MB}
outputs: [outputs/both, "outputs/of {index}"]
"""
FILES = {"data/1.txt": "one\n", "data/2.txt": "two\n", "about.txt": "about\n"}


KILL_SHIM = """\
pid=$$ found=
while [ "${pid:-0}" -gt 0 ]; do
    if tr '\\0' ' ' <"/proc/$pid/cmdline" | grep -q 'condor_exec\\|shim.sh'; then found=$pid; fi
    read -r stat <"/proc/$pid/stat"
    set -- ${stat##*) }
    pid=$2
done
kill -KILL "$found"
sleep 60
"""
"""Kills the oldest of the processes above it that runs the shim."""


@pytest.fixture(scope="module")
def busybox() -> Path:
    """An image with nothing but busybox."""
    return apptainer.image("busybox")


@pytest.fixture
def with_apptainer(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is started finds the program apptainer."""
    folder = apptainer.provide().parent
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def sweep_in(folder: Path, image: Path, spec: str) -> Path:
    """Write a sweep with its files and its image; returns the spec."""
    path = write_sweep(folder, spec, FILES)
    shutil.copyfile(image, folder / "image.sif")
    return path


def check_folders(ran: Ran, pool: Pool, jobs: int) -> None:
    """Each task saw its own files, and everything came back, also from those that failed."""
    for proc in range(jobs):
        ended_truly(ran, pool, proc)
    for index in range(4):
        code, text = (0, 3)[index % 2], ("one", "two")[index // 2]
        task = ran.task(index)
        assert (task["state"], task["exit_code"]) == ("failed" if code else "succeeded", code)
        home = ran.folder / "results" / ("failed" if code else "") / str(index)
        said = (home / "stdout").read_text().splitlines()
        assert said[:2] == [f"task {index}", text]
        # of what an earlier task of the job left in /outputs nothing is there
        assert said[2:] == [
            *("/inputs/data:", f"{index // 2 + 1}.txt", ""),
            *("/outputs:", "both", f"of {index}"),
        ]
        assert (home / "stderr").read_text() == f"code {code}\n"
        assert (home / "outputs/both").read_text() == f"{text}\nabout\n"
        assert json.loads((home / f"outputs/of {index}").read_text())["code"] == code
        record = json.loads((home / "status.json").read_text())
        assert record["job"]["os"] == "busybox alone"


@pytest.mark.usefixtures("with_apptainer")
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("per_job", [1, 4])
def test_tasks_see_their_folders_in_an_image_without_bash(
    pool: Pool, tmp_path: Path, busybox: Path, backend: str, per_job: int
) -> None:
    spec = sweep_in(tmp_path / "a $x b", busybox, f"{FOLDERS}tasks_per_job: {per_job}\n")
    check_folders(run_sweep(backend, spec), pool, 4 // per_job)


def test_an_image_comes_to_every_job_of_a_sweep_that_is_queued_little_by_little(
    pool: Pool, tmp_path: Path, busybox: Path
) -> None:
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep/small.yaml").write_text("many_jobs: 2\nmax_idle: 1\n")
    spec = sweep_in(tmp_path / "sweep", busybox, f"profile: small.yaml\n{FOLDERS}")
    ran = run_sweep("condor", spec)
    text = (ran.log.parent / "job.submit").read_text()
    assert "\nmax_idle = 1\n" in text
    check_folders(ran, pool, 4)
    received = {pool.history_ad(int(ran.submitted["cluster"]), n)["BytesRecvd"] for n in range(4)}
    size = busybox.stat().st_size
    assert all(size < bytes_ < 1.5 * size for bytes_ in received), "once to each job"


@pytest.mark.usefixtures("with_apptainer")
@pytest.mark.parametrize("backend", BACKENDS)
def test_without_a_command_a_definitions_run_script_runs(
    pool: Pool, tmp_path: Path, busybox: Path, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    definition = (
        f"Bootstrap: localimage\nFrom: {busybox}\n"
        "%post\n  echo 7 >/made\n"
        "%environment\n  export TOLD=yes\n"
        '%runscript\n  echo "$# arguments, told $TOLD"; cat /made\n'
        "  cp params.json /outputs/; echo no >&2\n"
    )
    spec = write_sweep(
        tmp_path / "sweep",
        "environment: tool.def\nsweep: {x: [5]}\noutputs: [outputs/params.json]\n",
        {"tool.def": definition},
    )
    ran = run_sweep(backend, spec)
    ended_truly(ran, pool, 0)
    assert ran.task(0)["state"] == "succeeded"
    assert ran.result(0, "stdout") == b"0 arguments, told yes\n7\n"
    assert ran.result(0, "stderr") == b"no\n"
    assert json.loads(ran.result(0, "outputs/params.json")) == {"x": 5}


@pytest.mark.usefixtures("with_apptainer")
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_task_that_is_over_its_time_in_a_container_brings_home_what_it_had(
    pool: Pool, tmp_path: Path, busybox: Path, backend: str
) -> None:
    spec = sweep_in(
        tmp_path / "sweep",
        busybox,
        "environment: image.sif\ncommand: [sh, -c, 'echo a; echo b >/outputs/part; sleep 60']\n"
        "sweep: {x: [1]}\nresources: {time: 2 s}\nretries: {times: 0}\n",
    )
    ran = run_sweep(backend, spec)
    ended_truly(ran, pool, 0)
    assert (ran.task(0)["state"], ran.task(0)["reason"]) == ("failed", "time")
    assert (ran.folder / "results/failed/0/outputs/part").read_text() == "b\n"
    assert (ran.folder / "results/failed/0/stdout").read_text() == "a\n"


@pytest.mark.usefixtures("with_apptainer")
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_shim_that_is_killed_in_a_container_is_started_again_and_told(
    pool: Pool, tmp_path: Path, busybox: Path, backend: str
) -> None:
    spec = sweep_in(
        tmp_path / "sweep",
        busybox,
        "environment: image.sif\ncommand: [sh, kill.sh]\nfiles: kill.sh\n"
        "sweep: {x: [1]}\nretries: {times: 1}\n",
    )
    (tmp_path / "sweep/kill.sh").write_text(KILL_SHIM)
    ran = run_sweep(backend, spec)
    ended_truly(ran, pool, 0)
    task = ran.task(0)
    assert (task["state"], task["reason"], task["signal"]) == ("failed", "shim-killed", 9)
    assert (task["exit_code"], task["attempts"]) == (None, 2)


def test_an_image_goes_through_a_stash_once(
    pool: Pool, stash: stashes.Stash, tmp_path: Path, busybox: Path
) -> None:
    place = stash.posix / f"image-{tmp_path.name}"
    place.mkdir()
    url = f"{stash.osdf_url}/{place.name}"
    lines = f"tasks_per_job: 4\nstash: {{folder: {place}, url: '{url}'}}\n"
    spec = sweep_in(tmp_path / "sweep", busybox, FOLDERS + lines)
    ran = run_sweep("condor", spec)
    check_folders(ran, pool, 1)
    name = hashlib.sha256(busybox.read_bytes()).hexdigest() + ".sif"
    kept = place / "osgbatch" / name[:2] / name
    ad = pool.history_ad(int(ran.submitted["cluster"]), 0)
    assert ad["ContainerImage"] == name  # HTCondor's plugin brought it to the job
    assert f"{url}/{kept.relative_to(place)}" in ad["TransferInput"].split(",")
    assert stash.wait(lambda: stash.count("cache", "GET", name, 200) == 1)
    before = kept.stat()

    said = osgbatch("submit", "--pool", "condor", "--json", spec, cwd=spec.parent)
    assert "0 files of 1 to upload, 1 already there" in said.stderr
    batch = Path(json.loads(said.stdout)["folder"])
    osgbatch("cancel", batch, cwd=spec.parent)
    after = kept.stat()
    assert (after.st_ctime_ns, after.st_ino) == (before.st_ctime_ns, before.st_ino)
    assert list(place.rglob("*.sif")) == [kept]
    assert not list(batch.glob("payload/*.sif"))


def test_a_damaged_image_is_refused_before_anything_is_made(pool: Pool, tmp_path: Path) -> None:
    spec = write_sweep(tmp_path / "s", FOLDERS, {**FILES, "image.sif": "no image\n"})
    before = {ad["ClusterId"] for ad in pool.queue_ads()}
    said = osgbatch("submit", "--pool", "condor", spec, cwd=spec.parent, check=2)
    assert 'sweep.yaml:1:14: "image.sif" is no container image' in said.stderr
    assert not (spec.parent / "batches").exists()
    assert {ad["ClusterId"] for ad in pool.queue_ads()} <= before


FULL_DISK = """\
mount -t tmpfs -o "size=$1" full "$XDG_CACHE_HOME" || exit 99
shift
"$@" || { code=$?; find "$XDG_CACHE_HOME" -type f -size +0; exit "$code"; }
find "$XDG_CACHE_HOME" -name '*.sif'
"""


@pytest.mark.once
@pytest.mark.usefixtures("with_apptainer")
@pytest.mark.parametrize(("room", "code"), [("1500k", 3), ("20m", 0)])
def test_an_image_that_a_disk_does_not_hold_leaves_nothing(
    tmp_path: Path, busybox: Path, room: str, code: int
) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "x.def").write_text(f"Bootstrap: localimage\nFrom: {busybox}\n")
    inside = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", FULL_DISK, "sh", room]
    done = subprocess.run(
        [*inside, sys.executable, "-m", "osgbatch", "pack", "container", "x.def"],
        cwd=tmp_path,
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert ("no space is left there" in done.stderr) == bool(code)
    assert done.stdout.count("\n") == (0 if code else 3), "what was packed, its path, found there"
