"""Inputs that are URLs: which this machine can fetch, and the process that fetches a job's.

The loop starts this file as a process of its own, so that a slow server holds up one job only.
That process finds nothing of osgbatch, so this file imports nothing of it; and it alone loads what
speaks HTTP, for every command that looks at a local batch loads this file.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

SCHEMES = frozenset(["http", "https", "file"])
"""What is fetched here; HTCondor's own plugins and those of its pools know others."""
SILENCE_S = 60.0
"""How long a server may say nothing."""
TRIES = 3
PAUSE_S = 1.0
"""Seconds before a fetch that broke off is tried again."""
SUBCODE = 256
"""That of HTCondor's hold 13 when its curl plugin fails (seen on 25.14)."""


class FetchError(Exception):
    """A URL cannot be fetched."""


def start(
    files: Mapping[str, str], scratch: Path, answer: BinaryIO, prepare: Callable[[], None]
) -> subprocess.Popen[bytes]:
    """Start the process that fetches URLs into the scratch folder; it ends with 0 when it has.

    files: the URLs, and what to call the file of each.
    answer: an open file, where it says {"size": bytes} or {"url": ..., "what": ...}.
    prepare: called in the new process. Raises OSError.
    """
    with tempfile.TemporaryFile(dir=scratch.parent) as words:
        words.write(json.dumps(dict(files)).encode())
        words.seek(0)
        return subprocess.Popen(
            [sys.executable, "-I", os.fspath(Path(__file__).absolute()), os.fspath(scratch)],
            stdin=words,
            stdout=answer,
            cwd=scratch,
            start_new_session=True,
            preexec_fn=prepare,
        )


def read_answer(answer: BinaryIO, code: int) -> int:
    """The bytes that were fetched. Raises FetchError with what HTCondor's hold says besides."""
    answer.seek(0)
    try:
        found = json.loads(answer.read())
        if code == 0:
            return int(found["size"])
        what, url = str(found["what"]), str(found["url"])
    except (ValueError, KeyError, TypeError):
        how = f"exit code {code}" if code >= 0 else f"signal {-code}"
        raise FetchError(f"the process that fetches URLs ended with {how}") from None
    raise FetchError(f"{what} ( URL file = {url} )")


def fetch(url: str, target: Path, silence_s: float = SILENCE_S, pause_s: float = PAUSE_S) -> int:
    """Fetch a URL into a file; returns its bytes. silence_s, pause_s: seconds.

    What breaks off is tried again, an answer that says no is not. Raises FetchError.
    """
    if _is_file(url):
        try:
            with target.open("wb") as writer:
                return _copy(url, writer)
        except ValueError as problem:
            raise FetchError(f"this URL cannot be read: {problem}") from None
        except OSError as problem:
            raise FetchError(_in_words(problem)) from None
    import http.client
    import urllib.error

    for left in reversed(range(TRIES)):
        try:
            with target.open("wb") as writer:
                return _download(url, writer, silence_s)
        except urllib.error.HTTPError as problem:
            problem.close()
            if problem.code < 500 or not left:
                raise FetchError(f"The requested URL returned error: {problem.code}") from None
        except (ValueError, http.client.InvalidURL) as problem:  # a host or port that is none
            raise FetchError(f"this URL cannot be read: {problem}") from None
        except (OSError, http.client.HTTPException) as problem:
            if not left or _is_ours(problem):
                raise FetchError(_in_words(problem)) from None
        time.sleep(pause_s)
    raise AssertionError("unreachable")


def _is_file(url: str) -> bool:
    return url.lower().startswith("file:")


def _in_words(problem: Exception) -> str:
    reason = getattr(problem, "reason", None) or problem
    if isinstance(reason, OSError) and reason.strerror:
        return f"{reason.strerror}: {reason.filename}" if reason.filename else reason.strerror
    return str(reason) or type(reason).__name__


def _is_ours(problem: Exception) -> bool:
    """Whether the trouble is this machine's disk; another try would not help."""
    return isinstance(problem, OSError) and problem.errno in (errno.ENOSPC, errno.EDQUOT)


def _download(url: str, writer: BinaryIO, silence_s: float) -> int:
    import http.client
    import urllib.request

    request = urllib.request.Request(url.partition("#")[0], headers={"User-Agent": "osgbatch"})
    with urllib.request.urlopen(request, timeout=silence_s) as reader:
        shutil.copyfileobj(reader, writer, 1 << 20)
        promised = reader.headers.get("Content-Length", "")
    size = writer.tell()
    if promised.isdigit() and int(promised) != size:
        raise http.client.IncompleteRead(b"", int(promised) - size)
    return size


def _copy(url: str, writer: BinaryIO) -> int:
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost"):
        raise FetchError("a file URL starts with three slashes: file:///")
    path = unquote(parts.path)
    # O_NONBLOCK: were it a pipe, to open it would wait for somebody who writes.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise FetchError(f"{path} is no file")
        with os.fdopen(descriptor, "rb", closefd=False) as reader:
            shutil.copyfileobj(reader, writer, 1 << 20)
    finally:
        os.close(descriptor)
    return writer.tell()


def main() -> None:
    """Fetch the URLs that standard input names into the folder named by the argument."""
    scratch = Path(sys.argv[1])
    size = 0
    for url, name in json.load(sys.stdin).items():
        try:
            if name in ("", ".", ".."):
                raise FetchError("it ends in no file name")
            size += fetch(url, scratch / name)
        except FetchError as problem:
            print(json.dumps({"url": url, "what": str(problem)}))
            sys.exit(1)
    print(json.dumps({"size": size}))


if __name__ == "__main__":
    main()
