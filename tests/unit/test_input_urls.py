"""URLs among the inputs: objects are verified by their names, buckets get a server and keys."""

from __future__ import annotations

import hashlib
import shlex
from pathlib import Path

import pytest
import shim_harness
from shim_harness import Slot, sh

from osgbatch.errors import SpecErrors, StagingError
from osgbatch.rendering.rows import input_line
from osgbatch.spec_model import Stash
from osgbatch.staging.objects import Object
from osgbatch.submission.buckets import key_warning, server_of
from osgbatch.submission.planned import Choices, plan_sweep
from osgbatch.submission.quotas import plan_warnings
from osgbatch.submission.steps import render_sweep
from osgbatch.urls import is_object

slot = shim_harness.slot

RIGHT = b"ACGT\n" * 100
OBJECT = Object(hashlib.sha256(RIGHT).hexdigest(), len(RIGHT), ".fa")
URL = f"osdf:///ns/data/osgbatch/{OBJECT.name}"
MINIO = "{s3: s3://stash/prefix, endpoint: 'https://minio.example.org:9000'}"


@pytest.fixture(autouse=True)
def own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No keys of this machine's user, and no server that would give some."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("CACHE", "STATE", "CONFIG"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "anaccesskey")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "thesecretkey")


def spec_in(folder: Path, lines: str) -> Path:
    path = folder / "sweep.yaml"
    path.write_text(f"command: cat inputs/ref.fa\n{lines}\n")
    return path


def rendered(path: Path) -> tuple[str, list[str]]:
    """The submit file of a batch, and what its items bring."""
    folder = render_sweep(path, None, lambda text: None).folder / "rounds/001"
    items = (folder / "jobs.items").read_text().splitlines()
    return (folder / "job.submit").read_text(), [line.split(" ")[-1] for line in items]


def told(path: Path) -> str:
    """What is wrong with a spec, as it is shown."""
    with pytest.raises(SpecErrors) as caught:
        plan_sweep(path)
    return str(caught.value)


# --- objects --------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["", ".fa", ".tar.gz", ".SIF"])
def test_every_object_of_a_stash_is_known_by_its_url(suffix: str) -> None:
    name = Object(OBJECT.sha256, 1, suffix).name
    for start in ("osdf:///ns", "https://web.example.org/a b", "s3://bucket/p", "file:///d"):
        assert is_object(f"{start}/osgbatch/{name}")
        assert is_object(f"{start}/osgbatch/{name}?directread")
        assert not is_object(f"{start}/other/{name}")
        assert not is_object(f"{start}/osgbatch/{name}/x")
    assert not is_object(f"osdf:///ns/osgbatch/00/{OBJECT.sha256}")


@pytest.mark.parametrize("slot", ["dash"], indirect=True)
@pytest.mark.parametrize(("content", "code"), [(RIGHT, 0), (b"X" + RIGHT[1:], 114)])
def test_an_object_that_the_user_names_is_verified_by_its_name(
    slot: Slot, tmp_path: Path, content: bytes, code: int
) -> None:
    plan = plan_sweep(spec_in(tmp_path, f'inputs: [{{"{URL}": ref.fa}}]'))
    (file,) = plan.tasks.shared
    line = shlex.split(input_line(file).rstrip(";"))
    assert line == ["object", OBJECT.name.partition("/")[2], "inputs/ref.fa"]
    slot.file(line[1], content)
    done = slot.run({0: sh("cat inputs/ref.fa >outputs/x", line)})
    assert done.code == code
    if code:
        assert "is not what was staged" in done.tasks[0]["detail"]
    else:
        assert done.tasks[0]["inputs_verified"] == "sha256 1, md5 0, size 0, not 0"


def test_so_is_one_of_a_row(tmp_path: Path) -> None:
    path = spec_in(tmp_path, "inputs: '{u}'\nsweep: {u: {lines: list.txt}}")
    (tmp_path / "list.txt").write_text(f"{URL}\nosdf:///ns/data/b.fa\n")
    rows = plan_sweep(path).tasks.inputs(0, 2) or []
    assert [input_line(file).split()[0] for files in rows for file in files] == [
        "object", "fetched",
    ]  # fmt: skip


