"""The crate of a batch: what collect writes, what `verify` finds, and that it validates."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from returned_archives import returned, two_jobs
from typer.testing import CliRunner

from osgbatch import exits
from osgbatch.batches import folder as folders
from osgbatch.batches.folder import Batch
from osgbatch.cli.app import command_line
from osgbatch.errors import OsgbatchError
from osgbatch.provenance import crate as crates
from osgbatch.provenance.git import code_state
from osgbatch.provenance.layout import locate
from osgbatch.provenance.manifest import entries, line
from osgbatch.provenance.verify import Verified, described, verify
from osgbatch.results import crated_inputs
from osgbatch.results.finishing import collect_batch
from osgbatch.staging.hashes import Hashes
from osgbatch.submission import steps
from osgbatch.submission.planned import Choices
from osgbatch.submission.rerun import make_folder
from osgbatch.sums import file_sum, parse_sum

SPEC = """\
command: sh job.sh {x}
sweep: {x: {files: "data/*.txt"}}
files: [job.sh]
libraries: [util]
outputs: ['outputs/*']
gather: gather.py
environment_variables: {LEVEL: 3}
"""
ODD = "outputs/a\nb\\c é.txt"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("CACHE", "STATE", "CONFIG"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    folder = tmp_path / "a project"
    for name, text in {
        "sweep.yaml": SPEC,
        "job.sh": "true\n",
        "gather.py": "open('gathered', 'w').write('all')\n",
        "util/__init__.py": "",
        "data/a.txt": "a\n",
        "data/b.txt": "b\n",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def ran(project: Path, states: tuple[str, ...] = ("succeeded", "succeeded")) -> Batch:
    """A batch of two jobs that HTCondor has run, and that have come back."""
    batch = two_jobs(project / "sweep.yaml")
    for proc, state in enumerate(states):
        bring(batch, proc, state)
    return batch


def bring(batch: Batch, proc: int, state: str) -> None:
    """Deliver the archive of a job, as its shim would have made it."""
    job = {"site": "Here", "host": "ep.example"}
    returned(batch, proc, ODD, state, job=job, start="1795000000.5", end="1795000010")


def collected(batch: Batch) -> list[str]:
    """Collect, and give the notes."""
    return list(collect_batch(batch, lambda text: None, quiet=True)[1].notes)


def graph(batch: Batch) -> dict[str, Mapping[str, Any]]:
    told = json.loads((batch.folder / "provenance/ro-crate-metadata.json").read_text())
    return {one["@id"]: one for one in told["@graph"]}


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def checked(folder: Path) -> Verified:
    found = locate(folder)
    assert found is not None
    return verify(found)


def osgbatch(*words: str | Path) -> Any:
    """Run a command; an error is what its exit code says."""
    app = command_line()
    done = CliRunner().invoke(app, list(map(str, words)), standalone_mode=False)
    if isinstance(done.exception, OsgbatchError):
        raise done.exception
    assert done.exception is None, done.exception
    return done


def test_collect_tells_all_of_a_batch(project: Path) -> None:
    from rocrate.rocrate import ROCrate

    batch = ran(project)
    assert collected(batch) == []
    crate = batch.folder / "provenance"
    assert not (crate / "resolved.json").exists()  # it would be taken for a batch folder
    told = graph(batch)
    action = told[f"#batch-{batch.id}"]
    assert action["@type"] == "CreateAction"
    assert action["actionStatus"] == "http://schema.org/CompletedActionStatus"
    assert action["startTime"] == "2026-11-18T11:06:40+00:00"
    assert "cluster 7" in action["description"]
    assert told["#program"]["name"] == "sh job.sh {x}"
    inputs = {row["path"]: row for row in rows(crate / "inputs.csv")}
    assert inputs["data/a.txt"]["sha256"] == hashlib.sha256(b"a\n").hexdigest()
    tasks = rows(crate / "tasks.csv")
    assert [(t["x"], t["host"], t["site"], t["exit_code"]) for t in tasks] == [
        ("data/a.txt", "ep.example", "Here", "0"),
        ("data/b.txt", "ep.example", "Here", "0"),
    ]
    assert tasks[1]["osgbatch_archive"] == "0/7_1_0.tar.gz"
    for name, entity in told.items():
        if "sha256" in entity and "/" not in name.replace("code/", ""):
            assert hashlib.sha256((crate / name).read_bytes()).hexdigest() == entity["sha256"]
    # the file that gather made is checked, too, and sha256sum understands each name
    done = subprocess.run(
        ["sha256sum", "--strict", "-c", "../provenance/manifest.sha256"],
        cwd=batch.folder / "results", capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert len(done.stdout.splitlines()) == 2 * 4 + 2
    assert "gathered: OK" in done.stdout
    again = ROCrate(crate)
    assert {one.id for one in again.data_entities} >= {"tasks.csv", "manifest.sha256"}
    assert [one.type for one in again.contextual_entities].count("CreateAction") == 1


def test_a_crate_is_written_again_only_when_something_changed(project: Path) -> None:
    batch = ran(project)
    collect_batch(batch, lambda text: None, gather=False)  # it would write a file each time
    first = os.stat(batch.folder / "provenance").st_ino
    collect_batch(batch, lambda text: None, gather=False)
    assert os.stat(batch.folder / "provenance").st_ino == first
    (batch.folder / "results/mine.txt").write_text("x")
    collect_batch(batch, lambda text: None, gather=False)
    assert checked(batch.folder).ok
    assert "mine.txt" in dict(entries(batch.folder / "provenance/manifest.sha256"))


def test_a_crate_names_the_person_and_has_the_spec_as_it_was_written(project: Path) -> None:
    config = project.parent / "config/osgbatch/config.yaml"
    config.parent.mkdir(parents=True)
    config.write_text("orcid: https://orcid.org/0000-0002-1825-0097\n")
    batch = ran(project)
    config.write_text("changed: later\n")
    (project / "sweep.yaml").write_text("changed: later\n")
    collect_batch(batch, lambda text: None, gather=False)
    told = graph(batch)
    person = told["https://orcid.org/0000-0002-1825-0097"]
    assert told[f"#batch-{batch.id}"]["agent"] == {"@id": person["@id"]}
    crate = batch.folder / "provenance"
    assert "orcid" in (crate / "sweep.yaml").read_text()
    assert (crate / "spec/1-sweep.yaml").read_text() == SPEC
    assert [one.name for one in crate.glob("spec/*")] == ["1-sweep.yaml"]  # config is the user's


def test_failed_tasks_are_told_and_open_ones_have_no_crate_yet(project: Path) -> None:
    batch = ran(project, ("succeeded",))
    log = batch.rounds()[0].folder / "events.log"
    whole = log.read_text()
    log.write_text(whole[: whole.index("000 (007.001")])
    collected(batch)
    assert not (batch.folder / "provenance").exists()
    log.write_text(whole)
    bring(batch, 1, "failed")
    collected(batch)
    action = graph(batch)[f"#batch-{batch.id}"]
    assert action["actionStatus"] == "http://schema.org/FailedActionStatus"
    assert action["error"] == "1 of 2 tasks did not succeed: 1 failed"
    assert "failed/1/stdout" in dict(entries(batch.folder / "provenance/manifest.sha256"))


def test_what_cannot_be_written_leaves_the_old_crate_and_the_results(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = ran(project)
    collected(batch)
    before = graph(batch)
    (batch.folder / "results/mine.txt").write_text("x")

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device", "here")

    monkeypatch.setattr("osgbatch.results.crated_files.write_metadata", full)
    assert collected(batch) == ["no provenance was written: No space left on device (here)"]
    assert graph(batch) == before
    assert not list(batch.folder.glob(".provenance*"))
    monkeypatch.setitem(sys.modules, "rocrate.rocrate", None)
    monkeypatch.setattr("osgbatch.results.crated_files.write_metadata", crates.write_metadata)
    assert "rocrate, is not installed" in collected(batch)[0]


def test_what_a_user_put_into_the_crate_is_kept(project: Path) -> None:
    batch = ran(project)
    collected(batch)
    (batch.folder / "provenance/notes.md").write_text("mine")
    (batch.folder / "results/more").write_text("x")
    assert "provenance.old-1" in collected(batch)[0]
    assert (batch.folder / "provenance.old-1/notes.md").read_text() == "mine"
    assert (batch.folder / "provenance/manifest.sha256").exists()


def test_what_a_user_put_into_the_crate_is_kept_when_killed(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = ran(project)
    collected(batch)
    (batch.folder / "provenance/notes.md").write_text("mine")
    (batch.folder / "results/more").write_text("x")
    renames = 0

    def once(self: Path, target: Path) -> Path:
        nonlocal renames
        renames += 1
        if renames > 1:
            raise KeyboardInterrupt
        os.rename(self, target)
        return target

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", once)
        with pytest.raises(KeyboardInterrupt):
            collected(batch)
    collected(batch)
    # as a version before this one left it, killed between its renames
    (batch.folder / "provenance").rename(batch.folder / ".provenance-old")
    (batch.folder / ".provenance-old/more.md").write_text("mine, too")
    assert "provenance.old-2" in collected(batch)[0]
    shutil.copytree(batch.folder / "provenance", batch.folder / ".provenance-old")
    (batch.folder / ".provenance-old/last.md").write_text("mine still")
    (batch.folder / "results/more").write_text("xx")
    assert "provenance.old-3" in collected(batch)[0]
    shutil.copytree(batch.folder / "provenance", batch.folder / ".provenance-old")
    (batch.folder / "results/more").write_text("xxx")
    assert collected(batch) == []
    kept = [f"{name.parent.name}/{name.name}" for name in batch.folder.glob("*/*.md")]
    assert sorted(kept) == [
        "provenance.old-1/notes.md", "provenance.old-2/more.md", "provenance.old-3/last.md"
    ]  # fmt: skip
    assert not list(batch.folder.glob(".provenance*"))


def test_inputs_that_changed_since_are_told_and_have_no_checksum(project: Path) -> None:
    batch = ran(project)
    (project / "data/a.txt").write_text("other\n")
    (project / "data/b.txt").unlink()
    notes = collected(batch)
    assert len(notes) == 1 and "data/a.txt and 1 more is not known" in notes[0]
    told = {r["path"]: (r["state"], r["sha256"]) for r in rows_of_inputs(batch)}
    assert told["data/a.txt"] == ("changed", "")
    assert told["data/b.txt"] == ("gone", "")


def test_what_was_put_into_an_inputs_place_with_its_time_is_not_taken_for_it(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.txt", "b.txt"):
        os.utime(project / "data" / name, (1, 1))
    monkeypatch.setattr("osgbatch.staging.hashes._YOUNG_NS", 0)  # or it is not remembered
    with Hashes(tmp_path / "cache/osgbatch") as hashes:
        list(hashes.of_files([project / "data/b.txt"], lambda count: None))
    batch = ran(project)
    other = project / "data/other"
    other.write_text("other\n")
    os.utime(other, (1, 1))
    other.rename(project / "data/a.txt")
    (project / "data/b.txt").chmod(0o600)
    (note,) = collected(batch)
    assert "data/a.txt is not known" in note
    told = {r["path"]: (r["state"], r["sha256"]) for r in rows_of_inputs(batch)}
    assert told["data/a.txt"] == ("touched", "")
    assert told["data/b.txt"] == ("touched", hashlib.sha256(b"b\n").hexdigest())


def test_checksums_of_inputs_are_kept_when_the_inputs_are_not(project: Path) -> None:
    batch = ran(project)
    collected(batch)
    (project / "data/a.txt").write_text("other\n")
    with (batch.folder / "results/gathered").open("a") as made:
        made.write("x")
    assert ["gather script had made was changed" in note for note in collected(batch)] == [True]
    told = {r["path"]: (r["state"], r["sha256"]) for r in rows_of_inputs(batch)}
    assert told["data/a.txt"] == ("changed", hashlib.sha256(b"a\n").hexdigest())


def rows_of_inputs(batch: Batch) -> list[dict[str, str]]:
    return rows(batch.folder / "provenance/inputs.csv")


def test_of_large_inputs_only_so_much_is_read(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crated_inputs, "MOST_READ", 3)
    batch = ran(project)
    out = io.StringIO()
    told = crated_inputs.write_inputs(out, batch, steps.Silent(), 3)
    assert (told.count, told.unread, told.unread_bytes) == (2, 1, 2)
    told = crated_inputs.write_inputs(io.StringIO(), batch, steps.Silent(), 100)
    assert told.unread == 0


# --- what is noted at submission ------------------------------------------------------------------


def git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    done = subprocess.run(
        ["git", *identity, *words], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def test_the_commit_and_what_differs_from_it_are_noted(project: Path) -> None:
    git(project, "init", "-q")
    git(project, "add", "sweep.yaml", "job.sh", "util", "data")
    git(project, "commit", "-q", "-m", "first")
    git(project, "remote", "add", "origin", "https://me:secret@example.org/code.git")
    (project / "job.sh").write_text("false\n")
    (project / "data/a.txt").write_text("no code\n")
    batch = ran(project)
    text = (batch.rounds()[0].folder / "origin.json").read_text()
    (told,) = json.loads(text)["git"]
    assert told["commit"] == git(project, "rev-parse", "HEAD")
    assert told["dirty"] is True
    assert told["changed"] == ["job.sh", "gather.py"]
    assert told["remote"] == "https://example.org/code.git"
    assert "secret" not in text
    collected(batch)
    assert graph(batch)["#program"]["version"] == f"{told['commit']}-dirty"


def test_a_git_that_hangs_or_a_settings_file_that_runs_programs_holds_nothing_up(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(project, "init", "-q")
    (project / ".gitattributes").write_text("job.sh filter=a.b\nutil/* filter=c\n")
    git(project, "add", ".")
    for key in ("core.fsmonitor", "filter.a.b.clean", "filter.c.process"):
        git(project, "config", key, f"touch '{tmp_path}/ran'; cat")
    git(project, "config", "filter.a.b.required", "true")
    for name in ("job.sh", "util/__init__.py"):
        os.utime(project / name, (1, 1))  # so that it is read
    (told,) = code_state([project / "job.sh", project / "util"])
    assert not (tmp_path / "ran").exists() and not told.problem
    assert told.changed == ("job.sh", "util/__init__.py")  # added, and as they were
    git(project, "config", "filter.a=b.clean", f"touch '{tmp_path}/ran'")
    (told,) = code_state([project / "job.sh"])
    assert "= in its name" in told.problem and not (tmp_path / "ran").exists()
    git(project, "config", "--remove-section", "filter.a=b")
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "git").write_text("#!/bin/sh\nexec sleep 30\n")
    (tools / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    (told,) = code_state([project / "job.sh"], 0.2)
    assert "git took more than" in told.problem
    assert told.dirty is None


def test_variables_and_settings_of_the_user_are_not_told(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_TOKEN", "very-secret-word")
    batch = ran(project)
    with (batch.rounds()[0].folder / "job.submit").open("a") as out:
        out.write("# https://s3.example/b/x?X-Amz-Signature=very-secret-word\n")
    collected(batch)
    for path in (batch.folder / "provenance").rglob("*"):
        assert not path.is_file() or b"very-secret-word" not in path.read_bytes()


def test_keys_in_addresses_are_in_no_file_of_the_crate(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "very-secret-word"
    config = tmp_path / "config/osgbatch/config.yaml"
    config.parent.mkdir(parents=True)
    config.write_text(f"orcid: https://orcid.org/0000-0002-1825-0097  # {key}\n")
    (project / "list.csv").write_text(
        f"x,d\nosdf:///a/b?authz={key},data/a.txt\ns3://h/b?X-Amz-Signature={key}&v=1,data/b.txt\n"
    )
    (project / "gather.py").write_text(f"# https://me:{key}@h/x\nopen('gathered', 'w')\n")
    spec = SPEC.replace('{x: {files: "data/*.txt"}}', "{table: list.csv}")
    (project / "sweep.yaml").write_text(f"{spec}inputs: '{{d}}'\n")
    batch = ran(project)
    (origin,) = batch.folder.rglob("origin.json")
    collected(batch)
    crate = batch.folder / "provenance"
    for path in [origin, *crate.rglob("*")]:
        assert not path.is_file() or key.encode() not in path.read_bytes(), path
    assert [row["x"] for row in rows(crate / "tasks.csv")] == ["osdf:///a/b", "s3://h/b?v=1"]
    told = {one["path"]: one for one in json.loads((crate / "osgbatch.json").read_text())["kept"]}
    assert told["list.csv"]["redacted"] is True
    whole = (project / "list.csv").read_bytes()
    assert told["list.csv"]["sha256"] == hashlib.sha256(whole).hexdigest()

    def again(into: str) -> tuple[Path, list[list[str]]]:
        made = make_folder(
            crate, tmp_path / into, None, lambda text: None, steps.Silent(), lambda why: True
        )
        choices = Choices(made.words, rows=made.same_tasks)
        batch = steps.render_sweep(made.spec, None, lambda text: None, choices)
        return made.home, list(folders.read_tasks_csv(batch))

    home, tasks = again("there")
    assert (home / "list.csv").read_bytes() == whole and key in tasks[0][0]
    (project / "list.csv").unlink()
    home, tasks = again("gone")
    assert key not in (home / "list.csv").read_text() and tasks[0][0] == "osdf:///a/b"


# --- verify ---------------------------------------------------------------------------------------


def test_verify_finds_what_is_missing_changed_and_extra(project: Path, tmp_path: Path) -> None:
    batch = ran(project)
    collected(batch)
    copy = tmp_path / "paper"
    shutil.copytree(batch.folder / "results", copy / "results")
    shutil.copytree(batch.folder / "provenance", copy / "provenance")
    shutil.rmtree(project)
    for folder in (copy, copy / "results", copy / "provenance"):
        assert checked(folder).ok
    (copy / "results/report.html").write_text("made later")
    (copy / "results").rename(copy / "the data")
    (copy / "figures/0").mkdir(parents=True)
    for name in (copy / "the data", copy, copy / "provenance"):
        assert osgbatch("verify", name).return_value == exits.OK
    (copy / "the data").rename(copy / "results")
    (copy / "results/0" / ODD).write_text("resulT\n")
    (copy / "results/1/stdout").unlink()
    (copy / "results/gathered").unlink()
    os.mkfifo(copy / "results/gathered")  # never waited for
    (copy / "results/1/new\x1b[2J").write_text("")
    done = osgbatch("verify", copy)
    assert done.return_value == exits.SOME_FAILED
    assert "1 file missing:\n  1/stdout\n2 files changed:\n" in done.stdout
    assert "1 file not in the manifest:\n  1/new\\x1b[2J\n" in done.stdout
    told = json.loads(osgbatch("verify", copy, "--json").stdout)
    assert told["changed"] == {"count": 2, "first": [f"0/{ODD}", "gathered"]}
    assert (told["ok"], told["extra"]["count"], told["files"]) == (False, 1, 10)
    (copy / "provenance/tasks.csv").write_text("index\n")
    assert checked(copy).crate.first == ["tasks.csv"]


def test_verify_tells_tasks_whose_results_are_not_here(project: Path) -> None:
    batch = ran(project, ("succeeded", "failed"))
    collected(batch)
    (batch.folder / "results/old/0.1").mkdir(parents=True)  # the user's to delete
    (batch.folder / "results/old/0.1/mine").write_text("mine")
    assert checked(batch.folder).ok and checked(batch.folder).tasks == 2
    shutil.rmtree(batch.folder / "results/0")
    found = checked(batch.folder)
    assert {state: list(which) for state, which in found.without.items()} == {"succeeded": [0]}
    (batch.folder / "provenance").rename(batch.folder / "away")
    done = osgbatch("provenance", batch.folder)  # which cannot know what was in it
    assert "lacks 1 task that has succeeded" in done.stderr
    done = osgbatch("verify", batch.folder)
    assert done.return_value == exits.SOME_FAILED
    assert "1 of 2 tasks has no results here:\n  1 succeeded: 0\n" in done.stdout
    told = json.loads(osgbatch("verify", batch.folder, "--json").stdout)
    assert told["tasks_without_results"] == {"count": 1, "first": [0]} and not told["ok"]
    shutil.rmtree(batch.folder / "results/failed")
    assert checked(batch.folder).tasks_without == 2
    collected(batch)
    assert checked(batch.folder).ok


def test_what_is_lost_for_good_stays_in_the_manifest(project: Path) -> None:
    batch = ran(project)
    collect_batch(batch, lambda text: None, gather=False, drop=True)
    (batch.folder / "results/0" / ODD).unlink()
    shutil.rmtree(batch.folder / "results/1")
    collected(batch)
    found = checked(batch.folder)
    gone = [f"1/{name}" for name in (ODD, "stderr", "stdout", "status.json")]
    assert sorted(found.missing.first) == sorted([f"0/{ODD}", *gone])
    assert {state: list(which) for state, which in found.without.items()} == {"unknown": [1]}


def test_what_gather_writes_beside_a_tasks_results_is_theirs(project: Path) -> None:
    (project / "gather.py").write_text(
        "import os\n"
        "for place in ('0/mean.txt', '0/outputs/more/deep.txt', '.new-plot/x', '1/.new-y'):\n"
        "    os.makedirs(os.path.dirname(place), exist_ok=True)\n"
        "    open(place, 'w').write('made')\n"
        "os.symlink('mean.txt', '0/link')\n"
    )
    batch = ran(project)
    collected(batch)
    found = checked(batch.folder)
    assert found.ok, found
    assert "0/mean.txt" in dict(entries(batch.folder / "provenance/manifest.sha256"))
    (batch.folder / "results/0/mean.txt").unlink()
    (batch.folder / "results/0/link").unlink()
    (batch.folder / "results/1/later").write_text("")
    found = checked(batch.folder)
    assert found.missing.first == ["0/mean.txt", "0/link"] and found.extra.first == ["1/later"]


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", "a//b", ""])
def test_a_manifest_never_leads_out(project: Path, name: str) -> None:
    batch = ran(project)
    collected(batch)
    with (batch.folder / "provenance/manifest.sha256").open("ab") as out:
        out.write(f"{'0' * 64}  {name}\n".encode())
    metadata = batch.folder / "provenance/ro-crate-metadata.json"
    told = described(metadata.parent)["manifest.sha256"]
    now = file_sum(metadata.parent / "manifest.sha256")[0]
    metadata.write_text(metadata.read_text().replace(told, now))  # as somebody else's crate
    with pytest.raises(OsgbatchError, match=r"manifest.sha256:11"):
        checked(batch.folder)


def test_what_is_no_crate_is_told(project: Path) -> None:
    with pytest.raises(OsgbatchError, match=r"no provenance/ in this folder"):
        osgbatch("verify", project)
    batch = ran(project)
    with pytest.raises(OsgbatchError, match=r"no provenance/ yet"):
        osgbatch("verify", batch.folder)
    assert osgbatch("provenance", batch.folder).return_value == exits.OK  # before any collection
    shutil.copytree(batch.folder / "provenance", project / "alone")
    with pytest.raises(OsgbatchError, match=r"no results/ beside this crate"):
        osgbatch("verify", project / "alone")
    assert folders.load(batch.folder).tasks == 2


@given(st.text(st.characters(exclude_characters="\0/", exclude_categories=()), min_size=1))
def test_a_line_is_read_as_it_was_written(name: str) -> None:
    try:
        name = os.fsdecode(os.fsencode(name))
    except UnicodeEncodeError:
        return
    text = line(name, "0" * 64)
    assert text.count(b"\n") == 1
    assert parse_sum(text.removesuffix(b"\n")) == (name, "0" * 64)


# --- as others read it ----------------------------------------------------------------------------


def test_the_crate_validates_offline(project: Path, tmp_path: Path) -> None:
    pytest.importorskip("rocrate_validator")
    batch = ran(project, ("succeeded", "failed"))
    collected(batch)
    # The validator fails for a path with a blank in it.
    crate = shutil.copytree(batch.folder / "provenance", tmp_path / "crate")
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("crate_validator.py"), crate, tmp_path / "http"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout.splitlines()[-1]) == []
