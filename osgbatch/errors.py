"""The errors osgbatch raises: each holds its data and knows how to print itself."""

from __future__ import annotations

from osgbatch import exits


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


class CondorError(OsgbatchError):
    """HTCondor could not be reached, or refused."""

    exit_code = exits.HTCONDOR


class BusyError(OsgbatchError):
    """Another process is working on this batch."""

    exit_code = exits.BUSY


class BatchError(OsgbatchError):
    """A batch is not there, or its folder is not what it should be."""


class ResultError(OsgbatchError):
    """What came back from an execution point cannot be accepted."""

    exit_code = exits.SOME_FAILED
