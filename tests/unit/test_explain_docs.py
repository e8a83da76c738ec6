"""docs/explain.md is true: what it says can be asked is known."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_what_the_page_says_can_be_asked_is_known() -> None:
    from osgbatch.submission.explained_words import explain

    table = (DOCS / "explain.md").read_text(encoding="utf-8").partition("| asked | finds |")[2]
    asked = [word for row in re.findall(r"^\| (.*?) \|", table, re.MULTILINE)
             for word in re.findall(r"`([^`]+)`", row)]  # fmt: skip
    assert len(asked) > 15
    assert all(explain(word) for word in asked)
