"""Runs the user's gather script once, over all results, in the sweep's own environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from osgbatch.errors import OsgbatchError


class GatherError(OsgbatchError):
    """The gather script failed."""

    exit_code = 1


def run_gather(
    script: Path,
    results: Path,
    *,
    spec_folder: Path,
    batch_folder: Path,
    environment: Path | None,
    libraries: Sequence[Path],
    stdout_to_stderr: bool = False,
) -> None:
    """Run a Python script with `results/` as its working folder; its output goes to the terminal.

    environment: the archive of the sweep's environment, unpacked for the run into a temporary
    folder; None, or one without Python (R alone), is the interpreter that runs osgbatch.
    libraries: archives put on PYTHONPATH.
    stdout_to_stderr: what it prints goes to stderr, where stdout is osgbatch's own (`--json`).
    Raises GatherError when it fails.
    """
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="osgbatch-gather-")))
        python = sys.executable
        if environment is not None:
            _unpack(environment, scratch / "env")
            _put_right(scratch / "env", environment)
            own = scratch / "env" / "bin" / "python"
            python = str(own) if own.exists() else python
        for archive in libraries:
            _unpack(archive, scratch / "lib")
        variables = _clean(os.environ)
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
        done = subprocess.run(
            [python, str(script)],
            cwd=results,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=2 if stdout_to_stderr else None,
            check=False,
        )
    if done.returncode:
        said = (
            f"was killed by signal {-done.returncode}"
            if done.returncode < 0
            else f"exited with {done.returncode}"
        )
        raise GatherError(
            f"the gather script {said}",
            where=str(script),
            fix="The results are in place; mend the script and run `osgbatch collect` again.",
        )


def _put_right(root: Path, archive: Path) -> None:
    """Let a conda environment write its new path into its files, as the shim does."""
    program = root / "bin" / "conda-unpack"
    if not program.exists():
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
    """Unpack an archive that osgbatch itself made."""
    folder.mkdir(parents=True, exist_ok=True)
    if shutil.which("tar"):
        subprocess.run(["tar", "-xzf", str(archive), "-C", str(folder)], check=True)
        return
    with tarfile.open(archive) as tar:
        tar.extractall(folder)
