"""Environments that are there already, packed for real: moved, unchanged, editable, refused."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from test_packing_environment import SMALL, run, wheel

from osgbatch.errors import PackingError
from osgbatch.packing.environment import (
    EnvironmentArchive,
    known_environment,
    packages,
    packed_environment,
    prefix,
    prefix_check,
)
from osgbatch.packing.environment.prefix_editable import editables
from osgbatch.packing.environment.prefix_scan import scan
from osgbatch.packing.environment.trial import unpack
from osgbatch.spec_model import Environment, Place, UserPath

MINOR = "{}.{}".format(*sys.version_info[:2])
SITE = f"lib/python{MINOR}/site-packages"
BASE = Path(os.path.realpath(getattr(sys, "_base_executable", "") or sys.executable))
FINDER = """\
from __future__ import annotations
import sys
MAPPING: dict[str, str] = {mapping!r}
NAMESPACES: dict[str, list[str]] = {{}}
def install(): sys.path += [path.rpartition("/")[0] for path in MAPPING.values()]
"""
TESTED = {
    "tested/__init__.py": "from tested.tests import value\n",
    "tested/tests/__init__.py": "value = 1\n",
    "tested-1.0.dist-info/top_level.txt": "tested\n",
}


def wanted(path: Path, **how: object) -> Environment:
    there = UserPath(str(path), Place("sweep.yaml", 1, 1))
    return replace(Environment("prefix", there), **how)  # type: ignore[arg-type]


def pack(path: Path, cache: Path, **how: object) -> EnvironmentArchive:
    made = packed_environment(wanted(path, **how), Path("/"), cache, lambda line: None)
    assert made is not None
    return made


def refused(path: Path, cache: Path) -> str:
    with pytest.raises(PackingError) as caught:
        pack(path, cache)
    assert caught.value.fix
    return str(caught.value)


def new_venv(folder: Path, *options: str) -> Path:
    command = [str(BASE), "-I", "-m", "venv", "--without-pip", *options, str(folder)]
    subprocess.run(command, check=True)
    return folder


def filled_venv(top: Path) -> Path:
    """A virtual environment with wheels, and packages installed editable, as setuptools does."""
    made = new_venv(top / "my env")
    folder = top / "wheels"
    folder.mkdir()
    wheels = [wheel(folder, "tiny", SMALL), wheel(folder, "tested", TESTED)]
    pip = [sys.executable, "-m", "pip", "--python", str(made / "bin/python"), "install", "-q"]
    subprocess.run([*pip, "--no-index", "--no-compile", *map(str, wheels)], check=True)
    site = made / SITE
    (top / "code/one/src/one").mkdir(parents=True)
    (top / "code/one/src/one/__init__.py").write_text("VALUE = 1\n")
    (top / "code/two/two/inner").mkdir(parents=True)
    (top / "code/two/two/__init__.py").write_text("VALUE = 2\n")
    (top / "code/two/two/inner/__init__.py").write_text("")
    (top / "code/two/two/old.h").write_text("// a header\n")
    (top / "code/two/helper.py").write_text("VALUE = 3\n")
    (site / "__editable__.one-1.0.pth").write_text(f"{top}/code/one/src\n")
    (site / "__editable__.two-1.0.pth").write_text(
        "import __editable___two_1_0_finder; __editable___two_1_0_finder.install()"
    )
    mapping = {"two": f"{top}/code/two/two", "helper": f"{top}/code/two/helper"}
    (site / "__editable___two_1_0_finder.py").write_text(FINDER.format(mapping=mapping))
    for name in ("one", "two"):
        info = site / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "RECORD").write_text(
            f"__editable__.{name}-1.0.pth,,\n{name}-1.0.dist-info/RECORD,,\n"
            + "__editable___two_1_0_finder.py,,\n" * (name == "two")
        )
        url = f"file://{top}/code/{name}".replace(" ", "%20")
        direct = {"url": url, "dir_info": {"editable": True}}
        (info / "direct_url.json").write_text(json.dumps(direct))
    return made


@pytest.fixture(scope="module")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filled_venv(tmp_path_factory.mktemp("a project"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("a cache")


@pytest.fixture(scope="module")
def packed(venv: Path, cache: Path) -> EnvironmentArchive:
    return pack(venv, cache)


@pytest.fixture(scope="module")
def unpacked(packed: EnvironmentArchive, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack(packed.path, tmp_path_factory.mktemp("elsewhere"))


def test_it_runs_elsewhere_with_its_own_python(unpacked: Path, venv: Path) -> None:
    away = venv.with_name("away")
    venv.rename(away)
    try:
        code = "import sys, tiny; print(sys.prefix)"
        assert Path(run(unpacked / "bin/python", "-c", code).strip()).resolve() == unpacked
        assert run(unpacked / "bin/tiny", "a b", PATH="/usr/bin:/bin") == "tiny ['a b']\n"
        assert (unpacked / "share/tiny/data.txt").read_text() == "data\n"
    finally:
        away.rename(venv)


def test_editable_installs_are_brought_along_and_named(
    packed: EnvironmentArchive, unpacked: Path, venv: Path
) -> None:
    code = "import one, two, two.inner, helper, importlib.metadata as m; "
    code += "print(one.__file__, two.__file__, helper.VALUE, m.version('two'), sep='|')"
    out = run(unpacked / "bin/python", "-c", code).strip().split("|")
    assert all(Path(path).resolve().is_relative_to(unpacked) for path in out[:2])
    assert out[2:] == ["3", "1.0"]
    left = {path.name for path in (unpacked / SITE).iterdir()}
    assert not [name for name in left if name.startswith("__editable__")]
    record = (unpacked / SITE / "two-1.0.dist-info/RECORD").read_text()
    assert "finder" not in record
    assert [note.split(":")[0] for note in packed.notes] == [
        "one is an editable install", "two is an editable install",
    ]  # fmt: skip
    assert str(venv.parent / "code/one/src") in packed.notes[0]
    assert set(packed.modules) >= {"one", "two", "helper", "tiny"}


def test_nothing_in_the_folder_is_changed_and_again_is_no_work(
    packed: EnvironmentArchive, venv: Path, cache: Path
) -> None:
    before = scan(venv)
    said: list[str] = []
    again = packed_environment(wanted(venv), Path("/"), cache, said.append)
    assert again == packed == known_environment(wanted(venv), Path("/"), cache)
    assert said == [] and scan(venv) == before
    assert packed.kind == "prefix" and packed.made_from == str(venv)


def test_the_same_at_another_path_gives_the_same_bytes(
    packed: EnvironmentArchive, tmp_path: Path
) -> None:
    old = os.umask(0o077)
    try:
        other = filled_venv(tmp_path)
        assert pack(other, tmp_path / "cache", test=False).sha256 == packed.sha256
    finally:
        os.umask(old)


def test_an_edit_with_its_time_put_back_is_seen(venv: Path, cache: Path) -> None:
    def fingerprint() -> str:
        return prefix.prefix_fingerprint(wanted(venv), venv)

    before = fingerprint()
    for path in (venv / SITE / "tiny/__init__.py", venv.parent / "code/two/two/__init__.py"):
        status = path.stat()
        text = path.read_text()
        path.write_text(text.replace("e", "f", 1) if "e" in text else text.replace("2", "4"))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert path.stat().st_mtime_ns == status.st_mtime_ns
        assert fingerprint() != before
        path.write_text(text)
        before = fingerprint()
    (venv.parent / "code/one/src/one/new.py").write_text("")
    assert fingerprint() != before
    (venv.parent / "code/one/src/one/new.py").unlink()
    (venv / SITE / "tiny/__pycache__").mkdir(exist_ok=True)
    (venv / SITE / "tiny/__pycache__/x.pyc").write_text("")
    before = fingerprint()
    (venv / SITE / "tiny/__pycache__/y.pyc").write_text("")
    assert fingerprint() == before
    assert len({before, prefix.prefix_fingerprint(wanted(venv, strip=True), venv)}) == 2


def test_each_folder_is_read_once_and_no_file_is_asked_for_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What makes large environments quick to look at."""
    for folder in range(20):
        (tmp_path / f"f{folder}").mkdir()
        for number in range(100):
            (tmp_path / f"f{folder}/{number}").touch()
    read: list[object] = []
    scandir = os.scandir
    with monkeypatch.context() as watched:
        watched.setattr(os, "scandir", lambda path: (read.append(path), scandir(path))[1])
        watched.setattr(os, "stat", lambda *more, **options: read.append(more))
        assert scan(tmp_path).files == 2_000
    assert len(read) == len(set(read)) == 21


