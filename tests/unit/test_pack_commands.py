"""`osgbatch pack`: what it takes, prints and keeps; the cache is cleaned beside other packers."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
import started
import typer
from test_packing_given import STARTED, tarball

from osgbatch.cli import pack_commands
from osgbatch.cli.packs import Asked, age, environment_of, kept_text
from osgbatch.errors import OsgbatchError, SpecError
from osgbatch.packing.environment.cache import EnvironmentArchive, locked, packing
from osgbatch.packing.environment.cleaning import clean, kept_things
from osgbatch.packing.environment.imports import import_warnings
from osgbatch.spec.load import load_spec
from osgbatch.submission.packed import environment_warnings

ROOT = Path(__file__).parents[2]


def osgbatch(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    own = {"XDG_CACHE_HOME": str(folder / "xdg"), "PYTHONPATH": str(ROOT), "COLUMNS": "250"}
    return started.osgbatch(arguments, folder, {**os.environ, **own}, 120)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an archive that is an environment (of a kind), and a sweep that uses it."""
    tarball(tmp_path / "e.tar.gz", {"bin/Rscript": STARTED, "bin/conda-unpack": STARTED})
    (tmp_path / "sweep.yaml").write_text("command: Rscript x.R\nenvironment: e.tar.gz\n")
    return tmp_path


def test_an_environment_is_packed_listed_and_cleaned(folder: Path) -> None:
    first = osgbatch(folder, "pack", "env", "sweep.yaml")
    assert first.returncode == 0, first.stderr
    assert "trying the environment at another path" in first.stderr
    path = Path(first.stdout.splitlines()[-1])
    assert path.is_file() and path.is_relative_to(folder / "xdg/osgbatch")
    again = osgbatch(folder, "pack", "env", "e.tar.gz", "--json", "--out", "copy.tar.gz")
    data = json.loads(again.stdout)
    assert again.stderr == "" and data["path"] == "copy.tar.gz" and data["kind"] == "archive"
    assert (folder / "copy.tar.gz").read_bytes() == path.read_bytes()
    listed = osgbatch(folder, "pack", "ls")
    assert str(folder / "e.tar.gz") in listed.stdout and "just now" in listed.stdout
    (entry,) = json.loads(osgbatch(folder, "pack", "ls", "--json").stdout)
    assert entry["kind"] == "archive" and entry["size"] > data["size"]
    kept = osgbatch(folder, "pack", "clean")
    assert kept.stdout == "removed 0 things, 0 bytes\n" and path.is_file()
    gone = json.loads(osgbatch(folder, "pack", "clean", "--all", "--json").stdout)
    assert [one["name"] for one in gone["removed"]] == [entry["name"]] and not path.exists()
    assert osgbatch(folder, "pack", "ls").stdout.startswith("nothing in ")


@pytest.mark.parametrize(
    ("arguments", "kept", "message"),
    [
        (["env", "e.tar.gz", "--out", "./e.tar.gz"], "e.tar.gz", "would write over e.tar.gz"),
        (["env", "sweep.yaml", "--out", "e.tar.gz"], "e.tar.gz", "would write over"),
        (["env", "sweep.yaml", "--out", "sweep.yaml"], "sweep.yaml", "would write over"),
        (["env", "r.txt", "--out", "c.txt"], "c.txt", "would write over"),
        (["env", "environment.yml", "--locked", "a.lock", "--out", "a.lock"], "a.lock", "a.lock"),
        (["env", "environment.yml", "--out", "uv.tar.gz"], "uv.lock", "is not osgbatch's"),
        (["env", "e.tar.gz", "--out", "."], "e.tar.gz", "this is a folder"),
        (["env", "e.tar.gz", "--out", "no/x.tar.gz"], "e.tar.gz", "folder does not exist"),
        (["lib", "mylib", "--out", "mylib/x.tar.gz"], "mylib/__init__.py", "this lies in mylib"),
        (["container", "x.def", "--out", "x.def"], "x.def", "would write over x.def"),
        (["container", "x.def", "--out", "c.txt"], "c.txt", "would write over c.txt"),
    ],
)
def test_what_is_packed_is_not_written_over(
    folder: Path, arguments: list[str], kept: str, message: str
) -> None:
    (folder / "mylib").mkdir()
    for name, text in {
        "mylib/__init__.py": "", "r.txt": "-c c.txt\n", "c.txt": "x==1\n", "uv.lock": "[mine]\n",
        "environment.yml": "dependencies: [python]\n", "x.def": "Bootstrap: docker\n%files\n c.*\n",
        "a.lock": "@EXPLICIT\nhttps://x/noarch/python-1-0.conda#sha256:" + "0" * 64 + "\n",
    }.items():  # fmt: skip
        (folder / name).write_text(text)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    done = osgbatch(folder, "pack", *arguments)
    assert (done.returncode, done.stdout) == (2, "") and message in done.stderr
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert folder / kept in before


