"""Installs conda packages with the user's own micromamba, mamba or conda, where that is wished."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import yaml

from osgbatch.errors import PackingError
from osgbatch.packing.archive import printable
from osgbatch.packing.environment.conda_check import installed_records
from osgbatch.packing.environment.conda_lock import Package
from osgbatch.packing.environment.conda_spec import CondaSpec
from osgbatch.urls import without_login

VARIABLE = "OSGBATCH_CONDA"
"""Names the program; without it osgbatch solves and installs by itself."""

Say = Callable[[str], None]


def wished_program() -> str:
    """The user's program, as it was named; empty when none was."""
    return os.environ.get(VARIABLE, "")


def create_with_program(
    spec: CondaSpec, prefix: Path, shop: Path, say: Say
) -> tuple[list[Package], list[str]]:
    """Let the user's program make the environment, with Python in it.

    shop: a folder for what is needed meanwhile. Returns the packages, and notes for the user.
    Raises PackingError with the program's words.
    """
    program = shutil.which(os.path.expanduser(wished_program()))
    if program is None:
        raise PackingError(
            f"{printable(wished_program())} is no program here",
            where=VARIABLE,
            fix="Let it name micromamba, mamba or conda, or unset it.",
        )
    notes = list(spec.notes)
    specs = list(spec.specs)
    is_r = any(name == "r-base" or name.startswith("r-") for name in spec.names)
    if "python" not in spec.names and (spec.pip or not is_r):  # R alone is put right by sh
        specs.append("python")
        notes.append("Python was added, which puts the environment right where it is unpacked")
    file = shop / "conda.yml"
    channels = [*spec.channels, "nodefaults"]
    file.write_text(yaml.safe_dump({"channels": channels, "dependencies": specs}))
    file.chmod(0o600)  # a channel's address may have a password
    say(f"letting {Path(program).name} make the environment")
    small = Path(program).name.startswith("micromamba")
    how = ["create", "--yes"] if small else ["env", "create"]
    done = subprocess.run(
        [program, *how, "--prefix", str(prefix), "--file", str(file)],
        cwd=spec.file.parent,
        env=os.environ | {"CONDA_ALWAYS_YES": "true"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        lines = [line for line in without_login(done.stdout).splitlines() if line.strip()]
        said = "\n  ".join(lines[-20:])
        raise PackingError(
            f"{Path(program).name} cannot make the environment",
            where=printable(str(spec.file)),
            fix=f"It says:\n  {said}",
        )
    return installed_packages(prefix), notes


def installed_packages(prefix: Path) -> list[Package]:
    """The packages of an environment, by its own records. Raises PackingError."""
    found = []
    for record in installed_records(prefix).values():
        try:
            name, version, build = (record[key] for key in ("name", "version", "build"))
        except KeyError as error:
            raise PackingError(
                f"the record of a package lacks its {error}: {json.dumps(record)[:80]}",
                where=printable(str(prefix)),
            ) from error
        url, sha256 = record.get("url") or "", record.get("sha256") or ""
        found.append(Package(name, version, build, without_login(url), sha256))
    return sorted(found, key=lambda one: one.name)
