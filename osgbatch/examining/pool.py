"""Checks of HTCondor: its commands, versions and queue, the user's project, the pool's slots."""

from __future__ import annotations

import getpass
import os
import platform
import pwd
import re
import time
from pathlib import Path

from osgbatch.condor import check_alive, examined, personal, version
from osgbatch.errors import CondorError
from osgbatch.examining.check import (
    CLOCKS,
    HTCONDOR,
    Check,
    Found,
    Here,
    failure,
    ok,
    skipped,
    warning,
)
from osgbatch.examining.folders import clock_found
from osgbatch.texts import number_of, size

CONFIGURATION = Path("/etc/condor/condor_config")
SLOW_S = 3.0
"""Seconds: a schedd that takes longer for its totals is busy."""


def commands(here: Here) -> Found:
    """Whether they are on PATH."""
    missing = examined.missing_commands(examined.COMMANDS)
    if not here.condor:
        if here.known_host:
            return failure(
                "this is an access point, and HTCondor's commands are not here",
                "Start a new login shell; if they are not there either, tell the administrator.",
            )
        if CONFIGURATION.is_file():
            return failure(
                f"HTCondor is configured ({CONFIGURATION}), and condor_submit is not on PATH",
                "Set PATH to where HTCondor is installed.",
            )
        if personal.find():
            return skipped(
                "HTCondor is installed, and not set up: sweeps run by the local runner",
                "`osgbatch pool up` starts a pool of your own.",
            )
        return skipped(
            "there is no HTCondor here: sweeps run on this machine alone, by the local runner",
            "For a pool, log in to its access point and use osgbatch there.",
        )
    if len(missing) == len(examined.COMMANDS):
        return failure("HTCondor is configured, but its commands are not on PATH",
                       "Set PATH to where it is installed, or unset CONDOR_CONFIG.")  # fmt: skip
    if missing:
        return failure(f"these commands are not on PATH: {', '.join(missing)}",
                       "Ask the administrator of this access point.")  # fmt: skip
    if dag := examined.missing_commands(examined.FOR_WORKFLOWS):
        return warning(f"{' and '.join(dag)} cannot be found: workflows (`steps:`) need them",
                       "Ask the administrator of this access point.")  # fmt: skip
    return ok("all that osgbatch uses are on PATH")


def versions(here: Here) -> Found:
    """Which version, and what it lacks."""
    found = version()
    if not found:
        return warning("condor_version does not tell a version", "See `condor_version`.")
    told = f"HTCondor {_dotted(found)}"
    lacks = examined.lacking(found)
    data = {"htcondor": _dotted(found), "lacks": lacks}
    if found < examined.OLDEST_TESTED:
        return warning(f"{told} is older than any that osgbatch was tested with "
                       f"({_dotted(examined.OLDEST_TESTED)})",
                       "Try a canary: `osgbatch doctor --canary`.", **data)  # fmt: skip
    if lacks:
        return ok(f"{told}; it lacks {'; '.join(lacks)}", **data)
    return ok(told, **data)


def bindings(here: Here) -> Found:
    """Whether the Python package is there."""
    found = examined.bindings_version()
    return ok(f"the Python package htcondor {found}", bindings=found)


def schedd(here: Here) -> Found:
    """Whether it answers, and how fast."""
    began = time.monotonic()
    try:
        check_alive()
    except CondorError as error:
        said = first_words(error.what)
        if re.search(r"config", said, re.IGNORECASE):
            return failure(f"it could not be asked: {said}",
                           "HTCondor's configuration on this machine is at fault, not the schedd: "
                           "see CONDOR_CONFIG and _CONDOR_… in your environment, or tell the "
                           "administrator.")  # fmt: skip
        return failure(
            f"it does not answer: {said}",
            "Try again in some minutes. If it stays so, the administrator of this access point can "
            "start it again; jobs that run go on, and nothing is lost.",
        )
    took = time.monotonic() - began
    if took > SLOW_S:
        return warning(f"the schedd took {took:.1f} s to answer", "It is busy: be patient with it.",
                       seconds=round(took, 2))  # fmt: skip
    return ok(f"it answers, in {took:.2f} s", seconds=round(took, 2))


