"""Ends a batch: collect and gather its results, or cancel it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from osgbatch import names
from osgbatch.batches.folder import Batch
from osgbatch.batches.gathered import close_runs
from osgbatch.collecting.collect import Collected
from osgbatch.collecting.parquet import check_parquet, write_parquet
from osgbatch.errors import OsgbatchError
from osgbatch.life.following import Status
from osgbatch.life.naming import shown_path
from osgbatch.results.crated import after_collect
from osgbatch.results.gathering_when import Wish, check_wish, gather_batch
from osgbatch.results.result_rows import result_table
from osgbatch.results.taking import WATCHED, Taker
from osgbatch.staging.stage import Progress
from osgbatch.texts import number_of

Say = Callable[[str], None]
_USUAL = Wish()


def collect_batch(
    batch: Batch,
    say: Say,
    *,
    gather: bool = True,
    wish: Wish = _USUAL,
    quiet: bool = False,
    parquet: bool = False,
    fetch: bool = False,
    drop: bool = False,
    watched: bool = False,
    progress: Progress | None = None,
) -> tuple[Status, Collected, OsgbatchError | None]:
    """Unpack and verify what came back, write `results.csv`, gather when all succeeded.

    wish: how to gather; quiet: what that prints goes to stderr. parquet: write `results.parquet`,
    too. fetch: bring also the data that did not come home (`outputs_to`); gathering waits for it.
    drop: delete the archives of what is in `results/`. watched: they were collected as they came,
    and what is odd about them is to be said. Raises StagingError when data cannot be
    brought: what was brought until then is in place. The lock is held to the end, so that two
    collections do not gather into each other. The error of gathering is given back, not raised: the
    results are in place all the same.
    """
    check_wish(batch, wish)
    if parquet:
        check_parquet()
    how = WATCHED if watched else ""
    taker = Taker(batch, say, fetch=fetch, progress=progress, how=how)
    with taker.alone():
        close_runs(batch.folder, taker.results)
        now, collected = taker.take()
        table = taker.results / names.RESULTS_PARQUET
        note = _parquet(batch, now, table, say, wanted=parquet)
        collected = replace(collected, notes=(*collected.notes, *note))
        failure = None
        if gather:
            away = collected.elsewhere
            failure = gather_batch(
                batch, now, taker.results, wish, say, quiet=quiet, elsewhere=away
            )
        if now.ended and not now.held_back:
            more = after_collect(batch, now.states, changed=bool(collected.unpacked))
            collected = replace(collected, notes=(*collected.notes, *more))
        if drop:  # last of all: what else wants to read them has done so
            collected = _without_archives(batch, now, collected)
    return now, collected, failure


def _parquet(batch: Batch, now: Status, path: Path, say: Say, *, wanted: bool) -> Iterator[str]:
    """Write the other table, also where an older one would tell what is true no more."""
    if not wanted:
        if not path.exists():
            return
        try:
            check_parquet()
        except OsgbatchError:
            yield f"{path.name} is not written anew, for pyarrow is missing: results.csv is newer"
            return
    table = result_table(batch, now.states).by_column()
    write_parquet(path, table)
    if wanted:
        rows, columns = number_of(batch.tasks, "row"), number_of(len(table), "column")
        say(f"wrote {shown_path(path)}: {rows}, {columns}")


def _without_archives(batch: Batch, now: Status, collected: Collected) -> Collected:
    from osgbatch.results.dropping import drop_archives

    if collected.elsewhere:
        raise OsgbatchError(
            f"the data of {number_of(collected.elsewhere, 'task')} is not here",
            where="--drop-archives",
            fix="Nothing was dropped. `osgbatch collect --fetch --drop-archives` brings it first.",
        )
    return replace(collected, notes=(*collected.notes, *drop_archives(batch, now.states).notes))
