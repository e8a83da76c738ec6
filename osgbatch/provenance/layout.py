"""The names of files in `provenance/`, and where a crate and its results lie."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from osgbatch import names
from osgbatch.errors import OsgbatchError
from osgbatch.provenance.manifest import entries

FOLDER = "provenance"
METADATA = "ro-crate-metadata.json"
FACTS = "osgbatch.json"
"""What `osgbatch submit --from` reads."""
TASKS = names.TASKS
MANIFEST = "manifest.sha256"
LINKS = "links.csv"
"""The symbolic links among the results: name, target."""
ADDED = "added.csv"
"""What of the results did not come back from a task: name, and by whom it was made."""
BY_US, BY_GATHER, BY_HAND = "osgbatch", "gather", "hand"
INPUTS = "inputs.csv"
SPEC = names.SPEC
WRITTEN = "spec"
"""The folder of the spec as it was written, where other layers had something to say, too."""
CODE = "code"
BESIDE = "beside"
"""The folder of what the spec reads besides: tables, the gather script, the environment's file."""
ROUNDS = names.ROUNDS
LOCK = names.ENVIRONMENT_LOCK
LATER = frozenset(["report.html", "old"])
"""What lies at the top of `results/` and is none of them: what `osgbatch report` makes of them at
any time, and what collecting kept aside, which is the user's to delete."""
FAILED = "failed"
"""What failed tasks returned, in `results/`."""
STATUSES = ("status.json", "status.lost.json")
"""What tells of a task in its folder; the other name once a file that it lists is gone for good."""


class ProvenanceError(OsgbatchError):
    """A crate is not there, or is not what it should be."""


@dataclass(frozen=True)
class Found:
    """A crate, and the results that it tells of. skip: names at their top that are none of them."""

    crate: Path
    results: Path
    skip: frozenset[str] = frozenset()


def locate(folder: Path) -> Found | None:
    """The crate that is meant by a folder, with its results; None when there is none.

    folder: the one that both lie in (a batch folder, or a copy of the two), the results, the crate
    itself, or results that the crate was put into. The results may have another name beside the
    crate: then they are the one folder there that has some of the crate's files.
    """
    folder = _whole(folder)
    for crate, results in (
        (folder / FOLDER, folder / names.RESULTS),
        (folder, folder.parent / names.RESULTS),
        (folder.parent / FOLDER, folder),
        (folder / FOLDER, _renamed(folder / FOLDER)),
        (folder, _renamed(folder)),
    ):
        if results is not None and _is_crate(crate) and results.is_dir() and results != crate:
            return Found(crate, results)
    if _is_crate(folder / FOLDER) and (folder / names.RESOLVED).exists():  # its results are gone
        return Found(folder / FOLDER, folder / names.RESULTS)
    if _is_crate(folder / FOLDER):
        return Found(folder / FOLDER, folder, frozenset([FOLDER]))
    if _is_crate(folder):
        raise ProvenanceError(
            f"there is no {names.RESULTS}/ beside this crate",
            where=str(folder),
            fix=f"Name the folder that has the results; {FOLDER}/ must lie beside or in it.",
        )
    return None


def _renamed(crate: Path) -> Path | None:
    """The one folder beside a crate that has some of the results that it tells of."""
    above = crate.parent
    if not _is_crate(crate) or (above / names.RESOLVED).exists():  # of a batch they are gone
        return None
    some = list(islice((name for name, _ in entries(crate / MANIFEST)), _LOOKED_FOR))
    if any(os.path.lexists(above / name) for name in some):
        return None  # the crate was put into them
    with os.scandir(above) as found:
        beside = [Path(one.path) for one in found if one.is_dir() and one.name != crate.name]
    having = [one for one in beside if any(os.path.lexists(one / name) for name in some)]
    return having[0] if len(having) == 1 else None


_LOOKED_FOR = 100
"""So many files of a crate are looked for."""


def crate_of(path: Path) -> Path:
    """The crate that is meant by a folder, or by a file in it. Raises ProvenanceError."""
    path = _whole(path)
    if path.name == METADATA and path.is_file():
        path = path.parent
    for folder in (path, path / FOLDER):
        if _is_crate(folder):
            return folder
    if not path.exists():
        raise ProvenanceError("this folder is not there", where=str(path))
    raise ProvenanceError(
        "this is no crate of osgbatch's",
        where=str(path),
        fix=f"Name a folder with {METADATA} and {FACTS} in it: the {FOLDER}/ of a batch.",
    )


def _whole(path: Path) -> Path:
    """From the root on, without `..`, as people know it where that is possible."""
    return path.resolve() if ".." in path.parts else path.absolute()


def _is_crate(folder: Path) -> bool:
    return (folder / METADATA).is_file() and (folder / MANIFEST).is_file()
