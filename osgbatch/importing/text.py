"""The sweep.yaml that a person would have written."""

from __future__ import annotations

import json
import re
import shlex
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

import yaml

from osgbatch.importing.jobs import SHELL_CLUSTER, Sweep, rows_as_lines
from osgbatch.importing.macros import NotImported
from osgbatch.importing.made import Converted, Input, PerTask
from osgbatch.importing.words import Word

_WIDTH = 79
INLINE = 40
"""Rows of a table that stand in the spec itself; more go into a file beside it."""
_PLAIN = re.compile(r"(?!(?:true|false|null|yes|no|on|off|y|n)\Z)[A-Za-z_./][\w./@%+-]*\Z", re.I)
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?\Z", re.ASCII)
_SAFE = re.compile(r"[\w./=:,+@%{}-]+\Z", re.ASCII)
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SPACED = re.compile(r"[A-Za-z\d][\w.]*(?: [\w.]+)+\Z", re.ASCII)
"""Several words, as a size: YAML takes them for nothing else than a text."""
_BREAKS = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ufeff]")
"""What YAML ends a line at, or refuses: in a comment or a script the rest would be read as keys."""


def scalar(text: str) -> str:
    """A text as YAML."""
    if _PLAIN.match(text) or _NUMBER.match(text):
        return text
    return _quoted(text)


def string(text: str) -> str:
    """A text as YAML where a number would be no text."""
    return text if _PLAIN.match(text) else _quoted(text)


def _key(text: str) -> str:
    return text if re.fullmatch(r"\+?[A-Za-z_][\w.]*", text, re.ASCII) else scalar(text)