# --- buckets --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("way", "written"),
    [
        *[(way, "s3://data/deep/ref+1.fa") for way in ("inputs", "related", "list", "lines")],
        ("table", "s3://minio.example.org:9000/data/deep/ref+1.fa"),
    ],
)
def test_a_bucket_is_one_of_the_stashs_server_whichever_way_it_comes(
    tmp_path: Path, keys: None, written: str, way: str
) -> None:
    (tmp_path / "list.txt").write_text(f"{written}\n")
    (tmp_path / "t.csv").write_text(f"u\n{written}\n")
    lines = {
        "inputs": f"inputs: ['{written}']",
        "related": f"related: {{'{written}': ref.fa}}",
        "list": "inputs: '@list.txt'",
        "lines": "inputs: {'{u}': ref.fa}\nsweep: {u: {lines: list.txt}}",
        "table": "inputs: '{u}'\nsweep: {table: t.csv}",
    }[way]
    text, items = rendered(spec_in(tmp_path, f"{lines}\nstash: {MINIO}"))
    where = items if way in ("lines", "table") else [text]
    assert "s3://minio.example.org:9000/data/deep/ref+1.fa" in where[0]
    assert f" {written}" not in text or "minio" in written
    assert "aws_access_key_id_file" in text and "aws_secret_access_key_file" in text
    assert "thesecretkey" not in text


def test_a_key_arrives_under_its_quoted_name(tmp_path: Path, keys: None) -> None:
    (file,) = plan_sweep(spec_in(tmp_path, "inputs: 's3://data/x/a+b~é.fa'")).tasks.shared
    assert (file.carried, file.task_path) == ("a%2Bb~%C3%A9.fa", "inputs/a+b~é.fa")
    (file,) = plan_sweep(spec_in(tmp_path, "inputs: 'osdf:///x/a+b%20c.fa'")).tasks.shared
    assert file.carried == "a+b%20c.fa"


def test_an_object_of_a_bucket_is_verified_and_known_as_one(tmp_path: Path, keys: None) -> None:
    url = f"s3://stash/prefix/osgbatch/{OBJECT.name}"
    path = spec_in(tmp_path, f"inputs: ['{url}']\nstash: {MINIO}")
    batch = render_sweep(path, None, lambda text: None)
    assert (batch.folder / "objects.txt").read_text().splitlines()[1:] == [OBJECT.name]


def test_so_is_that_of_an_image(tmp_path: Path, keys: None) -> None:
    text, _ = rendered(spec_in(tmp_path, f"environment: s3://data/image.sif\nstash: {MINIO}"))
    assert "container_image = s3://minio.example.org:9000/data/image.sif" in " ".join(text.split())
    assert "aws_secret_access_key_file" in text


def test_a_server_in_the_url_needs_no_stash(tmp_path: Path, keys: None) -> None:
    path = spec_in(tmp_path, "inputs: 's3://minio.example.org/data/ref.fa'\nstash: none")
    text, _ = rendered(path)
    assert "s3://minio.example.org/data/ref.fa" in text
    assert "aws_access_key_id_file" in text


@pytest.mark.parametrize("stash", ["none", MINIO])
def test_without_keys_check_says_what_to_write(tmp_path: Path, stash: str) -> None:
    path = spec_in(tmp_path, f"stash: {stash}\ninputs:\n- s3://data/ref.fa")
    said = told(path)
    assert 'sweep.yaml:4:3: "s3://data/ref.fa": there are no keys for S3' in said
    assert "aws_secret_access_key_file" in said and "https://" in said
    assert not plan_sweep(path, choices=Choices(staging=False)).buckets


def test_key_files_of_submit_are_the_users_own(tmp_path: Path) -> None:
    own = "submit: {aws_access_key_id_file: /k/a, aws_secret_access_key_file: /k/s}"
    path = spec_in(tmp_path, f"inputs: s3://data/ref.fa\nstash: none\n{own}")
    text, _ = rendered(path)
    assert "= s3://data/ref.fa\n" in text and text.count("aws_access_key_id_file") == 1
    plan_sweep(spec_in(tmp_path, f"inputs: s3://data/ref.fa\nstash: {MINIO}\n{own}"))


