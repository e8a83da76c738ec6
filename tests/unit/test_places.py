"""`outputs: [{path:, to:}]`: where results lie besides the folders of their tasks."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from returned_archives import archive, member

from osgbatch import targets
from osgbatch.batches.folder import Batch
from osgbatch.batches.required import Required
from osgbatch.collecting.collect import Collected, collect
from osgbatch.collecting.placing import Placer
from osgbatch.errors import OsgbatchError, SpecError
from osgbatch.model import TaskState
from osgbatch.submission.planned import Choices, plan_sweep

GOOD = b"the result\n"


# --- what the names come to -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("patterns", "text", "word"),
    [
        (["data/*.npy"], "data/a.npy", "a"),
        (["data/**/*.npy"], "data/s1/a.npy", "s1/a"),
        (["data/*/raw/*.npy"], "data/s1/raw/a.npy", "s1/raw/a"),
        (["data/a.npy", "data/b.npy"], "data/b.npy", "b"),
        (["data/x/*.npy", "data/y/*.npy"], "data/y/a.npy", "y/a"),
        (["a/*.npy", "b/*.npy"], "b/c.npy", "b/c"),
        (["*.npy"], "a.npy", "a"),
        (["*/*.npy"], "s1/a.npy", "s1/a"),
        (["../shared/*.npy"], "../shared/a.npy", "a"),
        (["/data/*.npy"], "/data/a.npy", "a"),
        (["/data/*.npy", "b/*.npy"], "/data/a.npy", "a"),
        (["./data/*.npy"], "data/a.tar.gz", "a.tar"),
        (["data/.hidden"], "data/.hidden", ".hidden"),
        (["s3://b/2026/**/*.jpg"], "s3://b/2026/01/3.jpg", "3"),
    ],
)
def test_a_column_of_files_is_the_name_without_its_suffix(
    patterns: list[str], text: str, word: str
) -> None:
    assert targets.file_word(text, targets.base_of(patterns)) == word


@pytest.mark.parametrize(
    ("target", "pattern", "name", "place"),
    [
        ("x/a.npy", "outputs/peaks.npy", "outputs/peaks.npy", "x/a.npy"),
        ("x/", "outputs/peaks.npy", "outputs/peaks.npy", "x/peaks.npy"),
        ("x/", "outputs/*.npy", "outputs/b.npy", "x/b.npy"),
        ("x", "./figures/", "figures/a/b.png", "x/a/b.png"),
        ("x/", "figures", "figures/a/b.png", "x/figures/a/b.png"),
        ("x/", "outputs/*", "outputs/d/e", "x/d/e"),
    ],
)
def test_what_a_pattern_matches_has_its_place(
    target: str, pattern: str, name: str, place: str
) -> None:
    assert targets.place_of(target, pattern, name) == place


# --- told when it is planned ----------------------------------------------------------------------


def planned(folder: Path, sweep: str, outputs: str) -> Sequence[str]:
    """The warnings of a plan."""
    (folder / "sweep.yaml").write_text(f"command: e\nsweep: {sweep}\noutputs: {outputs}\n")
    made = plan_sweep(folder / "sweep.yaml", choices=Choices([]))
    return [warning for warning in made.warnings if warning.startswith("to:")]


@pytest.mark.parametrize(
    ("sweep", "to", "said"),
    [
        ("{x: [1, 2]}", "all", "is the place of task 0, and of task 1"),
        ("{x: [a, b], y: [1, 2]}", "{x}/out", 'to: "a/out" is the place of task 0, and of task 1'),
        ("{x: [a, ../../b]}", "by/{x}", 'of task 1, "by/../../b" leads out of results/'),
        ("{x: [a, /b]}", "{x}", 'of task 1, "/b" leads out of results/'),
        ("{x: [a, '']}", "by/{x}/b", 'of task 1, "by//b" has a part without a name'),
        ("{x: [a, .]}", "by/{x}/b", "has a part without a name"),
        ("{x: [0.5, 1]}", "{x}/b", 'of task 1, "1" in results/ is the folder of a task'),
        ("{x: [a, failed]}", "{x}/b", "osgbatch's own"),
        ("{x: [a, OLD]}", "{x}", "osgbatch's own"),
        ("{x: [a, .new]}", "{x}", "osgbatch's own"),
        ("{x: [results.csv]}", "{x}", "osgbatch's own"),
        ('{x: [a, "b\\nc"]}', "{x}", "a line break or another character"),
        (f"{{x: [{'n' * 256}]}}", "{x}", "too long for a file's name"),
        ("{x: [a, a/b]}", "{x}", "would be a file where that of task 1 needs a folder"),
        ("{x: [a/b, a]}", "{x}", "would be a file where that of task 0 needs a folder"),
    ],
)
def test_a_place_that_cannot_be_is_an_error_of_the_plan(
    tmp_path: Path, sweep: str, to: str, said: str
) -> None:
    with pytest.raises(SpecError, match="to:") as caught:
        planned(tmp_path, sweep, f'{{path: outputs/a, to: "{to}"}}')
    assert said in caught.value.what
    assert caught.value.place.line == 3


def test_two_outputs_of_a_task_have_two_places(tmp_path: Path) -> None:
    two = '[{path: outputs/a, to: "x{x}/"}, {path: outputs/b, to: "x{x}/%s"}]'
    assert planned(tmp_path, "{x: [1, 2]}", two % "b") == []
    with pytest.raises(SpecError, match="the place of two outputs of task 0"):
        planned(tmp_path, "{x: [1, 2]}", two % "a")


def test_the_folder_of_a_pattern_may_be_shared(tmp_path: Path) -> None:
    assert planned(tmp_path, "{x: [1, 2]}", '{path: "outputs/*", to: all/}') == []


@pytest.mark.parametrize("sweep", ["{x: [a, A]}", '{x: ["\\u00e9", "e\\u0301"]}'])
def test_places_that_differ_only_in_case_are_warned_of(tmp_path: Path, sweep: str) -> None:
    (warning,) = planned(tmp_path, sweep, '{path: outputs/a, to: "by-{x}"}')
    assert "on some file systems they are one file" in warning


def test_an_unknown_column_is_told_where_it_stands(tmp_path: Path) -> None:
    with pytest.raises(OsgbatchError, match='unknown name "y" in braces'):
        planned(tmp_path, "{x: [1]}", '{path: outputs/a, to: "{y}"}')


# --- when it is collected -------------------------------------------------------------------------


def brought(folder: Path, index: int, content: bytes = GOOD, attempt: int = 0) -> TaskState:
    """A task that has succeeded, whose archive lies in a folder."""
    name = f"outputs/{index}.npy"
    digest = hashlib.sha256(content).hexdigest()
    path = archive(
        folder / f"7_{index}_{attempt}.tar.gz",
        member("job", b"batch=x\n"),
        member(f"tasks/{index}/data/{name}", content),
        member(f"tasks/{index}/sha256", f"{digest}  {name}\n".encode()),
        member(f"tasks/{index}/stdout", b"hello"),
    )
    record = {"state": "succeeded"}
    return TaskState(index, "succeeded", archive=path, record=record, attempt=attempt)


def taken(results: Path, *states: TaskState, to: str = "by/{}.npy") -> Collected:
    """Collect tasks, each with one place."""

    def wanted(state: TaskState) -> list[tuple[str, str]]:
        return [(f"outputs/{state.index}.npy", to.format(state.index))]

    return collect(results, states, placer=Placer(results, wanted))


def test_a_place_is_a_link_to_what_was_verified(tmp_path: Path) -> None:
    results = tmp_path / "results"
    states = [brought(tmp_path, 0), brought(tmp_path, 1)]
    assert taken(results, *states).misplaced == {}
    assert (results / "by/1.npy").samefile(results / "1/outputs/1.npy")
    (results / "by/0.npy").unlink()  # what is deleted comes back, as all results do
    again = taken(results, *states)
    assert (again.unpacked, again.misplaced) == (0, {})
    assert (results / "by/0.npy").samefile(results / "0/outputs/0.npy")


@pytest.mark.parametrize("what", ["file", "folder", "link", "file above", "link above"])
def test_what_is_there_is_left_alone_and_told(tmp_path: Path, what: str) -> None:
    results, away = tmp_path / "results", tmp_path / "away"
    results.mkdir()
    away.mkdir()
    if what in ("file", "folder", "link"):
        (results / "by").mkdir()
    place = results / "by/0.npy"
    if what == "file":
        place.write_text("the user's")
    elif what == "folder":
        place.mkdir()
    elif what == "link":
        place.symlink_to(away / "0.npy")
    elif what == "file above":
        (results / "by").write_text("the user's")
    else:
        (results / "by").symlink_to(away)
    found = taken(results, brought(tmp_path, 0))
    assert "is there" in found.misplaced[0]
    assert list(away.iterdir()) == []
    assert (results / "0/outputs/0.npy").read_bytes() == GOOD
    if what == "file":
        assert place.read_text() == "the user's"


def test_another_result_of_the_task_takes_its_place(tmp_path: Path) -> None:
    results = tmp_path / "results"
    taken(results, brought(tmp_path, 0))
    assert taken(results, brought(tmp_path, 0, b"another", 1)).misplaced == {}
    assert (results / "by/0.npy").samefile(results / "0/outputs/0.npy")
    assert (results / "by/0.npy").read_bytes() == b"another"
    assert sorted(path.name for path in results.iterdir()) == ["0", "by"]


def test_what_the_user_wrote_into_a_place_is_kept(tmp_path: Path) -> None:
    results = tmp_path / "results"
    taken(results, brought(tmp_path, 0))
    (results / "by/0.npy").write_text("edited")  # and with it the file of the task: it is the same
    taken(results, brought(tmp_path, 0, b"another", 1))
    assert (results / "by/0.npy").read_bytes() == b"another"
    assert (results / "old/0.1/outputs/0.npy").read_text() == "edited"


def test_one_replaced_by_the_user_is_left_alone(tmp_path: Path) -> None:
    results = tmp_path / "results"
    taken(results, brought(tmp_path, 0))
    (results / "by/0.npy").unlink()
    (results / "by/0.npy").write_text("the user's")
    found = taken(results, brought(tmp_path, 0, b"another", 1))
    assert "is another file" in found.misplaced[0]
    assert (results / "by/0.npy").read_text() == "the user's"


def test_a_replaced_file_of_the_task_does_not_take_the_place_of_what_came_back(
    tmp_path: Path,
) -> None:
    results, state = tmp_path / "results", brought(tmp_path, 0)
    taken(results, state)
    (results / "0/outputs/fresh").write_text("edited")  # as editors save
    (results / "0/outputs/fresh").rename(results / "0/outputs/0.npy")
    for _ in range(2):
        found = taken(results, state)
        assert "own file was changed" in found.misplaced[0]
        assert (results / "by/0.npy").read_bytes() == GOOD
        assert (results / "0/outputs/0.npy").read_text() == "edited"
    found = taken(results, brought(tmp_path, 0, b"another", 1))
    assert found.misplaced == {}
    assert (results / "by/0.npy").read_bytes() == b"another"
    assert (results / "old/0.1/outputs/0.npy").read_text() == "edited"


def test_a_failure_takes_nothing_from_a_place(tmp_path: Path) -> None:
    """It has no such names, so that what is there is the user's."""
    results = tmp_path / "results"
    for attempt in range(2):
        taken(results, replace(brought(tmp_path, 0, attempt=attempt), state="failed"))
        (results / "by").mkdir(exist_ok=True)
        shutil.copy(results / "failed/0/outputs/0.npy", results / "by/0.npy")
    taken(results, replace(brought(tmp_path, 0, attempt=2), state="failed"))
    assert (results / "by/0.npy").read_bytes() == GOOD


