"""`osgbatch run`: a command to the spec that it would be, which goes the way of any other."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from osgbatch import names
from osgbatch.errors import OsgbatchError, SpecError, SpecErrors
from osgbatch.spec.from_words import Told, option_of, text_of, worded
from osgbatch.submission.planned import Choices
from osgbatch.urls import is_url

_INTERPRETERS = ("python", "python3", "Rscript", "R", "bash", "sh", "julia", "perl", "env", "time")
_MOST_LISTS = 1000


@dataclass(frozen=True)
class RunSpec:
    """The spec of a run: the path that it stands for, and its text; program: that it runs."""

    path: Path
    text: bytes
    results: Path
    program: str = ""

    def telling(self, say: Callable[[str], None]) -> Callable[[str], None]:
        """Tells what is said of the spec by the options that it was made of."""
        return lambda told: say(self.worded(told))

    def worded(self, warning: str) -> str:
        """A warning of the spec in the words of who has typed options."""
        return worded(warning, self.path.name, self.text, self.program)

    def choices(self, settings: Sequence[str] = ()) -> Choices:
        """How it is submitted: from its text, since there need be no such file."""
        return Choices(settings=settings, copy=self.text)


@contextmanager
def spec_of_run(
    told: Told, folder: Path, save: str = "", *, keep: bool = True
) -> Iterator[RunSpec]:
    """The spec of what was told, where the results go being reserved until its batch has it.

    told: without a name one is made of the command, and results_to follows from it. folder: where
    paths start, the current one. save: the name of a file for it in that folder. keep: whether
    anything is to be written; False for a look. Raises OsgbatchError before anything is; mistakes
    that are found in the spec meanwhile are told by the options that they come from.
    """
    path = folder / (save or names.RUN_SPEC)
    with _reserved(told, folder, keep) as told:
        text = text_of(told)
        if save:
            _save(path, folder, text, keep)
        results = folder / told.results_to
        try:
            yield RunSpec(path, text, results, next(iter(told.command), ""))
        except (SpecError, SpecErrors) as error:
            raise _by_option(error, path, text) from None


@contextmanager
def _reserved(told: Told, folder: Path, keep: bool) -> Iterator[Told]:
    """What was told with a name, and with a folder for the results that is not another's."""
    if told.name or told.results_to:
        name = names.slug(told.name or os.path.basename(told.results_to.rstrip("/")) or "run")
        results = told.results_to or name
        yield replace(told, name=name, results_to=results)
        return
    made: Path | None = None
    for number in itertools.count(1):
        name = f"{_name_of(told.command)}{f'-{number}' * (number > 1)}"
        made = folder / name
        if os.path.lexists(made):
            continue
        if not keep:
            break
        try:
            made.mkdir()
            break
        except FileExistsError:  # another run has just taken it
            continue
        except OSError as error:
            raise OsgbatchError(
                f"no folder for the results can be made here: {error.strerror}",
                where=str(made),
                fix="--out DIR names one elsewhere; batches lie in the current folder, too.",
            ) from None
    try:
        yield replace(told, name=name, results_to=name)
    finally:
        if keep and made is not None:
            with suppress(OSError):  # it is not empty once a batch has it
                made.rmdir()


def _name_of(command: Sequence[str]) -> str:
    """`fit` for `Rscript fit.R`: of the program, or of the script that it runs."""
    words = [*command]
    while len(words) > 1 and PurePosixPath(words[0]).name in _INTERPRETERS:
        if words[1].startswith("-") or not words[1]:
            break
        words.pop(0)
    name = names.slug(PurePosixPath(words[0]).stem)[:40] if words else "run"
    return f"{name}-run" if name in (names.BATCHES, "sweep") or name.isdigit() else name


def _save(path: Path, folder: Path, text: bytes, keep: bool) -> None:
    if path.parent.resolve() != folder.resolve():
        raise OsgbatchError(
            "paths in a spec start from its own folder, and these start from here",
            where=f"--save {path}",
            fix=f"Give a name alone: --save {path.name}.",
        )
    try:
        if path.exists() and path.read_bytes() != text:
            raise OsgbatchError(
                "this file is there, and is another",
                where=f"--save {path.name}",
                fix="Give another name, or remove it.",
            )
        path.write_bytes(text)
    except OSError as error:
        raise OsgbatchError(
            f"cannot be written: {error.strerror}", where=f"--save {path.name}"
        ) from None


def _by_option(error: SpecError | SpecErrors, path: Path, text: bytes) -> OsgbatchError:
    """Mistakes in the spec as what is wrong on the command line."""
    errors = error.errors if isinstance(error, SpecErrors) else (error,)
    if not all(_is_ours(one, path) for one in errors):
        return error
    told = [OsgbatchError(one.what, where=option_of(one, text), fix=one.fix) for one in errors]
    first = told[0]
    if len(told) == 1:
        return first
    return OsgbatchError("\n".join([str(first), *map(str, told[1:])]))


def _is_ours(error: SpecError, path: Path) -> bool:
    return os.path.basename(error.place.file) == path.name


# --- what is pushed -------------------------------------------------------------------------------


def pushed(entries: Sequence[str], folder: Path) -> list[tuple[str, str]]:
    """What --push names, `@lists` read: each a path, and its name in the task, or nothing.

    entries: `FILE`, `DIR`, `src:dst` or `@list`, a file of such lines. Paths start from folder,
    also those in lists. Raises OsgbatchError for what is not there, and for a list that leads back
    to itself.
    """
    found = [one for entry in entries for one in _pushed(entry, folder, ())]
    return list(dict.fromkeys(found))


def _pushed(entry: str, folder: Path, lists: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    where = f"--push {entry}" if not lists else f"--push @{lists[-1]}: {entry}"
    if entry.startswith("@"):
        yield from _listed(entry[1:], folder, lists, where)
        return
    if is_url(entry):
        raise OsgbatchError(
            "a URL is not pushed: jobs fetch it themselves",
            where=where,
            fix=f"Write --set inputs={entry}: tasks find it in inputs/.",
        )
    path, name = _split(entry, folder)
    if not entry.strip() or not os.path.lexists(folder / Path(path).expanduser()):
        raise OsgbatchError(f'there is no "{path}"', where=where, fix=f"Paths start from {folder}.")
    yield path, name


def _split(entry: str, folder: Path) -> tuple[str, str]:
    """Path and name of `src:dst`; a colon that is part of a name that is there is none."""
    if os.path.lexists(folder / Path(entry).expanduser()):
        return entry, ""
    parts = entry.split(":")
    for count in range(1, len(parts)):
        path = ":".join(parts[:count])
        if path and os.path.lexists(folder / Path(path).expanduser()):
            return path, ":".join(parts[count:]) or os.path.basename(path.rstrip("/"))
    return (parts[0], ":".join(parts[1:])) if len(parts) > 1 else (entry, "")


def _listed(
    name: str, folder: Path, lists: tuple[str, ...], where: str
) -> Iterator[tuple[str, str]]:
    real = os.path.realpath(folder / name)
    if real in (os.path.realpath(folder / one) for one in lists) or len(lists) > _MOST_LISTS:
        raise OsgbatchError(
            "a list that leads back to itself",
            where=" -> ".join(f"@{one}" for one in (*lists, name)),
            fix="Take one of them out.",
        )
    try:
        text = (folder / name).read_text("utf-8-sig", "surrogateescape")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise OsgbatchError(f'cannot read the list "{name}": {why}', where=where) from None
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            yield from _pushed(line.strip(), folder, (*lists, name))
