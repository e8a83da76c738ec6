"""Rules about the queue statement and its items."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import SequenceMatcher, get_close_matches

from osgbatch.linting.job import AUTOMATIC, Job, Queue
from osgbatch.linting.lines import Spot, Statement
from osgbatch.linting.rules import ADVICE, ERROR, WARNING, Found, moved_up, rule
from osgbatch.linting.rules_items import loops
from osgbatch.submit_language import custom_attribute, known_command

MANY = 10_000
"""Jobs in a queue above which the OSPool asks for max_idle (its policy page)."""


@rule(
    "queue-comment", ERROR, "a comment behind queue",
    "A # begins a comment only at the start of a line. Behind `queue` it is refused, and behind "
    "the name of a file it is taken for a part of that name.", mends=True,
)  # fmt: skip
def queue_comment(job: Job) -> Iterator[Found]:
    for queue in job.queues:
        found = re.search(r"(?:^|\s)(#.*)\Z", queue.statement.value)
        if found:
            value = queue.statement.value[: found.start()].rstrip()
            yield Found(
                queue.statement.at, "a comment stands behind the queue statement",
                "Put it on a line of its own.", moved_up(queue.statement, value, found[1]),
                # Of a list without brackets its words become items: HTCondor takes it.
                WARNING if queue.verb in ("in", "matching") and "(" not in value else "",
            )  # fmt: skip


@rule(
    "queue-count", ERROR, "queue with something that is no number of jobs",
    "`queue` takes a whole number, or a list: `queue name in (…)`, `queue name from file`, "
    "`queue name matching *.dat`.",
)  # fmt: skip
def queue_count(job: Job) -> Iterator[Found]:
    for queue in job.queues:
        value = job.filled(queue.statement.value)
        if "#" in value or not queue.statement.closed:
            continue  # other rules tell of these
        if queue.verb:
            yield from _list_wrong(job, queue)
            continue
        if not value or re.search(r"^(true|false)$", value, re.IGNORECASE):
            continue
        refused = None if "$" in value else job.refused_queue(value)
        if refused is False or ("$" in value and "$$" not in value):
            continue
        wrong = value.startswith(("-", "=", ",", ";")) or bool(re.search(r"[,;=]\s*", value))
        if re.fullmatch(r"[\d\s.*+/()%]+|\d+\s*//.*", value):
            wrong = len(re.findall(r"\d\s+\d", value)) > 0
            words = []
        else:
            words = value.split()
        wrong |= len(words) > 1 and bool(re.fullmatch(r"[\w.]+(\s+[\w./*]+)+", value))
        wrong |= bool(re.fullmatch(r"[A-Za-z_][\w.]*", value))
        wrong |= bool(refused) or "$$" in value
        wrong |= bool(re.search(r"[\"']|^\d+[A-Za-df-z_]", value))
        if wrong:
            yield Found(
                queue.statement.at, f'"{value}" is no number of jobs',
                "Write `queue 10`, or `queue name from items.txt`.",
            )  # fmt: skip


def _list_wrong(job: Job, queue: Queue) -> Iterator[Found]:
    """A queue statement with a verb: what stands before and behind it."""
    names = f"{queue.count} {','.join(queue.variables)}"
    if not queue.what and not queue.statement.items:
        yield Found(
            queue.statement.at, f"nothing stands behind {queue.verb}",
            "Write `queue name in (a b c)`, `queue name from items.txt`, or `queue name matching "
            "*.dat`.",
        )  # fmt: skip
    elif "$" not in names and job.refused_queue(f"{names} in (a)"):
        yield Found(
            queue.statement.at, f"HTCondor cannot read what stands before {queue.verb}",
            f"Write `queue a, b {queue.verb} ...`: names of variables, with commas between.",
        )  # fmt: skip


@rule(
    "queue-unclosed", ERROR, "a list of items without its closing bracket",
    "The bracket that ends a list over several lines stands on a line of its own.",
)  # fmt: skip
def queue_unclosed(job: Job) -> Iterator[Found]:
    for queue in job.queues:
        if not queue.statement.closed and "#" not in queue.statement.value:
            yield Found(
                queue.statement.at, "the list of items does not end",
                "Put ) on a line of its own behind the last item.",
            )  # fmt: skip


@rule(
    "queue-more", WARNING, "more than one queue statement",
    "HTCondor since 25.0 asks for one queue statement a file, condor_submit 25.14 refuses what "
    "stands behind it, and max_idle works with one only.",
)  # fmt: skip
def queue_more(job: Job) -> Iterator[Found]:
    plain = [queue for queue in job.queues if not queue.statement.depth]
    for queue in plain[1:2]:
        more = f"{len(plain)} queue statements in one file"
        yield Found(
            queue.statement.where, more,
            "Write one: `queue a, b from (`, one line a job, and `)`; or one file for each.",
            severity=ERROR if job.sets("max_idle", "max_materialize") else "",
        )  # fmt: skip


@rule(
    "queue-behind", WARNING, "lines behind the last queue statement",
    "They come too late: condor_submit older than 25 ignores them, 25.14 refuses the file.",
)  # fmt: skip
def queue_behind(job: Job) -> Iterator[Found]:
    numbers = [i for i, s in enumerate(job.statements) if s.kind == "queue"]
    behind = job.statements[numbers[-1] + 1 :] if numbers else ()
    for statement in behind:
        if statement.kind in ("set", "odd"):
            yield Found(
                statement.where, "this line stands behind the last queue statement",
                "Put it before queue, or leave it out.",
            )  # fmt: skip
            return


@rule(
    "queue-none", ADVICE, "no queue statement",
    "condor_submit 23.9 refuses such a file, and 25.14 queues one job from it. A file that is "
    "included, is the description of a DAG's node, or is submitted with -queue on the command "
    "line, may do without.",
)  # fmt: skip
def queue_none(job: Job) -> Iterator[Found]:
    if job.queues or not job.sets("executable", "universe", "container_image"):
        return
    if any(s.kind == "include" for s in job.statements):
        return
    last = job.statements[-1]
    yield Found(
        last.where, "no queue statement: condor_submit 25.14 queues one job, 23.9 refuses",
        "End the file with `queue`.",
    )  # fmt: skip


@rule(
    "queue-zero", WARNING, "queue 0",
    "Older condor_submit queues no job then, and 25.14 queues one.",
)  # fmt: skip
def queue_zero(job: Job) -> Iterator[Found]:
    for queue in job.queues:
        if re.fullmatch("0+", job.filled(queue.count)) and not queue.verb:
            yield Found(queue.statement.at, "queue 0 is no number of jobs", "Write how many jobs.")


def _blank_items(job: Job, queue: Queue) -> list[int]:
    """The numbers of the blank lines in the list of a `from`: each of them queues a job."""
    statement = queue.statement
    if queue.verb != "from" or not statement.closed or queue.what.endswith(")"):
        return []
    start, end = statement.whole
    inside = job.text.text[start:end].removesuffix("\n").split("\n")[1:-1]
    first = statement.where.line + 1
    return [first + i for i, line in enumerate(inside) if "(" in queue.what and not line.strip()]


def _patterns(job: Job, queue: Queue) -> list[str]:
    """The patterns of a queue statement, when they are all known and relative."""
    if queue.verb != "matching" or queue.statement.items or not queue.statement.closed:
        return []
    what = re.sub(r"^(?:files|dirs|any)\b\s*", "", job.filled(queue.what), flags=re.IGNORECASE)
    what = re.sub(r"^\[[-\d\s:]*\]\s*", "", what)
    patterns = [one for one in re.split(r"[\s,]+", what.removeprefix("(").removesuffix(")")) if one]
    odd = any(re.search(r"""[$"'`#{}()~\\]|^/""", one) for one in patterns)
    return [] if odd else patterns


