"""Everyday words (oom, stuck, timeout, condor_q), and the codes and commands they lead to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from osgbatch.explaining.pages import whole_lines


@dataclass(frozen=True)
class Lead:
    """Where a word leads. ask: what `osgbatch explain` knows, or a command; why: in one line."""

    ask: str
    why: str

    @property
    def command(self) -> str:
        """What is to be typed."""
        return self.ask if self.ask.startswith("osgbatch ") else f"osgbatch explain {self.ask}"


@dataclass(frozen=True)
class Everyday:
    """A word that people use; names: all of them, the first one is shown."""

    names: tuple[str, ...]
    text: str
    leads: tuple[Lead, ...]


# names | sentence | where it leads = why | …; a line that begins with blanks continues one above
_TABLE = """
memory, oom, out of memory, ran out of memory, not enough memory, oom killed, oom killer, oom kill,
  memoryerror, memory error, memory limit, cannot allocate memory, bad_alloc, ram, mem
  | A job has the memory that it asks for. One that uses more is held, or killed.
  | hold 34.102 = the job was held for it
  | exit 137 = killed, most often for it
  | resources.memory = how a sweep asks for it
  | retries.memory = ask for more by itself, at the next try
  | osgbatch report BATCH --sizing = what tasks have used of it
  | osgbatch release BATCH --memory 4GB = what is held goes on with more
disk, disk full, full, no space, no space left, no space left on device, storage, quota,
  quota exceeded, disk quota exceeded, enospc
  | A job has the disk that it asks for: for inputs, the unpacked environment and outputs.
  | hold 34.104 = the job used more than it asked for
  | hold 13.28 = its inputs did not fit
  | exit 102 = too little was free when it began
  | hold 12.122 = your own quota is used up
  | resources.disk = how a sweep asks for it
  | osgbatch release BATCH --disk 10GB = what is held goes on with more
exit, exit code, exit status, exit codes, exitcode, return value, return code, status code
  | A program ends with a number from 0 to 255, and 0 means that it has succeeded.
  | exit 1 = most others are the program's own
  | exit 103 = 101 to 114: the shim tells what was wrong
  | exit 127 = the program was not found
  | exit 137 = above 128: killed by a signal, here 9
  | osgbatch why BATCH = which tasks ended how
failed, fail, fails, failure, failing, failures, error, errors, crash, crashed, crashes, broken,
  went wrong
  | The command of a task did not end with 0, or left no output that is required.
  | osgbatch why BATCH = causes, those alike together, and what to do
  | osgbatch logs BATCH --failed = what such tasks wrote last
  | osgbatch resubmit BATCH --failed = run them again, when it is put right
  | exit = what a code means
traceback, exception, python error, zerodivisionerror, keyerror, valueerror, typeerror, indexerror,
  nameerror, attributeerror, syntaxerror, runtimeerror, assertionerror
  | The program's own error: its last line says what, the lines above where.
  | osgbatch logs BATCH --failed = all that such tasks wrote last
  | osgbatch why BATCH = which tasks, those alike together
  | osgbatch resubmit BATCH --failed = run them again, with your script as it is then
  | exit 1 = the code that Python and R end with
line ends, line endings, windows line ends, windows line endings, crlf, dos2unix, ^m,
  carriage return
  | A file was saved with Windows line ends, so a carriage return (\\r, ^M) counts as part of each
  line. `sed -i.bak 's/\\r$//' FILE`, or `dos2unix FILE`, takes them out; then submit it anew.
  | exit 127 = what a shell then ends with
  | osgbatch resubmit BATCH --failed = run such tasks again, with the mended file
no pool, failed to connect to schedd, connect to schedd, connect to local schedd,
  failed to connect to collector, failed to connect to local queue manager, queue manager,
  can't find address, can't find address of local schedd, unable to locate local schedd
  | HTCondor's daemons do not answer here: they do not run, or this is no access point.
  | osgbatch doctor = what is there, what is not, and what to do
  | osgbatch pool up = start a pool of your own, on this machine
  | access point = where jobs are submitted from
  | schedd = what was to answer
