"""What a command needs of this machine's files: all that its spec names, and no more."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from osgbatch import names
from osgbatch.errors import OsgbatchError, PackingError, SpecError, SpecErrors
from osgbatch.foreach.asked import Asked, Functions
from osgbatch.foreach.asked import check as check_foreach
from osgbatch.foreach.document import workflow_of
from osgbatch.foreach.running import shared_of
from osgbatch.laptop.arriving import ARRIVING
from osgbatch.packing.environment.requirements import local_path
from osgbatch.packing.environment.requirements import read_lines as requirement_lines
from osgbatch.packing.tree import is_clutter, named_paths
from osgbatch.planning.brought import paths as input_paths
from osgbatch.planning.brought import read_entries
from osgbatch.spec.from_words import RESOURCES, Told
from osgbatch.spec.layers import Layered, read_layers
from osgbatch.spec.load import load_spec
from osgbatch.spec.profiles import is_profile_path
from osgbatch.spec.steps import Steps, check_step, has_steps, read_steps, steps_of_data
from osgbatch.spec_model import ColumnSource, Spec, UserPath
from osgbatch.submission.running import pushed, spec_of_run
from osgbatch.sweep.expand import expand
from osgbatch.tables import Table
from osgbatch.urls import is_url

_OF_SPEC = ("check", "plan", "render", "submit", "config")
_WITH_PATHS = ("pack", "stage", "explain", "profile", "doctor")
"""Commands whose words may be paths: what is here by such a name is brought."""


@dataclass
class Named:
    """Files and folders of this machine. folders: where specs lie; specs: them and settings."""

    paths: dict[Path, None] = field(default_factory=dict)
    folders: set[Path] = field(default_factory=set)
    specs: list[tuple[Path, Sequence[str]]] = field(default_factory=list)

    def add(self, folder: Path, text: str) -> None:
        """A path as a spec has it. What begins with / is the host's, as are URLs."""
        if text and not is_url(text) and not text.startswith(("/", "~", "step:")):
            path = Path(os.path.normpath(folder / text))
            if os.path.lexists(path):
                self.paths[path] = None


def needs(command: Sequence[str], given: Mapping[str, Any], here: Path) -> Named | None:
    """What a command is to find on the host; None for one that reads none of the user's files.

    command: `submit`, or `pack`, `env`; given: its arguments, as the command line has them.
    Raises OsgbatchError for what is wrong with a spec here: then nothing was brought.
    """
    named = Named()
    settings = tuple(given.get("settings") or ())
    if command[0] in _OF_SPEC:
        if given.get("spec") is not None:
            add_spec(named, _whole(given["spec"], here), settings)
        return named
    if command[0] == "run":
        _add_run(named, given, here, settings)
        return named
    if command[0] == "foreach":
        _add_foreach(named, given, here, settings)
        return named
    if command[0] in _WITH_PATHS:
        for value in given.values():
            for one in value if isinstance(value, (list, tuple)) else [value]:
                if isinstance(one, (str, Path)) and str(one) and (here / one).exists():
                    _add_word(named, str(one), here, settings)
        return named
    return None


def add_again(named: Named, specs: Iterable[tuple[Path, str]], sent: Iterable[Path]) -> None:
    """What was brought before, as it is now: for a command that reads it again."""
    for path in sent:
        if os.path.lexists(path):
            named.paths[path] = None
    for path, settings in specs:
        if path.is_file():
            with suppress(OsgbatchError, ValueError):  # it serves another batch, or is being mended
                add_spec(named, path, json.loads(settings))


def add_spec(named: Named, path: Path, settings: Sequence[str] = ()) -> None:
    """A spec, and all that it names. Raises OsgbatchError."""
    if path.is_dir() or not path.exists():
        what = "is a folder" if path.is_dir() else "there is no such file here"
        raise OsgbatchError(what, where=str(path), fix="Name a sweep.yaml of this machine.")
    named.specs.append((path, settings))
    named.folders.add(path.parent)
    named.paths[path] = None
    if has_steps(path):
        _add_layers(named, read_layers(path, settings))
        _add_steps(named, read_steps(path, settings))
        return
    _add_layers(named, read_layers(path, settings))
    _add(named, load_spec(path, settings))


