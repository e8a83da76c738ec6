"""The gather script: where it runs, in which environment, and where its words go."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from osgbatch.collecting.gather import GatherError, run_gather


@pytest.mark.parametrize("to_stderr", [False, True])
def test_what_gather_prints_stays_out_of_json(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], to_stderr: bool
) -> None:
    script = tmp_path / "gather.py"
    script.write_text("print('from gather')\n")
    run_gather(
        script,
        tmp_path,
        spec_folder=tmp_path,
        batch_folder=tmp_path,
        environment=None,
        libraries=[],
        stdout_to_stderr=to_stderr,
    )
    out, err = capfd.readouterr()
    assert (out, err)[to_stderr] == "from gather\n"
    assert (out, err)[not to_stderr] == ""


def gather_in(tmp_path: Path, files: dict[str, str]) -> None:
    """Gather with a script that prints, in an environment of these programs."""
    root = tmp_path / "made"
    for name, text in files.items():
        (root / "bin").mkdir(parents=True, exist_ok=True)
        (root / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (root / "bin" / name).chmod(0o755)
    subprocess.run(["tar", "-czf", tmp_path / "env.tar.gz", "-C", root, "bin"], check=True)
    (tmp_path / "gather.py").write_text("print('gathered')\n")
    run_gather(
        tmp_path / "gather.py",
        tmp_path,
        spec_folder=tmp_path,
        batch_folder=tmp_path,
        environment=tmp_path / "env.tar.gz",
        libraries=[],
    )


def test_a_conda_environment_is_put_right_before_gather(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    # conda-pack's own conda-unpack starts with `env python`, which must be the environment's
    unpack = '[ "$(command -v python)" = "$(realpath "${0%/*}")/python" ] && echo >"${0%/*}/right"'
    python = '[ -e "${0%/*}/right" ] && echo right'
    gather_in(tmp_path, {"python": python, "conda-unpack": unpack})
    assert capfd.readouterr().out == "right\n"


def test_an_environment_that_cannot_be_put_right_is_told(tmp_path: Path) -> None:
    with pytest.raises(GatherError, match="cannot be put right: no room"):
        gather_in(tmp_path, {"python": "true", "conda-unpack": "echo no room; exit 1"})


def test_without_python_in_the_environment_gather_runs_in_osgbatchs_own(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    gather_in(tmp_path, {"Rscript": "true"})
    assert capfd.readouterr().out == "gathered\n"
