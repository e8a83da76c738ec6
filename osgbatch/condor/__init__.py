"""The only room that runs condor commands or imports htcondor2."""

from osgbatch.condor.commands import check_alive, configured, version
from osgbatch.condor.jobs import Queued, ask_jobs
from osgbatch.condor.slots import matching_slots
from osgbatch.condor.submit import cancel, find_cluster, submit

__all__ = [
    "Queued",
    "ask_jobs",
    "cancel",
    "check_alive",
    "configured",
    "find_cluster",
    "matching_slots",
    "submit",
    "version",
]
