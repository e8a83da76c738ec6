"""The keys that only need rendering do to real jobs what they say."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from conftest import Event, Pool, events
from sweeps import osgbatch, run_sweep, write_sweep

from osgbatch.rendering.requirements import requirements_expression
from osgbatch.spec_model import Requirements
from osgbatch.submit_language import known_command

pytestmark = pytest.mark.pool

EVERYTHING = """\
command: [sh, -c, "echo {n}"]
sweep: {n: [1, 2, 3]}
resources: {memory: {expr: "40 MB * n"}, disk: 50 MB, time: {expr: "5 h * n"}}
requirements: {arch: [x86_64, aarch64], avoid_sites_here expr: "Memory > 1 && Cpus > 0"}
project: Brain_1
tags: [spring, "trial $(x) 2"]
notify: {email: ada@example.org, when: error}
max_running: 2
submit: {priority: 5, +OwnText: '"a $(tasks) b"', rank: Memory}
""".replace("avoid_sites_here", "sites: {avoid: [Nowhere]},")


def cluster_ads(pool: Pool, cluster: int, jobs: int) -> list[dict[str, Any]]:
    return [pool.history_ad(cluster, proc) for proc in range(jobs)]


@pytest.mark.once  # of the queue and the job's ad
def test_the_job_ads_say_what_the_spec_says(pool: Pool, tmp_path: Path) -> None:
    ran = run_sweep("condor", write_sweep(tmp_path / "sweep", EVERYTHING, {}))
    assert ran.status["counts"] == {"succeeded": 3}
    ads = cluster_ads(pool, int(ran.submitted["cluster"]), 3)
    assert [ad["OwnText"] for ad in ads] == ["a 0 b", "a 1 b", "a 2 b"]
    for ad in ads:
        assert ad["ProjectName"] == "Brain_1"
        assert ad["OSGBatchTags"] == "spring,trial $(x) 2"
        assert ad["NotifyUser"] == "ada@example.org"
        assert ad["JobNotification"] == 3  # Error
        assert ad["JobMaterializeLimit"] == 2
        assert ad["UNDESIRED_Sites"] == "Nowhere"
        assert ad["JobPrio"] == 5
        assert "Memory" in str(ad["Rank"])
        assert "RequestGPUs" not in ad
        assert "DESIRED_Sites" not in ad
        requirements = str(ad["Requirements"])
        assert '(TARGET.Arch == "X86_64" || TARGET.Arch == "aarch64")' in requirements
        assert "(Memory > 1 && Cpus > 0)" in requirements
        assert "isUndefined(TARGET.GLIDEIN_Site)" in requirements
    assert [ad["RequestMemory"] for ad in ads] == [40, 80, 120]
    assert [ad["AllowedExecuteDuration"] for ad in ads] == [
        hours * 3600 + 10 + 1800 for hours in (5, 10, 15)
    ]
    assert [ad["JobDurationCategory"] for ad in ads] == ["Medium", "Long", "Long"]


@pytest.mark.once  # of the queue and the job's ad
def test_a_plain_sweep_asks_for_nothing_special(pool: Pool, tmp_path: Path) -> None:
    spec = "command: [sh, -c, 'true']\nresources: {memory: 40 MB, disk: 50 MB}\n"
    ran = run_sweep("condor", write_sweep(tmp_path / "sweep", spec, {}))
    assert ran.status["counts"] == {"succeeded": 1}
    ad = pool.history_ad(int(ran.submitted["cluster"]), 0)
    absent = {"RequestGPUs", "ProjectName", "OSGBatchTags", "JobMaterializeLimit", "NotifyUser",
              "DESIRED_Sites", "UNDESIRED_Sites", "JobDurationCategory"}  # fmt: skip
    assert not absent & ad.keys()
    assert ad["JobNotification"] == 0


def dry_run(submit_file: Path) -> tuple[dict[str, str], str]:
    """The attributes of the first job that condor_submit would make, and what it complains of."""
    done = subprocess.run(
        ["condor_submit", "-dry-run", "-", submit_file.name],
        cwd=submit_file.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = (line.partition("=") for line in done.stdout.splitlines())
    return {key.strip(): value.strip() for key, _, value in lines}, done.stderr


@pytest.mark.once  # of the queue and the job's ad
def test_gpus_are_asked_for_in_condors_words(pool: Pool, tmp_path: Path) -> None:
    spec = (
        "command: [nvidia-smi]\ngpus: {count: 2, min_memory: 8 GB, min_capability: 7.5}\n"
        "requirements: {os: [el8, el9], microarch: x86_64-v3, sites: {only: [SU ITS, B]}}\n"
    )
    path = write_sweep(tmp_path / "sweep", spec, {})
    made = json.loads(osgbatch("render", "--json", path, cwd=path.parent).stdout)
    ad, complaints = dry_run(Path(made["folder"]) / "rounds/001/job.submit")
    assert "WARNING" not in complaints
    assert ad["RequestGPUs"] == "2"
    assert ad["GPUsMinMemory"] == "8192"
    assert ad["GPUsMinCapability"] == "7.5"
    assert ad["DESIRED_Sites"] == '"SU ITS,B"'
    for part in (
        "countMatches(MY.RequireGPUs,TARGET.AvailableGPUs) >= RequestGPUs",
        'TARGET.OSGVO_OS_STRING == "RHEL 9"',
        'TARGET.Microarch >= "x86_64-v3"',
        'member(TARGET.GLIDEIN_Site,{ "SU ITS","B" })',
        'TARGET.Arch == "X86_64"',  # condor_submit's own default is still there
    ):
        assert part in ad["Requirements"]


# --- which execution points match ---------------------------------------------------------------

JOB = """\
executable = job.sh
log = events.log
should_transfer_files = YES
request_cpus = 1
request_memory = 40 MB
request_disk = 40 MB
requirements = {requirements}
queue
"""


def test_what_matches_runs_and_what_does_not_stays_idle(pool: Pool, tmp_path: Path) -> None:
    (tmp_path / "job.sh").write_text("#!/bin/sh\nexit 0\n")
    (tmp_path / "job.sh").chmod(0o755)
    here = json.loads(pool.run("condor_status", "-json", "-limit", "1"))[0]
    if pool.ospool:  # there it is the system inside the containers that counts
        name, _, version = here["OSGVO_OS_STRING"].partition(" ")
    else:
        name, version = here["OpSysName"], here["OpSysMajorVer"]
    system, other = f"{name.lower()}{version}", f"{name.lower()}{int(version) + 1}"
    arch = here["Arch"].lower()
    idle = [
        Requirements(os=(other,)),
        Requirements(os=("el6",)),
        Requirements(arch=("ppc64le",)),
        Requirements(arch=("x86_64",), microarch="x86_64-v9"),
        Requirements(cvmfs=("oasis.opensciencegrid.org",)),
        Requirements(only_sites=("SU ITS",)),
        Requirements(os=(system,), expr="Cpus > 100000"),
    ]
    runs = [
        Requirements(os=(system,)),
        Requirements(os=("el6", system)),
        Requirements(arch=(arch,)),
        Requirements(arch=("ppc64le", arch)),
        Requirements(avoid_sites=("SU ITS",)),
        Requirements(os=(system,), arch=(arch,), expr="Cpus > 100000 || Memory > 1"),
    ]
    if arch == "x86_64":
        runs.append(Requirements(microarch="x86_64-v1"))

    def submit(wanted: Requirements) -> int:
        return pool.submit(JOB.format(requirements=requirements_expression(wanted)), tmp_path)

    waiting = [submit(wanted) for wanted in idle]  # first, so that they had their chance
    going = [submit(wanted) for wanted in runs]
    for cluster in going:
        assert pool.terminate_event(tmp_path / "events.log", cluster, 0).exit_code == 0
    started = {e.cluster for e in events(tmp_path / "events.log") if e.number == 1}
    assert started == set(going)
    for cluster, wanted in zip(waiting, idle, strict=True):
        ads = pool.queue_ads(f"ClusterId == {cluster}")
        assert [ad["JobStatus"] for ad in ads] == [1], wanted
    pool.run("condor_rm", *map(str, waiting))


# --- how many at a time -------------------------------------------------------------------------

SLEEPERS = """\
command: [sh, -c, "sleep 1.5; exit {code}"]
sweep: {code: [0, 0, 3, 0, 0, 0]}
resources: {memory: 40 MB, disk: 50 MB}
max_running: 2
"""


def most_at_once(log: list[Event]) -> tuple[int, int]:
    """The most jobs that the log shows in the queue, and running, at one time."""
    queued: set[int] = set()
    running: set[int] = set()
    most_queued = most_running = 0
    for event in log:
        if event.number == 0:
            queued.add(event.proc)
        elif event.number == 1:
            running.add(event.proc)
        elif event.number == 5:
            queued.discard(event.proc)
            running.discard(event.proc)
        most_queued = max(most_queued, len(queued))
        most_running = max(most_running, len(running))
    return most_queued, most_running


def ended(pool: Pool, log: Path) -> str:
    """Wait until the log says that the factory is done; what it then says."""

    def look() -> str | None:
        text = log.read_text() if log.exists() else ""
        return text if re.search(r"^036 ", text, re.M) else None

    return pool.wait_for(look, 90, f"the end of the factory in {log}")


@pytest.mark.once  # of the queue and the job's ad
def test_no_more_than_max_running_run_at_once(pool: Pool, tmp_path: Path) -> None:
    ran = run_sweep("condor", write_sweep(tmp_path / "sweep", SLEEPERS, {}))
    assert ran.status["counts"] == {"succeeded": 5, "failed": 1}
    text = ended(pool, ran.log)
    assert text.startswith("035 ")  # the cluster, before any of its jobs
    assert "Materialized 6 jobs" in text
    assert most_at_once(events(ran.log)) == (2, 2)
    ads = cluster_ads(pool, int(ran.submitted["cluster"]), 6)
    assert {ad["JobMaterializeLimit"] for ad in ads} == {2}
    assert not any("JobMaterializeMaxIdle" in ad for ad in ads)


@pytest.mark.once  # of the queue and the job's ad
def test_max_idle_and_max_running_hold_together(pool: Pool, tmp_path: Path) -> None:
    path = write_sweep(tmp_path / "sweep", SLEEPERS.replace("max_running: 2", "max_running: 3"), {})
    made = json.loads(osgbatch("render", "--json", path, cwd=path.parent).stdout)
    folder = Path(made["folder"]) / "rounds/001"
    # as osgbatch writes it for more jobs than a test can have
    text = (folder / "job.submit").read_text()
    (folder / "job.submit").write_text(text.replace("\nqueue ", "\nmax_idle = 1\nqueue "))
    said = pool.run("condor_submit", "-terse", folder / "job.submit", cwd=path.parent)
    ended(pool, folder / "events.log")
    log = events(folder / "events.log")
    queued, running = most_at_once(log)
    assert queued <= 3
    assert 2 <= running <= 3
    assert sorted(e.exit_code or 0 for e in log if e.number == 5) == [0, 0, 0, 0, 0, 3]
    ad = pool.history_ad(int(said.split(".")[0]), 5)
    assert (ad["JobMaterializeLimit"], ad["JobMaterializeMaxIdle"]) == (3, 1)


# --- the vocabulary -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "known"),
    [
        ("accounting_group", True),
        ("concurrency_limits_expr", True),
        ("Periodic_Hold", True),
        ("JobPrio", True),
        ("retry_request_memory", True),
        ("request_widgets", True),
        ("nice_user", True),
        ("request_cpu", False),
        ("cpus", False),
        ("requirement", False),
        ("periodic_holds", False),
        ("max_retry", False),
    ],
)
@pytest.mark.once  # of the queue and the job's ad
def test_the_vocabulary_is_condor_submits(
    pool: Pool, tmp_path: Path, key: str, known: bool
) -> None:
    (tmp_path / "job.sh").write_text("#!/bin/sh\n")
    (tmp_path / "job.submit").write_text(
        f"executable = job.sh\nlog = x\nrequest_memory = 10\n{key} = 20\nqueue\n"
    )
    _, complaints = dry_run(tmp_path / "job.submit")
    assert ("was unused by condor_submit" not in complaints) is known
    assert known_command(key) is known


@pytest.mark.once  # of the queue and the job's ad
def test_a_folder_named_like_a_macro_below_the_initial_directory(
    pool: Pool, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/x").write_text("brought\n")
    spec = (
        "command: [cat, inputs/data/x]\ninputs: [../data/x]\nfiles: [sweep.yaml]\n"
        "resources: {memory: 40 MB, disk: 50 MB}\n"
    )
    ran = run_sweep("condor", write_sweep(tmp_path / "of $(HOME) sweep", spec, {}))
    assert ran.status["counts"] == {"succeeded": 1}
    assert ran.result(0, "stdout") == b"brought\n"
