"""What is written down of a round: why it was made, and what the backend said when it took it."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from osgbatch import names
from osgbatch.batches.eventlog import log_cluster
from osgbatch.batches.reading import ODD, damaged
from osgbatch.batches.writing import write_json
from osgbatch.model import Round, Submitted
from osgbatch.task_ranges import MAX_TASKS, parse_task_ranges

FIRST, CANARY, REST, RESUBMIT = "first", "canary", "rest", "resubmit"
"""Why a round is made."""
LOCAL_RECORD = "local.json"
"""What only the local runner's rounds have."""
_RANGE = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?")
_NUMBERS = re.compile(r"[0-9+\n-]*")
REUSED = "reused"
"""Of one that nobody is asked to run: earlier batches have done all its tasks."""


@dataclass(frozen=True)
class RoundNote:
    """Why a round was made, and of what (`round.json`).

    tasks: as ranges, `0-9+12`; jobs: how many procs it has; settings: of the command line, which
    win over the spec; time: when it was made, in seconds since 1970.
    """

    why: str
    tasks: str
    jobs: int
    settings: tuple[str, ...] = ()
    time: float = 0.0

    def indices(self) -> list[int]:
        """Its tasks."""
        return parse_task_ranges(self.tasks)


def write_note(folder: Path, note: RoundNote) -> None:
    """Write `round.json` into a round's folder."""
    write_json(folder / names.ROUND, {"version": 1, **asdict(note)})


def read_note(folder: Path) -> RoundNote | None:
    """What `round.json` says; None where there is none: a round of an older osgbatch.

    Raises BatchError when it cannot be read.
    """
    path = folder / names.ROUND
    try:
        data = json.loads(path.read_text())
        why, tasks, settings = data["why"], data["tasks"], data["settings"]
        if not isinstance(settings, list) or not all(isinstance(s, str) for s in (why, *settings)):
            raise ValueError('"why" or "settings" is not what it should be')
        if not all(map(_is_range, tasks.split("+"))):
            raise ValueError('"tasks" is not what it should be')
        jobs = data["jobs"]
        if type(jobs) is not int or not 1 <= jobs <= MAX_TASKS:
            raise ValueError('"jobs" is not what it should be')
        return RoundNote(why, tasks, jobs, tuple(settings), float(data["time"]))
    except FileNotFoundError:
        return None
    except ODD as error:
        raise damaged(path, error) from None


def _is_range(text: str) -> bool:
    found = _RANGE.fullmatch(text)
    return found is not None and 0 <= int(found[2] or found[1]) - int(found[1]) <= MAX_TASKS


def write_submitted(round_: Round, submitted: Submitted) -> None:
    """Write down what the backend said."""
    write_json(round_.folder / names.SUBMITTED, asdict(submitted))


def read_submitted(round_: Round) -> Submitted | None:
    """What the backend said when it took the round; None when it was not asked.

    A cluster of 0 says that it was asked, and what came of it was not written down. What a newer
    osgbatch has noted besides is passed over.
    """
    path = round_.folder / names.SUBMITTED
    try:
        data = json.loads(path.read_text())
        for name, kinds in _SUBMITTED.items():
            value = data.get(name, "" if kinds == (str,) and name != "backend" else None)
            if isinstance(value, bool) or not isinstance(value, kinds):
                raise ValueError(f'"{name}" is missing, or is not what it should be')
        if data["backend"] not in ("condor", "local") or data["cluster"] < 0:
            raise ValueError("no such backend or cluster can be")
        return Submitted(**{name: data[name] for name in _SUBMITTED if name in data})
    except FileNotFoundError:
        return None
    except ODD as error:
        raise damaged(path, error, _write_again(round_)) from None


_SUBMITTED: Mapping[str, tuple[type, ...]] = {
    "backend": (str,),
    "cluster": (int,),
    "jobs": (int,),
    "time": (int, float),
    "host": (str,),
    "schedd": (str,),
}


def other_host(round_: Round) -> str:
    """The access point that a round was submitted on, when that is another one than this."""
    noted = read_submitted(round_)
    return noted.host if noted and noted.host != socket.gethostname() else ""


def cluster_of(round_: Round) -> int:
    """The cluster of a round: as it is noted, else as its log tells; 0 when nobody knows it.

    Raises OSError when the log cannot be read: then it is not known.
    """
    noted = read_submitted(round_)
    return (noted.cluster if noted else 0) or log_cluster(round_.folder / names.EVENTS)


def cluster_so_far(round_: Round) -> int:
    """As `cluster_of`; also 0 when the log cannot be read now."""
    with suppress(OSError):
        return cluster_of(round_)
    return 0


def _write_again(round_: Round) -> str:
    """What a `submitted.json` that was lost must say."""
    cluster = 0
    with suppress(OSError):
        cluster = log_cluster(round_.folder / names.EVENTS)
    local = (round_.folder / LOCAL_RECORD).exists()
    when = 0  # it bounds how much of the history is read
    with suppress(OSError):
        when = int((round_.folder / names.SUBMIT_FILE).stat().st_mtime)
    text = json.dumps({"backend": "local" if local else "condor", "cluster": cluster,
                       "jobs": round_.jobs, "time": when})  # fmt: skip
    return f"Put it back from a copy of the batch, or write {text} into it" + (
        "." if cluster else ", with the number of the cluster instead of 0."
    )


def round_tasks(round_: Round) -> list[str]:
    """The first field of every line of the item file: which tasks each proc runs."""
    path = round_.folder / names.ITEMS
    try:
        raw = "\n"
        with path.open(encoding="utf-8") as stream:
            found = [(raw := line).split(" ", 1)[0].rstrip("\n") for line in stream]
        if len(found) != round_.jobs or not raw.endswith("\n"):
            whole = "" if raw.endswith("\n") else " (the last one is cut)"
            raise ValueError(
                f"it has {len(found):,} lines{whole}, and the round {round_.jobs:,} jobs"
            )
        if not _NUMBERS.fullmatch("\n".join(found)):
            raise ValueError("a line does not begin with the numbers of tasks")
        return found
    except ODD as error:
        raise damaged(path, error) from None
