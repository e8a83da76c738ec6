"""docs/lint.md is true: its table is the table of rules (test_pages.py runs its examples)."""

from __future__ import annotations

import re
from pathlib import Path

from osgbatch.cli import lint_view
from osgbatch.linting.table import RULES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "lint.md"
BEGIN, END = "<!-- rules -->\n", "<!-- end of rules -->\n"


def test_the_table_of_rules_is_the_one_in_the_code() -> None:
    text = PAGE.read_text(encoding="utf-8")
    shown = text.partition(BEGIN)[2].partition(END)[0]
    assert shown.strip() == lint_view.rules_table().strip(), "run tests/unit/test_lint_docs.py"
    assert f"{len(RULES)} rules" in text


if __name__ == "__main__":
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    page = before + BEGIN + "\n" + lint_view.rules_table() + "\n" + END + rest.partition(END)[2]
    page = re.sub(r"\d+ rules", f"{len(RULES)} rules", page)
    PAGE.write_text(page, encoding="utf-8")
