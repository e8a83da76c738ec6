"""`sweep.yaml` to Spec: every error with its place, all of them at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from osgbatch.errors import SpecErrors
from osgbatch.names import slug
from osgbatch.spec.brought import read_inputs, read_variables
from osgbatch.spec.checking import check
from osgbatch.spec.commands import read_command, read_function, read_script
from osgbatch.spec.document import Document
from osgbatch.spec.environments import read_environment
from osgbatch.spec.gathering import read_gather
from osgbatch.spec.layers import Layered, read_defaults, read_layers
from osgbatch.spec.outputs import changed_only, read_exclude, read_outputs
from osgbatch.spec.placing import read_files, read_results_to
from osgbatch.spec.reading import Reading
from osgbatch.spec.resources import read_requirements, read_resources
from osgbatch.spec.retrying import read_checkpoint, read_retries
from osgbatch.spec.stashes import read_outputs_to, read_stash
from osgbatch.spec.submitting import read_notify, read_submit, read_tags
from osgbatch.spec.sweeps import read_sources
from osgbatch.spec_model import Place, Profile, Spec, Stash


def load_spec(path: Path, settings: Sequence[str] = (), copy: Path | bytes | None = None) -> Spec:
    """Read and check a spec with all that it extends and the defaults.

    settings: of the command line, `resources.memory=4GB`; they win over all else. copy: read in
    place of the spec, where that is gone, or its text; paths start from the spec's folder all the
    same.
    Raises SpecErrors with every mistake that can be told without reading other files,
    OsgbatchError when the file cannot be read.
    """
    return layered_spec(path, read_layers(path, settings, copy))


def layered_spec(path: Path, layered: Layered) -> Spec:
    """What was read of a spec, checked. Raises SpecErrors."""
    # The real folder: a `..` in a path must lead where the file system says, not where it looks.
    whole = path.absolute()
    spec = spec_of(whole.parent.resolve() / whole.name, layered.document)
    return replace(spec, profile=layered.profile)


def load_stash(path: Path | None, settings: Sequence[str] = ()) -> tuple[Stash | None, Profile]:
    """The stash of a spec, or the one that a spec in the current folder would have.

    Returns None for it when only the profile, which comes with it, may know of one.
    Raises SpecErrors, OsgbatchError.
    """
    layered = read_layers(path, settings) if path else read_defaults(Path.cwd(), settings)
    reading = Reading(layered.document)
    model = check(reading)
    # What is wrong elsewhere in the spec does not matter here; what is wrong with the stash does.
    reading.errors[:] = [error for error in reading.errors if "stash" in error.what]
    found = read_stash(reading, model)
    if reading.errors:
        raise SpecErrors(reading.errors)
    return found, layered.profile


def spec_of(path: Path, document: Document) -> Spec:
    """A document as a Spec. path: of the spec; raises SpecErrors with every mistake."""
    reading = Reading(document)
    model = check(reading)
    resources, expressions, gpus = read_resources(reading, model)
    sweep = {} if ("sweep",) in reading.dropped else document.data.get("sweep", {})
    before = len(reading.errors)
    sources = tuple(read_sources(document, sweep, reading.fail))
    whole_sweep = len(reading.errors) == before and reading.given("sweep")
    whole_sweep = whole_sweep and ("sweep",) not in reading.dropped
    checkpoint = read_checkpoint(reading, model)
    spec = Spec(
        path=path,
        text=document.raw,
        name=slug(model.name or _default_name(path)),
        written_name=model.name or "",
        command=read_command(reading, model),
        script=read_script(reading, model),
        function=read_function(reading, model),
        sources=sources,
        files=read_files(reading, model),
        libraries=reading.paths("libraries", model.libraries),
        inputs=(
            *read_inputs(reading, "inputs", model.inputs),
            *read_inputs(reading, "related", model.related),
        ),
        outputs=read_outputs(reading, model),
        exclude=read_exclude(reading, model),
        changed_only=changed_only(model),
        environment=read_environment(reading, model),
        environment_variables=tuple(read_variables(reading, model)),
        resources=resources,
        time_place=reading.place(("resources", "time")) if resources.time_s else None,
        expressions=expressions,
        gpus=gpus,
        requirements=read_requirements(reading, model),
        retries=read_retries(model),
        checkpoint=checkpoint,
        project=model.project,
        orcid=model.orcid,
        max_running=model.max_running,
        tags=read_tags(reading, model),
        notify=read_notify(model),
        submit=tuple(read_submit(reading, model)),
        stash=read_stash(reading, model),
        outputs_to=read_outputs_to(reading, model),
        results_to=read_results_to(reading, model),
        tasks_per_job=1 if checkpoint else model.tasks_per_job,
        gather=read_gather(reading, model),
    )
    if reading.errors:
        found = sorted(reading.errors, key=lambda error: _order(error.place, document))
        raise SpecErrors(found, spec, whole_sweep=whole_sweep)
    return spec


def _order(place: Place, document: Document) -> tuple[bool, str, int, int]:
    """By place, the spec itself before what it extends."""
    return place.file != document.file, place.file, place.line, place.column


def _default_name(path: Path) -> str:
    return path.parent.name if path.stem == "sweep" and path.parent.name else path.stem
