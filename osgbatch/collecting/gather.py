"""Runs the user's gather script or function over all results, in the sweep's own environment."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from osgbatch.errors import OsgbatchError


class GatherError(OsgbatchError):
    """The gather script failed."""

    exit_code = 1


@dataclass(frozen=True)
class Call:
    """A function that gathers, and what it is given.

    driver: the program that calls it. rows: of each task its folder in `results/` (None: it has
    none) and its row, as JSON can write it. folders: where its module may be.
    """

    module: str
    name: str
    driver: Path
    rows: Iterable[tuple[str | None, Mapping[str, Any]]]
    folders: Sequence[Path]


def run_gather(
    script: Path | Call,
    results: Path,
    *,
    spec_folder: Path,
    batch_folder: Path,
    environment: Path | None,
    libraries: Sequence[Path],
    stdout_to_stderr: bool = False,
) -> None:
    """Run a script with `results/` as its working folder; its output goes to the terminal.

    script: of R where its name ends in `.R`, else of Python; or a function of Python's.
    environment: the archive of the sweep's environment, unpacked for the run into a temporary
    folder; None, or one without Python (R alone), is the interpreter that runs osgbatch. A script
    of R's needs one that has R.
    libraries: archives put on PYTHONPATH.
    stdout_to_stderr: what it prints goes to stderr, where stdout is osgbatch's own (`--json`).
    Raises GatherError when it fails, or cannot be started.
    """
    with ExitStack() as stack:
        try:
            folder = tempfile.TemporaryDirectory(prefix="osgbatch-gather-")
        except OSError as error:
            raise GatherError(
                f"no temporary folder can be made for the gather script: {error.strerror}",
                where=str(script),
                fix=_ROOM,
            ) from error
        scratch = Path(stack.enter_context(folder))
        if environment is not None:
            _unpack(environment, scratch / "env")
            _put_right(scratch / "env", environment)
        for archive in libraries:
            _unpack(archive, scratch / "lib")
        command = _command(script, scratch)
        variables = _clean(os.environ)
        if isinstance(script, Path) and is_of_r(script):
            variables = _for_r(variables, scratch / "env")
        variables |= {
            "PYTHONNOUSERSITE": "1",
            "PYTHONPATH": str(scratch / "lib") if libraries else "",
            "MPLCONFIGDIR": str(scratch),
            "OSGBATCH_SPEC_DIR": str(spec_folder),
            "OSGBATCH_BATCH_DIR": str(batch_folder),
            # Access points are shared: one thread unless the user says otherwise.
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
        }
        if not libraries:
            del variables["PYTHONPATH"]
        try:
            done = subprocess.run(
                command,
                cwd=results,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=2 if stdout_to_stderr else None,
                check=False,
            )
        except OSError as error:
            raise GatherError(
                f"{command[0]} cannot be started: {error.strerror}",
                where=_told(script),
                fix="The results are in place. Pack the environment anew and submit, or run the "
                "script by hand.",
            ) from error
    if done.returncode:
        said = (
            f"was killed by signal {-done.returncode}"
            if done.returncode < 0
            else f"exited with {done.returncode}"
        )
        what = "script" if isinstance(script, Path) else "function"
        raise GatherError(
            f"the gather {what} {said}",
            where=_told(script),
            fix=f"The results are in place; mend the {what} and run `osgbatch collect` again.",
        )


_ROOM = (
    "The results are in place. Let TMPDIR name a folder with more room, and run `osgbatch collect` "
    "again."
)


def _told(script: Path | Call) -> str:
    return str(script) if isinstance(script, Path) else f"{script.module}:{script.name}"


def _command(script: Path | Call, scratch: Path) -> list[str]:
    """What is run. scratch: with the unpacked environment in `env`."""
    if isinstance(script, Path):
        return [*_interpreter(script, scratch / "env"), str(script)]
    rows = scratch / "rows.jsonl"
    try:
        write_rows(rows, script.rows)
    except OSError as error:
        raise GatherError(
            f"the results cannot be written down for gather: {error.strerror}",
            where=str(rows),
            fix=_ROOM,
        ) from error
    words = [str(rows), script.module, script.name, *map(str, script.folders)]
    return [*_interpreter(script.driver, scratch / "env"), str(script.driver), *words]


def write_rows(path: Path, rows: Iterable[tuple[str | None, Mapping[str, Any]]]) -> None:
    """Write the rows that a function is given, a line each."""
    with path.open("w", encoding="ascii") as stream:
        stream.writelines(json.dumps(row) + "\n" for row in rows)


def is_of_r(script: Path) -> bool:
    """Whether R runs a script, by its name, as in a task."""
    return script.suffix in (".R", ".r")


def _interpreter(script: Path, environment: Path) -> list[str]:
    """What starts a script. environment: the unpacked one, if there is one."""
    if not is_of_r(script):
        own = environment / "bin" / "python"
        return [str(own) if own.exists() else sys.executable]
    own = environment / "bin" / "Rscript"
    if own.exists():
        return [str(own)]
    raise GatherError(
        "the sweep's environment has no R to run this with",
        where=str(script),
        fix="The results are in place: run the script in the folder results/ by hand. For the next "
        "sweep, name r-base in environment.yml.",
    )


_OTHER_R = (
    *("R_HOME", "RHOME", "R_LIBS", "R_LIBS_SITE", "R_ENVIRON", "R_PROFILE", "R_ARCH"),
    "R_DEFAULT_PACKAGES",
)


def _for_r(variables: dict[str, str], environment: Path) -> dict[str, str]:
    """As in a task: R sees the packages of its own, and no settings of the home folder.

    Nor of the working folder, which is `results/`: what is there has come from elsewhere.
    """
    return {name: value for name, value in variables.items() if name not in _OTHER_R} | {
        "PATH": f"{environment}/bin:{os.environ.get('PATH', '/usr/bin:/bin')}",
        "CONDA_PREFIX": str(environment),
        "R_LIBS_USER": "NULL",
        "R_ENVIRON_USER": "",
        "R_PROFILE_USER": "",
    }


def _put_right(root: Path, archive: Path) -> None:
    """Let a conda environment write its new path into its files, as the shim does."""
    program = root / "bin" / "conda-unpack"
    if not os.access(program, os.X_OK):
        return
    done = subprocess.run(
        [str(program)],
        # conda-pack's own starts with `env python`
        env=_clean(os.environ) | {"PATH": f"{root}/bin:{os.environ.get('PATH', '/usr/bin:/bin')}"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise GatherError(
            f"the environment for the gather script cannot be put right: {done.stdout.strip()}",
            where=str(archive),
            fix="The results are in place; see that there is room for temporary files, and run "
            "`osgbatch collect` again.",
        )


def _clean(variables: os._Environ[str]) -> dict[str, str]:
    dropped = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "VIRTUAL_ENV", "LD_LIBRARY_PATH")
    return {name: value for name, value in variables.items() if name not in dropped}


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack an archive that osgbatch itself made. Raises GatherError with what tar says."""
    said = ""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if shutil.which("tar"):
            command = ["tar", "-xzf", str(archive), "-C", str(folder)]
            done = subprocess.run(
                command, capture_output=True, text=True, errors="replace", check=False
            )
            if done.returncode:
                lines = [line for line in done.stderr.splitlines() if _TELLING.search(line)]
                said = lines[-1] if lines else f"tar exited with {done.returncode}"
        else:
            with tarfile.open(archive) as tar:
                tar.extractall(folder)
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        said = str(error)
    if _FULL.search(said):
        said = f"no space is left in {folder.parent} ({said})"
    if said:
        raise GatherError(
            f"it cannot be unpacked for gather: {said}", where=str(archive), fix=_ROOM
        )


_TELLING = re.compile(
    r"^(?!.*(exiting with failure|exiting now|child returned)).*\S", re.IGNORECASE
)
"""Lines of tar's that say what is wrong; the last ones only say that something was."""
_FULL = re.compile(r"no space left on device|wrote only \d+ of \d+|quota exceeded", re.IGNORECASE)
