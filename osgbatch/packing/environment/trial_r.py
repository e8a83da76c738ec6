"""Tries the languages of an unpacked environment: Python, R, or both."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from osgbatch.packing.environment.r_scripts import LIBRARY, TAG, without_base
from osgbatch.packing.environment.trial import Trial, run_program, run_python, try_environment

PYTHON, RSCRIPT = Path("bin/python"), Path("bin/Rscript")

_TRIAL = r"""
say <- function(...) cat("\nosgbatch-trial", ..., sep = "\t")
for (name in commandArgs(TRUE)) {
  cat("trying", name, "\n", file = stderr())
  tryCatch(
    suppressWarnings(suppressMessages(library(name, character.only = TRUE))),
    error = function(e) say("failed", name, gsub("[[:space:]]+", " ", conditionMessage(e)))
  )
}
stopifnot(all.equal(solve(diag(2) * 2), diag(2) / 2))
for (path in c(R.home(), .libPaths())) say("own", path)
maps <- if (file.exists("/proc/self/maps")) readLines("/proc/self/maps") else character()
maps <- sub("^([^ ]+ +){5}", "", maps)
for (path in unique(grep("^/.*[.]so", maps, value = TRUE))) say("loaded", path)
say("end")
cat("\n")
"""


@dataclass(frozen=True)
class _Report:
    """What R says of itself. own: its home, and where it looks for packages."""

    failed: dict[str, str]
    own: list[str]
    loaded: list[str]


def try_languages(root: Path, modules: Iterable[str], scratch: Path) -> Trial:
    """Start what an unpacked environment has, as `env -i` would, and import modules.

    root: the folder it was unpacked to. modules: of Python, and R packages as `R:jsonlite`; a name
    without `R:` means the R package where there is no Python, or R has one of that name. scratch:
    an existing folder, the home of what is written. An environment of programs alone is not tried.
    """
    has_python, has_r = (root / PYTHON).exists(), (root / RSCRIPT).exists()
    names = without_base(dict.fromkeys(modules))
    for_r = [name for name in names if _is_of_r(name, root)]
    others = [name for name in names if name not in for_r]
    if not has_r and not has_python:
        failed = dict.fromkeys(names, "the environment has neither Python nor R")
        return Trial(failed, ())
    trial = try_environment(root, others, scratch) if has_python else Trial({}, ())
    if not has_r or trial.broken:
        return trial
    done = _run_r(root, for_r, scratch)
    if isinstance(done, str):
        return Trial({}, (), f"R: {done}")
    inside = root.resolve()
    strays = [path for path in done.own if not Path(path).resolve().is_relative_to(inside)]
    outside = [Path(path) for path in done.loaded if not Path(path).is_relative_to(inside)]
    return Trial(
        trial.failed | done.failed,
        (*trial.outside, *(path for path in outside if path not in trial.outside)),
        "; ".join(f"R takes {path} for its own" for path in strays),
    )


def failing(prefix: Path, modules: Iterable[str], scratch: Path) -> set[str]:
    """Those of the modules that cannot be imported where an environment lies now.

    Empty when that cannot be told. modules, scratch: as for `try_languages`.
    """
    names = sorted(modules)
    for_r = [name for name in names if _is_of_r(name, prefix)]
    others = [name for name in names if name not in for_r]
    failed: set[str] = set()
    if others and not isinstance(by_python := run_python(prefix / PYTHON, others, scratch), str):
        failed |= set(by_python.failed)
    if for_r and not isinstance(by_r := _run_r(prefix, for_r, scratch), str):
        failed |= set(by_r.failed)
    return failed


def _is_of_r(name: str, root: Path) -> bool:
    if name.startswith(TAG) or not (root / RSCRIPT).exists():
        return name.startswith(TAG)
    return not (root / PYTHON).exists() or (root / LIBRARY / name / "DESCRIPTION").exists()


def _run_r(root: Path, names: list[str], scratch: Path) -> str | _Report:
    """Let R load packages; what it reports, or why it reports nothing."""
    script = scratch / "osgbatch-trial.R"
    script.write_text(_TRIAL, encoding="utf-8")
    plain = {name.removeprefix(TAG): name for name in names}
    done = run_program(
        [str(root / RSCRIPT), str(script), *plain],
        scratch,
        {"PATH": f"{root / 'bin'}:/usr/bin:/bin", "CONDA_PREFIX": str(root), "R_LIBS_USER": "NULL"},
    )
    report = _Report({}, [], [])
    for line in done.stdout.splitlines():
        mark, *words = line.split("\t")
        if mark != "osgbatch-trial":
            continue
        if words[0] == "failed":
            report.failed[plain[words[1]]] = words[2]
        elif words[0] == "own":
            report.own.append(words[1])
        elif words[0] == "loaded":
            report.loaded.append(words[1])
        elif words[0] == "end":
            return report
    if done.code is None:
        return done.said
    return f"it ended with {done.code}: {done.said or 'it said nothing'}"
