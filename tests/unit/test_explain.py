"""`osgbatch explain`: every word says something, and every line that is rendered has a reason."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from osgbatch.cli import app
from osgbatch.condor.hold_codes import HOLD_CODES
from osgbatch.errors import OsgbatchError
from osgbatch.explaining import commands, everyday, shim_lines, submit_lines, words
from osgbatch.explaining.keys import KEYS
from osgbatch.rendering.templates import template_folder
from osgbatch.returned.codes import SHIM_CODES
from osgbatch.spec.jsonschema import json_schema
from osgbatch.submission.explained_sweep import ExplainedSweep, explain_sweep
from osgbatch.submission.explained_words import explain, listed
from osgbatch.submit_language import KNOWN_COMMANDS, joined_name


def run(monkeypatch: pytest.MonkeyPatch, *given: str) -> int:
    monkeypatch.setattr(sys, "argv", ["osgbatch", "explain", *given])
    return app.run()


# --- words ---------------------------------------------------------------------------------------


def test_every_submit_command_that_the_linter_knows_has_a_sentence() -> None:
    table = commands.table()
    assert sorted(name for name in KNOWN_COMMANDS if joined_name(name) not in table) == []
    for name in KNOWN_COMMANDS:
        (found,) = [one for one in explain(name) if one.kind == "command"]
        assert found.text.endswith(".")
        assert "htcondor-jdl.html" in found.url
    # a table with a name that is no command explains what nobody has
    made_up = {one.name for one in table.values() if joined_name(one.name) not in
               {joined_name(name) for name in KNOWN_COMMANDS}}  # fmt: skip
    assert made_up <= {"queue", "ec2_key_pair", "transform_on_evict", "want_parallel_scheduling"}


def test_families_of_commands_and_attributes_are_known() -> None:
    assert "licences" in explain("request_licences")[0].text
    assert explain("RequestMemory")[0].title.startswith("request_memory ")
    assert explain("MY.ProjectName")[0].title == "+ProjectName"
    assert "own" in explain("+Whatever")[0].text


@pytest.mark.parametrize(
    ("asked", "title"),
    [
        ("hold 34.102", "hold 34.102 (JobOutOfResources)"),
        ("hold 34", "hold 34 (JobOutOfResources)"),
        ("Code 34 Subcode 102", "hold 34.102 (JobOutOfResources)"),
        ("exit 103", "exit code 103 of a job (the shim's)"),
        ("exit 85", "exit code 85 (with checkpoint:)"),
        ("exit 3", "exit code 3 of a command"),
        ("I", "idle (JobStatus 1, I in condor_q)"),
        ("h", "held (JobStatus 5, H in condor_q)"),
        ("X", "removed (JobStatus 3, X in condor_q)"),
        ("suspended", "suspended (JobStatus 7, S in condor_q)"),
        ("transferring output", "transferring output (JobStatus 6, > in condor_q)"),
        ("transferring input", "transferring input"),
        ("event 012", 'event 012 (JOB_HELD, "Job was held")'),
        ("event 12", 'event 012 (JOB_HELD, "Job was held")'),
        ("ULOG_JOB_HELD", 'event 012 (JOB_HELD, "Job was held")'),
        ("Job was held.", 'event 012 (JOB_HELD, "Job was held")'),
        ("$(Process)", "$(ProcId) $(Process)"),
        ("signal 9", "signal 9 (KILL)"),
        ("resources.memory", "resources.memory: (key of sweep.yaml)"),
        ("attempt", "attempt"),
    ],
)
def test_a_word_is_found_by_all_its_names(asked: str, title: str) -> None:
    assert explain(asked)[0].title == title


def test_a_number_alone_is_all_that_it_may_be() -> None:
    assert [one.kind for one in explain("34")] == ["hold", "exit", "event"]
    assert [one.kind for one in explain("9")] == ["hold", "exit", "signal", "event"]
    assert [one.kind for one in explain("5")] == ["hold", "exit", "state", "event"]
    assert [one.kind for one in explain("46")] == ["hold", "exit", "event"]
    assert [one.title for one in explain("139")] == ["exit code 139 of a command"]
    with pytest.raises(OsgbatchError, match="not known"):
        explain("4711")
    (hold,) = explain("hold 46")
    assert "in the queue" not in hold.text
    assert "resources.time" not in " ".join(hold.commands)


def test_what_is_listed_is_known_and_every_code_is_listed() -> None:
    found = listed()
    for names in found.values():
        assert names
        for name in names:
            assert all(len(one.text) > 5 for one in explain(name)), name
    assert {row.code for row in HOLD_CODES} == {
        int(name.split()[1].split(".")[0]) for name in found["hold codes"]
    }
    assert set(SHIM_CODES) < {int(name.split()[1]) for name in found["exit codes"]}
    assert len(found["events"]) == 48


def test_everyday_words_lead_to_what_is_known_and_to_commands_that_are() -> None:
    found = everyday.table()
    asked = "oom memory disk exit killed time timeout idle held stuck gpu container transfer signal"
    assert set(asked.split()) | {"out of memory", "command not found"} <= set(found)
    commands_known = {name for names in app.MODULES.values() for name in names}
    leads = {lead for word in found.values() for lead in word.leads}
    for lead in leads:
        if lead.ask.startswith("osgbatch "):
            assert lead.ask.split()[1] in commands_known, lead.ask
        else:
            assert explain(lead.ask)[0].text, lead.ask
    for name in found:
        assert name == name.lower() and explain(name)[-1].kind == "everyday", name


@pytest.mark.parametrize(
    ("asked", "kinds", "said"),
    [
        ("Out of memory.", ["everyday"], "hold 34.102"),
        ("held", ["state", "everyday"], "osgbatch why BATCH"),
        ("bash: line 1: foo: command not found", ["everyday"], "exit 112"),
        ("my jobs are STUCK!", ["everyday"], "osgbatch status BATCH"),
        ("cat: x: Permission denied", ["stderr", "everyday"], "x bit"),
        ("env: 'python3\\r': No such file or directory", ["everyday"], r"sed -i.bak 's/\r$//'"),
        ("/bin/sh^M: bad interpreter", ["everyday"], "dos2unix"),
        ("ERROR: failed to connect to schedd", ["everyday"], "osgbatch pool up"),
        ("ZeroDivisionError: float division by zero", ["everyday"], "The program's own error"),
        ("OSError: time is missing", ["everyday"], "The program's own error"),
        ("RuntimeError: CUDA out of memory", ["stderr", "everyday"], "osgbatch explain gpus"),
        ("torch.OutOfMemoryError: CUDA out of memory.", ["stderr", "everyday"], "the GPU was full"),
        ("curl: (6) Could not resolve host: x", ["everyday"], "need not reach the internet"),
        ("curl: (7) Failed to connect to x port 443", ["everyday"], "need not reach the internet"),
        ("JobStatus", ["state"] * 7, "(JobStatus 7, S in condor_q)"),
    ],
)
def test_everyday_words_and_lines_of_stderr_lead_somewhere(
    asked: str, kinds: list[str], said: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert [one.kind for one in explain(asked)] == kinds
    assert run(monkeypatch, *asked.split()) == 0
    out = capsys.readouterr().out
    assert said in out and max(map(len, out.splitlines())) <= 85  # a page's address is longer


@pytest.mark.parametrize("name", ["gpu.sub", "memory.yml"])
def test_a_file_that_is_not_there_is_no_word(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, name) == 2
    assert f"{name}: there is no such file here" in capsys.readouterr().err


def test_keys_are_those_of_the_schema() -> None:
    assert set(json_schema()["properties"]) == KEYS


def test_both_meanings_of_a_word_are_told() -> None:
    assert [one.kind for one in explain("environment")] == ["key", "command", "word"]
    assert [one.kind for one in explain("exit 137")] == ["exit", "exit"]


@pytest.mark.parametrize(
    ("asked", "fix"),
    [("reqest_memory", "request_memory"), ("colector", "collector"), ("hold 999", "from 0 to 48"),
     ("exit 300", "0 to 255"), ("zzqqxx", "--list"), ("memry", "memory or mem"),
     ("z\x1b[1m", "z\\x1b[1m")],
)  # fmt: skip
def test_what_is_unknown_gets_the_nearest_word_and_exit_code_2(
    asked: str, fix: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *asked.split()) == 2
    assert fix in capsys.readouterr().err


def test_words_and_the_list_fit_80_columns_and_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "hold", "34.102") == 0
    assert run(monkeypatch, "--list") == 0
    out = capsys.readouterr().out
    assert "hold 34.102, " in out and "\\x" not in out and not re.search(r"\S~\S", out)
    lines = out.splitlines()
    assert [line for line in lines if len(line) > 80 and "https://" not in line] == []
    assert run(monkeypatch, "max_idle", "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["url"].endswith("htcondor-jdl.html#max_idle")
    assert run(monkeypatch) == 2


# --- a sweep -------------------------------------------------------------------------------------

TEMPLATE = (template_folder() / "job.submit.j2").read_text()
SIMPLE = {"command": ["echo", "{x}"], "sweep": {"x": [1, 2]}}
SPECS: dict[str, dict[str, object]] = {
    "simple": {},
    "everything": {
        "name": "all", "project": "P", "tags": ["a", "b"], "max_running": 3,
        "notify": {"email": "a@b.org", "when": "error"}, "files": "sweep.yaml",
        "resources": {"cpus": 2, "memory": "2 GB", "disk": "3 GB", "time": "30 min"},
        "gpus": {"count": 1, "min_memory": "8 GB", "min_capability": 7.0},
        "retries": {"times": 3, "memory": "x2 up to 16 GB", "disk": ["4 GB", "8 GB"]},
        "requirements": {"os": "el9", "sites": {"only": ["A", "B", "C", "D"]}},
        "checkpoint": {"files": ["state"], "every": "2 h"}, "profile": "ospool",
        "environment_variables": {"A": "a\n}}\nrow() {{\n# ---- clock", "PATH": "/x", "N": "{x}"},
        "submit": {"rank": "Memory", "+Mine": '"x"', "periodic_release": "false"},
        "outputs": {"include": ["outputs/a"], "exclude": "*.tmp"}, "inputs": "in put.txt",
    },
    "avoid": {"requirements": {"sites": {"avoid": "A"}}, "retries": {"on": "any"}},
    "by row": {"resources": {"cpus": {"expr": "x"}, "memory": {"expr": "1 GB * x"},
                             "time": {"expr": "9 h * x"}}, "inputs": "{x}.txt",
               "retries": {"on": [3]}},
    "image": {"environment": {"container": "docker://alpine"}},
    "script": {"command": None, "script": "f() {\n  echo {x}\n}\n"},
    "delivered": {"outputs_to": "file:///tmp/osgbatch-nowhere", "stash": "none"},
    "many": {"sweep": {"x": {"range": 10_001}}},
    "long rows": {"sweep": {"x": ["".join(f"{n * n:x}" for n in range(1, 9000))]}},
}  # fmt: skip


@pytest.fixture(scope="module")
def explained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ExplainedSweep]:
    folder = tmp_path_factory.mktemp("explained")
    for name in ("in put.txt", "1.txt", "2.txt"):
        (folder / name).write_text("x")
    made = {}
    for name, more in SPECS.items():
        path = folder / "sweep.yaml"
        path.write_text(yaml.safe_dump({k: v for k, v in (SIMPLE | more).items() if v}))
        before = sorted(folder.rglob("*"))
        made[name] = explain_sweep(path)
        assert sorted(folder.rglob("*")) == before, "explain writes nothing"
    return made


def test_every_line_of_every_submit_file_and_shim_is_explained(
    explained: dict[str, ExplainedSweep],
) -> None:
    for name, one in explained.items():
        for text, pieces in ((one.submit_text, one.submit), (one.shim_text, one.shim)):
            left = [line for line in text.splitlines() if line.strip()]
            if text is one.submit_text:
                left = [line for line in left if not line.startswith("#")]
            told = [line for piece in pieces for line in piece.lines if line.strip()]
            assert told == left, name
            assert [piece for piece in pieces if not piece.why.endswith((".", ",", "?"))] == []
            assert not any(re.search(r"\{(from )?\w+\}", piece.why) for piece in pieces), name


def test_every_command_that_the_template_can_write_has_its_sentence(
    explained: dict[str, ExplainedSweep],
) -> None:
    plain = re.sub(r"{%.*?%}|{#.*?#}", "", TEMPLATE, flags=re.DOTALL)
    keys = set(re.findall(r"^(\+?[A-Za-z_]\w*) *=", plain, re.MULTILINE))
    assert len(keys) > 45
    assert keys | {"if", "else", "endif", "queue"} <= set(submit_lines.LINES)
    # and nothing is explained that is never written
    aws = {"aws_access_key_id_file", "aws_secret_access_key_file", "aws_region"}
    assert set(submit_lines.LINES) - keys - {"if", "else", "endif", "queue"} == aws
    rendered = {piece.key for one in explained.values() for piece in one.submit}
    assert rendered >= keys - {"retry_request_disk"} - aws


def test_every_part_of_the_shim_has_its_sentence() -> None:
    text = (template_folder() / "shim.sh.j2").read_text()
    titles = [line.strip("# -") for line in text.splitlines() if line.startswith("# ---- ")]
    known = [title for title, _ in shim_lines.SECTIONS]
    assert len(titles) == len(known) + 1
    assert all(t.startswith(k) for t, k in zip(titles, known, strict=False))


def why(one: ExplainedSweep, key: str) -> str:
    return next(piece.why for piece in one.submit if piece.key == key)


def test_numbers_say_where_they_come_from(explained: dict[str, ExplainedSweep]) -> None:
    assert "the profile generic" in why(explained["many"], "max_idle")
    assert "10,001 jobs, more than 10,000" in why(explained["many"], "max_idle")
    assert "resources.memory, the default" in why(explained["simple"], "request_memory")
    everything = explained["everything"]
    assert re.search(r"resources.memory, sweep.yaml:\d+\)", why(everything, "request_memory"))
    assert "`submit:`" in why(everything, "rank")
    assert "each line of the item file has its own" in why(explained["by row"], "request_memory")
    assert "rows of all tasks" in why(explained["long rows"], "transfer_input_files")


def _printed(out: str) -> Iterator[str]:
    yield from (line for line in out.splitlines() if len(line) > 80)


def test_a_sweep_is_shown_at_80_columns_and_whole_in_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sweep.yaml").write_text("command: echo {x}\nsweep: {x: [1, 2]}\n")
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, "sweep.yaml") == 0
    out = capsys.readouterr().out
    assert list(_printed(out)) == []
    assert "| request_memory = 1024MB\n    Memory of a job" in out
    assert "<sha256>" not in out
    assert out.startswith("Two files would be made") and "\nThe shim, which HTCondor" in out
    assert (
        "Two files" not in (run(monkeypatch, "sweep.yaml", "--submit"), capsys.readouterr().out)[1]
    )
    assert run(monkeypatch, "sweep.yaml", "--submit", "--json") == 0
    data = json.loads(capsys.readouterr().out)
    assert set(data) == {"placeholders", "submit"}
    assert run(monkeypatch, "sweep.yaml", "--shim") == 0
    assert "request_memory" not in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["sweep.yaml"]


def test_on_a_terminal_a_long_one_goes_to_the_pager(tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text("command: echo {x}\nsweep: {x: [1, 2]}\n")
    top, end = pty.openpty()
    pager = {"PAGER": "head -n 2", "MANPAGER": "false", "TERM": "x"}
    done = subprocess.run(
        [sys.executable, "-m", "osgbatch", "explain", "sweep.yaml"], cwd=tmp_path, stdin=end,
        stdout=end, stderr=end, check=False, env={**os.environ, **pager},
    )  # fmt: skip
    os.close(end)
    lines = os.read(top, 65536).decode().splitlines()
    os.close(top)
    assert done.returncode == 0 and len(lines) == 2 and lines[0].startswith("Two files")


def test_a_workflow_is_refused_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text(
        "steps:\n- {name: a, command: echo 1}\n- {name: b, command: echo 2, after: a}\n"
    )
    with pytest.raises(OsgbatchError, match="workflow"):
        explain_sweep(tmp_path / "sweep.yaml")


def test_no_two_words_hide_each_other() -> None:
    assert len({id(word) for word in words.table().values()}) > 100
