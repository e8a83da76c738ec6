"""`--host`: a laptop and an access point, between them a real sshd and a real rsync."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from laptops import Laptop, install, sshd

from osgbatch.cli.host import _as_from_here, split
from osgbatch.errors import OsgbatchError, SpecError
from osgbatch.laptop import arriving, hosts, outgoing, there
from osgbatch.laptop.record import Got, Record
from osgbatch.remote.connection import Connection, HostError, command_for, sweep
from osgbatch.remote.copying import fetch
from osgbatch.version import VERSION

SWEEP = """\
command: sh ../job.sh {f}
sweep:
  f: {files: data/*.txt}
inputs: [../shared.txt]
files: [{../job.sh: job.sh}]
outputs: [outputs/out.txt]
"""
ODD = "o'dd \"$x é"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sshd.Host]:
    """An access point: another home, other state, another folder; osgbatch is on its PATH."""
    state = tmp_path_factory.mktemp("host-state")
    with sshd.running("ap40", {"XDG_STATE_HOME": str(state)}) as made:
        install(made)
        yield made


@pytest.fixture
def laptop(host: sshd.Host, tmp_path: Path) -> Iterator[Laptop]:
    yield Laptop(host, tmp_path)
    shutil.rmtree(host.home / "osgbatch-work", ignore_errors=True)


def written(folder: Path) -> Path:
    """A sweep that reads from its own folder and from that above."""
    folder.mkdir(parents=True)
    (folder / "sweep.yaml").write_text(SWEEP.replace("../job.sh {f}", "job.sh {f}"))
    (folder.parent / "job.sh").write_text('cat "$1" inputs/shared.txt >outputs/out.txt\n')
    (folder.parent / "shared.txt").write_text("shared\n")
    (folder.parent / "private.txt").write_text("not named by anything\n")
    (folder / "data").mkdir()
    for name in ("a 1", "b'2"):
        (folder / "data" / f"{name}.txt").write_text(f"{name}\n")
    return folder


def test_a_sweep_goes_to_the_host_and_its_results_come_back(laptop: Laptop) -> None:
    folder = written(laptop.folder / ODD / "sweep")
    out, err = laptop.run(
        *("--host", "ap40", "submit", "sweep.yaml", "--pool", "local", "--watch"), cwd=folder
    )
    assert "2 succeeded" in out
    (batch,) = (folder / "batches").iterdir()
    assert (batch / "results/1/outputs/out.txt").read_text() == "b'2\nshared\n"
    assert f"from ap40: batches/{batch.name}/" in err
    assert sorted(one.name for one in batch.iterdir()) == ["provenance", "results"]
    assert not (folder / arriving.ARRIVING).exists()
    # what the spec names was brought, and nothing else
    there_ = laptop.there(folder)
    assert sorted(one.name for one in there_.parent.iterdir()) == ["job.sh", "shared.txt", "sweep"]
    # it is checked here by its checksums
    out, _ = laptop.run("verify", str(batch), cwd=folder)
    assert "as recorded" in out

    # What is changed here is not overwritten, though the host has another; what is gone here is
    # brought again; what was unnamed or removed here goes there, too; a batch there stays.
    (batch / "results/0/outputs/out.txt").unlink()
    (batch / "results/1/outputs/out.txt").write_text("mine\n")
    (laptop.there(batch) / "results/1/stdout").write_text("damaged\n")
    (laptop.there(batch) / "results/1/outputs/out.txt").write_text("theirs\n")
    (folder / "data/a 1.txt").unlink()
    _, err = laptop.run("check", "sweep.yaml", cwd=folder, OSGBATCH_HOST="ap40")
    assert "note: data/a 1.txt, here no more" in err
    assert len([*(there_ / "data").iterdir()]) == 2  # only a submission removes
    assert laptop.there(batch).is_dir()
    _, err = laptop.run("--host", "ap40", "report", "--out", "page.html", cwd=folder, code=1)
    assert (batch / "results/0/outputs/out.txt").read_text() == "a 1\nshared\n"
    assert (batch / "results/1/outputs/out.txt").read_text() == "mine\n"
    assert "note: batches/" in err and "results/1/outputs/out.txt is yours" in err
    assert "files are not what their checksums say" in err
    assert (folder / "page.html").is_file()
    # nothing is stored but names: no key, no password
    kept = b"".join(one.read_bytes() for one in (laptop.folder / "state").rglob("*.db"))
    assert b"PRIVATE" not in kept


def test_what_a_command_makes_comes_back_with_its_exit_code(laptop: Laptop) -> None:
    folder = laptop.folder / "work"
    folder.mkdir()
    (folder / "job.sh").write_text('echo hello >"#made"; test "$1" = 1\n')
    (folder / "in").mkdir()
    for name in ("#a", "b"):
        (folder / "in" / name).write_text(name)
    words = ("--host", "ap40", "run", "--pool", "local", "-n", "two", "--count", "2")
    words += ("--push", f"{folder}/job.sh", "--push", "in", "--", "/bin/sh", "job.sh", "{index}")
    laptop.run(*words, cwd=folder, code=1)
    assert (folder / "two/1/#made").read_text() == "hello\n"
    assert (folder / "two/failed/0/#made").is_file()
    assert (laptop.there(folder) / "in/#a").read_text() == "#a"
    # the script is mended here, and run again there; what is here no more is removed there
    (folder / "job.sh").write_text('echo mended >"#made"\n')
    (folder / "in/b").unlink()
    laptop.run("resubmit", "--failed", cwd=folder, OSGBATCH_HOST="ap40")
    assert [one.name for one in (laptop.there(folder) / "in").iterdir()] == ["#a"]
    laptop.run("--host", "ap40", "collect", "--watch", cwd=folder)
    assert (folder / "two/0/#made").read_text() == "mended\n"
    assert not (folder / "two/failed").exists()  # what has succeeded is not shown as failed, too


def test_keys_and_signals_reach_the_command_and_the_jobs_go_on(laptop: Laptop) -> None:
    folder = laptop.folder / "work"
    folder.mkdir()
    install(laptop.host, cold=True)
    (folder / "sweep.yaml").write_text("command: sleep 300\nsweep: {x: [1]}\n")
    laptop.run("--host", "ap40", "submit", "sweep.yaml", "--pool", "local", cwd=folder)
    try:
        watch = ("--host", "ap40", "watch")
        code, seen = laptop.on_terminal(*watch, cwd=folder, answer=(b"1 running", b"\x03"))
        assert (code, b"the jobs go on" in seen) == (130, True), seen
        process = laptop.start(*watch, cwd=folder)
        assert process.stdout and "running" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=180)
        assert process.returncode == 130
        assert not [*laptop.host.home.rglob(".session-*")]
        # what ends us ends the connection, too
        process = laptop.start(*watch, cwd=folder)
        assert process.stdout and "running" in process.stdout.readline()
        process.send_signal(signal.SIGHUP)
        process.communicate(timeout=180)
        assert process.returncode == -signal.SIGHUP
        deadline = time.monotonic() + 20
        while servers(laptop.host.server.pid() or 0) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not servers(laptop.host.server.pid() or 0)
        # the connection is cut
        process = laptop.start(*watch, cwd=folder)
        assert process.stdout and "running" in process.stdout.readline()
        for child in servers(laptop.host.server.pid() or 0):
            os.kill(child, signal.SIGKILL)
        _, err = process.communicate(timeout=180)
        assert process.returncode == 5
        (laptop.folder / "other").mkdir()
        _, said = laptop.run("--host", "ap40", "cancel", cwd=laptop.folder / "other", code=2)
        assert "there is no batch here" in said
        assert "connection was lost" in err and "osgbatch --host ap40 status" in err
    finally:
        install(laptop.host)
        out, _ = laptop.run("--host", "ap40", "cancel", cwd=folder)
    assert "1 task had not ended" in out


def servers(parent: int) -> list[int]:
    """The processes of sshd that serve connections: below the one that listens."""
    found: list[int] = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, fields = path.read_text().rpartition(")")
        except OSError:
            continue
        if int(fields.split()[1]) == parent and name.endswith("(sshd"):
            found += [int(path.parent.name), *servers(int(path.parent.name))]
    return found


def test_ssh_asks_on_the_terminal_and_the_host_is_looked_at_first(laptop: Laptop) -> None:
    folder = laptop.folder / "work"
    folder.mkdir()
    status = ("--host", "ap40", "ls")
    known = laptop.host.known_hosts.read_text()
    laptop.host.known_hosts.unlink()
    try:
        _, err = laptop.run(*status, cwd=folder, code=5)
        assert "Host key verification failed" in err and "cannot be reached" in err
        code, seen = laptop.on_terminal(*status, cwd=folder, answer=(b"(yes/no", b"yes\n"))
        assert (code, seen.count(b"fingerprint is")) == (0, 1), seen
    finally:
        laptop.host.known_hosts.write_text(known)
    program, rsync = laptop.host.there_bin / "osgbatch", laptop.host.there_bin / "rsync"
    whole, target = program.read_text(), rsync.readlink()
    try:
        program.write_text("#!/bin/sh\necho osgbatch 99.0.0\n")
        _, err = laptop.run(*status, cwd=folder, code=5)
        assert f"osgbatch is 99.0.0 there and {VERSION} here" in err
        program.unlink()
        _, err = laptop.run(*status, cwd=folder, code=5)
        assert "osgbatch is not there" in err and "pip install" in err
        if not shutil.which("rsync", path="/usr/local/bin:/usr/bin:/bin"):
            program.write_text(whole)
            program.chmod(0o755)
            rsync.unlink()
            _, err = laptop.run(*status, cwd=folder, code=5)
            assert "no rsync there" in err
    finally:
        program.write_text(whole)
        program.chmod(0o755)
        if not rsync.is_symlink():
            rsync.symlink_to(target)


def test_what_is_wrong_here_is_told_before_a_host_is_asked(laptop: Laptop) -> None:
    folder = laptop.folder
    (folder / "sweep.yaml").write_text("comand: x\n")
    nowhere = ("--host", "nowhere.invalid")
    for words in (("submit", "sweep.yaml"), ("status", "--nope")):
        _, err = laptop.run(*nowhere, *words, cwd=folder, code=2)
        assert "reached" not in err
    bad = f"-oProxyCommand=touch${{IFS}}{folder}/marker"
    laptop.run("status", cwd=folder, code=2, OSGBATCH_HOST=bad)
    assert not (folder / "marker").exists()
    for bad in ("", "-x", "a b", "$(x)", "a\nb"):
        with pytest.raises(OsgbatchError):
            hosts.find_host(bad)
    _, err = laptop.run(*nowhere, "schema", "--out", "x.json", cwd=folder)
    assert "needs no host" in err and (folder / "x.json").is_file()
    _, err = laptop.run(*nowhere, "status", cwd=folder, code=5)
    assert "nowhere.invalid: it cannot be reached" in err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--host ap40 submit a.yaml", ("ap40", "submit a.yaml")),
        ("submit a.yaml --host=ap40", ("ap40", "submit a.yaml")),
        ("run --host ap40 -- x --host y", ("ap40", "run -- x --host y")),
        ("run x --host y", ("", "run x --host y")),
        ("--host ap40 foreach s.py --host y", ("ap40", "foreach s.py --host y")),
        ("status", ("", "status")),
    ],
)
def test_the_option_stands_where_it_cannot_be_a_programs(
    words: str, expected: tuple[str, str]
) -> None:
    assert split(words.split(), "") == (expected[0], expected[1].split())


@pytest.mark.parametrize("words", ["--host a --host b ls", "ls --host", "--host -x ls"])
def test_a_host_is_named_once_and_wholly(words: str) -> None:
    with pytest.raises(OsgbatchError):
        split(words.split(), "")


def test_hosts_have_names_and_nothing_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    path = tmp_path / "osgbatch/config.yaml"
    path.parent.mkdir()
    path.write_text("project: P\nhosts:\n  ap40: me@ap40.org\n  b: {ssh: b.org, folder: ~/x y}\n")
    assert hosts.find_host("ap40") == hosts.KnownHost("ap40", "me@ap40.org")
    assert hosts.find_host("b").folder == "x y"
    assert hosts.find_host("me@other") == hosts.KnownHost("me@other", "me@other")
    for wrong in ("{a: {ssh: x, password: y}}", "{a: '-oProxyCommand=x'}", "{a: 3}", "[a]"):
        path.write_text(f"hosts: {wrong}\n")
        with pytest.raises(SpecError) as error:
            hosts.find_host("a")
        assert "config.yaml:1:" in str(error.value)


def test_a_script_travels_through_any_shell() -> None:
    for script in ('printf %s "it\'s $((1+1))\n!!"', "echo 'a\nb' \"$1\""):
        done = subprocess.run(["sh", "-c", command_for(script, "arg")], capture_output=True)
        expected = subprocess.run(["sh", "-c", script, "osgbatch", "arg"], capture_output=True)
        assert done.stdout == expected.stdout
    assert not re.search(r"[!\n]", command_for("echo !\n"))
    with pytest.raises(OsgbatchError):
        command_for("x" * 100_000)


@pytest.mark.parametrize(
    "line",
    [
        '["../x", 1, 1]',
        '["/etc/x", 1, 1]',
        '["a/.osgbatch-arriving", 1, 1]',
        '["a\\u0000", 1, 1]',
        "no",
        "[1]",
    ],
)
def test_a_host_cannot_offer_what_lies_elsewhere(line: str) -> None:
    with pytest.raises(HostError):
        arriving.offered(line.encode(), "ap40")
    links = b'["a", 1, 1, "../x"]\n["b", 1, 1, "/etc"]\n["c/d", 1, 1, "../e"]\n'
    links += b'["x/y", 1, 1, "../c/d/.."]\n'  # through a link, and up from where that leads
    assert [one.name for one in arriving.offered(links, "ap40")] == ["c/d"]


def test_files_arrive_in_free_places_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    record = Record("ap40", "x")
    folder = tmp_path / "work"

    def come(text: str, moment: int) -> tuple[list[str], str]:
        """The names that are wanted, and what is there when they have come."""
        files = [arriving.Offered("results/a", len(text), moment)]
        found = arriving.wanted(files, folder, record)
        for one in found:
            new = folder / arriving.ARRIVING / one.name
            new.parent.mkdir(parents=True)
            new.write_text(text)
        arriving.place(found, folder, record)
        return [one.name for one in found], (folder / "results/a").read_text()

    assert come("first", 1) == (["results/a"], "first")
    assert come("first", 1) == ([], "first")
    assert come("second", 2) == (["results/a"], "second")  # what was brought may be renewed
    (folder / "results/a").write_text("mine")
    assert come("second", 2) == ([], "mine")
    assert come("third", 3) == (["results/a"], "mine")  # not taken, and told once
    assert come("third", 3) == ([], "mine")
    # a link is placed, and nothing through one, wherever it leads
    (folder / "x").mkdir()
    (folder / "x/y").symlink_to(tmp_path)
    files = [arriving.Offered("x/y/evil", 1, 1), arriving.Offered("l", 1, 1, "x")]
    evil = folder / arriving.ARRIVING / "x/y/evil"
    evil.parent.mkdir(parents=True)
    evil.write_text("x")
    arrived = arriving.place(files, folder, record)
    assert (arrived.kept, arrived.brought) == ([folder / "x/y"], [folder / "l"])
    assert not (tmp_path / "evil").exists() and (folder / "l").readlink() == Path("x")
    record.close()


def test_what_came_from_the_host_is_not_sent_nor_what_is_newer_there(tmp_path: Path) -> None:
    got: dict[Path, Got] = {}
    asked: list[arriving.Offered] = []
    # each: what was brought (its time there, and here), the time here now, the time there now
    for name, brought, here, now in (
        ("same", (5, 6), 6, 5),
        ("renewed", (5, 6), 6, 9),
        ("changed", (5, 6), 7, 5),
        ("both", (5, 6), 7, 9),
        ("kept", (9, arriving.KEPT), 7, 9),
        ("newer", None, 7, 9),
        ("older", None, 7, 5),
    ):
        path = tmp_path / name
        path.write_text("x")
        os.utime(path, (here, here))
        asked.append(arriving.Offered(name, 1, now * 10**9))
        if brought:
            there_, own = brought
            got[path] = Got(1, there_ * 10**9, own if own == arriving.KEPT else own * 10**9)
    kept, differ = outgoing.theirs(asked, tmp_path, got)
    assert [one.name for one in kept] == ["same", "renewed", "both", "kept", "newer"]
    assert [one.name for one in differ] == ["renewed", "both", "kept", "newer"]
    files = [tmp_path / "same", tmp_path / "sent", tmp_path / "new"]
    assert outgoing.doubtful(files, got, files[:2]) == [files[0], files[2]]


def test_only_paths_of_the_command_itself_are_changed(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    words = f"run --push {tmp_path}/a:x --push=@{tmp_path}/a -- /bin/sh {tmp_path}/a --push /bin"
    given = {"command": ["/bin/sh", f"{tmp_path}/a", "--push", "/bin"]}
    found = _as_from_here("run", words.split(), given, tmp_path)
    assert " ".join(found) == f"run --push a:x --push=@a -- /bin/sh {tmp_path}/a --push /bin"
    spec = ["submit", f"{tmp_path}/a", "--out", "/"]
    assert _as_from_here("submit", spec, {"spec": Path(spec[1])}, tmp_path)[1:] == [
        "a",
        "--out",
        "/",
    ]


def test_connections_of_killed_processes_are_swept(tmp_path: Path) -> None:
    for name in ("osgh-left", "osgh-new", "osgh-used", "other"):
        (tmp_path / name).mkdir()
        if name != "osgh-new":
            os.utime(tmp_path / name, (1, 1))
    lock = os.open(tmp_path / "osgh-used", os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    sweep(tmp_path)
    os.close(lock)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["osgh-new", "osgh-used", "other"]


def test_an_rsync_that_brings_nothing_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of macOS since 15.4 is openrsync: some of its versions take no list for what comes."""
    program = tmp_path / "bin" / "rsync"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n[ $# != 1 ] || echo 'openrsync: protocol version 29'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    wrong = pytest.raises(HostError, match="none of 2 files")
    with Connection("ap40", "ap40.invalid") as connection, wrong as told:
        fetch(connection, "/there", ["a", "b"], tmp_path)
    assert "openrsync: protocol version 29" in told.value.fix


def test_a_host_removes_only_what_was_brought(tmp_path: Path) -> None:
    inside, outside = tmp_path / "tree", tmp_path / "outside"
    names: Sequence[str] = ("a/b", "batches/x/results/1", "c")
    for name in names:
        (inside / name).parent.mkdir(parents=True, exist_ok=True)
        (inside / name).write_text("x")
    outside.mkdir()
    (outside / "d").write_text("x")
    (inside / "link").symlink_to(outside)
    listed = [*names[:2], "../outside/d", "link/d", f"{outside}/d", ""]
    assert there.remove(inside, [os.fsencode(name) for name in listed]) == 1
    assert sorted(one.name for one in inside.iterdir()) == ["batches", "c", "link"]
    assert (outside / "d").exists()
