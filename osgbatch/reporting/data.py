"""What a report shows, as plain data: nothing of it knows files, HTCondor or HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from osgbatch.reporting.sizing import Sized

STATES = (
    "succeeded", "failed", "unknown", "removed", "held", "transferring output", "suspended",
    "running", "transferring input", "waiting",
)  # fmt: skip
"""The states of tasks, from what has ended to what has not begun; figures are stacked so."""
COSTS = ("good", "overhead", "failed", "lost", "evicted", "held", "removed", "open")
"""What cores were held for, see Cost."""


@dataclass(frozen=True)
class Stack:
    """How many there were of each kind, in equal spans of time.

    begin: s since 1970; step: s. counts: by kind, one number for each span.
    """

    begin: float
    step: float
    counts: Mapping[str, Sequence[float]]

    @property
    def spans(self) -> int:
        """How many."""
        return max((len(numbers) for numbers in self.counts.values()), default=0)

    @property
    def end(self) -> float:
        """When the last span ends."""
        return self.begin + self.step * self.spans

    def total(self, span: int) -> float:
        """All kinds together."""
        return sum(numbers[span] for numbers in self.counts.values())


@dataclass(frozen=True)
class Bar:
    """One start of a job in its slot; times in s since 1970; state: of what came of it."""

    begin: float
    run: float
    output: float
    end: float
    state: str
    tip: str = ""


@dataclass(frozen=True)
class Lane:
    """A slot, and what ran in it."""

    name: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class Cost:
    """Core seconds that jobs held, by what became of them.

    good: tasks that succeeded; overhead: bringing, unpacking and packing for them; failed: tasks
    that did not; lost: tasks whose results did not come back whole; evicted, held, removed: starts
    that ended so; open: starts that go on.
    """

    good: float = 0.0
    overhead: float = 0.0
    failed: float = 0.0
    lost: float = 0.0
    evicted: float = 0.0
    held: float = 0.0
    removed: float = 0.0
    open: float = 0.0

    def of(self, name: str) -> float:
        """One of COSTS."""
        return float(getattr(self, name))

    @property
    def total(self) -> float:
        """All of them."""
        return sum(map(self.of, COSTS))

    @property
    def wasted(self) -> float:
        """What led to nothing."""
        return self.failed + self.lost + self.evicted + self.held + self.removed


@dataclass(frozen=True)
class Spread:
    """How a number is distributed over tasks.

    unit: "s", "bytes" or "". edges: of equal bins; good, bad: how many tasks that succeeded, and
    that ended otherwise, fall into each. asked: what each may use at most, 0 for no limit.
    """

    name: str
    unit: str
    edges: Sequence[float]
    good: Sequence[int]
    bad: Sequence[int]
    median: float
    p95: float
    peak: float
    asked: float = 0.0
    measured: int = 0


@dataclass(frozen=True)
class CauseRow:
    """Tasks that went wrong alike. tasks: as ranges; places: how many were at each site or host."""

    state: str
    code: str
    cause: str
    count: int
    tasks: str
    told: str = ""
    places: Mapping[str, int] = field(default_factory=dict)
    todo: str = ""
    commands: tuple[str, ...] = ()
    example: int = 0
    stream: str = ""
    output: tuple[str, ...] = ()


@dataclass(frozen=True)
class PlaceRow:
    """A site, or a host where no site is known: tasks that ended there, and went wrong there.

    core_s: core seconds of the starts there.
    """

    name: str
    ended: int
    bad: int
    core_s: float


@dataclass(frozen=True)
class Extreme:
    """The tasks that took most of something; rows: of texts, one for each column.

    of: the unit of what they took, "s" or "bytes".
    """

    title: str
    of: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Group:
    """The tasks of one value of a parameter: how many, and their 5 %, 50 % and 95 % quantiles."""

    x: float
    count: int
    low: float
    middle: float
    high: float


@dataclass(frozen=True)
class Chart:
    """A metric over one parameter.

    points: (x, y) of tasks, where they are few; groups: by value, else by bin. missing: the x of
    tasks that have no such metric. names: what the whole numbers of x stand for, when the parameter
    is no number.
    """

    metric: str
    unit: str
    x: str
    points: tuple[tuple[float, float], ...] = ()
    groups: tuple[Group, ...] = ()
    missing: tuple[float, ...] = ()
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Grid:
    """A metric over two parameters.

    xs, ys: the values, or the edges of bins (then there is one more than of cells). cells: mean and
    number of tasks by (column, row); missing: cells whose tasks all lack the metric.
    """

    metric: str
    unit: str
    x: str
    y: str
    xs: tuple[float, ...]
    ys: tuple[float, ...]
    cells: Mapping[tuple[int, int], tuple[float, int]]
    missing: frozenset[tuple[int, int]] = frozenset()
    binned: bool = False


@dataclass(frozen=True)
class Metric:
    """What tasks that succeeded told of one thing: how many, the least, the median, the most."""

    name: str
    unit: str
    count: int
    least: float
    median: float
    most: float


@dataclass(frozen=True)
class Picture:
    """A picture to embed. data: as base64; kind: image/png and the like."""

    title: str
    kind: str
    data: str


@dataclass(frozen=True)
class Report:
    """All of it.

    made: when (s since 1970); begin, end: of the first submission, and of what happened last.
    ended: whether nothing can change by itself any more. facts: labels and texts. lanes, or
    strips: what ran in which slot, or how many at which place. rate, best_rate: tasks that
    succeeded per second, over all and in the best span of endings. cores: how many a job asked
    for, and the most that one kept busy. left_out: what is not shown, in sentences.
    """

    name: str
    id: str
    made: float
    ended: bool
    begin: float
    end: float
    tasks: int
    counts: Mapping[str, int]
    version: str
    facts: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    starts: int = 0
    evictions: int = 0
    holds: int = 0
    cost: Cost = field(default_factory=Cost)
    levels: Stack | None = None
    lanes: tuple[Lane, ...] = ()
    strips: Stack | None = None
    endings: Stack | None = None
    rate: float = 0.0
    best_rate: float = 0.0
    most_at_once: int = 0
    spreads: tuple[Spread, ...] = ()
    sized: tuple[Sized, ...] = ()
    resources: str = ""
    ladder: str = ""
    cores: tuple[int, float] | None = None
    causes: tuple[CauseRow, ...] = ()
    suspects: tuple[str, ...] = ()
    places: tuple[PlaceRow, ...] = ()
    place_kind: str = "site"
    extremes: tuple[Extreme, ...] = ()
    metrics: tuple[Metric, ...] = ()
    charts: tuple[Chart | Grid, ...] = ()
    pictures: tuple[Picture, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def succeeded(self) -> int:
        """How many tasks."""
        return self.counts.get("succeeded", 0)

    @property
    def wrong(self) -> int:
        """How many tasks failed, are held, removed or unknown."""
        return sum(self.counts.get(state, 0) for state in ("failed", "held", "removed", "unknown"))

    @property
    def extremes_title(self) -> str:
        """Of the tables of those that took most."""
        units = {extreme.of for extreme in self.extremes}
        if units == {"s"}:
            return "The slowest tasks"
        return "The slowest and the largest tasks" if "s" in units else "The largest tasks"

    @property
    def verdict(self) -> str:
        """What has become of it, in a sentence."""
        all_ = f"{self.tasks:,} task{'s' * (self.tasks != 1)}"
        if self.succeeded == self.tasks:
            return f"All {all_} succeeded." if self.tasks > 1 else "Its one task succeeded."
        open_ = self.tasks - self.succeeded - self.wrong
        parts = [f"{self.succeeded:,} of {all_} succeeded"]
        if self.wrong:
            parts.append(f"{self.wrong:,} did not")
        if open_:
            parts.append(f"{open_:,} {'has' if open_ == 1 else 'have'} not ended")
        return "; ".join(parts) + "."
