"""What is known of a pool: its profile, by name, by a path, or by the access point's host name."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from osgbatch.errors import OsgbatchError, SpecError, SpecErrors
from osgbatch.spec import units
from osgbatch.spec.document import Document, parse_document
from osgbatch.spec.series import suggest
from osgbatch.spec.stashes import stash_url_fault
from osgbatch.spec_model import Place, Profile, Stash

DATA = Path(__file__).parent.parent / "profiles"
"""One YAML file per pool that osgbatch knows."""

GENERIC = "generic"


@dataclass(frozen=True)
class PoolProfile:
    """A profile's file, read.

    facts: what the rest of osgbatch goes by; title: the pool's name for people; hosts: regular
    expressions of its access points' names; document: its `defaults:`, settings of a spec.
    path: the file. whole: all of it, as it was written. projects: the file on its access points
    that tells each user's projects; empty where jobs need none.
    """

    facts: Profile
    title: str
    hosts: tuple[str, ...]
    document: Document
    path: Path
    whole: Document
    projects: str = ""


def known_profiles() -> list[str]:
    """The names of the profiles that come with osgbatch, sorted."""
    return sorted(path.stem for path in DATA.glob("*.yaml"))


def is_profile_path(text: str) -> bool:
    """Whether a profile is named by its file rather than by its name."""
    return "/" in text or text.endswith((".yaml", ".yml"))


def known_profile(name: str) -> PoolProfile:
    """A profile that comes with osgbatch. Raises OsgbatchError, with the nearest, if none does."""
    known = known_profiles()
    if name not in known:
        raise OsgbatchError(
            f'unknown profile "{name}"{suggest(name, known)}',
            fix=f"Known are {', '.join(known)}; ./mypool.yaml would be a file of yours.",
        )
    return _read(DATA / f"{name}.yaml", f"profile {name}")


def profile_file(path: Path, file: str) -> PoolProfile:
    """A profile of the user's own; file: its name in errors.

    Raises OsgbatchError when it cannot be read, SpecErrors with all that is wrong in it.
    """
    return _read(path, file)


def profile_by_host(names: Iterable[str] = ()) -> str:
    """The profile that knows this machine as an access point of its pool, else `generic`.

    names: of the machine, by default what it calls itself.
    """
    known = access_point(names)
    return known.profile.facts.name if known else GENERIC


@dataclass(frozen=True)
class AccessPoint:
    """This machine is an access point of a pool: by which of its names, and which pattern."""

    profile: PoolProfile
    host: str
    pattern: str


def access_point(names: Iterable[str] = ()) -> AccessPoint | None:
    """The profile that knows this machine as an access point of its pool; None where none does.

    names: of the machine, by default what it calls itself.
    """
    names = tuple(names) or host_names()
    for profile in map(known_profile, known_profiles()):
        for pattern in profile.hosts:
            for host in names:
                if re.fullmatch(pattern, host, re.I):
                    return AccessPoint(profile, host, pattern)
    return None


@lru_cache(maxsize=1)
def host_names() -> tuple[str, ...]:
    """What this machine calls itself, with the domain that its resolver adds to short names.

    The name service is never asked: a silent one would make every command wait.
    """
    name = socket.gethostname()
    if "." in name:
        return (name,)
    return (name, *(f"{name}.{domain}" for domain in _domains(Path("/etc/resolv.conf"))))


def _domains(resolv_conf: Path) -> list[str]:
    """The domains of this machine. Source: resolv.conf(5), `domain` and `search`."""
    try:
        lines = resolv_conf.read_text(errors="replace").splitlines()
    except OSError:
        return []
    words = [line.split() for line in lines]
    return [d for line in words if line and line[0] in ("domain", "search") for d in line[1:]]


# --- the file ---------------------------------------------------------------------------------


def _read(path: Path, file: str) -> PoolProfile:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise OsgbatchError(f"cannot read the profile: {error.strerror}", where=file) from None
    return _Reader(parse_document(raw, file, may_be_empty=True), path).read()


class _Reader:
    def __init__(self, document: Document, path: Path) -> None:
        self.document = document
        self.path = path
        self.errors: list[SpecError] = []

    def read(self) -> PoolProfile:
        kinds: dict[str, Callable[[str, Any], Any]] = {
            "title": self._text, "hosts": self._patterns, "defaults": self._defaults,
            "input_size": self._size, "stash_size": self._size, "shared_size": self._size,
            "stash": self._stash, "quotas": self._commands, "many_jobs": self._count,
            "max_idle": self._count, "longest": self._time, "home": self._text,
            "glideins": self._flag, "avoid": self._attribute, "releases": self._count,
            "release_after": self._time, "bad_starts": self._count, "projects": self._text,
        }  # fmt: skip
        fields = {
            "input_size": "input_bytes", "stash_size": "stash_bytes", "shared_size": "shared_bytes",
            "longest": "longest_s", "release_after": "release_after_s",
        }  # fmt: skip
        found: dict[str, Any] = {}
        for key, value in self.document.data.items():
            if key not in kinds:
                fix = f"Known are {', '.join(kinds)}."
                what = f'unknown key "{key}" in a profile{suggest(key, [*kinds])}'
                self._fail(what, self.document.place((key,), key=True), fix)
            elif value is not None:
                found[fields.get(key, key)] = kinds[key](key, value)
        if self.errors:
            raise SpecErrors(self.errors)
        title = found.pop("title", self.path.stem)
        hosts = found.pop("hosts", ())
        defaults = found.pop("defaults", None) or _inner(self.document, "defaults", {})
        projects = found.pop("projects", "")
        facts = Profile(self.path.stem, **found)
        return PoolProfile(facts, title, hosts, defaults, self.path, self.document, projects)

    def _fail(self, what: str, place: Place, fix: str = "") -> None:
        self.errors.append(SpecError(what, place, fix=fix))

    def _wrong(self, key: str, what: str, fix: str = "") -> None:
        self._fail(f"{key}: {what}", self.document.place((key,)), fix)

    def _text(self, key: str, value: Any) -> str:
        if not isinstance(value, str):
            self._wrong(key, "should be text")
            return ""
        return "" if value == "none" else value

    def _attribute(self, key: str, value: Any) -> str:
        """`none`, or the name of an attribute of slots."""
        text = self._text(key, value)
        if text and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text):
            self._wrong(key, "should be none, or the name of an attribute", "Write Machine.")
        return text

    def _stash(self, key: str, value: Any) -> Stash:
        """`none`, or a folder and the URL that serves it."""
        if value == "none":
            return Stash()
        if not isinstance(value, dict) or set(value) != {"folder", "url"}:
            self._wrong(key, "should be none, or the two keys folder and url")
            return Stash()
        texts = {part: self._text(key, text) for part, text in value.items()}
        what, _ = stash_url_fault(texts["url"])
        if what:
            self._wrong(key, what)
        return Stash("folder", texts["url"], texts["folder"], place=self.document.place((key,)))

    def _commands(self, key: str, value: Any) -> tuple[tuple[str, str], ...]:
        """Commands by what they tell of: home, stash."""
        names = ("home", "stash")
        if not isinstance(value, dict):
            self._wrong(key, f"should be commands by the names {' and '.join(names)}")
            return ()
        for name in set(value) - set(names):
            near = suggest(str(name), [*names])
            fix = "" if near else f"Known are {' and '.join(names)}."
            place = self.document.place((key, name), key=True)
            self._fail(f'{key}: unknown name "{name}"{near}', place, fix)
        return tuple((name, self._text(key, command)) for name, command in value.items())

    def _flag(self, key: str, value: Any) -> bool:
        if not isinstance(value, bool):
            self._wrong(key, "should be true or false")
        return bool(value)

    def _count(self, key: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            self._wrong(key, "should be a whole number, 0 for no limit")
            return 0
        return value

    def _size(self, key: str, value: Any) -> int:
        return self._unit(key, value, units.size_bytes)

    def _time(self, key: str, value: Any) -> int:
        return self._unit(key, value, units.seconds)

    def _unit(self, key: str, value: Any, parse: Callable[[str], int]) -> int:
        if value == "none":
            return 0
        try:
            return parse(self.document.texts.get((key,), ""))
        except units.UnitError as error:
            self._wrong(key, str(error), "none stands for no limit.")
            return 0

    def _patterns(self, key: str, value: Any) -> tuple[str, ...]:
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            self._wrong(key, "should be a list of host names")
            return ()
        for i, item in enumerate(value):
            try:
                re.compile(item)
            except re.error as error:
                self._fail(f"not a regular expression: {error}", self.document.place((key, i)))
        return tuple(value)

    def _defaults(self, key: str, value: Any) -> Document | None:
        if not isinstance(value, dict):
            self._wrong(key, "should be settings of a sweep.yaml")
            return None
        return _inner(self.document, key, value)


def _inner(document: Document, key: str, value: dict[str, Any]) -> Document:
    """The part of a document below a key, as one of its own."""

    def below(entries: dict[Any, Any]) -> dict[Any, Any]:
        return {loc[1:]: entry for loc, entry in entries.items() if loc[:1] == (key,)}

    keys = below(document.keys)
    keys.pop((), None)
    values = {(): document.place((key,)), **below(document.values)}
    return Document(document.file, b"", value, keys, values, below(document.texts))


def environment_profile() -> str:
    """What $OSGBATCH_PROFILE says; empty when it says nothing."""
    return os.environ.get("OSGBATCH_PROFILE", "")
