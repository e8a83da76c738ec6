"""Pythons and environments that somebody else provides: explained, not packed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from osgbatch.errors import PackingError
from osgbatch.packing.environment import prefix_check

BASE = os.path.realpath(sys.executable)


def refused(path: Path) -> str:
    with pytest.raises(PackingError) as caught:
        prefix_check.checked_prefix(path)
    return str(caught.value)


def python_in(folder: Path) -> Path:
    (folder / "bin").mkdir(parents=True)
    (folder / "bin/python3").symlink_to(BASE)
    return folder


@pytest.mark.parametrize(
    ("variable", "below"),
    [
        ("EBROOTPYTHON", "software/Python/3.11.3-GCCcore-12.3.0"),
        ("EBROOTANACONDA3", "software/Anaconda3/2024.02"),
        ("SPACK_ROOT", "spack/opt/x/linux-x86_64/gcc-12/python-3.11"),
        ("MODULESHOME", "lmod"),
    ],
)
def test_a_python_of_a_loaded_module_is_explained(
    variable: str, below: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = python_in(tmp_path / below)
    root = tmp_path / below if variable != "SPACK_ROOT" else tmp_path / "spack"
    monkeypatch.setenv(variable, str(root))
    said = refused(python)
    assert "a Python that a module system provides, not an environment of yours" in said
    assert f"`{python}/bin/python3 -m pip freeze > requirements.txt`" in said


def test_a_python_of_spack_is_known_by_its_mark(tmp_path: Path) -> None:
    python = python_in(tmp_path / "python-3.11-abc")
    (python / ".spack").mkdir()
    assert "a whole Python installation" in refused(python)  # ~/.spack is a folder of settings
    (python / ".spack/spec.json").write_text("{}")
    assert "a Python that Spack provides" in refused(python)


@pytest.mark.parametrize(
    ("path", "provider"),
    [
        ("/cvmfs/soft.computecanada.ca/python", "CVMFS"),
        ("/opt/apps/python/3.11", "a module system"),
        ("/nix/store/abc-python3", "Nix"),
        ("/gnu/store/abc-python", "Guix"),
        ("/home/a/spack/opt/spack/linux/python-3.11/bin/python3.11", "Spack"),
        ("/home/a/.venv", ""),
    ],
)
def test_who_provides_a_path(path: str, provider: str) -> None:
    assert prefix_check.module_system(Path(path)) == provider


def test_the_systems_own_python_is_explained() -> None:
    if not Path("/usr/bin/python3").exists():
        pytest.fail("this test needs a Python of the operating system, /usr/bin/python3")
    said = refused(Path("/usr"))
    assert "the operating system's own Python" in said and "pip freeze" in said


def test_a_conda_environment_of_a_module_is_explained_and_ones_own_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = python_in(tmp_path / "anaconda/envs/science")
    (made / "conda-meta").mkdir()
    monkeypatch.setenv("EBROOTANACONDA3", str(tmp_path / "anaconda"))
    assert prefix_check.checked_prefix(made).is_conda
    own = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: own + 1)
    said = refused(made)
    assert "provided by a module system" in said
    assert f"`conda env export -p {made} --from-history > environment.yml`" in said
