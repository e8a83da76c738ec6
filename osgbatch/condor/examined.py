"""What `osgbatch doctor` asks HTCondor: whether it is whole here, answers, and has room for a job.

Every question is one that users could type. Nothing here waits for long by itself: who asks puts a
limit on it, and ends the process that asks.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from osgbatch.condor.commands import run
from osgbatch.condor.schedd import call_schedd
from osgbatch.condor.slots import DISK_STEP_KB, MEMORY_STEP_MB, count_fitting
from osgbatch.condor.submit_parser import bindings
from osgbatch.errors import CondorError

COMMANDS = (
    "condor_submit", "condor_q", "condor_rm", "condor_hold", "condor_release", "condor_qedit",
    "condor_prio", "condor_history", "condor_version", "condor_config_val",
)  # fmt: skip
"""Those that osgbatch, or its advice, uses."""
FOR_WORKFLOWS = ("condor_submit_dag", "condor_dagman")
OLDEST_TESTED = (23, 9)
LACKS = (
    ((23, 5), "`gpus: {min_memory:, min_capability:}`"),
    ((24, 3), "/inputs and /outputs in containers"),
    ((24, 12, 14), "inputs of all jobs where max_idle meets an image (HTCONDOR-3092)"),
    ((25, 2, 1), "retry_request_memory: jobs that need more memory are held and released instead"),
)
"""What versions before these lack. Source: HTCondor's version history, and tests on 23.9.6."""
_RESOURCES = ("Cpus", "Memory", "Disk", "GPUs")
_MOST_REASONS = 3


def missing_commands(wanted: Sequence[str]) -> list[str]:
    """Those commands that are not on PATH."""
    return [name for name in wanted if shutil.which(name) is None]


def lacking(version: Sequence[int]) -> list[str]:
    """What a version of HTCondor lacks that osgbatch would use."""
    return [what for since, what in LACKS if tuple(version) < since]


def bindings_version() -> str:
    """The version of the Python bindings. Raises CondorError when there are none."""

    def ask(htcondor2: Any) -> str:
        found = re.search(r"CondorVersion: (\S+)", htcondor2.version())
        return found[1] if found else ""

    return str(call_schedd(ask))


@dataclass(frozen=True)
class QueueSummary:
    """The user's jobs in the queue. total: those of all users; clock: the schedd's, 0 if unknown.

    reasons: why jobs are held, the most frequent first, each with how many.
    """

    jobs: int
    idle: int
    running: int
    held: int
    total: int
    clock: int = 0
    reasons: Sequence[tuple[str, int]] = field(default_factory=tuple)


def queue_summary(user: str) -> QueueSummary:
    """What the schedd says of a user's jobs: one query, a second one where some are held.

    Raises CondorError when it does not answer. (SummaryOnly together with DefaultMyJobsOnly gives
    nothing on 25.14.1, so the owner is named.)
    """
    own = f"Owner == {json.dumps(user)}"

    def ask(htcondor2: Any) -> Any:
        return htcondor2.Schedd().query(constraint=own, opts=htcondor2.QueryOpt.SummaryOnly)

    found = call_schedd(ask)
    ad = found[0] if found else {}

    def count(name: str) -> int:
        return int(ad[name]) if name in ad else 0

    held = count("Held")
    return QueueSummary(
        jobs=count("Jobs"),
        idle=count("Idle"),
        running=count("Running"),
        held=held,
        total=count("AllusersJobs"),
        clock=count("ServerTime"),
        reasons=_reasons(own) if held else (),
    )


def _reasons(own: str) -> list[tuple[str, int]]:
    def ask(htcondor2: Any) -> Any:
        return htcondor2.Schedd().query(
            constraint=f"JobStatus == 5 && {own}",
            projection=["HoldReasonCode", "HoldReasonSubCode"],
        )

    codes = Counter(
        f"{ad.get('HoldReasonCode', '?')}.{ad.get('HoldReasonSubCode', 0)}"
        for ad in call_schedd(ask)
    )
    return codes.most_common(_MOST_REASONS)


@dataclass(frozen=True)
class Slots:
    """The pool's slots. total: dynamic ones left out; fitting: jobs that they hold when nothing
    runs on them; free: that they hold now.
    """

    total: int
    fitting: int
    free: int


