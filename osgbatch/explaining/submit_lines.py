"""Why each line of the submit file that osgbatch makes stands there.

{from KEY} stands for where the value of a key of sweep.yaml comes from; other names in braces are
facts that the caller has (submission/explained_sweep.py). Keys are those of the submit file.
"""

from __future__ import annotations

LINES = {
    "universe": "An ordinary job: HTCondor starts one program for it, on any slot that fits.",
    "batch_name": "condor_q shows all jobs of this batch on one line, by this name ({from name}).",
    "+OSGBatchID": "Marks the jobs as this batch's: after anything that goes wrong osgbatch finds "
    "them again by it, and submits none twice.",
    "+OSGBatchRound": "Which round of the batch this is: 1, and one more for each resubmission.",
    "+OSGBatchTags": "The words by which you find the batch again ({from tags}).",
    "+ProjectName": "The project that the use is counted for ({from project}).",
    "notify_user": "Who is sent mail ({from notify}).",
    "notification": "When mail is sent ({from notify}).",
    "initialdir": "Relative paths of inputs and results start here, the deepest folder above the "
    "sweep and all that it brings; so odd names above it never stand in this file.",
    "executable": "HTCondor starts the shim; that starts your command, once for each task of the "
    "job.",
    "arguments": "The shim is told which job it is, which tasks it runs, and their rows, encoded, "
    "so that no character of a parameter means anything to HTCondor. tasks and rows come from the "
    "item file.",
    "container_image": "The image that the jobs run in ({from environment}). HTCondor brings it.",
    "+MountUnderScratch": "Folders in the image that belong to the scratch folder: there your "
    "program finds its inputs and leaves its outputs, as on any other slot.",
    "folder": "Not a command but a macro, for the lines below: {per_folder} jobs "
    "share a folder, so "
    "that none grows too large.",
    "log": "The job event log, one for the whole round: all that osgbatch reads to follow it.",
    "output": "What the shim copies of the tasks' output while they run, for condor_tail. The real "
    "output comes back in the archive, so all jobs may share this file.",
    "error": "The shim's own stderr: it prints there only when something is wrong.",
    "should_transfer_files": "HTCondor brings files to the job and back: execution points share no "
    "disk with the access point.",
    "when_to_transfer_output": "The archive comes back however the job ends; so a failure can be "
    "understood, too.",
    "preserve_relative_paths": "Inputs keep their folders, so that two files of the same name do "
    "not meet.",
    "transfer_input_files": "What all jobs are brought: {brought}.",
    "transfer_output_files": "The archive that the shim makes, with records, output and results of "
    "all its tasks. It makes it before anything else: a missing file would hold the job.",
    "transfer_output_remaps": "Each attempt of each job has a name of its own here; so a retry "
    "never overwrites what came before.",
    "request_cpus": "Cores of a job ({from resources.cpus}).",
    "request_memory": "Memory of a job: the largest of its tasks' ({from resources.memory}). A job "
    "that uses more is stopped or held.",
    "request_disk": "Disk of a job: what its tasks need together ({from resources.disk}), what is "
    "brought, and that unpacked. In KB.",
    "request_gpus": "GPUs of a job ({from gpus}).",
    "gpus_minimum_memory": "The least memory of a GPU ({from gpus.min_memory}).",
    "gpus_minimum_capability": "The least compute capability of a GPU ({from "
    "gpus.min_capability}).",
    "retry_request_memory_increase": "A job that was stopped for its memory asks for this next "
    "({from retries.memory}). The expression never lowers a request.",
    "retry_request_memory_max": "And never for more than this; then it is held "
    "({from retries.memory}).",
    "release_memory": "A macro for periodic_release below: whether a job held for its memory is "
    "released, to ask for more. Needed only where HTCondor does not do it by itself.",
    "resource_holds": "A macro: how often the job was held for using too much.",
    "retry_request_disk": "A job that was stopped for its disk asks for these next, in turn "
    "({from retries.disk}).",
    "release_disk": "A macro for periodic_release below: the same for disk.",
    "job_machine_attrs": "HTCondor notes in the job where it ran, by this attribute of the slots "
    "(from the profile {profile}).",
    "job_machine_attrs_history_length": "The last two places are kept.",
    "requirements": "What a slot must be like: {required}.",
    "+DESIRED_Sites": "The only sites to run at ({from requirements.sites}).",
    "+UNDESIRED_Sites": "Sites not to run at ({from requirements.sites}).",
    "max_retries": "So often a job that failed is started again ({from retries.times}); what does "
    "count as a failure, the next line says.",
    "retry_until": "Only the shim's own codes are tried again, and a shim that was "
    "killed: then the "
    "place was at fault. Any other end is your program's, and final ({from retries.on}).",
    "checkpoint_exit_code": "With this code the shim says that your program has saved its state, "
    "and wants to go on ({from checkpoint}).",
    "transfer_checkpoint_files": "HTCondor keeps this archive then, and brings it back at the next "
    "start.",
    "transfer_holds": "A macro: how often the job was held since files could not be brought.",
    "periodic_release": "A held job is tried again by itself, where waiting may help: {released}.",
    "periodic_hold": "A job that was started {bad_starts} times in vain is held: its image or an "
    "input cannot be had (from the profile {profile}, bad_starts).",
    "periodic_hold_subcode": "By this subcode osgbatch knows such a hold.",
    "periodic_hold_reason": "The text of such a hold: what the last start said.",
    "allowed_execute_duration": "Seconds after which HTCondor holds the job: the time of its tasks "
    "({from resources.time}) and half an hour. The shim stops each task at its own time before.",
    "duration_category": "A macro: the job's time in the OSPool's words.",
    "+JobDurationCategory": "The OSPool's word for how long a job takes; it follows from "
    "resources.time. Long ones fit far fewer slots.",
    "max_idle": "Late materialization: so many jobs wait in the queue at a time, and "
    "more follow as "
    "these start. From the profile {profile}, since the sweep has {jobs} jobs, more than "
    "{many_jobs}.",
    "max_materialize": "At most so many jobs are in the queue ({from max_running}).",
    "queue": "One job for each line of the item file, {jobs} in all; its fields are {fields}.",
    "aws_access_key_id_file": "HTCondor signs the URLs of the bucket with this key; the file stays "
    "here.",
    "aws_secret_access_key_file": "The secret part of that key; the file stays here, too.",
    "aws_region": "The region of the bucket.",
    "if": "What follows is for a condor_submit of this version or a later one.",
    "else": "For older ones: they hold such a job, and it is released with a larger request.",
    "endif": "From here on for all versions again.",
}
"""By the key; `+Name` for attributes of the job's own."""

OWN = "From `submit:` of the sweep, as it stands there ({from submit})."
DIFFERS = "It differs between jobs: each line of the item file has its own."

ANCHORS = {"+MountUnderScratch": "mount_under_scratch", "+ProjectName": "project_name"}
"""Attributes that a submit command sets in newer versions."""
WITHOUT_PAGE = frozenset((
    "folder", "release_memory", "resource_holds", "release_disk", "transfer_holds",
    "duration_category", "+OSGBatchID", "+OSGBatchRound", "+OSGBatchTags",
))  # fmt: skip
"""osgbatch's own names, of which no manual tells."""
ELSEWHERE = {"+JobDurationCategory": "https://portal.osg-htc.org/documentation/",
             "+DESIRED_Sites": "https://portal.osg-htc.org/documentation/",
             "+UNDESIRED_Sites": "https://portal.osg-htc.org/documentation/"}  # fmt: skip

MACROS_IN_VALUES = {
    "$$([NumJobStarts])": "$$([NumJobStarts]) is filled in at each start: which attempt it is.",
}
