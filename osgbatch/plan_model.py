"""The frozen dataclasses of a plan: what follows from a spec, and what is rendered."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from osgbatch.spec_model import Output, Place, Resources, Spec, Stash
from osgbatch.tables import Cell, Table
from osgbatch.urls import file_name


@dataclass(frozen=True)
class InputFile:
    """One file or folder brought to a task.

    source: where it lies on the access point (of a URL: nowhere); task_path: where the task finds
    it, relative to its folder; carried: relative to the scratch folder, where it arrives; archived:
    it travels inside an archive, because HTCondor cannot transfer a file of that name as it is.
    shared, tree: what the spec says of staging it (see Input). is_object: its URL leads to an
    object of the stash, called by its checksum; form: what is then done with it, "file", "program"
    (made executable) or "folder" (unpacked). size, md5: of what a URL leads to, where they are
    known (else -1, empty).
    """

    source: Path
    task_path: str
    carried: str
    archived: bool
    url: str = ""
    shared: bool | None = None
    tree: bool = False
    is_object: bool = False
    form: str = "file"
    size: int = -1
    md5: str = ""

    @property
    def transferred(self) -> str:
        """What stands in transfer_input_files: a path from the initial directory, or a URL."""
        return self.url or self.carried


@dataclass(frozen=True)
class TaskPlan:
    """One task: its row, its argument vector and the files brought to it.

    params: the row by name, typed, with files as the task opens them.
    """

    index: int
    row: tuple[Cell, ...]
    params: tuple[tuple[str, Any], ...]
    argv: tuple[str, ...]
    inputs: tuple[InputFile, ...]
    outputs: tuple[tuple[str, bool], ...] = ()


class TaskRows(Sequence[TaskPlan], ABC):
    """The tasks of a sweep, each worked out when it is asked for, and read many at a time.

    shared: the inputs that every task is brought.
    """

    shared: tuple[InputFile, ...]

    @abstractmethod
    def texts(self, name: str, start: int, stop: int) -> list[str]:
        """A column as the tasks from `start` up to `stop` see it: of a file its path there."""

    @abstractmethod
    def inputs(self, start: int, stop: int) -> list[tuple[InputFile, ...]] | None:
        """What each of these tasks is brought beside the shared inputs; None when none is."""

    @abstractmethod
    def seconds(self, start: int, stop: int) -> list[int] | None:
        """The time limits of these tasks, in seconds; None when all have that of the spec."""


@dataclass(frozen=True)
class Demand:
    """What each job asks for, for what differs between jobs; else empty.

    memory in MiB (the largest of its tasks), disk in KiB (their sum), time in seconds (their sum).
    """

    cpus: Sequence[int] = ()
    memory_mb: Sequence[int] = ()
    disk_kb: Sequence[int] = ()
    gpus: Sequence[int] = ()
    time_s: Sequence[int] = ()


@dataclass(frozen=True)
class Placed:
    """An input that goes through the stash.

    size in bytes; why: in words, for people. tree: each of its files is an object of its own.
    """

    source: Path
    size: int
    why: str
    tree: bool = False


@dataclass(frozen=True)
class Plan:
    """What follows from the spec alone: tasks, jobs, what must be packed.

    jobs: the tasks of each job, in order; initialdir: the folder that carried paths start from.
    outputs: those of the spec, and what a function's result is kept in.
    demand: the largest that any job asks for, disk and time summed over its tasks; each: what
    differs between jobs. grouping: why there are so many jobs. job_bytes: the largest input of a
    job, without archives. sizes: bytes of each input, by source. stash: the one to use. placed:
    the inputs that go through it. listing: size and MD5 of the URLs that patterns stand for.
    buckets: a URL of each bucket or server of S3 that inputs or an image come from, and the place
    that says so. readers: the jobs of the whole sweep, where these are those of some tasks.
    """

    spec: Spec
    table: Table
    tasks: TaskRows
    jobs: Sequence[Sequence[int]]
    initialdir: Path
    archived_inputs: tuple[InputFile, ...]
    input_bytes: int
    outputs: tuple[Output, ...] = ()
    demand: Resources = field(default_factory=Resources)
    each: Demand = Demand()
    grouping: tuple[str, ...] = ()
    job_bytes: int = 0
    sizes: Mapping[Path, int] = field(default_factory=dict)
    stash: Stash = field(default_factory=Stash)
    placed: tuple[Placed, ...] = ()
    listing: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    buckets: tuple[tuple[str, Place], ...] = ()
    warnings: tuple[str, ...] = ()
    readers: int = 0

    @property
    def job_s(self) -> int:
        """Seconds that the longest job's tasks may take together; 0 when no time is given."""
        return self.demand.time_s

    @property
    def varying(self) -> tuple[str, ...]:
        """The resources that differ between jobs."""
        return tuple(name for name, values in vars(self.each).items() if values)

    @property
    def program(self) -> str:
        """What a task runs: "command", "script" or "function"."""
        if self.spec.script:
            return "script"
        return "function" if self.spec.function else "command"


@dataclass(frozen=True)
class Payload:
    """An archive (or file of rows) that travels with the jobs.

    kind: environment, container, library, files, inputs, rows or program; sizes in bytes.
    url: of its object in the stash; empty when it travels from the batch's payload folder.
    """

    kind: str
    path: Path
    sha256: str
    size: int
    unpacked_size: int
    url: str = ""

    @property
    def file(self) -> str:
        """Its name in the payload folder and in the job's scratch folder."""
        return file_name(self.url) or self.path.name

    def carried(self, initialdir: Path) -> str:
        """Where it arrives, relative to the scratch folder."""
        return self.file if self.url else os.path.relpath(self.path, initialdir)


@dataclass(frozen=True)
class Delivery:
    """Where the tasks' data goes (`outputs_to`), in an archive of its own for each start of a job.

    url: of the batch's own folder there, as HTCondor is given it. stash: how the same folder is
    read from this machine; of the kind "none" when it cannot be. commands: of the submit language,
    that bringing it there needs.
    """

    url: str
    stash: Stash = field(default_factory=Stash)
    commands: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Resolved:
    """A plan with its archives made: all that rendering and the backends need.

    microarch: the CPU level that the packed environment needs, "x86_64-v3"; empty when any will do.
    The inputs of the plan's tasks are those that travel, objects of the stash among them.
    commands: of the submit language, that fetching those needs. delivery: None when everything
    comes home. node: the jobs are a node of a DAG, where one that fails ends the others.
    """

    plan: Plan
    payload: tuple[Payload, ...]
    resources: Resources
    each: Demand = Demand()
    max_idle: int = 0
    microarch: str = ""
    commands: tuple[tuple[str, str], ...] = ()
    delivery: Delivery | None = None
    node: bool = False
