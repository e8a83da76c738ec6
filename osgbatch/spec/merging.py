"""Merges two documents of settings: what the stronger one says, else what the weaker one says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from osgbatch.errors import SpecError
from osgbatch.names import SWEEP_WORDS
from osgbatch.spec.document import Document, Loc
from osgbatch.submit_language import one_name

PROGRAMS = ("command", "script", "function")
"""What a task runs: whoever says one of them says which."""

SHORT: dict[Loc, str] = {
    ("retries",): "times", ("gpus",): "count", ("requirements",): "expr", ("notify",): "email",
    ("checkpoint",): "files",
}  # fmt: skip
"""What a single value is short for: `retries: 3` is {times: 3}."""

STASH: Loc = ("stash",)
PLACES = ("folder", "s3", "pelican")
"""The keys of which one says where a stash is, and of which kind it is."""

_MISSING = object()


def merge(
    low: Document, high: Document, kind: str, path: tuple[str, ...] = ()
) -> tuple[Document, bool]:
    """The settings of both, `high` winning, each with its place; both documents are used up.

    kind: of the layer that `high` is: a "spec" keeps the `null` that removes nothing, so that it
    is told of; "set" changes the one value at `path`, whatever stands around it.
    Returns also whether the result says anything else than `high`.
    Raises SpecError when `path` leads through a value that has no parts.
    """
    return _Merge(low, high, kind, path).run()


def is_whole(loc: Loc) -> bool:
    """Whether a mapping is one of several ways to say one thing, and therefore is replaced.

    A column's source, an environment, a stash, a resource that is an expression, which sites, what
    gathers.
    """
    if loc in (("environment",), ("gather",), STASH, ("requirements", "sites"), ("gpus", "count")):
        return True
    if len(loc) != 2:
        return False
    return loc[0] == "resources" or (loc[0] == "sweep" and loc[1] not in SWEEP_WORDS)


class _Merge:
    """The work of one merge.

    The places of the smaller document are moved into the larger one's, so that a table of a
    hundred thousand values costs nothing.
    """

    def __init__(self, low: Document, high: Document, kind: str, path: tuple[str, ...]) -> None:
        self.low, self.high = low, high
        self.kind = kind
        self.path = path
        self.into_low = len(low.values) >= len(high.values)
        self.changed = False

    def run(self) -> tuple[Document, bool]:
        _count_gpus_alike(self.low, self.high)
        _count_gpus_alike(self.high, self.low)
        low, high = self.low.data, self.high.data
        if any(high.get(key) is not None for key in PROGRAMS):
            for key in PROGRAMS:
                if key in low and key not in high:
                    low = {name: value for name, value in low.items() if name != key}
                    self._drop((key,), self.low.data[key])
        data = self._mapping(low, high, ())
        target = self.low if self.into_low else self.high
        result = Document(target.file, target.raw, data, target.keys, target.values, target.texts)
        return result, self.changed

    def _mapping(self, low: dict[str, Any], high: dict[str, Any], loc: Loc) -> dict[str, Any]:
        """A mapping of both; keys of `low` stay where they are, new ones come after them."""
        self._both(loc)
        if loc == ("submit",):
            low = self._without_respelt(low, high)
        result = dict(low)
        for key in low:
            if key not in high:
                self._keep((*loc, key), low[key])
        for key, value in high.items():
            here = (*loc, key)
            old = result.get(key, _MISSING)
            if here in SHORT:
                old, value = self._written_out(here, old, value)
            new = self._one(old, value, here)
            if new is _MISSING:
                result.pop(key, None)
            else:
                result[key] = new
        return result

    def _without_respelt(self, low: dict[str, Any], high: dict[str, Any]) -> dict[str, Any]:
        """The weaker one's commands, but for those that the stronger one spells otherwise."""
        again = {one_name(key) for key in high}
        for key in [key for key in low if key not in high and one_name(key) in again]:
            self._drop(("submit", key), low[key])
            low = {name: value for name, value in low.items() if name != key}
        return low

    def _one(self, old: Any, value: Any, here: Loc) -> Any:
        if value is None and (old is not _MISSING or self.kind != "spec"):
            self._drop(here, old)
            _forget(self.high, here, None)
            return _MISSING
        if isinstance(value, dict):
            if is_whole(here):
                old = self._bucket(here, old)
                if self._goes_through(here) and isinstance(old, dict):
                    stays = _stays(here, old, value)
                    for key in [key for key in old if key not in value and not stays]:
                        self._drop((*here, key), old[key])
                    low = {k: v for k, v in old.items() if k in value or stays}
                    return self._mapping(low, value, here)
            elif isinstance(old, dict):
                return self._mapping(old, value, here)
            elif self._goes_through(here) and old is not _MISSING:
                raise self._no_parts(old, here)
            elif self.kind != "spec":
                if old is not _MISSING:
                    self._drop(here, old)
                return self._mapping({}, value, here)
        self._take(here, old, value)
        return value

    def _bucket(self, here: Loc, old: Any) -> Any:
        """`stash: s3://bucket`, which is short for {s3: …}, as keys that a `--set` can join."""
        if here == STASH and self._goes_through(here) and _is_short(old) and old != "none":
            return _long(self.low, here, old, "s3")
        return old

    def _goes_through(self, here: Loc) -> bool:
        """Whether the keys of a `--set` go on below `here`."""
        return len(here) < len(self.path)

    def _no_parts(self, old: Any, here: Loc) -> SpecError:
        name = ".".join(str(part) for part in here)
        part = self.path[len(here)]
        what = f"{name} is {'a list' if isinstance(old, list) else 'one value'} here"
        example = f"--set '{name}=[a, b]'" if isinstance(old, list) else f"--set {name}=VALUE"
        return SpecError(
            f'{what}, and has no part "{part}"',
            self.high.place((*here, part), key=True),
            fix=f"Write {example} to give the whole of it.",
        )

    def _written_out(self, here: Loc, old: Any, value: Any) -> tuple[Any, Any]:
        """Both as mappings where one is and the other is short for one: they can be merged."""
        if isinstance(old, dict) and _is_short(value):
            return old, _long(self.high, here, value)
        if isinstance(value, dict) and _is_short(old):
            return _long(self.low, here, old), value
        return old, value

    # --- the places -------------------------------------------------------------------------

    def _both(self, loc: Loc) -> None:
        """A mapping that both have stands where the stronger has it, but for `--set`."""
        keep_low = self.kind == "set" and loc in self.low.values
        if self.into_low and not keep_low:
            _copy(self.high, self.low, loc)
        elif keep_low and not self.into_low:
            _copy(self.low, self.high, loc)

    def _take(self, loc: Loc, old: Any, value: Any) -> None:
        if self.kind == "set":
            self.changed = True
        if self.into_low:
            _forget(self.low, loc, old)
            _move(self.high, self.low, loc, value)

    def _keep(self, loc: Loc, old: Any) -> None:
        self.changed = True
        if not self.into_low:
            _move(self.low, self.high, loc, old)

    def _drop(self, loc: Loc, old: Any) -> None:
        self.changed = True
        if self.into_low:
            _forget(self.low, loc, old)


