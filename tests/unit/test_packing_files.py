"""`files:` and `libraries:`: where things go in a task, what stays behind, what is refused."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from osgbatch.errors import PackingError
from osgbatch.packing.archive import Member
from osgbatch.packing.files import files_archive, files_members
from osgbatch.packing.libraries import libraries_archive, libraries_members


def make(base: Path, *names: str) -> None:
    for name in names:
        path = base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {name}\n")


def files_of(members: list[Member]) -> list[str]:
    return [m.name for m in members if not m.is_folder]


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    folder = tmp_path / "my project"
    folder.mkdir()
    return folder


def test_files_keep_their_place_below_the_spec(spec: Path) -> None:
    make(spec, "find_peaks.py", "cfg/a.ini", "cfg/sub/b.ini", "other.txt")
    make(spec.parent, "shared/c.ini", "outside.py")
    members = files_members(["find_peaks.py", "cfg", "../outside.py", "../shared/"], spec)
    expected = ["cfg/a.ini", "cfg/sub/b.ini", "find_peaks.py", "outside.py", "shared/c.ini"]
    assert files_of(members) == expected


def test_patterns_are_expanded_and_a_file_named_twice_travels_once(spec: Path) -> None:
    make(spec, "a.py", "b.py", "c[1].txt")
    assert files_of(files_members(["*.py", "a.py", "c[1].txt"], spec)) == [
        "a.py",
        "b.py",
        "c[1].txt",
    ]
    with pytest.raises(PackingError, match="there is no"):
        files_members(["*.nothing"], spec)


def test_clutter_stays_behind(spec: Path) -> None:
    make(spec, "d/a.py", "d/__pycache__/a.cpython-311.pyc", "d/b.pyc", "d/.git/HEAD", "d/x~")
    make(spec, "d/.svn/y", "d/.DS_Store", "d/#x#", "d/.x.swp", "d/.hg/z", "d/keep.dist-info/RECORD")
    (spec / "d/.#lock").symlink_to("nobody@nowhere.1234")
    assert files_of(files_members(["d"], spec)) == ["d/a.py", "d/keep.dist-info/RECORD"]


def test_two_things_for_one_place_are_an_error(spec: Path) -> None:
    make(spec, "util.py")
    make(spec.parent, "util.py")
    with pytest.raises(PackingError, match=r"would be unpacked as util\.py"):
        files_members(["util.py", "../util.py"], spec)


def test_a_missing_file_gets_a_suggestion(spec: Path) -> None:
    make(spec, "find_peaks.py")
    with pytest.raises(PackingError, match=r"Did you mean 'find_peaks.py'"):
        files_members(["find_peak.py"], spec)


def test_links_inside_stay_links_and_links_out_are_followed(spec: Path) -> None:
    make(spec, "d/real.txt")
    make(spec.parent, "far.txt", "store/x.txt")
    (spec / "d/near").symlink_to("real.txt")
    (spec / "d/near-absolute").symlink_to(spec / "d/real.txt")
    (spec / "d/far").symlink_to(spec.parent / "far.txt")
    (spec / "d/store").symlink_to(spec.parent / "store")
    members = {m.name: m for m in files_members(["d"], spec)}
    assert members["d/near"].link == members["d/near-absolute"].link == "real.txt"
    assert members["d/far"].source == spec / "d/far"
    assert members["d/store/x.txt"].source is not None


def test_links_in_a_folder_reached_by_a_link_are_followed(spec: Path) -> None:
    make(spec.parent, "store/sub/x.txt")
    (spec.parent / "store/sub/y").symlink_to("x.txt")
    (spec / "d").mkdir()
    (spec / "d/store").symlink_to(spec.parent / "store")
    members = {m.name: m for m in files_members(["d"], spec)}
    assert members["d/store/sub/y"].source is not None


def test_the_specs_folder_may_be_named_through_a_link(spec: Path, tmp_path: Path) -> None:
    make(spec, "cfg/a.ini")
    (tmp_path / "alias").symlink_to(spec)
    entry = str(tmp_path / "alias/cfg/a.ini")
    assert files_of(files_members([entry], spec)) == ["cfg/a.ini"]


def test_dangling_links_and_circles_are_named(spec: Path) -> None:
    make(spec, "d/a", "e/b")
    (spec / "d/broken").symlink_to("nowhere")
    with pytest.raises(PackingError, match="broken"):
        files_members(["d"], spec)
    (spec / "e/up").symlink_to("..")
    with pytest.raises(PackingError, match="up"):
        files_members(["e"], spec)


def test_a_link_given_itself_brings_what_it_leads_to(spec: Path) -> None:
    make(spec.parent, "far.txt")
    (spec / "here.txt").symlink_to("../far.txt")
    (member,) = files_members(["here.txt"], spec)
    assert member.name == "here.txt" and member.link is None


def test_the_whole_folder_comes_without_batches_and_outputs(spec: Path) -> None:
    make(spec, "a.py", "batches/x/plan.json", "outputs/old.txt", "sub/batches/keep.txt")
    assert files_of(files_members(["."], spec)) == ["a.py", "sub/batches/keep.txt"]
    with pytest.raises(PackingError, match="spec lies in this folder"):
        files_members([".."], spec)


def test_places_that_the_shim_makes_are_refused(spec: Path) -> None:
    make(spec, "params.json", "outputs/x")
    for entry in ("params.json", "outputs"):
        with pytest.raises(PackingError, match="a task finds its own"):
            files_members([entry], spec)


def test_unchanged_files_give_the_same_archive(spec: Path, tmp_path: Path) -> None:
    make(spec, "a.py")
    first = files_archive(["a.py"], spec, tmp_path / "cache")
    os.utime(spec / "a.py", (5, 5))
    second = files_archive(["./a.py"], spec, tmp_path / "cache")
    assert first == second and first is not None
    assert first.path.name.startswith("files-")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [first.path.name]
    assert files_archive([], spec, tmp_path / "cache") is None


def test_a_package_a_module_and_a_namespace_folder(spec: Path) -> None:
    make(spec, "misshapen/__init__.py", "misshapen/core.py", "misshapen/data/w.npy", "util.py")
    make(spec, "lib/helpers.py", "misshapen/misshapen.egg-info/PKG-INFO")
    expected = ["lib/helpers.py", "misshapen/__init__.py", "misshapen/core.py"]
    assert files_of(libraries_members(["misshapen/", "util.py", "lib"], spec)) == [
        *expected,
        *("misshapen/data/w.npy", "util.py"),
    ]


@pytest.mark.parametrize("layout", ["src", "flat"])
def test_a_project_folder_brings_its_packages(spec: Path, layout: str) -> None:
    top = "proj/src/" if layout == "src" else "proj/"
    make(spec, "proj/pyproject.toml", f"{top}pkg/__init__.py", f"{top}pkg/a.py", f"{top}single.py")
    make(spec, "proj/tests/__init__.py", "proj/docs/conf.py", "proj/setup.py")
    assert files_of(libraries_members(["proj"], spec)) == [
        "pkg/__init__.py",
        "pkg/a.py",
        "single.py",
    ]


def test_a_project_whose_package_is_a_namespace(spec: Path) -> None:
    make(spec, "proj/setup.cfg", "proj/src/ns/pkg/__init__.py")
    assert files_of(libraries_members(["proj"], spec)) == ["ns/pkg/__init__.py"]


def test_a_folder_of_packages_asks_what_is_meant(spec: Path) -> None:
    make(spec, "libs/a/__init__.py", "libs/b/__init__.py", "libs/README.md", "libs/docs/x.txt")
    with pytest.raises(PackingError, match=r"libs/\*"):
        libraries_members(["libs"], spec)
    assert files_of(libraries_members(["libs/*"], spec)) == ["a/__init__.py", "b/__init__.py"]


@pytest.mark.parametrize("name", ["notes.txt", "empty/"])
def test_what_cannot_be_imported_is_refused(spec: Path, name: str) -> None:
    make(spec, "notes.txt", "empty/readme.txt")
    with pytest.raises(PackingError, match=name.rstrip("/")):
        libraries_members([name], spec)


def test_two_libraries_of_one_name_are_an_error(spec: Path) -> None:
    make(spec, "a/pkg/__init__.py", "b/pkg/__init__.py")
    with pytest.raises(PackingError, match="two things"):
        libraries_members(["a/pkg", "b/pkg"], spec)


def test_what_was_packed_can_be_imported(spec: Path, tmp_path: Path) -> None:
    make(spec, "proj/pyproject.toml", "proj/src/inner/__init__.py", "lib/helpers.py")
    with zipfile.ZipFile(spec / "wheeled-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("wheeled/__init__.py", "")
    made = libraries_archive(["proj", "lib", "*.whl"], spec, tmp_path / "cache")
    assert made is not None and made.path.name.startswith("library-")
    (tmp_path / "u").mkdir()
    subprocess.run(["tar", "-xzf", made.path, "-C", tmp_path / "u"], check=True)
    command = [sys.executable, "-c", "import inner, lib.helpers, wheeled"]
    subprocess.run(command, env={"PYTHONPATH": str(tmp_path / "u")}, check=True)
