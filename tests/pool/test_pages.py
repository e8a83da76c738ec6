"""The pages of the docs that need HTCondor, the tutorial among them: each does what it says."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from conftest import Pool

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pages

pytestmark = [pytest.mark.pool, pytest.mark.once]

IN_A_POOL = [page for page in pages.PAGES if pages.needs_pool(page)]


@pytest.mark.parametrize("page", IN_A_POOL, ids=lambda page: page.stem)
def test_a_page_does_what_it_says(pool: Pool, page: Path, tmp_path: Path) -> None:
    cache = os.environ.get("XDG_CACHE_HOME") or f"{Path.home()}/.cache"
    wrong = pages.follow(page, tmp_path, {**os.environ, "XDG_CACHE_HOME": cache})
    assert not wrong, "\n\n".join(map(str, wrong))
