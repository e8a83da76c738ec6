"""`{prefix: DIR}` of a conda environment: packed with conda-pack's list, moved, left as it is."""

from __future__ import annotations

from pathlib import Path

import conda_channel
import pytest
from test_packing_conda import run
from test_packing_prefix import wanted

from osgbatch.errors import PackingError
from osgbatch.packing.environment import known_environment, packed_environment
from osgbatch.packing.environment.conda import put_right
from osgbatch.packing.environment.prefix_scan import scan
from osgbatch.packing.environment.trial import unpack


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("conda")
    channel = conda_channel.make_channel(folder / "local", tmp_path_factory.mktemp("scratch"))
    return conda_channel.install_prefix(channel, folder / "env", folder / "cache", "greet")


def test_a_conda_environment_is_packed_and_left_as_it_is(prefix: Path, tmp_path: Path) -> None:
    before = scan(prefix)
    said: list[str] = []
    made = packed_environment(wanted(prefix), Path("/"), tmp_path, said.append)
    assert made is not None and made.kind == "prefix" and made.made_from == str(prefix)
    assert {one.split("==")[0] for one in made.packages} >= {"python", "greet"}
    assert "greet" in made.modules and scan(prefix) == before
    assert "trying the environment at another path" in said
    assert known_environment(wanted(prefix), Path("/"), tmp_path) == made
    root = unpack(made.path, tmp_path / "elsewhere")
    away = prefix.with_name("away")
    prefix.rename(away)
    try:
        assert put_right(root) == ""
        run(root / "bin/python", "-c", "import greet")
    finally:
        away.rename(prefix)


def test_imports_of_a_conda_environment_are_tried(prefix: Path, tmp_path: Path) -> None:
    with pytest.raises(PackingError, match="no_such, named under imports, cannot be imported"):
        how = wanted(prefix, imports=("no_such",))
        packed_environment(how, Path("/"), tmp_path, lambda line: None)


def test_an_editable_install_in_a_conda_environment_is_brought_and_watched(
    prefix: Path, tmp_path: Path
) -> None:
    (tmp_path / "code/mine/tests").mkdir(parents=True)
    (tmp_path / "code/mine/__init__.py").write_text("from mine.tests import value\n")
    (tmp_path / "code/mine/tests/__init__.py").write_text("value = 1\n")
    (site,) = prefix.glob("lib/python3.*/site-packages")
    (site / "mine.pth").write_text(f"{tmp_path}/code\n")
    said: list[str] = []
    try:
        how = wanted(prefix, strip=True, imports=("mine",))
        made = packed_environment(how, Path("/"), tmp_path / "c", said.append)
        assert made is not None and "mine" in made.modules
        assert any(note.startswith("mine is an editable install") for note in made.notes)
        assert any("not stripping mine" in line for line in said)
        (tmp_path / "code/mine/more.py").write_text("")
        assert known_environment(how, Path("/"), tmp_path / "c") is None
    finally:
        (site / "mine.pth").unlink()


def test_a_conda_environment_that_changes_while_it_is_packed_is_not_kept(
    prefix: Path, tmp_path: Path
) -> None:
    def installs(line: str) -> None:
        (prefix / "late").write_text("")

    try:
        with pytest.raises(PackingError, match="was changed while it was packed"):
            packed_environment(wanted(prefix, test=False), Path("/"), tmp_path, installs)
        assert not list(tmp_path.rglob("*.tar.gz"))
    finally:
        (prefix / "late").unlink()
