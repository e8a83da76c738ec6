"""Faults of what is done to a batch later: killed at a step, by KILL, and then done again or not.

The rest of a canary, `resubmit`, `release` and `cancel`. Where a watch sees to what was left, the
command is done again only now and then: the watch must get to the end by itself.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cases import KILL_AT, try_command
from registry import BUSY, SUBMIT, case
from scene import Scene

CANARY = (*SUBMIT, "--canary", "1")


def end_canary(scene: Scene) -> None:
    """A batch whose canary has succeeded, and whose rest nobody has submitted yet."""
    scene.submit_so(*CANARY)
    scene.wait_for_history()
    scene.stop()


def end_all(scene: Scene) -> None:
    """A batch in which all have ended, and one task has failed."""
    scene.submit()
    scene.wait_for_history()
    scene.stop()


def hold_all(scene: Scene) -> None:
    """A batch whose jobs are all held, by hand, but for those that have ended before."""
    scene.submit()
    try_command("condor_hold", f"{scene.cluster}")
    deadline = time.monotonic() + 20
    while any(ad["JobStatus"] in (1, 2) for ad in scene.ads()) and time.monotonic() < deadline:
        time.sleep(0.3)


@dataclass(frozen=True)
class Command:
    """A command that is killed. before: brings a scene to where it is given.

    seen_to: whether a watch alone brings what it has left to an end.
    """

    before: Callable[[Scene], object]
    words: tuple[str, ...]
    seen_to: bool = False


COMMANDS: Mapping[str, Command] = {
    "canary's rest": Command(end_canary, SUBMIT, seen_to=True),
    "resubmit": Command(end_all, ("resubmit", "--failed", "--no-watch"), seen_to=True),
    "release": Command(hold_all, ("release",)),
    "cancel": Command(Scene.submit, ("cancel", "--yes")),
}


def killed(scene: Scene, name: str, step: int | str, *, again: bool = True) -> None:
    """Kill a command right before one of its effects, as kill_at.py counts them.

    again: it is given again after that.
    """
    command = COMMANDS[name]
    command.before(scene)
    trace = str(scene.folder / "trace")
    victim = scene.start(str(step), trace, *command.words, runner=(KILL_AT,))
    scene.end(victim, allowed=(0, -signal.SIGKILL))
    if again:
        scene.osgbatch(*command.words, allowed=BUSY)
    assert scene.batch is not None
    scene.submitted(scene.batch)


_steps: dict[str, int] = {}
_counting = threading.Lock()


def steps_of(scene: Scene, name: str) -> int:
    """How many effects a command has that nobody kills, counted once, with a sweep of their own."""
    with _counting:
        if name not in _steps:
            whole = Scene(scene.folder / "whole", scene.daemons, scene.rng, 0.2)
            killed(whole, name, 0, again=False)
            assert not whole.violations, whole.violations
            _steps[name] = len((whole.folder / "trace").read_text().splitlines())
            whole.osgbatch("cancel", "--yes")
        return _steps[name]


def _at_a_step(scene: Scene, name: str) -> None:
    step = scene.rng.randrange(1, 1 + steps_of(scene, name))
    again = not COMMANDS[name].seen_to or scene.rng.random() < 0.5
    killed(scene, name, step, again=again)


@case("canary's rest killed at a step", seconds=0.3)
def rest_killed(scene: Scene) -> None:
    """By `submit`, which goes on with the batch."""
    _at_a_step(scene, "canary's rest")


@case("resubmit killed at a step", seconds=0.3)
def resubmit_killed(scene: Scene) -> None:
    """It runs again the task that has failed."""
    _at_a_step(scene, "resubmit")


@case("release killed at a step")
def release_killed(scene: Scene) -> None:
    """All jobs are held."""
    _at_a_step(scene, "release")


@case("cancel killed at a step")
def cancel_killed(scene: Scene) -> None:
    """While jobs run."""
    _at_a_step(scene, "cancel")
