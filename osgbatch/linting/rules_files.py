"""Rules about the files that a job takes along, runs, and brings back."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterator

from osgbatch.linting.job import Job
from osgbatch.linting.lines import Statement
from osgbatch.linting.rules import ADVICE, ERROR, WARNING, Found, rule


def _inputs(job: Job) -> Iterator[tuple[Statement, str]]:
    """The entries of transfer_input_files that are known here."""
    for statement in job.all("transfer_input_files"):
        if not statement.depth:
            for part in job.filled(statement.value).strip('"').split(","):
                if part.strip():
                    yield statement, part.strip()


def _known(path: str) -> bool:
    """Whether a path is of this machine, and no template's; not C:\\, nor what a shell fills in."""
    other = r"\$|://|#|[*\"{}<>()\\`]|%\(|\?|^[A-Za-z]:|__\w+__|@@|@\w+@"
    return bool(path) and not re.search(other, path)


def _program(job: Job) -> tuple[Statement, str] | None:
    """The executable that is sent along, when it is known and a file of this side."""
    statement = job.get("executable")
    path = job.value("executable")
    sent = (job.value("transfer_executable") or "true").lower() in ("true", "yes", "1", "t")
    if not statement or not path or not sent or not _known(path):
        return None
    in_image = job.sets("container_image", "docker_image", "+SingularityImage")
    return None if in_image and path.startswith("/") else (statement, path)


@rule(
    "input-pattern", WARNING, "a pattern in transfer_input_files",
    "Patterns such as *.dat are not expanded there: the job is held, since there is no such file.",
)  # fmt: skip
def input_pattern(job: Job) -> Iterator[Found]:
    for statement, path in _inputs(job):
        if "*" in path and "://" not in path and "$" not in path:
            yield Found(
                statement.at, f"{path} is not expanded",
                "Name the files or their folder, or let `queue name matching` list them.",
            )  # fmt: skip
            return


@rule(
    "input-separator", WARNING, "input or output files that are separated by blanks or ;",
    "Entries of transfer_input_files and transfer_output_files are separated by commas; else they "
    "are one long name, and the job is held.",
)  # fmt: skip
def input_separator(job: Job) -> Iterator[Found]:
    for statement, path in _inputs(job):
        words = re.split(r"[\s;]+", path)
        names = [w for w in words if re.search(r"\.\w+$|/|\$\(", w)]
        if len(words) > 1 and len(names) == len(words) and job.look.kind(path) != "file":
            yield Found(statement.at, f'"{path}" is taken for one name', "Write commas between.")
            break
    for statement in job.all("transfer_output_files"):
        for path in job.filled(statement.value).strip('"').split(","):
            words = path.split()
            if len(words) > 1 and all(re.search(r"\.\w+$|/|\$\(", word) for word in words):
                yield Found(
                    statement.at, f'"{path.strip()}" is taken for one name', "Write commas between."
                )  # fmt: skip
                break


@rule(
    "input-missing", WARNING, "an input file is not there",
    "HTCondor looks for it when the job is about to start, and holds the job (hold code 13).",
)  # fmt: skip
def input_missing(job: Job) -> Iterator[Found]:
    folder = job.value("initialdir") if job.sets("initialdir") else ""
    lines = job.all("initialdir")
    if folder is None and len(lines) == 1:
        first = _of_first_job(job, lines[0])
        folder = first if first and job.look.kind(first) == "folder" else None
    # Of a folder that is not known only full paths can be looked for.
    known = folder is not None and (not folder or _known(folder))
    missing: dict[int, list[str]] = {}
    places: dict[int, Statement] = {}
    there = (job.value("transfer_input") or "").lower() == "false"  # on the execution points
    stdin = [] if there else [(s, path) for s, path in job.words("input") if path and not s.depth]
    for statement, path in [*_inputs(job), *stdin]:
        if not known and not path.startswith("/"):
            continue
        if _known(path) and job.look.kind(posixpath.join(folder or "", path)) == "none":
            missing.setdefault(id(statement), []).append(path)
            places[id(statement)] = statement
    for key, paths in missing.items():
        more = f" and {len(paths) - 2} more" if len(paths) > 2 else ""
        are = "is" if len(paths) == 1 else "are"
        yield Found(
            places[key].at, f"{', '.join(paths[:2])}{more} {are} not there (yet)",
            "Bring it there before the jobs start, or correct the name." if len(paths) == 1
            else "Bring them there before the jobs start, or correct the names.",
        )  # fmt: skip


@rule(
    "proxy-missing", WARNING, "the proxy is not there",
    "condor_submit reads the file that x509userproxy names, and refuses without it.",
)  # fmt: skip
def proxy_missing(job: Job) -> Iterator[Found]:
    for statement, path in job.words("x509userproxy"):
        if _known(path) and job.look.kind(path) == "none":
            yield Found(
                statement.at, f"{path} is not there (yet)",
                "Run voms-proxy-init before you submit; x509userproxy = $ENV(X509_USER_PROXY) "
                "names the file that it made.",
            )  # fmt: skip


