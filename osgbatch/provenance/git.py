"""Asks git, once and not for long, which commit code is of and whether it was changed since."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from osgbatch.urls import without_login

LIMIT_S = 3.0
"""For so long git is asked in all: submitting waits for it."""
MOST_CHANGED = 50
"""So many changed files are named."""

_QUIET = (
    # No program that a repository's own settings name is run.
    "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "core.pager=cat",
    "-c", "core.untrackedCache=false", "-c", "submodule.recurse=false",
)  # fmt: skip


@dataclass(frozen=True)
class Repository:
    """What git tells of a folder of code.

    root: of the work tree; commit: 40 or 64 hexadecimal digits, empty before the first; remote: its
    address, without login. changed: files of the code that differ from the commit, or are not in
    it, relative to root; more_changed: how many more there are. dirty: None where it is not known.
    problem: why something is not known.
    """

    root: str
    commit: str = ""
    branch: str = ""
    remote: str = ""
    dirty: bool | None = None
    changed: tuple[str, ...] = ()
    more_changed: int = 0
    problem: str = ""

    def data(self) -> dict[str, Any]:
        """The same for JSON."""
        return {**asdict(self), "changed": list(self.changed)}


def code_state(paths: Iterable[Path], limit_s: float = LIMIT_S) -> list[Repository]:
    """What git tells of files and folders of code; empty where there is no git, or no repository.

    Never raises: what cannot be told in time is told as a problem.
    """
    git = shutil.which("git")
    if git is None:
        return []
    asker = _Git(git, time.monotonic() + limit_s)
    by_root: dict[str, list[Path]] = {}
    problems: list[Repository] = []
    roots: dict[Path, str] = {}
    for path in dict.fromkeys(paths):
        folder = path if path.is_dir() else path.parent
        if not _below_a_repository(folder):
            continue
        if folder not in roots:
            try:
                roots[folder] = asker.ask(folder, "rev-parse", "--show-toplevel").strip("\n")
            except _GitError as error:
                roots[folder] = ""
                problems.append(Repository(str(folder), problem=str(error)))
        if roots[folder]:
            by_root.setdefault(roots[folder], []).append(path)
    return [_repository(asker, root, found) for root, found in by_root.items()] + problems


def _below_a_repository(folder: Path) -> bool:
    """Whether git is worth asking; most sweeps lie in none."""
    real = folder.resolve()
    return any((above / ".git").exists() for above in (real, *real.parents))


def _repository(asker: _Git, root: str, paths: Sequence[Path]) -> Repository:
    top = Path(root)
    commit = branch = remote = ""
    try:
        # Of one that has no commit yet this fails, and there is none to be told.
        found = asker.ask(top, "rev-parse", "--verify", "--quiet", "HEAD", allowed=(0, 1, 128))
        commit = found.strip()
        branch = asker.ask(top, "symbolic-ref", "--short", "--quiet", "HEAD", allowed=(0, 1))
        remote = asker.ask(top, "config", "--get", "remote.origin.url", allowed=(0, 1))
        names = [os.path.relpath(path.resolve(), top.resolve()) for path in paths]
        said = asker.ask(
            top, *_without_filters(asker, top), "--literal-pathspecs",
            "status", "--porcelain=v1", "-z", "--untracked-files=all", "--ignored=no",
            "--ignore-submodules=all", "--no-renames", "--", *names,
        )  # fmt: skip
    except _GitError as error:
        return Repository(
            root, commit, branch.strip(), without_login(remote.strip()), problem=str(error)
        )
    changed = [entry[3:] for entry in said.split("\0") if len(entry) > 3]
    return Repository(
        root,
        commit,
        branch.strip(),
        without_login(remote.strip()),
        bool(changed),
        tuple(changed[:MOST_CHANGED]),
        max(0, len(changed) - MOST_CHANGED),
    )


def _without_filters(asker: _Git, top: Path) -> list[str]:
    """Options by which `git status` runs no filter, whoever's settings name it.

    Where only the time of a file is another, one that a filter has changed is then told as changed.
    Source: git-config manual, filter.<driver>.clean and .process; an empty one is none.
    """
    asked = ("config", "-z", "--name-only", "--get-regexp", r"^filter\..*\.")
    found = asker.ask(top, *asked, allowed=(0, 1))
    drivers = {key.removeprefix("filter.").rpartition(".")[0] for key in found.split("\0") if key}
    if any("=" in driver for driver in drivers):  # `-c` cannot name it
        raise _GitError("its settings name a filter with = in its name")
    settings = ("clean=", "smudge=", "process=", "required=false")
    return [
        word
        for name in sorted(drivers)
        for one in settings
        for word in ("-c", f"filter.{name}.{one}")
    ]


class _GitError(Exception):
    """Git does not answer."""


class _Git:
    def __init__(self, program: str, until: float) -> None:
        self.program = program
        self.until = until

    def ask(self, folder: Path, *words: str, allowed: Sequence[int] = (0,)) -> str:
        """What git prints of a work tree. Raises _GitError, also when the time is over."""
        left = self.until - time.monotonic()
        if left <= 0:
            raise _GitError(f"git took more than {LIMIT_S:.0f} s")
        env = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
        env |= {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
        # What a partial clone lacks is not fetched: the settings say by which program.
        env |= {"GIT_NO_LAZY_FETCH": "1", "GIT_ALLOW_PROTOCOL": "none"}
        try:
            done = subprocess.run(
                [self.program, *_QUIET, "-C", str(folder), *words],
                capture_output=True,
                stdin=subprocess.DEVNULL,
                timeout=left,
                env=env,
            )
        except subprocess.TimeoutExpired:
            raise _GitError(f"git took more than {LIMIT_S:.0f} s") from None
        except OSError as error:
            raise _GitError(f"git cannot be run: {error.strerror}") from None
        if done.returncode not in allowed:
            said = done.stderr.decode("utf-8", "replace").strip().split("\n")[0]
            raise _GitError(said[:200] or f"git ended with {done.returncode}")
        return done.stdout.decode("utf-8", "surrogateescape") if done.returncode == 0 else ""
