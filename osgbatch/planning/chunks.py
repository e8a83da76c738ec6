"""Tasks to jobs: balanced chunks, and how they are written down."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from operator import floordiv
from typing import overload


@dataclass(frozen=True)
class Chunks(Sequence[Sequence[int]]):
    """`tasks` consecutive tasks in `jobs` chunks, none empty, sizes differing by at most one."""

    tasks: int
    jobs: int

    def __len__(self) -> int:
        return self.jobs

    @overload
    def __getitem__(self, job: int) -> Sequence[int]: ...

    @overload
    def __getitem__(self, job: slice) -> Sequence[Sequence[int]]: ...

    def __getitem__(self, job: int | slice) -> Sequence[int] | Sequence[Sequence[int]]:
        if isinstance(job, slice):
            return [self[i] for i in range(*job.indices(self.jobs))]
        if not 0 <= job < self.jobs:
            raise IndexError(job)
        return range(job * self.tasks // self.jobs, (job + 1) * self.tasks // self.jobs)

    def __iter__(self) -> Iterator[Sequence[int]]:
        size, rest = divmod(self.tasks, self.jobs)
        if not rest:
            return map(range, range(0, self.tasks, size), range(size, self.tasks + size, size))
        step, stop = self.tasks, self.jobs * self.tasks
        starts = map(floordiv, range(0, stop, step), repeat(self.jobs))
        ends = map(floordiv, range(step, stop + step, step), repeat(self.jobs))
        return map(range, starts, ends)
