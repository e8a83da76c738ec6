"""What programs are told of a plan, and of what a submission has staged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from osgbatch import names
from osgbatch.cli.plan_asked import environment_travels
from osgbatch.plan_model import Plan
from osgbatch.planning.placement import environment_why
from osgbatch.planning.summary import plan_data, staged_entry
from osgbatch.staging.store import stash_url
from osgbatch.submission.planned import expected, planned_archives


def plan_json(plan: Plan, environment_size: int | None) -> dict[str, Any]:
    """What `osgbatch plan --json` prints.

    environment_size: bytes of the packed environment, None when it is not packed yet. Beside what
    `plan_data` says: the URL of the stash (null without one), and the environment among what is to
    be staged, where it is known that it will be.
    """
    data = plan_data(plan, expected(plan, planned_archives(plan)))
    path = plan.spec.environment.path
    if path and environment_size is not None and environment_travels(plan.spec):
        why = environment_why(plan, environment_size)
        if why:
            data["staged"].append(staged_entry("environment", path.text, environment_size, why))
    url = stash_url(plan.stash) if plan.stash.kind != "none" else None
    return {**data, "stash": url, "environment_bytes": environment_size}


def staged_json(folder: Path) -> dict[str, Any]:
    """What `osgbatch submit --json` says of the stash: its URL, what was staged, and why.

    folder: of the batch. objects: how many of the stash the batch refers to.
    """
    staged = json.loads((folder / names.PLAN).read_bytes()).get("staged", [])
    try:
        url, *objects = (folder / names.OBJECTS).read_text("utf-8", "surrogateescape").splitlines()
    except FileNotFoundError:
        return {"stash": None, "objects": 0, "staged": staged}
    return {"stash": url, "objects": len(objects), "staged": staged}
