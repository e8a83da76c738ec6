"""The site that `make docs` builds, and the pages and manual pages made from the command line."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from browser import ToolError, browser

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(CHECKOUT / "tools"))

import commands  # noqa: E402

READ_FIRST = ("index", "tutorial", "workshop", "commands")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site; it builds without a warning: each page is in the nav, each link leads somewhere."""
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=CHECKOUT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120,
    )  # fmt: skip
    assert built.returncode == 0, built.stdout
    assert "WARNING" not in built.stdout, built.stdout
    return folder


def test_nothing_of_a_page_is_left_as_markdown(site: Path) -> None:
    for path in site.glob("*.html"):
        text = re.sub(r"<code.*?</code>", "", path.read_text("utf-8"), flags=re.S)
        assert "```" not in text, path.name
        assert "<!-- run" not in text, path.name
        assert not re.search(r'(src|<link [^>]*href)="https?://', text), path.name


def test_solutions_of_the_workshop_are_folded_and_whole(site: Path) -> None:
    text = (site / "workshop.html").read_text("utf-8")
    folded = re.findall(r"<details>(.*?)</details>", text, re.S)
    assert len(folded) == 8
    assert all("<summary>Solution</summary>" in one for one in folded)
    assert sum(one.count("<pre>") for one in folded) >= 8


def test_pages_fit_every_screen_and_load_nothing_from_elsewhere(site: Path) -> None:
    try:
        with browser() as tab:
            for width in (1200, 390):
                for name in READ_FIRST:
                    tab.open(site / f"{name}.html", width)
                    wide = tab.ask("document.documentElement.scrollWidth - window.innerWidth")
                    assert wide <= 0, (name, width, wide)
                    missing = tab.ask(
                        "[...document.images].filter(one => !one.naturalWidth).map(one => one.src)"
                    )
                    assert missing == [], (name, missing)
            assert tab.complaints == []
    except ToolError as error:
        pytest.skip(f"no browser: {error}")


def test_commands_and_manual_pages_are_what_the_command_line_says() -> None:
    """If not: python tools/commands.py."""
    assert commands.PAGE.read_text("utf-8") == commands.page()
    assert {path.name: path.read_text("utf-8") for path in commands.MAN.glob("*.1")} == (
        commands.man_pages()
    )


def test_pictures_are_small() -> None:
    sizes = [path.stat().st_size for path in (CHECKOUT / "docs/images").iterdir()]
    assert max(sizes) < 300_000
    assert sum(sizes) < 1_000_000
