"""Any argument, and any file name, reaches the task unchanged."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from conftest import Pool
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sweeps import BACKENDS, Ran, ended_truly, run_sweep, write_sweep

pytestmark = pytest.mark.pool

# Print every argument's bytes in hexadecimal: nothing of it depends on a locale.
SHOW = {
    "show.py": """\
import os, sys
with open("outputs/seen", "w") as out:
    for word in sys.argv[1:]:
        out.write("x" + os.fsencode(word).hex() + "\\n")
""",
    "show.sh": """\
for word; do
    printf x && printf %s "$word" | od -An -v -tx1 | tr -d ' \\n' && echo
done >outputs/seen
""",
}
NASTY = [
    "", " ", "  two  blanks ", "a\nb", "\n", "trailing\n\n", "cr\r", "\r\n", "tab\t", "\x1f",
    "\x01",
    "\x7f", "'", '"', "''", "'\"'", "\\", "\\\\n", "\\'", "$(DOLLAR)", "$$(x)", "$$([1])", "$HOME",
    "`id`", "$(id)", "#", "# no", "-n", "-e", "--", "*", "?", "[a]", "~", "!x", "a;b", "a|b", "a&b",
    "a>b", "(", ")", "{", "}", "{}", "%s", "%", ",", "=", "é", "日本",
    "\udcff\udcfe", "\udc81\udc88",
    "x\udcc3", "\u200b", "\u2028", "/", ".", "..", "y" * 100_000,
]  # fmt: skip


WORDS = 8
"""Arguments of a task; where a case has fewer, the last ones are empty."""


def _spec(command: str, per_job: int) -> str:
    words = ", ".join(f"'{{a{i}}}'" for i in range(WORDS))
    return (
        f"command: [{command}, {words}]\n"
        f"files: [{', '.join(SHOW)}]\n"
        f"tasks_per_job: {per_job}\n"
        "outputs: [outputs/seen]\n"
        "resources: {memory: 100 MB, disk: 50 MB}\n"
    )


def _submit_arguments(
    folder: Path, cases: Sequence[Sequence[str]], text: str, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Submit one task per list of arguments; text: the rest of the spec.

    YAML and CSV hold no bytes that are not UTF-8, file names do: the lists are put in behind the
    spec, where they would come from.
    """
    from osgbatch.submission import steps
    from osgbatch.sweep import expand
    from osgbatch.tables import Cell, Column, Table

    spec = write_sweep(folder, text, SHOW)
    columns = tuple(
        Column(f"a{i}", [Cell(case[i], case[i]) for case in cases]) for i in range(WORDS)
    )
    monkeypatch.setattr(expand, "expand", lambda *_: Table((columns,)))
    batch = steps.submit_sweep(spec, "condor", lambda text: None)
    return batch.folder


def _cases() -> list[list[str]]:
    """Every nasty word alone, all together, and lists that hypothesis draws."""
    drawn: list[list[str]] = []
    byte_words = st.binary(max_size=30).map(lambda b: os.fsdecode(b.replace(b"\0", b"")))

    @settings(
        max_examples=40, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.lists(byte_words | st.sampled_from(NASTY[:-1]), max_size=WORDS))
    def draw(words: list[str]) -> None:
        drawn.append(words)

    draw()
    together = [NASTY[i : i + WORDS] for i in range(0, len(NASTY), WORDS)]
    cases = [[word] for word in NASTY] + together + drawn
    return [[*case, *[""] * (WORDS - len(case))] for case in cases]


