"""`osgbatch stage` as it is typed: what goes and what stays, and what is said of damage."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import started
from typer.testing import CliRunner

from osgbatch.batches import registry
from osgbatch.cli.app import command_line
from osgbatch.errors import OsgbatchError, StagingError
from osgbatch.staging.store import Store
from osgbatch.submission import stashing
from osgbatch.submission.planned import Choices
from osgbatch.submission.staged import Silent
from osgbatch.submission.steps import render_sweep, submit_sweep

ROOT = Path(__file__).parents[2]
DAY = 86_400


class Place:
    """A folder with a sweep, its stash beside it, and an empty folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stash, self.empty = folder / "stash", folder / "empty"
        self.sweep = folder / "sweep"
        for one in (self.stash, self.empty, self.sweep):
            one.mkdir()
        self.spec = self.sweep / "sweep.yaml"
        self.write("inputs: [{path: model.h5, shared: true}]")
        (self.sweep / "model.h5").write_bytes(b"the model")

    def write(self, more: str) -> None:
        stash = "stash: {folder: ../stash, url: 'osdf:///ns/data'}"
        self.spec.write_text(f"command: cat inputs/model.h5\n{stash}\n{more}\n")

    def store(self) -> Store:
        return stashing.stash_store(self.spec)

    def put(self, name: str, content: bytes, say: Callable[[str], None] = print) -> Path:
        """Bring a file; its object. It is not remembered that it was put."""
        (self.folder / name).write_bytes(content)
        made, _ = stashing.put([self.folder / name], self.store(), say, Silent())
        return self.stash / made[0].url.removeprefix("osdf:///ns/data/")

    def age(self, days: float) -> None:
        """As if all objects had been brought, and put, some days ago."""
        for one in self.objects():
            os.utime(one, (time.time() - days * DAY,) * 2)
        puts = self.folder / "state/osgbatch/puts.list"
        if puts.exists():
            lines = puts.read_text().splitlines()
            ago = (f"{float(line.split()[0]) - days * DAY} {line.split()[1]}\n" for line in lines)
            puts.write_text("".join(ago))

    def objects(self) -> set[Path]:
        return {p for p in self.stash.rglob("*") if p.is_file() and p.name[0] != "."}

    def gc(self, *words: str | Path) -> tuple[int, str]:
        return command("gc", "--spec", self.spec, *words)


def command(*words: str | Path) -> tuple[int, str]:
    """`osgbatch stage`: its exit code, and what it prints."""
    done = CliRunner().invoke(command_line(), ["stage", *map(str, words)], standalone_mode=False)
    if isinstance(done.exception, OsgbatchError):
        return done.exception.exit_code, str(done.exception)
    assert done.exception is None, done.exception
    return int(done.return_value), done.output


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return Place(tmp_path)


def ignored(text: str) -> None:
    """What is said and does not matter."""


# --- gc -------------------------------------------------------------------------------------------


def test_what_a_submitted_batch_refers_to_stays_wherever_it_is(place: Place) -> None:
    batch = render_sweep(place.spec, None, ignored)
    used = place.objects()
    other = place.put("other.npy", b"nobody's")
    place.age(3)
    assert len(used) == 1
    registry.register(batch.id, batch.folder)
    registry.register("0123456789ab", place.folder / "is gone")
    code, said = place.gc(place.empty)
    assert (code, place.objects()) == (0, {*used, other})
    assert "1 object (8 bytes) not referred to; 1 batch looked at" in said
    code, said = place.gc(place.empty, "--delete")
    assert (code, place.objects()) == (0, used)
    assert "1 object (8 bytes) removed; 1 batch looked at" in said
    batch.folder.rename(place.folder / "moved")
    assert place.gc(place.folder, "--delete")[0] == 0
    assert place.objects() == used


def test_what_is_in_use_beside_the_folder_that_is_named_is_not_guessed(place: Place) -> None:
    render_sweep(place.spec, None, ignored)
    place.age(3)
    before = place.objects()
    code, said = place.gc(place.empty, "--delete")
    assert (code, place.objects()) == (2, before)
    assert "no batch was found" in said
    assert "--force" in said
    assert place.gc(place.empty, "--delete", "--force")[0] == 0
    assert place.objects() == set()


