"""States of jobs, events of the log, macros of submit files, and osgbatch's own words."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from osgbatch.explaining import pages


@dataclass(frozen=True)
class Word:
    """A word that is not a submit command. kind: state, event, macro or word; names: all that it
    is found by, the first one is shown; see: related commands of osgbatch."""

    kind: str
    names: tuple[str, ...]
    text: str
    page: str = ""
    anchor: str = ""
    see: str = ""


# number, letter of condor_q, HTCondor's word, osgbatch's word | sentence | what to type
_STATES = """
1 I idle waiting | In the queue, not started yet, or put back into it: it waits for a slot that
  fits. | osgbatch why BATCH
2 R running | It has a slot. That counts files being brought, too: osgbatch then says `transferring
  input`. | osgbatch logs BATCH
3 X removed | It was taken out of the queue (condor_rm, osgbatch cancel, periodic_remove) before it
  was done. | osgbatch resubmit BATCH --missing
4 C completed | It has ended, well or badly, and leaves the queue. Whether its tasks have succeeded,
  the records say that it brought. | osgbatch status BATCH
5 H held | HTCondor stopped it, since something must be put right first; its hold code and text say
  what. It does not start again until it is released. | osgbatch why BATCH
6 > transferring_output | The program has ended; its outputs are on their way. | osgbatch status
  BATCH
7 S suspended | It has its slot, but does not go on for now: the machine's owner or another job
  comes first. | osgbatch status BATCH
"""
_INPUT = Word(
    "state", ("transferring input", "<"),
    "It has a slot; its inputs are on their way there. HTCondor counts it as running.",
    pages.STATUSES, "", "osgbatch status BATCH",
)  # fmt: skip

# number NAME | its words in the log | sentence
_EVENTS = """
000 SUBMIT | Job submitted from host | The job is in the queue.
001 EXECUTE | Job executing on host | The job was started on an execution point. It may come more
  than once: each is an attempt.
002 EXECUTABLE_ERROR | Job executable error | The program could not be started.
003 CHECKPOINTED | Job was checkpointed | Its state was saved.
004 JOB_EVICTED | Job was evicted | The job lost its slot before it was done. HTCondor starts it
  again by itself, elsewhere perhaps.
005 JOB_TERMINATED | Job terminated | The job has ended. `return value` is its exit code; `signal`
  means that it was killed. Below stands what it used of what it had asked for.
006 IMAGE_SIZE | Image size of job updated | How much memory and disk the job uses was measured
  anew.
007 SHADOW_EXCEPTION | Shadow exception | The shadow, which looks after the job on the access point,
  gave up; the job goes back into the queue.
008 GENERIC | Generic event | A note that some program wrote into the log.
009 JOB_ABORTED | Job was aborted | The job was removed from the queue: by condor_rm, osgbatch
  cancel, or a rule.
010 JOB_SUSPENDED | Job was suspended | The job does not go on for now; it keeps its slot.
011 JOB_UNSUSPENDED | Job was unsuspended | The job goes on.
012 JOB_HELD | Job was held | The job was stopped until it is released. The next lines have the
  reason, and its code and subcode: `osgbatch explain hold CODE.SUBCODE`.
013 JOB_RELEASED | Job was released | A held job is back in the queue, and will start again.
014 NODE_EXECUTE | Node executing on host | A node of a job of the parallel universe has started.
015 NODE_TERMINATED | Node terminated | A node of a job of the parallel universe has ended.
016 POST_SCRIPT_TERMINATED | POST Script terminated | The POST script of a DAG's node has ended.
017 GLOBUS_SUBMIT | Job submitted to Globus | Of a grid that is no more.
018 GLOBUS_SUBMIT_FAILED | Globus job submission failed | Of a grid that is no more.
019 GLOBUS_RESOURCE_UP | Globus Resource Back Up | Of a grid that is no more.
020 GLOBUS_RESOURCE_DOWN | Detected Down Globus Resource | Of a grid that is no more.
021 REMOTE_ERROR | Error from | The execution point tells of something wrong; the next lines have
  its words. A hold or another start most often follows.
022 JOB_DISCONNECTED | Job disconnected, attempting to reconnect | The access point cannot reach the
  execution point; the job may go on there meanwhile.
023 JOB_RECONNECTED | Job reconnected | The execution point was found again; nothing is lost.
024 JOB_RECONNECT_FAILED | Job reconnection failed | The execution point was not found again; the
  job goes back into the queue.
