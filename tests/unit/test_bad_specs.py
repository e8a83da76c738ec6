"""Mistakes that people make, a file for each: where the caret stands, and what is said.

A line such as `#   ^^^^` in a file of bad_specs/ marks the faulty text above it. `# at t.csv:3:5`
tells of a mistake in another file where it is, `# marks of data/base.yaml` that this one has marks
of its own, `# --set a.b=c` how the spec is called. All that is marked must be told in one run, in
this order, and nothing else. The text beside the file is what `osgbatch check` prints;
`python tests/unit/test_bad_specs.py --write` writes it anew.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from osgbatch.errors import OsgbatchError, SpecError, SpecErrors
from osgbatch.names import SWEEP_WORDS
from osgbatch.spec.checking import _models_in
from osgbatch.spec.document import parse_document
from osgbatch.spec.load import spec_of
from osgbatch.spec.schema import SpecModel
from osgbatch.spec.series import SOURCES
from osgbatch.submission.steps import Choices, plan_sweep

FOLDER = Path(__file__).parent / "bad_specs"
CASES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
Found = tuple[str, int, int, int]
"""File, line, column and width of a mistake; width 0: any."""


def lines_of(path: Path) -> list[str]:
    """The lines of a file, one column a character; bytes that are not UTF-8 are kept as one."""
    return path.read_bytes().decode("utf-8-sig", "surrogateescape").splitlines()


def settings_of(name: str) -> list[str]:
    """What `# --set` lines say."""
    found = (re.match(r"# --set (.*)", line) for line in lines_of(FOLDER / f"{name}.yaml"))
    return [match[1] for match in found if match]


def marks_of(file: str) -> Iterator[Found]:
    """The marks in a file, in order."""
    marked = 0
    for number, line in enumerate(lines_of(FOLDER / file), 1):
        at = re.match(r"\s*# at (\S+):(\d+):(\d+)$", line)
        others = re.match(r"\s*# marks of (\S+)$", line)
        if at:
            yield at[1], int(at[2]), int(at[3]), 0
        elif others:
            yield from marks_of(others[1])
        elif re.match(r"\s*#[ ^]*\^ *$", line):
            for carets in re.finditer(r"\^+", line):
                yield file, marked, carets.start() + 1, len(carets[0])
        else:
            marked = number


def error_of(name: str) -> OsgbatchError:
    """What is wrong with a bad spec."""
    before = os.getcwd()
    os.chdir(FOLDER)
    try:
        plan_sweep(Path(f"{name}.yaml"), choices=Choices(settings_of(name)))
    except OsgbatchError as error:
        return error
    finally:
        os.chdir(before)
    raise AssertionError(f"{name}.yaml: nothing is wrong")


def said_of(error: OsgbatchError) -> str:
    """What check prints, on any machine."""
    return f"{error}\n".replace(str(FOLDER.resolve()), "/home/alice/sweep")


def found_in(error: OsgbatchError) -> list[Found]:
    """Where the mistakes are."""
    errors = error.errors if isinstance(error, SpecErrors) else (error,)
    found: list[Found] = []
    for one in errors:
        assert isinstance(one, SpecError), one
        place = one.place
        found.append((place.file, place.line, place.column, place.width))
    return found


@pytest.mark.parametrize("name", CASES)
def test_a_bad_spec_is_told_at_its_marks_and_in_these_words(name: str) -> None:
    error = error_of(name)
    marks = list(marks_of(f"{name}.yaml"))
    assert marks, "a bad spec has a mark"
    found = found_in(error)
    anywhere = [mark[3] == 0 for mark in marks]
    if len(found) == len(marks):
        found = [(*f[:3], 0) if a else f for f, a in zip(found, anywhere, strict=True)]
    assert found == marks
    assert said_of(error) == (FOLDER / f"{name}.txt").read_text("utf-8")


@pytest.mark.parametrize("name", CASES)
def test_what_is_said_is_for_people(name: str) -> None:
    said = (FOLDER / f"{name}.txt").read_text("utf-8")
    words = ("pydantic", "valid", "NoneType", "Traceback", "Errno", "<class", "Input should")
    assert not [word for word in words if word in said]
    for line in said.splitlines():
        assert line.startswith("  ") or re.match(r"(--set|[\w./-]+):\d+:\d+: \S", line), line


def test_every_key_has_a_bad_spec_with_its_mark_there() -> None:
    marked = {key for name in CASES for key in marked_keys(name)}
    sweep = {f"sweep.{word}" for word in (*SWEEP_WORDS, *SOURCES)}
    assert sorted({*known_keys(), *sweep} - marked) == []


def test_there_are_many_bad_specs() -> None:
    assert len(CASES) >= 60
    assert {path.stem for path in FOLDER.glob("*.txt")} == set(CASES), "a text without its spec"


_DAMAGE = st.sampled_from([*"\t\n {}[]:,'\"#&*!|>%@`-?\\\x07\ufeff\u2028a0ä", ": ", "- ", "---\n"])


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(CASES), st.lists(st.tuples(st.floats(0, 1), _DAMAGE, st.booleans())))
def test_whatever_is_damaged_in_a_file_is_told_at_a_place_in_it(
    name: str, damages: list[tuple[float, str, bool]]
) -> None:
    text = (FOLDER / f"{name}.yaml").read_bytes().decode("utf-8", "replace")
    for where, new, instead in damages:
        at = int(where * len(text))
        text = text[:at] + new + text[at + instead :]
    try:
        document = parse_document(text.encode(), "sweep.yaml")
    except SpecError as error:
        place = error.place
        assert 1 <= place.line <= len(text.splitlines()) + 1
        assert 1 <= place.column <= len(place.source) + 1
        assert str(error)
        return
    try:
        spec_of(Path("sweep.yaml").absolute(), document)
    except SpecErrors as error:
        assert all(1 <= one.place.column <= len(one.place.source) + 1 for one in error.errors)


def known_keys(model: type = SpecModel, before: str = "") -> Iterator[str]:
    """Every key of a spec, nested ones dotted."""
    for name, field in model.model_fields.items():  # type: ignore[attr-defined]
        key = before + (field.alias or name)
        yield key
        for inner in _models_in(field.annotation):
            yield from known_keys(inner, f"{key}.")


def marked_keys(name: str) -> Iterator[str]:
    """The keys that the marks of a bad spec point at, or into whose values they point."""
    text = "\n".join(lines_of(FOLDER / f"{name}.yaml")).replace("\udcff", "?")
    try:
        node = yaml.compose(text)
    except yaml.YAMLError:
        return
    for file, line, column, _ in marks_of(f"{name}.yaml"):
        if file == f"{name}.yaml" and isinstance(node, yaml.MappingNode):
            path = _path(node, (line - 1, column - 1))
            yield ".".join(path)
            if path[:1] == ["sweep"]:  # of a column, its source
                yield from (f"sweep.{word}" for word in path[-2:])


def _path(node: yaml.Node, at: tuple[int, int]) -> list[str]:
    """The keys around a place; entries of lists are not counted."""

    def holds(some: yaml.Node) -> bool:
        start, end = some.start_mark, some.end_mark
        return (start.line, start.column) <= at < (end.line, max(end.column, start.column + 1))

    if isinstance(node, yaml.SequenceNode):
        return next((_path(child, at) for child in node.value if holds(child)), [])
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if holds(key):
                return [key.value]
            if holds(value):
                return [key.value, *_path(value, at)]
    return []


if __name__ == "__main__" and "--write" in sys.argv:
    os.environ["OSGBATCH_PROFILE"] = "generic"
    os.environ["XDG_CONFIG_HOME"] = "/nonexistent"
    for case in CASES:
        (FOLDER / f"{case}.txt").write_text(said_of(error_of(case)), "utf-8")
