"""Faults that a batch survives, each once; `make faults N=50` repeats them at random moments."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest
from conftest import Pool

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "faults"))

import cases
from daemons_of import Daemons
from scene import Scene

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


@pytest.mark.parametrize("scene", [0.2], indirect=True)
@pytest.mark.parametrize("step", ["run condor_submit", "run condor_submit+1"])
def test_submit_is_killed_and_done_again(scene: Scene, step: str) -> None:
    cases.submit_killed(scene, step)
    assert "run condor_submit" in (scene.folder / "trace").read_text()
    survived(scene)


@pytest.mark.both_versions
@pytest.mark.parametrize("scene", [2.0], indirect=True)
def test_files_of_a_batch_are_lost_while_it_is_followed(scene: Scene) -> None:
    hits = list(cases.FOLLOWED.values())
    scene.rng.shuffle(hits)
    print([hit.__name__ for hit in hits])
    cases.while_watched(scene, *hits, most=0.5)
    survived(scene)


@pytest.mark.both_versions
def test_jobs_are_held_released_and_removed_outside(scene: Scene) -> None:
    cases.while_watched(scene, cases.hold_and_release, cases.remove_outside, most=1)
    survived(scene)


@pytest.mark.parametrize("scene", [1.0], indirect=True)
def test_daemons_are_killed_and_stopped(scene: Scene) -> None:
    hits = list(cases.OF_THE_POOL.values())
    scene.rng.shuffle(hits)
    print([hit.__name__ for hit in hits])
    cases.while_watched(scene, *hits, most=1)
    survived(scene)
