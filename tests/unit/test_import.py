"""`osgbatch import`: a submit file written by hand to a sweep.yaml that gives the same jobs.

Where condor_submit is on the PATH, all of these are also compared by its dry run, as files of users
are; tests/pool/test_import.py sees to that, with many more files.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from osgbatch.cli import app
from osgbatch.errors import OsgbatchError
from osgbatch.plan_model import Plan
from osgbatch.submission import imported_check
from osgbatch.submission.imported import Imported, import_file, write
from osgbatch.submission.planned import Choices, plan_sweep

REQUESTS = "request_memory = 1GB\nrequest_disk = 1GB\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("foo", "a.dat", "b.dat", "c.dat", "common.txt", "books/one.txt", "run_0/in",
                 "run_1/in"):  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("#!/bin/sh\n")
    (tmp_path / "foo").chmod(0o755)
    (tmp_path / "items.txt").write_text("a.dat, 1\nb.dat 2\nc.dat  3\n")
    (tmp_path / "names.txt").write_text("a.dat\nb.dat\nc.dat\n")
    return tmp_path


def imported(folder: Path, lines: str, queue: str = "queue") -> Imported:
    if any(function in f"{lines}{queue}" for function in ("$Fn(", "1 + 1")):
        pytest.importorskip("htcondor2", reason="HTCondor's bindings are asked what it means")
    path = folder / "job.submit"
    path.write_text(f"executable = foo\n{REQUESTS}{lines}\n{queue}\n")
    return import_file(path, folder / "sweep.yaml", inline=True)


def planned(folder: Path, made: Imported) -> Plan:
    assert made.lost == ()
    return plan_sweep(folder / "sweep.yaml", choices=Choices(copy=made.text.encode()))


@pytest.mark.parametrize(
    ("queue", "argv"),
    [
        ("queue 3", ["0", "1", "2"]),
        ("queue 1 + 1", ["0", "1"]),
        ("queue x in (a, b c)", ["a", "b", "c"]),
        ("queue x in a,b", ["a", "b"]),
        ("queue x in (\n a\n # none\n b c\n)", ["a", "b", "c"]),
        ("queue x in [1:] (a b c)", ["b", "c"]),
        ("queue x in [1] (a b c)", ["b"]),
        ("queue 2 x in (a b)", ["a", "a", "b", "b"]),
        ("queue x from names.txt", ["a.dat", "b.dat", "c.dat"]),
        ("queue x from [::2] names.txt", ["a.dat", "c.dat"]),
        ("queue x, y from items.txt", ["a.dat 1", "b.dat 2", "c.dat 3"]),
        ("queue x,y from (\n a, 1\n b 2\n)", ["a 1", "b 2"]),
        ("queue x matching *.dat", ["a.dat", "b.dat", "c.dat"]),
        ("queue x matching files b* [ac]*.dat", ["b.dat", "a.dat", "c.dat"]),
        ("queue x matching dirs run_*", ["run_0/", "run_1/"]),
        ("queue in (a b)", ["a", "b"]),
    ],
)
def test_all_forms_of_queue(folder: Path, queue: str, argv: list[str]) -> None:
    name = "Item" if queue.startswith("queue in") else "x"
    text = "$(Process)" if " x" not in queue and name == "x" else f"$({name})"
    text += " $(y)" if "y from" in queue else ""
    plan = planned(folder, imported(folder, f"arguments = {text}", queue))
    assert [" ".join(task.argv[1:]) for task in plan.tasks] == argv


@pytest.mark.parametrize(
    ("lines", "queue", "argv"),
    [
        (r"arguments = one \"two\" 'three'", "queue", ["one", '"two"', "'three'"]),
        ("arguments = \"one \"\"two\"\" 'a ''b'' c' {x}\"", "queue",
         ["one", '"two"', "a 'b' c", "{x}"]),
        ("n = 4\narguments = --n=$(n) $(m:5) $(DOLLAR)HOME", "queue", ["--n=4", "5", "$HOME"]),
        ("arguments = $Fn(x) $INT(Process,%03d)", "queue x in (data/a.txt)", ["a", "000"]),
        ("if defined n\narguments = yes\nelse\narguments = no\nendif", "queue", ["no"]),
        ("if version >= 8.9\narguments = new\nendif", "queue", ["new"]),
        ("arguments = $(x)", "queue x from (\n a b\n)", ["a", "b"]),
        ("arguments = \"'$(x)'\"", "queue x from (\n a b\n)", ["a b"]),
        ("arguments = $(Step) $(ItemIndex)", "queue x in [1:] (a b)", ["0", "1"]),
        ("arguments = \"'' 1.50 010\"", "queue", ["", "1.50", "010"]),
        ("if $(big)\narguments = yes\nelse\narguments = no\nendif", "queue", ["no"]),
    ],
)  # fmt: skip
def test_arguments_arrive_as_htcondor_gives_them(
    folder: Path, lines: str, queue: str, argv: list[str]
) -> None:
    plan = planned(folder, imported(folder, lines, queue))
    assert list(plan.tasks[0].argv) == ["./foo", *argv]


def test_inputs_of_each_job_are_linked_to_where_a_job_finds_them(folder: Path) -> None:
    made = imported(folder, "arguments = $(x)\ntransfer_input_files = $(x), common.txt",
                    "queue x in (a.dat books/one.txt)")  # fmt: skip
    plan = planned(folder, made)
    assert 'ln -s "$f" .; else cp "$f" .; fi' in made.text
    lines = "arguments = $(x)\ntransfer_input_files = $(x)\ntransfer_output_files = new"
    assert "  ln -s inputs/* ." in imported(folder, lines, "queue x in (a.dat b.dat)").text
    assert "files: [foo, common.txt]" in made.text
    assert [f.task_path for f in plan.tasks[1].inputs] == ["inputs/one.txt"]


def test_a_list_in_a_variable_becomes_several_inputs(folder: Path) -> None:
    queue = "queue x from (\n a.dat, b.dat\n b.dat, c.dat\n)"
    plan = planned(folder, imported(folder, "transfer_input_files = $(x)", queue))
    assert [f.source.name for f in plan.tasks[1].inputs] == ["b.dat", "c.dat"]
    made = imported(
        folder, "transfer_input_files = $(x)", "queue x from (\n a.dat, b.dat\n c.dat\n)"
    )
    assert "different numbers" in made.lost[0]


def test_stdin_environment_outputs_and_the_rest(folder: Path) -> None:
    made = imported(
        folder,
        "input = in\ninitialdir = run_$(Process)\nenvironment = \"A=1.50 B='$(Process) x'\"\n"
        "transfer_output_files = out.txt, d\n"
        'transfer_output_remaps = "out.txt = r/$(Cluster)_$(Process).txt"\n'
        "request_cpus = 2\nrequest_gpus = 1\ngpus_minimum_memory = 8GB\nmax_retries = 3\n"
        "max_materialize = 5\nrequirements = Memory > 1\nrank = Memory\n+Mine = \"a b\"\n"
        "project_name = P\nlog = a.log",
        "queue 2",
    )  # fmt: skip
    plan = planned(folder, made)
    spec = plan.spec
    assert [f.source.parent.name for task in plan.tasks for f in task.inputs] == ["run_0", "run_1"]
    assert "  ./foo < in\n" in made.text
    assert [v.fill({"index": "1"}) for _, v in spec.environment_variables] == ["1.50", "1 x"]
    assert [o.pattern.fill({}) for o in spec.outputs] == ["out.txt", "d"]
    assert spec.resources.cpus == 2
    assert spec.gpus.min_memory_mb == 8192
    assert (spec.retries.times, spec.retries.on) == (3, "any")
    assert spec.max_running == 5
    assert dict(spec.submit) == {"rank": "Memory", "+Mine": '"a b"'}
    assert spec.project == "P"
    assert any("events.log" in note for note in made.notes)


@pytest.mark.parametrize(
    ("lines", "queue", "why"),
    [
        ("arguments = $(Cluster)", "queue", "known only when"),
        ("arguments = $(nowhere)", "queue", "set nowhere"),
        ("arguments = $$(Memory)", "queue", "by the slot"),
        ("arguments = $RANDOM_CHOICE(1,2)", "queue", "random"),
        ("universe = local", "queue", "local universe"),
        ("getenv = true", "queue", "not taken over"),
        ("should_transfer_files = NO", "queue", "all machines share"),
        ("on_exit_remove = false", "queue", "retries"),
        ("retry_until = ExitCode == 3\nmax_retries = 2", "queue", "retries"),
        ("output_destination = osdf:///x/", "queue", "outputs_to"),
        ('transfer_output_remaps = "a = osdf:///x/a"', "queue", "outputs_to"),
        ("transfer_input_files = books/", "queue", "without the folder"),
        ("hold = true", "queue", "condor_release"),
        ("when_to_transfer_output = ON_EXIT_OR_EVICT", "queue", "write `checkpoint:`"),
        ("transfer_output_files = sub/", "queue", "comes back, without the folder"),
        ("rank = $(Process)", "queue", "differs between jobs"),
        ("include : x.sub", "queue", "includes"),
        ("", "queue x from ls |", "a program"),
        ("", "queue x from nothing.txt", "is not there"),
        ("", "queue x matching *.nothing", "nothing matches"),
        ("", "queue\nqueue", "more than one"),
        ("", "", "no queue statement"),
        ("transfer_input_files = gone.txt", "queue", "gone.txt"),
    ],
)
def test_what_a_sweep_cannot_say_is_told_and_nothing_is_made(
    folder: Path, lines: str, queue: str, why: str
) -> None:
    made = imported(folder, lines, queue)
    assert made.text == ""
    assert why in " ".join(made.lost)


def run(monkeypatch: pytest.MonkeyPatch, *given: str) -> int:
    monkeypatch.setattr(sys, "argv", ["osgbatch", "import", *given])
    return app.run()


def test_as_it_is_typed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    (folder / "job.submit").write_text(f"executable = foo\n{REQUESTS}arguments = $(x)\n"
                                       "queue x in (a b)\n")  # fmt: skip
    before = sorted(folder.rglob("*"))
    assert run(monkeypatch, "job.submit", "--stdout") == 0
    assert "command: ./foo {x}\nsweep:\n  x: [a, b]\nfiles: [foo]\n" in capsys.readouterr().out
    assert run(monkeypatch, "job.submit", "--json") == 0
    assert json.loads(capsys.readouterr().out)["tasks"] == 2
    assert sorted(folder.rglob("*")) == before
    assert run(monkeypatch, "job.submit") == 0
    text = (folder / "sweep.yaml").read_text()
    assert run(monkeypatch, "job.submit") == 2
    assert "is not overwritten" in capsys.readouterr().err
    assert (folder / "sweep.yaml").read_text() == text
    assert run(monkeypatch, "job.submit", "--out", "/tmp/elsewhere.yaml") == 2
    assert run(monkeypatch, "nowhere.submit") == 2
    (folder / "job.submit").write_text("executable = foo\ngetenv = true\nqueue\n")
    assert run(monkeypatch, "job.submit", "--out", "b.yaml") == 1
    assert not (folder / "b.yaml").exists()
    assert run(monkeypatch, "job.submit", "--out", "b.yaml", "--partly") == 1
    assert "# NOT TAKEN OVER: line 2: getenv" in (folder / "b.yaml").read_text()


def test_many_rows_go_into_a_file_beside_the_spec(folder: Path) -> None:
    rows = "\n".join(f" v{n}, {n}.50" for n in range(60))
    path = folder / "job.submit"
    path.write_text(f"executable = foo\n{REQUESTS}arguments = $(x) $(y)\n"
                    f"queue x, y from (\n{rows}\n)\n")  # fmt: skip
    made = import_file(path, folder / "sweep.yaml")
    write(made, folder / "sweep.yaml")
    assert len((folder / "sweep.csv").read_text().splitlines()) == 61
    plan = plan_sweep(folder / "sweep.yaml")
    assert plan.tasks[59].argv == ("./foo", "v59", "59.50")
    with pytest.raises(OsgbatchError, match="not overwritten"):
        write(made, folder / "sweep.yaml")


def test_a_program_without_its_x_bit_is_given_it(folder: Path) -> None:
    (folder / "foo").chmod(0o644)
    assert "  chmod +x ./foo\n  ./foo\n" in imported(folder, "").text


def test_inputs_that_a_job_changes_come_home_changed_and_others_do_not(folder: Path) -> None:
    (folder / "foo").write_text('#!/bin/sh\necho more >> "$1"\nexit 3\n')
    made = imported(folder, "arguments = a.dat\ntransfer_input_files = $(x)",
                    "queue x from (\n a.dat, b.dat, books\n c.dat, b.dat, run_0\n)")  # fmt: skip
    script = planned(folder, made).spec.script
    assert script is not None
    # As the shim lays it out: inputs/ has links to what was brought.
    task = folder / "task"
    (task / "inputs").mkdir(parents=True)
    shutil.copy(folder / "foo", task)
    for name in ("a.dat", "b.dat", "books"):
        (task / "inputs" / name).symlink_to(folder / name)
    done = subprocess.run(["sh", "-e", "-c", script.written], cwd=task, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (3, b"")
    assert (task / "a.dat").read_text() == "#!/bin/sh\nmore\n"
    assert (folder / "a.dat").read_text() == "#!/bin/sh\n"
    assert sorted(path.name for path in task.iterdir()) == ["a.dat", "foo", "inputs"]
    assert (folder / "books" / "one.txt").exists()


def test_names_of_outputs_without_the_cluster(folder: Path) -> None:
    for name, stays in (("$(Cluster)_$(Process)", "{index}"), ("$(Cluster).$(Process)", "{index}"),
                        ("r_$(Cluster)_$(Process)", "r_{index}")):  # fmt: skip
        made = imported(folder, "transfer_output_files = o\n"
                        f'transfer_output_remaps = "o = r/{name}.txt"', "queue 2")  # fmt: skip
        assert f'"r/{stays}.txt"' in made.text


def test_variables_that_only_name_logs_stay_as_columns(folder: Path) -> None:
    made = imported(folder, "output = $(town).out", "queue town in (a b)")
    assert "sweep:\n  town: [a, b]\n" in made.text


def test_a_misspelt_command_is_told_of(folder: Path) -> None:
    notes = imported(folder, "requst_cpus = 8\nrank_me = 3\narguments = $(rank_me)").notes
    told = [note for note in notes if "did you mean" in note]
    assert len(told) == 1
    assert "requst_cpus is no submit command" in told[0]


def test_what_the_users_own_defaults_add_is_found(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "config" / "osgbatch" / "config.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("resources: {cpus: 4, memory: 9 GB}\ngpus: 1\n")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", "/nowhere")
    text = "command: ./foo\nresources: {memory: 1 GB}\n"
    found = imported_check._defaults(text, folder / "sweep.yaml")
    assert found == [f"{file} adds resources.cpus, gpus"]
