"""The gather script: where it runs, in which environment, and where its words go."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path

import pytest
from small_disk import on_small_disk

from osgbatch.collecting.gather import GatherError, run_gather
from osgbatch.rendering.templates import template_folder


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


def gather_in(
    tmp_path: Path, files: dict[str, str], name: str = "gather.py", mode: int = 0o755
) -> None:
    """Gather with a script that prints, in an environment of these programs."""
    root = tmp_path / "made"
    for program, text in files.items():
        (root / "bin").mkdir(parents=True, exist_ok=True)
        (root / "bin" / program).write_text(f"#!/bin/sh\n{text}\n")
        (root / "bin" / program).chmod(mode)
    subprocess.run(["tar", "-czf", tmp_path / "env.tar.gz", "-C", root, "bin"], check=True)
    (tmp_path / name).write_text("print('gathered')\n")
    run_gather(
        tmp_path / name,
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


def test_a_script_of_r_runs_in_the_r_of_the_environment(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("R_LIBS", "/of/mine")
    program = 'echo "R ${1##*/} ${R_LIBS-none} $R_LIBS_USER ${PATH%%:*} $CONDA_PREFIX"; '
    # what lies in results/ has come from elsewhere: R must not run it by itself
    program += 'echo "${R_PROFILE_USER-none}${R_ENVIRON_USER-none}" >"$OSGBATCH_BATCH_DIR/profile"'
    gather_in(tmp_path, {"Rscript": program, "python": "echo Python"}, "gather.R")
    assert (tmp_path / "profile").read_text() == "\n"
    *words, path, prefix = capfd.readouterr().out.split()
    assert words == ["R", "gather.R", "none", "NULL"] and path == f"{prefix}/bin"
    with pytest.raises(GatherError, match="no R to run this with"):
        (tmp_path / "other").mkdir()
        gather_in(tmp_path / "other", {"python": "true"}, "gather.r")


def test_programs_without_the_right_to_be_run_are_told(tmp_path: Path) -> None:
    with pytest.raises(GatherError, match="bin/python cannot be started: Permission denied"):
        gather_in(tmp_path, {"python": "true", "conda-unpack": "true"}, mode=0o644)


GATHER = """\
import sys
from pathlib import Path
from osgbatch.collecting.gather import GatherError, run_gather
from osgbatch.rendering.templates import template_folder
here = Path(sys.argv[1])
folders = {"spec_folder": here, "batch_folder": here, "libraries": []}
try:
    run_gather(here / "g.py", here, environment=here / "env.tar.gz", **folders)
except GatherError as error:
    print(str(error).replace("\\n", " "))
"""


def test_a_full_disk_and_a_damaged_archive_are_told(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * 3_000_000)
    subprocess.run(["tar", "-czf", "env.tar.gz", "large"], cwd=tmp_path, check=True)
    (tmp_path / "run.py").write_text(GATHER)
    (tmp_path / "disk").mkdir()
    run = f'TMPDIR="$disk" "$python" {tmp_path}/run.py {tmp_path}'
    damage = f"head -c 9 {tmp_path}/large >{tmp_path}/env.tar.gz"
    done = on_small_disk(tmp_path / "disk", 1024, f"{run}\nls -A $disk\n{damage}\n{run}")
    full, damaged = done.stdout.splitlines()
    assert "env.tar.gz: it cannot be unpacked for gather: no space is left in " in full, done.stderr
    assert "(tar: large: " in full and "Let TMPDIR name a folder with more room" in full
    assert "it cannot be unpacked for gather: gzip: stdin: not in gzip format" in damaged


def test_a_row_is_found_without_reading_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = importlib.util.spec_from_file_location("driver", template_folder() / "gather.py")
    assert spec and spec.loader
    driver = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(driver)
    (tmp_path / "rows").write_text("".join(f'["{i}", {{"x": {i}}}]\n' for i in range(12)))
    rows = driver.Rows(str(tmp_path / "rows"))
    read: list[object] = []
    real = driver._row

    def counted(line: bytes) -> object:
        read.append(line)
        return real(line)

    monkeypatch.setattr(driver, "_row", counted)
    assert (rows[10]["x"], rows[-1]["x"], len(rows), len(read)) == (10, 11, 12, 2)
    assert [row["x"] for row in rows[1:6:2]] == [1, 3, 5]
    assert [row.folder.name for row in rows[-2:]] == ["10", "11"]
    assert [row["x"] for row in rows] == list(range(12))
    with pytest.raises(IndexError):
        rows[12]