@rule(
    "input-same-name", WARNING, "two input files of the same name",
    "All inputs arrive in one folder under their last names: the later one silently wins.",
)  # fmt: skip
def input_same_name(job: Job) -> Iterator[Found]:
    if (job.value("preserve_relative_paths") or "").lower() in ("true", "yes", "1"):
        return
    seen: dict[tuple[int, str], str] = {}
    for statement, path in _inputs(job):
        if path.endswith("/") or "?" in path:
            continue
        name = path.rpartition("/")[2]
        other = seen.setdefault((id(statement), name), path)
        if other != path and not name.startswith("$"):
            yield Found(
                statement.at, f"{other} and {path} arrive under the same name",
                "Rename one, or add preserve_relative_paths = true.",
            )  # fmt: skip


@rule(
    "executable-missing", WARNING, "the executable is not there",
    "condor_submit refuses the file until it is there. What lies on the execution point or in "
    "an image needs transfer_executable = false.",
)  # fmt: skip
def executable_missing(job: Job) -> Iterator[Found]:
    program = _program(job)
    if program and job.look.kind(program[1]) == "none":
        what, fix = _not_there(job, program[1])
        if (job.value("universe") or "").lower() in ("scheduler", "local"):
            fix = "Correct the name: such a job runs on the access point itself."
        yield Found(program[0].at, what, fix)


_INTERPRETERS = re.compile(r"python[23.]*|bash|sh|perl|Rscript|R|julia")


def _not_there(job: Job, path: str) -> tuple[str, str]:
    """What is wrong with an executable that is not there, and what to write."""
    name, _, rest = path.partition(" ")
    if rest and job.look.kind(name) == "file":
        fix = f"Write executable = {name}, and arguments = {rest.strip()}."
        return "an executable is one file, without arguments", fix
    if rest and _INTERPRETERS.fullmatch(name):
        runs = {"python": "python3", "R": "Rscript"}.get(name, name)
        script = rest.split()[0]
        fix = f"Write executable = {script}, with #!/usr/bin/env {runs} in its first line."
        return "an executable is one file, without arguments", fix
    if re.match(r"/(?:usr/)?(?:local/)?s?bin/|/opt/|/cvmfs/", path):
        fix = "Add transfer_executable = false, if it is a program of the execution point."
        return f"{path} is not there", fix
    return f"{path} is not there (yet)", "Bring it there before you submit, or correct the name."


@rule(
    "executable-script", WARNING, "an executable that cannot be started",
    "A script's first line says what runs it; without it, or with Windows line ends, the job is "
    "held or fails at its start (hold code 6).",
)  # fmt: skip
def executable_script(job: Job) -> Iterator[Found]:
    program = _program(job)
    if not program or job.look.kind(program[1]) != "file":
        return
    if (job.value("universe") or "").lower() in ("java", "vm"):
        return
    statement, path = program
    head = job.look.head(path)
    if not head:
        yield Found(statement.at, f"{path} is empty", "Write the program.", severity=ERROR)
        return
    if head.startswith(b"#!") and head.partition(b"\n")[0].endswith(b"\r"):
        yield Found(
            statement.at, f"{path} has Windows line ends, which condor_submit refuses",
            f"Run dos2unix {path}.", severity=ERROR,
        )  # fmt: skip
    elif not head.startswith((b"#!", b"\x7fELF", b"MZ", b"\xca\xfe", b"\xcf\xfa", b"PK")):
        text = b"\0" not in head[:1024]
        if text and not head.startswith(b"\xef\xbb\xbf"):
            yield Found(
                statement.at, f"{path} does not say what runs it: no #! in its first line",
                "Make its first line #!/bin/bash, or #!/usr/bin/env python3.",
            )  # fmt: skip
        elif text:
            yield Found(statement.at, f"{path} begins with a byte order mark",
                        "Save it as UTF-8 without BOM.")  # fmt: skip
    if not job.look.executable(path):
        yield Found(
            statement.at, f"{path} may not be executed",
            f"Run chmod +x {path}.", severity=ADVICE,
        )  # fmt: skip


@rule(
    "script-modules", WARNING, "a script that loads modules, or calls stashcp",
    "The OSPool has no software modules and no stashcp any more.",
)  # fmt: skip
def script_modules(job: Job) -> Iterator[Found]:
    program = _program(job)
    if not program or job.look.kind(program[1]) != "file":
        return
    text = job.look.head(program[1]).decode("utf-8", "replace")
    found = re.search(
        r"^\s*(?:(module\s+load\s+\S+)|(stashcp)\b|(\S*/cvmfs/oasis\S*/lmod\S*))",
        text,
        re.MULTILINE,
    )
    if found and text.startswith("#!"):
        line = text.count("\n", 0, found.start(1)) + 1
        yield Found(
            program[0].at, f"line {line} of {program[1]}: {found[1]}",
            "Bring software in a container or a conda environment, and files by "
            "transfer_input_files = osdf:///...",
        )  # fmt: skip


