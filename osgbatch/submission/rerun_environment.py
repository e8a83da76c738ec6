"""The environment of a batch once more: from the cache, else packed from its lock."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from osgbatch.errors import OsgbatchError
from osgbatch.packing.environment import cache as kept
from osgbatch.packing.environment import (
    known_environment,
    packed_environment,
    with_channels_from,
)
from osgbatch.packing.environment.conda import conda_archive
from osgbatch.places import cache_folder
from osgbatch.spec_model import Environment, Spec
from osgbatch.sums import file_sum

Say = Callable[[str], None]


class Made(Protocol):
    """What is told of a folder that is made (rerun.Rerun)."""

    settings: dict[str, str]
    differences: list[str]
    notes: list[str]


def same_environment(
    told: Mapping[str, Any],
    spec: Spec,
    lock: Path,
    places: Sequence[Path],
    made: Made,
    say: Say,
) -> None:
    """Have a spec use the environment that a batch used.

    told: of it at submission; lock: its packages; places: where what the spec names may be, last
    the folder of the spec then. Settings, differences and notes are added to `made`. An archive of
    the same checksum in the cache is taken; else it is packed again from the lock, else of what the
    spec names. Raises OsgbatchError when it cannot be packed.
    """
    kind, sha256 = str(told.get("kind", "none")), str(told.get("sha256", ""))
    wanted = spec.environment
    if kind == "none" or wanted.path is None:
        return
    path = Path(wanted.path.text).expanduser()
    was = next((place for place in places if (place / path).exists()), places[-1])
    if kind == "container":
        _image(wanted, sha256, spec.folder, was, made)
        return
    try:
        known = known_environment(wanted, spec.folder, cache_folder())
    except OsgbatchError:
        known = None
    if known is not None and known.sha256 == sha256:
        return
    archive = _in_cache(sha256)
    if archive is not None:
        # It was tried when it was packed.
        made.settings["environment"] = json.dumps({"archive": str(archive), "test": False})
        return
    if kind == "conda" and lock.is_file():
        say("the environment is not in the cache any more: packing it from its lock")
        file = spec.folder / Path(wanted.path.text).expanduser()
        packed = conda_archive(wanted, file, cache_folder(), say, locked=lock)
        made.settings["environment"] = json.dumps({"archive": str(packed.path), "test": False})
        _told_again(packed.sha256, sha256, made)
        return
    if kind == "requirements" and lock.is_file():
        _from_pins(told, wanted, spec.folder, lock, made)
        return
    _as_it_is(wanted, sha256, spec.folder, was, made, say)


def _as_it_is(
    wanted: Environment, sha256: str, home: Path, was: Path, made: Made, say: Say
) -> None:
    """The environment of what the spec names as that is now, here or where it was."""
    assert wanted.path is not None
    text = wanted.path.text
    path = Path(text).expanduser()
    folder = home if (home / path).exists() else was
    if not (folder / path).exists():
        made.differences.append(
            f"environment: {text} is not there any more, nor what was packed of it in the cache"
        )
        return
    if folder != home:
        made.settings["environment"] = _words(with_channels_from(wanted, folder), folder / path)
    if wanted.kind in ("prefix", "archive"):  # what is packed of the same is the same
        say(f"the environment is not in the cache any more: packing {text} as it is now")
        packed = packed_environment(wanted, folder, cache_folder(), say)
        if packed is not None and packed.sha256 == sha256:
            return
    made.differences.append(
        f"environment: {text} is packed as it is now; that of then is not in the cache"
    )


def _words(wanted: Environment, path: Path) -> str:
    """An environment as the spec has it, at another place."""
    words: dict[str, Any] = {wanted.kind: str(path)}
    given = {"python": wanted.python, "channels": wanted.channels, "imports": wanted.imports}
    words |= {key: value for key, value in given.items() if value}
    if wanted.strip:
        words["strip"] = True
    if not wanted.test:
        words["test"] = False
    return json.dumps(words)


def _told_again(now: str, was: str, made: Made) -> None:
    if now != was:
        made.notes.append(
            "the environment was packed again from its lock: the same packages in another archive"
        )


def _from_pins(
    told: Mapping[str, Any], wanted: Environment, home: Path, lock: Path, made: Made
) -> None:
    """An environment of pip's: the very versions, as a requirements file."""
    pins = home / "environment.lock.txt"
    pins.unlink(missing_ok=True)  # what a crate brought may be a link to a file of the user's
    with pins.open("xb") as out:
        out.write(lock.read_bytes())
    minor = ".".join(str(told.get("python", "")).split(".")[:2])
    words: dict[str, Any] = {"requirements": pins.name}
    if minor:
        words["python"] = minor
    if wanted.imports:
        words["imports"] = list(wanted.imports)
    if wanted.strip:
        words["strip"] = True
    made.settings["environment"] = json.dumps(words)
    made.notes.append(
        "the environment is not in the cache any more: it is packed from the versions that it had"
    )


def _in_cache(sha256: str) -> Path | None:
    """The archive of this content among those that were packed before."""
    if not sha256:
        return None
    cache = cache_folder()
    for manifest in sorted((cache / kept.FOLDER).glob(f"*/{kept.MANIFEST}")):
        entry = kept.read_entry(cache, manifest.parent.name)
        if entry is not None and entry.sha256 == sha256:
            return entry.path
    return None


def _image(wanted: Environment, sha256: str, home: Path, was: Path, made: Made) -> None:
    """An image: by its address, or the file where it was."""
    assert wanted.path is not None
    text = wanted.path.text
    if "://" in text:
        if "@sha256:" not in text:
            made.notes.append(f"{text} is what its registry has under that name now")
        return
    there = was / Path(text).expanduser()
    if not (home / text).exists():
        made.settings["environment"] = json.dumps({"container": str(there)})
    if not there.is_file():
        made.differences.append(f"environment: {there} is not there")
    elif sha256 and there.suffix == ".sif" and file_sum(there)[0] != sha256:
        made.differences.append(f"environment: {there} is not what it was")
