"""Rules about lines that HTCondor's parser refuses. Each was seen on condor_submit 25.14.1."""

from __future__ import annotations

import re
from collections.abc import Iterator

from osgbatch.linting.job import Job
from osgbatch.linting.lines import BLANKS, Spot, Statement
from osgbatch.linting.rules import ADVICE, ERROR, WARNING, Edit, Found, rule
from osgbatch.submit_language import known_command

SYNTAX = frozenset(["no-statement", "bom", "if-condition", "if-unclosed", "block-unclosed"])
"""What HTCondor's parser has the last word on."""
_MACRO = re.compile(r"\$\w*\(")
_CONDITION = re.compile(
    r"!?\s*(?:defined(?:\s+\S+)?|[-+]?\d+(?:\.\d*)?|true|false|yes|no|t|f|y|n)"
    r"|version\s*(?:>=|<=|==|!=|>|<)\s*\d+\.\d+(?:\.\d+)*",
    re.IGNORECASE,
)
ODD_BLANKS = re.compile("[\u00a0\u2000-\u200b\u202f\u3000]")


@rule(
    "bom", ERROR, "the file begins with a byte order mark",
    "Editors on Windows put three invisible bytes (a byte order mark) before the first line, and "
    "condor_submit takes them for a part of it and refuses the file.", mends=True,
)  # fmt: skip
def bom(job: Job) -> Iterator[Found]:
    if job.text.text.startswith("\ufeff"):
        yield Found(
            Spot(1, 1, 1, 0), "the file begins with a byte order mark (BOM)",
            "Save it as UTF-8 without BOM.", (Edit(0, 1, ""),),
        )  # fmt: skip


@rule(
    "no-statement", ERROR, "a line is neither a comment nor `name = value`",
    "condor_submit stops at the first line that it cannot read; nothing is submitted.",
)  # fmt: skip
def no_statement(job: Job) -> Iterator[Found]:
    queued = False
    templates: list[Statement] = []
    for statement in job.statements:
        queued |= statement.kind == "queue" and not statement.depth
        stops = statement.kind == "word" and statement.key.lower().startswith("error")
        if stops and not statement.depth and not queued:
            yield Found(
                statement.where, "`error :` makes HTCondor stop here",
                f"Write error = {statement.value}, if that was meant.",
            )  # fmt: skip
        if statement.kind != "odd" or queued:
            continue
        if _TEMPLATE.match(statement.value):
            templates.append(statement)
            continue
        above = [line.strip() for line in job.text.lines[: statement.where.line - 1]]
        while above and above[-1].startswith("#") and not above[-1].endswith("\\"):
            above.pop()
            if above and above[-1].endswith("\\"):
                yield Found(
                    statement.at, "the comment above ends the value that this line continues",
                    "Put the comment above the whole value.",
                )  # fmt: skip
                return
        yield _odd(statement)
    if templates:
        more = f" (and {len(templates) - 1} more of them)" if len(templates) > 1 else ""
        yield Found(
            templates[0].at, f"HTCondor cannot read this line: it is a template's{more}",
            "Lint the file that is made of the template.",
        )  # fmt: skip


_TEMPLATE = re.compile(r"\{[%{#]|<%|@@|\$(?:[A-Za-z_]\w*|\{\w+\})\Z")


_SLURM = {
    "cpus-per-task": "request_cpus", "mem-per-cpu": "request_memory", "job-name": "batch_name",
    "mail-user": "notify_user", "mail-type": "notification", "gpus-per-node": "request_gpus",
}  # fmt: skip
"""Options of Slurm, and the commands that are next to them."""


def _odd(statement: Statement) -> Found:
    text = statement.value
    what = "HTCondor cannot read this line: it is neither a comment nor name = value"
    fix = "Put a # in front if it is a comment, or write name = value."
    dashed = re.match(r"([\w.]+(?:-[\w.]+)+)\s*=\s*(.*)", text)
    if dashed:
        what = "HTCondor cannot read this line: a name has letters, digits, _ and ., but no -"
        command = _SLURM.get(dashed[1].lower())
        fix = f"Write {command or dashed[1].replace('-', '_')} = {dashed[2]}."
    elif ODD_BLANKS.search(text):
        what = "HTCondor cannot read this line: it has a blank that is no ordinary one"
        fix = "Type the blanks anew; `osgbatch lint --fix` does it."
    elif re.match(r"[\w+.]+\s*:", text):
        name, _, value = text.partition(":")
        what = "HTCondor cannot read this line: a name and its value are joined by =, not :"
        fix = f"Write {name.strip()} = {value.strip()}."
        if name.strip().lower() == "queue":
            what = "HTCondor cannot read this queue statement"
            fix = f"Write queue {value.strip()}."
    elif re.match(r"//|;|%|--", text):
        what = "HTCondor cannot read this line: a comment begins with #"
        fix = "Begin it with #."
    elif re.match(r"queue\W", text, re.IGNORECASE):
        what = "HTCondor cannot read this queue statement"
        fix = "Write `queue`, or `queue 10`."
    elif re.match(r"\+\s", text):
        what = "a blank stands between + and the name"
        fix = "Write +Name = value."
    elif re.match(r"[\w.+-]+(\s+[\w.+-]+)+\s*=", text):
        what = "HTCondor cannot read this line: the name before = has a blank in it"
        fix = "Names have no blanks: request_memory, say. A comment begins with #."
        name, _, value = text.partition("=")
        if known_command("_".join(name.split())):
            fix = f"Write {'_'.join(name.split())} = {value.strip()}."
    return Found(statement.at, what, fix)


