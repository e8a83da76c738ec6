"""Passwords and tokens of private channels: found where conda has them, written down nowhere."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from osgbatch.urls import without_login

DEFAULTS = ("main", "r")
"""What conda's word "defaults" stands for, by the names that anaconda.org has for them."""
USUAL_ALIAS = "https://conda.anaconda.org"
LOGIN_FIX = (
    "It wants a login, or another one: `machine HOST login NAME password WORD` in ~/.netrc, or the "
    "channel's address with its token in ~/.condarc."
)


@dataclass(frozen=True)
class ChannelNames:
    """What names of channels mean, by conda's settings; without any, what they mean to everybody.

    alias: the address that a bare name is below. custom: name → address that it is below. multi:
    name → the channels that it stands for.
    """

    alias: str = ""
    custom: Mapping[str, str] = field(default_factory=dict)
    multi: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: {"defaults": DEFAULTS})

    def channels(self, name: str) -> tuple[str, ...]:
        """The channels that a name stands for: addresses, or names that anaconda.org knows.

        Source: conda's manual, settings channel_alias, custom_channels, custom_multichannels and
        default_channels.
        """
        if self.multi.get(name) == DEFAULTS:  # not below the alias
            return DEFAULTS
        if name in self.multi:
            return tuple(self._one(one) for one in self.multi[name])
        return (self._one(name),)

    def _one(self, name: str) -> str:
        if "://" in name:
            return name
        for start in (name[:end] for end in range(len(name), 0, -1) if f"{name}/"[end] == "/"):
            if start in self.custom:
                return f"{self.custom[start].rstrip('/')}/{name}"
        return f"{self.alias}/{name}" if self.alias else name


def channel_names() -> ChannelNames:
    """What the user's conda settings make of the names of channels."""
    alias, custom = "", dict[str, str]()
    multi: dict[str, tuple[str, ...]] = {}
    for said in _settings_files():
        if not isinstance(said, dict):
            continue
        found = said.get("channel_alias")
        alias = alias or (found if isinstance(found, str) else "")
        for name, address in _pairs(said.get("custom_channels")):
            if isinstance(address, str):
                custom.setdefault(name, address)
        usual = said.get("default_channels")
        for name, listed in [*_pairs(said.get("custom_multichannels")), ("defaults", usual)]:
            if isinstance(listed, list):
                multi.setdefault(name, tuple(map(str, listed)))
    alias = "" if alias.rstrip("/") == USUAL_ALIAS else alias.rstrip("/")
    return ChannelNames(alias, custom, {"defaults": DEFAULTS} | multi)


def _pairs(said: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(said, dict):
        yield from ((str(name), value) for name, value in said.items())


def secret_addresses(channels: Iterable[str]) -> tuple[str, ...]:
    """The addresses with a password or a token among some channels, then those of the user's conda.

    rattler itself looks into $RATTLER_AUTH_FILE, the keyring, ~/.rattler/credentials.json and
    ~/.netrc (py-rattler 0.28).
    """
    found = (*channels, *_condarc())
    return tuple(dict.fromkeys(one for one in found if without_login(one) != one))


def with_secrets(address: str, known: Iterable[str]) -> str:
    """An address with the password or the token of the channel that it lies in, if one is known.

    known: addresses that have them.
    """
    if without_login(address) != address:
        return address
    for one in known:
        top = without_login(one).rstrip("/")
        if "?" in one:  # a key in the query: what would lie below is no address
            continue
        if address == top or address.startswith(f"{top}/"):
            return one.rstrip("/") + address[len(top) :]
    return address


def login_advice(said: str) -> str:
    """What to do about a channel that refuses us; empty when that is not what was said."""
    return LOGIN_FIX if any(code in said for code in ("401", "403")) else ""


def _condarc() -> Iterator[str]:
    """Every address in conda's settings."""
    for said in _settings_files():
        yield from _texts(said)


def _settings_files() -> Iterator[Any]:
    """What stands in conda's settings, the file that counts most first.

    Source: conda's manual, "searching for .condarc".
    """
    home = Path(os.environ.get("HOME") or "/nowhere")
    config = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    named = os.environ.get("CONDARC") or os.environ.get("MAMBARC")
    places = [Path(named)] if named else []
    places += [home / ".mambarc", home / ".condarc", home / ".conda/.condarc"]
    places += [config / "conda/.condarc", Path("/etc/conda/.condarc")]
    for place in places:
        try:
            text = place.read_text(encoding="utf-8")
            yield yaml.safe_load(os.path.expandvars(text))
        except (OSError, ValueError, yaml.YAMLError):
            continue


def _texts(said: Any) -> Iterator[str]:
    if isinstance(said, str) and "://" in said:
        yield said
    elif isinstance(said, list):
        for one in said:
            yield from _texts(one)
    elif isinstance(said, dict):
        for one in said.values():
            yield from _texts(one)