def test_a_registry_that_cannot_be_read_is_not_taken_for_an_empty_one(place: Place) -> None:
    place.put("other.npy", b"nobody's")
    place.age(3)
    registry.registry_path().mkdir(parents=True)
    code, said = place.gc(place.empty, "--delete", "--force")
    assert (code, len(place.objects())) == (4, 1)
    assert "batches.jsonl" in said


def test_what_a_submission_trusts_is_not_removed_before_it_is_written_down(place: Place) -> None:
    trusted = place.put("model.npy", b"the model of old")
    (place.sweep / "model.npy").write_bytes(b"the model of old")
    place.write("inputs: [{path: model.npy, shared: true}]")
    place.age(3)
    seen = []

    def meanwhile(text: str) -> None:
        if text.startswith("stage:"):
            seen.append((text, place.gc(place.empty, "--delete", "--force")))

    batch = render_sweep(place.spec, None, meanwhile)
    ((text, (code, said)),) = seen
    assert "0 files of 1 to upload" in text
    assert code == 4
    assert "using the stash" in said
    assert trusted.name in (batch.folder / "objects.txt").read_text()
    assert place.gc(place.sweep, "--delete")[0] == 0
    assert place.objects() == {trusted}


def test_what_was_put_is_kept_for_a_while_also_when_it_was_there(place: Place) -> None:
    old = place.put("a.npy", b"content")
    place.age(3)
    seen = []

    def meanwhile(text: str) -> None:
        seen.append(place.gc(place.empty, "--delete", "--force")[0])

    assert place.put("a.npy", b"content", meanwhile) == old
    assert seen == [4]  # its URL is not printed yet
    code, said = place.gc(place.empty, "--delete", "--force")
    assert (code, place.objects()) == (0, {old})
    assert "1 more" in said
    place.age(2)
    assert place.gc(place.folder, "--delete", "--force")[0] == 0  # where that is remembered, too
    assert place.objects() == set()


def test_gc_tells_machines_what_it_tells_people(place: Place) -> None:
    place.put("a.npy", b"content")
    found = json.loads(place.gc(place.empty, "--json")[1])
    assert found == {"deleted": False, "objects": [], "batches": 0, "young": 1}


# --- verify ---------------------------------------------------------------------------------------


def test_a_damaged_object_is_told_removed_when_asked_and_staged_anew(place: Place) -> None:
    bad, good = place.put("a.npy", b"content"), place.put("b.npy", b"other")
    bad.write_bytes(b"c0ntent")
    code, said = command("verify", "--spec", place.spec)
    assert code == 4
    assert f"{bad.name}: its content is not what its name says" in said
    assert "2 objects (12 bytes) read, 1 damaged" in said
    assert place.objects() == {bad, good}
    with place.store().hold():
        code, said = command("verify", "--remove", "--spec", place.spec)
        assert (code, place.objects()) == (4, {bad, good})
    code, said = command("verify", "--remove", "--spec", place.spec)
    assert (code, place.objects()) == (0, {good})
    assert said.index(bad.name) < said.index("1 removed")
    assert place.put("a.npy", b"content") == bad
    assert command("verify", "--spec", place.spec)[0] == 0


def test_one_text_tells_of_damage_and_it_can_be_followed(place: Place) -> None:
    bad = place.put("a.npy", b"content")
    bad.write_bytes(b"cont")
    with pytest.raises(StagingError, match="it has 4 bytes and should have 7") as raised:
        place.put("a.npy", b"content")
    (told,) = re.findall("`osgbatch (.*?)`", raised.value.fix)
    done = started.osgbatch([*told.split(), "--spec", place.spec], ROOT)
    assert done.returncode == 0 and "1 damaged" in done.stdout
    assert place.put("a.npy", b"content").read_bytes() == b"content"


# --- submit --verify ------------------------------------------------------------------------------


