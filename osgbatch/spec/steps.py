"""`steps:` of a spec: a small workflow, each step a spec of its own, with places for errors."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from osgbatch.errors import SpecError, SpecErrors
from osgbatch.names import slug
from osgbatch.spec.document import Document, Loc, parse_document, read_document
from osgbatch.spec.layers import Layered, read_given, read_layers
from osgbatch.spec.load import spec_of
from osgbatch.spec.merging import merge
from osgbatch.spec.writing import effective_text
from osgbatch.spec_model import Profile, Spec

T = TypeVar("T")

STEPS = "steps"
OWN = ("name", "after", "here", "partial")
"""The keys that a step has beside those of a spec."""
NOT_SHARED = ("command", "script", "function", "sweep", "gather", "results_to")
"""What cannot hold for all steps."""
REFERENCE = "step:"
"""What begins a path in the results of an earlier step: step:NAME/PATH."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")
_REFERENCE = re.compile(r"step:([^/]*)/(.*)", re.S)
_WITH_PATHS = ("sweep", "inputs", "related", "files", "libraries", "gather")
_NOT_DAG = frozenset(["parent", "child", "all_nodes"])
"""Words of DAGMan's that can name no node."""


@dataclass(frozen=True)
class Step:
    """One step of a workflow.

    here: it runs on this machine, in the foreground, not in the pool. partial: later steps run also
    when some of its tasks have failed. after: the steps that end before it begins, those that it
    uses among them. uses: the steps from whose results it reads. document: its spec, with what
    holds for all steps, and its references as they were written.
    """

    name: str
    here: bool
    partial: bool
    after: tuple[str, ...]
    uses: tuple[str, ...]
    document: Document


@dataclass(frozen=True)
class Steps:
    """A workflow as its spec has it, the steps in an order in which they can run."""

    name: str
    path: Path
    text: bytes
    steps: tuple[Step, ...]
    profile: Profile

    @property
    def folder(self) -> Path:
        """The folder that relative paths start from."""
        return self.path.parent


def has_steps(path: Path) -> bool:
    """Whether a spec describes a workflow; False where it cannot be read."""
    try:
        text = path.read_bytes() if path.is_file() else b""
    except OSError:
        return False
    if not re.search(rb"^\s*[\"']?steps[\"']?\s*:|[{,]\s*[\"']?steps[\"']?\s*:", text, re.M):
        return False
    try:
        return STEPS in parse_document(text, str(path)).data
    except SpecError:
        return False  # whoever reads it as a sweep says what is wrong


def read_steps(path: Path, settings: Sequence[str] = ()) -> Steps:
    """Read and check a spec with `steps:`.

    Raises SpecErrors with every mistake that can be told without reading other files, OsgbatchError
    when the file cannot be read.
    """
    whole = path.absolute()
    text = read_document(path).raw
    found = whole.parent.resolve() / whole.name
    return _steps_of(read_layers(path, settings), found, text)


def steps_of_data(data: Mapping[str, Any], folder: Path, settings: Sequence[str] = ()) -> Steps:
    """The same, of what such a file would hold. folder: where its relative paths start."""
    bare = Document("steps", b"", deepcopy(dict(data)), {}, {}, {})
    text = effective_text(bare, ["(made by a program)"])
    name = slug(str(data.get("name") or "workflow"))
    document = parse_document(text, name)
    path = folder.resolve() / f"{name}.yaml"
    return _steps_of(read_given(document, folder, settings), path, text)


def step_spec(steps: Steps, step: Step, results: Callable[[str], str]) -> bytes:
    """A step's own spec, as YAML that stands by itself.

    results: of a step the path of its results, relative to the workflow's folder of paths.
    """
    document = _named(steps, step, _resolved(step.document, results))
    return document.raw


def check_step(steps: Steps, step: Step, results: Callable[[str], str]) -> Spec:
    """A step as a Spec. Raises SpecErrors, with places in the file that has the steps."""
    document = _named(steps, step, _resolved(step.document, results))
    spec = spec_of(steps.folder / f".{steps.name}-{step.name}.yaml", document)
    return replace(spec, profile=steps.profile)


def _named(steps: Steps, step: Step, document: Document) -> Document:
    """With the name that its batch and jobs have."""
    document.data["name"] = f"{steps.name}-{step.name}"
    return replace(document, raw=effective_text(document, [str(steps.path), f"steps: {step.name}"]))


# --- reading -------------------------------------------------------------------------------------


