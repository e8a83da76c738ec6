"""`osgbatch foreach` on this machine: from one command to results, killed and begun again."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import started

from osgbatch.cli.workflow_texts import next_steps
from osgbatch.errors import OsgbatchError
from osgbatch.foreach import running
from osgbatch.foreach.asked import Asked, Functions, check
from osgbatch.foreach.beside import beside
from osgbatch.foreach.document import Earlier, workflow_of
from osgbatch.foreach.running import Begun, begin, is_brought
from osgbatch.foreach.signature import check_words
from osgbatch.spec.steps import steps_of_data
from osgbatch.submission.planned import plan_sweep
from osgbatch.workflows.advancing import advance
from osgbatch.workflows.changing import take_changes
from osgbatch.workflows.folder import load_workflow
from osgbatch.workflows.telling import workflow_status

ROOT = Path(__file__).resolve().parents[2]
WORDS = ["foreach", "--pool", "local"]


def foreach(
    folder: Path, *words: str, check_code: int | None = 0
) -> subprocess.CompletedProcess[str]:
    """Run the command line in a folder."""
    done = started.osgbatch([*WORDS, *words], folder)
    if check_code is not None:
        assert done.returncode == check_code, f"{done.stdout}\n{done.stderr}"
    return done


def workflows(folder: Path) -> list[Path]:
    return sorted((folder / "batches").iterdir(), key=lambda p: p.stat().st_mtime)


PHASES = """
import json, pathlib, time
from helper import scaled

def stay(place, what):
    place = pathlib.Path(place)
    with open(place / "began.txt", "a") as file:
        file.write(what + "\\n")
    while not (place / ("go-" + what.split()[0])).exists():
        time.sleep(0.02)

def get_foreach_args(place, words):
    stay(place, "scatter")
    return {"elements": json.loads(words), "extra_args": [place]}

def foreach(element, place, element_index):
    stay(place, f"foreach {element_index}")
    return {"scaled": scaled(element), "pair": (element_index, element)}

def gather(results, place, element_indices):
    stay(place, "gather")
    pathlib.Path("total.txt").write_text(str(sum(one["scaled"] for one in results)))
    print([one["pair"] for one in results], element_indices)
"""


def test_killed_in_every_phase_it_goes_on_and_repeats_nothing(tmp_path: Path) -> None:
    work, place = tmp_path / "it's {here}, 1", tmp_path / "place"
    (work / "code").mkdir(parents=True)
    place.mkdir()
    (work / "code/phases.py").write_text(PHASES)
    (work / "code/helper.py").write_text("def scaled(x): return x * 1.5\n")
    words = [sys.executable, "-m", "osgbatch", *WORDS, "code/phases.py", str(place), "[1, 2, 3]"]
    began = place / "began.txt"
    for phase in ("scatter", "foreach", "gather"):
        with subprocess.Popen(words, cwd=work, stderr=subprocess.PIPE) as process:
            limit = time.monotonic() + 90
            while not (began.exists() and f"{phase}" in began.read_text()):
                assert process.poll() is None, process.stderr and process.stderr.read()
                assert time.monotonic() < limit
                time.sleep(0.05)
            process.kill()
        (place / f"go-{phase}").touch()
    done = subprocess.run(words, cwd=work, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[(0, 1), (1, 2), (2, 3)] [0, 1, 2]\n"
    told = sorted(began.read_text().splitlines())
    assert told == ["foreach 0", "foreach 1", "foreach 2", "gather", "scatter"]
    assert len(workflows(work)) == 1
    assert sorted(p.name for p in (work / "phases").iterdir() if p.name[0] != ".") == [
        "stderr.txt",
        "stdout.txt",
        "total.txt",
    ]
    assert (work / "phases/total.txt").read_text() == "9.0"
    # once more, when all is done: nothing runs, the same is told
    again = subprocess.run(words, cwd=work, capture_output=True, text=True, check=False)
    assert again.stdout == done.stdout and "has done this already" in again.stderr
    assert len(began.read_text().splitlines()) == 5


FAILS = """
import pathlib

def get_foreach_args(place, *words):
    return {"elements": list(words), "extra_args": [place]}

