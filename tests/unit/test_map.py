"""osgbatch.map with the local runner: functions out, values back, failures named, nothing twice."""

from __future__ import annotations

import _thread
import asyncio
import io
import os
import re
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import osgbatch
from osgbatch.api.calling import _same_python, map_calls
from osgbatch.api.mapped import MapResults
from osgbatch.batches.folder import load
from osgbatch.calls.package import RAISED, wheel
from osgbatch.calls.pickling import Pickler, own_modules
from osgbatch.calls.values import decode
from osgbatch.errors import BusyError, OsgbatchError
from osgbatch.life.housekeeping import remove
from osgbatch.packing.environment import EnvironmentArchive
from osgbatch.rendering.templates import template_folder
from osgbatch.spec.load import load_spec

LOCAL: dict[str, Any] = {"pool": "local", "quiet": True}
pytestmark = pytest.mark.usefixtures("calls_can_run")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with an odd name."""
    folder = tmp_path / "it's a  folder, $HOME"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@contextmanager
def module_beside(folder: Path, name: str, text: str) -> Iterator[Any]:
    """A module of the user's, imported from beside the script."""
    (folder / f"{name}.py").write_text(text)
    sys.path.insert(0, str(folder))
    try:
        yield __import__(name)
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop(name, None)


HELPER = """
class Point:
    def __init__(self, x):
        self.x = x

    def __eq__(self, other):
        return isinstance(other, Point) and self.x == other.x

class Odd(Exception):
    pass

def work(item, shift):
    if item == 3:
        raise Odd("three is odd\x1b[31m")
    if item == 4:
        return {1, 2}
    if item == "text":
        return item * 2
    if isinstance(item, Point):
        return Point(item.x + shift)
    return (item + shift, {"n": [item]})
"""


def test_values_come_back_as_they_were_and_failures_are_named(here: Path) -> None:
    shift = 10
    with module_beside(here, "helper", HELPER) as helper:
        items = [0, 1.5, "text", 3, 4, helper.Point(7), 2**70]
        results = osgbatch.map(lambda item: helper.work(item, shift), items, name="w", **LOCAL)
        assert len(results) == 7
        seen = {one.index: one for one in results.as_completed(timeout=120)}
        assert sorted(seen) == list(range(7))
        assert seen[0].result() == (10, {"n": [0]})
        assert results[1] == (11.5, {"n": [1.5]})
        assert results[2:5:2] == ["texttext", {1, 2}]
        assert results[-2] == helper.Point(17)
        assert isinstance(results[5], helper.Point)
        assert results[6] == (2**70 + 10, {"n": [2**70]})
        error = seen[3].error
        assert error is not None
        assert isinstance(error.original, helper.Odd)
        assert (error.index, error.item, error.kind) == (3, 3, "Odd")
        assert "item 3 (3) failed: Odd: three is odd\\x1b[31m" in str(error)  # not obeyed
        assert "\x1b" not in error.remote_traceback
        assert 'helper.py", line 14, in work' in error.remote_traceback
        assert "run_call" not in error.remote_traceback
        assert "osgbatch_call" not in error.remote_traceback
        with pytest.raises(osgbatch.CallError, match="item 3"):
            list(results)
        assert [error.index for error in results.errors()] == [3]
        assert results.item(5) == helper.Point(7)
    # another process, without the module: what was pickled by value is there all the same
    code = (
        "import osgbatch, sys\n"
        "found = osgbatch.load('w')\n"
        "print(found[0], found[4], found[5].x, sorted(found.status().items()))\n"
        "plain = osgbatch.load('w', unpickle=False)\n"
        "print(plain[0])\n"
        "for index in (3, 4):\n"
        "    try: plain[index]\n"
        "    except osgbatch.CallError as error: print(error.what, error.original)\n"
        "import os; os.getuid = lambda: -1\n"  # as if another user had made the batch
        "try: osgbatch.load('w')[4]\n"
        "except osgbatch.CallError as error: print(error.what)\n"
        "print(osgbatch.load('w', unpickle=True)[5].x)\n"
    )
    (here / "helper.py").unlink()
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(osgbatch.__file__).parents[1])},
    )
    assert done.stdout.splitlines() == [
        "(10, {'n': [0]}) {1, 2} 17 [('failed', 1), ('succeeded', 6)]",
        "(10, {'n': [0]})",
        "item 3 (3) failed: Odd: three is odd\\x1b[31m None",
        "what item 4 (4) returned is a pickle, which may run code here None",
        "what item 4 (4) returned is a pickle, which may run code here",
        "17",
    ]


