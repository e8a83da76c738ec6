"""Environments: what a spec names → an archive that starts on any execution point."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from osgbatch.model import Environment
from osgbatch.packing.environment.build import (
    cached_environment,
    environment_archive,
    environment_fingerprint,
)
from osgbatch.packing.environment.cache import EnvironmentArchive

__all__ = [
    "EnvironmentArchive",
    "cached_environment",
    "environment_archive",
    "environment_fingerprint",
    "known_environment",
    "packed_environment",
]

Say = Callable[[str], None]


def known_environment(wanted: Environment, folder: Path, cache: Path) -> EnvironmentArchive | None:
    """The environment that was packed before; None when it was not, or none is to be packed.

    folder: the spec's, where paths start. Raises PackingError when what it names cannot be read.
    """
    if wanted.path is None or wanted.kind != "requirements":
        return None
    return cached_environment(environment_fingerprint(folder / wanted.path.text), cache)


def packed_environment(
    wanted: Environment, folder: Path, cache: Path, say: Say
) -> EnvironmentArchive | None:
    """The environment of a spec, from the cache or made now; None when none is to be packed.

    say: called with one line per thing that takes time. Raises PackingError; the cache is then as
    it was.
    """
    if wanted.path is None or wanted.kind != "requirements":
        return None
    return environment_archive(folder / wanted.path.text, cache, say)
