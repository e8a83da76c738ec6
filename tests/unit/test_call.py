"""call.py: a function is called with its task's row, and what it returns is kept, or refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy
import pytest

CALL = Path(__file__).parents[2] / "templates" / "call.py"
PYTHONS = [sys.executable]
if os.access("/usr/bin/python3", os.X_OK):
    PYTHONS.append("/usr/bin/python3")


class Task:
    """A task's folder with the user's module `mod`, and call.py in another one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "tasks" / "7"
        self.folder.mkdir(parents=True)
        (self.folder / "outputs").mkdir()
        (folder / "own").mkdir()
        self.call = Path(shutil.copy(CALL, folder / "own" / "call.py"))

    def run(
        self,
        code: str,
        row: dict[str, Any] | None = None,
        target: str = "mod:f",
        python: str = sys.executable,
        **variables: str,
    ) -> subprocess.CompletedProcess[str]:
        (self.folder / "mod.py").write_text(code)
        (self.folder / "params.json").write_text(json.dumps({"x": 2} if row is None else row))
        return subprocess.run(
            [python, str(self.call), *target.split(":")],
            cwd=self.folder,
            env={"PATH": "/usr/bin:/bin", "OSGBATCH_TASK": "7"} | variables,
            capture_output=True,
            text=True,
            check=False,
        )

    def result(self, code: str, **more: Any) -> Any:
        done = self.run(code, **more)
        assert (done.returncode, done.stderr) == (0, "")
        return json.loads(self.text)

    def refusal(self, code: str, **more: Any) -> str:
        done = self.run(code, **more)
        assert done.returncode == 1
        assert done.stderr.startswith("osgbatch: ")
        assert "Traceback" not in done.stderr
        assert self.kept == []
        return done.stderr.removeprefix("osgbatch: ")

    @property
    def text(self) -> str:
        return (self.folder / "outputs" / "result.json").read_text()

    @property
    def kept(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "outputs").iterdir())


@pytest.fixture
def task(tmp_path: Path) -> Task:
    return Task(tmp_path)


PLAIN = """
import collections, datetime, enum, math, pathlib
class Level(enum.IntEnum):
    low = 1
class Name(str, enum.Enum):
    a = "alpha"
Point = collections.namedtuple("Point", "x y")
def f(x, name):
    print("seen", x, name)
    return {
        "x": x, "text": "ü\\n", "none": None, "flags": [True, False], "list": [1, 2.5, "a"],
        "tuple": (1, (2,)), "path": pathlib.Path("a/b"), "date": datetime.date(2026, 1, 2),
        "time": datetime.datetime(2026, 1, 2, 3, 4, 5), "point": Point(1, Point(2, 3)),
        "odd": [math.nan, math.inf, -math.inf], "enums": [Level.low, Name.a], 3: {None: 1, True: 2},
        0.5: 10 ** 30, "empty": [{}, [], ""],
    }
"""


@pytest.mark.parametrize("python", PYTHONS)
def test_plain_values_are_kept_as_json(task: Task, python: str) -> None:
    done = task.run(PLAIN, {"x": 2, "name": "it's \n ü"}, python=python, PYTHONUTF8="1")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "seen 2 it's \n ü\n"
    assert json.loads(task.text) == {
        "x": 2,
        "text": "ü\n",
        "none": None,
        "flags": [True, False],
        "list": [1, 2.5, "a"],
        "tuple": [1, [2]],
        "path": "a/b",
        "date": "2026-01-02",
        "time": "2026-01-02T03:04:05",
        "point": {"x": 1, "y": {"x": 2, "y": 3}},
        "odd": ["NaN", "Infinity", "-Infinity"],
        "enums": [1, "alpha"],
        "3": {"null": 1, "true": 2},
        "0.5": 10**30,
        "empty": [{}, [], ""],
    }
    assert task.kept == ["result.json"]


@pytest.mark.parametrize("value", ["None", "1", "'a'", "[1]", "True", "1.5", "{}"])
def test_any_json_value_can_be_returned_alone(task: Task, value: str) -> None:
    assert task.result(f"def f(): return {value}") == eval(value)


def test_a_dataclass_is_kept_as_a_dict(task: Task) -> None:
    code = (
        "import dataclasses\n@dataclasses.dataclass\nclass D:\n    a: int\n    b: object\n"
        "def f(): return [D(1, D(2, None))]"
    )
    assert task.result(code) == [{"a": 1, "b": {"a": 2, "b": None}}]


def test_a_function_gets_the_columns_that_it_takes_and_its_index(task: Task) -> None:
    row = {"x": 1, "y": 2, "z": 3}
    assert task.result("def f(y, index, *, z, other=5): return [y, index, z, other]", row=row) == [
        2, 7, 3, 5,
    ]  # fmt: skip
    assert task.result("def f(**row): return row", row=row) == row
    assert task.result("def f(index, **row): return [index, row]", row=row) == [7, row]
    assert task.result("def f(): return 0", row=row) == 0


