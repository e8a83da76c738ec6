"""Faults that a batch survives, each once; `make faults N=50` repeats them at random moments."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Pool

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "faults"))

import cases
import later_steps
import surroundings
from clock import why_no_clock
from daemons_of import Daemons
from disks import small_disk, why_none
from registry import on_disk, while_watched
from scene import Scene
from surroundings import clock_changed

# Of access points alone; the pool is stopped and started, and that of each kind is the same.
pytestmark = [pytest.mark.pool, pytest.mark.once]


@pytest.fixture
def scene(pool: Pool, tmp_path: Path, request: pytest.FixtureRequest) -> Scene:
    """A sweep, struck at moments that are other ones each time; the seed is told on failure."""
    seed = random.randrange(10**9)
    print(f"seed {seed}")
    seconds = getattr(request, "param", 1.0)
    return Scene(tmp_path / "sweep", Daemons(pool.folder), random.Random(seed), seconds)


def survived(scene: Scene) -> None:
    """Bring the batch to its end; nothing that must hold may have been violated."""
    scene.finish()
    assert scene.violations == []


@pytest.mark.both_versions
@pytest.mark.parametrize("scene", [0.2], indirect=True)
@pytest.mark.parametrize("step", ["run condor_submit", "run condor_submit+1"])
def test_submit_is_killed_and_done_again(scene: Scene, step: str) -> None:
    cases.submit_killed(scene, step)
    assert "run condor_submit" in (scene.folder / "trace").read_text()
    survived(scene)


@pytest.mark.parametrize("scene", [0.2], indirect=True)
def test_a_canarys_rest_is_killed_and_only_watched_then(scene: Scene) -> None:
    later_steps.killed(scene, "canary's rest", "run condor_submit", again=False)
    assert "run condor_submit" in (scene.folder / "trace").read_text()
    survived(scene)


@pytest.mark.parametrize("scene", [0.2], indirect=True)
@pytest.mark.parametrize("strike", [cases.submit_killed_at_a_time, clock_changed])
def test_submit_is_killed_while_condor_submit_works_and_the_clock_is_set(
    scene: Scene, strike: Callable[[Scene], None]
) -> None:
    if strike is clock_changed and why_no_clock():
        pytest.skip(why_no_clock())
    strike(scene)
    survived(scene)


@pytest.mark.both_versions
@pytest.mark.parametrize("scene", [1.0], indirect=True)
def test_files_of_a_batch_are_lost_while_it_is_followed(scene: Scene) -> None:
    # The schedd is asked at most once a minute; so as not to wait for that, the log is deleted when
    # the jobs have ended, and state.db with it: all is learnt from the history.
    last = [Scene.wait_for_history, cases.delete_log, cases.delete_state]
    hits = [h for h in cases.FOLLOWED.values() if h not in (cases.truncate_log, *last)]
    scene.rng.shuffle(hits)
    hits += last
    print([hit.__name__ for hit in hits])
    while_watched(scene, *hits, most=0.5)
    survived(scene)


@pytest.mark.both_versions
def test_jobs_are_held_and_removed_outside_and_the_log_is_cut_short(scene: Scene) -> None:
    hits = cases.hold_and_release, cases.truncate_log, cases.remove_outside
    while_watched(scene, *hits, most=1)
    survived(scene)


@pytest.mark.both_versions
@pytest.mark.parametrize("scene", [1.0], indirect=True)
def test_daemons_are_killed_and_stopped(scene: Scene) -> None:
    hits = list(cases.OF_THE_POOL.values())
    scene.rng.shuffle(hits)
    print([hit.__name__ for hit in hits])
    while_watched(scene, *hits, most=1)
    survived(scene)


@pytest.fixture
def full(pool: Pool, tmp_path: Path) -> Iterator[Scene]:
    """A sweep on a disk that can be filled."""
    if why_none():
        pytest.skip(why_none())
    seed = random.randrange(10**9)
    print(f"seed {seed}")
    with small_disk() as disk:
        yield on_disk(disk, Daemons(pool.folder), random.Random(seed), 0.3, tmp_path / "ledger")


@pytest.mark.both_versions
def test_the_disk_is_full_at_each_step(full: Scene) -> None:
    surroundings.submit_when_full(full)
    surroundings.return_when_full_unseen(full)
    surroundings.release(full, watched=False)
    full.osgbatch("watch")
    full.wait_for_history()
    surroundings.status_when_full(full)
    surroundings.collect_when_full(full)
    survived(full)
