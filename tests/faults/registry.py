"""The table of faults, and how one is done to a batch."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from daemons_of import Daemons
from disks import Disk, small_disk
from scene import Scene

SUBMIT = ("submit", "sweep.yaml", "--pool", "condor", "--no-watch", "--json")
CANNOT_ASK = (0, 1, 5)
"""Exit codes of a command that may need a schedd that is down."""
BUSY = (0, 1, 6)
"""Exit codes of a command that another osgbatch may keep from working."""


@dataclass(frozen=True)
class Case:
    """A fault. strike: does it to a scene from its submission on.

    hit: what strikes the whole pool, so that nothing else may use that meanwhile; seconds: about
    how long the tasks take, each; disk: the batch lies on a small disk; most: runs, however many
    are asked for, as each takes long (0: as many). scene: makes what it is done to.
    """

    name: str
    strike: Callable[[Scene], None]
    hit: Callable[[Scene], object] | None = None
    seconds: float = 1.0
    disk: bool = False
    most: int = 0
    scene: Callable[..., Scene] = Scene


CASES: dict[str, Case] = {}


def case(
    name: str,
    *,
    seconds: float = 1.0,
    disk: bool = False,
    scene: Callable[..., Scene] = Scene,
) -> Callable[[Callable[[Scene], None]], Callable[[Scene], None]]:
    """Enter a function as a fault: see Case."""

    def enter(strike: Callable[[Scene], None]) -> Callable[[Scene], None]:
        CASES[name] = Case(name, strike, seconds=seconds, disk=disk, scene=scene)
        return strike

    return enter


def run_together(
    name: str, folders: Sequence[Path], daemons: Daemons, seeds: Sequence[int]
) -> list[list[str]]:
    """A fault of the whole pool strikes several batches at once; gives the violations of each."""
    hit, seconds = CASES[name].hit, CASES[name].seconds
    assert hit
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
            hit(scenes[0])
            list(several.map(finish, scenes, watches))
        except AssertionError as error:
            scenes[0].wrong(str(error))
    return [scene.violations for scene in scenes]


def run(name: str, folder: Path, daemons: Daemons, seed: int) -> list[str]:
    """One run of a fault in a new folder; gives the violations."""
    chosen = CASES[name]
    if not chosen.disk:
        return _run(chosen, chosen.scene(folder, daemons, random.Random(seed), chosen.seconds))
    folder.mkdir(parents=True)
    with small_disk() as disk:
        scene = on_disk(disk, daemons, random.Random(seed), chosen.seconds, folder / "ledger")
        found = _run(chosen, scene)
        if found:
            shutil.copytree(disk.path, folder, dirs_exist_ok=True)
        return found


def on_disk(
    disk: Disk, daemons: Daemons, rng: random.Random, seconds: float, ledger: Path
) -> Scene:
    """A scene on a small disk; ledger: a file elsewhere."""
    return Scene(disk.path / "s", daemons, rng, seconds, disk=disk, ledger=ledger)


def _run(chosen: Case, scene: Scene) -> list[str]:
    try:
        chosen.strike(scene)
        scene.finish()
    except AssertionError as error:
        scene.wrong(str(error))
    return scene.violations


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
