"""The house: imports point one way, modules stay small, start-up stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from osgbatch.cli import app

PACKAGE = Path(__file__).parents[2] / "osgbatch"
FLOORS = (
    *("life", "submission", "results", "examining", "pools", "workflows", "foreach", "laptop"),
    "api",
)
"""What puts rooms together; the upper ones (to the right) may use those below them."""
ROOMS = {p.name for p in PACKAGE.iterdir() if p.is_dir() and (p / "__init__.py").exists()} - {
    "cli",
    *FLOORS,
}
COMMON = {
    "expressions",
    "expression_surely",
    "expression_tree",
    "tables",
    "model",
    "spec_model",
    "plan_model",
    "errors",
    "exits",
    "names",
    "personal_pool",
    "places",
    "returned",
    "submit_language",
    "task_states",
    "sums",
    "targets",
    "task_ranges",
    "texts",
    "urls",
    "version",
}
MODULES = sorted(PACKAGE.rglob("*.py"))


def imported(path: Path) -> set[str]:
    """The parts of osgbatch that a module imports: `spec`, `model`, ..."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("osgbatch.")}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            parts = node.module.split(".")
            if parts == ["osgbatch"]:
                found |= {alias.name for alias in node.names}
            elif parts[0] == "osgbatch":
                found.add(parts[1])
    return found


def beside(path: Path, floor: str) -> set[str]:
    """The modules of its own floor that a module imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == f"osgbatch.{floor}":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
            f"osgbatch.{floor}."
        ):
            found.add((node.module or "").split(".")[2])
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path) -> None:
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    uses = imported(path) - {room}
    if room in ROOMS:
        assert uses <= COMMON, f"{room} is a room; it may import only {sorted(COMMON)}"
    elif room in COMMON | {"ui"}:
        assert uses <= COMMON
    elif room in FLOORS:
        speaks = {"ui"} if room == "api" else set()  # to who runs a program, as cli does
        assert uses <= COMMON | ROOMS | speaks | set(FLOORS[: FLOORS.index(room)])
    else:
        assert room in ("cli", "__main__", "__init__")


@pytest.mark.parametrize("floor", FLOORS)
def test_the_modules_of_a_floor_go_round_no_circles(floor: str) -> None:
    paths = {path.stem: path for path in (PACKAGE / floor).glob("*.py")}
    above = {name: beside(path, floor) & paths.keys() for name, path in paths.items()}
    while above:
        lowest = {name for name, uses in above.items() if not uses & above.keys()}
        assert lowest, f"these import each other: {sorted(above)}"
        above = {name: uses for name, uses in above.items() if name not in lowest}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_the_condor_room_knows_htcondor(path: Path) -> None:
    text = path.read_text()
    if path.parent.name != "condor":
        assert "import htcondor2" not in text
        assert '["condor_' not in text


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_module_is_small_and_says_what_it_is_for(path: Path) -> None:
    text = path.read_text()
    assert text.startswith('"""')
    assert len(text.splitlines()) <= 420


HEAVY = ("jinja2", "yaml", "htcondor2", "isal", "osgbatch.spec", "osgbatch.rendering", "sqlite3")


@pytest.mark.parametrize(
    ("start", "absent"),
    [
        ("import osgbatch.__main__", ("typer", "pydantic", "rich", *HEAVY)),
        ("from osgbatch.cli.app import command_line; command_line()", HEAVY),
    ],
)
def test_start_up_loads_only_what_it_needs(start: str, absent: tuple[str, ...]) -> None:
    code = f"import sys; {start}; print([m for m in {absent!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("module", app.MODULES)
def test_a_command_is_known_by_its_first_word(module: str) -> None:
    """So that the module that has it is the only one loaded."""
    group: Any = typer.main.get_command(app.command_line([module]))
    assert tuple(group.commands) == app.MODULES[module]
    assert {tuple(app.modules_for([name, "--help"])) for name in group.commands} == {(module,)}
