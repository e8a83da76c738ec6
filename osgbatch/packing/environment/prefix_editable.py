"""Editable installs: packages whose files lie elsewhere on this machine, and are brought along."""

from __future__ import annotations

import ast
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlparse

from osgbatch.errors import PackingError
from osgbatch.packing.archive import Member, printable
from osgbatch.packing.environment.venv_files import Belongs
from osgbatch.packing.libraries import PROJECT_FILES, libraries_members
from osgbatch.packing.tree import is_clutter, tree_members
from osgbatch.urls import without_login

_FINDER = re.compile(r"import (__editable__\w+_finder)\b")
SUFFIXES = (".py", ".so")


@dataclass(frozen=True)
class Editable:
    """Packages that are used from where they are written.

    name: as the file that points to them is called. sources: the folders that they lie in.
    members: their files, named relative to the folder of installed packages.
    """

    name: str
    sources: tuple[Path, ...]
    members: tuple[Member, ...]


@dataclass(frozen=True)
class Editables:
    """All editable installs of an environment.

    dropped: files of the folder of installed packages that only point elsewhere.
    rewritten: .pth files without the lines that do.
    """

    packages: tuple[Editable, ...] = ()
    dropped: frozenset[str] = frozenset()
    rewritten: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def sources(self) -> list[Path]:
        """Every folder that something was taken from."""
        return [path for package in self.packages for path in package.sources]

    @property
    def members(self) -> list[Member]:
        """All their files."""
        return [member for package in self.packages for member in package.members]


def editables(site: Path, prefix: Path, belongs: Belongs | None = None) -> Editables:
    """Find the editable installs in a folder of installed packages.

    belongs: what in the environment's folder is part of it; all of it where it is not given.
    Raises PackingError, which names the package, where one cannot be brought along.
    """
    packages: list[Editable] = []
    dropped: set[str] = set()
    rewritten: dict[str, bytes] = {}
    for pth in sorted(site.glob("*.pth")):
        left: list[bytes] = []
        members: list[Member] = []
        sources: list[Path] = []
        raw = _read(pth)
        for line in raw.split(b"\n"):
            text = os.fsdecode(line).strip()
            finder = _FINDER.match(text)
            if finder:
                dropped.add(f"{finder[1]}.py")
                for module, source in sorted(_mapping(site / f"{finder[1]}.py").items()):
                    sources.append(source)
                    members += _module_members(module, source, pth)
            elif _leads_out(text, site, prefix, belongs):
                sources.append(Path(os.path.normpath(site / text)))
                members += _folder_members(sources[-1], pth)
            else:
                left.append(line)
        if sources:
            packages.append(Editable(_plain(pth.stem), tuple(sources), tuple(members)))
        if b"\n".join(left) != raw:
            rest = b"\n".join(left)
            rewritten[pth.name] = rest
            if not rest.strip():
                dropped.add(pth.name)
    for link in sorted(site.glob("*.egg-link")):
        dropped.add(link.name)
        packages += _egg_info(link)
    found = Editables(tuple(packages), frozenset(dropped), rewritten)
    _check_all_found(site, prefix, found)
    return found


def _plain(stem: str) -> str:
    """`mylib` of `__editable__.mylib-1.0`."""
    return re.sub(r"-\d[^-]*$", "", stem.removeprefix("__editable__.")).strip("_")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise PackingError(
            f"the file cannot be read: {error.strerror}",
            where=printable(str(path)),
            fix="Give yourself the right to read it, or remove it.",
        ) from error


def _leads_out(line: str, site: Path, prefix: Path, belongs: Belongs | None) -> bool:
    """Whether a line of a .pth file adds a folder that is not part of the environment."""
    if not line or line.startswith(("#", "import ", "import\t")):
        return False
    target = Path(os.path.normpath(site / line))
    real = Path(os.path.realpath(target))
    if belongs is not None and target.is_relative_to(prefix):
        return not belongs(target.relative_to(prefix).as_posix(), True)
    return not (target.is_relative_to(prefix) or real.is_relative_to(os.path.realpath(prefix)))


