"""The only room that runs condor commands or imports htcondor2."""

from osgbatch.condor.act import (
    Queue,
    QueuedJob,
    asking_more,
    cancel,
    edit,
    edit_all,
    forget,
    look,
    release,
    remove,
)
from osgbatch.condor.commands import check_alive, configured, version
from osgbatch.condor.held import LiveJob, live_jobs, remove_held
from osgbatch.condor.hold import hold_rest
from osgbatch.condor.jobs import Queued, ask_jobs
from osgbatch.condor.queued import clusters_in_queue
from osgbatch.condor.recurring import will_recur
from osgbatch.condor.slots import matching_slots
from osgbatch.condor.submit import find_cluster, submit

__all__ = [
    "LiveJob",
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
    "hold_rest",
    "live_jobs",
    "look",
    "matching_slots",
    "release",
    "remove",
    "remove_held",
    "submit",
    "version",
    "will_recur",
]