def test_a_function_that_needs_more_than_the_row_is_told_so(task: Task) -> None:
    message = task.refusal("def f(a, x, b, c=1): pass", row={"x": 1, "y": 2})
    assert message == "mod:f needs a, b, which the sweep has no column for; its columns: x, y\n"
    assert task.refusal("def f(a): pass", row={}).endswith("its columns: none\n")


@pytest.mark.parametrize("python", PYTHONS)
def test_an_async_function_is_run(task: Task, python: str) -> None:
    code = "import asyncio\nasync def f(x):\n    await asyncio.sleep(0)\n    return x"
    assert task.result(code, python=python) == 2


@pytest.mark.parametrize("code", ["def f(): yield 1", "async def f(): yield 1"])
def test_a_generator_is_refused(task: Task, code: str) -> None:
    assert task.refusal(code) == "mod:f is a generator; return its values as a list\n"


def test_attributes_of_a_module_and_of_packages_are_found(task: Task) -> None:
    (task.folder / "pkg").mkdir()
    (task.folder / "pkg" / "__init__.py").touch()
    (task.folder / "pkg" / "sub.py").write_text(
        "class A:\n    @staticmethod\n    def g(x): return x + 1"
    )
    assert task.result("", target="pkg.sub:A.g") == 3


def test_the_working_folder_comes_first_and_the_folder_of_call_py_not_at_all(task: Task) -> None:
    (task.call.parent / "neighbour.py").write_text("")
    library = task.folder.parent / "lib"
    library.mkdir()
    (library / "mod.py").write_text("raise SystemExit('the wrong one')")
    (library / "extra.py").write_text("value = 4")
    code = (
        "import sys, importlib.util\nimport extra\n"
        "def f(): return [sys.path[0], importlib.util.find_spec('neighbour'), extra.value]"
    )
    expected = [str(task.folder), None, 4]
    assert task.result(code, PYTHONPATH=str(library)) == expected
    assert task.result(code, PYTHONPATH=str(library), PYTHONSAFEPATH="1") == expected


def test_a_module_may_be_called_call(task: Task) -> None:
    (task.folder / "call.py").write_text("def f(x): return x")
    assert task.result("", target="call:f") == 2


def test_a_missing_module_is_told_with_where_it_was_looked_for(task: Task) -> None:
    message = task.refusal("", target="model:f")
    assert 'there is no module "model" to import; `files:`' in message
    assert "`libraries:`" in message
    assert f"looked in: {task.folder}" in message
    assert '"mod.sub"' in task.refusal("", target="mod.sub:f")


@pytest.mark.parametrize(
    ("code", "last"),
    [
        ("import nowhere", "ModuleNotFoundError: No module named 'nowhere'"),
        ("from os import nowhere", "ImportError: cannot import name 'nowhere'"),
        ("raise ModuleNotFoundError('odd', name='mod')", "ModuleNotFoundError: odd"),
    ],
)
def test_an_import_that_fails_inside_the_module_is_shown_where_it_is(
    task: Task, code: str, last: str
) -> None:
    done = task.run("\n\n" + code)
    assert done.returncode == 1
    assert 'mod.py", line 3' in done.stderr
    assert last in done.stderr
    assert "call.py" not in done.stderr


def test_a_mistake_in_the_syntax_is_shown_where_it_is(task: Task) -> None:
    done = task.run("def f(:")
    assert done.returncode == 1
    assert 'mod.py", line 1' in done.stderr
    assert "call.py" not in done.stderr


def test_a_missing_function_is_told_with_those_there_are(task: Task) -> None:
    code = "import os\nfrom os.path import join\ndef g(): pass\ndef h(): pass\nv = 1"
    assert task.refusal(code) == 'mod has no "f"; it has g, h\n'
    assert task.refusal(code, target="mod:v") == "mod:v is no function but an int\n"


def test_an_exception_shows_the_users_frames_only(task: Task) -> None:
    code = "def g(x):\n    return 1 / (x - 2)\ndef f(x):\n    print('before')\n    return g(x)"
    done = task.run(code)
    assert done.returncode == 1
    assert done.stdout == "before\n"
    assert done.stderr.startswith("Traceback (most recent call last):\n")
    assert done.stderr.endswith("ZeroDivisionError: division by zero\n")
    assert done.stderr.count('mod.py", line') == 2
    assert "call.py" not in done.stderr
    assert task.kept == []


