"""The sweep.yaml that a person would have written."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Sequence

from osgbatch.importing.jobs import Sweep, rows_as_lines
from osgbatch.importing.made import Converted, Input
from osgbatch.importing.words import Word

INLINE = 40
"""Rows of a table that stand in the spec itself; more go into a file beside it."""
_PLAIN = re.compile(r"(?!(?:true|false|null|yes|no|on|off|y|n)\Z)[A-Za-z_./][\w./@%+-]*\Z", re.I)
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?\Z", re.ASCII)
_SAFE = re.compile(r"[\w./=:,+@%{}-]+\Z", re.ASCII)


def scalar(text: str) -> str:
    """A text as YAML."""
    if _PLAIN.match(text) or _NUMBER.match(text):
        return text
    return json.dumps(text, ensure_ascii=False)


def template_text(parts: Sequence[str]) -> str:
    """A template as the spec has it, braces doubled."""
    return "".join(
        f"{{{part}}}" if number % 2 else part.replace("{", "{{").replace("}", "}}")
        for number, part in enumerate(parts)
    )


def spec_text(
    head: Sequence[str], name: str, made: Converted, sweep: Sweep, table: str,
    executable: bool,
) -> str:  # fmt: skip
    """The whole file. head: lines of its first comment; table: the file that has the rows, or
    empty; executable: whether the program may be executed as it lies there."""
    lines = [f"# {line}".rstrip() for line in head]
    lines.append(f"name: {scalar(name)}")
    lines += _runs(made, sweep, executable)
    lines += _sweep(sweep, table)
    lines += _brought(made, sweep)
    lines += _outputs(made, sweep)
    if "environment" in made.settings:
        lines.append(f"environment: {_flow(made.settings['environment'])}")
    if made.environment:
        lines.append("environment_variables:")
        lines += [
            f"  {key}: {scalar(template_text(sweep.template(word)))}"
            for key, word in made.environment
        ]
    for key in ("resources", "gpus", "retries", "checkpoint", "project", "max_running", "notify"):
        if key in made.settings:
            lines.append(f"{key}: {_flow(made.settings[key])}")
    if made.requirements:
        lines.append(f"requirements: {{expr: {json.dumps(made.requirements, ensure_ascii=False)}}}")
    if made.own:
        lines.append("submit:   # what has no key of its own")
        lines += [f"  {key}: {scalar(value)}" for key, value in made.own]
    return "\n".join(lines) + "\n"


def _flow(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flow(item) for item in value) + "]"
    text = str(value)
    return text if re.fullmatch(r"[\w. ]+", text) and text[:1] != " " else scalar(text)


# --- what a task runs ----------------------------------------------------------------------------


def separate(made: Converted) -> list[Input]:
    """Inputs that each task has its own of, or that are fetched from a URL."""
    return [one for one in made.inputs if not one.whole]


def _runs(made: Converted, sweep: Sweep, executable: bool) -> Iterator[str]:
    linked = bool(separate(made))
    if not linked and not made.stdin and not made.shell and executable:
        yield f"command: {_command([sweep.template(word) for word in made.program])}"
        return
    yield "script: |"
    if linked:
        yield from _here(made)
    if made.executable and not executable:
        yield f"  chmod +x {shlex.quote('./' + made.executable.rpartition('/')[2])}"
    if made.shell:
        yield f"  {_literal(made.shell)}"
        return
    line = " ".join(_script_word(sweep, word) for word in made.program)
    if made.stdin:
        line += f" < {_script_word(sweep, made.stdin)}"
    yield f"  {line}"


def copied(made: Converted) -> bool:
    """Whether the program gets copies of its own inputs, since what it changes comes back."""
    outputs = [path for path, _ in made.outputs or ()]
    own = separate(made)
    return bool(own) and (made.outputs is None or any(one.name in outputs for one in own))


def _here(made: Converted) -> Iterator[str]:
    """Lines that bring the inputs to the folder that the program starts in.

    Of files that the program changes HTCondor brings the changed ones home, so they are copies;
    not of what is in folders. What it has not changed is taken away at the end.
    """
    if not copied(made):
        yield "  ln -s inputs/* .   # the program looks for them in the folder it starts in"
        return
    yield "  # the program looks for its inputs in the folder it starts in, and may change them"
    yield '  for f in inputs/*; do if [ -d "$f" ]; then ln -s "$f" .; else cp "$f" .; fi; done'
    if made.outputs is None:
        yield (
            '  trap \'for f in inputs/*; do cmp -s "$f" "${f##*/}" && rm -f "${f##*/}"; done '
            "2>/dev/null' EXIT   # only what it changed comes back"
        )


def _command(found: Sequence[Sequence[str]]) -> str:
    told = [template_text(parts) for parts in found]
    if all((_SAFE.match(word) and word[:1] not in "{}%@:,=-+") or (number and _SAFE.match(word))
           for number, word in enumerate(told)):  # fmt: skip
        text = " ".join(told)
        return text if not re.search(r":(\s|$)", text) else json.dumps(text, ensure_ascii=False)
    return "[" + ", ".join(scalar(word) for word in told) + "]"


def _script_word(sweep: Sweep, word: Word) -> str:
    parts = sweep.template(word)
    if parts == ("",):
        return "''"
    return "".join(
        f"{{{part}}}" if number % 2 else _literal(shlex.quote(part)) if part else ""
        for number, part in enumerate(parts)
    )


def _literal(text: str) -> str:
    """A text of a script in which nothing is a placeholder."""
    return re.sub(r"(?<!\$)\{([A-Za-z_]\w*)\}", r"{{\1}}", text)


# --- its rows ------------------------------------------------------------------------------------


def _sweep(sweep: Sweep, table: str) -> Iterator[str]:
    repeat = f", repeat: {sweep.repeat}" if sweep.repeat > 1 else ""
    if not sweep.columns:
        if sweep.count > 1:
            yield f"sweep: {{count: {sweep.count}}}"
        return
    if table:
        yield f"sweep: {{table: {scalar(table)}{repeat}}}"
    elif sweep.source:
        yield f"sweep: {{{sweep.columns[0].name}: {{lines: {scalar(sweep.source)}}}}}"
    elif len(sweep.columns) == 1:
        (column,) = sweep.columns
        yield "sweep:"
        values = ", ".join(scalar(cell) for cell in column.cells)
        if len(values) < 80:
            yield f"  {column.name}: [{values}]"
        else:
            yield f"  {column.name}:"
            yield from (f"  - {scalar(cell)}" for cell in column.cells)
        if repeat:
            yield f"  repeat: {sweep.repeat}"
    else:
        yield "sweep:"
        yield "  table:"
        names = [column.name for column in sweep.columns]
        for row in rows_as_lines(sweep.columns):
            cells = zip(names, row, strict=True)
            yield "  - {" + ", ".join(f"{key}: {scalar(cell)}" for key, cell in cells) + "}"
        if repeat:
            yield f"  repeat: {sweep.repeat}"


# --- what it is brought, and what comes back -----------------------------------------------------


def _brought(made: Converted, sweep: Sweep) -> Iterator[str]:
    files = []
    for one in made.inputs:
        if one.whole:
            source, name = "".join(map(str, one.source)), "".join(map(str, one.name))
            plain = scalar(template_text((source,)))
            entry = plain if source == name else f"{{{plain}: {scalar(template_text((name,)))}}}"
            files += [entry] if entry not in files else []
    if files:
        yield f"files: [{', '.join(files)}]"
    own = separate(made)
    if own:
        yield "inputs:"
        for one in own:
            source = template_text(sweep.template(one.source))
            name = template_text(sweep.template(one.name))
            if "://" in source or source == name:
                yield f"- {scalar(source)}"
            else:
                yield f"- {{path: {scalar(source)}, as: {scalar(name)}}}"


def _outputs(made: Converted, sweep: Sweep) -> Iterator[str]:
    if made.outputs is None:
        yield "outputs: {changed_only: true}   # all files that the program makes or changes"
        return
    entries = []
    for path, to in made.outputs:
        told = scalar(template_text(sweep.template(path)))
        if to:
            told = f"{{path: {told}, to: {scalar(template_text(sweep.template(to)))}}}"
        entries.append(told)
    if entries:
        yield f"outputs: [{', '.join(entries)}]"