network, internet, offline, dns, curl, wget, could not resolve host, couldn't resolve host,
  could not resolve proxy, name or service not known, temporary failure in name resolution,
  network is unreachable, connection refused, connection timed out, connection reset by peer,
  connectionerror, gaierror, urlerror, no route to host, failed to connect to host
  | Execution points need not reach the internet: bring what a task needs with the job.
  | inputs = files that are brought to a task
  | stash = for what is large, or needed by all
  | environment = packages, in place of pip install in a task
  | retries = for machines where it fails, and others where it does not
  | osgbatch logs BATCH --failed = what such tasks wrote last
killed, kill, was killed, terminated, sigkilled
  | Somebody ended the program from outside: most often since it used too much.
  | signal 9 = without a warning: memory, most often
  | exit 137 = the same, as a shell says it
  | signal 15 = told to stop: time is up, or the machine is needed
  | exit 111 = it ran over resources.time
  | evicted = the job lost its machine
signal, signals, sig, kill signal, signal number
  | A program that is ended from outside gets a signal; its exit code is then 128 and its number.
  | signal 9 = KILL: most often for want of memory (exit 137)
  | signal 11 = SEGV: a fault in the program (exit 139)
  | signal 15 = TERM: told to stop (exit 143)
  | signal 6 = ABRT: it gave up by itself (exit 134)
  | signal 4 = ILL: this CPU lacks instructions
segfault, segmentation fault, segmentation violation, core dumped, core dump, segv, access violation
  | The program touched memory that is not its own: a fault in it, or in a library.
  | signal 11 = what it most often means
  | exit 139 = the same, as a shell says it
  | osgbatch logs BATCH --failed = what it wrote last
time, timeout, timed out, time out, time limit, walltime, wall time, too long, too slow, slow,
  duration, runtime, run time, deadline, hours, expired
  | Each task may take so long as resources.time says; then it is ended, and what it has is kept.
  | resources.time = how a sweep says it
  | exit 111 = a task ran over it
  | hold 47 = the whole job took too long, its tasks together
  | hold 46 = the same, file transfer counted
  | +JobDurationCategory = the OSPool's limit of 20 or 40 hours
  | checkpoint = for programs that save their state and go on
idle, waiting, waits, wait, pending, queued, queue, queueing, not starting, does not start,
  doesn't start, never starts, not running, does not run, no match, unmatched
  | The job is in the queue, and waits for a slot that fits; some minutes are usual.
  | osgbatch why BATCH TASK = HTCondor is asked how many slots fit
  | resources.memory = large requests fit few slots, and so do gpus:
  | requirements = what a slot must be like
  | project = on the OSPool, a job without one waits for ever
  | held = HTCondor has stopped it, which is something else
held, hold, on hold, holds, hold reason, hold code, hold codes
  | The job was stopped, and goes on only when it is released; its code says why.
  | osgbatch why BATCH = the reason in plain words, and what to do
  | osgbatch release BATCH = let it go on, when the cause is gone
  | osgbatch resubmit BATCH --held = run its tasks anew, with what was changed
  | osgbatch cancel BATCH --held = give it up
  | hold 34.102 = what a code means, here: too much memory
stuck, hang, hangs, hanging, hung, frozen, freezes, no progress, nothing happens, deadlock, stalled
  | Does it wait, is it held, or does it run and say nothing?
  | osgbatch status BATCH = which of these
  | osgbatch why BATCH = why it waits or is held
  | osgbatch logs BATCH --task TASK -f = what a task that runs has printed so far
  | idle = it waits for a slot
  | resources.time = a task that hangs is ended after this
gpu, cuda, nvidia, graphics card, vram, gpu memory, cuda out of memory, accelerator
  | `gpus: 1` asks for one; slots that have some are few.
  | gpus = how many, and of what kind
  | gpus.min_memory = the least memory of each
  | gpus.min_capability = how new they must be
  | request_gpus = what HTCondor is told
  | osgbatch init gpu = a sweep that uses one
