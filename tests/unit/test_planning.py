"""Spec and table to plan: chunks, inputs, what is refused before anything is written."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osgbatch.errors import OsgbatchError
from osgbatch.names import task_path
from osgbatch.plan_model import Payload, Plan
from osgbatch.planning.checks import long_values
from osgbatch.planning.chunks import Chunks
from osgbatch.planning.inputs import travels_plainly
from osgbatch.planning.plan import make_plan
from osgbatch.planning.resolve import resolve
from osgbatch.spec.load import load_spec
from osgbatch.sweep.expand import expand
from osgbatch.task_ranges import parse_task_ranges, task_ranges


def plan(folder: Path, text: str) -> Plan:
    folder.mkdir(exist_ok=True, parents=True)
    (folder / "sweep.yaml").write_text(text)
    spec = load_spec(folder / "sweep.yaml")
    return make_plan(spec, expand(spec))


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(OsgbatchError) as caught:
        plan(folder, text)
    return str(caught.value)


@given(st.integers(1, 500), st.data())
def test_chunks_cover_every_task_once_and_differ_by_one_at_most(tasks: int, data: Any) -> None:
    jobs = data.draw(st.integers(1, tasks))
    chunks = Chunks(tasks, jobs)
    assert len(chunks) == len(list(chunks)) == jobs
    assert [task for chunk in chunks for task in chunk] == list(range(tasks))
    sizes = {len(chunk) for chunk in chunks}
    assert max(sizes) - min(sizes) <= 1
    assert min(sizes) >= 1


@given(st.sets(st.integers(0, 300), min_size=1))
def test_task_ranges_read_back_and_hold_nothing_that_htcondor_splits(tasks: set[int]) -> None:
    text = task_ranges(sorted(tasks))
    assert parse_task_ranges(text) == sorted(tasks)
    assert not set(text) & set(" ,\"'")


def test_rows_become_arguments_parameters_and_inputs(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    for name in "ab":
        (tmp_path / f"d/{name}.npy").write_text(name)
    (tmp_path / "model.h5").write_text("m")
    made = plan(
        tmp_path,
        "command: [run, '{f}', '{n}', '{index}', '{{n}}']\n"
        "sweep: {f: {files: d/*.npy}, n: [1.50]}\n"
        "inputs: [model.h5]\n",
    )
    task = made.tasks[1]
    assert task.argv == ("run", "inputs/d/b.npy", "1.50", "1", "{n}")
    assert dict(task.params) == {"f": "inputs/d/b.npy", "n": 1.5}
    assert [(f.carried, f.task_path, f.archived) for f in task.inputs] == [
        ("model.h5", "inputs/model.h5", False),
        ("d/b.npy", "inputs/d/b.npy", False),
    ]
    assert made.input_bytes == 3


def test_a_value_is_never_expanded_again(tmp_path: Path) -> None:
    made = plan(tmp_path, "command: [echo, '{x}']\nsweep: {x: ['{y}'], y: [1]}\n")
    assert made.tasks[0].argv == ("echo", "{y}")


def test_inputs_elsewhere_start_from_the_common_folder(tmp_path: Path) -> None:
    for name in ("data/s1/x.npy", "data/s2/x.npy"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    made = plan(tmp_path / "sweep", "command: echo\nsweep: {f: {files: ../data/*/x.npy}}\n")
    assert made.initialdir == tmp_path
    assert [t.inputs[0].carried for t in made.tasks] == ["data/s1/x.npy", "data/s2/x.npy"]
    assert [t.inputs[0].task_path for t in made.tasks] == [
        "inputs/data/s1/x.npy",
        "inputs/data/s2/x.npy",
    ]


def test_inputs_beyond_an_odd_folder_travel_in_the_archive(tmp_path: Path) -> None:
    (tmp_path / "x.npy").touch()
    made = plan(tmp_path / "a, b", "command: echo\nsweep: {f: {files: ../x.npy}}\n")
    assert made.initialdir == tmp_path / "a, b"
    assert made.tasks[0].inputs[0].archived


def test_equal_places_in_the_task_are_refused(tmp_path: Path) -> None:
    for name in ("x", "sweep/x"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    said = refusal(tmp_path / "sweep", "command: echo\ninputs: [x, ../x]\n")
    assert "would both be inputs/x in the task" in said
    assert "sweep.yaml:2:13" in said


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("command: echo {n}\n", 'sweep.yaml:1:15: unknown name "n" in braces\n'),
        ("command: echo {lpf}\nsweep: {lfp: [1]}\n", 'did you mean "lfp"?'),
        ("command: echo\nfiles: [a.py]\n", 'sweep.yaml:2:9: "a.py" does not exist'),
        ("command: echo\nlibraries: [lib/]\n", '"lib/" does not exist'),
        ("command: echo\nenvironment: req.txt\n", '"req.txt" does not exist'),
        ("command: echo\ngather: g.py\n", '"g.py" does not exist'),
        ("command: echo\ninputs: [x.dat]\n", 'sweep.yaml:2:10: input "x.dat" does not exist'),
        ("command: echo\ninputs: ['{n}']\nsweep: {n: [x]}\n", 'input "x" does not exist'),
    ],
)
def test_what_is_missing_is_named_at_its_place(tmp_path: Path, text: str, message: str) -> None:
    assert message in refusal(tmp_path, text)


@pytest.mark.parametrize(
    "path", ["a.npy", "d/x y.npy", "é/日本", "a=b", "x(1)", "%20", "a+b", "#1", "d/.hidden"]
)
def test_ordinary_names_travel_as_they_are(path: str) -> None:
    assert travels_plainly(path)


@pytest.mark.parametrize(
    "path",
    [
        "a,b", "a;b", "$x", "a'b", 'a"b', "a\nb", "a\rb", " a", "a /b", "b ", "\udcff", "a\\b",
        "c:x", "tasks/0/x", ".osgbatch/x", "osgbatch-out.tar.gz", ".job.ad", "_condor_stdout",
        "\x1f", "*",
    ],
)  # fmt: skip
def test_names_that_htcondor_cannot_be_given_do_not(path: str) -> None:
    assert not travels_plainly(path)


@pytest.mark.parametrize(
    ("text", "path"),
    [("a/b", "inputs/a/b"), ("../a", "inputs/a"), ("/d/a", "inputs/d/a"), ("./a/", "inputs/a")],
)
def test_a_task_finds_the_tree_under_inputs(text: str, path: str) -> None:
    assert task_path(text) == path


def test_disk_is_the_tasks_sum_and_what_is_brought(tmp_path: Path) -> None:
    made = plan(
        tmp_path,
        "command: echo\nsweep: {x: [1, 2, 3]}\ntasks_per_job: 2\nresources: {disk: 10 MB}\n",
    )
    payload = Payload("files", tmp_path / "f.tar.gz", "0" * 64, 1024, 4096)
    resolved = resolve(made, [payload])
    assert resolved.resources.disk_kb == 2 * 10240 + 5
    assert resolved.max_idle == 0


@pytest.mark.parametrize("name", ["line\nbreak", "car\rriage", "blank at the end "])
def test_a_folder_that_no_submit_file_can_name_is_refused(tmp_path: Path, name: str) -> None:
    assert "characters that HTCondor cannot be given" in refusal(tmp_path / name, "command: echo\n")


def test_a_way_back_behind_a_link_leads_where_the_file_system_says(tmp_path: Path) -> None:
    for name in ("real/proj", "real/data", "home/data"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "real/data/x").write_text("right")
    (tmp_path / "home/data/x").write_text("wrong")
    (tmp_path / "home/proj").symlink_to("../real/proj")
    (tmp_path / "real/proj/sweep.yaml").write_text(
        "command: echo\nsweep: {f: {files: ../data/*}}\n"
    )
    spec = load_spec(tmp_path / "home/proj/sweep.yaml")
    task = make_plan(spec, expand(spec)).tasks[0]
    assert task.inputs[0].source.read_text() == "right"
    assert task.inputs[0].task_path == "inputs/data/x"


def test_a_folder_with_a_linked_folder_travels_in_the_archive(tmp_path: Path) -> None:
    (tmp_path / "ref/sub").mkdir(parents=True)
    (tmp_path / "plain").mkdir()
    (tmp_path / "ref/again").symlink_to("sub")
    made = plan(tmp_path, "command: echo\ninputs: [ref, plain]\n")
    assert [f.archived for f in made.tasks[0].inputs] == [True, False]


def test_a_pipe_is_no_input(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    said = refusal(tmp_path, "command: echo\ninputs: [pipe]\n")
    assert 'input "pipe" is neither a file nor a folder' in said


def test_a_parameters_wildcard_is_no_wildcard_in_an_output(tmp_path: Path) -> None:
    made = plan(
        tmp_path, "command: echo\nsweep: {a: ['*', '[x]']}\noutputs: ['outputs/{a}/*.txt']\n"
    )
    assert [t.outputs for t in made.tasks] == [
        (("outputs/[*]/*.txt", False), ("outputs/metrics.json", True)),
        (("outputs/[[]x]/*.txt", False), ("outputs/metrics.json", True)),
    ]


def carried(made: Plan) -> list[list[str]]:
    return [[f.carried for f in task.inputs] for task in made.tasks]


def test_renamed_inputs_with_odd_names_do_not_cover_each_other(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name};x").write_text(name)
    made = plan(
        tmp_path, "command: cat\nsweep: {id: [a, b, c]}\ninputs: [{path: '{id};x', as: data.csv}]\n"
    )
    assert len({name for task in carried(made) for name in task}) == 3
    assert {f.source.read_text() for f in made.archived_inputs} == {"a", "b", "c"}
    assert {task.inputs[0].task_path for task in made.tasks} == {"inputs/data.csv"}


def test_inputs_of_rows_outside_the_folder_travel_with_their_own_task(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for name in "ab":
        (tmp_path / f"data/{name}.bin").write_text(name * 100)
    made = plan(
        tmp_path / "spec", "command: cat\nsweep: {i: [a, b]}\ninputs: ['../data/{i}.bin']\n"
    )
    assert made.archived_inputs == ()
    assert carried(made) == [["data/a.bin"], ["data/b.bin"]]
    assert made.job_bytes == 100


@pytest.mark.parametrize(
    ("inputs", "per_job"),
    [
        ("['http://x.org/{i}/data.csv']", 2),
        ("[{path: 'http://x.org/a/{i}', as: one}, {path: 'http://x.org/b/{i}', as: two}]", 1),
        ("[{path: 'http://x.org/a/{i}.txt', as: u}, {path: '{i}.txt', as: f}]", 1),
        ("[{path: 'http://x.org/a/1.txt', as: u}, {path: '{i}.txt', as: f}]", 1),
    ],
)
def test_what_a_url_would_cover_in_a_jobs_folder_is_refused(
    tmp_path: Path, inputs: str, per_job: int
) -> None:
    for name in "12":
        (tmp_path / f"{name}.txt").write_text(name)
    text = f"command: cat\nsweep: {{i: [1, 2]}}\ninputs: {inputs}\ntasks_per_job: {per_job}\n"
    assert "would both arrive as" in refusal(tmp_path, text)


def test_the_same_file_for_several_tasks_of_a_job_is_brought_once(tmp_path: Path) -> None:
    made = plan(
        tmp_path,
        "command: cat\nsweep: {i: [1, 2], u: ['http://x.org/a']}\ninputs: ['{u}']\n"
        "tasks_per_job: 2\n",
    )
    assert carried(made) == [["a"], ["a"]]


def test_a_folder_of_a_row_around_a_shared_input_is_refused(tmp_path: Path) -> None:
    for name in ("common/a.txt", "refs/p/a.txt", "refs/q/a.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    said = refusal(
        tmp_path,
        "command: cat\nsweep: {x: [p, q]}\n"
        "inputs: [{common/a.txt: ref/a.txt}, {'refs/{x}': ref}]\n",
    )
    assert "would both be inputs/ref/a.txt in the task" in said


def test_a_job_asks_for_the_disk_of_its_inputs(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"x" * 3_000_000)
    for name in "ab":
        (tmp_path / f"{name}.bin").write_bytes(b"x" * 1_000_000)
    made = plan(
        tmp_path,
        "command: cat\nsweep: {f: {files: '*.bin'}}\ninputs: [big]\ntasks_per_job: 2\n"
        "resources: {disk: 1 MB}\n",
    )
    assert resolve(made, []).resources.disk_kb == 2 * 1024 + -(-5_000_000 // 1024)


def test_a_function_must_leave_its_result(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text("def f(): ...\n")
    made = plan(tmp_path, "function: m:f\nfiles: m.py\n")
    wanted = {(o.pattern.fill({}), o.optional) for o in made.outputs}
    assert wanted == {
        ("outputs", True),
        ("outputs/result.json", False),
        ("outputs/result*.npy", True),
    }


@pytest.mark.parametrize(
    ("program", "room"),
    [
        ("script: echo {x}", 131_071 - len("OSGBATCH_PARAM_x=")),
        ("command: echo {x}", 131_071),
        ("command: echo --x={x}ä", 131_071 - len("--x=ä".encode())),
        ("command: echo\nenvironment_variables: {V: '{x}'}", 131_071 - len("V=")),
        ("command: echo {n}", 10**9),
    ],
)
@pytest.mark.parametrize("letter", ["a", "ä"])
def test_a_value_that_no_program_can_be_given_is_told(
    tmp_path: Path, program: str, room: int, letter: str
) -> None:
    for over in (0, 1):
        text = letter * 10 + "b" * (min(room, 200_000) - 10 * len(letter.encode()) + over)
        (tmp_path / "t.jsonl").write_text(
            "".join(json.dumps({"x": x, "n": i}) + "\n" for i, x in enumerate(["short", text]))
        )
        (tmp_path / "sweep.yaml").write_text(f"{program}\nsweep: {{table: t.jsonl}}\n")
        spec = load_spec(tmp_path / "sweep.yaml")
        found = list(long_values(spec, expand(spec)))
        assert len(found) == (over if room < 10**9 else 0)
        for error in found:
            assert f"{room + over:,} bytes" in error.what and f"{room:,}" in error.what
            assert "files" in error.fix and error.place.source


def test_disk_that_nobody_asked_for_is_the_jobs_not_each_tasks(tmp_path: Path) -> None:
    text = "command: echo\nsweep: {x: {range: 720}}\ntasks_per_job: 720\n"
    assert plan(tmp_path, text).demand.disk_kb == 2 * 1024**2
    asked = plan(tmp_path, text + "resources: {disk: 1 GB}\n")
    assert asked.demand.disk_kb == 720 * 1024**2
