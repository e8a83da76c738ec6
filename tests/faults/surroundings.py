"""The faults of what osgbatch works in: a disk that is full, a clock that is set."""

from __future__ import annotations

import json
import time
from pathlib import Path

from clock import Clock
from registry import BUSY, SUBMIT, case
from scene import TASKS, Said, Scene

OTHER_CLOCK = str(Path(__file__).resolve().parent / "other_clock.py")

# a full disk


def _tells_why(scene: Scene, said: Said) -> None:
    """What a full disk stops must say that it did."""
    words = ("space", "room", "state.db cannot be written")
    if said.code and not any(word in said.err + said.out for word in words):
        scene.wrong(f"osgbatch {said.arguments[0]} exited with {said.code}: {said.err[-400:]}")


def _fill(scene: Scene, most: int) -> None:
    """Leave nothing on the disk, or a little."""
    assert scene.disk
    scene.disk.fill(scene.rng.choice((0, scene.rng.randrange(most))))


def _make_room(scene: Scene) -> None:
    assert scene.disk
    scene.disk.make_room()


def submit_when_full(scene: Scene) -> None:
    """What was begun is continued, or begun anew, once there is room."""
    _fill(scene, 250_000)
    _tells_why(scene, scene.osgbatch(*SUBMIT, allowed=(0, 1, 3, 5)))
    _make_room(scene)
    scene.submit()


def return_when_full(scene: Scene) -> None:
    """HTCondor holds jobs whose output does not fit, and loses events that do not."""
    watch = scene.start("watch")
    scene.pause(4)
    _fill(scene, 40_000)
    scene.look()
    scene.pause(5, 1)
    scene.look()
    _make_room(scene)
    scene.end(watch)


def return_when_full_unseen(scene: Scene) -> None:
    """The same, while nobody looks: so nobody need wait until the schedd may be asked again."""
    _fill(scene, 4000)
    scene.wait_for_history()
    _make_room(scene)


def release(scene: Scene, *, watched: bool = True) -> None:
    """Let run what the full disk has held. watched: after having followed it to its end."""
    if watched:
        scene.osgbatch("watch")
    scene.osgbatch("release", allowed=(0,))


def status_when_full(scene: Scene) -> None:
    """state.db is only a cache: all is told as it is. (Of a batch whose jobs have ended.)"""
    if scene.rng.random() < 0.5:
        scene.look()
    _fill(scene, 60_000)
    for _ in range(2):
        said = scene.osgbatch("status", "--json")
        ended = json.loads(said.out or "{}").get("counts")
        if ended != {"succeeded": TASKS - 1, "failed": 1}:
            scene.wrong(f"with a full disk status tells of {ended}")
    _make_room(scene)


def collect_when_full(scene: Scene) -> None:
    """What is there is whole. (Of a batch whose jobs have ended.)"""
    _fill(scene, 60_000)
    _tells_why(scene, scene.osgbatch("collect", "--no-gather"))
    scene.look()
    scene.check_results_so_far()
    _make_room(scene)


@case("disk full during submit", disk=True, seconds=0.3)
def disk_full_during_submit(scene: Scene) -> None:
    submit_when_full(scene)
    release(scene)


@case("disk full while results and events come", disk=True)
def disk_full_during_return(scene: Scene) -> None:
    scene.submit()
    return_when_full(scene)
    release(scene)


@case("disk full while state.db is written", disk=True, seconds=0.3)
def disk_full_for_state(scene: Scene) -> None:
    scene.submit()
    scene.wait_for_history()
    status_when_full(scene)


@case("disk full during collect", disk=True, seconds=0.3)
def disk_full_during_collect(scene: Scene) -> None:
    scene.submit()
    scene.wait_for_history()
    collect_when_full(scene)


# the clock


@case("clock set back and ahead")
def clock_changed(scene: Scene) -> None:
    """Minutes, hours and days; now and then the schedd must be asked, too, as the log is gone."""
    clock = Clock(scene.folder / "clock")
    trace = scene.folder / "asked"
    scene.env |= clock.environment
    scene.runner = (OTHER_CLOCK, str(trace))
    scene.submit()
    began = time.monotonic()
    watch = scene.start("watch")
    jumps = [-3600, 3600, scene.rng.choice((-86400, 86400)), scene.rng.uniform(-900, 900)]
    scene.rng.shuffle(jumps)
    if scene.rng.random() < 0.3:
        scene.pause(2)
        scene.log.unlink(missing_ok=True)
    for jump in jumps:
        scene.pause(1.5)
        clock.set(jump)
        scene.look()
        scene.osgbatch("collect", "--no-gather", allowed=BUSY)
    scene.end(watch)
    asked = len(trace.read_text().split()) if trace.exists() else 0
    most = 1 + len(jumps) + (time.monotonic() - began) / 60
    if asked > most:
        scene.wrong(f"the schedd was asked {asked} times, and {most:.0f} would do")
