"""`osgbatch verify`, which checks results, and `osgbatch provenance`, which writes their crate."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from osgbatch import exits, ui
from osgbatch.cli.batch_names import BatchName, find
from osgbatch.cli.spec_commands import Json
from osgbatch.errors import OsgbatchError

SHOWN = 10
"""So many names of each kind are printed."""
SHOWN_ADDED = 5


def verify(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="FOLDER|BATCH",
            help="A folder with results and provenance/, or a batch. Default: the newest batch.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> int:
    """Compare results with the checksums they came back with: missing, changed, extra files."""
    from osgbatch.provenance.verify import verify as compare

    found = _located(name)
    with ui.progress() as progress:
        progress.start("reading the results", 0)
        told = compare(found, progress.advance)
    if as_json:
        ui.out_json(_data(told))
    else:
        ui.out(_text(told))
    return exits.OK if told.ok else exits.SOME_FAILED


def _located(name: str | None) -> Any:
    from osgbatch.provenance.layout import locate

    here = Path(os.getcwd())
    folder = here / name if name is not None else None
    found = locate(folder) if folder is not None and folder.is_dir() else None
    if found is None:
        try:
            batch = find(name)
        except OsgbatchError as error:
            if folder is None or not folder.is_dir():
                raise
            raise OsgbatchError(
                "there is no provenance/ in this folder, nor beside it",
                where=str(folder),
                fix="Name a folder that has the results and their provenance/.",
            ) from error
        found, folder = locate(batch.folder), batch.folder
    if found is None:
        raise OsgbatchError(
            "this batch has no provenance/ yet",
            where=str(folder),
            fix="`osgbatch collect` writes it when all tasks have ended, `osgbatch provenance` at "
            "any time.",
        )
    return found


def _data(told: Any) -> dict[str, Any]:
    return {
        "ok": told.ok,
        "results": str(told.results),
        "provenance": str(told.crate_folder),
        "files": told.files,
        "bytes": told.size,
        **_counts(told),
        "tasks": told.tasks,
        "tasks_without_results": {
            "count": told.tasks_without,
            "first": sorted(i for tasks in told.without.values() for i in tasks)[:1000],
        },
        **{
            kind: {"count": names.count, "first": names.first}
            for kind, names in _kinds(told).items()
        },
    }


def _counts(told: Any) -> dict[str, Any]:
    """Whose the files are that the manifest tells of, where the crate says so."""
    if told.made is None:
        return {}
    made, added = told.made.count, told.added.count
    return {
        "came_back": told.files - made - added,
        "made_here": made,
        "added_here": {"count": added, "first": told.added.first},
    }


def _kinds(told: Any) -> dict[str, Any]:
    return {
        "missing": told.missing,
        "changed": told.changed,
        "extra": told.extra,
        "changed_provenance": told.crate,
    }


_WORDS = {
    "missing": "missing",
    "changed": "changed",
    "extra": "not in the manifest",
    "changed_provenance": "changed or missing in provenance/ itself",
}


def _text(told: Any) -> str:
    lines = []
    for kind, names in _kinds(told).items():
        if not names.count:
            continue
        lines.append(f"{ui.number_of(names.count, 'file')} {_WORDS[kind]}:")
        lines += [f"  {ui.one_line(one)}" for one in names.first[:SHOWN]]
        if names.count > SHOWN:
            lines.append(f"  and {names.count - SHOWN:,} more (--json names up to 1,000)")
    if told.without:
        lines += _without(told)
    count = ui.number_of(told.files, "file")
    if told.ok and told.made is not None and told.added is not None:
        lines.append(f"{told.results}: all {count} are as recorded ({ui.size(told.size)})")
        lines += _whose(told)
    elif told.ok:
        lines.append(f"{told.results}: all {count} are as they came back ({ui.size(told.size)})")
    elif told.tasks_without and not any(names.count for names in _kinds(told).values()):
        lines.append(f"{told.results}: not complete; what is here, {count}, is as it came back")
    else:
        own = (
            f", {told.added.count:,} of them added here" if told.added and told.added.count else ""
        )
        lines.append(f"{told.results}: not as it came back; {count} should be there{own}")
    return "\n".join(lines)


def _whose(told: Any) -> Iterator[str]:
    """How many came back, and how many are of here; what was added by hand by its name."""
    made, added = told.made.count, told.added.count
    came = told.files - made - added
    parts = [f"{came:,} as {'it' if came == 1 else 'they'} came back"]
    parts += [f"{made:,} made here (tables, gather)"] if made else []
    parts += [f"{added:,} added here"] if added else []
    yield f"  {', '.join(parts)}"
    yield from (f"    {ui.one_line(one)}" for one in told.added.first[:SHOWN_ADDED])
    if added > SHOWN_ADDED:
        yield f"    and {added - SHOWN_ADDED:,} more (--json names up to 1,000)"


def _without(told: Any) -> Iterator[str]:
    """Which tasks have no results here, by state, and what helps."""
    from osgbatch.cli.reports import listed

    tasks = ui.number_of(told.tasks, "task")
    verb = "has" if told.tasks_without == 1 else "have"
    yield f"{told.tasks_without:,} of {tasks} {verb} no results here:"
    for state, indices in told.without.items():
        yield f"  {len(indices):,} {state}: {listed(indices, 50)}"
    if told.without.get("succeeded"):
        yield "  `osgbatch collect` brings back what has succeeded, where its archive is there"


def provenance(
    name: BatchName = None,
    all_inputs: Annotated[
        bool,
        typer.Option("--all-inputs", help="Read all inputs for their checksums, not only 10 GB."),
    ] = False,
    as_json: Json = False,
) -> int:
    """Write provenance/ of a batch as it is now: an RO-Crate of what was run, and its results."""
    from osgbatch.results.crated import crate_batch

    with ui.progress() as progress:
        made = crate_batch(find(name), progress, all_inputs=all_inputs)
    if as_json:
        data = {"folder": str(made.folder), "files": made.files, "notes": list(made.notes)}
        ui.out_json(data)
        return exits.OK
    for note in made.notes:
        ui.say(f"note: {note}")
    ui.out(f"wrote {made.folder}, with the checksums of {ui.number_of(made.files, 'file')}")
    return exits.OK


# --- `submit --from` ------------------------------------------------------------------------------


def spec_of_crate(
    crate: Path, into: Path | None, data: Path | None, choices: Any, insist: Callable[[str], bool]
) -> tuple[Path, Any]:
    """The spec in a folder that is made of a crate, and what is to be said of the sweep."""
    from osgbatch.submission.rerun import make_folder

    with ui.progress() as progress:
        made = make_folder(crate, into, data, ui.say, progress, insist)
    return made.spec, _choices(made, choices)


def plan_of_crate(crate: Path, data: Path | None, choices: Any, as_json: bool) -> int:
    """Show what would be submitted; the folder is made for that, and removed."""
    from tempfile import TemporaryDirectory

    from osgbatch.cli.submit_commands import show_plan
    from osgbatch.submission.rerun import make_folder

    def tell(reason: str) -> bool:
        ui.say(f"warning: {reason.rstrip()}")
        return True

    with TemporaryDirectory(prefix=".osgbatch-plan-", dir=".") as room:
        with ui.progress() as progress:
            made = make_folder(crate, Path(room) / "plan", data, lambda text: None, progress, tell)
        here = f"{Path(room).name}/plan"

        def named(text: str) -> str:  # as submitting would name it
            return text.replace(here, f"{made.crate.name}-again")

        return int(show_plan(made.spec, _choices(made, choices), as_json, named=named))


def _choices(made: Any, choices: Any) -> Any:
    from dataclasses import replace

    same = made.same_tasks if not choices.settings else None
    return replace(choices, settings=(*made.words, *choices.settings), rows=same)


def register(app: typer.Typer) -> None:
    """Make the commands known."""
    app.command(short_help="Compare results with their checksums.")(verify)
    app.command(short_help="Write an RO-Crate of a batch.")(provenance)
