"""What goes through the stash, what travels with the jobs, and what of it tasks are brought."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from osgbatch import names
from osgbatch.errors import StagingError
from osgbatch.packing import folders
from osgbatch.packing.folders import drop_archive, folder_archive
from osgbatch.staging.listing import compiled, list_urls
from osgbatch.submission import stashing
from osgbatch.submission.planned import Choices, plan_sweep
from osgbatch.submission.steps import render_sweep

MB = 1024**2


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for a sweep, with a stash beside it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "stash").mkdir()
    (tmp_path / "sweep").mkdir()
    return tmp_path / "sweep"


def spec_in(folder: Path, text: str) -> Path:
    """A spec with the stash beside its folder."""
    path = folder / "sweep.yaml"
    path.write_text(
        "command: cat inputs/a\nstash: {folder: ../stash, url: 'osdf:///ns/data'}\n"
        f"profile: ospool\n{text}"
    )
    return path


def sized(path: Path, size: int) -> Path:
    """A file of so many bytes, without taking them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream:
        stream.truncate(size)
    return path


def placed(path: Path) -> dict[str, str]:
    """What goes through the stash, and why."""
    plan = plan_sweep(path)
    return {one.source.name: one.why for one in plan.placed}


def submitted_text(folder: Path) -> str:
    """The submit file of a batch folder."""
    return (folder / "rounds/001/job.submit").read_text()


def test_size_and_readers_decide(sweep: Path) -> None:
    sized(sweep / "large", 1025 * MB)
    sized(sweep / "shared", 11 * MB)
    sized(sweep / "small", 9 * MB)
    sized(sweep / "told", 1)
    sized(sweep / "kept", 20 * MB)
    inputs = (
        "inputs: [large, shared, small, {path: told, shared: true}, {path: kept, shared: false}]\n"
    )
    assert placed(spec_in(sweep, inputs + "sweep: {x: [1, 2]}\n")) == {
        "large": "over 1 GB", "shared": "read by 2 jobs", "told": "shared: true",
    }  # fmt: skip
    assert placed(spec_in(sweep, inputs + "sweep: {x: [1]}\n")) == {
        "large": "over 1 GB", "told": "shared: true",
    }  # fmt: skip


def test_a_file_of_a_row_counts_the_jobs_that_read_it(sweep: Path) -> None:
    for name in ("a", "b"):
        sized(sweep / name, 11 * MB)
    columns = "sweep: {f: {files: [a, b]}, x: [1, 2, 3]}\n"
    assert placed(spec_in(sweep, columns)) == {"a": "read by 3 jobs", "b": "read by 3 jobs"}
    assert placed(spec_in(sweep, columns + "tasks_per_job: 3\n")) == {}


def test_without_a_stash_nothing_is_placed_and_it_is_advised(sweep: Path) -> None:
    sized(sweep / "large", 1025 * MB)
    path = spec_in(sweep, "inputs: large\n")
    assert not [w for w in plan_sweep(path).warnings if "large has" in w]
    plan = plan_sweep(path, choices=Choices(settings=["stash=none"]))
    assert plan.placed == ()
    assert [w for w in plan.warnings if "large has 1 GB" in w and "`stash:`" in w]
    assert plan_sweep(path, choices=Choices(staging=False)).placed == ()


def test_what_is_staged_does_not_travel(sweep: Path, tmp_path: Path) -> None:
    (sweep / "tree/sub").mkdir(parents=True)
    (sweep / "tree/a,odd").write_text("1")
    (sweep / "tree/sub/b").write_text("2")
    (sweep / "run.sh").write_text("#!/bin/sh\n")
    (sweep / "run.sh").chmod(0o755)
    path = spec_in(
        sweep,
        "sweep: {x: [1, 2]}\ninputs:\n- {path: tree, shared: true, as: t}\n"
        "- {path: tree, shared: true, tree: true, as: u}\n- {path: run.sh, shared: true}\n",
    )
    said: list[str] = []
    batch = render_sweep(path, None, said.append)
    assert len(said) == 1
    assert said[0].endswith("of 4 to upload, 0 already there")
    text = submitted_text(batch.folder)
    (line,) = (one for one in text.splitlines() if one.startswith("transfer_input_files"))
    urls = line.split(" = ")[1].split(", ")
    assert all(url.startswith("osdf:///ns/data/osgbatch/") for url in urls)
    objects = (batch.folder / names.OBJECTS).read_text().splitlines()
    assert objects[0] == "osdf:///ns/data"
    assert {url.removeprefix("osdf:///ns/data/osgbatch/") for url in urls} == set(objects[1:])
    for name in objects[1:]:
        assert (tmp_path / "stash/osgbatch" / name).is_file()
    shim = (batch.folder / "rounds/001/shim.sh").read_text()
    assert "'inputs/run.sh' program" in shim
    assert "'inputs/t' folder" in shim
    again: list[str] = []
    render_sweep(path, None, again.append)
    assert again == [f"stage: 0 files of {len(urls)} to upload, {len(urls)} already there"]


