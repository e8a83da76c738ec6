"""Asks the queue whether any job of a batch is in it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from osgbatch import names
from osgbatch.condor.schedd import call_schedd


def clusters_in_queue(batch_ids: Sequence[str]) -> dict[str, list[int]]:
    """The clusters of each batch that are in the queue, by one query; batches with none left out.

    Held jobs count, and so does a factory that has no procs: its cluster ad is in the queue.
    Raises CondorError when the schedd cannot be asked.
    """
    wanted = ", ".join(f'"{i}"' for i in batch_ids if re.fullmatch(r"[0-9a-f]+", i))
    found = call_schedd(
        lambda htcondor: htcondor.Schedd().query(
            constraint=f"member({names.BATCH_ATTRIBUTE}, {{{wanted}}})",
            projection=["ClusterId", names.BATCH_ATTRIBUTE],
            opts=htcondor.QueryOpt.IncludeClusterAd,
        )
    )
    clusters: dict[str, set[int]] = {}
    for ad in found:
        clusters.setdefault(str(ad[names.BATCH_ATTRIBUTE]), set()).add(int(ad["ClusterId"]))
    return {batch_id: sorted(numbers) for batch_id, numbers in clusters.items()}
