"""A batch that has ended, and whose logs and archives are as they were: told without a look."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing

from osgbatch import names
from osgbatch.batches.folder import Batch
from osgbatch.batches.moved import other_places
from osgbatch.batches.reused import ROUND as REUSED
from osgbatch.batches.reused import stamp_of
from osgbatch.batches.store import VERSION, RoundRow
from osgbatch.model import Round

_FINAL = frozenset(["succeeded", "failed", "removed"])


def settled_counts(batch: Batch) -> Mapping[str, int] | None:
    """How many tasks are in each state, when all have ended and nothing is new; else None.

    It reads a few numbers and writes nothing; None costs no more, and says nothing of the batch.
    """
    try:
        path = (batch.folder / names.STATE).absolute()
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=1)) as database:
            if database.execute("PRAGMA user_version").fetchone()[0] != VERSION:
                return None
            rows = dict(database.execute("SELECT number, data FROM rounds"))
            reused = RoundRow(REUSED, **json.loads(rows[REUSED])).folders if REUSED in rows else {}
            if reused != stamp_of(batch.folder):
                return None
            for round_ in batch.rounds():
                if round_.number not in rows:
                    return None
                known = RoundRow(round_.number, **json.loads(rows[round_.number]))
                if not _is_unchanged(round_, known):
                    return None
            told = "SELECT state, SUM(count) FROM counts WHERE count != 0 GROUP BY state"
            counts = dict(database.execute(told))
    except (sqlite3.Error, OSError, ValueError, TypeError):
        return None
    if not set(counts) <= _FINAL or sum(counts.values()) != batch.tasks:
        return None
    return None if any(place.exists for place in other_places(batch)) else counts


def _is_unchanged(round_: Round, known: RoundRow) -> bool:
    try:
        size = (round_.folder / names.EVENTS).stat().st_size
    except FileNotFoundError:  # of a batch all of whose tasks were reused
        size = 0
    if known.kept or known.lost or size != known.offset:
        return False
    try:
        with os.scandir(round_.folder / names.RETURNED) as found:
            folders = {e.name: e.stat().st_mtime_ns for e in found if e.name.isdigit()}
    except FileNotFoundError:
        folders = {}
    return folders == {n: changed for n, changed in known.folders.items() if n.isdigit()}
