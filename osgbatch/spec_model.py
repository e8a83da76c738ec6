"""The frozen dataclasses of a spec: what a sweep.yaml says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from osgbatch.tables import Cell


@dataclass(frozen=True)
class Place:
    """A place in a file that the user wrote, for errors that point at it.

    line, column: 1-based; width: characters under the caret; source: the line's text.
    """

    file: str
    line: int
    column: int
    source: str = ""
    width: int = 1

    def at(self, token: str) -> Place:
        """The place of `token` inside this one, where it can be found on the same line."""
        found = self.source.find(token, self.column - 1)
        if found < 0:
            return self
        return Place(self.file, self.line, found + 1, self.source, len(token))

    def inside(self, text: str, offset: int, width: int) -> Place:
        """The place of a part of `text`, where the line shows the text as it is."""
        found = self.source.find(text, self.column - 1)
        if found < 0:
            return self
        return Place(self.file, self.line, found + offset + 1, self.source, max(1, width))


@dataclass(frozen=True)
class Template:
    """Text with placeholders: literals at even positions, column names at odd ones."""

    parts: tuple[str, ...]
    place: Place | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The placeholders' names, in order."""
        return self.parts[1::2]

    def fill(self, values: Mapping[str, str]) -> str:
        """The text with every placeholder replaced once; values are never expanded again."""
        if len(self.parts) == 1:
            return self.parts[0]
        return "".join(
            values[part] if position % 2 else part for position, part in enumerate(self.parts)
        )


@dataclass(frozen=True)
class ColumnSource:
    """One entry of the `sweep:` section: where columns come from, or what is done to the rows.

    kind: "list" (cells), "range", "linspace", "logspace" (numbers), "files", "lines", "table"
    (paths), "random" (text: the distribution, with numbers or cells; count, seed) or "zip" (parts);
    "where", "exclude" (text), "sample" (count, seed), "repeat" or "count" (count).
    name: the column's; empty for what makes several, or none.
    """

    kind: str
    name: str
    place: Place
    cells: tuple[Cell, ...] = ()
    paths: tuple[UserPath, ...] = ()
    text: str = ""
    numbers: tuple[int | Fraction, ...] = ()
    count: int = 0
    seed: int = 0
    parts: tuple[ColumnSource, ...] = ()

    def inside(self, offset: int, width: int) -> Place:
        """The place of a part of `text`, where the line shows the text as it is."""
        return self.place.inside(self.text, offset, width)


@dataclass(frozen=True)
class UserPath:
    """A path as the spec has it, and where it says so. target: its name in the task, or empty."""

    text: str
    place: Place
    target: str = ""


@dataclass(frozen=True)
class Script:
    """A `script:` for bash, its placeholders made into references to environment variables.

    text: what bash is given; names: the placeholders in it, each once; a reference to column x is
    ${OSGBATCH_PARAM_x}, so that no value is ever read as code. whole: those with which bash
    calculates, so that their values must be whole numbers. written: the script as the spec has it.
    """

    text: str
    names: tuple[str, ...]
    place: Place
    whole: tuple[str, ...] = ()
    written: str = ""


@dataclass(frozen=True)
class Function:
    """A Python function that is called with the row: `function: module:name`."""

    module: str
    name: str
    place: Place


@dataclass(frozen=True)
class Gather:
    """What runs once over all results: `gather:`.

    text: the path of a script, or the function as the spec has it; function: where it is one.
    in_pool: it runs as a job of its own; resources, inputs: of that job, as the spec has them.
    """

    text: str
    place: Place
    function: Function | None = None
    in_pool: bool = False
    resources: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[UserPath, ...] = ()


@dataclass(frozen=True)
class Input:
    """One entry of `inputs:` or `related:`.

    source: a path or a URL; is_list: it is a file beside the spec that lists some, one per line.
    target: where the task finds it, relative to `folder`; None: at the same path as in the spec.
    A target that ends in "/" is a folder in which the source keeps its base name.
    folder: "inputs" or "related", in the task's folder.
    shared: whether it goes through the stash; None: by its size and by how many jobs read it.
    tree: of a folder each file is an object of its own, in place of one archive.
    """

    source: Template
    target: Template | None = None
    folder: str = "inputs"
    is_list: bool = False
    shared: bool | None = None
    tree: bool = False