def files_of(named: Named) -> list[Path]:
    """All files, and folders that are empty; nothing of batches, results and caches."""
    found: dict[Path, None] = {}
    for path in named.paths:
        if names.BATCHES in path.parts and _is_batch(path):
            continue
        if path.is_dir():
            found.update(dict.fromkeys(_below(path, (os.path.realpath(path),))))
        elif path.is_file():
            found[path] = None
    return list(found)


def _is_batch(path: Path) -> bool:
    """Whether it lies in a batch: that is the host's."""
    for above in path.parents:
        if above.parent.name == names.BATCHES and (above / names.RESULTS).exists():
            return True
    return False


def _below(folder: Path, above: tuple[str, ...]) -> Iterator[Path]:
    empty = True
    for entry in sorted(os.scandir(folder), key=lambda one: os.fsencode(one.name)):
        path = folder / entry.name
        if not entry.is_dir():
            if not is_clutter(entry.name, False) and entry.is_file():
                empty = False
                yield path
            continue
        real = os.path.realpath(path)
        ours = entry.name in (names.BATCHES, ARRIVING) or (path / names.RESULTS_OF).exists()
        if ours or is_clutter(entry.name, True) or real in above:
            continue
        empty = False
        yield from _below(path, (*above, real))
    if empty:
        yield folder


def _whole(path: Path, here: Path) -> Path:
    """From the root on, links as they are."""
    return Path(os.path.normpath(here / path))


# --- specs ----------------------------------------------------------------------------------------


def _add_layers(named: Named, layered: Layered) -> None:
    """What a spec extends, and its profile's file."""
    for layer in layered.layers:
        if layer.kind == "base":
            named.paths[Path(os.path.abspath(layer.file))] = None
    profile = layered.document.data.get("profile")
    if isinstance(profile, str) and is_profile_path(profile):
        named.add(Path(layered.document.file).absolute().parent, profile)


def _add_steps(named: Named, steps: Steps) -> None:
    for step in steps.steps:
        # what earlier steps will make is nowhere yet
        spec = check_step(steps, step, lambda name: f"/{name}")
        _add(named, spec)


def _add(named: Named, spec: Spec) -> None:
    folder = spec.folder
    for key, entries in (("files", spec.files), ("libraries", spec.libraries)):
        for entry in entries:
            _add_matches(named, key, entry, folder)
    for source in _each(spec.sources):
        if source.kind in ("table", "lines"):
            for path in source.paths:
                named.add(folder, path.text)
    for one in spec.inputs:
        if one.is_list:
            named.add(folder, one.source.fill({}))
    for text in _input_texts(spec):
        named.add(folder, text)
    if spec.gather:
        if not spec.gather.function:
            named.add(folder, spec.gather.text)
        for path in spec.gather.inputs:
            _add_matches(named, "gather", path, folder)
    if spec.environment.path:
        _add_environment(named, spec)


def _each(sources: Iterable[ColumnSource]) -> Iterator[ColumnSource]:
    for source in sources:
        yield source
        yield from _each(source.parts)


def _add_matches(named: Named, key: str, entry: UserPath, folder: Path) -> None:
    text = entry.text.removeprefix("@")
    if is_url(text) or text.startswith(("/", "~")):
        return
    with suppress(PackingError):  # what is not here may be there, else the host says so
        for path in named_paths([text], folder, key):
            named.paths[path] = None


def _input_texts(spec: Spec) -> Iterator[str]:
    """The inputs of all rows, and the files of columns.

    Rows that only the host can know (of its own folders, of buckets) bring none from here. Raises
    SpecError for what is wrong with the others.
    """
    entries = read_entries(spec, lambda error: None)
    try:
        table = expand(spec)
    except (SpecError, SpecErrors):
        if not any(map(_is_elsewhere, _each(spec.sources))):
            raise
        table = Table(())
    yield from input_paths(entries, table)
    for column in table.columns:
        if column.is_file:
            yield from dict.fromkeys(column.texts(0, len(column.cells)))


