"""Finds what one word means: a submit command, a code, a state, an event, a key of the spec."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from osgbatch.errors import OsgbatchError
from osgbatch.explaining import commands, everyday, pages, words
from osgbatch.explaining.everyday import Everyday, Lead
from osgbatch.explaining.keys import KEYS


@dataclass(frozen=True)
class Explained:
    """One meaning of a word.

    kind: command, attribute, hold, exit, signal, state, event, macro, word, key, everyday, or
    stderr. title: what is explained; text: in plain sentences; todo: what to do; commands: to type;
    manual: the page in words, url: its address; see: a page of osgbatch's own, or a command; leads:
    of an everyday word, where it leads.
    """

    kind: str
    title: str
    text: str
    todo: str = ""
    commands: tuple[str, ...] = ()
    manual: str = ""
    url: str = ""
    see: str = ""
    leads: tuple[Lead, ...] = ()


def explain(asked: str) -> list[Explained]:
    """All that a word means, the likeliest first; of a longer text, what it is about.

    Raises OsgbatchError, with the nearest words.
    """
    text = " ".join(asked.split())
    found = list(dict.fromkeys(one for find in _FINDERS for one in find(text) if one.text))
    if not found:
        found = list(_about(text))
    if not found:
        raise OsgbatchError(f'"{repr(text[:80])[1:-1]}" is not known here', fix=_nearest(text))
    return found


def _nearest(text: str) -> str:
    known = [name for names in listed().values() for name in names]
    known += [name for name in words.table() if " (" not in name]
    known += everyday.table()
    near = get_close_matches(text.lower(), [k.lower() for k in known], n=3, cutoff=0.6)
    meant = f"Did you mean {' or '.join(dict.fromkeys(near))}? " if near else ""
    return f"{meant}`osgbatch explain --list` lists what is known."


# --- each kind ----------------------------------------------------------------------------------


_BARE = r"([1-9]\d*)()"
"""A number alone may be a hold code, an exit code or an event."""


def _hold(text: str) -> Iterator[Explained]:
    asked = re.fullmatch(
        r"(?:hold(?:reasoncode)?|held|code)\s*(?:code\s*)?[=:]?\s*(\d+)"
        r"(?:\s*(?:[./:,]|,?\s*subcode\s*)\s*(-?\d+))?",
        text, re.IGNORECASE,
    )  # fmt: skip
    bare = re.fullmatch(_BARE, text)
    asked = asked or bare
    if not asked:
        return
    from osgbatch.condor.hold_codes import explain_hold, known_codes, subcode_words

    code, subcode = int(asked[1]), int(asked[2] or 0)
    if code not in known_codes():
        if bare:
            return
        last = max(known_codes())
        raise OsgbatchError(
            f"hold code {code} is not known here", fix=f"HTCondor's codes go from 0 to {last}."
        )
    row = explain_hold(code, subcode)
    meant = subcode_words(code, subcode) if asked[2] else ""
    cause = row.cause + (f" Subcode {subcode}: {meant}." if meant else "")
    shown = f"hold {code}" + (f".{subcode}" if asked[2] else "") + f" ({row.name})"
    yield Explained(
        "hold", shown, cause, row.todo, _typed(row.commands),
        pages.cited(pages.HOLDS), pages.url(pages.HOLDS), "docs/troubleshooting.md",
    )  # fmt: skip


def _typed(found: tuple[str, ...]) -> tuple[str, ...]:
    """Commands with words for what only a batch can tell."""
    for name, word in (
        ("batch", "BATCH"), ("task", "TASK"), ("memory", "SIZE"), ("disk", "SIZE"),
        ("cpus", "NUMBER"), ("time", "TIME"),
    ):  # fmt: skip
        found = tuple(one.replace("{" + name + "}", word) for one in found)
    return found


_LOOK = ("See what it wrote.", ("osgbatch logs BATCH --task TASK",))


def _exit(text: str) -> Iterator[Explained]:
    asked = re.fullmatch(
        r"(?:exit|exit\s*code|exitcode|return value|shim|shim code)\s*[=:]?\s*(\d+)",
        text, re.IGNORECASE,
    )  # fmt: skip
    bare = re.fullmatch(_BARE, text)
    asked = asked or bare
    if not asked or (bare and int(bare[1]) > 255):
        return
    from osgbatch.returned.codes import EXIT_CODES, SHIM_CODES, SIGNALS

    code = int(asked[1])
    see = "docs/troubleshooting.md"
    title = f"exit code {code}"
    if code > 255:
        raise OsgbatchError(f"there is no exit code {code}", fix="Exit codes go from 0 to 255.")
    shim = SHIM_CODES.get(code)
    if shim is not None:
        again = (
            "HTCondor starts such a job again by itself, elsewhere where it can."
            if shim.retried else "HTCondor does not start such a job again by itself."
        )  # fmt: skip
        told = f"{_sentence(shim.cause)} {again}"
        yield Explained("exit", f"{title} of a job (the shim's)", told, shim.todo,
                        _typed(shim.commands), see=see)  # fmt: skip
    if code == 0:
        yield Explained("exit", title, "The program says that it has succeeded. osgbatch also "
                        "looks whether all required outputs are there.", see=see)  # fmt: skip
    elif code == 85:
        yield Explained("exit", f"{title} (with checkpoint:)", "The program has saved its state "
                        "and wants to go on: HTCondor keeps the state and starts it again. Without "
                        "`checkpoint:` it is a failure like any other.",
                        manual=pages.cited(pages.JDL, "checkpoint_exit_code"),
                        url=pages.url(pages.JDL, "checkpoint_exit_code"),
                        see="osgbatch explain checkpoint")  # fmt: skip
    if code in EXIT_CODES:
        yield Explained("exit", f"{title} of a command", _sentence(EXIT_CODES[code]),
                        *_LOOK, see=see)  # fmt: skip
    elif code > 128 and code - 128 in SIGNALS:
        name, meaning = SIGNALS[code - 128]
        yield Explained("exit", f"{title} of a command", f"A shell's word for signal {code - 128} "
                        f"({name}): {meaning}.", see=see)  # fmt: skip
    elif shim is None and code not in (0, 85):
        yield Explained("exit", f"{title} of a command", "The program's own code: only its "
                        "documentation, and what it wrote on stderr, say what it means. osgbatch "
                        "keeps 100 to 119, 120 and 137 for itself.",
                        *_LOOK, see=see)  # fmt: skip


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}" + ("" if text.endswith(".") else ".")


def _signal(text: str) -> Iterator[Explained]:
    asked = re.fullmatch(r"(?:signal\s*|sig)(\d+|[a-z]+)", text, re.IGNORECASE)
    asked = asked or re.fullmatch(_BARE, text)
    if not asked:
        return
    from osgbatch.returned.codes import SIGNALS

    word = asked[1].upper().removeprefix("SIG")
    for number, (name, meaning) in SIGNALS.items():
        if word in (str(number), name):
            yield Explained("signal", f"signal {number} ({name})", _sentence(meaning),
                            see="docs/troubleshooting.md")  # fmt: skip


def _word(text: str) -> Iterator[Explained]:
    name = re.sub(r"^job\s*status\s*[=:]*\s*(?=\d|$)", "jobstatus ", text.lower()).strip()
    found = words.table().get(name)
    if found is not None:
        yield _explained_word(found)
    elif name in ("jobstatus", "state", "states", "job state", "job states"):
        yield from map(_explained_word, words.states())
    elif re.fullmatch(_BARE, text):
        for name in (f"jobstatus {text}", f"event {text}"):
            if name in words.table():
                yield _explained_word(words.table()[name])


def _explained_word(found: words.Word) -> Explained:
    command = found.see if found.see.startswith("osgbatch ") else ""
    return Explained(
        found.kind, found.names[0], found.text, "", (command,) if command else (),
        pages.cited(found.page), pages.url(found.page, found.anchor),
        "" if command else found.see,
    )  # fmt: skip


def _command(text: str) -> Iterator[Explained]:
    name = text.removesuffix("=").strip()
    attribute = re.fullmatch(r"(?:\+|my\.)([a-z_]\w*)", name, re.IGNORECASE)
    if attribute:
        from osgbatch.explaining.attributes import explain_attribute

        known = explain_attribute(attribute[1])
        yield Explained("attribute", f"+{attribute[1]}", known,
                        manual=pages.cited(pages.JDL, "MY.<attribute> or +<attribute>"),
                        url=pages.url(pages.ATTRIBUTES))  # fmt: skip
        return
    found = commands.explain(name) if re.fullmatch(r"\w+", name) else None
    if found is not None:
        yield Explained(
            "command", f"{found.name} (submit command)", found.text, "", (),
            pages.cited(found.page, found.anchor), pages.url(found.page, found.anchor),
        )  # fmt: skip


def _key(text: str) -> Iterator[Explained]:
    path = re.fullmatch(r"[a-z_]\w*(?:\.[a-z_]\w*)*:?", text)
    if not path or text.partition(".")[0].rstrip(":") not in KEYS:
        return
    described = spec_keys().get(text.removesuffix(":"))
    if described:
        yield Explained("key", f"{text.removesuffix(':')}: (key of sweep.yaml)", described,
                        see="docs/spec.md")  # fmt: skip


def _everyday(text: str) -> Iterator[Explained]:
    name = text.lower().strip(" .!?:")
    found = everyday.table().get(name)
    if found is not None:
        yield _led(name, found)


def _led(name: str, found: Everyday) -> Explained:
    return Explained("everyday", f"{name}: where to look", found.text, leads=found.leads)


_FINDERS = (_hold, _exit, _signal, _key, _command, _word, _everyday)


def _about(text: str) -> Iterator[Explained]:
    """Of words that are no name of anything: what they tell as a line of stderr, or speak of."""
    from osgbatch.returned.codes import sign

    line = everyday.of_line(text)
    if line == "line ends":  # other signs in it mislead: "No such file or directory"
        yield _led(line, everyday.table()[line])
        return
    known = sign(text)
    if known is not None:
        yield Explained("stderr", f'"{known.words}" on stderr', _sentence(known.cause),
                        known.todo, _typed(known.commands))  # fmt: skip
    name = everyday.inside(text) if known is not None else line or everyday.inside(text)
    if name:
        yield _led(name, everyday.table()[name])


# --- the keys of a sweep.yaml -------------------------------------------------------------------


def spec_keys() -> dict[str, str]:
    """All keys of a sweep.yaml with what the schema says of them: `resources.memory`."""
    from osgbatch.spec.jsonschema import json_schema

    made = json_schema()
    found: dict[str, str] = {}
    _described(made, "", made["$defs"], found)
    return found


def _described(
    part: dict[str, Any], path: str, definitions: dict[str, Any], found: dict[str, str]
) -> None:
    for key, value in part.get("properties", {}).items():
        name = f"{path}{key}"
        told = value.get("description", "")
        if told:
            examples = value.get("examples") or []
            shown = f" For example: {_plain(examples[0])}" if examples else ""
            default = value.get("default")
            usual = f" Default: {default}." if isinstance(default, (str, int)) and default else ""
            found[name] = f"{told}{usual}{shown}"
        if path.count(".") < 1 and key != "steps":
            for below in _models(value, definitions):
                _described(below, f"{name}.", definitions, found)


def _plain(example: object) -> str:
    if isinstance(example, dict):
        inner = ", ".join(f"{key}: {_plain(value)}" for key, value in example.items())
        return f"{{{inner}}}"
    return str(example)


def _models(value: Any, definitions: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The models that a value may be one of, or a list of."""
    if isinstance(value, dict):
        if "$ref" in value:
            yield definitions[value["$ref"].rpartition("/")[2]]
        for key in ("anyOf", "oneOf", "allOf"):
            for one in value.get(key, ()):
                yield from _models(one, definitions)
        yield from _models(value.get("items"), definitions)


