"""The files of a batch's crate: tasks, checksums of results, inputs, code, who made it."""

from __future__ import annotations

import csv
import json
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from osgbatch import names
from osgbatch.batches.folder import Batch, read_note, read_submitted
from osgbatch.batches.gathered import read_gathered
from osgbatch.collecting.collect import results_folder
from osgbatch.collecting.table import write_table
from osgbatch.model import TaskState
from osgbatch.provenance import layout
from osgbatch.provenance.crate import Described, Run, write_metadata
from osgbatch.provenance.layout import FOLDER
from osgbatch.results.crated_before import told_before
from osgbatch.results.crated_gone import Makers
from osgbatch.results.crated_inputs import Inputs, write_inputs
from osgbatch.results.crated_manifest import write_manifest
from osgbatch.results.layout import Layout
from osgbatch.results.result_rows import result_table
from osgbatch.returned import number
from osgbatch.staging.stage import Progress
from osgbatch.submission.origin import content_of, read_origin, redacted
from osgbatch.urls import without_login

MOST_CODE = 256 << 20
"""Bytes of the archives of code that a crate holds; a larger one is named by its checksum."""
CODE_KINDS = ("files", "library", "program")
_MORE_COLUMNS = tuple(
    f"osgbatch_{name}" for name in ("round", "proc", "archive", "data_name", "data_sha256")
)
"""Beside those of results.csv; no column of a sweep is likely to have these names."""


