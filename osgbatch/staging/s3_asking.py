"""How an S3 server is asked: with patience, in several threads, and no more after a Ctrl-C."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, BinaryIO, TypeVar

from osgbatch.errors import StagingError
from osgbatch.staging.hashes import changed
from osgbatch.staging.s3_client import WORKERS, refused

T = TypeVar("T")

PATIENCE_S = 120.0
FIRST_PATIENCE_S = 20.0
"""A server that is gone for less than this is waited for; the second until it first answers."""
FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 10.0
END_S = 1.5
"""Threads have so long to end what they do; one that hangs in a request is left behind."""
# With 4xx; all of 5xx are but those below. MinIO and Ceph have codes of their own for 503.
_TRANSIENT = (
    *("RequestTimeout", "OperationAborted", "SlowDown", "Throttling", "ThrottlingException"),
    *("TooManyRequests", "RequestLimitExceeded"),
)
_FINAL = (501, 505, 507)  # not implemented, no such HTTP, disk full
# Of SSLError, by OpenSSL's names. What is left, as an end in a handshake, comes of restarts, too.
_NO_BUNDLE = ("[X509", "[PEM", "[Errno 2]", "[Errno 13]", "[Errno 21]", "CA cert")
_FINAL_TLS = ("CERTIFICATE_VERIFY_FAILED", "WRONG_VERSION_NUMBER", *_NO_BUNDLE)


class UploadGoneError(StagingError):
    """The server does not know an upload in parts any more."""


class Sending:
    """A file on its way to the server, sent in small pieces. look: raises when it is to end.

    fault: what was wrong with the source, which botocore hides behind an error of its own.
    """

    def __init__(self, stream: BinaryIO, size: int, source: Path, look: Callable[[], None]) -> None:
        self._stream = stream
        self._size = size
        self._source = source
        self._look = look
        self.fault: Exception | None = None

    def read(self, count: int = -1) -> bytes:
        """The next bytes. Raises StagingError when the file has become shorter, OSError."""
        self._look()
        try:
            data = self._stream.read(count)
            if not data and count and self._stream.tell() < self._size:
                raise changed(self._source)
        except (OSError, StagingError) as error:
            self.fault = error
            raise
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()


class Asking:
    """Questions to one server. bucket, place: for messages, the latter of the server."""

    def __init__(self, bucket: str, place: str) -> None:
        self._bucket = bucket
        self._place = place
        self._answered = False
        self._mine = threading.local()

    def ask(self, question: Callable[[], T], where: str, *, missing: bool = False) -> T:
        """The server's answer; asked again, ever more slowly, while it is away or overloaded.

        where: the key, for messages; missing: None when what is asked for is not there.
        Raises StagingError; CancelledError in a thread of `each` that is to end.
        """
        from botocore import exceptions

        # A server that never answered is rather a wrong name than one that is away for a moment.
        wait = FIRST_WAIT_S
        patience = time.monotonic() + (PATIENCE_S if self._answered else FIRST_PATIENCE_S)
        while True:
            self.look()
            try:
                answered = question()
                self._answered = True
                return answered
            except exceptions.ClientError as error:
                self._answered = True
                answer = error.response.get("Error", {})
                code = str(answer.get("Code", ""))
                if missing and code in ("404", "NoSuchKey", "NotFound"):
                    return None  # type: ignore[return-value]
                if code == "NoSuchUpload":
                    raise UploadGoneError(f"the upload is gone: {code}", where=where) from None
                if not passes(error.response) or time.monotonic() > patience:
                    place = f"s3://{self._bucket}/{where}".rstrip("/")
                    raise refused(place, code, str(answer.get("Message") or "")) from None
            except exceptions.BotoCoreError as error:
                self.look()
                if not _comes_back(error) or time.monotonic() > patience:
                    raise self.away(error) from None
            self.pause(wait)
            wait = min(wait * 2, LONGEST_WAIT_S)

    def send(self, call: Callable[[Sending], T], body: Sending, where: str) -> T:
        """The answer to a request with a body, which is sent anew with each try.

        Raises StagingError, CancelledError, as `ask`, and OSError of the file that is sent.
        """
        from botocore import exceptions

        def once() -> T:
            body.seek(0)
            try:
                return call(body)
            except exceptions.BotoCoreError:
                if body.fault is not None:
                    raise body.fault from None
                raise

        return self.ask(once, where)

    def away(self, error: Exception) -> StagingError:
        """The error that there is no answer."""
        from botocore import exceptions

        if isinstance(error, exceptions.SSLError):
            what, fix = _of_tls(str(error), os.environ.get("AWS_CA_BUNDLE", ""))
            return StagingError(what, where=self._place, fix=fix)
        if isinstance(error, (exceptions.HTTPClientError, exceptions.ConnectionError, OSError)):
            fix = "Is `endpoint:` right, is the server up? The same command goes on where it was."
            return StagingError(f"the server cannot be asked: {error}", where=self._place, fix=fix)
        what = " ".join(str(error).split())
        return StagingError(
            f"S3 cannot be asked: {what}",
            where=f"s3://{self._bucket}",
            fix="Are bucket, keys and settings of S3 right?",
        )

    def each(self, tasks: Sequence[Callable[[], T]]) -> Iterator[T]:
        """What tasks return, in order; some of them run at a time.

        Closed early, as by an error or a Ctrl-C, it ends those that run within END_S: they must
        `ask`, `look` or `pause`. Raises what a task raises.
        """
        stopped = threading.Event()
        todo: SimpleQueue[tuple[Callable[[], T], Future[T]]] = SimpleQueue()
        futures: list[Future[T]] = []
        for task in tasks:
            futures.append(Future())
            todo.put((task, futures[-1]))

        def work() -> None:
            self._mine.stopped = stopped
            while not stopped.is_set():
                try:
                    task, future = todo.get_nowait()
                except Empty:
                    return
                try:
                    future.set_result(task())
                except BaseException as error:  # it is the caller's
                    future.set_exception(error)

        # As daemons they keep no process from ending, even when the server stalls.
        count = min(WORKERS, len(tasks))
        threads = [threading.Thread(target=work, daemon=True) for _ in range(count)]
        for thread in threads:
            thread.start()
        try:
            for future in futures:
                yield future.result()
        finally:
            stopped.set()
            deadline = time.monotonic() + END_S
            for thread in threads:
                thread.join(max(0.0, deadline - time.monotonic()))

    def look(self) -> None:
        """Go on, unless this is a thread of `each` and that was closed: CancelledError."""
        stopped = self._stopped()
        if stopped is not None and stopped.is_set():
            raise CancelledError

    def pause(self, seconds: float) -> None:
        """Wait, but not when it is to end."""
        stopped = self._stopped()
        if stopped is None:
            time.sleep(seconds)
        else:
            stopped.wait(seconds)

    def _stopped(self) -> threading.Event | None:
        return getattr(self._mine, "stopped", None)


def passes(response: Mapping[str, Any]) -> bool:
    """Whether a refusal is of the kind that may be none a moment later. response: of botocore."""
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0)
    code = str(response.get("Error", {}).get("Code", ""))
    if status == 429 or (status >= 500 and status not in _FINAL):
        return True
    return status < 500 and code in _TRANSIENT


def _comes_back(error: Exception) -> bool:
    """Whether a server that gave no answer may give one a moment later."""
    from botocore import exceptions

    if isinstance(error, exceptions.SSLError):
        return not any(word in str(error) for word in _FINAL_TLS)
    kinds = (exceptions.HTTPClientError, exceptions.ConnectionError, exceptions.IncompleteReadError)
    return isinstance(error, kinds)


def _of_tls(said: str, bundle: str) -> tuple[str, str]:
    """What is wrong with TLS, and what to do.

    said: by OpenSSL, or of the file of authorities. bundle: AWS_CA_BUNDLE; `ca_bundle` in AWS's
    settings means the same (AWS SDKs reference, general settings).
    """
    if "CERTIFICATE_VERIFY_FAILED" in said:
        now = f"; {bundle}, which it names now, does not have it" if bundle else ""
        fix = f"Let AWS_CA_BUNDLE name a file with the certificate of the server's authority{now}."
        return f"the server's certificate is not trusted: {said}", fix
    if bundle and any(word in said for word in _NO_BUNDLE):
        fix = "Let it name a readable file with the certificate of the server's authority."
        return f"the file {bundle} of AWS_CA_BUNDLE cannot be used: {said}", fix
    fix = "Is `endpoint:` right, and does it speak https? The same command goes on where it was."
    return f"the server cannot be asked: {said}", fix