025 GRID_RESOURCE_UP | Grid Resource Back Up | The other system of a grid job answers again.
026 GRID_RESOURCE_DOWN | Detected Down Grid Resource | The other system of a grid job does not
  answer.
027 GRID_SUBMIT | Job submitted to grid resource | A grid job was given to the other system.
028 JOB_AD_INFORMATION | Job ad information event triggered | Attributes of the job, which
  job_ad_information_attrs asked for.
029 JOB_STATUS_UNKNOWN | The job's remote status is unknown | Nothing has been heard of a grid job
  for a while.
030 JOB_STATUS_KNOWN | The job's remote status is known again | A grid job was heard of again.
031 JOB_STAGE_IN | Job is performing stage-in of input files | Inputs of a grid job are on their
  way.
032 JOB_STAGE_OUT | Job is performing stage-out of output files | Outputs of a grid job are on their
  way.
033 ATTRIBUTE_UPDATE | Changing job attribute | An attribute of the job was changed, as by
  condor_qedit.
034 PRESKIP | PRE_SKIP return value | A DAG's node was skipped, since its PRE script said so.
035 CLUSTER_SUBMIT | Cluster submitted from host | A cluster with late materialization (max_idle) is
  in the queue; its jobs follow little by little.
036 CLUSTER_REMOVE | Cluster removed | Such a cluster is done, or was removed; no more jobs will
  come.
037 FACTORY_PAUSED | Job Materialization Paused | No more jobs are made for now: most often since
  the cluster is held.
038 FACTORY_RESUMED | Job Materialization Resumed | Jobs are made again.
039 NONE | No event could be returned | No event; a program that reads the log had nothing to give.
040 FILE_TRANSFER | Started transferring input files | Files are waited for, on their way, or there:
  of the input or of the output, as its words say.
041 RESERVE_SPACE | Bytes reserved | Room was kept for files of the job.
042 RELEASE_SPACE | Reservation released | That room was given back.
043 FILE_COMPLETE | File complete | A file was stored for later jobs.
044 FILE_USED | File used | A stored file was used in place of bringing it again.
045 FILE_REMOVED | File removed | A stored file was removed.
046 DATAFLOW_JOB_SKIPPED | Dataflow job was skipped | The job was not run: its outputs are newer
  than its inputs (skip_if_dataflow).
047 COMMON_FILES | Common files | Files that the jobs of a cluster share were brought.
"""

_MACROS = """
ClusterId, Cluster | The number of the cluster: the same for all jobs of one condor_submit.
ProcId, Process | The number of the job in its cluster, from 0.
JobId | The whole id of the job, such as 123.4.
JobListId | The cluster's number; empty before 25.10.
ItemIndex, Row | The number of the item of the queue statement, from 0; the same for all jobs of one
  item.
Item | The item itself, where queue names no variable.
Step | With `queue 3 x from …`: which of the three jobs of an item this is, from 0.
Node | In the parallel universe, the number of the machine.
DOLLAR | A $ that is meant as such.
SUBMIT_FILE | The path of the submit file.
SUBMIT_TIME | When the job was submitted, in seconds since 1970.
YEAR, MONTH, DAY | The date on which the job was submitted.
"""

_OWN = """
sweep | The table of parameters: one row for each task. Also the key that describes it. |
  docs/spec.md
task | One run of your command, with one row of the sweep. Its index, from 0, never changes. |
  docs/spec.md
job | One HTCondor job, which runs one or more tasks in turn (tasks_per_job). | docs/batches.md
batch | One use of a sweep.yaml: a folder in batches/ with all that was made and has come back. |
  docs/batches.md
round | One submission inside a batch: the first one, the rest after a canary, a resubmission. |
  docs/batches.md
attempt | One start of a job. HTCondor may start a job more than once; the first result that is
  verified counts. | docs/batches.md
spec | The sweep.yaml, as you wrote it, and checked. | docs/spec.md
plan | What follows from the spec alone: tasks, jobs, archives, sizes; `osgbatch plan` shows it and
  changes nothing. | docs/spec.md
canary | A few tasks that run first; the rest follows when they have succeeded (--canary). |
  docs/batches.md
archive | A tarball that osgbatch packs: an environment, libraries, your files; or one that a job
  brings home. | docs/environments.md
environment | What a task's programs come from: packages, packed once, or an image. |
  docs/environments.md
