"""Runs what the Makefile names (lint, unit, pool, bench, demo) and leaves no process behind.

Standard library only. Its summary says what ran, how long, and what this machine could not run;
with CI in the environment the last counts as a failure.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

CHECKOUT = Path(__file__).resolve().parent.parent
PYTHON = str(CHECKOUT / ".venv/bin/python")
POOL = [PYTHON, str(CHECKOUT / "tools/htcondor/pool.py")]
EXAMPLE = CHECKOUT / "examples" / "find_peaks"

PART_SECONDS = 900  # a part that hangs is ended, before CI ends the whole without a word
HANG_SECONDS = 240  # a test that takes longer shows where it is
GRACE_SECONDS = 60  # a pool needs some to shut down in order
LINGER_SECONDS = 10


@dataclass
class Outcome:
    """What became of one part."""

    part: str
    seconds: float = 0.0
    failed: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    places: list[str] = field(default_factory=list)


class Stopped(Exception):
    """TERM, HUP or Ctrl-C reached the driver."""


def stop(number: int, frame: FrameType | None) -> None:
    """A signal handler."""
    raise Stopped(signal.Signals(number).name)


def say(text: str) -> None:
    """One line about the step that begins."""
    print(f"=== {text}", flush=True)


# --- processes ---------------------------------------------------------------------------------


def adopt() -> None:
    """Become the parent of every orphan among our descendants.

    And be told by TERM when make is killed.
    Source: prctl(2), PR_SET_CHILD_SUBREAPER and PR_SET_PDEATHSIG.
    """
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
    ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)


def children(parent: int) -> list[int]:
    """The processes that a process is the parent of, ended ones too. Source: proc_pid_stat(5)."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text(errors="replace")
            except OSError:
                continue
            if int(stat.rpartition(")")[2].split()[1]) == parent:
                found.append(int(entry.name))
    return found


def descendants() -> dict[int, str]:
    """Our living descendants and their commands."""
    found: dict[int, str] = {}
    rest = children(os.getpid())
    while rest:
        pid = rest.pop()
        rest += children(pid)
        try:
            words = (
                Path(f"/proc/{pid}/cmdline")
                .read_bytes()
                .replace(b"\0", b" ")
                .decode(errors="replace")
            )
        except OSError:
            continue
        if words:  # a zombie has none
            found[pid] = words.strip()
    return found


