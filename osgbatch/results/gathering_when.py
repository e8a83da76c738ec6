"""When results are gathered, and where: here, or as a last job of the pool."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from osgbatch.batches.folder import Batch
from osgbatch.errors import OsgbatchError
from osgbatch.life.following import Status
from osgbatch.results.gathering import Gathering

Say = Callable[[str], None]


@dataclass(frozen=True)
class Wish:
    """How the user wants it. force: although nothing has changed since it ran last; partial:
    although some tasks have not succeeded.
    """

    force: bool = False
    partial: bool = False


def check_wish(batch: Batch, wish: Wish) -> None:
    """Raises OsgbatchError when gathering is asked for and there is nothing that gathers."""
    if (wish.force or wish.partial) and not batch.data["gather"]:
        raise OsgbatchError(
            "the spec of this batch has no gather:",
            where="--gather" if wish.force else "--partial",
            fix="Leave it out; or run a script of yours in the folder results/ by hand.",
        )


def gather_batch(
    batch: Batch,
    now: Status,
    results: Path,
    wish: Wish,
    say: Say,
    *,
    quiet: bool = False,
    elsewhere: int = 0,
) -> OsgbatchError | None:
    """Gather, when all has succeeded and it has not been done; gives the error, if it failed.

    now: with the states of all tasks, as collected; the batch's lock is held. quiet: what it prints
    goes to stderr. elsewhere: of how many tasks the data is not here.
    """
    text = str(batch.data["gather"])
    if not text:
        return None
    if elsewhere:
        say("gather: left out, since the data is not here")
        return None
    missing = sum(state.state != "succeeded" for state in now.states)
    if missing and not wish.partial:
        if now.ended:
            say("gather: left out, since some task did not succeed; --partial gathers the others")
        return None
    if missing == len(now.states):
        say("gather: left out, since no task has succeeded")
        return None
    task = Gathering(batch, results, now.states)
    if not wish.force and task.is_done() and not (task.in_pool and _is_waited_for(task)):
        say(f"gather: {text} has run on these very results; --gather runs it again")
        return None
    try:
        if task.in_pool:
            from osgbatch.results.gathering_pool import gather_in_pool

            gather_in_pool(task, now.states, say, force=wish.force)
        else:
            told = f" ({missing:,} of {len(now.states):,} tasks are missing)" if missing else ""
            say(f"gather: {text}{told}")
            task.run_here(now, quiet, say)
    except OsgbatchError as error:
        return error
    return None


def _is_waited_for(task: Gathering) -> bool:
    from osgbatch.results.gathering_pool import is_waited_for

    return is_waited_for(task)