def test_strip_leaves_out_tests_but_not_those_that_are_imported(venv: Path, tmp_path: Path) -> None:
    (venv / SITE / "tiny/tests").mkdir(exist_ok=True)
    (venv / SITE / "tiny/tests/test_x.py").write_text("x = 1\n" * 100)
    (venv / SITE / "tiny/libtiny.a").write_text("")
    said: list[str] = []
    made = packed_environment(wanted(venv, strip=True), Path("/"), tmp_path, said.append)
    assert made is not None
    with tarfile.open(made.path) as tar:
        names = {name.removeprefix(f"{SITE}/") for name in tar.getnames()}
    assert not names & {"tiny/tests/test_x.py", "tiny/tests", "tiny/libtiny.a", "two/old.h"}
    assert names >= {"tested/tests/__init__.py", "tiny/__init__.py"}
    assert any("not stripping tested" in line for line in said)
    assert any(note.startswith("stripped: ") and "files of tests" in note for note in made.notes)


def test_imports_that_are_named_are_tried(venv: Path, tmp_path: Path) -> None:
    with pytest.raises(PackingError, match="no_such, named under imports, cannot be imported"):
        pack(venv, tmp_path, imports=("tiny", "no_such"))
    left = [path for path in (tmp_path / "environments").iterdir() if path.suffix != ".lock"]
    assert left == []


