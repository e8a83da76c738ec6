"""`osgbatch init`: its templates are right, they run here as they stand, and nothing is lost."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import pty
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import started

from osgbatch.cli import app
from osgbatch.errors import OsgbatchError
from osgbatch.spec.load import load_spec
from osgbatch.starting import making
from osgbatch.starting.starters import STARTERS, SUBMIT, Starter, starter
from osgbatch.submission.linted import lint_text, read_text

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/templates.md").read_text()
BY_NAME = {one.name: one for one in STARTERS}
SPECS = [one.name for one in STARTERS if one.command == SUBMIT]


def init(monkeypatch: pytest.MonkeyPatch, folder: Path, *words: str) -> int:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["osgbatch", "init", *words])
    return app.run()


# --- the templates --------------------------------------------------------------------------------


def test_there_is_a_folder_for_each_template_and_no_other() -> None:
    folders = {path.name for path in (ROOT / "templates/start").iterdir()}
    assert folders == set(BY_NAME)
    assert " ".join(BY_NAME) == "hello sweep files conda container R gpu foreach checkpoint"


@pytest.mark.parametrize("name", BY_NAME)
def test_a_template_is_short_and_says_first_how_it_is_run(name: str) -> None:
    one = BY_NAME[name]
    files = list(one.files())
    assert str(files[0]) in one.command
    for file in files:
        lines = (one.folder / file).read_text(encoding="ascii").splitlines()
        assert len(lines) <= 40 and max(map(len, lines)) <= 100, file
        assert lines[0].startswith(("#", '"""')) or file.suffix == ".txt", file
    text = (one.folder / files[0]).read_text()
    assert one.command in "\n".join(text.splitlines()[:4])
    if one.command == SUBMIT:
        # whatever is no comment has a comment: on its line, or above it since the last blank line
        for block in text.split("\n\n"):
            assert "#" in block, block


@pytest.mark.parametrize("name", SPECS)
def test_a_template_is_a_right_spec_and_makes_a_submit_file_that_lint_likes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = making.make(BY_NAME[name], tmp_path / "my-work")
    spec = load_spec(made.folder / "sweep.yaml")
    assert spec.name == "my-work"
    monkeypatch.chdir(made.folder)
    # packing conda's packages would need a network
    words = ["--set", "environment=none"] if name in ("conda", "R") else []
    monkeypatch.setattr(sys, "argv", ["osgbatch", "render", "sweep.yaml", *words])
    assert app.run() == 0
    capsys.readouterr()
    (submit_file,) = made.folder.glob("batches/*/rounds/001/job.submit")
    assert lint_text(read_text(submit_file), submit_file.parent) == []


