"""The flow from a spec to its plan: nothing is written, and only what it needs is loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from osgbatch.errors import OsgbatchError, SpecError, SpecErrors, StagingError
from osgbatch.plan_model import Payload, Plan, Resolved
from osgbatch.planning.advice import ELSEWHERE
from osgbatch.spec.load import load_spec
from osgbatch.spec.units import UnitError, seconds
from osgbatch.spec_model import Place, Profile, Resources, Spec, Stash, UserPath
from osgbatch.tables import Table
from osgbatch.urls import scheme

if TYPE_CHECKING:
    from osgbatch.packing.archive import Member


@dataclass(frozen=True)
class Choices:
    """What the command line says about a sweep.

    settings: what wins over the spec, `resources.memory=4GB`; fit_pool: group the tasks so that
    the jobs fill the pool's free slots. staging: whether big and shared files go through a stash;
    the local runner has no use for one. presigned_s: for how many seconds jobs may fetch by URLs
    that are signed in advance; 0 for not at all. verify: read what is in the stash already, before
    it is used. copy: of the spec, read in place of it where it is gone, or its text. rows: gives
    the table of the tasks, of that of the sweep. spec: what was read already, in place of both.
    """

    settings: Sequence[str] = ()
    fit_pool: bool = False
    staging: bool = True
    presigned_s: int = 0
    verify: bool = False
    copy: Path | bytes | None = None
    rows: Callable[[Table], Table] | None = None
    spec: Spec | None = None


LONGEST_PRESIGNED_S = 7 * 86_400
"""For how long S3 takes a signature. Source: AWS Signature Version 4, X-Amz-Expires."""


def presigned_seconds(text: str) -> int:
    """What --allow-presigned says, in seconds; 0 for an empty text. Raises OsgbatchError."""
    if not text:
        return 0
    try:
        found = seconds(text)
    except UnitError as error:
        what = str(error)
    else:
        if found <= LONGEST_PRESIGNED_S:
            return found
        what = f"{text} is more than the 7 days for which S3 takes a signature"
    raise OsgbatchError(what, where="--allow-presigned", fix="Write a time such as 2 days.")


AS_WRITTEN = Choices()
"""The sweep as its spec has it."""


def plan_sweep(path: Path, batch_root: Path | None = None, choices: Choices = AS_WRITTEN) -> Plan:
    """load → expand → plan. Raises SpecErrors with all that is wrong in the table and the files."""
    from osgbatch.planning.advice import stash_notes
    from osgbatch.planning.checks import missing_files
    from osgbatch.planning.plan import make_plan
    from osgbatch.submission.buckets import key_errors
    from osgbatch.sweep.expand import expand

    try:
        spec = choices.spec or load_spec(path, choices.settings, choices.copy)
    except SpecErrors as error:
        raise _in_order([*error.errors, *_more_mistakes(error)], path) from None
    stash = _stash_of(spec) if choices.staging else Stash()
    if choices.presigned_s and choices.staging:
        stash = _presigned(stash, choices.presigned_s)
    lister = _Lister(stash, local=not choices.staging)
    try:
        table = expand(spec, lister)
    except (SpecError, SpecErrors) as error:
        raise _in_order([*_each(error), *missing_files(spec)], path) from None
    table = choices.rows(table) if choices.rows else table
    counter = _slots_counter(spec) if choices.fit_pool and not spec.checkpoint else None
    delivers, spec = spec.outputs_to, replace(spec, outputs_to=spec.outputs_to * choices.staging)
    plan = make_plan(spec, table, batch_root, counter, stash, lister.found)
    if choices.staging:
        if errors := list(key_errors(plan)):
            raise _in_order(errors, path)
        return replace(plan, warnings=(*plan.warnings, *stash_notes(plan)))
    plan = replace(plan, buckets=())
    if not delivers:
        return plan
    told = "outputs_to: is not used by the local runner; everything comes home"
    return replace(plan, warnings=(*plan.warnings, told))


class _Lister:
    """Lists what patterns with URLs stand for. found: size in bytes and MD5 of each URL.

    local: for the local runner, which fetches no buckets.
    """

    def __init__(self, stash: Stash, *, local: bool) -> None:
        self.stash = stash
        self.local = local
        self.found: dict[str, tuple[int, str]] = {}

    def __call__(self, pattern: UserPath) -> list[str]:
        """The URLs of a pattern. Raises SpecError."""
        from osgbatch.staging.listing import list_urls

        kind = scheme(pattern.text)
        if self.local and kind in ("s3", "osdf", "pelican"):
            what = f"the local runner fetches nothing from {kind}://, so nothing is listed"
            raise SpecError(what, pattern.place, fix="Use --pool condor, or bring the files here.")
        asked = ""
        if kind == "s3" and self.stash.kind != "s3":
            asked = "AWS was asked, since no `stash: {s3: …, endpoint: …}` names another server."
        try:
            listed = list_urls(pattern.text, self.stash)
        except StagingError as error:
            fix = f"{error.fix} {asked}".strip()
            raise SpecError(f"{error.what}: {error.where}", pattern.place, fix=fix) from None
        if asked and not listed:
            raise SpecError(f'nothing matches "{pattern.text}"', pattern.place, fix=asked)
        self.found.update((one.url, (one.size, one.md5)) for one in listed)
        return [one.url for one in listed]


def warnings_for(plan: Plan, backend: str) -> list[str]:
    """The warnings of a plan that concern who runs it: local, condor or auto."""
    return [one for one in plan.warnings if backend != "local" or ELSEWHERE not in one]


def _stash_of(spec: Spec) -> Stash:
    """The stash that a sweep uses. Raises SpecError when it names a folder that is not there."""
    return stash_here(spec.stash, spec.profile, spec.folder)


def _presigned(stash: Stash, lifetime: int) -> Stash:
    """A bucket whose objects jobs fetch by signed URLs. Raises OsgbatchError for other stashes."""
    if stash.kind != "s3":
        raise OsgbatchError(
            "only URLs of S3 can be signed in advance, and the stash is no bucket",
            where="--allow-presigned",
            fix="Leave it out.",
        )
    return replace(stash, presigned_s=lifetime)


def stash_here(wanted: Stash | None, profile: Profile, folder: Path) -> Stash:
    """The stash on this machine: the one wanted, or the pool's where the user has a folder in that.

    folder: where relative paths start. Raises SpecError when a folder is named that is not there.
    """
    from osgbatch.staging.store import expanded, folder_here

    if wanted is None:
        pools = profile.stash
        found = folder_here(pools.folder) if pools.kind == "folder" else None
        return replace(pools, folder=str(found)) if found else Stash()
    if wanted.kind != "folder":
        return wanted
    text = str(folder / expanded(wanted.folder))
    found = folder_here(text)
    if found is None:
        raise SpecError(
            f"the stash's folder {text} is not there, or you cannot write to it",
            wanted.place or Place("stash", 1, 1),
            fix="Make it, name another one, or write `stash: none`.",
        )
    return replace(wanted, folder=str(found))


def _more_mistakes(error: SpecErrors) -> Iterator[SpecError]:
    """What else is wrong with a spec that cannot be read whole: files, tables, names in braces."""
    from osgbatch.planning.checks import missing_files, unknown_names
    from osgbatch.sweep.expand import expand

    spec = error.spec
    if spec is None:
        return
    yield from missing_files(spec)
    if error.whole_sweep:
        try:
            yield from unknown_names(spec, expand(spec))
        except (SpecError, SpecErrors) as more:
            yield from _each(more)


def _each(error: SpecError | SpecErrors) -> Sequence[SpecError]:
    return error.errors if isinstance(error, SpecErrors) else (error,)


def _in_order(errors: Sequence[SpecError], path: Path) -> SpecErrors:
    """Errors by their places, those in the spec itself first."""
    return SpecErrors(
        sorted(
            errors,
            key=lambda e: (e.place.file != str(path), e.place.file, e.place.line, e.place.column),
        )
    )


def _slots_counter(spec: Spec) -> Callable[[Resources], int]:
    """Counts the slots that match a job of this sweep, with one question to the collector."""
    from osgbatch import condor
    from osgbatch.rendering.requirements import requirements_expression

    def count(wanted: Resources) -> int:
        if spec.profile.glideins:
            return 0  # free slots follow demand: what is there now says nothing
        condor.check_alive()
        return condor.matching_slots(
            wanted.cpus,
            wanted.memory_mb,
            wanted.disk_kb,
            wanted.gpus,
            requirements_expression(spec.requirements) or "true",
        )

    return count


# --- what submit will make of it ----------------------------------------------------------------


@dataclass(frozen=True)
class PlannedArchive:
    """An archive that submit will make. size: bytes of what is in it, unpacked."""

    kind: str
    names: tuple[str, ...]
    files: int
    size: int


def planned_archives(plan: Plan) -> list[PlannedArchive]:
    """The archives of the user's own files; nothing is written. Raises PackingError."""
    from osgbatch.packing.files import entries_of, files_members
    from osgbatch.packing.libraries import libraries_members
    from osgbatch.packing.tree import tree_members

    spec = plan.spec
    libraries = [path.text for path in spec.libraries]
    files = [path.text for path in spec.files]
    odd = [file.source.name for file in plan.archived_inputs]
    packed = [
        ("libraries", libraries, libraries_members(libraries, spec.folder)),
        ("files", files, files_members(entries_of(spec.files), spec.folder)),
        (
            "inputs",
            odd,
            [m for f in plan.archived_inputs for m in tree_members(f.source, f.carried)],
        ),
    ]
    return [
        PlannedArchive(kind, tuple(names), *_count(members))
        for kind, names, members in packed
        if names
    ]


def _count(members: Iterable[Member]) -> tuple[int, int]:
    """How many files members are, and their bytes."""
    sizes = [
        member.source.stat().st_size if member.source else len(member.data or b"")
        for member in members
        if not member.is_folder
    ]
    return len(sizes), sum(sizes)


def expected(plan: Plan, archives: Sequence[PlannedArchive]) -> Resolved:
    """What a job will ask for, as far as it is known: as if the archives did not shrink."""
    from osgbatch.planning.resolve import resolve

    known = [Payload(a.kind, plan.spec.folder, "", a.size, a.size) for a in archives]
    return resolve(plan, known)


def longest_s(plan: Plan) -> int:
    """Seconds that HTCondor lets a job run: more than its tasks' time alone; 0 for any time."""
    from osgbatch.rendering.limits import execute_limit

    return execute_limit(plan.job_s, -(-len(plan.table) // len(plan.jobs)), plan.spec)
