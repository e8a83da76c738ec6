"""What each task is brought, each input looked up once, and where two may not meet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from glob import glob, has_magic
from pathlib import Path

from osgbatch.errors import SpecError, SpecErrors
from osgbatch.names import task_path
from osgbatch.plan_model import InputFile
from osgbatch.planning import inputs as placing
from osgbatch.spec_model import ColumnSource, Input, Place, Spec, Template
from osgbatch.tables import Table
from osgbatch.urls import file_name, is_url, scheme, split_url

Problems = Callable[[SpecError], None]
"""Is told what is wrong."""
Wanted = tuple[str, str, str, Place | None, bool | None, bool]
"""An input as the spec has it: source, target or nothing, folder, the place that says so, and
whether it is to be shared through the stash, and as a tree."""
CHUNK = 4096
"""Rows that are looked at together."""
MAX_PROBLEMS = 10
"""Of missing files and the like, so many are told one by one."""


def read_entries(spec: Spec, problem: Problems) -> tuple[Input, ...]:
    """The inputs of a spec with its `@lists` read and its patterns spread out."""
    found: list[Input] = []
    for entry in spec.inputs:
        if entry.is_list:
            found += _listed(entry, spec.folder, problem)
        elif not entry.source.names and not is_url(text := entry.source.fill({})):
            found += _matching(entry, text, spec.folder)
        else:
            found.append(entry)
    return tuple(found)


def _listed(entry: Input, folder: Path, problem: Problems) -> Iterator[Input]:
    """What a file of paths and URLs names: one per line; blank lines and `#` lines are none."""
    name = entry.source.fill({})
    try:
        text = (folder / name).read_text("utf-8-sig", "surrogateescape")
    except OSError as error:
        place = entry.source.place or _no_place(folder)
        fix = f"Paths start from the spec's folder, {folder}."
        problem(SpecError(f'cannot read the list "{name}": {error.strerror}', place, fix=fix))
        return
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            place = Place(name, number, 1, line, len(line))
            source = Template((line.strip(),), place)
            yield replace(entry, source=source, is_list=False)


def _matching(entry: Input, text: str, folder: Path) -> list[Input]:
    """The entry, or one for each file that matches where it is a pattern."""
    if (folder / text).exists() or not has_magic(text):
        return [entry]
    names = sorted(glob(text, root_dir=folder, recursive=True))
    return [replace(entry, source=Template((n,), entry.source.place)) for n in names] or [entry]


def paths(entries: Iterable[Input], table: Table) -> Iterator[str]:
    """All paths that inputs come to, with the values of every row; not the URLs."""
    columns = {column.name for column in table.columns} | {"index"}
    for entry in entries:
        names = list(dict.fromkeys(entry.source.names))
        if not columns.issuperset(names):
            continue  # told elsewhere
        for start in range(0, len(table) if names else 1, CHUNK):
            rows = _rows(table, names, start, min(start + CHUNK, len(table))) if names else [{}]
            texts = {entry.source.fill(row) for row in rows}
            yield from (text for text in texts if not is_url(text))


def _rows(table: Table, names: Sequence[str], start: int, stop: int) -> Iterator[dict[str, str]]:
    """Rows as texts, by name."""
    columns = [
        list(map(str, range(start, stop))) if name == "index" else table.texts(name, start, stop)
        for name in names
    ]
    for values in zip(*columns, strict=True):
        yield dict(zip(names, values, strict=True))


class Brought:
    """The inputs of the tasks of a sweep.

    shared: what every task is brought; sizes: bytes of all that was looked at, by source.
    problem: is told what is wrong with what is shared; without it SpecErrors is raised.
    listing: size and MD5 of URLs, where they are known. buckets: a URL of each bucket or server of
    S3 that inputs come from, by what stands first in it, and the place that brings it.
    """

    def __init__(
        self,
        spec: Spec,
        table: Table,
        entries: Sequence[Input],
        initialdir: Path,
        problem: Problems | None = None,
        listing: Mapping[str, tuple[int, str]] | None = None,
    ) -> None:
        self.listing = listing or {}
        self.spec = spec
        self.table = table
        self.initialdir = initialdir
        self.sizes: dict[Path, int] = {}
        self.archived: dict[str, InputFile] = {}
        self.buckets: dict[str, tuple[str, Place]] = {}
        self._placed: dict[tuple[str, str], InputFile] = {}
        self._problems: list[tuple[Place, str, str, str]] = []
        self._columns = [column.name for column in table.columns if column.is_file]
        self._places = dict(_column_places(spec.sources))
        self._entries = [entry for entry in entries if _names(entry)]
        self._shared: dict[str, InputFile] = {}
        self._around_shared: dict[str, InputFile] = {}
        fixed = [entry for entry in entries if not _names(entry)]
        self.shared = tuple(self._row(self._filled(fixed, {})))
        self._shared = {file.task_path: file for file in self.shared}
        for file in self.shared:
            self._around_shared.update(dict.fromkeys(_folders(file.task_path), file))
        if problem:
            for found in self._taken():
                problem(found)
        self.raise_problems()

    @property
    def by_row(self) -> bool:
        """Whether tasks are brought anything of their own."""
        return bool(self._columns or self._entries)

    def raise_problems(self) -> None:
        """Raise what was found wrong since the last time. Raises SpecErrors."""
        problems = self._taken()
        if problems:
            raise SpecErrors(problems)

    def _taken(self) -> list[SpecError]:
        """What was found wrong since the last time, each mistake of the spec once."""
        problems, self._problems = self._problems, []
        groups: dict[tuple[Place, str], list[str]] = {}
        fixes: dict[tuple[Place, str], str] = {}
        for place, subject, what, fix in problems:
            groups.setdefault((place, what), []).append(subject)
            fixes.setdefault((place, what), fix)
        return [
            SpecError(f"{subjects[0]} {what}{_others(subjects[1:])}", place, fix=fixes[place, what])
            for (place, what), subjects in groups.items()
        ]

    def rows(self, start: int, stop: int) -> list[tuple[InputFile, ...]]:
        """What each of these tasks is brought beside the shared inputs.

        Raises SpecErrors for what is not there, and for two things that want one place.
        """
        names = list(
            dict.fromkeys([*self._columns, *(n for e in self._entries for n in _names(e))])
        )
        found = []
        for row in _rows(self.table, names, start, stop):
            wanted: list[Wanted] = [
                (row[name], "", "inputs", self._places.get(name), None, False)
                for name in self._columns
            ]
            found.append(tuple(self._row([*wanted, *self._filled(self._entries, row)])))
            if len(self._problems) >= MAX_PROBLEMS:
                break
        self.raise_problems()
        return found

    def _filled(self, entries: Iterable[Input], row: Mapping[str, str]) -> Iterator[Wanted]:
        """Source, target, folder and place of entries with the values of a row."""
        for entry in entries:
            target = entry.target.fill(row) if entry.target else ""
            place = entry.source.place
            yield entry.source.fill(row), target, entry.folder, place, entry.shared, entry.tree

    def _row(self, wanted: Iterable[Wanted]) -> Iterator[InputFile]:
        """The inputs of one task, each once; no two in one place, nor one inside another."""
        files = [(file, w) for w in wanted if (file := self._place(w))]
        if len(files) > 1:  # folders before what is in them
            files.sort(key=lambda pair: pair[0].task_path.count("/"))
        taken: dict[str, InputFile] = {}
        for file, (text, _, _, place, *_) in files:
            where = file.task_path
            other = next(
                (
                    found
                    for path in (where, *_folders(where))
                    if (found := taken.get(path) or self._shared.get(path))
                ),
                None,
            )
            inside = self._around_shared.get(where)
            if other is not None:
                if not _same(file, other):
                    self._clash(other, text, where, place)
            elif inside is not None:
                self._clash(inside, text, inside.task_path, place)
            else:
                taken[where] = file
                yield file

    def _clash(self, other: InputFile, text: str, where: str, place: Place | None) -> None:
        name = other.url or str(other.source)
        if other.source.is_relative_to(self.spec.folder):
            name = str(other.source.relative_to(self.spec.folder))
        what = f"would both be {where} in the task"
        fix = "Give one of them another name: {path: ..., as: ...}, or bring their common folder."
        at = place or _no_place(self.spec.path)
        self._problems.append((at, f'"{name}" and "{text}"', what, fix))

    def _place(self, wanted: Wanted) -> InputFile | None:
        """How one input travels; None when something is wrong with it, which is noted."""
        text, target, folder, place, shared, tree = wanted
        url = is_url(text)
        name = file_name(text) if url else text
        if target.endswith("/"):
            there = task_path(f"{target}/{Path(name).name}", folder)
        else:
            there = task_path(target or name, folder)
        placed = self._placed.get((text, there))
        if placed is not None:
            return placed
        if url:
            file = placing.place_url(text, there, self.listing.get(text, (-1, "")))
            what = placing.url_problem(text)
            fix = _url_fix(what, text)
        else:
            source = placing.real_path(text, self.spec.folder)
            what, size, is_folder = placing.examine(source)
            self.sizes[source] = size
            file = placing.place_input(source, is_folder, self.spec.folder, self.initialdir, there)
            file = replace(file, shared=shared, tree=tree) if shared is not None or tree else file
            fix = f"Paths start from the spec's folder, {self.spec.folder}."
            if "permission denied" in what:
                fix = "Give yourself the right to read it, or leave it out."
        if not what and there == folder:
            what = "has no name of its own in the task"
            fix = "Name what is in it, or say where it goes: {path: ..., as: ...}."
        if what:
            where = place or _no_place(self.spec.path)
            self._problems.append((where, f'input "{text}"', what, fix))
            return None
        if file.archived:
            self.archived[file.carried] = file
        if scheme(file.url) == "s3":
            first = split_url(file.url)[1].partition("/")[0]
            self.buckets.setdefault(first, (file.url, place or _no_place(self.spec.path)))
        self._placed[(text, there)] = file
        return file


def _folders(path: str) -> Iterator[str]:
    """The folders that a path lies in, the deepest first."""
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def _same(file: InputFile, other: InputFile) -> bool:
    """Whether `file` is what already lies in that place as `other`, or as a part of it."""
    if file.task_path == other.task_path:
        return (file.source, file.url) == (other.source, other.url)
    inside = file.task_path[len(other.task_path) + 1 :]
    return not (file.url or other.url) and file.source == other.source / inside


def _others(subjects: Sequence[str]) -> str:
    """`; so do input "b" and 8 more`, of the same mistake in other tasks."""
    if not subjects:
        return ""
    more = f" and {len(subjects) - 1} more" if len(subjects) > 1 else ""
    return f"; the same with {subjects[0]}{more}"


def _column_places(sources: Iterable[ColumnSource]) -> Iterator[tuple[str, Place]]:
    """Where the columns of files are, also those in a zip."""
    for source in sources:
        if source.kind == "files":
            yield source.name, source.place
        yield from _column_places(source.parts)


def _url_fix(problem: str, url: str) -> str:
    """What to do about a problem of a URL."""
    if "no file" in problem:
        return "Write the whole URL of one file."
    if "key or a password" in problem:
        return "Bring the file to the access point, or use a URL that needs none."
    if "a name that" in problem:
        return "Bring the file to the access point under another name."
    if scheme(url) == "s3":  # HTCondor quotes a key itself, so a quoted one is not found
        return "Give the object another name, or bring the file to the access point."
    return "Write blanks and the like as %20, or bring the file to the access point."


def _names(entry: Input) -> tuple[str, ...]:
    return (*entry.source.names, *(entry.target.names if entry.target else ()))


def _no_place(path: Path) -> Place:
    return Place(str(path), 1, 1)


def _place_of(url: str, spec: Spec) -> Place:
    """The place of a URL in the spec, where it is written out; else of the spec."""
    for entry in spec.inputs:
        if entry.source.place and not entry.source.names and entry.source.fill({}) == url:
            return entry.source.place
    return _no_place(spec.path)


def check_job(files: Iterable[InputFile], spec: Spec) -> None:
    """Raise SpecError when two things would meet in the scratch folder of one job.

    files: all that the job is brought. HTCondor keeps the tree of what it brings from the access
    point, but puts a URL's file right into the scratch folder.
    """
    arriving: dict[str, InputFile] = {}
    for file in files:
        if file.archived:
            continue
        key = file.carried if file.url else file.carried.split("/", 1)[0]
        other = arriving.setdefault(key, file)
        if (other.url or file.url) and other.url != file.url:
            names = " and ".join(f"{f.url or f.carried}" for f in (other, file))
            raise SpecError(
                f"{names} would both arrive as {key} in the folder of one job",
                _place_of(file.url or other.url, spec),
                fix="Rename one of them; if they belong to different tasks, tasks_per_job: 1 keeps "
                "them apart.",
            )