def _steps_of(layered: Layered, path: Path, text: bytes) -> Steps:
    document = layered.document
    reader = _Reader(document)
    steps = reader.steps()
    if reader.errors:
        raise SpecErrors(_in_order(reader.errors))
    ordered = _ordered(steps, document)
    given = document.data.get("name")
    name = slug(str(given)) if given else _default_name(path)
    return Steps(name, path, text, ordered, layered.profile)


def _default_name(path: Path) -> str:
    at_home = path.stem in ("sweep", "workflow") and path.parent.name
    return slug(path.parent.name if at_home else path.stem)


class _Reader:
    """Reads `steps:`; mistakes are added to `errors`."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.errors: list[SpecError] = []

    def fail(self, what: str, loc: Loc, fix: str = "", *, key: bool = False) -> None:
        self.errors.append(SpecError(what, self.document.place(loc, key=key), fix=fix))

    def steps(self) -> list[Step]:
        data = self.document.data
        for key in NOT_SHARED:
            if key in data:
                what = f'"{key}" stands beside steps:, and belongs into one of the steps'
                self.fail(what, (key,), key=True)
        entries = data[STEPS]
        if not isinstance(entries, list) or not entries:
            what = "steps: should be a list of steps"
            self.fail(what, (STEPS,), "Write `- name: simulate` with the keys of a sweep below it.")
            return []
        names = [entry.get("name") if isinstance(entry, dict) else None for entry in entries]
        found = [self._step(i, entry, names) for i, entry in enumerate(entries)]
        return [step for step in found if step is not None]

    def _step(self, number: int, entry: Any, names: Sequence[Any]) -> Step | None:
        loc: Loc = (STEPS, number)
        if not isinstance(entry, dict):
            self.fail(f"steps[{number}] should be keys and values", loc)
            return None
        name = entry.get("name")
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name.lower() in _NOT_DAG:
            what = f"steps[{number}]: needs a name of letters, digits, _ and -"
            at = (*loc, "name") if name is not None else loc
            self.fail(what, at, "Write name: simulate; it begins with a letter.")
            return None
        if name.lower() in [str(one).lower() for one in names[:number]]:
            self.fail(f'there are two steps named "{name}"', (*loc, "name"))
            return None
        known = [one for one in names if isinstance(one, str)]
        after = self._after(entry, loc, name, known)
        part = _part(self.document, loc)
        uses = tuple(dict.fromkeys(self._uses(part, loc, name, known)))
        flags = {key: self._flag(entry, loc, key) for key in ("here", "partial")}
        for key in OWN:
            _forget(part, key)
        if "extends" in part.data:
            self.fail("extends: stands beside steps:, not in a step", (*loc, "extends"), key=True)
            return None
        merged, _ = merge(_shared(self.document), part, "spec")
        merged = replace(merged, file=self.document.file)
        merged.data["name"] = name
        return Step(
            name,
            flags["here"],
            flags["partial"],
            tuple(dict.fromkeys([*after, *uses])),
            uses,
            replace(merged, raw=effective_text(merged, [self.document.file, f"steps: {name}"])),
        )

    def _flag(self, entry: Mapping[str, Any], loc: Loc, key: str) -> bool:
        value = entry.get(key, False)
        if not isinstance(value, bool):
            self.fail(f"{key}: should be true or false", (*loc, key))
        return value is True

    def _after(
        self, entry: Mapping[str, Any], loc: Loc, name: str, known: Sequence[str]
    ) -> list[str]:
        value = entry.get("after", [])
        texts = value if isinstance(value, list) else [value]
        found = []
        for i, text in enumerate(texts):
            at = (*loc, "after", i) if isinstance(value, list) else (*loc, "after")
            if self._is_step(text, at, name, known):
                found.append(text)
        return found

    def _is_step(self, text: Any, loc: Loc, name: str, known: Sequence[str]) -> bool:
        if text == name:
            self.fail(f'step "{name}" cannot wait for itself', loc)
            return False
        if text in known:
            return True
        near = get_close_matches(str(text), known, n=1)
        hint = f'; did you mean "{near[0]}"?' if near else ""
        self.fail(f'there is no step "{text}"{hint}', loc, "" if near else _listed(known))
        return False

    def _uses(self, part: Document, above: Loc, name: str, known: Sequence[str]) -> Iterator[str]:
        for loc, text in _references(part.data):
            match = _REFERENCE.fullmatch(text)
            if match is None or not match[2] or ".." in match[2].split("/"):
                what = f'"{text}" names no file of a step'
                fix = "Write step:NAME/PATH, such as step:simulate/0/outputs/rows.csv: a task's "
                self.fail(what, (*above, *loc), f"{fix}index, and a path in its folder.")
            elif self._is_step(match[1], (*above, *loc), name, known):
                yield match[1]


def _listed(known: Sequence[str]) -> str:
    return f"There are {', '.join(known)}."


def _ordered(steps: Sequence[Step], document: Document) -> tuple[Step, ...]:
    """The steps, each after those that it waits for. Raises SpecErrors for a circle."""
    left = {step.name: step for step in steps}
    done: list[Step] = []
    while left:
        ready = [step for step in left.values() if not left.keys() & set(step.after)]
        if not ready:
            raise SpecErrors([_circle(left, document)])
        done.append(ready[0])
        del left[ready[0].name]
    return tuple(done)


def _circle(left: Mapping[str, Step], document: Document) -> SpecError:
    chain = [next(iter(left))]
    while True:
        following = next(name for name in left[chain[-1]].after if name in left)
        if following in chain:
            chain = [*chain[chain.index(following) :], following]
            break
        chain.append(following)
    entries = {entry["name"]: (i, entry) for i, entry in enumerate(document.data[STEPS])}
    # Where the user wrote that one waits: others only use results.
    said = next((name for name in chain if "after" in entries[name][1]), chain[0])
    start = chain.index(said)
    chain = [*chain[start:-1], *chain[:start], said]
    return SpecError(
        f"steps wait for each other in a circle: {' -> '.join(chain)}",
        document.place((STEPS, entries[said][0], "after")),
        fix="One of them must not wait for the next.",
    )


def _in_order(errors: Sequence[SpecError]) -> list[SpecError]:
    return sorted(errors, key=lambda e: (e.place.line, e.place.column))


# --- documents -----------------------------------------------------------------------------------


def _part(document: Document, loc: Loc) -> Document:
    """What stands at a place, as a document of its own."""
    data: Any = document.data
    for key in loc:
        data = data[key]
    return _chosen(document, data, lambda at: at[: len(loc)] == loc, len(loc))


def _shared(document: Document) -> Document:
    """What holds for all steps."""
    own = (STEPS, "name", *NOT_SHARED)
    data = {key: value for key, value in document.data.items() if key not in own}
    return _chosen(document, data, lambda at: not at or at[0] not in own)


def _chosen(document: Document, data: Any, keep: Callable[[Loc], bool], depth: int = 0) -> Document:
    """A copy of a part of a document. depth: how much of its places is left out."""

    def table(of: Mapping[Loc, T]) -> dict[Loc, T]:
        return {at[depth:]: value for at, value in of.items() if keep(at)}

    keys, values, texts = table(document.keys), table(document.values), table(document.texts)
    return Document(document.file, document.raw, deepcopy(data), keys, values, texts)


def _forget(document: Document, key: str) -> None:
    document.data.pop(key, None)
    for loc in [loc for loc in document.values if loc and loc[0] == key]:
        _drop(document, loc)


def _drop(document: Document, loc: Loc) -> None:
    document.keys.pop(loc, None)
    document.values.pop(loc, None)
    document.texts.pop(loc, None)


def _references(data: Mapping[str, Any]) -> Iterator[tuple[Loc, str]]:
    """The paths in results of other steps, with their places."""

    def walk(value: Any, loc: Loc) -> Iterator[tuple[Loc, str]]:
        if isinstance(value, str):
            if value.startswith(REFERENCE):
                yield loc, value
        elif isinstance(value, dict):
            for key, item in value.items():
                if key.startswith(REFERENCE):
                    yield (*loc, key), key
                yield from walk(item, (*loc, key))
        elif isinstance(value, list):
            for i, item in enumerate(value):
                yield from walk(item, (*loc, i))

    for key in _WITH_PATHS:
        yield from walk(data.get(key), (key,))


def _resolved(document: Document, results: Callable[[str], str]) -> Document:
    """The same with paths in place of references."""
    made = _chosen(document, document.data, lambda at: True)

    def path(text: str) -> str:
        name, _, rest = text.removeprefix(REFERENCE).partition("/")
        return f"{results(name)}/{rest}"

    for loc, text in list(_references(document.data)):
        new = path(text)
        holder: Any = made.data
        for key in loc[:-1]:
            holder = holder[key]
        if isinstance(holder, dict) and loc[-1] == text:  # {source: target}
            pairs = [(new if key == text else key, value) for key, value in holder.items()]
            holder.clear()
            holder.update(pairs)
            there = (*loc[:-1], new)
            if loc in made.keys:
                made.keys[there] = made.keys[loc]
            if loc in made.values:
                made.values[there] = made.values[loc]
            if loc in made.texts:
                made.texts[there] = made.texts[loc]
            _drop(made, loc)
        else:
            holder[loc[-1]] = made.texts[loc] = new
    return made
