"""What a status tells in words, besides its counts."""

from __future__ import annotations

from collections.abc import Iterator

from osgbatch.life.rounds import CUT_SHORT, NOT_SUBMITTED

WAITS_FOR_CANARY = "waits for the canary"
REST_CANCELLED = "cancelled before it was submitted"


def canary_note(count: int, stalled: str) -> Iterator[str]:
    """What waits for a canary, and what it waits for. stalled: why that does not go on."""
    if not count:
        return
    wait = "task waits" if count == 1 else "tasks wait"
    if stalled in (CUT_SHORT, NOT_SUBMITTED):
        yield f"{count:,} more {wait} for the canary, which was not submitted yet"
    else:
        it = "it" if count == 1 else "them"
        yield (
            f"{count:,} {wait} for the canary; once that has succeeded, `osgbatch watch` submits "
            f"{it}"
        )


def release_note(count: int) -> Iterator[str]:
    """What HTCondor does by itself with held tasks. count: with how many."""
    if count:
        yield (
            f"HTCondor will release {count:,} held {'task' if count == 1 else 'tasks'} by itself, "
            "as job.submit says; `osgbatch release` does it now"
        )


def left_note(any_held: bool) -> Iterator[str]:
    """What is left of a batch whose tasks have all ended. any_held: whether jobs of it are held."""
    if any_held:
        yield (
            "all tasks have ended, but jobs of it are held in the queue still; `osgbatch cancel` "
            "removes them, and loses nothing"
        )
