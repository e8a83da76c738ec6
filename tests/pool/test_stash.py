"""Sweeps whose files go through real stashes, and what happens when these are at fault."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import stashes
from conftest import Pool
from sweeps import Ran, ended_truly, osgbatch, run_sweep, write_sweep
from test_find_peaks import copy_example

pytestmark = pytest.mark.pool

TASKS = 2
KINDS = ("osdf", "http", "s3")


def stash_lines(stash: stashes.Stash, kind: str, part: str) -> str:
    """`stash:` of a spec for a kind of stash. part: a folder or prefix of the test's own in it."""
    if kind == "s3":
        about = stash.about["s3"]
        return f"stash: {{s3: s3://{stashes.BUCKET}/{part}, endpoint: '{about['endpoint']}'}}\n"
    folder = stash.posix / part
    folder.mkdir(exist_ok=True)
    url = stash.osdf_url
    if kind == "http":
        url = f"{stash.about['origin']['url']}{stashes.PLACE}"
    return f"stash: {{folder: {folder}, url: '{url}/{part}'}}\n"


@pytest.fixture
def keys(stash: stashes.Stash, monkeypatch: pytest.MonkeyPatch) -> None:
    """The keys of the S3 server and its certificate, as AWS's own tools are told of them."""
    about = stash.about["s3"]
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", about["credentials_file"])
    monkeypatch.setenv("AWS_CA_BUNDLE", about["ca_file"])


def written(stash: stashes.Stash, kind: str, part: str) -> dict[str, object]:
    """What was ever brought to a stash, as its server or its file system tells it."""
    if kind == "s3":
        asked = stash.requests("s3")
        puts = [r.path for r in asked if r.method in ("PUT", "POST") and f"/{part}/" in r.path]
        return {path: puts.count(path) for path in puts}
    files = (path for path in (stash.posix / part).rglob("*") if path.is_file())
    return {str(path): (path.stat().st_ctime_ns, path.stat().st_ino) for path in files}


def read(stash: stashes.Stash, kind: str, part: str) -> set[str]:
    """The names of objects that jobs were sent, as the servers' logs tell it."""
    server = {"osdf": "cache", "http": "origin", "s3": "s3"}[kind]
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


@pytest.mark.parametrize("kind", KINDS)
def test_the_example_runs_through_a_stash(
    pool: Pool, stash: stashes.Stash, tmp_path: Path, keys: None, kind: str
) -> None:
    folder = copy_example(tmp_path)
    for index in range(TASKS, 10):
        (folder / f"data/{index}.npy").unlink()
    (folder / "pool.yaml").write_text("stash_size: 9 KB\nshared_size: 9 KB\n")
    part = f"peaks-{kind}"
    with (folder / "sweep.yaml").open("a") as stream:
        stream.write(f"profile: ./pool.yaml\n{stash_lines(stash, kind, part)}")
    ran = run_sweep("condor", folder / "sweep.yaml")
    for index in range(TASKS):
        assert ran.task(index)["state"] == "succeeded", ran.log.read_text()
        ended_truly(ran, pool, index)
        assert pool.terminate_event(ran.log, ran.submitted["cluster"], index).exit_code == 0
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

    said = osgbatch("submit", "--pool", "condor", "--json", "sweep.yaml", cwd=folder)
    assert f"0 files of {TASKS + 1} to upload, {TASKS + 1} already there" in said.stderr
    again = json.loads(said.stdout)
    osgbatch("cancel", again["folder"], cwd=folder)
    assert written(stash, kind, part) == before
    if kind == "s3":
        secret_is_nowhere(pool, ran, stash, sent + said.stdout + said.stderr)


def secret_is_nowhere(pool: Pool, ran: Ran, stash: stashes.Stash, texts: str) -> None:
    """No key's secret, and no signed URL, is in a batch folder, an ad or what was said."""
    secret = stash.keys().secret
    ad = pool.run("condor_history", "-long", str(ran.submitted["cluster"]))
    for text in (texts, ad if isinstance(ad, str) else ad.stdout):
        assert secret not in text
        assert "X-Amz-Signature" not in text
    for path in ran.folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert secret.encode() not in content, path
            assert b"X-Amz-Signature" not in content, path


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
    text = PRINT.format(command="sh -c 'cat inputs/* > outputs/got'", body=body)
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