def test_what_is_no_environment_is_told_with_a_way_out(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    (tmp_path / "project/.venv/bin").mkdir(parents=True)
    (tmp_path / "file").touch()
    assert "there is no such folder" in refused(tmp_path / "nowhere", cache)
    assert "this is a file" in refused(tmp_path / "file", cache)
    said = refused(tmp_path / "project", cache)
    assert (
        "neither bin/python nor bin/Rscript" in said and "Did you mean" in said and ".venv" in said
    )
    (tmp_path / "source").mkdir()
    (tmp_path / "source/pyproject.toml").touch()
    assert "source/pyproject.toml?" in refused(tmp_path / "source", cache)
    whole = refused(BASE.parent.parent, cache)
    assert "not an environment" in whole and "pip freeze > requirements.txt" in whole
    assert not cache.exists()


def test_an_environment_whose_python_is_gone_is_told(tmp_path: Path) -> None:
    made = new_venv(tmp_path / "v")
    (made / "bin/python").unlink()
    (made / "bin/python").symlink_to("/no/such/python3")
    (made / "bin/python3").unlink()
    assert "its Python, /no/such/python3, is gone" in refused(made, tmp_path / "c")
    (made / "bin/python").unlink()
    assert "it has no bin/python" in refused(made, tmp_path / "c")


def test_an_environment_of_another_version_is_told(tmp_path: Path) -> None:
    made = new_venv(tmp_path / "v")
    (made / f"lib/python{MINOR}").rename(made / "lib/python3.5")
    said = refused(made, tmp_path / "c")
    assert f"its Python is {MINOR} now, and its packages are for python3.5" in said


def test_an_environment_that_uses_packages_from_outside_is_told(tmp_path: Path) -> None:
    made = new_venv(tmp_path / "v", "--system-site-packages")
    assert "without --system-site-packages" in refused(made, tmp_path / "c")


def test_an_environment_with_copies_knows_its_python(tmp_path: Path) -> None:
    made = new_venv(tmp_path / "v", "--copies")
    found = prefix_check.checked_prefix(made)
    assert found.home.is_file() and not found.home.is_relative_to(made)


def test_another_users_environment_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = new_venv(tmp_path / "home/bob/v")
    account = pwd.struct_passwd(("bob", "x", 4711, 4711, "", str(tmp_path / "home/bob"), ""))
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: account)
    assert prefix_check.checked_prefix(made)  # it is ours
    monkeypatch.setattr(os, "getuid", lambda: made.stat().st_uid + 1)
    said = refused(made, tmp_path / "c")
    assert "this environment belongs to bob" in said and "pip freeze" in said


def test_the_python_of_a_module_system_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "apps/Python/3.11"
    (module / "bin").mkdir(parents=True)
    (module / "bin/python3").symlink_to(BASE)
    monkeypatch.setenv("EBROOTPYTHON", str(module))
    said = refused(module, tmp_path / "c")
    assert "a Python that a module system provides" in said and "pip freeze" in said
    assert prefix_check.module_system(Path("/cvmfs/x.org/python")) == "CVMFS"
    assert prefix_check.module_system(tmp_path) == ""