def _is_elsewhere(source: ColumnSource) -> bool:
    return any(is_url(path.text) or path.text.startswith(("/", "~")) for path in source.paths)


def _add_environment(named: Named, spec: Spec) -> None:
    """The file of an environment, and what it includes. Raises OsgbatchError for a folder."""
    wanted = spec.environment
    assert wanted.path is not None
    path = spec.folder / wanted.path.text
    if wanted.kind == "prefix" and not wanted.path.text.startswith(("/", "~")):
        raise SpecError(
            "an environment in a folder of this machine does not run on another",
            wanted.path.place,
            fix="Name what it is made from: requirements.txt, or environment.yml.",
        )
    named.add(spec.folder, wanted.path.text)
    if wanted.kind == "requirements" and path.suffix == ".txt" and path.is_file():
        for line in requirement_lines(path):
            named.paths[Path(os.path.normpath(line.file))] = None
            local = local_path(line, path.parent)
            if local is not None and not os.path.isabs(line.text):
                named.paths[Path(os.path.normpath(local))] = None
    elif wanted.kind == "requirements" and path.is_file():  # of a project: what lies beside it
        for beside in ("pyproject.toml", "uv.lock", "README.md", "setup.cfg", "setup.py", "src"):
            named.add(path.parent, beside)


# --- without a spec -------------------------------------------------------------------------------


def _told(given: Mapping[str, Any], here: Path) -> Told:
    """The options that `run` and `foreach` share."""
    texts = {"time": given.get("limit")} | {key: given.get(key) for key in RESOURCES[:-1]}
    return Told(
        name=given.get("name") or "",
        results_to=given.get("out") or "",
        libraries=tuple(given.get("lib") or ()),
        environment=given.get("env") or "",
        image=given.get("image") or "",
        resources={key: text for key, text in texts.items() if text},
    )


def _add_run(named: Named, given: Mapping[str, Any], here: Path, settings: Sequence[str]) -> None:
    told = replace(
        _told(given, here),
        command=tuple(given.get("command") or ()),
        count=given.get("count") or 0,
        params=given.get("params") or "",
        sweeps=tuple(given.get("sweep") or ()),
        pushed=pushed(given.get("push") or (), here),
    )
    _add_lists(named, given.get("push") or (), here)
    named.folders.add(here)
    for word in told.command:  # where no task is brought one of them, the host says how it could be
        if (here / word).is_file():
            named.add(here, word)
    with spec_of_run(told, here, keep=False) as made:
        _add(named, load_spec(made.path, settings, made.text))


def _add_foreach(
    named: Named, given: Mapping[str, Any], here: Path, settings: Sequence[str]
) -> None:
    functions = (given["scatter_name"], given["foreach_name"], given["gather_name"])
    asked = Asked(
        Path(given["script"]),
        tuple(given.get("args") or ()),
        given.get("name") or "",
        Functions(*functions),
        given.get("batch_size") or 0,
        given["gather"],
        bool(given.get("partial")),
        given["start_at"],
        {None: "auto", True: "always", False: "never"}[given.get("pickle")],
        tuple(pushed(given.get("push") or (), here)),
        shared_of(_told(given, here), here, settings),
    )
    check_foreach(asked)
    _add_lists(named, given.get("push") or (), here)
    named.folders.add(here)
    _add_steps(named, steps_of_data(workflow_of(asked, here), here, settings))


def _add_lists(named: Named, entries: Sequence[str], here: Path) -> None:
    """The @lists of --push, and those that they name."""
    waiting = [entry[1:] for entry in entries if entry.startswith("@")]
    while waiting:
        name = waiting.pop()
        if here / name not in named.paths:
            named.add(here, name)
            lines = (here / name).read_text("utf-8-sig", "surrogateescape").splitlines()
            waiting += [line.strip()[1:] for line in lines if line.strip().startswith("@")]


def _add_word(named: Named, word: str, here: Path, settings: Sequence[str]) -> None:
    """A path on the command line: a spec with all that it names, or a file or folder."""
    path = _whole(Path(word), here)
    if path.suffix in (".yaml", ".yml") and path.is_file():
        with suppress(OsgbatchError):
            add_spec(named, path, settings)
            return
    named.paths[path] = None
