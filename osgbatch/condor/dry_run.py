"""What jobs condor_submit would make of a submit file: its -dry-run, where the command is here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from osgbatch.condor.submit_parser import bindings, quiet_environment

LIMIT_S = 120
_SEVERAL_QUEUES = {"_CONDOR_SUBMIT_PREVENT_MULTI_QUEUE": "false"}
"""Files of older years have several queue statements, which 25.14 refuses without this."""
Evaluate = Callable[[str, Mapping[str, str]], str | None]


def dry_run(file: Path, folder: Path) -> tuple[list[dict[str, str]], str] | None:
    """The ads of all jobs of a submit file, each attribute as the text of its value.

    folder: where it runs, as relative paths start there. Returns the ads and what it said when it
    refused; None where there is no condor_submit. Nothing is submitted, no schedd is asked; what
    the file includes, or takes as items from a program, would be run: the caller sees to that.
    (Seen on 25.14.1: the first job is whole, of the others stands what differs from it.)
    """
    command = shutil.which("condor_submit")
    if command is None:
        return None
    try:
        done = subprocess.run(
            [command, "-dry-run", "-", str(file)], cwd=folder, capture_output=True,
            stdin=subprocess.DEVNULL, timeout=LIMIT_S,
            env=os.environ | quiet_environment() | _SEVERAL_QUEUES,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    ads: list[dict[str, str]] = []
    ad: dict[str, str] = {}
    for line in done.stdout.decode("utf-8", "surrogateescape").splitlines():
        if line == ".":
            ads += [dict(ads[0]) | ad if ads else ad] if "ProcId" in ad else []
            ad = {}
            continue
        found = re.match(r"([A-Za-z_]\w*)=(.*)\Z", line, re.DOTALL)
        if found:
            ad[found[1]] = found[2]
    if "ProcId" in ad:
        ads.append(dict(ads[0]) | ad if ads else ad)
    said = done.stderr.decode("utf-8", "replace").strip() if done.returncode or not ads else ""
    return ads, " ".join(said.split())


def evaluator(text: str) -> Callable[[str, Mapping[str, str]], str | None]:
    """Fills in macros as HTCondor does: of a text, with the variables of a job.

    text: of the submit file, for its macros; without what it includes. The function returned gives
    None where the bindings are not installed, or when HTCondor cannot fill the text in.
    """
    modules = bindings()
    if modules is None:
        return lambda value, variables: None
    try:
        submit = modules[0].Submit(text)
    except Exception:
        return lambda value, variables: None

    def evaluate(value: str, variables: Mapping[str, str]) -> str | None:
        try:
            for name, one in variables.items():
                submit[name] = one
            submit["OSGBatchAsked"] = value
            return str(submit.expand("OSGBatchAsked"))
        except Exception:
            return None

    return evaluate
