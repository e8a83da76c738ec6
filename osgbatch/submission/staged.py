"""The staging of a plan: inputs, environment and archives to objects of its stash."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from osgbatch.errors import StagingError
from osgbatch.packing.folders import FolderArchive, drop_archive, folder_archive, folder_changed
from osgbatch.places import cache_folder
from osgbatch.plan_model import Payload, Placed, Plan
from osgbatch.planning.placement import ObjectFile, Source, placed_payload, with_objects
from osgbatch.staging.hashes import Hashes
from osgbatch.staging.hold import Hold
from osgbatch.staging.objects import Object, checksum_of, suffix_of
from osgbatch.staging.quota import Room, warnings_of
from osgbatch.staging.stage import Progress, Staged, Wanted, check, hash_files, stage, stage_line
from osgbatch.staging.store import Store, open_store
from osgbatch.submission.buckets import reached
from osgbatch.texts import size

if TYPE_CHECKING:
    from osgbatch.packing.environment import EnvironmentArchive

Say = Callable[[str], None]
_CHUNK = 4096


class Silent:
    """A progress that nobody looks at."""

    def start(self, what: str, total: int) -> None:
        """See Progress."""

    def advance(self, count: int) -> None:
        """See Progress."""

    def end(self) -> None:
        """See Progress."""


@dataclass(frozen=True)
class Staging:
    """A plan whose big and shared files are in the stash.

    plan: its inputs are objects where they are. url: of the stash; empty without one. objects: the
    names of all that the batch refers to. environment: the URL of the environment's object, if any.
    commands: of the submit language, that fetching them needs. verify: whether what is there is
    read before it is used. hold: keeps what is there from being removed for as long as this lives:
    until the batch folder says that it is in use.
    """

    plan: Plan
    url: str = ""
    objects: tuple[str, ...] = ()
    environment: str = ""
    commands: tuple[tuple[str, str], ...] = ()
    verify: bool = False
    hold: Hold | None = None


@dataclass
class Files:
    """What is to be staged: a file here for each object, and what it stands for.

    uses: of each file the input, the path in that of a part of it, and what a job does with it.
    folders: archives made for it.
    """

    wanted: list[Wanted] = field(default_factory=list)
    uses: list[tuple[Source, str, str]] = field(default_factory=list)
    folders: list[FolderArchive] = field(default_factory=list)

    def add(self, wanted: Wanted, source: Source, below: str, form: str) -> None:
        """One more file. source: the input; below: which part of it; form: see InputFile."""
        self.wanted.append(wanted)
        self.uses.append((source, below, form))


def stage_plan(
    plan: Plan,
    environment: EnvironmentArchive | None,
    say: Say,
    progress: Progress,
    *,
    verify: bool = False,
) -> Staging:
    """Bring the inputs and the environment of a plan to its stash, as far as they belong there.

    verify: read what is there already, also objects that the spec names by their URLs.
    Raises StagingError, PackingError; what was brought until then is not brought again.
    """
    plan, of_buckets = reached(plan)
    if plan.stash.kind == "none":
        if verify:
            say("nothing to verify: this sweep uses no stash")
        return Staging(plan, commands=of_buckets)
    payload = _environment_payload(plan, environment)
    environment_placed = bool(placed_payload(plan, payload))
    store = open_store(plan.stash, plan.spec.profile)
    store.tell = say
    hold = store.hold()
    named = _named_objects(plan, store)
    if verify:
        _check_named(named, store, say, progress)
    if not plan.placed and not environment_placed:
        commands = tuple(dict([*of_buckets, *(store.commands() if named else ())]).items())
        return Staging(plan, store.url, named, commands=commands, verify=verify, hold=hold)
    of_store = store.commands() if named else store.fetch_commands()  # before anything is brought
    with Hashes(cache_folder()) as hashes:
        files = files_of(plan.placed, hashes, progress)
        if environment_placed:
            item = payload[0]
            files.add(
                Wanted(item.path, item.size, item.sha256), (item.path, False), "", "environment"
            )
        objects = hash_files(files.wanted, hashes, progress)
    bring(files, objects, store, say, progress, verify=verify)
    found: dict[Source, list[ObjectFile]] = {}
    environment_url = ""
    for (source, below, form), one in zip(files.uses, objects, strict=True):
        url = store.fetch_url(one.name)
        if form == "environment":
            environment_url = url
        else:
            found.setdefault(source, []).append(ObjectFile(url, below, form))
    names = tuple(dict.fromkeys([*(one.name for one in objects), *named]))
    commands = tuple(dict([*of_buckets, *of_store]).items())
    staged = with_objects(plan, found)
    return Staging(staged, store.url, names, environment_url, commands, verify, hold)


def _named_objects(plan: Plan, store: Store) -> tuple[str, ...]:
    """Objects of the stash that the spec itself names by their URLs."""
    start = store.object_url("")
    found: dict[str, None] = {}
    for first in range(0, len(plan.tasks), _CHUNK):
        rows = plan.tasks.inputs(first, min(first + _CHUNK, len(plan.tasks)))
        if rows is None:
            break
        urls = (file.url for files in rows for file in files)
        found.update(dict.fromkeys(url for url in urls if url.startswith(start)))
    shared = [file.url for file in plan.tasks.shared if file.url.startswith(start)]
    return tuple(url[len(start) :] for url in (*shared, *found))


def _check_named(named: Sequence[str], store: Store, say: Say, progress: Progress) -> None:
    """Read the objects that the spec names. Raises StagingError when one is gone or damaged."""
    ours = [name for name in named if checksum_of(name)]
    sizes = store.sizes(ours)
    for name in ours:
        if name not in sizes:
            raise StagingError(
                "there is no such object in the stash",
                where=store.object_url(name),
                fix="`osgbatch stage put` brings it.",
            )
    check(
        [Object(checksum_of(name), sizes[name], suffix_of(name)) for name in ours], store, progress
    )
    if ours:
        say(_verified_line(len(ours)))


def _verified_line(count: int) -> str:
    noun = "object" if count == 1 else "objects"
    return (
        f"verify: {count:,} {noun} of the stash read, as {'it' if count == 1 else 'they'} should be"
    )


def stage_payload(
    staging: Staging, payload: Sequence[Payload], say: Say, progress: Progress
) -> tuple[Staging, list[Payload]]:
    """Bring to the stash those archives of a batch that belong there. Raises StagingError."""
    rest = [item for item in payload if not item.url]
    placed = placed_payload(staging.plan, rest)
    if not placed:
        return staging, list(payload)
    store = open_store(staging.plan.stash, staging.plan.spec.profile)
    of_store = store.fetch_commands()  # before anything is brought
    files = Files()
    for item in rest:
        if item.path in placed:
            files.add(Wanted(item.path, item.size, item.sha256), (item.path, False), "", "")
    objects = [
        Object(file.sha256, file.size, suffix_of(os.path.basename(file.path)))
        for file in files.wanted
    ]
    bring(files, objects, store, say, progress, verify=staging.verify)
    urls = {f.path: store.fetch_url(o.name) for f, o in zip(files.wanted, objects, strict=True)}
    names = tuple(dict.fromkeys([*staging.objects, *(one.name for one in objects)]))
    found = [replace(item, url=urls.get(item.path, item.url)) for item in payload]
    commands = tuple(dict([*staging.commands, *of_store]).items())
    return replace(staging, url=store.url, objects=names, commands=commands), found


def _environment_payload(plan: Plan, environment: EnvironmentArchive | None) -> list[Payload]:
    """The environment as what travels with the jobs."""
    if environment is None:
        return []
    is_image = plan.spec.environment.kind == "container"
    kind = "container" if is_image else "environment"
    one = environment
    return [Payload(kind, one.path, one.sha256, one.size, one.unpacked_size)]


def files_of(placed: Sequence[Placed], hashes: Hashes, progress: Progress) -> Files:
    """The files that stand for inputs: a file, the archive of a folder, or each file of a tree.

    Raises StagingError, PackingError.
    """
    files = Files()
    for item in placed:
        if not item.source.is_dir():
            executable = os.access(item.source, os.X_OK)
            form = "program" if executable else "file"
            files.add(Wanted(item.source, item.size), (item.source, item.tree), "", form)
        elif item.tree:
            _add_tree(files, item, hashes, progress)
        else:
            archive = folder_archive(item.source, cache_folder())
            files.folders.append(archive)
            wanted = Wanted(archive.path, archive.size, archive.sha256)
            files.add(wanted, (item.source, False), "", "folder")
    return files


def _add_tree(files: Files, item: Placed, hashes: Hashes, progress: Progress) -> None:
    progress.start("hashing", item.size)
    try:
        found = list(hashes.of_tree(item.source, progress.advance))
    finally:
        progress.end()
    if not found:
        raise StagingError(
            "the folder holds no file",
            where=str(item.source),
            fix="Without `tree: true` an empty folder is brought as it is.",
        )
    start, source = f"{item.source}/", (item.source, True)
    for below, sha256, count, is_program in found:  # a Path for each would take long
        form = "program" if is_program else "file"
        files.add(Wanted(start + below, count, sha256), source, below, form)


def bring(
    files: Files,
    objects: Sequence[Object],
    store: Store,
    say: Say,
    progress: Progress,
    *,
    verify: bool = False,
) -> Staged:
    """Bring files to a stash, and say so in one line. Raises StagingError.

    objects: of each file. verify: read what is there already, too.
    """

    def told(count: int, count_bytes: int, total: int) -> None:
        say(stage_line(count, count_bytes, total, size))

    def tell_room(room: Room, count: int) -> None:
        for warning in warnings_of(room, count, "the stash", size):
            say(f"warning: {warning}")

    archives = list(files.folders)
    packed = [
        (source, one.name)
        for ((source, _), _, form), one in zip(files.uses, objects, strict=True)
        if form == "folder"
    ]
    there = store.sizes(name for _, name in packed) if packed else {}
    for (source, name), archive in zip(packed, files.folders, strict=True):
        # It was staged once, and removed there; or another osgbatch has just staged it elsewhere.
        if name not in there and (archive.held is None or not archive.path.exists()):
            again = folder_archive(source, cache_folder(), needed=True)
            archives.append(again)
            if again.sha256 != archive.sha256:
                drop_archive(again)
                raise folder_changed(source)
    paths = [file.path for file in files.wanted]
    done = stage(
        paths, objects, store, told, progress, verify=verify, tell_room=tell_room, size=size
    )
    if verify and done.there:
        say(_verified_line(done.there))
    for archive in archives:
        drop_archive(archive)
    return done
