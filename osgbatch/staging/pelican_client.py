"""Runs the `pelican` command: what it prints, what may be tried again, and an end to all of it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from osgbatch.errors import StagingError

T = TypeVar("T")
U = TypeVar("U")

COMMANDS = ("pelican", "osdf")
"""The client's names; the second is the same program."""
WORKERS = 4
"""So many commands run at a time: each asks the federation anew where things are."""
RETRYABLE = 11
"""The client's exit code for what may go well the next time. Source: cmd/object_put.go."""
WAITS_S = (1.0, 4.0, 16.0)
"""How long is waited before each new attempt."""
GRACE_S = 5.0
"""A command that is told to end and does not is killed after this."""

# A server says `server returned 404 Not Found`, the director `404: There are currently no origins
# hosting the object`, WebDAV `PROPFIND /path: 404`. Source: client/error_helpers.go, director.go.
_MISSING = re.compile(
    r"(?:^|[\s(\"'])404(?=[\s:;,.)\"']|$)|\bobject (?:does not exist|(?:was )?not found)"
    r"|\bno such object\b",
    re.IGNORECASE,
)
# What else can be "not found": the federation itself, a namespace, a credential.
_ELSEWHERE = re.compile(
    r"no such host|metadata|discover(?:y|ing)|issuer|token|credential|no namespace"
    r"|namespace (?:was )?not found",
    re.IGNORECASE,
)
_PATH = re.compile(r"\S*/\S*")


def is_missing(said: str) -> bool:
    """Whether the client's complaint means that the object or folder is not there.

    Paths and URLs, which may hold any word, are not looked at.
    """
    for line in said.splitlines():
        if "/.well-known/" in line:
            continue
        words = _PATH.sub(" ", line)
        if _MISSING.search(words) and not _ELSEWHERE.search(words):
            return True
    return False


class Client:
    """The command, for one stash. url: of the stash, for messages.

    stopped: is set while all that runs is being ended. Raises StagingError when it is not here.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.words = _command(url)
        self.stopped = threading.Event()
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()

    def run(
        self,
        words: Sequence[str],
        *,
        missing: bool = False,
        keep: int = -1,
        between: Callable[[], None] = lambda: None,
    ) -> str | None:
        """What the client prints; tried again when it says that this may help.

        missing: None when what is asked for is not there. keep: a descriptor that the command
        holds open. between: is done before each new attempt. Raises StagingError.
        """
        for wait in (*WAITS_S, None):
            code, printed, complaint = self._once(words, keep)
            if code == 0:
                return printed
            if code != RETRYABLE or wait is None or self.stopped.wait(wait):
                break
            between()
        if missing and is_missing(complaint):
            return None
        lines = [line for line in complaint.splitlines() if line.strip()]
        raise self.error(words, lines[0].strip() if lines else f"exit code {code}")

    def json(self, words: Sequence[str]) -> Any:
        """What the client tells, as JSON in its last line; None when there is no such thing."""
        printed = self.run(words, missing=True)
        if printed is None:
            return None
        for line in reversed(printed.splitlines()):
            if line.strip():
                with suppress(ValueError):
                    return json.loads(line)
                break
        raise self.error(words, "its answer is not understood")

    def each(self, work: Callable[[T], U], items: Iterable[T]) -> Iterator[U]:
        """What `work` makes of each item, in order, some at a time.

        When it ends early, by an error or Ctrl-C, so do the commands that run.
        """
        pool = ThreadPoolExecutor(WORKERS)
        try:
            asked = [pool.submit(work, item) for item in items]
            for one in asked:
                yield one.result()
        finally:
            try:
                self._stop()
            finally:
                pool.shutdown(cancel_futures=True)
                self.stopped.clear()

    def error(self, words: Sequence[str], said: str) -> StagingError:
        """The error for a command that failed."""
        command = f"{Path(self.words[0]).name} object {words[0]}"
        fix = "Run it by hand to see more, and to give it a token if it has none."
        url = next((word for word in reversed(words) if "://" in word), self.url)
        return StagingError(f"`{command}` failed: {said}", where=url, fix=fix)

    def _once(self, words: Sequence[str], keep: int) -> tuple[int, str, str]:
        with self._lock:  # so that nothing begins after `_stop` has looked
            if self.stopped.is_set():
                raise self.error(words, "it was not begun, for another has failed")
            process = subprocess.Popen(
                [*self.words, *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=(keep,) if keep >= 0 else (),
                encoding="utf-8",
                errors="replace",
            )
            self._running.add(process)
        try:
            printed, complaint = process.communicate()
        except BaseException:
            _end([process])
            raise
        finally:
            with self._lock:
                self._running.discard(process)
        return process.returncode, printed, complaint

    def _stop(self) -> None:
        """End what runs, and let nothing more begin."""
        with self._lock:
            self.stopped.set()
            running = list(self._running)
        _end(running)


def _end(processes: Sequence[subprocess.Popen[str]]) -> None:
    """End commands; those that do not listen, or when the user has no patience, by force."""
    try:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(timeout=GRACE_S)
    except subprocess.TimeoutExpired:
        pass
    finally:
        for process in processes:
            process.kill()


def _command(url: str) -> list[str]:
    for name in COMMANDS:
        found = shutil.which(name)
        if found:
            return [found, "object"]
    raise StagingError(
        "this stash needs the `pelican` command, which is not here",
        where=url,
        fix="Install the Pelican client (docs.pelicanplatform.org), or use a stash that is a "
        "folder here: `stash: {folder: DIR, url: osdf:///…}`.",
    )
