"""Layered settings: the defaults, what a spec extends, the spec and `--set`, as one document."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from osgbatch import personal_pool, places
from osgbatch.errors import OsgbatchError, SpecError, SpecErrors
from osgbatch.spec import profiles
from osgbatch.spec.document import Document, Loc, parse_document, parse_setting, read_document
from osgbatch.spec.merging import merge
from osgbatch.spec.rebasing import rebase
from osgbatch.spec.writing import effective_text
from osgbatch.spec_model import Place, Profile

SET = "--set"
"""What stands for the file's name in places of settings that the command line gave."""
HOSTS = "hosts"
"""In the user's config.yaml: whom `--host` may name; it is no setting of a sweep."""

_OF_ONE_SWEEP = ("command", "script", "function", "sweep", "name", "inputs", "files", "extends")
"""What defaults for many sweeps cannot say."""
_MAX_BASES = 100
_Path = tuple[str, ...]


@dataclass(frozen=True)
class Layer:
    """One of the things that settings come from.

    kind: "profile", "class", "user", "base", "spec" or "set"; file: its name in places.
    """

    kind: str
    file: str


@dataclass(frozen=True)
class Layered:
    """A spec with all that it extends and the defaults.

    document: the settings that hold, each with the place that says so; its `raw` is the spec's
    bytes, or, where other layers had something to say, a text of the same settings.
    layers: weakest first.
    """

    document: Document
    profile: Profile
    layers: tuple[Layer, ...]


@dataclass(frozen=True)
class _Read:
    """A layer with its content; folder: the real one, that its paths start from."""

    layer: Layer
    document: Document
    folder: Path
    path: _Path = ()


def read_layers(
    path: Path, settings: Sequence[str] = (), copy: Path | bytes | None = None
) -> Layered:
    """Read a spec and merge it with what comes before and after it.

    path: the sweep.yaml; settings: of the command line, `resources.memory=4GB`, in their order.
    copy: read in place of path, where that is gone; bytes: its text, of what is no file at all.
    Raises OsgbatchError when a file cannot be read, SpecError or SpecErrors, with the places, for
    what is wrong in one of them.
    """
    if isinstance(copy, bytes):
        document, copy = parse_document(copy, path.name), None
    else:
        document = read_document(copy or path)
    return _layered(_Read(Layer("spec", str(copy or path)), document, _folder(path)), settings)


def read_defaults(folder: Path, settings: Sequence[str] = ()) -> Layered:
    """What would hold for a spec that says nothing. folder: where it would lie. Raises as above."""
    nothing = Document(str(folder), b"", {}, {}, {}, {})
    return _layered(_Read(Layer("spec", str(folder)), nothing, folder.resolve()), settings)


def read_given(document: Document, folder: Path, settings: Sequence[str] = ()) -> Layered:
    """The same, of a document that is in no file. folder: where its relative paths start."""
    return _layered(_Read(Layer("spec", document.file), document, folder.resolve()), settings)


def _layered(spec: _Read, settings: Sequence[str]) -> Layered:
    errors: list[SpecError] = []
    extends = "extends" in spec.document.data
    bases = _Bases(errors).of(spec, (os.path.realpath(spec.layer.file),))
    own = _defaults("class", os.environ.get("OSGBATCH_DEFAULTS", ""), errors)
    users = _defaults("user", str(user_file()), errors)
    given = _settings(settings, spec.folder, errors)
    if errors:
        raise SpecErrors(errors)
    layers = [*own, *users, *bases, spec, *given]
    pool = _profile(layers)
    if pool.document.data:
        layer = Layer("profile", pool.document.file)
        layers.insert(0, _Read(layer, pool.document, _folder(pool.path)))
        _refuse(layers[0].document, layer, errors)
        if errors:
            raise SpecErrors(errors)
    document, changed = _merged(layers, spec)
    if changed or extends:
        document = replace(document, raw=effective_text(document, [*map(_origin, layers)]))
    return Layered(document, pool.facts, tuple(read.layer for read in layers))


def _origin(read: _Read) -> str:
    """A layer for people; what the command line said is said again."""
    if read.layer.kind != "set":
        return read.layer.file
    return f"{SET} {read.document.raw.decode('utf-8', 'replace')}"


def _merged(layers: list[_Read], spec: _Read) -> tuple[Document, bool]:
    """All layers as one document, and whether it says anything else than the spec does."""
    if len(layers) == 1:
        return spec.document, False
    result = Document(spec.document.file, spec.document.raw, {}, {}, {}, {})
    changed = False
    for read in layers:
        rebase(read.document, read.folder, spec.folder)
        result, more = merge(result, read.document, read.layer.kind, read.path)
        changed = changed or (more and read.layer.kind in ("spec", "set"))
    return replace(result, file=spec.document.file, raw=spec.document.raw), changed


def _folder(path: Path) -> Path:
    """The real folder of a file: a `..` in a path must lead where the file system says."""
    return path.absolute().parent.resolve()


