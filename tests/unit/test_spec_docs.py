"""docs/spec.md is true: every form in its tables, and every example, is read from there and run."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import pytest
import yaml
from pydantic import BaseModel

from osgbatch.errors import OsgbatchError
from osgbatch.names import RESULT_FILE, SCRIPT_VARIABLE, SWEEP_WORDS
from osgbatch.plan_model import Plan
from osgbatch.planning.plan import make_plan
from osgbatch.rendering.templates import template_folder
from osgbatch.spec.load import load_spec
from osgbatch.spec.schema import SpecModel
from osgbatch.spec.series import DISTRIBUTIONS, SOURCES
from osgbatch.sweep.expand import expand
from osgbatch.texts import duration, size

PAGE = Path(__file__).resolve().parents[2] / "docs" / "spec.md"
FILES = [
    "find_peaks.py", "util.py", "job.py", "gather.py", "waveshape/__init__.py",
    "requirements.txt", "model.h5", "other/model.h5", "../shared/ref.fa",
    "calibration/2.csv", "calibration/0.5.csv", "calibration/1.0.csv",
    "data/2.npy", "data/10.npy", "data/more/1.npy",
    "pyproject.toml", "uv.lock", "environment.yml", ".venv/pyvenv.cfg", "my-env.tar.gz",
    "image.sif", "deps/needed", "my-env/pyvenv.cfg",
]  # fmt: skip
"""What the examples name, besides the files whose content the page shows."""
PROGRAMS = ("command", "script", "function")
CODE = re.compile(r"(?<!`)`([^`]+)`(?!`)")


@dataclass(frozen=True)
class Form:
    """A row of a table whose first cell is a form. key: of the table's head; line: on the page."""

    key: str
    form: str
    cells: tuple[str, ...]
    line: int


@dataclass(frozen=True)
class Fence:
    """A fenced block. word: what stands behind the language; line: on the page."""

    language: str
    word: str
    text: str
    line: int


def _fences() -> list[Fence]:
    found: list[Fence] = []
    lines = PAGE.read_text().splitlines()
    start = -1
    for number, line in enumerate(lines):
        if not line.startswith("```"):
            continue
        if start < 0:
            start = number
            continue
        language, _, word = lines[start].removeprefix("```").partition(" ")
        text = "".join(f"{line}\n" for line in lines[start + 1 : number])
        found.append(Fence(language, word, text, start + 1))
        start = -1
    assert start < 0, f"the block of line {start + 1} is not closed"
    return found


def _forms() -> Iterator[Form]:
    """The rows of the tables whose head begins with a key in code, or with "refused"."""
    key = ""
    lines = PAGE.read_text().splitlines()
    for number, line in enumerate(lines, 1):
        if not line.startswith("|"):
            key = ""
            continue
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if number < len(lines) and re.match(r"\|-", lines[number]):
            key = "refused" if cells[0] == "refused" else cells[0].strip("`")
            if cells[0] == key != "refused":
                key = ""
            assert key in ("", "refused", *SpecModel.model_fields), f"line {number}: {key}"
        elif key and not line.startswith("|-"):
            assert CODE.fullmatch(cells[0]), f"line {number}: its form is not in code"
            form = cells[0].strip("`").replace("\\|", "|")
            yield Form(key, form, tuple(cells[1:]), number)


FENCES = _fences()
FORMS = list(_forms())
EXAMPLES = [f for f in FENCES if f.language == "yaml" and not f.word]