def test_large_items_travel_with_their_own_job_only(here: Path) -> None:
    items = [bytes([i]) * 6000 for i in range(5)]
    results = osgbatch.map(
        lambda a, b: (len(a), a[0], b), items, range(5), tasks_per_job=2, **LOCAL
    )
    assert list(results.values(timeout=120)) == [(6000, i, i) for i in range(5)]
    assert results.item(3) == ((items[3], 3), {})
    [sent] = (here / "batches" / ".calls").iterdir()
    sizes = {path.name: path.stat().st_size for path in (sent / "items").iterdir()}
    assert sorted(sizes) == ["0", "1", "2"]
    assert sizes["0"] > 12_000 > sizes["2"] > 6_000
    job = (results.folder / "rounds/001/jobs.items").read_text().splitlines()[1]
    assert job.endswith(f"batches/.calls/{sent.name}/items/1")


def test_async_for_and_plain(here: Path) -> None:
    async def collected(results: MapResults) -> list[Any]:
        return [value async for value in results]

    async def double(x: int) -> int:
        await asyncio.sleep(0)
        return 2 * x

    plain = osgbatch.map(lambda x: {x} if x else x, [0, 1], plain=True, **LOCAL)
    results = osgbatch.map(double, range(3), name="aio", **LOCAL)
    assert asyncio.run(collected(results)) == [0, 2, 4]
    assert plain[0] == 0
    with pytest.raises(osgbatch.CallError, match="what it returned is a set"):
        plain[1]
    assert "3 succeeded" in results._repr_mimebundle_()["text/plain"]
    assert "<table>" in results._repr_html_()
    assert len(list(remove([load(results.folder)]))) == 1
    [left] = (here / "batches" / ".calls").iterdir()
    assert left.name.startswith("function-")
    assert len(list(remove([load(plain.folder)]))) == 1
    assert list(here.iterdir()) == []


REFUSED: list[tuple[Callable[[], Any], str]] = [
    (lambda: osgbatch.map(len, [1, threading.Lock()], **LOCAL), "item 1 cannot be pickled"),
    (lambda: osgbatch.map(threading.Lock().acquire, [1], **LOCAL), "function acquire cannot be"),
    (lambda: osgbatch.map(3, [1], **LOCAL), "3 cannot be called"),  # type: ignore[arg-type]
    (lambda: osgbatch.map(len, [], **LOCAL), "there are no items"),
    (lambda: osgbatch.map(len, **LOCAL), "nothing to map over"),
    (lambda: osgbatch.map(len, [1], command="x", **LOCAL), "command= is not for calls"),
    (lambda: osgbatch.map(len, [1], resorces={}, **LOCAL), 'unknown key "resorces"'),
    (lambda: osgbatch.map(len, [1], resources={"memory": 1}, **LOCAL), "needs a unit"),
    (lambda: osgbatch.map(len, [1], pool="lokal"), 'unknown pool "lokal"'),
    (lambda: osgbatch.map(len, [1], environment="none.txt", **LOCAL), "none.txt"),
]


@pytest.mark.parametrize(("call", "said"), REFUSED, ids=[said for _, said in REFUSED])
def test_what_is_refused_leaves_nothing(here: Path, call: Callable[[], Any], said: str) -> None:
    with pytest.raises(OsgbatchError) as caught:
        call()
    assert said in str(caught.value)
    assert list(here.iterdir()) == []


def test_the_same_calls_are_not_submitted_twice(here: Path) -> None:
    def wait(path: str) -> bool:
        import pathlib
        import time

        while not pathlib.Path(path).exists():
            time.sleep(0.05)
        return True

    go = str(here / "go")
    first = osgbatch.map(wait, [go], **LOCAL)
    with pytest.raises(BusyError, match="does the very same") as caught:
        osgbatch.map(wait, [go], **LOCAL)
    assert "again=True" in str(caught.value)
    assert len(list((here / "batches").glob("wait-*"))) == 1
    with pytest.raises(TimeoutError, match=r"batch wait has 1 (running|waiting)"):
        first.result(0, timeout=0.3)
    with pytest.raises(IndexError, match="there is no item 1: there are 0 to 0"):
        first[1]
    threading.Timer(0.3, _thread.interrupt_main).start()
    with pytest.raises(KeyboardInterrupt):
        first.wait()  # the jobs go on
    (here / "go").touch()
    assert first[0] is True
    # a submission that was cut short before the runner was asked is continued, not made again
    (first.folder / "rounds/001/submitted.json").write_text(
        '{"backend": "local", "cluster": 0, "jobs": 1, "time": 1.0, "host": ""}'
    )
    again = osgbatch.map(wait, [go], **LOCAL)
    assert again.folder == first.folder


