"""`osgbatch doctor`: what it finds, that nothing stops it, and that it leaves nothing behind."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import started
from small_disk import on_small_disk

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "faults"))

from clock import Clock, why_no_clock

from osgbatch import exits
from osgbatch.cli import doctor_view
from osgbatch.condor import examined
from osgbatch.errors import CondorError, OsgbatchError
from osgbatch.examining import canary, folders, machine, pool, stash, tools
from osgbatch.examining.bounded import bounded
from osgbatch.examining.check import (
    FAILURE,
    FOLDERS,
    HTCONDOR,
    MACHINE,
    OK,
    SKIPPED,
    STASH,
    WARNING,
    Check,
    Found,
    Here,
    Told,
    exit_code,
    failure,
    ok,
    skipped,
    warning,
)
from osgbatch.examining.doctor import GROUPS, checks, examine, look_around
from osgbatch.spec.profiles import known_profile
from osgbatch.spec_model import Stash

PAGE = Path(__file__).resolve().parents[2] / "docs" / "doctor.md"
BEGIN, END = "<!-- checks -->\n", "<!-- end of checks -->\n"


@pytest.fixture(autouse=True)
def without_a_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where these tests are run inside one."""
    monkeypatch.delenv("CONDOR_CONFIG", raising=False)


def checks_tables() -> str:
    """What each check tells, for the page."""
    lines = []
    for group in GROUPS:
        rows = [f"| {one.name} | {one.meaning} |" for one in checks() if one.group == group]
        title = group[0].upper() + group[1:]
        lines += [f"## {title}", "", "| check | what it looks at |", "|---|---|", *rows, ""]
    return "\n".join(lines).strip()


def here_at(folder: Path, **changed: Any) -> Here:
    """What is examined, without a stash and without HTCondor."""
    found = Here(known_profile("generic"), "a test", folder, Stash(), False, "a-word")
    return replace(found, **changed)