def test_the_templates_run_here_as_they_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that need neither a network nor a container, at the same time."""
    environment = {
        **os.environ,
        "OSGBATCH_LOCAL_SLOTS": "2",
        "XDG_STATE_HOME": str(tmp_path / "state"),
    }

    def run(one: Starter) -> str:
        folder = making.make(one, tmp_path / one.name).folder
        _, command, *words = one.command.split()
        more = ["--watch"] if one.command == SUBMIT else []
        words = [command, "--pool", "local", *more, *words]
        done = started.osgbatch(words, folder, environment, 120)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    names = ("foreach", "checkpoint", "hello", "sweep", "files", "gpu")
    with ThreadPoolExecutor(2) as threads:
        said = dict(zip(names, threads.map(run, map(starter, names)), strict=True))
    assert "the sum is 55" in said["foreach"]
    assert len((tmp_path / "foreach/squares/table.csv").read_text().splitlines()) == 6
    results = {}
    for name in names[1:]:
        (results[name],) = (tmp_path / name).glob("batches/*/results")
        with (results[name] / "results.csv").open(newline="") as file:
            assert {row["state"] for row in csv.DictReader(file)} == {"succeeded"}
    assert "Hello, Ada, from " in (results["hello"] / "0/stdout").read_text()
    assert (results["hello"] / "2/outputs/when.txt").is_file()
    table = (results["sweep"] / "table.csv").read_text().splitlines()
    assert len(table) == 13 and table[1] == "2.5,0.1,0.6000,0.6000"
    words_of_hill = (results["files"] / "0/outputs/words.csv").read_text().splitlines()
    assert words_of_hill[:2] == ["word,count", "road,3"]
    assert json.loads((results["gpu"] / "1/outputs/gpu.json").read_text())["total"] == 2e6
    pi = (results["checkpoint"] / "0/stdout").read_text()
    assert re.findall(r"begins with part (\d)", pi) == ["1", "2", "3"]
    assert (results["checkpoint"] / "0/outputs/pi.txt").read_text().startswith("3.14")


# --- what is made ---------------------------------------------------------------------------------


def test_a_template_alone_names_the_folder_and_the_next_commands_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert init(monkeypatch, tmp_path, "Sweep") == 0
    assert capsys.readouterr().out == PAGE.split("$ osgbatch init sweep\n")[1].split("```")[0]
    for words in (("files", "mine-1"), ("mine-2", "--template", "files"), ("-t", "files", "conda")):
        assert init(monkeypatch, tmp_path, *words) == 0
        folder = tmp_path / words[0 if words[0] == "mine-2" else -1]
        assert sorted(path.name for path in folder.iterdir()) == [
            *("common.txt", "count_words.py", "sweep.yaml", "texts"),
        ]
        for file in BY_NAME["files"].files():
            shipped = BY_NAME["files"].folder / file
            assert (folder / file).read_bytes() == shipped.read_bytes()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_nobody_there_to_be_asked_gets_what_is_usual(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert init(monkeypatch, tmp_path, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "template": "hello",
        "folder": str(tmp_path / "hello"),
        "files": ["sweep.yaml", "hello.sh"],
        "next": ["cd hello", "osgbatch submit sweep.yaml"],
    }


def test_the_list_names_all_and_fits_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert init(monkeypatch, tmp_path, "--list") == 0
    told = capsys.readouterr().out
    assert told == PAGE.split("$ osgbatch init --list\n")[1].split("to make one")[0]
    lines = told.splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.split()[0] for line in lines[1:]] == list(BY_NAME)
    assert init(monkeypatch, tmp_path, "--list", "--json") == 0
    listed = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in listed] == list(BY_NAME)
    assert {one["command"] for one in listed} == {one.command for one in STARTERS}
    assert list(tmp_path.iterdir()) == []


def test_on_a_terminal_it_asks_which_and_where(tmp_path: Path) -> None:
    (tmp_path / "sweep").mkdir()
    top, end = pty.openpty()
    os.write(top, b"swep\n2\nmy sweep\n\n")
    done = subprocess.run(
        [sys.executable, "-m", "osgbatch", "init"],
        cwd=tmp_path, stdin=end, stdout=subprocess.PIPE, stderr=end, text=True, check=False,
    )  # fmt: skip
    os.close(end)
    asked = os.read(top, 65536).decode()
    os.close(top)
    assert done.returncode == 0, asked
    assert 'there is no template "swep"; did you mean "sweep"?' in asked
    assert "Name of the new folder? [sweep-2]" in asked and '"my-sweep"' in asked
    assert done.stdout.lstrip().startswith("sweep-2/ has been made")


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("swep\n99\n\t\n", ('did you mean "sweep"?', "Known are hello, sweep, files, conda")),
        ("sweep\nmy study\nno/x\nthere\n", ('"my-study"', "`mkdir -p no`", "init sweep sweep`")),
    ],
)
def test_after_three_wrong_answers_it_ends_and_nothing_is_made(
    typed: str, said: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tmp_path / "there").mkdir()
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    monkeypatch.setattr("osgbatch.cli.init_commands.on_terminal", lambda: True)
    assert init(monkeypatch, tmp_path) == 2
    told = capsys.readouterr().err
    assert all(words in told for words in (*said, "3 answers that will not do; nothing was made"))
    assert os.listdir(tmp_path) == ["there"]


# --- what cannot be made --------------------------------------------------------------------------

WRONG = [
    (["swep"], 'there is no template "swep"; did you mean "sweep"?'),
    (["my-study"], "For a new folder of this name: `osgbatch init hello my-study`."),
    (["a\x1b[1mb"], 'template "a\\x1b[1mb"'),
    (["study", "-t", "contianer"], 'did you mean "container"?'),
    (["pytorch", "study"], "Known are hello, sweep, files, conda, container, R, gpu, foreach"),
    (["a", "b", "c"], "these are too many words: a b c"),
    (["hello", "my study"], 'Write for example "my-study".'),
    (["hello", "it's\n1"], "it's\\n1: the name of the folder should have only letters"),
    (["hello", "-t", "files", "x"], "too many words"),
    (["hello", ".hidden"], "begin with a letter or digit"),
    (["hello", "a" * 101], "100 of them at most"),
    (["hello", "."], "so it needs a name"),
    (["hello", ".."], "so it needs a name"),
    (["hello", ""], "so it needs a name"),
    (["hello", "/"], "so it needs a name"),
    (["hello", "there/"], "there: exists already, and is left as it is"),
    (["there"], 'there is no template "there"'),
    (["hello", "there"], "Write another name, for example there-2."),
    (["hello", "note"], "note: exists already"),
    (["hello", "dangling"], "dangling: exists already"),
    (["hello", "no where/x"], "`mkdir -p 'no where'` makes it"),
    (["hello", "note/x"], "the folder note is no folder"),
    (["hello", "/proc/x"], "/proc/x: cannot be made: "),
]


@pytest.mark.parametrize(("words", "said"), WRONG, ids=lambda given: str(given)[:30])
def test_what_cannot_be_made_is_one_clear_error(
    words: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "note").write_text("mine")
    (tmp_path / "dangling").symlink_to("nowhere")
    assert init(monkeypatch, tmp_path, *words) == 2
    told = capsys.readouterr()
    assert said in told.err and told.out == ""
    assert told.err.count("osgbatch: ") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dangling", "note", "there"]
    assert list((tmp_path / "there").iterdir()) == []
    assert (tmp_path / "note").read_text() == "mine"


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        if path.name == "hello.sh":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OsgbatchError, match="cannot be made: No space left on device"):
        making.make(starter("hello"), tmp_path / "hello")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_somebody_else_makes_meanwhile_is_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = list(starter("hello").files())

    def meanwhile(_: Starter) -> list[Path]:
        (tmp_path / "hello").mkdir()
        return files

    monkeypatch.setattr(Starter, "files", meanwhile)
    with pytest.raises(OsgbatchError, match="exists already"):
        making.make(starter("hello"), tmp_path / "hello")
    assert list(tmp_path.rglob("*")) == [tmp_path / "hello"]