@rule(
    "items-none", WARNING, "a list without items",
    "HTCondor queues no job from it, and says so in passing. Lines that begin with # are no items.",
)  # fmt: skip
def items_none(job: Job) -> Iterator[Found]:
    for queue in job.queues:
        empty = r"\(" if queue.verb == "from" else r"\(\s*\)?"
        if queue.statement.closed and not queue.statement.items and (
            re.fullmatch(empty, queue.what) and not _blank_items(job, queue)
        ):  # fmt: skip
            yield Found(
                queue.statement.at, "the list has no items: no job is queued",
                "Write one line for each job into it.",
            )  # fmt: skip
        patterns = _patterns(job, queue)
        if patterns and not any(job.look.matches(pattern) for pattern in patterns):
            yield Found(
                queue.statement.at, f"no file matches {' '.join(patterns)[:40]} (yet)",
                "No job is queued then: make the files before you submit, or correct the pattern.",
            )  # fmt: skip


def _item_file(job: Job, queue: Queue) -> str:
    """The file that a queue statement reads, when it is known and no program's output."""
    if queue.verb != "from" or queue.statement.items or not queue.statement.closed:
        return ""
    path = re.sub(r"^(?:table\b)?\s*(?:\[[^\]]*\])?\s*", "", queue.what, flags=re.IGNORECASE)
    path = job.filled(path).strip()
    if not path or path.endswith("|") or path.startswith(("(", "-", "<")) or "#" in path:
        return ""
    return "" if "$" in path else path