cpu, cpus, core, cores, thread, threads, multithreading, multiprocessing, openmp, omp_num_threads,
  parallel, mpi
  | A job has one CPU core, unless it asks for more.
  | resources.cpus = how a sweep asks for it
  | hold 21.101 = it used more than it asked for
  | request_cpus = what HTCondor is told
container, containers, image, docker, singularity, apptainer, sif, podman
  | Tasks may run in an image: what they need is then in it, whatever machine they come to.
  | environment.container = how a sweep names it
  | container_image = what HTCondor is told
  | hold 6.2 = the image has no /bin/sh
  | exit 106 = it lacks a tool: sh, tar, gzip, base64, sha256sum
  | osgbatch init container = a sweep that uses one
transfer, transfers, file transfer, transferring, upload, uploading, download, downloading, copy,
  scp, rsync, transfer error, transfer failed, transfer files, shared file system
  | No disk is shared: a job's files are brought to it, and what it makes is brought back.
  | hold 13 = an input could not be brought
  | hold 12 = an output could not be brought back
  | transferring input = the state of a job that waits for its files
  | inputs = what a sweep brings to its tasks
  | outputs = what comes back
  | stash = for what is large, or needed by all
input, input file, input files, missing input, file not found, no such file,
  no such file or directory, filenotfounderror, missing file
  | A task sees only what the sweep names: `files:`, and `inputs:` in its folder inputs/.
  | inputs = how a sweep names them
  | files = scripts, and what is small
  | hold 13.2 = one was not there any more
  | exit 107 = one did not arrive
output, output file, output files, missing output, result, results, lost output
  | What a task leaves in outputs/ comes back, verified, into results/ of the batch folder.
  | osgbatch collect BATCH = bring it into results/
  | outputs = how a sweep says what must be there
  | exit 110 = something that is required was not
  | hold 12 = it could not be brought back
command not found, cannot execute, not executable, no such command, permission denied, eacces,
  exec format error, bad interpreter, not found, shebang, cannot be executed
  | The program is not on the machine, or may not be started: bring it along.
  | exit 112 = osgbatch could not start the command
  | exit 127 = a shell did not find a program
  | exit 126 = a shell found one that it could not start
  | files = how a script comes along
  | environment = how programs and packages do
python, module, modules, import, import error, importerror, modulenotfounderror, no module named,
  package, packages, pip, conda, virtualenv, venv, software, install, dependency, dependencies
  | Machines have little software: what a task needs is packed once, and travels with it.
  | environment = packages of conda or pip, or an image
  | libraries = your own packages
  | files = scripts and single modules
  | exit 105 = the environment does not start there
  | osgbatch init conda = a sweep with packages
evicted, eviction, evict, preempted, preemption, vacated, disconnected, lost, lost machine
  | The job lost its machine before it was done; HTCondor starts it again by itself, elsewhere.
  | event 004 = how the log says it
  | event 024 = the machine was not found again
  | checkpoint = for long tasks: they go on where they were
retry, retries, retrying, restart, restarted, again, rerun, run again
  | What a machine is to blame for is run again by itself; what your command is, when you say so.
  | retries = how often, and after what
  | osgbatch resubmit BATCH --failed = run tasks again that failed
unknown, missing, vanished, gone, disappeared
  | The job has left the queue and nothing has come back that tells of the task.
  | osgbatch why BATCH = what is known
  | osgbatch resubmit BATCH --missing = run such tasks again
cancel, stop, abort, delete, remove, condor_rm, scancel, qdel
  | Jobs are taken out of the queue; what has come back stays.
  | osgbatch cancel BATCH = all that has not ended; or --tasks 2-5, --held
  | osgbatch rm BATCH = its folder with all results, once it has ended
  | removed = the state of such a job
log, logs, stdout, stderr, print, printed, console
  | What a task prints comes back with its results; while it runs, so far as it has come.
  | osgbatch logs BATCH --task TASK = of one task; -f goes on until it ends
  | osgbatch logs BATCH --failed = the last lines of those that failed
  | event log = what HTCondor writes of jobs
priority, prio, fair share, fairshare, condor_prio
  | Among users, those that have used less go first; among your own jobs, you decide.
  | osgbatch prioritize 5 BATCH = this batch before your others
