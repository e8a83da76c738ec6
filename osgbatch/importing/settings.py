"""What becomes of each submit command: a key of sweep.yaml, a line of `submit:`, or a note."""

from __future__ import annotations

DROPPED = {
    "batchname": "",
    "+jobbatchname": "",
    "shouldtransferfiles": "",
    "whentotransferoutput": "",
    "maxidle": "osgbatch sets max_idle by itself, for more jobs than the pool takes at once",
    "streamoutput": "`osgbatch logs --follow` shows what running tasks print",
    "streamerror": "`osgbatch logs --follow` shows what running tasks print",
    "logxml": "osgbatch reads the event log as text",
    "skipfilechecks": "osgbatch check looks whether all files are there",
    "universe": "",
    "preserverelativepaths": "",
    "transferexecutable": "",
    "successexitcode": "",
    "submiteventnotes": "",
    "submiteventusernotes": "",
    "jobset": "",
    "imagesize": "resources.memory says what the job needs",
    "ulogexecuteattrs": "",
    "description": "",
}
"""Commands with no line of their own, and what osgbatch does in their place."""

PRINTED = ("log", "output", "error")
"""Commands that name where the event log and what a job prints lie."""

REFUSED = {
    "hold": "hold: a held job waits for condor_release; `osgbatch submit --canary` tries first",
    "noopjob": "noop_job: such jobs do nothing",
    "outputdestination": "output_destination: delete it, and write `outputs_to: URL` into the "
    "sweep: outputs go there as one archive a job",
    "outputdirectory": "output_directory: write `results_to:`",
    "allowedjobduration": "allowed_job_duration: write `resources: {time: 2 h}`, for each task",
    "publicinputfiles": "public_input_files: name them in `inputs:`",
    "transfercommoninput": "transfer_common_input: name them in `inputs:` with `shared: true`",
    "commoninputfiles": "common_input_files: name them in `inputs:` with `shared: true`",
    "checkpointdestination": "checkpoint_destination: `checkpoint:` keeps the state at the access "
    "point",
    "remoteinitialdir": "remote_initialdir: a task starts in a folder of its own",
    "transferplugins": "transfer_plugins: osgbatch brings none",
    "transfercontainer": "transfer_container: osgbatch names the image as it is",
    "transferinput": "transfer_input: it is for the grid universe",
    "transferoutput": "transfer_output: it is for the grid universe",
    "transfererror": "transfer_error: it is for the grid universe",
    "skipifdataflow": "skip_if_dataflow: `osgbatch submit --reuse` does not compute twice",
    "streaminput": "stream_input: a task's stdin is a file",
    "containertargetdir": "container_target_dir: osgbatch's shim has its own place in the image",
    "mountunderscratch": "mount_under_scratch: osgbatch mounts the task's own folders",
    "eraseoutputanderroronrestart": "erase_output_and_error_on_restart: each attempt has its own",
    "retryrequestdisk": "retry_request_disk: write `retries: {disk: …}`",
}  # fmt: skip
"""Commands that a sweep.yaml cannot say: why, and what can. Empty: told of with another one."""

UNIVERSES = frozenset(["vanilla", "container", "docker", "5"])
"""Of these kinds of jobs osgbatch makes the same."""

_HARMLESS = frozenset(["hold", "noopjob", "skipifdataflow", "streaminput"])
"""Commands that say nothing when they are false."""


def says_nothing(name: str, value: str) -> bool:
    """Whether a command of REFUSED has the value that it has when it is not given."""
    return name in _HARMLESS and value.strip().lower() in ("false", "no", "0")
