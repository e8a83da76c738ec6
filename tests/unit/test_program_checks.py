"""Sweeps of which all tasks must fail are told of before they are submitted."""

from __future__ import annotations

from pathlib import Path

import pytest

from osgbatch.condor.submit import _ABOUT_THE_FILE
from osgbatch.errors import OsgbatchError
from osgbatch.expressions import ExpressionError, parse_expression
from osgbatch.planning.plan import make_plan
from osgbatch.spec.load import load_spec
from osgbatch.submit_language import classad_problems
from osgbatch.sweep.expand import expand


def warnings_of(folder: Path, text: str) -> str:
    (folder / "sweep.yaml").write_text(text)
    spec = load_spec(folder / "sweep.yaml")
    return "\n".join(make_plan(spec, expand(spec)).warnings)


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(OsgbatchError) as caught:
        warnings_of(folder, text)
    return str(caught.value)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name in ("job.py", "data/a.npy", "data/b.npy", "model.h5", "scripts/fit.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "analysis.py").write_text("def run(x, n=1, *, mode): ...\ndef any(**all): ...\n")
    (tmp_path / "broken.py").write_text("def run(x):\n    return (\n")
    (tmp_path / "r.txt").touch()
    (tmp_path / "paths.csv").write_text("p,n\ndata/a.npy,1\ndata/b.npy,2.5\n")
    return tmp_path


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("command: python jobb.py\nfiles: job.py", "sweep.yaml:1:17: the command names jobb.py"),
        ("command: python jobb.py\nfiles: job.py", "did you mean job.py?"),
        ("command: python job.py", "add it to files: [job.py]"),
        ("command: cat a.npy\ninputs: data/a.npy", "write inputs/data/a.npy"),
        ("command: cat --in=data/a.npy\ninputs: data", "write inputs/data/a.npy"),
        ("command: cat data/a.npy", "add it to inputs: [data/a.npy], and write inputs/data/a.npy"),
        ("command: cat inputs/modell.h5\ninputs: model.h5", "did you mean inputs/model.h5?"),
        ("command: python fit.py\nfiles: scripts", "write scripts/fit.py"),
        ("command: cat /home/alice/x.csv", "which execution points do not have"),
        ("command: cat data/*.npy", "no shell runs the command: data/*.npy"),
        ("command: cat ~/a", "no shell runs the command: ~/"),
        ("command: cat $HOME/a", "no shell runs the command: $HOME"),
        (
            "command: cat {p} {n}\nsweep: {table: paths.csv}",
            'add inputs: "{p}", and write inputs/{p}',
        ),
        ("function: broken:run\nfiles: broken.py", "broken.py:2:12: not Python"),
        ("function: nothing:run", "no files: or libraries: bring the module nothing"),
        ("function: analysis:run", "bring the module analysis: add it to files: [analysis.py]"),
    ],
)
def test_what_no_task_is_brought_is_told(home: Path, spec: str, said: str) -> None:
    assert said in warnings_of(home, spec)


@pytest.mark.parametrize(
    "spec",
    [
        (
            "command: python job.py outputs/a.csv -o model.h5 --output model.h5 --out=model.h5\n"
            "files: job.py"
        ),
        "command: python ./job.py inputs/data/a.npy\nfiles: '*.py'\ninputs: data",
        "command: python job.py inputs/model.h5\nfiles: .\ninputs: model.h5",
        "command: python -c 'open(\"model.h5\").read() * 2'",
        "command: sort new.csv model.h5\noutputs: '*.h5'",
        "command: cat {p}\nsweep: {p: {files: data/*.npy}}",
        "command: cat inputs/{p} {n}\ninputs: '{p}'\nsweep: {table: paths.csv}",
        "command: python params.json /cvmfs/some/where.csv https://a.org/b.csv",
        "function: math:sqrt",
        "function: analysis:any\nfiles: [analysis.py]",
        "function: analysis:run\nlibraries: [analysis.py]\nsweep: {x: [1], mode: [a]}",
        "script: echo $(( {n} + 1 ))\nsweep: {n: [1, -2, '']}",
    ],
)
def test_what_is_right_is_not_told(home: Path, spec: str) -> None:
    assert not [w for w in warnings_of(home, spec).splitlines() if "sweep.yaml" in w]


