"""`gather:` of a spec: its forms, its mistakes, its paths."""

from __future__ import annotations

from pathlib import Path

import pytest

from osgbatch.errors import SpecErrors
from osgbatch.spec.load import load_spec
from osgbatch.spec_model import Gather
from osgbatch.submission.planned import plan_sweep


def gather_of(folder: Path, text: str) -> Gather | None:
    """What a spec with this `gather:` has."""
    (folder / "sweep.yaml").write_text(f"command: e {{x}}\nsweep: {{x: [1]}}\ngather: {text}\n")
    return load_spec(folder / "sweep.yaml").gather


@pytest.mark.parametrize(
    ("text", "name", "function", "in_pool"),
    [
        ("gather.py", "gather.py", "", False),
        ("a.b:run", "a.b:run", "a.b:run", False),
        ("lib/a.py:run", "lib/a.py:run", "", False),  # a file may be called so
        ("{script: gather.py}", "gather.py", "", False),
        ("{script: 'a:b'}", "a:b", "", False),
        ("{function: 'a:b', in: pool}", "a:b", "a:b", True),
    ],
)
def test_every_form(tmp_path: Path, text: str, name: str, function: str, in_pool: bool) -> None:
    found = gather_of(tmp_path, text)
    assert found is not None
    called = f"{found.function.module}:{found.function.name}" if found.function else ""
    assert (found.text, called, found.in_pool) == (name, function, in_pool)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{in: pool}", "should have either a script or a function"),
        ("{script: a.py, function: 'a:b'}", "should have either a script or a function"),
        ("{function: a.py}", "should be a module and a function in it"),
        ("{script: a.py, in: pol}", 'did you mean "pool"?'),
        ("{script: a.py, resources: {memory: 1 GB}}", "is for a job in the pool only"),
        ("{script: a.py, in: pool, resources: {memory: 1}}", "a size needs a unit"),
        ("{script: a.py, inn: pool}", 'did you mean "in"?'),
    ],
)
def test_every_mistake_is_told(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SpecErrors) as error:
        gather_of(tmp_path, text)
    assert said in str(error.value)


def test_paths_of_a_base_start_from_its_folder(tmp_path: Path) -> None:
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab/base.yaml").write_text(
        "gather: {script: g.py, in: pool, inputs: [d, 'osdf:///x/y']}\n"
    )
    (tmp_path / "s").mkdir()
    spec = tmp_path / "s/sweep.yaml"
    spec.write_text("extends: ../lab/base.yaml\ncommand: e\n")
    found = load_spec(spec).gather
    assert found is not None
    assert found.text == "../lab/g.py"
    assert [path.text for path in found.inputs] == ["../lab/d", "osdf:///x/y"]
    (tmp_path / "lab/base.yaml").write_text("gather: a:b\n")
    found = load_spec(spec).gather
    assert found is not None and found.text == "a:b"
    spec.write_text("extends: ../lab/base.yaml\ncommand: e\ngather: {script: own.py}\n")
    found = load_spec(spec).gather
    assert found is not None and (found.text, found.function) == ("own.py", None)


def test_figures_of_a_task_come_home_beside_its_outputs(tmp_path: Path) -> None:
    def outputs(text: str) -> list[tuple[str, bool]]:
        (tmp_path / "sweep.yaml").write_text(f"command: e\n{text}\n")
        return [
            (o.pattern.fill({}), o.optional) for o in plan_sweep(tmp_path / "sweep.yaml").outputs
        ]

    figures = ("outputs/metrics.json", True)
    assert outputs("outputs: [outputs/a]") == [("outputs/a", False), figures]
    assert outputs("outputs: [outputs/metrics.json]") == [("outputs/metrics.json", False)]
    assert outputs("outputs: [outputs]") == [("outputs", False)]
    assert outputs("name: x") == []
