"""What the tests of the local runner share: rounds whose jobs are bits of shell."""

from __future__ import annotations

import base64
import json
import os
import select
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from osgbatch import names
from osgbatch.local import backend, processes, record
from osgbatch.model import Round

LIMIT_S = 60.0
SHIM = """#!/bin/sh
# A shim for tests: its archive is there at once, its rows are the shell that it runs.
echo "archive of $1.$2" > osgbatch-out.tar.gz
code=$(printf %s "$4" | base64 -d; echo .)
eval "${code%.}"
"""


def make_round(
    folder: Path,
    jobs: Sequence[str],
    *,
    inputs: Sequence[Sequence[str]] = (),
    own: Sequence[Mapping[str, int]] = (),
    shared: Sequence[str] = (),
    payload: Sequence[str] = (),
    shim: str = SHIM,
    execute_s: int = 0,
    memory_mb: int = 64,
    cpus: int = 1,
    retries: dict[str, Any] | None = None,
) -> Round:
    """A batch in `folder`, which is also the initial directory, with one shell fragment per job.

    own: what each job asks for itself, by the name of the item's field.
    """
    batch = folder / "batches" / "test-20261120-4a80"
    round_folder = names.round_folder(batch, 1)
    round_folder.mkdir(parents=True)
    (batch / "payload").mkdir()
    resolved = {
        "version": 1,
        "batch_id": "4a80deadbeef",
        "name": "test",
        "initialdir": str(folder),
        "tasks": len(jobs),
        "jobs": len(jobs),
        "max_idle": 0,
        "payload": [
            {"kind": "files", "file": f"payload/{name}", "carried": f"b/payload/{name}"}
            for name in payload
        ],
        "resources": {
            "cpus": cpus,
            "memory_mb": memory_mb,
            "disk_kb": 2048,
            "gpus": 0,
            "time_s": 0,
            "execute_s": execute_s,
        },
        "retries": retries or {"times": 2, "any": False, "codes": [101, 102]},
    }
    if own:
        last_name = ["inputs"] if inputs else []
        resolved["item_names"] = ["tasks", "rows", *own[0], *last_name]
    if shared:
        resolved["shared_inputs"] = list(shared)
    (batch / names.RESOLVED).write_text(json.dumps(resolved))
    lines = []
    for index, job in enumerate(jobs):
        fields = [str(index).encode(), base64.b64encode(job.encode())]
        if own:
            fields += [str(value).encode() for value in own[index].values()]
        if inputs:
            fields.append(os.fsencode(",".join(inputs[index])))
        lines.append(b" ".join(fields) + b"\n")
    (round_folder / names.ITEMS).write_bytes(b"".join(lines))
    (round_folder / names.SHIM).write_text(shim)
    return Round(round_folder, "4a80deadbeef", "test", 1, len(jobs), folder)


def record_of(round_: Round) -> record.Record:
    found = backend.runner_record(round_)
    assert found is not None
    return found


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait, with a limit, for something that nothing announces."""
    limit = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < limit, f"not within {LIMIT_S} s: {what}"
        select.select([], [], [], 0.01)


def wait_for_end(round_: Round) -> None:
    wait_until(lambda: not backend.alive(round_, 1), "the runner's end")


def run(round_: Round) -> list[dict[str, Any]]:
    """Submit, wait for the end, and read the log as HTCondor does."""
    backend.submit(round_)
    with no_runner_left(round_):
        wait_for_end(round_)
    assert not Path(record_of(round_).scratch).exists()
    return read_events(round_)


def read_events(round_: Round) -> list[dict[str, Any]]:
    """The events of a round, as HTCondor's own reader takes them."""
    os.environ.setdefault("CONDOR_CONFIG", "/dev/null")
    htcondor2 = pytest.importorskip("htcondor2", reason="HTCondor's own reader is the judge here")
    log = htcondor2.JobEventLog(str(round_.folder / names.EVENTS))
    found = []
    for event in log.events(stop_after=0):
        ad = {key: event[key] for key in event}
        ad.update(number=int(event.type), proc=event.proc, cluster=event.cluster)
        found.append(ad)
    log.close()
    return found


def numbers(events: Sequence[dict[str, Any]], proc: int = 0) -> list[int]:
    """The event numbers of one job, in order."""
    return [event["number"] for event in events if event["proc"] == proc]


def last(events: Sequence[dict[str, Any]], proc: int = 0) -> dict[str, Any]:
    return [event for event in events if event["proc"] == proc][-1]


def returned(round_: Round) -> dict[str, str]:
    """What came back: name relative to returned/, text."""
    top = round_.folder / names.RETURNED
    return {
        str(path.relative_to(top)): path.read_text()
        for path in sorted(top.rglob("*"))
        if path.is_file()
    }


def processes_of(round_: Round) -> list[int]:
    """The processes of jobs of a round that live."""
    scratch = record_of(round_).scratch
    return [
        pid
        for pid in processes.all_pids()
        if processes.start_time(pid) and processes.runs_below(pid, scratch)
    ]


@contextmanager
def no_runner_left(round_: Round) -> Iterator[None]:
    """Whatever a test does, no runner outlives it."""
    try:
        yield
    finally:
        found = record.read_record(round_.folder / record.RECORD)
        for pid in (found.pid, found.guardian) if found else ():
            if processes.start_time(pid) and backend.alive(round_, 1):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
