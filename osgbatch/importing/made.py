"""What is known of the jobs of a submit file, on the way to a sweep.yaml."""

from __future__ import annotations

from dataclasses import dataclass, field

from osgbatch.importing import words
from osgbatch.importing.macros import Variable


@dataclass(frozen=True)
class Setting:
    """A line `key = value`. name: one for all spellings of the key; line: its number."""

    name: str
    key: str
    value: str
    line: int


@dataclass(frozen=True)
class Input:
    """A file that a job is brought. source: its path or URL; name: as the job finds it; whole: it
    is the same for all jobs, and lies here."""

    source: words.Word
    name: words.Word
    whole: bool


@dataclass
class Converted:
    """What the jobs are. settings: other keys of the sweep, in order; own: lines of `submit:`.

    program: the words that are run; cells: of variables that were made for them, one for each job;
    stdin: a file that is given to them; shell: a line for sh in place of words; notes: what
    osgbatch does otherwise; lost: what a sweep cannot say.
    """

    program: list[words.Word] = field(default_factory=list)
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
    lost: list[str] = field(default_factory=list)
    cells: dict[Variable, list[str]] = field(default_factory=dict)