def reap() -> None:
    """Collect what has ended."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def clear_away(linger: float = LINGER_SECONDS) -> list[str]:
    """End what a part has left running, after a time (s) to end by itself.

    Returns the commands of what did not.
    """
    left: dict[int, str] = {}
    for number, seconds in (
        (0, linger),
        (signal.SIGTERM, LINGER_SECONDS),
        (signal.SIGKILL, 5),
    ):
        now = descendants()
        if not now:
            break
        if number:
            left.update(now)
            for pid in now:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
        limit = time.monotonic() + seconds
        while descendants() and time.monotonic() < limit:
            reap()
            time.sleep(0.1)
    reap()
    return sorted(set(left.values()))


def run(command: list[str], folder: Path = CHECKOUT, words: list[str] | None = None) -> int:
    """Run a command to its end, its words going where ours go.

    words: receives the lines of its stderr, which are shown all the same.
    Returns its exit code, 124 when it took more than PART_SECONDS.
    """
    process = subprocess.Popen(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stderr=None if words is None else subprocess.PIPE,
        text=True,
        errors="replace",
    )
    try:
        if words is not None and process.stderr is not None:
            for line in process.stderr:
                words.append(line.strip())
                print(line, end="", file=sys.stderr, flush=True)
        return process.wait(timeout=PART_SECONDS)
    except subprocess.TimeoutExpired:
        say(f"ended after {PART_SECONDS} s: {' '.join(command)}")
        return 124
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout=GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


# --- parts -------------------------------------------------------------------------------------


def lint(outcome: Outcome) -> None:
    """Format, lint and types; all three, so that one run tells everything."""
    for name, arguments in (
        ("ruff format --check", ["ruff", "format", "--check", "--quiet", "--diff", "."]),
        ("ruff check", ["ruff", "check", "--quiet", "."]),
        ("mypy --strict", ["mypy", "--strict"]),
    ):
        say(f"lint: {name}")
        if run([PYTHON, "-m", *arguments]) != 0:
            outcome.failed.append(name)


def unit(outcome: Outcome) -> None:
    """The tests that need no pool."""
    pytest(outcome, [PYTHON])


def pool(outcome: Outcome) -> None:
    """The tests inside a real HTCondor."""
    if provided(outcome):
        # Where the machine has no user namespaces, root's pool runs as an account that may not
        # write here, so no cache of pytest.
        pytest(outcome, [*POOL, "run", "--", PYTHON], ["-p", "no:cacheprovider"])


def provided(outcome: Outcome) -> bool:
    """Whether there is an HTCondor to start: one that this machine cannot have is no failure."""
    say(f"{outcome.part}: an HTCondor (downloaded the first time, then kept)")
    words: list[str] = []
    if run([*POOL, "provide"], words=words) == 0:
        return True
    reason = [line for line in words if line][-1:] or ["pool.py provide failed"]
    outcome.missing.append(f"no HTCondor: {reason[0]}")
    return False


def pytest(outcome: Outcome, python: list[str], more: list[str] | None = None) -> None:
    """One folder of tests; what pytest skipped is what this machine could not run."""
    tests = f"tests/{outcome.part}"
    say(f"{outcome.part}: pytest {tests}")
    # A folder of our own for pytest: the account that root's pool runs as shares its name with
    # a user of this machine, and so would share /tmp/pytest-of-<name>.
    folder = Path(tempfile.mkdtemp(prefix="osgt-"))
    folder.chmod(0o1777)
    os.environ["PYTEST_DEBUG_TEMPROOT"] = str(folder)
    report = folder / "report.xml"
    try:
        options = [f"--junitxml={report}", "-o", f"faulthandler_timeout={HANG_SECONDS}"]
        code = run([*python, "-m", "pytest", tests, *options, *(more or [])])
        if report.exists():
            outcome.missing += skipped(report)
        elif code == 0:
            outcome.failed.append("pytest left no report")
        if code != 0:
            outcome.failed.append("no tests were found" if code == 5 else f"exit code {code}")
    finally:
        if outcome.failed:
            say(f"{outcome.part}: the tests' files are kept in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def skipped(report: Path) -> list[str]:
    """What a report of pytest says was skipped, with the reason."""
    told = []
    for case in ET.parse(report).iter("testcase"):
        for skip in case.iter("skipped"):
            if skip.get("type") != "pytest.xfail":
                told.append(f"{case.get('name')}: {skip.get('message')}")
    return told


def bench(outcome: Outcome) -> None:
    """Every measurement in benchmarks/, inside a pool of its own; measure.py is what they share."""
    if not provided(outcome):
        outcome.failed += outcome.missing
        return
    for script in sorted((CHECKOUT / "benchmarks").glob("*.py")):
        if script.name != "measure.py":
            say(f"bench: {script.name}")
            if run([*POOL, "run", "--", PYTHON, f"benchmarks/{script.name}"]) != 0:
                outcome.failed.append(script.name)


def demo(outcome: Outcome) -> None:
    """The example sweep on the embedded local runner."""
    sweep(outcome, [], "local")


def demo_pool(outcome: Outcome) -> None:
    """The example sweep on a real HTCondor."""
    if provided(outcome):
        sweep(outcome, [*POOL, "run", "--"], "condor")
    else:
        outcome.failed += outcome.missing


def sweep(outcome: Outcome, before: list[str], where: str) -> None:
    """Submit the example, wait for its results, and say where they are."""
    batches = EXAMPLE / "batches"
    earlier = set(batches.glob("*"))
    command = ["submit", "sweep.yaml", "--pool", where, "--watch"]
    say(f"{outcome.part}: in {EXAMPLE.relative_to(CHECKOUT)}, osgbatch {' '.join(command)}")
    code = run([*before, PYTHON, "-m", "osgbatch", *command], EXAMPLE)
    if code != 0:
        outcome.failed.append(f"osgbatch submit exited with {code}")
        return
    made = sorted(set(batches.glob("*")) - earlier)
    if not made:
        outcome.failed.append("osgbatch submit left no batch")
    for batch in made:
        for what, name in (
            ("the picture", "peaks.png"),
            ("the peaks", "peaks.csv"),
            ("one row per task", "results.csv"),
        ):
            place = (batch / "results" / name).relative_to(CHECKOUT)
            if place.exists():
                outcome.places.append(f"{what:18} {place}")
            else:
                outcome.failed.append(f"{place} is not there")


PARTS = {
    "lint": lint,
    "unit": unit,
    "pool": pool,
    "bench": bench,
    "demo": demo,
    "demo-pool": demo_pool,
}


def in_ci() -> bool:
    """Whether CI is set to anything that means yes."""
    return os.environ.get("CI", "").lower() not in ("", "0", "false", "no")


def summary(outcomes: list[Outcome]) -> int:
    """Print what became of each part. Returns the exit code of the whole."""
    missing = [f"{outcome.part}: {text}" for outcome in outcomes for text in outcome.missing]
    say("summary")
    for outcome in outcomes:
        word = "FAILED" if outcome.failed else "ok"
        told = f"{outcome.part:10} {word:6} {outcome.seconds:6.1f} s"
        print("; ".join([told, *outcome.failed]))
    if missing:
        print(f"not run here ({len(missing)}{', a failure because CI is set' if in_ci() else ''}):")
        for text in missing:
            print(f"  {text}")
    for outcome in outcomes:
        for text in outcome.places:
            print(text)
    sys.stdout.flush()
    return 1 if any(outcome.failed for outcome in outcomes) or (missing and in_ci()) else 0


def main(arguments: list[str]) -> int:
    """`run.py PART...`, in that order, all of them, also after one has failed."""
    unknown = [name for name in arguments if name not in PARTS]
    if unknown or not arguments:
        print(f"usage: run.py PART..., of {', '.join(PARTS)}", file=sys.stderr)
        return 2
    os.chdir(CHECKOUT)
    adopt()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, stop)
    outcomes: list[Outcome] = []
    for name in arguments:
        outcome = Outcome(name)
        outcomes.append(outcome)
        began = time.monotonic()
        stopped = False
        try:
            PARTS[name](outcome)
        except Stopped as error:
            stopped = True
            outcome.failed.append(f"stopped by {error}")
        left = clear_away(0 if stopped else LINGER_SECONDS)
        if not stopped:
            outcome.failed += [f"left a process behind: {command[:100]}" for command in left]
        outcome.seconds = time.monotonic() - began
        if stopped:
            summary(outcomes)
            return 130
    return summary(outcomes)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
