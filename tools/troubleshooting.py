#!/usr/bin/env python3
"""Writes docs/troubleshooting.md from the tables that `osgbatch why` explains with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from osgbatch.condor.hold_codes import ERRNO, ERRNO_CODES, HOLD_CODES, HoldCode, known_codes
from osgbatch.life.causes import fill
from osgbatch.returned.codes import (
    EXIT_CODES,
    REASONS,
    SHIM_CODES,
    SIGNALS,
    STDERR_SIGNS,
    Ending,
)

PAGE = Path(__file__).resolve().parents[1] / "docs" / "troubleshooting.md"
VALUES = {
    "batch": "BATCH", "task": "7", "memory": "4GB", "disk": "8GB", "cpus": "2", "time": "2 h",
}  # fmt: skip
"""What stands for the values that `osgbatch why` works out for a batch."""

START = """\
# Why tasks are held, fail or wait

`osgbatch why BATCH` puts the tasks of a batch that went wrong together by cause, and says of each
cause what to do, with the command to type; `osgbatch why BATCH TASK` says it of one task, and asks
HTCondor about one that waits ([batches.md](batches.md#why)). This page holds all that it can say.
It is made from the same tables, by `python tools/troubleshooting.py`.

In commands, BATCH stands for the name of a batch, and amounts are examples: `osgbatch why`
suggests some that fit the batch.
"""
HELD = """\
## Held jobs

HTCondor holds a job when it cannot go on without somebody's help. A held job stays in the queue
and keeps its place in `max_idle`: enough held jobs stop a large batch from making new ones. After
a release it starts from its beginning. Jobs that are held for weeks may be removed by the access
point.
"""
ERRORS = """\
### Subcodes

Of codes {codes} the subcode is the number of a Linux error:

{rows}

Of codes 12 and 13 it may also be 62, a transfer plugin that took too long, or the exit code of a
plugin times 256.
"""
WAITING = """\
## Tasks that wait

`osgbatch why BATCH TASK` asks the schedd about the task's job, the collector about the pool's
slots, and the negotiator about your place among the users: once each, so do not run it in a loop.
What it may say:

{rows}

Slots of the OSPool are pilots, which come and go: sites start more for what waits. What no slot
offers now may come in minutes; what no site has never will. `condor_q -better-analyze JOB` is
HTCondor's own answer to the same question.
"""
WAITS = (
    (
        "None of the slots could run it",
        ("a condition of the job is true for no slot, or more is asked for than the "
         "largest slot has, when nothing runs there"),
        ("ask for less, or change `requirements:`; cancel the waiting jobs and run what is"
         " missing"),
    ),
    (
        "Without this one … would do",
        "each condition is met by some slots, all together by none",
        "give up the condition that costs the most slots",
    ),
    (
        "… would suit it, but do not want it",
        "the owners' rules (START) refuse it",
        "see the pool's rules; on the OSPool, a project and shorter jobs",
    ),
    (
        "It waits for its turn",
        "slots suit it, but others use them, or it is not yet their turn",
        "wait; ask for less",
    ),
    (
        "It was not yet considered",
        "the negotiator looks at jobs every minute or so",
        "wait some minutes",
    ),
    (
        'The negotiator\'s last word: "submitter limit exceeded"',
        "your share of the pool, or your group's quota, was used up",
        "wait",
    ),
    (
        "It has no ProjectName",
        "the OSPool starts no pilot for such a job",
        "`project:` in the sweep",
    ),
    (
        "Its job is not in the queue yet: it comes when others have started",
        "`max_idle` lets only so many wait at once",
        "wait",
    ),
    (
        "…, and none will come",
        "so many jobs are held that no more may come",
        "`osgbatch release BATCH`, or `osgbatch cancel BATCH --held`",
    ),
)  # fmt: skip
FAILED = """\
## Failed tasks

A task has failed when its command ended with another exit code than 0, was killed, or did not make
what `outputs:` requires. The codes 100 to 119 of a job are the shim's own; a command's own code of
that range leaves the job as 120, and `osgbatch status` tells the true one. After a code that is
"tried again" HTCondor starts the job once more, on another slot where possible, before the task
counts as failed (`retries:` in [spec.md](spec.md)).
"""
PLACES = """\
## Hosts and sites

Where all tasks that came to an end at a site or on a host went wrong, in two jobs or more, and
elsewhere fewer than half did, `osgbatch why` names it as a suspect, with the command that runs the
tasks elsewhere.
"""


def page() -> str:
    """The whole page."""
    parts = [START, HELD, *map(_hold, known_codes()), _errors(), _waiting(), FAILED]
    parts += ["### The shim's codes\n", _shim_codes(), "### Other endings\n", _reasons()]
    codes = ((str(code), meant) for code, meant in EXIT_CODES.items())
    parts += ["### Exit codes of commands\n", _table(("code", "most often"), codes)]
    parts += ["### Signals\n", _signals(), "### What stderr shows\n", _signs(), PLACES]
    return "\n".join(parts)


def _hold(code: int) -> str:
    rows = [row for row in HOLD_CODES if row.code == code]
    lines = [f"### {code}, {rows[0].name}\n", "| subcode | cause | what to do |", "|---|---|---|"]
    for row in rows:
        lines.append(f"| {_which(row)} | {_cell(row.cause)} | {_todo(row.todo, row.commands)} |")
    return "\n".join(lines) + "\n"


def _which(row: HoldCode) -> str:
    """The subcode of a row, or what its text says."""
    if row.says:
        return "text: " + ", ".join(f'"{words}"' for words in row.says)
    if row.subcode is None:
        return "any"
    return f"{row.subcode} and more" if row.subcode == 256 else str(row.subcode)


def _todo(todo: str, commands: Iterable[str]) -> str:
    return _cell(todo) + "".join(f"<br>`{_cell(fill(command, VALUES))}`" for command in commands)


def _cell(text: str) -> str:
    return fill(text, VALUES).replace("|", "\\|")


def _errors() -> str:
    rows = _table(("number", "meaning"), ((str(n), words) for n, words in ERRNO.items()))
    codes = [str(code) for code in ERRNO_CODES]
    return ERRORS.format(codes=f"{', '.join(codes[:-1])} and {codes[-1]}", rows=rows.rstrip())


def _waiting() -> str:
    rows = _table(("it says", "it means", "what to do"), WAITS)
    return WAITING.format(rows=rows.rstrip())


def _shim_codes() -> str:
    rows = (
        (
            str(row.code),
            _cell(row.cause),
            "yes" if row.retried else "no",
            _todo(row.todo, row.commands),
        )
        for row in SHIM_CODES.values()
    )
    return _table(("code", "cause", "tried again", "what to do"), rows)


def _reasons() -> str:
    def rows() -> Iterator[tuple[str, ...]]:
        for reason, row in REASONS.items():
            known: Ending = row
            yield reason, _cell(known.cause), _todo(known.todo, known.commands)

    return _table(("reason", "cause", "what to do"), rows())


def _signals() -> str:
    rows = ((str(n), name, _cell(meant)) for n, (name, meant) in SIGNALS.items())
    return _table(("signal", "name", "most often"), rows)


def _signs() -> str:
    rows = (
        (f"`{row.words}`", row.cause, _todo(row.todo, row.commands[1:])) for row in STDERR_SIGNS
    )
    return _table(("in stderr", "it suggests", "what to do"), rows)


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE}")