def test_a_folder_that_has_not_changed_is_not_packed_again(
    sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "YOUNG_NS", -1)  # what was written just now is old enough
    (sweep / "d").mkdir()
    (sweep / "d/a").write_text("1")
    (sweep / "d/l").symlink_to("a")
    first = folder_archive(sweep / "d", tmp_path / "c")
    before = first.path.stat().st_ctime_ns
    assert folder_archive(sweep / "d", tmp_path / "c").path.stat().st_ctime_ns == before
    drop_archive(first)
    assert folder_archive(sweep / "d", tmp_path / "c") == first
    assert not first.path.exists()
    assert folder_archive(sweep / "d", tmp_path / "c", needed=True) == first
    assert first.path.exists()
    (sweep / "d/a").write_text("2")
    assert folder_archive(sweep / "d", tmp_path / "c").sha256 != first.sha256
    os.rename(sweep / "d", sweep / "e")
    (sweep / "e/a").write_text("1")
    assert folder_archive(sweep / "e", tmp_path / "c").sha256 == first.sha256


# --- the stash by itself --------------------------------------------------------------------------


class Quiet:
    """A progress that nobody looks at."""

    def start(self, what: str, total: int) -> None: ...

    def advance(self, count: int) -> None: ...

    def end(self) -> None: ...


def test_garbage_is_what_no_batch_and_no_spec_names(sweep: Path, tmp_path: Path) -> None:
    for name in ("used", "named", "free"):
        (sweep / name).write_text(name)
    path = spec_in(sweep, "inputs: {path: used, shared: true}\n")
    store = stashing.stash_store(path)
    made, _ = stashing.put([sweep / "named", sweep / "free"], store, lambda text: None, Quiet())
    batch = render_sweep(path, None, lambda text: None)
    (sweep / "other.yaml").write_text(f"command: x\ninputs: {made[0].url}\n")
    found = stashing.garbage(store, [sweep], older_s=-1)
    assert [one.name for one in found.objects] == [
        made[1].url.removeprefix(f"{store.url}/osgbatch/")
    ]
    assert (found.batches, found.young) == (1, 0)
    assert stashing.garbage(store, [sweep]).young == 1
    assert stashing.clear(store, [sweep], older_s=-1) == found
    assert stashing.garbage(store, [sweep], older_s=-1).objects == ()
    assert len(stashing.garbage(store, [tmp_path / "stash"], older_s=-1).objects) == 2
    assert (batch.folder / names.OBJECTS).exists()


def test_garbage_refuses_folders_that_cannot_be_read(sweep: Path) -> None:
    store = stashing.stash_store(spec_in(sweep, ""))
    with pytest.raises(StagingError, match="cannot be read"):
        stashing.garbage(store, [sweep, sweep / "gone"])


def test_verify_names_what_is_damaged(sweep: Path, tmp_path: Path) -> None:
    (sweep / "a").write_text("a")
    store = stashing.stash_store(spec_in(sweep, ""))
    (made,), _ = stashing.put([sweep / "a"], store, lambda text: None, Quiet())
    assert [one.what for one in stashing.verify(store, Quiet())] == [""]
    path = tmp_path / "stash/osgbatch" / made.url.removeprefix(f"{store.url}/osgbatch/")
    path.write_text("b")
    (found,) = stashing.verify(store, Quiet())
    assert "not what its name says" in found.what


# --- listings ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "key", "fits"),
    [
        ("p/*.jpg", "p/a.jpg", True), ("p/*.jpg", "p/q/a.jpg", False), ("p/**/*.j", "p/a.j", True),
        ("p/**/*.jpg", "p/q/r/a.jpg", True), ("p/**/*.jpg", "p/a.jpeg", False),
        ("p/[ab]?.x", "p/a1.x", True), ("p/[!ab].x", "p/a.x", False), ("p/a.b", "p/aXb", False),
        ("**/a", "a", True), ("p/*/a", "p/x/a", True), ("p/*/a", "p/x/y/a", False),
        ("p/?", "p//", False), ("p/a+b(c)", "p/a+b(c)", True),
    ],
)  # fmt: skip
def test_patterns_are_those_of_the_shell(pattern: str, key: str, fits: bool) -> None:
    assert bool(compiled(pattern).fullmatch(key)) == fits


def test_files_of_the_stash_are_a_column(sweep: Path, tmp_path: Path) -> None:
    for name in ("x/2.npy", "x/10.npy", "x/y/1 odd.npy", "x/no.txt"):
        sized(tmp_path / "stash" / name, len(name))
    path = spec_in(sweep, "sweep: {f: {files: 'osdf:///ns/data/x/**/*.npy'}}\n")
    plan = plan_sweep(path)
    assert plan.tasks.texts("f", 0, 3) == ["inputs/2.npy", "inputs/10.npy", "inputs/1%20odd.npy"]
    assert [files[0].size for files in plan.tasks.inputs(0, 3) or ()] == [7, 8, 13]
    batch = render_sweep(path, None, lambda text: None)
    assert (batch.folder / names.LISTING).read_text().splitlines()[0] == "url,size,md5"
    items = (batch.folder / "rounds/001/jobs.items").read_text().splitlines()
    assert items[0].endswith("osdf:///ns/data/x/2.npy")
    assert json.loads((batch.folder / names.RESOLVED).read_text())["tasks"] == 3


def test_what_cannot_be_listed_is_told(sweep: Path) -> None:
    stash = plan_sweep(spec_in(sweep, "")).stash
    with pytest.raises(StagingError, match="can be listed"):
        list_urls("osdf:///other/*.npy", stash)
