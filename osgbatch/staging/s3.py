"""A stash in a bucket of S3: AWS, MinIO, Ceph and what else speaks it."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from osgbatch.errors import StagingError
from osgbatch.model import Stash
from osgbatch.staging.hashes import CHUNK, changed
from osgbatch.staging.keys import Keys, find_keys, key_files
from osgbatch.staging.objects import FOLDER, Object, checksum_of
from osgbatch.staging.store import Advance, Kept, Store, expanded

T = TypeVar("T")

PART = 32 * 1024**2
"""Bytes of a part of a large file; S3 wants at least 5 MiB, and at most 10,000 parts."""
MAX_PARTS = 9_000
FEW = 64
"""So many objects are asked for one by one; more are looked up in a listing."""
WORKERS = 4
"""Small files are brought so many at a time: the wait is for the network."""
PATIENCE_S = 120.0
"""A server that is gone for less than this is waited for."""
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
        self._client, self.keys = _client(stash)
        self.url = f"s3://{self._host()}/{prefix}".rstrip("/")

    def _host(self) -> str:
        """What stands before the key in a URL for HTCondor, which signs for this very host.

        Source: HTCondor manual, "Submitting jobs: S3 file transfer": s3://<bucket>.s3.<region>.
        amazonaws.com/<key>, and s3://<host>/<bucket>/<key> for other servers.
        """
        if self.stash.endpoint:
            return f"{urlsplit(self.stash.endpoint).netloc}/{self.bucket}"
        region = self._client.meta.region_name or "us-east-1"
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
        return self._ask(
            lambda: self._client.head_object(Bucket=self.bucket, Key=key), key, missing=True
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
            if wanted.size <= PART:
                self._put_whole(source, wanted)
                advance(wanted.size)
            else:
                self._put_parts(source, wanted, advance)
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
        data = source.read_bytes()
        if len(data) != wanted.size or hashlib.sha256(data).hexdigest() != wanted.sha256:
            raise changed(source)
        self._ask(
            lambda: self._client.put_object(
                Bucket=self.bucket, Key=self._key(wanted.name), Body=data, ContentMD5=_md5(data)
            ),
            self._key(wanted.name),
        )

    def _put_parts(self, source: Path, wanted: Object, advance: Advance) -> None:
        key = self._key(wanted.name)
        length = max(PART, -(-wanted.size // MAX_PARTS))
        upload, there = self._begun(key)
        done = []
        whole = hashlib.sha256()
        size = 0
        with source.open("rb") as stream:
            number = 0
            while data := stream.read(length):
                number += 1
                whole.update(data)
                size += len(data)
                if size > wanted.size:
                    break
                tag = f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'
                if there.get(number) != (len(data), tag):
                    tag = self._put_part(key, upload, number, data)
                done.append({"PartNumber": number, "ETag": tag})
                advance(len(data))
        if size != wanted.size or whole.hexdigest() != wanted.sha256:
            with suppress(StagingError):
                self._ask(
                    lambda: self._client.abort_multipart_upload(
                        Bucket=self.bucket, Key=key, UploadId=upload
                    ),
                    key,
                )
            raise changed(source)
        self._ask(
            lambda: self._client.complete_multipart_upload(
                Bucket=self.bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": done}
            ),
            key,
        )

    def _put_part(self, key: str, upload: str, number: int, data: bytes) -> str:
        answer = self._ask(
            lambda: self._client.upload_part(
                Bucket=self.bucket,
                Key=key,
                UploadId=upload,
                PartNumber=number,
                Body=data,
                ContentMD5=_md5(data),
            ),
            key,
        )
        return str(answer["ETag"])

    def _begun(self, key: str) -> tuple[str, dict[int, tuple[int, str]]]:
        """An upload in parts of this key, an older one if there is one: its id, and its parts."""
        listed = self._ask(
            lambda: self._client.list_multipart_uploads(Bucket=self.bucket, Prefix=key), key
        )
        for one in listed.get("Uploads") or []:
            if one["Key"] != key:
                continue
            upload = str(one["UploadId"])
            parts: dict[int, tuple[int, str]] = {}
            with suppress(StagingError):  # gone meanwhile
                for page in self._pages("list_parts", key, Key=key, UploadId=upload):
                    for part in page.get("Parts") or []:
                        parts[int(part["PartNumber"])] = (int(part["Size"]), str(part["ETag"]))
                return upload, parts
        made = self._ask(
            lambda: self._client.create_multipart_upload(Bucket=self.bucket, Key=key), key
        )
        return str(made["UploadId"]), {}

    def _pages(self, what: str, where: str, **arguments: Any) -> Iterator[Any]:
        """The pages of a listing, each asked for with patience."""
        pages = iter(self._client.get_paginator(what).paginate(Bucket=self.bucket, **arguments))
        while (page := self._ask(lambda: next(pages, None), where)) is not None:
            yield page

    def listing(self) -> Iterator[Kept]:
        """See Store."""
        prefix = self._key("")
        for page in self._pages("list_objects_v2", prefix, Prefix=prefix):
            for one in page.get("Contents") or []:
                name = one["Key"][len(prefix) :]
                if checksum_of(name):
                    yield Kept(name, int(one["Size"]), one["LastModified"].timestamp())

    def keys_below(self, prefix: str) -> Iterator[tuple[str, int, str]]:
        """Every key that begins so, whatever it is: key, bytes, and what the server has as its tag.

        prefix: below the stash's own. Raises StagingError.
        """
        start = self.prefix + prefix
        for page in self._pages("list_objects_v2", start, Prefix=start):
            for one in page.get("Contents") or []:
                tag = str(one.get("ETag", "")).strip('"')
                yield one["Key"][len(self.prefix) :], int(one["Size"]), tag

    def checksum(self, name: str, advance: Advance) -> str:
        """See Store."""
        key = self._key(name)
        answer = self._ask(lambda: self._client.get_object(Bucket=self.bucket, Key=key), key)
        digest = hashlib.sha256()
        for part in answer["Body"].iter_chunks(CHUNK):
            digest.update(part)
            advance(len(part))
        return digest.hexdigest()

    def remove(self, name: str) -> None:
        """See Store."""
        key = self._key(name)
        self._ask(lambda: self._client.delete_object(Bucket=self.bucket, Key=key), key)

    def tidy(self, older_s: float) -> int:
        """See Store."""
        count = 0
        prefix = self._key("")
        for page in self._pages("list_multipart_uploads", prefix, Prefix=prefix):
            for one in page.get("Uploads") or []:
                if time.time() - one["Initiated"].timestamp() > older_s:
                    key, upload = one["Key"], one["UploadId"]
                    self._abort(key, upload)
                    count += 1
        return count

    def _abort(self, key: str, upload: str) -> None:
        self._ask(
            lambda: self._client.abort_multipart_upload(
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

    def size_of_key(self, key: str) -> int | None:
        """Bytes of what is at a key; None when there is nothing. Raises StagingError."""
        head = self._ask(
            lambda: self._client.head_object(Bucket=self.bucket, Key=key), key, missing=True
        )
        return None if head is None else int(head["ContentLength"])

    def read_key(self, key: str, start: int) -> Iterator[bytes]:
        """What is at a key, from a byte on. Raises ConnectionError when cut off, StagingError."""
        from botocore import exceptions

        answer = self._ask(
            lambda: self._client.get_object(Bucket=self.bucket, Key=key, Range=f"bytes={start}-"),
            key,
        )
        try:
            yield from answer["Body"].iter_chunks(CHUNK)
        except (exceptions.HTTPClientError, exceptions.BotoCoreError, OSError) as error:
            raise ConnectionError(str(error)) from None

    # --- asking ---------------------------------------------------------------------------------

    def _ask(self, question: Callable[[], T], where: str, *, missing: bool = False) -> T:
        """The server's answer; asked again, ever more slowly, while it is away or overloaded.

        missing: None when what is asked for is not there. Raises StagingError.
        """
        from botocore import exceptions

        wait, patience = 0.5, time.monotonic() + PATIENCE_S
        while True:
            try:
                return question()
            except exceptions.ClientError as error:
                answer = error.response.get("Error", {})
                code = str(answer.get("Code", ""))
                if missing and code in ("404", "NoSuchKey", "NotFound"):
                    return None  # type: ignore[return-value]
                if code not in _TRANSIENT or time.monotonic() > patience:
                    raise self._refused(where, code, str(answer.get("Message", ""))) from None
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

    def _refused(self, key: str, code: str, message: str) -> StagingError:
        fix = {
            "403": "The keys are not those of this server, or may not do this.",
            "AccessDenied": "These keys may not do this in this bucket.",
            "InvalidAccessKeyId": "The server does not know this access key.",
            "SignatureDoesNotMatch": "The secret key is wrong.",
            "NoSuchBucket": "Make the bucket, or write the name of another.",
            "QuotaExceeded": "The quota is reached: `osgbatch stage gc` tells what can go.",
        }.get(code, "")
        said = message if message and message != code else ""
        return StagingError(
            f"the server refuses: {code}{f', {said}' if said else ''}",
            where=f"s3://{self.bucket}/{key}",
            fix=fix,
        )


def _md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


def _client(stash: Stash) -> tuple[Any, Keys]:
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
    except ImportError:
        raise StagingError(
            "S3 needs the Python package boto3, which is not installed",
            where=stash.url,
            fix="pip install 'osgbatch[s3]', or pip install boto3.",
        ) from None
    try:
        session = boto3.session.Session(region_name=stash.region or None)
        keys = find_keys(stash, session)
        config = Config(
            retries={"max_attempts": 1, "mode": "standard"},  # our own patience is longer
            connect_timeout=10,
            read_timeout=60,
            # Ceph before 20 and others know no CRC trailers.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": "path" if stash.endpoint else "auto"},
            max_pool_connections=2 * WORKERS,
        )
        client = session.client(
            "s3",
            endpoint_url=stash.endpoint or None,
            aws_access_key_id=keys.access,
            aws_secret_access_key=keys.secret,
            aws_session_token=keys.token or None,
            region_name=stash.region or session.region_name or "us-east-1",
            config=config,
        )
    except (BotoCoreError, ValueError) as error:
        raise StagingError(f"S3 cannot be used: {error}", where=stash.url) from None
    return client, keys
