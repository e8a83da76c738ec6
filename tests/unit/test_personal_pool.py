"""The personal pool: when it is up, who uses it, and where it is refused. It runs in tests/pool."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import servers
import started

from osgbatch import personal_pool
from osgbatch.cli import pool_commands
from osgbatch.condor import commands
from osgbatch.condor import personal as daemons
from osgbatch.condor.personal_config import Installation, Machine, condor_config
from osgbatch.errors import CondorError, OsgbatchError
from osgbatch.pools import personal
from osgbatch.spec import profiles
from osgbatch.spec.layers import chosen_profile
from osgbatch.submission.submitting import choose_backend

HOLD = """
import fcntl, sys, time
lock = open(sys.argv[1], "a")
fcntl.lockf(lock, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(60)
"""
"""What a condor_master does with its InstanceLock."""


@pytest.fixture(autouse=True)
def nobodys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No pool, no HTCondor, and a state folder of this test."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("CONDOR_CONFIG", raising=False)
    monkeypatch.delenv("OSGBATCH_PROFILE", raising=False)
    monkeypatch.setattr(daemons, "_PLACES", ())
    monkeypatch.setattr(commands, "SYSTEM_CONFIGS", ())
    monkeypatch.setenv("PATH", "/nowhere")
    yield
    os.environ.pop("CONDOR_CONFIG", None)  # what use() has set


@contextmanager
def locked(env: dict[str, str] | None = None) -> Iterator[int]:
    """A process that holds the pool's lock; its id."""
    lock = personal_pool.instance_lock()
    lock.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-c", HOLD, str(lock)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=env) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        try:
            yield holder.pid
        finally:
            holder.kill()


def installed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An HTCondor that is there and is never started."""
    (folder / "sbin").mkdir(parents=True)
    (folder / "sbin" / "condor_master").write_text("#!/bin/sh\nexit 9\n")
    (folder / "sbin" / "condor_master").chmod(0o755)
    monkeypatch.setattr(daemons, "_PLACES", (str(folder / "sbin"),))


def test_it_is_up_as_long_as_its_master_lives_whatever_files_say(tmp_path: Path) -> None:
    assert personal_pool.master() is None
    assert not personal_pool.use()
    with locked() as pid:
        assert personal_pool.master() == pid
        assert personal_pool.use()
        assert os.environ["CONDOR_CONFIG"] == str(personal_pool.config_file())
        assert commands.configured()
        assert chosen_profile(tmp_path)[0].facts.name == "personal"
        assert "personal pool" in chosen_profile(tmp_path)[1]
    del os.environ["CONDOR_CONFIG"]
    assert personal_pool.instance_lock().exists()
    assert personal_pool.master() is None
    assert not commands.configured()
    assert chosen_profile(tmp_path)[0].facts.name == "generic"


def test_an_htcondor_that_the_shell_names_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    with locked():
        monkeypatch.setenv("CONDOR_CONFIG", "/etc/condor/other")
        assert not personal_pool.use()
        assert os.environ["CONDOR_CONFIG"] == "/etc/condor/other"
        monkeypatch.setenv("CONDOR_CONFIG", os.devnull)  # what the bindings set themselves
        assert personal_pool.use()


def test_its_commands_are_found_where_it_was_installed(tmp_path: Path) -> None:
    with locked():
        personal_pool.note_file().write_text(json.dumps({"bin": "/opt/condor/bin"}))
        personal_pool.use()
    assert os.environ["PATH"].split(":")[0] == "/opt/condor/bin"


def test_its_commands_are_found_in_a_shell_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONDOR_CONFIG", str(personal_pool.config_file()))  # as `up` has told
    with locked():
        personal_pool.note_file().write_text(json.dumps({"bin": "/opt/condor/bin"}))
        assert personal_pool.use() and personal_pool.use()
    assert os.environ["PATH"] == "/opt/condor/bin:/nowhere"


def test_one_that_is_down_is_told_where_htcondor_is_wanted() -> None:
    personal_pool.folder().mkdir(parents=True)
    assert not commands.personal_down()
    personal_pool.config_file().touch()
    assert commands.personal_down()
    with pytest.raises(CondorError, match="your personal pool is down") as raised:
        commands.run([sys.executable, "-c", "raise SystemExit(1)"])
    assert "osgbatch pool up" in raised.value.fix


def system_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An HTCondor that a package has configured, as /etc/condor/condor_config does."""
    (tmp_path / "condor_config").touch()
    places = (str(tmp_path / "condor_config"),)
    monkeypatch.setattr(commands, "SYSTEM_CONFIGS", places)
    monkeypatch.setattr(personal, "SYSTEM_CONFIGS", places)


def test_one_that_is_down_is_told_beside_an_htcondor_of_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system_config(tmp_path, monkeypatch)
    fails = [sys.executable, "-c", "raise SystemExit('Failed to connect to <127.0.0.1:9618>')"]
    for there in (False, True):
        with pytest.raises(CondorError, match="Failed to connect") as raised:
            commands.run(fails)
        assert ("Or `osgbatch pool up`" in raised.value.fix) == there
        personal_pool.folder().mkdir(parents=True, exist_ok=True)
        personal_pool.config_file().touch()
    with pytest.raises(CondorError, match="parse error") as raised:  # no failure to connect
        commands.run([sys.executable, "-c", "raise SystemExit('parse error')"])
    assert "pool up" not in raised.value.fix


def test_the_local_runner_that_is_chosen_as_it_is_down_is_told() -> None:
    said: list[str] = []
    assert choose_backend("auto", said.append) == "local"
    assert said == []
    personal_pool.folder().mkdir(parents=True)
    personal_pool.config_file().touch()
    assert choose_backend("auto", said.append) == choose_backend("local", said.append) == "local"
    assert len(said) == 1 and "`osgbatch pool up`" in said[0]


def test_one_that_is_up_elsewhere_is_not_called_down() -> None:
    said: list[str] = []
    with locked():
        personal_pool.config_file().touch()
        personal_pool.note_file().write_text(json.dumps({"host": "other"}))
        assert not personal_pool.is_up() and not personal_pool.is_down()
        assert "runs on another machine" in personal_pool.why_not_here()
        assert "(other)" in personal_pool.why_not_here()
        assert not commands.personal_down()
        assert choose_backend("auto", said.append) == "local"
        assert len(said) == 1 and "runs on another machine" in said[0]
    assert personal_pool.why_not_here() == "is down (`osgbatch pool up`)"


def test_a_number_that_another_machine_has_noted_is_no_process_here() -> None:
    with locked() as pid:
        for host, found in ((socket.gethostname(), pid), ("other", personal_pool.ELSEWHERE)):
            personal_pool.note_file().write_text(json.dumps({"host": host}))
            assert personal_pool.master() == found
        assert not personal_pool.is_up()
        with pytest.raises(OsgbatchError, match="runs on another machine"):
            personal.down(lambda text: None)
    # this machine, by another name: the process says whose it is
    environment = {**os.environ, "CONDOR_CONFIG": str(personal_pool.config_file())}
    with locked(environment) as pid:
        assert personal_pool.master() == pid


def test_only_a_condor_master_is_stopped(tmp_path: Path) -> None:
    with locked() as pid:
        with pytest.raises(OsgbatchError, match="is no condor_master"):
            daemons.stop(personal_pool.folder(), pid, lambda text: None)
        os.kill(pid, 0)


def test_status_and_down_of_none_make_nothing(tmp_path: Path) -> None:
    for words, code, said in (
        (["status"], 5, "the personal pool is down; `osgbatch pool up` starts it\n"),
        (["down"], 0, "the personal pool was down already\n"),
    ):
        done = started.osgbatch(["pool", *words], tmp_path, dict(os.environ), 60)
        assert (done.returncode, done.stdout, done.stderr) == (code, said, "")
    done = started.osgbatch(["pool", "status", "--json"], tmp_path, dict(os.environ), 60)
    assert json.loads(done.stdout)["state"] == "down"
    assert not (tmp_path / "state").exists()


def test_one_that_falls_silent_as_it_was_started_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    silent = personal.PoolStatus(personal.SILENT, tmp_path, 7)
    monkeypatch.setattr(personal, "up", lambda say: (silent, True))
    assert pool_commands.up() == 5
    assert "(process 7), and does not answer" in capsys.readouterr().out
    assert pool_commands.up(as_json=True) == 5
    assert json.loads(capsys.readouterr().out)["state"] == "silent"


def test_up_and_down_say_where_files_cannot_be_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    installed(tmp_path, monkeypatch)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() or 1000)
    personal_pool.folder().mkdir(parents=True)
    os.chown(personal_pool.folder(), os.geteuid(), -1)
    monkeypatch.setattr(fcntl, "flock", missing)
    refused("files cannot be locked here: Function not implemented", "XDG_STATE_HOME")
    with pytest.raises(OsgbatchError, match="files cannot be locked here"):
        personal.down(lambda text: None)


