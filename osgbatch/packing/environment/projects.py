"""What `requirements:` may name besides requirements.txt: pyproject.toml, uv.lock, pylock.toml."""

from __future__ import annotations

import importlib
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from osgbatch.errors import PackingError
from osgbatch.packing.archive import Member, printable
from osgbatch.packing.disk_full import is_full, size_below
from osgbatch.packing.environment import install as installing
from osgbatch.packing.environment import requirements
from osgbatch.packing.environment.interpreter import Interpreter
from osgbatch.packing.tree import is_clutter, tree_members

Say = Callable[[str], None]

DATA = frozenset({"data", "inputs", "outputs", "related", "results"})
"""Folders at the top of a project that may be data of its user's as well as of the package's."""
LARGE = 100 * 1024**2
"""Bytes from which on such a folder is taken for the user's: it is not copied, and that is said."""


def is_project(file: Path) -> bool:
    """Whether a file stands for the project that it lies in."""
    return file.name in ("pyproject.toml", "uv.lock")


def is_lock(file: Path) -> bool:
    """Whether a file fixes the version of everything."""
    return file.name == "uv.lock" or bool(re.fullmatch(r"pylock(\..+)?\.toml", file.name))


def fingerprint_lines(file: Path) -> list[str]:
    """What decides what is installed. Raises PackingError when it cannot be read."""
    if not is_project(file) and not is_lock(file):
        lines = requirements.read_lines(file)
        requirements.check_lines(lines)
        return list(requirements.fingerprint_lines(lines, file.parent))
    found = [file.name, _text(file)]
    if is_project(file):
        found.append(_text(file.with_name("pyproject.toml")))
        found.append(requirements.members_hash(_project_members(file.parent)))
    for path in _built_beside(file):
        found += [path, requirements.members_hash(_project_members(_there(file, path)))]
    return found


def install(file: Path, venv_python: Path, python: Interpreter, shop: Path, say: Say) -> None:
    """Install what a file stands for. shop: a folder to build in. Raises PackingError.

    A project is built from a copy: building would leave folders beside the user's files.
    """
    if not is_project(file) and not is_lock(file):
        if requirements.installs_anything(requirements.read_lines(file)):
            installing.install(file, venv_python, python, say)
        return
    copy = _copied_to(file, shop)
    if is_project(file):
        for path in large_data(file.parent):
            say(
                f"not copied in order to build: {printable(path.name)}/, "
                f"{size_below(path) // 1024**2} MB; a package's own data belong beside its modules"
            )
        _copy(_project_members(file.parent), copy)
    for near in _built_beside(file):
        target = Path(os.path.normpath(copy / near))
        if not target.exists():
            _copy(_project_members(_there(file, near)), target)
    for near in _read_beside(file):
        target = Path(os.path.normpath(copy / near))
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(_there(file, near))
    if is_lock(file):
        _install_lock(file, venv_python, python, copy, say)
        return
    listed = shop / "requirements.txt"
    lines = _dependencies(file) if not _is_package(file) else [str(copy)]
    listed.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    if lines:
        installing.install(listed, venv_python, python, say, named=file)


def _beside(file: Path, keys: tuple[str, ...]) -> list[str]:
    """What uv.lock takes from beside the project, as relative paths. Source: uv's manual."""
    if file.name != "uv.lock":
        return []
    sources = [one.get("source", {}) for one in _toml(file).get("package", ())]
    paths = {os.path.normpath(str(one[key])) for one in sources for key in keys if key in one}
    return sorted(path for path in paths if path.startswith("../"))


def _built_beside(file: Path) -> list[str]:
    """Projects: they are copied, since building would leave folders in them."""
    return _beside(file, ("directory", "editable", "virtual"))


def _read_beside(file: Path) -> list[str]:
    """Wheels, and folders of wheels."""
    return _beside(file, ("path", "registry"))


def _there(file: Path, path: str) -> Path:
    found = Path(os.path.normpath(file.parent / path))
    if found.exists():
        return found
    raise PackingError(
        f"it takes {printable(path)}, which is not there",
        where=printable(str(file)),
        fix="Put it back, or change pyproject.toml and run `uv lock`.",
    )


def _copied_to(file: Path, shop: Path) -> Path:
    """Where a project is copied to: deep enough that what is beside it is so there, too."""
    beside = [*_built_beside(file), *_read_beside(file)]
    depth = max((path.split("/").count("..") for path in beside), default=0)
    parts = [*["above"] * depth, *file.parent.parts[1:]]
    return shop.joinpath("project", *parts[len(parts) - depth :])


