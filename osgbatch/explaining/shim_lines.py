"""Why the parts of the shim stand there: its own lines one by one, the common ones by sections."""

from __future__ import annotations

HEAD = "Any POSIX sh will do, also busybox in a small image. The comment says what the shim leaves "
HEAD += "behind, whatever happens: an archive with the record of the job and of each task."
VARIABLES = {
    "stopped": "Set when the job is told to stop; asked between all steps.",
    "trap": "Told to stop (eviction, condor_rm), the shim still leaves its archive.",
    "SHIM": "The version of what the shim and osgbatch agree on.",
    "BATCH": "The batch's id; it stands in the record that comes back, and is compared.",
    "ROUND": "The number of the round, for the same.",
    "CLUSTER": "What HTCondor gives the shim: the arguments of the submit file.",
    "DISK_NEEDED_KB": "So much free disk must be there before anything is unpacked; else exit 102.",
    "HAS_ENVIRONMENT": "Whether an environment comes with the job ({from environment}).",
    "IN_CONTAINER": "Whether the job runs in an image of yours ({from environment}).",
    "IMAGE_ROOT": "Empty but in tests.",
    "TIME_LIMIT": "Seconds that a task may take ({from resources.time}): then TERM, and KILL ten "
    "seconds later; 0 is no limit.",
    "RETRY_TIMES": "How often a task is tried again right here ({from retries}), where you named "
    "exit codes.",
    "RETRY_CODES": "After which exit codes; for infrastructure HTCondor does it, elsewhere.",
    "DATA_ELSEWHERE": "Whether results go to a URL ({from outputs_to}).",
    "CHECKPOINT": "Whether the program saves its state ({from checkpoint}).",
    "CHECKPOINT_EVERY": "After how many seconds it is told to ({from checkpoint}); 0: never.",
    "CHANGED_ONLY": "Whether only what the program made or changed comes back ({from outputs}).",
    "HAS_EXCLUDED": "Whether some outputs stay away ({from outputs}).",
    "IN_NODE": "Whether this is a step of a workflow: there a job that fails would end the others.",
    "NODE_RETRIES": "For that: how often HTCondor starts the job again,",
    "NODE_CODES": "and after which codes.",
    "KILL_AFTER": "Seconds between TERM and KILL.",
    "USER_PATH": "A PATH of yours, which takes the place of the environment's "
    "({from environment_variables}).",
    "unset": "A PATH of yours, if any, stands behind this line.",
    "HAS_VARIABLES": "Whether tasks have environment variables of yours "
    "({from environment_variables}).",
}
FUNCTIONS = {
    "payload": "What came with the job: each archive with its SHA-256, which is compared before it "
    "is used.",
    "row": "What one task does, as your sweep says: its params.json, its inputs, its outputs, its "
    "command. The values of its row stand in $1, $2, …, and are never read as code.",
    "outputs_of_spec": "What comes back of each task ({from outputs}); one that is required and "
    "missing makes the task fail with 110.",
    "exclude_all": "What stays away ({from outputs}).",
    "of_checkpoint": "The files that are the program's state ({from checkpoint}).",
    "with_variables": "Environment variables of yours ({from environment_variables}), set for the "
    "task alone.",
    "task_environment": "What else a task sees: a clean environment, with nothing of the access "
    "point's; a HOME and caches that can be written; which task it is.",
    "forget_other_r": "With an R of your own, packages of the machine's R are not seen.",
}
SECTIONS = (
    ("clock and records", "How times are measured, and how records are written: lines key=value."),
    ("the archive and the end", ("How the archive is written and the job ends: always with an "
     "archive, always with a code that says who was at fault (`osgbatch explain exit 103`).")),
    ("the place", ("Looks at the machine and checks it: tools, free disk, checksums of all that "
     "came; unpacks; tries the environment. What fails here is tried again elsewhere.")),
    ("the rows", "Reads the rows of the job's tasks, and puts their inputs in place, verified."),
    ("one command", ("Starts the command in the task's folder, watches time and memory, ends it "
     "with all it has started, and judges how it ended.")),
    ("the echo", "Copies what tasks print to the job's own stdout, for osgbatch logs."),
    ("a program that saves its state", ("Keeps the state of a program with checkpoint:, and finds "
     "it again at the next start.")),
    ("one task", "One task from its empty folder to its verified outputs, with their SHA-256."),
)  # fmt: skip
"""By how their titles begin."""
FIRST = "The state that the shim begins with, and bytes are bytes: LC_ALL=C."
STEPS = (
    ("trap", "From now on the task is told to stop, too."),
    ("open_echo", "Opens the echo."),
    ("open_scratch", "Goes to the scratch folder, and makes its own folders there (else 101)."),
    ("write_archive", ("An archive with state=started, first of all: now HTCondor has something to "
     "bring home (else 108).")),
    ("describe_host", "Notes machine, site, system and CPU, for the record."),
    ("stop_if_told", "Told to stop meanwhile, it ends here, with 113."),
    ("[ -z \"$CHECKPOINT\" ]", "With checkpoint: is there a state to go on from?"),
    ("self_test", "Is this place fit: tools (106), disk (102), archives whole (103)?"),
    ("payload", "Unpacks what came with the job (else 104)."),
    ("try_environment", "Does the environment's interpreter start here (else 105)?"),
    ("read_rows", "The rows of the tasks, decoded (else 109)."),
    ("for_each_task", "The tasks, one after the other, also after one has failed."),
    ("finish", "The last archive, and the exit code: 0 when all tasks have succeeded."),
)  # fmt: skip
"""The last lines, by how they begin."""
CLOCK = "The clock, for the record of how long each part took."