def test_a_base_elsewhere_whose_file_lands_here(home: Path) -> None:
    (home / "base.yaml").write_text("command: python scripts/fit.py\nfiles: [scripts/fit.py]\n")
    (home / "mine").mkdir()
    assert "write fit.py" in warnings_of(home / "mine", "extends: ../base.yaml")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("function: analysis:runn\nfiles: analysis.py", 'no function "runn"; did you mean "run"?'),
        ("function: analysis:run\nfiles: .", "run wants x and mode"),
        ("function: analysis:run\nlibraries: analysis.py", "run wants x and mode"),
        ("function: analysis:run\nfiles: .\nsweep: {xx: [1]}", 'column; did you mean "xx"?'),
        ("function: broken:run\nfiles: broken.py\nenvironment: r.txt", "broken.py:2:"),
        ("command: echo\ninputs: '@lists/{x}.txt'\nsweep: {x: [1]}", "a list is the same for all"),
        (
            "script: echo $(( {n} + 1 ))\nsweep: {k: [1, 2], n: [1, 2.5]}",
            "in task 1 it is 2.5",
        ),
    ],
)
def test_what_cannot_run_is_refused(home: Path, spec: str, said: str) -> None:
    assert said in refusal(home, spec)


@pytest.mark.parametrize("text", ["A &&", "|| A", "A && || B", "A B", "(A ||) && B", "A and B"])
def test_what_is_no_classad_expression_is_told(text: str) -> None:
    assert list(classad_problems(text))


@pytest.mark.parametrize(
    "text", ["!A && -1 < B", "A ?: B", "A ? B : C", "a[0].b is undefined", 'f(x, {1, "a b"}) =!= 1']
)
def test_a_classad_expression_is_let_pass(text: str) -> None:
    assert not list(classad_problems(text))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("4 if n > 100 else 1", "Write 1 + 3 * (n > 100)"),
        ("4 GB if n > 100 else 1 GB", "Write 1 GB + 3 GB * (n > 100)"),
        ("n * 2 if n else 3", "Make a column"),
        ("n > 1, n < 5", "Write and between the two"),
        ("n > 1,000", "without commas"),
    ],
)
def test_what_an_expression_should_be_is_said(text: str, said: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse_expression(text, ["n"], units="GB" in text)
    assert said in str(caught.value)


def test_complaints_about_the_submit_file_are_known_from_others() -> None:
    assert _ABOUT_THE_FILE.search("failed: \nERROR: Parse error in expression: Requirements")
    assert _ABOUT_THE_FILE.search("x\nERROR: on Line 3 of submit file:")
    assert not _ABOUT_THE_FILE.search("ERROR: Can't find address of local schedd")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("command: echo\ninputs: [{x}.csv, data/a.npy]", 'Write "{x}.csv".'),
        ("command: echo\nsweep:\n  x: [1, 2}", "a ] is missing before this"),
        ("command: echo\ninputs: {x}", "without quotes, braces make a pair"),
    ],
)
def test_braces_without_quotes_are_told_in_plain_words(home: Path, spec: str, said: str) -> None:
    assert said in refusal(home, spec)


@pytest.mark.parametrize(
    ("spec", "lacks"),
    [
        ("command: python job.py", "Python"),
        ("command: ./job.py", "Python"),
        ("command: Rscript fit.R", "R"),
        ("command: fit.R", "R"),
        ("command: echo python", ""),
        ("command: /usr/bin/python3 job.py", ""),
        ("command: python job.py\nprofile: local", ""),
        ("command: python job.py\nprofile: personal", ""),
        ("command: python job.py\nenvironment: r.txt", ""),
        ("command: python job.py\nenvironment: docker://python:3.12", ""),
    ],
)
def test_a_program_whose_interpreter_nothing_brings_is_told_of(
    home: Path, spec: str, lacks: str
) -> None:
    said = warnings_of(home, spec)
    assert ("name an `environment:`" in said) == bool(lacks)
    assert f"need not have {lacks}" in said or not lacks
