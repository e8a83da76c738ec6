"""The only room that runs condor commands or imports htcondor2."""

from osgbatch.condor.act import REASON as CANCELLED_BY_USER
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
from osgbatch.condor.dag import (
    DagState,
    dag_in_log,
    dag_state,
    find_dag,
    last_words,
    remove_dag,
    submit_dag,
)
from osgbatch.condor.home import check_home
from osgbatch.condor.jobs import Queued, ask_jobs
from osgbatch.condor.queue import Queue, QueuedJob, asking_more, clusters_in_queue, look
from osgbatch.condor.recurring import will_recur
from osgbatch.condor.schedd import name_here
from osgbatch.condor.slots import matching_slots
from osgbatch.condor.submit import find_cluster, submit

__all__ = [
    "CANCELLED_BY_USER",
    "DagState",
    "Queue",
    "Queued",
    "QueuedJob",
    "ask_jobs",
    "asking_more",
    "cancel",
    "check_alive",
    "check_home",
    "clusters_in_queue",
    "configured",
    "dag_in_log",
    "dag_state",
    "edit",
    "edit_all",
    "find_cluster",
    "find_dag",
    "forget",
    "hold",
    "last_words",
    "look",
    "matching_slots",
    "name_here",
    "release",
    "remove",
    "remove_dag",
    "remove_held",
    "submit",
    "submit_dag",
    "version",
    "will_recur",
]
