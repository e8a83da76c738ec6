"""What a task needs of an execution point."""

from __future__ import annotations

from typing import Any

from osgbatch.expressions import ExpressionError, parse_expression
from osgbatch.spec.document import Loc
from osgbatch.spec.reading import Reading
from osgbatch.spec.schema import SpecModel
from osgbatch.spec.schema_resources import ExpressionModel, GpusModel
from osgbatch.spec_model import Gpus, Requirements, ResourceExpression, Resources
from osgbatch.submit_language import classad_problems


def read_resources(
    reading: Reading, model: SpecModel
) -> tuple[Resources, tuple[ResourceExpression, ...], Gpus]:
    """`resources:` and `gpus:`; a resource with an expression keeps its default as its number."""
    given = {name: getattr(model.resources, name) for name in type(model.resources).model_fields}
    locs: dict[str, Loc] = {name: ("resources", name) for name in given}
    gpus = Gpus()
    if reading.given("gpus"):
        _check_gpus_once(reading)
        given["gpus"], gpus = _gpus(reading, model.gpus)
        locs["gpus"] = ("gpus", "count")
    expressions = [
        expression
        for name, value in given.items()
        if isinstance(value, ExpressionModel)
        and (expression := _expression(reading, name, value.expr, (*locs[name], "expr")))
    ]
    plain = Resources()
    numbers = {
        field: plain_value if isinstance(given[name], ExpressionModel) else given[name]
        for name, field, plain_value in (
            ("cpus", "cpus", plain.cpus),
            ("memory", "memory_mb", plain.memory_mb),
            ("disk", "disk_kb", plain.disk_kb),
            ("time", "time_s", plain.time_s),
            ("gpus", "gpus", plain.gpus),
        )
    }
    of_job = "disk" not in model.resources.model_fields_set
    return Resources(**numbers, disk_of_job=of_job), tuple(expressions), gpus


def _check_gpus_once(reading: Reading) -> None:
    resources = reading.document.data.get("resources")
    if isinstance(resources, dict) and "gpus" in resources:
        places = [reading.key(("gpus",)), reading.key(("resources", "gpus"))]
        first, second = sorted(places, key=lambda place: (place.line, place.column))
        what = f"how many GPUs is given twice, first in line {first.line}"
        reading.fail(what, second, "Write gpus: {count: 1} beside resources, or resources.gpus.")


def _gpus(reading: Reading, value: Any) -> tuple[Any, Gpus]:
    """How many (a number or an expression), and which will do."""
    if not isinstance(value, GpusModel):
        return value, Gpus()
    capability = ""
    if value.min_capability != "":
        capability = reading.text(("gpus", "min_capability"), value.min_capability)
    others = value.model_fields_set - {"count"}
    if value.count == 0 and others:
        what = f"gpus.count is 0, so {' and '.join(sorted(others))} would mean nothing"
        reading.fail(what, reading.place(("gpus", "count")), "Write count: 1, or leave gpus out.")
    return value.count, Gpus(value.min_memory, capability)


def _expression(reading: Reading, name: str, text: str, loc: Loc) -> ResourceExpression | None:
    expression = ResourceExpression(name, text, reading.place(loc))
    try:
        parse_expression(text, units=True)
    except ExpressionError as error:
        what = f"resources.{name}: {error.message}"
        reading.fail(what, expression.inside(error.offset, error.width), error.fix)
        return None
    return expression


def read_requirements(reading: Reading, model: SpecModel) -> Requirements:
    """`requirements:`; text is short for its expr."""
    found = model.requirements
    if isinstance(found, str):
        _check_classad(reading, found, ("requirements",))
        return Requirements(expr=found)
    if found.expr:
        _check_classad(reading, found.expr, ("requirements", "expr"))
    if found.sites.only and found.sites.avoid:
        place = reading.key(("requirements", "sites", "avoid"))
        what = "sites: only and avoid exclude each other"
        reading.fail(what, place, "Name the sites to use in only, without those to avoid.")
    return Requirements(
        os=tuple(dict.fromkeys(found.os)),
        arch=tuple(dict.fromkeys(found.arch)),
        microarch=found.microarch,
        cvmfs=tuple(dict.fromkeys(found.cvmfs)),
        only_sites=tuple(str(site) for site in found.sites.only),
        avoid_sites=tuple(str(site) for site in found.sites.avoid),
        expr=found.expr,
    )


def _check_classad(reading: Reading, text: str, loc: Loc) -> None:
    """Note the mistakes in a ClassAd expression that HTCondor would take for something else."""
    for offset, width, what, fix in classad_problems(text):
        reading.fail(what, reading.inside(loc, text, offset, width), fix)