def queue(here: Here) -> Found:
    """The user's jobs."""
    found = examined.queue_summary(_user())
    told = (
        f"{number_of(found.jobs, 'job')} of yours: {found.idle:,} idle, {found.running:,} running"
    )
    data = {"jobs": found.jobs, "idle": found.idle, "running": found.running, "held": found.held}
    if found.held:
        codes = ", ".join(f"{code} ({count:,})" for code, count in found.reasons)
        return warning(f"{told}, {found.held:,} held; hold codes: {codes}",
                       "`osgbatch why` tells of a batch's, `condor_q -hold` of all.",
                       **data)  # fmt: skip
    many = here.profile.facts.many_jobs
    if many and found.jobs > many:
        return warning(f"{told}; {many:,} are the most that should be in the queue",
                       "Let some of them end first.", **data)  # fmt: skip
    return ok(told, **data)


def schedd_clock(here: Here) -> Found:
    """That of the schedd, against that of this machine."""
    before = time.time()
    found = examined.queue_summary(_user())
    after = time.time()
    if not found.clock:
        return skipped("the schedd does not tell its time")
    # It tells whole seconds.
    off = min(0.0, found.clock + 1 - before) + max(0.0, found.clock - after)
    return clock_found(off, "the schedd's clock")


def project(here: Here) -> Found:
    """Whether the user has one, where jobs need one."""
    if not here.profile.projects:
        return skipped(f"jobs need none in this pool (profile {here.profile.facts.name})")
    path = Path(here.profile.projects)
    try:
        text = path.read_text(errors="replace")
    except FileNotFoundError:
        return skipped(f"there is no {path} here that would tell")
    found = projects_in(text, _user())
    if found is None:
        return skipped(
            f"I cannot tell: {path} has an expression that cannot be read here",
            "Where jobs wait for ever, ask the pool's support for your project.",
        )
    if here.project:
        if here.project in found:
            return ok(f"{here.project}, as your settings say", projects=found)
        return warning(
            f"{here.project}, as your settings say, and {path} does not name it as one of yours",
            f"Yours are: {', '.join(found) or 'none'}.",
            projects=found,
        )
    if not found:
        return warning(
            f"{path} has no project of {_user()}: jobs without one never start",
            "Ask the pool's support for a project, or write `project: NAME` in your config.yaml.",
        )
    return ok(f"{', '.join(found)}", projects=found)


def projects_in(text: str, user: str) -> list[str] | None:
    """The projects of a user in a map of HTCondor: `* USER PROJECT,PROJECT`, a line for each.

    The first line that fits holds. None where a line before it has an expression of HTCondor's
    (PCRE2) that Python does not read.

    Source: HTCondor manual, "Map files": a method or *, the name, perhaps as /regular expression/,
    and what it is mapped to.
    """
    for line in text.splitlines():
        # A / inside of an expression is \\/, a " inside of quotes \\".
        found = re.match(
            r'\s*[^\s#]\S*\s+(?:/((?:\\.|[^/\\])*)/(i?)U?|"((?:\\.|[^"\\])*)"|(\S+))\s+(.+)', line
        )
        if not found:
            continue
        expression, flags, quoted, bare, mapped = found.groups()
        groups: tuple[str, ...] = ()
        if expression is None:
            if user != (quoted if bare is None else bare):
                continue
        else:
            try:
                fits = re.search(expression, user, re.IGNORECASE if flags else 0)
            except re.error:
                return None
            if not fits:
                continue
            groups = (fits[0], *(one or "" for one in fits.groups()))
        names = mapped.split("#")[0].strip().strip('"')
        for number, group in enumerate(groups):
            names = names.replace(f"\\{number}", group)
        return [name for name in re.split(r"[\s,]+", names) if name]
    return []


