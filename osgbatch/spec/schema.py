"""What a sweep.yaml may hold: the pydantic models are the one list of its keys."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Discriminator, Field, Tag

from osgbatch.spec import values
from osgbatch.spec.schema_base import (
    BY_KEYS,
    BY_LIST,
    Gpus,
    Model,
    Scalar,
    Text,
    Texts,
    empty,
    none,
)
from osgbatch.spec.schema_resources import GatherResourcesModel, GpusModel, ResourcesModel
from osgbatch.spec.schema_retries import CheckpointModel, RetriesModel
from osgbatch.spec.values import SCALAR, TEXT, Check, OneOrMore


class SitesModel(Model):
    """The sites to use only, or to avoid."""

    only: Annotated[list[Annotated[str, Check(values.label("a site"), TEXT)]], OneOrMore()] = Field(
        default_factory=none, description="Run at these sites only."
    )
    avoid: Annotated[list[Annotated[str, Check(values.label("a site"), TEXT)]], OneOrMore()] = (
        Field(default_factory=none, description="Do not run at these sites.")
    )


_OS = {"type": "string", "examples": ["el8", "el9"]}
_ARCH = {"enum": ["x86_64", "aarch64"]}
_LEVEL = {"enum": ["x86_64-v1", "x86_64-v2", "x86_64-v3", "x86_64-v4"]}
_CVMFS = {"type": "string", "examples": ["oasis.opensciencegrid.org"]}


class RequirementsModel(Model):
    """What an execution point must be like."""

    os: Annotated[list[Annotated[str, Check(values.operating_system, _OS)]], OneOrMore()] = Field(
        default_factory=none, description="Operating systems, any of which will do."
    )
    arch: Annotated[list[Annotated[str, Check(values.architecture, _ARCH)]], OneOrMore()] = Field(
        default_factory=none, description="CPU architectures, any of which will do."
    )
    microarch: Annotated[str, Check(values.microarchitecture, _LEVEL)] = Field(
        default="", description="The least level of the CPU."
    )
    cvmfs: Annotated[list[Annotated[str, Check(values.repository, _CVMFS)]], OneOrMore()] = Field(
        default_factory=none, description="CVMFS repositories that must be there."
    )
    sites: SitesModel = Field(
        default_factory=lambda: SitesModel(), description="Sites to use or to avoid."
    )
    expr: Annotated[str, Check(values.one_line, TEXT)] = Field(
        default="", description="A ClassAd expression.", examples=["HAS_AVX2 =?= true"]
    )


class OutputModel(Model):
    """An output that need not be there, or that is to lie elsewhere, too."""

    path: Text = Field(description="A path, pattern or folder in the task's folder.")
    optional: bool = Field(default=False, description="A task without it may succeed.")
    to: Text | None = Field(
        default=None,
        description="Where it lies in results/, too: {column}s may stand in it; a/ is a folder.",
        examples=["{threshold}/{lfp}.npy"],
    )


class InputModel(Model):
    """An input with another name in the task."""

    path: Text = Field(description="A file, folder or URL; @list.txt names a list of them.")
    target: Text | None = Field(
        default=None,
        alias="as",
        description="Where the task finds it, below inputs/; a/ is a folder.",
    )
    shared: bool | None = Field(
        default=None, description="Whether jobs get it from the stash; default: by its size."
    )
    tree: bool = Field(
        default=False, description="Stage each file of a folder by itself, not as one archive."
    )


Module = Annotated[str, Check(values.module_name, TEXT)]
_PYTHON = {"type": ["string", "number"], "examples": ["3.12"]}


class EnvironmentModel(Model):
    """What the environment is made from, by one of the first five keys, and how."""

    conda: Text | None = Field(default=None, description="An environment.yml for conda.")
    requirements: Text | None = Field(
        default=None, description="A requirements file, pyproject.toml, uv.lock or pylock.toml."
    )
    prefix: Text | None = Field(
        default=None, description="The folder of a conda, virtual or uv environment."
    )
    archive: Text | None = Field(
        default=None, description="A packed environment, such as conda-pack's."
    )
    container: Text | None = Field(
        default=None,
        description="An image: .sif, docker://…, osdf://….sif, or a definition file.",
    )
    python: Annotated[Any, Check(values.python_version, _PYTHON)] = Field(
        default="", description="The version of Python, for requirements."
    )
    channels: Texts = Field(
        default_factory=none, description="Channels of conda, before those of environment.yml."
    )
    imports: Annotated[list[Module], OneOrMore()] = Field(
        default_factory=none, description="Modules that it must be possible to import."
    )
    strip: bool = Field(default=False, description="Leave out tests, headers and static libraries.")
    test: bool = Field(default=True, description="Try it at another path before it is sent.")


class StashModel(Model):
    """Where big and shared files are staged, by one of the first three keys."""

    folder: Text | None = Field(default=None, description="A folder here, which a URL serves.")
    s3: Text | None = Field(default=None, description="A bucket: s3://bucket/prefix.")
    pelican: Text | None = Field(
        default=None, description="A place in the OSDF that the `pelican` command writes to."
    )
    url: Text | None = Field(
        default=None,
        description="What jobs get the folder from.",
        examples=["osdf:///ospool/ap40/data/$USER"],
    )
    endpoint: Text | None = Field(default=None, description="The S3 server, unless it is AWS.")
    region: Text | None = Field(default=None, description="The region of the bucket.")
    key_folder: Text | None = Field(
        default=None, description="The folder of the files access_key and secret_key."
    )


class NotifyModel(Model):
    """Who gets a mail, and when."""

    email: Annotated[str, Check(values.email, TEXT)] = Field(description="A mail address.")
    when: Annotated[
        str,
        Check(
            values.choice("complete", "error", "always"), {"enum": ["complete", "error", "always"]}
        ),
    ] = Field(default="complete", description="When a job ends, when it fails, or at every event.")


_WHERE = ("here", "pool")
_PAIR = {
    "type": "object",
    "minProperties": 1,
    "maxProperties": 1,
    "propertyNames": {"not": {"enum": ["path", "as"]}},
    "additionalProperties": SCALAR,
}
InputEntry = Annotated[
    Annotated[str, Check(values.nonempty, TEXT), Tag("[value]")]
    | Annotated[dict[str, Any], Check(values.pair, _PAIR), Tag("[pair]")]
    | Annotated[InputModel, Tag("[keys]")],
    Discriminator(values.input_form),
]
FileEntry = Annotated[
    Annotated[Text, Tag("[value]")]
    | Annotated[dict[str, Any], Check(values.pair, _PAIR), Tag("[pair]")],
    Discriminator(values.file_form),
]
OutputEntry = Annotated[
    Annotated[Text, Tag("[value]")] | Annotated[OutputModel, Tag("[keys]")],
    Discriminator(values.output_form),
]


class OutputsModel(Model):
    """Which files come back, beside stdout and stderr."""

    include: Annotated[list[OutputEntry], OneOrMore()] = Field(
        default_factory=none, description="What must come back; default: all of outputs/."
    )
    exclude: Texts = Field(
        default_factory=none,
        description="Patterns of what stays away; one without a / holds in every folder.",
        examples=["*.tmp"],
    )
    changed_only: bool = Field(
        default=False,
        description="Only files that the command made or changed, also outside outputs/.",
    )


Argument = Annotated[Any, Check(values.scalar("an argument should be text or a number"), SCALAR)]
Arguments = Annotated[list[Argument], BeforeValidator(values.arguments)]
Tag_ = Annotated[Any, Check(values.label("a tag"), SCALAR)]
Submit = Annotated[
    Any,
    Check(values.scalar("a submit command should be text, a number, or true or false"), SCALAR),
]


class GatherModel(Model):
    """What runs once over all results, and where."""

    script: Text | None = Field(default=None, description="A script of Python, or of R.")
    function: Text | None = Field(
        default=None, description="A Python function, module:name, that is given the results."
    )
    where: Annotated[str, Check(values.choice(*_WHERE), {"enum": list(_WHERE)})] = Field(
        default="here",
        alias="in",
        description="Here, on the access point, or in the pool, as a last job.",
    )
    resources: GatherResourcesModel | None = Field(
        default=None, description="What that job needs, in the pool."
    )
    inputs: Texts = Field(
        default_factory=none, description="More data for that job, in the pool: paths or URLs."
    )


class SpecModel(Model):
    """A sweep: the tasks to run, and what they need."""

    name: Text | None = Field(
        default=None, description="The sweep's name; default: the name of the file or folder."
    )
    extends: Texts | None = Field(
        default=None, description="Files whose keys hold where this one says nothing."
    )
    profile: Text | None = Field(default=None, description="What is known of the pool.")
    command: (
        Annotated[
            Annotated[str, Check(values.command, TEXT), Tag("[value]")]
            | Annotated[Arguments, Tag("[list]")],
            BY_LIST,
        ]
        | None
    ) = Field(
        default=None,
        description="What a task runs. {x} is a column, {index} the task.",
        examples=["python job.py {x}"],
    )
    script: Text | None = Field(
        default=None, description="Lines for bash, in place of a command; {x} is a column."
    )
    function: Text | None = Field(
        default=None,
        description="A Python function that is called with the row, in place of a command.",
        examples=["analysis:run"],
    )
    sweep: dict[str, Any] = Field(
        default_factory=empty, description="The columns: all their combinations are tasks."
    )
    files: Annotated[list[FileEntry], OneOrMore()] = Field(
        default_factory=none, description="Your scripts and other small files."
    )
    libraries: Texts = Field(
        default_factory=none, description="Python packages of yours that a task imports."
    )
    environment: Annotated[
        Annotated[str, Check(values.environment, {"type": ["string", "null"]}), Tag("[value]")]
        | Annotated[EnvironmentModel, Tag("[keys]")],
        BY_KEYS,
    ] = Field(
        default="",
        description="What a task's programs come from, or none.",
        examples=["requirements.txt", "environment.yml", ".venv/"],
    )
    inputs: Annotated[list[InputEntry], OneOrMore()] = Field(
        default_factory=none, description="Data for the tasks, brought to inputs/."
    )
    related: Annotated[list[InputEntry], OneOrMore()] = Field(
        default_factory=none, description="More data for the tasks, brought to related/."
    )
    stash: (
        Annotated[
            Annotated[str, Check(values.stash, TEXT), Tag("[value]")]
            | Annotated[StashModel, Tag("[keys]")],
            BY_KEYS,
        ]
        | None
    ) = Field(
        default=None,
        description="Where big and shared files are staged, or none; default: the pool's.",
        examples=["s3://bucket/prefix", "none"],
    )
    outputs: Annotated[
        Annotated[list[OutputEntry], OneOrMore(), Tag("[list]")]
        | Annotated[OutputsModel, Tag("[keys]")],
        Discriminator(values.outputs_form),
    ] = Field(default_factory=none, description="What must come back; default: all of outputs/.")
    outputs_to: Text | None = Field(
        default=None, description="A URL that outputs go to.", examples=["s3://bucket/prefix"]
    )
    results_to: Text | None = Field(
        default=None,
        description="A new folder in which each task's results lie, too: <index>/.",
        examples=["peaks/"],
    )
    environment_variables: dict[str, Scalar] = Field(
        default_factory=empty, description="Set for each task.", examples=[{"LEVEL": 3}]
    )
    resources: ResourcesModel = Field(
        default_factory=lambda: ResourcesModel(), description="What one task needs."
    )
    gpus: Annotated[
        Annotated[Gpus, Tag("[value]")] | Annotated[GpusModel, Tag("[keys]")], BY_KEYS
    ] = Field(default=0, description="How many GPUs, and which will do.")
    requirements: Annotated[
        Annotated[str, Check(values.one_line, TEXT), Tag("[value]")]
        | Annotated[RequirementsModel, Tag("[keys]")],
        BY_KEYS,
    ] = Field(
        default_factory=lambda: RequirementsModel(),
        description="What an execution point must be like.",
    )
    retries: Annotated[
        Annotated[int, Check(values.times, values.number_json(0, 100)), Tag("[value]")]
        | Annotated[RetriesModel, Tag("[keys]")],
        BY_KEYS,
    ] = Field(default=2, description="How often and when a failure is tried again.")
    tasks_per_job: Annotated[
        int,
        Check(
            values.tasks_per_job,
            {"anyOf": [values.number_json(1, 1_000_000), {"const": "auto"}]},
        ),
    ] = Field(default=1, description="How many tasks a job runs, one after the other; or auto.")
    max_running: Annotated[
        int, Check(values.whole(1, 1_000_000), values.number_json(1, 1_000_000))
    ] = Field(default=0, description="At most so many jobs in the queue at a time.")
    project: Annotated[str, Check(values.project, {**TEXT, "pattern": "^[A-Za-z0-9._-]+$"})] = (
        Field(default="", description="The project that the work is accounted to.")
    )
    orcid: Annotated[str, Check(values.orcid, TEXT)] = Field(
        default="",
        description="Who runs it, for the provenance of the results.",
        examples=["0000-0002-1825-0097"],
    )
    tags: Annotated[list[Tag_], OneOrMore()] = Field(
        default_factory=none, description="Words to find the batch by."
    )
    notify: (
        Annotated[
            Annotated[str, Check(values.email, TEXT), Tag("[value]")]
            | Annotated[NotifyModel, Tag("[keys]")],
            BY_KEYS,
        ]
        | None
    ) = Field(
        default=None, description="Who gets a mail from HTCondor.", examples=["me@example.org"]
    )
    checkpoint: (
        Annotated[
            Annotated[str, Check(values.nonempty, TEXT), Tag("[value]")]
            | Annotated[list[Text], Tag("[list]")]
            | Annotated[CheckpointModel, Tag("[keys]")],
            Discriminator(values.checkpoint_form),
        ]
        | None
    ) = Field(
        default=None,
        description="The state that a program saves, with which it goes on when it was moved.",
        examples=["state.npz"],
    )
    gather: (
        Annotated[Annotated[Text, Tag("[value]")] | Annotated[GatherModel, Tag("[keys]")], BY_KEYS]
        | None
    ) = Field(
        default=None,
        description="A script of Python or R, or a function, that runs once over all results.",
        examples=["gather.py", "analysis:summarise"],
    )
    submit: dict[str, Submit] = Field(
        default_factory=empty,
        description="Any other command of HTCondor's submit language.",
        examples=[{"+JobDurationCategory": '"Long"'}],
    )


LATER = frozenset(["steps"])
"""What makes a file something else than a sweep, dotted."""