def test_libraries_are_packed(folder: Path) -> None:
    (folder / "mylib").mkdir()
    (folder / "mylib/__init__.py").write_text("")
    done = osgbatch(folder, "pack", "lib", "mylib", "--out", "lib.tar.gz", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["path"] == "lib.tar.gz"
    with tarfile.open(folder / "lib.tar.gz") as tar:
        assert tar.getnames() == ["mylib", "mylib/__init__.py"]


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (["env", "nowhere"], '"nowhere" does not exist', 2),
        (["env", "x.R"], "neither a sweep.yaml nor what an environment is made from", 2),
        (["env", "plain.yaml"], "this sweep has no environment to pack", 2),
        (["env", "image.def"], "a container is not packed", 2),
        (["env", "bad.tar.gz"], "the archive is no .tar.gz", 3),
        (["env", "e.tar.gz", "--strip"], "--strip: this means nothing for", 2),
        (["env", "e.tar.gz", "--refresh"], "--refresh: this means nothing for", 2),
        (["env", "."], "it has neither bin/python nor bin/Rscript", 3),
        (["env", "env.yml"], "env.yml: unknown key", 2),
        (["env", "env.yml"], "Did you mean dependencies?", 2),
        (["clean", "0123"], "things are not removed by their names", 2),
        (["clean", "--nosuch"], "Try `osgbatch pack clean --help`", 2),
        (["lib", "nowhere"], "there is no 'nowhere'", 3),
        (["clean", "--older", "30"], "a time needs a unit", 2),
    ],
)
def test_what_cannot_be_done_is_told(
    folder: Path, arguments: list[str], message: str, code: int
) -> None:
    for name in ("x.R", "image.def", "bad.tar.gz"):
        (folder / name).write_text("hello, world")
    (folder / "plain.yaml").write_text("command: echo\n")
    (folder / "env.yml").write_text("channels: [conda-forge]\ndependancies: [numpy]\n")
    done = osgbatch(folder, "pack", *arguments)
    assert (done.returncode, done.stdout) == (code, "") and message in done.stderr
    assert "Traceback" not in done.stderr and "\n  " in done.stderr


def test_what_is_asked_for_is_joined_to_what_the_spec_says(folder: Path) -> None:
    (folder / "r.txt").write_text("")
    (folder / "sweep.yaml").write_text(
        "command: e\nenvironment: {requirements: r.txt, imports: [a], python: '3.9'}\n"
    )
    asked = Asked(strip=True, test=False, python="3.12", imports=("a", "b"))
    found, where, spec = environment_of(folder / "sweep.yaml", asked)
    assert (found.kind, found.python, found.imports) == ("requirements", "3.12", ("a", "b"))
    assert found.strip and not found.test and spec is not None and where == spec.folder
    (folder / "environment.yml").write_text("dependencies: [python]\n")
    found, _, spec = environment_of(folder / "environment.yml", Asked(channels=("c",)))
    assert (found.kind, found.channels, spec) == ("conda", ("c",), None)
    (folder / "sweep.yaml").write_text("command: e\nenvironment: gone.txt\n")
    with pytest.raises(SpecError, match=r'"gone\.txt" does not exist'):
        environment_of(folder / "sweep.yaml", Asked())
    (folder / "sweep.yaml").write_text("command: e\nenvironment: docker://alpine\n")
    with pytest.raises(OsgbatchError, match="a container is not packed"):
        environment_of(folder / "sweep.yaml", Asked())