def test_links_that_leave_are_followed_and_named_and_dangling_ones_refused(
    tmp_path: Path,
) -> None:
    made = new_venv(tmp_path / "v")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/__init__.py").write_text("")
    (made / SITE / "linked").symlink_to(tmp_path / "elsewhere")
    fingerprint = prefix.prefix_fingerprint(wanted(made), made)
    (tmp_path / "elsewhere/more.py").write_text("")
    assert prefix.prefix_fingerprint(wanted(made), made) != fingerprint
    found = pack(made, tmp_path / "c", test=False)
    assert found.notes[0].endswith(f"packed as what they lead to: {SITE}/linked")
    assert found.notes[-1] == "not tried before it was sent"
    with tarfile.open(found.path) as tar:
        assert tar.getmember(f"{SITE}/linked/more.py").isfile()
    (made / SITE / "gone.py").symlink_to("/no/such/file")
    assert "the link leads nowhere" in refused(made, tmp_path / "c")


def test_editable_installs_that_cannot_be_brought_are_named(tmp_path: Path) -> None:
    made = new_venv(tmp_path / "v")
    site = made / SITE
    pth = site / "gone.pth"
    pth.write_text("/no/such/folder\n")
    assert "gone.pth: it stands for /no/such/folder, which is not there" in refused(made, tmp_path)
    (tmp_path / "empty").mkdir()
    pth.write_text(f"{tmp_path}/empty\n")
    assert "nothing to import was found" in refused(made, tmp_path)
    pth.unlink()
    finder = site / "__editable___x_finder.py"
    (site / "__editable__.x.pth").write_text("import __editable___x_finder; x\n")
    finder.write_text("MAPPING = compute()\n")
    assert "cannot be understood" in refused(made, tmp_path)
    finder.unlink()
    (site / "__editable__.x.pth").unlink()
    info = site / "meson_thing-1.0.dist-info"
    info.mkdir()
    direct = {"url": "file:///src/thing", "dir_info": {"editable": True}}
    (info / "direct_url.json").write_text(json.dumps(direct))
    said = refused(made, tmp_path)
    assert "meson_thing is installed editable from /src/thing" in said
    assert "`pip install /src/thing`" in said


def test_an_old_editable_install_is_understood(tmp_path: Path) -> None:
    made = new_venv(tmp_path / "v")
    site = made / SITE
    source = tmp_path / "old"
    (source / "old").mkdir(parents=True)
    (source / "old/__init__.py").write_text("")
    (source / "tests").mkdir()
    (source / "tests/__init__.py").write_text("")
    (source / "setup.py").write_text("")
    (source / "old_lib.egg-info").mkdir()
    (source / "old_lib.egg-info/PKG-INFO").write_text("Name: old-lib\n")
    (site / "old-lib.egg-link").write_text(f"{source}\n.")
    (site / "easy-install.pth").write_text(f"{source}\n./inside.egg\n")
    found = editables(site, made)
    assert {member.name for member in found.members} == {
        "old", "old/__init__.py", "old_lib.egg-info", "old_lib.egg-info/PKG-INFO",
    }  # fmt: skip
    assert found.dropped == {"old-lib.egg-link"}
    assert found.rewritten == {"easy-install.pth": b"./inside.egg\n"}


def test_scripts_of_an_environment_that_was_moved_start_all_the_same(tmp_path: Path) -> None:
    gone = "/no such/env/bin/python3"
    script = "import sys\n"
    for start in (f"#!{gone}\n", f"#!/bin/sh\n'''exec' \"{gone}\" \"$0\" \"$@\"\n' '''\n"):
        moved = packages.relocate_script((start + script).encode(), tmp_path)
        assert moved == packages.RELATIVE_START + script.encode()
    for start in ("#!/usr/bin/env python3\n", "#!/bin/sh\n", f"#!{sys.executable}\n"):
        data = (start + script).encode()
        assert packages.relocate_script(data, tmp_path) == data


def test_an_environment_that_changes_while_it_is_packed_is_not_kept(tmp_path: Path) -> None:
    made = new_venv(tmp_path / "env")

    def installs(line: str) -> None:
        (made / SITE / "late.py").write_text("")

    with pytest.raises(PackingError, match="was changed while it was packed") as caught:
        packed_environment(wanted(made, test=False), Path("/"), tmp_path / "c", installs)
    assert caught.value.where == str(made)
    assert not list((tmp_path / "c").rglob("*.tar.gz"))
    assert "late" in pack(made, tmp_path / "c", test=False).modules
