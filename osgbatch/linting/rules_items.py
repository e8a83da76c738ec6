"""Rules about lists of items that are written as in other languages, and taken as words.

What is made of each was seen on condor_submit 25.14.1 with -dry-run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from osgbatch.linting.job import Job, Queue
from osgbatch.linting.rules import ERROR, WARNING, Found, rule

_RANGE = re.compile(
    r"\(?\s*(?:x?range|seq)\s*\([^()]*\)\s*\)?"
    r"|(?:\(\s*|\[\s*|\{\s*)?\d+\s*(?:-|\.{2,3}|:)\s*\d+\s*[])}]?",
    re.IGNORECASE,
)
_SLICE = re.compile(r"\[(\s*-?\d+(?:\s*,\s*|\s+)-?\d[\d\s,-]*)\]\s*\Z")


@rule(
    "items-words", WARNING, "a range, or a list of another language, behind `in`",
    "HTCondor counts nothing there: range(10), 1-10 and 1..10 are words, and each word is one "
    "job. Brackets other than ( ) are a part of the words.",
)  # fmt: skip
def items_words(job: Job) -> Iterator[Found]:
    for queue in job.queues:
        what = queue.what.strip()
        if queue.verb != "in" or queue.statement.items or "$" in what or _SLICE.match(what):
            continue
        name = queue.variables[0]
        numbers = [int(number) for number in re.findall(r"\d+", what)]
        if _RANGE.fullmatch(what) and numbers and numbers == sorted(numbers):
            count = numbers[0] if len(numbers) == 1 else abs(numbers[1] - numbers[0])
            count += "range" not in what.lower() and len(numbers) > 1
            yield Found(
                queue.statement.at, f"{what} is taken as words, and not counted",
                f"Write `queue {count or 10}`, and $(Process) for $({name}): 0, 1, 2, ...; or list "
                f"the values: `queue {name} in (1 2 3)`.",
            )  # fmt: skip
        elif re.fullmatch(r"\[[^\[\]:]*\]|\{[^{}]*\}", what) and "," in what:
            inside = what[1:-1].replace('"', "").replace("'", "")
            words = " ".join(re.split(r"[\s,]+", inside.strip()))
            yield Found(
                queue.statement.at, f"the brackets of {what[:40]} become a part of the values",
                f"Write queue {name} in ({words}).",
            )  # fmt: skip


@rule(
    "items-slice", ERROR, "a list in [ ] where a slice must stand",
    "Behind in, from and matching [ ] holds a slice of the list that follows, as in [0:10]; "
    "condor_submit refuses anything else.",
)  # fmt: skip
def items_slice(job: Job) -> Iterator[Found]:
    for queue in job.queues:
        found = _SLICE.match(queue.what.strip()) if queue.verb else None
        if found:
            words = " ".join(found[1].replace(",", " ").split())
            yield Found(
                queue.statement.at, f"[{found[1]}] is no slice such as [0:10]",
                f"Write queue {queue.variables[0]} in ({words}).",
            )  # fmt: skip


@rule(
    "queue-for", WARNING, "queue for ... in",
    "HTCondor has no word for: it is taken for the name of a variable, which gets the values.",
)  # fmt: skip
def queue_for(job: Job) -> Iterator[Found]:
    for queue in job.queues:
        if loops(job, queue):
            rest = f"{', '.join(queue.variables[1:])} {queue.verb} {queue.what[:40]}"
            rest += "..." * (len(queue.what) > 40)
            yield Found(
                queue.statement.at, "for is taken for the name of a variable",
                f"Leave out `for`: queue {rest}",
            )  # fmt: skip


def loops(job: Job, queue: Queue) -> bool:
    """Whether a queue statement is written as a loop: `queue for x in ...`."""
    names = [name.lower() for name in queue.variables]
    return len(names) > 1 and names[0] in ("for", "foreach") and names[0] not in job.macros
