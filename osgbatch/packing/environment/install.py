"""Installs requirements into a throw-away virtual environment, with whichever pip is here."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from osgbatch.errors import PackingError
from osgbatch.packing.archive import printable
from osgbatch.packing.environment.interpreter import Interpreter
from osgbatch.urls import without_login

Say = Callable[[str], None]

OPTIONS = ("--no-compile", "--no-input", "--disable-pip-version-check", "--progress-bar=off")
REDIRECTIONS = ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER", "PIP_PYTHON", "PIP_DRY_RUN")
"""Settings of the user's that would send packages elsewhere; all others (index, proxy …) count."""
QUOTES = "'\""
FOREIGN = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")


def make_venv(python: Interpreter, folder: Path) -> Path:
    """Make an empty virtual environment; returns its python. Raises PackingError."""
    done = _run([str(python.executable), "-I", "-m", "venv", "--without-pip", str(folder)], None)
    if done.returncode != 0:
        raise PackingError(
            f"no virtual environment can be made: {_last_line(done.stdout)}",
            where=str(python.executable),
            fix="Install the venv module of this Python (on Debian: apt install python3-venv).",
        )
    own = Path(sys.prefix) / "pip.conf"
    if sys.prefix != sys.base_prefix and own.is_file():
        shutil.copy(own, folder / "pip.conf")
    return folder / "bin" / "python"


def install(
    requirements: Path,
    venv_python: Path,
    python: Interpreter,
    say: Say,
    named: Path | None = None,
) -> None:
    """Install a requirements file into a virtual environment.

    pip runs in the folder of the file, so that relative paths in it mean what they say there, and
    with the user's own configuration. named: the file of the user's that it was made from.
    Raises PackingError with pip's words.
    """
    named = named or requirements
    name, command = _installer(venv_python, python)
    say(f"installing {named.name} with {name}")
    options = [] if name == "uv" else list(OPTIONS)
    done = _run([*command, *options, "-r", requirements.name], requirements.parent)
    if done.returncode != 0:
        raise failure(done.stdout, named)


def run_uv(command: list[str], folder: Path, file: Path, what: str) -> None:
    """Run uv. file: of the user's, what: was to be done with it, for PackingError."""
    done = _run(command, folder)
    if done.returncode != 0:
        said = without_login(done.stdout.strip())
        raise PackingError(
            f"uv could not {what}",
            where=printable(str(file)),
            fix="uv says:\n  " + "\n  ".join(said.splitlines()[-6:]),
        )


def _installer(venv_python: Path, python: Interpreter) -> tuple[str, list[str]]:
    """The first that is here: osgbatch's own pip, the interpreter's, its ensurepip, uv."""
    target = ["--python", str(venv_python)]
    try:
        version = importlib.metadata.version("pip")
    except importlib.metadata.PackageNotFoundError:
        version = ""
    if pip_knows_python(version):
        return f"pip {version}", [sys.executable, "-m", "pip", *target, "install", "--no-user"]
    for base in _other_pythons(venv_python, python):
        done = _run([str(base), "-I", "-m", "pip", "--version"], None)
        match = re.match(r"pip (\S+)", done.stdout)
        if done.returncode == 0 and match and pip_knows_python(match[1]):
            return f"pip {match[1]}", [str(base), "-m", "pip", *target, "install", "--no-user"]
    uv = shutil.which("uv")
    if uv:
        return "uv", [uv, "pip", "install", *target]
    raise PackingError(
        "there is no pip to install the requirements with",
        where=sys.executable,
        fix="`python -m ensurepip`, or install pip or uv (on Debian: apt install python3-pip).",
    )


def _other_pythons(venv_python: Path, python: Interpreter) -> Iterator[Path]:
    yield python.executable
    helper = venv_python.parent.parent.with_name("pip")
    if _run([str(python.executable), "-I", "-m", "venv", str(helper)], None).returncode == 0:
        yield helper / "bin" / "python"


def pip_knows_python(version: str) -> bool:
    """Whether a pip has the option --python: 22.3 and newer."""
    match = re.match(r"(\d+)\.(\d+)", version)
    return match is not None and (int(match[1]), int(match[2])) >= (22, 3)


def _run(command: list[str], folder: Path | None) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k not in (*REDIRECTIONS, *FOREIGN)}
    environment["PIP_REQUIRE_VIRTUALENV"] = "0"
    environment["PYTHONNOUSERSITE"] = "1"
    return subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )


def failure(output: str, requirements: Path) -> PackingError:
    """What pip said, as an error that names the requirement and the way out. Pure."""
    text = without_login(output)
    lines = [line for line in text.splitlines() if line.strip()]
    tail = "\n  ".join(_reason(lines) or lines[-6:])
    where = printable(str(requirements))
    missing = re.search(r"No matching distribution found for (.+)", text)
    if missing:
        name = missing[1].strip()
        nearest = re.search(r"\(from versions: (.*)\)", text)
        known = nearest[1].split(", ") if nearest else []
        if known and known != ["none"]:
            fix = f"There are, for this Python: {', '.join(known[-5:])}."
        else:
            fix = "Check the name, and that pip reaches its index: `pip config list`."
        return PackingError(f"pip finds no {name}", where=where, fix=fix)
    invalid = re.search(r"ERROR: Invalid requirement: (.+)", text)
    if invalid:
        return PackingError(
            f"pip does not understand {invalid[1].strip()}",
            where=where,
            fix="A line is a name, `==` and a version; comments start with #.",
        )
    conflict = re.search(r"Cannot install (.+) because", text)
    if conflict:
        return PackingError(
            f"pip cannot install together: {conflict[1].strip()}",
            where=where,
            fix=f"Loosen one of the versions. pip says:\n  {tail}",
        )
    built = re.search(r"(?:Failed to build|Failed building wheel for|subprocess.*for) (\S+)", text)
    if built is None and "subprocess-exited-with-error" in text:  # older pips do not name it
        begun = text.partition("subprocess-exited-with-error")[0]
        built = next(reversed(list(re.finditer(r"Collecting (\S+)", begun))), None)
    if built:
        return PackingError(
            f"pip cannot build {built[1].strip(QUOTES)}",
            where=where,
            fix=f"Choose a version that has a wheel for this Python. pip says:\n  {tail}",
        )
    return PackingError("pip failed", where=where, fix=f"pip says:\n  {tail}")


def _reason(lines: list[str]) -> list[str]:
    """What a failed build printed itself, once, without pip's frame around it.

    Of a traceback its end; of other long outputs the middle is left out.
    """
    frame = [n for n, line in enumerate(lines) if re.search(r"\[\d+ lines? of output\]", line)]
    if not frame:
        return []
    ends = (n for n, line in enumerate(lines) if n > frame[0] and "[end of output]" in line)
    said = [line.strip() for line in lines[frame[0] + 1 : next(ends, len(lines))]]
    if any(line.startswith("Traceback (") for line in said):
        return said[-8:]
    return said if len(said) <= 13 else [*said[:4], "…", *said[-8:]]


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2]
