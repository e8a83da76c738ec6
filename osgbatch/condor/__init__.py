"""The only room that runs condor commands or imports htcondor2."""

from osgbatch.condor.commands import check_alive, configured, version
from osgbatch.condor.slots import matching_slots
from osgbatch.condor.submit import cancel, find_cluster, submit

__all__ = [
    "cancel",
    "check_alive",
    "configured",
    "find_cluster",
    "matching_slots",
    "submit",
    "version",
]
