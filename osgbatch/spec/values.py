"""How single values of a spec are read, and what a JSON Schema says of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from osgbatch.spec import units
from osgbatch.spec.environment_kinds import environment_fault, environment_kind

TEXT: dict[str, Any] = {"type": "string", "minLength": 1}
SCALAR: dict[str, Any] = {"type": ["string", "number", "boolean"]}

TAGS = frozenset(["[value]", "[list]", "[keys]", "[pair]"])
"""Which form of a value was meant; pydantic puts it into the paths of its errors."""


class Advice(ValueError):
    """What is wrong with a value, and what to write instead."""

    def __init__(self, what: str, fix: str = "") -> None:
        super().__init__(what)
        self.fix = fix


@dataclass(frozen=True, eq=False)
class Check:
    """Reads a value of any type. read: raises ValueError; json: its JSON Schema."""

    read: Callable[[Any], Any]
    json: Mapping[str, Any] = field(default_factory=dict)

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return dict(self.json)


class OneOrMore:
    """Marks a list that may be written as its only entry."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_before_validator_function(_listed, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        array = handler(schema)
        return {"anyOf": [array["items"], array]}


def _listed(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def keys_or_value(value: Any) -> str:
    """The tag of a value that is keys and values, or something else."""
    return "[keys]" if isinstance(value, dict) else "[value]"


def list_or_value(value: Any) -> str:
    """The tag of a value that is a list, or something else."""
    return "[list]" if isinstance(value, list) else "[value]"


def output_form(value: Any) -> str:
    """The tag of an entry of `outputs:`; `{x}` without quotes is none that has keys."""
    return "[keys]" if isinstance(value, dict) and not _quotes(value) else "[value]"


def outputs_form(value: Any) -> str:
    """The tag of `outputs:`: {include: …, exclude: …, changed_only: …}, or entries."""
    is_entry = not isinstance(value, dict) or "path" in value or _quotes(value)
    return "[list]" if is_entry else "[keys]"


def checkpoint_form(value: Any) -> str:
    """The tag of `checkpoint:`: text, a list, or {files: …, every: …}."""
    if isinstance(value, list):
        return "[list]"
    return "[keys]" if isinstance(value, dict) and not _quotes(value) else "[value]"


def input_form(value: Any) -> str:
    """The tag of an entry of `inputs:`: text, {source: target}, or {path: …, as: …}."""
    if not isinstance(value, dict):
        return "[value]"
    return "[keys]" if "path" in value or "as" in value else "[pair]"


def file_form(value: Any) -> str:
    """The tag of an entry of `files:`: text, or {source: target}."""
    return "[pair]" if isinstance(value, dict) else "[value]"


def text(value: Any) -> str:
    """Any text."""
    if isinstance(value, bool) or not isinstance(value, str):
        quoted = "Put it in quotes." if isinstance(value, (int, float)) else _quotes(value)
        raise Advice("should be text", quoted)
    if "\0" in value:
        raise ValueError("must not hold a NUL character")
    return value


def nonempty(value: Any) -> str:
    """Text that is not empty."""
    if not text(value).strip():
        raise ValueError("is empty")
    return str(value)


def one_line(value: Any) -> str:
    """Text without a line break, its ends stripped."""
    found = nonempty(value).strip()
    if re.search(r"[\n\r]", found):
        raise Advice("should be in one line", "Write `>-` and not `|` to fold lines into one.")
    return found


def _quotes(value: Any) -> str:
    """How to write `{x}`, which without quotes is a mapping to YAML; empty for anything else."""
    if isinstance(value, dict) and list(value.values()) == [None]:
        return f'Write "{{{next(iter(value))}}}", in quotes, for the value of a column.'
    return ""


def scalar(what: str = "should be text or a number") -> Callable[[Any], Any]:
    """A reader of text, numbers and true or false; their text stands in the document."""

    def read(value: Any) -> Any:
        if isinstance(value, (dict, list)) or value is None:
            raise Advice(what, _quotes(value))
        if isinstance(value, str) and "\0" in value:
            raise ValueError("cannot hold a NUL character")
        return value

    return read


def stash(value: Any) -> str:
    """`none`, or the URL of a bucket."""
    found = nonempty(value).strip()
    if found == "none" or re.match(r"s3://[^/]", found):
        return found
    fix = "Write none, s3://bucket/prefix, or {folder: DIR, url: …} for a folder that a URL serves."
    raise Advice(f'"{found}" is no stash', fix)


def command(value: Any) -> str:
    """A command in one text."""
    if not isinstance(value, str):
        raise ValueError("should be text, or a list of the program and its arguments")
    return nonempty(value)


def arguments(value: Any) -> Any:
    """A command as a list; what stands in it is for pydantic to check."""
    if not value:
        raise ValueError("is empty; write the program and its arguments")
    return value


def pair(value: Any) -> dict[str, Any]:
    """`{source: target}`."""
    if len(value) != 1:
        parts = ", ".join(f"{{{key}: {target}}}" for key, target in value.items())
        fix = f"Write a list: [{parts}]." if value else "Write {model.h5: weights/model.h5}."
        raise Advice("should be one pair, {source: target}", fix)
    if _quotes(value):
        raise Advice("without quotes, braces make a pair {source: target}", _quotes(value))
    (source, target), *_ = value.items()
    nonempty(source)
    if isinstance(target, (dict, list)) or target is None or not str(target).strip():
        fix = f"Write {{{source}: weights/model.h5}}, or the source alone."
        raise Advice("the target should be a path in the task's folder", fix)
    return {source: target}


def _braces(value: str, unit: str) -> str:
    """How to write `{mem} GB` as an expression; empty when there are no braces in it."""
    found = re.fullmatch(r"(.*?)\{(\w+)\}\s*([A-Za-z]*)\s*", value)
    if not found:
        return ""
    measure = found[3] or unit
    return f'Write {{expr: "{found[2]}{f" * 1 {measure}" if measure else ""}"}}.'


def size(parse: Callable[[str], int]) -> Callable[[Any], int]:
    """A reader of sizes. parse: text with a unit to a number."""
    return _measure("a size", "GB", "MB", parse)


def _measure(what: str, unit: str, other: str, parse: Callable[[str], int]) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            raise ValueError(f"{what} needs a unit: write {value} {unit} or {value} {other}")
        fix = _braces(value, unit) if isinstance(value, str) else ""
        if fix:
            raise Advice("placeholders are not known here", fix)
        return parse(nonempty(value))

    return read


time: Callable[[Any], int] = _measure("a time", "min", "h", units.seconds)


def whole(low: int, high: int) -> Callable[[Any], int]:
    """A reader of whole numbers from low to high."""

    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            fix = _braces(value, "") if isinstance(value, str) else ""
            raise Advice("should be a whole number", fix)
        if not low <= value <= high:
            raise ValueError(f"should be between {low} and {high}")
        return value

    return read


def number_json(low: int, high: int) -> dict[str, Any]:
    """The JSON Schema of whole numbers from low to high."""
    return {"type": "integer", "minimum": low, "maximum": high}


def tasks_per_job(value: Any) -> int:
    """A number of tasks; 0 for auto."""
    if value == "auto":
        return 0
    if isinstance(value, str):
        raise Advice('should be a whole number, or "auto"')
    return whole(1, 1_000_000)(value)


def times(value: Any) -> int:
    """How often to try again, where `retries:` is only that."""
    if isinstance(value, (str, list)):
        fix = "Write `retries: 3`, or `retries: {times: 3, on: any}`."
        raise Advice("should be a whole number, or keys and values", fix)
    return whole(0, 100)(value)


def retries_on(value: Any) -> str:
    """When to try again, where it is not a list of exit codes."""
    if value not in ("infrastructure", "any"):
        fix = f"Write [{value}]." if isinstance(value, int) else ""
        raise Advice('should be "infrastructure", "any" or a list of exit codes', fix)
    return str(value)


def environment(value: Any) -> str:
    """`none` (empty text), or what names an environment."""
    if value == "none" or value is None:
        return ""
    if isinstance(value, str) and environment_kind(nonempty(value)):
        wrong = environment_fault(value)
        if wrong[0]:
            raise Advice(*wrong)
        return value
    fix = "Write environment.yml, requirements.txt, .venv/, my-env.tar.gz, image.sif or "
    fix += "docker://python:3.12; or none for what the execution point has."
    if isinstance(value, str) and re.fullmatch(r"[\w-]+", value):
        fix = f"Write {value}/ for a folder with an environment in it, environment.yml or "
        fix += "requirements.txt for one to make, none for what the execution point has."
    raise Advice("should name an environment, or be none", fix)


def python_version(value: Any) -> Any:
    """A version of Python, `3.12`; its text stands in the document."""
    if isinstance(value, bool) or not re.fullmatch(r"3(\.[0-9]+)?", str(value)):
        found = re.match(r"(?:python *)?=*(3\.[0-9]+)", str(value))
        fix = f'Write "{found[1]}".' if found else 'Write "3.12".'
        raise Advice("should be a version of Python, without its last part", fix)
    return value


def module_name(value: Any) -> str:
    """A module that can be imported: `scipy.signal`."""
    found = nonempty(value).strip()
    if not all(part.isidentifier() for part in found.split(".")):
        fix = "Write the name that stands behind `import`, such as sklearn or scipy.signal."
        raise Advice(f'"{found}" is no name of a module', fix)
    return found


def capability(value: Any) -> Any:
    """A GPU's compute capability, such as 8.6; its text stands in the document."""
    if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,2}(\.[0-9])?", str(value)):
        raise Advice("should be a compute capability", "Write a number such as 7.0 or 8.6.")
    return value


