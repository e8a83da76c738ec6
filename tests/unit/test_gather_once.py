"""Gathering of a whole batch by the local runner: once, here and as a job of its own."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from osgbatch import names
from osgbatch.batches import folder as folders
from osgbatch.batches.folder import Batch
from osgbatch.batches.gathered import read_gathered
from osgbatch.cli.app import command_line
from osgbatch.cli.reports import next_steps
from osgbatch.collecting.gather import GatherError
from osgbatch.errors import BusyError, OsgbatchError
from osgbatch.life import following
from osgbatch.life.housekeeping import old_batches
from osgbatch.life.naming import in_commands
from osgbatch.results.finishing import collect_batch
from osgbatch.results.gathering import GatherPending
from osgbatch.results.gathering_when import Wish
from osgbatch.submission import steps

JOB = """\
printf '{"loss": %s.5}' "$1" > outputs/metrics.json
echo "$1" > outputs/y
[ "$1" != 9 ]
"""
FUNCTION = """\
from lib.factor import FACTOR

def summarise(rows):
    assert len(rows) == len(list(rows)) == 2 and rows[0]["x"] == 1
    good = [row for row in rows if row["state"] == "succeeded"]
    total = sum(row["loss"] * FACTOR + int(row.path("outputs/y").read_text()) for row in good)
    open("total", "a").write(f"{total}\\n")
"""
SCRIPT = """\
import csv, os, pathlib, shutil
from lib.factor import FACTOR
rows = list(csv.DictReader(open("results.csv")))
assert len(rows) == 2 == len(list(pathlib.Path().glob("**/outputs/y")))
assert os.path.isfile(os.environ["OSGBATCH_SPEC_DIR"] + "/data/more.txt")
os.makedirs("figures", exist_ok=True)
open("figures/a b.txt", "w").write("a figure")
open("total", "w").write(str(sum(float(row["loss"]) for row in rows) * FACTOR))
open("0/changed", "w").write("stays away")
open("provenance", "w").write("is not ours")
print("gathered\\x1b[31m", len(rows))
"""


def sweep(folder: Path, gather: str, values: str = "[1, 2]") -> Path:
    """A sweep of two tasks, with the modules and data that gathering needs."""
    for name, text in {
        "job.sh": JOB, "analysis.py": FUNCTION, "gather.py": SCRIPT, "data/more.txt": "more\n",
        "lib/__init__.py": "", "lib/factor.py": "FACTOR = 10\n",
        "sweep.yaml": "name: g\ncommand: sh job.sh {x}\nfiles: [job.sh, lib/*.py]\n"
        f"sweep: {{x: {values}}}\noutputs: [outputs/y]\ngather: {gather}\n"
        "resources: {memory: 100 MB, disk: 100 MB}\n",
    }.items():  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder / "sweep.yaml"


def until(done: Callable[[], object], seconds: float = 60) -> None:
    """Wait for something to be so."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.1)


def waits_for(go: Path) -> str:
    """The beginning of a program that waits until the test has made a file."""
    return (
        "import os, time\n"
        "for _ in range(1200):\n"
        f"    if not os.path.exists({str(go)!r}): time.sleep(0.05)\n"
    )


def run(spec: Path) -> Batch:
    """Run a sweep to its end."""
    batch = steps.submit_sweep(spec, "local", lambda text: None)
    until(lambda: following.status(batch).ended)
    return batch


@pytest.fixture(autouse=True)
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSGBATCH_LOCAL_SLOTS", "2")
    for name in ("STATE", "CACHE", "CONFIG"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))


def test_a_function_gathers_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = run(sweep(tmp_path / "s", "analysis:summarise"))
    said: list[str] = []

    def collected(wish: Wish = Wish()) -> list[str]:  # noqa: B008
        said.clear()
        _, _, failure = collect_batch(batch, said.append, wish=wish)
        assert failure is None
        return (batch.folder / "results/total").read_text().split()

    assert collected() == ["43.0"]
    header = (batch.folder / "results/results.csv").read_text().split("\n")[0]
    assert header.endswith("detail,loss")
    assert collected() == ["43.0"] and "--gather runs it again" in said[0]
    assert collected(Wish(force=True)) == ["43.0"] * 2

    def killed(*arguments: object, **more: object) -> None:
        known = read_gathered(batch.folder)
        assert known is not None and known.key == ""  # what kill -9 leaves
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("osgbatch.results.gathering.run_gather", killed)
        with pytest.raises(KeyboardInterrupt):
            collected(Wish(force=True))
    assert collected() == ["43.0"] * 3  # what it has left may be a half
    (tmp_path / "s/analysis.py").write_text(FUNCTION + "\n")
    assert collected() == ["43.0"] * 4  # the module has changed
    (batch.folder / "results/total").unlink()
    assert collected() == ["43.0"]  # what it made is gone
    assert collected() == ["43.0"]
    known = read_gathered(batch.folder)
    assert known is not None and known.made == ["total"]
    (tmp_path / "s/analysis.py").write_text("def summarise(rows): raise SystemExit(5)\n")
    for _ in range(2):  # one that failed is run again
        _, _, failure = collect_batch(batch, said.append)
        assert isinstance(failure, GatherError) and "exited with 5" in failure.what


