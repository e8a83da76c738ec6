"""Jobs whose files are moved by HTCondor's transfer plugins to and from a stash."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from conftest import Event, Pool

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools" / "stash"))

import stashes

pytestmark = pytest.mark.pool

SUBMIT = """\
executable = /bin/sh
arguments = "-c '{command}'"
transfer_executable = false
should_transfer_files = YES
when_to_transfer_output = ON_EXIT
transfer_input_files = {inputs}
{lines}
output = out
error = err
log = log
request_cpus = 1
request_memory = 64 MB
request_disk = 64 MB
queue
"""
HELD, ENDED = 12, 5


def keys(stash: stashes.Stash, secret: str = "") -> str:
    """The lines of a submit file that name the files with S3's keys."""
    about = stash.about["s3"]
    return (
        f"aws_access_key_id_file = {about['access_key_file']}\n"
        f"aws_secret_access_key_file = {secret or about['secret_key_file']}"
    )


def outcome(
    pool: Pool, folder: Path, number: int, command: str, inputs: list[str], lines: str = ""
) -> Event:
    """Run one job from a folder; returns the event with this number, the job's last."""
    folder.mkdir(exist_ok=True)
    text = SUBMIT.format(command=command, inputs=", ".join(inputs), lines=lines)
    cluster = pool.submit(text, folder)
    event = pool.event(number, folder / "log", cluster, 0)
    if number == HELD:
        pool.run("condor_rm", str(cluster))
    return event


def test_inputs_come_by_osdf_http_and_s3(pool: Pool, stash: stashes.Stash, tmp_path: Path) -> None:
    (stash.posix / "one.txt").write_text("from osdf\n")
    (stash.posix / "two.txt").write_text("from http\n")
    put = stash.client().request("PUT", f"/{stashes.BUCKET}/deep/three.txt", b"from s3\n")
    assert put.status == 200, put
    urls = [
        f"{stash.osdf_url}/one.txt",
        f"{stash.about['origin']['url']}{stashes.PLACE}/two.txt",
        f"{stash.bucket_url}/deep/three.txt",
    ]
    command = "cat one.txt two.txt three.txt > all"
    ended = outcome(pool, tmp_path, ENDED, command, urls, keys(stash))
    assert ended.exit_code == 0
    assert (tmp_path / "all").read_text() == "from osdf\nfrom http\nfrom s3\n"
    assert stash.wait(lambda: stash.count("cache", "GET", "/one.txt", 200) == 1)
    assert stash.wait(lambda: stash.count("origin", "GET", "/one.txt", 200) == 1)
    assert stash.wait(lambda: stash.count("s3", "GET", "/deep/three.txt", 200) == 1)


def test_an_output_goes_to_the_origin_and_is_never_overwritten(
    pool: Pool, stash: stashes.Stash, tmp_path: Path
) -> None:
    lines = f'transfer_output_files = up\ntransfer_output_remaps = "up = {stash.osdf_url}/r/up"'
    assert outcome(pool, tmp_path / "a", ENDED, "echo 1 > up", [], lines).exit_code == 0
    assert (stash.posix / "r/up").read_text() == "1\n"
    held = outcome(pool, tmp_path / "b", HELD, "echo 2 > up", [], lines)
    assert "exists already" in held.body
    assert (stash.posix / "r/up").read_text() == "1\n"


@pytest.mark.once  # of HTCondor's plugins, which run outside of the container
def test_what_changes_under_its_name_is_stale(
    pool: Pool, stash: stashes.Stash, tmp_path: Path
) -> None:
    """The fault of the OSDF's caches that staging by content is there for."""
    url = f"{stash.osdf_url}/changing"
    for text, name in (("old", "a"), ("new", "b")):
        (stash.posix / "changing").write_text(text)
        assert outcome(pool, tmp_path / name, ENDED, "cp changing got", [url]).exit_code == 0
        assert (tmp_path / name / "got").read_text() == "old"
    assert stash.count("origin", "GET", "/changing") == 1
    asked = outcome(pool, tmp_path / "c", ENDED, "cp changing* got", [f"{url}?directread"])
    assert asked.exit_code == 0
    assert (tmp_path / "c/got").read_text() == "new"


@pytest.mark.once  # of HTCondor's plugins, which run outside of the container
def test_a_wrong_key_holds_the_job_and_does_not_appear_in_its_log(
    pool: Pool, stash: stashes.Stash, tmp_path: Path
) -> None:
    assert stash.client().request("PUT", f"/{stashes.BUCKET}/kept", b"1").status == 200
    wrong = tmp_path / "wrong.secret"
    wrong.write_text("notthekey\n")
    lines = keys(stash, str(wrong))
    held = outcome(pool, tmp_path, HELD, "true", [f"{stash.bucket_url}/kept"], lines)
    assert "Code 13 " in held.body
    assert "returned error: 403" in held.body
    log = (tmp_path / "log").read_text()
    assert "X-Amz" not in log
    assert "notthekey" not in log
