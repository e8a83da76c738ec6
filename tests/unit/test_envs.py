"""The ready environments in envs/, and the examples: what can be said of them without packing."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from test_cli import osgbatch

from osgbatch.packing.environment.conda_spec import read_conda_spec
from osgbatch.packing.environment.imports import script_imports
from osgbatch.packing.environment.requirements import check_lines, read_lines
from osgbatch.spec.load import load_spec

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = sorted(ROOT.glob("envs/*/requirements.txt"))
CONDA = sorted(ROOT.glob("envs/*/environment.yml"))
EXAMPLES = sorted(ROOT.glob("examples/*/sweep.yaml"))
PACKAGES = {"torch": "pytorch-cpu", "matplotlib-base": "matplotlib"}
"""Names that differ: of a module's package with conda, of conda's package with pip."""


def short(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def names(path: Path) -> set[str]:
    """The packages that an environment's file names, as pip calls them where it has them."""
    if path.suffix == ".txt":
        found = {re.split(r"[<>=!~\[; ]", line.text, maxsplit=1)[0] for line in read_lines(path)}
    else:
        found = set(read_conda_spec(path).names)
    return {PACKAGES.get(name, name) for name in found}


@pytest.mark.parametrize("path", REQUIREMENTS, ids=short)
def test_requirements_are_packages_with_their_oldest_versions(path: Path) -> None:
    lines = read_lines(path)
    check_lines(lines)
    assert lines
    for line in lines:
        assert re.fullmatch(r"[a-z0-9-]+>=\d+(\.\d+)*", line.text), line.where


@pytest.mark.parametrize("path", CONDA, ids=short)
def test_conda_files_are_understood_and_need_conda_forge_alone(path: Path) -> None:
    spec = read_conda_spec(path)
    assert spec.channels == ("conda-forge",)
    assert spec.specs and not spec.notes and not spec.pip


def test_both_files_of_scientific_python_name_the_same() -> None:
    folder = ROOT / "envs/scientific"
    assert names(folder / "environment.yml") - {"python"} == names(folder / "requirements.txt")


def test_every_ready_environment_is_listed_and_used_by_an_example() -> None:
    text = (ROOT / "envs/README.md").read_text()
    for path in (*REQUIREMENTS, *CONDA):
        assert f"`{path.relative_to(ROOT / 'envs').as_posix()}`" in text
    used = {load_spec(example).environment.path for example in EXAMPLES}
    folders = {Path(one.text).parent.name for one in used if one and "envs" in one.text}
    assert folders == {path.parent.name for path in (*REQUIREMENTS, *CONDA)}


@pytest.mark.parametrize("example", EXAMPLES, ids=short)
def test_every_example_is_checked_and_planned(example: Path, tmp_path: Path) -> None:
    for command in ("check", "plan"):
        done = osgbatch(command, example, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, ""), command
        assert "warning" not in done.stdout
    if example.parent.name == "find_peaks":
        assert "10 jobs of 1 task" in done.stdout


@pytest.mark.parametrize("example", EXAMPLES, ids=short)
def test_an_examples_environment_has_what_its_scripts_import(example: Path) -> None:
    spec = load_spec(example)
    assert spec.environment.path is not None
    wanted = script_imports(example.parent.glob("*.py"))
    own = {Path(library.text).name for library in spec.libraries}
    have = names(example.parent / spec.environment.path.text)
    assert {PACKAGES.get(name, name) for name in wanted - own} <= have


def test_the_epidemic_ends_as_the_equation_of_its_final_size_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("scipy")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(ROOT / "examples/epidemic")
    epidemic: ModuleType = __import__("epidemic")
    for r0, vaccinated in ((1.5, 0.0), (2, 0.2), (5, 0.6), (2, 0.6)):
        result: dict[str, Any] = epidemic.run(r0, vaccinated)
        susceptible = 1 - vaccinated - epidemic.FIRST
        ill = epidemic.FIRST + susceptible * (1 - math.exp(-r0 * result["ill"]))
        assert abs(result["ill"] - ill) < 1e-5
        assert result["peak"] == result["course"].max() <= result["ill"]
        assert result["course"].shape == (epidemic.DAYS + 1,)
