"""What is known of the jobs of a submit file, on the way to a sweep.yaml."""

from __future__ import annotations

from dataclasses import dataclass, field

from osgbatch.importing import words
from osgbatch.importing.macros import Variable


@dataclass(frozen=True)
class Setting:
    """A line `key = value`. name: one for all spellings of the key; line: its number, 0 for a
    variable of the queue that is a command."""

    name: str
    key: str
    value: str
    line: int

    @property
    def at(self) -> str:
        """Where it stands, for messages."""
        return f"line {self.line}: {self.key}" if self.line else f"queue: {self.key}"


@dataclass(frozen=True)
class Input:
    """A file that a job is brought. source: its path or URL; name: as the job finds it; whole: it
    is the same for all jobs, and lies here; contents: a folder of which only what is in it is
    brought."""

    source: words.Word
    name: words.Word
    whole: bool
    contents: bool = False


@dataclass(frozen=True)
class PerTask:
    """A request that differs between jobs. unit: "1 MB", empty for a number; variable: how many."""

    unit: str
    variable: Variable


@dataclass
class Converted:
    """What the jobs are. settings: other keys of the sweep, in order; own: lines of `submit:`.

    program: the words that are run; spread: those of them, by number, of which a task makes several
    words, at blanks; cells: of variables that were made for them, one for each job;
    stdin: a file that is given to them; shell: a line for sh in place of words; notes: what
    osgbatch does in its own way; differs: what is otherwise in the sweep's jobs; lost: what a sweep
    cannot say, and lost_lines the lines of it; told: variables of which a request tells all.
    """

    program: list[words.Word] = field(default_factory=list)
    spread: set[int] = field(default_factory=set)
    shell: str = ""
    stdin: words.Word | None = None
    executable: str = ""
    inputs: list[Input] = field(default_factory=list)
    outputs: list[tuple[words.Word, words.Word | None]] | None = None
    environment: list[tuple[str, words.Word]] = field(default_factory=list)
    settings: dict[str, object] = field(default_factory=dict)
    requirements: str = ""
    own: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    differs: list[str] = field(default_factory=list)
    told: set[str] = field(default_factory=set)
    lost_lines: set[int] = field(default_factory=set)
    lost: list[str] = field(default_factory=list)
    cells: dict[Variable, list[str]] = field(default_factory=dict)