def test_an_image_is_built_and_written_where_it_is_wanted(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "bin").mkdir()
    (folder / "bin/apptainer").write_text('#!/bin/sh\nshift\necho "$2" >"$1"\n')
    (folder / "bin/apptainer").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}/bin:/usr/bin:/bin")
    (folder / "x.def").write_text("Bootstrap: docker\nFrom: debian:12\n")
    for source, told in (("x.def", f"{folder}/x.def"), ("docker://a", "docker://a")):
        done = osgbatch(folder, "pack", "container", source, "--out", "x.sif")
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == "x.sif"
        assert (folder / "x.sif").read_text() == f"{told}\n"
    data = json.loads(osgbatch(folder, "pack", "container", "docker://a", "--json").stdout)
    assert (data["kind"], data["made_from"]) == ("container", "docker://a")
    (folder / "bin/apptainer").unlink()
    again = osgbatch(folder, "pack", "container", "x.def")
    assert again.returncode == 0 and "building" not in again.stderr
    refused = osgbatch(folder, "pack", "container", "x.sif")
    assert refused.returncode == 2 and "neither a definition file nor" in refused.stderr
    gone = osgbatch(folder, "pack", "container", "gone.def")
    assert gone.returncode == 2 and '"gone.def" cannot be read' in gone.stderr


def test_imports_that_are_nowhere_are_warned_of(folder: Path) -> None:
    (folder / "job.py").write_text("import numpy, util, waves, torch, inner\n")
    (folder / "util.py").write_text("import pandas\n")
    (folder / "lib/waves").mkdir(parents=True)
    (folder / "lib/waves/__init__.py").write_text("")
    (folder / "project/src/inner").mkdir(parents=True)
    (folder / "project/src/inner/__init__.py").write_text("")
    (folder / "project/pyproject.toml").write_text("")
    (folder / "sweep.yaml").write_text(
        "command: python job.py\nfiles: [job.py, util.py]\nlibraries: [lib/waves, project]\n"
    )
    said = import_warnings(load_spec(folder / "sweep.yaml"), ("numpy",))
    assert [line.split()[:2] for line in said] == [["util.py:1:", "pandas"], ["job.py:1:", "torch"]]
    near = import_warnings(load_spec(folder / "sweep.yaml"), ("numpy", "pandas2"))
    assert near[0].endswith("; did you mean pandas2?") and "mean" not in near[1]


def test_an_environment_without_packages_has_no_modules(folder: Path) -> None:
    (folder / "job.py").write_text("import numpy, os\n")
    (folder / "sweep.yaml").write_text("command: python job.py\nfiles: [job.py]\n")
    spec = load_spec(folder / "sweep.yaml")
    empty = EnvironmentArchive(folder, "", 0, 0, "3.11.2", ())
    (said,) = environment_warnings(spec, empty)
    assert said.startswith("job.py:1: numpy is imported")
    for unknown in (None, EnvironmentArchive(folder, "", 0, 0, "", ())):  # an image, R alone
        assert environment_warnings(spec, unknown) == []


OLD, NEW, DAMAGED, BUSY = ("0" * 32, "1" * 32, "2" * 32, "3" * 64)


def entry(cache: Path, name: str, used: float) -> Path:
    made = cache / "environments" / name
    made.mkdir(parents=True)
    (made / "environment-1.tar.gz").write_bytes(b"12345")
    manifest = made / "manifest.json"
    manifest.write_text(
        json.dumps({"archive": "environment-1.tar.gz", "python": "3.11.2", "packages": ["a==1"]})
    )
    os.utime(manifest, (used, used))
    (cache / f"environments/.{name}.lock").touch()
    return made


def test_only_what_was_not_used_for_long_is_cleaned(tmp_path: Path) -> None:
    now = time.time()
    old, new = entry(tmp_path, OLD, now - 1000), entry(tmp_path, NEW, now - 10)
    damaged = tmp_path / "environments" / DAMAGED
    damaged.mkdir()
    left = tmp_path / "environments/.build-left"
    for path in (left, tmp_path / "conda", tmp_path / "mine", tmp_path / "environments/mine too"):
        path.mkdir()
    (tmp_path / "libraries").symlink_to(tmp_path / "mine")
    kinds = {one.name: one.kind for one in kept_things(tmp_path)}
    assert kinds == {
        OLD: "requirements", NEW: "requirements", DAMAGED: "damaged", "conda": "downloads",
        ".build-left": "leftover", "mine": "unknown", "mine too": "unknown",
        "libraries": "unknown",
    }  # fmt: skip
    done = clean(tmp_path, older_s=100)
    assert {one.name for one in done.removed} == {OLD, DAMAGED, ".build-left"}
    assert not old.exists() and not left.exists() and not damaged.exists()
    assert new.exists() and (tmp_path / "conda").exists()
    everything = clean(tmp_path, older_s=100, everything=True)
    assert everything.busy == everything.failed == []
    assert {one.name for one in kept_things(tmp_path)} == {"mine", "mine too", "libraries"}
    names = {path.name for path in (tmp_path / "environments").iterdir()}
    assert names == {"mine too", ".packing.lock"}