def _mapping(finder: Path) -> dict[str, Path]:
    """Module → file or folder, in what setuptools writes for an editable install."""
    try:
        tree = ast.parse(finder.read_bytes())
        for node in tree.body:
            targets: list[ast.expr] = []
            if isinstance(node, ast.AnnAssign):
                targets = [node.target]
            elif isinstance(node, ast.Assign):
                targets = node.targets
            named = [target.id for target in targets if isinstance(target, ast.Name)]
            value = getattr(node, "value", None)
            if "MAPPING" in named and value is not None:
                return {name: Path(path) for name, path in ast.literal_eval(value).items()}
    except (OSError, SyntaxError, ValueError, AttributeError, TypeError):
        pass
    raise PackingError(
        "this editable install cannot be understood",
        where=printable(str(finder)),
        fix="Install the package anew without -e: `pip install FOLDER`.",
    )


def _module_members(module: str, source: Path, pth: Path) -> Iterator[Member]:
    """The files of one module or package, under its place among installed packages."""
    place = module.replace(".", "/")
    if source.is_dir():
        yield from tree_members(source, place, is_clutter)
        return
    candidates = [source, *(path for path in sorted(source.parent.glob(f"{source.name}.*")))]
    for path in candidates:
        if path.is_file() and path.name.endswith(SUFFIXES):
            folder = place.rpartition("/")[0]
            yield from tree_members(path, f"{folder}/{path.name}".lstrip("/"))
            return
    raise _gone(source, pth)


def _folder_members(folder: Path, pth: Path) -> list[Member]:
    """What can be imported from a folder that a .pth file adds."""
    if not folder.is_dir():
        raise _gone(folder, pth)
    is_project = any((folder / name).exists() for name in PROJECT_FILES)
    try:
        return libraries_members([str(folder)] if is_project else ["*"], folder)
    except PackingError as error:
        raise PackingError(
            f"it adds {printable(str(folder))}, in which nothing to import was found: {error.what}",
            where=printable(str(pth)),
            fix="Install the package anew without -e, or name its folder under libraries: and "
            "uninstall it here.",
        ) from error


def _gone(path: Path, pth: Path) -> PackingError:
    return PackingError(
        f"it stands for {printable(str(path))}, which is not there",
        where=printable(str(pth)),
        fix="Install the package anew, or uninstall it: `pip list --editable` shows which it is.",
    )


def _egg_info(link: Path) -> Iterator[Editable]:
    """The metadata of an old editable install; easy-install.pth leads to its modules."""
    folder = Path(os.fsdecode(_read(link).split(b"\n")[0]).strip())
    for info in sorted(folder.glob("*.egg-info")):
        if info.is_dir() and info.stem.replace("_", "-").lower() == link.stem.lower().replace(
            "_", "-"
        ):
            yield Editable(link.stem, (folder,), tuple(tree_members(info, info.name)))


def _check_all_found(site: Path, prefix: Path, found: Editables) -> None:
    """Refuse an editable install of which nothing was found: it would be lost without a word."""
    known = [Path(os.path.realpath(path)) for path in found.sources]
    for file in sorted(site.glob("*.dist-info/direct_url.json")):
        folder = _editable_folder(file)
        if folder is None or any(path.is_relative_to(folder) for path in known):
            continue
        if folder.is_relative_to(os.path.realpath(prefix)):
            continue  # relative .pth lines lead there
        name = file.parent.name.partition("-")[0]
        raise PackingError(
            f"{name} is installed editable from {without_login(printable(str(folder)))}, in "
            "a way that only works on this machine",
            where=printable(str(file.parent)),
            fix=f"Install it without -e: `pip install {printable(str(folder))}`.",
        )


def _editable_folder(file: Path) -> Path | None:
    """The folder that a package is used from; None for one that was installed as usual."""
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
        editable = said.get("dir_info", {}).get("editable")
        return Path(os.path.realpath(unquote(urlparse(said["url"]).path))) if editable else None
    except (OSError, ValueError, KeyError, AttributeError):
        return None
