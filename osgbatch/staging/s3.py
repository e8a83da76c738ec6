"""A stash in a bucket of S3: AWS, MinIO, Ceph and what else speaks it."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from osgbatch.errors import StagingError
from osgbatch.model import Stash
from osgbatch.staging.hashes import CHUNK, changed
from osgbatch.staging.keys import check_lifetime, key_files
from osgbatch.staging.objects import FOLDER, Object, checksum_of
from osgbatch.staging.s3_client import WORKERS, client, refused
from osgbatch.staging.s3_parts import InParts, UploadGoneError
from osgbatch.staging.store import Advance, Kept, Store, expanded

T = TypeVar("T")

WHOLE = 256 * 1024**2
"""Bytes up to which a file is brought in one request."""
FEW = 64
"""So many objects are asked for one by one; more are looked up in a listing."""
PATIENCE_S = 120.0
FIRST_PATIENCE_S = 20.0
"""A server that is gone for less than this is waited for; the second until it first answers."""
_TRANSIENT = (
    *("SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout", "Throttling"),
    *("OperationAborted", "500", "502", "503", "504"),
)


class S3Store(Store):
    """Objects are those of a bucket. S3 shows an object only when all of it has arrived.

    What arrives is checked by the server (Content-MD5); an upload in parts that was cut short is
    gone on with.
    """

    def __init__(self, stash: Stash) -> None:
        where = expanded(stash.url)
        self.bucket, _, prefix = where.removeprefix("s3://").strip("/").partition("/")
        self.prefix = f"{prefix}/" if prefix else ""
        self.stash = stash
        self._answered = False
        self.client, self.keys = client(stash)
        check_lifetime(stash, self.keys)
        self.url = f"s3://{self._host()}/{prefix}".rstrip("/")

    def fetch_url(self, name: str) -> str:
        """See Store. One that is signed for GET is https, and can be used by whoever sees it."""
        lifetime = self.stash.presigned_s
        if not lifetime:
            return self.object_url(name)
        return str(
            self.client.generate_presigned_url(
                "get_object",
                Params={"Bucket": self.bucket, "Key": self._key(name)},
                ExpiresIn=lifetime,
            )
        )

    def _host(self) -> str:
        """What stands before the key in a URL for HTCondor, which signs for this very host.

        Source: HTCondor manual, "Submitting jobs: S3 file transfer": s3://<bucket>.s3.<region>.
        amazonaws.com/<key>, and s3://<host>/<bucket>/<key> for other servers.
        """
        if self.stash.endpoint:
            return f"{urlsplit(self.stash.endpoint).netloc}/{self.bucket}"
        region = self.client.meta.region_name or "us-east-1"
        return f"{self.bucket}.s3.{region}.amazonaws.com"

    def _key(self, name: str) -> str:
        return f"{self.prefix}{FOLDER}/{name}"

    def sizes(self, names: Iterable[str]) -> dict[str, int]:
        """See Store."""
        wanted = set(names)
        if len(wanted) > FEW:
            return {kept.name: kept.size for kept in self.listing() if kept.name in wanted}
        found = {}
        for name in wanted:
            head = self._head(name)
            if head is not None:
                found[name] = int(head["ContentLength"])
        return found

    def _head(self, name: str) -> Any:
        """What the server says of an object; None when it is not there."""
        key = self._key(name)
        return self.ask(
            lambda: self.client.head_object(Bucket=self.bucket, Key=key), key, missing=True
        )

    def put(self, source: Path, wanted: Object, advance: Advance) -> bool:
        """See Store."""
        head = self._head(wanted.name)
        if head is not None:
            if int(head["ContentLength"]) != wanted.size:
                raise StagingError(
                    f"an object of this name is there with {head['ContentLength']} bytes and not "
                    f"{wanted.size}",
                    where=self.object_url(wanted.name),
                    fix="`osgbatch stage verify` lists such objects; remove it by hand.",
                )
            return False
        try:
            if wanted.size <= WHOLE:
                self._put_whole(source, wanted)
                advance(wanted.size)
            else:
                InParts(self, self._key(wanted.name), source, wanted).put(advance)
        except OSError as error:
            raise StagingError(
                f"cannot be read: {error.strerror or error}", where=str(source)
            ) from None
        head = self._head(wanted.name)
        if head is None or int(head["ContentLength"]) != wanted.size:
            raise StagingError(
                "the server took the object and does not show it as it should be",
                where=self.object_url(wanted.name),
                fix="Try again; if it stays so, the server is at fault.",
            )
        return True

    def put_all(self, files: Sequence[tuple[Path, Object]], advance: Advance) -> Iterator[bool]:
        """See Store."""
        pool = ThreadPoolExecutor(WORKERS)
        try:
            asked = [pool.submit(self.put, path, one, advance) for path, one in files]
            for one in asked:
                yield one.result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _put_whole(self, source: Path, wanted: Object) -> None:
        key = self._key(wanted.name)
        with source.open("rb") as stream:
            whole, check = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
            while data := stream.read(CHUNK):
                whole.update(data)
                check.update(data)
            if stream.tell() != wanted.size or whole.hexdigest() != wanted.sha256:
                raise changed(source)
            md5 = base64.b64encode(check.digest()).decode()

            def send() -> None:
                stream.seek(0)
                self.client.put_object(Bucket=self.bucket, Key=key, Body=stream, ContentMD5=md5)

            self.ask(send, key)

    def pages(self, what: str, where: str, **arguments: Any) -> Iterator[Any]:
        """The pages of a listing, each asked for with patience."""
        pages = iter(self.client.get_paginator(what).paginate(Bucket=self.bucket, **arguments))
        while (page := self.ask(lambda: next(pages, None), where)) is not None:
            yield page

    def listing(self) -> Iterator[Kept]:
        """See Store."""
        prefix = self._key("")
        for page in self.pages("list_objects_v2", prefix, Prefix=prefix):
            for one in page.get("Contents") or []:
                name = one["Key"][len(prefix) :]
                if checksum_of(name):
                    yield Kept(name, int(one["Size"]), one["LastModified"].timestamp())

    def keys_below(self, prefix: str) -> Iterator[tuple[str, int, str]]:
        """Every key that begins so, whatever it is: key, bytes, and what the server has as its tag.

        prefix: below the stash's own. Raises StagingError.
        """
        start = self.prefix + prefix
        for page in self.pages("list_objects_v2", start, Prefix=start):
            for one in page.get("Contents") or []:
                tag = str(one.get("ETag", "")).strip('"')
                yield one["Key"][len(self.prefix) :], int(one["Size"]), tag

    def checksum(self, name: str, advance: Advance) -> str:
        """See Store."""
        key = self._key(name)
        digest = hashlib.sha256()
        have, patience = 0, time.monotonic() + PATIENCE_S
        if not self.size_of_key(key):
            return digest.hexdigest()
        while True:
            try:
                for part in self.read_key(key, have):
                    digest.update(part)
                    have += len(part)
                    advance(len(part))
                    patience = time.monotonic() + PATIENCE_S
                return digest.hexdigest()
            except ConnectionError as error:
                if time.monotonic() > patience:
                    raise self._away(error) from None
                time.sleep(1)

    def remove(self, name: str) -> None:
        """See Store."""
        key = self._key(name)
        self.ask(lambda: self.client.delete_object(Bucket=self.bucket, Key=key), key)

    def tidy(self, older_s: float) -> int:
        """See Store."""
        count = 0
        prefix = self._key("")
        for page in self.pages("list_multipart_uploads", prefix, Prefix=prefix):
            for one in page.get("Uploads") or []:
                if time.time() - one["Initiated"].timestamp() > older_s:
                    key, upload = one["Key"], one["UploadId"]
                    self.abort(key, upload)
                    count += 1
        return count

    def abort(self, key: str, upload: str) -> None:
        """End an upload in parts without its object. Raises StagingError."""
        self.ask(
            lambda: self.client.abort_multipart_upload(
                Bucket=self.bucket, Key=key, UploadId=upload
            ),
            key,
        )

    def commands(self) -> tuple[tuple[str, str], ...]:
        """See Store."""
        files = key_files(self.stash, self.keys)
        return (
            ("aws_access_key_id_file", str(files.access)),
            ("aws_secret_access_key_file", str(files.secret)),
        )

    def fetch_commands(self) -> tuple[tuple[str, str], ...]:
        """See Store. URLs that are signed in advance need no keys."""
        return () if self.stash.presigned_s else self.commands()

    def size_of_key(self, key: str) -> int | None:
        """Bytes of what is at a key; None when there is nothing. Raises StagingError."""
        head = self.ask(
            lambda: self.client.head_object(Bucket=self.bucket, Key=key), key, missing=True
        )
        return None if head is None else int(head["ContentLength"])

    def read_key(self, key: str, start: int) -> Iterator[bytes]:
        """What is at a key, from a byte on. Raises ConnectionError when cut off, StagingError."""
        from botocore import exceptions

        answer = self.ask(
            lambda: self.client.get_object(Bucket=self.bucket, Key=key, Range=f"bytes={start}-"),
            key,
        )
        try:
            yield from answer["Body"].iter_chunks(CHUNK)
        except (exceptions.HTTPClientError, exceptions.BotoCoreError, OSError) as error:
            raise ConnectionError(str(error)) from None

    # --- asking ---------------------------------------------------------------------------------

    def ask(self, question: Callable[[], T], where: str, *, missing: bool = False) -> T:
        """The server's answer; asked again, ever more slowly, while it is away or overloaded.

        missing: None when what is asked for is not there. Raises StagingError.
        """
        from botocore import exceptions

        # A server that never answered is rather a wrong name than one that is away for a moment.
        wait = 0.5
        patience = time.monotonic() + (PATIENCE_S if self._answered else FIRST_PATIENCE_S)
        while True:
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
                if code not in _TRANSIENT or time.monotonic() > patience:
                    place = f"s3://{self.bucket}/{where}"
                    raise refused(place, code, str(answer.get("Message", ""))) from None
            except (exceptions.SSLError, exceptions.NoCredentialsError) as error:
                raise self._away(error) from None
            except (exceptions.HTTPClientError, exceptions.BotoCoreError) as error:
                if time.monotonic() > patience:
                    raise self._away(error) from None
            time.sleep(wait)
            wait = min(wait * 2, 10.0)

    def _away(self, error: Exception) -> StagingError:
        return StagingError(
            f"the server cannot be asked: {error}",
            where=self.stash.endpoint or self.url,
            fix="Is `endpoint:` right, is the server up? The same command goes on where it was.",
        )
