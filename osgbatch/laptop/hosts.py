"""The hosts that the user has named in config.yaml: nothing but names, folders and paths."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from osgbatch.errors import OsgbatchError, SpecError
from osgbatch.spec.document import Document, Loc, parse_document
from osgbatch.spec.layers import HOSTS, short_path, user_file

FOLDER = "osgbatch-work"
"""In the home folder there, unless the user names another one."""
_KEYS = ("ssh", "folder", "osgbatch")


@dataclass(frozen=True)
class KnownHost:
    """A host: what the user and ssh call it, the folder for our files there, its osgbatch.

    folder: absolute, or below the home folder there. osgbatch: empty for the one on PATH.
    """

    name: str
    ssh: str
    folder: str = FOLDER
    osgbatch: str = ""


def find_host(name: str) -> KnownHost:
    """The host of a name: one of config.yaml, else what ssh itself knows by it.

    Raises OsgbatchError for what is no name, SpecError for what is wrong in config.yaml.
    """
    _check(name, "--host")
    document = _document()
    entries = document.data.get(HOSTS) if document else None
    if document is None or entries is None:
        return KnownHost(name, name)
    if not isinstance(entries, dict):
        raise SpecError(
            "hosts: should be names with what ssh calls them",
            document.place((HOSTS,)),
            fix="Write hosts: {ap40: alice@ap40.uw.osg-htc.org}.",
        )
    if name not in entries:
        return KnownHost(name, name)
    return _read(name, entries[name], document)


def known_names() -> list[str]:
    """The names in config.yaml; none where it cannot be read."""
    try:
        document = _document()
    except (OsgbatchError, OSError):
        return []
    entries = document.data.get(HOSTS) if document else None
    return [str(name) for name in entries] if isinstance(entries, dict) else []


def _document() -> Document | None:
    path = user_file()
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OsgbatchError(f"cannot be read: {error.strerror}", where=str(path)) from None
    return parse_document(raw, short_path(str(path)), may_be_empty=True)


def _read(name: str, entry: Any, document: Document) -> KnownHost:
    loc: Loc = (HOSTS, name)
    if isinstance(entry, str):
        entry = {"ssh": entry}
    if not isinstance(entry, dict):
        fix = f"Write {name}: alice@ap40.uw.osg-htc.org."
        raise SpecError(f"hosts.{name} should be what ssh calls it", document.place(loc), fix=fix)
    for key, value in entry.items():
        if key not in _KEYS:
            near = get_close_matches(str(key), _KEYS, 1)
            what = f'unknown key "{key}"' + (f'; did you mean "{near[0]}"?' if near else "")
            fix = f"Known are {', '.join(_KEYS)}. Passwords and codes are asked for by ssh."
            raise SpecError(what, document.place((*loc, key), key=True), fix=fix)
        if not isinstance(value, str) or not value.strip() or "\0" in value:
            raise SpecError(f"hosts.{name}.{key} should be a text", document.place((*loc, key)))
    ssh = str(entry.get("ssh", name))
    try:
        _check(ssh, f"hosts.{name}.ssh")
    except OsgbatchError as error:
        raise SpecError(error.what, document.place((*loc, "ssh")), fix=error.fix) from None
    folder = str(entry.get("folder", FOLDER))
    return KnownHost(name, ssh, folder.removeprefix("~/") or ".", str(entry.get("osgbatch", "")))


def _check(name: str, where: str) -> None:
    """Refuse what ssh would take for an option, and what can be no host's name."""
    plain = name.isprintable() and not any(c.isspace() or c in "'\"\\`$;&|<>(){}*?" for c in name)
    if not name or name.startswith("-") or not plain:
        raise OsgbatchError(
            f"{name!r} is no name of a host",
            where=where,
            fix="Write --host ap40, or --host alice@ap40.uw.osg-htc.org.",
        )
