"""A report as data for programs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from osgbatch.reporting.data import Grid, Picture, Report


def report_data(report: Report) -> dict[str, Any]:
    """All numbers of a report, without the pictures themselves."""
    found: dict[str, Any] = plain(report)
    found["verdict"] = report.verdict
    found["cost"] |= {"total": report.cost.total, "wasted": report.cost.wasted}
    return found


def plain(thing: Any) -> Any:
    """Dataclasses, mappings and collections as what JSON has."""
    if isinstance(thing, Picture):
        return {"title": thing.title, "kind": thing.kind}
    if isinstance(thing, Grid):
        cells = [
            {"column": x, "row": y, "mean": mean, "tasks": many}
            for (x, y), (mean, many) in sorted(thing.cells.items())
        ]
        fields = {"cells": cells, "missing": sorted(thing.missing)}
        return _fields(thing) | plain(fields)
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        return plain(_fields(thing))
    if isinstance(thing, Mapping):
        return {str(key): plain(value) for key, value in thing.items()}
    if isinstance(thing, (list, tuple, set, frozenset)):
        return [plain(value) for value in thing]
    return thing


def _fields(thing: Any) -> dict[str, Any]:
    names = [field.name for field in dataclasses.fields(thing)]
    return {name: getattr(thing, name) for name in names}
