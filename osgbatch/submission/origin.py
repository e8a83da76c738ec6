"""Notes at submission what can change later: the commit of the code, who, where, with what."""

from __future__ import annotations

import base64
import getpass
import json
import os
import platform
import pwd
import re
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from osgbatch import condor, names
from osgbatch.batches.writing import write_json
from osgbatch.errors import OsgbatchError
from osgbatch.packing.tree import named_paths
from osgbatch.plan_model import Plan
from osgbatch.provenance.git import code_state
from osgbatch.spec.layers import user_file
from osgbatch.spec_model import ColumnSource, Spec
from osgbatch.sums import file_sum
from osgbatch.urls import without_login
from osgbatch.version import VERSION

if TYPE_CHECKING:
    from osgbatch.packing.environment import EnvironmentArchive

LARGEST_KEPT = 1 << 20
"""Bytes of a file that is kept whole; of others the checksum is noted."""
MOST_KEPT = 4 << 20
"""Bytes of all that is kept."""
LARGEST_SUMMED = 256 << 20
"""A larger file is not read for its checksum: submitting waits for it."""
_CELL = re.compile(r'"(?:[^"]|"")*"|[^,\r\n]+')
_MERGED = b"# Merged by osgbatch"


def write_origin(folder: Path, plan: Plan, environment: EnvironmentArchive | None) -> None:
    """Write `origin.json` into a round's folder; a submission never fails for it.

    folder: of the round, while it is written. No variable of the environment is looked at but those
    that name the user's folders.
    """
    try:
        write_json(folder / names.ORIGIN, _without_logins(_origin(plan, environment)))
    except Exception as error:  # whatever git, NFS or an account database comes up with
        if isinstance(error, OSError) and error.errno:
            with suppress(OSError):
                (folder / names.ORIGIN).unlink(missing_ok=True)
        with suppress(OSError):
            write_json(folder / names.ORIGIN, {"version": 1, "problem": str(error)})


