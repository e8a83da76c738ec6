"""Private channels, lock files against environment.yml, and packing with the channel gone."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from conda_channel import Package, index_channel, write_package
from private_channel import TOKEN, WORD, Server, small_channel
from test_pack_commands import osgbatch

from osgbatch.errors import PackingError, SpecError
from osgbatch.packing.environment import conda_install
from osgbatch.packing.environment.cache import EnvironmentArchive
from osgbatch.packing.environment.cleaning import clean
from osgbatch.packing.environment.conda import conda_archive
from osgbatch.packing.environment.conda_access import with_secrets
from osgbatch.packing.environment.conda_lock import Package as Listed
from osgbatch.packing.environment.conda_lock import incomplete, lock_text, read_lock
from osgbatch.packing.environment.conda_spec import read_conda_spec
from osgbatch.spec_model import Environment

UNTRIED = Environment("conda", test=False)


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_channel(tmp_path_factory.mktemp("private") / "channel")


@pytest.fixture
def server(channel: Path) -> Iterator[Server]:
    with Server(channel) as server:
        yield server


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without logins."""
    (tmp_path / "home").mkdir()
    for name in ("RATTLER_AUTH_FILE", "NETRC", "CONDARC", "MAMBARC", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def yml(folder: Path, channel: str, *dependencies: str) -> Path:
    file = folder / "environment.yml"
    listed = ", ".join(json.dumps(one) for one in ("python", *dependencies))
    file.write_text(f"channels: [{channel!r}]\ndependencies: [{listed}]\n")
    return file


def pack(
    file: Path, cache: Path, said: list[str] | None = None, locked: Path | None = None
) -> EnvironmentArchive:
    return conda_archive(
        UNTRIED, file, cache, (said if said is not None else []).append, locked=locked
    )


def login(how: str, home: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let a login be known in one of the usual places; the channel's address for the file."""
    host = "127.0.0.1"
    if how == "netrc":
        (home / ".netrc").write_text(f"machine {host} login alice password {WORD}\n")
        (home / ".netrc").chmod(0o600)
    elif how == "auth file":
        words = {host: {"BasicHTTP": {"username": "alice", "password": WORD}}}
        (home / "auth.json").write_text(json.dumps(words))
        monkeypatch.setenv("RATTLER_AUTH_FILE", str(home / "auth.json"))
    elif how == "condarc":
        (home / ".condarc").write_text(f"channels:\n  - {server.with_token}\n")
    return {"login": server.with_login, "token": server.with_token}.get(how, server.address)


@pytest.mark.parametrize("how", ["login", "token", "netrc", "auth file", "condarc"])
def test_a_private_channel_is_read_and_its_secret_is_written_nowhere(
    how: str, server: Server, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = yml(tmp_path, login(how, home, server, monkeypatch), "big")
    said: list[str] = []
    made = pack(file, tmp_path / "c", said)
    assert f"{server.address}/linux-64/big-2.0-0.conda#sha256:" in made.lock
    lock = tmp_path / "env.lock"
    lock.write_text(made.lock)
    again = pack(file, tmp_path / "other cache", said, locked=lock)
    assert (again.sha256, again.lock) == (made.sha256, made.lock)
    told = [*said, made.lock, repr(made), repr(again)]
    with tarfile.open(made.path) as tar:
        for member in tar:
            content = tar.extractfile(member)
            told.append(content.read().decode(errors="replace") if content else "")
    for cache in (tmp_path / "c", tmp_path / "other cache"):
        for path in (cache / "environments").rglob("*"):
            told.append(path.read_bytes().decode(errors="replace") if path.is_file() else "")
        # The full addresses are with the fetched packages, where only the user can look.
        assert (cache / "conda").stat().st_mode & 0o077 == 0
    assert not [one for one in told if WORD in one or TOKEN in one]


def test_a_channel_that_wants_a_login_is_told(server: Server, tmp_path: Path) -> None:
    with pytest.raises(PackingError, match="401 Unauthorized") as caught:
        pack(yml(tmp_path, server.address, "big"), tmp_path / "c")
    assert "~/.netrc" in caught.value.fix
    wrong = server.with_login.replace(WORD, "my-wrong-word")
    with pytest.raises(PackingError, match="401 Unauthorized") as caught:
        pack(yml(tmp_path, wrong, "big"), tmp_path / "c")
    assert "my-wrong-word" not in str(caught.value)
    lock = tmp_path / "env.lock"
    lock.write_text(pack(yml(tmp_path, server.with_login, "big"), tmp_path / "c").lock)
    with pytest.raises(PackingError, match="a package of the lock file cannot be had") as caught:
        pack(yml(tmp_path, server.address, "big"), tmp_path / "c2", locked=lock)
    assert "~/.netrc" in caught.value.fix


def test_secrets_go_to_the_channel_that_they_are_for() -> None:
    known = ("https://a:b@host/x", "https://host/t/tk-1/y/")
    assert with_secrets("https://host/x/noarch/p-1-0.conda", known) == (
        "https://a:b@host/x/noarch/p-1-0.conda"
    )
    assert with_secrets("https://host/y", known) == "https://host/t/tk-1/y"
    for other in ("https://host/xy/p", "https://host.evil/x/p", "http://host/x", "conda-forge"):
        assert with_secrets(other, known) == other
    assert with_secrets("https://c:d@host/x", known) == "https://c:d@host/x"


# ---- the same again ------------------------------------------------------------------------------


def test_the_same_again_needs_no_network(channel: Path, tmp_path: Path) -> None:
    with Server(channel) as server:
        file = yml(tmp_path, server.with_token, "big")
        first = pack(file, tmp_path / "c")
    sha256, lock = first.sha256, first.lock
    said: list[str] = []
    assert pack(file, tmp_path / "c", said) == first and said == []
    del first
    assert [one.kind for one in clean(tmp_path / "c", older_s=-1).removed] == ["conda"]
    again = pack(file, tmp_path / "c")
    assert again.sha256 == sha256
    assert any(note.startswith("chosen from lists fetched before") for note in again.notes)
    (tmp_path / "env.lock").write_text(lock)
    assert pack(file, tmp_path / "c", locked=tmp_path / "env.lock").sha256 == sha256


# ---- the lock file and environment.yml -----------------------------------------------------------


def test_a_lock_file_that_lacks_what_is_asked_for_is_refused(channel: Path, tmp_path: Path) -> None:
    address = channel.as_uri()
    lock = tmp_path / "env.lock"
    lock.write_text(pack(yml(tmp_path, address, "big <2"), tmp_path / "c").lock)
    assert "big-1.0" in pack(yml(tmp_path, address, "big"), tmp_path / "c", locked=lock).lock
    with pytest.raises(SpecError, match=r"env\.lock, lacks scipy") as caught:
        pack(yml(tmp_path, address, "big", "scipy >=1"), tmp_path / "c", locked=lock)
    assert caught.value.place.line == 2 and "without --locked" in caught.value.fix
    with pytest.raises(SpecError, match=r"env\.lock, has big 1\.0"):
        pack(yml(tmp_path, address, "big >=2"), tmp_path / "c", locked=lock)
    file = yml(tmp_path, address, "big")
    file.write_text(file.read_text() + "# and\n")
    text = file.read_text().replace('"big"]', '"big", {pip: ["./x.whl", "six>=1 ; a", "Foo.Bar"]}]')
    file.write_text(text)
    with lock.open("a") as added:
        added.write("# pip: six==1.16\n")
    with pytest.raises(SpecError, match=r"env\.lock, lacks Foo\.Bar"):
        pack(file, tmp_path / "c", locked=lock)
    assert lock.read_text().endswith("six==1.16\n")


def test_a_lock_file_of_packages_without_checksum_says_so(tmp_path: Path) -> None:
    """The user's own conda may tell neither address nor sha256; the advice must not go round."""
    packages = [
        Listed("a", "1.0", "0", "https://x/noarch/a-1.0-0.conda", "0" * 64),
        Listed("b", "2.0", "0", "https://x/noarch/b-2.0-0.conda", ""),
        Listed("c", "3.0", "0", "", ""),
    ]
    text = lock_text(packages, (), "linux-64")
    assert "#sha256:\n" not in text
    (tmp_path / "env.lock").write_text(text)
    with pytest.raises(PackingError, match=r"is known of: b==2\.0") as caught:
        read_lock(tmp_path / "env.lock", "linux-64")
    assert "OSGBATCH_CONDA unset" in caught.value.fix
    assert incomplete(packages).endswith("is known of: b==2.0, c==3.0")
    assert incomplete(packages[:1]) == ""


# ---- the command line ----------------------------------------------------------------------------


def test_channels_and_lock_files_of_the_command_line(channel: Path, tmp_path: Path) -> None:
    shutil.copytree(channel, tmp_path / "here/chan", copy_function=os.link)
    below = tmp_path / "project"
    below.mkdir()
    (below / "environment.yml").write_text("channels: []\ndependencies: [python, big]\n")
    options = ("--channel", "./chan", "--no-test", "--out", "env.tar.gz")
    asked = ("pack", "env", str(below / "environment.yml"), *options)
    done = osgbatch(tmp_path / "here", *asked)
    assert done.returncode == 0, done.stderr
    lock = tmp_path / "here/env.lock"
    assert f"{tmp_path}/here/chan/linux-64/big-2.0-0.conda" in lock.read_text()
    write_package(tmp_path / "here/chan", Package("big", "3.0", files={"share/big": b"3"}))
    index_channel(tmp_path / "here/chan")
    before = (tmp_path / "here/env.tar.gz").read_bytes(), lock.read_text()
    done = osgbatch(tmp_path / "here", *asked, "--locked", "env.lock")
    assert done.returncode == 0, done.stderr
    assert ((tmp_path / "here/env.tar.gz").read_bytes(), lock.read_text()) == before
    done = osgbatch(tmp_path / "here", *asked)
    assert done.returncode == 0 and "big-3.0" in lock.read_text()


def test_an_unsolvable_environment_is_explained_on_the_terminal(
    channel: Path, tmp_path: Path
) -> None:
    yml(tmp_path, channel.as_uri(), "big >=2", "big <2")
    done = osgbatch(tmp_path, "pack", "env", "environment.yml")
    assert done.returncode == 3 and "Traceback" not in done.stderr
    lines = done.stderr.splitlines()
    assert lines[-1].strip() and "  The solver says:" in lines
    told = lines[lines.index("  The solver says:") :]
    assert all(line.startswith("  ") for line in told) and "big" in "".join(told[1:])


def test_what_the_machine_has_is_in_no_lock_file(tmp_path: Path) -> None:
    (tmp_path / "env.lock").write_text(f"https://h/linux-64/a-1.0-0.conda#{'0' * 64}\n")
    lock = read_lock(tmp_path / "env.lock", "linux-64")
    file = tmp_path / "environment.yml"
    file.write_text("dependencies: [a, __glibc >=2.17]\n")
    conda_install.check_lock(lock, read_conda_spec(file))
    file.write_text("dependencies: [a, b]\n")
    with pytest.raises(SpecError, match="lacks b"):
        conda_install.check_lock(lock, read_conda_spec(file))


# ---- channels by name, and by folder -------------------------------------------------------------


def test_a_name_means_what_the_users_settings_say(tmp_path: Path, home: Path) -> None:
    file = tmp_path / "environment.yml"

    def channels(named: str) -> tuple[str, ...]:
        file.write_text(f"channels: [{named}]\ndependencies: [a]\n")
        return read_conda_spec(file).channels

    assert channels("lab, defaults") == ("lab", "main", "r")
    (home / ".conda").mkdir()
    (home / ".conda/.condarc").write_text(
        "channel_alias: https://not-this/\ndefault_channels: [https://mirror/main]\n"
    )
    (home / ".condarc").write_text(
        "channel_alias: https://alias/conda/\n"
        "custom_channels: {lab: 'https://lab.example/x', other: 'file:///data'}\n"
        "custom_multichannels: {both: [lab, https://h/c]}\n"
    )
    assert channels("lab, lab/label/dev, labs, defaults") == (
        "https://lab.example/x/lab",
        "https://lab.example/x/lab/label/dev",
        "https://alias/conda/labs",
        "https://mirror/main",
    )
    assert channels("both, other, https://h/c, ./d") == (
        "https://lab.example/x/lab", "https://h/c", "file:///data/other", f"file://{tmp_path}/d"
    )  # fmt: skip
    (home / ".conda/.condarc").unlink()
    (home / ".condarc").write_text("channel_alias: https://conda.anaconda.org\n")
    assert channels("lab, defaults") == ("lab", "main", "r")
    (home / ".condarc").write_text("channel_alias: https://alias\n")
    assert channels("lab, defaults") == ("https://alias/lab", "main", "r")


def test_packages_come_from_the_server_that_the_settings_name(
    channel: Path, home: Path, tmp_path: Path
) -> None:
    place = channel.parent.as_uri()
    (home / ".condarc").write_text(f"custom_channels: {{{channel.name}: '{place}'}}\n")
    for asked in ("big", f"{channel.name}::big"):
        made = pack(yml(tmp_path, channel.name, asked), tmp_path / "c")
        assert f"{channel.as_uri()}/linux-64/big-2.0" in made.lock


@pytest.mark.parametrize("how", ["render", "--refresh"])
def test_folders_of_channels_in_a_sweep_start_from_the_sweep(
    channel: Path, tmp_path: Path, how: str
) -> None:
    job = tmp_path / "job"
    shutil.copytree(channel, job / "chan", copy_function=os.link)
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs/environment.yml").write_text("channels: []\ndependencies: [python, big]\n")
    (job / "sweep.yaml").write_text(
        "command: echo\n"
        "environment: {conda: ../envs/environment.yml, channels: [./chan], test: false}\n"
    )
    if how == "render":
        done = osgbatch(tmp_path, "render", "job/sweep.yaml", "--out", "batch")
        lock = tmp_path / "batch/environment.lock"
    else:
        done = osgbatch(tmp_path, "pack", "env", "job/sweep.yaml", how, "--out", "env.tar.gz")
        lock = tmp_path / "env.lock"
    assert done.returncode == 0, done.stderr
    assert f"{job}/chan/linux-64/big-2.0" in lock.read_text()
