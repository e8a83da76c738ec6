"""`gather:` of a spec."""

from __future__ import annotations

from osgbatch.spec.commands import is_name
from osgbatch.spec.reading import Reading
from osgbatch.spec.schema import GatherModel, SpecModel
from osgbatch.spec_model import Function, Gather, Place, UserPath

_FIX = "Write {script: gather.py} or {function: module:name}."


def is_function(text: str) -> bool:
    """Whether `gather:` names a function, module:name, and not a script's path."""
    module, colon, name = text.strip().partition(":")
    if not colon or module.endswith(".py"):
        return False
    return all(is_name(part) for part in (*module.split("."), name))


def read_gather(reading: Reading, model: SpecModel) -> Gather | None:
    """What gathers, when something does and nothing is wrong with it."""
    told = model.gather
    if told is None:
        return None
    place = reading.place(("gather",))
    if not isinstance(told, GatherModel):
        function = _function(told, place) if is_function(told) else None
        return Gather(told.strip(), place, function)
    if any(loc[0] == "gather" for loc in reading.dropped):
        return None
    if (told.script is None) == (told.function is None):
        reading.fail("gather: should have either a script or a function", place, _FIX)
        return None
    if told.function is not None and not is_function(told.function):
        place = reading.place(("gather", "function"))
        what = "gather.function: should be a module and a function in it"
        reading.fail(what, place, "Write module:name, such as analysis:summarise.")
        return None
    useless = [k for k in ("resources", "inputs") if getattr(told, k) and told.where != "pool"]
    for key in useless:
        at = reading.place(("gather", key))
        reading.fail(f"gather.{key}: is for a job in the pool only", at, "Write in: pool.")
    if useless:
        return None
    pool = told.where == "pool"
    resources = reading.document.data["gather"].get("resources") or {}
    listed = reading.entries("gather", told.inputs, "inputs") if told.inputs else ()
    inputs = tuple(UserPath(text, reading.place(loc)) for loc, text in listed)
    if told.script is not None:
        place = reading.place(("gather", "script"))
        return Gather(told.script.strip(), place, None, pool, dict(resources), inputs)
    place = reading.place(("gather", "function"))
    function = _function(told.function or "", place)
    return Gather((told.function or "").strip(), place, function, pool, dict(resources), inputs)


def _function(text: str, place: Place) -> Function:
    module, _, name = text.strip().partition(":")
    return Function(module, name, place)
