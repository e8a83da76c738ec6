"""Resolved to the files of a round."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from judges import htcondor2

from osgbatch.rendering.rows import decode_rows, encode_rows, shell_word
from osgbatch.submission import steps


def test_rows_read_back_and_are_ascii_for_htcondor() -> None:
    for functions in ("row_3(){ row 'it'\\''s' 'a\nb' '\udcff';}\n", "x" * 1000):
        word = encode_rows(functions)
        assert decode_rows(word) == functions.encode("utf-8", "surrogateescape")
        assert word.isascii()
        assert not set(word) & set(" ,\"'$")
        assert encode_rows(functions) == word


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_a_shell_word_is_one_word_for_sh(text: str) -> None:
    # dash is held to it by the shim's tests; here the quoting rule itself
    word = shell_word(text)
    assert word.startswith("'")
    assert word.endswith("'")
    assert word[1:-1].replace("'\\''", "").count("'") == 0
    assert word[1:-1].replace("'\\''", "'") == text


SPEC = """\
name: golden
command: [echo, "{x}", "{f}"]
sweep: {x: [1, 2], f: {files: "data/*"}}
files: [sweep.yaml]
outputs: [outputs/a]
resources: {cpus: 2, memory: 3 GB, disk: 5 GB, time: 30 min}
tasks_per_job: 3
"""


@pytest.fixture
def rendered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    folder = tmp_path / "a $(HOME) sweep"
    (folder / "data").mkdir(parents=True)
    for name in ("b c", "d"):
        (folder / "data" / name).touch()
    (folder / "sweep.yaml").write_text(SPEC)
    return steps.render_sweep(folder / "sweep.yaml", None, lambda text: None).folder


def test_the_submit_file_says_what_the_spec_says(rendered: Path) -> None:
    text = (rendered / "rounds/001/job.submit").read_text()
    # the HTCondor parser is the judge of what it means
    submit = htcondor2.Submit(text)
    assert submit["request_cpus"] == "2"
    assert submit["request_memory"] == "3072MB"
    assert submit["max_retries"] == "2"
    assert submit["when_to_transfer_output"] == "ON_EXIT"
    assert submit["allowed_execute_duration"] == str(2 * (1800 + 10) + 1800)
    assert submit.expand("initialdir") == str(rendered.parents[1])
    assert submit.expand("batch_name") == "golden"
    assert text.count("\nqueue ") == 1
    assert text.rstrip().splitlines()[-1].startswith("queue tasks, rows, inputs from ")


def test_the_item_file_has_a_line_per_job(rendered: Path) -> None:
    lines = (rendered / "rounds/001/jobs.items").read_text().splitlines()
    fields = [line.split(" ", 2) for line in lines]
    assert [f[0] for f in fields] == ["0-1", "2-3"]
    assert [f[2] for f in fields] == ["data/b c,data/d"] * 2
    assert b"row_3(){ input 'data/d' 'inputs/data/d';row '2' 'inputs/data/d';}" in decode_rows(
        fields[1][1]
    )


def test_the_shim_starts_at_byte_0_and_parses(rendered: Path) -> None:
    shim = rendered / "rounds/001/shim.sh"
    content = shim.read_bytes()
    assert content.startswith(b"#!/bin/sh\n")
    assert b"\r" not in content
    assert shim.stat().st_mode & 0o777 == 0o755
    subprocess.run(["sh", "-n", str(shim)], check=True)


def test_few_files_whatever_the_number_of_tasks(rendered: Path) -> None:
    assert len([p for p in rendered.rglob("*") if p.is_file()]) <= 20


def test_long_rows_travel_as_a_file(tmp_path: Path) -> None:
    noise = "".join(str(hash((i, "x")) % 10**9) for i in range(8000))
    (tmp_path / "sweep.yaml").write_text(
        f"command: [echo, '{{x}}']\nsweep: {{x: [short, 'n{noise}']}}\n"
    )
    batch = steps.render_sweep(tmp_path / "sweep.yaml", None, lambda text: None)
    assert (batch.folder / "rounds/001/jobs.items").read_text() == "0 @\n1 @\n"
    rows = (batch.folder / "payload/rows.items").read_text().splitlines()
    assert [line.split(" ")[0] for line in rows] == ["0", "1"]
    assert noise.encode() in decode_rows(rows[1].split(" ")[1])