def _quoted(text: str) -> str:
    found = json.dumps(text, ensure_ascii=False)
    return _BREAKS.sub(lambda one: f"\\u{ord(one[0]):04x}", found)


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
    empty; executable: whether the program may be executed as it lies there.

    Raises NotImported for what cannot be written so that it is read as it is meant.
    """
    lines = [
        one for line in map(printable, head)
        for one in textwrap.wrap(line, _WIDTH, initial_indent="# ", subsequent_indent="#   ",
                                 break_long_words=False, break_on_hyphens=False)
    ]  # fmt: skip
    lines.append(f"name: {string(name)}")
    lines += _runs(made, sweep, executable)
    lines += _sweep(sweep, table)
    lines += _brought(made, sweep)
    lines += _outputs(made, sweep)
    if "environment" in made.settings:
        lines.append(f"environment: {_flow(made.settings['environment'])}")
    fixed = [(key, word) for key, word in made.environment if not late(sweep, word)]
    if fixed:
        lines.append("environment_variables:")
        lines += [f"  {key}: {scalar(template_text(sweep.template(word)))}" for key, word in fixed]
    for key in ("resources", "gpus", "retries", "checkpoint", "project", "max_running", "notify"):
        if key in made.settings:
            lines.append(f"{key}: {_flow(_named(made.settings[key], sweep))}")
    if made.requirements:
        lines.append(f"requirements: {{expr: {_quoted(made.requirements)}}}")
    if made.own:
        lines.append("submit:   # what has no key of its own")
        lines += [f"  {_key(key)}: {scalar(value)}" for key, value in made.own]
    text = "\n".join(lines) + "\n"
    _as_meant(text, lines)
    return text


def printable(text: str) -> str:
    """A text for a comment or a message: characters that are not seen are escaped, and line breaks
    of other kinds than the usual ones, too."""
    text = re.sub(r"[ \t\r\n]+", " ", text)
    return "".join(one if one.isprintable() else f"\\x{ord(one):02x}" for one in text)


def _as_meant(text: str, lines: Sequence[str]) -> None:
    """Raise NotImported where YAML reads other keys than those of the lines that were written: a
    value has become one, and a key such as `gather` runs a program."""
    meant = [line.partition(":")[0] for line in lines if line[:1] not in (" ", "#", "-")]
    try:
        root = yaml.compose(text.encode("utf-8", "replace"), _LOADER)
    except yaml.YAMLError as error:
        why = " ".join(str(error).split())
        raise NotImported(f"what would be written is no YAML: {why}") from error
    found = [key.value for key, _ in root.value] if isinstance(root, yaml.MappingNode) else []
    if found != meant:
        raise NotImported(f"a value of this file would be read as a key of the sweep: {found} in "
                          f"place of {meant}")  # fmt: skip


def _named(value: object, sweep: Sweep) -> object:
    """A value with the names of its columns."""
    if isinstance(value, dict):
        return {key: _named(item, sweep) for key, item in value.items()}
    if isinstance(value, PerTask):
        name = sweep.names[value.variable]
        return {"expr": f"{value.unit} * {name}" if value.unit else name}
    return value


def _flow(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flow(item) for item in value) + "]"
    if not isinstance(value, str):
        return str(value)
    return value if _SPACED.match(value) else string(value)


# --- what a task runs ----------------------------------------------------------------------------


def separate(made: Converted) -> list[Input]:
    """Inputs that each task has its own of, or that are fetched from a URL."""
    return [one for one in made.inputs if not one.whole]


def late(sweep: Sweep, word: Word) -> bool:
    """Whether a word holds what a job knows only when it runs."""
    return SHELL_CLUSTER in sweep.template(word)[1::2]


def _runs(made: Converted, sweep: Sweep, executable: bool) -> Iterator[str]:
    linked = bool(separate(made))
    by_script = linked or made.stdin or made.shell or any(told_first(made, sweep))
    if not made.program and not made.shell:
        return  # the image's own run script
    if not by_script and executable:
        yield f"command: {_command([sweep.template(word) for word in made.program])}"
        return
    yield "script: |"
    for line in _script(made, sweep, linked, executable):
        odd = _BREAKS.search(line)
        if odd:
            raise NotImported(f"a script would be needed, and U+{ord(odd[0]):04X} in its line "
                              f"{printable(line.strip())} would end it: take it out")  # fmt: skip
        yield line


def _script(made: Converted, sweep: Sweep, linked: bool, executable: bool) -> Iterator[str]:
    if linked:
        yield from _here(made, sweep)
    if made.executable and not executable:
        yield f"  chmod +x {shlex.quote('./' + made.executable.rpartition('/')[2])}"
    yield from told_first(made, sweep)
    if made.shell:
        yield f"  {_literal(made.shell)}"
        return
    line = " ".join(
        spread_word(sweep, word) if place in made.spread else _script_word(sweep, word)
        for place, word in enumerate(made.program)
    )
    if _NO_PROGRAM.match(line):
        first, blank, rest = line.partition(" ")
        line = f"'{first}'{blank}{rest}"
    if made.stdin:
        line += f" < {_script_word(sweep, made.stdin)}"
    yield f"  {line}"


_NO_PROGRAM = re.compile(
    r"[A-Za-z_]\w*\+?=|(?:if|then|else|elif|fi|case|esac|for|select|while|until|do|done|in|function"
    r"|time|coproc)(?: |\Z)", re.ASCII,
)  # fmt: skip
"""What a shell would not take for a program at the start of a line, were it not in quotes."""


def told_first(made: Converted, sweep: Sweep) -> Iterator[str]:
    """Lines of the script before the program: what it is given that no placeholder is."""
    exported = [(key, word) for key, word in made.environment if late(sweep, word)]
    if exported or any(late(sweep, word) for word in made.program):
        yield (
            "  cluster=$(sed -n 's/^ClusterId = //p' \"${_CONDOR_JOB_AD:-/dev/null}\")"
            "   # as $(Cluster)"
        )
    for key, word in exported:
        yield f"  export {key}={_script_word(sweep, word)}"
    for place in sorted(made.spread):
        name = sweep.template(made.program[place])[1]
        yield f"  read -ra {name}_words <<< {{{name}}}   # several arguments, split at blanks"


def spread_word(sweep: Sweep, word: Word) -> str:
    """What stands in the script for a variable that holds several words."""
    return f'"${{{sweep.template(word)[1]}_words[@]}}"'


def copied(made: Converted) -> bool:
    """Whether the program gets copies of its own inputs, since what it changes comes back."""
    outputs = [path for path, _ in made.outputs or ()]
    own = separate(made)
    return bool(own) and (made.outputs is None or any(one.name in outputs for one in own))


def places(made: Converted, sweep: Sweep) -> str:
    """Where the inputs lie that the program looks for in the folder it starts in."""
    own = separate(made)
    if not any(one.contents for one in own):
        return "inputs/*"
    return " ".join(
        f"inputs/{_script_word(sweep, one.name)}" + ("/*" if one.contents else "") for one in own
    )


def _here(made: Converted, sweep: Sweep) -> Iterator[str]:
    """Lines that bring the inputs to the folder that the program starts in.

    Of files that the program changes HTCondor brings the changed ones home, so they are copies;
    not of what is in folders. What it has not changed is taken away at the end.
    """
    found = places(made, sweep)
    if not copied(made):
        yield f"  ln -s {found} .   # the program looks for them in the folder it starts in"
        return
    yield "  # the program looks for its inputs in the folder it starts in, and may change them"
    if found != "inputs/*":  # a trap is code, and no place for placeholders
        yield f"  brought=({found})"
        found = '"${brought[@]}"'
    yield f'  for f in {found}; do if [ -d "$f" ]; then ln -s "$f" .; else cp "$f" .; fi; done'
    if made.outputs is None:
        yield (
            f'  trap \'for f in {found}; do cmp -s "$f" "${{f##*/}}" && rm -f "${{f##*/}}"; done '
            "2>/dev/null' EXIT   # only what it changed comes back"
        )


def _command(found: Sequence[Sequence[str]]) -> str:
    told = [template_text(parts) for parts in found]
    if all((_SAFE.match(word) and word[:1] not in "{}%@:,=-+") or (number and _SAFE.match(word))
           for number, word in enumerate(told)):  # fmt: skip
        text = " ".join(told)
        return text if not re.search(r":(\s|$)", text) else _quoted(text)
    return "[" + ", ".join(scalar(word) for word in told) + "]"


def _script_word(sweep: Sweep, word: Word) -> str:
    parts = sweep.template(word)
    if parts == ("",):
        return "''"
    return "".join(
        f'"{part}"' if part == SHELL_CLUSTER
        else f"{{{part}}}" if number % 2 else _literal(shlex.quote(part)) if part else ""
        for number, part in enumerate(parts)
    )  # fmt: skip


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
        yield f"sweep: {{{sweep.columns[0].name}: {{lines: {string(sweep.source)}}}}}"
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
            plain = string(template_text((source,)))
            entry = plain if source == name else f"{{{plain}: {string(template_text((name,)))}}}"
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
                yield f"- {string(source)}"
            else:
                yield f"- {{path: {string(source)}, as: {string(name)}}}"


def _outputs(made: Converted, sweep: Sweep) -> Iterator[str]:
    if made.outputs is None:
        yield "outputs: {changed_only: true}   # all files that the program makes or changes"
        return
    entries = []
    for path, to in made.outputs:
        told = string(template_text(sweep.template(path)))
        if to:
            told = f"{{path: {told}, to: {string(template_text(sweep.template(to)))}}}"
        entries.append(told)
    if entries:
        yield f"outputs: [{', '.join(entries)}]"