# --- what a spec extends -----------------------------------------------------------------------


class _Bases:
    """Reads what `extends:` names; mistakes are added to `errors`."""

    def __init__(self, errors: list[SpecError]) -> None:
        self.errors = errors
        self.count = 0

    def of(self, read: _Read, chain: tuple[str, ...]) -> list[_Read]:
        """The bases of a file, weakest first; chain: the real paths that led here, itself last."""
        found: list[_Read] = []
        for text, loc in self._entries(read.document):
            found += self._base(text, loc, read, chain)
        _forget(read.document, "extends")
        return found

    def _entries(self, document: Document) -> list[tuple[Any, Loc]]:
        value = document.data.get("extends")
        if value is None:
            return []
        entries: list[tuple[Any, Loc]] = [(value, ("extends",))]
        if isinstance(value, list):
            entries = [(item, ("extends", i)) for i, item in enumerate(value)]
        return entries

    def _base(self, text: Any, loc: Loc, read: _Read, chain: tuple[str, ...]) -> list[_Read]:
        if not isinstance(text, str) or not text.strip() or "\0" in text:
            what = "extends: should be the path of another sweep.yaml, or a list of paths"
            self._fail(what, read.document, loc, "Write extends: base.yaml.")
            return []
        path = _beside(Path(read.document.file).parent, text)
        real = os.path.realpath(path)
        if real in chain:
            links = [os.path.basename(link) for link in (*chain[chain.index(real) :], real)]
            what = f"extends leads back to where it came from: {' -> '.join(links)}"
            self._fail(what, read.document, loc, "One of them must not extend the other.")
            return []
        self.count += 1
        if self.count > _MAX_BASES:
            if self.count == _MAX_BASES + 1:
                self._fail(f"more than {_MAX_BASES} files are extended", read.document, loc)
            return []
        try:
            raw = path.read_bytes()
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            fix = f"Paths start from the folder of the file that names them, {read.folder}."
            self._fail(f'cannot read "{text}": {why}', read.document, loc, fix)
            return []
        document = parse_document(raw, str(path), may_be_empty=True)
        base = _Read(Layer("base", str(path)), document, _folder(path))
        return [*self.of(base, (*chain, real)), base]

    def _fail(self, what: str, document: Document, loc: Loc, fix: str = "") -> None:
        self.errors.append(SpecError(what, document.place(loc), fix=fix))


def _beside(folder: Path, text: str) -> Path:
    """A path in a folder, without `x/..` in it where that is the same file."""
    path = folder / text
    plain = os.path.normpath(path)
    return Path(plain) if os.path.realpath(plain) == os.path.realpath(path) else path


def _forget(document: Document, key: str) -> None:
    value = document.data.pop(key, None)
    for i in range(len(value) if isinstance(value, list) else 0):
        for entries in (document.values, document.texts):
            entries.pop((key, i), None)
    for entries in (document.keys, document.values, document.texts):
        entries.pop((key,), None)


# --- defaults of the class, of the user, of the pool ----------------------------------------------


def _defaults(kind: str, name: str, errors: list[SpecError]) -> list[_Read]:
    """The defaults in a file; none when there is none of the user, or none is named."""
    if not name:
        return []
    path = Path(name)
    try:
        raw = path.read_bytes()
    except FileNotFoundError as error:
        if kind == "user":
            return []
        raise _unreadable(kind, name, error) from None
    except (OSError, ValueError) as error:
        raise _unreadable(kind, name, error) from None
    layer = Layer(kind, short_path(name))
    document = parse_document(raw, layer.file, may_be_empty=True)
    if kind == "user":
        _forget(document, HOSTS)
    _refuse(document, layer, errors)
    return [_Read(layer, document, _folder(path))] if document.data else []


def _unreadable(kind: str, name: str, error: Exception) -> OsgbatchError:
    why = getattr(error, "strerror", None) or str(error)
    whose = "the class's defaults" if kind == "class" else "your defaults"
    fix = "$OSGBATCH_DEFAULTS names this file: correct it, or unset it." if kind == "class" else ""
    if fix and not os.path.isabs(name):
        whole = os.path.expanduser(name) if name.startswith("~") else ""
        fix = f"$OSGBATCH_DEFAULTS needs its whole path{f', {whole}' if whole else ''}."
    return OsgbatchError(f"cannot read {whose}: {why}", where=name, fix=fix)


def _refuse(document: Document, layer: Layer, errors: list[SpecError]) -> None:
    """Complain of what defaults for many sweeps cannot say."""
    for key in document.data:
        if key in _OF_ONE_SWEEP or (layer.kind == "profile" and key == "profile"):
            whose = {"user": "your defaults", "class": "the class's defaults"}
            errors.append(
                SpecError(
                    f'"{key}" cannot stand in {whose.get(layer.kind, "the defaults of a profile")}',
                    document.place((key,), key=True),
                    fix="It belongs into a sweep.yaml, or into a file that one extends.",
                )
            )


