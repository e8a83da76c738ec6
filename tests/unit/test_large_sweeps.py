"""Sweeps of a hundred thousand tasks: few files, and the fast ways give what the slow ones do."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osgbatch.planning.chunks import Chunks
from osgbatch.rendering.rows import decode_rows, encode_rows, encode_singly
from osgbatch.submission.steps import render_sweep

ROWS = 100_000


def test_a_batch_of_a_hundred_thousand_tasks_has_few_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    rows = "".join(f"0.{i},w{i % 7}\n" for i in range(1, ROWS + 1))
    (tmp_path / "p.csv").write_text("x,word\n" + rows)
    (tmp_path / "sweep.yaml").write_text("command: echo {x} {word}\nsweep: {table: p.csv}\n")
    batch = render_sweep(tmp_path / "sweep.yaml", tmp_path / "out", lambda text: None)
    files = [path for path in batch.folder.rglob("*") if path.is_file()]
    assert len(files) <= 20
    lines = (batch.folder / "rounds/001/jobs.items").read_text().splitlines()
    assert len(lines) == batch.tasks == ROWS
    for index in (0, 4095, 4096, ROWS - 1):
        tasks, word = lines[index].split(" ")
        assert tasks == str(index)
        number = index + 1
        row = f"row_{index}(){{ row '0.{number}' 'w{number % 7}';}}\n"
        assert decode_rows(word) == row.encode()


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=400) | st.just("\udcff'")


@given(st.lists(TEXTS, min_size=1, max_size=5))
def test_rows_encoded_together_are_those_encoded_one_by_one(functions: list[str]) -> None:
    assert encode_singly(functions) == [encode_rows(text) for text in functions]


@given(st.integers(1, 300), st.integers(1, 300))
def test_going_through_the_jobs_gives_what_asking_for_each_gives(tasks: int, jobs: int) -> None:
    chunks = Chunks(max(tasks, jobs), min(tasks, jobs))
    assert list(chunks) == [chunks[i] for i in range(len(chunks))]
    assert [task for job in chunks for task in job] == list(range(max(tasks, jobs)))
