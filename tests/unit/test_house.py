"""The list of batches, their tags, the registry, and the removal and archiving of old ones."""

from __future__ import annotations

import io
import json
import os
import shutil
import sqlite3
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from test_finishing import batch, bring
from test_stage_commands import Place, place
from typer.testing import CliRunner

from osgbatch import ui
from osgbatch.batches import registry
from osgbatch.batches.folder import Batch, load, locked, newest_of
from osgbatch.batches.settled import settled_counts
from osgbatch.batches.tags import add_tags, read_tags, remove_tags
from osgbatch.batches.writing import write_json
from osgbatch.cli.app import command_line
from osgbatch.cli.house_texts import list_text
from osgbatch.errors import BatchError, BusyError, OsgbatchError
from osgbatch.life import archiving, housekeeping
from osgbatch.life.batch_list import Listed, listed
from osgbatch.life.following import status
from osgbatch.results.finishing import collect_batch
from osgbatch.submission import steps
from osgbatch.submission.staged import Silent

__all__ = ["batch", "place"]

QUIET = Silent()


@pytest.fixture(autouse=True)
def _no_pool(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No HTCondor is configured, and the registry is the test's own."""
    monkeypatch.setattr("osgbatch.condor.configured", lambda: False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def ended(batch: Batch) -> Batch:
    """Both tasks have succeeded, long ago; it is in the registry."""
    for proc in range(2):
        bring(batch, proc)
    for folder in batch.folder.glob("rounds/001/returned/*"):
        os.utime(folder, (1e9, 1e9))
    assert status(batch).counts == {"succeeded": 2}
    registry.register(batch.id, batch.folder)
    return batch


def run(*arguments: str | Path, answer: str = "") -> str:
    done = CliRunner().invoke(command_line(), [str(word) for word in arguments], input=answer)
    assert done.exception is None, done.exception
    return done.output


def hold(batch: Batch) -> None:
    """The first job is held, though its task has succeeded: it was started a second time."""
    (batch.folder / "state.db").unlink()
    log = batch.folder / "rounds/001/events.log"
    job = "(007.000.000) 2026-11-20 1"
    events = [e for e in log.read_text().split("...\n") if not e.startswith(f"005 {job}")]
    events[-1:] = [f"012 {job}1:00:00 Job was held.\n\twhy\n\tCode 12 Subcode 2\n", ""]
    log.write_text("...\n".join(events))
    assert status(batch).counts == {"succeeded": 2}


# --- ls -----------------------------------------------------------------------------------------


def test_a_batch_that_has_ended_is_listed_without_a_look(
    ended: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert settled_counts(ended) == {"succeeded": 2}
    monkeypatch.setattr("osgbatch.life.batch_list.Follower", None)
    (one,) = listed([ended.folder])
    assert (one.counts, one.ended, one.wrong) == ({"succeeded": 2}, True, 0)


@pytest.mark.parametrize("change", ["log", "archive", "round", "state", "wait"])
def test_what_may_have_changed_is_looked_at(ended: Batch, change: str) -> None:
    round_ = ended.folder / "rounds/001"
    if change == "log":
        with (round_ / "events.log").open("a") as log:
            log.write("x")
    elif change == "archive":
        (round_ / "returned/0/7_1_1.tar.gz").touch()
    elif change == "round":
        (ended.folder / "rounds/002").mkdir()
    elif change == "state":
        (ended.folder / "state.db").unlink()
    else:
        with sqlite3.connect(ended.folder / "state.db") as database:
            database.execute("UPDATE counts SET state = 'held'")
    assert settled_counts(ended) is None


def test_a_damaged_batch_does_not_hide_the_others(ended: Batch, tmp_path: Path) -> None:
    (tmp_path / "batches/bad").mkdir()
    (tmp_path / "batches/bad/resolved.json").write_text("{")
    text = list_text(list(listed(registry.batches_here(tmp_path))), width=80)
    assert "all succeeded" in text
    assert "bad" in text
    assert "cannot be read: cannot read resolved.json" in " ".join(text.split())


def test_a_list_fits_the_terminal(ended: Batch) -> None:
    add_tags(ended, ["pilot"])
    counts = {"succeeded": 63_210, "running": 500, "waiting": 36_290}
    rows = [
        next(iter(listed([ended.folder]))),
        Listed(Path("/b/peaks-20261120-093012-7f3a"), ended, counts, stalled="the runner died"),
        Listed(Path("/a/gone"), None, problem="cannot read resolved.json: no such thing " * 3),
    ]
    for width in (40, 80, 120):
        for by_folder in (True, False):
            lines = list_text(rows, by_folder=by_folder, width=width).splitlines()
            assert max(map(len, lines[2:])) <= width
    long = Listed(Path("/a") / ("x" * 70), ended, counts, tags=("a",))
    assert list_text([long], width=80).splitlines() == [
        "x" * 70,
        "    2 tasks: 63,210 succeeded, 500 running, 36,290 waiting  [a]",
    ]


def test_ls_shows_what_is_here_or_all(
    ended: Batch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert "there is no batch in" in run("ls")
    assert json.loads(run("ls", "--json")) == []
    told = run("ls", "--all", "--tag", "nosuch")
    assert 'no batch has the tag "nosuch", of ' in told
    assert "there is no batch" not in told
    assert ended.folder.name in run("ls", "--all")
    monkeypatch.chdir(tmp_path)
    (told,) = json.loads(run("ls", "--json"))
    assert (told["id"], told["counts"], told["ended"]) == (ended.id, {"succeeded": 2}, True)


# --- tags and names -----------------------------------------------------------------------------


def test_a_tag_names_a_batch(ended: Batch, tmp_path: Path) -> None:
    other = steps.render_sweep(tmp_path / "sweep.yaml", None, lambda text: None)
    assert registry.find(None, tmp_path).id == other.id
    run("tag", ended.folder, "paper-2", "pilot")
    assert registry.find("paper-2", tmp_path).id == ended.id
    assert registry.find(other.name, tmp_path).id == other.id
    assert [one.folder for one in listed([ended.folder]) if "pilot" in one.tags]
    remove_tags(ended, ["paper-2"])
    add_tags(ended, ["pilot", "last one"])
    assert read_tags(ended) == ("pilot", "last one")
    with pytest.raises(BatchError, match=r'there is no batch "paper-2"'):
        registry.find("paper-2", tmp_path)


@pytest.mark.parametrize("word", ["", "a,b", 'a"b', "a/b", "-x", "a\nb", "x" * 61, "a\x1bb"])
def test_what_cannot_be_a_tag_changes_nothing(ended: Batch, word: str) -> None:
    with pytest.raises(BatchError, match="cannot be a tag"):
        add_tags(ended, ["good", word])
    assert read_tags(ended) == ()
    with pytest.raises(BatchError, match="has no tag"):
        remove_tags(ended, ["good"])


def test_tags_of_the_spec_count(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("command: e\ntags: [pilot]\n")
    made = steps.render_sweep(tmp_path / "s.yaml", None, lambda text: None)
    assert read_tags(made) == ("pilot",)
    add_tags(made, ["more"])
    assert read_tags(made) == ("pilot", "more")


# --- the registry ---------------------------------------------------------------------------------


def test_a_batch_that_was_moved_is_known_where_it_was_found(ended: Batch, tmp_path: Path) -> None:
    new = tmp_path / "new"
    ended.folder.rename(new)
    with pytest.raises(BatchError, match="is no longer where it was"):
        registry.find(ended.id[:5], Path("/"))
    (gone,) = registry.lost()
    assert gone.last == ended.folder
    assert registry.lost([new]) == []
    assert registry.find(str(new), Path("/")).folder == new
    assert registry.find(ended.id[:5], Path("/")).folder == new
    assert registry.lost() == []
    assert registry.batches_everywhere() == [new]


def test_a_batch_that_was_moved_is_told_by_its_names_too(ended: Batch, tmp_path: Path) -> None:
    new = tmp_path / "new"
    add_tags(ended, ["paper"])
    ended.folder.rename(new)
    for name in (ended.name, ended.folder.name):
        with pytest.raises(BatchError, match="is no longer where it was"):
            registry.find(name, Path("/"))
    with pytest.raises(BatchError) as told:  # its tags went with it
        registry.find("paper", Path("/"))
    assert f"One is no longer where it was (the last: {ended.folder})" in told.value.fix


def test_a_path_with_dots_is_entered_without_them(ended: Batch, tmp_path: Path) -> None:
    new, here = tmp_path / "new", tmp_path / "a" / "b"
    ended.folder.rename(new)
    here.mkdir(parents=True)
    assert registry.find("../../new", here).folder == new
    assert registry.entries()[0].last == new
    here.rmdir()
    assert registry.batches_everywhere() == [new]
    (tmp_path / "far" / "link").mkdir(parents=True)
    (tmp_path / "link").symlink_to("far/link")
    (tmp_path / "far" / "new").symlink_to(new)
    assert registry.find("../new", tmp_path / "link").folder == new  # beside what the link is


def test_a_batch_whose_folder_cannot_be_read_now_is_not_lost(ended: Batch) -> None:
    ended.folder.rename(ended.folder.parent / "aside")
    ended.folder.symlink_to(ended.folder.name)  # leads nowhere, also for root: ELOOP
    assert registry.lost() == []
    ended.folder.unlink()
    (gone,) = registry.lost()
    assert gone.id == ended.id


def test_a_file_is_on_the_disk_with_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        flushed.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        assert (tmp_path / "a.json").exists() == (len(flushed) == 2)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    write_json(tmp_path / "a.json", {})
    assert flushed[1] == str(tmp_path.resolve())


def test_a_copy_does_not_take_the_place_of_its_original(ended: Batch, tmp_path: Path) -> None:
    shutil.copytree(ended.folder, tmp_path / "copy")
    registry.find(str(tmp_path / "copy"), Path("/"))
    assert registry.find(ended.id, Path("/")).folder == ended.folder
    run("rm", "--yes", tmp_path / "copy")
    assert registry.find(ended.id, Path("/")).folder == ended.folder
    shutil.copytree(ended.folder, tmp_path / "copy")
    shutil.rmtree(ended.folder)
    registry.find(str(tmp_path / "copy"), Path("/"))
    assert registry.find(ended.id, Path("/")).folder == tmp_path / "copy"


def test_a_stranger_is_not_entered_and_bad_lines_are_passed_over(
    ended: Batch, tmp_path: Path
) -> None:
    registry.registry_path().write_text('{"id": 1}\nnonsense\n[]\n{"id": "x", "removed": true}\n')
    registry.find(str(ended.folder), Path("/"))
    assert list(registry.registered()) == []


# --- rm -------------------------------------------------------------------------------------------


def test_a_removed_batch_is_gone_from_disk_and_registry(ended: Batch, tmp_path: Path) -> None:
    (ended.folder / "results/0").mkdir(parents=True)
    (ended.folder / "results/0").chmod(0o500)
    (ended.folder.parent / ".removing-x/y").mkdir(parents=True)  # of one that was killed
    assert "not be removed" not in run("rm", ended.folder, "--yes")
    assert not (tmp_path / "batches").exists()
    assert registry.entries()[0].folders == []
    assert registry.lost() == []
    with pytest.raises(BatchError, match="there is no batch"):
        registry.find(ended.id, tmp_path)


def test_rm_asks_and_without_an_answer_removes_nothing(ended: Batch) -> None:
    done = CliRunner().invoke(command_line(), ["rm", str(ended.folder)])
    assert isinstance(done.exception, OsgbatchError)
    assert "--yes" in done.exception.fix
    assert load(ended.folder)


def test_what_is_lost_with_a_batch_is_said_before(ended: Batch) -> None:
    (old,) = housekeeping.old_batches([ended])
    assert old.notes == ("its results were never collected",)
    assert old.size > 1000
    collect_batch(ended, lambda text: None, gather=False)
    (old,) = housekeeping.old_batches([ended])
    assert old.notes == ()


@pytest.mark.parametrize("how", ["held", "waiting", "locked"])
def test_a_batch_with_jobs_is_not_removed(ended: Batch, tmp_path: Path, how: str) -> None:
    if how == "held":
        hold(ended)
    elif how == "waiting":  # nothing tells of its jobs, and HTCondor cannot be asked here
        (ended.folder / "rounds/001/events.log").unlink()
        (ended.folder / "state.db").unlink()
        shutil.rmtree(ended.folder / "rounds/001/returned")
    with locked(ended.folder) if how == "locked" else open(os.devnull):
        for arguments in (["rm", "--yes"], ["archive", "--rm", "--yes"]):
            done = CliRunner().invoke(command_line(), [*arguments, str(ended.folder)])
            assert isinstance(done.exception, BusyError), done.output
    assert load(ended.folder)
    assert sorted(p.name for p in ended.folder.parent.iterdir()) == [ended.folder.name]


def test_jobs_that_only_the_queue_knows_keep_a_batch(
    ended: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def queue(ids: list[str]) -> dict[str, list[int]]:
        asked.append(ids)
        return {ended.id: [9]}

    monkeypatch.setattr("osgbatch.condor.configured", lambda: True)
    monkeypatch.setattr("osgbatch.condor.clusters_in_queue", queue)
    with pytest.raises(BusyError, match="cluster 9"):
        list(housekeeping.remove([ended]))
    assert asked == [[ended.id]]
    assert load(ended.folder)


def test_one_batch_that_may_not_go_keeps_all(ended: Batch, tmp_path: Path) -> None:
    other = steps.render_sweep(tmp_path / "sweep.yaml", None, lambda text: None)
    hold(ended)
    done = CliRunner().invoke(command_line(), ["rm", "--yes", str(other.folder), str(ended.folder)])
    assert isinstance(done.exception, BusyError)
    assert load(other.folder)
    run("rm", "--yes", other.folder)  # it was never submitted


def test_the_stash_knows_of_moved_and_removed_batches(place: Place) -> None:
    made = steps.render_sweep(place.spec, None, lambda text: None)
    registry.register(made.id, made.folder)
    used = place.objects()
    place.age(3)
    new = place.folder / "moved"
    made.folder.rename(new)
    said = " ".join(place.gc(place.empty)[1].split())
    assert "1 object" in said
    assert f"no longer where they were, such as {made.folder}" in said
    assert "no longer" not in place.gc(place.folder)[1]  # it is found below that
    registry.find(str(new), place.folder)
    code, said = place.gc(place.empty, "--delete")
    assert (code, place.objects(), "no longer" in said) == (0, used, False)
    run("rm", "--yes", new)
    code, said = place.gc(place.empty, "--delete", "--force")
    assert (code, place.objects(), "no longer" in said) == (0, set(), False)


# --- archive --------------------------------------------------------------------------------------


def test_an_archive_is_the_whole_batch(ended: Batch, tmp_path: Path) -> None:
    collect_batch(ended, lambda text: None, gather=False)
    (ended.folder / "results/link").symlink_to("0")
    (ended.folder / os.fsdecode(b"odd\xff\n name")).write_text("x")
    os.link(ended.folder / "sweep.yaml", ended.folder / "again.yaml")
    before = {
        str(p.relative_to(ended.folder)): p.read_bytes()
        for p in ended.folder.rglob("*")
        if p.is_file() and p.name not in ("lock", "state.db")
    }
    text = run("archive", ended.folder, "--rm", "--yes")
    made = ended.folder.with_name(f"{ended.folder.name}.tar.gz")
    assert f"wrote {made}" in text
    assert not ended.folder.exists()
    with pytest.raises(BatchError, match="was archived") as error:
        registry.find(ended.id, tmp_path)
    assert error.value.where == str(made)
    shutil.unpack_archive(made, tmp_path / "out")
    back = tmp_path / "out" / ended.folder.name
    assert os.readlink(back / "results/link") == "0"
    assert {name: (back / name).read_bytes() for name in before} == before
    assert status(registry.find(str(back), tmp_path)).counts == {"succeeded": 2}
    assert registry.find(ended.id, Path("/")).folder == back


@pytest.mark.parametrize(("folder", "umask", "expected"), [
    (0o700, 0o022, 0o600), (0o755, 0o022, 0o644), (0o750, 0o002, 0o640), (0o777, 0o077, 0o600),
])  # fmt: skip
def test_an_archive_is_for_those_who_may_look_into_the_folder(
    ended: Batch, tmp_path: Path, folder: int, umask: int, expected: int
) -> None:
    ended.folder.chmod(folder)
    seen: list[int] = []

    class Looks(Silent):
        def advance(self, done: int) -> None:
            seen.extend(p.stat().st_mode & 0o777 for p in tmp_path.glob(".a.tar.gz.*"))

    before = os.umask(umask)
    try:
        made = archiving.archive(ended, tmp_path / "a.tar.gz", Looks())
    finally:
        os.umask(before)
    assert made.path.stat().st_mode & 0o777 == expected
    assert set(seen) == {0o600}


def test_what_a_killed_rm_left_is_no_batch_and_others_are_not_removed(
    ended: Batch, tmp_path: Path
) -> None:
    left = ended.folder.with_name(".removing-half")
    shutil.copytree(ended.folder, left)
    assert registry.batches_here(tmp_path) == [ended.folder]
    spec = (ended.folder / "sweep.yaml").read_bytes()
    assert newest_of(left.parent, spec, ended.folder) is None
    assert newest_of(left.parent, spec) is not None
    aside = tmp_path / "mine"
    shutil.copytree(ended.folder, aside)
    left.rename(tmp_path / left.name)
    run("rm", "--yes", aside)
    assert (tmp_path / left.name).exists()


def test_what_is_there_is_not_replaced(ended: Batch, tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_text("mine")
    with pytest.raises(OsgbatchError, match="already there"):
        archiving.archive(ended, tmp_path / "a.tar.gz", QUIET, remove_it=True)
    assert (tmp_path / "a.tar.gz").read_text() == "mine"
    assert load(ended.folder)


@pytest.mark.parametrize("fault", ["damaged", "missing", "changed"])
def test_an_archive_that_is_not_the_folder_removes_nothing(
    ended: Batch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    pack = archiving._pack

    def faulty(
        folder: Path, entries: dict[str, os.stat_result], out: io.BytesIO, advance: object
    ) -> object:
        if fault == "missing":
            short = {name: s for name, s in entries.items() if name != "sweep.yaml"}
            pack(folder, short, out, lambda count: None)
            return pack(folder, entries, io.BytesIO(), lambda count: None)
        made = pack(folder, entries, out, lambda count: None)
        if fault == "changed":
            (folder / "sweep.yaml").write_text("other")
        return made

    monkeypatch.setattr(archiving, "_pack", faulty)
    if fault == "damaged":
        verify: Callable[..., None] = archiving._verify

        def cut(path: Path, *rest: object) -> None:
            os.truncate(path, path.stat().st_size - 20)
            verify(path, *rest)

        monkeypatch.setattr(archiving, "_verify", cut)
    what = {"damaged": "cannot be read back", "missing": "sweep.yaml", "changed": "has changed"}
    with pytest.raises(OsgbatchError, match=what[fault]):
        archiving.archive(ended, tmp_path / "a.tar.gz", QUIET, remove_it=True)
    assert load(ended.folder)
    assert not list(tmp_path.glob("*a.tar.gz*"))


def test_a_full_disk_leaves_no_archive_and_the_folder(
    ended: Batch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(folder: Path, entries: object, out: io.BytesIO, advance: object) -> None:
        out.write(b"x" * 1000)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archiving, "_pack", full)
    with pytest.raises(OSError, match="No space") as error:
        archiving.archive(ended, tmp_path / "a.tar.gz", QUIET, remove_it=True)
    assert "a.tar.gz" in error.value.filename
    assert load(ended.folder)
    assert not list(tmp_path.glob("*a.tar.gz*"))


def test_an_archive_names_no_file_outside(ended: Batch, tmp_path: Path) -> None:
    made = archiving.archive(ended, tmp_path / "a.tar.gz", QUIET)
    with tarfile.open(made.path) as tar:
        assert {name.split("/")[0] for name in tar.getnames()} == {ended.folder.name}
        assert f"{ended.folder.name}/lock" not in tar.getnames()


def test_json_of_many_rows_is_written_row_by_row(capsys: pytest.CaptureFixture[str]) -> None:
    written: list[str] = []

    def rows() -> Iterator[dict[str, object]]:
        for index in range(3):
            yield {"index": index, "label": "a\nb"}
            written.append(capsys.readouterr().out)

    ui.out_json_rows(rows())
    told = json.loads("".join(written) + capsys.readouterr().out)
    assert [row["index"] for row in told] == [0, 1, 2] and all(written)
    ui.out_json_rows([])
    assert json.loads(capsys.readouterr().out) == []