def user_file() -> Path:
    """`$XDG_CONFIG_HOME/osgbatch/config.yaml`: the user's own defaults."""
    return places.config_folder() / "config.yaml"


def short_path(name: str) -> str:
    """A path as people write it: `~/.config/osgbatch/config.yaml`."""
    home = os.environ.get("HOME", "")
    inside = len(home) > 1 and name.startswith(home.rstrip("/") + "/")
    return "~" + name[len(home.rstrip("/")) :] if inside else name


def _profile(layers: list[_Read]) -> profiles.PoolProfile:
    return _chosen(layers)[0]


def chosen_profile(folder: Path) -> tuple[profiles.PoolProfile, str]:
    """The profile that a spec in a folder has if it names none, and by what. Raises as above."""
    errors: list[SpecError] = []
    own = _defaults("class", os.environ.get("OSGBATCH_DEFAULTS", ""), errors)
    users = _defaults("user", str(user_file()), errors)
    if errors:
        raise SpecErrors(errors)
    return _chosen([*own, *users])


def _chosen(layers: list[_Read]) -> tuple[profiles.PoolProfile, str]:
    """The pool's profile: of the strongest layer that names one, of the variable, by host name.

    With it, by what it was chosen, for people.
    """
    for read in reversed(layers):
        name = read.document.data.get("profile")
        if name is None and "profile" not in read.document.data:
            continue
        if name is None:
            break
        place = read.document.place(("profile",))
        if not isinstance(name, str) or not name.strip():
            what = "profile: should be the name of a pool's profile, or the path of its file"
            raise SpecError(what, place, fix="Write profile: ospool, or profile: ./mypool.yaml.")
        try:
            if profiles.is_profile_path(name):
                path = read.folder / name
                found = profiles.profile_file(path, _named(path, read))
            else:
                found = profiles.known_profile(name)
        except SpecErrors:
            raise
        except OsgbatchError as error:
            fix = error.fix
            if not fix and profiles.is_profile_path(name):
                fix = f"Paths start from the folder of the file that names them, {read.folder}."
            raise SpecError(error.what, place, fix=fix) from None
        return found, f"{short_path(place.file)}:{place.line}"
    name = profiles.environment_profile()
    if not name:
        known = profiles.access_point()
        if known:
            return known.profile, f"the host name {known.host}"
        if personal_pool.use():
            return profiles.known_profile("personal"), "your personal pool"
        return profiles.known_profile(profiles.GENERIC), "default: no profile knows this host"
    try:
        if profiles.is_profile_path(name):
            return profiles.profile_file(Path(name), name), "$OSGBATCH_PROFILE"
        return profiles.known_profile(name), "$OSGBATCH_PROFILE"
    except SpecErrors:
        raise
    except OsgbatchError as error:
        raise OsgbatchError(error.what, where="$OSGBATCH_PROFILE", fix=error.fix) from None


def _named(path: Path, read: _Read) -> str:
    """A profile's file as the user would name it."""
    if read.layer.kind == "set":
        return os.path.relpath(path)
    return str(_beside(Path(read.document.file).parent, read.document.data["profile"]))


# --- the command line -------------------------------------------------------------------------


def _settings(settings: Sequence[str], folder: Path, errors: list[SpecError]) -> list[_Read]:
    """What `--set` gave, in its order; paths in it start from the spec's folder."""
    found: list[_Read] = []
    for text in settings:
        try:
            path, start = _path(text)
            document = parse_setting(text, start, path, SET)
            found.append(_Read(Layer("set", SET), document, folder, path))
        except SpecError as error:
            errors.append(error)
    return found


def _path(text: str) -> tuple[_Path, int]:
    """The keys of a setting, and where its value begins."""
    left, equals, value = text.partition("=")
    if not equals:
        raise _wrong(text, "a setting is KEY=VALUE", 0, len(text), "--set resources.memory=4GB")
    if not value.strip():
        fix = f"{left}=null to remove the setting, {left}='\"\"' to make it empty"
        raise _wrong(text, f'no value for "{left.strip()}"', 0, len(text), fix)
    key = left.strip()
    parts = key.split(".")
    # The names of submit commands may hold dots themselves: MY.Attribute.
    path = ("submit", key[len("submit.") :]) if key.startswith("submit.") else tuple(parts)
    start = left.find(key)
    for part in path:
        if not part.strip():
            raise _wrong(
                text, "an empty name in the key", 0, len(left), "--set resources.memory=4GB"
            )
        if path[0] != "submit" and (part.isdigit() or "[" in part):
            top = path[0].split("[")[0]
            what = "one entry of a list cannot be set"
            raise _wrong(text, what, start, len(part), f"--set '{top}=[a, b]' gives the whole list")
        start += len(part) + 1
    return path, len(left) + 1


def _wrong(text: str, what: str, start: int, width: int, example: str) -> SpecError:
    return SpecError(what, Place(SET, 1, start + 1, text, max(1, width)), fix=f"Write {example}.")
