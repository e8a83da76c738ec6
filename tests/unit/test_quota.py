"""Room at home and in the stash is looked at before a byte moves."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest

from osgbatch import exits
from osgbatch.cli import app
from osgbatch.packing import folders
from osgbatch.spec_model import Profile, Stash
from osgbatch.staging import quota
from osgbatch.staging.quota import QuotaCommandError, Room, ask, room_left
from osgbatch.staging.store import open_store, quota_command

PROFILE = """\
input_size: none
shared_size: 1 KB
home: {home}
quotas: {{home: {at_home}, stash: {in_stash}}}
"""
SPEC = """\
profile: ./pool.yaml
command: cat inputs/big.bin inputs/{{n}}.txt
sweep: {{n: [1, 2]}}
inputs: [big.bin, "{{n}}.txt"]
files: [part.bin]
stash: {{folder: {stash}, url: "file://{stash}"}}
"""


def a_sweep(folder: Path, at_home: str = "echo none", in_stash: str = "echo none") -> Path:
    """A sweep with 100 kB for its stash, and 50 kB for its batch folder."""
    (folder / "stash").mkdir()
    (folder / "big.bin").write_bytes(b"x" * 100_000)
    (folder / "part.bin").write_bytes(b"y" * 50_000)
    for n in (1, 2):
        (folder / f"{n}.txt").write_text("small")
    (folder / "pool.yaml").write_text(
        PROFILE.format(home=folder, at_home=json.dumps(at_home), in_stash=json.dumps(in_stash))
    )
    spec = folder / "sweep.yaml"
    spec.write_text(SPEC.format(stash=folder / "stash"))
    return spec


def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str
) -> tuple[int, str, str]:
    """The command line, in this process: exit code, stdout, stderr."""
    monkeypatch.setattr(sys, "argv", ["osgbatch", *words])
    code = app.run()
    caught = capsys.readouterr()
    return code, caught.out, caught.err


def test_a_quota_command_prints_one_number() -> None:
    assert ask("echo 1234") == 1234
    assert ask("echo 1.5 KB") == 1536
    assert ask("echo 2GiB") == 2 * 1024**3
    assert ask("echo 3 t") == 3 * 1024**4
    assert ask("echo 12 bytes") == 12
    assert ask("echo -5 GB") == 0
    assert ask("echo none") is None
    assert ask("sh -c 'echo 1; echo >&2 noise'") == 1


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("/no/such/program", "cannot be run: No such file"),
        ("sh -c 'echo >&2 no such user; exit 3'", "exit code 3: no such user"),
        ("echo lots", "it printed lots, and not one number"),
        ("echo 1 2", "it printed 1 2,"),
        ("true", "it printed nothing"),
        ("echo 'never closed", "No closing quotation"),
    ],
)
def test_a_quota_command_of_no_use_says_why(command: str, why: str) -> None:
    with pytest.raises(QuotaCommandError) as caught:
        ask(command)
    assert why in str(caught.value)


def test_a_quota_command_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quota, "TIMEOUT_S", 0.2)
    start = time.monotonic()
    with pytest.raises(QuotaCommandError, match="no answer"):
        ask("sh -c 'sleep 60 & sleep 60'")
    assert time.monotonic() - start < 10


def test_what_leaves_less_counts(tmp_path: Path) -> None:
    of_disk = room_left("", tmp_path / "not" / "there" / "yet")
    assert of_disk.left and of_disk.by == "the file system"
    assert room_left("echo 7", tmp_path) == Room(7, "the quota")
    assert room_left("echo 1000000 PB", tmp_path).by == "the file system"
    assert room_left("", None) == Room(None)
    broken = room_left("false", None)
    assert broken.left is None and "exit code 1" in broken.fault


def test_the_quota_of_a_pools_stash_is_that_of_no_other() -> None:
    own = Stash("folder", "osdf:///pool", "/pool")
    profile = Profile(stash=own, quotas=(("stash", "echo 1"),))
    assert quota_command(own, profile) == "echo 1"
    assert quota_command(Stash("s3", "s3://bucket"), profile) == ""
    assert quota_command(Stash("s3", "s3://bucket"), Profile(quotas=profile.quotas)) == "echo 1"


def test_a_stash_that_is_full_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = a_sweep(tmp_path, in_stash="echo 99999")
    code, _, err = run(capsys, monkeypatch, "render", str(spec))
    assert code == exits.STAGING
    assert "100,000 bytes are to be staged, and the quota leaves room for 99,999" in err
    assert list((tmp_path / "stash").rglob("*.bin")) == []
    assert not (tmp_path / "batches").exists()
    code, out, _ = run(capsys, monkeypatch, "plan", str(spec), "--json")
    assert code == 0
    assert any("up to 97.7 KB are to be staged" in w for w in json.loads(out)["warnings"])


def test_a_home_that_is_full_gets_no_batch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = a_sweep(tmp_path, at_home="echo 40 KB")
    code, _, err = run(capsys, monkeypatch, "render", str(spec))
    assert code == exits.PACKING and "the quota leaves" in err
    assert list((tmp_path / "stash").rglob("*")) == []  # not a byte has moved
    assert not (tmp_path / "batches").exists()
    code, out, _ = run(capsys, monkeypatch, "plan", str(spec), "--json")
    assert code == 0 and any("your home folder" in w for w in json.loads(out)["warnings"])


def test_folders_that_are_packed_first_need_room_in_the_cache(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "YOUNG_NS", -1)  # what is written here is noted at once
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # at home
    spec = a_sweep(tmp_path, at_home="echo 70 KB")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/large").write_bytes(bytes(90_000))
    text = spec.read_text().replace("big.bin,", "{path: data, shared: true}, big.bin,")
    spec.write_text(text)
    code, out, _ = run(capsys, monkeypatch, "plan", str(spec), "--json")
    assert code == 0
    assert any("70 KB in your home folder; `tree: true`" in w for w in json.loads(out)["warnings"])
    # An archive is smaller than what it holds: it may fit, so nothing is refused.
    code, _, err = run(capsys, monkeypatch, "render", str(spec))
    assert code == 0
    assert "packed first, which takes up to 87.9 KB, and the quota leaves 70 KB" in err
    spec.write_text(text.replace("{path: data,", "{path: data, tree: true,"))
    assert run(capsys, monkeypatch, "render", str(spec))[0] == 0
    # One that was packed as it is now takes no room again.
    spec.write_text(text)
    pool = (tmp_path / "pool.yaml").read_text()
    (tmp_path / "pool.yaml").write_text(pool.replace("70 KB", "1 GB"))
    assert run(capsys, monkeypatch, "render", str(spec))[0] == 0
    (tmp_path / "pool.yaml").write_text(pool)
    assert run(capsys, monkeypatch, "render", str(spec))[0] == 0


def test_little_room_and_a_broken_command_are_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = a_sweep(tmp_path, at_home="echo plenty", in_stash="echo 100001")
    code, _, err = run(capsys, monkeypatch, "render", str(spec))
    assert code == 0
    assert "warning: the quota command of your home folder is of no use: echo plenty: it" in err
    assert "warning: the stash will have 1 bytes left, by the quota" in err
    code, _, err = run(capsys, monkeypatch, "render", str(spec))  # nothing is to be staged now
    assert code == 0 and "the stash will" not in err


def test_what_an_interrupted_upload_left_is_not_counted_twice(tmp_path: Path) -> None:
    from osgbatch.staging.objects import Object

    store = open_store(Stash("folder", "file:///x", str(tmp_path)))
    one = Object("ab" * 32, 100, ".bin")
    assert store.begun([one]) == 0
    part = tmp_path / "osgbatch" / "ab" / f".part-{one.sha256}.bin"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 60)
    assert store.begun([one]) == 60