def _line(found: Form | Fence) -> str:
    return f"line {found.line}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with all files that the page names; no defaults of this machine hold in it."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for variable in ("OSGBATCH_DEFAULTS", "OSGBATCH_PROFILE"):
        monkeypatch.delenv(variable, raising=False)
    top = tmp_path / "sweep"
    for name in FILES:
        path = top / name
        top.mkdir(exist_ok=True)
        Path(os.path.normpath(path)).parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    for fence in FENCES:
        if fence.word.endswith((".csv", ".txt", ".py", ".yaml")):
            (top / fence.word).write_text(fence.text)
    rows = list(csv.reader((top / "params.csv").read_text().splitlines()))
    (top / "params.tsv").write_text("".join("\t".join(row) + "\n" for row in rows))
    items = [{"alpha": float(alpha), "label": label} for alpha, label in rows[1:]]
    (top / "params.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    return top


def _planned(folder: Path, text: str) -> Plan:
    """The plan of an example; what it does not say is added behind it, so that lines stay right."""
    data = yaml.safe_load(text)
    assert isinstance(data, dict), text
    lines = [text.rstrip("\n")]
    if lines[0].startswith("{"):
        lines = [yaml.safe_dump(data, sort_keys=False).rstrip("\n")]
    if not any(program in data for program in PROGRAMS):
        lines.append("command: echo")
    if "sweep" not in data:
        lines.append("sweep: {x: [a b], n: [2]}")
    path = folder / "sweep.yaml"
    path.write_text("\n".join(lines) + "\n")
    spec = load_spec(path)
    return make_plan(spec, expand(spec))


def _example(key: str, form: str) -> str:
    """A form as the value of its key: in a line of its own where it is a mapping without braces."""
    if key == "sweep" and not form.startswith("{"):
        return f"sweep:\n  {form}\n"
    if key == "inputs":
        return f"inputs:\n  - {form}\n"
    return f"{key}: {form}\n"


def _rows(folder: Path, plan: Plan) -> str:
    """All rows as the table shows them: each value as a command's argument, by its name."""
    names = [column.name for column in plan.table.columns] or ["index"]
    texts = [plan.tasks.texts(name, 0, len(plan.tasks)) for name in names]
    rows = zip(*texts, strict=True)
    return "; ".join(
        " ".join(f"{name}={text}" for name, text in zip(names, row, strict=True)) for row in rows
    )


def _needs(plan: Plan) -> dict[str, str]:
    """What the largest job asks for, in the page's units."""
    need = plan.demand
    return {
        "cpus": str(need.cpus),
        "memory": size(need.memory_mb * 1024**2),
        "disk": size(need.disk_kb * 1024),
        "gpus": str(need.gpus),
        "time": duration(need.time_s),
    }


@pytest.mark.parametrize("form", [f for f in FORMS if f.key == "sweep"], ids=_line)
def test_every_form_of_the_sweep_gives_the_rows_beside_it(folder: Path, form: Form) -> None:
    if ".parquet" in form.form:
        parquet = pytest.importorskip("pyarrow.parquet")
        arrow = pytest.importorskip("pyarrow")
        columns = {"alpha": [0.5, 1.0], "label": ["low", "high"]}
        parquet.write_table(arrow.table(columns), folder / "params.parquet")
    plan = _planned(folder, _example("sweep", form.form))
    assert form.cells[0] == f"`{_rows(folder, plan)}`"


@pytest.mark.parametrize("form", [f for f in FORMS if f.key == "command"], ids=_line)
def test_every_command_is_the_words_beside_it(folder: Path, form: Form) -> None:
    plan = _planned(folder, _example("command", form.form))
    assert form.cells[0] == " ".join(f"`{word}`" for word in plan.tasks[0].argv)


@pytest.mark.parametrize("form", [f for f in FORMS if f.key == "inputs"], ids=_line)
def test_every_input_is_where_the_table_says(folder: Path, form: Form) -> None:
    plan = _planned(folder, _example("inputs", form.form))
    found = sorted(file.task_path for file in plan.tasks[0].inputs)
    assert form.cells[0] == " ".join(f"`{path}`" for path in found)


@pytest.mark.parametrize("form", [f for f in FORMS if f.key == "inputs"], ids=_line)
def test_related_has_the_forms_of_inputs_in_its_own_folder(folder: Path, form: Form) -> None:
    plan = _planned(folder, _example("inputs", form.form).replace("inputs:", "related:", 1))
    found = sorted(file.task_path for file in plan.tasks[0].inputs)
    assert [path.replace("related/", "inputs/", 1) for path in found] == CODE.findall(form.cells[0])


@pytest.mark.parametrize("form", [f for f in FORMS if f.key == "resources"], ids=_line)
def test_every_resource_is_asked_for_as_the_table_says(folder: Path, form: Form) -> None:
    plan = _planned(folder, _example("resources", form.form))
    said = re.findall(r"(\w+) `([^`]+)`", form.cells[0])
    assert said
    assert said == [(name, _needs(plan)[name]) for name, _ in said]


@pytest.mark.parametrize(
    "form",
    [f for f in FORMS if f.key not in ("sweep", "command", "inputs", "resources", "refused")],
    ids=_line,
)
def test_every_other_form_is_accepted(folder: Path, form: Form) -> None:
    _planned(folder, _example(form.key, form.form))


@pytest.mark.parametrize("form", [f for f in FORMS if f.key == "refused"], ids=_line)
def test_what_the_page_calls_refused_is_refused_with_these_words(folder: Path, form: Form) -> None:
    with pytest.raises(OsgbatchError) as caught:
        _planned(folder, form.form + "\n")
    words = CODE.fullmatch(form.cells[0])
    assert words
    assert words[1].replace("\\|", "|") in str(caught.value)


@pytest.mark.parametrize("example", EXAMPLES, ids=_line)
def test_every_example_does_what_the_page_says(folder: Path, example: Fence) -> None:
    plan = _planned(folder, example.text)
    for fence in FENCES[FENCES.index(example) + 1 :][:1]:
        if fence.word == "jobs":
            assert plan.grouping[-1] == fence.text.strip()
        elif fence.word == "resources":
            needs = [part.strip().split(" ", 1) for part in fence.text.split(",")]
            assert needs == [[name, _needs(plan)[name]] for name, _ in needs]
        elif fence.word == "printed":
            assert "".join(_printed(folder, plan)) == fence.text
        elif fence.word == "returned":
            assert _returned(folder, plan) == fence.text


def _printed(folder: Path, plan: Plan) -> Iterator[str]:
    """What bash prints for each task's script."""
    assert plan.spec.script
    for task in plan.tasks:
        where = folder / f"task-{task.index}"
        (where / "outputs").mkdir(parents=True)
        (where / "script").write_text(plan.spec.script.text)
        row = {f"{SCRIPT_VARIABLE}{name}": str(value) for name, value in task.params}
        yield subprocess.run(
            ["bash", "-eo", "pipefail", "script"],
            cwd=where,
            env={**os.environ, **row},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout


def _returned(folder: Path, plan: Plan) -> str:
    """What is kept of what the first task's function returns."""
    function = plan.spec.function
    assert function
    (folder / "params.json").write_text(json.dumps(dict(plan.tasks[0].params)))
    call = template_folder() / "call.py"
    subprocess.run([sys.executable, call, function.module, function.name], cwd=folder, check=True)
    return (folder / RESULT_FILE).read_text()


def test_every_result_stands_behind_an_example() -> None:
    for before, fence in zip([None, *FENCES], FENCES, strict=False):
        if fence.word in ("jobs", "resources", "printed", "returned"):
            assert before in EXAMPLES, _line(fence)
        else:
            assert not fence.word or "." in fence.word, f"{_line(fence)}: {fence.word}"


def _models(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """A model and all that its keys may hold."""
    yield model
    for found in model.model_fields.values():
        yield from (inner for inner in _inside(found.annotation))


def _inside(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield from _models(annotation)
        return
    for part in get_args(annotation):
        yield from _inside(part)


KEYS = sorted(
    {field.alias or name for m in _models(SpecModel) for name, field in m.model_fields.items()}
)


@pytest.mark.parametrize("key", [k for k in SpecModel.model_fields if k != "name"])
def test_every_key_of_a_spec_is_explained_in_a_section(key: str) -> None:
    assert re.search(rf"^## .*\b{key}\b", PAGE.read_text(), re.M)


@pytest.mark.parametrize("key", KEYS)
def test_every_key_stands_in_an_example_that_is_run(key: str) -> None:
    run = [f"{f.key}: {f.form}" for f in FORMS if f.key != "refused"]
    run += [example.text for example in EXAMPLES]
    assert any(re.search(rf"(^|[{{,\s]){re.escape(key)}:", text) for text in run)


@pytest.mark.parametrize("word", [*SWEEP_WORDS, *SOURCES, *DISTRIBUTIONS])
def test_every_source_of_rows_has_a_row_in_the_table(word: str) -> None:
    forms = [form.form for form in FORMS if form.key == "sweep"]
    assert any(re.search(rf"(^|[{{,\s]){word}:", form) for form in forms)


def test_the_tables_were_found() -> None:
    assert {"sweep", "command", "inputs", "resources", "refused"} <= {form.key for form in FORMS}
    assert len(KEYS) > 40
