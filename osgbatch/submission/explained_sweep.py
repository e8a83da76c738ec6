"""The submit file and the shim that a sweep would be given, line by line, with nothing written."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from osgbatch import names
from osgbatch.errors import OsgbatchError, SpecErrors
from osgbatch.explaining import commands, pages, shim_lines, submit_lines
from osgbatch.model import Round
from osgbatch.plan_model import Delivery, Payload, Plan, Resolved
from osgbatch.submission.planned import Choices, plan_sweep, planned_archives

if TYPE_CHECKING:
    from osgbatch.spec.document import Document

BATCH_ID, SHORT_ID, HASH, WHEN = "<batch-id>", "<id>", "<sha256>", "<date>-<time>"
"""What is known only when the sweep is submitted."""
_SOME_JOBS = 20_000
"""So many rows are looked at, to see whether they are too long for the item file."""


@dataclass(frozen=True)
class Piece:
    """Some lines and why they stand there.

    first: the number of the first line, from 1; lines: as they would be written; key: of the
    command or part; manual, url: the page that tells of it, empty for osgbatch's own.
    """

    first: int
    lines: tuple[str, ...]
    key: str
    why: str
    manual: str = ""
    url: str = ""


@dataclass(frozen=True)
class ExplainedSweep:
    """placeholders: what stands in <…>, each with its meaning."""

    submit: tuple[Piece, ...]
    shim: tuple[Piece, ...]
    placeholders: tuple[str, ...]
    submit_text: str = field(repr=False, default="")
    shim_text: str = field(repr=False, default="")


def explain_sweep(path: Path, settings: Sequence[str] = ()) -> ExplainedSweep:
    """Explain what a sweep would be submitted as. Nothing is packed, staged or written.

    Raises what plan_sweep raises, with the places of all mistakes.
    """
    from osgbatch.rendering.items import item_names
    from osgbatch.rendering.shim import shim_text
    from osgbatch.rendering.submit import submit_text

    plan, document = _planned(path, settings)
    origin = Origins(document)
    resolved = as_if_packed(plan)
    folder = plan.spec.folder / names.BATCHES / f"{plan.spec.name}-{WHEN}-{SHORT_ID}"
    round_ = Round(
        names.round_folder(folder, 1), BATCH_ID, plan.spec.name, 1, len(plan.jobs), plan.initialdir
    )
    resolved = replace(resolved, payload=tuple(_placed(resolved, folder)))
    fields = item_names(resolved)
    submit, shim = submit_text(resolved, round_, fields), shim_text(resolved, round_)
    facts = _facts(resolved, fields)
    return ExplainedSweep(
        tuple(explained_submit(submit, plan.spec.submit, fields, facts, origin)),
        tuple(explained_shim(shim, origin)),
        tuple(_placeholders(submit + shim)), submit, shim,
    )  # fmt: skip


def _planned(path: Path, settings: Sequence[str]) -> tuple[Plan, Document]:
    """The plan, and what was read; a right spec is read once."""
    from osgbatch.spec.layers import read_layers
    from osgbatch.spec.load import layered_spec

    try:
        layered = read_layers(path, settings)
        spec = layered_spec(path, layered)
    except SpecErrors:
        from osgbatch.spec.steps import has_steps

        if has_steps(path):
            raise OsgbatchError(
                "it is a workflow: each of its steps has a submit file of its own",
                where=str(path),
                fix="`osgbatch render` writes them all; nothing is submitted.",
            ) from None
        plan_sweep(path, choices=Choices(settings))  # tells all mistakes, those of files, too
        raise
    return plan_sweep(path, choices=Choices(settings, spec=spec)), layered.document


def _placeholders(text: str) -> Iterator[str]:
    for mark, words in (
        (BATCH_ID, "the batch's id"), (SHORT_ID, "the start of that"), (WHEN, "when it is made"),
        (HASH, "the checksum of what is packed or staged"),
    ):  # fmt: skip
        if mark in text:
            yield f"{mark} {words}"


# --- as if it were packed and staged -------------------------------------------------------------


def as_if_packed(plan: Plan) -> Resolved:
    """The plan with archives that are only named: what is not packed yet has no size."""
    from osgbatch.planning.placement import ObjectFile, Source, with_objects
    from osgbatch.planning.resolve import resolve
    from osgbatch.rendering.items import ROWS_FILE, RowsTooLongError, item_lines
    from osgbatch.rendering.program import program_file
    from osgbatch.staging.store import expanded_url, stash_url

    spec = plan.spec
    found: list[Payload] = []
    if spec.environment.path is not None and not _is_elsewhere(plan):
        image = spec.environment.kind == "container"
        kind, suffix = ("container", ".sif") if image else ("environment", ".tar.gz")
        found.append(_named(kind, suffix))
    kinds = {"libraries": "library"}
    for one in planned_archives(plan):
        kind = kinds.get(one.kind, one.kind)
        found.append(_named(kind, ".tar.gz", one.size))
    program = program_file(plan)
    if program:
        found.append(_named("program", program[0], len(program[1])))
    objects: dict[Source, Sequence[ObjectFile]] = {}
    for one_placed in plan.placed:
        is_folder = one_placed.source.is_dir()
        suffix = ".tar.gz" if is_folder else "".join(one_placed.source.suffixes[-1:])
        address = f"{stash_url(plan.stash)}/{HASH}{suffix}"
        form = "folder" if is_folder else "file"
        objects[one_placed.source, one_placed.tree] = [ObjectFile(address, "", form)]
    plan = with_objects(plan, objects)
    resolved = resolve(plan, found)
    try:
        for _ in islice(item_lines(resolved, rows_file=False), max(1, _SOME_JOBS // 4096)):
            pass
    except RowsTooLongError:
        rows = Payload("rows", Path(ROWS_FILE), HASH, 0, 0)
        resolved = resolve(plan, [*found, rows])
    if spec.outputs_to:
        url = f"{expanded_url(spec.outputs_to)}/{spec.name}-{BATCH_ID}"
        resolved = replace(resolved, delivery=Delivery(url))
    return resolved


def _is_elsewhere(plan: Plan) -> bool:
    """Whether each execution point gets the image itself."""
    from osgbatch.urls import scheme

    path = plan.spec.environment.path
    is_image = plan.spec.environment.kind == "container"
    return (
        path is not None
        and is_image
        and bool(scheme(path.text))
        and not path.text.startswith("docker-archive:")
    )


def _named(kind: str, suffix: str, size: int = 0) -> Payload:
    return Payload(kind, Path(f"{kind}-{HASH}{suffix}"), HASH, size, size)


def _placed(resolved: Resolved, folder: Path) -> Iterator[Payload]:
    """The archives in the batch folder, or in the stash where they would go there."""
    from osgbatch.planning.placement import placed_payload
    from osgbatch.staging.store import stash_url

    plan = resolved.plan
    staged = placed_payload(plan, resolved.payload)
    for item in resolved.payload:
        url = f"{stash_url(plan.stash)}/{HASH}{''.join(item.path.suffixes)}"
        yield replace(item, path=folder / names.PAYLOAD / item.path,
                      url=url if item.path in staged else "")  # fmt: skip


# --- where values come from ----------------------------------------------------------------------


@dataclass(frozen=True)
class Origins:
    """Where the values of keys of a sweep.yaml come from."""

    document: Document

    def of(self, key: str) -> str:
        """`resources.memory, sweep.yaml:7`, `resources.memory, the default`."""
        loc: tuple[str | int, ...] = tuple(key.split("."))
        while len(loc) > 1 and loc not in self.document.values:
            above = self.document.data.get(loc[0])
            if isinstance(above, dict) or above is None:
                return f"{key}, the default"
            loc = loc[:-1]  # a short form: `retries: 3`
        if loc not in self.document.values:
            return f"{key}, the default"
        place = self.document.place(loc, key=True)
        file = os.path.basename(place.file)
        if place.file.startswith(("profile ", "--")):
            return f"{key}, {place.file}"
        return f"{key}, {file}:{place.line}"

    def fill(self, text: str, facts: Mapping[str, str]) -> str:
        """A sentence with its origins and facts."""
        text = re.sub(r"\{from ([\w.]+)\}", lambda found: self.of(found[1]), text)
        return re.sub(r"\{(\w+)\}", lambda found: facts.get(found[1], found[0]), text)


def _facts(resolved: Resolved, fields: Sequence[str]) -> dict[str, str]:
    plan, profile = resolved.plan, resolved.plan.spec.profile
    brought = [_what(item.kind) for item in resolved.payload]
    shared = [file for file in plan.tasks.shared if not file.archived]
    brought += [f"{len(shared)} of your inputs"] * bool(shared)
    text = ", ".join(dict.fromkeys(brought)) or "nothing"
    if "inputs" in fields:
        text += "; $(inputs), from the item file, is what a job has for itself"
    required = ["what `requirements:` of the sweep says"] * (
        plan.spec.requirements != type(plan.spec.requirements)()
    )
    required += [f"the CPU level {resolved.microarch} of the environment"] * bool(
        resolved.microarch
    )
    elsewhere = (
        f"not where the job was started last, by {profile.avoid}, for an hour, if there is another "
        f"place (the profile {profile.name})"
    )
    required += [elsewhere] * bool(profile.avoid)
    brought_again = (
        f"files that could not be brought, {profile.releases} times, after longer and longer "
        f"pauses (the profile {profile.name}: releases, release_after)"
    )
    released = [brought_again] * bool(profile.releases)
    retries = plan.spec.retries
    released += ["too much memory or disk, on older versions"] * bool(
        retries.memory or retries.disk
    )
    return {
        "profile": profile.name,
        "jobs": f"{len(plan.jobs):,}",
        "many_jobs": f"{profile.many_jobs:,}",
        "bad_starts": str(profile.bad_starts),
        "per_folder": str(names.JOBS_PER_RETURN_FOLDER),
        "brought": text,
        "required": "; ".join(required),
        "released": "; ".join(released),
        "fields": " and ".join([", ".join(fields[:-1]), fields[-1]]),
    }


def _what(kind: str) -> str:
    return {
        "environment": "the environment", "container": "the image", "library": "your libraries",
        "files": "your files", "inputs": "inputs with odd names, as one archive",
        "rows": "the rows of all tasks, which are long", "program": "your script or function",
    }.get(kind, kind)  # fmt: skip


# --- the submit file -----------------------------------------------------------------------------


def explained_submit(
    text: str, own: Sequence[tuple[str, str]], fields: Sequence[str], facts: Mapping[str, str],
    origin: Origins,
) -> Iterator[Piece]:  # fmt: skip
    """The statements of a submit file, its comments left out.

    own: what `submit:` adds, which stands before queue; fields: of the item file.
    """
    from osgbatch.linting.lines import read

    parsed = read(text)
    first_own = len(parsed.statements) - 1 - len(own)
    for number, statement in enumerate(parsed.statements):
        start = text.count("\n", 0, statement.whole[0])
        end = text.count("\n", 0, statement.whole[1])
        lines = tuple(parsed.lines[start:end]) or (parsed.lines[start],)
        key = statement.key if statement.kind == "set" else statement.kind
        is_own = bool(own) and number >= first_own and key != "queue"
        why, manual, url = _why_line(key, is_own)
        if not is_own and any(f"$({name})" in statement.value for name in fields[2:]):
            why += f" {submit_lines.DIFFERS}" * key.startswith(("request_", "allowed_"))
        for mark, words in submit_lines.MACROS_IN_VALUES.items():
            why += f" {words}" * (mark in statement.value)
        yield Piece(start + 1, lines, key, origin.fill(why, facts), manual, url)


def _why_line(key: str, is_own: bool) -> tuple[str, str, str]:
    """The sentence of a key, and its page."""
    plain = key.lstrip("+")
    command = commands.explain(plain)
    if is_own:
        meaning = command.text if command and not key.startswith("+") else ""
        return (
            f"{submit_lines.OWN} {meaning}".strip(), *_page(key, commands.explain(key.lstrip("+")))
        )  # fmt: skip
    why = submit_lines.LINES.get(key) or (command.text if command else "")
    return (why, *_page(key, command))


def _page(key: str, command: commands.Command | None) -> tuple[str, str]:
    if key in submit_lines.WITHOUT_PAGE:
        return "", ""
    if key in submit_lines.ELSEWHERE:
        page = submit_lines.ELSEWHERE[key]
        return pages.cited(page), page
    if key in ("if", "else", "endif"):
        return "condor_submit manual, conditionals", pages.url(pages.SUBMITTING)
    if key.startswith("+"):
        return "condor_submit manual, +<attribute>", pages.url(pages.ATTRIBUTES)
    if command is None:
        return "", ""
    anchor = command.anchor
    return f"condor_submit manual, {command.name}", pages.url(command.page, anchor)


# --- the shim ------------------------------------------------------------------------------------


def explained_shim(text: str, origin: Origins) -> Iterator[Piece]:
    """The shim: what is this sweep's line by line, what all shims share by its sections."""
    lines = text.split("\n")[:-1]
    common = _last(lines, f"# ---- {shim_lines.SECTIONS[0][0]}", len(lines))
    sections = [n for n in range(common, len(lines)) if lines[n].startswith("# ---- ")]

    def piece(start: int, end: int, key: str, why: str) -> Piece:
        shown = tuple(line for line in lines[start:end] if line.strip())
        return Piece(start + 1, shown, key, origin.fill(why, {}))

    yield from _shim_head(lines, sections[0], piece)
    for start, end in pairwise(sections):
        title = lines[start].strip("# -")
        why = next(why for begin, why in shim_lines.SECTIONS if title.startswith(begin))
        yield piece(start, end, title, why)
    yield from _shim_end(lines, sections[-1], piece)


