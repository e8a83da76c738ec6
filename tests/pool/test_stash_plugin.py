"""Jobs whose inputs and outputs are moved by HTCondor's transfer plugins to and from a stash."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Pool

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "stash"))

import stash as stashes

pytestmark = pytest.mark.pool

SUBMIT = """\
executable = /bin/sh
arguments = "-c 'cat {names} > all; {more}'"
transfer_executable = false
should_transfer_files = YES
when_to_transfer_output = ON_EXIT
transfer_input_files = {urls}
{lines}
output = out
error = err
log = log
request_cpus = 1
request_memory = 64 MB
request_disk = 64 MB
queue
"""


@pytest.fixture(scope="module")
def stash(tmp_path_factory: pytest.TempPathFactory) -> Iterator[stashes.Stash]:
    with stashes.running(tmp_path_factory.mktemp("stash") / "s") as made:
        yield made


def keys(stash: stashes.Stash) -> str:
    """The lines of a submit file that name the files with S3's keys."""
    about = stash.about["s3"]
    return (
        f"aws_access_key_id_file = {about['access_key_file']}\n"
        f"aws_secret_access_key_file = {about['secret_key_file']}"
    )


def test_inputs_come_by_osdf_http_and_s3(pool: Pool, stash: stashes.Stash, tmp_path: Path) -> None:
    (stash.posix / "one.txt").write_text("from osdf\n")
    (stash.posix / "two.txt").write_text("from http\n")
    put = stash.client().request("PUT", f"/{stashes.BUCKET}/deep/three.txt", b"from s3\n")
    assert put.status == 200, put
    origin, place = stash.about["origin"]["url"], stashes.PLACE
    urls = [
        f"{stash.osdf_url}/one.txt",
        f"{origin}{place}/two.txt",
        f"{stash.bucket_url}/deep/three.txt",
    ]
    text = SUBMIT.format(
        names="one.txt two.txt three.txt", more=":", urls=", ".join(urls), lines=keys(stash)
    )
    cluster = pool.submit(text, tmp_path)
    assert pool.terminate_event(tmp_path / "log", cluster, 0).exit_code == 0
    assert (tmp_path / "all").read_text() == "from osdf\nfrom http\nfrom s3\n"
    assert stash.wait(lambda: stash.count("cache", "GET", "/one.txt", 200) == 1)
    assert stash.wait(lambda: stash.count("origin", "GET", "/one.txt", 200) == 1)
    assert stash.wait(lambda: stash.count("s3", "GET", "/deep/three.txt", 200) == 1)
