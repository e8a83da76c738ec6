"""The faults: each is done to a scene at a random moment; then the scene is brought to its end."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from daemons_of import Daemons, json_of
from scene import OK_OR_FAILED, Scene

KILL_AT = str(Path(__file__).resolve().parent / "kill_at.py")
SUBMIT = ("submit", "sweep.yaml", "--pool", "condor", "--no-watch", "--json")
CANNOT_ASK = (0, 1, 5)
"""Exit codes of a command that may need a schedd that is down."""
BUSY = (0, 1, 6)
"""Exit codes of a command that another osgbatch may keep from working."""


@dataclass(frozen=True)
class Case:
    """A fault. pool: it strikes the whole pool, so nothing else may use that meanwhile."""

    name: str
    strike: Callable[[Scene], None]
    pool: bool = False
    seconds: float = 1.0


CASES: dict[str, Case] = {}


def case(
    name: str, *, pool: bool = False, seconds: float = 1.0
) -> Callable[[Callable[[Scene], None]], Callable[[Scene], None]]:
    """Enter a function as a fault. seconds: about how long the tasks take, each."""

    def enter(strike: Callable[[Scene], None]) -> Callable[[Scene], None]:
        CASES[name] = Case(name, strike, pool, seconds)
        return strike

    return enter


def run_together(
    name: str, folders: Sequence[Path], daemons: Daemons, seeds: Sequence[int]
) -> list[list[str]]:
    """A fault of the whole pool strikes several batches at once; gives the violations of each."""
    seconds = CASES[name].seconds
    scenes = [
        Scene(folder, daemons, random.Random(seed), seconds)
        for folder, seed in zip(folders, seeds, strict=True)
    ]

    def finish(scene: Scene, watch: subprocess.Popen[str]) -> None:
        scene.end(watch)
        scene.finish()

    with ThreadPoolExecutor(len(scenes)) as several:
        try:
            list(several.map(Scene.submit, scenes))
            watches = [scene.start("watch") for scene in scenes]
            scenes[0].pause(4)
            OF_THE_POOL[name](scenes[0])
            list(several.map(finish, scenes, watches))
        except AssertionError as error:
            scenes[0].wrong(str(error))
    return [scene.violations for scene in scenes]


def run(name: str, folder: Path, daemons: Daemons, seed: int) -> list[str]:
    """One run of a fault in a new folder; gives the violations."""
    chosen = CASES[name]
    scene = Scene(folder, daemons, random.Random(seed), chosen.seconds)
    try:
        chosen.strike(scene)
        scene.finish()
    except AssertionError as error:
        scene.wrong(str(error))
    return scene.violations


# submit, killed


@case("submit killed at a step")
def submit_killed_at_a_step(scene: Scene) -> None:
    """Right before any of its effects: a file written, a rename, a program started."""
    submit_killed(scene, scene.rng.randrange(1, 1 + len(steps_of_submit(scene))))


def submit_killed(scene: Scene, step: int | str) -> None:
    """Kill submit right before one of its effects, as kill_at.py counts them; then submit again."""
    trace = str(scene.folder / "trace")
    killed = scene.start(str(step), trace, *SUBMIT, runner=(KILL_AT,))
    scene.end(killed, allowed=(0, -signal.SIGKILL))
    scene.submit()


_steps: list[str] = []
_counting = threading.Lock()


def steps_of_submit(scene: Scene) -> list[str]:
    """The effects of a submit that nobody kills, counted once, with a sweep of their own."""
    with _counting:
        if not _steps:
            whole = Scene(scene.folder / "whole", scene.daemons, scene.rng, 0.1)
            trace = whole.folder / "trace"
            whole.end(whole.start("0", str(trace), *SUBMIT, runner=(KILL_AT,)), allowed=(0,))
            assert not whole.violations, whole.violations
            _steps.extend(trace.read_text().splitlines())
        return _steps


@case("submit killed at a random time")
def submit_killed_at_a_time(scene: Scene) -> None:
    """condor_submit takes a while here, before and after its work, and outlives its parent."""
    slow = scene.folder / "bin"
    slow.mkdir()
    program = slow / "condor_submit"
    before, after = (scene.rng.uniform(0, 0.5) for _ in range(2))
    real = shutil.which("condor_submit")
    program.write_text(
        f'#!/bin/sh\nsleep {before}\n"{real}" "$@"\nend=$?\nsleep {after}\nexit $end\n'
    )
    program.chmod(0o755)
    victim = scene.start(*SUBMIT, path=str(slow))
    scene.pause(2.0)
    victim.kill()
    scene.end(victim, allowed=(0, -signal.SIGKILL))
    scene.submit()


# what a fault does to a batch that is followed


def kill_schedd(scene: Scene) -> None:
    """The master starts it again."""
    scene.daemons.kill("condor_schedd")
    scene.look(CANNOT_ASK)
    scene.daemons.wait()


def stop_schedd(scene: Scene) -> None:
    scene.daemons.off("schedd")
    scene.look(CANNOT_ASK)
    scene.pause(3, 1)
    scene.daemons.on("schedd")


def stop_pool(scene: Scene) -> None:
    scene.daemons.stop_all()
    scene.look(CANNOT_ASK)
    scene.daemons.start_all()


def kill_startd(scene: Scene) -> None:
    """And with it the jobs that run."""
    scene.daemons.kill("condor_startd", "condor_starter")
    scene.look()
    scene.daemons.wait()


def truncate_log(scene: Scene) -> None:
    """To nothing, or somewhere in the middle of an event."""
    if scene.log.exists():
        os.truncate(scene.log, _somewhere(scene, scene.log))
    scene.look()


def delete_log(scene: Scene) -> None:
    scene.log.unlink(missing_ok=True)
    scene.look()


def lock_log(scene: Scene) -> None:
    """It cannot be read for a while; HTCondor can still write it."""
    if not scene.log.exists():  # struck before
        return
    scene.log.chmod(0o200)
    try:
        scene.look()
        scene.pause(2)
        scene.look()
    finally:
        scene.log.chmod(0o644)


def delete_state(scene: Scene) -> None:
    _state(scene).unlink(missing_ok=True)
    scene.look()


def spoil_state(scene: Scene) -> None:
    """Garbage from anywhere to the end, or all of it."""
    path = _state(scene)
    size = path.stat().st_size if path.exists() else 0
    with path.open("r+b" if size else "wb") as stream:
        stream.seek(_somewhere(scene, path))
        stream.write(scene.rng.randbytes(max(size, 5000)))
    scene.look()


def kill_looks(scene: Scene) -> None:
    """KILL to a watch, and to a collect."""
    for arguments in (("watch",), ("collect", "--no-gather"), ("collect", "--no-gather")):
        victim = scene.start(*arguments)
        scene.pause(1.2, 0.2)
        victim.kill()
        scene.end(victim, allowed=(0, 1, 6, -signal.SIGKILL))


def look_twice(scene: Scene) -> None:
    """Another watch, and two collects at once: one of these may find the batch busy."""
    several = [scene.start("collect", "--no-gather") for _ in range(2)]
    for process in (*several, scene.start("watch")):
        scene.end(process, BUSY)


def _somewhere(scene: Scene, path: Path) -> int:
    return scene.rng.choice((0, scene.rng.randrange(path.stat().st_size + 1)))


def _state(scene: Scene) -> Path:
    assert scene.batch is not None
    return scene.batch / "state.db"


def while_watched(scene: Scene, *hits: Callable[[Scene], object], most: float = 4) -> None:
    """Strike at random moments while a watch goes on, which must get to the end by itself.

    most: seconds before each.
    """
    scene.submit()
    watch = scene.start("watch")
    for hit in hits:
        scene.pause(most)
        hit(scene)
    scene.end(watch)


FOLLOWED = {
    "watch killed, then collect killed": kill_looks,
    "event log truncated": truncate_log,
    "event log deleted": delete_log,
    "event log unreadable for a while": lock_log,
    "state.db deleted": delete_state,
    "state.db overwritten by garbage": spoil_state,
    "two watch and collect the same batch": look_twice,
}
OF_THE_POOL = {
    "schedd killed": kill_schedd,
    "schedd down during watch": stop_schedd,
    "whole pool stopped and started": stop_pool,
    "startd killed, jobs evicted": kill_startd,
}
for _name, _hit in {**FOLLOWED, **OF_THE_POOL}.items():
    _pool = _name in OF_THE_POOL
    case(_name, pool=_pool, seconds=2 if _pool else 1)(
        partial(lambda h, s: while_watched(s, h), _hit)
    )


# others' hands


@case("jobs removed by condor_rm")
def removed_outside(scene: Scene) -> None:
    while_watched(scene, remove_outside)


def remove_outside(scene: Scene) -> None:
    """One job, or all."""
    job = scene.rng.choice((f"{scene.cluster}", f"{scene.cluster}.{scene.rng.randrange(3)}"))
    _try("condor_rm", job)


@case("a job held and released by hand")
def held_and_released(scene: Scene) -> None:
    while_watched(scene, hold_and_release)


def hold_and_release(scene: Scene) -> None:
    """A watch may end meanwhile, where all that is left is held."""
    job = f"{scene.cluster}.{scene.rng.randrange(3)}"
    _try("condor_hold", job)
    scene.pause(1.5)
    scene.look(OK_OR_FAILED)
    _until_released(scene, job)


def _until_released(scene: Scene, job: str) -> None:
    """A hold may come only after the release, when the job was just starting."""
    deadline = time.monotonic() + 20
    for _ in range(2):
        _try("condor_release", job)
        time.sleep(0.5)
    while any(ad["JobStatus"] == 5 for ad in scene.ads()) and time.monotonic() < deadline:
        _try("condor_release", job)
        time.sleep(0.3)


ENDED_MEANWHILE = ("not found", "ouldn't find", "not held", "already")


def _try(*command: str) -> None:
    """Run a command of HTCondor on a job that may have ended meanwhile."""
    try:
        json_of(*command)
    except AssertionError as error:
        if not any(words in str(error) for words in ENDED_MEANWHILE):
            raise
