"""Environments: requirements.txt → an archive that starts on any execution point."""

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
]
