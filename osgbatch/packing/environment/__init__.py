"""Environments: what a spec names → an archive that starts on any execution point."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from osgbatch.packing.environment.build import (
    cached_environment,
    environment_archive,
    environment_fingerprint,
)
from osgbatch.packing.environment.cache import EnvironmentArchive
from osgbatch.packing.environment.standalone import NotYetError
from osgbatch.packing.tree import absolute
from osgbatch.spec_model import Environment

__all__ = [
    "EnvironmentArchive",
    "cached_environment",
    "environment_archive",
    "environment_fingerprint",
    "known_environment",
    "packed_environment",
    "with_channels_from",
]

Say = Callable[[str], None]


def with_channels_from(wanted: Environment, folder: Path) -> Environment:
    """The same with the folders among its channels as whole paths. folder: where they start."""
    channels = [
        str(absolute(folder / Path(one).expanduser())) if one.startswith((".", "~")) else one
        for one in wanted.channels
    ]
    return replace(wanted, channels=tuple(channels))


def known_environment(wanted: Environment, folder: Path, cache: Path) -> EnvironmentArchive | None:
    """The environment that was packed before; None when it was not, or none is to be packed.

    folder: the spec's, where paths start. Raises PackingError when what it names cannot be read.
    """
    if wanted.path is not None and wanted.kind == "conda":
        from osgbatch.packing.environment.conda import cached_conda

        file = folder / Path(wanted.path.text).expanduser()
        return cached_conda(with_channels_from(wanted, folder), file, cache)
    if wanted.path is None:
        return None
    path = folder / Path(wanted.path.text).expanduser()
    if wanted.kind == "requirements":
        try:
            return cached_environment(environment_fingerprint(path, wanted), cache)
        except NotYetError:
            return None
    if wanted.kind == "prefix":
        from osgbatch.packing.environment.prefix import prefix_fingerprint

        return cached_environment(prefix_fingerprint(wanted, path), cache)
    if wanted.kind == "archive":
        from osgbatch.packing.environment.given import given_fingerprint

        return cached_environment(given_fingerprint(wanted, path), cache)
    return None


def packed_environment(
    wanted: Environment, folder: Path, cache: Path, say: Say
) -> EnvironmentArchive | None:
    """The environment of a spec, from the cache or made now; None when none is to be packed.

    say: called with one line per thing that takes time. Raises PackingError; the cache is then as
    it was.
    """
    if wanted.path is not None and wanted.kind == "conda":
        from osgbatch.packing.environment.conda import conda_archive

        file = folder / Path(wanted.path.text).expanduser()
        return conda_archive(with_channels_from(wanted, folder), file, cache, say)
    if wanted.path is None:
        return None
    path = folder / Path(wanted.path.text).expanduser()
    if wanted.kind == "requirements":
        return environment_archive(path, cache, say, wanted=wanted)
    if wanted.kind == "prefix":
        from osgbatch.packing.environment.prefix import prefix_archive

        return prefix_archive(wanted, path, cache, say)
    if wanted.kind == "archive":
        from osgbatch.packing.environment.given import given_archive

        return given_archive(wanted, path, cache, say)
    return None
