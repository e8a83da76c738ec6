"""Tries the imports of a sweep's own scripts in the packed environment, before anything is sent."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from osgbatch.errors import PackingError
from osgbatch.packing.archive import printable
from osgbatch.packing.environment import cache as kept
from osgbatch.packing.environment.build import unpacked
from osgbatch.packing.environment.cache import EnvironmentArchive
from osgbatch.packing.environment.imports import needed_imports
from osgbatch.packing.environment.prefix_scan import paths_digest
from osgbatch.packing.environment.script_imports import Import
from osgbatch.packing.environment.trial import run_program
from osgbatch.spec_model import Spec

Say = Callable[[str], None]

NOTED = "imports.json"
"""Beside an archive: which import statements were tried in it, and what those that failed said."""
_DAY = 86400
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
        said = traceback.format_exception_only(type(error), error)[-1].strip()
        failed[statement] = [said, isinstance(error, ImportError)]
print("\nosgbatch-trial " + json.dumps(failed), flush=True)
import os
os._exit(0)
"""


class _Failure(NamedTuple):
    """What came of an import statement. said: empty when it works. lacks: something is not there,
    or Python itself was killed; anything else may hang on what the script does before.
    """

    said: str = ""
    lacks: bool = False


_Failures = dict[str, _Failure]


def try_scripts(spec: Spec, environment: EnvironmentArchive, cache: Path, say: Say) -> list[str]:
    """Try what a sweep's own scripts import of its packed environment; as `try_imports` does."""
    constant = {
        name: value.fill({}) for name, value in spec.environment_variables if not value.names
    }
    return try_imports(environment, needed_imports(spec), cache, say, constant)


def try_imports(
    environment: EnvironmentArchive,
    imports: Sequence[Import],
    cache: Path,
    say: Say,
    variables: Mapping[str, str] | None = None,
) -> list[str]:
    """Run the import statements of scripts in an unpacked environment; those not yet tried in it.

    imports: of modules that nobody but the environment brings; others are left alone. variables:
    of the environment that all tasks have. What failed is tried again on another day, and when
    this machine has changed. Returns warnings, of those that fail but may never be run, for
    another reason than that something lacks, or for want of a driver that is not here.
    Raises PackingError for any other that fails.
    """
    if not environment.python:
        return []
    there = set(environment.modules)
    mine = [one for one in imports if one.top in there]
    folder, given = environment.path.parent, dict(variables or {})
    key = _key(environment.sha256, given)
    known = _noted(folder, key)
    todo = sorted({one.statement for one in mine} - set(known))
    if todo:
        say("trying the imports of your scripts in the packed environment")
        with kept.workshop(cache) as shop:
            known |= _tried(environment, todo, shop, given)
        _note(folder, key, known)
    warnings = []
    for one in mine:
        said, lacks = known[one.statement]
        if not said:
            continue
        where = f"{printable(str(one.script))}:{one.line}"
        if one.always and lacks and not _DRIVERS.search(said):
            raise PackingError(
                f"`{one.statement}` fails in the packed environment: {said}",
                where=where,
                fix="Add what it lacks to the environment. Where the script can do without, let "
                "it say so: try: … except ImportError. `test: false` sends it untried.",
            )
        warnings.append(f"`{one.statement}` ({where}) fails in the packed environment here: {said}")
    return list(dict.fromkeys(warnings))


def _tried(
    environment: EnvironmentArchive, todo: list[str], shop: Path, variables: dict[str, str]
) -> _Failures:
    """Statement → what came of it."""
    scratch = shop / "scratch"
    scratch.mkdir()
    root = unpacked(environment.path, shop)
    python = root / "bin" / "python"
    if not os.path.lexists(python):
        return dict.fromkeys(todo, _Failure())
    if (root / "bin" / "conda-unpack").exists():
        from osgbatch.packing.environment.conda import put_right

        broken = put_right(root)
        if broken:
            raise PackingError(
                f"the packed environment does not work at another path: {broken}",
                where=printable(str(environment.path)),
                fix="Pack it anew: `osgbatch pack env --refresh`.",
            )
    failed = _run(python, todo, scratch, variables)
    if failed and len(todo) > 1:  # alone: some do not get along with others
        alone = {one: _run(python, [one], scratch, variables) for one in sorted(failed)}
        failed = {one: said[one] for one, said in alone.items() if one in said}
    return {one: failed.get(one, _Failure()) for one in todo}


def _run(
    python: Path, statements: list[str], scratch: Path, variables: dict[str, str]
) -> _Failures:
    """Statement → its failure, of those that fail."""
    command = [str(python), "-c", _TRIAL, json.dumps(statements)]
    done = run_program(command, scratch, variables)
    for line in reversed(done.stdout.splitlines()):
        if line.startswith("osgbatch-trial "):
            found = json.loads(line.partition(" ")[2])
            return {statement: _Failure(*failure) for statement, failure in found.items()}
    ended = done.said if done.code is None else f"Python ended with {done.code}"
    killed = done.code is not None and done.code < 0
    return dict.fromkeys(statements, _Failure(ended, killed))


def _key(sha256: str, variables: dict[str, str]) -> str:
    """What trials hang on: a hash, for values of variables are nobody's business."""
    return hashlib.sha256(json.dumps([sha256, sorted(variables.items())]).encode()).hexdigest()


def _machine() -> str:
    """What failures hang on besides: this machine's libraries and drivers, and the day."""
    libraries, driver = paths_digest([Path("/etc/ld.so.cache")]), ""
    with contextlib.suppress(OSError):
        driver = Path("/proc/driver/nvidia/version").read_text(encoding="utf-8")
    return f"{platform.node()} {platform.release()} {libraries} {driver} {time.time() // _DAY}"


def _noted(folder: Path, key: str) -> _Failures:
    try:
        noted = json.loads((folder / NOTED).read_text(encoding="utf-8"))
        if noted["key"] != key:
            return {}
        failed = noted["failed"] if noted["machine"] == _machine() else {}
        known = dict.fromkeys(map(str, noted["works"]), _Failure())
        return known | {
            str(one): _Failure(str(said[0]), said[1] is True) for one, said in failed.items()
        }
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}


def _note(folder: Path, key: str, known: _Failures) -> None:
    failed = {one: failure for one, failure in known.items() if failure.said}
    works = sorted(set(known) - set(failed))
    noted = {"key": key, "machine": _machine(), "works": works, "failed": failed}
    temporary = folder / f".{NOTED}-{secrets.token_hex(4)}"
    with contextlib.suppress(OSError):
        temporary.write_text(json.dumps(noted) + "\n", encoding="utf-8")
        temporary.replace(folder / NOTED)