def test_what_failed_can_be_run_again(here: Path) -> None:
    def fails_once(path: str) -> str:
        import pathlib

        file = pathlib.Path(path)
        if not file.exists():
            file.touch()
            raise OSError("not yet")
        return "there"

    (here / "b").touch()
    results = osgbatch.map(fails_once, [str(here / "a"), str(here / "b")], **LOCAL)
    results.wait(timeout=120)
    assert [one.succeeded for one in results.outcomes()] == [False, True]
    results.resubmit()
    assert list(results.values(timeout=120)) == ["there", "there"]


def test_another_python_is_refused_before_and_on_the_execution_point(tmp_path: Path) -> None:
    fake = EnvironmentArchive(tmp_path, "", 0, 0, "3.7.9", ())
    with pytest.raises(OsgbatchError, match=r"the environment has Python 3\.7, and here is"):
        _same_python(fake)
    here = "{}.{}.1".format(*sys.version_info[:2])
    _same_python(EnvironmentArchive(tmp_path, "", 0, 0, here, ()))
    # an execution point's own python3 is not known before: there the task itself refuses
    calls = map_calls(len, [[()]], Pickler(), plain=False)
    programs = {
        "__main__.py": (template_folder() / "run_call.py").read_bytes(),
        "call.py": (template_folder() / "call.py").read_bytes(),
    }
    with zipfile.ZipFile(io.BytesIO(wheel(calls, programs))) as archive:
        archive.extractall(tmp_path / "lib")
    told = tmp_path / "lib/osgbatch_call/call.json"
    told.write_text(re.sub(r'"python": \[3, \d+\]', '"python": [3, 5]', told.read_text()))
    (tmp_path / "params.json").write_text('{"item": "[]"}')
    done = subprocess.run(
        [sys.executable, "-m", "osgbatch_call"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "lib")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "the function was sent by Python 3.5" in done.stderr
    assert "Traceback" not in done.stderr
    raised = decode((tmp_path / RAISED).read_bytes())
    assert "was sent by Python 3.5" in raised["message"]


def test_modules_beside_the_script_are_the_users_own(tmp_path: Path) -> None:
    with module_beside(tmp_path, "beside_script", "x = 1\n") as module:
        own = own_modules()
        assert module in own
        assert module not in own_modules(["beside_script"])
        assert not {m.__name__.partition(".")[0] for m in own} & {"json", "numpy", "pytest", "yaml"}


def test_a_spec_is_submitted_and_waited_for(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (here / "sweep.yaml").write_text(
        'command: [sh, -c, "echo {x} > outputs/x; test {x} != b"]\nsweep: {x: [a, b]}\n'
    )
    (here / "flow.yaml").write_text("steps:\n- name: a\n  command: x\n")
    with pytest.raises(OsgbatchError, match=r"Type `osgbatch submit flow\.yaml`"):
        osgbatch.submit("flow.yaml", pool="local")
    spec = load_spec(here / "sweep.yaml", ["tags=[mine]"])
    (here / "sweep.yaml").unlink()  # a Spec is submitted as it was read
    batch = osgbatch.submit(spec, pool="local")
    told = f'as batch {batch.name}: osgbatch.load("{batch.name}") finds it again\n'
    assert f"submitted 2 tasks on this machine, {told}" in capfd.readouterr().err
    assert osgbatch.load(batch.name).id == batch.id
    assert "tags: [mine]" in (batch.folder / "sweep.yaml").read_text()

    async def states() -> list[str]:
        return [task.state async for task in batch]

    assert sorted(asyncio.run(states())) == ["failed", "succeeded"]
    assert batch.wait(timeout=120).collect().task(0).path("outputs/x").read_text() == "a\n"