def test_temporary_keys_are_refused_before_anything_is_staged(
    tmp_path: Path, keys: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "ofthesekeys")
    said = told(spec_in(tmp_path, f"inputs: s3://data/ref.fa\nstash: {MINIO}"))
    assert "temporary" in said and "aws_secret_access_key_file" in said


def test_a_server_that_is_not_the_stashs_is_refused(tmp_path: Path, keys: None) -> None:
    for url in ("s3://other.example.org/data/a.fa", "s3://data.s3.us-east-1.amazonaws.com/a.fa"):
        assert "another server" in told(spec_in(tmp_path, f"inputs: '{url}'\nstash: {MINIO}"))


@pytest.mark.parametrize(
    ("url", "stash", "bucket", "endpoint"),
    [
        ("s3://data/a", Stash(), "data", ""),
        ("s3://data/a", Stash("s3", "s3://b", endpoint="https://m.org"), "data", "https://m.org"),
        ("s3://m.org/data/a", Stash("s3", "s3://b", endpoint="https://m.org"), "data", "https://m.org"),
        ("s3://h.org:1/data/a", Stash("folder", "osdf:///x", "/x"), "data", "https://h.org:1"),
        ("s3://my.data/a", Stash(), "my.data", ""),
        ("s3://my.data/a/b", Stash("s3", "s3://my.data/p"), "my.data", ""),
        ("s3://data.s3.eu-north-1.amazonaws.com/a/b", Stash("s3", "s3://b"), "data", ""),
    ],
)  # fmt: skip
def test_what_stands_first_is_a_bucket_or_a_host(
    url: str, stash: Stash, bucket: str, endpoint: str
) -> None:
    found = server_of(url, stash)
    assert (found.kind, found.url, found.endpoint) == ("s3", f"s3://{bucket}", endpoint)


@pytest.mark.parametrize("host", ["b.s3", "s3.eu-north-1", "my.b.s3.eu-north-1", "s3"])
def test_an_address_of_aws_that_names_no_bucket(host: str) -> None:
    with pytest.raises(StagingError, match="which bucket of AWS"):
        server_of(f"s3://{host}.amazonaws.com/data/a", Stash())


def test_one_pair_of_keys_is_for_one_server() -> None:
    with pytest.raises(StagingError, match="another server"):
        server_of("s3://h.org/data/a", Stash("s3", "s3://b"))


@pytest.mark.parametrize(
    "lines",
    [
        f"inputs: {{path: big, shared: true}}\nstash: {MINIO}",
        """inputs: {path: big, shared: true}
stash: {folder: stash, url: 'osdf:///ns'}
outputs_to: s3://results/here""",
    ],
    ids=["stash", "outputs_to"],
)
@pytest.mark.parametrize("temporary", [True, False])
def test_keys_are_looked_for_before_anything_is_staged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: str, temporary: bool
) -> None:
    (tmp_path / "stash").mkdir()
    (tmp_path / "big").write_text("big")
    why = "there are no keys"
    if temporary:
        why = "temporary"
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            monkeypatch.setenv(name, "some")
    path = spec_in(tmp_path, lines)
    plan = plan_sweep(path)
    (warning,) = (w for w in plan_warnings(plan, None, tmp_path) if "refuse" in w)
    assert why in warning and "(s3://" in warning
    assert why in key_warning(plan, staged=True)
    with pytest.raises(StagingError, match=why):
        render_sweep(path, None, lambda text: None)
    assert not [*(tmp_path / "stash").iterdir()] and not (tmp_path / "batches").exists()


def test_a_pattern_that_cannot_be_listed_says_why(tmp_path: Path) -> None:
    path = spec_in(tmp_path, "sweep: {f: {files: 's3://data/*.fa'}}\nstash: none")
    assert "AWS was asked, since no `stash:" in told(path)
    with pytest.raises(SpecErrors, match="the local runner fetches nothing from s3://"):
        plan_sweep(path, choices=Choices(staging=False))