def flipped(content: bytes) -> bytes:
    return content[:5] + bytes([content[5] ^ 1]) + content[6:]


@pytest.mark.parametrize("harm", [flipped, lambda content: content[:-3]], ids=["flipped", "cut"])
def test_a_damaged_object_is_never_computed_upon(
    pool: Pool, stash: stashes.Stash, tmp_path: Path, harm: Callable[[bytes], bytes]
) -> None:
    part = f"harmed-{tmp_path.name}"
    body = (
        "inputs: [{path: data.txt, shared: true}]\nretries: {times: 1, on: infrastructure}\n"
        + stash_lines(stash, "osdf", part)
    )
    spec = printing(tmp_path / "sweep", body, {"data.txt": f"content of {part}\n"})
    rendered = osgbatch("stage", "put", "data.txt", "--spec", spec, cwd=spec.parent)
    (path,) = (stash.posix / part / "osgbatch").glob("*/*.txt")
    assert (
        rendered.stdout.strip() == f"{stash.osdf_url}/{part}/{path.relative_to(stash.posix / part)}"
    )
    submitted = osgbatch("render", spec, cwd=spec.parent, check=None)  # nothing is in the queue yet
    assert submitted.returncode == 0, submitted.stderr
    # As a cache or a disk would do it: the right size would be trusted, the other is refused.
    path.write_bytes(harm(path.read_bytes()))
    if path.stat().st_size != len(f"content of {part}\n"):
        said = osgbatch("submit", "--pool", "condor", spec, cwd=spec.parent, check=4)
        assert "is damaged" in said.stderr
        return
    ran = run_sweep("condor", spec)
    log, cluster = ran.log, int(ran.submitted["cluster"])
    assert pool.terminate_event(log, cluster, 0).exit_code == 114
    assert ran.task(0)["state"] == "failed"
    assert "not what was staged" in json.dumps(ran.task(0))
    assert not (ran.folder / "results/0/outputs/got").exists()
    assert pool.history_ad(cluster, 0)["NumJobStarts"] == 2
    said = osgbatch("stage", "verify", "--spec", spec, cwd=spec.parent, check=4)
    assert "its content is not what its name says" in said.stdout


def test_each_job_gets_its_own_files_of_a_bucket(
    pool: Pool, stash: stashes.Stash, tmp_path: Path, keys: None
) -> None:
    client = stash.client()
    files = {"a.txt": b"of a\n", "deep/b.txt": b"of b\n", "deep/no.dat": b"other\n"}
    for name, content in files.items():
        client.request("PUT", f"/{stashes.BUCKET}/column/{name}", content)
    endpoint = stash.about["s3"]["endpoint"]
    text = PRINT.format(
        command="sh -c 'cp \"$1\" outputs/got' sh {f}",
        body=f"sweep: {{f: {{files: 's3://{stashes.BUCKET}/column/**/*.txt'}}}}\n"
        f"stash: {{s3: s3://{stashes.BUCKET}/column-stash, endpoint: '{endpoint}'}}",
    )
    ran = run_sweep("condor", write_sweep(tmp_path / "sweep", text, {}))
    for index, content in enumerate((b"of a\n", b"of b\n")):
        ended_truly(ran, pool, index)
        assert ran.result(index, "outputs/got") == content
        told = json.loads(ran.result(index, "status.json"))
        assert "md5 1" in json.dumps(told), told
    kept = (ran.folder / "listing.csv").read_text().splitlines()
    assert kept[0] == "url,size,md5"
    sums = {hashlib.md5(files[name]).hexdigest() for name in ("a.txt", "deep/b.txt")}
    assert {line.rpartition(",")[2] for line in kept[1:]} == sums
    for name in ("a.txt", "deep/b.txt"):
        assert stash.wait(lambda name=name: stash.count("s3", "GET", f"/column/{name}", 200) == 1)
    assert stash.count("s3", "GET", "/column/deep/no.dat") == 0

    # Listed, and then cut short or changed: no result.
    osgbatch("render", "sweep.yaml", cwd=tmp_path / "sweep")
    assert re.search(r"^aws_secret_access_key_file", _submit_file(ran), re.MULTILINE)


def _submit_file(ran: Ran) -> str:
    return (ran.folder / "rounds/001/job.submit").read_text()