def doctor(folder: Path, *words: str, **variables: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """`osgbatch doctor --json`: its exit code, and each check by its name."""
    environment = {**os.environ, "HOME": str(folder), "XDG_CACHE_HOME": str(folder / "c")}
    environment = {**environment, "XDG_CONFIG_HOME": str(folder / "conf"), **variables}
    environment.pop("CONDOR_CONFIG", None)
    done = started.osgbatch(["doctor", "--json", *words], folder, {**environment, **variables}, 60)
    return done.returncode, {one["name"]: one for one in json.loads(done.stdout)["checks"]}


def told(state: str, group: str = MACHINE, name: str = "a") -> Told:
    """A check that found something."""
    return Told(Check(name, group, "", lambda here: ok("")), Found(state, "w", "f"), 0.1)


# --- the page, the words, the exit code -----------------------------------------------------------


def test_the_page_names_all_checks() -> None:
    text = PAGE.read_text()
    shown = text.partition(BEGIN)[2].partition(END)[0].strip()
    assert shown == checks_tables(), "run tests/unit/test_doctor.py"
    assert len({one.name for one in checks()}) == len(checks())
    assert all(set(one.needs) <= {other.name for other in checks()} for one in checks())


@pytest.mark.parametrize(
    ("found", "code"),
    [
        ([], exits.OK),
        ([told(OK), told(WARNING), told(SKIPPED, STASH), told(WARNING, HTCONDOR)], exits.OK),
        ([told(FAILURE, FOLDERS), told(OK)], exits.SOME_FAILED),
        ([told(FAILURE, FOLDERS), told(FAILURE, STASH)], exits.STAGING),
        ([told(FAILURE, STASH), told(FAILURE, HTCONDOR), told(FAILURE)], exits.HTCONDOR),
        ([told(FAILURE, "canary")], exits.SOME_FAILED),
    ],
)
def test_the_exit_code_tells_what_failed(found: list[Told], code: int) -> None:
    assert exit_code(found) == code


def test_the_last_words_say_what_follows_and_what_to_do_next(tmp_path: Path) -> None:
    here = here_at(tmp_path, condor=True)

    def words(*found: Told) -> str:
        return " ".join(doctor_view.last_words(here, [told(OK), *found]))

    assert words().startswith("Sweeps can be submitted from here. next: osgbatch doctor --canary")
    assert words().endswith("next: osgbatch init             a first sweep, from a template")
    assert "--canary" not in words(told(OK, "canary"))
    assert "Heed the warnings: queue." in words(told(WARNING, name="queue"))
    failed = words(told(WARNING, name="queue"), told(FAILURE, name="schedd"))
    assert "failed (schedd)" in failed and "next:" not in failed and "submitted" not in failed
    (tmp_path / "sweep.yaml").touch()
    assert "next: osgbatch plan sweep.yaml" in words()
    alone = doctor_view.last_words(here_at(tmp_path), [])
    assert next(alone) == "Sweeps run on this machine alone, since there is no HTCondor here."


@pytest.mark.parametrize("width", [60, 80, 120])
def test_lines_fit_and_reasons_are_told_once(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    long = "a/very/long/path" * 20 + " and words" * 20 + "\x1b[31m\nnew line"
    view = doctor_view.Text(here_at(tmp_path))
    found = [
        Told(Check("first", MACHINE, "", lambda here: ok("")), failure(long, f"Do.\n{long}"), 0),
        *[
            Told(Check(name, STASH, "", lambda here: ok("")),
                 Found(SKIPPED, "there is no stash", data={"needs": "stash"}), 0)
            for name in ("room", "client")
        ],
        Told(Check("third", STASH, "", lambda here: ok("")), warning("odd", "Mend it."), 0),
    ]  # fmt: skip
    for one in found:
        view.tell(one)
    view.end(found)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    assert "  FAILURE  first" in "\n".join(lines)
    assert "\x1b" not in "".join(lines)
    assert [line for line in lines if "no stash" in line] == [
        "  skipped  room, client: there is no stash"
    ]
    assert "1 warning, 1 failure, 2 skipped" in lines


# --- nothing stops it -----------------------------------------------------------------------------


def test_a_check_that_hangs_ends_with_all_that_it_started(tmp_path: Path) -> None:
    def look() -> Found:
        child = subprocess.Popen(["sleep", "600"])
        (tmp_path / "pid").write_text(str(child.pid))
        child.wait()
        return ok("")

    began = time.monotonic()
    found = bounded(look, 1.0)
    assert time.monotonic() - began < 10
    assert (found.state, found.what) == (FAILURE, "no answer within 1 s")
    with pytest.raises(ProcessLookupError):
        _wait_for_end(int((tmp_path / "pid").read_text()))


def _wait_for_end(pid: int) -> None:
    """Raises ProcessLookupError once the process has gone, or is only waited for by nobody."""
    for _ in range(100):
        os.kill(pid, 0)
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        if stat[0] == "Z":
            raise ProcessLookupError
        time.sleep(0.05)


def test_a_check_that_crashes_is_a_failure_with_its_words() -> None:
    def raising(error: Exception) -> Found:
        raise error

    def killed() -> Found:
        os.kill(os.getpid(), signal.SIGTERM)
        return ok("")

    assert bounded(killed, 5).what == "the check ended with signal 15"
    found = bounded(partial(raising, ZeroDivisionError("by nothing")), 5)
    assert (found.state, found.what) == (
        FAILURE, "the check itself failed: ZeroDivisionError: by nothing",
    )  # fmt: skip
    found = bounded(partial(raising, CondorError("no", where="there", fix="Mend it.")), 5)
    assert (found.what, found.fix) == ("there: no", "Mend it.")
    assert "No space" in bounded(partial(raising, OSError(28, "No space left", "f")), 5).what
    big = "x" * 300_000
    assert bounded(lambda: ok(big), 5).what == big
    assert bounded(lambda: ok("print"), 5) == Found(OK, "print")


def test_others_go_on_and_what_needs_a_failed_one_is_skipped(tmp_path: Path) -> None:
    def boom(here: Here) -> Found:
        raise ValueError("boom")

    every = [
        Check("a", MACHINE, "", boom),
        Check("b", MACHINE, "", lambda here: ok("b"), needs=["a"]),
        Check("c", MACHINE, "", lambda here: ok("c"), needs=["b"]),
        Check("d", MACHINE, "", lambda here: ok("d")),
    ]
    heard: list[str] = []
    found = examine(here_at(tmp_path), lambda one: heard.append(one.check.name), every)
    assert heard == ["a", "b", "c", "d"]
    assert [one.found.state for one in found] == [FAILURE, SKIPPED, SKIPPED, OK]
    assert found[1].found.what == found[2].found.what == 'not looked at, for "a" failed'


# --- without HTCondor -----------------------------------------------------------------------------


def test_a_laptop_without_anything_is_fine_and_is_told_so(tmp_path: Path) -> None:
    code, found = doctor(tmp_path, PATH="/nowhere")
    assert code == exits.OK, [one for one in found.values() if one["state"] == FAILURE]
    assert found["commands"]["state"] == SKIPPED
    assert "local runner" in found["commands"]["what"]
    assert "access point" in found["commands"]["fix"]
    assert found["queue"]["what"] == "there is no HTCondor here"
    assert found["stash"]["what"].startswith("no stash is configured")
    assert found["round trip"]["state"] == SKIPPED
    assert [path.name for path in tmp_path.iterdir()] == []  # nothing is made, no cache either


def test_htcondor_that_is_configured_and_not_on_path_is_a_failure(tmp_path: Path) -> None:
    code, found = doctor(tmp_path, PATH="/nowhere", CONDOR_CONFIG="/dev/null")
    assert code == exits.HTCONDOR
    assert "not on PATH" in found["commands"]["what"]
    assert found["schedd"]["what"] == 'not looked at, for "commands" failed'


def test_a_broken_config_is_told_with_its_line_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "conf"))
    (tmp_path / "conf/osgbatch").mkdir(parents=True)
    (tmp_path / "conf/osgbatch/config.yaml").write_text("profile: opsool\n")
    code, found = doctor(tmp_path)
    assert code == exits.SOME_FAILED
    assert "config.yaml:1:10: unknown profile" in found["settings"]["what"]
    assert found["python"]["state"] == OK
    (tmp_path / "conf/osgbatch/config.yaml").write_text("resources: {memory: 3}\nprofile: chtc\n")
    here = look_around(tmp_path)
    assert (here.profile.facts.name, here.job.memory_mb) == ("chtc", 1024)
    found_settings = machine.settings(here)
    assert "config.yaml:1:21: resources.memory" in found_settings.what
    assert "3 GB" in found_settings.what + found_settings.fix
    (tmp_path / "conf/osgbatch/config.yaml").write_text(
        f"stash: {{folder: {tmp_path}/none, url: 'file://{tmp_path}/none'}}\n"
    )
    code, found = doctor(tmp_path)
    assert code == exits.STAGING
    assert "is not there" in found["stash"]["what"]
    assert found["round trip"]["state"] == SKIPPED