def test_each_pool_has_a_name_that_it_keeps(tmp_path: Path) -> None:
    first, second, earlier = (tmp_path / name for name in ("first", "second", "earlier"))
    for folder in (first, second, earlier):
        (folder / "spool").mkdir(parents=True)
    (earlier / "spool" / "job_queue.log").touch()
    made = personal._id(first)
    (first / "spool" / "job_queue.log").touch()
    assert re.fullmatch("[0-9a-f]{6}", made)
    assert personal._id(first) == made != personal._id(second)
    assert personal._id(earlier) == ""  # its batches know it by the name that it had


def wait_for(look: Callable[[], object]) -> None:
    """Wait, for seconds at most, until there is something."""
    for _ in range(500):
        if look():
            return
        time.sleep(0.01)


def refused(what: str, fix: str, kind: type[OsgbatchError] = OsgbatchError) -> None:
    """`up` is refused with these words, and nothing was started or written."""
    with pytest.raises(kind, match=re.escape(what)) as raised:
        personal.up(lambda text: None)
    assert fix in raised.value.fix
    assert not personal_pool.config_file().exists()


def test_up_says_how_to_get_htcondor_where_there_is_none() -> None:
    refused("HTCondor is not installed here", "apt install condor", CondorError)
    refused("HTCondor is not installed here", "--pool local", CondorError)


