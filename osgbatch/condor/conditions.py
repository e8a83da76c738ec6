"""The conditions of a job's Requirements: told apart, and what of slots they read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

_STRING = r"""(?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')"""
_TOKEN = re.compile(
    rf"""({_STRING})|&&|\|\||=\?=|\s+|[()\[\]{{}}?]|[^\s"'&|=()\[\]{{}}?]+|.""", re.S
)


def conjuncts(text: str) -> list[str]:
    """The conditions that an expression joins by `&&`, those in brackets too; each once."""
    tokens = (token[0] if token[1] else token[0].strip() or " " for token in _TOKEN.finditer(text))
    return list(dict.fromkeys(_conjuncts("".join(tokens))))


def _conjuncts(text: str) -> Iterator[str]:
    parts, depth = [""], 0
    for token in (found[0] for found in _TOKEN.finditer(text)):
        depth += (token in "([{") - (token in ")]}")
        if not depth and token in ("||", "?"):
            yield text  # not joined by && at the top
            return
        if not depth and token == "&&":
            parts.append("")
        else:
            parts[-1] += token
    for part in map(str.strip, parts):
        if part.startswith("(") and _closes_at_end(part):
            yield from _conjuncts(part[1:-1].strip())
        elif len(parts) > 1:
            yield from _conjuncts(part)
        elif part:
            yield part


def _closes_at_end(text: str) -> bool:
    """Whether the first bracket is closed by the last character."""
    depth, left = 0, len(text)
    for token in (found[0] for found in _TOKEN.finditer(text)):
        depth += (token in "([{") - (token in ")]}")
        left -= len(token)
        if not depth:
            return left == 0
    return False


def read_by(job: Any, text: str) -> list[str]:
    """The attributes of slots that an expression over a job reads."""
    import classad2

    found = job.externalRefs(classad2.ExprTree(text))
    return [name.rpartition(".")[2] for name in found if name]


def scoped(job: Any, text: str) -> str:
    """A condition with TARGET. before what it reads of slots.

    The negotiator looks for a name without a scope in the job, then in the slot; the evaluation of
    classad2 (25.14.1) only in the job.
    """
    import classad2

    found = job.externalRefs(classad2.ExprTree(text))
    names = [re.escape(name) for name in found if name and "." not in name]
    if not names:
        return text
    own = re.compile(rf"{_STRING}|(?<![\w.])(?:{'|'.join(names)})\b(?!\s*\()", re.I | re.S)
    return own.sub(lambda m: m[0] if m[0][0] in "\"'" else f"TARGET.{m[0]}", text)
