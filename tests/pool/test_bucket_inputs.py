"""Inputs that the user has in a bucket: HTCondor is given the server, the keys, and the raw key."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import stashes
from conftest import Pool
from sweeps import ended_truly, run_sweep, write_sweep

pytestmark = [pytest.mark.pool, pytest.mark.once]

SPEC = """\
name: bucket
command: sh -c 'cat inputs/plain inputs/own inputs/object > outputs/got'
inputs:
- "s3://{bucket}/bucket-inputs/x+y~1.txt": plain
- "s3://{bucket}/bucket-inputs/osgbatch/{name}": object
- "{{u}}": own
sweep: {{u: {{lines: list.txt}}}}
tasks_per_job: 2
resources: {{memory: 100 MB, disk: 100 MB}}
outputs: [outputs/got]
stash: {{s3: s3://{bucket}/bucket-stash, endpoint: '{endpoint}'}}
"""


def test_inputs_come_from_the_users_bucket(
    pool: Pool, stash: stashes.Stash, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = stash.about["s3"]
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", about["credentials_file"])
    monkeypatch.setenv("AWS_CA_BUNDLE", about["ca_file"])
    sha256 = hashlib.sha256(b"object\n").hexdigest()
    name = f"{sha256[:2]}/{sha256}.txt"
    put = {
        "x+y~1.txt": b"plain\n",
        f"osgbatch/{name}": b"object\n",
        "0.txt": b"own 0\n",
        "1.txt": b"own 1\n",
    }
    for key, content in put.items():
        path = f"/{stashes.BUCKET}/bucket-inputs/{key}"
        assert stash.client().request("PUT", path, content).status == 200
    # A bucket and a server: each is understood.
    lines = f"s3://{stashes.BUCKET}/bucket-inputs/0.txt\n{stash.bucket_url}/bucket-inputs/1.txt\n"
    text = SPEC.format(bucket=stashes.BUCKET, endpoint=about["endpoint"], name=name)
    ran = run_sweep("condor", write_sweep(tmp_path / "sweep", text, {"list.txt": lines}))
    ended_truly(ran, pool, 0)
    for index in range(2):
        assert ran.result(index, "outputs/got") == b"plain\nown %d\nobject\n" % index
        how = json.dumps(json.loads(ran.result(index, "status.json")))
        assert "sha256 1, md5 0, size 0, not 2" in how
    inputs = pool.history_ad(ran.submitted["cluster"], 0)["TransferInput"]
    assert f"{stash.bucket_url}/bucket-inputs/x+y~1.txt" in inputs