@rule(
    "folder-missing", ADVICE, "a folder for output, error or initialdir is not there",
    "HTCondor makes the folder of the log only; without the others a job may be held when it "
    "ends.",
)  # fmt: skip
def folder_missing(job: Job) -> Iterator[Found]:
    start = job.value("initialdir") if job.sets("initialdir") else ""
    lines = job.all("initialdir")
    first = start or (_of_first_job(job, lines[0]) if len(lines) == 1 else "")
    if first and _known(first) and job.look.kind(first) == "none":
        more = "" if start else ", and the one of each other job"
        yield Found(
            lines[-1].at,
            f"the folder {first} is not there (yet), and condor_submit refuses the file then",
            f"Run mkdir -p {shlex.quote(first)}{more}.", severity=WARNING,
        )  # fmt: skip
        return
    if start is None or (start and not _known(start)):
        return
    # The folder of the log is made, and so may hold the output, too.
    told = {_folder(start, job.filled(statement.value)) for statement in job.all("log")}
    missing: list[tuple[Statement, str]] = []
    for statement in job.all("output", "error"):
        folder = _folder(start, job.filled(statement.value))
        if not _known(folder) or folder in told:
            continue
        told.add(folder)
        if job.look.kind(folder) == "none":
            missing.append((statement, folder))
    if missing:
        folders = [folder for _, folder in missing]
        yield Found(
            missing[0][0].at,
            f"the folder{'s' * (len(folders) > 1)} {' and '.join(folders)} "
            f"{'are' if len(folders) > 1 else 'is'} not there (yet)",
            f"Run mkdir -p {' '.join(map(shlex.quote, folders))}.",
        )  # fmt: skip


def _of_first_job(job: Job, statement: Statement) -> str:
    """The value of a setting for the first job, where the file says it: its number is 0, and the
    one variable of queue has the first item. Empty for what is not known."""
    if statement.depth or len(job.queues) != 1:
        return ""
    values = dict.fromkeys(("process", "procid"), "0")
    queue = job.queues[0]
    items = job.items(queue)
    if queue.verb and items and len(queue.variables) == 1 and "[" not in queue.what:
        values[queue.variables[0].lower()] = items[0].strip()
    text = re.sub(
        r"(?<!\$)\$\((\w+)\)", lambda found: values.get(found[1].lower(), found[0]),
        job.filled(statement.value),
    )  # fmt: skip
    return "" if "$" in text else text


def _folder(start: str, path: str) -> str:
    """The folder of a path that is relative to another one; empty for a bare name."""
    folder = path.rpartition("/")[0]
    return posixpath.normpath(posixpath.join(start, folder)) if folder else ""


@rule(
    "transfer-off", ERROR, "files to transfer, and no file transfer",
    "should_transfer_files = NO contradicts them, and condor_submit refuses the file.",
)  # fmt: skip
def transfer_off(job: Job) -> Iterator[Found]:
    if (job.value("should_transfer_files") or "").upper() not in ("NO", "NEVER", "FALSE"):
        return
    for statement in job.all("transfer_input_files", "when_to_transfer_output"):
        if statement.value and not statement.depth and statement.value.upper() != "NEVER":
            yield Found(
                statement.where, f"{statement.key} with should_transfer_files = NO",
                "Write should_transfer_files = YES, or leave this line out.",
            )  # fmt: skip


@rule(
    "on-evict", ADVICE, "ON_EXIT_OR_EVICT",
    "A pilot of the OSPool may vanish without a word, and nothing is saved then. With "
    "checkpoint_exit_code the job itself says when to save.",
)  # fmt: skip
def on_evict(job: Job) -> Iterator[Found]:
    for statement, value in job.words("when_to_transfer_output"):
        if value.upper() != "ON_EXIT_OR_EVICT":
            continue
        if (job.value("should_transfer_files") or "").upper() == "IF_NEEDED":
            yield Found(
                statement.at, "ON_EXIT_OR_EVICT cannot be used with IF_NEEDED",
                "Write should_transfer_files = YES.", severity=ERROR,
            )  # fmt: skip
        else:
            yield Found(
                statement.at, "ON_EXIT_OR_EVICT saves less than it seems",
                "Write ON_EXIT: the checkpoints are kept all the same."
                if job.sets("checkpoint_exit_code")
                else "Write ON_EXIT, and checkpoint_exit_code with transfer_checkpoint_files.",
            )  # fmt: skip


@rule(
    "output-places", ERROR, "output_destination and output_directory",
    "Only one place can take all outputs; condor_submit 25.14 refuses both.",
)  # fmt: skip
def output_places(job: Job) -> Iterator[Found]:
    if job.sets("output_destination") and job.sets("output_directory"):
        for statement in job.all("output_directory")[:1]:
            yield Found(statement.where, "both output_destination and output_directory",
                        "Leave one of them out.")  # fmt: skip
