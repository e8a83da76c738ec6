"""Attributes of jobs that submit files set with + or MY., in a sentence each."""

from __future__ import annotations

ATTRIBUTES = {
    "ProjectName": "The project that the use is counted for. On the OSPool a job without one waits "
    "for ever, unless the access point sets it. In a sweep.yaml: project:.",
    "JobDurationCategory": "On the OSPool, how long a job may take: \"Medium\" (the default: "
    "held after 20 hours) or \"Long\" (held after 40, and far fewer slots take it).",
    "DESIRED_Sites": "On the OSPool, the only sites to run at. In a sweep.yaml: "
    "requirements: {sites: {only: …}}.",
    "UNDESIRED_Sites": "On the OSPool, sites not to run at. In a sweep.yaml: "
    "requirements: {sites: {avoid: …}}. Never together with DESIRED_Sites.",
    "OSGBatchID": "The id of the osgbatch batch that the job belongs to; by it osgbatch finds its "
    "jobs in the queue and in the history.",
    "OSGBatchRound": "The number of the round of the batch that the job belongs to.",
    "OSGBatchTags": "The tags of the sweep, from tags:.",
    "MountUnderScratch": "What mount_under_scratch sets: folders in the image that are part of the "
    "scratch folder.",
    "SingularityImage": "The image, as it was named before container_image. The value stands in "
    "double quotes.",
    "SingularityBindCVMFS": "Whether /cvmfs is there in the image; in the OSPool it is by itself.",
    "WantGPULab": "At CHTC: whether the job may use the GPU Lab.",
    "GPUJobLength": "At CHTC's GPU Lab: \"short\", \"medium\" or \"long\".",
    "is_resumable": "At CHTC: whether the job may be stopped and started again, so that it may run "
    "on machines of others.",
    "WantFlocking": "At CHTC: whether the job may run in other pools of the campus.",
    "WantGlidein": "At CHTC: whether the job may run on the OSPool.",
    "WantsStashCache": "Of the time of StashCache; no longer of use.",
    "JobFlavour": "At CERN: how long the job may take, by name (\"espresso\", \"longlunch\", …).",
    "MaxRuntime": "At CERN: how many seconds the job may take.",
    "AccountingGroup": "The group that the use is counted for; accounting_group is the command.",
}  # fmt: skip
"""Sources: the OSPool's, CHTC's and CERN's documentation, as of August 2026."""
_BY_NAME = {name.lower(): text for name, text in ATTRIBUTES.items()}
UNKNOWN = (
    "An attribute of the job's own: it goes into the job's ad as it is. The value is an "
    "expression, so text needs double quotes."
)


def explain_attribute(name: str) -> str:
    """What is known of an attribute of the job; of an unknown one, what such a line does."""
    return _BY_NAME.get(name.lower(), UNKNOWN)
