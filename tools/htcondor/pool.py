#!/usr/bin/env python3
"""A real HTCondor pool to test and try things on: pool.py provide|run|up|down|status|shell."""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "stash"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import apptainer
import registered
from common import ToolError, aptget, last_lines, refuse_access_point, say, short_temp
from configuration import container_lines
from daemons import START_LIMIT, Pool, start, stop
from namespaces import best_way, inside, run_inside, run_passing
from provide import SUITES, Installation, provide

PREFIX = "osgb-"  # temporary pools: short, as paths of Unix sockets are limited
MARK = "OSGBATCH_POOL"  # set to the pool's folder for what runs in it


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code (of the command, for run and shell)."""
    options = parser().parse_args(argv)
    try:
        if options.action in (do_run, do_up):
            refuse_access_point("no pool")
        code: int = options.action(options)
        return code
    except ToolError as error:
        print(f"htcondor: {error}", file=sys.stderr)
        return 2


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="pool.py", description=__doc__)
    commands = top.add_subparsers(required=True, metavar="provide|run|up|down|status|shell")

    def add(name: str, action: object, text: str, *, command: bool = False, config: bool = False,
            folder: bool = False) -> None:  # fmt: skip
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(action=action)
        if name in ("provide", "run", "up", "hold"):
            text = "how the version starts; not given: the installed one, else the newest"
            sub.add_argument("--version", choices=[v for v in SUITES if v], default="", help=text)
        if config:
            text = "jobs run in a small container at /srv, as on the OSPool"
            sub.add_argument("--ospool", action="store_true", help=text)
            sub.add_argument("--config", action="append", default=[], metavar="LINE",
                             help="a line added to the pool's condor_config")  # fmt: skip
        if folder:
            sub.add_argument("--folder", type=Path, default=None, help="the kept pool's folder")
        if command:
            sub.add_argument("command", nargs=argparse.REMAINDER, metavar="[--] CMD…")

    add("provide", do_provide, "get HTCondor if there is none; say where it is")
    add("run", do_run, "run CMD (else a shell) in a pool of its own", command=True, config=True)
    add("up", do_up, "start a pool and keep it", config=True, folder=True)
    add("down", do_down, "stop the kept pool", folder=True)
    add("status", do_status, "say whether the kept pool is up; 0 when it is", folder=True)
    add("shell", do_shell, "run CMD (else a shell) that sees the kept pool", command=True,
        folder=True)  # fmt: skip
    add("hold", do_hold, "(what up starts in the background)", config=True, folder=True)
    return top


def do_provide(options: argparse.Namespace) -> int:
    found = get_htcondor(options.version)
    print(f"HTCondor {found.version}\nbin  {found.bin}\nsbin {found.sbin}")
    return 0


def get_htcondor(version: str = "") -> Installation:
    """Provide HTCondor where the account that will run it can read it; version: as provide has."""
    entering = os.getuid() == 0 and not inside() and aptget.ENV_CACHE not in os.environ
    if entering and not best_way().user_namespace:  # the account that root becomes sees no ~root
        os.environ[aptget.ENV_CACHE] = str(short_temp() / "osgbatch-dev-0")
    return provide(version)


def enter(htcondor: Installation, arguments: Sequence[str]) -> int:
    """Run this program again, inside."""
    env = {**os.environ, "PATH": htcondor.path()}
    python = sys.executable
    if os.getuid() == 0 and not best_way().user_namespace:
        python = shutil.which("python3", path="/usr/bin:/bin") or python  # ~root is out of reach
    return run_inside([python, str(Path(__file__).resolve()), *arguments], env)


def version_argument(version: str) -> list[str]:
    return [f"--version={version}"] if version else []


def command_of(options: argparse.Namespace) -> list[str]:
    words: list[str] = options.command
    return words[1:] if words[:1] == ["--"] else words


def config_arguments(options: argparse.Namespace) -> list[str]:
    ospool = ["--ospool"] if options.ospool else []
    return [*ospool, *(f"--config={line}" for line in options.config)]


def config_lines(options: argparse.Namespace) -> list[str]:
    """What is added to the pool's condor_config: osdf://, containers where possible, --config.

    Raises ToolError where containers are a must and cannot be had.
    """
    try:
        program = apptainer.provide()
        image = apptainer.image("bare") if options.ospool else None
    except ToolError as error:
        if options.ospool:
            raise
        say(f"this pool runs no containers, and tests of them will fail: {error}")
        return [*registered.config_lines(), *options.config]
    return [*registered.config_lines(), *container_lines(program, image), *options.config]


def do_run(options: argparse.Namespace) -> int:
    """Run a command in a pool of its own in a temporary folder; all ends with the command."""
    command = command_of(options)
    htcondor = get_htcondor(options.version)
    lines = config_lines(options)
    if not inside():
        version = version_argument(options.version)
        return enter(htcondor, ["run", *version, *config_arguments(options), "--", *command])
    # Both come to this process as well as to the command; what follows the command is to be done.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda _number, _frame: None)
    remove_stale()
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=short_temp()))
    with (folder / "new").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Only now under its name: another that starts would take an unlocked one for stale.
        (folder / "new").rename(folder / "in-use")
        try:
            pool = start_saying(htcondor, folder, lines)
            return run_in(pool, command)
        finally:
            stop(folder)
            shutil.rmtree(folder, ignore_errors=True)


def start_saying(htcondor: Installation, folder: Path, config: list[str]) -> Pool:
    began = time.monotonic()
    registered.install(folder)
    pool = start(htcondor, folder, config)
    say(f"pool of HTCondor {htcondor.version} up in {time.monotonic() - began:.1f} s: {folder}")
    return pool


def remove_stale() -> None:
    """Remove the folders of temporary pools that were killed: nobody holds their lock any more."""
    for folder in short_temp().glob(PREFIX + "????????"):
        try:
            if folder.stat().st_uid != os.getuid():
                continue
            with (folder / "in-use").open("r") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue


def run_in(pool: Pool, command: list[str]) -> int:
    """Run the command, or an interactive shell, with the pool's environment."""
    if not command:
        command = [os.environ.get("SHELL") or "/bin/sh"]
        say("a shell with this pool: try condor_status, condor_q, osgbatch; exit ends it")
    env = {**pool.environment(), MARK: str(pool.folder)}
    if "HOME" not in env:
        (pool.folder / "home").mkdir(exist_ok=True)
        env["HOME"] = str(pool.folder / "home")
    return run_passing(command, env)