_Make = Callable[[int, int, str, str], Piece]


def _shim_head(lines: Sequence[str], end: int, piece: _Make) -> Iterator[Piece]:
    """The comment, the settings, and the functions that are made of the sweep."""
    at = next(n for n, line in enumerate(lines) if not line.startswith("#"))
    yield piece(0, at, "comment", shim_lines.HEAD)
    # From behind: values of the user's may hold any line.
    starts = [(end, "")]
    for name in reversed([*shim_lines.FUNCTIONS]):
        place = _last(lines, f"{name}() {{", starts[0][0])
        if name == "with_variables":
            place = _last(lines, "unset USER_PATH", place)
        starts.insert(0, (place, name))
    yield from _settings(lines, at, starts[0][0], piece)
    for (start, name), (stop, _) in pairwise(starts):
        if name == "with_variables":
            first = _last(lines, f"{name}() {{", stop)
            yield from _settings(lines, start, first, piece)
            start = first
        yield piece(start, stop, name, shim_lines.FUNCTIONS[name])


def _last(lines: Sequence[str], begin: str, stop: int) -> int:
    """The last line before `stop` that begins so."""
    return max(n for n in range(stop) if lines[n].startswith(begin))


def _settings(lines: Sequence[str], start: int, end: int, piece: _Make) -> Iterator[Piece]:
    """Lines NAME=value; a value may go over several lines."""
    known = [n for n in range(start, end) if _name(lines[n]) in shim_lines.VARIABLES]
    for at, stop in zip(known, [*known[1:], end], strict=True):
        name = _name(lines[at])
        yield piece(at, stop, name, shim_lines.VARIABLES[name])


def _name(line: str) -> str:
    return re.split(r"[= ]", line, maxsplit=1)[0]


def _shim_end(lines: Sequence[str], start: int, piece: _Make) -> Iterator[Piece]:
    """The steps of a job, one by one."""
    begin = next(n for n in range(start, len(lines)) if lines[n].startswith("trap on_stop"))
    yield piece(start, begin, "start", shim_lines.FIRST)
    at = begin
    while at < len(lines):
        line = lines[at]
        step = next((why for first, why in shim_lines.STEPS if line.startswith(first)), "")
        stop = at + 1
        while not step and stop < len(lines) and _is_clock(lines[stop]):
            stop += 1
        yield piece(at, stop, line.split()[0], step or shim_lines.CLOCK)
        at = stop


def _is_clock(line: str) -> bool:
    return not any(line.startswith(first) for first, _ in shim_lines.STEPS)
