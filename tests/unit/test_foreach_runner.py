"""What runs on execution points for `osgbatch foreach`: templates/foreach.py, phase by phase."""

from __future__ import annotations

import importlib.util
import json
import operator
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import pytest

from osgbatch.calls import values
from osgbatch.rendering.templates import template_folder

SCALE = """
def get_foreach_args(scale):
    return dict(elements=[1, 2, 3, 4], extra_args=[float(scale)])

def foreach(x, scale):
    return x * scale

def gather(results, *extra):
    print(results)
"""


@dataclass
class Phases:
    """The three phases of a script, each in a folder of its own, as osgbatch runs them."""

    folder: Path
    files: dict[str, str]
    options: Sequence[str] = ()
    links: dict[str, Path] = field(default_factory=dict)
    said: dict[str, subprocess.CompletedProcess[str]] = field(default_factory=dict)

    def run(self, phase: str, place: str, *words: str) -> subprocess.CompletedProcess[str]:
        task = self.folder / place
        (task / "osgbatch_foreach").mkdir(parents=True)
        shutil.copy(template_folder() / "foreach.py", task / "osgbatch_foreach/run.py")
        shutil.copy(str(values.__file__), task / "osgbatch_foreach/osgbatch_values.py")
        for name, text in self.files.items():
            (task / name).write_text(text)
        for name, folder in self.links.items():
            (task / name).symlink_to(folder)
        script = next(iter(self.files))
        names = ("scatter=get_foreach_args", "foreach=foreach", "gather=gather")
        done = subprocess.run(
            [sys.executable, "osgbatch_foreach/run.py", phase, f"script={script}", *names,
             *self.options, *words],
            cwd=task, capture_output=True, text=True, check=False,
        )  # fmt: skip
        self.said[place] = done
        for name in self.files:  # what a task was brought does not come back
            (task / name).unlink()
        shutil.rmtree(task / "__pycache__", ignore_errors=True)
        shutil.rmtree(task / "osgbatch_foreach")
        return done

    def scatter(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.run("scatter", "scatter", *words)

    def made(self, name: str) -> Path:
        return self.folder / "scatter/outputs" / name

    def tasks(self) -> list[list[str]]:
        lines = self.made("tasks.csv").read_text().splitlines()
        assert lines[0] == "first,elements"
        return [line.split(",") for line in lines[1:]]

    def foreach(self, number: int) -> subprocess.CompletedProcess[str]:
        first, count = self.tasks()[number]
        elements = self.made("elements") / f"{first}.values"
        return self.run(
            "foreach", f"foreach/{number}", f"elements={elements}",
            f"extra={self.made('extra.values')}", f"first={first}", f"number={count}",
        )  # fmt: skip

    def gather(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.run(
            "gather", "gather", f"results={self.folder / 'foreach'}",
            f"extra={self.made('extra.values')}", f"told={self.made('foreach.json')}", *words,
        )  # fmt: skip

    def all(self, scatter: Sequence[str] = (), gather: Sequence[str] = ()) -> str:
        """What gather prints."""
        assert self.scatter(*scatter).returncode == 0, self.said["scatter"].stderr
        for number in range(len(self.tasks())):
            self.foreach(number)
        done = self.gather(*gather)
        assert done.returncode == 0, done.stderr
        return done.stdout


def test_sparkles_example_prints_what_its_documentation_says(tmp_path: Path) -> None:
    phases = Phases(tmp_path, {"sample-scatter.py": SCALE})
    assert phases.all(["arg=2.0"]) == "[2.0, 4.0, 6.0, 8.0]\n"
    assert phases.tasks() == [[str(n), "1"] for n in range(4)]
    # each task was brought its own element alone
    assert [len(p.read_bytes().splitlines()) for p in phases.made("elements").iterdir()] == [2] * 4
    assert all(p.read_text() for p in tmp_path.glob("*/outputs/complete"))


ODD = """
import os, sys, threading
import helper
import json as _json

class Model:
    def __init__(self, x):
        self.x = x

def get_foreach_args(*words):
    assert __file__.endswith("odd.py") and words == ("a b", "=%{'", "é")
    elements = [(1, "a"), {"b": 2}, Model(3), float("nan"), 5, 6, b"7"]
    return {"elements": iter(elements), "extra_args": (Model(0),)}

def foreach(x, model, element_index):
    print("element", element_index)
    with open(f"made-{element_index}.txt", "w") as file:
        file.write("x")
    with open("same.txt", "w") as file:
        file.write(str(element_index))
    if element_index == 1:
        helper.fail(x)
    if element_index == 4:
        sys.exit("no more")
    if element_index == 5:
        return threading.Lock()
    return [x, model.x]

def gather(results, model, element_indices):
    print(element_indices, len(results), results[0], results[1][0].x, results[-1])
    print(sorted(name for name in os.listdir() if name.endswith(".txt")))
    with open("made-0.txt", "a") as file:
        file.write("more")
    with open("new.txt", "w") as file:
        file.write("new")
"""


def test_a_failing_element_is_named_and_its_siblings_run(tmp_path: Path) -> None:
    phases = Phases(
        tmp_path,
        {"odd.py": ODD, "helper.py": "def fail(x):\n    raise ValueError(f'bad {x}')\n"},
    )
    words = ("arg=a%20b", "arg=%3D%25%7B'", "arg=%C3%A9", "batch=3")
    printed = phases.all(words, ["partial=1"]).splitlines()
    assert printed[0] == "[0, 2, 3, 6] 4 [(1, 'a'), 0] 3 [b'7', 0]"
    made = [f"made-{n}.txt" for n in (0, 2, 3, 6)]  # not those of what failed
    assert printed[1] == str([*made, "same.txt"])
    first = phases.said["foreach/0"]
    assert first.returncode == 1
    assert first.stdout == "element 0\nelement 1\nelement 2\n"
    assert "osgbatch: element 1 failed:\nTraceback" in first.stderr
    assert 'helper.py", line 2, in fail' in first.stderr
    assert "run.py" not in first.stderr
    assert first.stderr.endswith("osgbatch: of 3 elements 1 failed: 1\n")
    told = (tmp_path / "foreach/1/outputs/elements.txt").read_text().splitlines()
    assert told[:2] == ["3 ok", "4 failed SystemExit: no more"]
    assert told[2].startswith(
        "5 failed the result of element 5 is a lock, which cannot be pickled: TypeError"
    )
    assert not (tmp_path / "foreach/1/outputs/complete").exists()
    assert (tmp_path / "foreach/2/outputs/complete").exists()
    # what elements wrote was there for gather; what it left as it was does not come back twice
    assert sorted(p.name for p in (tmp_path / "gather").glob("*.txt")) == ["made-0.txt", "new.txt"]
    assert "same.txt of task 1: left out" in phases.said["gather"].stderr


def test_without_partial_a_missing_result_is_an_error(tmp_path: Path) -> None:
    script = SCALE.replace("return x * scale", "return 1 / (x - 2)")
    phases = Phases(tmp_path, {"scale.py": script})
    phases.scatter("arg=1", "batch=2")
    for number in (0, 1):
        phases.foreach(number)
    done = phases.gather()
    assert done.returncode == 1 and done.stdout == ""
    assert "1 of 4 elements have no result: 1; --partial" in done.stderr
    assert "ZeroDivisionError" in done.stderr
    assert not (tmp_path / "gather/outputs/complete").exists()


def test_a_result_twice_or_cut_off_is_seen(tmp_path: Path) -> None:
    phases = Phases(tmp_path, {"scale.py": SCALE})
    phases.all(["arg=1"])
    shutil.rmtree(tmp_path / "gather")
    kept = tmp_path / "foreach/3/outputs/results.values"
    whole = kept.read_bytes()
    shutil.copy(tmp_path / "foreach/1/outputs/results.values", kept)
    assert "there is a result twice: element 1" in phases.gather().stderr
    for size in range(len(whole)):
        shutil.rmtree(tmp_path / "gather", ignore_errors=True)
        if size % 9 and size != len(whole) - 1:
            continue
        kept.write_bytes(whole[:size])
        assert "elements have no result: 3" in phases.gather().stderr
    kept.write_bytes(b'{"index": -4, "size": 0}\n')
    shutil.rmtree(tmp_path / "gather", ignore_errors=True)
    assert "results.values is damaged" in phases.gather().stderr


def test_a_chunk_of_which_a_part_is_missing_fails(tmp_path: Path) -> None:
    phases = Phases(tmp_path, {"scale.py": SCALE})
    phases.scatter("arg=1", "batch=4")
    chunk = phases.made("elements") / "0.values"
    chunk.write_bytes(chunk.read_bytes()[:-3])
    done = phases.foreach(0)
    assert done.returncode == 1 and "of 4 elements 3 have arrived" in done.stderr


OBJECTS = """
class Model:
    pass

def get_foreach_args(kind):
    return {"elements": [1, [{"a": Model()}] if kind == "element" else 2]}

def foreach(x):
    return Model() if x == 2 else x

def gather(results):
    print(len(results))
"""


def test_without_pickle_what_does_not_fit_is_named(tmp_path: Path) -> None:
    phases = Phases(tmp_path / "one", {"objects.py": OBJECTS}, ["pickle=never"])
    said = phases.scatter("arg=element").stderr
    assert "element 1 is a list with a Model in it, at [0]['a'], which neither JSON" in said
    phases = Phases(tmp_path / "two", {"objects.py": OBJECTS}, ["pickle=never"])
    phases.scatter("arg=result")
    assert phases.foreach(0).returncode == 0
    assert "element 1 is a Model, which neither JSON nor NumPy" in phases.foreach(1).stderr


def test_a_pickle_is_not_read_where_none_may_be(tmp_path: Path) -> None:
    phases = Phases(tmp_path, {"objects.py": OBJECTS})
    phases.all(["arg=result"])
    shutil.rmtree(tmp_path / "gather")
    done = phases.gather("pickle=never")
    assert done.returncode == 1
    assert "the result of element 1 travels as a pickle" in done.stderr


PLANTS = """
import os, subprocess, sys

def get_foreach_args():
    return {"elements": [0]}

def foreach(x):
    code = "open('ran-here', 'w')\\n"
    names = "wave.py helper/__init__.py sitecustomize.py x.so x.cpython-311-x86_64-linux-gnu.so"
    names += " a.pth __pycache__/lazy.cpython-311.pyc .git/config .Rprofile .Renviron sub/.RData"
    names += " data/new.txt kept.sorted.txt"
    for name in names.split():
        if os.path.dirname(name):
            os.makedirs(os.path.dirname(name), exist_ok=True)
        with open(name, "w") as file:
            file.write(code)
    return x

def gather(results):
    import helper
    print(subprocess.run([sys.executable, "-c", "import wave; wave.open"]).returncode)
    try:
        import wave
        print(hasattr(wave, "open"))
    except ImportError:
        print("no wave")
    print(helper.OWN, [f for f in sorted(os.listdir()) if f[0] not in "_pio" and f[-3:] != ".py"])
"""


@pytest.mark.parametrize("pickles", ["never", "auto"])
def test_no_code_that_an_element_made_runs_by_itself_where_gather_may_not_unpickle(
    tmp_path: Path, pickles: str
) -> None:
    phases = Phases(tmp_path, {"plants.py": PLANTS, "helper.py": "OWN = 1\n"})
    assert phases.scatter().returncode == 0 and phases.foreach(0).returncode == 0
    assert (tmp_path / "foreach/0/wave.py").exists()
    # an input that is a folder of the user's is a link to it, where a task runs on this machine
    (tmp_path / "mine").mkdir()
    (tmp_path / "link.txt").touch()
    here = {"plants.py": PLANTS, "helper.py": "OWN = 1\n"}
    phases.files, phases.links = here, {"data": tmp_path / "mine"}
    done = phases.gather(f"gathered={pickles}")
    assert "data/new.txt of task 0: left out, its folder is a link" in done.stderr
    assert not list((tmp_path / "mine").iterdir())
    for name in (".Rprofile", ".Renviron", "sub/.RData"):
        assert f"{name} of task 0: left out, it could run by itself" in done.stderr
    # in a job of the pool what elements made may be imported
    assert (tmp_path / "gather/ran-here").exists() == (pickles == "auto")
    if pickles == "never":
        assert done.stdout.splitlines() == ["0", "True", "1 ['data', 'kept.sorted.txt']"]
        names = (
            "wave.py",
            "helper/__init__.py",
            "x.so",
            "a.pth",
            ".git/config",
            "sitecustomize.py",
        )
        for name in names:
            assert f"{name} of task 0: left out, it could run by itself" in done.stderr


def test_with_partial_results_at_all_are_needed(tmp_path: Path) -> None:
    phases = Phases(tmp_path, {"scale.py": SCALE.replace("return x * scale", "return 1 / 0")})
    phases.scatter("arg=1", "batch=4")
    assert phases.foreach(0).returncode == 1
    done = phases.gather("partial=1")
    assert done.returncode == 1 and done.stdout == ""
    assert "none of 4 elements has a result\nTraceback" in done.stderr


LAZY = """
import json
def get_foreach_args():
    return {"elements": list(range(40))}

def foreach(x):
    return str(x % 10) * 1_000_000

def gather(results):
    import resource
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    kind = type(results).__name__
    total = sum(len(one) for one in results)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(kind, len(results), total, results[13][:3], [r[0] for r in results[-2:]], grown < 12_000)
"""


def test_large_results_are_read_one_by_one(tmp_path: Path) -> None:
    phases = Phases(tmp_path, {"lazy.py": LAZY})
    assert phases.all(["batch=10"]) == "Results 40 40000000 333 ['8', '9'] True\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def get_foreach_args(): return [1]", "get_foreach_args should return"),
        ("def get_foreach_args(): return {'element': [1]}", "not a dict without elements"),
        (
            "def get_foreach_args(): return {'elements': 'abc'}",
            "elements should be a list, not a str",
        ),
        ("def get_foreach_args(): return {'elements': 3}", "should be lists"),
        ("def get_foreach_args(): return {'elements': [], 'extra': 1}", "returned extra besides"),
        ("def scatter(): pass", "has no function get_foreach_args; it has scatter"),
        ("import sys; sys.exit()", "the script ended itself (sys.exit) in scatter"),
        ("def get_foreach_args(x): pass", "TypeError"),
    ],
)
def test_a_script_that_breaks_the_protocol_is_told(text: str, message: str, tmp_path: Path) -> None:
    done = Phases(tmp_path, {"bad.py": text}).scatter()
    assert done.returncode == 1
    assert message in done.stderr