def test_what_another_osgbatch_is_packing_stays(tmp_path: Path) -> None:
    busy, free = entry(tmp_path, BUSY, 0), entry(tmp_path, OLD, 0)
    shop = tmp_path / "environments/.build-x"
    (tmp_path / "conda").mkdir()
    shop.mkdir()
    with locked(tmp_path, BUSY):
        done = clean(tmp_path, older_s=0, everything=True)
    assert {one.name for one in done.busy} == {BUSY, ".build-x", "conda"}
    assert busy.exists() and shop.exists() and not free.exists()
    assert clean(tmp_path, older_s=0, everything=True).busy == []
    assert not busy.exists() and not shop.exists() and not (tmp_path / "conda").exists()


def test_ages_are_told_in_words() -> None:
    now = time.time()
    ages = [age(now - seconds) for seconds in (1, 125, 7300, 90000, 864000)]
    assert ages == ["just now", "2 min ago", "2 h ago", "1 day ago", "10 days ago"]


PAGE = (ROOT / "docs/environments.md").read_text()


@pytest.mark.parametrize("line", re.findall(r"`osgbatch (pack [^`]*)`", PAGE))
def test_the_commands_of_the_page_are_known(line: str) -> None:
    _, name, *arguments = line.split()
    command = typer.main.get_command(pack_commands.pack)
    command.commands[name].make_context(name, arguments)  # type: ignore[attr-defined]


@pytest.mark.parametrize("text", re.findall(r"```yaml\n(.*?)```", PAGE, re.S))
def test_the_examples_of_the_page_are_read(text: str, tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text(text)
    kind = load_spec(tmp_path / "sweep.yaml").environment.kind
    expected = {"environment.yml": "conda", "docker:": "container"}
    assert kind == next((v for k, v in expected.items() if k in text), "requirements")


def test_each_library_is_cleaned_when_it_was_not_used_for_long(tmp_path: Path) -> None:
    """Packing one library, or a note beside it, makes no other one used."""
    folder = tmp_path / "libraries"
    folder.mkdir()
    now = time.time()
    for name, read, packed in (("old", 1000, 1000), ("packed", 1000, 10), ("read", 10, 1000)):
        path = folder / f"library-{name}.tar.gz"
        path.write_bytes(b"x")
        os.utime(path, (now - read, now - packed))
    (folder / "mine").touch()
    os.utime(folder, (now - 1000, now - 1000))
    (kept,) = kept_things(tmp_path)
    assert now - kept.used < 100
    done = clean(tmp_path, older_s=100)
    assert [one.name for one in done.removed] == ["library-old.tar.gz"]
    left = {path.name for path in folder.iterdir()}
    assert left == {"library-packed.tar.gz", "library-read.tar.gz", "mine"}
    assert not list((tmp_path / "environments").glob(".old-*"))
    with packing(tmp_path):
        assert len(clean(tmp_path, older_s=0).busy) == 2
    clean(tmp_path, older_s=0, everything=True)
    assert kept_things(tmp_path) == [] and not folder.exists()


def test_how_a_thing_was_packed_is_listed(tmp_path: Path) -> None:
    folder = tmp_path / "environments" / OLD
    folder.mkdir(parents=True)
    (folder / "e.tar.gz").touch()
    notes = ["stripped: 1 file", "not tried before it was sent", "else"]
    facts = {"archive": "e.tar.gz", "python": "3.12.1", "packages": [], "notes": notes}
    (folder / "manifest.json").write_text(json.dumps(facts))
    (thing,) = kept_things(tmp_path)
    assert thing.packed == ("strip", "no-test")
    assert "(Python 3.12.1, strip, no-test)" in " ".join(kept_text([thing], tmp_path).split())


def test_who_is_interrupted_is_told_that_nothing_was_packed(folder: Path) -> None:
    os.mkfifo(folder / "requirements.txt")  # reading it waits for ever
    command = [sys.executable, "-m", "osgbatch", "pack", "env", "requirements.txt"]
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True) as running:
        descriptor = os.open(folder / "requirements.txt", os.O_WRONLY)  # it is reading now
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=120)
        os.close(descriptor)
    assert (running.returncode, said) == (130, "osgbatch: interrupted; nothing was packed\n")