def kept_folder(options: argparse.Namespace) -> Path:
    """The folder of the pool that up keeps; it must be ours."""
    folder: Path = (options.folder or short_temp() / f"osgbatch-pool-{os.getuid()}").absolute()
    if folder.exists() and folder.stat().st_uid != os.getuid():
        raise ToolError(f"{folder} belongs to another user; choose another with --folder.")
    return folder


def kept_htcondor(folder: Path) -> Installation:
    """The HTCondor of the kept pool, as `up` was told."""
    try:
        version = (folder / "version").read_text()
    except OSError:
        version = ""
    return get_htcondor(version)


def holder_pid(folder: Path) -> int | None:
    """The outermost process of the kept pool, if it is alive."""
    try:
        pid = int((folder / "holder.pid").read_text())
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return None
    return pid if b"hold" in words else None


def do_up(options: argparse.Namespace) -> int:
    """Start the kept pool in the background: a holder process whose end is the pool's end."""
    if inside():
        raise ToolError(
            "Start the kept pool from outside: what runs in here ends with this command."
        )
    htcondor = get_htcondor(options.version)
    config_lines(options)  # what takes long is done before the holder's time limit runs
    folder = kept_folder(options)
    if holder_pid(folder):
        raise ToolError(f"A pool is up in {folder} already: `down` stops it.")
    folder.mkdir(parents=True, mode=0o700, exist_ok=True)
    (folder / "ready").unlink(missing_ok=True)
    (folder / "version").write_text(options.version)
    with (folder / "holder.log").open("wb") as log:
        holder = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve()), "hold", f"--folder={folder}",
             *version_argument(options.version), *config_arguments(options)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True,
            env={**os.environ, "PATH": htcondor.path()},
        )  # fmt: skip
    (folder / "holder.pid").write_text(f"{holder.pid}\n")
    deadline = time.monotonic() + START_LIMIT + 5
    while time.monotonic() < deadline and holder.poll() is None:
        if (folder / "ready").exists():
            say(f"pool up in {folder}; `pool.py shell` opens a shell that sees it, `down` stops it")
            return 0
        time.sleep(0.1)
    holder.terminate()
    raise ToolError(f"The pool did not come up:\n{last_lines(folder / 'holder.log', 40)}")


def do_hold(options: argparse.Namespace) -> int:
    """Keep a pool running until told to stop."""
    htcondor = get_htcondor(options.version)
    lines = config_lines(options)
    folder = kept_folder(options)
    if not inside():
        version = version_argument(options.version)
        arguments = [f"--folder={folder}", *version, *config_arguments(options)]
        return enter(htcondor, ["hold", *arguments])
    enders = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
    signal.pthread_sigmask(signal.SIG_BLOCK, enders)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        start_saying(htcondor, folder, lines)
        (folder / "ready").write_text("")
        signal.sigwait(enders)
    finally:
        (folder / "ready").unlink(missing_ok=True)
        stop(folder)
    return 0


def do_down(options: argparse.Namespace) -> int:
    """Stop the kept pool."""
    folder = kept_folder(options)
    pid = holder_pid(folder)
    if pid is None:
        say(f"no pool is up in {folder}")
        return 0
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 15
    while holder_pid(folder) and time.monotonic() < deadline:
        time.sleep(0.05)
    if holder_pid(folder):
        os.kill(pid, signal.SIGKILL)
    say(f"pool in {folder} stopped")
    return 0


def do_status(options: argparse.Namespace) -> int:
    """Say whether the kept pool is up: exit code 0 when it answers, else 1."""
    folder = kept_folder(options)
    if not inside():  # root is not answered; and in here holder.pid means nothing
        if holder_pid(folder) is None:
            print(f"down: no pool in {folder}")
            return 1
        return enter(kept_htcondor(folder), ["status", f"--folder={folder}"])
    pool = Pool(folder, kept_htcondor(folder))
    slots = pool.slots()
    jobs = pool.ask("condor_q", "-allusers", "-totals").stdout.strip().splitlines()
    if not slots or not jobs:
        print(f"not answering: pool in {folder}")
        return 1
    print(f"up: CONDOR_CONFIG={pool.config}\n{len(slots)} slots\n{jobs[-1]}")
    return 0


def do_shell(options: argparse.Namespace) -> int:
    """Run a command, or a shell, that sees the kept pool and may submit to it."""
    folder = kept_folder(options)
    if not inside() and holder_pid(folder) is None:
        raise ToolError(f"No pool is up in {folder}: `pool.py up` starts it.")
    htcondor = kept_htcondor(folder)
    command = command_of(options)
    if not inside():
        return enter(htcondor, ["shell", f"--folder={folder}", "--", *command])
    return run_in(Pool(folder, htcondor), command)


if __name__ == "__main__":
    sys.exit(main())
