"""The names of files in a batch folder and of what travels, in one place."""

from __future__ import annotations

import os
import re
from pathlib import Path

BATCHES = "batches"
SPEC = "sweep.yaml"
PLAN = "plan.json"
RESOLVED = "resolved.json"
TASKS = "tasks.csv"
PAYLOAD = "payload"
ROUNDS = "rounds"
STEPS = "steps"
"""The folder of a workflow's steps, each of them a batch folder."""
WORKFLOW = "workflow.json"
"""What a workflow is made of."""
FOREACH_NOTE = "foreach.json"
"""In the folder of a workflow that is a foreach: where its results are to go."""
NODE_SUBMIT = "node.submit"
"""What DAGMan gives to condor_submit for a step: a link to the newest round's."""
ENVIRONMENT_LOCK = "environment.lock"
"""The packages of a conda environment, from which it can be made again."""
OBJECTS = "objects.txt"
"""The objects of the stash that a batch refers to, one name per line."""
REST_CANCELLED = "rest.cancelled"
"""Says that what waited for a canary is not to be submitted by itself any more."""
PRIORITY = "priority.txt"
"""The priority that a batch was given last; later rounds get it, too."""
STATE = "state.db"
"""What is known of jobs and tasks; a cache that may be deleted."""
LISTING = "listing.csv"
"""What the patterns with URLs stood for when the batch was made: url, size, md5."""
TAGS = "tags.txt"
"""The words by which people find a batch again, one per line."""
RESULTS = "results"
RESULTS_OF = ".osgbatch-results.json"
"""In a folder outside that results lie in, too (`results_to`): whose they are."""
RUN_SPEC = ".osgbatch-run.yaml"
"""Stands for the spec of `osgbatch run`, which is no file: the batch folder has the only copy."""
RESULTS_TABLE = "results.csv"
RESULTS_PARQUET = "results.parquet"
GATHERED = "gathered.json"
"""On which results the gather script has run last."""
GATHER = "gather"
"""The folder of the batches that gather in the pool, of one task each."""
LOCK = "lock"

SUBMIT_FILE = "job.submit"
ROUND = "round.json"
"""Why a round was made, and which tasks it has."""
ORIGIN = "origin.json"
"""What was noted of a round's code, user and machine when it was made (submission/origin.py)."""
RERUN = "osgbatch-from.json"
"""Of which crate a folder was made (submission/rerun.py)."""
ITEMS = "jobs.items"
SHIM = "shim.sh"
SUBMITTED = "submitted.json"
CANCELLED = "cancelled.txt"
"""The procs of a round that were cancelled before they were in the queue, as `0-9+12`."""
KEYS = "keys.txt"
"""What the results of a round's tasks follow from, a short word for each (planning/keys.py)."""
REUSED = "reused.json"
"""The tasks of a batch that an earlier one has done."""
EVENTS = "events.log"
RETURNED = "returned"

CHECKPOINT = "osgbatch-checkpoint.tar.gz"
OUT_ARCHIVE = "osgbatch-out.tar.gz"
"""What the shim writes and HTCondor brings back."""

DATA_ARCHIVE = "osgbatch-data.tar.gz"
"""What the shim writes beside it when the data goes elsewhere."""
FETCHED = "fetched"
"""Where data archives are kept in a batch folder while they are brought home."""

BATCH_ATTRIBUTE = "OSGBatchID"
"""The attribute by which the jobs of a batch are found in the queue."""

JOBS_PER_RETURN_FOLDER = 1000


def round_folder(batch: Path, number: int) -> Path:
    """The folder of a round (1-based)."""
    return batch / ROUNDS / f"{number:03d}"


def half_round_folder(batch: Path, number: int) -> Path:
    """Where a later round is written; it has its own name once it is whole."""
    return batch / ROUNDS / f".{number:03d}"