def test_an_error_of_a_function_is_told_from_its_own_code_on(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    batch = run(sweep(tmp_path / "s", "analysis:summarise"))
    for text, told in (
        ("def summarise(rows): return [1 / 0 for row in rows]\n", "in summarise"),
        ("import no_such_module\n", "No module named 'no_such_module'"),
    ):
        (tmp_path / "s/analysis.py").write_text(text)
        assert "exited with 1" in str(collect_batch(batch, lambda text: None)[2])
        said = capfd.readouterr().err
        assert told in said and f'File "{tmp_path}/s/analysis.py", line 1' in said
        assert "gather.py" not in said and "importlib" not in said


def test_gathering_waits_for_all_unless_told_otherwise(tmp_path: Path) -> None:
    batch = run(sweep(tmp_path / "s", "analysis:summarise", "[1, 9]"))
    said: list[str] = []
    _, _, failure = collect_batch(batch, said.append)
    assert failure is None and not (batch.folder / "results/total").exists()
    assert said == [
        "gather: left out, since some task did not succeed; --partial gathers the others"
    ]
    _, _, failure = collect_batch(batch, said.append, wish=Wish(partial=True))
    assert failure is None
    assert (batch.folder / "results/total").read_text() == "16.0\n"
    rows = (batch.folder / "results/results.csv").read_text().split("\n")
    assert rows[2].startswith("1,9,failed,exit,1") and rows[2].endswith(",9.5")
    spec = sweep(tmp_path / "n", "none")
    spec.write_text(spec.read_text().replace("gather: none\n", ""))
    none = steps.render_sweep(spec, None, lambda text: None)
    for wish, option in ((Wish(partial=True), "--partial"), (Wish(force=True), "--gather")):
        with pytest.raises(OsgbatchError, match=f"{option}: the spec of this batch has no gather"):
            collect_batch(none, said.append, wish=wish)


def test_a_job_of_the_pool_gathers_once(tmp_path: Path) -> None:
    gather = "{script: gather.py, in: pool, inputs: [data], resources: {memory: 50 MB}}"
    spec = sweep(tmp_path / "s", gather)
    spec.write_text(spec.read_text().replace("lib/*.py]", "lib/*.py, '*.py']"))
    batch = run(spec)
    above, said = batch.folder / names.GATHER, list[str]()

    def collect() -> OsgbatchError | None:
        said.clear()
        return collect_batch(batch, said.append)[2]

    def ended() -> bool:
        jobs = [folders.load(p.parent) for p in above.glob("*/resolved.json")]
        return all(following.status(job).ended for job in jobs)

    go, results = tmp_path / "go", batch.folder / "results"
    script = waits_for(go) + SCRIPT
    (tmp_path / "s/gather.py").write_text(script)
    results.mkdir()
    (tmp_path / "s/private").write_text("of the user")
    links = (("away", tmp_path / "s"), ("one", tmp_path / "s/private"), ("in", Path("0")))
    for name, to in links:
        (results / name).symlink_to(to)
    os.mkfifo(results / "pipe")
    (results / "total").write_text("of the user")  # goes to the job, too, which writes it anew
    assert isinstance(collect(), GatherPending)
    assert any("results/away, and 2 more: left out, since a link out" in s for s in said)
    (archive,) = above.glob("*.in/results.tar.gz")
    with tarfile.open(archive) as tar:
        assert {m.name: m.linkname for m in tar if m.issym()} == {"in": "0"}
        assert not {"away", "one", "away/private"} & set(tar.getnames())
    with pytest.raises(BusyError, match="jobs of it are queued"):
        old_batches([batch])
    assert isinstance(collect(), GatherPending)
    go.touch()
    until(ended)
    (first,) = [p.parent for p in above.glob("*/resolved.json")]
    cluster = json.loads((first / "rounds/001/submitted.json").read_text())["cluster"]
    assert json.loads((first / "resolved.json").read_text())["resources"]["memory_mb"] == 50

    assert collect() is None
    assert (results / "total").read_text() == "40.0"
    assert (results / "old/total.1").read_text() == "of the user"
    assert (results / "figures/a b.txt").read_text() == "a figure"
    assert not (results / "0/changed").exists() and not (results / "provenance").exists()
    assert "gathered?[31m 2" in said
    assert any("provenance was not brought" in line for line in said)
    assert collect() is None and "has run on these very results" in said[0]
    assert [p.name for p in above.iterdir()] == [first.name]  # the archive of results is gone
    assert json.loads((first / "rounds/001/submitted.json").read_text())["cluster"] == cluster

    again = collect_batch(batch, said.append, wish=Wish(force=True))[2]
    assert isinstance(again, GatherPending)
    until(ended)
    assert collect() is None and "what it made is in results/" in said[-1]  # of the later one
    assert collect() is None and "has run on these very results" in said[0]

    known = read_gathered(batch.folder)
    assert known is not None and known.made == ["figures", "total"]
    (results / "figures/a b.txt").write_text("an edited figure")
    (results / "figures/mine").write_text("of the user")
    (tmp_path / "s/gather.py").write_text(script.replace("* FACTOR", "* FACTOR * 2"))
    assert isinstance(collect(), GatherPending)
    until(ended)
    assert collect() is None
    assert (results / "total").read_text() == "80.0"
    assert not (results / "old/total.2").exists()  # it was as the first job had brought it
    assert (results / "figures/a b.txt").read_text() == "a figure"
    assert (results / "old/figures-a b.txt.1").read_text() == "an edited figure"
    assert (results / "figures/mine").read_text() == "of the user"


def test_watching_waits_for_a_job_that_gathers_a_part(tmp_path: Path) -> None:
    batch = run(sweep(tmp_path / "s", "{function: analysis:summarise, in: pool}", "[1, 9]"))
    go, name = tmp_path / "go", in_commands(batch)
    (tmp_path / "s/analysis.py").write_text(waits_for(go) + FUNCTION)

    def told(*words: str) -> Result:
        done = CliRunner().invoke(command_line(), words, standalone_mode=False)
        assert done.exception is None, done.output
        return done

    done = told("collect", str(batch.folder), "--partial")  # the job goes on: that is no error
    assert done.return_value == 1 and "osgbatch: " not in done.stderr
    assert "gather: a job of the pool does it (cluster 1), and " in done.stderr
    said = told("status", str(batch.folder)).stdout.replace("\n", " ")
    assert "note: gather: a job of the pool (cluster 1) " in said
    assert f"then `osgbatch collect {name}` brings what it makes" in said
    go.touch()
    job = folders.load(next((batch.folder / names.GATHER).glob("*/resolved.json")).parent)
    until(lambda: following.status(job).ended)
    assert "has succeeded; `osgbatch collect" in told("status", str(batch.folder)).stdout
    done = told("collect", str(batch.folder), "--watch", "--partial", "--gather")
    assert done.stdout.count("2 tasks: ") == 1  # the summary is told once
    assert "; waiting for that job:" in done.stderr
    assert "gather:" not in told("status", str(batch.folder)).stdout
    assert (batch.folder / "results/total").read_text() == "16.0\n"
    assert len(list((batch.folder / names.GATHER).glob("*/resolved.json"))) == 2
    assert done.return_value == 1  # a task has failed


def test_a_job_that_was_half_made_is_made_anew_and_given_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = sweep(tmp_path / "s", "{function: analysis:summarise, in: pool}")
    batch = run(spec)
    above, go = batch.folder / names.GATHER, tmp_path / "go"
    (tmp_path / "s/analysis.py").write_text(waits_for(go) + FUNCTION)
    given: list[str] = []

    def killed(*arguments: object) -> None:
        given.append("killed")
        raise KeyboardInterrupt

    for where in ("render_batch", "give"):
        with monkeypatch.context() as patch:
            patch.setattr(f"osgbatch.results.gathering_pool.{where}", killed)
            with pytest.raises(KeyboardInterrupt):
                collect_batch(batch, print)
    assert given == ["killed"] * 2
    (folder,) = [p.parent for p in above.glob("*/resolved.json")]
    assert not (folder / "rounds/001/submitted.json").exists()
    assert isinstance(collect_batch(batch, print)[2], GatherPending)
    assert [p.parent for p in above.glob("*/resolved.json")] == [folder]
    job = folders.load(folder)
    go.touch()
    until(lambda: following.status(job).ended)
    own = f"osgbatch collect {in_commands(batch)}"
    assert next_steps(following.status(job)) == [own]  # which brings what the job made
    assert collect_batch(batch, print)[2] is None
    assert (batch.folder / "results/total").read_text() == "43.0\n"
    shutil.rmtree(batch.folder / "results/0")
    go.unlink()
    failing = waits_for(go) + "def summarise(rows): raise SystemExit(5)\n"
    (tmp_path / "s/analysis.py").write_text(failing)
    assert isinstance(collect_batch(batch, print)[2], GatherPending)
    (other,) = {p.parent for p in above.glob("*/resolved.json")} - {folder}
    go.touch()
    until(lambda: following.status(folders.load(other)).ended)
    assert next_steps(following.status(folders.load(other)))[1:] == [f"{own} --gather"]
    for _ in range(2):  # it failed, and is not submitted again by itself
        failure = collect_batch(batch, print)[2]
        assert isinstance(failure, GatherError) and "exit code 5" in failure.what
    assert len(list(above.glob("*/resolved.json"))) == 2
    go.unlink()
    failure = collect_batch(batch, print, wish=Wish(force=True))[2]
    assert isinstance(failure, GatherPending) and failure.batch.folder.name == f"{other.name}-2"
    words = ["cancel", str(batch.folder), "--json"]
    told = json.loads(CliRunner().invoke(command_line(), words, standalone_mode=False).stdout)
    assert (told["cancelled"], told["gather_jobs"]) == (0, 1)
    assert following.status(failure.batch).counts == {"removed": 1}
    done = CliRunner().invoke(command_line(), words[:2], standalone_mode=False)
    assert done.stdout.startswith("nothing to cancel")
