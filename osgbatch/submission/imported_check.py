"""Compares the jobs of a submit file with those of the sweep.yaml that was made of it."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

from osgbatch.condor.dry_run import dry_run
from osgbatch.errors import OsgbatchError, SpecError, SpecErrors
from osgbatch.expressions import ExpressionError, parse_expression
from osgbatch.importing.jobs import Sweep
from osgbatch.importing.made import Converted
from osgbatch.importing.text import late, scalar
from osgbatch.linting.job import canonical
from osgbatch.linting.lines import Statement, SubmitText, read
from osgbatch.plan_model import Plan
from osgbatch.spec.layers import read_layers, short_path
from osgbatch.submission.imported_jobs import (
    image_file,
    image_of,
    job_differs,
    script_differs,
)
from osgbatch.submission.imported_read import first_fault
from osgbatch.submission.planned import Choices, plan_sweep
from osgbatch.texts import number_of, size

ELSEWHERE = frozenset((
    "AllowedExecuteDuration", "Args", "Arguments", "ClusterId", "Cmd", "CommittedTime",
    "ContainerImage", "ContainerImageFullPath", "ContainerImageSource", "ContainerIsCommon",
    "CurrentHosts", "DiskUsage", "DockerImage", "EnteredCurrentStatus", "Env", "Environment",
    "EraseOutputAndErrorOnRestart", "Err", "ExecutableSize", "FileSystemDomain", "ImageSize", "In",
    "Iwd", "JobBatchName", "JobDescription", "JobDurationCategory", "JobLeaseDuration",
    "JobMaterializeLimit", "JobMaterializeMaxIdle", "JobMaxRetries", "JobNotification",
    "JobSetName", "JobStatus", "JobSubmitFile", "JobSuccessExitCode", "JobUniverse",
    "LastMatchListLength", "MountUnderScratch", "NextRequestMemory", "NotifyUser", "OnExitHold",
    "OnExitHoldReason", "OnExitHoldSubCode", "OnExitRemove", "OnExitRemoveCheck", "OriginalCluster",
    "Out", "PreserveRelativePaths", "ProcId", "ProjectName", "QDate", "RequestDisk",
    "RequestMemory", "Requirements", "RetryRequestMemory", "RetryRequestMemoryIncrease",
    "RetryRequestMemoryMax", "ShouldTransferFiles", "SingularityImage", "SkipFileChecks",
    "StreamErr", "StreamIn", "StreamOut", "SubmitEventNotes", "SubmitEventUserNotes",
    "SuccessCheckpointExitCode", "TransferCheckpoint", "TransferContainer", "TransferErr",
    "TransferExecutable", "TransferIn", "TransferInput", "TransferInputSizeMB", "TransferOut",
    "TransferOutput", "TransferOutputRemaps", "ULogExecuteEventAttrs", "UserLog",
    "UserLogExecuteEventAttrs", "UserLogUseXML", "WantContainer", "WantDocker", "WantDockerImage",
    "WantSIF", "WantSandboxImage", "WhenToTransferOutput",
))  # fmt: skip
"""Attributes that are compared in their own way, or that osgbatch makes otherwise by design."""
Told = tuple[str, list[str], list[str]]


def compare(
    parsed: SubmitText,
    path: Path,
    text: str,
    table: tuple[str, str] | None,
    out: Path,
    made: Converted,
    sweep: Sweep,
) -> Told:
    """How the jobs were compared, what is wrong, and what differs for the better.

    parsed: the submit file; text: of the sweep.yaml; it is planned, and its submit file made.
    """
    ran = _theirs(parsed, path)
    if ran and (ran[1] or not ran[0]):
        told = first_fault(parsed, path) or _at(ran[1], parsed) or "it makes no job"
        fix = f"`osgbatch lint {path}` tells more"
        return "", [f"condor_submit refuses this file: {told}; {fix}"], []
    try:
        plan = _planned(text, table, out)
    except (SpecError, SpecErrors, OsgbatchError) as error:
        if _is_of_another_file(error, out.name):
            raise  # the user's own defaults, which say nothing of this submit file
        return "", list(_faults(error, parsed)), []
    wrong: list[str] = []
    if len(plan.table) != sweep.count:
        wrong.append(f"{len(plan.table)} tasks in place of {sweep.count} jobs")
    script = script_differs(plan, made, sweep)
    wrong += [script] if script else []
    own, given = dict(made.own), dict(plan.spec.submit)
    wrong += [f"`submit:` says {given.get(key, 'nothing')} of {key}, and not {value}"
              for key, value in own.items() if given.get(key) != value]  # fmt: skip
    fixed = {name for name, _ in plan.spec.environment_variables}
    wrong += [f"nothing sets the variable {name}" for name, word in made.environment
              if name not in fixed and not late(sweep, word)]  # fmt: skip
    if ran is None:
        told = "not compared by condor_submit -dry-run: it is not here"
        return told, _differ(wrong), []
    ads = ran[0]
    if len(ads) != len(plan.table):
        wrong.append(f"{len(plan.table)} tasks in place of {len(ads)} jobs")
        return "", _differ(wrong), []
    found: dict[str, list[int]] = {}
    for number, ad in enumerate(ads):
        for one in job_differs(ad, plan, number, made, sweep):
            found.setdefault(one, []).append(number)
        if len(found) > 5:
            break
    wrong += [
        f"job {jobs[0]}{' and others' if len(jobs) > 1 else ''}: {one}"
        for one, jobs in found.items()
    ]
    more, better = _requests(ads, plan, made, path.parent)
    agree = "agree" if len(ads) > 1 else "agrees"
    told = f"compared by condor_submit -dry-run: {number_of(len(ads), 'job')} {agree}"
    added = _defaults(text, out)
    if added:
        told += ", but for what your own defaults add"
        if wrong or more:
            more.append("; ".join(added) + ": say it otherwise in the submit file")
    return told, _differ(wrong + more), better + added


def _differ(wrong: Sequence[str]) -> list[str]:
    return [f"the jobs would differ: {one}" for one in wrong]


def _is_of_another_file(error: OsgbatchError, spec: str) -> bool:
    """Whether what is wrong stands in another file than the spec, which is not there yet."""
    found = error.errors if isinstance(error, SpecErrors) else (error,)
    files = {one.place.file for one in found if isinstance(one, SpecError)}
    paths = (Path(file).expanduser() for file in files)
    return any(path.name != spec and path.is_file() for path in paths)


def _faults(error: OsgbatchError, parsed: SubmitText) -> Iterator[str]:
    """What is wrong with the sweep that would be made, and the line of the file that it is of: the
    sweep is not there, so no place in it is told."""
    for one in error.errors if isinstance(error, SpecErrors) else (error,):
        what = f"{one.what}. {one.fix}" if one.fix else one.what
        named = re.search(r'"([^"]+)"', one.what)
        lines = [
            f"line {s.where.line}: " for s in parsed.statements
            if named and s.kind == "set" and (named[1] == s.key or named[1] in s.value)
        ]  # fmt: skip
        yield f"{lines[-1] if lines else ''}what would be made of it is no sweep: {what}"


def _at(said: str, parsed: SubmitText) -> str:
    """What condor_submit said, after the line whose value it names."""
    for one in parsed.statements:
        if one.kind == "set" and len(one.value) > 2 and one.value in said:
            return f"line {one.where.line}: {said}"
    return said


def _theirs(parsed: SubmitText, path: Path) -> tuple[list[dict[str, str]], str] | None:
    """The jobs of the submit file, by dry run, and why condor_submit refuses it."""
    with tempfile.TemporaryDirectory() as temporary:
        copy = _at_once(parsed, Path(temporary))
        ran = dry_run(copy, path.parent)
    if ran is None:
        return None
    said = ran[1].replace(str(copy), str(path)).removeprefix("ERROR: ")
    return ran[0], said


_LITTLE_BY_LITTLE = ("maxidle", "maxmaterialize")


def _at_once(parsed: SubmitText, folder: Path) -> Path:
    """A copy of a submit file without late materialization, of which a dry run shows no jobs."""
    plain = without(parsed, lambda one: canonical(one.key) in _LITTLE_BY_LITTLE)
    copy = folder / "copy.submit"
    copy.write_bytes(plain.text.encode("utf-8", "surrogateescape"))
    return copy


def without(parsed: SubmitText, left_out: Callable[[Statement], bool]) -> SubmitText:
    """A submit file without some of its settings; all other lines keep their numbers."""
    text = parsed.text
    for one in reversed(parsed.statements):
        if one.kind == "set" and left_out(one):
            start, end = one.whole
            text = text[:start] + "#\n" * text[start:end].count("\n") + text[end:]
    return parsed if text == parsed.text else read(text)


def _planned(text: str, table: tuple[str, str] | None, out: Path) -> Plan:
    """The plan of the spec that is not there yet. A file of rows is put into the spec for that."""
    raw = text.encode("utf-8", "surrogateescape")
    if table is None:
        return plan_sweep(out, choices=Choices(copy=raw))
    with tempfile.NamedTemporaryFile("w", suffix=".csv", encoding="utf-8",
                                     errors="surrogateescape") as file:  # fmt: skip
        file.write(table[1])
        file.flush()
        named = text.replace(f"{{table: {scalar(table[0])}", f"{{table: {file.name}")
        return plan_sweep(out, choices=Choices(copy=named.encode("utf-8", "surrogateescape")))


# --- what they ask for ---------------------------------------------------------------------------


def _requests(
    ads: Sequence[Mapping[str, str]], plan: Plan, made: Converted, folder: Path
) -> tuple[list[str], list[str]]:
    """What the ads of both say of the slots they want, and of attributes that the file sets."""
    with tempfile.TemporaryDirectory() as temporary:
        ran = _ours(plan, Path(temporary))
    base = _bare()
    if ran is None or base is None or not base[0] or not ran[0] or ran[1]:
        return [f"condor_submit refuses what osgbatch would write: {ran[1] if ran else ''}"], []
    mine, baseline, theirs = ran[0][0], base[0][0], ads[0]
    no_gpus = all(ad.get("RequestGPUs", "0") == "0" for ad in (mine, theirs))
    wrong: list[str] = []
    better: list[str] = []
    for name, value in theirs.items():
        if name in _OF_GPUS and no_gpus:
            continue
        if name not in ELSEWHERE and mine.get(name) != value:
            own = ", as the pool has it for all jobs" if baseline.get(name) == value else ""
            wrong.append(f"{name} was {value}{own}, and is now {mine.get(name, 'not set')}")
    told, ours = _worked_out(theirs.get("RequestMemory", "")), mine.get("RequestMemory", "")
    has = "memory" in str(made.settings.get("resources", ""))
    if (
        has
        and re.match(rf"max\(\{{\s*{re.escape(told)}\b", ours)
        and "memory" in str(made.settings.get("retries", ""))
    ):  # an HTCondor that does not know retry_request_memory, and passes it over
        better.append(
            "memory: a job that used too much asks for more, here by osgbatch's own means"
        )
    elif told != ours and (has or ours != _NOTED_MB):
        line = f"memory: it was {told or 'the default of the pool'}, and is now {ours} MB"
        (wrong if has else better).append(line)
    disk = _worked_out(theirs.get("RequestDisk", ""))
    asked = "disk" in str(made.settings.get("resources", ""))
    noted = not asked and mine.get("RequestDisk", "").startswith(_NOTED_KB)
    given = int(disk) if disk.isdigit() else 0
    more = int(mine.get("RequestDisk", "0")) - given
    if more and not (given and 0 < more < _SMALL_KB) and not noted:
        was = f"the {size(1024 * given)} of the file" if given else _short(disk)
        better.append(f"disk: the jobs ask for {was}, and {size(1024 * more)} more for what "
                      "osgbatch packs and brings with them")  # fmt: skip
        if more < 0:
            wrong.append(f"RequestDisk was {disk}, and is now {mine.get('RequestDisk')}")
    wrong += _requirements(theirs, mine, baseline)
    project = theirs.get("ProjectName")
    if project and mine.get("ProjectName") != project:
        wrong.append(f"ProjectName was {project}, and is now {mine.get('ProjectName', 'not set')}")
    was, now = image_of(theirs, folder), image_file(plan) or image_of(mine, folder)
    if was != now:
        wrong.append(f"the image was {was or 'none'}, and is now {now or 'none'}")
    return wrong, better


_OF_GPUS = frozenset(("GPUsMinCapability", "GPUsMinMemory", "RequestGPUs", "RequireGPUs"))
"""Attributes that say nothing of a job that asks for none, or for 0."""


def _worked_out(text: str) -> str:
    """A request, worked out where nothing but numbers is in it: 8 * 1024."""
    if not re.fullmatch(r"[\d\s*+/().-]+", text) or text.isdigit():
        return text
    try:
        return str(int(parse_expression(text).evaluate({})))
    except ExpressionError:
        return text


_SMALL_KB = 1024
"""So much more disk, for what is packed, is not worth a word."""
_NOTED_MB, _NOTED_KB = "1024", "2097"
"""Memory, and how the number of KB of disk starts, of which a note has told already. Source:
osgbatch.importing.resources."""


def _defaults(text: str, out: Path) -> list[str]:
    """What the user's own defaults add to the spec: the submit file's jobs do not have them."""
    layered = read_layers(out, (), text.encode("utf-8", "surrogateescape"))
    files = {one.file for one in layered.layers if one.kind in ("class", "user")}
    found: dict[str, list[str]] = {}
    for loc, place in layered.document.keys.items():
        inner = any(len(other) > len(loc) and other[: len(loc)] == loc
                    for other in layered.document.keys)  # fmt: skip
        if place.file in files and not inner and loc[0] not in ("profile", "stash"):
            found.setdefault(place.file, []).append(".".join(map(str, loc)))
    return [f"{short_path(file)} adds {', '.join(names)}" for file, names in found.items()]


@cache
def _bare() -> tuple[list[dict[str, str]], str] | None:
    """The ad of a job that asks for nothing: what HTCondor and the access point add to all."""
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "bare.submit"
        file.write_text("executable = /bin/true\nqueue\n")
        return dry_run(file, Path(temporary))


def _requirements(
    theirs: Mapping[str, str], mine: Mapping[str, str], baseline: Mapping[str, str]
) -> Iterator[str]:
    """What the file's jobs require and the sweep's do not, but for what HTCondor adds to all."""
    plain = re.sub(r"\s", "", mine.get("Requirements", ""))
    common = {*_clauses(baseline.get("Requirements", "")), *_OF_IMAGES}
    for clause in _clauses(theirs.get("Requirements", "")):
        inner = clause[1:-1] if clause.startswith("(") and clause.endswith(")") else clause
        # osgbatch always brings files, whatever a shared file system would spare.
        shared = "TARGET.FileSystemDomain==MY.FileSystemDomain" in clause
        if not shared and clause not in common and clause not in plain and inner not in plain:
            yield f"the sweep's jobs do not require {clause}"


_OF_IMAGES = frozenset((
    "TARGET.HasContainer", "TARGET.HasDocker", "TARGET.HasDockerURL", "TARGET.HasSIF",
    "TARGET.HasSandboxImage",
))  # fmt: skip
"""What HTCondor requires by the kind of the image, which is compared itself."""


def _clauses(expression: str) -> list[str]:
    """What stands between the && of an expression, without blanks, its outer brackets taken off."""
    found, depth, last = [], 0, 0
    text = re.sub(r"\s", "", expression)
    for at, character in enumerate(text):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if not depth and text.startswith("&&", at):
            found.append(text[last:at])
            last = at + 2
    parts = [part for part in (*found, text[last:]) if part]
    if len(parts) == 1:
        whole = parts[0]
        bracketed = whole.startswith("(") and whole.endswith(")") and _closes(whole)
        return _clauses(whole[1:-1]) if bracketed else parts
    return [inner for part in parts for inner in _clauses(part)]


def _closes(text: str) -> bool:
    """Whether the first bracket is closed by the last."""
    depth = 0
    for at, character in enumerate(text):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if not depth:
            return at == len(text) - 1
    return False


def _short(text: str) -> str:
    return text if text.isdigit() else "the default of the pool"


def _ours(plan: Plan, folder: Path) -> tuple[list[dict[str, str]], str] | None:
    """The ads of the first jobs as osgbatch would submit them, without what is packed."""
    from osgbatch.model import Round
    from osgbatch.rendering.items import ROWS_FILE, item_lines, item_names
    from osgbatch.rendering.submit import submit_text
    from osgbatch.submission.explained_sweep import as_if_packed

    resolved = as_if_packed(plan)
    round_ = Round(folder, "0" * 12, plan.spec.name, 1, len(plan.jobs), plan.initialdir)
    shim = folder / "shim.sh"
    shim.write_text("#!/bin/sh\n")
    shim.chmod(0o755)
    fields = item_names(resolved)
    with_rows = any(item.path.name == ROWS_FILE for item in resolved.payload)
    first = next(iter(item_lines(resolved, rows_file=with_rows)))
    (folder / "jobs.items").write_bytes(first)
    return dry_run(_at_once(read(submit_text(resolved, round_, fields)), folder), folder)
