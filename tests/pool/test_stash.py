"""Sweeps whose files go through real stashes, and what happens when these are at fault."""

from __future__ import annotations

import hashlib
import json
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
import stashes
from conftest import Pool
from sweeps import Ran, ended_truly, osgbatch, run_sweep, write_sweep
from test_find_peaks import copy_example

pytestmark = pytest.mark.pool

TASKS = 2
KINDS = (
    "osdf",  # once is enough for the rest: HTCondor's plugins run outside of the container
    pytest.param("s3", marks=pytest.mark.once),
    pytest.param("http", marks=pytest.mark.once),
    pytest.param("pelican", marks=pytest.mark.once),
)
SMALL = """\
import shutil, sys
for name in ("peaks", "troughs"):
    shutil.copy(sys.argv[1], f"outputs/{name}.npy")
"""
WAITING = "submit: {+Goes: false}\nrequirements: {expr: MY.Goes}\n"
"""Jobs that start when go() lets them, so that something can happen before."""
STAND_IN = Path(__file__).parents[1] / "unit" / "pelican_stand_in.py"
"""For the `pelican` command of who submits; jobs fetch by HTCondor's plugin from a real origin."""


def stash_lines(stash: stashes.Stash, kind: str, part: str) -> str:
    """`stash:` of a spec for a kind of stash. part: a folder or prefix of the test's own in it."""
    if kind == "s3":
        about = stash.about["s3"]
        return f"stash: {{s3: s3://{stashes.BUCKET}/{part}, endpoint: '{about['endpoint']}'}}\n"
    url = stash.osdf_url
    if kind == "pelican":
        return f"stash: {{pelican: '{url}/{part}'}}\n"
    folder = stash.posix / part
    folder.mkdir(exist_ok=True)
    if kind == "http":
        url = f"{stash.about['origin']['url']}{stashes.PLACE}"
    return f"stash: {{folder: {folder}, url: '{url}/{part}'}}\n"


@pytest.fixture
def keys(stash: stashes.Stash, monkeypatch: pytest.MonkeyPatch) -> None:
    """The keys of the S3 server and its certificate, as AWS's own tools are told of them."""
    about = stash.about["s3"]
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", about["credentials_file"])
    monkeypatch.setenv("AWS_CA_BUNDLE", about["ca_file"])


