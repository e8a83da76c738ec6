"""Requests and retries of a submit file to `resources:`, `gpus:` and `retries:` of a sweep."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Protocol

_UNITS = {"B": "B", "K": "KB", "M": "MB", "G": "GB", "T": "TB"}
DEFAULT_RETRIES = 2
"""DEFAULT_JOB_MAX_RETRIES, unless the access point has another."""
NOTE_REQUESTS = "{what} is not set: osgbatch asks for {value} in place of the pool's default"


class Values(Protocol):
    """The settings of a file."""

    def take(self, name: str) -> Any:
        """A setting, which is then dealt with; None where there is none."""

    def value(self, setting: Any) -> str:
        """Its value, macros filled in; empty, and told of, where that differs between jobs."""

    def lose(self, setting: Any, why: str) -> None:
        """Tells what a sweep cannot say."""


def size(text: str, bare: str) -> str:
    """A size as a sweep has it; empty for what is no size. bare: the unit of a bare number."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*(?:([KMGT])I?B?|(B))?\s*", text, re.IGNORECASE)
    if not found:
        return ""
    unit = (found[2] or found[3] or "").upper()
    number, unit = found[1], _UNITS[unit] if unit else bare
    steps = ["KB", "MB", "GB", "TB"]
    while unit in steps[:-1] and number.isdigit() and int(number) and int(number) % 1024 == 0:
        number, unit = str(int(number) // 1024), steps[steps.index(unit) + 1]
    return f"{number} {unit}"


def resources_of(values: Values, settings: dict[str, object], note: Callable[[str], None]) -> None:
    """`resources:` and `gpus:`."""
    found: dict[str, object] = {}
    for command, key, bare, default in (
        ("requestcpus", "cpus", "", "1 core"), ("requestmemory", "memory", "MB", "1 GB"),
        ("requestdisk", "disk", "KB", "2 GB"),
    ):  # fmt: skip
        setting = values.take(command)
        if setting is None:
            if key != "cpus":
                what = f"request_{key}"
                note(NOTE_REQUESTS.format(what=what, value=default))
            continue
        written = values.value(setting)
        if not written:
            continue
        told = written if not bare and written.isdigit() else size(written, bare) if bare else ""
        if told:
            found[key] = int(told) if told.isdigit() else told
        else:
            ladder = "`retries: {memory: x2 up to 16 GB}` asks for more when it was too little"
            values.lose(setting, f"{written} is an expression; write a size ({ladder})")
    setting = values.take("allowedexecuteduration")
    if setting is not None:
        written = values.value(setting)
        if written.isdigit():
            found["time"] = f"{written} s"
            note("allowed_execute_duration: a task that takes longer is stopped, with what it has")
        else:
            values.lose(setting, "it is an expression; write `resources: {time: 2 h}`")
    if found:
        settings["resources"] = found
    gpus = _gpus(values)
    if gpus:
        settings["gpus"] = gpus


def _gpus(values: Values) -> object:
    setting = values.take("requestgpus")
    memory, capability = values.take("gpusminimummemory"), values.take("gpusminimumcapability")
    if setting is None:
        return None
    count = values.value(setting)
    if not count.isdigit():
        values.lose(setting, "it is no number")
        return None
    if memory is None and capability is None:
        return int(count)
    found: dict[str, object] = {"count": int(count)}
    if memory is not None:
        found["min_memory"] = size(values.value(memory), "MB")
    if capability is not None:
        found["min_capability"] = float(values.value(capability) or 0)
    return found


def retries_of(values: Values, settings: dict[str, object], note: Callable[[str], None]) -> None:
    """`retries:` and `checkpoint:`."""
    found: dict[str, object] = {}
    setting, success = values.take("maxretries"), values.take("successexitcode")
    if setting is not None:
        times = values.value(setting)
        if times.isdigit():
            found |= {"times": int(times), "on": "any"}
        else:
            values.lose(setting, "it is no number")
    elif success is not None:
        found |= {"times": DEFAULT_RETRIES, "on": "any"}
        note("success_exit_code without max_retries means two retries of any failure")
    else:
        note("retries: failures of an execution point are tried again, twice, by themselves")
    if success is not None and values.value(success) not in ("", "0"):
        values.lose(success, "a task has succeeded when it exits with 0")
    memory = _memory(values)
    if memory:
        found["memory"] = memory
    if found:
        settings["retries"] = found
    _checkpoint(values, settings)


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
    if values.value(code) != "85" or files is None:
        values.lose(code, "`checkpoint:` knows the code 85, and the files that are the state")
        return
    listed = [name.strip() for name in values.value(files).split(",")]
    settings["checkpoint"] = {"files": [name for name in listed if name]}
