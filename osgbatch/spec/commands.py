"""What a task runs: `command:`, `script:` or `function:`, one of them."""

from __future__ import annotations

import keyword
import re
import shlex
from difflib import get_close_matches

from osgbatch.errors import SpecError, SpecErrors
from osgbatch.spec.document import Loc
from osgbatch.spec.environment_kinds import environment_kind
from osgbatch.spec.reading import Reading
from osgbatch.spec.schema import EnvironmentModel, SpecModel
from osgbatch.spec_model import Function, Script, Template

KINDS = ("command", "script", "function")
_ONE = [[kind] for kind in KINDS]
_SHELL_WORDS = {"|", "||", "&&", "&", ";", ">", ">>", "<", "2>", "2>&1", "&>"}


def read_command(reading: Reading, model: SpecModel) -> tuple[Template, ...]:
    """The words of `command:`; also says so when there is none of the kinds, or two."""
    _check_one(reading, model)
    words: list[tuple[str, Loc]] = []
    if isinstance(model.command, str):
        words = [(word, ("command",)) for word in _split(reading, model.command)]
    elif model.command:
        entries = reading.entries("command", model.command)
        words = [(reading.text(loc, word), loc) for loc, word in entries]
    for word, loc in words:
        if "\0" in word:
            reading.fail("an argument cannot hold a NUL character", reading.place(loc))
    templates = tuple(t for word, loc in words if (t := reading.template(word, reading.place(loc))))
    if words and not words[0][0]:
        reading.fail("the program's name is empty", reading.place(("command",)))
    return templates


def _check_one(reading: Reading, model: SpecModel) -> None:
    given = sorted(
        (kind for kind in KINDS if reading.given(kind)),
        key=lambda kind: (reading.key((kind,)).line, reading.key((kind,)).column),
    )
    unknown = [key for key in reading.document.data if key not in SpecModel.model_fields]
    misspelt = any(get_close_matches(key, SpecModel.model_fields, n=1) in _ONE for key in unknown)
    if not given and not misspelt and not _has_image(model):
        reading.fail(
            '"command" is missing',
            reading.place(()),
            "Every sweep needs a command: `command: python job.py {x}`; or `script:` with lines "
            "for bash; or `function: module:name` for a Python function.",
        )
    for second in given[1:]:
        what = f'"{second}" beside "{given[0]}": a task runs one of them'
        reading.fail(what, reading.key((second,)), "Leave one of them out.")


def _has_image(model: SpecModel) -> bool:
    """Whether the environment is a container, whose image may know what to run."""
    found = model.environment
    if isinstance(found, EnvironmentModel):
        return found.container is not None
    return environment_kind(found) == "container"


def _split(reading: Reading, command: str) -> list[str]:
    """The words of a command, as a shell would split it."""
    place = reading.place(("command",))
    try:
        words = shlex.split(command)
    except ValueError as error:
        what, fix = f"the command cannot be split: {error}", "Leave the backslash at its end out."
        if "quotation" in str(error):
            offset = _open_quote(command)
            place = reading.inside(("command",), command, offset, 1)
            what = f"the command cannot be split: the quote {command[offset]} is never closed"
            fix = f"Close it, or write \\{command[offset]} for a quote that is part of the text."
        reading.fail(what, place, fix)
        return []
    for word in words:
        if word in _SHELL_WORDS:
            reading.fail(
                f'no shell runs the command: "{word}" would reach the program as text',
                place.at(word),
                "Write `script:` for lines that a shell runs; stdout and stderr are kept anyway.",
            )
            break
    return words


def _open_quote(command: str) -> int:
    """Where the quote stands of which a shell would miss the end: an apostrophe, if any."""
    apostrophe = re.search(r"(?<=[A-Za-z])'(?=[A-Za-z])", command)
    if apostrophe:
        return apostrophe.start()
    opened, start, escaped = "", 0, False
    for offset, char in enumerate(command):
        if escaped:
            escaped = False
        elif char == "\\" and opened != "'":
            escaped = True
        elif char == opened:
            opened = ""
        elif char in ("'", '"') and not opened:
            opened, start = char, offset
    return start


def read_script(reading: Reading, model: SpecModel) -> Script | None:
    """`script:`, when there is one and nothing is wrong with it."""
    if model.script is None:
        return None
    try:
        from osgbatch.spec.scripts import parse_script

        return parse_script(model.script, reading.block(("script",)))
    except (SpecError, SpecErrors) as error:
        reading.add(error)
        return None


def read_function(reading: Reading, model: SpecModel) -> Function | None:
    """`function: module:name`, when there is one and nothing is wrong with it."""
    if model.function is None:
        return None
    place = reading.place(("function",))
    module, _, name = model.function.strip().partition(":")
    if not module.endswith(".py") and all(is_name(part) for part in (*module.split("."), name)):
        return Function(module, name, place)
    what = "function: should be a module and a function in it"
    reading.fail(what, place, f"Write {_meant(model.function.strip())}.")
    return None


def is_name(text: str) -> bool:
    """Whether a text can be a name in Python."""
    return text.isidentifier() and not keyword.iskeyword(text)


def _meant(text: str) -> str:
    """`job.py:run`, `job.run` and `lib/job:run(x)` as they should be written."""
    path, _, name = re.sub(r"\(.*\)$", "", text).partition(":")
    name = name.strip()
    module = path.strip().removesuffix(".py").strip("./").replace("/", ".")
    if not name and "." in module and not path.endswith(".py"):
        module, name = module.rsplit(".", 1)
    if (
        not module.endswith(".py")
        and all(is_name(part) for part in module.split("."))
        and (is_name(name) or not name)
    ):
        return f"{module}:{name or 'run'}"
    return "module:name, such as analysis:run for the function run of analysis.py"