# --- the list -----------------------------------------------------------------------------------


def listed() -> dict[str, list[str]]:
    """All that can be asked, by its kind, as it is to be typed."""
    from osgbatch.condor.hold_codes import HOLD_CODES
    from osgbatch.explaining.attributes import ATTRIBUTES
    from osgbatch.returned.codes import SHIM_CODES

    everything = {id(word): word for word in words.table().values()}.values()
    holds = dict.fromkeys(
        f"hold {row.code}" + (f".{row.subcode}" if row.subcode is not None else "")
        for row in HOLD_CODES
    )
    return {
        "everyday words": list(dict.fromkeys(w.names[0] for w in everyday.table().values())),
        "submit commands": sorted({one.name for one in commands.table().values()}),
        "attributes": [f"+{name}" for name in ATTRIBUTES],
        "hold codes": list(holds),
        "exit codes": ["exit 85", *(f"exit {code}" for code in SHIM_CODES)],
        "states": [word.names[1 if " (" in word.names[0] else 0] for word in everything
                   if word.kind == "state"],
        "events": [word.names[1] for word in everything if word.kind == "event"],
        "macros": list(dict.fromkeys(
            name for word in everything if word.kind == "macro"
            for name in word.names if name.startswith("$(") and " " not in name)),
        "words": [word.names[0] for word in everything if word.kind == "word"],
        "keys of sweep.yaml": sorted(spec_keys()),
    }  # fmt: skip