def test_wrong_options_are_refused_before_anything_is_looked_at(tmp_path: Path) -> None:
    done = started.osgbatch(["doctor", "--canary", "--wait", "soon"], tmp_path, os.environ, 30)
    assert (done.returncode, done.stdout) == (exits.BAD_INPUT, "")
    assert done.stderr.startswith("osgbatch: --wait: ")
    for wait, pool_name, where in (("5", "auto", "--wait"), ("5 s", "slurm", "--pool")):
        with pytest.raises(OsgbatchError) as caught:
            canary.wait_of(wait, pool_name)
        assert caught.value.where == where
    assert canary.wait_of("2 min", "local") == 120


# --- folders and clocks ---------------------------------------------------------------------------


def test_a_full_disk_is_found_and_nothing_stops(tmp_path: Path) -> None:
    done = on_small_disk(
        tmp_path / "disk",
        200,
        'cd "$disk"; head -c 1000000 /dev/zero > full 2>/dev/null\n'
        "export HOME=$disk XDG_CACHE_HOME=$disk/c XDG_CONFIG_HOME=$disk/x\n"
        'osgbatch doctor --json; echo "$?"\n'
        'rm full; ls -A >&2',
    )  # fmt: skip
    text, code = done.stdout.strip().rsplit("\n", 1)
    found = {one["name"]: one for one in json.loads(text)["checks"]}
    assert code == "1"
    for name in ("home", "current folder", "cache"):
        assert found[name]["state"] == FAILURE, found[name]
        assert "No space left" in found[name]["what"]
    assert found["python"]["state"] == OK
    assert done.stderr.strip() == ""  # nothing was left there


