"""Reads `environment:`, which is a path, an image or a word, or keys and values."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any

from osgbatch.spec.environment_kinds import (
    ENVIRONMENT_KINDS,
    FITS,
    environment_examples,
    environment_fault,
    environment_kind,
)
from osgbatch.spec.reading import Reading
from osgbatch.spec.schema import EnvironmentModel, SpecModel
from osgbatch.spec_model import Environment, UserPath
from osgbatch.urls import without_login

_IN_CONDA = {
    "python": "Write it into the dependencies of environment.yml: python={value}.",
    "prefix": "The environment has its Python already.",
}


def read_environment(reading: Reading, model: SpecModel) -> Environment:
    """`environment:` as it is meant; what is wrong is noted."""
    found = model.environment
    if isinstance(found, EnvironmentModel):
        return _from_keys(reading, found)
    if not found:
        return Environment()
    return Environment(environment_kind(found), UserPath(found, reading.place(("environment",))))


def _from_keys(reading: Reading, model: EnvironmentModel) -> Environment:
    raw: dict[str, Any] = reading.document.data["environment"]
    named = [kind for kind in ENVIRONMENT_KINDS if kind in raw]
    if not named:
        if not any(loc[0] == "environment" for loc in reading.dropped):
            reading.fail(
                f"environment: one of {', '.join(ENVIRONMENT_KINDS)} is missing",
                reading.place(("environment",)),
                "Write {requirements: requirements.txt}, or none for what the execution point has.",
            )
        return Environment()
    named.sort(key=list(raw).index)
    kind = named[0]
    for other in named[1:]:
        what = f'"{other}" beside "{kind}": an environment is one of them'
        reading.fail(what, reading.key(("environment", other)), "Leave one of them out.")
    text = getattr(model, kind)
    if text is None:  # it was refused
        return Environment()
    _check_path(reading, kind, text)
    _check_channels(reading, raw)
    for key, kinds in FITS.items():
        if key in raw and kind not in kinds:
            value = reading.text(("environment", key))
            fix = f"It goes with {', '.join(kinds)}."
            if key == "python" and kind in ("conda", "prefix"):
                fix = _IN_CONDA.get("python" if kind == "conda" else kind, fix)
                fix = fix.format(value=value)
            place = reading.key(("environment", key))
            reading.fail(f'"{key}" means nothing beside "{kind}"', place, fix)
    return Environment(
        kind=kind,
        path=UserPath(text, reading.place(("environment", kind))),
        python=reading.text(("environment", "python")) if model.python else "",
        python_place=reading.place(("environment", "python")) if model.python else None,
        channels=tuple(model.channels),
        imports=tuple(model.imports),
        strip=model.strip,
        test=model.test,
    )


def _check_channels(reading: Reading, raw: dict[str, Any]) -> None:
    """Note a channel with a login in it: others can read the batch folder, where the spec lies."""
    named = raw.get("channels")
    for i, channel in enumerate(named if isinstance(named, list) else [named]):
        loc = (
            ("environment", "channels", i)
            if isinstance(named, list)
            else ("environment", "channels")
        )
        if isinstance(channel, str) and without_login(channel) != channel:
            what = "a channel has its login in it, and others can read the batch folder"
            fix = (
                f"Write {without_login(channel)}, and the login into ~/.netrc (machine HOST login "
            )
            fix += "NAME password WORD), ~/.condarc or a file that RATTLER_AUTH_FILE names."
            reading.fail(what, reading.place(loc), fix)


def _check_path(reading: Reading, kind: str, text: str) -> None:
    """Note a path whose name says that it is something else than its key."""
    guess = environment_kind(text)
    place = reading.place(("environment", kind))
    what, how = environment_fault(text)
    if what and guess == kind:
        reading.fail(what, place, how)
        return
    if kind == "prefix":
        if guess not in ("", "prefix"):
            fix = f"Write {{{guess}: {text}}}."
            reading.fail(f'"{text}" is no folder with an environment in it', place, fix)
        return
    if guess == kind or (kind == "container" and _may_be_image(text)):
        return
    if kind == "requirements" and not PurePosixPath(text).suffix:
        return  # a requirements file may have any name
    fix = f"It looks like {environment_examples(kind)}."
    if guess and guess != "prefix":
        fix = f"Write {{{guess}: {text}}}."
    elif kind == "conda":
        fix += " For an environment that is there write {prefix: ENVIRONMENT/}, its folder."
    elif kind == "container" and re.fullmatch(r"[\w.-]+(/[\w.-]+)*(:[\w.-]+)?", text):
        fix = f"Write docker://{text} for an image of Docker Hub."
    nouns = {
        "conda": "an environment file of conda",
        "requirements": "a requirements file",
        "archive": "an archive that is known here",
        "container": "a container image",
    }
    reading.fail(f'"{text}" is not named like {nouns[kind]}', place, fix)


def _may_be_image(text: str) -> bool:
    """A folder may be an image, as on CVMFS."""
    return text.startswith(("/", "./", "../")) or text.endswith("/")
