"""The only room that runs condor commands or imports htcondor2."""

from osgbatch.condor.act import (
    cancel,
    edit,
    edit_all,
    forget,
    hold,
    release,
    remove,
    remove_held,
)
from osgbatch.condor.commands import check_alive, configured, version
from osgbatch.condor.jobs import Queued, ask_jobs
from osgbatch.condor.queue import Queue, QueuedJob, asking_more, clusters_in_queue, look
from osgbatch.condor.recurring import will_recur
from osgbatch.condor.slots import matching_slots
from osgbatch.condor.submit import find_cluster, submit

__all__ = [
    "Queue",
    "Queued",
    "QueuedJob",
    "ask_jobs",
    "asking_more",
    "cancel",
    "check_alive",
    "clusters_in_queue",
    "configured",
    "edit",
    "edit_all",
    "find_cluster",
    "forget",
    "hold",
    "look",
    "matching_slots",
    "release",
    "remove",
    "remove_held",
    "submit",
    "version",
    "will_recur",
]
