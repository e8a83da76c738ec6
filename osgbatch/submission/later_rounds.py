"""Adds a round to a batch: planned as it was, for some of its tasks, and submitted once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from osgbatch import condor, local
from osgbatch.batches import folder as folders
from osgbatch.batches.cancelled import cancelled
from osgbatch.batches.folder import Batch
from osgbatch.batches.notes import REST, cluster_of, other_host
from osgbatch.condor import Queue
from osgbatch.errors import BatchError, BusyError, CondorError, OsgbatchError
from osgbatch.life.naming import in_commands
from osgbatch.life.releasing import noted_priority, prioritize_batch
from osgbatch.model import Round, Submitted
from osgbatch.packing.disk_full import BATCH_FIX, told_when_full
from osgbatch.plan_model import Resolved
from osgbatch.planning.chosen import choose
from osgbatch.staging.stage import Progress
from osgbatch.submission.keyed import keys_of
from osgbatch.submission.packed import pack_environment
from osgbatch.submission.planned import Choices, warnings_for
from osgbatch.submission.planned_again import as_planned, plan_again
from osgbatch.submission.quotas import look_ahead
from osgbatch.submission.rendered import Made, Rendered, render_round
from osgbatch.submission.staged import Silent, stage_plan
from osgbatch.submission.submitting import choose_backend, give_later, settle
from osgbatch.task_ranges import parse_task_ranges, task_list

Say = Callable[[str], None]
SILENT = Silent()


@dataclass(frozen=True)
class Later:
    """A later round that was submitted. batch: read again, with its new round."""

    batch: Batch
    round: Round
    submitted: Submitted
    tasks: Sequence[int]


@dataclass(frozen=True)
class Choice:
    """The tasks that are run again. held: of each round the procs that must be removed first."""

    tasks: Sequence[int]
    held: Mapping[int, Collection[int]] = field(default_factory=dict)


def add_round(
    batch: Batch,
    choice: Choice,
    why: str,
    say: Say,
    choices: Choices,
    *,
    again: Callable[[], Choice],
    pool: str = "",
    progress: Progress = SILENT,
    accept: Callable[[Rendered], None] = lambda rendered: None,
    node: bool = False,
    here: bool = False,
) -> Later:
    """Plan, pack, stage, render and submit a later round.

    again: which tasks they are, asked again under the batch's lock; accept: raises OsgbatchError
    when the round is not one to submit. node: DAGMan submits it. here: its step
    says `here:`, so it runs on this machine, whatever that is. Whatever is raised, nothing is
    submitted then and the batch is as it was.
    """
    batch = as_planned(batch)
    ran = "" if pool or here else _usual_backend(batch)
    backend = "local" if here else choose_backend(pool, ran=ran)
    kept = _settings(batch)
    settings = (*kept, *choices.settings)
    if kept:
        say(f"settings of the rounds before hold still: {' '.join(kept)}")
    choices = replace(choices, settings=settings, staging=backend != "local")
    whole = plan_again(batch, choices, say, choice.tasks)
    plan = choose(whole, choice.tasks)
    if why != REST:  # then they were told when the canary was submitted
        for warning in warnings_for(plan, backend):
            say(f"warning: {warning}")
    keys = keys_of(plan, choice.tasks)
    environment = pack_environment(plan, say)
    for warning in look_ahead(plan, environment, batch.folder.parent):
        say(f"warning: {warning}")
    staging = stage_plan(plan, environment, say, progress, verify=choices.verify)
    made = Made(staging, environment, why, settings, keys, node)

    def prepared(rendered: Rendered) -> None:
        _check_delivery(batch, rendered.resolved)
        accept(rendered)
        _clear(batch, choice)

    with folders.locked(batch.folder, wait=True) as lock:
        settle(batch, say)
        if again() != choice:
            raise BusyError(
                "the batch has changed while its round was made; nothing was submitted",
                where=str(batch.folder),
                fix="Look at `osgbatch status`, then try again.",
            )
        _refuse_live(batch, choice)
        with told_when_full(batch.folder, BATCH_FIX):
            rendered = render_round(batch, made, say, progress)
        given = "dagman" if node else backend
        give_later(given, rendered, lock, say, lambda: prepared(rendered))
        fresh = folders.load(batch.folder)
        submitted = folders.read_submitted(rendered.round)
    assert submitted is not None
    if backend != "local" and not node:
        _prioritize(fresh, say)
    return Later(fresh, rendered.round, submitted, choice.tasks)


def _prioritize(batch: Batch, say: Say) -> None:
    """Give a new round the priority that was set for those before."""
    if not (priority := noted_priority(batch)):
        return
    try:
        prioritize_batch(batch, priority)
        say(f"it has priority {priority}, as was set before")
    except OsgbatchError as error:
        name = in_commands(batch)
        say(f"warning: {error.what}; `osgbatch prioritize {priority} {name}` gives the new round "
            "the priority that was set before")  # fmt: skip


def _backend(batch: Batch) -> str:
    """Who runs the newest round."""
    noted = folders.read_submitted(batch.rounds()[-1])
    return noted.backend if noted else "auto"


def _usual_backend(batch: Batch) -> str:
    """Who runs one more round. Raises CondorError where that is an HTCondor that is not here."""
    found = _backend(batch)
    if found == "condor" and not condor.configured():
        raise CondorError(
            "this batch runs on HTCondor, and there is none here",
            where=str(batch.folder),
            fix="Type it on the access point on which the batch was submitted, in a shell that has "
            "HTCondor's commands on PATH. `--pool local` runs these tasks here.",
        )
    return found


def _settings(batch: Batch) -> tuple[str, ...]:
    """The settings of the command line that the newest round was made with."""
    note = folders.read_note(batch.rounds()[-1].folder)
    return note.settings if note else ()


def _check_delivery(batch: Batch, resolved: Resolved) -> None:
    """Raises BatchError when data would go elsewhere than that of the rounds before."""
    told = batch.data.get("outputs_to")
    before = str(told["url"]) if told else ""
    now = resolved.delivery.url if resolved.delivery else ""
    if before != now:
        raise BatchError(
            f"outputs_to would be {now or 'home'} now; that of this batch is {before or 'home'}",
            where=str(batch.folder),
            fix="Leave it as it was, or submit the sweep as a new batch.",
        )


def _rounds_of(batch: Batch, tasks: Collection[int]) -> Iterator[tuple[Round, str, int]]:
    """The rounds that have any of these tasks, with who runs them and their cluster."""
    wanted = set(tasks)
    for round_ in batch.rounds():
        note = folders.read_note(round_.folder)
        if note is not None and wanted.isdisjoint(note.indices()):
            continue
        noted = folders.read_submitted(round_)
        cluster = cluster_of(round_)
        if cluster:
            yield round_, noted.backend if noted else "condor", cluster


def _refuse_live(batch: Batch, choice: Choice) -> None:
    """Raises BusyError when a job that the queue still has holds one of the tasks.

    The event log may be behind, or lost; only held jobs that are to be removed may be there.
    """
    tasks = set(choice.tasks)
    for round_, backend, cluster in _rounds_of(batch, tasks):
        held = choice.held.get(round_.number, ())
        if backend == "local":
            if held and local.alive(round_, cluster):
                raise BusyError(
                    "the local runner removes no single jobs while others run",
                    where=str(round_.folder),
                    fix="Wait for them (`osgbatch watch`), or `osgbatch cancel` them all.",
                )
            continue
        # This machine's queue is asked all the same: it may only have another name now.
        elsewhere = bool(other_host(round_))
        asks = condor.configured() or not elsewhere
        queue = condor.look(round_, cluster) if asks else Queue(cluster, {})
        if elsewhere and not {*queue.live}.issuperset(held):
            raise BusyError(
                "the held jobs are in the queue of another access point",
                where=str(round_.folder),
                fix="Run the same command there.",
            )
        never = set(cancelled(round_)) if queue.live else set()
        lines: list[str] = []
        for proc in queue.live:
            state = queue.jobs[proc].state if proc in queue.jobs else ""
            if state in ("waiting", "") and proc in never:
                continue  # it may run on no host
            lines = lines or folders.round_tasks(round_)
            found = tasks.intersection(parse_task_ranges(lines[proc]))
            if found and proc not in held:
                raise BusyError(
                    f"{'task' if len(found) == 1 else 'tasks'} {task_list(sorted(found))} "
                    f"{'is' if len(found) == 1 else 'are'} in job {cluster}.{proc}, which the "
                    f"queue still has{' (held)' * (state == 'held')}",
                    where=str(round_.folder),
                    fix="Wait for it, or remove it first; `--held` removes those that are held.",
                )


def _clear(batch: Batch, choice: Choice) -> None:
    """Remove the held jobs of the tasks, and what a local runner that died has left of them."""
    for round_, backend, cluster in _rounds_of(batch, choice.tasks):
        procs = choice.held.get(round_.number, ())
        if backend == "local":
            if not local.alive(round_, cluster) and (procs or local.interrupted(round_, cluster)):
                local.cancel(round_, cluster, held=procs)
        elif procs:
            condor.remove_held(round_, cluster, procs, "removed by osgbatch resubmit --held")
