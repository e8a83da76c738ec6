"""Requests and retries of a submit file to `resources:`, `gpus:` and `retries:` of a sweep."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from osgbatch.importing.macros import NotImported, Variable
from osgbatch.importing.made import PerTask, Setting
from osgbatch.importing.parts import plain
from osgbatch.importing.policies import Policy, policy_of, until_of
from osgbatch.importing.values import Values

_UNITS = {"B": "B", "K": "KB", "M": "MB", "G": "GB", "T": "TB"}
DEFAULT_RETRIES = 2
"""DEFAULT_JOB_MAX_RETRIES, unless the access point has another."""
NOTE_REQUESTS = "{what} not set: osgbatch asks for {value} in place of the pool's default"


def _whole(text: str) -> bool:
    """Whether a text is a whole number, in figures that HTCondor knows."""
    return re.fullmatch("[0-9]+", text) is not None


def size(text: str, bare: str) -> str:
    """A size as a sweep has it; empty for what is no size. bare: the unit of a bare number."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*(?:([KMGT])I?B?|(B))?\s*", text,
                         re.IGNORECASE | re.ASCII)  # fmt: skip
    if not found:
        return ""
    unit = (found[2] or found[3] or "").upper()
    number, unit = found[1], _UNITS[unit] if unit else bare
    steps = ["KB", "MB", "GB", "TB"]
    while unit in steps[:-1] and _whole(number) and int(number) and int(number) % 1024 == 0:
        number, unit = str(int(number) // 1024), steps[steps.index(unit) + 1]
    return f"{number} {unit}"


def resources_of(values: Values, settings: dict[str, object], note: Callable[[str], None]) -> None:
    """`resources:` and `gpus:`."""
    found: dict[str, object] = {}
    missing: dict[str, str] = {}
    for command, key, bare, default in (
        ("requestcpus", "cpus", "", "1 core"), ("requestmemory", "memory", "MB", "1 GB of memory"),
        ("requestdisk", "disk", "KB", "2 GB of disk"),
    ):  # fmt: skip
        setting = values.take(command)
        if setting is None and f"+{command}" in values.values:  # the attribute itself
            setting = values.take(f"+{command}")
        if setting is None:
            if key != "cpus":
                missing[f"request_{key}"] = default
            continue
        own = _per_task(values, setting, key, bare)
        if own:
            found[key] = own
            continue
        written = values.value(setting)
        if not written:
            continue
        if re.fullmatch(r"[0-9\s+*/().-]+", written) and not _whole(written):
            written = values.macros.evaluate(f"$INT({written})", {}) or written
        told = written if not bare and _whole(written) else size(written, bare) if bare else ""
        if told:
            found[key] = int(told) if _whole(told) else told
        else:
            if re.match(r"\d[\w.\s]*\Z", written):
                values.lose(setting, f'"{written}" is no size: write one, such as 2 GB')
                continue
            ladder = f"`retries: {{{key}: x2 up to 16 GB}}` asks for more when it was too little"
            why = f"; {ladder}" if key != "cpus" else ""
            values.lose(setting, f'"{written}" is no size, but an expression: write a size{why}')
    if missing:
        what = f"{' and '.join(missing)} {'are' if len(missing) > 1 else 'is'}"
        note(NOTE_REQUESTS.format(what=what, value=" and ".join(missing.values())))
    setting = values.take("allowedexecuteduration")
    if setting is not None:
        written = values.value(setting)
        if _whole(written):
            found["time"] = f"{written} s"
            note("allowed_execute_duration: a task that takes longer is stopped, with what it has")
        else:
            values.lose(setting, "it is an expression; write `resources: {time: 2 h}`")
    if found:
        settings["resources"] = found
    gpus = _gpus(values)
    if gpus is not None:
        settings["gpus"] = gpus


def _per_task(values: Values, setting: Setting, key: str, bare: str) -> PerTask | None:
    """A request that differs between jobs; None when it does not, or is no size."""
    try:
        parts = values.macros.parts(setting.value.strip())
        told = [values.filled(parts, job) for job in values.jobs]
    except NotImported:
        return None
    if plain(parts) or len(set(told)) == 1:
        return None
    unit = f"1 {bare}" if bare else ""
    if len(parts) == 1 and isinstance(parts[0], Variable) and all(_whole(one) for one in told):
        return PerTask(unit, parts[0])
    amounts = [_amount(one, bare) for one in told]
    if None in amounts:
        return None
    variable = Variable(f"request_{key}_{bare.lower()}".rstrip("_"))
    values.made.cells[variable] = list(map(str, amounts))
    values.made.told |= {part.name for part in parts if isinstance(part, Variable)}
    return PerTask(unit, variable)


def _amount(text: str, bare: str) -> int | None:
    """A size in a unit, rounded up as condor_submit does; a number where there is no unit."""
    if not bare:
        return int(text) if _whole(text) else None
    found = size(text, bare).split()
    if not found:
        return None
    steps = ["B", "KB", "MB", "GB", "TB"]
    return math.ceil(float(found[0]) * 1024.0 ** (steps.index(found[1]) - steps.index(bare)))


def _gpus(values: Values) -> object:
    setting = values.take("requestgpus")
    memory, capability = values.take("gpusminimummemory"), values.take("gpusminimumcapability")
    if setting is None:
        return None
    count = values.value(setting)
    if not _whole(count):
        values.lose(setting, "it is no number")
        return None
    if int(count) == 0 or (memory is None and capability is None):
        return int(count)  # 0, too: config.yaml may ask for some
    found: dict[str, object] = {"count": int(count)}
    if memory is not None:
        written = values.value(memory)
        found["min_memory"] = size(written, "MB")
        if written and not found["min_memory"]:
            values.lose(memory, f'"{written}" is no size: write one, such as 8 GB')
    if capability is not None:
        written = values.value(capability)
        if re.fullmatch(r"[0-9]+(\.[0-9]*)?", written):
            found["min_capability"] = float(written)
        elif written:
            values.lose(capability, f'"{written}" is no number: write one, such as 8.0')
    return found


def retries_of(values: Values, settings: dict[str, object], note: Callable[[str], None]) -> None:
    """`retries:` and `checkpoint:`."""
    policy = policy_of(values)
    found = dict(policy.retries) if policy else {}
    if policy:
        _beside(values, policy)
    setting, success = values.take("maxretries"), values.take("successexitcode")
    written = values.value(setting) if setting is not None else ""
    if written and not _whole(written) and setting is not None:
        values.lose(setting, "it is no number")
    most = int(written) if _whole(written) else DEFAULT_RETRIES
    until = until_of(values, most)
    if until is not None:
        found |= {"times": until[0], "on": until[1]}
    elif _whole(written):
        found |= {"times": most, "on": "any"}
    elif success is not None and policy is None:
        found |= {"times": DEFAULT_RETRIES, "on": "any"}
        note("success_exit_code without max_retries means two retries of any failure")
    elif not found.get("on"):
        note("retries: failures of an execution point are tried again, twice")
    if success is not None and values.value(success) not in ("", "0"):
        values.lose(success, "a task has succeeded when it exits with 0")
    memory = _memory(values)
    if memory:
        found["memory"] = memory
    if found:
        settings["retries"] = found
    _checkpoint(values, settings)


def _beside(values: Values, policy: Policy) -> None:
    """max_retries and its like beside a policy of the job: there is one `retries:` only."""
    others = ("maxretries", "retryuntil")
    for name in others if policy.first else (*others, "successexitcode"):
        setting = values.take(name)
        if setting is None:
            continue
        if policy.first:  # HTCondor asks on_exit_hold first
            values.differ(f"{setting.key}: it says nothing there: a job that fails is held before "
                          f"it is asked ({policy.key})")  # fmt: skip
        else:
            values.lose(setting, f"{policy.key} says otherwise when a job is tried again: leave "
                        "one of them out")  # fmt: skip


def _memory(values: Values) -> object:
    ladder = values.take("retryrequestmemory")
    step, most = values.take("retryrequestmemoryincrease"), values.take("retryrequestmemorymax")
    if ladder is not None:
        sizes = [size(text, "MB") for text in values.value(ladder).split(",")]
        if all(sizes):
            return sizes
        values.lose(ladder, "it is no list of sizes")
    elif step is not None:
        factor = re.fullmatch(r"RequestMemory\s*\*\s*(\d+(?:\.\d+)?)", values.value(step),
                              re.IGNORECASE)  # fmt: skip
        limit = size(values.value(most), "MB") if most is not None else ""
        if factor and limit:
            return f"x{factor[1]} up to {limit}"
        values.lose(step, "write `retries: {memory: x2 up to 16 GB}`")
    return None


def _checkpoint(values: Values, settings: dict[str, object]) -> None:
    code, files = values.take("checkpointexitcode"), values.take("transfercheckpointfiles")
    if code is None:
        return
    written = values.value(code)
    if "#" in written:
        values.lose(code, "what stands behind the value belongs to it: put the # on its own line")
    elif written != "85":
        values.lose(code, "`checkpoint:` knows the code 85")
    elif files is None:
        values.lose(code, "nothing says which files are the state: name them in "
                    "`transfer_checkpoint_files`")  # fmt: skip
    else:
        listed = [name.strip() for name in values.value(files).split(",")]
        settings["checkpoint"] = {"files": [name for name in listed if name]}
