"""Whether a folder is an environment of the user's own that can be packed, and of which kind."""

from __future__ import annotations

import os
import pwd
import re
from dataclasses import dataclass
from pathlib import Path

from osgbatch.errors import PackingError
from osgbatch.packing.archive import printable

MODULES = ("/cvmfs/", "/opt/ohpc/", "/opt/apps/", "/sw/", "/software/", "/usr/local/easybuild/")
"""Where module systems keep what they load; EasyBuild's and Lmod's variables name more."""
FREEZE = "`{python} -m pip freeze > requirements.txt`, then `environment: requirements.txt`."

EXPORT = (
    "`conda env export -p {prefix} --from-history > environment.yml`, then `environment: "
    "environment.yml`."
)


@dataclass(frozen=True)
class Prefix:
    """An environment in a folder.

    path: as it was named, absolute. is_conda: else it is a virtual environment. home: of a virtual
    one, the interpreter that it was made from, as far as links and pyvenv.cfg tell. version: of
    its Python as pyvenv.cfg has it; may be empty.
    """

    path: Path
    is_conda: bool
    home: Path = Path()
    version: str = ""

    @property
    def python(self) -> Path:
        """The interpreter in it, or the link to one."""
        return next(
            (p for n in ("python", "python3") if (p := self.path / "bin" / n).exists()),
            self.path / "bin" / "python",
        )


def checked_prefix(path: Path) -> Prefix:
    """Look at a folder that is to be packed as an environment; nothing is run.

    path: absolute. Raises PackingError for what is none, and for one that is not the user's own.
    """
    where = printable(str(path))
    if not path.is_dir():
        what = (
            "this is a file, not the folder of an environment"
            if path.exists()
            else ("there is no such folder")
        )
        raise PackingError(what, where=where, fix=_near(path) or "Check the path of prefix.")
    if (path / "conda-meta").is_dir():
        _refuse_others(path, path / "conda-meta", path / "bin" / "python")
        provider = module_system(Path(os.path.realpath(path)))
        if provider and (path / "conda-meta").stat().st_uid != os.getuid():
            raise PackingError(
                f"this environment is provided by {provider}: it is not yours, and may change",
                where=where,
                fix="Make one of your own: " + EXPORT.format(prefix=printable(str(path))),
            )
        return Prefix(path, is_conda=True)
    config = path / "pyvenv.cfg"
    interpreters = [path / "bin" / name for name in ("python", "python3")]
    python = next((one for one in interpreters if os.path.lexists(one)), None)
    if not config.is_file():
        if python is None:
            raise PackingError(
                "this folder is no environment: it has neither bin/python nor bin/Rscript",
                where=where,
                fix=_near(path) or _made_from(path) or "Name the folder of an environment.",
            )
        raise _whole_python(path, python)
    if python is None or not any(one.exists() for one in interpreters):
        gone = os.path.realpath(interpreters[0])
        what = f"its Python, {gone}, is gone" if python else "it has no bin/python"
        raise PackingError(what, where=where, fix="Make the environment anew.")
    settings = _settings(config)
    _refuse_others(path, config, python)
    if settings.get("include-system-site-packages", "").lower() == "true":
        raise PackingError(
            "it also uses packages of the Python that it was made from, which would be missing",
            where=printable(str(config)),
            fix="Make the environment anew without --system-site-packages.",
        )
    home = Path(os.path.realpath(python))
    if home.is_relative_to(os.path.realpath(path)):  # made with --copies
        named = settings.get("executable") or f"{settings.get('home', '')}/{home.name}"
        home = Path(os.path.realpath(named))
    version = settings.get("version_info") or settings.get("version", "")
    return Prefix(path, is_conda=False, home=home, version=version)


def _settings(config: Path) -> dict[str, str]:
    try:
        text = config.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise PackingError(
            f"it cannot be read: {error.strerror}",
            where=printable(str(config)),
            fix="Give yourself the right to read it, or make the environment anew.",
        ) from error
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {key.strip().lower(): value.strip() for key, _, value in pairs}


def _near(path: Path) -> str:
    """The environment that was meant, where the folder named is around it or inside it."""
    for name in (".venv", "venv", "env"):
        if (path / name / "bin").is_dir():
            return f"Did you mean {printable(str(path / name))}?"
    for parent in path.parents[:2]:
        if (parent / "pyvenv.cfg").is_file() or (parent / "conda-meta").is_dir():
            return f"Did you mean {printable(str(parent))}?"
    return ""


def _made_from(path: Path) -> str:
    """What lies in a folder that an environment could be made from."""
    names = ("uv.lock", "pyproject.toml", "requirements.txt", "environment.yml", "environment.yaml")
    there = next((path / name for name in names if (path / name).is_file()), None)
    return f"Did you mean {printable(str(there))}?" if there else ""


def _whole_python(path: Path, python: Path) -> PackingError:
    """Not an environment, but what environments are made from."""
    where = printable(str(path))
    real = os.path.realpath(path)
    shown = FREEZE.format(python=printable(str(python)))
    provider = module_system(Path(real))
    if provider:
        return PackingError(
            f"this is a Python that {provider} provides, not an environment of yours",
            where=where,
            fix=f"What it loads from there is not on the execution point. Write down what you use: "
            f"{shown}",
        )
    if real in ("/", "/usr", "/usr/local") or real.startswith("/usr/"):
        return PackingError(
            "this is the operating system's own Python, not an environment",
            where=where,
            fix=f"Write down what you use of it: {shown}",
        )
    return PackingError(
        "this is a whole Python installation, not an environment",
        where=where,
        fix=f"Write down what you use of it: {shown}",
    )


def module_system(path: Path) -> str:
    """What provides a path, where that is a module system; else empty."""
    text = f"{path}/"
    if text.startswith("/cvmfs/"):
        return "CVMFS"
    if text.startswith(("/nix/store/", "/gnu/store/")):
        return "Nix" if text.startswith("/nix") else "Guix"
    marks = (one / ".spack/spec.json" for one in (path, *path.parents))
    if "/spack/opt/spack/" in text or any(mark.is_file() for mark in marks):
        return "Spack"
    named = [
        value
        for name, value in os.environ.items()
        if value.startswith("/") and re.match(r"EBROOT|LMOD_PKG$|MODULESHOME$|SPACK_ROOT$", name)
    ]
    roots = (*MODULES, *(f"{value.rstrip('/')}/" for value in named))
    return "a module system" if text.startswith(roots) else ""


def _refuse_others(path: Path, mark: Path, python: Path) -> None:
    """Raise PackingError for an environment, or a Python, that lies in another user's home."""
    for what, place in (("this environment", mark), ("its Python", python)):
        owner = _in_home_of(Path(os.path.realpath(place)))
        if owner:
            raise PackingError(
                f"{what} belongs to {owner}: it may change or vanish at any time",
                where=printable(str(path)),
                fix="Make one of your own: "
                + (
                    EXPORT.format(prefix=printable(str(path)))
                    if mark.name == "conda-meta"
                    else FREEZE.format(python=printable(str(path / "bin" / "python")))
                ),
            )


def _in_home_of(path: Path) -> str:
    """The other user in whose home a path lies; empty where it is in nobody's, or in ours."""
    try:
        owner = path.stat().st_uid
        account = pwd.getpwuid(owner)
    except (OSError, KeyError):
        return ""
    home = Path(os.path.realpath(account.pw_dir))
    if owner == os.getuid() or len(home.parts) < 2 or not path.is_relative_to(home):
        return ""
    return account.pw_name if str(home) not in ("/usr", "/opt", "/bin", "/usr/local") else ""
