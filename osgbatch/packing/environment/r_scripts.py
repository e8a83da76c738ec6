"""What a user's R scripts load, and whether an environment has it. Nothing is run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

TAG = "R:"
"""Before the name of an R package, among the modules of an environment."""
LIBRARY = "lib/R/library/"
"""Where conda's R has its packages."""
BASE = frozenset(
    [
        *("base", "stats", "utils", "graphics", "grDevices", "methods", "datasets", "parallel"),
        *("tools", "splines", "stats4", "grid", "compiler", "tcltk", "translations"),
    ]
)
"""Packages that are part of R itself. Source: R-admin, "Package management"."""

_PACKAGE = re.compile(re.escape(LIBRARY) + r"([A-Za-z][A-Za-z0-9.]*)/DESCRIPTION$")
_NAME = r"[A-Za-z][A-Za-z0-9.]*"
_TOKEN = re.compile(
    r"#[^\n]*"
    r"""|[rR](?P<quote>["'])(?P<dashes>-*)\(.*?\)(?P=dashes)(?P=quote)"""
    rf"""|(?<![\w.$@])(?P<call>library|require|requireNamespace|loadNamespace)\s*\(\s*"""
    rf"""(?:package\s*=\s*)?(?P<mark>["'`]?)(?P<loaded>{_NAME})(?P=mark)\s*(?P<rest>,[^)]*)?\)"""
    rf"""|(?<![\w.$@])(?P<used>{_NAME})\s*:::?\s*[A-Za-z.`"]"""
    r"""|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`""",
    re.DOTALL,
)
_ASKED = re.compile(r"(?:!|<-|=|(?<![\w.])(?:if|isTRUE|isFALSE|suppressWarnings)\s*\()\s*$")
_TRIED = re.compile(r"(?<![\w.])try(?:Catch)?\s*\(\s*\{?\s*$")
"""Before a call: the script looks at what came of it, and may do without the package."""
_BACK = 40
"""So many characters before a call are looked at."""


def is_r_script(name: str) -> bool:
    """Whether a file is a script of R, by its name."""
    return name.endswith((".R", ".r"))


def r_packages(names: Iterable[str]) -> tuple[str, ...]:
    """The R packages among the files of an environment, `R:jsonlite`; R's own are left in."""
    return tuple(sorted({TAG + match[1] for name in names if (match := _PACKAGE.match(name))}))


def without_base(modules: Iterable[str]) -> list[str]:
    """Modules without R's own packages, which are there when R starts."""
    return [name for name in modules if name not in {TAG + base for base in BASE}]


def loaded_packages(text: str) -> set[str]:
    """The packages that the text of an R script loads, and cannot do without.

    Found are `library(x)`, `loadNamespace("x")`, `x::f`, and `require(x)` where nobody looks at
    what it returns. What a script may do without (`if (require(x))`, `requireNamespace`,
    `tryCatch(library(x))`) is left out, and so are R's own packages.
    """
    found, optional = set[str](), set[str]()
    for match in _TOKEN.finditer(text):
        name = match["loaded"] or match["used"]
        if name and match["used"]:
            found.add(name)
        elif name and not (not match["mark"] and "character.only" in (match["rest"] or "")):
            said = text[max(0, match.start() - _BACK) : match.start()]
            asked = match["call"] != "library" and _ASKED.search(said)
            if match["call"] == "requireNamespace" or asked or _TRIED.search(said):
                optional.add(name)
            else:
                found.add(name)
    return found - optional - BASE


def script_packages(paths: Iterable[Path]) -> set[str]:
    """The packages that R scripts load; a file that cannot be read loads none."""
    found: set[str] = set()
    for path in paths:
        if is_r_script(path.name):
            try:
                found |= loaded_packages(path.read_text(encoding="utf-8", errors="replace"))
            except OSError:
                continue
    return found


def r_warnings(
    scripts: Iterable[Path], modules: Iterable[str] | None, local: Iterable[str]
) -> Iterator[str]:
    """A line for each R package that scripts load and that is nowhere, or for R itself.

    modules: of the environment; None when they are not known. local: names of the user's own
    files and libraries.
    """
    written = sorted(path for path in scripts if is_r_script(path.name))
    if modules is None or not written:
        return
    known = {name.removeprefix(TAG) for name in modules if name.startswith(TAG)}
    if "base" not in known:
        yield f"{written[0].name} needs R, which is not in the environment: add r-base to it"
        return
    for name in sorted(script_packages(written) - known - {Path(one).name for one in local}):
        yield (
            f"{name} is loaded by your R scripts, and is neither in the environment nor among "
            "libraries"
        )