checksum, checksums, damaged, corrupt, corrupted, integrity, sha256
  | All that travels is compared with its checksum, there and back.
  | exit 103 = what came with the job was not whole
  | exit 114 = an input was not what it should be
  | osgbatch verify BATCH = whether results are still what came back
too many jobs, too many, limit, throttle, how many jobs, max jobs, many jobs
  | A sweep may have a million tasks; how many are in the queue at a time can be bounded.
  | max_running = so many jobs at a time
  | tasks_per_job = short tasks, several in one job
  | max_idle = what HTCondor is told
slurm, sbatch, squeue, sacct, srun, pbs, qsub, qstat, sge, lsf, bsub, array, array job, job array
  | An array job is here a sweep: one file describes it, and each row of its table is a task.
  | osgbatch init sweep = a first one to change (sbatch)
  | osgbatch submit sweep.yaml = sbatch
  | osgbatch status = squeue
  | osgbatch cancel = scancel
  | osgbatch tasks = sacct
condor_submit, submit, submit file, condor
  | osgbatch writes the submit file of a sweep and gives it to condor_submit.
  | osgbatch submit sweep.yaml = pack, stage and submit
  | osgbatch plan sweep.yaml = what that would do; nothing is submitted
  | osgbatch explain sweep.yaml = the submit file, line by line
  | osgbatch lint FILE.submit = advice on one of your own
  | osgbatch import FILE.submit = a sweep.yaml that gives the same jobs
condor_q, condor_watch_q, status, watch, progress, condor_history
  | The event log tells how jobs go; HTCondor is not asked for that.
  | osgbatch status BATCH = how many tasks are in which state
  | osgbatch watch BATCH = the same, until all have ended
  | osgbatch tasks BATCH = each task
  | osgbatch ls = all batches of this folder
condor_tail, condor_ssh_to_job
  | What a task that runs has printed so far can be read.
  | osgbatch logs BATCH --task TASK -f = of a task, until it ends
condor_hold, condor_release, condor_qedit
  | Held jobs go on when they are released, with other requests if you say so.
  | osgbatch release BATCH --memory 4GB = with more memory
  | hold = what it is
better-analyze, better analyze, condor_q -better-analyze, condor_status
  | Why a job does not start, HTCondor can be asked.
  | osgbatch why BATCH TASK = how many slots fit, and which request is too large
  | osgbatch doctor = whether the pool has slots that fit a small job
"""


@cache
def table() -> dict[str, Everyday]:
    """All words, by each of their names, in lower case."""
    found: dict[str, Everyday] = {}
    for line in whole_lines(_TABLE):
        head, text, *rest = [part.strip() for part in line.split(" | ")]
        leads = tuple(Lead(*(half.strip() for half in one.split(" = ", 1))) for one in rest)
        word = Everyday(tuple(head.split(", ")), text, leads)
        for name in word.names:
            found.setdefault(name, word)
    return found


_CARRIAGE_RETURN = re.compile(r"\\r(?!\w)|\^M(?!\w)")
"""How env, sh and bash show one: 'python3\\r', /bin/sh^M, $'\\r'."""
_RAISED = re.compile(r"\w(?:Error|Exception)\b")
_OF_THE_PLACE = ("memory", "disk", "gpu", "network", "python")
"""What a program's own error may tell of where it ran."""


def of_line(text: str) -> str:
    """The name that a line of stderr is about, whatever words it has; empty where that counts."""
    if _CARRIAGE_RETURN.search(text):
        return "line ends"
    if text.startswith("curl: ("):
        return "curl"
    if not _RAISED.search(text):
        return ""
    name = inside(text)
    told = " " in name or name.endswith("error")  # and no word of the message by chance
    return name if told and table()[name].names[0] in _OF_THE_PLACE else "traceback"


def inside(text: str) -> str:
    """The name that a longer text is about, the longest that it has; empty when it has none."""
    lower = text.lower()
    held = [name for name in table() if len(name) > 1 and name in lower]
    whole = [name for name in held if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", lower)]
    return max(whole, key=len, default="")