_PROGRAM = re.compile(
    r"(?:\S*/)?(?:seq|ls|cat|find|echo|printf|head|tail|grep|awk|sed|sort|shuf|cut|jot|bash|sh|perl"
    r"|python[\d.]*)\s+\S"
)


@rule(
    "items-missing", WARNING, "the file of the items is not there",
    "condor_submit refuses the file until its list of items is there.",
)  # fmt: skip
def items_missing(job: Job) -> Iterator[Found]:
    for queue in job.queues:
        path = _item_file(job, queue)
        if path and job.look.kind(path) == "none":
            if _PROGRAM.match(path):
                fix = f"Write from {path} |: what a program prints is read with a | at the end."
            else:
                fix = "Make it before you submit: one line for each job."
            yield Found(
                queue.statement.at, f"{path} is not there (yet)", fix, severity=WARNING
            )  # fmt: skip


@rule(
    "items-odd", WARNING, "blank lines, # lines or Windows line ends among the items",
    "A file of items has no comments: each of its lines, a blank or a # line too, is a job (in a "
    "list in brackets a blank one); and a carriage return becomes part of the last value.",
)  # fmt: skip
def items_odd(job: Job) -> Iterator[Found]:
    for queue in job.queues:
        blank = _blank_items(job, queue)
        if blank:
            several = "s" * (len(blank) > 1)
            yield Found(
                Spot(blank[0], 1), "a blank line in the list is one more job"
                + (f" ({len(blank)} such line{several})" if several else ""),
                "Take it out: its job has no values, or those of the line before.",
            )  # fmt: skip
        path = _item_file(job, queue)
        head = job.look.head(path) if path and job.look.kind(path) == "file" else b""
        lines = head.decode("utf-8", "replace").removesuffix("\n").split("\n")
        if not head:
            continue
        odd = []
        for number, line in enumerate(lines, 1):
            if not line.strip():
                odd.append((number, "is blank: a job with empty values"))
            elif line.lstrip().startswith("#"):
                odd.append((number, "begins with #, and is a job all the same"))
        if head.startswith(b"\xef\xbb\xbf"):
            odd.append((1, "begins with a byte order mark, which is part of the first value"))
        if b"\r\n" in head:
            odd.append((1, "ends as on Windows, with a carriage return"))
        heads = [word.lower() for word in re.split(r"[\s,]+", lines[0].strip("\ufeff \t\r"))]
        if heads == [name.lower() for name in queue.variables] and "[" not in queue.what:
            yield Found(
                queue.statement.at, f"line 1 of {path} holds the names of the columns, and is a "
                "job all the same", f"Take that line out, or write {queue.verb} [1:] {path}.",
            )  # fmt: skip
            continue
        for number, what in odd[:1]:
            more = f" ({len(odd) - 1} more such line{'s' * (len(odd) > 2)})" if len(odd) > 1 else ""
            yield Found(
                queue.statement.at, f"line {number} of {path} {what}{more}",
                f"Leave such lines out: grep -v '^ *\\(#\\|$\\)' {path} | tr -d '\\r' > new",
            )  # fmt: skip


