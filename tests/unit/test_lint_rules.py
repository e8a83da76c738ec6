"""Each rule of the linter finds what it is for, and only that; HTCondor is the judge."""

from __future__ import annotations

from pathlib import Path

import pytest
from lint_cases import (
    ADVISED,
    CASES,
    FILES,
    NOTHING_SAID,
    REFUSED,
    REFUSED_BY_BINDINGS,
    TAKEN,
    job,
)

from osgbatch.condor import submit_parser
from osgbatch.linting import lines
from osgbatch.linting.check import harmless, lint, mended
from osgbatch.linting.table import RULES
from osgbatch.submission.linted import lint_text, read_text

SUBMIT_FILES = sorted((Path(__file__).parent / "submit_files").rglob("*.submit"))
INSTALLED = submit_parser.refused_text("") is not None
needs_htcondor = pytest.mark.skipif(not INSTALLED, reason="htcondor2 is not installed here")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("lint")
    for name, content in FILES.items():
        (made / name).write_bytes(content)
        (made / name).chmod(0o755)
    (made / "folder").mkdir()
    return made


def test_each_rule_has_a_wrong_file_and_a_right_one() -> None:
    assert sorted(CASES) == sorted(RULES)


@pytest.mark.parametrize("rule", CASES)
def test_a_rule_finds_the_wrong_file(rule: str, folder: Path) -> None:
    found = [f for f in lint_text(CASES[rule][0], folder) if f.rule == rule]
    assert found
    for one in found:
        assert one.what and one.fix and one.why
        assert 1 <= one.column <= max(1, len(one.source) + 1)


@pytest.mark.parametrize("rule", CASES)
def test_a_rule_lets_the_right_file_pass(rule: str, folder: Path) -> None:
    found = lint_text(CASES[rule][1], folder)
    assert rule not in [f.rule for f in found]
    assert not [f for f in found if f.severity == "error"]


def _with(line: str) -> str:
    lines = line.split("\n")
    first = next((i for i, one in enumerate(lines) if one.startswith("queue")), len(lines))
    queue = "\n".join(lines[first:]) or "queue"
    return job("\n".join(lines[:first]), queue + "\n")


@pytest.mark.parametrize("line", REFUSED)
def test_what_condor_submit_refuses_is_an_error(line: str, folder: Path) -> None:
    for found in (lint_text(_with(line), folder), lint(_with(line))):
        assert REFUSED[line] in [f.rule for f in found if f.severity == "error"]


@needs_htcondor
@pytest.mark.parametrize("line", REFUSED_BY_BINDINGS)
def test_what_only_htcondor_can_judge_is_an_error_where_it_is(line: str, folder: Path) -> None:
    found = lint_text(_with(line), folder)
    assert REFUSED_BY_BINDINGS[line] in [f.rule for f in found if f.severity == "error"]


@pytest.mark.parametrize("line", ADVISED)
def test_advice_says_what_to_write(line: str, folder: Path) -> None:
    text = _with(line)
    for name in ("output", "error", "log", "executable", "request_disk"):
        if f"{name} = " in line:  # the line in question instead of the one that is right
            text = "\n".join(
                one for one in text.split("\n")
                if not one.startswith(f"{name} = ") or one in line
            )  # fmt: skip
    assert ADVISED[line] in [f.fix for f in lint_text(text, folder)]


@pytest.mark.parametrize("line", NOTHING_SAID)
def test_nothing_is_said_of_what_is_right(line: str, folder: Path) -> None:
    assert {f.rule for f in lint_text(_with(line), folder)} <= {"set-twice"}


@pytest.mark.parametrize("line", TAKEN)
def test_what_condor_submit_takes_is_no_error(line: str, folder: Path) -> None:
    for found in (lint_text(_with(line), folder), lint(_with(line))):
        assert [f for f in found if f.severity == "error"] == []


@pytest.mark.parametrize("rule", [name for name, rule in RULES.items() if rule.mends])
def test_a_fix_mends_and_changes_nothing_else(rule: str, folder: Path) -> None:
    wrong = CASES[rule][0]
    before = [f for f in lint_text(wrong, folder) if f.rule == rule and f.edits]
    if rule == "disk-unit":  # too small to know what was meant: no fix
        wrong = wrong.replace("disk = 1000", "disk = 1000000")
        before = [f for f in lint_text(wrong, folder) if f.rule == rule]
    assert before
    text, count = mended(wrong, before)
    assert count == len(before)
    after = lint_text(text, folder)
    assert rule not in [f.rule for f in after]
    assert {f.rule for f in after} <= {f.rule for f in lint_text(wrong, folder)}


def test_of_two_names_for_a_command_none_is_said_to_be_lost() -> None:
    text = job("notification = never\nnotification = error\nargs = a\narguments = b")
    said = [f.what for f in lint(text) if f.rule == "set-twice"]
    assert said == [
        "notification is set on line 8, too; that value (never) is lost",
        "arguments and args, on line 10, are one command",
    ]


def test_what_cannot_be_mended_says_so() -> None:
    for name, rule in RULES.items():
        assert rule.severity in ("error", "warning", "advice")
        assert rule.why.endswith((".", ")")), name


@pytest.mark.parametrize("path", SUBMIT_FILES, ids=lambda path: path.stem)
def test_a_valid_file_gives_no_error(path: Path, tmp_path: Path) -> None:
    text = read_text(path)
    assert [f for f in lint_text(text, tmp_path) if f.severity == "error"] == []
    assert [f for f in lint(text) if f.severity == "error"] == [], "without htcondor2"


@needs_htcondor
@pytest.mark.parametrize("path", SUBMIT_FILES, ids=lambda path: path.stem)
def test_htcondor_reads_in_a_file_what_we_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import htcondor2

    monkeypatch.setenv("COUNT", "2")
    parsed = lines.read(read_text(path))
    text = harmless(parsed)
    assert submit_parser.refused_text(text) == ""
    ours: dict[str, str] = {}
    for statement in parsed.statements:
        if statement.kind == "queue":
            break
        if statement.kind == "set" and not statement.depth:
            key = statement.key.lower()
            ours["my." + key[1:] if key.startswith("+") else key] = statement.value
    theirs = {key.lower(): value for key, value in dict(htcondor2.Submit(text)).items()}
    for key, value in ours.items():
        if f"$({key})" not in value.lower():
            assert theirs[key].split() == value.split(), key


@needs_htcondor
@pytest.mark.parametrize(
    "rule", ["bom", "no-statement", "if-condition", "if-unclosed", "block-unclosed"]
)
def test_htcondor_refuses_what_we_call_an_error_of_syntax(rule: str) -> None:
    assert submit_parser.refused_text(CASES[rule][0])


@needs_htcondor
def test_what_htcondor_refuses_is_an_error_though_no_rule_knows_why() -> None:
    text = job("a[1] = 2")
    found = [f for f in lint_text(text, Path("/")) if f.severity == "error"]
    assert [f.rule for f in found] in (["no-statement"], ["refused"])


def test_at_least_sixty_submit_files_are_judged() -> None:
    assert len(SUBMIT_FILES) >= 60