@pytest.mark.parametrize(("command", "per_job"), [("sh, show.sh", 1), ("python3, show.py", 20)])
def test_any_arguments_reach_the_task_unchanged(
    pool: Pool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    python_environment: str,
    command: str,
    per_job: int,
) -> None:
    from sweeps import osgbatch

    cases = _cases()
    if per_job == 1:  # a hundred jobs are half a minute of this machine
        if pool.ospool:
            cases = cases[::4]
        else:
            per_job = 4
    text = _spec(command, per_job) + (python_environment if "python" in command else "")
    folder = _submit_arguments(tmp_path / "sweep", cases, text, monkeypatch)
    osgbatch("watch", folder, cwd=tmp_path)
    osgbatch("collect", folder, cwd=tmp_path)
    for index, case in enumerate(cases):
        seen = (folder / "results" / str(index) / "outputs/seen").read_text().splitlines()
        assert seen == ["x" + os.fsencode(word).hex() for word in case], case
    cluster = int(pool.run("condor_history", "-limit", "1", "-af", "ClusterId").split()[0])
    jobs = -(-len(cases) // per_job)
    for proc in (0, jobs - 1):
        assert pool.terminate_event(folder / "rounds/001/events.log", cluster, proc).exit_code == 0
        assert pool.history_ad(cluster, proc)["ExitCode"] == 0


ODD_NAMES = [
    "plain.dat", "with blank.dat", "two  blanks", "com,ma", "semi;colon", 'quo"te', "apos'trophe",
    "new\nline", "cr\rname", "dollar$(HOME)", "$$(x)", "back\\slash", "é.dat", "日本.dat", "#hash",
    "-dash", "a=b", "[x]", "star*", "perc%20", "~tilde", "(paren)", "&and", "bad\udcffbytes",
    " lead",
    "trail ", ".hidden", "colon:x",
]  # fmt: skip


@pytest.mark.parametrize(
    ("backend", "per_job"),
    [
        pytest.param("condor", 1, marks=pytest.mark.once),  # in fewer containers with the next
        ("condor", 5),
        pytest.param("local", 5, marks=pytest.mark.once),
    ],
)
def test_files_of_any_name_reach_their_task(
    pool: Pool, tmp_path: Path, backend: str, per_job: int
) -> None:
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    rng = random.Random(seed)
    folder = tmp_path / "a sweep, 'odd' $(HOME)"
    data = {f"data/{name}/{name}": rng.randbytes(50) for name in ODD_NAMES}
    for name, content in data.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    program = (
        "sha256sum <\"$1\" | cut -c 1-64 | tr -d '\\n' >outputs/sum\n"
        'mkdir outputs/back\ncp "$1" outputs/back/\n'
    )
    spec = write_sweep(
        folder,
        "command: [sh, read.sh, '{file}']\n"
        "sweep: {file: {files: 'data/**/*'}}\n"
        "files: [read.sh]\n"
        "outputs: [outputs/sum, outputs/back]\n"
        f"tasks_per_job: {per_job}\n"
        "resources: {memory: 100 MB, disk: 50 MB}\n",
        {"read.sh": program},
    )
    ran: Ran = run_sweep(backend, spec)
    # a pattern does not match hidden names, as in a shell
    expected = {name: content for name, content in data.items() if "/.hidden" not in name}
    assert ran.status["counts"] == {"succeeded": len(expected)}
    sums = {hashlib.sha256(content).hexdigest(): name for name, content in expected.items()}
    for index in range(len(expected)):
        name = sums.pop(ran.result(index, "outputs/sum").decode())
        assert ran.result(index, f"outputs/back/{Path(name).name}") == expected[name]
    assert not sums
    ended_truly(ran, pool, 0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_linked_files_and_folders_reach_the_task(pool: Pool, tmp_path: Path, backend: str) -> None:
    disk = tmp_path / "disk"
    for name in ("data/x.dat", "ref/one", "ref/sub/two"):
        (disk / name).parent.mkdir(parents=True, exist_ok=True)
        (disk / name).write_text(name)
    folder = tmp_path / "sweep"
    (folder / "tree").mkdir(parents=True)
    (folder / "data").symlink_to("../disk/data")  # data kept on another disk: everyday practice
    (folder / "ref").symlink_to(disk / "ref")
    (folder / "tree/linked").symlink_to(disk / "ref/sub")
    (folder / "named").symlink_to("../disk/data/x.dat")
    spec = write_sweep(
        folder,
        'command: [sh, -c, "cat {f} inputs/ref/one inputs/ref/sub/two inputs/tree/linked/two'
        ' inputs/named"]\n'
        "sweep: {f: {files: data/*.dat}}\n"
        "inputs: [ref, tree, named]\n"
        "resources: {memory: 100 MB, disk: 50 MB}\n",
        {},
    )
    ran = run_sweep(backend, spec)
    assert ran.status["counts"] == {"succeeded": 1}
    assert ran.result(0, "stdout") == b"data/x.datref/oneref/sub/tworef/sub/twodata/x.dat"
    ended_truly(ran, pool, 0)