def test_up_refuses_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(tmp_path, monkeypatch)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    refused("you are root", "useradd")


def test_up_refuses_an_access_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    installed(tmp_path, monkeypatch)
    monkeypatch.setenv("OSGBATCH_ON_ACCESS_POINT", "1")
    monkeypatch.setattr(socket, "gethostname", lambda: "ap40.uw.osg-htc.org")
    profiles.host_names.cache_clear()
    try:
        refused("this machine is an access point of Open Science Pool", "osgbatch submit")
        # so do the pool and the stash of the tests and of `make demo-pool`
        assert servers.main(["run", "--", "true"]) == 2
        assert "access point of Open Science Pool" in capsys.readouterr().err
    finally:
        profiles.host_names.cache_clear()


def test_up_refuses_beside_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(tmp_path, monkeypatch)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() or 1000)
    monkeypatch.setenv("CONDOR_CONFIG", "/etc/condor/other")
    refused("this shell uses an HTCondor already", "unset CONDOR_CONFIG")


@pytest.mark.parametrize(
    ("condor_q", "host", "running", "what"),
    [
        ("exit 0", "", "", "an HTCondor already, and it answers"),
        ("echo Failed to fetch ads: timed out; exit 1", "", "", "whether it runs is not known"),
        ("echo Failed to connect; exit 1", "ap.example.edu", "", "the HTCondor of ap.example.edu"),
        ("echo Failed to connect; exit 1", "", "condor_schedd", "condor_schedd runs"),
        ("echo Failed to connect; exit 1", "", "", ""),
    ],
)
def test_up_takes_no_silent_htcondor_for_none(
    condor_q: str, host: str, running: str, what: str,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    system_config(tmp_path, monkeypatch)
    told = f"echo {host}" if host else "exit 1"
    for name, does in (("condor_q", condor_q), ("condor_config_val", told)):
        (tmp_path / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(daemons, "of_the_system", lambda: running)
    if not what:
        personal._check_no_other()
        return
    with pytest.raises(OsgbatchError, match=what):
        personal._check_no_other()


def test_a_daemon_of_the_system_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    daemon = subprocess.Popen(["condor_schedd", "60"], executable="/bin/sleep")
    try:
        words = Path(f"/proc/{daemon.pid}/cmdline")
        wait_for(words.read_bytes)  # a moment after it was started it has none
        monkeypatch.setattr(daemons, "FIRST_PERSON", os.geteuid() + 1)
        assert f"condor_schedd, process {daemon.pid}," in daemons.all_of_the_system()
        assert daemons.of_the_system().startswith("condor_")
    finally:
        daemon.kill()
        daemon.wait()
    monkeypatch.setattr(daemons, "FIRST_PERSON", 0)
    assert daemons.of_the_system() == ""


def test_up_refuses_a_folder_that_htcondor_would_misread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(tmp_path, monkeypatch)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() or 1000)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "my $(files)"))
    refused("characters that HTCondor reads as something else", "XDG_STATE_HOME")


