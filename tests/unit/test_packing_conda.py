"""environment.yml: solved, installed, packed, put right at another path; channels on disk."""

from __future__ import annotations

import functools
import http.server
import json
import os
import shutil
import subprocess
import tarfile
import threading
import time
from pathlib import Path

import conda_channel
import pytest
import shim_harness
from conda_channel import MINOR, install_prefix, spec, write_wheel
from shim_harness import Slot, sh

from osgbatch.errors import OsgbatchError, PackingError, SpecError, SpecErrors
from osgbatch.packing.archive import Archive, write_archive
from osgbatch.packing.environment import known_environment, packed_environment
from osgbatch.packing.environment.cache import EnvironmentArchive
from osgbatch.packing.environment.conda import conda_archive, conda_fingerprint, put_right
from osgbatch.packing.environment.conda_files import pack_conda_prefix
from osgbatch.packing.environment.conda_spec import parse_conda_spec
from osgbatch.packing.environment.elf import read
from osgbatch.packing.environment.trial import unpack
from osgbatch.spec_model import Environment, Place, UserPath

slot = shim_harness.slot
SITE = f"lib/python{MINOR}/site-packages"
WANTED = Environment("conda")
UNTRIED = Environment("conda", test=False)
"""For what has nothing to do with the trial, which is a third of the time."""


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return conda_channel.make_channel(
        tmp_path_factory.mktemp("channel") / "local", tmp_path_factory.mktemp("scratch")
    )


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def packed(
    channel: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> EnvironmentArchive:
    folder = tmp_path_factory.mktemp("spec")
    write_wheel(folder, "piped", "1.2", {"piped.py": b"import greet\n\ndef main(): print('ran')\n"})
    extra = "  - pip:\n    - ./piped-1.2-py3-none-any.whl\n    - --no-index\n"
    return pack(spec(folder, channel, "greet >=1", "where", extra=extra), cache)


def pack(file: Path, cache: Path, wanted: Environment = WANTED) -> EnvironmentArchive:
    return conda_archive(wanted, file, cache, lambda line: None)


def run(*command: str | Path) -> str:
    done = subprocess.run(
        [str(word) for word in command],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# ---- what a job gets ----------------------------------------------------------------------------


def test_a_packed_environment_is_put_right_where_it_is_unpacked(
    packed: EnvironmentArchive, tmp_path: Path
) -> None:
    root = unpack(packed.path, tmp_path / "a" / "b")
    assert put_right(root) == ""
    top = str(root)
    assert run(root / "bin/greet") == f"hello from {top} and bye\n"
    assert run(root / "bin/where-py") == f"{top}\n"
    assert run(root / "bin/where-sh") == f"{top}/share\n"
    assert run(root / "bin/piped-run") == "ran\n"
    assert (root / "share/python-where.txt").read_text() == f"{top}/share/python\n"
    library = read(root / "lib/libwhere.so")
    assert library is not None and library.search == (f"{top}/lib",)
    assert os.readlink(root / "lib/libwhere-link.so") == "libwhere.so"
    size = (root / "lib/libwhere.so").stat().st_size
    assert put_right(root) == "" and (root / "lib/libwhere.so").stat().st_size == size


def test_nothing_of_this_machine_is_left_in_the_archive(
    packed: EnvironmentArchive, cache: Path, channel: Path, tmp_path: Path
) -> None:
    root = unpack(packed.path, tmp_path)
    assert packed.lock.count(str(channel)) == 4
    for path in root.rglob("*"):
        if path.is_file() and path.parent.name != "conda-meta":
            assert str(cache).encode() not in path.read_bytes(), path
    assert list(root.rglob("*.pyc"))


def test_what_is_known_of_a_packed_environment(packed: EnvironmentArchive) -> None:
    assert packed.kind == "conda" and packed.python == conda_channel.VERSION
    assert {"greet==2.0", "where==1.0", "farewell==1.5", "piped==1.2"} <= set(packed.packages)
    assert {"greet", "where", "farewell", "piped"} <= set(packed.modules)
    major, minor = map(int, packed.glibc_needed.split("."))
    here = tuple(map(int, os.confstr("CS_GNU_LIBC_VERSION").split()[1].split(".")))  # type: ignore[union-attr]
    assert (2, 2) <= (major, minor) <= here
    lines = packed.lock.splitlines()
    assert "@EXPLICIT" in lines and "# pip: piped==1.2" in lines
    wheres = [line for line in lines if "/where-1.0-0.conda#sha256:" in line]
    assert len(wheres) == 1 and len(wheres[0].rpartition(":")[2]) == 64


def test_a_task_in_the_shim_finds_the_environment_put_right(
    packed: EnvironmentArchive, slot: Slot
) -> None:
    shutil.copy(packed.path, slot.scratch / "environment.tar.gz")
    payload = {"kind": "environment", "file": "environment.tar.gz", "sha256": packed.sha256}
    script = "greet; cat $CONDA_PREFIX/share/python-where.txt; echo active: $WHERE_ACTIVE"
    done = slot.run(
        {0: sh(script.replace("$CONDA_PREFIX", '"$CONDA_PREFIX"'))},
        payload=[payload],
        has_environment=True,
    )
    assert done.code == 0, (done.stderr, done.job, done.text(0, "stderr"))
    said = done.text(0, "stdout")
    assert said.startswith("hello from ") and f"{slot.scratch}/.osgbatch/env/share/python" in said


def test_the_shim_says_why_an_environment_cannot_be_put_right(slot: Slot) -> None:
    files = {"bin/conda-unpack": "#!/bin/sh\necho no room left >&2\nexit 3\n"}
    archive = shim_harness.tarball(slot.scratch / "environment.tar.gz", files)
    done = slot.run(
        {0: sh("true")}, payload=[{"kind": "environment", **archive}], has_environment=True
    )
    assert done.code == 105 and "conda-unpack said: no room left (exit code 3" in done.stderr


@pytest.mark.parametrize("shell", shim_harness.SHELLS)
def test_an_environment_without_python_is_put_right_by_the_shell(
    channel: Path, cache: Path, tmp_path: Path, shell: str
) -> None:
    prefix = install_prefix(channel, tmp_path / "prefix", cache / "conda", "no-python")
    archive = write_archive(pack_conda_prefix(prefix), tmp_path, "environment")
    root = tmp_path / "another 'place' & | \\1 \n more"
    root.mkdir()
    subprocess.run(["tar", "-xzf", archive.path], cwd=root, check=True)
    tools = tmp_path / "tools"
    tools.mkdir()
    program = shutil.which(shell)
    assert program
    if shell == "busybox":
        subprocess.run([program, "--install", "-s", tools], check=True)
        path = str(tools)
    else:
        (tools / "sh").symlink_to(program)
        path = f"{tools}:/usr/bin:/bin"
    before = (root / "lib/libwhere.so").read_bytes()
    for _ in range(2):
        subprocess.run(["sh", root / "bin/conda-unpack"], env={"PATH": path}, check=True)
    library = read(root / "lib/libwhere.so")
    assert library is not None and library.search == (f"{root}/lib",)
    place = conda_channel.PLACEHOLDER.encode() + b"/lib"
    expected = before.replace(place, (os.fsencode(root) + b"/lib").ljust(len(place), b"\0"))
    assert (root / "lib/libwhere.so").read_bytes() == expected
    assert (root / "share/where.txt").read_text() == f"{root}:{root}/x\nlast line"
    two = os.fsencode(root)
    twice = (root / "share/two.bin").read_bytes()
    assert (
        twice
        == b"\0\xff"
        + (two + b"/a'b:" + two + b"/c").ljust(2 * len(conda_channel.PLACEHOLDER) + 7, b"\0")
        + b"\0tail"
    )
    assert not list(root.rglob(".conda-unpack")) and os.access(root / "bin/where", os.X_OK)
    assert run(root / "bin/where") == "ran\n"


# ---- the same bytes -----------------------------------------------------------------------------


def test_two_packs_from_different_paths_are_byte_for_byte_the_same(
    channel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archives = []
    for name, zone, mask in (
        ("one", "UTC", 0o022),
        ("another longer path", "Asia/Kathmandu", 0o077),
    ):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        before = os.umask(mask)
        try:
            packages = tmp_path / f"packages {name}"
            prefix = install_prefix(channel, tmp_path / name, packages, "greet", "where")
            archives.append(archive_of(prefix, tmp_path / f"out {name}"))
            shutil.rmtree(packages)  # as `conda clean` does: nothing but the environment is left
            archives.append(archive_of(prefix, tmp_path / f"again {name}"))
        finally:
            os.umask(before)
    monkeypatch.undo()
    time.tzset()
    assert len({archive.sha256 for archive in archives}) == 1


def archive_of(prefix: Path, folder: Path) -> Archive:
    return write_archive(pack_conda_prefix(prefix), folder, "environment")


# ---- the cache ----------------------------------------------------------------------------------


def test_a_second_pack_does_nothing(
    packed: EnvironmentArchive, channel: Path, cache: Path, tmp_path: Path
) -> None:
    place = Place("sweep.yaml", 1, 1)
    wanted = Environment("conda", UserPath("environment.yml", place), test=False)
    file = spec(tmp_path, channel, "data-only", "farewell")
    assert known_environment(wanted, tmp_path, cache) is None
    said: list[str] = []
    first = packed_environment(wanted, tmp_path, cache, said.append)
    assert first is not None and said
    said.clear()
    file.write_text("# a comment\n" + file.read_text().replace("name: test", "name: other"))
    assert packed_environment(wanted, tmp_path, cache, said.append) == first and not said
    assert known_environment(wanted, tmp_path, cache) == first


def test_packages_once_fetched_are_not_fetched_again(
    channel: Path, cache: Path, packed: EnvironmentArchive, tmp_path: Path
) -> None:
    gone = tmp_path / "local"
    shutil.copytree(channel, gone, copy_function=os.link)
    file = spec(tmp_path, gone, "farewell")
    first = pack(file, cache, UNTRIED)
    for path in gone.rglob("*.conda"):
        path.unlink()  # only the list of the packages is left
    shutil.rmtree(first.path.parent)
    assert pack(file, cache, UNTRIED).sha256 == first.sha256


def test_what_decides_the_fingerprint(channel: Path, tmp_path: Path) -> None:
    file = spec(tmp_path, channel, "greet")
    first = conda_fingerprint(WANTED, file)
    assert conda_fingerprint(Environment("conda", channels=("extra",)), file) != first
    assert conda_fingerprint(Environment("conda", strip=True), file) != first
    assert conda_fingerprint(Environment("conda", imports=("greet",)), file) != first
    file.write_text(file.read_text().replace("greet", "greet <2"))
    assert conda_fingerprint(WANTED, file) != first
    local = tmp_path / "local"
    (local / "noarch").mkdir(parents=True)
    (local / "noarch" / "repodata.json").write_text("{}")
    file = spec(tmp_path, local, "greet")
    before = conda_fingerprint(WANTED, file)
    (local / "noarch" / "repodata.json").write_text('{"packages": {}}')
    assert conda_fingerprint(WANTED, file) != before


def test_a_lock_file_makes_the_same_environment_again(
    channel: Path, cache: Path, tmp_path: Path
) -> None:
    local = tmp_path / "local"
    shutil.copytree(channel, local, copy_function=os.link)
    write_wheel(tmp_path, "piped", "1.2", {"piped.py": b""})
    extra = "  - pip:\n    - ./piped-1.2-py3-none-any.whl\n    - --no-index\n"
    file = spec(tmp_path, local, "farewell", extra=extra)
    first = pack(file, cache, UNTRIED)
    lock = tmp_path / "environment.lock"
    lock.write_text(first.lock)
    for listed in local.rglob("repodata*"):
        listed.unlink()  # a lock file needs no list of packages

    def again() -> EnvironmentArchive:
        return conda_archive(UNTRIED, file, tmp_path / "cache", lambda line: None, locked=lock)

    made = again()
    assert made.sha256 == first.sha256 and made.lock == first.lock
    for archive in local.rglob("*.conda"):
        archive.unlink()
    shutil.rmtree(made.path.parent)
    assert again().sha256 == first.sha256  # from the packages in the cache
    with pytest.raises(PackingError, match="a package of the lock file cannot be had"):
        conda_archive(UNTRIED, file, tmp_path / "empty", lambda line: None, locked=lock)


def test_a_package_that_is_not_the_locked_one_is_refused(
    channel: Path, cache: Path, tmp_path: Path
) -> None:
    file = spec(tmp_path, channel, "farewell")
    lock = tmp_path / "environment.lock"
    text = pack(file, cache, UNTRIED).lock
    at = text.index("#sha256:", text.index("farewell")) + 8
    lock.write_text(text[:at] + "0" * 64 + text[at + 64 :])
    with pytest.raises(PackingError, match="another one than the lock file says"):
        conda_archive(UNTRIED, file, tmp_path / "cache", lambda line: None, locked=lock)
    lock.write_text(text.replace("# platform: linux-64", "# platform: osx-arm64"))
    with pytest.raises(PackingError, match="is for osx-arm64"):
        conda_archive(UNTRIED, file, cache, lambda line: None, locked=lock)
    lock.write_text("@EXPLICIT\nhttps://x/y/noarch/a-1-0.conda\n")
    with pytest.raises(PackingError, match="no package with its sha256") as caught:
        conda_archive(UNTRIED, file, cache, lambda line: None, locked=lock)
    assert caught.value.where.endswith("environment.lock:2")


def test_what_a_job_never_needs_is_left_out_on_request(
    channel: Path, cache: Path, tmp_path: Path
) -> None:
    wanted = Environment("conda", strip=True, test=False)
    entry = pack(spec(tmp_path, channel, "testy"), cache, wanted)
    with tarfile.open(entry.path) as tar:
        names = set(tar.getnames())
    assert f"{SITE}/testy/__init__.py" in names and "include/testy.h" not in names
    assert f"{SITE}/testy/tests/test_it.py" not in names
    assert any(note.startswith("stripped: 2 files") for note in entry.notes)


def test_a_package_that_imports_its_tests_keeps_them(
    channel: Path, cache: Path, tmp_path: Path
) -> None:
    entry = pack(spec(tmp_path, channel, "testy", "needy"), cache, Environment("conda", strip=True))
    with tarfile.open(entry.path) as tar:
        names = set(tar.getnames())
    assert f"{SITE}/needy/tests/__init__.py" in names
    assert f"{SITE}/testy/tests/test_it.py" not in names


def test_the_users_own_conda_makes_the_environment(
    channel: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = install_prefix(channel, tmp_path / "theirs", tmp_path / "packages", "farewell")
    program = tmp_path / "conda"
    program.write_text(
        f'#!/bin/sh\necho "$@" >{tmp_path}/asked; cat "$6" >{tmp_path}/file\n'
        f'[ -e {tmp_path}/broken ] && echo no such package && exit 1\ncp -a {own} "$4"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("OSGBATCH_CONDA", str(program))
    entry = pack(spec(tmp_path, channel, "farewell"), cache, UNTRIED)
    assert "farewell==1.5" in entry.packages and "/farewell-1.5-0.conda#sha256:" in entry.lock
    assert (tmp_path / "asked").read_text().startswith("env create --prefix ")
    assert "- farewell\n- python\n" in (tmp_path / "file").read_text()
    (tmp_path / "broken").touch()
    with pytest.raises(PackingError, match="conda cannot make the environment") as caught:
        pack(spec(tmp_path, channel, "greet"), cache)
    assert "no such package" in caught.value.fix
    monkeypatch.setenv("OSGBATCH_CONDA", "/nowhere/conda")
    with pytest.raises(PackingError, match=r"^OSGBATCH_CONDA: /nowhere/conda is no program here"):
        pack(spec(tmp_path, channel, "where"), cache)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *said: object) -> None:
        pass


def test_a_channel_that_was_read_once_is_not_needed_again(channel: Path, tmp_path: Path) -> None:
    handler = functools.partial(Quiet, directory=str(channel))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    address = f"http://name:secret@127.0.0.1:{server.server_port}"
    file = tmp_path / "environment.yml"
    file.write_text(f"channels: [{address!r}]\ndependencies: [farewell]\n")
    untried = Environment("conda", test=False)
    try:
        first = pack(file, tmp_path / "cache", untried)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert "secret" not in first.lock and f"http://127.0.0.1:{server.server_port}" in first.lock
    with tarfile.open(first.path) as tar:
        member = tar.extractfile("conda-meta/farewell-1.5-0.json")
        assert member is not None and b"secret" not in member.read()
    shutil.rmtree(first.path.parent)
    again = pack(file, tmp_path / "cache", untried)
    assert again.sha256 == first.sha256
    assert any(note.startswith("chosen from lists fetched before") for note in again.notes)
    assert not any("secret" in note for note in again.notes)


# ---- what cannot be solved, or is added ---------------------------------------------------------


def test_an_unsolvable_file_shows_the_solvers_explanation(
    channel: Path, cache: Path, tmp_path: Path
) -> None:
    before = sorted(os.listdir(cache / "environments")) if (cache / "environments").exists() else []
    with pytest.raises(PackingError) as caught:
        pack(spec(tmp_path, channel, "greet", "only-old"), cache)
    text = str(caught.value)
    assert "environment.yml" in text and "farewell" in text and "only-old" in text
    after = sorted(os.listdir(cache / "environments"))
    assert [name for name in after if not name.endswith(".lock")] == [
        name for name in before if not name.endswith(".lock")
    ]


def test_a_package_that_no_channel_has_is_pointed_at(
    channel: Path, cache: Path, tmp_path: Path
) -> None:
    with pytest.raises(SpecError) as caught:
        pack(spec(tmp_path, channel, "greet", "numpyy >=1"), cache)
    assert caught.value.place.line == 7 and "numpyy" in caught.value.place.source
    assert "numpyy" in caught.value.fix


def test_a_channel_that_is_not_there_is_named(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(PackingError, match="a channel cannot be read") as caught:
        pack(spec(tmp_path, tmp_path / "nowhere", "greet"), cache)
    assert "nowhere" in str(caught.value)


def test_python_is_added_and_named_where_there_is_none(
    channel: Path, cache: Path, tmp_path: Path
) -> None:
    entry = pack(spec(tmp_path, channel, "data-only"), cache, UNTRIED)
    assert any(note.startswith("Python was added") for note in entry.notes)
    with tarfile.open(entry.path) as tar:
        assert {"share/data-only.txt", "bin/python"} <= set(tar.getnames())


# ---- tried before it is sent --------------------------------------------------------------------


def test_a_module_that_holds_the_old_path_is_found_before_it_is_sent(
    channel: Path, cache: Path, tmp_path: Path
) -> None:
    with pytest.raises(PackingError, match="stuck cannot be imported once packed") as caught:
        pack(spec(tmp_path, channel, "stuck"), cache)
    assert "container" in caught.value.fix
    entry = pack(spec(tmp_path, channel, "stuck"), cache, Environment("conda", test=False))
    assert any("share/stuck.bin" in note for note in entry.notes)


def test_a_package_that_cannot_be_imported_anyway_is_named(
    channel: Path, cache: Path, tmp_path: Path
) -> None:
    with pytest.raises(PackingError, match=r"broken cannot be imported: .*not_there_at_all"):
        pack(spec(tmp_path, channel, "broken"), cache)


def test_imports_that_the_user_needs_are_tried(channel: Path, cache: Path, tmp_path: Path) -> None:
    with pytest.raises(PackingError, match="pandas cannot be imported"):
        pack(spec(tmp_path, channel, "farewell"), cache, Environment("conda", imports=("pandas",)))


# ---- prefixes that cannot travel ----------------------------------------------------------------


@pytest.fixture
def prefix(channel: Path, cache: Path, tmp_path: Path) -> Path:
    return install_prefix(channel, tmp_path / "prefix", cache / "conda", "greet")


def dist_info(prefix: Path, name: str, files: dict[str, str]) -> None:
    folder = prefix / SITE / f"{name}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Name: x\n")
    for file, text in files.items():
        (folder / file).write_text(text)


def test_what_pip_has_overwritten_is_named(prefix: Path) -> None:
    greet = prefix / SITE / "greet.py"
    greet.unlink()  # it is a hard link into the packages
    greet.write_text("version = 3\n")
    dist_info(prefix, "greet-3.0", {"RECORD": "greet.py,,\ngreet-3.0.dist-info/RECORD,,\n"})
    with pytest.raises(PackingError, match=r"overwritten .*greet \(greet-3.0 by pip\).*greet.py"):
        pack_conda_prefix(prefix)


def test_what_pip_has_replaced_is_named(prefix: Path) -> None:
    (prefix / SITE / "greet-2.0.dist-info" / "METADATA").unlink()
    with pytest.raises(PackingError, match=r"files of conda's greet 2\.0 are gone"):
        pack_conda_prefix(prefix)


def test_an_editable_installation_is_brought_along(prefix: Path, tmp_path: Path) -> None:
    source = tmp_path / "mine"
    source.mkdir()
    (source / "mine.py").write_text("x = 1\n")
    (prefix / SITE / "__editable__.mine-0.1.pth").write_text(f"{source}\n")
    url = json.dumps({"url": source.as_uri(), "dir_info": {"editable": True}})
    dist_info(prefix, "mine-0.1", {"RECORD": "", "direct_url.json": url})
    said: list[str] = []
    members = {member.name: member for member in pack_conda_prefix(prefix, said.append)}
    assert members[f"{SITE}/mine.py"].source == source / "mine.py"
    assert f"{SITE}/__editable__.mine-0.1.pth" not in members
    assert f"{SITE}/mine-0.1.dist-info/direct_url.json" not in members
    assert said == [f"mine is an editable install: packed as it is now in {source}"]


def test_an_editable_installation_that_is_gone_is_named(prefix: Path) -> None:
    (prefix / SITE / "easy-install.pth").write_text("/home/nobody/mine\n")
    with pytest.raises(PackingError, match="/home/nobody/mine, which is not there"):
        pack_conda_prefix(prefix)


def test_a_path_file_that_stays_inside_is_relative(prefix: Path) -> None:
    (prefix / SITE / "inside.pth").write_text(f"{prefix}/share\nimport sys\n")
    members = {member.name: member for member in pack_conda_prefix(prefix)}
    assert members[f"{SITE}/inside.pth"].data == b"../../../share\nimport sys\n"
    program = members["bin/conda-unpack"].data
    assert program is not None and b"inside.pth" not in program


def test_a_link_that_leaves_the_prefix_is_named(prefix: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (prefix / "share" / "data").symlink_to(tmp_path / "data")
    with pytest.raises(PackingError, match="leads out of the environment") as caught:
        pack_conda_prefix(prefix)
    assert caught.value.where.endswith("share/data")


def test_an_absolute_link_inside_becomes_relative(prefix: Path) -> None:
    (prefix / "share" / "lib").symlink_to(prefix / "lib")
    links = {member.name: member.link for member in pack_conda_prefix(prefix)}
    assert links["share/lib"] == "../lib"


def test_settings_that_may_hold_tokens_stay_at_home(prefix: Path) -> None:
    for name in (".condarc", "pip.conf", "condarc.d/x", "lib/.netrc"):
        (prefix / name).parent.mkdir(exist_ok=True)
        (prefix / name).write_text("token: SECRET\n")
    names = {member.name for member in pack_conda_prefix(prefix)}
    assert not {".condarc", "pip.conf", "condarc.d/x", "lib/.netrc"} & names
    assert "bin/python" in names


def test_files_that_the_user_edited_travel_as_they_are(prefix: Path) -> None:
    where = prefix / "share" / "python-where.txt"
    where.unlink()
    where.write_text(f"mine: {prefix}/x\n")
    members = {member.name: member for member in pack_conda_prefix(prefix)}
    data = members["share/python-where.txt"].data
    assert data is not None and data.startswith(b"mine: /opt/osgbatch") and data.endswith(b"/x\n")


def test_blanks_in_the_path_are_named(channel: Path, cache: Path, tmp_path: Path) -> None:
    prefix = install_prefix(channel, tmp_path / "my env", cache / "conda", "greet")
    said: list[str] = []
    pack_conda_prefix(prefix, said.append)
    assert any("my env has blanks" in line for line in said)


def test_a_folder_that_is_no_conda_environment_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackingError, match="no conda environment"):
        pack_conda_prefix(tmp_path)


# ---- reading the file ---------------------------------------------------------------------------


def test_every_mistake_is_shown_at_its_place() -> None:
    text = (
        "name: x\nchannel: [a]\ndependencies:\n  - numpy >=\n  - scipy: 1\n  - pip:\n    - -e .\n"
    )
    with pytest.raises(SpecErrors) as caught:
        parse_conda_spec(text, Path("environment.yml"))
    errors = caught.value.errors
    assert [error.place.line for error in errors] == [2, 4, 5, 7]
    assert 'Did you mean "channels"?' in errors[0].fix
    assert "numpy" in errors[1].what and "`pip:`" in errors[2].what and "editable" in errors[3].what


@pytest.mark.parametrize("text", ["", "- a\n", "name: x\n", "a: [\n", "dependencies: numpy\n"])
def test_what_is_no_environment_file_is_refused(text: str) -> None:
    with pytest.raises(SpecErrors):
        parse_conda_spec(text, Path("environment.yml"))


def test_channels_are_those_of_the_command_line_first() -> None:
    text = (
        "channels: [bioconda, ./mine, defaults, nodefaults]\n"
        "dependencies: [python =3.11, conda-forge::numpy, 'scipy>=1.2,<2', 'r-base 4.3.*']\n"
    )
    wanted = Environment("conda", channels=("first", "bioconda"))
    found = parse_conda_spec(text, Path("/x/environment.yml"), wanted)
    assert found.channels == ("first", "bioconda", "file:///x/mine", "main", "r")
    assert found.names == ("python", "numpy", "scipy", "r-base")
    assert parse_conda_spec("dependencies: [a]", Path("e.yml")).channels == ("conda-forge",)


def test_the_python_of_the_spec_joins_the_dependencies() -> None:
    wanted = Environment("conda", python="3.12")
    assert parse_conda_spec("dependencies: [a]", Path("e.yml"), wanted).specs == (
        "a",
        "python 3.12.*",
    )
    with pytest.raises(OsgbatchError, match="cannot be read"):
        pack(Path("/nowhere/environment.yml"), Path("/nowhere"))
