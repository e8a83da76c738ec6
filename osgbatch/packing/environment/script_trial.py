"""Tries the imports of a sweep's own scripts in the packed environment, before anything is sent."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path

from osgbatch.errors import PackingError
from osgbatch.packing.archive import printable
from osgbatch.packing.environment import cache as kept
from osgbatch.packing.environment.build import unpacked
from osgbatch.packing.environment.cache import EnvironmentArchive
from osgbatch.packing.environment.script_imports import Import
from osgbatch.packing.environment.trial import run_program

Say = Callable[[str], None]

NOTED = "imports.json"
"""Beside an archive: which import statements were tried in it, and what those that failed said."""
_DRIVERS = re.compile(r"lib(cuda|nvidia|nvml|nvcuvid|amdhip|ze_loader)\b|\bCUDA\b|\bGPU\b|driver")
"""What only an execution point with a GPU has."""

_TRIAL = r"""
import json, sys, traceback, warnings
warnings.simplefilter("ignore")
failed = {}
for statement in json.loads(sys.argv[1]):
    print("trying", statement, file=sys.stderr, flush=True)
    try:
        exec(statement, {})
    except BaseException as error:
        failed[statement] = traceback.format_exception_only(type(error), error)[-1].strip()
print("\nosgbatch-trial " + json.dumps(failed), flush=True)
import os
os._exit(0)
"""


def try_imports(
    environment: EnvironmentArchive, imports: Sequence[Import], cache: Path, say: Say
) -> list[str]:
    """Run the import statements of scripts in an unpacked environment; those not yet tried in it.

    imports: of modules that nobody but the environment brings; others are left alone. Returns
    warnings, of those that fail but may never be run, or lack a driver that is not here.
    Raises PackingError for any other that fails.
    """
    if not environment.python:
        return []
    there = set(environment.modules)
    mine = [one for one in imports if one.top in there]
    folder = environment.path.parent
    known = _noted(folder, environment.sha256)
    todo = sorted({one.statement for one in mine} - set(known))
    if todo:
        say("trying the imports of your scripts in the packed environment")
        with kept.workshop(cache) as shop:
            known |= _tried(environment, todo, shop)
        _note(folder, environment.sha256, known)
    warnings = []
    for one in mine:
        said = known[one.statement]
        if not said:
            continue
        where = f"{printable(str(one.script))}:{one.line}"
        if one.always and not _DRIVERS.search(said):
            raise PackingError(
                f"`{one.statement}` fails in the packed environment: {said}",
                where=where,
                fix="Add what it lacks to the environment. Where the script can do without, let "
                "it say so: try: … except ImportError. `test: false` sends it untried.",
            )
        warnings.append(f"`{one.statement}` ({where}) fails in the packed environment here: {said}")
    return list(dict.fromkeys(warnings))


def _tried(environment: EnvironmentArchive, todo: list[str], shop: Path) -> dict[str, str]:
    """Statement → what it said when it failed; empty when it did not."""
    scratch = shop / "scratch"
    scratch.mkdir()
    root = unpacked(environment.path, shop)
    python = root / "bin" / "python"
    if not os.path.lexists(python):
        return dict.fromkeys(todo, "")
    if (root / "bin" / "conda-unpack").exists():
        from osgbatch.packing.environment.conda import put_right

        broken = put_right(root)
        if broken:
            raise PackingError(
                f"the packed environment does not work at another path: {broken}",
                where=printable(str(environment.path)),
                fix="Pack it anew: `osgbatch pack env --refresh`.",
            )
    failed = _run(python, todo, scratch)
    if failed and len(todo) > 1:  # alone: some do not get along with others
        failed = {one: _run(python, [one], scratch).get(one, "") for one in sorted(failed)}
    return {one: failed.get(one, "") for one in todo}


def _run(python: Path, statements: list[str], scratch: Path) -> dict[str, str]:
    command = [str(python), "-c", _TRIAL, json.dumps(statements)]
    done = run_program(command, scratch)
    for line in reversed(done.stdout.splitlines()):
        if line.startswith("osgbatch-trial "):
            found: dict[str, str] = json.loads(line.partition(" ")[2])
            return found
    ended = done.said if done.code is None else f"Python ended with {done.code}"
    return dict.fromkeys(statements, ended)


def _noted(folder: Path, sha256: str) -> dict[str, str]:
    try:
        noted = json.loads((folder / NOTED).read_text(encoding="utf-8"))
        if noted["sha256"] == sha256:
            return {str(key): str(value) for key, value in noted["said"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    return {}


def _note(folder: Path, sha256: str, said: dict[str, str]) -> None:
    """What works is noted; what failed is tried again, for the machine may be another one then."""
    text = json.dumps({"sha256": sha256, "said": {k: v for k, v in said.items() if not v}})
    temporary = folder / f".{NOTED}-{secrets.token_hex(4)}"
    with contextlib.suppress(OSError):
        temporary.write_text(text + "\n", encoding="utf-8")
        temporary.replace(folder / NOTED)
