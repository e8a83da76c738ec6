"""What a running job of the local runner has printed so far."""

from __future__ import annotations

from pathlib import Path

from osgbatch import names
from osgbatch.errors import JobGoneError, OsgbatchError
from osgbatch.local import processes, record, sandbox
from osgbatch.model import Round

LIMIT_BYTES = 150_000


def tail(round_: Round, proc: int) -> bytes:
    """The end of what a running job has printed on its own stdout, at most LIMIT_BYTES.

    Raises JobGoneError when it does not run any more, OsgbatchError when it runs elsewhere.
    """
    found = record.read_record(round_.folder / record.RECORD)
    if found is not None and found.boot_id != processes.boot_id():
        raise OsgbatchError(
            f"the job runs on {found.host}",
            where=str(round_.folder),
            fix="Ask there; what its tasks print comes home when it has ended.",
        )
    starts = sorted(Path(found.scratch).glob(f"{proc}_*"), key=_start) if found else []
    try:
        with (starts[-1] / sandbox.STDOUT).open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(max(0, size - LIMIT_BYTES))
            return stream.read(LIMIT_BYTES)
    except (IndexError, OSError):
        raise JobGoneError(
            f"job {proc} of {round_.folder.parent.parent.name} does not run any more",
            where=str(round_.folder / names.EVENTS),
            fix="It has just ended, or was stopped: try again in a moment.",
        ) from None


def _start(scratch: Path) -> int:
    """Which start of its job a scratch folder is of."""
    number = scratch.name.partition("_")[2]
    return int(number) if number.isdigit() else -1
