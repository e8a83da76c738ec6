"""The environment of a plan: what is warned of, and what is kept of it in the batch folder."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from test_packing_given import STARTED, tarball

from osgbatch import ui
from osgbatch.errors import PackingError
from osgbatch.packing.environment import EnvironmentArchive
from osgbatch.packing.environment.cache import file_sha256
from osgbatch.packing.environment.conda_lock import read_lock
from osgbatch.spec.load import load_spec
from osgbatch.spec_model import Spec
from osgbatch.submission import packed, steps
from osgbatch.submission.packed import environment_warnings
from osgbatch.submission.planned import plan_sweep


def sweep(folder: Path, more: str = "") -> Spec:
    (folder / "job.py").write_text("import numpy, torch\n")
    (folder / "sweep.yaml").write_text(f"command: python job.py\nfiles: job.py\n{more}")
    return load_spec(folder / "sweep.yaml")


def archive(folder: Path, **facts: object) -> EnvironmentArchive:
    digest = file_sha256(tarball(folder / "e.tar.gz", {"bin/Rscript": STARTED}))
    usual = {"sha256": digest, "size": 1, "unpacked_size": 1, "python": "", "packages": ()}
    return EnvironmentArchive(folder / "e.tar.gz", **usual | facts)  # type: ignore[arg-type]


def test_imports_that_the_environment_lacks_are_warned_of(tmp_path: Path) -> None:
    said = environment_warnings(sweep(tmp_path), archive(tmp_path, modules=("numpy",)))
    assert len(said) == 1 and said[0].startswith("job.py:1: torch is imported")
    assert environment_warnings(sweep(tmp_path), archive(tmp_path)) == []
    assert environment_warnings(sweep(tmp_path), None) == []


@pytest.mark.parametrize(
    ("needed", "told"),
    [("", None), ("2.9", None), ("2.17", None), ("2.28", None), ("2.29", "EL 9"),
     ("2.36", "Debian 12"), ("2.99", "execution points")],
)  # fmt: skip
def test_a_glibc_that_not_all_have_is_warned_of(
    tmp_path: Path, needed: str, told: str | None
) -> None:
    said = environment_warnings(sweep(tmp_path), archive(tmp_path, glibc_needed=needed))
    assert bool(said) == (told is not None)
    assert told is None or (f"glibc {needed} or newer" in said[0] and told in said[0])
    chosen = sweep(tmp_path, "requirements: {os: el9}\n")
    assert environment_warnings(chosen, archive(tmp_path, glibc_needed=needed)) == []


def test_a_batch_has_the_lock_and_the_level_of_its_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = archive(
        tmp_path, lock="@EXPLICIT\n", microarch="x86_64-v3", glibc_needed="2.38", modules=("numpy",)
    )
    monkeypatch.setattr(packed, "packed_environment", lambda *given: made)
    said: list[str] = []
    sweep(tmp_path, "environment: e.tar.gz\n")
    batch = steps.render_sweep(tmp_path / "sweep.yaml", tmp_path / "b", said.append)
    assert (batch.folder / "environment.lock").read_text() == "@EXPLICIT\n"
    assert sum(1 for path in batch.folder.rglob("*") if path.is_file()) <= 20
    text = (batch.folder / "rounds/001/job.submit").read_text()
    assert 'isUndefined(TARGET.Microarch) || TARGET.Microarch >= "x86_64-v3"' in text
    assert [line.partition(" ")[0] for line in said] == ["warning:", "warning:"]
    assert "torch" in said[0] and "glibc 2.38" in said[1]


def test_submitting_tells_of_editable_installs_those_in_the_cache_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = ("mine is an editable install: packed as it is now in src", "stripped: 1 file")
    made = archive(tmp_path, notes=notes)
    monkeypatch.setattr(packed, "packed_environment", lambda *given: made)
    sweep(tmp_path, "environment: e.tar.gz\n")
    said: list[str] = []
    packed.pack_environment(plan_sweep(tmp_path / "sweep.yaml"), said.append)
    assert said == [f"note: {notes[0]}"]


def test_long_lines_are_wrapped_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("COLUMNS", "40")
    path = f"{'folder/' * 8}job.py:1:3:"
    caret = f"    1 | {'x ' * 30}\n      | {' ' * 50}^"
    command = "`osgbatch pack env environment.yml --refresh`"
    text = f"{path} what is wrong with it is long\n{caret}\n  {'words ' * 9}{command}"
    assert ui.wrapped(text, io.StringIO()) == text
    lines = ui.wrapped(text, Terminal()).split("\n")
    assert lines[0] == path and "\n".join(lines[2:4]) == caret
    assert lines[-1] == f"  {command}" and all(len(line) <= 40 for line in lines[4:-1])
    assert ui.wrapped(text, Terminal()).split() == text.split()


def test_a_python_that_is_not_here_is_told_where_it_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "r.txt").touch()
    spec = sweep(tmp_path, "environment:\n  requirements: r.txt\n  python: '3.98'\n")
    place = spec.environment.python_place
    assert place is not None and (place.line, place.column) == (5, 11)


def test_where_a_lock_file_is_found_is_told(tmp_path: Path) -> None:
    with pytest.raises(PackingError, match="cannot be read") as caught:
        read_lock(tmp_path / "nosuch.lock", "linux-64")
    assert "environment.lock" in caught.value.fix and "--out" in caught.value.fix
