"""What is in a conda environment, as conda and conda-pack say, and what is wrong with it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from osgbatch.errors import PackingError
from osgbatch.packing.archive import printable

META = "conda-meta"


def is_conda_prefix(folder: Path) -> bool:
    """Whether a folder is a conda environment."""
    return (folder / META).is_dir()


def installed_records(prefix: Path) -> dict[str, dict[str, Any]]:
    """File name → content, of the installed packages' records."""
    found = {}
    if not is_conda_prefix(prefix):
        raise PackingError(
            "this is no conda environment: it has no folder conda-meta",
            where=printable(str(prefix)),
            fix="Name the folder that `conda env list` shows.",
        )
    for path in sorted((prefix / META).glob("*.json")):
        try:
            found[path.name] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise PackingError(
                f"the record of a package cannot be read: {error}",
                where=printable(str(path)),
                fix="Install that package again, or make the environment anew.",
            ) from error
    return found


def environment_files(prefix: Path) -> list[Any]:
    """conda-pack's list: what belongs to an environment, and what kind of file it is."""
    from conda_pack.core import CondaEnv, CondaPackException, load_environment

    try:
        files = load_environment(
            str(prefix), on_missing_cache="ignore", ignore_editable_packages=True
        )
    except CondaPackException as error:
        raise _explained(str(error), prefix) from error
    except (OSError, KeyError, ValueError) as error:
        raise PackingError(
            f"conda-pack cannot read this environment: {error}",
            where=printable(str(prefix)),
            fix="Make the environment anew.",
        ) from error
    return list(CondaEnv(str(prefix), files))


def _explained(text: str, prefix: Path) -> PackingError:
    """conda-pack's refusal in our words. Pure."""
    where = printable(str(prefix))
    listed = [line.strip() for line in text.splitlines() if line.strip().startswith("- ")]
    if "deleted/overwritten" in text:
        packages = [line[2:].rstrip(":") for line in listed]
        return PackingError(
            f"files of conda's {', '.join(packages)} are gone, replaced by pip perhaps",
            where=where,
            fix="Take the package from one of them only: name it with conda's packages or with "
            "pip's, not both, and make the environment anew.",
        )
    return PackingError(text.strip(), where=where)


def refuse_overwritten(
    prefix: Path, records: Mapping[str, dict[str, Any]], managed: set[str]
) -> None:
    """Raise PackingError when pip has put another version over files of conda's."""
    owners = {
        name: record["name"] for record in records.values() for name in record.get("files", ())
    }
    taken: dict[str, list[str]] = {}
    for record in prefix.glob("lib/python3*/site-packages/*.dist-info/RECORD"):
        if record.relative_to(prefix).as_posix() in managed:
            continue
        site = record.parent.parent.relative_to(prefix).as_posix()
        for line in record.read_text(encoding="utf-8", errors="replace").splitlines():
            listed = line.partition(",")[0]
            if listed.startswith("/"):
                listed = os.path.relpath(listed, record.parent.parent)
            name = os.path.normpath(f"{site}/{listed}")
            if name in owners and "/__pycache__/" not in name:
                package = f"{owners[name]} ({record.parent.name.removesuffix('.dist-info')} by pip)"
                taken.setdefault(package, []).append(name)
    if taken:
        raise PackingError(
            "pip has overwritten files of conda's "
            + ", ".join(f"{package}: {names[0]}" for package, names in sorted(taken.items())[:5]),
            where=printable(str(prefix)),
            fix="Take each package from one of them only: leave it out of pip's, or out of conda's "
            "by `conda remove --force` before pip installs it.",
        )
