"""A real uv, without a network: its lock files and environments, and the Pythons that are here."""

from __future__ import annotations

import os
import subprocess
import sysconfig
from pathlib import Path

import pytest
from conda_channel import write_wheel

from osgbatch.errors import PackingError
from osgbatch.packing.environment import (
    EnvironmentArchive,
    environment_archive,
    environment_fingerprint,
    packed_environment,
    standalone,
)
from osgbatch.packing.environment.trial import unpack
from osgbatch.spec_model import Environment, Place, UserPath

UV = Path(sysconfig.get_path("scripts")) / "uv"
BUILT = '[build-system]\nrequires = ["uv_build>=0.7,<1"]\nbuild-backend = "uv_build"\n'
"""uv builds it by itself where nothing else was asked for: nothing is fetched."""


@pytest.fixture(autouse=True)
def with_uv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(UV.parent), prepend=os.pathsep)
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv cache"))


def uv(folder: Path, *arguments: str | Path) -> None:
    done = subprocess.run(
        [UV, "--quiet", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def package(folder: Path, name: str, value: int, more: str = "", settings: str = "") -> Path:
    (folder / "src" / name).mkdir(parents=True)
    (folder / "src" / name / "__init__.py").write_text(f"VALUE = {value}\n")
    head = f'[project]\nname = "{name}"\nversion = "1.0"\nrequires-python = ">=3.10"\n{more}'
    (folder / "pyproject.toml").write_text(head + BUILT + settings)
    return folder


def said(made: EnvironmentArchive, scratch: Path, code: str) -> str:
    """What the Python of an archive prints, unpacked elsewhere."""
    scratch.mkdir()
    python = unpack(made.path, scratch) / "bin/python"
    done = subprocess.run([python, "-c", code], env={}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def locked(tmp_path: Path) -> Path:
    """A uv.lock of a project with a wheel, and with a project that lies beside it."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    write_wheel(wheels, "tiny", "1.0", {"tiny.py": b"VALUE = 1\n"})
    package(tmp_path / "code/beside", "beside", 2)
    settings = (
        '[tool.uv]\nno-index = true\nfind-links = ["../../wheels"]\n'
        '[tool.uv.sources]\nbeside = {path = "../beside"}\n'
    )
    made = package(
        tmp_path / "code/my project", "mine", 3, 'dependencies = ["tiny", "beside"]\n', settings
    )
    uv(made, "lock")
    write_wheel(wheels, "tiny", "2.0", {"tiny.py": b"VALUE = 20\n"})
    return made / "uv.lock"


def test_a_lock_file_gives_its_versions_the_project_and_those_beside_it(
    locked: Path, tmp_path: Path
) -> None:
    before = sorted((tmp_path / "code").rglob("*"))
    made = environment_archive(locked, tmp_path / "cache", lambda line: None)
    assert set(made.packages) == {"tiny==1.0", "beside==1.0", "mine==1.0"}
    code = "import tiny, beside, mine; print(tiny.VALUE, beside.VALUE, mine.VALUE)"
    assert said(made, tmp_path / "else", code) == "1 2 3"
    assert sorted((tmp_path / "code").rglob("*")) == before  # nothing is written there
    (tmp_path / "code/beside/src/beside/__init__.py").write_text("VALUE = 4\n")
    assert environment_fingerprint(locked) != made.fingerprint


def test_what_a_lock_file_lacks_is_told(locked: Path, tmp_path: Path) -> None:
    (tmp_path / "wheels/tiny-1.0-py3-none-any.whl").unlink()
    with pytest.raises(PackingError, match="uv could not install") as caught:
        environment_archive(locked, tmp_path / "cache", lambda line: None)
    assert "tiny" in caught.value.fix
    (tmp_path / "code/beside").rename(tmp_path / "code/gone")
    with pytest.raises(PackingError, match=r"takes \.\./beside, which is not there"):
        environment_archive(locked, tmp_path / "cache", lambda line: None)


def test_an_environment_that_uv_made_is_packed(tmp_path: Path) -> None:
    write_wheel(tmp_path, "tiny", "1.0", {"tiny.py": b"VALUE = 1\n"})
    uv(tmp_path, "venv", "--python", standalone.chosen_python(), "my env")
    options = ("--no-index", "--find-links", ".", "--python", "my env/bin/python")
    uv(tmp_path, "pip", "install", *options, "tiny")
    path = UserPath("my env", Place("sweep.yaml", 1, 1))
    wanted = Environment("prefix", path)
    made = packed_environment(wanted, tmp_path, tmp_path / "cache", lambda line: None)
    assert made is not None and made.packages == ("tiny==1.0",)
    assert said(made, tmp_path / "else", "import tiny; print(tiny.VALUE)") == "1"


def test_another_python_that_is_here_is_packed(tmp_path: Path) -> None:
    own = standalone.own_minor()
    others = [minor for minor in standalone._there() if minor != own and int(minor[2:]) > 8]
    minor = (others or [own])[-1]  # a machine may have only one
    (tmp_path / "requirements.txt").write_text("")
    wanted = Environment("requirements", python=minor, imports=("sqlite3",))
    file, cache = tmp_path / "requirements.txt", tmp_path / "cache"
    made = environment_archive(file, cache, lambda line: None, wanted=wanted)
    assert made.python.startswith(f"{minor}.")
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    assert said(made, tmp_path / "else", code) == minor
