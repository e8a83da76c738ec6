"""`osgbatch run`: a command becomes a spec, what tasks print is shown once, results come here."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import started

from osgbatch import names
from osgbatch.cli.safe_output import SafeOutput
from osgbatch.collecting.outside import TakenError, claim, owner_of
from osgbatch.errors import OsgbatchError
from osgbatch.life import all_output, output_following
from osgbatch.life.all_output import AllOutput
from osgbatch.life.output_following import Following
from osgbatch.local.output import tail
from osgbatch.model import JobState, TaskState
from osgbatch.packing.files import entries_of, files_members
from osgbatch.spec.document import parse_document
from osgbatch.spec.from_words import Told, text_of, worded
from osgbatch.spec.load import load_spec
from osgbatch.submission.running import pushed, spec_of_run

CHARACTERS = "ab \n\t'\"$#:,-[]&*!|>%@`é☃\\\r\x07\u2028\x85\ufeff~?0.1=\U0001f600"
"""What arguments are made of; braces stand for placeholders and are doubled."""


def osgbatch(*words: str | Path, cwd: Path, check: int | None = 0) -> Any:
    """Run the command line; the test fails when its exit code is another."""
    done = started.osgbatch(words, cwd)
    assert check is None or done.returncode == check, (words, done.stdout, done.stderr)
    return done


# --- the spec that it would be -------------------------------------------------------------------


def test_every_argument_is_in_the_spec_as_it_was_given(tmp_path: Path) -> None:
    random_ = random.Random(8)
    for _ in range(300):
        words = ["c"] + [
            "".join(random_.choices(CHARACTERS, k=random_.randint(0, 8)))
            for _ in range(random_.randint(0, 20))
        ]
        document = parse_document(text_of(Told("n", "n", words)), "x")
        assert [document.texts["command", i] for i in range(len(words))] == words
    spec = load_spec(tmp_path / "none.yaml", (), text_of(Told("n", "n", ["echo", "{{{index}}}"])))
    assert spec.command[1].fill({"index": "3"}) == "{3}"


def test_options_become_the_keys_of_a_spec() -> None:
    told = Told(
        "fit", "out/", ["Rscript", "fit.R"], params="t.csv",
        sweeps=["x=1,2.50, a b", "f=file:*.npy"],
        pushed=[("fit.R", ""), ("/data/a:b", "c/d")], libraries=["mylib/"],
        image="python:3.12-alpine", resources={"cpus": "2", "memory": "4GB", "time": "20min"},
    )  # fmt: skip
    assert text_of(told).decode().splitlines()[1:] == [
        "name: fit",
        "command: [Rscript, fit.R]",
        "sweep:",
        "  table: t.csv",
        "  x: [1, 2.50, a b]",
        "  f: {files: '*.npy'}",
        "files:",
        "- fit.R",
        "- {'/data/a:b': c/d}",
        "libraries: [mylib/]",
        "environment: {container: 'docker://python:3.12-alpine'}",
        "outputs: {changed_only: true}",
        "resources: {cpus: 2, memory: 4GB, time: 20min}",
        "results_to: out/",
    ]
    assert b"\nsweep: {count: 3}\n" in text_of(Told("n", "n", ["x"], count=3))
    quoted = text_of(Told("n", "n", ["x"], sweeps=['x="a, b",c,"d ""e"""']))
    assert b"x: ['a, b', c, d \"e\"]" in quoted


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"sweeps": ["index=1"]}, '--sweep index=1: "index" is taken'),
        ({"sweeps": ["x"]}, "--sweep x: should be NAME=VALUE"),
        ({"sweeps": ["x=1", "x=2"]}, '--sweep x=2: column "x" is given twice'),
        ({"sweeps": ['x="1']}, "the quotes in it do not match"),
        ({"sweeps": ["x=1"], "count": 3}, "--set sweep.repeat=3"),
        ({"environment": "a.yml", "image": "b"}, "--env and --image do not go together"),
        ({"command": ["a\udcff"]}, "not UTF-8"),
        ({"resources": {"cpus": "1", "memory": "100"}}, "--memory: resources.memory: a size needs"),
        ({"command": ["awk", "{print $1}"]}, "COMMAND: no column can be called"),
        ({"command": ["echo", "{y}"], "sweeps": ["x=1"]}, 'COMMAND: unknown name "y"'),
        ({"params": "none.csv"}, '--params: cannot read "none.csv"'),
        ({"sweeps": ["f=file:none*"]}, "--sweep f: "),
        ({"libraries": ["none/"]}, '--lib: "none/" does not exist'),
        ({"environment": "none.yml"}, '--env: "none.yml" does not exist'),
        ({"results_to": "."}, "-n or --out: results_to: "),
    ],
)  # fmt: skip
def test_a_mistake_is_told_by_its_option_and_nothing_is_made(
    tmp_path: Path, told: dict[str, Any], said: str
) -> None:
    from osgbatch.submission.planned import plan_sweep

    asked = Told(**{"name": "", "results_to": "", "command": ["echo"], **told})
    with pytest.raises(OsgbatchError) as caught, spec_of_run(asked, tmp_path) as made:
        plan_sweep(made.path, choices=made.choices())
    assert said in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_warnings_are_told_by_options(tmp_path: Path) -> None:
    from osgbatch.submission.planned import plan_sweep

    (tmp_path / "d").mkdir()
    for name in ("s.sh", "d/a.csv", "my fit.py"):
        (tmp_path / name).touch()

    def warned(*command: str, **more: Any) -> list[str]:
        with spec_of_run(Told("n", "n", command, **more), tmp_path) as made:
            found = plan_sweep(made.path, choices=made.choices()).warnings
            return [one for one in map(made.worded, found) if "need not have" not in one]

    names = "the command names"
    brought = "which no task is brought: `--push"
    assert warned("s.sh") == [f"{names} s.sh, {brought} s.sh` brings it, and it is called ./s.sh"]
    assert warned("./s.sh") == [f"{names} s.sh, {brought} s.sh` brings it"]
    (fit,) = warned("sh", "my fit.py")
    assert fit.endswith("`--push 'my fit.py'` brings it")
    assert warned("cat", "d/a.csv") == [f"{names} d/a.csv, {brought} d/a.csv` brings it"]
    assert warned("cat", "d/{x}.csv", sweeps=["x=a"])[0].endswith(": bring the files with `--push`")
    assert warned("bash", "no.sh")[0].endswith(", and it is not here")
    (told,) = warned("echo", "$HOME")
    assert told == (
        "no shell runs the command: $HOME would reach the program as text; for a shell write "
        "`-- sh -c '...'`"
    )
    text = text_of(Told("n", "n", ["python"], resources={"memory": "9 TB"}))
    line = text.decode().splitlines().index("resources: {memory: 9 TB}") + 1
    assert worded(f"warning: /x y/.f.yaml:{line}:21: large", ".f.yaml", text) == (
        "warning: --memory: large"
    )
    assert worded("elsewhere.csv:1:1: odd", ".f.yaml", text) == "elsewhere.csv:1:1: odd"


