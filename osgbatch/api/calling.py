"""Submits specs and calls from Python: through the very steps of `osgbatch submit`."""

from __future__ import annotations

import hashlib
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from osgbatch import names, ui
from osgbatch.batches import folder as folders
from osgbatch.batches.folder import Batch
from osgbatch.calls import package
from osgbatch.calls.package import Calls
from osgbatch.calls.pickling import PickleError, Pickler, name_of
from osgbatch.errors import BusyError, OsgbatchError
from osgbatch.life.sent import CALLS, made_of, remove_unused
from osgbatch.rendering.program import CALL
from osgbatch.rendering.templates import template_folder
from osgbatch.spec.steps import has_steps
from osgbatch.spec_model import Spec
from osgbatch.submission.planned import AS_WRITTEN, Choices
from osgbatch.submission.steps import Ways, submit_sweep

if TYPE_CHECKING:
    from osgbatch.packing.environment import EnvironmentArchive

RUN_CALL = "run_call.py"
"""The program that makes a call, in the template folder."""
OF_CALLS = Choices(settings=("outputs_to=null",))
"""Whatever the user's defaults say, what calls return comes home."""
POOLS = ("auto", "condor", "local")


def submit_spec(
    spec: str | os.PathLike[str] | Spec,
    pool: str,
    settings: Sequence[str],
    ways: Ways,
    say: Callable[[str], None],
) -> Batch:
    """Submit a spec: its path, or what `spec.load.load_spec` gave. Raises OsgbatchError."""
    _check_pool(pool)
    choices = replace(AS_WRITTEN, settings=tuple(settings))
    if not isinstance(spec, Spec):
        if has_steps(Path(spec)):
            raise OsgbatchError(
                "this is a workflow (steps:), and osgbatch.submit is for single sweeps",
                where=str(spec),
                fix=f"Type `osgbatch submit {shlex.quote(str(spec))}`; of each of its steps that "
                'has begun osgbatch.load("WORKFLOW/STEP") gives the results.',
            )
        return _told(submit_sweep(Path(spec), pool, say, choices, ways=ways), "task", say)
    if spec.path.is_file() and spec.path.read_bytes() == spec.text:
        return _told(submit_sweep(spec.path, pool, say, choices, ways=ways), "task", say)
    # What all layers of it come to, or a file that has changed since: as it was read.
    digest = hashlib.sha256(spec.text).hexdigest()[:12]
    place = spec.folder / names.BATCHES / CALLS / f"{spec.name}-{digest}"
    try:
        content = {package.SPEC: spec.text}
        return _told(_submit(place, content, spec.name, pool, choices, ways, say), "task", say)
    finally:
        remove_unused(place)  # the batch has its own copy


def submit_calls(
    calls: Calls,
    name: str,
    folder: Path,
    keys: Mapping[str, Any],
    tasks_per_job: int | str | None,
    pool: str,
    ways: Ways,
    say: Callable[[str], None],
    once: str = "",
) -> Batch:
    """Submit calls as the tasks of one batch.

    folder: relative paths of `keys`, keys of a sweep.yaml, start from it; the batch is made in its
    `batches/`. The same calls with the same keys are the same sweep: one whose submission was cut
    short is continued, one that is under way is not submitted twice. once: names this submission;
    equal calls under another name are others, and under this one the batch that there is. Raises
    OsgbatchError.
    """
    _check_pool(pool)
    if not calls.rows:
        raise OsgbatchError("there are no items", where=name, fix="Nothing was submitted.")
    timed = bool(keys.get("resources") and dict(keys["resources"]).get("time"))
    programs = {"__main__.py": RUN_CALL, "call.py": CALL}
    read = {name: (template_folder() / file).read_bytes() for name, file in programs.items()}
    files = package.files_of(calls, read, tasks_per_job, timed)
    digest = hashlib.sha256()
    for part in (*sorted(files.content), *map(files.content.get, sorted(files.content))):
        digest.update(part.encode() if isinstance(part, str) else part or b"")
    digest.update(repr((package.plain(keys), files.tasks_per_job, once)).encode())
    slug = names.slug(name)
    place = folder.absolute() / names.BATCHES / CALLS / f"{slug}-{digest.hexdigest()[:12]}"
    inside = f"{names.BATCHES}/{CALLS}/{place.name}"
    spec = package.spec_text(slug, inside, calls, files, keys)
    content = {**files.content, package.SPEC: spec}
    ways = replace(ways, check=_same_python)
    found = made_of(place) if once else None
    if found is not None and not folders.interrupted(found):
        return found
    return _told(_submit(place, content, slug, pool, OF_CALLS, ways, say), "call", say)