def operating_system(value: Any) -> str:
    """ "el9"; "RHEL 9" and "rhel9" are the same."""
    known = "el7, el8, el9 and el10"
    if isinstance(value, int) and not isinstance(value, bool) and 7 <= value <= 10:
        raise Advice(f'"{value}" is no operating system', f"Write el{value}.")
    found = re.fullmatch(r"(?:el|rhel)[ _-]?([0-9]+)(\.[0-9x]+)?", nonempty(value).strip(), re.I)
    if not found or not 7 <= int(found[1]) <= 10:
        raise Advice(f'unknown operating system "{value}"', f"Known are {known}.")
    if found[2]:
        raise Advice(f'"{value}" names a minor version', f"Write el{found[1]}.")
    return f"el{found[1]}"


_ARCHITECTURES = {
    "x86_64": "x86_64", "x86-64": "x86_64", "amd64": "x86_64",
    "aarch64": "aarch64", "arm64": "aarch64",
}  # fmt: skip


def architecture(value: Any) -> str:
    """ "x86_64" or "aarch64", by their usual names."""
    found = _ARCHITECTURES.get(nonempty(value).strip().lower())
    if not found:
        near = get_close_matches(str(value).lower(), _ARCHITECTURES, n=1)
        did_you = f'; did you mean "{_ARCHITECTURES[near[0]]}"?' if near else ""
        raise Advice(f'unknown architecture "{value}"{did_you}', "Known are x86_64 and aarch64.")
    return found


