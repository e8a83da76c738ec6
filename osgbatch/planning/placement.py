"""What goes through the stash and what travels with the jobs, and why."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from osgbatch.plan_model import InputFile, Payload, Placed, Plan, TaskPlan, TaskRows
from osgbatch.texts import size
from osgbatch.urls import file_name, scheme, split_url

_CHUNK = 4096


@dataclass(frozen=True)
class ObjectFile:
    """A file of the stash that stands for an input, or for a part of one.

    below: its path below the input's; empty for the input itself. url: of the object; form: as in
    InputFile.
    """

    url: str
    below: str = ""
    form: str = "file"


Source = tuple[Path, bool]
"""A file or folder here, and whether it is staged as a tree."""


def placed_inputs(plan: Plan) -> tuple[Placed, ...]:
    """The inputs that go through the plan's stash, in the order in which tasks have them."""
    if plan.stash.kind == "none":
        return ()
    found: dict[Source, Placed] = {}
    jobs = len(plan.jobs)
    for file in plan.tasks.shared:
        _add(found, plan, file, jobs)
    for file, readers in _row_inputs(plan):
        _add(found, plan, file, readers)
    return tuple(found.values())


def _add(found: dict[Source, Placed], plan: Plan, file: InputFile, readers: int) -> None:
    if file.url or (file.source, file.tree) in found:
        return
    count = plan.sizes.get(file.source, 0)
    why = _why(plan, count, readers, file.shared)
    if why:
        found[file.source, file.tree] = Placed(file.source, count, why, file.tree)


def _why(plan: Plan, count: int, readers: int, said: bool | None) -> str:
    """Why a file is staged; empty when it is not. said: what the spec says."""
    profile = plan.spec.profile
    if said is not None:
        return "shared: true" if said else ""
    if 0 < profile.stash_bytes < count:
        return f"over {size(profile.stash_bytes)}"
    if readers > 1 and 0 < profile.shared_bytes < count:
        return f"read by {readers:,} jobs"
    return ""


def _row_inputs(plan: Plan) -> Iterator[tuple[InputFile, int]]:
    """What tasks have for themselves, and how many jobs read it."""
    if plan.tasks.inputs(0, 1) is None:
        return
    readers: dict[Source, int] = {}
    files: dict[Source, InputFile] = {}
    rows = _rows(plan.tasks)
    for job in plan.jobs:
        seen = {(file.source, file.tree): file for _ in job for file in next(rows) if not file.url}
        files.update(seen)
        for source in seen:
            readers[source] = readers.get(source, 0) + 1
    for source, file in files.items():
        yield file, readers[source]


def _rows(tasks: TaskRows) -> Iterator[tuple[InputFile, ...]]:
    for start in range(0, len(tasks), _CHUNK):
        yield from tasks.inputs(start, min(start + _CHUNK, len(tasks))) or ()


def environment_why(plan: Plan, size_bytes: int) -> str:
    """Why an environment or image of so many bytes goes through the stash; empty when it does not.

    An image always does.
    """
    if plan.stash.kind == "none":
        return ""
    if plan.spec.environment.kind == "container":
        return "an image"
    return _why(plan, size_bytes, plan.readers or len(plan.jobs), None)


def placed_payload(plan: Plan, payload: Sequence[Payload]) -> dict[Path, str]:
    """The archives that go through the stash, and why each does. An image always does."""
    found: dict[Path, str] = {}
    if plan.stash.kind == "none":
        return found
    for item in payload:
        of_environment = item.kind in ("container", "environment")
        why = (
            environment_why(plan, item.size)
            if of_environment
            else _why(plan, item.size, plan.readers or len(plan.jobs), None)
        )
        if why:
            found[item.path] = why
    return found


def with_objects(plan: Plan, objects: Mapping[Source, Sequence[ObjectFile]]) -> Plan:
    """The plan with inputs replaced by the objects that stand for them.

    objects: of each source. What is an object does not travel in the archive of odd names.
    """
    if not objects:
        return plan
    return replace(
        plan,
        tasks=_StagedRows(plan.tasks, objects),
        archived_inputs=tuple(f for f in plan.archived_inputs if (f.source, f.tree) not in objects),
        job_bytes=plan.job_bytes + _unpacked_bytes(plan, objects),
    )


