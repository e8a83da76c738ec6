"""docs/lint.md is true: its table is the table of rules, and its examples print what it shows."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from osgbatch.cli import app, lint_view
from osgbatch.linting.table import RULES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "lint.md"
BEGIN, END = "<!-- rules -->\n", "<!-- end of rules -->\n"


def test_the_table_of_rules_is_the_one_in_the_code() -> None:
    text = PAGE.read_text(encoding="utf-8")
    shown = text.partition(BEGIN)[2].partition(END)[0]
    assert shown.strip() == lint_view.rules_table().strip(), "run tests/unit/test_lint_docs.py"
    assert f"{len(RULES)} rules" in text


def test_the_examples_print_what_the_page_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    blocks = re.findall(r"```(\w+)([^\n]*)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    ran = 0
    for language, name, content in blocks:
        if language == "text" and name.strip():
            Path(name.strip()).write_text(content)
        if language != "console":
            continue
        for command, shown in re.findall(r"\A\$ osgbatch ([^\n]*)\n(.*)\Z", content, re.DOTALL):
            monkeypatch.setattr(sys, "argv", ["osgbatch", *command.split()])
            app.run()
            printed = capsys.readouterr()
            assert (printed.err + printed.out).strip() == shown.strip()
            ran += 1
    assert ran >= 2


if __name__ == "__main__":
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    page = before + BEGIN + "\n" + lint_view.rules_table() + "\n" + END + rest.partition(END)[2]
    page = re.sub(r"\d+ rules", f"{len(RULES)} rules", page)
    PAGE.write_text(page, encoding="utf-8")
