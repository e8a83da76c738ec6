"""What the status of a batch tells of the job of the pool that gathers its results."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from osgbatch.batches import folder as folders
from osgbatch.batches.folder import Batch
from osgbatch.batches.gathered import inputs_of
from osgbatch.life.acting import gather_jobs
from osgbatch.life.following import status
from osgbatch.life.naming import in_commands, shown_path
from osgbatch.model import OPEN

_DOING = {"waiting": "waits", "running": "runs", "held": "is held"}


def gathering_notes(batch: Batch) -> Iterator[str]:
    """What each such job does, until what it has made was brought."""
    collect = f"`osgbatch collect {in_commands(batch)}`"
    for job in gather_jobs(batch):
        if not inputs_of(job.folder).is_dir():
            continue
        noted = folders.read_submitted(job.rounds()[-1])
        if noted is None:
            yield f"gather: its job was not submitted yet; {collect} does that"
            continue
        now = status(job, all_tasks=True)
        state = now.states[0].state
        where = f"job of the pool ({f'cluster {noted.cluster}' if noted.cluster else 'submitted'})"
        word = shlex.quote(shown_path(job.folder))
        if state in OPEN and not now.stalled:
            doing = _DOING.get(state, f"is {state}")
            then = f"`osgbatch watch {word}` follows it; then {collect} brings what it makes"
            yield f"gather: a {where} {doing}; {then}"
        elif state == "succeeded":
            yield f"gather: the {where} has succeeded; {collect} brings what it made"
        else:
            yield f"gather: the {where} {_DOING.get(state, state)}: `osgbatch why {word}` tells why"
