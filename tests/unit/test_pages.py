"""The docs are true: the commands of each page run in one fresh folder and print what it shows."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pages

LOCAL = [page for page in pages.PAGES if not pages.needs_pool(page) and pages.steps(page)]


def without_condor() -> dict[str, str]:
    """The environment of a machine without HTCondor."""
    hidden = ("CONDOR_CONFIG", "_CONDOR_", "OSGBATCH_", "PYTHONPATH")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    return {**kept, "PATH": "/usr/local/bin:/usr/bin:/bin", "OSGBATCH_PROFILE": "generic"}


@pytest.mark.parametrize("page", LOCAL, ids=lambda page: page.stem)
def test_a_page_does_what_it_says(page: Path, tmp_path: Path) -> None:
    wrong = pages.follow(page, tmp_path, without_condor())
    assert not wrong, "\n\n".join(map(str, wrong))


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: page.stem)
def test_no_command_stands_where_nothing_runs_it(page: Path) -> None:
    assert pages.stray_commands(page) == []


def test_what_is_left_out_says_why() -> None:
    left = [
        (page.name, step)
        for page in pages.PAGES
        for step in pages.steps(page)
        if isinstance(step, pages.LeftOut)
    ]
    assert all(len(step.why) > 10 for _, step in left), left
