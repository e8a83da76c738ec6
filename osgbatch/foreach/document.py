"""The workflow that a foreach is: scatter → foreach → gather, as the mapping that `steps:` is."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from osgbatch.calls import values
from osgbatch.foreach.asked import PHASES, Asked
from osgbatch.foreach.beside import beside
from osgbatch.rendering.templates import template_folder

TOLD, COMPLETE, ELEMENTS = "foreach.json", "complete", "elements.txt"
"""What scatter tells of the elements; what a phase writes last; how each element has ended."""
RUNNER = "osgbatch_foreach"
"""The folder, in that of a task, of the program that calls the script's functions.

Not among the inputs: the folder that jobs' paths start from would be one above osgbatch itself.
"""


@dataclass(frozen=True)
class Earlier:
    """What an earlier foreach has computed: where the results of its steps lie, or nothing."""

    scatter: str = ""
    foreach: str = ""


def workflow_of(asked: Asked, here: Path, earlier: Earlier | None = None) -> dict[str, Any]:
    """The workflow, of a checked Asked. here: where relative paths start.

    earlier: what is not computed again, where the first phases are left out. The same Asked makes
    an equal workflow, whatever is in its files.
    """
    maker = _Maker(asked, here, earlier or Earlier())
    steps = [maker.scatter(), maker.foreach(), maker.gather()]
    first, last = PHASES.index(asked.start_at), 2 if asked.gather == "none" else 3
    shared = {key: value for key, value in asked.shared.items() if key != "resources"}
    return {"name": asked.title, **shared, "files": maker.files(), "steps": steps[first:last]}


class _Maker:
    """Makes the steps of one workflow."""

    def __init__(self, asked: Asked, here: Path, earlier: Earlier) -> None:
        self._asked = asked
        self._here = here
        self._earlier = earlier
        self._suffix = "rds" if asked.of_r else "values"
        self._places = _places(asked, here)

    def files(self) -> list[Any]:
        """What every task has in its working folder; first of all what calls the functions."""
        above = template_folder()
        runner = [(above / "foreach.R", f"{RUNNER}/run.R")]
        if not self._asked.of_r:
            codec = (Path(str(values.__file__)), f"{RUNNER}/osgbatch_values.py")
            runner = [(above / "foreach.py", f"{RUNNER}/run.py"), codec]
        return [
            place if os.fspath(path) == place else {os.fspath(path): place}
            for path, place in (*runner, *self._places)
        ]

    def scatter(self) -> dict[str, Any]:
        asked = self._asked
        words = [f"batch={asked.batch_size}", f"seconds={_seconds(asked.resources)}"]
        words += [f"arg={quote(os.fsencode(arg), safe='/:,+@')}" for arg in asked.args]
        kept = (TOLD, "tasks.csv", f"extra.{self._suffix}", "elements", COMPLETE)
        return {
            "name": "scatter",
            "command": self._command("scatter", words),
            "outputs": [f"outputs/{name}" for name in kept],
            "resources": self._resources(""),
        }

    def foreach(self) -> dict[str, Any]:
        elements = f"elements.{self._suffix}"
        made = self._results("scatter", self._earlier.scatter) + "/0/outputs"
        words = [f"elements=inputs/{elements}", f"extra=inputs/extra.{self._suffix}"]
        of_row = ["first={first}", "number={elements}"]
        return {
            "name": "foreach",
            "command": [*self._command("foreach", words), *of_row],
            # a table from an execution point: nothing but numbers may be part of a path
            "sweep": {"table": f"{made}/tasks.csv", "where": "first >= 0 and elements >= 0"},
            "inputs": [
                {"path": f"{made}/elements/{{first}}.{self._suffix}", "as": elements},
                {"path": f"{made}/extra.{self._suffix}", "as": f"extra.{self._suffix}"},
            ],
            "outputs": _CHANGED,
            "resources": self._resources("elements"),
            **({"partial": True} if self._asked.partial else {}),
        }

    def gather(self) -> dict[str, Any]:
        made = self._results("scatter", self._earlier.scatter) + "/0/outputs"
        brought = self._results("foreach", self._earlier.foreach)
        extra = f"extra.{self._suffix}"
        words = ["results=inputs/foreach", f"extra=inputs/{extra}", f"told=inputs/{TOLD}"]
        words.append(f"partial={int(self._asked.partial)}")
        return {
            "name": "gather",
            "command": self._command("gather", words),
            "inputs": [
                {"path": f"{made}/{extra}", "as": extra},
                {"path": f"{made}/{TOLD}", "as": TOLD},
                self._all_of(brought),
            ],
            "outputs": _CHANGED,
            "resources": self._resources(""),
            **({"here": True} if self._asked.gather == "here" else {}),
        }

    def _all_of(self, results: str) -> dict[str, str]:
        """The folders of all tasks; of those that failed too, where there may be such."""
        if self._asked.partial:
            return {"path": f"{results}/.", "as": "foreach"}
        # without results.csv, which changes when more is known of the jobs
        return {"path": f"{results}/[0-9]*", "as": "foreach/"}

    def _results(self, step: str, earlier: str) -> str:
        return earlier if earlier and not self._runs(step) else f"step:{step}"

    def _runs(self, step: str) -> bool:
        return PHASES.index(step) >= PHASES.index(self._asked.start_at)

    def _command(self, phase: str, words: Sequence[str]) -> list[str]:
        asked = self._asked
        program = ["Rscript", f"{RUNNER}/run.R"] if asked.of_r else ["python", f"{RUNNER}/run.py"]
        script = self._places[0][1]
        all_words = [
            *program,
            phase,
            f"script={quote(os.fsencode(script))}",
            *(f"{key}={quote(name)}" for key, name in asked.functions.items()),
            f"pickle={asked.pickle}",
            f"gathered={asked.gathered}",
            *words,
        ]
        return [word.replace("{", "{{").replace("}", "}}") for word in all_words]

    def _resources(self, count: str) -> dict[str, Any]:
        """What a task asks for. count: the column with the number of its elements, or empty."""
        resources = dict(self._asked.resources)
        time = resources.pop("time", None)
        if time is not None and count:
            resources["time"] = {"expr": f"{time} * max({count}, 1)"}
        return resources


_CHANGED = {"include": [f"outputs/{COMPLETE}", "*"], "changed_only": True}
"""All that the script makes comes back; without what is written last the task has failed."""


def _seconds(resources: Mapping[str, Any]) -> int:
    """How long an element may take; 0 when that is not said."""
    from osgbatch.spec.units import seconds

    return seconds(str(resources["time"])) if "time" in resources else 0


def _places(asked: Asked, here: Path) -> list[tuple[Path, str]]:
    """What is brought, and where in the task it lies: the script first of all, then its helpers."""
    found = [(asked.script, ""), *((path, "") for path in beside(asked.script, here))]
    found += [(Path(path), place) for path, place in asked.pushed]
    places = {place or _place(path, here): path for path, place in reversed(found)}
    return [(path, place) for place, path in reversed(places.items())]


def _place(path: Path, here: Path) -> str:
    """As from the working folder; what lies outside of it goes by its name."""
    whole = Path(os.path.normpath(here / path.expanduser()))
    if whole.is_relative_to(here) and whole != here:
        return whole.relative_to(here).as_posix()
    return whole.name
