"""docs/python.md: its examples run, one after the other, and print what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import osgbatch

PAGE = Path(__file__).parents[2] / "docs" / "python.md"
BLOCK = re.compile(r"^```(python|text printed)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.usefixtures("calls_can_run")
def test_the_examples_print_what_the_page_says(tmp_path: Path) -> None:
    blocks = [(match[1], match[2]) for match in BLOCK.finditer(PAGE.read_text())]
    (tmp_path / "page.py").write_text("\n".join(text for kind, text in blocks if kind == "python"))
    environment = {name: value for name, value in os.environ.items() if name != "CONDOR_CONFIG"}
    environment["PYTHONPATH"] = str(Path(osgbatch.__file__).parents[1])
    environment["PATH"] = "/usr/bin:/bin"
    done = subprocess.run(
        [sys.executable, "page.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "".join(text for kind, text in blocks if kind != "python")
