"""`osgbatch lint` as it is typed: what it prints, its exit codes, and `--fix`."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from lint_cases import job

from osgbatch.cli import app
from osgbatch.condor import submit_parser
from osgbatch.errors import OsgbatchError
from osgbatch.linting.check import lint
from osgbatch.spec.document import read_document

WRONG = """\
# my job
executable = not-there.sh
request_cpus = 1
request_memory = 2GiB   
request_disk = 1GB
log = my.log
output = my.out
queue 3 # three
"""  # noqa: W291


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["osgbatch", "lint", *words])
    return app.run()


def test_output_shows_the_line_a_caret_the_reason_and_the_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "job.submit").write_text(WRONG)
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, "job.submit") == 1
    out = capsys.readouterr().out
    assert "job.submit:4:18: error: 2GiB is no size that HTCondor knows [size]" in out
    assert "    4 | request_memory = 2GiB\n      |                  ^^^^\n" in out
    assert "  Write 2GB. (--fix does it.)" in out
    assert "job.submit:8:7: error: a comment stands behind the queue statement" in out
    assert out.endswith("2 errors, 2 warnings in 1 file\n")
    assert max(map(len, out.splitlines())) <= 80


def test_exit_codes_are_for_scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "advice.submit").write_text(job("getenv = true"))
    (tmp_path / "right.submit").write_text(job(""))
    (tmp_path / "wrong.submit").write_text(WRONG)
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, "right.submit", "advice.submit") == 0
    assert run(monkeypatch, "right.submit", "--fail-on", "advice") == 0
    assert run(monkeypatch, "advice.submit", "--fail-on", "advice") == 1
    assert run(monkeypatch, "advice.submit", "--fail-on", "warning") == 0
    assert run(monkeypatch, "right.submit", "wrong.submit") == 1
    assert run(monkeypatch, "right.submit", "nowhere.submit") == 2
    assert run(monkeypatch, "wrong.submit", "--ignore", "size", "--ignore", "queue-comment") == 0
    assert run(monkeypatch, "wrong.submit", "--ignore", "sizes") == 2


def test_fix_keeps_a_backup_comments_and_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "job.submit"
    path.write_text(WRONG)
    path.chmod(0o640)
    (tmp_path / "job.submit.bak").write_text("an older one")
    assert run(monkeypatch, str(path), "--fix") == 0
    mended = WRONG.replace("2GiB", "2GB").replace("queue 3 # three", "# three\nqueue 3")
    assert path.read_text() == mended
    assert path.stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "job.submit.bak1").read_text() == WRONG
    assert (tmp_path / "job.submit.bak").read_text() == "an older one"
    assert "mended 2 findings" in capsys.readouterr().err
    content = path.read_bytes()
    run(monkeypatch, str(path), "--fix")
    assert path.read_bytes() == content
    assert not (tmp_path / "job.submit.bak2").exists()


def test_json_and_github_are_for_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a,b.submit").write_text(WRONG)
    monkeypatch.chdir(tmp_path)
    run(monkeypatch, "a,b.submit", "--json")
    data = json.loads(capsys.readouterr().out)
    (size,) = [f for f in data[0]["findings"] if f["rule"] == "size"]
    assert (size["line"], size["column"], size["width"], size["severity"]) == (4, 18, 4, "error")
    run(monkeypatch, "a,b.submit", "--format", "github")
    out = capsys.readouterr().out
    assert "::error file=a%2Cb.submit,line=4,col=18,endColumn=21,title=size::2GiB is no" in out


def test_what_could_not_be_read_is_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "right.submit").write_text(job(""))
    assert run(monkeypatch, "nowhere.submit") == 2
    assert capsys.readouterr().out == "no file was read\n"
    assert run(monkeypatch, "nowhere.submit", "right.submit") == 2
    assert capsys.readouterr().out == "nothing to say of 1 file\n"


def test_a_long_line_is_cut_with_a_mark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names = ", ".join(f"in{n}.dat" for n in range(30))
    (tmp_path / "job.submit").write_text(job(f"transfer_input_files = {names}, *.dat, z.dat"))
    run(monkeypatch, "job.submit", "--ignore", "input-missing")
    (line,) = [one for one in capsys.readouterr().out.splitlines() if " | tran" in one]
    assert line.endswith("…") and len(line) <= 80
    (tmp_path / "job.submit").write_text(job("# x\nqueue" + " " * 90 + "3 # three", ""))
    run(monkeypatch, "job.submit")
    assert " | …" in capsys.readouterr().out


def test_stdin_is_a_file_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(WRONG.encode())))
    assert run(monkeypatch, "-") == 1
    assert "stdin:4:18: error" in capsys.readouterr().out


def test_a_comment_switches_a_rule_off() -> None:
    text = job("# osgbatch: ignore=getenv\ngetenv = true\npriority = high")
    assert [f.rule for f in lint(text)] == ["whole-number"]
    text = "# osgbatch: ignore=getenv, whole-number\n\n" + job("getenv = true\npriority = high")
    assert lint(text) == []
    text = job("# osgbatch: ignore\npriority = high # c\ngetenv = true")
    assert [f.rule for f in lint(text)] == ["getenv"]


def test_nothing_that_a_file_names_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "job.submit").write_text(
        "include : touch run1 |\ninclude command : touch run2\n"
        + job("arguments = $(x)", "queue x from touch run3 |\n")
    )
    assert run(monkeypatch, "job.submit") == 0
    assert [p.name for p in tmp_path.iterdir()] == ["job.submit"]


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"\n\n", b"queue", b"=" * 5000, b"\\\n"])
def test_odd_files_end_with_words(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "job.submit").write_bytes(content)
    assert run(monkeypatch, str(tmp_path / "job.submit"), "--fix") in (0, 1, 2)
    assert (tmp_path / "job.submit").read_bytes() == content


def test_without_htcondor2_the_rules_are_asked_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "htcondor2", None)
    submit_parser.bindings.cache_clear()
    try:
        (tmp_path / "job.submit").write_text(WRONG + "prose\n")
        assert submit_parser.refused_text("prose") is None
        assert run(monkeypatch, str(tmp_path / "job.submit")) == 1
    finally:
        submit_parser.bindings.cache_clear()
    assert "[size]" in capsys.readouterr().out


def test_a_sweep_is_no_submit_file_and_the_other_way_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sweep.yaml").write_text("name: x\ncommand: echo\n")
    assert run(monkeypatch, str(tmp_path / "sweep.yaml")) == 2
    assert "osgbatch check" in "".join(capsys.readouterr())
    (tmp_path / "job.sub").write_text("executable = a.sh\nqueue\n")
    with pytest.raises(OsgbatchError, match="submit file") as told:
        read_document(tmp_path / "job.sub")
    assert "osgbatch import" in told.value.fix


def test_short_lines_are_folded_between_words_on_a_terminal_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "job.submit").write_text(WRONG)
    monkeypatch.chdir(tmp_path)
    run(monkeypatch, "--short", "job.submit")
    plain = capsys.readouterr().out
    monkeypatch.setenv("COLUMNS", "50")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    run(monkeypatch, "--short", "job.submit")
    folded = capsys.readouterr().out
    assert max(map(len, folded.splitlines())) <= 50 < max(map(len, plain.splitlines()))
    assert folded.split() == plain.split()


def test_a_configuration_of_htcondor_that_cannot_be_read_does_not_end_it(tmp_path: Path) -> None:
    """Its library would write a line and end the process with 1, which means findings here."""
    (tmp_path / "job.submit").write_text("executable = /bin/echo\nqueue x in (1 2)\n")
    done = subprocess.run(
        [sys.executable, "-m", "osgbatch", "lint", "job.submit", "--json"],
        cwd=tmp_path,
        env={
            **os.environ,
            "CONDOR_CONFIG": str(tmp_path / "none"),
            "PYTHONPATH": os.pathsep.join(sys.path),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)
