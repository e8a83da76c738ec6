"""Rules about a job's log, and about what becomes of what it prints."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from osgbatch.linting.job import Job, canonical
from osgbatch.linting.lines import Statement
from osgbatch.linting.rules import ADVICE, WARNING, Found, rule
from osgbatch.submit_language import known_command

_VARIES = re.compile(r"\$\(|\$\$|\$\w+\(")
_NUMBER = r"process|procid|jobid|row|step|item|itemindex"
"""Macros that differ from one job of a cluster to the next, as parts of a pattern."""
_CLUSTER = re.compile(r"\$\(cluster(?:id)?\)|\$ENV\([^)]*\)", re.IGNORECASE)
_CLOUDS = ("ec2", "gce", "azure", "amazon")


@rule(
    "no-log", ADVICE, "no log",
    "HTCondor writes into the log when jobs start, end, are held, and how much memory and disk "
    "they used: it is what one looks into first.",
)  # fmt: skip
def no_log(job: Job) -> Iterator[Found]:
    if job.whole and not job.sets("log"):
        yield Found(
            job.queues[0].statement.where, "no log is kept", "Add log = job_$(Cluster).log."
        )


@rule(
    "log-each", ADVICE, "a log for each job",
    "One log holds the events of a whole cluster of jobs. A log for each makes thousands of "
    "files, and nothing can watch them.",
)  # fmt: skip
def log_each(job: Job) -> Iterator[Found]:
    jobs = job.jobs()
    names = set(job.variables)
    for _ in range(3):  # macros of macros
        queued = "".join(f"|{re.escape(name)}" for name in sorted(names))
        each = rf"\$\((?:{_NUMBER}{queued})\)|\$\w+\((?:{_NUMBER}{queued})\b[^()]*\)"
        names |= {
            s.key.lower() for s in job.settings
            if not known_command(s.key) and re.search(each, s.value, re.IGNORECASE)
        }  # fmt: skip
    for statement in job.all("log"):
        if (jobs is not None and jobs < 2) or not re.search(
            each, job.filled(statement.value), re.IGNORECASE
        ):
            continue
        right = _without(statement.value, each)
        yield Found(
            statement.at, "each job writes a log of its own",
            f"Write {right}." if right and not re.search(
                each, job.filled(right), re.IGNORECASE
            ) else "Use $(Cluster) only.",
        )  # fmt: skip


def _without(value: str, each: str) -> str:
    """A log's name that has $(Cluster) instead of what is another for each job."""
    folder, slash, name = re.sub(r"\s+#.*", "", value).rpartition("/")
    if slash and not name:
        return ""
    kept = [part for part in folder.split("/") if not re.search(each, part, re.IGNORECASE)]
    if len(kept) < len(folder.split("/")) and not re.search(each, name, re.IGNORECASE):
        start, dot, suffix = name.rpartition(".")
        name = f"{start}_$(Process){dot}{suffix}" if start else f"{name}_$(Process)"
    folder, slash = "/".join(kept), slash if kept else ""
    found = re.findall(each, name, re.IGNORECASE)
    if len(found) > 2:  # a name that tells all of a job: its beginning says whose log it is
        start = re.split(each, name, maxsplit=1, flags=re.IGNORECASE)[0].rstrip("._-")
        return f"{folder}{slash}{start}_$(Cluster).log".replace("/_", "/")
    right = re.sub(rf"[._-]?(?:\bp)?(?:{each})", "", name, flags=re.IGNORECASE)
    if not _CLUSTER.search(right):
        right = re.sub(each, "$(Cluster)", name, count=1, flags=re.IGNORECASE)
        right = re.sub(rf"[._-]?(?:{each})", "", right, flags=re.IGNORECASE)
    return f"{folder}{slash}{right.lstrip('._-')}"


@rule(
    "log-shared", WARNING, "the log is the file of the output, too",
    "HTCondor writes its events into the log, and the job's output over it when the job ends: "
    "the events are lost, and what reads the log is misled.",
)  # fmt: skip
def log_shared(job: Job) -> Iterator[Found]:
    log, folder = job.get("log"), job.value("initialdir") or ""
    if log is None or not log.value:
        return
    path = posixpath.normpath(posixpath.join(folder, job.filled(log.value)))
    for statement in job.all("output", "error"):
        value = job.filled(statement.value)
        other = posixpath.normpath(posixpath.join(folder, value))
        if value and other == path and path != "/dev/null" and statement.depth == log.depth:
            suffix = "err" if canonical(statement.key) == "error" else "out"
            yield Found(
                statement.at, f"{statement.key} and {log.key} are the same file",
                f"Give it a name of its own, {statement.value.removesuffix('.log')}.{suffix} say.",
            )  # fmt: skip
            return


@rule(
    "output-shared", WARNING, "several jobs write into the same file",
    "The last job to end overwrites what the others wrote.",
)  # fmt: skip
def output_shared(job: Job) -> Iterator[Found]:
    jobs = job.jobs()
    many = jobs > 1 if jobs is not None else any(q.verb for q in job.queues)
    folder = job.get("initialdir")
    if not many or len(job.queues) > 1:
        return
    if folder and _VARIES.search(job.filled(folder.value)):
        return
    shared: list[tuple[Statement, str, str]] = []
    for statement in job.all("output", "error"):
        value = job.filled(statement.value)
        varies = _VARIES.search(_CLUSTER.sub("", value))
        if varies or value in ("", "/dev/null") or statement.depth:
            continue
        name, dot, suffix = value.rpartition(".")
        right = (
            f"{name}_$(Process).{suffix}" if dot and "/" not in suffix else f"{value}_$(Process)"
        )
        shared.append((statement, f"their {_stream(statement.key)} into {value}", right))
    if shared:
        yield Found(
            shared[0][0].at, f"all jobs write {', and '.join(what for _, what, _ in shared)}",
            f"Write {', and '.join(dict.fromkeys(right for _, _, right in shared))}.",
        )  # fmt: skip


def _stream(key: str) -> str:
    return "stderr" if key.lower().endswith(("error", "err")) else "stdout"


@rule(
    "output-none", ADVICE, "no output and no error",
    "What the job prints is lost, its error messages too.",
)  # fmt: skip
def output_none(job: Job) -> Iterator[Found]:
    resource = (job.value("grid_resource") or "").lower()
    if resource.startswith(_CLOUDS) or (job.value("universe") or "").lower() == "vm":
        return  # a machine of its own, with nobody who reads what it prints
    if job.whole and not job.sets("output", "error"):
        yield Found(
            job.queues[0].statement.where, "what the jobs print is lost",
            "Add output = $(Cluster)_$(Process).out, and error = $(Cluster)_$(Process).err.",
        )  # fmt: skip


@rule(
    "output-clash", WARNING, "a file of the job under the name of its output or error",
    "Both are brought back under one name, and one is lost: with 25.14 the job's own file.",
)  # fmt: skip
def output_clash(job: Job) -> Iterator[Found]:
    if job.sets("transfer_output_remaps", "output_destination"):
        return
    streams = {value: s for s, value in job.words("output error") if value and "/" not in value}
    for statement, value in job.words("transfer_output_files"):
        for path in value.strip('"').split(","):
            name = path.strip().rpartition("/")[2]
            if name in streams:
                yield Found(
                    statement.at, f"{path.strip()} comes back under the name of "
                    f"{streams[name].key}", "Give one of them another name.",
                )  # fmt: skip