def return_folder(round_path: Path, proc: int) -> Path:
    """The folder into which the archives of a proc are returned."""
    return round_path / RETURNED / str(proc // JOBS_PER_RETURN_FOLDER)


_ARCHIVE = re.compile(r"(\d+)_(\d+)_(\d+)\.tar\.gz")


def parse_archive_name(name: str) -> tuple[int, int, int] | None:
    """(cluster, proc, attempt) of a returned archive's name; None when it is something else."""
    match = _ARCHIVE.fullmatch(name)
    return (int(match[1]), int(match[2]), int(match[3])) if match else None


def slug(text: str) -> str:
    """`text` as a name that is safe in file names and submit files: letters, digits, ._-"""
    cleaned = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")[:60]
    return cleaned or "sweep"


TAKEN_OUTPUTS = frozenset(["status.json", "status.lost.json", "stdout", "stderr"])
"""Names in a task's results that are osgbatch's own."""

RESULT_COLUMNS = (
    "state", "reason", "exit_code", "signal", "attempts", "start", "end", "queue_s",
    "transfer_in_s", "wall_s", "transfer_out_s", "memory_mb", "memory_requested_mb", "disk_mb",
    "disk_requested_mb", "cpus_requested", "host", "site", "detail",
)  # fmt: skip
"""The columns of `results.csv` between parameters and metrics; s since 1970, s, MiB."""

SWEEP_WORDS = ("table", "zip", "where", "exclude", "sample", "repeat", "count")
"""The keys of `sweep:` that are no columns; `repeat` makes one of that name."""

RESERVED_COLUMNS = frozenset(["index", *SWEEP_WORDS, *RESULT_COLUMNS])
"""Names that `results.csv`, placeholders and the spec have already taken."""

_COLUMN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def column_problem(name: str) -> str:
    """Why `name` cannot be a column; empty when it can."""
    if name in RESERVED_COLUMNS:
        return f'"{name}" is taken by osgbatch; give the column another name'
    if not _COLUMN.fullmatch(name):
        return f'"{name}" cannot name a column; use letters, digits and _'
    return ""


def other_column(name: str) -> str:
    """What to call a column that cannot have this name: `plate_id`, `my_state`; may be empty."""
    plain = re.sub(r"[^A-Za-z0-9_]", "_", name).strip("_")
    plain = f"x{plain}" if plain[:1].isdigit() else plain
    plain = f"my_{plain}" if plain in RESERVED_COLUMNS else plain
    return plain if plain != name and not column_problem(plain) else ""


def task_path(text: str, folder: str = "inputs") -> str:
    """Where a task finds a path that the spec calls `text`, relative to the task's folder.

    folder: "inputs" or "related". The tree is kept; a leading `/` or `../` is left out:
    `../data/a.npy` is `inputs/data/a.npy`. A result of an earlier step is `inputs/<step>/…`.
    """
    plain = _OF_STEP.sub(r"\1/", os.path.normpath(text))
    parts = [part for part in plain.split("/") if part not in ("", "..", ".")]
    return "/".join([folder, *parts])


_OF_STEP = re.compile(rf"^(?:.*/)?{BATCHES}/[^/]+/{STEPS}/([^/]+)/{RESULTS}/")
"""Where the results of an earlier step of a workflow lie; tasks find them at inputs/<step>/."""


ON_ACCESS_POINT = "OSGBATCH_ON_ACCESS_POINT"
"""Not empty: jobs may run on an access point itself, one at a time."""
SCRIPT_VARIABLE = "OSGBATCH_PARAM_"
"""What a column is called, with its name after it, in the environment of a `script:`."""
RESULT_FILE = "outputs/result.json"
"""Where what a `function:` returned is kept, in the task's folder."""
RESULT_ARRAYS = "outputs/result*.npy"
"""Where the NumPy arrays in it are."""
METRICS_FILE = "outputs/metrics.json"
"""Where a task may write figures of its own, which become columns of `results.csv`."""


def escape_glob(text: str) -> str:
    """`text` as itself in a pattern: a parameter's `*` is no wildcard."""
    return re.sub(r"[*?[]|(\\)", lambda m: r"[\\]" if m[1] else f"[{m[0]}]", text)
