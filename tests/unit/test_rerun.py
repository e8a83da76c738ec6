"""`submit --from`: a folder made of a crate plans the very same batch, or says why not."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from test_provenance import collected, osgbatch, ran
from test_provenance import project as project

from osgbatch import exits
from osgbatch.batches.folder import Batch, payload_sums, read_tasks_csv
from osgbatch.errors import OsgbatchError
from osgbatch.provenance.reading import read_crate
from osgbatch.spec.load import load_spec
from osgbatch.submission import steps
from osgbatch.submission.planned import Choices
from osgbatch.submission.rerun import Rerun, _Maker, make_folder
from osgbatch.submission.rerun_environment import same_environment

SPEC = """\
name: peaks
command: sh job.sh {x} {n}
sweep: {x: {files: "../data/*.txt"}, table: params.csv}
files: [job.sh, ../shared.py, scripts]
libraries: [util, ../lib]
inputs: ["@list.txt"]
gather: gather.py
"""


@pytest.fixture
def crate(project: Path, tmp_path: Path) -> Path:
    """A crate whose spec names much that lies outside its folder, moved away from its batch."""
    spec = project / "spec"
    shutil.copytree(project, spec)
    for name, text in {
        "spec/sweep.yaml": SPEC,
        "spec/params.csv": "n\n1\n",
        "spec/list.txt": "ref.fa\n",
        "spec/ref.fa": "ACGT\n",
        "spec/scripts/run.sh": "true\n",
        "shared.py": "",
        "lib/__init__.py": "",
    }.items():
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_text(text)
    (spec / "scripts/run.sh").chmod(0o755)
    batch = ran(spec)
    assert collected(batch) == []
    shutil.copytree(batch.folder / "provenance", tmp_path / "provenance")
    shutil.copytree(batch.folder, tmp_path / "first")
    return tmp_path / "provenance"


def made(
    crate: Path, into: str = "again", *, data: Path | None = None, again: bool = False
) -> Rerun:
    target = crate.parent / into
    return make_folder(crate, target, data, lambda text: None, steps.Silent(), lambda why: again)


def rendered(rerun: Rerun) -> Batch:
    choices = Choices(rerun.words, rows=rerun.same_tasks)
    return steps.render_sweep(rerun.spec, None, lambda text: None, choices)


def test_what_is_submitted_is_what_was(crate: Path, project: Path) -> None:
    (project / "spec/job.sh").write_text("changed since\n")
    shutil.rmtree(project / "spec/util")
    rerun = made(crate)
    assert rerun.home == crate.parent / "again/spec"  # so that ../data is inside
    batch, first = rendered(rerun), Batch(crate.parent / "first", _data(crate.parent / "first"))
    assert payload_sums(batch.data) == payload_sums(first.data)
    assert list(read_tasks_csv(batch)) == list(read_tasks_csv(first))
    assert os.readlink(rerun.home / "../data/a.txt") == str(project / "data/a.txt")
    told = json.loads((batch.rounds()[0].folder / "origin.json").read_text())
    assert told["from"]["batch"] == first.id
    assert made(crate).home == rerun.home  # a second time the folder is used as it is


def test_a_plan_names_the_folder_that_would_be_made(
    crate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    for words in ((), ("--json",)):
        done = osgbatch("submit", "--from", crate, "--dry-run", *words)
        assert "osgbatch-plan" not in done.stdout + done.stderr
        assert "peaks-again/spec/sweep.yaml" in done.stdout
    assert sorted(tmp_path.iterdir()) == before


def _data(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / "resolved.json").read_text())
    return found


def test_inputs_elsewhere_are_found_and_changed_ones_are_told(crate: Path, project: Path) -> None:
    shutil.move(project / "data", crate.parent / "moved")
    with pytest.raises(OsgbatchError, match=r"the input \.\./data/a\.txt is not there"):
        made(crate)
    data = crate.parent / "x/y"
    data.mkdir(parents=True)
    shutil.move(crate.parent / "moved", crate.parent / "x/data")
    (crate.parent / "x/data/b.txt").write_text("B\n")
    with pytest.raises(OsgbatchError, match=r"b\.txt is not what it was") as error:
        made(crate, data=data)
    assert error.value.exit_code == exits.BAD_INPUT
    assert not list(crate.parent.glob("*again*"))
    assert made(crate, data=data, again=True).spec.is_file()


def test_a_folder_made_before_is_compared_again(crate: Path, project: Path) -> None:
    rerun = made(crate)
    (project / "data/a.txt").write_text("later\n")
    (rerun.home / "job.sh").write_text("later\n")
    with pytest.raises(OsgbatchError) as error:
        made(crate)
    assert "a.txt is not what it was" in error.value.what
    assert "files: what would be packed is not what was" in error.value.what
    assert made(crate, again=True).home == rerun.home


def test_other_tasks_are_refused(crate: Path, project: Path) -> None:
    rerun = made(crate)
    (rerun.home / "../data/c.txt").write_text("one more")
    with pytest.raises(OsgbatchError, match=r"from task 2 on: x=\.\./data/c\.txt n=1, which was n"):
        rendered(rerun)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("osgbatch.json", b"{}"),
        ("sweep.yaml", b"command: rm -rf /\n"),
        ("ro-crate-metadata.json", b"\xff not json"),
        ("ro-crate-metadata.json", b'{"@graph": [{"@id": 3}]}'),
        ("tasks.csv", None),
    ],
)
def test_a_damaged_crate_is_one_clear_error(crate: Path, name: str, content: bytes | None) -> None:
    if content is None:
        (crate / name).unlink()
    else:
        (crate / name).write_bytes(content)
    with pytest.raises(OsgbatchError) as error:
        made(crate)
    assert name in str(error.value)
    assert "\n" not in error.value.what
    assert not list(crate.parent.glob("*again*"))


@pytest.mark.parametrize(
    ("member", "why"),
    [
        (tarfile.TarInfo("../out"), "no place"),
        (tarfile.TarInfo("/etc/out"), "no place"),
        (tarfile.TarInfo("x/.git/config"), "no place"),
        ("link", "a link out"),
        ("fifo", "no file, folder or link"),
    ],
)
def test_a_hostile_archive_is_refused(crate: Path, member: tarfile.TarInfo | str, why: str) -> None:
    (code,) = crate.glob("code/files-*.tar.gz")
    if isinstance(member, str):
        kind, member = member, tarfile.TarInfo(member)
        member.type = tarfile.FIFOTYPE if kind == "fifo" else tarfile.SYMTYPE
        member.linkname = "../../etc"
    with tarfile.open(code, "w:gz") as tar:
        tar.addfile(member, io.BytesIO() if member.isreg() else None)
    forge(crate, code)
    with pytest.raises(OsgbatchError, match=why):
        made(crate)
    assert not list(crate.parent.glob("*again*")) + list(crate.parent.glob("out"))


@pytest.mark.parametrize(
    "links",
    [
        {"a/b/c/s": "../../../r", "a/b/c/t": "s/../../.."},  # each inside of it by its name alone
        {"up": ".", "up/x": "y"},
        {"one": "two", "two": "one"},
    ],
)
def test_links_that_lead_out_through_others_are_refused(crate: Path, links: dict[str, str]) -> None:
    (code,) = crate.glob("code/files-*.tar.gz")
    with tarfile.open(code, "w:gz") as tar:
        for name, target in links.items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            tar.addfile(member)
    forge(crate, code)
    with pytest.raises(OsgbatchError, match=r"a link out of it|below a link"):
        made(crate)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "/tmp/x"},
        {"name": "../.."},
        {"name": ".."},
        {"spec_folder": "/x/../../victim/newdir"},
        {"spec_folder": "victim"},
    ],
)
def test_a_crate_cannot_say_where_it_is_written(crate: Path, change: dict[str, str]) -> None:
    told = json.loads((crate / "osgbatch.json").read_text())
    told["kept"].append({"role": "table", "path": "../../../../x", "file": "tasks.csv"})
    (crate / "osgbatch.json").write_text(json.dumps(told | change))
    forge(crate)
    before = set(crate.parent.iterdir())
    with pytest.raises(OsgbatchError, match=r"name|spec_folder"):
        make_folder(crate, None, None, lambda text: None, steps.Silent(), lambda why: True)
    assert set(crate.parent.iterdir()) == before


def test_nothing_is_written_through_a_link_of_the_crate(crate: Path) -> None:
    home = crate.parent / "again/spec"
    home.mkdir(parents=True)
    (crate.parent / "victim").mkdir()
    (home / "way").symlink_to(crate.parent / "victim")
    (home / "loop").symlink_to("loop")
    maker = _Maker(read_crate(crate), Rerun(None, home), home.parent, None, print)  # type: ignore[arg-type]
    assert maker._place_for("way/new") is None
    assert maker._place_for("../../x") is None
    assert maker._place_for("../data/x") == home.parent / "data/x"
    assert maker._place_for("a/..") is None


def forge(crate: Path, code: Path | None = None) -> None:
    """Make the sums of a crate agree with what was put into it, also as an archive."""
    if code:
        fresh = hashlib.sha256(code.read_bytes()).hexdigest()
        facts = json.loads((crate / "osgbatch.json").read_text())
        for one in facts["archives"]:
            if one["kind"] == "files":
                one["sha256"] = fresh
        (crate / "osgbatch.json").write_text(json.dumps(facts))
    metadata = json.loads((crate / "ro-crate-metadata.json").read_text())
    for one in metadata["@graph"]:
        if one["@id"] == "osgbatch.json" or (code and one["@id"] == f"code/{code.name}"):
            one["sha256"] = hashlib.sha256((crate / one["@id"]).read_bytes()).hexdigest()
    (crate / "ro-crate-metadata.json").write_text(json.dumps(metadata))


def test_a_folder_of_something_else_is_never_written_into(crate: Path) -> None:
    (crate.parent / "again").mkdir()
    with pytest.raises(OsgbatchError, match="there already"):
        made(crate)


def test_an_environment_is_taken_from_the_cache_or_its_lock(tmp_path: Path, project: Path) -> None:
    (project / "requirements.txt").write_text("numpy\n")
    text = (project / "sweep.yaml").read_text()
    (project / "sweep.yaml").write_text(f"{text}environment: requirements.txt\n")
    lock = tmp_path / "environment.lock"
    lock.write_text("# python 3.11.2\nnumpy==2.0.0\n")
    spec = load_spec(project / "sweep.yaml")
    told = {"kind": "requirements", "sha256": "0" * 64, "python": "3.11.2"}
    rerun = Rerun(None, project)  # type: ignore[arg-type]
    same_environment(told, spec, lock, [project], rerun, lambda text: None)
    words = json.loads(rerun.settings["environment"])
    assert words == {"requirements": "environment.lock.txt", "python": "3.11"}
    assert "numpy==2.0.0" in (project / "environment.lock.txt").read_text()
    assert rerun.differences == [] and len(rerun.notes) == 1
    (project / "victim").write_text("mine")
    pins = project / "environment.lock.txt"
    pins.unlink()
    pins.symlink_to("victim")
    same_environment(told, spec, lock, [project], rerun, lambda text: None)
    assert (project / "victim").read_text() == "mine" and not pins.is_symlink()
    lock.unlink()
    same_environment(told, spec, lock, [project], rerun, lambda text: None)
    assert len(rerun.differences) == 1


def test_what_is_packed_of_the_same_environment_is_no_difference(
    tmp_path: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed: list[Path] = []

    def pack(wanted: object, folder: Path, *more: object) -> SimpleNamespace:
        packed.append(folder)
        return SimpleNamespace(sha256="1" * 64)

    monkeypatch.setattr("osgbatch.submission.rerun_environment.packed_environment", pack)
    home = tmp_path / "again"
    home.mkdir()
    for folder in (home, project):
        (folder / "sweep.yaml").write_text(
            'command: "true"\nenvironment: {prefix: my env, imports: [this], strip: true}\n'
        )
    spec, told = load_spec(home / "sweep.yaml"), {"kind": "prefix", "sha256": "1" * 64}

    def differences() -> list[str]:
        rerun = Rerun(None, home)  # type: ignore[arg-type]
        same_environment(
            told, spec, tmp_path / "lock", [tmp_path, project], rerun, lambda text: None
        )
        if not rerun.differences:
            words = json.loads(rerun.settings["environment"])
            assert words == {"prefix": str(project / "my env"), "imports": ["this"], "strip": True}
        return rerun.differences

    (gone,) = differences()
    assert "my env is not there any more" in gone and not packed
    (project / "my env").mkdir()
    assert differences() == [] and packed == [project]
    told["sha256"] = "2" * 64
    (other,) = differences()
    assert "my env is packed as it is now" in other