@pytest.mark.parametrize("named", [False, True])
def test_verify_reads_what_is_trusted_before_it_is_used(place: Place, named: bool) -> None:
    if named:
        made = place.put("model.h5", b"the model")
        place.write(f"inputs: ['osdf:///ns/data/{made.relative_to(place.stash)}']")
    else:
        render_sweep(place.spec, None, ignored, Choices())
    (made,) = place.objects()
    said: list[str] = []
    render_sweep(place.spec, None, said.append, Choices(verify=True))
    assert "verify: 1 object of the stash read, as it should be" in said
    before = sorted(place.sweep.rglob("*"))
    made.write_bytes(b"the modem")
    with pytest.raises(StagingError, match="damaged"):
        render_sweep(place.spec, None, said.append, Choices(verify=True))
    assert sorted(place.sweep.rglob("*")) == before
    made.unlink()
    if named:
        with pytest.raises(StagingError, match="no such object"):
            render_sweep(place.spec, None, said.append, Choices(verify=True))
    else:
        said.clear()
        render_sweep(place.spec, None, said.append, Choices(verify=True))
        assert [
            text for text in said if text.startswith("verify")
        ] == []  # read when it was brought


def test_submit_has_an_option_for_it(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    given = []

    def submit(
        spec: Path, pool: str, say: object, choices: Choices, progress: object, ways: object
    ) -> None:
        given.append(choices.verify)
        raise StagingError("enough")

    monkeypatch.setattr("osgbatch.submission.steps.submit_sweep", submit)
    for words in (["--verify"], []):
        CliRunner().invoke(
            command_line(), ["submit", str(place.spec), *words], standalone_mode=False
        )
    assert given == [True, False]


def test_without_a_stash_it_is_said_that_nothing_is_verified(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("osgbatch.submission.steps.give", lambda *given: None)
    said: list[str] = []
    submit_sweep(place.spec, "local", said.append, Choices(verify=True))
    assert "nothing to verify: this sweep uses no stash" in said


# --- the stash of a spec --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stash",
    [
        "s3://AKIA:SECRET@bucket", "{s3: 's3://AKIA:SECRET@bucket'}",
        "{s3: s3://bucket, endpoint: 'https://me:SECRET@minio.example.org'}",
        "{pelican: 'osdf:///ns?authz=SECRET'}", "{folder: ., url: 'https://SECRET@example.org'}",
        "{folder: ., url: 'ftp://example.org'}",
    ],
)  # fmt: skip
def test_a_stash_that_the_spec_may_not_have_is_not_used(place: Place, stash: str) -> None:
    place.spec.write_text(f"comand: misspelt, which does not matter here\nstash: {stash}\n")
    for word in ("ls", "verify"):
        code, said = command(word, "--spec", place.spec)
        assert code == 2
        assert "sweep.yaml:2:" in said
        assert "misspelt" not in said
    for words in (["--json"], []):
        shown = CliRunner().invoke(
            command_line(), ["config", str(place.spec), *words], standalone_mode=False
        )
        assert "SECRET@" not in shown.output


def test_nor_may_a_profile(place: Place) -> None:
    place.spec.write_text("command: cat\nprofile: pool.yaml\n")
    profile = "input_size: none\nstash: {folder: ., url: 'https://%sexample.org/data'}\n"
    (place.sweep / "pool.yaml").write_text(profile % "SECRET@")
    code, said = command("ls", "--spec", place.spec)
    assert code == 2
    assert "pool.yaml:2:" in said
    assert "looks like a key" in said
    (place.sweep / "pool.yaml").write_text(profile % "")
    assert command("ls", "--spec", place.spec)[0] == 0


# --- put ------------------------------------------------------------------------------------------


def test_a_name_that_is_not_utf_8_is_shown_as_it_is(place: Place) -> None:
    path = os.fsdecode(os.fsencode(place.folder) + b"/odd\xff.npy")
    Path(path).write_bytes(b"x")
    other = place.folder / "plain.npy"
    other.write_bytes(b"y")
    code, said = command("put", "--spec", place.spec, path, other)
    assert code == 0
    assert f"  {place.folder}/odd\\xff.npy\n" in said
    (place.folder / "tree").mkdir()
    Path(path).rename(os.fsdecode(os.fsencode(place.folder) + b"/tree/odd\xff.npy"))
    (place.folder / "tree/more").write_bytes(b"")
    said = command("put", "--tree", "--spec", place.spec, place.folder / "tree")[1]
    assert f"  {place.folder}/tree/odd\\xff.npy\n" in said