def test_an_exit_passes_through(task: Task) -> None:
    assert task.run("import sys\ndef f(): sys.exit(3)").returncode == 3
    assert task.run("import sys\ndef f(): sys.exit()").returncode == 0
    done = task.run("import sys\ndef f(): sys.exit('why')")
    assert (done.returncode, done.stderr) == (1, "why\n")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ('{"model": Model()}', 'result["model"]: a Model cannot be kept as JSON; return numbers,'),
        ('{"a": [1, {2: b""}]}', 'result["a"][1][2]: a bytes cannot be kept as JSON'),
        ("{1, 2}", "result: a set cannot be kept"),
        ("1j", "result: a complex cannot be kept"),
        ("map(str, [])", "result: a map cannot be kept"),
        ("Model", "result: a type cannot be kept"),
        ("loop", "result[0] holds itself, which JSON cannot"),
        ('{(1, 2): 3}', "result[(1, 2)]: a key must be text or a number in JSON"),
        ('{1: 0, "1": 0}', 'result["1"]: there is another key that JSON would write as "1"'),
        (r'["\ud800"]', "result[0]: '\\ud800' is text that is not UTF-8"),
    ],
)  # fmt: skip
def test_what_json_cannot_hold_is_refused_by_its_place(
    task: Task, value: str, message: str
) -> None:
    code = f"class Model: pass\nloop = []\nloop.append(loop)\ndef f(): return {value}"
    assert task.refusal(code).startswith(message)


def test_a_value_that_stands_twice_is_no_circle(task: Task) -> None:
    assert task.result("a = [1]\ndef f(): return {'a': a, 'b': [a, a]}") == {
        "a": [1],
        "b": [[1], [1]],
    }


def test_a_result_that_is_refused_leaves_no_half_of_it(task: Task) -> None:
    code = "import numpy\ndef f(): return [numpy.zeros(3), object()]"
    assert task.refusal(code).startswith("result[1]: an object cannot be kept")


def test_a_function_that_returns_nothing_may_write_the_result_itself(task: Task) -> None:
    code = "def f():\n    with open('outputs/result.json', 'w') as file:\n        file.write('[8]')"
    assert task.result(code) == [8]


def test_an_array_is_kept_beside_the_result(task: Task) -> None:
    code = "import numpy\ndef f(): return numpy.arange(6.0).reshape(2, 3)"
    assert task.result(code) == {"$npy": "result.npy", "shape": [2, 3], "dtype": "float64"}
    array = numpy.load(task.folder / "outputs" / "result.npy", allow_pickle=False)
    assert array.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert task.kept == ["result.json", "result.npy"]


def test_arrays_inside_are_kept_under_their_place(task: Task) -> None:
    code = (
        "import numpy\ndef f(): return {'peaks': numpy.array([1, 2]), 'by': [numpy.array(True), {"
        "'a/b ü': numpy.array(['x']), 'a?b ü': numpy.zeros(0), '': numpy.zeros(1)}]}"
    )
    result = task.result(code)
    assert result["peaks"] == {"$npy": "result-peaks.npy", "shape": [2], "dtype": "int64"}
    assert result["by"][0]["$npy"] == "result-by-0.npy"
    assert result["by"][1]["a/b ü"]["$npy"] == "result-by-1-a_b_.npy"
    assert result["by"][1]["a?b ü"]["$npy"] == "result-by-1-a_b_-2.npy"
    found = {
        name: numpy.load(task.folder / "outputs" / name)
        for name in task.kept
        if name != "result.json"
    }
    assert found["result-by-1-a_b_.npy"].tolist() == ["x"]
    assert found["result-by-1-a_b_-2.npy"].size == 0
    assert set(found) == {
        "result-by-0.npy",
        "result-by-1-.npy",
        "result-by-1-a_b_-2.npy",
        "result-by-1-a_b_.npy",
        "result-peaks.npy",
    }


def test_numpy_scalars_become_plain_values(task: Task) -> None:
    code = (
        "import numpy as n\ndef f(): return [n.int64(1), n.float32(.5), n.bool_(1), n.str_('a'), "
        "n.float64('nan'), n.longdouble(2), n.datetime64('2026-01-02'), {n.int8(4): n.uint8(5)}]"
    )
    assert task.result(code) == [1, 0.5, True, "a", "NaN", 2.0, "2026-01-02", {"4": 5}]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("n.array([None])", "result: an array of objects cannot be kept"),
        ("[n.complex128(1j)]", "result[0]: a complex cannot be kept"),
        ("n.timedelta64(1, 's')", "result: a timedelta64 cannot be kept"),
        ("n.ma.masked_array([1])", "result: a masked array loses its mask"),
    ],
)
def test_what_an_npy_file_cannot_hold_is_refused(task: Task, value: str, message: str) -> None:
    assert task.refusal(f"import numpy as n\ndef f(): return {value}").startswith(message)


def test_numpy_is_not_imported_for_a_result_without_it(task: Task) -> None:
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: print('numpy' in sys.modules))\ndef f(): return [1.5, {'a': 2}]"
    )
    assert task.run(code).stdout == "False\n"


def test_the_program_is_plain_python_3_6() -> None:
    import ast

    ast.parse(CALL.read_text(), feature_version=(3, 6))
    assert CALL.read_text().isascii()
