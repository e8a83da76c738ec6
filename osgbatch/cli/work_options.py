"""The options that `run` and `foreach` share: what is brought to the work, and what it needs."""

from __future__ import annotations

from typing import Annotated, Any

import typer


def option(name: str, help_: str, metavar: str) -> Any:
    """An option without a default worth showing."""
    return typer.Option(name, help=help_, metavar=metavar, show_default=False)


Out = Annotated[str, option("--out", "Another folder for the results.", "DIR")]
Push = Annotated[
    list[str] | None,
    option("--push", "Bring a file or folder: FILE, DIR, src:dst, or @list. Repeatable.", "FILE"),
]
Lib = Annotated[
    list[str] | None,
    option("--lib", "A Python package of yours to be imported. Repeatable.", "DIR"),
]
Env = Annotated[
    str, option("--env", "environment.yml, requirements.txt, .venv/ ...", "ENVIRONMENT")
]
Image = Annotated[str, option("--image", "A container: python:3.12, image.sif ...", "IMAGE")]
Cpus = Annotated[str, option("--cpus", "Of each task; default 1.", "N")]
Memory = Annotated[str, option("--memory", "Of each task, as 2GB; default 1GB.", "SIZE")]
Disk = Annotated[str, option("--disk", "Of each task, as 4GB; default 2GB.", "SIZE")]
Gpus = Annotated[str, option("--gpus", "Of each task; default 0.", "N")]


def resources(cpus: str, memory: str, disk: str, gpus: str, time: str) -> dict[str, str]:
    """What a task needs, of that what was given, by the keys of a spec's `resources`."""
    from osgbatch.spec.from_words import RESOURCES

    asked = dict(zip(RESOURCES, (cpus, memory, disk, gpus, time), strict=True))
    return {key: text for key, text in asked.items() if text}