@pytest.fixture
def pelican(stash: stashes.Stash, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command pelican."""
    command = tmp_path / "bin/pelican"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} {STAND_IN} "$@"\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(command.parent), prepend=":")
    monkeypatch.setenv("STAND_IN_ORIGIN", stash.about["origin"]["url"])
    monkeypatch.setenv("STAND_IN_LOG", str(tmp_path / "calls"))
    for name in ("BEARER_TOKEN", "BEARER_TOKEN_FILE", "TOKEN", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)


def written(stash: stashes.Stash, kind: str, part: str) -> dict[str, object]:
    """What was ever brought to a stash, as its server or its file system tells it."""
    if kind == "s3":
        last = (
            f"/{stashes.BUCKET}/after-{time.monotonic_ns()}"  # what was asked before is in the log
        )
        stash.client().request("GET", last)
        assert stash.wait(lambda: stash.count("s3", "GET", last) == 1)
        asked = stash.requests("s3")
        puts = [r.path for r in asked if r.method in ("PUT", "POST") and f"/{part}/" in r.path]
        return {path: puts.count(path) for path in puts}
    files = (path for path in (stash.posix / part).rglob("*") if path.is_file())
    return {str(path): (path.stat().st_ctime_ns, path.stat().st_ino) for path in files}


def read(stash: stashes.Stash, kind: str, part: str) -> set[str]:
    """The names of objects that jobs were sent, as the servers' logs tell it."""
    server = {"osdf": "cache", "pelican": "cache", "http": "origin", "s3": "s3"}[kind]
    return {
        request.path.rpartition("/")[2]
        for request in stash.requests(server)
        if request.method == "GET"
        and request.status == 200
        and f"/{part}/osgbatch/" in request.path
    }


def objects_of(ran: Ran) -> list[str]:
    """The names of the objects that a batch says that it uses."""
    lines = (ran.folder / "objects.txt").read_text().splitlines()[1:]
    return [line.rpartition("/")[2] for line in lines]


def peaks(folder: Path, lines: str, *, small: bool = False) -> Path:
    """The example with two of its tasks in a job, whose files are all large enough for a stash.

    small: with a program that needs Python alone, so that 10 MB are brought and not 100.
    """
    folder = copy_example(folder)
    if small:
        (folder / "requirements.txt").write_text("# Python alone\n")
        (folder / "find_peaks.py").write_text(SMALL)
    for index in range(TASKS, 10):
        (folder / f"data/{index}.npy").unlink()
    (folder / "pool.yaml").write_text("stash_size: 9 KB\nshared_size: 9 KB\n")
    with (folder / "sweep.yaml").open("a") as stream:
        stream.write(f"profile: ./pool.yaml\ntasks_per_job: {TASKS}\n{lines}")
    return folder


def succeeded(ran: Ran, pool: Pool) -> None:
    """All tasks have, and HTCondor says that their job ended well."""
    for index in range(TASKS):
        assert ran.task(index)["state"] == "succeeded", ran.log.read_text()
    ended_truly(ran, pool, 0)
    assert pool.terminate_event(ran.log, ran.submitted["cluster"], 0).exit_code == 0


@pytest.mark.environments
@pytest.mark.parametrize("kind", KINDS)
def test_the_example_runs_through_a_stash(
    pool: Pool, stash: stashes.Stash, tmp_path: Path, keys: None, pelican: None, kind: str
) -> None:
    part = f"peaks-{kind}"
    folder = peaks(tmp_path, stash_lines(stash, kind, part), small=kind != "osdf")
    ran = run_sweep("condor", folder / "sweep.yaml")
    succeeded(ran, pool)
    for index in range(TASKS):
        told = json.loads(ran.result(index, "status.json"))
        assert "sha256 1" in json.dumps(told), told
    names = objects_of(ran)
    assert len(names) == TASKS + 1
    assert {name.partition(".")[2] for name in names} == {"npy", "tar.gz"}
    for index in range(TASKS):
        content = (folder / f"data/{index}.npy").read_bytes()
        assert f"{hashlib.sha256(content).hexdigest()}.npy" in names
    assert stash.wait(lambda: read(stash, kind, part) == set(names))
    sent = (ran.folder / "rounds/001/job.submit").read_text()
    assert not list((ran.folder / "payload").glob("environment*"))
    before = written(stash, kind, part)
    sums = {path.rpartition("/")[2].partition("?")[0] for path in before}
    assert sums >= set(names)

    with (folder / "sweep.yaml").open("a") as stream:
        stream.write(WAITING)  # nothing needs to run
    said = osgbatch("submit", "--pool", "condor", "--json", "sweep.yaml", cwd=folder)
    assert f"0 files of {TASKS + 1} to upload, {TASKS + 1} already there" in said.stderr
    again = json.loads(said.stdout)
    osgbatch("cancel", again["folder"], cwd=folder)
    assert written(stash, kind, part) == before
    if kind == "s3":
        secret_is_nowhere(pool, ran, stash, sent + said.stdout + said.stderr)


@pytest.mark.once
def test_the_example_needs_no_stash(pool: Pool, stash: stashes.Stash, tmp_path: Path) -> None:
    before = {name: len(stash.requests(name)) for name in stashes.NAMES}
    folder = peaks(tmp_path, f"stash: none\n{WAITING}")  # test_find_peaks.py lets it run
    ran = submit(folder / "sweep.yaml")
    (ad,) = pool.queue_ads(f"ClusterId == {ran.submitted['cluster']}")
    osgbatch("cancel", ran.folder, cwd=folder)
    (environment,) = (ran.folder / "payload").glob("environment*")
    assert not (ran.folder / "objects.txt").exists()
    for name in ("data/0.npy", environment.name):
        assert name in ad["TransferInput"]
    assert "://" not in ad["TransferInput"]
    asked = [r for name, count in before.items() for r in stash.requests(name)[count:]]
    assert not [r for r in asked if r.method in ("PUT", "POST") and "osgbatch/" in r.path]


def secrets(stash: stashes.Stash) -> tuple[str, str]:
    """What nobody may see: the key's secret, and a signed URL's signature."""
    return stash.keys().secret, "X-Amz-Signature"


def secret_is_nowhere(pool: Pool, ran: Ran, stash: stashes.Stash, texts: str) -> None:
    """No secret is in a batch folder, an ad or what was said."""
    ad = pool.run("condor_history", "-long", str(ran.submitted["cluster"]))
    assert "EC2SecretAccessKey" in ad, "the name of the file with the key"
    for secret in secrets(stash):
        assert secret not in texts
        assert secret not in ad
        for path in ran.folder.rglob("*"):
            assert not path.is_file() or secret.encode() not in path.read_bytes(), path


# --- a job that prints its input ---------------------------------------------------------------

PRINT = """\
name: print
command: {command}
{body}
resources: {{memory: 100 MB, disk: 100 MB}}
outputs: [outputs/got]
"""


def printing(folder: Path, body: str, files: dict[str, str]) -> Path:
    """A sweep of one task that copies its input."""
    text = PRINT.format(command="sh -c 'echo computed; cat inputs/* > outputs/got'", body=body)
    return write_sweep(folder, text, files)


def test_a_changed_input_is_never_served_stale(
    pool: Pool, stash: stashes.Stash, tmp_path: Path
) -> None:
    body = "inputs: [{path: data.txt, shared: true}]\n" + stash_lines(stash, "osdf", "stale")
    for text in ("old\n", "new\n"):
        spec = printing(tmp_path / "sweep", body, {"data.txt": text})
        ran = run_sweep("condor", spec)
        ended_truly(ran, pool, 0)
        assert ran.result(0, "outputs/got").decode() == text
    names = {f"{hashlib.sha256(t).hexdigest()}.txt" for t in (b"old\n", b"new\n")}
    assert stash.wait(lambda: read(stash, "osdf", "stale") == names)


def submit(spec: Path) -> Ran:
    """Submit, and return what is known so far."""
    said = osgbatch("submit", "--pool", "condor", "--json", spec, cwd=spec.parent)
    submitted = json.loads(said.stdout)
    return Ran("condor", submitted, {}, Path(submitted["folder"]))


def go(pool: Pool, ran: Ran) -> Ran:
    """Let jobs start that wait, and return what became of the batch."""
    cluster = str(ran.submitted["cluster"])
    assert {ad["JobStatus"] for ad in pool.queue_ads(f"ClusterId == {cluster}")} == {1}
    pool.run("condor_qedit", cluster, "Goes", "true")
    return finish(ran)


def finish(ran: Ran) -> Ran:
    """Wait until a batch has ended, and collect it."""
    osgbatch("watch", ran.folder, cwd=ran.folder, check=None)
    osgbatch("collect", ran.folder, "--no-gather", cwd=ran.folder, check=None)
    status = osgbatch("status", ran.folder, "--json", cwd=ran.folder, check=None).stdout
    return replace(ran, status=json.loads(status))


def never_ran(ran: Ran, pool: Pool, proc: int, why: str) -> None:
    """A job ended with the code of a wrong input, and its command was not started."""
    cluster = int(ran.submitted["cluster"])
    assert pool.terminate_event(ran.log, cluster, proc).exit_code == 114
    assert pool.history_ad(cluster, proc)["ExitCode"] == 114
    task = ran.task(proc)
    assert (task["state"], task["exit_code"]) == ("failed", 114), task
    record = json.loads((ran.folder / f"results/failed/{proc}/status.json").read_text())
    assert why in record["task"]["detail"]
    assert record["job"]["first_command_s"] == "0.00"
    home = ran.folder / f"results/failed/{proc}"
    assert not (home / "stdout").exists(), "of a command it would have a word"
    assert not (home / "outputs").exists()


def flipped(content: bytes) -> bytes:
    return content[:5] + bytes([content[5] ^ 1]) + content[6:]


def cut(content: bytes) -> bytes:
    return content[:-3]


@pytest.mark.parametrize(("harm", "tries"), [(flipped, 2), (cut, 1)])
def test_a_damaged_object_is_never_computed_upon(
    pool: Pool,
    stash: stashes.Stash,
    tmp_path: Path,
    harm: Callable[[bytes], bytes],
    tries: int,
) -> None:
    part = f"harmed-{tmp_path.name}"
    body = (
        "inputs: [{path: data.txt, shared: true}]\n"
        f"retries: {{times: {tries - 1}, on: infrastructure}}\n{WAITING}"
        + stash_lines(stash, "osdf", part)
    )
    content = f"content of {part}\n"
    spec = printing(tmp_path / "sweep", body, {"data.txt": content})
    ran = submit(spec)
    (path,) = (stash.posix / part / "osgbatch").glob("*/*.txt")
    assert path.read_text() == content
    path.write_bytes(harm(path.read_bytes()))  # as a disk, or a cache, would do it
    ran = go(pool, ran)
    never_ran(ran, pool, 0, "is not what was staged")
    assert pool.history_ad(int(ran.submitted["cluster"]), 0)["NumJobStarts"] == tries
    if harm is cut:  # the right size would be trusted, another is refused
        said = osgbatch("submit", "--pool", "condor", spec, cwd=spec.parent, check=4)
        assert "is damaged" in said.stderr
    said = osgbatch("stage", "verify", "--spec", spec, cwd=spec.parent, check=4)
    assert path.name in said.stdout


def test_each_job_gets_its_own_files_of_a_bucket(
    pool: Pool, stash: stashes.Stash, tmp_path: Path, keys: None
) -> None:
    def put(name: str, content: bytes) -> None:
        where = f"/{stashes.BUCKET}/column/{name}"
        assert stash.client().request("PUT", where, content).status == 200

    files = {
        "a.txt": b"of a\n",
        "deep/changed.txt": b"of b\n",
        "deep/cut.txt": b"of c\n",
        "deep/d.txt": b"of d\n",
        "deep/no.dat": b"other\n",
    }
    listed = [name for name in files if name.endswith(".txt")]
    for name, content in files.items():
        put(name, content)
    endpoint = stash.about["s3"]["endpoint"]
    text = PRINT.format(
        command="sh -c 'echo computed; cp \"$1\" outputs/got; sleep 2' sh {f}",
        body=f"sweep: {{f: {{files: 's3://{stashes.BUCKET}/column/**/*.txt'}}}}\n"
        f"stash: {{s3: s3://{stashes.BUCKET}/column-stash, endpoint: '{endpoint}'}}\n"
        f"retries: 0\n{WAITING}",
    )
    ran = submit(write_sweep(tmp_path / "sweep", text, {}))
    sent = (ran.folder / "rounds/001/job.submit").read_text()
    assert re.search(r"^aws_secret_access_key_file", sent, re.MULTILINE)
    kept = (ran.folder / "listing.csv").read_text().splitlines()
    assert kept[0] == "url,size,md5"
    sums = {hashlib.md5(files[name]).hexdigest() for name in listed}
    assert {line.rpartition(",")[2] for line in kept[1:]} == sums

    # Listed, and then changed or cut short: no result.
    put("deep/changed.txt", b"of B\n")
    put("deep/cut.txt", b"of\n")
    with looked_at(pool, ran) as (ads, arguments):
        ran = go(pool, ran)
    for index in (0, 3):
        ended_truly(ran, pool, index)
        assert ran.result(index, "outputs/got") == files[listed[index]]
        assert ran.result(index, "stdout") == b"computed\n"
        told = json.loads(ran.result(index, "status.json"))
        assert "md5 1" in json.dumps(told), told
    never_ran(ran, pool, 1, "changed.txt arrived damaged")
    never_ran(ran, pool, 2, "cut.txt has 3 bytes, not 5")
    for name in listed:
        assert stash.wait(lambda name=name: stash.count("s3", "GET", f"/column/{name}", 200) == 1)
    assert stash.count("s3", "GET", "/column/deep/no.dat") == 0

    assert "JobStatus = 1" in ads[0]
    assert any("JobStatus = 2" in ad for ad in ads), "no look at a running job"
    secret_is_nowhere(pool, ran, stash, sent + "".join(ads))
    assert any("condor_shadow" in text for text in arguments), "no look at a running job"
    assert not [text for text in arguments if stash.keys().secret in text]


@contextmanager
def looked_at(pool: Pool, ran: Ran) -> Iterator[tuple[list[str], set[str]]]:
    """While the block lasts, what anybody can see of a batch's jobs is written down now and then.

    Yields their ads in the queue, and the arguments of all processes.
    """
    ads: list[str] = []
    arguments: set[str] = set()
    done = threading.Event()

    def look() -> None:
        while True:
            ads.append(pool.run("condor_q", "-long", str(ran.submitted["cluster"])))
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with suppress(OSError):  # it has ended
                    arguments.add(path.read_bytes().decode(errors="replace"))
            if done.wait(0.2):
                return

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield ads, arguments
    finally:
        done.set()
        thread.join()