@pytest.mark.skipif(bool(why_no_clock()), reason=why_no_clock())
@pytest.mark.parametrize(("ahead", "state"), [(3600, FAILURE), (-60, WARNING)])
def test_a_clock_that_is_off_is_found(tmp_path: Path, ahead: int, state: str) -> None:
    clock = Clock(tmp_path / "clock")
    clock.set(ahead)
    environment = {**os.environ, **clock.environment, "HOME": str(tmp_path)}
    code = "import json, sys, pathlib; from osgbatch.examining import folders, doctor; "
    code += "found = folders.file_clock(doctor.look_around(pathlib.Path.cwd())); "
    code += "print(json.dumps([found.state, found.what, found.data['off_s']]))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, check=True
    )
    told, what, off = json.loads(done.stdout)
    assert told == state
    assert abs(off + ahead) < 3
    assert ("behind" if ahead > 0 else "ahead of") in what


def test_rights_and_places_that_are_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    tmp_path.chmod(0o777)
    assert folders.home(here_at(tmp_path)).state == WARNING
    tmp_path.chmod(0o755)
    assert folders.home(here_at(tmp_path)).state == OK
    wants = known_profile("ospool")
    found = folders.current(here_at(tmp_path, profile=wants, condor=True))
    assert (found.state, "/home" in found.what) == (WARNING, True)
    monkeypatch.setenv("HOME", str(tmp_path / "none"))
    assert folders.home(here_at(tmp_path)).state == FAILURE
    before = os.umask(0o002)
    try:
        assert machine.umask(here_at(tmp_path)).state == OK
        os.umask(0o000)
        assert machine.umask(here_at(tmp_path)).state == WARNING
        os.umask(0o177)
        assert machine.umask(here_at(tmp_path)).state == FAILURE
    finally:
        os.umask(before)


@pytest.mark.parametrize(
    ("off", "state"), [(0, OK), (5, OK), (-6, WARNING), (299, WARNING), (-301, FAILURE)]
)
def test_how_far_a_clock_may_be_off(off: float, state: str) -> None:
    assert folders.clock_found(off, "it").state == state


# --- HTCondor -------------------------------------------------------------------------------------


def test_projects_of_a_map() -> None:
    text = '# comment\n* alicia Wrong\n* alice P1,P2\n* "bob" P3\n* /^carol$/ P4\n*\n* dan\n'
    assert pool.projects_in(text, "alice") == ["P1", "P2"]
    assert pool.projects_in(text, "bob") == ["P3"]
    assert pool.projects_in(text, "carol") == ["P4"]
    assert pool.projects_in(text, "dan") == pool.projects_in(text, "ali") == []
    text = "* /^(a|b)x$/ P_\\1\n* /.*@x\\/y/ P6\n* /.*/ everyone\n* zoe P7\n"
    assert pool.projects_in(text, "ax") == ["P_a"]
    assert pool.projects_in(text, "zoe") == ["everyone"]
    assert pool.projects_in(r"* /(?|a)(/ P" + "\n* zoe P", "zoe") is None


def test_the_users_project_is_looked_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_user", lambda: "alice")
    where = replace(known_profile("ospool"), projects=str(tmp_path / "map"))
    here = here_at(tmp_path, profile=where)
    assert pool.project(here).state == SKIPPED
    (tmp_path / "map").write_text("* bob P\n")
    assert pool.project(here).state == WARNING
    (tmp_path / "map").write_text("* alice P\n")
    assert pool.project(here) == ok("P", projects=["P"])
    assert pool.project(replace(here, project="P")).state == OK
    wrong = pool.project(replace(here, project="Q"))
    assert (wrong.state, wrong.fix) == (WARNING, "Yours are: P.")
    assert pool.project(here_at(tmp_path)).state == SKIPPED


def test_limits_that_are_expressions_or_no_numbers_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examined, "setting", lambda name: "nonsense(" if "INPUT" in name else "")
    found = pool.transfers(here_at(tmp_path))
    assert found.state == WARNING
    assert "MAX_TRANSFER_INPUT_MB is nonsense(" in found.what
    pytest.importorskip("classad2")
    monkeypatch.setattr(examined, "setting", lambda name: "250 * 2" if "INPUT" in name else "-1")
    found = pool.transfers(here_at(tmp_path))
    assert (found.state, found.data) == (OK, {"MAX_TRANSFER_INPUT_MB": 500})


def test_a_limit_of_file_sizes_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.resource, "getrlimit", lambda kind: (2 * 1024**3, -1))
    assert "up to 2 GB" in machine.limits(here_at(tmp_path)).what


def test_a_faulty_configuration_is_not_to_be_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise CondorError("condor_q failed (exit code 1): Configuration Error Line 3")

    monkeypatch.setattr(pool, "check_alive", refuse)
    found = pool.schedd(here_at(tmp_path))
    assert found.state == FAILURE
    assert "Try again" not in found.fix