class CrateFiles:
    """Writes the files of a crate into an empty folder, and last its metadata."""

    def __init__(self, batch: Batch, states: Sequence[TaskState], folder: Path) -> None:
        self.batch = batch
        self.states = states
        self.folder = folder
        self.rounds = batch.rounds()
        self.newest = self.rounds[-1]
        self.origin = read_origin(self.newest.folder)
        self.described: list[Described] = []
        self.notes: list[str] = []
        self.replaced: Sequence[int] = ()
        self.files = 0

    def write(self, stamp: str, progress: Progress, most_input: int) -> None:
        """Write all of it. stamp: of what it follows from; most_input: bytes of inputs to read."""
        self._write_tasks()
        self._write_manifest()
        self._tell_inputs(self._write_inputs(progress, most_input))
        self._write_texts()
        code = self._write_code()
        kept = self._write_kept()
        self._write_facts(stamp, code, kept)
        write_metadata(self.folder, self._run())

    def _describe(self, name: str, title: str, text: str = "") -> None:
        self.described.append(Described(name, title, text))

    def _write_tasks(self) -> None:
        table = result_table(self.batch, self.states, metrics=False)
        rows = (
            [*map(_shown, cells), *_more(state)]
            for cells, state in zip(table.cells(), self.states, strict=True)
        )
        with _text(self.folder / layout.TASKS) as out:
            write_table(out, (*table.columns, *_MORE_COLUMNS), rows)
        self._describe(
            layout.TASKS,
            "Tasks",
            "A row for each task: its parameters, state, exit code, times (seconds since 1970), "
            "host and site, and the returned archive that tells of it.",
        )

    def _write_manifest(self) -> None:
        """The checksums of results, and the symbolic links among them."""
        results = results_folder(self.batch.folder)
        told = write_manifest(
            self.folder / layout.MANIFEST,
            results,
            self.states,
            placed=not Layout(self.batch).is_empty,
            before=told_before(self.batch.folder),
            makers=Makers(read_gathered(self.batch.folder)),
        )
        self.replaced = told.replaced
        if told.links:
            self._write_pairs(layout.LINKS, "target", told.links)
            self._describe(layout.LINKS, "Links", "The symbolic links among the results.")
        self._write_pairs(layout.ADDED, "by", told.added)
        self._describe(
            layout.ADDED,
            "What was added",
            "What of the results came back from no task, and who made it: osgbatch, the gather "
            "script, or somebody by hand.",
        )
        self.files = told.files
        self.notes += told.notes
        self._describe(
            layout.MANIFEST,
            "Checksums of the results",
            "SHA-256 of each file of results/, as it came back and was verified, also of what is "
            f"not there any more; of those in {layout.ADDED} as it was when this was written: "
            f"`cd results; sha256sum -c ../{FOLDER}/{layout.MANIFEST}`.",
        )

    def _write_pairs(self, name: str, what: str, pairs: Sequence[tuple[str, str]]) -> None:
        with _text(self.folder / name) as text:
            writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
            writer.writerows([("name", what), *pairs])

    # --- what it was made from --------------------------------------------------------------

    def _write_inputs(self, progress: Progress, most: int) -> Inputs:
        with _text(self.folder / layout.INPUTS) as out:
            told = write_inputs(out, self.batch, progress, most)
        self._describe(
            layout.INPUTS,
            "Inputs",
            "Each input with size, checksum and, of those that jobs fetch, its URL; `state` says "
            "whether it has changed since the batch was submitted.",
        )
        return told

    def _tell_inputs(self, told: Inputs) -> None:
        if told.changed:
            others = f" and {told.changed - 1:,} more" if told.changed > 1 else ""
            self.notes.append(
                f"what tasks saw of {told.first_changed}{others} is not known: changed since the "
                "batch was submitted"
            )
        if told.mended:
            others = f" and {told.mended - 1:,} more" if told.mended > 1 else ""
            self.notes.append(
                f"provenance/ has {told.first_mended}{others} as the newest round was brought it; "
                "tasks of earlier rounds may have seen something else"
            )
        if told.unread:
            size = told.unread_bytes / 2**30
            self.notes.append(
                f"inputs of {size:,.1f} GB stand in provenance/ without checksum; `osgbatch "
                "provenance --all-inputs` reads them"
            )

    def _write_texts(self) -> None:
        """The spec as it held, and what was made of it, without keys in URLs."""
        self._copy_text(
            self._newest(names.SPEC), layout.SPEC, "The sweep, as all its settings held"
        )
        for round_ in self.rounds:
            # At the top of the crate, resolved.json would make a batch folder of it.
            made = self.batch.folder if round_.number == 1 else round_.folder
            folder, number_ = f"{layout.ROUNDS}/{round_.number:03d}", round_.number
            for source, title in (
                (made / names.RESOLVED, f"What osgbatch made of the sweep, round {number_}"),
                (
                    round_.folder / names.SUBMIT_FILE,
                    f"What condor_submit was given, round {number_}",
                ),
            ):
                self._copy_text(source, f"{folder}/{source.name}", title)
        lock = self._newest(names.ENVIRONMENT_LOCK)
        text = redacted(lock.read_bytes()) if lock.is_file() else _pins(self.origin)
        if text:
            (self.folder / layout.LOCK).write_bytes(text)
            self._describe(layout.LOCK, "The packages of the environment")

    def _newest(self, name: str) -> Path:
        """A file of the newest round that has it, else of the batch."""
        found = (one.folder / name for one in reversed(self.rounds))
        return next((path for path in found if path.is_file()), self.batch.folder / name)

    def _copy_text(self, source: Path, name: str, title: str) -> None:
        if not source.is_file():
            return
        target = self.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(redacted(source.read_bytes()))
        self._describe(name, title)

    def _write_code(self) -> list[dict[str, Any]]:
        """The archives of the user's own code; gives what is told of all archives."""
        left, seen = MOST_CODE, dict[str, dict[str, Any]]()
        for round_ in reversed(self.rounds):  # the newest first: it is the one that is run again
            for item in self.batch.round_data(round_.number)["payload"]:
                told = {key: item[key] for key in ("kind", "sha256", "size")}
                known = seen.setdefault(str(item["sha256"]), {**told, "file": "", "rounds": []})
                known["rounds"].append(round_.number)
                source = self.batch.folder / item["file"]
                if known["file"] or item["kind"] not in CODE_KINDS or not source.is_file():
                    continue
                if item["size"] <= left:
                    left -= item["size"]
                    known["file"] = f"{layout.CODE}/{source.name}"
                    (self.folder / layout.CODE).mkdir(exist_ok=True)
                    shutil.copyfile(source, self.folder / known["file"])
                    rounds = f"Rounds with it: {known['rounds'][0]}"
                    self._describe(known["file"], f"Code of the tasks ({item['kind']})", rounds)
        return list(seen.values())

    def _write_kept(self) -> list[dict[str, Any]]:
        """What else the spec was read with."""
        found = []
        kept = self.origin.get("kept")
        for place, one in enumerate(kept if isinstance(kept, list) else (), 1):
            told = {key: one.get(key) for key in ("role", "path", "sha256", "size")}
            told["redacted"] = one.get("redacted", False)
            content = content_of(one)
            if content is not None:
                folder = layout.WRITTEN if one["role"] == "spec" else layout.BESIDE
                name = f"{folder}/{place}-{names.slug(Path(one['path']).name)}"
                (self.folder / folder).mkdir(exist_ok=True)
                shown = redacted(content, one["path"])  # older versions have noted it as it was
                (self.folder / name).write_bytes(shown)
                told["redacted"] = told["redacted"] or shown != content
                told["file"] = name
                self._describe(name, f"{one['path']} ({one['role']})")
            found.append(told)
        return found

    def _write_facts(
        self, stamp: str, code: Sequence[Mapping[str, Any]], kept: Sequence[Mapping[str, Any]]
    ) -> None:
        data = self.batch.data
        facts = {
            "version": 1,
            "stamp": stamp,
            "batch": self.batch.id,
            "name": self.batch.name,
            "tasks": self.batch.tasks,
            "columns": data["columns"],
            "spec": data.get("spec", ""),
            "spec_folder": data["spec_folder"],
            "initialdir": data["initialdir"],
            "outputs_to": bool(data.get("outputs_to")),
            "environment": self.origin.get("environment", {"kind": data.get("environment", "")}),
            "git": self.origin.get("git", []),
            "user": self.origin.get("user", {}),
            "from": self.origin.get("from"),
            "archives": list(code),
            "kept": list(kept),
            "rounds": list(self._told_rounds()),
        }
        text = json.dumps(facts, indent=1)
        (self.folder / layout.FACTS).write_text(without_login(text) + "\n")
        self._describe(layout.FACTS, "What `osgbatch submit --from` needs to run this again")

    def _told_rounds(self) -> Iterator[dict[str, Any]]:
        for round_ in self.rounds:
            note, submitted = read_note(round_.folder), read_submitted(round_)
            yield {
                "number": round_.number,
                "why": note.why if note else "",
                "tasks": note.tasks if note else "",
                "settings": list(note.settings) if note else [],
                "jobs": round_.jobs,
                "backend": submitted.backend if submitted else "",
                "cluster": submitted.cluster if submitted else 0,
                "submitted": submitted.time if submitted else 0.0,
                "host": submitted.host if submitted else "",
            }

    # --- what it tells ----------------------------------------------------------------------

    def _run(self) -> Run:
        rounds = [one for one in self._told_rounds() if one["backend"]]
        origin = self.origin
        starts = [t for s in self.states if (t := number(s.record, "start"))]
        ends = [t for s in self.states if (t := number(s.record, "end"))]
        software = [("osgbatch", str(origin.get("osgbatch", "")), "")]
        if any(one["backend"] == "condor" for one in rounds):
            software.append(("HTCondor", str(origin.get("condor", "")), "https://htcondor.org/"))
        return Run(
            batch_id=self.batch.id,
            name=self.batch.name,
            program=str(origin.get("command", "")),
            counts=Counter(state.state for state in self.states),
            start=min(starts, default=0.0) or (rounds[0]["submitted"] if rounds else 0.0),
            end=max(ends, default=0.0),
            written=time.time(),
            user=origin.get("user", {}),
            host=str(origin.get("host", "")),
            backend=rounds[-1]["backend"] if rounds else "",
            clusters=[one["cluster"] for one in rounds if one["cluster"]],
            software=software,
            git=origin.get("git", []),
            environment=origin.get("environment", {}),
            parameters=list(self.batch.data["columns"]),
            files=self.described,
        )


def _more(state: TaskState) -> list[Any]:
    job = state.job_record
    archive = f"{state.archive.parent.name}/{state.archive.name}" if state.archive else ""
    return [
        state.round or None,
        state.job.proc if state.job else None,
        archive,
        job.get("data_name", ""),
        job.get("data_sha256", ""),
    ]


def _shown(cell: Any) -> Any:
    return without_login(cell) if isinstance(cell, str) and "://" in cell else cell


def _text(path: Path) -> Any:
    return path.open("w", newline="", encoding="utf-8", errors="surrogateescape")


def _pins(origin: Mapping[str, Any]) -> bytes:
    """The packages of an environment of pip's, as a requirements file."""
    told = origin.get("environment", {})
    if not told.get("packages"):
        return b""
    lines = [f"# python {told.get('python', '')}", *map(str, told["packages"])]
    return ("\n".join(lines) + "\n").encode()
