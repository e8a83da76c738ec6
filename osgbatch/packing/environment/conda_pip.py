"""The `pip:` section of an environment.yml: installed into the conda environment."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from osgbatch.errors import PackingError
from osgbatch.packing.archive import printable
from osgbatch.packing.environment.install import (
    FOREIGN,
    OPTIONS,
    REDIRECTIONS,
    failure,
    pip_knows_python,
)
from osgbatch.packing.environment.requirements import Line, fingerprint_lines, read_lines

Say = Callable[[str], None]

_INCLUDE = re.compile(r"^(-r|-c|--requirement|--constraint)[\s=]*(.+)$")


def pip_facts(lines: Sequence[Line], folder: Path) -> Iterator[str]:
    """What decides what a `pip:` section installs: its lines, the files and packages they name.

    folder: of the environment.yml. Raises PackingError when a file that they name is not there.
    """
    yield from fingerprint_lines(list(lines), folder)
    for line in lines:
        match = _INCLUDE.match(line.text)
        if match and "://" not in match[2]:
            file = folder / match[2].strip().strip("\"'")
            yield from fingerprint_lines(read_lines(file), folder)


def install_with_pip(
    lines: Sequence[Line], pins: Sequence[str], file: Path, prefix: Path, shop: Path, say: Say
) -> None:
    """Install a `pip:` section: with the environment's own pip, else osgbatch's, else uv.

    pins: versions to hold it to, `name==version`. file: the environment.yml; relative paths start
    from its folder, as with conda. shop: a folder for what is needed meanwhile.
    Raises PackingError with pip's words.
    """
    listed = shop / "pip-section.txt"
    listed.write_text("".join(f"{_absolute(line, file.parent)}\n" for line in lines))
    held = shop / "pip-constraints.txt"
    held.write_text("".join(f"{pin}\n" for pin in pins))
    command = _command(prefix / "bin" / "python", file)
    say(f"installing what {file.name} leaves to pip")
    environment = {k: v for k, v in os.environ.items() if k not in (*REDIRECTIONS, *FOREIGN)}
    environment |= {"PIP_REQUIRE_VIRTUALENV": "0", "PYTHONNOUSERSITE": "1"}
    environment |= {"CONDA_PREFIX": str(prefix)}
    environment["PATH"] = f"{prefix / 'bin'}{os.pathsep}{environment.get('PATH', os.defpath)}"
    done = subprocess.run(
        [*command, "-r", str(listed), "-c", str(held)],
        cwd=file.parent,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        raise failure(done.stdout, file)


def _absolute(line: Line, folder: Path) -> str:
    """A line whose included file is named from the root: the section is read from elsewhere."""
    match = _INCLUDE.match(line.text)
    if not match or "://" in match[2]:
        return line.text
    path = folder / match[2].strip().strip("\"'")
    return f"{match[1]} {shlex.quote(str(path))}"


def _command(python: Path, file: Path) -> list[str]:
    if any(python.parent.parent.glob("lib/python3.*/site-packages/pip/__main__.py")):
        return [str(python), "-m", "pip", "install", "--no-user", *OPTIONS]
    try:
        version = importlib.metadata.version("pip")
    except importlib.metadata.PackageNotFoundError:
        version = ""
    if pip_knows_python(version):
        own = [sys.executable, "-m", "pip", "--python", str(python)]
        return [*own, "install", "--no-user", *OPTIONS]
    uv = shutil.which("uv")
    if uv:
        return [uv, "pip", "install", "--python", str(python)]
    raise PackingError(
        "there is no pip in the environment for its pip: section",
        where=printable(str(file)),
        fix="Add `- pip` to the dependencies.",
    )
