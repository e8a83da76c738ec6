"""A submit file as rules look at it: its commands by name, its macros filled in."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Protocol

from osgbatch.linting.lines import Spot, Statement, SubmitText
from osgbatch.submit_language import custom_attribute, known_command, one_name

_SAME = {
    "args": "arguments", "stderr": "error",
    "stdout": "output", "stdin": "input", "userlog": "log",
    "ulog": "log", "env": "environment", "iwd": "initialdir", "jobiwd": "initialdir",
    "prio": "priority", "jobprio": "priority", "jobuniverse": "universe",
    "jobnotification": "notification", "materializemaxidle": "maxidle",
    "jobmaterializemaxidle": "maxidle", "jobmaterializelimit": "maxmaterialize",
    "transferin": "transferinput", "transfererr": "transfererror",
    "transferout": "transferoutput", "transferoutputfile": "transferoutputfile",
    "jobmaxretries": "maxretries", "jobsuccessexitcode": "successexitcode",
    "arguments2": "arguments", "environment2": "environment",
    "successcheckpointexitcode": "checkpointexitcode", "jobbatchname": "batchname",
    "singularityimage": "singularityimage",
}  # fmt: skip
_AUTOMATIC = """cluster clusterid process procid jobid joblistid step itemindex row item node
    submit_file submit_time year month day dollar dollardollar dag_node_name job retry spool
    username arch opsys opsysver opsysmajorver opsysandver is_linux is_windows tilde hostname
    full_hostname ip_address local_dir release_dir detected_cores detected_memory pid ppid iwd
    cwd submitted_by dag_parent_names failed_count dagmanjobid dag_status job_id parent_names
    subsystem real_uid real_gid min_memory condorversion condorplatform
    owner lib bin log etc run lock libexec
    interactive_submission_file submit_user subsys localname my.jobtag jobtag"""
AUTOMATIC = frozenset(_AUTOMATIC.split())
"""Macros that HTCondor, its configuration or DAGMan sets."""
_MACRO = re.compile(r"\$\(([\w.+-]+)(?::((?:[^()]|\([^()]*\))*))?\)")
_LEFT = re.compile(r"\$\$?[\w]*\(|\$\$?\[")


class Look(Protocol):
    """What rules may ask of the files that a submit file names; paths as it writes them."""

    def kind(self, path: str) -> str:
        """`file`, `folder`, `none`, or empty when that cannot be said from here."""

    def matches(self, pattern: str) -> bool:
        """Whether a file or folder has a name of this pattern, or that cannot be said."""

    def head(self, path: str) -> bytes:
        """The first 64 kB of a file; empty when it cannot be read."""

    def executable(self, path: str) -> bool:
        """Whether the file may be executed."""


class NoFiles:
    """Says nothing about files: for a text that lies in no folder."""

    def kind(self, path: str) -> str:
        return ""

    def matches(self, pattern: str) -> bool:
        return True

    def head(self, path: str) -> bytes:
        return b""

    def executable(self, path: str) -> bool:
        return True


@dataclass(frozen=True)
class Queue:
    """A queue statement, taken apart. count: before the variables, as written; verb: in, from,
    matching, or empty; what: behind it, brackets and slices included."""

    statement: Statement
    count: str
    variables: tuple[str, ...]
    verb: str
    what: str


@lru_cache(4096)
def canonical(key: str) -> str:
    """One name for all spellings of a command."""
    if custom_attribute(key):
        return one_name(key)
    name = one_name(key)
    return _SAME.get(name, name)


@dataclass(frozen=True)
class Job:
    """A submit file, and what may be asked about it.

    refused: HTCondor's judgement of an expression, where it is installed: True, False, or None;
    refused_queue: of what stands behind `queue`.
    """

    text: SubmitText
    look: Look
    refused: Callable[[str], bool | None]
    refused_queue: Callable[[str], bool | None] = lambda text: None

    @property
    def statements(self) -> tuple[Statement, ...]:
        return self.text.statements

    @cached_property
    def settings(self) -> tuple[Statement, ...]:
        """All lines `key = value`, in order."""
        return tuple(s for s in self.statements if s.kind == "set")

    @cached_property
    def queues(self) -> tuple[Queue, ...]:
        return tuple(queue_of(s) for s in self.statements if s.kind == "queue")

    @cached_property
    def whole(self) -> bool:
        """Whether nothing but this file makes the job: it queues, and includes nothing."""
        return bool(self.queues) and not any(s.kind in ("include", "use") for s in self.statements)

    @cached_property
    def _by_name(self) -> dict[str, list[Statement]]:
        found: dict[str, list[Statement]] = {}
        for statement in self.settings:
            found.setdefault(canonical(statement.key), []).append(statement)
        return found

    @cached_property
    def _by_key(self) -> dict[str, list[Statement]]:
        found: dict[str, list[Statement]] = {}
        for statement in self.settings:
            found.setdefault(statement.key.lower(), []).append(statement)
        return found

    @cached_property
    def variables(self) -> frozenset[str]:
        """What the queue statements set, in lower case."""
        named = {name.lower() for queue in self.queues for name in queue.variables}
        return frozenset(named)

    def all(self, *names: str) -> list[Statement]:
        """The settings of commands, under any spelling of their names, in the file's order."""
        wanted = {canonical(name) for name in names}
        found = [s for name in wanted for s in self._by_name.get(name, ())]
        return sorted(found, key=lambda s: s.whole)

    def get(self, name: str) -> Statement | None:
        """The last setting of a command; None when there is none, here or by a queue variable."""
        found = self._by_name.get(canonical(name))
        return found[-1] if found else None

    def sets(self, *names: str) -> bool:
        """Whether one of these commands is set, by a line or by a variable of the queue."""
        queued = {canonical(name) for name in self.variables}
        return any(canonical(name) in self._by_name or canonical(name) in queued for name in names)

    def filled(self, text: str, depth: int = 0) -> str:
        """`text` with the macros filled in that this file sets once, outside of any `if`."""

        def value(found: re.Match[str]) -> str:
            name = found[1].lower()
            defined = self._by_key.get(name, [])
            if not defined and name not in self.variables and name not in AUTOMATIC and found[2]:
                return found[2]
            if len(defined) != 1 or defined[0].depth or depth > 8 or name in self.variables:
                return found[0]
            return self.filled(defined[0].value, depth + 1)

        return _MACRO.sub(value, text)

    def plain(self, statement: Statement) -> str | None:
        """The value of a setting with its macros filled in; None when it is not known here."""
        text = self.filled(statement.value)
        return None if _LEFT.search(text) else text

    def value(self, name: str) -> str | None:
        """The value of a command that is set once and known; None otherwise."""
        found = self._by_name.get(canonical(name), [])
        if len(found) != 1 or found[0].depth:
            return None
        return self.plain(found[0])

    @cached_property
    def named(self) -> frozenset[str]:
        """The names that the file's lines and queue statements set, in lower case."""
        return frozenset(s.key.lower() for s in self.settings) | self.variables

    @cached_property
    def macros(self) -> frozenset[str]:
        """The names in all `$(…)` and `$F…(…)` of the file, in lower case."""
        return frozenset(
            found.lower() for found in re.findall(r"\$\w*\(([\w.+-]+)", self.text.text)
        )

    def known(self, statement: Statement) -> bool:
        """Whether a setting's key is a command, an attribute of the user's own, or a macro."""
        key = statement.key
        return (
            known_command(key) or custom_attribute(key) or "$" in key or "." in key
            or key.lower() in self.macros
        )  # fmt: skip

    def jobs(self) -> int | None:
        """How many jobs are queued at the least; None when that cannot be said."""
        total = 0
        for queue in self.queues:
            count = 1
            if queue.count:
                text = self.filled(queue.count)
                if not re.fullmatch(r"\d+", text):
                    return None
                count = int(text)
            items = self.items(queue)
            if items is None:
                return None
            total += count * len(items)
        return total

    def items(self, queue: Queue) -> list[str] | None:
        """The items of a queue statement as lines; None when they are not in the file."""
        if not queue.verb:
            return [""]
        if queue.statement.items and queue.verb != "matching":
            rows = [text for _, text in queue.statement.items]
            if queue.verb == "in":
                rows = [word for row in rows for word in re.split(r"[\s,]+", row) if word]
            return rows
        inline = re.fullmatch(r"\s*(?:\[[^\]]*\]\s*)?\((.*)\)\s*", queue.what, re.DOTALL)
        if inline and queue.verb != "matching":
            words = [word for word in re.split(r"[\s,]+", inline[1]) if word]
            return words if queue.verb == "in" else [inline[1].strip()]
        return None

    def queued(self, name: str) -> Iterator[tuple[Spot, str]]:
        """The values that the lines of a queue statement's own list give to a command."""
        for queue in self.queues:
            if len(queue.variables) != 1 or canonical(queue.variables[0]) != canonical(name):
                continue
            if queue.verb == "from":
                for number, text in queue.statement.items:
                    column = max(0, self.text.lines[number - 1].find(text))
                    yield Spot(number, column + 1, max(1, len(text))), text

    def words(self, names: str) -> Iterator[tuple[Statement, str]]:
        """The settings of some commands with their known values; those not known are left out."""
        for statement in self.all(*names.split()):
            value = self.plain(statement)
            if value is not None:
                yield statement, value


def queue_of(statement: Statement) -> Queue:
    """A queue statement, taken apart."""
    text = re.sub(r"(?:^|\s)#.*\Z", "", statement.value)  # what `queue-comment` tells of
    verb = re.search(r"(?:^|\s)(in|from|matching)(?=\s|\(|\[|\Z)", text, re.IGNORECASE)
    if not verb:
        return Queue(statement, text, (), "", "")
    before, what = text[: verb.start()].strip(), text[verb.end() :].strip()
    words = before.replace(",", " ").split()
    count = ""
    if words and not re.fullmatch(r"[A-Za-z_][\w.]*", words[0]):
        count, words = words[0], words[1:]
    names = tuple(words) or ("Item",)
    if verb[1].lower() == "from" and re.match(r"table\b", what, re.IGNORECASE):
        names = tuple(words)
    return Queue(statement, count, names, verb[1].lower(), what)
