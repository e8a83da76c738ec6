"""A job fetches its input by a URL that was signed in advance, where HTCondor has no keys."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import stashes
from conftest import Pool
from sweeps import Ran, ended_truly, osgbatch, write_sweep

pytestmark = [pytest.mark.pool, pytest.mark.once]

SPEC = """\
name: signed
command: sh -c 'cat inputs/big.bin inputs/*/one > outputs/got'
inputs: [{{path: big.bin, shared: true}}, {{path: folder, shared: true}}]
resources: {{memory: 100 MB, disk: 100 MB}}
outputs: [outputs/got]
stash: {{s3: s3://{bucket}/signed-pool, endpoint: '{endpoint}'}}
"""


def test_a_job_fetches_by_a_signed_url(
    pool: Pool, stash: stashes.Stash, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = stash.about["s3"]
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", about["credentials_file"])
    monkeypatch.setenv("AWS_CA_BUNDLE", about["ca_file"])
    text = SPEC.format(bucket=stashes.BUCKET, endpoint=about["endpoint"])
    folder = tmp_path / "sweep"
    spec = write_sweep(folder, text, {"big.bin": "fetched\n", "folder/one": "and one\n"})
    words = ("submit", "--pool", "condor", "--json", "--allow-presigned", "1 day", spec)
    said = osgbatch(*words, cwd=folder)
    assert "warning: the URLs of what is staged are signed in advance" in said.stderr
    submitted = json.loads(said.stdout)
    batch = Path(submitted["folder"])
    osgbatch("watch", batch, cwd=folder, check=None)
    osgbatch("collect", batch, "--no-gather", cwd=folder, check=None)
    status = json.loads(osgbatch("status", batch, "--json", cwd=folder, check=None).stdout)
    ran = Ran("condor", submitted, status, batch)
    ended_truly(ran, pool, 0)
    assert ran.result(0, "outputs/got") == b"fetched\nand one\n"
    assert "sha256 2" in json.dumps(json.loads(ran.result(0, "status.json")))
    ad = pool.history_ad(submitted["cluster"], 0)
    assert "X-Amz-Signature" in ad["TransferInput"]
    assert "EC2AccessKeyId" not in ad and "EC2SecretAccessKey" not in ad