def _without_logins(value: Any) -> Any:
    """The same without logins and keys in the addresses of any of its texts."""
    if isinstance(value, dict):
        return {key: _without_logins(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_logins(item) for item in value]
    return without_login(value) if isinstance(value, str) and "://" in value else value


def read_origin(folder: Path) -> dict[str, Any]:
    """What was noted of a round; empty where there is nothing, as of older versions."""
    try:
        found = json.loads((folder / names.ORIGIN).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and found.get("version") == 1 else {}


def _origin(plan: Plan, environment: EnvironmentArchive | None) -> dict[str, Any]:
    spec = plan.spec
    source = _rerun_of(spec.folder)
    return {
        "version": 1,
        "time": time.time(),
        "osgbatch": VERSION,
        "python": platform.python_version(),
        "condor": _condor_version(),
        "host": socket.gethostname(),
        "user": {**_user(), "orcid": spec.orcid},
        "spec": str(spec.path),
        "command": _program(spec),
        # What came out of a crate may bring a repository with settings that run programs.
        "git": [] if source else [one.data() for one in code_state(_code(spec))],
        **({"from": source} if source else {}),
        "environment": _environment(spec, environment),
        "placed": [os.path.relpath(one.source, spec.folder) for one in plan.placed],
        "kept": list(_kept(spec)),
    }


def _rerun_of(folder: Path) -> dict[str, Any]:
    """Which crate a folder was made from; empty for others."""
    try:
        found = json.loads((folder / names.RERUN).read_text())
        return {"batch": str(found["batch"]), "crate": str(found["crate"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _condor_version() -> str:
    with suppress(OsgbatchError, OSError):
        if condor.configured():
            return ".".join(map(str, condor.version()))
    return ""


def _user() -> dict[str, str]:
    """The account, and the name of the person as the account database has it."""
    try:
        account = pwd.getpwuid(os.getuid())
        return {"login": account.pw_name, "name": account.pw_gecos.split(",")[0].strip()}
    except KeyError:  # a user without an account, as in a container
        with suppress(Exception):
            return {"login": getpass.getuser(), "name": ""}
        return {"login": str(os.getuid()), "name": ""}


def _program(spec: Spec) -> str:
    """What a task runs, as the spec has it."""
    if spec.function:
        return f"{spec.function.module}:{spec.function.name}"
    if spec.script:
        return spec.script.written or spec.script.text
    words = (
        "".join(f"{{{part}}}" if i % 2 else part for i, part in enumerate(one.parts))
        for one in spec.command
    )
    return " ".join(words)


def _code(spec: Spec) -> Iterator[Path]:
    """The spec, and the files and folders of code that it names."""
    yield spec.path
    files = spec.written_files or spec.files
    for key, entries in (("files", files), ("libraries", spec.libraries)):
        with suppress(OsgbatchError):
            yield from named_paths((path.text for path in entries), spec.folder, key)
    if spec.gather and not spec.gather.function:
        yield spec.folder / spec.gather.text


def _environment(spec: Spec, packed: EnvironmentArchive | None) -> dict[str, Any]:
    wanted = spec.environment
    told: dict[str, Any] = {"kind": wanted.kind}
    if wanted.path:
        told["path"] = without_login(wanted.path.text)
        told["imports"], told["strip"] = list(wanted.imports), wanted.strip
    if packed:
        told |= {
            "sha256": packed.sha256,
            "size": packed.size,
            "python": packed.python,
            "packages": list(packed.packages),
            "fingerprint": packed.fingerprint,
            "glibc": packed.glibc or packed.glibc_needed,
        }
    return told


# --- what the spec reads besides ------------------------------------------------------------------


def _kept(spec: Spec) -> Iterator[dict[str, Any]]:
    """Files that the spec is read with, small ones with their content.

    Logins and keys are taken out of addresses in it: `redacted` says so. The checksum and the size
    are of the file as it is.
    """
    left = MOST_KEPT
    for role, path in dict.fromkeys(_beside(spec)):
        told: dict[str, Any] = {"role": role, "path": os.path.relpath(path, spec.folder)}
        try:
            size = path.stat().st_size
            if size > LARGEST_SUMMED:
                yield {**told, "size": size}
                continue
            sha256, size = file_sum(path)
            told |= {"sha256": sha256, "size": size}
            if size <= min(LARGEST_KEPT, left):
                content = path.read_bytes()
                left -= len(content)
                shown = redacted(content, path.name)
                told |= _as_text(shown)
                if shown != content:
                    told["redacted"] = True
        except OSError:
            continue
        yield told


def redacted(content: bytes, name: str = "") -> bytes:
    """A file's content without logins and keys in its addresses (those signed in advance).

    name: of a CSV each cell is an address of its own: a query does not end at a comma.
    """
    if b"://" not in content:
        return content
    text = content.decode("utf-8", "surrogateescape")
    if name.lower().endswith(".csv"):
        text = _CELL.sub(lambda found: _without_logins(found[0]), text)
    else:
        text = without_login(text)
    return text.encode("utf-8", "surrogateescape")


def _as_text(content: bytes) -> dict[str, str]:
    try:
        return {"text": content.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(content).decode()}


def content_of(kept: dict[str, Any]) -> bytes | None:
    """What was kept of a file; None where only its checksum was."""
    if isinstance(kept.get("text"), str):
        return str(kept["text"]).encode()
    if isinstance(kept.get("base64"), str):
        try:
            return base64.b64decode(kept["base64"], validate=True)
        except ValueError:
            return None
    return None


def _beside(spec: Spec) -> Iterator[tuple[str, Path]]:
    """The role and the path of each file."""
    folder = spec.folder
    if spec.text.startswith(_MERGED):
        yield "spec", spec.path
        for line in spec.text.decode("utf-8", "replace").split("\n")[1:]:
            if not line.startswith("#   "):
                break
            layer = Path(line[4:]).expanduser()
            if line.startswith("#   --set") or not layer.is_file() or _is_users(layer):
                continue
            yield "spec", layer.absolute()
    for path in _tables(spec.sources):
        yield "table", folder / path
    for one in spec.inputs:
        if one.is_list and not one.source.names:
            yield "list", folder / one.source.fill({})
    wanted = spec.environment
    if wanted.path and wanted.kind in ("requirements", "conda"):
        yield "environment", folder / Path(wanted.path.text).expanduser()
    if spec.gather and not spec.gather.function:
        yield "gather", folder / spec.gather.text
    for given in spec.gather.inputs if spec.gather else ():
        text = given.get("path") if isinstance(given, dict) else given
        if isinstance(text, str) and (folder / text).is_file():
            yield "gather", folder / text


def _is_users(path: Path) -> bool:
    """Whether it is the user's own config.yaml.

    It says more than what this sweep is given, and is nobody's business; the spec has what holds.
    """
    with suppress(OSError):
        return user_file().samefile(path)
    return False


def _tables(sources: Iterable[ColumnSource]) -> Iterator[str]:
    for source in sources:
        if source.kind in ("table", "lines"):
            yield from (path.text for path in source.paths)
        yield from _tables(source.parts)
