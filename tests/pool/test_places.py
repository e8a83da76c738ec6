"""Places that fail all jobs, on execution points of two sites: avoided, and named by `why`."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Pool
from sweeps import Ran, osgbatch, write_sweep

pytestmark = [pytest.mark.pool, pytest.mark.once]

SITES = ("Bad", "Good")
SPEC = """\
tags: [places]
command: [sh, -c, 'sleep 1; ! grep -q "^GLIDEIN_Site = \\"Bad\\"" "$_CONDOR_MACHINE_AD"']
sweep: {n: {range: %d}}
resources: {memory: 50 MB, disk: 50 MB}
requirements: {expr: 'member(TARGET.GLIDEIN_Site, {"Bad", "Good"})'}
profile: ./pool.yaml
"""
# Without avoidance all starts are where the rank says.
AVOIDING = """\
retries: {times: 2, on: any}
submit: {rank: 'TARGET.GLIDEIN_Site =?= "Bad"'}
"""
NONE = "retries: {times: 0, on: any}\n"
POOL = {"pool.yaml": "avoid: GLIDEIN_Site\n"}


@pytest.fixture(scope="module")
def sites(pool: Pool) -> Iterator[None]:
    """Two more startds, each a machine and a site of its own, which take no other tests' jobs."""
    config = {
        "NUM_CPUS": "4",
        "START": 'TARGET.OSGBatchTags =?= "places"',
        "STARTD_ATTRS": "GLIDEIN_Site",
    }
    startds = []
    for site in SITES:
        folder = pool.folder / f"ep-{site}"
        for part in ("execute", "log"):
            (folder / part).mkdir(parents=True)
        own = {
            "NETWORK_HOSTNAME": f"{site.lower()}.pool.test",
            "EXECUTE": str(folder / "execute"),
            "LOG": str(folder / "log"),
            "PROCD_ADDRESS": str(folder / "procd"),
            "GLIDEIN_Site": f'"{site}"',
            **config,
        }
        startds.append(
            subprocess.Popen(
                ["condor_startd", "-f", "-local-name", site],
                env={**os.environ, **{f"_CONDOR_{key}": value for key, value in own.items()}},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )
    try:
        there = ("condor_status", "-af", "GLIDEIN_Site", "-constraint", "SlotID == 1")
        pool.wait_for(lambda: {*SITES} <= {*pool.run(*there).split()}, what="two more startds")
        yield
    finally:
        for startd in startds:
            startd.terminate()
        for startd in startds:
            startd.wait(60)


def submitted(spec: Path) -> Ran:
    said = json.loads(osgbatch("submit", "--json", spec, cwd=spec.parent).stdout)
    return Ran("condor", said, {}, Path(said["folder"]))


def sites_of(pool: Pool, ran: Ran, proc: int) -> list[str]:
    """Where a job was started, the last one first, by its ad in the history."""
    ad = pool.history_ad(int(ran.submitted["cluster"]), proc)
    found = (ad.get(f"MachineAttrGLIDEIN_Site{number}") for number in range(2))
    return [str(site) for site in found if site]


def test_a_job_goes_elsewhere_after_a_failure_and_a_bad_site_is_named(
    pool: Pool, sites: None, tmp_path: Path
) -> None:
    avoiding = submitted(write_sweep(tmp_path / "a", SPEC % 1 + AVOIDING, POOL))
    # Four slots at each site, of which one is taken: some tasks run at either.
    there = tmp_path / "b"
    failing = submitted(write_sweep(there, SPEC % 6 + NONE, POOL))
    osgbatch("watch", avoiding.folder, cwd=tmp_path)
    assert pool.terminate_event(avoiding.log, int(avoiding.submitted["cluster"]), 0).exit_code == 0
    assert sites_of(pool, avoiding, 0) == ["Good", "Bad"]

    osgbatch("watch", failing.folder, cwd=there, check=1)
    bad = [proc for proc in range(6) if sites_of(pool, failing, proc) == ["Bad"]]
    assert 2 <= len(bad) <= 4
    said = osgbatch("why", failing.folder, "--json", cwd=there, check=1)
    (suspect,) = json.loads(said.stdout)["suspects"]
    assert (suspect["kind"], suspect["name"], suspect["bad"]) == ("site", "Bad", len(bad))
    # What it says can be typed, and helps.
    program, *words = shlex.split(suspect["command"])
    assert program == "osgbatch"
    again = json.loads(osgbatch(*words, "--json", cwd=there).stdout)
    assert again["tasks"] == bad
    osgbatch("watch", failing.folder, cwd=there)
    again = Ran("condor", again, {}, failing.folder)
    assert {sites_of(pool, again, proc)[0] for proc in range(len(bad))} == {"Good"}
