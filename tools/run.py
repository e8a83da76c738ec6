"""Runs what the Makefile names (lint, unit, pool, bench, demo...) and leaves no process behind.

Standard library only. Parts that mostly wait run side by side. The summary says what ran, how long,
and what this machine could not run; with CI in the environment the last counts as a failure.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path

from processes import CHECKOUT, LINGER_SECONDS, Stopped, adopt, clear_away, heed_signals, run, say

PYTHON = str(CHECKOUT / ".venv/bin/python")
POOL = [PYTHON, str(CHECKOUT / "tools/htcondor/pool.py")]
EXAMPLE = CHECKOUT / "examples" / "find_peaks"

OLD_HTCONDOR = ("--version=23.9",)
HANG_SECONDS = 240  # a test that takes longer shows where it is
TOLD_SECONDS = 60  # how often parts that run side by side say where they are
UNIT_PARTS = 6
AT_ONCE = 9  # so many of them; more would wait for each other longer than their tests do


@dataclass
class Outcome:
    """What became of one part."""

    part: str
    seconds: float = 0.0
    cpu_seconds: float = 0.0  # of the part and of all it started
    failed: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    places: list[str] = field(default_factory=list)


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


def unit(number: int) -> Callable[[Outcome], None]:
    """A part of the tests that need no pool, the first is 0."""

    def part(outcome: Outcome) -> None:
        pytest(outcome, "tests/unit", [PYTHON], files=unit_files(number))

    return part


def unit_files(number: int) -> list[str]:
    """Its files: neighbours, which share servers and environments, and of about the same size."""
    files = sorted((CHECKOUT / "tests/unit").glob("test_*.py"))
    share = sum(file.stat().st_size for file in files) / UNIT_PARTS
    found, before = [], 0
    for file in files:
        if int(before / share) == number:
            found.append(str(file.relative_to(CHECKOUT)))
        before += file.stat().st_size
    return found


def pool(outcome: Outcome) -> None:
    """The tests inside a real HTCondor whose jobs run on the machine itself."""
    in_pool(outcome, [], ["-m", "not once and not environments"])


def pool_once_to_o(outcome: Outcome) -> None:
    """Those of them marked `once`, of the files whose names begin with a to o.

    In parts of their own, since they take longer than the others.
    """
    more = ["-m", "once and not environments", "--ignore-glob=tests/pool/test_[!a-o]*"]
    in_pool(outcome, [], more)


def pool_once_from_p(outcome: Outcome) -> None:
    """Those of all other files."""
    more = ["-m", "once and not environments", "--ignore-glob=tests/pool/test_[a-o]*"]
    in_pool(outcome, [], more)


def pool_ospool(outcome: Outcome) -> None:
    """The same tests as in `pool` where jobs run in a small container, as on the OSPool."""
    in_pool(outcome, ["--ospool"], ["-m", "not once and not environments"])


def environments_plain(outcome: Outcome) -> None:
    """Those marked `environments`, where jobs run on the machine itself."""
    in_pool(outcome, [], ["-m", "environments"])


def environments_ospool(outcome: Outcome) -> None:
    """The same as on the OSPool. What one part packs the other waits for, and uses."""
    in_pool(outcome, ["--ospool"], ["-m", "environments and not once"])


def pool_old(outcome: Outcome) -> None:
    """Those marked `both_versions` inside an HTCondor that is as old as some access points'."""
    in_pool(outcome, [], ["-m", "both_versions"], OLD_HTCONDOR)


def in_pool(
    outcome: Outcome, options: list[str], more: list[str], version: Sequence[str] = ()
) -> None:
    """The tests inside a pool with these options; more: arguments of pytest.

    version: which HTCondor, as pool.py takes it.
    """
    if provided(outcome, version):
        options = [*version, *options]
        # Where the machine has no user namespaces, root's pool runs as an account that may not
        # write here, so no cache of pytest.
        python = [*POOL, "run", *options, "--", PYTHON]
        pytest(outcome, "tests/pool", python, ["-p", "no:cacheprovider", *more])


def provided(outcome: Outcome, version: Sequence[str] = ()) -> bool:
    """Whether there is an HTCondor to start: one that this machine cannot have is no failure."""
    say(f"{outcome.part}: an HTCondor (downloaded the first time, then kept)")
    words: list[str] = []
    if run([*POOL, "provide", *version], words=words) == 0:
        return True
    reason = [line for line in words if line][-1:] or ["pool.py provide failed"]
    outcome.missing.append(f"no HTCondor: {reason[0]}")
    return False


