"""URLs that are signed in advance: only when told, for as long as told, and kept from others."""

from __future__ import annotations

import re
import ssl
import stat
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest
import stashes
from test_container_image import image

from osgbatch import exits
from osgbatch.errors import OsgbatchError, StagingError
from osgbatch.spec_model import Stash
from osgbatch.staging.keys import Keys, check_lifetime
from osgbatch.staging.store import open_store
from osgbatch.submission.planned import Choices, presigned_seconds
from osgbatch.submission.steps import render_sweep

DAY = 86_400
SPEC = """\
command: cat inputs/big.bin
inputs: [{{path: big.bin, shared: true}}]
{more}
stash: {{s3: s3://{bucket}/signed, endpoint: '{endpoint}'}}
"""


@pytest.fixture
def keys(stash: stashes.Stash, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", stash.about["s3"]["credentials_file"])
    monkeypatch.setenv("AWS_CA_BUNDLE", stash.about["s3"]["ca_file"])


def a_sweep(folder: Path, stash: stashes.Stash, more: str = "") -> Path:
    (folder / "big.bin").write_bytes(b"secret content")
    spec = folder / "sweep.yaml"
    endpoint = stash.about["s3"]["endpoint"]
    spec.write_text(SPEC.format(bucket=stashes.BUCKET, endpoint=endpoint, more=more))
    return spec


def test_a_batch_with_signed_urls_is_for_its_owner_alone(
    tmp_path: Path, stash: stashes.Stash, keys: None
) -> None:
    said: list[str] = []
    spec = a_sweep(tmp_path, stash)
    batch = render_sweep(spec, None, said.append, Choices(presigned_s=DAY))
    submit_file = (batch.folder / "rounds/001/job.submit").read_text()
    (url,) = re.findall(r"https://\S+", submit_file)
    assert "aws_access" not in submit_file and "X-Amz-Expires=86400" in url
    context = ssl.create_default_context(cafile=stash.about["s3"]["ca_file"])
    with urllib.request.urlopen(url, context=context) as answer:
        assert answer.read() == b"secret content"
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(url.partition("?")[0], context=context)
    assert any("whoever may read a job's ad" in line for line in said)
    for path in (batch.folder, *batch.folder.rglob("*")):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path
    secrets = [p.name for p in batch.folder.rglob("*") if p.is_file() and "X-Amz" in p.read_text()]
    assert sorted(secrets) == ["job.submit", "resolved.json"]

    plain = render_sweep(spec, None, said.append)
    assert "aws_secret_access_key_file" in (plain.folder / "rounds/001/job.submit").read_text()
    assert stat.S_IMODE((plain.folder / "rounds/001/job.submit").stat().st_mode) & 0o044


@pytest.mark.parametrize(
    ("more", "lifetime", "why"),
    [
        ("resources: {time: 3 h}", 3600, "a job may take"),
        ("environment: {container: image.sif}", DAY, "an image cannot be fetched"),
    ],
)
def test_signatures_that_would_be_of_no_use_are_refused(
    tmp_path: Path, stash: stashes.Stash, keys: None, more: str, lifetime: int, why: str
) -> None:
    spec = a_sweep(tmp_path, stash, more)
    (tmp_path / "image.sif").write_bytes(image())
    before = stash.count("s3", "PUT")
    with pytest.raises(OsgbatchError, match=why) as caught:
        render_sweep(spec, None, lambda _: None, Choices(presigned_s=lifetime))
    assert caught.value.exit_code == exits.BAD_INPUT
    assert stash.count("s3", "PUT") == before and not (tmp_path / "batches").exists()


def test_the_time_is_at_most_seven_days() -> None:
    assert presigned_seconds("") == 0
    assert presigned_seconds("7 days") == 7 * DAY
    for wrong in ("8 days", "3", "soon"):
        with pytest.raises(OsgbatchError, match=r"7 days|unit|not a time"):
            presigned_seconds(wrong)


def test_only_urls_of_s3_can_be_signed(tmp_path: Path) -> None:
    spec = tmp_path / "sweep.yaml"
    spec.write_text("command: echo\n")
    with pytest.raises(OsgbatchError, match="the stash is no bucket"):
        render_sweep(spec, None, lambda _: None, Choices(presigned_s=DAY))


def test_keys_must_outlast_what_they_sign() -> None:
    signed = Stash("s3", "s3://bucket", presigned_s=DAY)
    check_lifetime(signed, Keys("a", "b", "c"))  # until when is not known
    check_lifetime(replace(signed, presigned_s=0), Keys("a", "b", "c", expires=1.0))
    with pytest.raises(StagingError, match="the keys for S3 expire"):
        check_lifetime(signed, Keys("a", "b", "c", expires=1.0))


def test_the_end_of_temporary_keys_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_SESSION_TOKEN": "token",
        "AWS_CREDENTIAL_EXPIRATION": "2099-01-01T00:00:00Z",
    }.items():
        monkeypatch.setenv(name, value)
    place = Stash("s3", "s3://bucket/x", endpoint="https://127.0.0.1:9", presigned_s=DAY)
    store = open_store(place)
    assert store.keys.expires == 4070908800.0  # type: ignore[attr-defined]
    assert "X-Amz-Security-Token=token" in store.fetch_url("ab/cd")
    with pytest.raises(StagingError, match="--allow-presigned"):
        open_store(replace(place, presigned_s=0)).commands()