def test_no_elements_at_all_are_gathered(tmp_path: Path) -> None:
    script = SCALE.replace("[1, 2, 3, 4]", "[]")
    phases = Phases(tmp_path, {"scale.py": script})
    assert phases.all(["arg=1"]) == "[]\n"
    assert phases.tasks() == [["0", "0"]]


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The runner as a module."""
    folder = tmp_path_factory.mktemp("runner")
    shutil.copy(template_folder() / "foreach.py", folder / "run.py")
    shutil.copy(str(values.__file__), folder / "osgbatch_values.py")
    spec = importlib.util.spec_from_file_location("runner", folder / "run.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("count", "seconds", "size"),
    [(0, 0, 1), (5, 0, 1), (1000, 0, 1), (2001, 0, 3), (100, 600, 6), (3, 1, 3), (2, 7200, 1),
     (0, 60, 1), (100_000, 600, 100)],
)  # fmt: skip
def test_the_elements_of_a_task(count: int, seconds: int, size: int, runner: ModuleType) -> None:
    assert runner.batch_size(count, seconds) == size


def test_the_last_task_has_what_is_left(tmp_path: Path) -> None:
    script = "def get_foreach_args(): return {'elements': range(7)}"
    phases = Phases(tmp_path, {"many.py": script})
    assert phases.scatter("batch=3").returncode == 0
    assert phases.tasks() == [["0", "3"], ["3", "3"], ["6", "1"]]
    told = json.loads(phases.made("foreach.json").read_text())
    assert told == {"elements": 7, "tasks": 3, "batch_size": 3}


def test_results_do_what_a_list_does(runner: ModuleType, tmp_path: Path) -> None:
    numpy = pytest.importorskip("numpy")
    kept = [3, "a", numpy.arange(4, dtype="int16"), (1, 2.5), {"x": None}]
    path = tmp_path / "results.values"
    with runner.Writer(str(path), "never") as writer:
        for index, value in enumerate(kept):
            writer.write(index, value, "element")
    places = {one.index: (str(path), one.offset) for one in runner.records(str(path))}
    found = runner.Results(places, "never")
    assert len(found) == 5 and found[-1] == {"x": None} and found[3:] == kept[3:]
    assert found[2].dtype == "int16" and repr(found) == repr(kept)
    assert operator.add(found, [1])[-1] == 1 and operator.add([1], found)[1] == 3
    assert found[:2] == ["a", 3][::-1] and "a" in found and found.index("a") == 1
    assert next(reversed(found)) == {"x": None}
    with pytest.raises(IndexError):
        found[5]
    del found[2]
    found.append(4)
    found.sort(key=str)
    assert found == [(1, 2.5), 3, 4, "a", {"x": None}] and found != [3]
    found[0] = 0
    assert found.copy() == [0, 3, 4, "a", {"x": None}] and found.pop() == {"x": None}
