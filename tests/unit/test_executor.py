"""osgbatch.Executor with the local runner: as concurrent.futures has it, one cluster at a time."""

from __future__ import annotations

import asyncio
import concurrent.futures
import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import osgbatch
from osgbatch.errors import OsgbatchError

LOCAL: dict[str, Any] = {"pool": "local", "quiet": True, "tasks_per_job": 20}
pytestmark = pytest.mark.usefixtures("calls_can_run")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def area(width: float, *, height: float = 2.0) -> float:
    if width < 0:
        raise ValueError(f"width {width}")
    return width * height


def test_it_is_an_executor_of_one_cluster(here: Path) -> None:
    with osgbatch.Executor(name="areas", **LOCAL) as executor:
        futures = [executor.submit(area, width, height=3) for width in (1, 2, -1)]
        other = executor.submit(math.sqrt, 9)
        dropped = executor.submit(area, 99)
        assert dropped.cancel()
        assert dropped.cancelled()
        assert not (here / "batches").exists()
        assert futures[0].result(timeout=120) == 3
        done, left = concurrent.futures.wait(futures, timeout=120)
        assert (len(done), len(left)) == (3, 0)
        # what is asked for by others than result() submits, too
        later = [executor.submit(area, width) for width in (5, 6)]
        assert {f.result() for f in concurrent.futures.as_completed(later, timeout=120)} == {10, 12}
        last = executor.submit(area, 8)
    assert last.done()
    assert [f.result() for f in (futures[1], other, last)] == [6, 3.0, 16]
    error = futures[2].exception()
    assert isinstance(error, ValueError)
    assert isinstance(error.__cause__, osgbatch.CallError)
    assert "call 2 (-1, height=3) failed: ValueError: width -1" in str(error.__cause__)
    assert [len(batch) for batch in executor.batches] == [4, 2, 1]
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(area, 1)
    # it survives: another process finds the values again
    code = f"import osgbatch; print(osgbatch.load({str(executor.batches[0].folder)!r})[:2])"
    top = str(Path(osgbatch.__file__).parents[1])
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=top, capture_output=True, text=True, check=True
    )
    assert found.stdout == "[3, 6]\n"


def test_map_timeouts_and_asyncio_work_as_with_other_executors() -> None:
    def slow(seconds: float) -> float:
        time.sleep(seconds)
        return seconds

    async def gathered(executor: concurrent.futures.Executor) -> list[float]:
        loop = asyncio.get_running_loop()
        calls = [loop.run_in_executor(executor, slow, x / 100) for x in range(3)]
        return await asyncio.wait_for(asyncio.gather(*calls), 120)

    with osgbatch.Executor(**LOCAL) as executor:
        future = executor.submit(slow, 1)
        with pytest.raises(
            concurrent.futures.TimeoutError, match=r"call 0 has not ended within 0\.2 s"
        ):
            future.result(timeout=0.2)
        assert future.running()
        assert not future.cancel()
        assert list(executor.map(area, [1, 2], timeout=120)) == [2, 4]
        assert asyncio.run(gathered(executor)) == [0, 0.01, 0.02]
        assert [len(batch) for batch in executor.batches] == [1, 2, 3]
        polled = executor.submit(area, 4)
        deadline = time.monotonic() + 30
        while not polled.done() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert polled.result(timeout=0) == 8


def test_many_small_batches_are_refused_and_map_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("osgbatch.api.executor.MOST_SMALL", 1)
    executor = osgbatch.Executor(**LOCAL)
    assert executor.submit(area, 1).result() == 2
    future = executor.submit(area, 2)
    with pytest.raises(OsgbatchError, match="would be one more, of 1 call") as caught:
        future.result()
    assert "osgbatch.map" in str(caught.value)
    assert len(executor.batches) == 1
    executor.shutdown(cancel_futures=True)
    assert future.cancelled()


def test_what_cannot_be_submitted_is_told_and_an_error_in_the_block_submits_nothing(
    here: Path,
) -> None:
    executor = osgbatch.Executor(resources={"memory": 1}, **LOCAL)
    with pytest.raises(OsgbatchError, match="call 0 cannot be pickled"):
        executor.submit(area, sys._getframe())
    future = executor.submit(area, 1)
    with pytest.raises(OsgbatchError, match="needs a unit"):
        future.result()
    executor.shutdown(cancel_futures=True)
    with pytest.raises(KeyboardInterrupt), osgbatch.Executor(**LOCAL) as executor:
        future = executor.submit(area, 1)
        raise KeyboardInterrupt
    assert future.cancelled()
    assert list(here.iterdir()) == []


def test_a_batch_whose_submission_was_interrupted_at_its_end_is_not_submitted_again(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    executor = osgbatch.Executor(name="cut", **LOCAL)
    future = executor.submit(area, 3)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("osgbatch.api.executor.MapResults", interrupted)
        future.result()
    assert future.result(timeout=120) == 6
    assert len(list((here / "batches").glob("cut-*"))) == 1
