"""sweep.yaml to Spec: what is accepted, and errors that point at the place."""

from __future__ import annotations

from pathlib import Path

import pytest

from osgbatch.errors import OsgbatchError, SpecErrors
from osgbatch.spec import units
from osgbatch.spec.load import load_spec
from osgbatch.spec_model import Spec


def load(folder: Path, text: str | bytes) -> Spec:
    path = folder / "sweep.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_spec(path)


def complaint(folder: Path, text: str | bytes) -> str:
    with pytest.raises(OsgbatchError) as caught:
        load(folder, text)
    return str(caught.value).replace(f"{folder}/", "")


def test_a_whole_spec_is_read(tmp_path: Path) -> None:
    spec = load(
        tmp_path,
        "\ufeffname: my sweep\r\n"
        "command: python a.py '{x} and {y}' --n {{1}}\r\n"
        "sweep: {x: [1, 0.50, 007, yes], y: [a b]}\r\n"
        "outputs: [outputs/a, {path: outputs/b, optional: true}]\r\n"
        "resources: {cpus: 2, memory: 1.5 GB, disk: 10 MB, time: 20 min}\r\n"
        "retries: {times: 1, on: [3, 4]}\r\n"
        "environment_variables: {LEVEL: 1.50}\r\n",
    )
    assert spec.name == "my-sweep"
    assert [t.parts for t in spec.command] == [
        ("python",), ("a.py",), ("", "x", " and ", "y", ""), ("--n",), ("{1}",),
    ]  # fmt: skip
    assert [c.text for c in spec.sources[0].cells] == ["1", "0.50", "007", "yes"]
    assert [c.value for c in spec.sources[0].cells] == [1, 0.5, "007", "yes"]
    assert spec.resources.memory_mb == 1536
    assert spec.resources.disk_kb == 10240
    assert spec.resources.time_s == 1200
    assert spec.retries.codes == (3, 4)
    assert [(n, t.parts) for n, t in spec.environment_variables] == [("LEVEL", ("1.50",))]
    assert [o.optional for o in spec.outputs] == [False, True]


ONE_LINE = [
    ("resources: {memroy: 2 GB}", 'unknown key "memroy" in resources; did you mean "memory"?', 13),
    ("comand: x", 'unknown key "comand"; did you mean "command"?', 1),
    ("table: a.csv", 'unknown key "table"', 1),
    ("steps: {}", '"steps" cannot stand here', 1),
    ("checkpoint: {}", 'checkpoint: "files" is missing', 13),
    ("stash: osdf", 'stash: "osdf" is no stash', 8),
    ("resources: {memory: 1}", "resources.memory: a size needs a unit: write 1 GB or 1 MB", 21),
    ("resources: {memory: 1 XB}", 'resources.memory: unknown unit "XB"; use KB, MB, GB or TB', 21),
    ("resources: {disk: lots}", 'resources.disk: "lots" is not a size', 19),
    ("resources: {time: 5}", "resources.time: a time needs a unit: write 5 min or 5 h", 19),
    ("resources: {time: 5 weeks}", 'resources.time: unknown unit "weeks"', 19),
    ("resources: {cpus: two}", "resources.cpus: should be a whole number", 19),
    ("resources: {cpus: 0}", "resources.cpus: should be between 1 and 4096", 19),
    ("resources: 4", "resources: should be keys and values", 12),
    ("retries: {on: sometimes}", 'retries.on: should be "infrastructure", "any" or a list', 15),
    ("sweep: {x: 5}", 'the values of "x" should be a list', 12),
    ("sweep: {x: []}", 'the list of "x" is empty', 12),
    ("sweep: {x: {file: a}}", 'unknown source "file" of column "x"; did you mean "files"?', 13),
    ("sweep: {index: [1]}", '"index" is taken by osgbatch', 9),
    ("sweep: {a-b: [1]}", '"a-b" cannot name a column', 9),
    ("sweep: {x: [[1]]}", "a value should be text, a number or true/false", 13),
    ("outputs: [/etc/passwd]", "an output must lie in the task's own folder", 11),
    ("outputs: [stdout]", '"stdout" would meet what osgbatch itself keeps', 11),
    ("outputs: [../x]", "an output must lie in the task's own folder", 11),
    (
        "outputs: [{path: a, optinal: 1}]",
        'unknown key "optinal" in outputs[0]; did you mean "opt',
        21,
    ),
    ("environment: conda.zip", "environment: should name an environment, or be none", 14),
    ("files: 5", "files: should be text", 8),
    ("tasks_per_job: 0", "tasks_per_job: should be between 1 and", 16),
    ("environment_variables: {a b: 1}", '"a b" cannot name an environment variable', 25),
    ("command: other", '"command" is given twice, first in line 1', 1),
    ("sweep: [\t1\t, 2", "not YAML", 15),
    ("sweep: {x: [1, 2}", "not YAML", 17),
]


@pytest.mark.parametrize(("line", "message", "column"), ONE_LINE)
def test_a_mistake_is_shown_where_it_is(
    tmp_path: Path, line: str, message: str, column: int
) -> None:
    said = complaint(tmp_path, f"command: echo hello\n{line}\n").splitlines()
    assert said[0].startswith(f"sweep.yaml:2:{column}: {message}") or (
        "not YAML" in message and message in said[0] and said[0].startswith("sweep.yaml:")
    ), said
    if "not YAML" not in message:
        assert said[1] == f"    2 | {line}"
        assert said[2].index("^") == 8 + column - 1