@dataclass(frozen=True)
class Environment:
    """What a task's programs come from.

    kind: "none", "requirements", "conda" (environment.yml), "prefix" (an environment in a folder),
    "archive" (a packed one, made elsewhere) or "container". path: the file or folder; of a
    container its image, a path or a URL (docker://, osdf://). python: the version wanted, "3.12",
    empty for any; python_place: where that stands in a spec. channels: of conda, before those of
    the file. imports: modules that must be importable. strip: without tests, headers and static
    libraries. test: try it before it is sent.
    """

    kind: str = "none"
    path: UserPath | None = None
    python: str = ""
    channels: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()
    strip: bool = False
    test: bool = True
    python_place: Place | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Output:
    """What must, or may, come back: a path or glob relative to the task's folder.

    to: where it lies in `results/`, beside the task's own folder there; ending in "/" a folder.
    """

    pattern: Template
    optional: bool = False
    to: Template | None = None


@dataclass(frozen=True)
class Resources:
    """What a job asks for. memory in MiB, disk in KiB, time in seconds per task (0: none).

    disk_of_job: nobody said what a task needs, so that disk_kb is for all tasks of a job.
    """

    cpus: int = 1
    memory_mb: int = 1024
    disk_kb: int = 2 * 1024 * 1024
    time_s: int = 0
    gpus: int = 0
    disk_of_job: bool = False


@dataclass(frozen=True)
class ResourceExpression:
    """A resource that depends on the row: `memory: {expr: "2 GB * n_cells"}`.

    resource: cpus, memory, disk, gpus or time; its value is in bytes for memory and disk, in
    seconds for time.
    """

    resource: str
    text: str
    place: Place

    def inside(self, offset: int, width: int) -> Place:
        """The place of a part of `text`, where the line shows the text as it is."""
        return self.place.inside(self.text, offset, width)


@dataclass(frozen=True)
class Gpus:
    """Which GPUs will do; how many stands in the resources. min_memory_mb: MiB, 0 for any."""

    min_memory_mb: int = 0
    min_capability: str = ""


@dataclass(frozen=True)
class Requirements:
    """What an execution point must be like.

    os: names such as "el9", any of which will do; arch: "x86_64", "aarch64"; microarch: the least
    level, "x86_64-v3"; cvmfs: repositories; sites: names of which to use only, or to avoid;
    expr: a ClassAd expression, joined to the rest by `&&`.
    """

    os: tuple[str, ...] = ()
    arch: tuple[str, ...] = ()
    microarch: str = ""
    cvmfs: tuple[str, ...] = ()
    only_sites: tuple[str, ...] = ()
    avoid_sites: tuple[str, ...] = ()
    expr: str = ""


@dataclass(frozen=True)
class Notify:
    """Who gets a mail from HTCondor when a job ends, and when: "complete", "error" or "always"."""

    email: str
    when: str = "complete"


@dataclass(frozen=True)
class Stash:
    """Where big and shared files are staged, and what jobs call it.

    kind: "folder" (which a web server or the OSDF serves), "s3", "pelican" (written through the
    `pelican` command) or "none". folder: of the kind folder, where it lies; may begin with `~` and
    hold $USER. url: what jobs are given: osdf:///…, http://…, file:///…, s3://bucket/prefix; it
    may hold {folder}. endpoint, region, key_folder: of S3; key_folder: where the two key files are.
    place: in the spec or the profile; None where there is none. presigned_s: for how many seconds
    jobs may fetch objects by URLs that are signed in advance; 0 where HTCondor signs them.
    """

    kind: str = "none"
    url: str = ""
    folder: str = ""
    endpoint: str = ""
    region: str = ""
    key_folder: str = ""
    place: Place | None = None
    presigned_s: int = 0


