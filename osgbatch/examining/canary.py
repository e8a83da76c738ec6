"""One real job through the whole flow: submitted, waited for, collected, compared, removed."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from osgbatch.batches.folder import Batch
from osgbatch.errors import BusyError, OsgbatchError
from osgbatch.examining.bounded import told_to_end
from osgbatch.examining.check import (
    CANARY,
    FAILURE,
    HTCONDOR,
    Check,
    Found,
    Here,
    Told,
    failure,
    ok,
    skipped,
)
from osgbatch.life.acting import cancel_batch
from osgbatch.life.following import Status
from osgbatch.life.housekeeping import remove
from osgbatch.life.watching import watch
from osgbatch.results.finishing import collect_batch
from osgbatch.spec.units import UnitError, seconds
from osgbatch.submission.steps import submit_sweep
from osgbatch.texts import duration

Say = Callable[[str], None]

SPEC = """\
# Made by `osgbatch doctor --canary`, and removed by it: one small task.
name: canary
command: [sh, -c, "cat inputs/word.txt > outputs/answer.txt; date; uname -a"]
inputs: [word.txt]
outputs: [outputs/answer.txt]
stash: none
"""
LEAVE_S = 60.0
"""Seconds that a cancelled job may take to leave the queue."""
_TELL_S = 60.0


def wait_of(text: str, pool: str) -> float:
    """What --wait says, in seconds. Raises OsgbatchError for it, and for an unknown --pool."""
    if pool not in ("auto", "condor", "local"):
        raise OsgbatchError(f'unknown pool "{pool}"', where="--pool",
                            fix="Known are auto, condor, local.")  # fmt: skip
    try:
        return float(seconds(text))
    except UnitError as error:
        raise OsgbatchError(str(error), where="--wait", fix="Write --wait 15min.") from None


def run_canary(here: Here, told: Sequence[Told], pool: str, limit_s: float, say: Say) -> Told:
    """Run one job and remove all that it left, also after Ctrl-C, TERM or a lost connection.

    told: what the checks found: with an HTCondor that does not work none is submitted. pool: as
    --pool. limit_s: how long to wait for its end.
    """
    began = time.monotonic()
    broken = [one.check.name for one in told
              if one.check.group == HTCONDOR and one.found.state == FAILURE]  # fmt: skip
    if broken and pool != "local":
        found = skipped(f'no job was submitted, for "{broken[0]}" failed')
    else:
        try:
            with told_to_end():
                found = _run(here.folder, pool, limit_s, say)
        except OsgbatchError as error:
            what = f"{error.where}: {error.what}" if error.where else error.what
            found = failure(what, error.fix)
        except OSError as error:
            found = failure(f"{error.filename or here.folder}: {error.strerror or error}",
                            "Submit from a folder that you can write to.")  # fmt: skip
        except Exception as error:
            found = failure(f"{type(error).__name__}: {error}", "Please report this.")
    return Told(CHECK, found, time.monotonic() - began)


@dataclass
class _Canary:
    """What there is to be removed."""

    folder: Path
    batch: Batch | None = None


def _run(folder: Path, pool: str, limit_s: float, say: Say) -> Found:
    canary = _Canary(Path(tempfile.mkdtemp(prefix="osgbatch-canary-", dir=folder)))
    word = canary.folder.name + "\n"
    left = ""
    try:
        (canary.folder / "word.txt").write_text(word)
        (canary.folder / "sweep.yaml").write_text(SPEC)
        canary.batch = submit_sweep(canary.folder / "sweep.yaml", pool, say)
        found = _followed(canary.batch, word, limit_s, say)
    finally:
        left = _removed(canary, say)
    if left and found.state != FAILURE:
        return failure(f"{found.what}; but {left}", f"Look into {canary.folder}, then remove it.")
    return found


def _followed(batch: Batch, word: str, limit_s: float, say: Say) -> Found:
    began = heard = time.monotonic()
    submitted = batch.rounds()[-1]
    say(f"canary: batch {batch.id} is submitted ({submitted.folder})")
    for seen in watch(batch, longest_s=5.0):
        now, moment = seen.status, time.monotonic()
        if seen.changed or moment - heard > _TELL_S:
            heard = moment
            say(f"canary: {_states(now)} after {duration(round(moment - began))}")
        if now.ended:
            return _judged(batch, now, word, moment - began)
        if moment - began > limit_s:
            return failure(
                f"its job has not ended within {duration(round(limit_s))}: {_states(now)}",
                "The pool may be busy: give it longer (--wait 1h), or submit a sweep and ask "
                "`osgbatch why`.",
            )
    raise AssertionError("a watch ends when all has")


def _states(now: Status) -> str:
    return ", ".join(now.counts)


def _judged(batch: Batch, now: Status, word: str, took: float) -> Found:
    data = {"batch": batch.id, "backend": now.backend, "cluster": now.cluster,
            "seconds": round(took, 1)}  # fmt: skip
    if now.wrong:
        task = now.wrong[0]
        said = task.detail or task.reason or (task.job.reason if task.job else "")
        return failure(f"its task is {task.state}: {said or 'no reason is known'}",
                       "Submit a sweep of one task and see `osgbatch why`.",
                       **data)  # fmt: skip
    collect_batch(batch, _silent, gather=False)
    answer = batch.folder / "results" / "0" / "outputs" / "answer.txt"
    if not answer.is_file() or answer.read_text() != word:
        return failure("its output is not what it was brought", "Please report this.", **data)
    return ok(f"a job went there and its output came back, in {duration(max(1, round(took)))}",
              **data)  # fmt: skip


def _removed(canary: _Canary, say: Say) -> str:
    """Remove the job and all that it left; why that could not be done, else empty."""
    try:
        if canary.batch is None:  # submit_sweep leaves nothing where it fails
            found = [*canary.folder.glob("batches/*/plan.json")]
            if found:  # Ctrl-C after the queue had it
                from osgbatch.batches.folder import load

                canary.batch = load(found[0].parent)
        if canary.batch is not None:
            _leave(canary.batch)
        shutil.rmtree(canary.folder)
    except (OsgbatchError, OSError) as error:
        what = error.what if isinstance(error, OsgbatchError) else str(error)
        say(f"warning: the canary could not be removed: {what}; it is in {canary.folder}")
        return f"it could not be removed: {what}"
    return ""


def _leave(batch: Batch) -> None:
    """Take the job from the queue, and the batch from disk and registry."""
    cancel_batch(batch)
    deadline = time.monotonic() + LEAVE_S
    while True:
        try:
            list(remove([batch]))
            return
        except BusyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def _silent(line: str) -> None:
    """Tells nobody anything."""


def _never(here: Here) -> Found:
    return skipped("it is run by `run_canary`, which is bounded by --wait")


CHECK = Check(
    "canary", CANARY, "with --canary: one real job is submitted, waited for, collected, compared, "
    "and removed", _never,
)  # fmt: skip
