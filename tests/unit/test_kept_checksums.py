"""What was verified once stays in the manifest; what was added by hand is told to be just that."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import test_provenance
from returned_archives import returned
from test_provenance import ODD, checked, collected, osgbatch, ran, rows

from osgbatch.batches.folder import Batch
from osgbatch.life import following
from osgbatch.model import TaskState
from osgbatch.provenance.manifest import ManifestError, entries
from osgbatch.results.crated_before import Before
from osgbatch.results.crated_gone import Gone
from osgbatch.results.finishing import collect_batch
from osgbatch.results.gathering_when import Wish

project = test_provenance.project


def manifest(batch: Batch, crate: str = "provenance") -> dict[str, str]:
    return dict(entries(batch.folder / crate / "manifest.sha256"))


def dropped(batch: Batch) -> dict[str, str]:
    """Collect, delete the archives; gives the manifest."""
    assert collect_batch(batch, lambda text: None, quiet=True, drop=True)[2] is None
    return manifest(batch)


def of_tasks(told: dict[str, str]) -> dict[str, str]:
    return {name: sha256 for name, sha256 in told.items() if "/" in name}


def bring_again(batch: Batch, proc: int, content: bytes) -> None:
    """The archive of a task, with another result, as of a later run of it."""
    job = {"site": "Here", "host": "ep2.example"}
    returned(batch, proc, ODD, content=content, job=job, start="1795000100", end="1795000110")
    for kept in batch.folder.glob(f"rounds/*/returned/0/7_{proc}_0.kept.json"):
        kept.unlink()


def test_checksums_of_results_that_are_gone_stay(project: Path) -> None:
    batch = ran(project)
    whole = of_tasks(dropped(batch))
    assert len(whole) == 8
    shutil.rmtree(batch.folder / "results")
    tasks, made = collected(batch)
    assert "what 2 tasks brought back once is not in results/" in tasks
    assert "the gather script had made is not there any more: gathered" in made
    for _ in range(2):
        assert of_tasks(manifest(batch)) == whole
        found = checked(batch.folder)
        assert (found.missing.count, found.tasks_without) == (9, 2)
        assert collected(batch) == []
    assert not list(batch.folder.glob("provenance.old-*"))
    bring_again(batch, 0, b"result\n")  # the same again, of another start
    collected(batch)
    now = of_tasks(manifest(batch))
    assert {name for name in whole if now[name] != whole[name]} == {"0/status.json"}
    missing = checked(batch.folder).missing.first
    assert {name.partition("/")[0] for name in missing} == {"1", "gathered"}
    assert not list(batch.folder.glob("provenance.old-*"))


def test_what_archives_bring_again_is_no_news(project: Path) -> None:
    batch = ran(project)
    collected(batch)
    whole = manifest(batch)
    shutil.rmtree(batch.folder / "results")
    assert osgbatch("provenance", batch.folder).stderr.startswith("note: what 2 tasks brought")
    assert collected(batch) == [] and checked(batch.folder).ok
    assert manifest(batch) == whole
    shutil.rmtree(batch.folder / "results/0")
    assert collected(batch) == [] and checked(batch.folder).ok
    assert manifest(batch) == whole


def test_another_result_leaves_the_checksums_of_the_first(project: Path) -> None:
    batch = ran(project)
    whole = dropped(batch)
    shutil.rmtree(batch.folder / "results/0")
    collected(batch)
    bring_again(batch, 0, b"another result\n")
    notes = collected(batch)
    assert "1 task has another result now than was verified before (0)" in notes[0]
    assert "are kept in provenance.old-1" in notes[0]
    kept, now = manifest(batch, "provenance.old-1"), manifest(batch)
    assert kept[f"0/{ODD}"] == whole[f"0/{ODD}"] != now[f"0/{ODD}"]
    assert checked(batch.folder).ok and collected(batch) == []
    (batch.folder / "provenance/notes.md").write_text("mine")
    bring_again(batch, 0, b"a third\n")
    shutil.rmtree(batch.folder / "results/0")
    notes = collected(batch)
    assert "held files of yours" in notes[0] and "are kept in provenance.old-2" in notes[1]


def test_a_failure_makes_way_for_a_success(project: Path) -> None:
    batch = ran(project, ("succeeded", "failed"))
    collected(batch)
    assert "failed/1/stdout" in manifest(batch)
    bring_again(batch, 1, b"result\n")
    assert collected(batch) == [] and checked(batch.folder).ok
    assert "failed/1/stdout" not in manifest(batch) and "1/stdout" in manifest(batch)


def test_killed_after_the_crate_was_set_aside_nothing_is_forgotten(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = ran(project)
    whole = of_tasks(dropped(batch))
    shutil.rmtree(batch.folder / "results/1")
    (batch.folder / "provenance/notes.md").write_text("mine")

    def killed(crate: Path, target: Path) -> Path:
        crate.rename(f"{target}.old-1")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("osgbatch.results.crated._keep", killed)
        with pytest.raises(KeyboardInterrupt):
            collected(batch)
    assert not (batch.folder / "provenance").exists()
    collected(batch)
    assert of_tasks(manifest(batch)) == whole and checked(batch.folder).missing.count == 4


def test_a_manifest_that_was_changed_by_hand_is_kept_and_not_followed(project: Path) -> None:
    batch = ran(project)
    dropped(batch)
    with (batch.folder / "provenance/manifest.sha256").open("a") as out:
        out.write(f"{'0' * 64}  1/outputs/never\n")
    with pytest.raises(ManifestError, match=r"manifest\.sha256: it was changed or damaged"):
        checked(batch.folder)
    (note,) = collected(batch)
    assert note.endswith("damaged since it was written; `osgbatch provenance` writes it anew")
    shutil.rmtree(batch.folder / "results/1")
    notes = collected(batch)
    assert notes[0].startswith("provenance/manifest.sha256 was changed or damaged; the old one is")
    assert "kept as provenance.old-1" in notes[0] and "was changed or damaged" in notes[1]
    assert "1/outputs/never" not in manifest(batch)


def test_data_that_lies_elsewhere_stays_and_older_crates_say_less(tmp_path: Path) -> None:
    status: dict[str, Any] = {"files": {"stdout": "1" * 64}, "links": {}, "data_url": "osdf:///x"}
    for index, more in enumerate(({}, {"fetched": True})):
        (tmp_path / f"{index}").mkdir()
        text = json.dumps({**status, "index": index, **more})
        (tmp_path / f"{index}/status.json").write_text(text)
    states = [TaskState(index, "succeeded") for index in range(3)]
    told = [f"{index}/{name}" for index in range(4) for name in ("outputs/a", "stdout")]
    known: list[dict[str, str] | None] = [{}, None]
    for added in known:
        gone = Gone(tmp_path, states, Before(tmp_path, {}, added))
        stay = [name for name in told if gone.stays(name, "2" * 64)]
        assert stay == ["0/outputs/a", "2/outputs/a", "2/stdout"]  # 3 is no task
        assert (gone.tasks, gone.replaced) == ({0, 2}, {0, 1})
    gone = Gone(tmp_path, states, Before(tmp_path, {}, None))
    assert not gone.stays("1/mean", "2" * 64) and not gone.replaced  # gather may have made it
    gone = Gone(tmp_path, states, Before(tmp_path, {}, {}))
    assert not gone.stays("1/mean", "2" * 64) and gone.replaced == {1}


# --- whose it is ----------------------------------------------------------------------------------


def test_what_was_added_by_hand_is_told(project: Path) -> None:
    (project / "gather.py").write_text(
        "import os\n"
        "os.makedirs('figures', exist_ok=True)\n"
        "for place in ('summary', 'figures/a', '0/mean'): open(place, 'w').write('made')\n"
        "os.symlink('mean', '0/link') if not os.path.lexists('0/link') else None\n"
    )
    batch = ran(project)
    assert collected(batch) == []
    results = batch.folder / "results"
    told = json.loads(osgbatch("verify", batch.folder, "--json").stdout)
    assert (told["came_back"], told["made_here"]) == (8, 4)  # and results.csv
    assert told["added_here"]["count"] == 0
    for name in ("figures/mine", "1/outputs/added.txt", "top.txt"):
        (results / name).write_text("mine")
    (note,) = collected(batch)
    assert note.startswith("3 files were added to results/ here, and came back from no task: 1/")
    assert collected(batch) == []
    said = osgbatch("verify", batch.folder).stdout
    assert "all 15 files are as recorded" in said
    assert "  8 as they came back, 4 made here (tables, gather), 3 added here\n" in said
    assert "    figures/mine\n" in said
    added = {row["name"]: row["by"] for row in rows(batch.folder / "provenance/added.csv")}
    assert added["results.csv"] == "osgbatch" and added["0/link"] == "gather"
    (results / "top.txt").unlink()  # the user's own: nothing was lost
    assert collected(batch) == [] and checked(batch.folder).ok
    (results / "summary").unlink()
    (note,) = collect_batch(batch, print, gather=False)[1].notes
    assert "had made is not there any more: summary;" in note
    assert checked(batch.folder).missing.first == ["summary"]
    assert "14 files should be there, 2 of them added" in osgbatch("verify", batch.folder).stdout
    assert collected(batch) == [] and checked(batch.folder).ok  # it was made again


def test_what_a_gather_script_left_that_failed_was_not_added_by_hand(project: Path) -> None:
    (project / "gather.py").write_text("open('half', 'w').write('x')\nraise SystemExit(4)\n")
    batch = ran(project)
    assert "exited with 4" in str(collect_batch(batch, lambda text: None)[2])
    added = {row["name"]: row["by"] for row in rows(batch.folder / "provenance/added.csv")}
    assert added == {"results.csv": "osgbatch", "half": "gather"}


def test_what_gather_made_and_somebody_changed_is_told_until_it_has_run_again(
    project: Path,
) -> None:
    gather = project / "gather.py"
    gather.write_text(
        "import os\nopen('summary', 'w').write('made')\n"
        "if not os.path.lexists('link'): os.symlink('summary', 'link')\n"
        "if not os.path.exists('once'): open('once', 'w').write('made')\n"
    )
    batch = ran(project)
    collected(batch)
    whole, results = manifest(batch), batch.folder / "results"
    for name in ("summary", "once"):
        (results / name).write_text("edited")
    (note,) = collected(batch)
    assert "gather script had made was changed since: once and 1 more; the manifest keeps" in note
    assert manifest(batch) == whole and checked(batch.folder).changed.first == ["once", "summary"]
    mended = gather.read_text()
    gather.write_text("raise SystemExit(4)\n")
    collect_batch(batch, print, wish=Wish(force=True))
    assert manifest(batch) == whole  # it failed, and has made nothing
    gather.write_text(mended)
    (note,) = collected(batch)
    assert note.startswith("1 file was added to results/ here, and came back from no task: once;")
    assert checked(batch.folder).ok and manifest(batch)["summary"] == whole["summary"]


def test_what_was_added_after_a_gather_that_was_killed_is_not_its(project: Path) -> None:
    (project / "gather.py").write_text("open('half', 'w').write('x')\n")
    batch = ran(project)
    collected(batch)
    note = batch.folder / "gathered.json"
    told = json.loads(note.read_text())
    note.write_text(json.dumps({**told, "key": "", "runs": [(told["runs"][0][0], 0)]}))
    collect_batch(batch, print, gather=False)
    (batch.folder / "results/mine").write_text("mine")
    (said,) = collect_batch(batch, print, gather=False)[1].notes
    assert "1 file was added to results/ here, and came back from no task: mine" in said


def test_a_copied_folder_of_another_task_is_not_what_came_back(project: Path) -> None:
    batch = ran(project)
    whole, results = of_tasks(dropped(batch)), batch.folder / "results"
    shutil.rmtree(results / "1")
    shutil.copytree(results / "0", results / "1")
    for _ in range(2):
        assert collect_batch(batch, print)[0].counts == {"succeeded": 1, "unknown": 1}
        now = of_tasks(manifest(batch))
        assert {name: now.get(name) for name in whole} == whole
        assert not checked(batch.folder).ok
    assert following.status(batch).counts == {"succeeded": 1, "unknown": 1}


def test_what_came_back_is_never_taken_for_something_else(project: Path) -> None:
    """Other names of results, and folders whose status.json is gone, keep their checksums."""
    spec = project / "sweep.yaml"
    text = spec.read_text()
    spec.write_text(text.replace("'outputs/*'", "{path: 'outputs/*', to: 'all/{index}/'}"))
    batch = ran(project)
    whole = of_tasks(dropped(batch))
    (other,) = (name for name in whole if name.startswith("all/1/"))
    assert whole[other] == whole[f"1/{ODD}"]
    results = batch.folder / "results"
    shutil.rmtree(results / "1")
    (results / other).write_text("changed")
    (results / "0/status.json").unlink()
    (results / "0/stdout").write_text("changed")
    collected(batch)
    assert of_tasks(manifest(batch)) == whole
    assert checked(batch.folder).changed.count == 2
    shutil.rmtree(results)
    collected(batch)
    assert of_tasks(manifest(batch)) == whole