@dataclass(frozen=True)
class Profile:
    """What is known of a pool; sizes in bytes, times in seconds, 0 for no limit.

    input_bytes: what a job should at most be brought; stash_bytes: one file above this belongs
    into the stash; shared_bytes: so does one above this that more than one job reads; stash: the
    pool's, for those who have a folder there; quotas: commands that tell what is left of the home
    folder and of the stash; many_jobs: queued jobs above which max_idle is needed; longest_s: a job
    that takes longer needs checkpoints; home: the folder that submissions should be made from;
    glideins: free slots follow demand, so that counting them says nothing; avoid: the attribute of
    its slots that names a place, which a job that has just failed there avoids for a while (empty:
    none); releases: how often a job is released that is held because files could not be brought;
    release_after_s: the first pause before that, which grows; bad_starts: after so many starts
    that came to nothing a job is held (0: never).
    """

    name: str = "generic"
    input_bytes: int = 500 * 1024**2
    stash_bytes: int = 1024**3
    shared_bytes: int = 10 * 1024**2
    stash: Stash = Stash()
    quotas: tuple[tuple[str, str], ...] = ()
    many_jobs: int = 10_000
    max_idle: int = 2_000
    longest_s: int = 0
    home: str = ""
    glideins: bool = False
    avoid: str = ""
    releases: int = 3
    release_after_s: int = 600
    bad_starts: int = 20


@dataclass(frozen=True)
class Ladder:
    """What a job asks for, step by step, after it was stopped for using more than it asked for.

    sizes: one after the other; with a factor there is one, up to which each request is so many
    times the last. In MiB of memory, in KiB of disk.
    """

    factor: float
    sizes: tuple[int, ...]

    @property
    def most(self) -> int:
        """The last step."""
        return self.sizes[-1]

    def steps(self, request: int) -> list[int]:
        """What is asked for after `request` was not enough, rising; none when it is above all."""
        if not self.factor:
            return [size for size in self.sizes if size > request]
        found: list[int] = []
        while request < self.most:
            request = min(self.most, max(request + 1, int(request * self.factor)))
            found.append(request)
        return found


@dataclass(frozen=True)
class Retries:
    """How often and when a failure is tried again.

    on: "infrastructure", "any", or "codes" (then `codes` says which, per task, by the shim).
    memory, disk: what is asked for after a job was stopped for them; None: such a job is held.
    """

    times: int = 2
    on: str = "infrastructure"
    codes: tuple[int, ...] = ()
    memory: Ladder | None = None
    disk: Ladder | None = None


@dataclass(frozen=True)
class Checkpoint:
    """What a program that saves its state needs to go on elsewhere.

    files: paths, patterns or folders in the task's folder, the same for all tasks. every_s: how
    often the shim stops the program for that; 0: the program itself exits, with code 85.
    """

    files: tuple[str, ...]
    every_s: int = 0


@dataclass(frozen=True)
class Spec:
    """`sweep.yaml` as the user wrote it, checked.

    text: its very bytes, or what it comes to with what it extends and the defaults. command,
    script, function: one of them; none: the container's own run script. tasks_per_job: 0 for auto.
    max_running: 0 for no limit. submit: commands for the submit file, as they were written. stash:
    None for the profile's. outputs_to: a URL that outputs go to, results_to: a folder of results;
    else empty. written_name: as `name:` has it. exclude: patterns of outputs; changed_only: only
    what changed comes back. orcid: of who runs it. written_files: of which the files are copies.
    """

    path: Path
    text: bytes
    name: str
    command: tuple[Template, ...] = ()
    script: Script | None = None
    function: Function | None = None
    sources: tuple[ColumnSource, ...] = ()
    files: tuple[UserPath, ...] = ()
    libraries: tuple[UserPath, ...] = ()
    inputs: tuple[Input, ...] = ()
    outputs: tuple[Output, ...] = ()
    exclude: tuple[str, ...] = ()
    changed_only: bool = False
    environment: Environment = Environment()
    environment_variables: tuple[tuple[str, Template], ...] = ()
    resources: Resources = Resources()
    expressions: tuple[ResourceExpression, ...] = ()
    gpus: Gpus = Gpus()
    requirements: Requirements = Requirements()
    retries: Retries = Retries()
    checkpoint: Checkpoint | None = None
    project: str = ""
    orcid: str = ""
    max_running: int = 0
    tags: tuple[str, ...] = ()
    notify: Notify | None = None
    submit: tuple[tuple[str, str], ...] = ()
    stash: Stash | None = None
    outputs_to: str = ""
    results_to: str = ""
    profile: Profile = Profile()
    time_place: Place | None = None
    tasks_per_job: int = 1
    gather: Gather | None = None
    written_name: str = ""
    written_files: tuple[UserPath, ...] = ()

    @property
    def folder(self) -> Path:
        """The folder that relative paths of the spec start from."""
        return self.path.parent
