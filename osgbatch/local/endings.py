"""What the end of a start means: its job has ended, is started again, or is held."""

from __future__ import annotations

from dataclasses import dataclass

from osgbatch import names
from osgbatch.local import events, sandbox
from osgbatch.local.events import Usage
from osgbatch.local.jobs import History, Running, Setting, duration

ENDED, AGAIN, HELD = "ended", "again", "held"


@dataclass(frozen=True)
class Outcome:
    """How a start came to its end.

    code: exit code, or minus the signal; over_memory: the system stopped it for that; problem: why
    its results could not be brought home; stopped: why the runner ends all that it runs.
    """

    code: int
    over_memory: bool
    problem: sandbox.TransferError | None
    stopped: str


@dataclass(frozen=True)
class Verdict:
    """What is to be written into the log, and what becomes of the job: ENDED, AGAIN or HELD.

    memory_mb: what it asks for from now on, in MiB; 0 for what it did.
    """

    event: bytes
    then: str = ENDED
    memory_mb: int = 0


def bring_home(setting: Setting, job: Running) -> int:
    """Deliver a job's archive and what the shim itself printed; returns their bytes.

    Raises TransferError when that is not possible.
    """
    folder = names.return_folder(setting.round_folder, job.proc)
    stem = f"{setting.cluster}_{job.proc}"
    deliveries = (
        sandbox.Delivery(names.OUT_ARCHIVE, folder / f"{stem}_{job.attempt}.tar.gz", required=True),
        sandbox.Delivery(sandbox.STDOUT, folder / f"{stem}.out"),
        sandbox.Delivery(sandbox.STDERR, folder / f"{stem}.err"),
    )
    return sum(sandbox.bring_home(job.scratch, delivery) for delivery in deliveries)


def judge(
    setting: Setting, job: Running, point: str, outcome: Outcome, run: Usage, history: History
) -> Verdict:
    """What becomes of a job whose start has ended.

    point: its slot and host, as HTCondor writes them; run: what the start used; history: of all
    starts, this one too.
    """
    work, cluster, proc = setting.work, setting.cluster, job.proc
    request, code = job.item.need.request, outcome.code

    def held(number: int, subcode: int, why: str) -> Verdict:
        return Verdict(events.held_event(cluster, proc, number, subcode, why), HELD)

    if job.ending == "cancel":
        return Verdict(events.aborted_event(cluster, proc, job.why))
    if job.ending == "evict":
        return Verdict(events.evicted_event(cluster, proc, run, request, outcome.stopped))
    if job.ending == "time":
        limit = duration(job.item.need.execute_s)
        return held(47, 0, f"The job exceeded allowed execute duration of {limit}")
    if outcome.over_memory:
        used = (
            f"Job has gone over cgroup memory limit of {request.memory_mb} megabytes. "
            f"Last measured usage: {run.memory_mb} megabytes."
        )
        more = work.more_memory(request.memory_mb)
        if not more:
            advice = "Consider resubmitting with a higher request_memory."
            return held(34, 102, f"Error from {point}: {used}  {advice}")
        why = f"{used} It asks for {more} from now on."
        return Verdict(events.evicted_event(cluster, proc, run, request, why), AGAIN, more)
    if outcome.problem is not None:
        return held(
            12,
            outcome.problem.subcode,
            f"Transfer output files failure at execution point {point} while sending files to "
            f"access point {setting.host}. Details: reading from file {outcome.problem}",
        )
    tries = history.starts - history.over_memory
    if work.retries(code) and tries <= work.retry_times:
        how = f"exit code {code}" if code >= 0 else f"signal {-code}"
        why = f"{how}: start {tries} of at most {work.retry_times + 1}"
        return Verdict(events.requeued_event(cluster, proc, code, run, request, why), AGAIN)
    return Verdict(events.terminated_event(cluster, proc, code, history.total, run, request))
