"""Whether a submission that was cut short would still do what the spec now says."""

from __future__ import annotations

from pathlib import Path

import pytest

from osgbatch.batches.folder import Batch, same_work
from osgbatch.submission import steps

SPEC = "command: cat {a} {b}\nsweep: {table: t.csv}\ninputs: '@list.txt'\nfiles: job.py\n"


def rendered(folder: Path) -> Batch:
    return steps.render_sweep(folder / "sweep.yaml", None, lambda text: None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in {
        "sweep.yaml": SPEC, "t.csv": "a,b\n1,2\n", "list.txt": "x\n", "x": "x", "y": "y",
        "job.py": "1",
    }.items():  # fmt: skip
        (tmp_path / name).write_text(text)
    return tmp_path


def test_nothing_has_changed(folder: Path) -> None:
    assert same_work(rendered(folder), rendered(folder))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.csv", "b,a\n1,2\n"),
        ("t.csv", "a,b\n1,3\n"),
        ("list.txt", "y\n"),
        ("job.py", "2"),
        ("sweep.yaml", SPEC + "resources: {memory: 3 GB}\n"),
    ],
)
def test_something_has_changed(folder: Path, name: str, text: str) -> None:
    before = rendered(folder)
    (folder / name).write_text(text)
    assert not same_work(before, rendered(folder))