def slots(here: Here) -> Found:
    """How many jobs of the default size the pool would take."""
    wants = here.job
    try:
        found = examined.slots_for(wants.cpus, wants.memory_mb, wants.disk_kb, platform.machine())
    except CondorError as error:
        return failure(
            first_words(error.what),
            "Without the collector no job starts: tell the administrator, or try again later.",
        )
    data = {"slots": found.total, "fitting": found.fitting, "free": found.free}
    parts = [number_of(wants.cpus, "core"), f"{size(wants.memory_mb * 1024**2)} memory"]
    job = f"a default job ({', '.join([*parts, f'{size(wants.disk_kb * 1024)} disk'])})"
    glideins = here.profile.facts.glideins
    if not found.total:
        if glideins:
            return ok("no slots just now; here they are made when jobs wait", **data)
        return failure("the pool has no slots for this kind of machine",
                       "See `condor_status`; ask the administrator.", **data)  # fmt: skip
    if not found.fitting:
        return warning(f"none of {number_of(found.total, 'slot')} is large enough for {job}",
                       "Ask for less: `resources:` in your sweep.yaml.", **data)  # fmt: skip
    told = f"{number_of(found.total, 'slot')} would hold {found.fitting:,} of {job}; now "
    told += f"{found.free:,} more"
    if glideins:
        told += ". More slots are made when jobs wait, so this says little"
    return ok(told, **data)


def transfers(here: Here) -> Found:
    """What HTCondor here brings to a job at most."""
    told: list[str] = []
    unclear: list[str] = []
    data: dict[str, int] = {}
    for name, what in (("MAX_TRANSFER_INPUT_MB", "brought"), ("MAX_TRANSFER_OUTPUT_MB", "taken")):
        written = examined.setting(name)
        most = examined.integer(written)
        if most is None:
            unclear += [f"{name} is {written}"] if written else []
        elif most > 0:
            told.append(f"at most {most:,} MB are {what} by a job")
            data[name] = most
    if unclear:
        return warning(
            "; ".join([*told, *unclear]) + ": no number that I know, so there may be a limit",
            f"See `condor_config_val {unclear[0].split()[0]}`, or ask the administrator.", **data,
        )  # fmt: skip
    if not told:
        return ok("HTCondor sets no limit to what a job is brought, or brings back")
    return ok("; ".join(told) + "; jobs over it are held (32, 33)", **data)


def first_words(text: str) -> str:
    """What HTCondor's commands say first; the advice to administrators below it is left out."""
    said = re.split(r"\n\s*\n|Extra Info:", text.strip())[0]
    return re.sub(r"\s+", " ", said).strip()


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return getpass.getuser()


def _dotted(numbers: tuple[int, ...]) -> str:
    return ".".join(map(str, numbers))


CHECKS = (
    Check("commands", HTCONDOR, "HTCondor's commands are on PATH", commands),
    Check("version", HTCONDOR, "which HTCondor it is, and what it lacks", versions,
          needs=["commands"]),
    Check("bindings", HTCONDOR, "HTCondor's Python package can be used", bindings,
          needs=["commands"]),
    Check("schedd", HTCONDOR, "the schedd, which keeps the queue, answers", schedd,
          needs=["commands"]),
    Check("queue", HTCONDOR, "your jobs in the queue, and why some are held", queue,
          needs=["schedd", "bindings"]),
    Check("project", HTCONDOR, "you have a project, where jobs need one", project,
          needs=["commands"]),
    Check("slots", HTCONDOR, "the pool has slots that a default job fits into", slots,
          limit_s=25, needs=["bindings"]),
    Check("transfers", HTCONDOR, "how much HTCondor brings to a job and back", transfers,
          needs=["commands"]),
    Check("schedd clock", CLOCKS, "the schedd's clock agrees with this machine's", schedd_clock,
          needs=["schedd", "bindings"]),
)  # fmt: skip
