"""Passwords and tokens of private channels: found where conda has them, written down nowhere."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from osgbatch.packing.environment.conda_files import without_secrets

LOGIN_FIX = (
    "It wants a login, or another one: `machine HOST login NAME password WORD` in ~/.netrc, or the "
    "channel's address with its token in ~/.condarc."
)


def secret_addresses(channels: Iterable[str]) -> tuple[str, ...]:
    """The addresses with a password or a token among some channels, then those of the user's conda.

    rattler itself looks into $RATTLER_AUTH_FILE, the keyring, ~/.rattler/credentials.json and
    ~/.netrc (py-rattler 0.28).
    """
    found = (*channels, *_condarc())
    return tuple(dict.fromkeys(one for one in found if without_secrets(one) != one))


def with_secrets(address: str, known: Iterable[str]) -> str:
    """An address with the password or the token of the channel that it lies in, if one is known.

    known: addresses that have them.
    """
    if without_secrets(address) != address:
        return address
    for one in known:
        top = without_secrets(one).rstrip("/")
        if address == top or address.startswith(f"{top}/"):
            return one.rstrip("/") + address[len(top) :]
    return address


def login_advice(said: str) -> str:
    """What to do about a channel that refuses us; empty when that is not what was said."""
    return LOGIN_FIX if any(code in said for code in ("401", "403")) else ""


def _condarc() -> Iterator[str]:
    """Every address in conda's settings. Source: conda's manual, "searching for .condarc"."""
    home = Path(os.environ.get("HOME") or "/nowhere")
    config = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    named = os.environ.get("CONDARC") or os.environ.get("MAMBARC")
    places = [Path(named)] if named else []
    places += [config / "conda/.condarc", home / ".conda/.condarc", home / ".condarc"]
    places += [home / ".mambarc", Path("/etc/conda/.condarc")]
    for place in places:
        try:
            said = yaml.safe_load(place.read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError):
            continue
        yield from _texts(said)


def _texts(said: Any) -> Iterator[str]:
    if isinstance(said, str) and "://" in said:
        yield said
    elif isinstance(said, list):
        for one in said:
            yield from _texts(one)
    elif isinstance(said, dict):
        for one in said.values():
            yield from _texts(one)
