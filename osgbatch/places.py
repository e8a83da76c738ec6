"""Where things are that are no batch: the user's cache, state and settings, the templates."""

from __future__ import annotations

import os
import pwd
from pathlib import Path


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/osgbatch`: environments that are packed once."""
    return _base("XDG_CACHE_HOME", ".cache") / "osgbatch"


def state_folder() -> Path:
    """`$XDG_STATE_HOME/osgbatch`: the registry of batches."""
    return _base("XDG_STATE_HOME", ".local/state") / "osgbatch"


def config_folder() -> Path:
    """`$XDG_CONFIG_HOME/osgbatch`: the user's own defaults."""
    return _base("XDG_CONFIG_HOME", ".config") / "osgbatch"


def template_folder() -> Path:
    """The templates: in the wheel, or in the checkout that osgbatch runs from."""
    package = Path(__file__).parent
    shipped = package / "_templates"
    return shipped if shipped.is_dir() else package.parent / "templates"


def _base(variable: str, below_home: str) -> Path:
    """A base folder; an empty HOME is none, then the password database knows the home.

    Source: XDG Base Directory Specification: an unset or empty variable means the default, and a
    relative path is ignored.
    """
    given = os.environ.get(variable, "")
    if given.startswith("/"):
        return Path(given)
    home = os.environ.get("HOME") or _home_by_account()
    return Path(home) / below_home


def _home_by_account() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:  # a user without an account, as in a container
        return f"/tmp/osgbatch-{os.getuid()}"