def _install_lock(file: Path, venv_python: Path, python: Interpreter, copy: Path, say: Say) -> None:
    uv = shutil.which("uv")
    if uv is None:
        raise PackingError(
            "uv is needed to install from a lock file, and is not here",
            where=printable(str(file)),
            fix="`pip install uv`; or `uv export --no-dev -o requirements.txt` where it is, and "
            "name that file.",
        )
    listed = file
    if file.name == "uv.lock":
        listed = copy / "locked-requirements.txt"
        options = ["--frozen", "--no-dev", "--no-editable", "--no-header", "--quiet"]
        installing.run_uv(
            [uv, "export", *options, "--output-file", listed.name], copy, file, "read the lock file"
        )
    say(f"installing {file.name} with uv")
    installing.run_uv(
        [uv, "pip", "install", "--python", str(venv_python), "-r", str(listed)],
        listed.parent,
        file,
        "install",
    )


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise PackingError(
            f"it cannot be read: {reason}",
            where=printable(str(file)),
            fix="Check the path, which is relative to the file that names it.",
        ) from error


def _project_members(folder: Path) -> list[Member]:
    """The files that a project is built from: all but those that are known not to belong."""
    large = {one.name for one in large_data(folder)}

    def skip(name: str, is_folder: bool) -> bool:
        return is_clutter(name, is_folder) or (
            is_folder and (name in large or _is_product(folder / name, name))
        )

    return list(tree_members(folder, "", skip))


def large_data(folder: Path) -> list[Path]:
    """Folders of a project that are taken for its user's data, not the package's."""
    return [
        path
        for name in sorted(DATA)
        if (path := folder / name).is_dir()
        and not (path / "__init__.py").exists()
        and size_below(path) > LARGE
    ]


def _is_product(path: Path, name: str) -> bool:
    """Whether a folder was made from the project, or is an environment, so that nobody builds it.

    name: its path below the project. What setuptools and the like leave is known by what is in it:
    a folder of the same name may also be a part of the project.
    """
    base = path.name
    if base == "node_modules" or base.endswith(".egg-info"):
        return True
    if (path / "pyvenv.cfg").is_file() or (path / "conda-meta").is_dir():
        return True
    if "/" in name:
        return False
    within = [child.name for child in path.iterdir()] if path.is_dir() else []
    if base == "build":
        return bool(within) and all(_BUILT.match(one) for one in within)
    if base == "dist":
        return bool(within) and all(one.endswith((".whl", ".tar.gz", ".zip")) for one in within)
    if base == "batches":
        return any((path / one / "sweep.yaml").is_file() for one in within)
    return False


_BUILT = re.compile(r"lib$|lib\.|temp\.|bdist\.|cp3\d+$|scripts-")
"""What setuptools and meson-python leave in build/."""


def _copy(members: list[Member], folder: Path) -> None:
    folder.mkdir(parents=True)
    for member in members:
        target = folder / member.name
        if member.link is not None:
            os.symlink(member.link, target)
        elif member.source is None:
            target.mkdir(parents=True, exist_ok=True)
        else:
            try:
                shutil.copy(member.source, target)
            except OSError as error:
                if is_full(error):
                    raise
                raise PackingError(
                    f"it cannot be copied in order to build the project: {error.strerror}",
                    where=printable(str(member.source)),
                    fix="Give yourself the right to read it.",
                ) from error


def _is_package(file: Path) -> bool:
    """Whether a project is installed itself, not only what it depends on. Source: uv's manual."""
    said = _toml(file)
    packaged = said.get("tool", {}).get("uv", {}).get("package")
    if isinstance(packaged, bool):
        return packaged
    return "build-system" in said or (file.parent / "setup.py").exists()


def _dependencies(file: Path) -> list[str]:
    said = _toml(file)
    if "project" not in said:
        raise PackingError(
            "there is no [project] in it, so nobody knows what it needs",
            where=printable(str(file)),
            fix="Write its dependencies under [project], or into a requirements.txt.",
        )
    return [str(line) for line in said["project"].get("dependencies", ())]


def _toml(file: Path) -> dict[str, Any]:
    try:
        tomllib = importlib.import_module("tomllib")
    except ImportError:  # Python 3.10
        tomllib = importlib.import_module("pip._vendor.tomli")
    try:
        return dict(tomllib.loads(_text(file)))
    except ValueError as error:
        raise PackingError(f"it is not TOML: {error}", where=printable(str(file))) from error
