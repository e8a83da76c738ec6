"""The environment of a plan: packed, or taken from the cache, and what there is to say about it."""

from __future__ import annotations

from collections.abc import Callable

from osgbatch.packing.container import image_size, packed_image
from osgbatch.packing.environment import (
    EnvironmentArchive,
    known_environment,
    packed_environment,
)
from osgbatch.packing.environment.imports import import_warnings
from osgbatch.packing.environment.script_trial import try_scripts
from osgbatch.places import cache_folder
from osgbatch.plan_model import Plan
from osgbatch.spec_model import Spec

Say = Callable[[str], None]

OLDEST_GLIBC = (2, 28)
"""Of RHEL 8, the oldest system in common use on execution points: not worth a warning."""
_SYSTEMS = (((2, 34), "EL 9"), ((2, 36), "Debian 12"), ((2, 39), "EL 10 and Ubuntu 24.04"))
"""Systems by the glibc that they have."""


def planned_environment(plan: Plan) -> tuple[int | None, list[str]]:
    """Bytes of the plan's environment when it was packed before, else None; and its warnings."""
    wanted = plan.spec.environment
    if wanted.kind == "container":
        return image_size(wanted, plan.spec.folder, cache_folder()), []
    packed = known_environment(wanted, plan.spec.folder, cache_folder())
    return packed.size if packed else None, environment_warnings(plan.spec, packed)


def pack_environment(plan: Plan, say: Say) -> EnvironmentArchive | None:
    """The sweep's environment, from the cache or made now; before a batch folder exists.

    say: called with a line per thing that takes time, and per warning. Raises PackingError.
    """
    return pack_spec_environment(plan.spec, say)


def pack_spec_environment(spec: Spec, say: Say) -> EnvironmentArchive | None:
    """The same, of a spec that is not planned yet."""
    wanted, folder = spec.environment, spec.folder
    if wanted.kind == "container":
        return packed_image(wanted, folder, cache_folder(), say, spec.requirements.arch)
    environment = packed_environment(wanted, folder, cache_folder(), say)
    for note in environment.notes if environment is not None else ():
        if "editable install" in note:  # what travels is not what an installation would be
            say(f"note: {note}")
    for warning in environment_warnings(spec, environment):
        say(f"warning: {warning}")
    if environment is not None and wanted.test:
        for warning in try_scripts(spec, environment, cache_folder(), say):
            say(f"warning: {warning}")
    return environment


def environment_warnings(spec: Spec, environment: EnvironmentArchive | None) -> list[str]:
    """What may go wrong on an execution point, and cannot be asked for in its requirements."""
    if environment is None:
        return []
    found = import_warnings(spec, environment.known_modules)
    glibc = environment.glibc_needed
    if _version(glibc) > OLDEST_GLIBC and not spec.requirements.os:
        having = next((name for least, name in _SYSTEMS if least >= _version(glibc)), "")
        found.append(
            f"the environment needs glibc {glibc} or newer on execution points, which HTCondor "
            f"cannot be asked for{f'; {having} and newer have it' if having else ''}; "
            "`requirements: {os: …}` keeps jobs to systems that do, a container needs none"
        )
    return found


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())
