"""Checks of the programs that make environments and images."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys

from osgbatch.examining.check import (
    OK,
    TOOLS,
    Check,
    Found,
    Here,
    failure,
    ok,
    skipped,
    warning,
)
from osgbatch.packing.container_build import PROGRAMS
from osgbatch.packing.environment.conda_program import VARIABLE, wished_program

ANSWER_S = 10.0
CONDAS = ("conda", "mamba", "micromamba")


def conda(here: Here) -> Found:
    """What makes environments of an environment.yml."""
    if wished := wished_program():
        program = shutil.which(os.path.expanduser(wished))
        if program is None:
            return failure(f"{VARIABLE} names {wished}, which is no program here",
                           "Let it name micromamba, mamba or conda, or unset it.")  # fmt: skip
        return _answers(program, f"${VARIABLE}")
    if importlib.util.find_spec("rattler") is None:
        return failure("the package py-rattler, which installs environments, is not here",
                       f"{sys.executable} -m pip install py-rattler")  # fmt: skip
    there = [name for name in CONDAS if shutil.which(name)]
    also = f"; {', '.join(there)} {'is' if len(there) == 1 else 'are'} here, too" if there else ""
    return ok(f"osgbatch makes environments itself, with py-rattler{also}", programs=there)


def pip(here: Here) -> Found:
    """What installs requirements."""
    if program := shutil.which("uv"):
        return _answers(program, "uv")
    if importlib.util.find_spec("pip") is None:
        return warning("neither uv nor pip is here: requirements cannot be installed",
                       "Install uv, or let `python -m ensurepip` install pip.")  # fmt: skip
    return ok("pip installs requirements (uv would be faster)")


def apptainer(here: Here) -> Found:
    """What builds images."""
    program = next((there for name in PROGRAMS if (there := shutil.which(name))), None)
    if program is None:
        return skipped("neither apptainer nor singularity is here: images cannot be built, "
                       "ready ones can be used")  # fmt: skip
    found = _answers(program, os.path.basename(program))
    if found.state != OK:
        return found
    return ok(f"{found.what}; only building an image would tell whether this machine lets it")


def s3(here: Here) -> Found:
    """The package for buckets."""
    if here.stash.kind != "s3":
        return skipped("the stash is no bucket")
    if importlib.util.find_spec("boto3") is None:
        return failure("the stash is a bucket, and boto3 is not here",
                       "pip install 'osgbatch[s3]'")  # fmt: skip
    return ok("boto3 is here")


def _answers(program: str, name: str) -> Found:
    """Whether a program starts."""
    try:
        done = subprocess.run(
            [program, "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True,
            errors="replace", timeout=ANSWER_S, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        what = getattr(error, "strerror", None) or f"no answer in {ANSWER_S:g} s"
        return warning(f"{name}: {program} does not start: {what}", "Install it anew.")
    said = (done.stdout or done.stderr).strip().splitlines()
    if done.returncode:
        return warning(f"{name}: {program} --version fails: {(said or ['it says nothing'])[-1]}",
                       "Install it anew.")  # fmt: skip
    return ok(f"{said[0] if said else name} ({program})")


CHECKS = (
    Check("conda", TOOLS, "environments can be made of an environment.yml", conda, limit_s=15),
    Check("pip or uv", TOOLS, "environments can be made of requirements", pip, limit_s=15),
    Check(
        "apptainer",
        TOOLS,
        "apptainer, which builds images, is here and starts",
        apptainer,
        limit_s=15,
    ),
    Check("boto3", TOOLS, "buckets can be reached, if the stash is one", s3),
)