def _unpacked_bytes(plan: Plan, objects: Mapping[Source, Sequence[ObjectFile]]) -> int:
    """What objects take in a job beside what job_bytes counts: archives of folders, odd names."""
    more = {
        source: plan.sizes.get(source, 0)
        for (source, _), parts in objects.items()
        if any(part.form == "folder" for part in parts)
    }
    for file in plan.archived_inputs:
        if (file.source, file.tree) in objects:
            more[file.source] = more.get(file.source, 0) + plan.sizes.get(file.source, 0)
    shared = {file.source for file in plan.tasks.shared}
    own = [count for source, count in more.items() if source not in shared]
    tasks = max(map(len, plan.jobs))
    return sum(more[source] for source in shared & more.keys()) + tasks * max(own, default=0)


def with_addresses(plan: Plan, addresses: Mapping[str, str]) -> Plan:
    """The plan with the user's URLs of buckets as HTCondor must have them.

    addresses: by what stands first in such a URL (`bucket` of s3://bucket/key), the URL of the
    bucket, without a slash at its end.
    """
    return replace(plan, tasks=_AddressedRows(plan.tasks, addresses)) if addresses else plan


class _ChangedRows(TaskRows, ABC):
    """Tasks with other inputs."""

    def __init__(self, tasks: TaskRows) -> None:
        self._tasks = tasks
        self.shared = self._changed(tasks.shared)

    @abstractmethod
    def _changed(self, files: Sequence[InputFile]) -> tuple[InputFile, ...]:
        """What stands for these inputs."""

    def texts(self, name: str, start: int, stop: int) -> list[str]:
        return self._tasks.texts(name, start, stop)

    def inputs(self, start: int, stop: int) -> list[tuple[InputFile, ...]] | None:
        rows = self._tasks.inputs(start, stop)
        return None if rows is None else [self._changed(files) for files in rows]

    def seconds(self, start: int, stop: int) -> list[int] | None:
        return self._tasks.seconds(start, stop)

    def __len__(self) -> int:
        return len(self._tasks)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        task: TaskPlan = self._tasks[index]
        return replace(task, inputs=self._changed(task.inputs))


class _StagedRows(_ChangedRows):
    """Tasks whose inputs are objects of the stash, where there are any."""

    def __init__(self, tasks: TaskRows, objects: Mapping[Source, Sequence[ObjectFile]]) -> None:
        self._objects = objects
        self._known: dict[InputFile, tuple[InputFile, ...]] = {}
        super().__init__(tasks)

    def _changed(self, files: Sequence[InputFile]) -> tuple[InputFile, ...]:
        found: list[InputFile] = []
        for file in files:
            if file.url or (file.source, file.tree) not in self._objects:
                found.append(file)
                continue
            if file not in self._known:
                parts = self._objects[file.source, file.tree]
                self._known[file] = tuple(_as_object(file, part) for part in parts)
            found += self._known[file]
        return tuple(found)


class _AddressedRows(_ChangedRows):
    """Tasks whose URLs of buckets are as HTCondor must have them."""

    def __init__(self, tasks: TaskRows, addresses: Mapping[str, str]) -> None:
        self._addresses = addresses
        super().__init__(tasks)

    def _changed(self, files: Sequence[InputFile]) -> tuple[InputFile, ...]:
        return tuple(self._addressed(file) if file.url else file for file in files)

    def _addressed(self, file: InputFile) -> InputFile:
        if scheme(file.url) != "s3":
            return file
        first, _, rest = split_url(file.url)[1].partition("/")
        start = self._addresses.get(first)
        return replace(file, url=f"{start}/{rest}") if start else file


def _as_object(file: InputFile, part: ObjectFile) -> InputFile:
    below = f"/{part.below}" if part.below else ""
    return replace(
        file,
        task_path=f"{file.task_path}{below}",
        carried=file_name(part.url),
        archived=False,
        url=part.url,
        is_object=True,
        form=part.form,
    )
