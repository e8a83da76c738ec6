"""Resolved to the shim of a round, `shim.sh`."""

from __future__ import annotations

from osgbatch.model import Round
from osgbatch.plan_model import Resolved
from osgbatch.rendering.container import CONTAINER
from osgbatch.rendering.program import row_body
from osgbatch.rendering.rows import RowWriter
from osgbatch.rendering.submit import job_retries
from osgbatch.rendering.templates import fill
from osgbatch.version import VERSION


def shim_text(resolved: Resolved, round_: Round) -> str:
    """The text of the round's shim."""
    plan = resolved.plan
    spec = plan.spec
    by_row = any(output.pattern.names for output in plan.outputs)
    return fill(
        "shim.sh.j2",
        {
            "version": VERSION,
            "batch_id": round_.batch_id,
            "round": round_.number,
            "payload": [
                {
                    "file": item.carried(round_.initialdir),
                    "sha256": item.sha256,
                    "kind": item.kind,
                }
                for item in resolved.payload
                if item.kind != CONTAINER
            ],
            "row_body": row_body(plan, RowWriter(plan.table, plan.tasks)),
            "outputs": [
                {"pattern": output.pattern.fill({}), "optional": output.optional}
                for output in plan.outputs
                if not by_row
            ],
            "exclude": spec.exclude,
            "changed_only": spec.changed_only,
            "time_limit": spec.resources.time_s,
            "disk_needed_kb": _disk_needed(resolved),
            "in_container": spec.environment.kind == "container",
            "has_environment": any(p.kind == "environment" for p in resolved.payload),
            "environment_variables": [
                {"name": name, "value": value.fill({})}
                for name, value in spec.environment_variables
                if not value.names
            ],
            "data_elsewhere": resolved.delivery is not None,
            "checkpoint": spec.checkpoint.files if spec.checkpoint else (),
            "checkpoint_every": spec.checkpoint.every_s if spec.checkpoint else 0,
            "retry_codes": spec.retries.codes,
            "retry_times": spec.retries.times if spec.retries.on == "codes" else 0,
            **_in_node(resolved),
        },
    )


def _in_node(resolved: Resolved) -> dict[str, object]:
    """How often, and after which codes, HTCondor itself starts a job of a DAG's node again."""
    retries = job_retries(resolved.plan.spec)
    return {
        "node": resolved.node,
        "node_retries": retries.times,
        "node_codes": "any" if retries.on == "any" else " ".join(map(str, retries.codes)),
    }


def _disk_needed(resolved: Resolved) -> int:
    """KiB that unpacking takes: what the self-test wants to see free before it starts."""
    return -(-sum(payload.unpacked_size for payload in resolved.payload) // 1024)