def foreach(word, place, element_index):
    with open(pathlib.Path(place) / "ran.txt", "a") as file:
        file.write(word)
    pathlib.Path(word + ".txt").write_text(word)
    if word == "c" and not (pathlib.Path(place) / "mended").exists():
        raise ValueError("not yet")
    return word * 2

def gather(results, place):
    print("".join(results), pathlib.Path("a.txt").read_text())
    pathlib.Path("__init__.py").write_text("raise SystemExit")
"""


def test_what_failed_is_named_and_alone_runs_again(tmp_path: Path) -> None:
    (tmp_path / "fails.py").write_text(FAILS)
    words = ("--batch-size", "3", "fails.py", str(tmp_path), *"abcde")
    failed = foreach(tmp_path, "--json", *words, check_code=1)
    told = json.loads(failed.stdout)
    shown = str(Path(told["folder"]).relative_to(tmp_path))
    assert told["failed"] == [{"element": 2, "task": 0, "why": "ValueError: not yet"}]
    assert (told["elements"], told["tasks"], told["succeeded"]) == (5, 2, False)
    assert told["steps"] == {"scatter": "succeeded", "foreach": "failed", "gather": "waiting"}
    assert not (tmp_path / "fails").exists()
    assert sorted((tmp_path / "ran.txt").read_text()) == [*"abcde"]
    # gathered all the same, under a name of its own; nothing but gather runs
    partial = foreach(tmp_path, "--partial", *words, check_code=1)
    assert partial.stdout == "aabbddee a\n"
    assert "element 2, in task 0: ValueError: not yet\n    Traceback" in partial.stderr
    assert 'fails.py", line 12, in foreach' in partial.stderr
    assert "of 5 elements 1 failed\n" in partial.stderr
    assert "what there is is gathered; no element runs again" in partial.stderr
    assert "\nresults: fails/\n" in partial.stderr
    # typed again it finds itself, though what it reads was collected once more meanwhile
    again = foreach(tmp_path, "--partial", *words, check_code=1)
    assert again.stdout == partial.stdout and "has done this already" in again.stderr
    assert not (tmp_path / "fails-2").exists() and len(workflows(tmp_path)) == 2
    gathered = load_workflow(workflows(tmp_path)[-1])
    assert is_brought(gathered)
    in_pool = replace(workflow_status(gathered), workflow=replace(gathered, pool="condor"))
    assert next_steps(in_pool) == []  # it is where it was to go
    said = started.osgbatch(["resubmit"], tmp_path)
    assert said.returncode == 1 and f"next: osgbatch resubmit {shown}" in said.stderr
    assert len((tmp_path / "ran.txt").read_text()) == 5
    (tmp_path / "ran.txt").unlink()
    (tmp_path / "mended").touch()
    mended = foreach(tmp_path, *words)
    assert "what has not succeeded runs once more" in mended.stderr
    assert mended.stdout == "aabbccddee a\n"
    assert sorted((tmp_path / "ran.txt").read_text()) == ["a", "b", "c"]
    assert (tmp_path / "fails-2/stdout.txt").read_text() == mended.stdout


def test_phases_of_an_earlier_one_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fails.py").write_text(FAILS)
    (tmp_path / "mended").touch()
    words = ("--batch-size", "3", "fails.py", str(tmp_path), *"abc")
    none = foreach(tmp_path, "--gather", "none", *words)
    assert (
        "results: fails/\nwhat foreach has returned is kept: with --start-at gather" in none.stderr
    )
    # what the elements have written, and nothing of osgbatch's own
    assert sorted(p.name for p in (tmp_path / "fails/0").iterdir()) == [
        "a.txt", "b.txt", "c.txt", "stderr.txt", "stdout.txt"
    ]  # fmt: skip
    behind = foreach(tmp_path, "none.py", "-3", "--partial=x", "--count", check_code=2)
    assert "note: --partial=x stands behind the script" in behind.stderr
    assert (tmp_path / "fails/0/b.txt").read_text() == "b"
    (tmp_path / "fails.py").write_text(FAILS.replace("print(", "print(len(results), "))
    done = foreach(tmp_path, "--start-at", "gather", "--out", "again", *words)
    assert done.stdout == "3 aabbcc a\n"
    assert (tmp_path / "ran.txt").read_text() == "abc"
    assert (tmp_path / "again/stdout.txt").exists()
    # a folder of results may lie beside a module of its name, and must not be imported instead
    assert not (tmp_path / "again/__init__.py").exists()
    assert "gather/results/0/__init__.py stays there" in done.stderr
    done = foreach(tmp_path, "--start-at", "foreach", "--gather", "here", *words)
    assert done.stdout == "3 aabbcc a\n"
    assert (tmp_path / "ran.txt").read_text() == "abcabc"
    monkeypatch.chdir(tmp_path)
    script = Path("fails.py")
    with pytest.raises(OsgbatchError, match='no foreach "other" here whose scatter has ended well'):
        begin(asked(script, name="other", start_at="foreach"), tmp_path, "local", print)
    with pytest.raises(OsgbatchError, match="it has the results of batch"):
        begin(asked(script, args=(str(tmp_path),)), tmp_path, "local", print, "again")


def test_partial_gathers_also_when_every_task_has_a_failed_element(tmp_path: Path) -> None:
    (tmp_path / "fails.py").write_text(FAILS)
    words = ("--partial", "--gather", "here", "-b", "2", "fails.py", str(tmp_path), *"ac")
    done = foreach(tmp_path, *words, check_code=1)
    assert done.stdout == "aa a\n"
    assert "of 2 elements 1 failed" in done.stderr
    # what an element that failed has written is not among what gather finds
    (flow,) = workflows(tmp_path)
    said = (flow / "steps/gather/results/0/stderr").read_text()
    assert "left out, made by elements that failed: c.txt (element 1)" in said
    assert (flow / "steps/foreach/results/failed/0/c.txt").exists()


def test_all_phases_run_with_the_files_that_were_there_at_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fails.py").write_text(FAILS)
    one = asked(Path("fails.py"), args=(str(tmp_path), *"abc"))
    said: list[str] = []

    def begun() -> Begun:
        said.clear()
        return begin(one, tmp_path, "local", said.append)

    first = begun().workflow
    advance(first, print, wait=True, until="scatter")
    (tmp_path / "mended").touch()
    (tmp_path / "fails.py").write_text(FAILS.replace("word * 2", "word * 3"))
    assert advance(first, print, wait=True).complete
    gathered = first.step_folder("gather") / "results/0/stdout"
    assert gathered.read_text() == "aabbcc a\n"
    # what it ran with decides what is done already
    (tmp_path / "mended").unlink()
    other = begun().workflow
    assert "fails.py is not what all of it ran with: this begins anew" in said[0]
    assert other.id != first.id
    assert advance(other, print, wait=True).failed == ("foreach",)
    (tmp_path / "fails.py").write_text(FAILS)
    assert begun().workflow.id == first.id
    assert said == [f"workflow {first.id[:6]} has done this already: {said[0].rpartition(' ')[2]}"]
    # resubmitted with a mended script, it is the one that the same command goes on with
    (tmp_path / "fails.py").write_text(FAILS.replace("if word ==", "if not word =="))
    take_changes(other, said.append)
    assert said[-2:] == [f"step {x}: fails.py has changed and is taken anew" for x in
                         ("foreach", "gather")]  # fmt: skip
    found = begun()
    assert found.workflow.id == other.id and found.again
    (tmp_path / "mended").touch()
    assert advance(other, print, wait=True, again=True).complete
    begun()
    assert "this begins anew" in said[0]  # some of it ran with the script as it was


def asked(script: Path, **more: object) -> Asked:
    return Asked(script, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "more", "message"),
    [
        ("def foreach(x): pass\ndef gather(r): pass", {}, "it has no function get_foreach_args"),
        ("def get_foreach_arg(): pass", {}, "did you mean get_foreach_arg?"),
        ("def get_foreach_args(: pass", {}, "no Python script"),
        ("", {"gather": "ther"}, 'unknown gather "ther"; did you mean "here"?'),
        ("", {"start_at": "middle"}, 'unknown start at "middle"'),
        ("", {"start_at": "gather", "gather": "none"}, "there is nothing to run"),
        ("", {"functions": Functions("a b")}, '"a b" can name no function'),
    ],
)
def test_what_is_wrong_is_told_before_anything_runs(
    text: str, more: dict[str, object], message: str, tmp_path: Path
) -> None:
    script = tmp_path / "bad.py"
    script.write_text(text)
    with pytest.raises(OsgbatchError) as caught:
        check(asked(script, **more))
    assert message in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["bad.py"]


@pytest.mark.parametrize(
    ("text", "words", "message"),
    [
        ("def get_foreach_args(last): pass", (), "a.py LAST`"),
        ("def get_foreach_args(a, b=1): pass", (), "a.py A [B]`"),
        ("def get_foreach_args(a, *more): pass", (), "a.py A [MORE...]`"),
        ("def get_foreach_args(a): pass", ("1", "2"), "it wants 1, and there are 2"),
        ("def get_foreach_args(): pass", ("1",), "it wants none, and there is 1"),
        ("def get_foreach_args(a, b=1): pass", ("1",), ""),
        ("def get_foreach_args(*more): pass", ("1", "2"), ""),
        ("@wrapped\ndef get_foreach_args(a): pass", (), ""),
        ("def get_foreach_args(a): pass\nget_foreach_args = len", (), ""),
        ("def get_foreach_args(a): pass\nfrom other import *", (), ""),
    ],
)
def test_words_that_the_script_cannot_take_are_told_before_anything_runs(
    text: str, words: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    (tmp_path / "a.py").write_text(text)
    one = asked(tmp_path / "a.py", args=words)
    if not message:
        check_words(one)
        return
    with pytest.raises(OsgbatchError) as caught:
        check_words(one)
    assert message in str(caught.value)


def test_resubmit_is_named_only_for_the_same_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = "def get_foreach_args(a): raise ValueError\ndef foreach(x): 1\ndef gather(r): 1\n"
    (tmp_path / "a.py").write_text(text)
    failed = begin(asked(Path("a.py"), args=("1",)), tmp_path, "local", print).workflow
    assert advance(failed, print, wait=True).failed
    said: list[str] = []
    _tell_of(("2",), tmp_path, said)
    assert said == []
    (tmp_path / "a.py").write_text(text + "more = 1\n")
    _tell_of(("1",), tmp_path, said)
    assert "resubmit" in said[0]


def _tell_of(words: tuple[str, ...], here: Path, said: list[str]) -> None:
    one = asked(Path("a.py"), args=words)
    running._tell_of_failed(one, workflow_of(one, here), here, said.append)


@pytest.mark.parametrize("name", ["absent.py", "folder.py", "script.sh"])
def test_what_is_no_script_is_told(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "script.sh").touch()
    with pytest.raises(OsgbatchError, match=r"the script cannot be read|neither"):
        check(asked(tmp_path / name))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.py", "from other import *"),
        ("a.py", "from other import get_foreach_args, foreach, gather"),
        ("a.py", "get_foreach_args = foreach = gather = len"),
        ("a.py", "if True:\n    def get_foreach_args(): pass\n    foreach, gather = 1, 2"),
        ("a.R", "get_foreach_args <- function() 1\nforeach = function(x) x\nf -> gather"),
        ("a.r", 'source("others.R")'),
    ],
)
def test_functions_are_known_however_they_are_made(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    check(asked(tmp_path / name))


def test_r_reads_what_came_back_here_only_when_that_was_allowed(tmp_path: Path) -> None:
    (tmp_path / "a.R").write_text('source("x.R")')
    with pytest.raises(OsgbatchError, match="can run code"):
        check(asked(tmp_path / "a.R", gather="here"))
    check(asked(tmp_path / "a.R", gather="here", pickle="always"))


def test_helpers_beside_the_script_travel(tmp_path: Path) -> None:
    files = {
        "code/main.py": "import helper, json\nfrom package.inner import x\nimport absent",
        "code/helper.py": "import deeper, main",
        "code/deeper.py": "",
        "code/unused.py": "",
        "code/json/none.txt": "",
        "code/package/inner.py": "import third",
        "code/third.py": "",
        # results of a foreach called like a module: Python takes the module, too
        "code/third/brought.py": "",
        "fit.R": 'source("lib/a.R")\n# source("lib/c.R")\nsource(file = \'lib/b.R\', local = TRUE)',
        "lib/a.R": 'source("gone.R")',
        "lib/b.R": "",
        "lib/c.R": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    code = tmp_path / "code"
    found = {str(path.relative_to(code)) for path in beside(code / "main.py", tmp_path)}
    assert found == {"helper.py", "deeper.py", "package", "third.py"}
    found = {str(path.relative_to(tmp_path)) for path in beside(tmp_path / "fit.R", tmp_path)}
    assert found == {"lib/a.R", "lib/b.R"}


def test_the_workflow_is_a_spec_with_steps(tmp_path: Path) -> None:
    outside, here = tmp_path / "elsewhere", tmp_path / "here"
    outside.mkdir()
    here.mkdir()
    (outside / "main.py").write_text("import helper")
    (outside / "helper.py").write_text("")
    (here / "data").mkdir()
    (here / "data/a.txt").write_text("a")
    one = asked(
        outside / "main.py",
        args=("{x}", "é 1"),
        pushed=(("data", ""), ("data/a.txt", "b.txt")),
        shared={"resources": {"memory": "2 GB", "time": "10 min"}},
    )
    made = workflow_of(one, here)
    assert [list(entry.values()) for entry in made["files"][:2]] == [
        ["osgbatch_foreach/run.py"],
        ["osgbatch_foreach/osgbatch_values.py"],
    ]
    assert made["files"][2:] == [
        {str(outside / "main.py"): "main.py"},
        {str(outside / "helper.py"): "helper.py"},
        "data",
        {"data/a.txt": "b.txt"},
    ]
    scatter, foreach_, gather = made["steps"]
    assert scatter["command"][2:4] == ["scatter", "script=main.py"]
    assert scatter["command"][-2:] == ["arg=%7Bx%7D", "arg=%C3%A9%201"]
    assert "seconds=600" in scatter["command"] and scatter["resources"] == {"memory": "2 GB"}
    assert foreach_["resources"]["time"] == {"expr": "10 min * max(elements, 1)"}
    assert "here" not in gather and "partial" not in foreach_
    steps = steps_of_data(made, here)
    assert [(s.name, s.uses) for s in steps.steps] == [
        ("scatter", ()),
        ("foreach", ("scatter",)),
        ("gather", ("scatter", "foreach")),
    ]
    assert workflow_of(one, here) == made


def test_the_page_shows_the_shipped_example_and_options_that_exist() -> None:
    page = (ROOT / "docs/foreach.md").read_text()
    script = (ROOT / "examples/foreach_scale/scale.py").read_text()
    assert f"```python scale.py\n{script}```\n" in page
    options = set(re.findall(r"`(--?[a-z][a-z-]*)", page.partition("## Options")[2]))
    told = started.osgbatch(["foreach", "--help"], ROOT)
    assert options <= set(re.findall(r"--?[a-z][a-z-]*", told.stdout))


def test_a_table_that_names_other_files_than_elements_is_refused(tmp_path: Path) -> None:
    """What scatter has brought comes from an execution point: it must not reach other files."""
    (tmp_path / "scale.py").write_text((ROOT / "examples/foreach_scale/scale.py").read_text())
    made = workflow_of(asked(Path("scale.py"), start_at="foreach"), tmp_path, Earlier("results"))
    outputs = tmp_path / "results/0/outputs"
    (outputs / "elements").mkdir(parents=True)
    for name in ("extra.values", "elements/0.values", "elements/4.values"):
        (outputs / name).touch()
    (tmp_path / "secret.values").touch()
    spec = {**made["steps"][0], "files": made["files"]}
    (tmp_path / "sweep.yaml").write_text(json.dumps(spec))  # JSON is YAML
    table = outputs / "tasks.csv"
    table.write_text("first,elements\n0,4\n4,1\n")
    plan = plan_sweep(tmp_path / "sweep.yaml")
    brought = {one.task_path: one.source for one in plan.tasks[1].inputs}
    assert brought["inputs/elements.values"] == outputs / "elements/4.values"
    table.write_text("first,elements\n0,4\n../../../../secret,4\n")
    with pytest.raises(OsgbatchError, match="is text and 0 is a number"):
        plan_sweep(tmp_path / "sweep.yaml")