def test_a_folder_for_results_is_found_that_nobody_has(tmp_path: Path) -> None:
    (tmp_path / "fit").mkdir()
    told = Told("", "", ["Rscript", "scripts/fit.R"])
    with spec_of_run(told, tmp_path) as one, spec_of_run(told, tmp_path) as other:
        assert [one.results.name, other.results.name] == ["fit-2", "fit-3"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fit"]


def test_what_is_pushed(tmp_path: Path) -> None:
    for name in ("a.sh", "d/x", "od:d", "b:c/y"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "a.sh").chmod(0o755)
    (tmp_path / "list").write_text("# files\n\na.sh\n@inner\n")
    (tmp_path / "inner").write_text("d:data/e\nod:d\nb:c:f\na.sh:bin/\n")
    found = pushed(["@list", "a.sh"], tmp_path)
    assert found == [
        ("a.sh", ""), ("d", "data/e"), ("od:d", ""), ("b:c", "f"), ("a.sh", "bin/")
    ]  # fmt: skip
    text = text_of(Told("n", "n", ["x"], pushed=found))
    spec = load_spec(tmp_path / "sweep.yaml", (), text)
    members = files_members(entries_of(spec.files), tmp_path)
    files = {m.name: m.source for m in members if m.source}
    assert sorted(files) == ["a.sh", "bin/a.sh", "data/e/x", "f/y", "od:d"]
    assert files["bin/a.sh"] == tmp_path / "a.sh"
    (tmp_path / "inner").write_text("@list\n")
    for wrong, said in {
        "@list": "leads back to itself", "none": 'there is no "none"', "none:x": 'no "none"',
        "https://x.org/a": "--set inputs=", "@none": 'cannot read the list "none"',
    }.items():  # fmt: skip
        with pytest.raises(OsgbatchError, match=said):
            pushed([wrong], tmp_path)


def test_folders_of_results_do_not_travel_with_the_folder_beside_them(tmp_path: Path) -> None:
    for folder in ("mine", "theirs"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "f").write_text("")
    (tmp_path / "theirs" / ".osgbatch-results.json").write_text("{}")
    assert [m.name for m in files_members(["."], tmp_path)] == ["mine", "mine/f"]


# --- from the command line to its results, on this machine ---------------------------------------

JOB = """\
import os, sys
print("task", sys.argv[1:], open("data/f").read(), os.access("tool", os.X_OK))
print("to stderr", file=sys.stderr)
open("made.csv", "w").write(sys.argv[1])
open("stdout.txt", "w").write("mine")
sys.exit(3 if sys.argv[1] == "1" else 0)
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """Three tasks, the one in the middle fails."""
    here = tmp_path_factory.mktemp("run") / "it's here"
    (here / "d").mkdir(parents=True)
    (here / "d" / "f").write_text("hi")
    (here / "job.py").write_text(JOB)
    (here / "tool").write_text("")
    (here / "tool").chmod(0o755)
    (here / "list").write_text("d:data\ntool\n")
    words = [
        "--pool",
        "local",
        "--push",
        "@list",
        "--push",
        "job.py",
        "--count",
        "3",
        "-n",
        "three",
    ]
    odd = ["a b", 'it\'s $5 "q"', "é\n{{x}}", "\\n*"]
    done = osgbatch("run", *words, "--", "python", "job.py", "{index}", *odd, cwd=here, check=1)
    return here, done


def test_results_and_output_of_several_tasks(ran: tuple[Path, Any]) -> None:
    here, done = ran
    for i in range(3):
        line = f"[{i}] task {[str(i), 'a b', 'it' + chr(39) + 's $5 ' + chr(34) + 'q' + chr(34)]}"
        assert done.stdout.count(line[:-1]) == 1
    assert len(done.stdout.splitlines()) == 3
    assert "'é\\n{x}', '\\\\n*'] hi True" in done.stdout
    assert done.stderr.count("[1] to stderr\n") == 1
    assert "3 tasks: 2 succeeded, 1 failed" in done.stderr
    assert "what failed left: three/failed/1/" in done.stderr
    assert "\nresults: three/ (2 of 3 tasks)\n" in done.stderr  # not `three/0/ to three/2/`
    files = {str(p.relative_to(here / "three")) for p in (here / "three").rglob("*") if p.is_file()}
    assert files == {".osgbatch-results.json"} | {
        f"{where}/{name}"
        for where in ("0", "2", "failed/1")
        for name in ("made.csv", "stdout", "stdout.txt", "stderr.txt")
    }
    # what the task has called stdout.txt keeps its name
    assert (here / "three/2/stdout.txt").read_text() == "mine"
    assert (here / "three/2/stdout").read_text().startswith("task ['2',")
    assert (here / "three/2/stderr.txt").read_text() == "to stderr\n"
    assert sorted(p.name for p in here.iterdir()) == [
        "batches", "d", "job.py", "list", "three", "tool"
    ]  # fmt: skip


def test_a_folder_of_results_is_one_batchs_alone(ran: tuple[Path, Any]) -> None:
    here, _ = ran
    before = sorted(map(str, here.rglob("*")))
    said = osgbatch("run", "--pool", "local", "-n", "three", "--", "true", cwd=here, check=2).stderr
    assert "it has the results of batch" in said
    for name in ("d", "job.py"):
        osgbatch("run", "--pool", "local", "--out", name, "--", "true", cwd=here, check=2)
    assert sorted(map(str, here.rglob("*"))) == before


def test_a_claim_that_was_cut_short_keeps_nobody_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "results"

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", full)
        with pytest.raises(TakenError, match="No space left"):
            claim(folder, "one", tmp_path)
    assert list(folder.iterdir()) == []
    (folder / f"{names.RESULTS_OF}.gone").touch()  # killed before, and by an older version
    (folder / names.RESULTS_OF).touch()
    claim(folder, "two", tmp_path)
    assert owner_of(folder) == ("two", str(tmp_path))
    claim(folder, "two", tmp_path)
    with pytest.raises(TakenError, match="results of batch two"):
        claim(folder, "three", tmp_path)
    monkeypatch.setattr(os, "link", full)
    claim(tmp_path / "unlinked", "four", tmp_path)
    assert owner_of(tmp_path / "unlinked")[0] == "four"
    assert [p.name for p in (tmp_path / "unlinked").iterdir()] == [names.RESULTS_OF]


def test_what_jobs_print_does_not_steer_a_terminal() -> None:
    class Terminal(io.TextIOWrapper):
        tty = True

        def isatty(self) -> bool:
            return self.tty

    steers = "\x1b]0;title\x07é\x9b2J\u202e\ta\r\n".encode()
    shown = Terminal(io.BytesIO(), encoding="utf-8")
    out = SafeOutput(shown)
    for byte in steers:  # characters may come in parts
        assert out.write(bytes([byte])) == 1
    assert cast(io.BytesIO, shown.buffer).getvalue().decode() == "?]0;title?é?2J?\ta\r\n"
    shown = Terminal(io.BytesIO(), encoding="utf-8")
    shown.tty = False
    SafeOutput(shown).write(steers)
    assert cast(io.BytesIO, shown.buffer).getvalue() == steers


def test_a_failure_that_is_run_again_and_a_file_that_is_in_the_way(ran: tuple[Path, Any]) -> None:
    here, _ = ran
    (here / "job.py").write_text(JOB.replace("sys.exit(3", "sys.exit(0"))
    said = osgbatch("resubmit", "three", "--no-watch", cwd=here).stderr
    assert "is not there" not in said  # there never was a sweep.yaml
    osgbatch("watch", "three", cwd=here)
    (here / "three/1").mkdir()
    (here / "three/1/made.csv").write_text("the user's")
    told = osgbatch("collect", "three", cwd=here, check=1)
    assert "1/made.csv in three/ is there already, and is another file" in told.stderr
    assert (here / "three/1/made.csv").read_text() == "the user's"
    assert not (here / "three/failed").exists()
    (here / "three/1/made.csv").unlink()
    assert ", and three\n" in osgbatch("collect", "three", cwd=here).stdout
    assert (here / "three/1/made.csv").read_text() == "1"


def test_one_task_is_shown_as_it_is_and_saved_as_a_spec(tmp_path: Path) -> None:
    words = ["--pool", "local", "--save", "sweep.yaml", "--", "printf", "a\\nb"]
    looked = osgbatch("run", "--dry-run", *words, cwd=tmp_path)
    assert "printf" in looked.stdout
    assert [p.name for p in tmp_path.iterdir()] == ["sweep.yaml"]
    done = osgbatch("run", *words, cwd=tmp_path)
    # an echo ends in a line break, what came home need not
    assert done.stdout in ("a\nb", "a\nb\n")
    assert (tmp_path / "printf/0/stdout.txt").read_text() == "a\nb"
    other = ["--set", "results_to=other", "--watch", "--pool", "local"]
    osgbatch("submit", "sweep.yaml", *other, cwd=tmp_path)
    assert (tmp_path / "other/0/stdout.txt").read_text() == "a\nb"
    osgbatch("run", "--pool", "local", "--save", "sweep.yaml", "--", "x", cwd=tmp_path, check=2)


def test_ctrl_c_leaves_the_job_running_and_says_how_to_come_back(tmp_path: Path) -> None:
    go = tmp_path / "go"
    wait = f"echo first; until [ -e '{go}' ]; do sleep 0.1; done; echo last"
    process = subprocess.Popen(
        [sys.executable, "-m", "osgbatch", "run", "--pool", "local", "-n", "w", "--", "sh", "-c",
         wait.replace("{", "{{").replace("}", "}}")],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "first\n"  # while it runs
    process.send_signal(signal.SIGINT)
    out, said = process.communicate(timeout=180)
    assert (process.returncode, out) == (130, "")
    assert "`osgbatch watch " in said
    assert ", to w/\n" in said
    go.touch()
    osgbatch("watch", "w", cwd=tmp_path)
    osgbatch("collect", "w", cwd=tmp_path)
    assert (tmp_path / "w/0/stdout.txt").read_text() == "first\nlast\n"


def test_without_waiting_and_as_json(tmp_path: Path) -> None:
    words = ["run", "--pool", "local", "--json"]
    left = json.loads(osgbatch(*words, "--no-wait", "-n", "n", "--", "true", cwd=tmp_path).stdout)
    assert left["results"] == str(tmp_path / "n")
    done = json.loads(
        osgbatch(*words, "--", "sh", "-c", "echo x; exit 4", cwd=tmp_path, check=1).stdout
    )
    assert [t["exit_code"] for t in done["tasks"]] == [4]
    assert (tmp_path / "sh/failed/0/stdout.txt").read_text() == "x\n"


# --- what tasks print, each byte once ------------------------------------------------------------


class Echoing:
    """A job whose echo is what the test says."""

    def __init__(self, echo: bytes) -> None:
        self.backend = "local"
        self.text = echo

    def echo(self) -> bytes:
        """So far."""
        return self.text


def test_what_was_shown_of_a_running_task_is_not_shown_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(all_output, "Follower", lambda batch: None)
    job = Echoing(b"")
    monkeypatch.setattr(all_output, "running_job", lambda batch, state: job)
    printed = {(0, "stdout"): b"one\ntwo\nthree\n", (1, "stdout"): b"x\ny", (0, "stderr"): b"",
               (1, "stderr"): b"e\n"}  # fmt: skip
    monkeypatch.setattr(
        all_output, "copy_log", lambda state, stream, out: out.write(printed[state.index, stream])
    )
    batch = SimpleNamespace(tasks=2, rounds=lambda: [SimpleNamespace(folder=tmp_path)])
    outs = {"stdout": io.BytesIO(), "stderr": io.BytesIO()}
    said: list[str] = []
    shown = AllOutput(batch, outs, said.append, lambda now: None)  # type: ignore[arg-type]

    def look(*states: str, echo: bytes) -> bytes:
        monkeypatch.setattr(all_output, "LOOK_S", 0.0)
        job.text = echo
        before = outs["stdout"].tell()
        archive = tmp_path / "a.tar.gz"
        shown._show(
            SimpleNamespace(  # type: ignore[arg-type]
                states=[
                    TaskState(i, state, round=1, job=JobState(0), archive=archive)
                    if state == "succeeded"
                    else TaskState(i, state, round=1, job=JobState(0))
                    for i, state in enumerate(states)
                ]
            )
        )
        return outs["stdout"].getvalue()[before:]

    assert look("running", "running", echo=b"[0] one\n[0] tw") == b"[0] one\n"
    assert look("running", "running", echo=b"[0] one\n[0] two\n[1] x\n") == b"[0] two\n[1] x\n"
    assert look("running", "running", echo=b"[1] x\n") == b""  # it began anew
    assert look("succeeded", "running", echo=b"[1] x\n") == b"[0] three\n"
    assert look("succeeded", "running", echo=b"[1] z\n") == b"[1] z\n"  # another start
    assert said == ["task 1 was started again"]
    assert look("succeeded", "succeeded", echo=b"") == b"[1] x\n[1] y\n"
    assert look("succeeded", "succeeded", echo=b"") == b""
    assert outs["stderr"].getvalue() == b"[1] e\n"


def test_a_job_that_ends_while_it_is_asked_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class JustEnded(Echoing):
        def echo(self) -> bytes:
            return tail(cast(Any, SimpleNamespace(folder=tmp_path / "b/rounds/001")), 0)

    state = TaskState(0, "running", round=1, job=JobState(0, "running"))
    end = TaskState(0, "succeeded", round=1, job=JobState(0), archive=tmp_path / "a.tar.gz")
    batch = SimpleNamespace(tasks=1, rounds=lambda: [SimpleNamespace(folder=tmp_path)])
    said: list[str] = []
    for module in (all_output, output_following):
        looks = iter([state, end])

        def look(all_tasks: bool, looks: Any = looks) -> Any:
            one = next(looks)
            return SimpleNamespace(states=[one], ended=one is end)

        patch = partial(monkeypatch.setattr, module)
        patch("Follower", lambda batch, look=look: SimpleNamespace(status=look))
        patch("running_job", lambda batch, one: JustEnded(b"") if one is state else None)
        patch("copy_log", lambda one, stream, out: out.write(b"x" * (stream == "stdout")))
        patch("LOOK_S", 0.0)
        out = io.BytesIO()
        if module is all_output:
            outs = {"stdout": out, "stderr": io.BytesIO()}
            AllOutput(cast(Any, batch), outs, said.append, lambda now: None).run()
        else:
            Following(cast(Any, batch), 0, "both", out, said.append, lambda one: "").run()
        assert out.getvalue() == b"x"
    assert said == ["task 0 succeeded"]