@rule(
    "queue-unused", WARNING, "a variable of queue that is used nowhere",
    "All jobs are the same then, but for their number; condor_submit asks whether it is a typo.",
)  # fmt: skip
def queue_unused(job: Job) -> Iterator[Found]:
    if any(s.kind == "include" for s in job.statements):
        return
    for queue in job.queues:
        if loops(job, queue):
            continue  # `queue-for` tells of it
        names = [
            name for name in queue.variables
            if not known_command(name) and not custom_attribute(name) and name != "Item"
            and name.lower() not in job.macros
        ]  # fmt: skip
        if names:
            several = len(names) > 1
            yield Found(
                queue.statement.at,
                f"the variable{'s' * several} {', '.join(names)} {'are' if several else 'is'} used "
                "nowhere",
                f"Use {'them' if several else 'it'} as $({names[0]}), in arguments for instance, "
                f"or leave {'them' if several else 'it'} out.",
            )  # fmt: skip


_OF_DAGS = frozenset(["job", "retry", "dag_status", "failed_count", "dag_parent_names"])
"""Macros that DAGMan sets: the DAG of a file with one of them sets others by VARS."""


_OF_SHELLS = frozenset(
    ["HOME", "USER", "LOGNAME", "PWD", "HOSTNAME", "TMPDIR", "X509_USER_PROXY", "SCRATCH", "WORK"]
)
"""Variables that most shells have, and no submit file."""


@rule(
    "macro-unset", ADVICE, "a macro that nothing in the file sets",
    "An unknown $(name) becomes nothing, without a word. A DAG's VARS or `condor_submit "
    "name=value` may set it.",
)  # fmt: skip
def macro_unset(job: Job) -> Iterator[Found]:
    if not job.whole:
        return
    set_ = {s.key.lower() for s in job.settings} | job.variables | AUTOMATIC
    for statement in job.statements:
        if statement.kind in ("if", "elif"):  # what is asked for is expected from elsewhere
            set_ |= set(re.findall(r"defined\s+([\w.]+)", statement.value.lower()))
    unset: dict[str, Statement] = {}
    for statement in job.settings:
        if not job.known(statement):
            continue
        for found in re.finditer(r"(?<!\$)\$\(([\w.]+)\)", statement.value):
            name = found[1].lower()
            if name not in set_ and not name.startswith(("my.", "submit", "job.")):
                unset.setdefault(found[1], statement)
    if job.macros & _OF_DAGS:
        return
    if unset:
        first, statement = next(iter(unset.items()))
        near = _near(first, [*(s.key for s in job.settings), *job.variables])
        names = ", ".join(f"$({name})" for name in list(unset)[:4])
        names += f" and {len(unset) - 4} more" if len(unset) > 4 else ""
        few = f"Write {first} = ... above, let queue set it, or give it a default: $({first}:0)."
        if near and len(unset) == 1:
            few = f"Write {near[15:-1]}, if that was meant."
        if first.upper() in _OF_SHELLS:
            few = f"Write $ENV({first}) for the variable of your shell."
        yield Found(
            statement.at, f"nothing in this file sets {names}{near if len(unset) == 1 else ''}",
            few if len(unset) < 3
            else f"Set them above, as in {first} = ..., unless a DAG or the command line does.",
            severity=WARNING if len(unset) == 1 and _slip(first, near[15:-1]) else "",
        )  # fmt: skip


def _near(name: str, known: list[str]) -> str:
    near = get_close_matches(name.lower(), [k.lower() for k in known], n=1, cutoff=0.8)
    other = near and re.sub(r"\d", "", near[0]) == re.sub(r"\d", "", name.lower())
    return f"; did you mean $({near[0]})?" if near and not other else ""


def _slip(name: str, macro: str) -> bool:
    """Whether a name is surely a slip of the pen for the one in `$(name)`."""
    meant = macro.strip("$()")
    alike = SequenceMatcher(None, name.lower(), meant).ratio()
    return len(meant) > 4 and alike > 0.85 and name[0].lower() == meant[0]


@rule(
    "max-idle", ADVICE, "more than 10,000 jobs at once",
    "The OSPool asks for at most 10,000 queued jobs of a user. With max_idle HTCondor queues "
    "them little by little, from one file.",
)  # fmt: skip
def max_idle(job: Job) -> Iterator[Found]:
    jobs = job.jobs()
    if jobs and jobs > MANY and not job.sets("max_idle", "max_materialize") and job.queues:
        yield Found(
            job.queues[-1].statement.at, f"{jobs:,} jobs are queued at once",
            "Add max_idle = 2000.",
        )  # fmt: skip