def _told(batch: Batch, noun: str, say: Callable[[str], None]) -> Batch:
    """Say what was submitted, and how a program finds it again."""
    submitted = folders.read_submitted(batch.rounds()[-1])
    where = "" if submitted is None or submitted.backend == "condor" else " on this machine"
    again = f'osgbatch.load("{batch.name}") finds it again'
    say(f"submitted {ui.number_of(batch.tasks, noun)}{where}, as batch {batch.name}: {again}")
    return batch


def _submit(
    place: Path,
    content: Mapping[str, bytes],
    name: str,
    pool: str,
    choices: Choices,
    ways: Ways,
    say: Callable[[str], None],
) -> Batch:
    """Write what a spec is made from, and submit that; what is refused leaves nothing behind.

    The spec counts as one beside `batches/`, where there is no such file, so that its copy is read.
    """
    fresh = not place.exists()
    try:
        for file, data in content.items():
            path = place / file
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                folders.write_bytes(path, data)
    except OSError as error:
        raise OsgbatchError(
            f"cannot write what is to be submitted: {error.strerror}",
            where=str(place),
            fix="folder= names another folder to work in.",
        ) from None
    path = place.parents[2] / f"{name}.{place.name[-12:]}.yaml"
    choices = replace(choices, copy=place / package.SPEC)
    try:
        return submit_sweep(path, pool, say, choices, ways=ways)
    except BaseException as error:
        if isinstance(error, BusyError) and "--again" in error.fix:
            told = f'osgbatch.load("{Path(error.where).name}")'
            error.fix = f"{told} has its results; again=True submits it once more."
        if fresh:
            remove_unused(place)
            with suppress(OSError):
                place.parents[1].rmdir()
        raise


def _same_python(environment: EnvironmentArchive | None) -> None:
    """Raises OsgbatchError when a packed environment has another Python than runs here.

    What an execution point has by itself, or an image, is not known here: there the task refuses.
    """
    if environment is None or not environment.python:
        return
    here = "{}.{}".format(*sys.version_info[:2])
    there = ".".join(environment.python.split(".")[:2])
    if there != here:
        raise OsgbatchError(
            f"the environment has Python {there}, and here is {here}: a function travels as "
            "bytecode, which only the same version runs",
            where="environment",
            fix=f"Give it Python {here}, or run this with Python {there}. Nothing was submitted.",
        )


def _check_pool(pool: str) -> None:
    if pool not in POOLS:
        raise OsgbatchError(
            f'unknown pool "{pool}"', where="pool", fix=f"Known: {', '.join(POOLS)}"
        )


def map_calls(
    function: Callable[..., Any], iterables: Sequence[Iterable[Any]], pickler: Pickler, plain: bool
) -> Calls:
    """The calls of map: f(item), or with several iterables f(a, b). Raises PickleError."""
    if not iterables:
        raise OsgbatchError("there is nothing to map over", where="map", fix="map(function, items)")
    pickled = pickler.function(function)
    if len(iterables) == 1:
        rows = [pickler.item(item, f"item {i}") for i, item in enumerate(iterables[0])]
        return Calls((pickled,), rows, form="item", plain=plain)
    rows = [
        pickler.item((arguments, {}), f"item {i}")
        for i, arguments in enumerate(zip(*iterables, strict=False))
    ]
    return Calls((pickled,), rows, form="arguments", plain=plain)


def brought(keys: Mapping[str, Any]) -> set[str]:
    """Top-level names of modules that tasks are brought by `libraries` and `files`."""
    found: set[str] = set()
    for key in ("libraries", "files"):
        value = keys.get(key) or ()
        for entry in [value] if isinstance(value, (str, os.PathLike)) else value:
            for word in entry.values() if isinstance(entry, Mapping) else [entry]:
                found.add(Path(os.fspath(word)).stem)
    return found


def sayer(quiet: bool) -> Callable[[str], None]:
    """What tells the user: on stderr, or nothing but warnings."""
    if not quiet:
        return ui.say
    return lambda text: ui.say(text) if text.startswith("warning") else None


__all__ = ["PickleError", "brought", "map_calls", "name_of", "sayer", "submit_calls", "submit_spec"]