def test_its_configuration_lets_its_user_in_and_nobody_else() -> None:
    place = Path("/usr")
    found = Installation(place, place / "bin", place / "sbin", place / "libexec", place / "lib")
    text = condor_config(found, Path("/home/a/pool"), "alice", Machine("laptop", 4, 8000, "/x/a"))
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    settings = dict(line.split(" = ", 1) for line in lines if " = " in line)
    allowed = {name: value for name, value in settings.items() if name.startswith("ALLOW_")}
    assert set(allowed.values()) == {"alice@personal.pool"}
    assert {"ALLOW_READ", "ALLOW_WRITE", "ALLOW_DAEMON", "ALLOW_ADMINISTRATOR"} <= set(allowed)
    assert settings["SCHEDD_NAME"] == "alice@personal.pool"  # as of the earliest pools
    text_of = partial(condor_config, found, Path("/home/a/pool"), "alice", Machine("laptop", 4, 8))
    assert "\nSCHEDD_NAME = alice-3f9c2a@personal.pool\n" in text_of("3f9c2a")
    assert personal_pool.is_name("alice-3f9c2a@personal.pool")
    assert settings["SEC_DEFAULT_AUTHENTICATION_METHODS"] == "FS"
    assert settings["NETWORK_INTERFACE"] == "127.0.0.1"
    assert (settings["NUM_CPUS"], settings["MEMORY"]) == ("4", "8000")
    assert settings["SINGULARITY"] == "/x/a"
    assert "GPUs" not in text and "HasSIF" not in text
    # A setting of the user's own is read last, whatever stands in it.
    assert settings["LOCAL_CONFIG_FILE"] == "$(LOCAL_DIR)/condor_config.local"


def test_of_a_pool_whose_folder_is_gone_the_daemons_are_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    config = {**os.environ, "CONDOR_CONFIG": str(personal_pool.config_file())}
    daemon = subprocess.Popen(["condor_master", "600"], executable="/bin/sleep", env=config)
    said: list[str] = []
    try:
        wait_for(Path(f"/proc/{daemon.pid}/cmdline").read_bytes)
        assert personal.down(said.append) is None
        assert daemon.wait(10) < 0 and "1 processes" not in "".join(said) and len(said) == 1
    finally:
        daemon.kill()
        daemon.wait()


def test_what_a_crash_left_is_ended_and_nothing_else(tmp_path: Path) -> None:
    pool = tmp_path / "pool"
    config = {**os.environ, "CONDOR_CONFIG": str(pool / "condor_config")}
    sleep = ["/bin/sleep", "60"]
    job = subprocess.Popen(
        sleep, env={"_CONDOR_SCRATCH_DIR": f"{pool}/execute/dir_7"}, start_new_session=True
    )
    daemon = subprocess.Popen(["condor_schedd", "60"], executable=sleep[0], env=config)
    looking = subprocess.Popen(["condor_watch_q", "60"], executable=sleep[0], env=config)
    theirs = subprocess.Popen(sleep, env={"_CONDOR_SCRATCH_DIR": f"{tmp_path}/pool2/execute/d"})
    try:
        assert set(daemons.leftovers(pool)) == {job.pid, daemon.pid}
        daemons.end_leftovers(pool)
        assert [process.wait(5) < 0 for process in (job, daemon)] == [True, True]
        assert looking.poll() is None
        assert theirs.poll() is None
    finally:
        for process in (job, daemon, looking, theirs):
            process.kill()
            process.wait()
