"""The steps of a workflow to `workflow.dag` and what DAGMan is told besides."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from osgbatch import names
from osgbatch.version import VERSION

NOTHING_LEFT = 9
"""With which the script before a node says that all its tasks have succeeded: no job is made."""
FINAL = 3
"""With which a node's scripts say that doing the same again would not help."""


@dataclass(frozen=True)
class Node:
    """A step in the pool. retries: how often it is done again for what has not succeeded."""

    name: str
    retries: int
    after: tuple[str, ...] = ()


def dag_text(name: str, nodes: Sequence[Node]) -> str:
    """The text of a DAG. name: of the workflow."""
    known = {node.name for node in nodes}
    lines = [
        f"# The steps of workflow {name} that run in the pool. Made by osgbatch {VERSION}.",
        "# condor_submit_dag takes it as it is. A node is a round of its step's batch: before it",
        "# node.sh writes the jobs of the tasks that have not succeeded yet, and the link",
        f"# steps/<step>/{names.NODE_SUBMIT} to their submit file; after it node.sh decides from",
        "# the records that came back, not from exit codes. RETRY and rescues repeat nothing.",
        "",
        f"CONFIG {CONFIG_FILE}",
    ]
    for node in nodes:
        name = node.name
        lines += [
            "",
            f"JOB {name} {names.STEPS}/{name}/{names.NODE_SUBMIT}",
            f"SCRIPT PRE {name} {SCRIPT_FILE} prepare {name} $RETRY",
            f"SCRIPT POST {name} {SCRIPT_FILE} judge {name} $RETRY $MAX_RETRIES $JOBID",
            f"PRE_SKIP {name} {NOTHING_LEFT}",
        ]
        if node.retries:
            lines.append(f"RETRY {name} {node.retries} UNLESS-EXIT {FINAL}")
    lines.append("")
    for node in nodes:
        above = [one for one in node.after if one in known]
        if above:
            lines.append(f"PARENT {' '.join(above)} CHILD {node.name}")
    return "\n".join(lines).rstrip() + "\n"


SCRIPT_FILE = "node.sh"
CONFIG_FILE = "dagman.config"


def config_text(*, temporary: bool) -> str:
    """DAGMan's configuration. temporary: the workflow lies in a folder for temporary files.

    Source: seen on 25.14.1 and 23.9.6. Direct submission (23.9) ignores max_idle; a node log below
    /tmp is a warning that is fatal unless DAGMan is told not to be strict; 23.9 has no tolerance.
    """
    lines = [
        "# For DAGMan alone.",
        "# condor_submit knows late materialization; DAGMan's own way to submit did not (23.9).",
        "DAGMAN_USE_DIRECT_SUBMIT = False",
        "# One job that was removed, say, is no reason to end the others (HTCondor 25).",
        "DAGMAN_NODE_JOB_FAILURE_TOLERANCE = 2000000000",
        "# The access point is shared.",
        "DAGMAN_MAX_PRE_SCRIPTS = 1",
        "DAGMAN_MAX_POST_SCRIPTS = 1",
    ]
    if temporary:
        lines += [
            "# DAGMan warns of logs in a folder for temporary files.",
            "DAGMAN_USE_STRICT = 0",
        ]
    return "\n".join(lines) + "\n"


def script_text(python: Sequence[str], variables: Mapping[str, str]) -> str:
    """What DAGMan runs before and after each node.

    python: the words that start osgbatch; variables: of the environment, without secrets.
    """
    exports = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    return "\n".join(
        [
            "#!/bin/sh",
            "# DAGMan calls it before and after each node; what it says is in steps/<step>.log.",
            *exports,
            'exec >>"steps/$2.log" 2>&1 </dev/null',
            f'exec {shlex.join(python)} node . "$@"',
            "",
        ]
    )
