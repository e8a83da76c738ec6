"""What `osgbatch doctor` prints: a line for each check, in groups, and what to do below it."""

from __future__ import annotations

import shutil
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from osgbatch import ui
from osgbatch.examining.check import (
    CANARY,
    FAILURE,
    OK,
    SKIPPED,
    STATES,
    WARNING,
    Here,
    Told,
    exit_code,
)
from osgbatch.examining.doctor import checks

_STATE = max(map(len, STATES))
_NAME = max(len(check.name) for check in checks())
_WIDEST = 110


class Quiet:
    """Prints nothing until all is known."""

    def tell(self, told: Told) -> None:
        """What a check has found."""

    def end(self, told: Sequence[Told]) -> None:
        """All have."""


class Text:
    """Prints what each check found as soon as it has."""

    def __init__(self, here: Here) -> None:
        self._here = here
        self._group = ""
        self._needs: list[Told] = []
        ui.out(f"profile {here.profile.facts.name}: {here.profile.title}")

    def tell(self, told: Told) -> None:
        """What a check has found. Those skipped for the same reason share a line."""
        if told.check.group != self._group or self._of_another(told):
            self._skipped()
        if told.check.group != self._group:
            self._group = told.check.group
            ui.out(f"\n{self._group}")
        if told.found.data.get("needs"):
            self._needs.append(told)
            return
        self._skipped()
        ui.out(_lines(told.found.state, told.check.name, told.found.what, told.found.fix))

    def _of_another(self, told: Told) -> bool:
        return bool(self._needs) and self._needs[0].found.what != told.found.what

    def _skipped(self) -> None:
        if self._needs:
            names = ", ".join(one.check.name for one in self._needs)
            what = self._needs[0].found.what
            self._needs = []
            ui.out(_lines(SKIPPED, "", f"{names}: {what}", ""))

    def end(self, told: Sequence[Told]) -> None:
        """All have."""
        self._skipped()
        ui.out("\n".join(["", summary(told), *last_words(self._here, told)]))


def summary(told: Sequence[Told]) -> str:
    """`20 ok, 1 warning, 3 skipped`."""
    found = Counter(one.found.state for one in told)
    counts = [(state, found[state]) for state in STATES if found[state]]
    names = {"warning": "warnings", "failure": "failures"}
    return ", ".join(f"{count} {names.get(state, state) if count != 1 else state}"
                     for state, count in counts)  # fmt: skip


def last_words(here: Here, told: Sequence[Told]) -> Iterator[str]:
    """What follows from it all, and what to do next."""

    def named(state: str) -> str:
        return ", ".join(one.check.name for one in told if one.found.state == state)

    failed, warned = named(FAILURE), named(WARNING)
    if failed:
        text = f"First put right what has failed ({failed}), as the lines with > say; then look "
        yield from _folded(f"{text}again: osgbatch doctor.")
        return
    can = "Sweeps can be submitted from here" if here.condor else (
        "Sweeps run on this machine alone, since there is no HTCondor here"
    )  # fmt: skip
    yield from _folded(f"{can}. Heed the warnings: {warned}." if warned else f"{can}.")
    steps = {}
    if not any(one.check.group == CANARY for one in told):
        steps["osgbatch doctor --canary"] = "one real job, there and back"
    if (here.folder / "sweep.yaml").is_file():
        steps["osgbatch plan sweep.yaml"] = "what your sweep would do"
    else:
        steps["osgbatch init"] = "a first sweep, from a template"
    for command, why in steps.items():
        yield f"next: {command:<{max(map(len, steps))}}  {why}"


def _folded(text: str) -> list[str]:
    return textwrap.wrap(text, min(_WIDEST, shutil.get_terminal_size().columns))


def data(here: Here, told: Sequence[Told]) -> dict[str, Any]:
    """All of it for other programs."""
    return {
        "profile": here.profile.facts.name,
        "profile_by": here.chosen,
        "exit_code": exit_code(told),
        "checks": [
            {
                "name": one.check.name,
                "group": one.check.group,
                "state": one.found.state,
                "what": one.found.what,
                "fix": one.found.fix,
                "seconds": round(one.seconds, 3),
                "data": dict(one.found.data),
            }
            for one in told
        ],
    }


def _lines(state: str, name: str, what: str, fix: str) -> str:
    """A check: its state and name, what it found, and below that what to do."""
    width = min(_WIDEST, shutil.get_terminal_size().columns)
    shown = (
        f"{state:<{_STATE}}"
        if state == OK
        else f"{state.upper() if state == 'failure' else state:<{_STATE}}"
    )
    head = f"  {shown}  {name:<{_NAME}}  " if name else f"  {shown}  "
    inner = " " * len(head) if name else " " * 6
    room = max(20, width - len(inner))
    lines = textwrap.wrap(
        ui.one_line(" ".join(what.split())), max(20, width - len(head)), break_on_hyphens=False
    )
    found = [head + (lines[0] if lines else "")]
    found += [inner + line for line in lines[1:]]
    for line in fix.splitlines():
        if "|" in line[:8]:  # a source and the caret under it
            found.append(inner + line)
            continue
        first = textwrap.wrap(ui.one_line(line.strip()), room - 2, break_on_hyphens=False)
        found += [f"{inner}{'> ' if i == 0 else '  '}{text}" for i, text in enumerate(first)]
    return "\n".join(line.rstrip() for line in found)