def test_a_tasks_folder_that_is_made_anew_is_linked_again(tmp_path: Path) -> None:
    results = tmp_path / "results"
    state = brought(tmp_path, 0)
    taken(results, state)
    (results / "0/outputs/0.npy").unlink()
    assert taken(results, state).misplaced == {}
    assert (results / "by/0.npy").samefile(results / "0/outputs/0.npy")


def test_places_are_copies_where_there_are_no_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", fail)
    results = tmp_path / "results"
    assert taken(results, brought(tmp_path, 0)).misplaced == {}
    assert (results / "by/0.npy").read_bytes() == GOOD
    assert not (results / "by/0.npy").samefile(results / "0/outputs/0.npy")
    assert taken(results, brought(tmp_path, 0)).misplaced == {}
    assert taken(results, brought(tmp_path, 0, b"another", 1)).misplaced == {}
    assert (results / "by/0.npy").read_bytes() == b"another"
    assert [path.name for path in (results / "by").iterdir()] == ["0.npy"]


def test_two_tasks_with_one_place_in_a_shared_folder_are_told(tmp_path: Path) -> None:
    results = tmp_path / "results"
    found = taken(results, brought(tmp_path, 0), brought(tmp_path, 1, b"other"), to="by/same")
    assert list(found.misplaced) == [1]
    assert (results / "by/same").read_bytes() == GOOD


@pytest.mark.parametrize(("text", "seen"), [("data/a*.npy", "data/a[*].npy"), ("s3://b/c/d", "d")])
def test_a_required_output_is_looked_for_where_the_task_saw_its_file(
    tmp_path: Path, text: str, seen: str
) -> None:
    (tmp_path / "tasks.csv").write_text(f'"index","f"\n0,"{text}"\n')
    outputs = [{"parts": ["outputs/", "f", ".out"], "optional": False}]
    data = {"tasks": 1, "columns": ["f"], "file_columns": ["f"], "outputs": outputs}
    assert Required(Batch(tmp_path, data))(0) == [f"outputs/inputs/{seen}.out"]
