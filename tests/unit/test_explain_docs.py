"""docs/explain.md and docs/import.md are true: their examples print what they show."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from osgbatch.cli import app

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.mark.parametrize("page", ["explain.md", "import.md"])
def test_the_examples_print_what_the_page_shows(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("htcondor2")
    text = (DOCS / page).read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    ran = 0
    for language, name, content in re.findall(r"```(\w+) ?([^\n]*)\n(.*?)```", text, re.DOTALL):
        if language != "console":
            if name:
                Path(name).write_text(content)
            continue
        command, _, shown = content.removeprefix("$ osgbatch ").partition("\n")
        monkeypatch.setattr(sys, "argv", ["osgbatch", *command.split()])
        assert app.run() == 0
        printed = capsys.readouterr().out
        if name == "excerpt":
            assert shown.strip() in printed
        else:
            assert printed.strip() == shown.strip()
        ran += 1
    assert ran >= 1


def test_what_the_page_says_can_be_asked_is_known() -> None:
    from osgbatch.submission.explained_words import explain

    table = (DOCS / "explain.md").read_text(encoding="utf-8").partition("| asked | finds |")[2]
    asked = [word for row in re.findall(r"^\| (.*?) \|", table, re.MULTILINE)
             for word in re.findall(r"`([^`]+)`", row)]  # fmt: skip
    assert len(asked) > 15
    assert all(explain(word) for word in asked)
