"""Values of a submit file with their macros filled in, as far as they are the same for all jobs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Evaluate = Callable[[str, Mapping[str, str]], str | None]
"""HTCondor's own filling in of a text, with the variables of one job; None where it is not here."""

PROC = frozenset(["procid", "process"])
ITEM_INDEX = frozenset(["itemindex", "row"])
STEP = "step"
CLUSTER = "clusterid"
"""The number of the cluster: a job knows it once it runs."""
UNKNOWN = frozenset(["cluster", "clusterid", "jobid", "joblistid"])
"""What is not known before the jobs are in the queue."""
TOO_LATE = "{} is known only when the jobs are in the queue"
_RANDOM = ("$RANDOM_CHOICE", "$RANDOM_INTEGER")
_DEPTH = 12


class NotImported(Exception):
    """Something that a sweep.yaml cannot say. Its text: what, and what can be done."""


@dataclass(frozen=True)
class Variable:
    """A place in a value where each job has its own text. name: in lower case, without $( )."""

    name: str


@dataclass(frozen=True)
class Call:
    """A function of the submit language over variables of a job: `$Fn(book)`."""

    text: str


Part = str | Variable | Call


@dataclass(frozen=True)
class Macros:
    """All macros of a file. values: by their names in lower case; items: variables of the queue."""

    values: Mapping[str, str]
    items: frozenset[str]
    evaluate: Evaluate

    def parts(self, text: str, depth: int = 0) -> tuple[Part, ...]:
        """A value as literal texts and what differs between jobs.

        Raises NotImported for what no sweep can say.
        """
        if depth > _DEPTH:
            raise NotImported("its macros go round in a circle")
        found: list[Part] = []
        at = 0
        while at < len(text):
            start = text.find("$", at)
            if start < 0:
                found.append(text[at:])
                break
            found.append(text[at:start])
            if text.startswith("$$", start):
                raise NotImported("$$(…) is filled in by the slot that the job gets")
            opened = re.compile(r"\$(\w*)\(").match(text, start)
            if not opened:
                found.append("$")
                at = start + 1
                continue
            end = _closing(text, opened.end() - 1)
            found += self._macro(opened[1], text[opened.end() : end], text[start : end + 1], depth)
            at = end + 1
        return _joined(found)

    def constant(self, text: str) -> str:
        """A value that is the same for all jobs. Raises NotImported when it is not."""
        found = self.parts(text)
        if Variable(CLUSTER) in found:
            raise NotImported(TOO_LATE.format("$(Cluster)"))
        if any(not isinstance(part, str) for part in found):
            raise NotImported(f'it differs between jobs: "{text}"')
        return "".join(part for part in found if isinstance(part, str))

    def _macro(self, function: str, inside: str, whole: str, depth: int) -> tuple[Part, ...]:
        if function:
            return self._call(function, inside, whole, depth)
        name, colon, default = inside.partition(":")
        low = name.strip().lower()
        low = re.sub(r"^my\.", "+", low)
        if low == "dollar":
            return ("$",)
        if low in self.items or low in PROC or low in ITEM_INDEX or low == STEP:
            return (Variable(low),)
        if low in self.values:
            return self.parts(self.values[low], depth + 1)
        if low in ("cluster", "clusterid"):
            return (Variable(CLUSTER),)
        if low == "jobid":
            return (Variable(CLUSTER), ".", Variable("procid"))
        if low in UNKNOWN:
            raise NotImported(TOO_LATE.format(whole))
        if colon:
            return self.parts(default, depth + 1)
        told = self.evaluate(whole, {})
        if told:
            return (told,)
        raise NotImported(
            f"{whole} is set nowhere in this file: set it, as `condor_submit NAME=value` would"
        )

    def _call(self, function: str, inside: str, whole: str, depth: int) -> tuple[Part, ...]:
        if f"${function}" in _RANDOM:
            raise NotImported(f"{whole} is random; `random:` of a sweep draws with a seed")
        if function == "ENV":
            told = self.evaluate(whole, {})
            if told is None:
                raise NotImported(f"{whole} needs HTCondor's bindings, which are not here")
            return (told,)
        if self._differs(inside, depth):
            return (Call(whole),)
        told = self.evaluate(whole, {})
        if told is None:
            raise NotImported(f"{whole} needs HTCondor's bindings, which are not here")
        return (told,)

    def _differs(self, inside: str, depth: int) -> bool:
        """Whether what a function is given differs between jobs."""
        if depth > _DEPTH:
            raise NotImported("its macros go round in a circle")
        for word in re.findall(r"[A-Za-z_][\w.]*", inside):
            low = word.lower()
            if low in UNKNOWN:
                raise NotImported(TOO_LATE.format(f"$({word})"))
            if low in self.items or low in PROC or low in ITEM_INDEX or low == STEP:
                return True
            if low in self.values and self._differs(self.values[low], depth + 1):
                return True
        return False


def _closing(text: str, opened: int) -> int:
    """The place of the bracket that closes the one at `opened`."""
    depth = 0
    for at in range(opened, len(text)):
        depth += {"(": 1, ")": -1}.get(text[at], 0)
        if not depth:
            return at
    raise NotImported(f'a bracket is not closed: "{text[opened - 1 :]}"')


def _joined(parts: Sequence[Part]) -> tuple[Part, ...]:
    """Texts that follow each other as one; empty ones left out."""
    found: list[Part] = []
    for part in parts:
        if isinstance(part, str) and found and isinstance(found[-1], str):
            found[-1] += part
        elif part != "":
            found.append(part)
    return tuple(found)
