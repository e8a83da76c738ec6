"""Rules about what a job asks for, writes, and does when something goes wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator

from osgbatch.linting.job import Job
from osgbatch.linting.lines import Statement
from osgbatch.linting.rules import ADVICE, ERROR, WARNING, Edit, Found, replaced, rule
from osgbatch.linting.rules_classads import has_attribute
from osgbatch.linting.rules_names import meant

_NO_SLOT = ("local", "scheduler", "grid", "7", "9", "12")
"""Universes whose jobs need no slot."""
_SIZE = re.compile(r"(\d+(?:\.\d*)?)\s*([kmgtKMGT]?)[bB]?")
_POWER = {"k": 0.0, "m": 1.0, "g": 2.0, "t": 3.0}
_BARE = re.compile(r"\d+")


def megabytes(value: str, bare: str) -> float | None:
    """A size in MB; None when it is an expression. bare: the unit of a number without one."""
    found = _SIZE.fullmatch(value.strip())
    if not found:
        return None
    return float(found[1]) * float(1024 ** (_POWER[(found[2] or bare).lower()] - 1))


@rule(
    "request-missing", WARNING, "request_cpus, request_memory or request_disk is not set",
    "Without them a job gets what the pool gives by default: one core, often 128 MB of memory, "
    "and 1 GB of disk or what its inputs need. It is held when it needs more.",
)  # fmt: skip
def request_missing(job: Job) -> Iterator[Found]:
    if not job.whole or (job.value("universe") or "").lower() in _NO_SLOT:
        return
    examples = {"request_cpus": "1", "request_memory": "1GB", "request_disk": "1GB"}
    misspelt = {meant(s.key)[0] for s in job.settings if not job.known(s)}
    # Of `request memory = 4GB` the rule `no-statement` tells.
    odd = (re.split("[=:]", s.value)[0] for s in job.statements if s.kind == "odd")
    misspelt |= {re.sub(r"[\s-]+", "_", name.strip()).lower() for name in odd}
    missing = [
        name for name in examples
        if name not in misspelt and not job.sets(name, "+" + name.replace("_", ""))
    ]  # fmt: skip
    if job.sets("vm_memory", "noop_job"):
        return
    if missing:
        lines = ", ".join(f"{name} = {examples[name]}" for name in missing)
        # One core, and a disk of 1 GB at the least, do for many jobs; 128 MB of memory for few.
        severity = WARNING if "request_memory" in missing else ADVICE
        yield Found(
            job.queues[0].statement.where, f"{', '.join(missing)} not set",
            f"Add, with what your job needs: {lines}.", severity=severity,
        )  # fmt: skip


@rule(
    "disk-unit", WARNING, "request_disk without a unit",
    "A bare number is in KB for request_disk, though in MB for request_memory.", mends=True,
)  # fmt: skip
def disk_unit(job: Job) -> Iterator[Found]:
    for statement, value in job.words("request_disk retry_request_disk"):
        if not _BARE.fullmatch(value) or value == "0":
            continue
        size = float(value) / 1024
        small = size < 50
        says = (
            f"{value} KB"
            if size < 1
            else f"{size:,.1f} MB"
            if size < 1024
            else f"{size / 1024:,.1f} GB"
        )
        right = f"{value}KB"
        for unit, kilobytes in (("GB", 1024**2), ("MB", 1024)):
            if int(value) % kilobytes == 0:
                right = f"{int(value) // kilobytes}{unit}"
                break
        yield Found(
            statement.at, f"{statement.key} = {value} is {says}: a bare number is in KB",
            f"Write the unit: {'1GB, say' if small else right + _about(right, size)}.",
            replaced(statement, right) if not small and value == statement.value else (),
            WARNING if small else ADVICE,
        )  # fmt: skip


def _about(exact: str, megabytes: float) -> str:
    """A rounder size beside one in KB."""
    if not exact.endswith("KB"):
        return ""
    return f", or {-(-megabytes // 1024):.0f}GB" if megabytes > 800 else f", or {megabytes:.0f}MB"


@rule(
    "memory-unit", WARNING, "a small request_memory without a unit",
    "A bare number is in MB, and few programs run in so little: the job is held then.",
)  # fmt: skip
def memory_unit(job: Job) -> Iterator[Found]:
    for statement, value in job.words("request_memory gpus_minimum_memory"):
        if not _BARE.fullmatch(value) or value == "0":
            continue
        if int(value) <= 64:
            yield Found(
                statement.at, f"{statement.key} = {value} is {value} MB",
                f"Write {value}GB, if that was meant, or {value}MB.",
            )  # fmt: skip


_OF_MACHINE = re.compile(r"(?:Total|Detected|Slot|My)\w*|Cpus|Memory|Disk|GPUs", re.IGNORECASE)


@rule(
    "request-word", WARNING, "a word where an amount must stand",
    "A word is the name of an attribute. The job has none of this name, so the amount is undefined "
    "and the job matches no slot.", mends=True,
)  # fmt: skip
def request_word(job: Job) -> Iterator[Found]:
    for statement, value in job.words("request_cpus request_memory request_disk request_gpus"):
        if not re.fullmatch(r"[A-Za-z_]\w*", value) or value.lower() in (
            "true",
            "false",
            "undefined",
        ):
            continue
        if has_attribute(job, value) or _OF_MACHINE.fullmatch(value):
            continue
        macro = value.lower() in job.named
        yield Found(
            statement.at, f"{value} is the name of an attribute, which the job does not have",
            f"Write $({value})." if macro else "Write a number, and a unit for memory and disk.",
            replaced(statement, f"$({value})") if macro and value == statement.value else (),
        )  # fmt: skip


@rule(
    "request-large", ADVICE, "more cores, memory or disk than most slots have",
    "On the OSPool jobs with less than 8 cores, 40 GB of memory and 10 GB of files start soon; "
    "others wait long. (Its page on what fits.)",
)  # fmt: skip
def request_large(job: Job) -> Iterator[Found]:
    for statement, value in job.words("request_cpus"):
        if _BARE.fullmatch(value) and int(value) > 16:
            yield Found(statement.at, f"{value} cores: most slots have fewer",
                        "Ask for what one job really uses.")  # fmt: skip
    for name, bare, most, most_words in (
        ("request_memory", "m", 65536, "64 GB"), ("request_disk", "k", 512000, "500 GB"),
    ):  # fmt: skip
        for statement, value in job.words(name):
            size = megabytes(value, bare)
            if size is not None and size > most:
                yield Found(
                    statement.at, f"{value} is more than {most_words}: few slots have that",
                    "Ask for what one job really uses: see the end of a job's log.",
                )  # fmt: skip


@rule(
    "gpus-none", WARNING, "a wish for GPUs in a job that asks for none",
    "Without request_gpus the job gets none, and condor_submit ignores what kind it should be.",
)  # fmt: skip
def gpus_none(job: Job) -> Iterator[Found]:
    zero = job.value("request_gpus") == "0"
    if not job.whole or (job.sets("request_gpus") and not zero):
        return
    for statement in job.all(
        "gpus_minimum_memory", "gpus_minimum_capability", "gpus_maximum_capability",
        "gpus_minimum_runtime", "require_gpus",
    )[:1]:  # fmt: skip
        yield Found(
            statement.where,
            f"{statement.key} with request_gpus = 0"
            if zero
            else f"{statement.key} without request_gpus",
            "Write request_gpus = 1, or leave this out." if zero else "Add request_gpus = 1.",
        )


@rule(
    "memory-steps", ERROR, "retry_request_memory that does not grow",
    "Each step must be larger than the one before; condor_submit 25 refuses it else.",
)  # fmt: skip
def memory_steps(job: Job) -> Iterator[Found]:
    for statement, value in job.words("retry_request_memory"):
        steps = [megabytes(part, "m") for part in value.split(",")]
        known = [step for step in steps if step is not None]
        if len(known) == len(steps) and known != sorted(set(known)):
            yield Found(statement.at, "the steps do not grow", "Write 4GB, 8GB, 16GB, say.")
        first = megabytes(job.value("request_memory") or "", "m")
        if first and known and known[0] <= first:
            yield Found(
                statement.at, f"the first step ({value.split(',')[0]}) is not above request_memory",
                "Begin with more than request_memory.", severity=WARNING,
            )  # fmt: skip


@rule(
    "mail", ADVICE, "a mail for each job",
    "One mail for each job that ends: thousands of them, for a large batch.",
)  # fmt: skip
def mail(job: Job) -> Iterator[Found]:
    jobs = job.jobs()
    for statement, value in job.words("notification"):
        if value.lower() in ("always", "complete") and (jobs is None or jobs >= 10):
            yield Found(statement.at, f"{value}: a mail for each job", "Write Error, or Never.")


@rule(
    "getenv", ADVICE, "the whole environment is sent along",
    "Variables of the access point (PATH, PYTHONPATH, LD_LIBRARY_PATH) are wrong elsewhere and "
    "break jobs in odd ways; large ones burden the schedd, which may refuse them (from 25.7).",
)  # fmt: skip
def getenv(job: Job) -> Iterator[Found]:
    if (job.value("universe") or "").lower() in ("local", "scheduler"):
        return
    for statement, value in job.words("getenv"):
        if value.lower() in ("true", "yes", "t", "y", "1", "*"):
            yield Found(
                statement.at, "all variables of your shell are sent to the job",
                'Name those that it needs: getenv = NAME, or environment = "NAME=value".',
            )  # fmt: skip


@rule(
    "release-forever", WARNING, "held jobs are released without an end",
    "A job that fails for a lasting reason is started for ever, and takes slots from others.",
)  # fmt: skip
def release_forever(job: Job) -> Iterator[Found]:
    for statement, value in job.words("periodic_release"):
        plain = value.strip("() ").lower()
        # `HoldReasonCode != 1` leaves out the user's own holds: all others come back for ever.
        bounds = re.sub(r"HoldReason(Sub)?Code\s*(=!=|!=)\s*\d+", "", value, flags=re.IGNORECASE)
        counts = re.search(r"Num\w+|JobRunCount|Code|SubCode|Count|Reason", bounds, re.IGNORECASE)
        if plain in ("true", "1") or (
            not counts and plain not in ("false", "0", "", "undefined") and "time" in plain
        ):
            yield Found(
                statement.at, "held jobs are released again and again",
                "Write periodic_release = (NumJobStarts < 3) && "
                "(time() - EnteredCurrentStatus > 600).",
            )  # fmt: skip


@rule(
    "current-time", ADVICE, "CurrentTime",
    "The attribute CurrentTime is going away; the function time() is the same.", mends=True,
)  # fmt: skip
def current_time(job: Job) -> Iterator[Found]:
    edits: list[Edit] = []
    places: list[Statement] = []
    for statement in job.settings:
        start, end = statement.whole
        text = job.text.text[start:end]
        found = list(re.finditer(r"(?<![\w.\"])CurrentTime\b(?!\s*\()", text, re.IGNORECASE))
        if found and statement.where.start >= 0 and job.known(statement):
            edits += [Edit(start + m.start(), start + m.end(), "time()") for m in found]
            places.append(statement)
    if places:
        also = ", ".join(str(s.where.line) for s in places[1:])
        also = f" (also on line{'s' * (len(places) > 2)} {also})" if also else ""
        yield Found(places[0].at, f"CurrentTime is going away{also}", "Write time().", tuple(edits))


@rule(
    "retries-default", ADVICE, "success_exit_code or retry_until without max_retries",
    "Either of them switches retries on: a failing job silently runs three times "
    "(DEFAULT_JOB_MAX_RETRIES is 2).",
)  # fmt: skip
def retries_default(job: Job) -> Iterator[Found]:
    if job.sets("max_retries"):
        return
    for statement in job.all("success_exit_code", "retry_until")[:1]:
        yield Found(
            statement.where, f"{statement.key} without max_retries: failing jobs run three times",
            "Write max_retries = 0, or how often a job may be tried again.",
        )  # fmt: skip


@rule(
    "on-success", WARNING, "when_to_transfer_output = ON_SUCCESS without success_exit_code",
    "The manual asks for success_exit_code with it, even when it is 0: HTCondor cannot tell "
    "else what success is.",
)  # fmt: skip
def on_success(job: Job) -> Iterator[Found]:
    if job.sets("success_exit_code", "max_retries"):
        return
    for statement, value in job.words("when_to_transfer_output"):
        if value.upper() == "ON_SUCCESS":
            yield Found(
                statement.at, "ON_SUCCESS without success_exit_code",
                "Add success_exit_code = 0, and max_retries.",
            )  # fmt: skip


@rule(
    "hold-factory", WARNING, "hold = true with max_idle",
    "HTCondor ignores hold for jobs that it makes little by little (max_idle): they start.",
)  # fmt: skip
def hold_factory(job: Job) -> Iterator[Found]:
    for statement, value in job.words("hold"):
        if value.lower() == "true" and job.sets("max_idle", "max_materialize"):
            yield Found(statement.at, "hold is ignored with max_idle", "Leave one of them out.")


_SECRET = re.compile(
    r"(?:^|[\s;\"'?&])[\w-]*(?:passw(?:or)?d|secret|token|api_?key|access_?key|credential)[\w-]*"
    r"[=:]\s*(?![\s$/~.\"'])([^\s;\"']{6,})",
    re.IGNORECASE,
)
_KEYS = re.compile(r"\b(AKIA[0-9A-Z]{16}|gh[pousr]_\w{30,}|hf_\w{30,}|eyJ[\w-]{20,}\.[\w-]{10,})")


@rule(
    "secret", WARNING, "what looks like a password, token or key",
    "Arguments and environment are in the job's ad, which everybody who may ask the queue can "
    "read, and stay in its history.",
)  # fmt: skip
def secret(job: Job) -> Iterator[Found]:
    told = {id(statement) for statement in job.all("arguments", "environment")}
    for statement in job.settings:
        value = statement.value
        named = id(statement) in told
        if _KEYS.search(value) or (named and _SECRET.search(value)):
            yield Found(
                statement.where, f"{statement.key} holds what looks like a password or a key",
                "Keep it in a file that only you can read, or use use_oauth_services.",
            )  # fmt: skip