def slots_for(cpus: int, memory_mb: int, disk_kb: int, machine: str) -> Slots:
    """How many jobs that ask for this the pool would hold, by one query of the collector.

    memory_mb: MiB; disk_kb: KiB; machine: as `platform.machine()` says it: jobs go where it is the
    same, unless they say otherwise. Raises CondorError when the collector does not answer.
    """
    wanted = [
        "State", "PartitionableSlot", "Start", *_RESOURCES,
        *(f"TotalSlot{name}" for name in _RESOURCES),
    ]  # fmt: skip
    arch = machine.upper() if machine == "x86_64" else machine
    constraint = f'DynamicSlot =!= true && OpSys == "LINUX" && Arch == "{arch}"'

    def ask(htcondor2: Any) -> list[Any]:
        kind = htcondor2.AdType.Startd
        return list(htcondor2.Collector().query(kind, constraint=constraint, projection=wanted))

    found = call_schedd(ask, "collector")
    needs = {
        "Cpus": cpus,
        "Memory": -(-memory_mb // MEMORY_STEP_MB) * MEMORY_STEP_MB,
        "Disk": -(-disk_kb // DISK_STEP_KB) * DISK_STEP_KB,
    }
    free = [ad for ad in found if ad.get("State") == "Unclaimed" and ad.get("Start") is not False]
    return Slots(len(found), count_fitting(map(_emptied, found), needs), count_fitting(free, needs))


def _emptied(slot: Any) -> Mapping[str, Any]:
    """What a slot has when nothing runs on it."""
    if slot.get("PartitionableSlot") is not True:
        return {name: slot.get(name) for name in (*_RESOURCES, "PartitionableSlot")}
    whole: dict[str, Any] = {"PartitionableSlot": True}
    for name in _RESOURCES:
        total = slot.get(f"TotalSlot{name}")
        whole[name] = total if isinstance(total, int | float) else slot.get(name)
    return whole


def setting(name: str) -> str:
    """A setting of HTCondor here, as its commands have it; empty when it has none."""
    with suppress(CondorError):
        return run(["condor_config_val", name])[0].strip()
    return ""


def integer(written: str) -> int | None:
    """A number as HTCondor's settings have it, `250 * 2` too; None for what is none.

    Raises nothing. Source: param_integer evaluates its text as a ClassAd expression.
    """
    with suppress(ValueError):
        return int(written)
    modules = bindings()
    if modules is None or not written:
        return None
    try:
        found = modules[1].ExprTree(written).eval()
    except Exception:  # no expression
        return None
    return int(found) if isinstance(found, int | float) and not isinstance(found, bool) else None


def fetch_by_plugin(url: str, target: str, limit: float) -> str:
    """Fetch a URL with the file transfer plugin of HTCondor here that knows its scheme.

    target: the file it is brought to; limit: seconds. Returns the plugin's name, empty where none
    of them knows the scheme. Raises CondorError with the plugin's words.
    Source: HTCondor manual, Third Party/Delegated file transfer: `-infile`, `-outfile`.
    """
    scheme = url.partition(":")[0].lower()
    for plugin in re.split(r"[\s,]+", setting("FILETRANSFER_PLUGINS")):
        if not plugin or not _knows(plugin, scheme):
            continue
        with tempfile.TemporaryDirectory(prefix="osgbatch-") as folder:
            asked, told = Path(folder, "asked"), Path(folder, "told")
            asked.write_text(f"[ Url = {json.dumps(url)}; LocalFileName = {json.dumps(target)} ]\n")
            try:
                run([plugin, "-infile", str(asked), "-outfile", str(told)], limit=limit)
            except CondorError as error:
                found = _transfer_error(told)
                raise CondorError(found or error.what, where=url) from None
            if found := _transfer_error(told):
                raise CondorError(found, where=url)
        return Path(plugin).name
    return ""


def _knows(plugin: str, scheme: str) -> bool:
    with suppress(CondorError):
        said = run([plugin, "-classad"], limit=5)[0]
        found = re.search(r'SupportedMethods\s*=\s*"([^"]*)"', said)
        return found is not None and scheme in re.split(r"[\s,]+", found[1].lower())
    return False


def _transfer_error(told: Path) -> str:
    """The TransferError in a plugin's answer; empty when there is none."""
    try:
        text = told.read_text(errors="replace")
    except OSError:
        return ""
    found = re.search(r'TransferError\s*=\s*"((?:[^"\\]|\\.)*)"', text)
    return found[1].replace('\\"', '"') if found else ""
