"""However a task ends, it is reported as what it is, by HTCondor and by the local runner alike."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from conftest import Pool, events
from sweeps import BACKENDS, Ran, ended_truly, run_sweep, write_sweep

pytestmark = pytest.mark.pool

CASES = {
    "good": "echo fine > outputs/must",
    "exit-3": "echo partial > outputs/part; exit 3",
    "exit-105": "exit 105",
    "exit-137": "exit 137",
    "killed": "kill -KILL $$",
    "segfault": "kill -SEGV $$",
    "no-output": "echo nothing",
    "over-time": "echo begun; sleep 600",
    "python-exception": "exec python3 -c 'raise ValueError(\"no such luck\")'",
    "not-executable": "exec ./case.sh",
}
SHIM_KILLED = """\
pid=$$
while :; do
    pid=$(cut -d' ' -f4 /proc/$pid/stat)
    tr '\\0' ' ' < /proc/$pid/cmdline > line
    case $(cat line) in
    *condor_exec* | *shim.sh*) found=$pid ;;
    *) [ -n "$found" ] && break ;;
    esac
done
kill -KILL $found
sleep 60
"""
SPEC = """\
command: [sh, case.sh, "{case}"]
sweep: {case: [%s]}
files: [case.sh]
outputs: [outputs/must, {path: outputs/part, optional: true}]
resources: {memory: 100 MB, disk: 100 MB, time: 8 s}
retries: {times: 1}
"""
MISSING = """\
command: ["{program}"]
sweep: {program: [no-such-program, ./not-there, /etc/passwd]}
resources: {memory: 100 MB, disk: 50 MB}
"""


@pytest.fixture(scope="module", params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def ran(
    backend: str, pool: Pool, python_environment: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ran]:
    names = [*CASES, "shim-killed"]
    branches = "".join(f"{name})\n{code}\n;;\n" for name, code in CASES.items())
    script = f'case "$1" in\n{branches}shim-killed)\n{SHIM_KILLED}\n;;\nesac\n'
    folder = tmp_path_factory.mktemp(f"endings-{backend}")
    spec = SPEC % ", ".join(names) + python_environment
    yield run_sweep(backend, write_sweep(folder, spec, {"case.sh": script}))


@pytest.fixture(scope="module")
def missing(backend: str, pool: Pool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    folder = tmp_path_factory.mktemp(f"missing-{backend}")
    yield run_sweep(backend, write_sweep(folder, MISSING, {}))


EXPECTED = [
    ("good", "succeeded", "", 0, None),
    ("exit-3", "failed", "exit", 3, None),
    ("exit-105", "failed", "exit", 105, None),
    ("exit-137", "failed", "exit", 137, None),
    ("killed", "failed", "signal", None, 9),
    ("segfault", "failed", "signal", None, 11),
    ("no-output", "failed", "missing-output", 0, None),
    ("over-time", "failed", "time", None, None),
    ("python-exception", "failed", "exit", 1, None),
    ("not-executable", "failed", "exit", 126, None),
    ("shim-killed", "failed", "shim-killed", None, 9),
]


@pytest.mark.parametrize(("case", "state", "reason", "exit_code", "signal"), EXPECTED)
def test_a_task_is_reported_as_it_ended(
    ran: Ran,
    pool: Pool,
    case: str,
    state: str,
    reason: str,
    exit_code: int | None,
    signal: int | None,
) -> None:
    index = [*CASES, "shim-killed"].index(case)
    task = ran.task(index)
    assert (task["state"], task["reason"]) == (state, reason), task
    if exit_code is not None:
        assert task["exit_code"] == exit_code
    if signal is not None:
        assert task["signal"] == signal
    ended_truly(ran, pool, index)


def test_only_what_succeeded_is_among_the_results(ran: Ran) -> None:
    results = ran.folder / "results"
    assert sorted(p.name for p in results.iterdir()) == ["0", "failed", "results.csv"]
    assert ran.status["counts"] == {"succeeded": 1, "failed": len(EXPECTED) - 1}


def test_output_of_a_failed_task_comes_home(ran: Ran) -> None:
    failed = ran.folder / "results" / "failed"
    names = list(CASES)
    assert (failed / str(names.index("exit-3")) / "outputs/part").read_text() == "partial\n"
    assert (failed / str(names.index("over-time")) / "stdout").read_text() == "begun\n"
    stderr = (failed / str(names.index("python-exception")) / "stderr").read_text()
    assert "ValueError: no such luck" in stderr


def test_a_users_own_code_is_not_retried_but_a_killed_shim_is(ran: Ran) -> None:
    starts: dict[int, int] = {}
    for event in events(ran.log):
        if event.number == 1:
            starts[event.proc] = starts.get(event.proc, 0) + 1
    names = [*CASES, "shim-killed"]
    assert {names[proc]: count for proc, count in starts.items()} == {
        name: 2 if name == "shim-killed" else 1 for name in names
    }


@pytest.mark.parametrize("index", range(3))
def test_a_command_that_is_not_there_is_told_for_what_it_is(
    missing: Ran, pool: Pool, index: int
) -> None:
    task = missing.task(index)
    assert (task["state"], task["reason"]) == ("failed", "command-not-found"), task
    program = ["no-such-program", "./not-there", "/etc/passwd"][index]
    assert program in task["detail"]
    ended_truly(missing, pool, index)


def test_results_csv_says_the_same(ran: Ran) -> None:
    lines = (ran.folder / "results" / "results.csv").read_text().splitlines()
    assert lines[0].startswith("index,case,state,reason,exit_code,signal,")
    assert len(lines) == 1 + len(EXPECTED)
    for line, (case, state, reason, *_) in zip(lines[1:], EXPECTED, strict=True):
        assert f",{case},{state},{reason}," in line


def test_the_folder_stays_small(ran: Ran) -> None:
    outside = [
        p
        for p in ran.folder.rglob("*")
        if p.is_file()
        and not {"returned", "results", "provenance"} & set(p.relative_to(ran.folder).parts)
    ]
    assert len(outside) <= 20, outside