def test_htcondors_advice_to_administrators_is_left_out() -> None:
    text = "condor_q failed (exit code 1): Error: \nclosed\n\nExtra Info: You probably saw this"
    assert pool.first_words(text) == "condor_q failed (exit code 1): Error: closed"
    assert pool.first_words("one Extra Info: two") == "one"


def test_what_versions_lack() -> None:
    assert examined.lacking((25, 14, 1)) == []
    assert [text for text in examined.lacking((23, 9, 6)) if "retry_request_memory" in text]
    assert len(examined.lacking((23, 0))) == len(examined.LACKS)


# --- the stash ------------------------------------------------------------------------------------


class Server(http.server.SimpleHTTPRequestHandler):
    """Serves a folder; files are damaged on the way where the server says so."""

    def copyfile(self, source: Any, outputfile: Any) -> None:
        """One byte is another one."""
        content = source.read()
        if getattr(self.server, "damages", False):
            content = b"?" + content[1:]
        outputfile.write(content)

    def log_message(self, *words: Any) -> None:
        """Nothing is printed."""


@contextmanager
def serving(folder: Path, *, damages: bool = False) -> Iterator[str]:
    """A web server of a folder; its URL."""
    handler = partial(Server, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.damages = damages  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def stash_at(folder: Path, url: str) -> Here:
    """With a stash that is a folder."""
    folder.mkdir(exist_ok=True)
    return here_at(folder.parent, stash=Stash("folder", url, str(folder)))


def test_a_file_goes_to_the_stash_and_back(tmp_path: Path) -> None:
    with serving(tmp_path / "stash") as url:
        here = stash_at(tmp_path / "stash", url)
        found = stash.round_trip(here)
        assert (found.state, found.what) == (
            OK, "a small file went there and came back by its URL, and was removed",
        )  # fmt: skip
        stash.tidy(here)
        assert stash.server_clock(here).state == OK
    assert list((tmp_path / "stash").iterdir()) == []
    here = stash_at(tmp_path / "stash", f"file://{tmp_path}/stash")
    assert stash.round_trip(here).state == OK


def test_a_stash_with_objects_keeps_them(tmp_path: Path) -> None:
    kept = tmp_path / "stash/osgbatch/ab/file"
    kept.parent.mkdir(parents=True)
    kept.write_text("x")
    here = stash_at(tmp_path / "stash", f"file://{tmp_path}/stash")
    stash.round_trip(here)
    stash.tidy(here)
    assert [path for path in (tmp_path / "stash").rglob("*") if path.is_file()] == [kept]


def test_a_url_that_serves_another_folder_is_found(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with serving(tmp_path / "other") as url:
        here = stash_at(tmp_path / "stash", url)
        found = stash.round_trip(here)
    assert found.state == FAILURE
    assert "404" in found.what
    assert "`url:`" in found.fix
    stash.tidy(here)
    assert list((tmp_path / "stash").iterdir()) == []
    found = stash.round_trip(here)  # the server has gone
    assert (found.state, "refused" in found.what) == (FAILURE, True)


def test_damage_on_the_way_is_found(tmp_path: Path) -> None:
    with serving(tmp_path / "stash", damages=True) as url:
        found = stash.round_trip(stash_at(tmp_path / "stash", url))
    assert found.state == FAILURE
    assert "gives something else" in found.what


def test_a_stash_that_cannot_be_written_to_is_a_failure(tmp_path: Path) -> None:
    here = stash_at(tmp_path / "stash", "https://example.org/s")
    (tmp_path / "stash/osgbatch").write_text("in the way")
    every = [one for one in checks() if one.name == "round trip"]
    (found,) = examine(here, lambda one: None, every)
    assert found.found.state == FAILURE
    assert "osgbatch" in found.found.what
    assert exit_code([found]) == exits.STAGING


def test_a_round_trip_that_is_killed_leaves_nothing(tmp_path: Path) -> None:
    here = stash_at(tmp_path / "stash", f"file://{tmp_path}/stash")

    def put_and_hang(here: Here) -> Found:
        wanted = stash._object(here)
        path = tmp_path / "stash/osgbatch" / wanted.name
        path.parent.mkdir(parents=True)
        path.write_bytes(stash._content(here))
        path.with_name(f".part-{wanted.sha256}.txt").write_text("part")
        time.sleep(60)
        return ok("")

    assert hashlib.sha256(stash._content(here)).hexdigest() == stash._object(here).sha256
    check = Check("x", STASH, "", put_and_hang, limit_s=0.5, after=stash.tidy)
    (found,) = examine(here, lambda one: None, [check])
    assert found.found.state == FAILURE
    assert list((tmp_path / "stash").iterdir()) == []


def test_the_pools_own_stash_is_named_with_what_else_its_pattern_means(tmp_path: Path) -> None:
    for name in ("ap20", "ap40"):
        (tmp_path / name / "data").mkdir(parents=True)
    found = Stash("folder", "osdf://{folder}", f"{tmp_path}/ap20/data")
    pools = replace(found, folder=f"{tmp_path}/*/data")
    ospool = known_profile("ospool")
    where = replace(ospool, facts=replace(ospool.facts, stash=pools))
    told = stash.stash(here_at(tmp_path, stash=found, profile=where))
    assert told.what.startswith(f"osdf://{tmp_path}/ap20/data, ")
    assert f"there is {tmp_path}/ap40/data, too" in told.what


def test_a_url_that_nothing_here_can_fetch_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    found = stash.round_trip(stash_at(tmp_path / "stash", "osdf:///ns/data"))
    assert found.state == WARNING
    assert "was not fetched" in found.what
    assert "Only jobs tell" in found.fix


# --- tools ----------------------------------------------------------------------------------------


def test_programs_that_do_not_start_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert tools.apptainer(here_at(tmp_path)).state == SKIPPED
    for name, text in (("apptainer", "#!/no/such/interpreter\n"), ("uv", "#!/bin/sh\nexit 3\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    assert "does not start" in tools.apptainer(here_at(tmp_path)).what
    (tmp_path / "apptainer").write_text("#!/bin/sh\necho 1.3\n")
    assert "only building" in tools.apptainer(here_at(tmp_path)).what
    assert "fails" in tools.pip(here_at(tmp_path)).what
    monkeypatch.setenv("OSGBATCH_CONDA", "nothing-such")
    assert tools.conda(here_at(tmp_path)).state == FAILURE
    monkeypatch.delenv("OSGBATCH_CONDA")
    assert tools.conda(here_at(tmp_path)).state == OK


# --- the canary -----------------------------------------------------------------------------------


def test_the_canary_runs_and_leaves_nothing(tmp_path: Path) -> None:
    work = tmp_path / "a 'folder' $HOME"
    work.mkdir()
    said: list[str] = []
    found = canary.run_canary(here_at(work), [], "local", 120, said.append)
    assert found.found.state == OK, (found.found, said)
    assert list(work.iterdir()) == []
    assert any(line.startswith("canary: succeeded") for line in said)


def test_no_canary_where_htcondor_has_failed(tmp_path: Path) -> None:
    before = [told(FAILURE, HTCONDOR, "schedd")]
    found = canary.run_canary(here_at(tmp_path), before, "auto", 60, print)
    assert found.found == skipped('no job was submitted, for "schedd" failed')
    assert list(tmp_path.iterdir()) == []


def test_a_canary_that_takes_too_long_is_removed(tmp_path: Path) -> None:
    found = canary.run_canary(here_at(tmp_path), [], "local", 0.0, lambda line: None)
    # Very fast machines may have ended it by then.
    assert found.found.state in (FAILURE, OK)
    assert found.found.state == OK or "has not ended within" in found.found.what
    assert list(tmp_path.iterdir()) == []


def test_what_is_examined_knows_the_access_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from osgbatch.spec import profiles

    monkeypatch.setattr(profiles, "host_names", lambda: ("ap41.uw.osg-htc.org",))
    monkeypatch.delenv("OSGBATCH_PROFILE")
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CONDOR_CONFIG", raising=False)
    here = look_around(tmp_path)
    assert here.profile.facts.name == "ospool"
    assert re.search(r"ap41\S+, an access point of Open Science Pool", here.known_host)
    assert machine.access_point(here).state == OK
    assert pool.commands(here).state == FAILURE


if __name__ == "__main__":
    page = PAGE.read_text()
    before_, _, rest = page.partition(BEGIN)
    PAGE.write_text(f"{before_}{BEGIN}\n{checks_tables()}\n\n{END}{rest.partition(END)[2]}")
