"""What `osgbatch init` can begin with: the table of templates, and where their files are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from osgbatch.errors import OsgbatchError
from osgbatch.places import template_folder

SUBMIT = "osgbatch submit sweep.yaml"
FOREACH = "osgbatch foreach squares.py 5"


@dataclass(frozen=True)
class Starter:
    """One template.

    name: of its folder, too. summary: what it shows, in a few words. needs: what execution
    points, or this machine, must have; empty where a shell will do. command: how it is run.
    """

    name: str
    summary: str
    needs: str = ""
    command: str = SUBMIT

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return template_folder() / "start" / self.name

    def files(self) -> Iterator[Path]:
        """Its files, relative to its folder; the one to be read first is first."""
        main = self.command.split()[2]
        for path in sorted(self.folder.rglob("*"), key=lambda path: (path.name != main, path)):
            relative = path.relative_to(self.folder)
            if path.is_file() and "__pycache__" not in relative.parts:
                yield relative


STARTERS = (
    Starter("hello", "three tasks that greet"),
    Starter("sweep", "two parameters, and one table of the results", "Python"),
    Starter("files", "one task for each file of a folder", "Python"),
    Starter("conda", "packages from conda, which travel along", "a network"),
    Starter("container", "tasks in a container", "container support"),
    Starter("R", "a script in R, which travels along", "a network"),
    Starter("gpu", "tasks on a GPU", "a GPU and Python"),
    Starter("foreach", "scatter and gather, in one script", "Python", FOREACH),
    Starter("checkpoint", "a long program that goes on where it was", "Python"),
)  # fmt: skip
"""In the order of the list, the simplest first."""


def starter(name: str) -> Starter:
    """The template of this name, in capitals or not. Raises OsgbatchError, with the nearest."""
    found = find(name)
    if found is not None:
        return found
    near = nearest(name)
    shown = repr(name)[1:-1]
    raise OsgbatchError(
        f'there is no template "{shown}"' + (f'; did you mean "{near}"?' if near else ""),
        fix=f"Known are {', '.join(one.name for one in STARTERS)}; `osgbatch init --list` tells "
        "what each shows.",
    )


def find(name: str) -> Starter | None:
    """The template of this name, in capitals or not."""
    return next((one for one in STARTERS if one.name.lower() == name.lower()), None)


def nearest(name: str) -> str:
    """The template that somebody who wrote this may have meant; empty when there is none."""
    known = {one.name.lower(): one.name for one in STARTERS}
    near = get_close_matches(name.lower(), known, n=1, cutoff=0.7)
    return known[near[0]] if near else ""
