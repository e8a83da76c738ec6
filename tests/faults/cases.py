"""The faults: each is done to a scene at a random moment; then the scene is brought to its end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from functools import partial
from pathlib import Path

from daemons_of import json_of
from registry import BUSY, CANNOT_ASK, CASES, SUBMIT, Case, case, while_watched
from scene import OK_OR_FAILED, Scene

KILL_AT = str(Path(__file__).resolve().parent / "kill_at.py")


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
    before, after = (scene.rng.uniform(0, 0.5) for _ in range(2))
    victim = scene.start(*SUBMIT, path=slow_submit(scene, before, after))
    scene.pause(2.0)
    victim.kill()
    scene.end(victim, allowed=(0, -signal.SIGKILL))
    scene.submit()


@case("condor_submit fails after its work")
def submit_that_fails_late(scene: Scene) -> None:
    """The jobs are in the queue: nothing may say otherwise."""
    said = scene.end(scene.start(*SUBMIT, path=slow_submit(scene, end="1")), allowed=(0,))
    if "it is queued all the same" not in said.err:
        scene.wrong(f"submit does not say that its jobs are queued: {said.err}")
    scene.submitted(Path(json.loads(said.out)["folder"]))


def slow_submit(scene: Scene, before: float = 0, after: float = 0, end: str = "$end") -> str:
    """A folder with a condor_submit that takes so long besides (s), and has another exit code."""
    folder = scene.folder / "bin"
    folder.mkdir()
    program = folder / "condor_submit"
    real = shutil.which("condor_submit")
    program.write_text(
        f'#!/bin/sh\nsleep {before}\n"{real}" "$@"\nend=$?\nsleep {after}\nexit {end}\n'
    )
    program.chmod(0o755)
    return str(folder)


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


def stop_schedd_long(scene: Scene) -> None:
    """For a minute: what the event log does not tell cannot be asked for, and has not failed."""
    scene.daemons.off("schedd")
    began = time.monotonic()
    while time.monotonic() < began + 60:
        scene.look(CANNOT_ASK)
        scene.pause(15, 5)
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
LONG = {"schedd down for a minute during watch": stop_schedd_long}
MOST_OF_LONG = 6
for _name, _hit in {**FOLLOWED, **OF_THE_POOL, **LONG}.items():
    CASES[_name] = Case(
        _name,
        partial(lambda h, s: while_watched(s, h), _hit),
        hit=None if _name in FOLLOWED else _hit,
        seconds=1 if _name in FOLLOWED else 2,
        most=MOST_OF_LONG if _name in LONG else 0,
    )


# others' hands


@case("jobs removed by condor_rm")
def removed_outside(scene: Scene) -> None:
    while_watched(scene, remove_outside)


def remove_outside(scene: Scene) -> None:
    """One job, or all."""
    job = scene.rng.choice((f"{scene.cluster}", f"{scene.cluster}.{scene.rng.randrange(3)}"))
    try_command("condor_rm", job)


@case("a job held and released by hand")
def held_and_released(scene: Scene) -> None:
    while_watched(scene, hold_and_release)


def hold_and_release(scene: Scene) -> None:
    """A watch may end meanwhile, where all that is left is held."""
    job = f"{scene.cluster}.{scene.rng.randrange(3)}"
    try_command("condor_hold", job)
    scene.pause(1.5)
    scene.look(OK_OR_FAILED)
    _until_released(scene, job)


def _until_released(scene: Scene, job: str) -> None:
    """A hold may come only after the release, when the job was just starting."""
    deadline = time.monotonic() + 20
    for _ in range(2):
        try_command("condor_release", job)
        time.sleep(0.5)
    while any(ad["JobStatus"] == 5 for ad in scene.ads()) and time.monotonic() < deadline:
        try_command("condor_release", job)
        time.sleep(0.3)


ENDED_MEANWHILE = ("not found", "ouldn't find", "not held", "already")


def try_command(*command: str) -> None:
    """Run a command of HTCondor on a job that may have ended meanwhile."""
    try:
        json_of(*command)
    except AssertionError as error:
        if not any(words in str(error) for words in ENDED_MEANWHILE):
            raise