@rule(
    "odd-blanks", WARNING, "no-break or other invisible blanks outside of comments",
    "Text copied from web pages and documents brings blanks that look ordinary and are part of "
    "names and values.", mends=True,
)  # fmt: skip
def odd_blanks(job: Job) -> Iterator[Found]:
    text = job.text.text
    found = [
        one for statement in job.statements for one in ODD_BLANKS.finditer(text, *statement.whole)
    ]
    if not found:
        return
    numbers = [text.count("\n", 0, one.start()) + 1 for one in found]
    column = found[0].start() - text.rfind("\n", 0, found[0].start())
    more = len(set(numbers)) - 1
    also = f", and on {more} more line{'s' * (more > 1)}" if more else ""
    yield Found(
        Spot(numbers[0], column, 1, found[0].start()),
        f"a blank here{also} is no ordinary one (copied from a web page?)", "Type it anew.",
        tuple(Edit(m.start(), m.end(), "" if m[0] == "\u200b" else " ") for m in found),
    )  # fmt: skip


@rule(
    "if-condition", ERROR, "an `if` with a comparison that HTCondor does not know",
    "Submit files compare nothing but versions: `if defined name`, `if version >= 24.0`, and a "
    "word or macro that is true, false or a number.",
)  # fmt: skip
def if_condition(job: Job) -> Iterator[Found]:
    for statement in job.statements:
        if statement.kind == "ifdef":
            yield Found(statement.where, "ifdef is unknown", "Write `if defined name`.")
        if statement.kind not in ("if", "elif"):
            continue
        condition = statement.value.strip()
        if "$" in condition and _MACRO.search(condition) and not re.search("[=<>&|]", condition):
            continue
        if _CONDITION.fullmatch(condition):
            continue
        yield Found(
            statement.at, f"`{statement.kind} {statement.value}` is no condition of HTCondor's",
            "Write `if defined name`, `if version >= 24.0`, or `if $(flag)` with true or false.",
        )  # fmt: skip


@rule(
    "if-unclosed", ERROR, "`if` and `endif` that do not belong together",
    "Every `if` needs its `endif`.",
)  # fmt: skip
def if_unclosed(job: Job) -> Iterator[Found]:
    open_: list[Statement] = []
    closed: set[int] = set()  # of those that are open, the ones whose else has been
    for statement in job.statements:
        if statement.kind == "if":
            open_.append(statement)
        elif statement.kind in ("elif", "else", "endif"):
            what = "" if open_ else f"{statement.kind} without an if"
            if open_ and statement.kind != "endif" and id(open_[-1]) in closed:
                what = f"{statement.kind} behind else"
            if what:
                yield Found(statement.where, what, "Leave it out, or add an if.")
                return
            if statement.kind == "endif":
                open_.pop()
            elif statement.kind == "else":
                closed.add(id(open_[-1]))
    for statement in open_:
        yield Found(statement.where, "this if has no endif", "Add a line `endif`.")


@rule(
    "block-unclosed", ERROR, "a value that begins with @= and does not end",
    "A value over several lines, `name @=end`, ends with a line that is `@end`.",
)  # fmt: skip
def block_unclosed(job: Job) -> Iterator[Found]:
    for statement in job.settings:
        if not statement.closed:
            tag = job.text.lines[statement.at.line - 1].partition("@=")[2].strip()
            yield Found(
                statement.at, f"the value of {statement.key} does not end",
                f"Add a line `@{tag}` behind it.",
            )  # fmt: skip


@rule(
    "crlf", ADVICE, "lines end as on Windows (CR LF)",
    "condor_submit reads such a file, but other tools, and a script with such lines, do not.",
    mends=True,
)  # fmt: skip
def crlf(job: Job) -> Iterator[Found]:
    text = job.text.text
    if "\r\n" in text:
        edits = tuple(Edit(m.start(), m.end(), "\n") for m in re.finditer("\r\n", text))
        number = len(job.text.lines[0])
        yield Found(
            Spot(1, number + 1, 1, number), "lines end as on Windows (CR LF)",
            "Run dos2unix on the file, or `osgbatch lint --fix`.", edits,
        )  # fmt: skip


@rule(
    "continued-comment", WARNING, "a comment at the end of a value over several lines",
    "Of a comment among lines that end in \\ HTCondor leaves out all but the last character: when "
    "that is no \\, it becomes the end of the value.", mends=True,
)  # fmt: skip
def continued_comment(job: Job) -> Iterator[Found]:
    odd = {s.where.line for s in job.statements if s.kind == "odd"}  # `no-statement` tells of them
    for statement in job.statements:
        start, end = statement.whole
        raw = job.text.text[start:end].removesuffix("\n").split("\n")
        lines = [line.strip(BLANKS) for line in raw]
        number = statement.where.line + len(lines) - 1
        if len(lines) < 2 or not lines[-1].startswith("#") or lines[-1].endswith("\\"):
            continue
        if not lines[-2].endswith("\\") or number + 1 in odd:
            continue
        last = max(n for n, line in enumerate(lines) if not line.startswith("#"))
        ended = raw[last].rstrip(BLANKS)
        value = ended[:-1].rstrip(BLANKS)
        at = start + sum(len(line) + 1 for line in raw[:last])
        yield Found(
            Spot(number, raw[-1].find("#") + 1, len(lines[-1])),
            f"the {lines[-1][-1]} at the end of this comment becomes a part of the value of "
            f"{statement.key}",
            f"Leave out the \\ at the end of line {statement.where.line + last}.",
            (Edit(at + len(value), at + len(ended), ""),),
        )  # fmt: skip
