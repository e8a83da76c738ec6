"""A job of the local runner in a container: how apptainer is called, as HTCondor calls it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from osgbatch.errors import OsgbatchError
from osgbatch.local.record import Work

INSIDE = "/srv"
"""Where a job finds its scratch folder, as on the OSPool."""
MOUNTS = ("/inputs", "/related", "/outputs")
"""Folders of the scratch folder that the shim shows a task's files in."""
_PROGRAMS = ("apptainer", "singularity")


def check(work: Work) -> None:
    """Refuse, before anything runs, jobs in a container that this machine cannot start.

    Raises OsgbatchError.
    """
    if not work.in_container:
        return
    if not work.image:
        raise OsgbatchError(
            "the local runner runs images that are files (.sif) on this machine, not URLs",
            fix="Use --pool condor, or make a file of it: apptainer pull image.sif URL",
        )
    check_program()


def check_program() -> None:
    """Raises OsgbatchError when this machine has no program that starts containers."""
    if _program() is None:
        raise OsgbatchError(
            "the sweep runs in a container, and there is no apptainer on this machine",
            fix="Use --pool condor, or install apptainer.",
        )


def command(image: Path, scratch: Path, gpus: int, argv: list[str]) -> list[str]:
    """The command line that runs argv in the image, in the scratch folder, seeing nothing else.

    argv: the program by its name in the scratch folder, and its arguments. Raises OSError.
    """
    program = _program()
    if program is None:
        raise FileNotFoundError(2, "No such file or directory", _PROGRAMS[0])
    words = [program, "-s", "exec", "--containall", "--home", f"{scratch}:{INSIDE}"]
    words += ["--pwd", INSIDE, "--workdir", str(scratch)]
    words += [word for place in MOUNTS for word in ("--scratch", place)]
    words += ["--nv"] if gpus else []
    return [*words, str(image), f"{INSIDE}/{argv[0]}", *argv[1:]]


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The environment to start `command` in, from that of the job in its container.

    The image has a PATH of its own.
    """
    inside = {k: v for k, v in variables.items() if k != "PATH"}
    outside = {k: os.environ[k] for k in ("PATH", "HOME", "LANG", "TMPDIR") if k in os.environ}
    return {**outside, **{f"APPTAINERENV_{k}": v for k, v in inside.items()}}


def _program() -> str | None:
    return next((found for name in _PROGRAMS if (found := shutil.which(name))), None)