def microarchitecture(value: Any) -> str:
    """ "x86_64-v3"; "x86-64-v3" and "v3" are the same."""
    found = re.fullmatch(r"(?:x86[-_]64[-_])?(v[1-4])", nonempty(value).strip(), re.I)
    if not found:
        fix = "Known are x86_64-v1, x86_64-v2, x86_64-v3 and x86_64-v4."
        raise Advice(f'unknown CPU level "{value}"', fix)
    return f"x86_64-{found[1].lower()}"


def repository(value: Any) -> str:
    """The name of a CVMFS repository."""
    name = nonempty(value).strip()
    bare = name.removeprefix("/cvmfs/").strip("/")
    if not re.fullmatch(r"[A-Za-z0-9.-]+", name):
        plain = re.fullmatch(r"[A-Za-z0-9.-]+", bare)
        fix = f"Write {bare}." if plain else "Write a name such as oasis.opensciencegrid.org."
        raise Advice(f'"{name}" is no CVMFS repository', fix)
    return name


def label(what: str) -> Callable[[Any], Any]:
    """A reader of names that stand in a list in quotes. what: "a site", "a tag"."""

    def read(value: Any) -> Any:
        found = str(scalar()(value)).strip()
        if not found:
            raise ValueError("is empty")
        if re.search(r"[\"',\\\n\r“”‘’]", found):
            fix = f"Write [{found}]." if re.fullmatch(r"[\w.-]+(\s*,\s*[\w.-]+)+", found) else ""
            raise Advice(f"{what} has no commas, quotes, backslashes or line breaks", fix)
        return found if isinstance(value, str) else value

    return read


def project(value: Any) -> str:
    """The name of a project."""
    if not re.fullmatch(r"[A-Za-z0-9._-]+", nonempty(value)):
        raise Advice(f'"{value}" cannot name a project', "Use letters, digits and . _ -")
    return str(value)


def orcid(value: Any) -> str:
    """An ORCID, `0000-0002-1825-0097`, also as the address that it is shown as."""
    text = nonempty(value).removeprefix("https://orcid.org/")
    if not re.fullmatch(r"\d{4}-\d{4}-\d{4}-\d{3}[\dX]", text, re.ASCII):
        raise Advice(f'"{value}" is no ORCID', "Write it as 0000-0002-1825-0097.")
    return text


def email(value: Any) -> str:
    """One mail address."""
    if not re.fullmatch(r"[^\s@,;\"'<>]+@[^\s@,;\"'<>]+", nonempty(value)):
        raise Advice(f'"{value}" is no mail address', "Write one address, such as me@example.org.")
    return str(value)


def choice(*words: str) -> Callable[[Any], str]:
    """A reader of one of some words."""

    def read(value: Any) -> str:
        if value not in words:
            near = get_close_matches(str(value), words, n=1)
            did_you = f'; did you mean "{near[0]}"?' if near else ""
            raise Advice(f"should be {', '.join(words[:-1])} or {words[-1]}{did_you}")
        return str(value)

    return read