def pytest(
    outcome: Outcome,
    tests: str,
    python: list[str],
    more: Sequence[str] = (),
    files: Sequence[str] = (),
) -> None:
    """One folder of tests, or some files of it; skipped is what this machine could not run."""
    say(f"{outcome.part}: pytest {tests}")
    # A folder of our own for pytest: the account that root's pool runs as shares its name with
    # a user of this machine, and so would share /tmp/pytest-of-<name>.
    folder = Path(tempfile.mkdtemp(prefix="osgt-"))
    folder.chmod(0o1777)
    os.environ["PYTEST_DEBUG_TEMPROOT"] = str(folder)
    report = folder / "report.xml"
    try:
        options = [f"--junitxml={report}", "-o", f"faulthandler_timeout={HANG_SECONDS}"]
        code = run([*python, "-m", "pytest", *(files or [tests]), *options, *more])
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


def faults(outcome: Outcome) -> None:
    """Every fault that a batch survives, N times; with WRITE the report goes to benchmarks/.

    ONLY: words of the names of those that run.
    """
    if not provided(outcome):
        outcome.failed += outcome.missing
        return
    options = ["--times", os.environ.get("N") or "1"]
    if only := os.environ.get("ONLY"):
        options += ["--only", only]
    if os.environ.get("WRITE"):
        options += ["--report", "benchmarks/faults.json"]
    command = [*POOL, "run", "--", PYTHON, "tests/faults/repeat.py", *options]
    if run(command, seconds=None) != 0:  # fifty times take hours
        outcome.failed.append("something that must hold did not")


def docs(outcome: Outcome) -> None:
    """The documentation as a site; a link that leads nowhere is a failure."""
    say("docs: mkdocs build --strict, into build/site")
    os.environ["NO_MKDOCS_2_WARNING"] = "1"
    if run([PYTHON, "-m", "mkdocs", "build", "--strict"]) != 0:
        outcome.failed.append("mkdocs build --strict")
        return
    outcome.places.append(f"{'the documentation':18} build/site/index.html")


def screenshots(outcome: Outcome) -> None:
    """The pictures in docs/images/, of the tutorial in a real pool."""
    if provided(outcome):
        say("screenshots: the tutorial in a terminal, into docs/images")
        if run([PYTHON, "tools/screenshots.py"]) != 0:
            outcome.failed.append("tools/screenshots.py")
    else:
        outcome.failed += outcome.missing


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
    **{f"unit-{number + 1}": unit(number) for number in range(UNIT_PARTS)},
    "pool": pool,
    "pool-once-to-o": pool_once_to_o,
    "pool-once-from-p": pool_once_from_p,
    "pool-ospool": pool_ospool,
    "environments-plain": environments_plain,
    "environments-ospool": environments_ospool,
    "pool-old": pool_old,
    "faults": faults,
    "bench": bench,
    "demo": demo,
    "demo-pool": demo_pool,
    "docs": docs,
    "screenshots": screenshots,
}
TOGETHER = {
    "unit": tuple(f"unit-{number + 1}" for number in range(UNIT_PARTS)),
    "pool-once": ("pool-once-to-o", "pool-once-from-p"),
    "environments": ("environments-plain", "environments-ospool"),
}
"""Other names of several parts each: alone, one of them would be all that runs in the end."""
SIDE_BY_SIDE = (
    *TOGETHER["environments"],
    *TOGETHER["unit"],
    *TOGETHER["pool-once"],
    "pool-ospool",
    "pool",
    "pool-old",
    "lint",
)
"""Each with namespaces, ports and folders of its own; what they share in caches has locks.

What takes longest begins first; it would be all that runs in the end.
"""


def in_ci() -> bool:
    """Whether CI is set to anything that means yes."""
    return os.environ.get("CI", "").lower() not in ("", "0", "false", "no")


def summary(outcomes: list[Outcome]) -> int:
    """Print what became of each part. Returns the exit code of the whole."""
    missing = [f"{outcome.part}: {text}" for outcome in outcomes for text in outcome.missing]
    say("summary")
    for outcome in outcomes:
        word = "FAILED" if outcome.failed else "ok"
        times = f"{outcome.seconds:6.1f} s, {outcome.cpu_seconds:6.1f} s of CPU"
        told = f"{outcome.part:19} {word:6} {times}"
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


def run_part(outcome: Outcome) -> bool:
    """Run one part in this process; False when a signal has ended it."""
    began = time.monotonic()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    used_before = used.ru_utime + used.ru_stime
    stopped = False
    try:
        PARTS[outcome.part](outcome)
    except Stopped as error:
        stopped = True
        outcome.failed.append(f"stopped by {error}")
    left = clear_away(0 if stopped else LINGER_SECONDS)
    if not stopped:
        outcome.failed += [f"left a process behind: {command[:100]}" for command in left]
    outcome.seconds = time.monotonic() - began
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    outcome.cpu_seconds = used.ru_utime + used.ru_stime - used_before
    return not stopped


