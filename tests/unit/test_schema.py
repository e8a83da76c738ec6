"""`osgbatch schema`: what `osgbatch check` accepts is valid, what is misspelt is not."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from osgbatch.cli.app import command_line
from osgbatch.spec import units
from osgbatch.spec.document import parse_document
from osgbatch.spec.jsonschema import json_schema
from osgbatch.spec.schema import SpecModel

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json_schema()
VALIDATOR = Draft202012Validator(SCHEMA)


def problems(text: str) -> list[str]:
    data = parse_document(text.encode(), "sweep.yaml").data
    return [f"{error.json_path}: {error.message}" for error in VALIDATOR.iter_errors(data)]


def examples() -> list[str]:
    """The YAML blocks of the docs, and the forms in the tables of docs/spec.md."""
    found: list[str] = []
    for page in sorted((ROOT / "docs").glob("*.md")):
        text = page.read_text()
        blocks = re.findall(r"^```yaml(?: (\S+))?\n(.*?)^```", text, re.M | re.S)
        found += [block for name, block in blocks if name not in ("mypool.yaml", "config.yaml")]
    key = ""
    for line in (ROOT / "docs" / "spec.md").read_text().splitlines():
        cells = re.split(r"(?<!\\)\|", line)
        if not line.startswith("|"):
            key = ""
        elif not key:
            key = cells[1].strip()
        elif key.startswith("`") and not line.startswith("|-"):
            name, form = key.strip("`"), cells[1].strip().strip("`").replace("\\|", "|")
            if name in SpecModel.model_fields:
                found.append(_form(name, form))
    return found


def _form(key: str, form: str) -> str:
    if key == "sweep" and not form.startswith("{"):
        return f"sweep:\n  {form}\n"
    return f"inputs:\n  - {form}\n" if key == "inputs" else f"{key}: {form}\n"


EXAMPLES = examples()


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize("path", sorted(ROOT.glob("examples/*/sweep.yaml")), ids=str)
def test_every_example_sweep_is_valid(path: Path) -> None:
    assert problems(path.read_text()) == []


@pytest.mark.parametrize("text", EXAMPLES)
def test_every_form_of_the_docs_is_valid(text: str) -> None:
    # What a page shows only a part of is a spec with a command, as its test has it.
    if not re.search(r"^(command|script|function|extends):", text, re.M):
        text += "command: echo\n" if text.endswith("\n") else "\ncommand: echo\n"
    assert problems(text) == []


def test_the_docs_have_many_forms() -> None:
    assert len(EXAMPLES) > 60


@pytest.mark.parametrize("key", list(SpecModel.model_fields))
def test_every_key_is_described(key: str) -> None:
    assert SCHEMA["properties"][key]["description"]


BAD = [
    ("comand: x", "'comand' was unexpected"),
    ("name: x", "is not valid under any"),
    ("command: x\nresources: {memroy: 2 GB}", "'memroy' was unexpected"),
    ("command: x\nretries: {time: 2}", "is not valid"),
    ("command: x\nsweep: {x: {rang: 5}}", "is not valid"),
    ("command: x\nsweep: {x: {range: 5, files: a}}", "is not valid"),
    ("command: x\nsweep: {x: {random: {uniform: [0, 1], n: 3}}}", "is not valid"),
    ("command: x\nsweep: {x: {random: {unifrm: [0, 1], n: 3, seed: 1}}}", "is not valid"),
    ("command: x\nsweep: {x: 5}", "is not valid"),
    ("command: x\nsweep: {x: []}", "is not valid"),
    ("command: x\nsweep: {a-b: [1]}", "does not match"),
    ("command: x\nsweep: {sample: {n: 3, sed: 1}}", "is not valid"),
    ("command: x\nsweep: {count: 0}", "0 is less than the minimum of 1"),
    ("command: x\nresources: {memory: 1}", "is not valid"),
    ("command: x\nresources: {memory: 1 XB}", "is not valid"),
    ("command: x\nresources: {time: 5 weeks}", "is not valid"),
    ("command: x\nresources: {cpus: 0}", "is not valid"),
    ("command: x\nresources: {cpus: {exp: n}}", "is not valid"),
    ("command: x\nenvironment: {requirement: a.txt}", "is not valid"),
    ("command: x\ninputs: [{path: a, is: b}]", "is not valid"),
    ("command: x\noutputs: [{path: a, option: true}]", "is not valid"),
    ("command: x\nrequirements: {site: a}", "is not valid"),
    ("command: x\ntasks_per_job: many", "is not valid"),
    ("command: x\nextends: 5", "is not valid"),
]


@pytest.mark.parametrize(("text", "told"), BAD)
def test_what_is_misspelt_or_of_the_wrong_form_is_not_valid(text: str, told: str) -> None:
    assert told in " ".join(problems(text))


@pytest.mark.parametrize(
    "text",
    [
        "extends: base.yaml",
        "extends: [a.yaml, b.yaml]\nretries: null\nsweep: {x: null, where: null}",
        "extends: a.yaml\ncommand: null\nresources: {memory: null}",
        "script: ls",
        "function: a:b",
    ],
)
def test_what_is_run_may_come_from_elsewhere_and_null_removes(text: str) -> None:
    assert problems(text) == []


@pytest.mark.parametrize(
    "size", ["2 GB", "512MiB", "1.5 tb", ".5 G", "7 B", " 3 KB ", "2.", "1", "-1 GB", "1 XB", "GB"]
)
def test_sizes_are_valid_when_they_can_be_read(size: str) -> None:
    assert _reads(units.size_bytes, size) == (
        problems(f"command: x\nresources: {{disk: '{size}'}}") == []
    )


@pytest.mark.parametrize(
    "time", ["20 min", "1.5 h", "90s", "2 days", "3 HOURS", "1 d", "5 m", "5", "5 weeks", "min"]
)
def test_times_are_valid_when_they_can_be_read(time: str) -> None:
    assert _reads(units.seconds, time) == (
        problems(f"command: x\nresources: {{time: '{time}'}}") == []
    )


def _reads(parse: Any, text: str) -> bool:
    try:
        parse(text)
    except units.UnitError:
        return False
    return True


def test_the_command_prints_or_writes_it(tmp_path: Path) -> None:
    printed = CliRunner().invoke(command_line(), ["schema"])
    assert json.loads(printed.output) == SCHEMA
    out = tmp_path / "schema.json"
    done = CliRunner().invoke(command_line(), ["schema", "--out", str(out)])
    assert done.exception is None
    assert json.loads(out.read_text()) == SCHEMA
