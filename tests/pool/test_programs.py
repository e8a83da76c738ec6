"""Scripts, functions, and inputs of every kind, on a real HTCondor and on the local runner."""

from __future__ import annotations

import functools
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Pool
from sweeps import BACKENDS, ended_truly, osgbatch, run_sweep, write_sweep

pytestmark = pytest.mark.pool

SMALL = "resources: {memory: 100 MB, disk: 50 MB}\n"
VALUES = ["it's", 'a "b"', "$(touch oops) `id`", "-n", "*", "two  blanks ", "", "tab\\there"]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A web server on loopback that serves a folder."""
    root = tmp_path / "www/deep"
    root.mkdir(parents=True)
    (root / "ref.txt").write_text("from the web\n")
    handler = functools.partial(
        http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "www")
    )
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as web:
        thread = threading.Thread(target=web.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{web.server_port}"
        web.shutdown()
        thread.join()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_script_is_given_values_that_it_never_runs(
    pool: Pool, tmp_path: Path, backend: str
) -> None:
    spec = write_sweep(
        tmp_path / "sweep",
        "script: |\n"
        "  # {nothing} in a comment is left alone\n"
        "  printf '%s|' {value} \"{value}\" pre-{value}-post '<{value}>' > outputs/seen\n"
        "  [[ -e oops ]] && exit 9\n"
        "  for i in {1..3}; do echo ${i}; done | awk '{print $1}' > outputs/awk-{index}\n"
        f"sweep: {{value: {json.dumps(VALUES)}}}\n"
        "outputs: [outputs/seen, 'outputs/awk-{index}']\n"
        "environment_variables: {ONE: 'row {index}', TWO: plain}\n" + SMALL,
        {},
    )
    ran = run_sweep(backend, spec)
    assert ran.status["counts"] == {"succeeded": len(VALUES)}
    for index, value in enumerate(VALUES):
        seen = ran.result(index, "outputs/seen").decode()
        assert seen == f"{value}|{value}|pre-{value}-post|<{value}>|"
        assert ran.result(index, f"outputs/awk-{index}") == b"1\n2\n3\n"
    ended_truly(ran, pool, 0)


def test_a_line_of_a_script_that_fails_fails_the_task(pool: Pool, tmp_path: Path) -> None:
    spec = write_sweep(
        tmp_path / "sweep",
        "script: |\n  false | true\n  echo not reached > outputs/x\nretries: {times: 0}\n" + SMALL,
        {},
    )
    ran = run_sweep("condor", spec)
    assert ran.task(0)["state"] == "failed"
    assert ran.task(0)["exit_code"] == 1
    ended_truly(ran, pool, 0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_function_is_called_with_the_row_and_its_result_kept(
    pool: Pool, tmp_path: Path, python_environment: str, backend: str
) -> None:
    spec = write_sweep(
        tmp_path / "sweep",
        "function: work:work\nfiles: work.py\n"
        "sweep: {x: [1, 2.50, abc], f: {files: d/*}}\ntasks_per_job: 4\n"
        "outputs: [outputs/note.txt]\n"
        "resources: {memory: 100 MB, disk: 100 MB}\n" + python_environment,
        {
            "work.py": (
                "def work(x, f, index):\n"
                "    open('outputs/note.txt', 'w').write('n')\n"
                "    return {'twice': x * 2, 'text': open(f).read(), 'index': index}\n"
            ),
            "d/it's": "quoted",
            "d/b": "plain",
        },
    )
    ran = run_sweep(backend, spec)
    assert ran.status["counts"] == {"succeeded": 6}
    found = [json.loads(ran.result(i, "outputs/result.json")) for i in range(6)]
    assert [r["twice"] for r in found] == [2, 2, 5.0, 5.0, "abcabc", "abcabc"]
    assert [r["text"] for r in found] == ["plain", "quoted"] * 3
    assert [r["index"] for r in found] == list(range(6))
    ended_truly(ran, pool, 0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_inputs_are_renamed_listed_fetched_and_related(
    pool: Pool, tmp_path: Path, server: str, backend: str
) -> None:
    spec = write_sweep(
        tmp_path / "sweep",
        "command: [sh, -c, 'cd inputs && cat $0 weights/m.h5 ref.txt w.txt d/a d/b"
        " ../related/notes.md', 'of-{n}.txt']\n"
        "sweep: {n: [1, 2]}\n"
        "inputs:\n"
        "  - model.h5: weights/m.h5\n"
        f"  - {server}/deep/ref.txt\n"
        f"  - {{path: '{server}/of/w{{n}}.txt?x=1', as: w.txt}}\n"
        "  - '@list.txt'\n"
        "  - {path: 'data/{n}.txt', as: 'of-{n}.txt'}\n"
        "related: [docs/notes.md: notes.md]\n"
        "tasks_per_job: 1\n" + SMALL,
        {
            "model.h5": "model\n",
            "list.txt": "# two\nd/a\n\nd/b\n",
            "d/a": "A\n",
            "d/b": "B\n",
            "data/1.txt": "one\n",
            "data/2.txt": "two\n",
            "docs/notes.md": "notes\n",
        },
    )
    (tmp_path / "www/of").mkdir()
    for n in (1, 2):
        (tmp_path / f"www/of/w{n}.txt").write_text(f"web {n}\n")
    ran = run_sweep(backend, spec)
    assert ran.status["counts"] == {"succeeded": 2}, ran.status
    for index, word in enumerate(["one", "two"]):
        wanted = f"{word}\nmodel\nfrom the web\nweb {index + 1}\nA\nB\nnotes\n"
        assert ran.result(index, "stdout").decode() == wanted
    ended_truly(ran, pool, 0)


def test_fit_pool_fills_the_slots(pool: Pool, tmp_path: Path) -> None:
    spec = write_sweep(
        tmp_path / "sweep", "command: echo {n}\nsweep: {n: {range: 300}}\n" + SMALL, {}
    )
    plain = json.loads(osgbatch("plan", "--json", spec, cwd=tmp_path).stdout)
    fitted = json.loads(osgbatch("plan", "--fit-pool", "--json", spec, cwd=tmp_path).stdout)
    assert plain["jobs"] == 300
    assert 1 <= fitted["jobs"] < 300
    assert any("free" in line for line in fitted["grouping"])