COMMANDS = [
    ("command: echo {x", 'single "{" in a text with placeholders', 15),
    ("command: echo 'open", "the command cannot be split: the quote ' is never closed", 15),
    ('command: "echo \'open"', "the command cannot be split: the quote ' is never closed", 16),
    ("command: echo hello > out.txt", 'no shell runs the command: ">" would reach', 21),
    ("command: []", "command: is empty", 10),
    ("command: 5", "command: should be text, or a list", 10),
    ('command: "  "', "command: is empty", 10),
    ("command: [echo, {a: 1}]", "an argument should be text or a number", 17),
]


@pytest.mark.parametrize(("line", "message", "column"), COMMANDS)
def test_a_wrong_command_is_shown_where_it_is(
    tmp_path: Path, line: str, message: str, column: int
) -> None:
    said = complaint(tmp_path, line + "\n").splitlines()[0]
    assert message in said
    if column:
        assert said.startswith(f"sweep.yaml:1:{column}: ")


def test_the_caret_stands_under_the_mistake(tmp_path: Path) -> None:
    said = complaint(tmp_path, "command: echo\nresources: {memroy: 2 GB}\n")
    assert said == (
        'sweep.yaml:2:13: unknown key "memroy" in resources; did you mean "memory"?\n'
        "    2 | resources: {memroy: 2 GB}\n"
        "      |             ^^^^^^"
    )


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text("command: echo {\nresources: {cpus: x, memory: 1}\nsweep: {y: 1}\nzzz: 1\n")
    with pytest.raises(SpecErrors) as caught:
        load_spec(path)
    assert [error.place.line for error in caught.value.errors] == [1, 2, 2, 3, 4]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"# only a comment\n", "the file is empty"),
        (b"- a\n- b\n", "the file should be keys and values"),
        (b"command: \xff\n", "sweep.yaml:1:10: byte 0xff is not UTF-8"),
        (b"sweep: {x: [1]}\n", '"command" is missing'),
        (b"command: a\0b\n", "not YAML"),
        (b"command: &a [*a]\n", "an alias (*) leads back into itself"),
        (b"command: [" + b"[" * 3000 + b"]" * 3000 + b"]\n", "nested too deeply"),
        (b"sweep: " + b"[" * 100_000, "nested too deeply"),  # libyaml would end the process
        (b"sweep:\n  x: " + b"- " * 100_000, "nested too deeply"),
        (b"? [a]\n: b\n", "a key must be a plain word"),
    ],
)
def test_what_is_no_spec_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    assert message in complaint(tmp_path, content)


def test_a_spec_that_is_elsewhere_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def fix(name: str) -> str:
        with pytest.raises(OsgbatchError) as caught:
            load_spec(Path(name))
        return caught.value.fix

    def made(folder: str) -> None:
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "sweep.yaml").write_text("command: e\n")

    made(".hidden")
    (tmp_path / "empty").mkdir()
    assert "`osgbatch init`" in fix("sweep.yaml")
    assert "`osgbatch init`" in fix("empty")
    made("my hello")
    assert fix("my hello") == "Write 'my hello/sweep.yaml'."
    assert fix("sweep.yaml") == "my hello/sweep.yaml is there: cd 'my hello'"
    assert "`osgbatch init`" in fix("other.yaml")
    made("b")
    several = "Below this folder are b/sweep.yaml, my hello/sweep.yaml: cd to the folder of the one"
    assert fix("sweep.yaml").startswith(several)
    made("a")
    made("c")
    several = "Below this folder are a/sweep.yaml, b/sweep.yaml, c/sweep.yaml, ...: cd to"
    assert fix("sweep.yaml").startswith(several)


def test_a_spec_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(OsgbatchError, match="cannot read the spec: No such file"):
        load_spec(tmp_path / "no.yaml")


@pytest.mark.parametrize(
    ("text", "mib"),
    [
        ("1 GB", 1024),
        ("1GiB", 1024),
        ("1.5 GB", 1536),
        ("1025 KB", 2),
        ("2t", 2 * 1024**2),
        ("1B", 1),
    ],
)
def test_sizes_are_powers_of_1024_rounded_up(text: str, mib: int) -> None:
    assert units.memory_mb(text) == mib


@pytest.mark.parametrize(
    ("text", "s"), [("20 min", 1200), ("1.5h", 5400), ("90 s", 90), ("2 days", 172800)]
)
def test_times_are_seconds(text: str, s: int) -> None:
    assert units.seconds(text) == s


@pytest.mark.parametrize("text", ["", "GB", "1 GBB", "-1 GB", "1,5 GB", "0 GB", "1 G B", "1 iB"])
def test_a_size_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(units.UnitError):
        units.size_bytes(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1), ("-2.5", -2.5), ("1e3", 1000.0), ("1.", 1.0), (".5", 0.5), ("true", True),
        ("False", False), ("no", "no"), ("on", "on"), ("010", "010"), ("1:30", "1:30"),
        ("0x1F", "0x1F"), ("1_000", "1_000"), ("2026-02-31", "2026-02-31"), ("'1'", "1"),
        ('"true"', "true"), ("1e", "1e"), ("e3", "e3"), ("1e999", "1e999"),
        ("1" * 5000, "1" * 5000), (".", "."),
    ],
)  # fmt: skip
def test_values_follow_the_plain_rules_of_yaml_1_2(
    tmp_path: Path, text: str, value: object
) -> None:
    cell = load(tmp_path, f"command: echo\nsweep: {{x: [{text}]}}\n").sources[0].cells[0]
    assert cell.value == value
    assert type(cell.value) is type(value)
    assert cell.text == text.strip("'\"")