@dataclass
class Aside:
    """A part that runs in a process of its own, its words and its outcome going to files."""

    name: str
    folder: Path
    process: subprocess.Popen[bytes]
    began: float
    outcome: Outcome | None = None

    @classmethod
    def start(cls, name: str, folder: Path) -> Aside:
        """Start a part; folder: for its files, which is not there yet."""
        folder.mkdir()
        command = [sys.executable, str(Path(__file__).resolve()), f"--outcome={folder}/json", name]
        with (folder / "words").open("wb") as words:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=words, stderr=subprocess.STDOUT
            )
        return cls(name, folder, process, time.monotonic())

    def at(self) -> str:
        """The last line of its words: where it is."""
        text = (self.folder / "words").read_text("ascii", errors="backslashreplace")
        return (text.strip().splitlines() or ["begun"])[-1][-100:]

    def finish(self) -> None:
        """Show the words of a part that has ended, and read its outcome."""
        sys.stdout.flush()
        sys.stdout.buffer.write((self.folder / "words").read_bytes())
        sys.stdout.flush()
        try:
            self.outcome = Outcome(**json.loads((self.folder / "json").read_text()))
        except (OSError, ValueError):
            failed = [f"ended with code {self.process.returncode}"]
            self.outcome = Outcome(self.name, time.monotonic() - self.began, failed)


def run_side_by_side(names: list[str], outcomes: list[Outcome]) -> bool:
    """Run parts at the same time, and show the words of each when it ends; as run_part else."""
    names = sorted(names, key=SIDE_BY_SIDE.index)
    say(f"{', '.join(names)}: side by side; what each says is shown when it ends")
    parts: list[Aside] = []
    going: list[Aside] = []
    stopped = False
    folder = Path(tempfile.mkdtemp(prefix="osgr-"))
    folder.chmod(0o755)
    # What the tests of both pools need, and the first that does makes (test_environments.py).
    shared = folder / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    os.environ["OSGBATCH_TEST_SHARED"] = str(shared)
    try:
        rest = iter(names)

        def begin() -> None:
            for name in islice(rest, AT_ONCE - len(going)):
                parts.append(Aside.start(name, folder / name))
                going.append(parts[-1])

        watch(going, begin)
    except Stopped:
        stopped = True
        for part in going:
            part.process.terminate()
        watch(going)
    shutil.rmtree(folder, ignore_errors=True)
    outcomes += [part.outcome for part in parts if part.outcome]
    left = clear_away(0 if stopped else LINGER_SECONDS)
    if not stopped:
        outcomes[-1].failed += [f"left a process behind: {command[:100]}" for command in left]
    return not stopped


def watch(going: list[Aside], begin: Callable[[], None] = lambda: None) -> None:
    """Wait for parts; each is taken from the list when it has ended and its words are shown.

    begin: adds those that may begin now.
    """
    told = time.monotonic()
    begin()
    while going:
        time.sleep(0.2)
        for part in [part for part in going if part.process.poll() is not None]:
            part.finish()
            going.remove(part)
            begin()
        if going and time.monotonic() - told > TOLD_SECONDS:
            told = time.monotonic()
            for part in going:
                say(f"{part.name} after {told - part.began:.0f} s: {part.at()}")


def groups(names: list[str]) -> list[list[str]]:
    """The parts in order, neighbours that may run at the same time in one group."""
    found: list[list[str]] = []
    for name in names:
        if found and {name, *found[-1]} <= set(SIDE_BY_SIDE) and name not in found[-1]:
            found[-1].append(name)
        else:
            found.append([name])
    return found


def main(arguments: list[str]) -> int:
    """`run.py PART...`, in that order, all of them, also after one has failed.

    `run.py --outcome=FILE PART` runs one and writes its outcome as JSON in place of a summary.
    """
    report = ""
    if arguments and arguments[0].startswith("--outcome="):
        report = arguments.pop(0).partition("=")[2]
    arguments = [part for name in arguments for part in TOGETHER.get(name, (name,))]
    unknown = [name for name in arguments if name not in PARTS]
    if unknown or not arguments:
        print(f"usage: run.py PART..., of {', '.join([*TOGETHER, *PARTS])}", file=sys.stderr)
        return 2
    os.chdir(CHECKOUT)
    # The tests start osgbatch some thousand times: where this is set, each compiles all of it anew.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    adopt()
    heed_signals()
    outcomes: list[Outcome] = []
    for names in groups(arguments):
        if len(names) > 1:
            whole = run_side_by_side(names, outcomes)
        else:
            outcomes.append(Outcome(names[0]))
            whole = run_part(outcomes[-1])
        if not whole:
            break
    if report:
        Path(report).write_text(json.dumps(asdict(outcomes[0])))
        return 0
    code = summary(outcomes)
    return code if whole else 130


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
