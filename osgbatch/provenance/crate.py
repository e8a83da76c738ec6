"""Writes the metadata of a crate: RO-Crate 1.1, profile Process Run Crate, by library rocrate.

One action stands for a whole batch, and tasks and results are told in files of the crate: adding
entities one by one is quadratic (20,000 took 109 s).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from osgbatch.provenance.layout import INPUTS, MANIFEST, SPEC, TASKS, ProvenanceError
from osgbatch.sums import file_sum
from osgbatch.texts import number_of

PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
_TERMS = {"sha256": "https://w3id.org/ro/terms/workflow-run#sha256"}
"""What RO-Crate 1.1 does not define. Source: the context of Workflow Run RO-Crate."""
_FORMATS = {
    ".csv": "text/csv", ".json": "application/json", ".yaml": "application/yaml",
    ".yml": "application/yaml", ".gz": "application/gzip", ".py": "text/x-python",
    ".sh": "application/x-sh",
}  # fmt: skip
_UNKNOWN = "unknown"


@dataclass(frozen=True)
class Described:
    """A file of the crate. name: its path there."""

    name: str
    title: str
    text: str = ""


@dataclass(frozen=True)
class Run:
    """What a crate tells of a batch.

    program: what a task runs, as the spec has it. counts: of the tasks by state; start, end: in
    seconds since 1970, 0 where not known. software: names and versions of what ran it. user: login,
    name, orcid. git: of the code, as git.py tells it. environment: as noted at submission.
    files: of the crate.
    """

    batch_id: str
    name: str
    program: str
    counts: Mapping[str, int]
    start: float
    end: float
    written: float
    user: Mapping[str, str]
    host: str
    backend: str
    clusters: Sequence[int]
    software: Sequence[tuple[str, str, str]]
    git: Sequence[Mapping[str, Any]]
    environment: Mapping[str, Any]
    parameters: Sequence[str]
    files: Sequence[Described] = ()

    @property
    def tasks(self) -> int:
        """How many there are."""
        return sum(self.counts.values())

    @property
    def failed(self) -> int:
        """How many have not succeeded."""
        return self.tasks - self.counts.get("succeeded", 0)


def write_metadata(folder: Path, run: Run) -> None:
    """Write `ro-crate-metadata.json` into a folder that holds all other files of the crate.

    Raises ProvenanceError where rocrate is not installed, OSError when a file cannot be read.
    """
    crate = _new_crate()
    crate.metadata.extra_terms.update(_TERMS)
    action_id = f"#batch-{run.batch_id}"
    crate.name = f"Batch {run.name} ({run.batch_id})"
    crate.description = _about(run)
    crate.datePublished = datetime.fromtimestamp(run.written, timezone.utc)
    crate.license = "Not stated. Ask the person who ran it."
    profile = _add(crate, PROFILE, {"@type": "CreativeWork", "name": "Process Run Crate",
                                    "version": PROFILE.rpartition("/")[2]})  # fmt: skip
    crate.root_dataset["conformsTo"] = profile
    files = {one.name: _add_file(crate, folder, one) for one in run.files}
    person = _person(crate, run)
    crate.root_dataset["author"] = person
    outcome = {
        "@type": "CreateAction",
        "name": f"Batch {run.name}: {number_of(run.tasks, 'task')}",
        "description": _about(run),
        "startTime": _moment(run.start),
        "endTime": _moment(run.end),
        "actionStatus": "http://schema.org/"
        + ("FailedActionStatus" if run.failed else "CompletedActionStatus"),
    }
    if run.failed:
        others = (
            f"{count:,} {state}" for state, count in run.counts.items() if state != "succeeded"
        )
        outcome["error"] = (
            f"{run.failed:,} of {number_of(run.tasks, 'task')} did not succeed: {', '.join(others)}"
        )
    action = _add(crate, action_id, {k: v for k, v in outcome.items() if v})
    action["instrument"] = [_program(crate, run), *_software(crate, run)]
    action["agent"] = person
    action["object"] = [
        *(entity for name, entity in files.items() if name not in (TASKS, MANIFEST)),
        *_values(crate, run),
    ]
    action["result"] = [files[MANIFEST], files[TASKS]]
    crate.root_dataset["mentions"] = action  # 1.1 wants no list of one
    crate.metadata.write(folder)


def _new_crate() -> Any:
    try:
        from rocrate.rocrate import ROCrate
    except ImportError:
        raise ProvenanceError(
            "the library that writes crates, rocrate, is not installed",
            fix="pip install rocrate",
        ) from None
    return ROCrate(version="1.1")


def _add(crate: Any, entity_id: str, properties: Mapping[str, Any]) -> Any:
    from rocrate.model.contextentity import ContextEntity

    return crate.add(ContextEntity(crate, entity_id, properties=dict(properties)))


def _add_file(crate: Any, folder: Path, one: Described) -> Any:
    path = folder / one.name
    sha256, size = file_sum(path)
    properties = {
        "name": one.title,
        "description": one.text,
        "contentSize": str(size),
        "encodingFormat": _FORMATS.get(path.suffix, "text/plain"),
        "sha256": sha256,
    }
    return crate.add_file(
        path, dest_path=one.name, properties={k: v for k, v in properties.items() if v}
    )


def _about(run: Run) -> str:
    where = f"HTCondor (cluster {', '.join(map(str, run.clusters))})" if run.clusters else ""
    where = where if run.backend == "condor" else "the local runner of osgbatch"
    said = ", ".join(f"{count:,} {state}" for state, count in run.counts.items())
    return (
        f"A parameter sweep of {number_of(run.tasks, 'task')}, run by osgbatch on "
        f"{where or 'HTCondor'} from {run.host or 'an access point'}: {said}. {TASKS} has a row "
        f"for each task, {MANIFEST} the checksum of each result, {INPUTS} those of the inputs."
    )


def _person(crate: Any, run: Run) -> Any:
    from rocrate.model.person import Person

    login, orcid = run.user.get("login", ""), run.user.get("orcid", "")
    number = re.sub(r"^https?://orcid\.org/", "", orcid)
    name = run.user.get("name") or login or _UNKNOWN
    entity_id = f"https://orcid.org/{number}" if number else f"#{_fragment(login or 'user')}"
    properties = {"name": name, **({"alternateName": login} if login else {})}
    return crate.add(Person(crate, entity_id, properties=properties))


def _program(crate: Any, run: Run) -> Any:
    repository = next((one for one in run.git if one.get("commit")), {})
    commit = str(repository.get("commit", ""))
    dirty = repository.get("dirty")
    version = commit + {True: "-dirty", False: "", None: ""}[dirty] if commit else ""
    first_line = run.program.strip().split("\n")[0]
    properties: dict[str, Any] = {
        "@type": "SoftwareSourceCode",
        "name": first_line[:200] or f"what {SPEC} names",
        "description": f"What each task runs:\n{run.program}",
        "version": version or f"batch {run.batch_id}",
    }
    remote = str(repository.get("remote", ""))
    if remote:
        properties["codeRepository"] = remote
        if remote.startswith(("http://", "https://")):
            properties["url"] = remote
    program = _add(crate, "#program", properties)
    if run.environment.get("sha256"):
        program["softwareRequirements"] = _environment(crate, run)
    return program


def _environment(crate: Any, run: Run) -> Any:
    told = run.environment
    properties = {
        "@type": "SoftwareApplication",
        "name": f"environment ({told.get('kind', _UNKNOWN)})",
        "softwareVersion": f"sha256:{told['sha256']}",
        "sha256": str(told["sha256"]),
    }
    if told.get("packages"):
        properties["description"] = "Packages: " + " ".join(map(str, told["packages"]))
    return _add(crate, "#environment", properties)


def _software(crate: Any, run: Run) -> list[Any]:
    found = []
    for name, version, url in run.software:
        told = {
            "@type": "SoftwareApplication",
            "name": name,
            "softwareVersion": version or _UNKNOWN,
        }
        found.append(_add(crate, f"#{_fragment(name)}", {**told, **({"url": url} if url else {})}))
    return found


def _values(crate: Any, run: Run) -> list[Any]:
    """The columns of the sweep; what they are for each task stands in the table."""
    found = []
    for name in run.parameters:
        value = f"column {name} of {TASKS}"
        found.append(
            _add(crate, f"#parameter-{_fragment(name)}",
                 {"@type": "PropertyValue", "name": name, "value": value})
        )  # fmt: skip
    return found


def _fragment(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text) or "x"


def _moment(seconds: float) -> str:
    """A time as ISO 8601, with the seconds and an offset, as the profile wants it."""
    if not seconds:
        return ""
    return datetime.fromtimestamp(int(seconds), timezone.utc).isoformat()
