"""The errors osgbatch raises: each holds its data and knows how to print itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from osgbatch import exits

if TYPE_CHECKING:  # what a spec is need not be loaded to say that a batch is not there
    from osgbatch.spec_model import Place, Spec


class OsgbatchError(Exception):
    """Something the user can do something about.

    what: one sentence that says what is wrong.
    where: the file, job or host, when there is one; printed in front.
    fix: one sentence that says what to do.
    """

    exit_code = exits.BAD_INPUT

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.fix = fix

    def __str__(self) -> str:
        head = f"{self.where}: {self.what}" if self.where else self.what
        return f"{head}\n  {self.fix}" if self.fix else head


class PackingError(OsgbatchError):
    """An archive could not be made."""

    exit_code = exits.PACKING


class StagingError(OsgbatchError):
    """Something could not be brought to the stash, or is not there as it should be."""

    exit_code = exits.STAGING


class CondorError(OsgbatchError):
    """HTCondor could not be reached, or refused."""

    exit_code = exits.HTCONDOR


class JobGoneError(CondorError):
    """A job is not in the queue any more: what it did comes home, or has come."""

    exit_code = exits.BAD_INPUT


class RefusedError(CondorError):
    """HTCondor refused a round, and it is known that none of its jobs is left in the queue."""


class BusyError(OsgbatchError):
    """Another process is working on this batch."""

    exit_code = exits.BUSY


class BatchError(OsgbatchError):
    """A batch is not there, or its folder is not what it should be."""


class ResultError(OsgbatchError):
    """What came back from an execution point cannot be accepted."""

    exit_code = exits.SOME_FAILED


class SpecError(OsgbatchError):
    """A mistake in a file that the user wrote, with the place and a caret under it."""

    def __init__(self, what: str, place: Place, *, fix: str = "") -> None:
        super().__init__(what, where=f"{place.file}:{place.line}:{place.column}", fix=fix)
        self.place = place

    def __str__(self) -> str:
        lines = [f"{self.where}: {self.what}"]
        if self.place.source:
            number = str(self.place.line)
            source, column = _window(self.place.source, self.place.column)
            width = max(1, min(self.place.width, len(source) - column + 1))
            lines.append(f"    {number} | {source}")
            lines.append(f"    {' ' * len(number)} | {' ' * (column - 1)}{'^' * width}")
        if self.fix:
            lines.append(f"  {self.fix}")
        return "\n".join(lines)


class SpecErrors(OsgbatchError):
    """All mistakes found in a spec, at once.

    spec: what is right in it, when more can be looked for; whole_sweep: whether that is so of all
    its columns.
    """

    def __init__(
        self, errors: Sequence[SpecError], spec: Spec | None = None, *, whole_sweep: bool = False
    ) -> None:
        super().__init__(errors[0].what)
        self.errors = tuple(errors)
        self.spec = spec
        self.whole_sweep = whole_sweep

    def __str__(self) -> str:
        return "\n".join(str(error) for error in self.errors)


def _window(source: str, column: int, width: int = 100) -> tuple[str, int]:
    """The part of a long line around `column`, and the column inside it."""
    # What a terminal would obey is shown as one blank, as a tab is: columns stay what they are.
    source = "".join(c if c.isprintable() else " " for c in source)
    if len(source) <= width:
        return source, column
    start = max(0, min(column - 1 - width // 2, len(source) - width))
    return source[start : start + width], column - start
