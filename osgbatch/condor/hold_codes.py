"""Why HTCondor holds jobs: its hold codes and subcodes, in plain words, and what to do.

Sources: the manual's hold reason codes (docs/codes-other-values/hold-table.rst, 25.14) and
condor_holdcodes.h; subcodes 101 to 104 of code 21 from the templates HOLD_IF_... of
`condor_config_val use POLICY`; texts as seen on 23.9.6 and 25.14.1, those of the OSDF in issues of
pelican (numbers 210, 1109, 1137, 2768).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

MEMORY = "osgbatch release {batch} --memory {memory}"
RELEASE = "osgbatch release {batch}"
AGAIN = "osgbatch resubmit {batch} --held"
DISK = "osgbatch release {batch} --disk {disk}"
CPUS = 'osgbatch resubmit {batch} --held --set "resources.cpus={cpus}"'
TIME = 'osgbatch resubmit {batch} --held --set "resources.time={time}"'
JOB_TIME = 'osgbatch resubmit {batch} --held --set "submit.allowed_job_duration=SECONDS"'
GIVE_UP = "osgbatch cancel {batch} --held"


@dataclass(frozen=True)
class HoldCode:
    """One row: a cause of holds.

    code, name: as HTCondor has them (HoldReasonCode, and its label in NumHoldsByReason). subcode:
    the one that is meant, None for any. says: what the hold reason must contain, in any case, all
    of it. cause: in one or two sentences; todo: the same, what to do; commands: to type, where
    {batch}, {memory}, {disk}, {cpus} and {time} stand for what fits the batch.
    """

    code: int
    name: str
    cause: str
    todo: str
    commands: tuple[str, ...] = ()
    subcode: int | None = None
    says: tuple[str, ...] = ()


_ADMIN = "Ask the administrator of this access point; the text says what the rule was."
_STREAM = "Streaming is nothing that osgbatch asks for: see `submit:` in the sweep."
_EC2 = "osgbatch starts no jobs in EC2: see `submit:` in the sweep."
_NEWER = "Release it; when it comes again, tell the administrator."
_NOT_OURS = "It is none of osgbatch's doing: see `submit:` in the sweep."
_QUOTA = (
    "Make room: remove what is not needed any more, or ask for a larger quota. "
    "Then release the jobs; they run again."
)

HOLD_CODES: tuple[HoldCode, ...] = (
    HoldCode(0, "Unspecified", "HTCondor gave no code; its text is all that is known.",
             "Read the text; release the jobs when its cause is gone.", (RELEASE,)),
    HoldCode(1, "UserRequest", "Somebody held the job by hand (condor_hold), or osgbatch did so.",
             "Release it when it shall go on. It never releases itself.", (RELEASE, GIVE_UP)),
    HoldCode(1, "UserRequest", "The first tasks all failed alike, so osgbatch held the rest "
             "(`--stop-after`).", "See why those failed and put it right; then release the "
             "rest, or remove it.", (RELEASE, GIVE_UP), says=("osgbatch --stop-after",)),
    HoldCode(2, "GlobusGramError", "A Globus gateway refused the job (only old versions do so).",
             _NOT_OURS, (GIVE_UP,)),
    HoldCode(3, "JobPolicy", "A rule of the job itself was met (periodic_hold, on_exit_hold).",
             "See `submit:` in the sweep, and what the access point adds to jobs.", (RELEASE,)),
    HoldCode(3, "JobPolicy", "The job was started again and again, and never came to run: its "
             "image or an input cannot be had; the text has the last try.",
             "Put that right, then release the jobs.", (RELEASE,),
             says=("osgbatch: the job was started too often",)),
    HoldCode(4, "CorruptedCredential", "The job's credentials (token, proxy) are not valid.",
             "Get new ones, as the pool's documentation says, then release the jobs.", (RELEASE,)),
    HoldCode(5, "JobPolicyUndefined", "A rule of the job could not be worked out (undefined).",
             "Correct the expression under `submit:` in the sweep, and run the tasks anew.",
             (AGAIN,)),
    HoldCode(6, "FailedToCreateProcess", "The execution point could not start the job's program.",
             "Run the tasks again; they come to other machines. When it comes from all of them, "
             "look at the container's image.", (RELEASE,)),
    HoldCode(6, "FailedToCreateProcess", "The job's program cannot be started: it or the "
             "interpreter in its first line is not there (in the container, if there is one).",
             "The shim needs /bin/sh: is it in the image? If the sweep sets `executable` or "
             "`shell` itself, correct that and run the tasks anew.", (AGAIN,), subcode=2),
    HoldCode(6, "FailedToCreateProcess", "The arguments of the job are too long for the machine.",
             "Fewer tasks per job: `tasks_per_job:`.", (AGAIN,), subcode=7),
    HoldCode(6, "FailedToCreateProcess", "The job's program is none that this machine can run "
             "(another CPU, or no `#!` in its first line).",
             "Is the image made for this CPU (x86_64, ARM)? Correct it and run the tasks anew.",
             (AGAIN,), subcode=8),
    HoldCode(6, "FailedToCreateProcess", "The job's program must not be executed there.",
             "Run the tasks again; they come to other machines.", (RELEASE,), subcode=13),
    HoldCode(7, "UnableToOpenOutput", "The file for the job's stdout or stderr cannot be opened.",
             "Is the batch folder still there, is there room, may you write to it? Then release.",
             (RELEASE,)),
    HoldCode(8, "UnableToOpenInput", "The file for the job's stdin cannot be opened.",
             _NOT_OURS, (RELEASE,)),
    HoldCode(9, "UnableToOpenOutputStream", "The job's stdout cannot be streamed.", _STREAM,
             (RELEASE,)),
    HoldCode(10, "UnableToOpenInputStream", "The job's stdin cannot be streamed.", _STREAM,
             (RELEASE,)),
    HoldCode(11, "InvalidTransferAck", "HTCondor's daemons did not understand each other while "
             "files were moved; the connection broke, or their versions do not fit.", _NEWER,
             (RELEASE,)),
    HoldCode(12, "TransferOutputError", "What the job made could not be brought back.",
             "The text says which side failed. Release the jobs when it is put right.",
             (RELEASE,)),
    HoldCode(12, "TransferOutputError", "The job ended before its shim could write anything: it "
             "was killed at once, or the image has no /bin/sh, tar or gzip.",
             "Try the image (`apptainer exec IMAGE sh -c 'tar --version'`). If that is right, run "
             "the tasks again: a machine may have been the cause.", (RELEASE,), subcode=2),
    HoldCode(12, "TransferOutputError", "You may not write where the results are delivered to.",
             "Is the batch folder (or `outputs_to`) still there and yours? Then release.",
             (RELEASE,), subcode=13),
    HoldCode(12, "TransferOutputError", "The disk is full where the results are written to.",
             "`at access point`: make room there. `at execution point`: the slot's disk, so ask "
             "for more.", (RELEASE, DISK), subcode=28),
    HoldCode(12, "TransferOutputError", "Your quota is used up where the results are written to.",
             _QUOTA, (RELEASE,), subcode=122),
    HoldCode(12, "TransferOutputError", "Bringing the results to their URL took too long.",
             "Release the jobs; they run again.", (RELEASE,), subcode=62),
    HoldCode(12, "TransferOutputError", "The plugin that brings results to their URL failed.",
             "Do the URL and the keys or tokens still hold? Then release.", (RELEASE,),
             subcode=256),
    HoldCode(12, "TransferOutputError", "An object of that name is there already, and what is on "
             "the OSDF is never overwritten.",
             "Run the tasks anew: each attempt has a name of its own.", (AGAIN,),
             says=("object already exists",)),
    HoldCode(13, "TransferInputError", "A file that the job needs could not be brought to it.",
             "The text says which, and which side failed. Put it right, then release the jobs.",
             (RELEASE,)),
    HoldCode(13, "TransferInputError", "A path with `../` cannot be transferred.",
             "Name such a file under `inputs:`, not under `submit:`; run the tasks anew.",
             (AGAIN,), subcode=1),
    HoldCode(13, "TransferInputError", "A file that the job needs is not there any more.",
             "Put it back where the text says, with the content it had; then release the jobs.",
             (RELEASE,), subcode=2),
    HoldCode(13, "TransferInputError", "A file that the job needs may not be read.",
             "Make it readable for yourself (`chmod u+r FILE`, and x for its folders); then "
             "release the jobs.", (RELEASE,), subcode=13),
    HoldCode(13, "TransferInputError", "A folder stands where a file was expected.",
             "Put the file back, then release the jobs.", (RELEASE,), subcode=21),
    HoldCode(13, "TransferInputError", "The inputs did not fit on the slot's disk.",
             "Ask for more disk.", (DISK,), subcode=28),
    HoldCode(13, "TransferInputError", "The inputs are more than the disk quota there allows.",
             "Ask for more disk.", (DISK,), subcode=122),
    HoldCode(13, "TransferInputError", "Fetching an input from its URL took too long.",
             "Release the jobs; when it comes again, the server is too slow: use the stash.",
             (RELEASE,), subcode=62),
    HoldCode(13, "TransferInputError", "An input could not be fetched from its URL.",
             "Is the URL right and its server up (try `curl -I URL` here)? Then release.",
             (RELEASE,), subcode=256),
    HoldCode(13, "TransferInputError", "The OSDF knows no such name: its first part is wrong.",
             "Compare the URL with the stash of your access point (`osgbatch plan`); correct it "
             "in the sweep, and run the tasks anew.", (AGAIN,), says=("no namespace found",)),
    HoldCode(13, "TransferInputError", "The server says that there is no such file (404).",
             "Correct the URL, or put the file there; `osgbatch stage verify` looks after what "
             "osgbatch staged. Then release.", (RELEASE,), says=("404",)),
    HoldCode(13, "TransferInputError", "The server refuses to give the file (401, 403, token).",
             "Are the keys or tokens still valid? URLs signed in advance end after a while: then "
             "run the tasks anew.", (RELEASE, AGAIN), says=("403",)),
    HoldCode(13, "TransferInputError", "Less or more came from the OSDF than it should be.",
             "A cache gave a damaged or an old copy: release the jobs. When it comes again: "
             "`osgbatch stage verify`.", (RELEASE,), says=("received size", "expected")),
    HoldCode(14, "IwdError", "The job's first folder on the access point cannot be entered.",
             "Was the folder of the sweep moved or removed? Put it back, then release the jobs.",
             (RELEASE,)),
    HoldCode(15, "SubmittedOnHold", "The job was submitted on hold (`hold = true`).",
             "See `submit:` in the sweep; release it when it shall run.", (RELEASE,)),
    HoldCode(16, "SpoolingInput", "Its input files are still being brought to the schedd.",
             "Wait. When it lasts, the submission was cut short: run the tasks anew.", (AGAIN,)),
    HoldCode(17, "JobShadowMismatch", "The job and the shadow are of versions that do not fit.",
             _NEWER, (RELEASE,)),
    HoldCode(18, "InvalidTransferGoAhead", "HTCondor's daemons did not understand each other "
             "before files were moved.", _NEWER, (RELEASE,)),
    HoldCode(19, "HookPrepareJobFailure", "The execution point's own preparation of jobs failed.",
             "The machine or site is at fault: release the jobs; they come to others.",
             (RELEASE,)),
    HoldCode(20, "MissedDeferredExecutionTime", "The time at which it should start has passed.",
             "See deferral_time under `submit:` in the sweep.", (AGAIN,)),
    HoldCode(21, "StartdHeldJob", "A rule of the execution point was broken; the text says which.",
             "Do what the text says, then run the tasks again.", (RELEASE,)),
    HoldCode(21, "StartdHeldJob", "The job used more CPU cores than it asked for.",
             "Ask for more, or let the program use one: OMP_NUM_THREADS=1 under "
             "`environment_variables:`.", (CPUS,), subcode=101),
    HoldCode(21, "StartdHeldJob", "The job used more memory than it asked for.",
             "Ask for more memory.", (MEMORY,), subcode=102),
    HoldCode(21, "StartdHeldJob", "The job used more disk than it asked for.",
             "Ask for more disk. It holds the unpacked environment, inputs and outputs.", (DISK,),
             subcode=104),
    HoldCode(21, "StartdHeldJob", "The job used more memory than it asked for.",
             "Ask for more memory.", (MEMORY,), says=("memory",)),
    HoldCode(21, "StartdHeldJob", "The job used more disk than it asked for.",
             "Ask for more disk. It holds the unpacked environment, inputs and outputs.", (DISK,),
             says=("disk",)),
    HoldCode(22, "UnableToInitUserLog", "HTCondor cannot write the event log of the round.",
             "Is the batch folder still there, is there room, may you write to it? Then release.",
             (RELEASE,)),
    HoldCode(23, "FailedToAccessUserAccount", "Your account is not known where the job should run.",
             _ADMIN, (RELEASE,)),
    HoldCode(24, "NoCompatibleShadow", "The access point has no shadow for jobs of this kind.",
             _ADMIN, (RELEASE,)),
    HoldCode(25, "InvalidCronSettings", "The times at which it should start cannot be read.",
             "See cron_... under `submit:` in the sweep.", (AGAIN,)),
    HoldCode(26, "SystemPolicy", "A rule of the access point was broken; the text says which "
             "(too many starts, too long, too much memory or disk).",
             "Do what the text says; jobs that start again and again often fail at one site or "
             "ask for too little.", (RELEASE, GIVE_UP)),
    HoldCode(26, "SystemPolicy", "The job used more memory than the access point's rule allows.",
             "Ask for more memory.", (MEMORY,), says=("memory",)),
    HoldCode(26, "SystemPolicy", "The job used more disk than the access point's rule allows.",
             "Ask for more disk.", (DISK,), says=("disk",)),
    HoldCode(27, "SystemPolicyUndefined", "A rule of the access point could not be worked out.",
             _ADMIN, (RELEASE,)),
    HoldCode(32, "MaxTransferInputSizeExceeded", "The inputs of a job are larger than this access "
             "point lets travel.", "Bring large and shared files through the stash "
             "(`shared: true`, docs/stash.md), or fewer tasks per job; then run the tasks anew.",
             (AGAIN,)),
    HoldCode(33, "MaxTransferOutputSizeExceeded", "What a job made is larger than this access "
             "point lets travel.", "Deliver it elsewhere (`outputs_to:`, docs/stash.md), keep "
             "less of it (`outputs:`), or fewer tasks per job; then run the tasks anew.",
             (AGAIN,)),
    HoldCode(34, "JobOutOfResources", "The job used more memory than it asked for.",
             "Ask for more memory.", (MEMORY,)),
    HoldCode(34, "JobOutOfResources", "The job used more memory than it asked for.",
             "Ask for more memory.", (MEMORY,), subcode=102),
    HoldCode(34, "JobOutOfResources", "The job used more disk than it asked for.",
             "Ask for more disk. It holds the unpacked environment, inputs and outputs.", (DISK,),
             subcode=104),
    HoldCode(35, "InvalidDockerImage", "There is no such image, or it cannot be fetched.",
             "Correct the image's name in the sweep (`environment: {container: ...}`) and run the "
             "tasks anew.", (AGAIN,)),
    HoldCode(36, "FailedToCheckpoint", "The checkpoint could not be saved.",
             "Do the files that `checkpoint:` names exist when the program ends? Then release.",
             (RELEASE,)),
    *(HoldCode(37, "EC2UserError", f"EC2: {what}.", _EC2, (), code) for code, what in (
        (None, "the request was wrong"), (1, "no public key file"), (2, "no private key file"),
        (4, "the service's URL is missing"), (9, "not authenticated"),
        (10, "the server cannot use the SSH key pair"), (20, "the request was cancelled"))),
    *(HoldCode(38, "EC2InternalError", f"EC2: {what}.", _EC2, (), code) for code, what in (
        (None, "an internal error"), (3, "the resource is of another type"),
        (5, "the resource's type is missing"), (7, "the job's id is not of EC2"),
        (21, "an unexpected status"))),
    *(HoldCode(39, "EC2AdminError", f"EC2: {what}.", _EC2, (), code) for code, what in (
        (None, "this access point is not set up for it"), (6, "EC2_GAHP is not defined"))),
    *(HoldCode(40, "EC2ConnectionProblem", f"EC2: no connection {what}.", _EC2, (), code)
      for code, what in (
        (None, "to the service"), (11, "while making an SSH key pair"),
        (12, "while starting an instance"), (17, "while asking for a spot instance"))),
    *(HoldCode(41, "EC2ServerError", f"EC2: {what}.", _EC2, (), code) for code, what in (
        (None, "the service failed"), (13, "the instance ended abnormally"),
        (14, "the instance ended for an unknown reason"), (22, "it was down for too long"))),
    *(HoldCode(42, "EC2InstancePotentiallyLost", f"EC2: {what}.", _EC2, (), code)
      for code, what in (
        (None, "an instance may be lost"), (15, "no connection while ending an instance"),
        (16, "an instance could not be ended"), (17, "no connection while ending a spot request"),
        (18, "a spot request could not be ended"), (19, "a spot request went before its id"))),
    HoldCode(43, "PreScriptFailed", "The job's pre script failed.", _NOT_OURS, (RELEASE,)),
    HoldCode(44, "PostScriptFailed", "The job's post script failed.", _NOT_OURS, (RELEASE,)),
    HoldCode(45, "SingularityTestFailed", "The machine's Apptainer could not start the image.",
             "Release the jobs; they come to other machines. When all fail, try the image here: "
             "`apptainer exec IMAGE true`.", (RELEASE,)),
    HoldCode(46, "JobDurationExceeded", "The job was longer in the state running, at one go and "
             "with its file transfers, than allowed_job_duration lets it (`submit:` in the sweep, "
             "or the pool).", "Where `submit:` says it, give it more seconds there: `resources: "
             "{time: …}` does not change it. Where the pool allows no more: fewer tasks per job "
             "(`tasks_per_job:`).", (JOB_TIME,)),
    HoldCode(47, "JobExecuteExceeded", "The job ran for longer than it may (the time of its tasks "
             "in the sweep, or what the pool allows: 20 hours on the OSPool).",
             "Give its tasks more time. Where the pool allows no more: fewer tasks per job "
             "(`tasks_per_job:`), or a program that checkpoints. What it had done is lost.",
             (TIME,)),
    HoldCode(48, "HookShadowPrepareJobFailure", "The access point's own preparation of jobs "
             "failed.", _ADMIN, (RELEASE,)),
)  # fmt: skip
"""Every code of the manual, general rows before special ones."""

ERRNO = {
    1: "not permitted", 2: "no such file or folder", 5: "the disk cannot be read or written",
    7: "too long a list of arguments", 8: "not a program for this machine", 12: "no memory left",
    13: "access denied", 17: "it is there already", 20: "a file stands where a folder should",
    21: "it is a folder", 22: "not a valid argument", 26: "the file is being written",
    27: "the file is too large", 28: "no space left", 30: "read-only", 36: "the name is too long",
    40: "links lead in a circle", 62: "it took too long", 104: "the connection broke",
    110: "no answer in time", 111: "the connection was refused", 113: "no way to that host",
    116: "the network's file system lost it", 122: "the quota is used up",
}  # fmt: skip
"""Numbers of Linux errors, the subcodes of several codes, in words."""
ERRNO_CODES = (6, 7, 8, 9, 10, 12, 13, 14)
"""Codes whose subcode is such a number."""
_PLUGIN_CODES = (12, 13)


def explain_hold(code: int, subcode: int, reason: str = "") -> HoldCode:
    """The row that tells most about a hold: by what its reason says, its subcode, its code.

    reason: the text that HTCondor gave. A code that is not known gets a row that says so.
    """
    fitting = [row for row in HOLD_CODES if row.code == code and _fits(row, subcode, reason)]
    if fitting:
        return max(fitting, key=lambda row: (bool(row.says), row.subcode is not None))
    return HoldCode(
        code, "", "A cause that osgbatch does not know; HTCondor's text is all that is known.",
        "Read the text; release the jobs when its cause is gone.", (RELEASE, GIVE_UP),
    )  # fmt: skip


def _fits(row: HoldCode, subcode: int, reason: str) -> bool:
    told = reason.lower()
    if not all(words in told for words in row.says):
        return False
    if row.subcode is None:
        return True
    # A plugin's exit code stands in the bits from the eighth on; 256 stands for all of them.
    if row.subcode == 256 and row.code in _PLUGIN_CODES:
        return subcode >= 256
    return row.subcode == subcode


def subcode_words(code: int, subcode: int) -> str:
    """What a subcode says by itself; empty when nothing is known of it."""
    if code in _PLUGIN_CODES and subcode >= 256:
        return f"exit code {subcode >> 8} of a transfer plugin"
    return ERRNO.get(subcode, "") if code in ERRNO_CODES else ""


def known_codes() -> Iterable[int]:
    """All codes of the table, in order."""
    return dict.fromkeys(row.code for row in HOLD_CODES)