stash | The place that big or shared files are staged to once, for jobs to fetch: an OSDF folder, a
  bucket, a web folder. | docs/stash.md
object | One file in the stash, named by its content, so that caches can never give an old one. |
  docs/stash.md
shim | The program that HTCondor starts in place of yours. It checks the place, unpacks, runs the
  tasks, packs what comes back and tells the truth about it. | docs/architecture.md
echo | What a task prints, copied to the job's own stdout while it runs, so that osgbatch logs can
  show it. | docs/batches.md
profile | What osgbatch knows of a pool: sizes, limits, where its stash is. | docs/settings.md
gather | A script or function that runs once over all results. | docs/results.md
workflow | A spec with steps: sweeps that use each other's results; DAGMan runs it. |
  docs/workflows.md
access point, ap | The machine where jobs are submitted from and results come back to. | @
execution point, ep | A machine that runs jobs. | @
slot | A part of an execution point, with so many cores, memory and disk, that runs one job at a
  time. | @
cluster | All jobs of one condor_submit; the number before the dot of a job's id. | @
proc | One job of a cluster; the number behind the dot of a job's id. | @
schedd | The daemon of the access point that keeps the queue. | @
shadow | The process on the access point that looks after a running job. | @
starter | The process on the execution point that sets up a job and looks after it. | @
startd | The daemon of an execution point that offers its slots. | @
negotiator | The daemon that gives slots to jobs, by priority and requirements. | @
collector | The daemon that knows all slots and daemons of a pool. | @
pilot, glidein | A job at a site that makes a part of its machine into slots of the OSPool for some
  hours. It may vanish without a word. | @
classad, job ad | The list of attributes by which HTCondor knows a job, or a slot; expressions
  compare the two. | @
hold | A stop of a job, with a code and a reason, until it is released. `osgbatch explain hold 34`
  tells of a code. | @
event log | The file in which HTCondor writes what happens to jobs; osgbatch reads it in place of
  asking. | @
late materialization, factory | Jobs are made from the item list little by little, as others start
  (max_idle). | @
scratch folder | The folder on the execution point that a job starts in, and that is removed after
  it. | @
dag, dagman | A graph of jobs that depend on each other, and the program that runs it. | @
osdf, osdf:// | The Open Science Data Federation: origins that have files, and caches that bring
  them near to jobs. A cache never looks twice at a name. | @
"""


@cache
def table() -> dict[str, Word]:
    """All words, by each of their names, in lower case."""
    found: dict[str, Word] = {}
    for word in (*_states(), _INPUT, *_events(), *_macros(), *_own()):
        for name in word.names:
            found.setdefault(name.lower(), word)
    return found


def states() -> list[Word]:
    """All states of a job, in the order of their numbers."""
    return _states()


def _lines(text: str) -> list[list[str]]:
    return [[part.strip() for part in line.split(" | ")] for line in pages.whole_lines(text)]


def _states() -> list[Word]:
    made = []
    for head, text, see in _lines(_STATES):
        number, letter, *names = head.replace("transferring_output", "transferring output").split(
            " ", 2
        )
        words = names[0].split() if "output" not in names[0] else names
        shown = f"{words[0]} (JobStatus {number}, {letter} in condor_q)"
        made.append(
            Word("state", (shown, *words, letter, f"jobstatus {number}", f"state {number}"),
                 text, pages.STATUSES, "", see)
        )  # fmt: skip
    return made


def _events() -> list[Word]:
    made = []
    for head, said, text in _lines(_EVENTS):
        number, name = head.split()
        names = (f"event {number} ({name}, \"{said}\")", f"event {number}", f"event {int(number)}",
                 f"event {name}", number, name, f"ulog_{name}", said, f"{said}.")  # fmt: skip
        made.append(Word("event", names, text, pages.EVENTS))
    return made


def _macros() -> list[Word]:
    made = []
    for head, text in _lines(_MACROS):
        names = head.split(", ")
        shown = " ".join(f"$({name})" for name in names)
        found = (shown, *(f"$({name})" for name in names), *names)
        made.append(Word("macro", found, text, pages.JDL, "submit-variables"))
    return made


def _own() -> list[Word]:
    return [
        Word("word", tuple(head.split(", ")), text, pages.GLOSSARY if page == "@" else "",
             "", "" if page == "@" else page)
        for head, text, page in _lines(_OWN)
    ]  # fmt: skip
