"""`osgbatch run` on HTCondor: sparkles' documented examples, all at once, by their events."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Pool
from started import command
from sweeps import osgbatch
from test_find_peaks import ROOT

sys.path.insert(0, str(ROOT / "tests/unit"))
sys.path.insert(0, str(ROOT / "tools"))

import apptainer
import channel_of_r
import conda_channel

pytestmark = pytest.mark.pool
shared, channel = channel_of_r.shared, channel_of_r.channel

SMALL = ("--pool", "condor", "--memory", "100MB", "--disk", "100MB")
ECHOING = "echo 'begin {index}'; i=0; until [ -e {go} ] || [ $i -ge 600 ]; do i=$((i + 1)); \
sleep 0.1; done; echo end; exit $(( {index} == 1 ))"


def started(folder: Path, *words: str | Path) -> subprocess.Popen[str]:
    """Begin a run; several run at once."""
    folder.mkdir(exist_ok=True)
    return subprocess.Popen(
        [*command(), "run", *SMALL, *map(str, words)],
        cwd=folder, text=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def ends(pool: Pool, folder: Path) -> list[int | None]:
    """The exit codes of the jobs of the only batch in a folder, as their terminate events tell."""
    (batch,) = (folder / "batches").iterdir()
    said = json.loads((batch / "rounds/001/submitted.json").read_text())
    log = batch / "rounds/001/events.log"
    codes = []
    for proc in range(said["jobs"]):
        codes.append(pool.terminate_event(log, said["cluster"], proc).exit_code)
        ad = pool.history_ad(said["cluster"], proc)
        batch_id = json.loads((batch / "resolved.json").read_text())["batch_id"]
        assert (ad["OSGBatchID"], ad["ExitCode"]) == (batch_id, codes[-1])
    return codes


@pytest.mark.once
def test_the_examples_of_sparkles(pool: Pool, tmp_path: Path) -> None:
    hello, several, table = tmp_path / "hello", tmp_path / "several", tmp_path / "table"
    for folder in (hello, several, table):
        folder.mkdir()
    imaged = tmp_path / "imaged"
    go = tmp_path / "go"
    (table / "t.csv").write_text("name,alpha\nx y,1\né$,2.50\n", "utf-8")
    (table / "src").mkdir()
    (table / "src/tool").write_text('#!/bin/sh\ncat data/part\necho "$1" > made.txt\n')
    (table / "src/tool").chmod(0o755)
    (table / "part").write_text("part\n")
    (table / "files.txt").write_text("src/tool:tool\n@more.txt\n")
    (table / "more.txt").write_text("part:data/\n")
    runs = {
        hello: started(hello, "--", "echo", "hello world"),
        several: started(
            several, "--count", "3", "-n", "c", "--", "sh", "-c", ECHOING.replace("{go}", str(go))
        ),
        table: started(
            table, "--params", "t.csv", "--push", "@files.txt", "-n", "t", "--", "./tool",
            "{name}={alpha} {{x}}\n'\"",
        ),
        imaged: started(
            imaged, "--image", apptainer.image("busybox"), "--", "sh", "-c",
            "readlink /bin/sh; command -v bash >bash.txt; [ ! -s bash.txt ]",
        ),
    }  # fmt: skip
    shown = runs[several].stdout
    assert shown is not None
    first = shown.readline()  # asked of a job that runs
    go.touch()
    said = {folder: run.communicate(timeout=120) for folder, run in runs.items()}
    codes = {folder: run.returncode for folder, run in runs.items()}
    assert codes == {hello: 0, several: 1, table: 0, imaged: 0}, said

    assert said[hello][0] == "hello world\n"
    assert (hello / "echo/0/stdout.txt").read_text() == "hello world\n"
    assert ends(pool, hello) == [0]

    lines = sorted([first.strip(), *said[several][0].splitlines()])
    assert lines == [f"[{i}] {what}" for i in range(3) for what in (f"begin {i}", "end")]
    assert sorted(p.name for p in (several / "c").iterdir()) == [
        ".osgbatch-results.json", "0", "2", "failed"
    ]  # fmt: skip
    for place in ("0", "failed/1", "2"):
        text = f"begin {place[-1]}\nend\n"
        assert (several / "c" / place / "stdout.txt").read_text() == text
    assert ends(pool, several) == [0, 1, 0]

    assert sorted(said[table][0].splitlines()) == ["[0] part", "[1] part"]
    assert (table / "t/0/made.txt").read_text() == "x y=1 {x}\n'\"\n"
    assert (table / "t/1/made.txt").read_text("utf-8") == "é$=2.50 {x}\n'\"\n"
    assert ends(pool, table) == [0, 0]

    assert said[imaged][0] == "busybox\n"  # the image's own shell
    assert (imaged / "sh/0/bash.txt").read_text() == ""
    assert ends(pool, imaged) == [0]


SCRIPT = """\
args <- commandArgs(TRUE)
cat("fitted", args, "\\n")
write.csv(data.frame(x = as.numeric(args)), "fit.csv", row.names = FALSE)
"""


@pytest.mark.environments
@pytest.mark.once
def test_an_r_script_that_is_pushed(
    pool: Pool, tmp_path: Path, channel: Path, shared: Path
) -> None:
    spec = conda_channel.spec(tmp_path, channel, "r-base")
    (tmp_path / "fit.R").write_text(SCRIPT)
    more = ("--pool", "condor", "--memory", "400MB", "--disk", "600MB", "--env", spec)
    done = osgbatch(
        *("run", *more, "--push", "fit.R", "--sweep", "x=1,2.5", "--", "Rscript", "fit.R", "{x}"),
        cwd=tmp_path,
        env={"XDG_CACHE_HOME": str(shared / "cache")},
    )
    assert sorted(done.stdout.splitlines()) == ["[0] fitted 1 ", "[1] fitted 2.5 "]
    assert (tmp_path / "fit/1/fit.csv").read_text().splitlines() == ['"x"', "2.5"]
    assert ends(pool, tmp_path) == [0, 0]