def _count_gpus_alike(document: Document, other: Document) -> None:
    """`resources: {gpus: 1}` as gpus: {count: 1}, where the other document says `gpus:`."""
    resources = document.data.get("resources")
    if other.data.get("gpus") is None or "gpus" in document.data or not isinstance(resources, dict):
        return
    if resources.get("gpus") is None:
        return
    count = resources.pop("gpus")
    old: Loc = ("resources", "gpus")
    new: Loc = ("gpus", "count")
    tables: tuple[dict[Loc, Any], ...] = (document.keys, document.values, document.texts)
    for here in list(_locs(old, count)):
        there: Loc = (*new, *here[2:])
        for table in tables:
            if here in table:
                table[there] = table.pop(here)
    document.keys[("gpus",)] = document.keys[new]
    document.values[("gpus",)] = document.values[new]
    document.data["gpus"] = {"count": count}


def _is_short(value: Any) -> bool:
    return value is not _MISSING and value is not None and not isinstance(value, (dict, list))


def _stays(here: Loc, old: dict[str, Any], value: dict[str, Any]) -> bool:
    """Whether a `--set` of one key leaves the others of a mapping that is replaced as a whole.

    So it does in a stash, unless that key makes another kind of stash of it.
    """
    kind = [key for key in PLACES if key in value]
    return here == STASH and (not kind or kind[0] in old or not any(key in old for key in PLACES))


def _long(document: Document, loc: Loc, value: Any, key: str = "") -> dict[str, Any]:
    """`retries: 3` as {times: 3}, where the 3 stands."""
    key = key or SHORT[loc]
    here: Loc = (*loc, key)
    tables: tuple[dict[Loc, Any], ...] = (document.keys, document.values, document.texts)
    for table in tables:
        if loc in table:
            table[here] = table[loc]
    document.texts.pop(loc, None)
    return {key: value}


def _locs(loc: Loc, value: Any) -> Iterator[Loc]:
    """A value's own path and those of all that is in it."""
    yield loc
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _locs((*loc, key), item)
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from _locs((*loc, i), item)


def _forget(document: Document, loc: Loc, value: Any) -> None:
    for here in _locs(loc, value):
        document.keys.pop(here, None)
        document.values.pop(here, None)
        document.texts.pop(here, None)


def _move(source: Document, target: Document, loc: Loc, value: Any) -> None:
    for here in _locs(loc, value):
        _copy(source, target, here)


def _copy(source: Document, target: Document, loc: Loc) -> None:
    if loc in source.keys:
        target.keys[loc] = source.keys[loc]
    if loc in source.values:
        target.values[loc] = source.values[loc]
    if loc in source.texts:
        target.texts[loc] = source.texts[loc]
