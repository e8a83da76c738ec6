"""A stash in a bucket of S3: AWS, MinIO, Ceph and what else speaks it."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from osgbatch.errors import StagingError
from osgbatch.spec_model import Stash
from osgbatch.staging.hashes import CHUNK, changed
from osgbatch.staging.keys import check_lifetime, key_files
from osgbatch.staging.objects import FOLDER, Object, checksum_of
from osgbatch.staging.s3_asking import PATIENCE_S, Asking, Sending
from osgbatch.staging.s3_client import AWS, aws_host, client, region_of
from osgbatch.staging.s3_parts import InParts, forget, unlooked
from osgbatch.staging.store import Advance, Kept, Store, expanded_url

WHOLE = 256 * 1024**2
"""Bytes up to which a file is brought in one request."""
FEW = 64
"""So many objects are asked for one by one; more are looked up in listings."""
FIRST_PAGES = 10
"""So much of a stash is listed as a whole, by 1,000 objects; then only folders that are wanted."""

_CONTINUED = {
    "list_objects_v2": (("ContinuationToken", "NextContinuationToken"),),
    "list_parts": (("PartNumberMarker", "NextPartNumberMarker"),),
    "list_multipart_uploads": (
        ("KeyMarker", "NextKeyMarker"),
        ("UploadIdMarker", "NextUploadIdMarker"),
    ),
}
"""By what the next page of a listing is asked for, and where the page before it tells that."""


class S3Store(Store):
    """Objects are those of a bucket. S3 shows an object only when all of it has arrived.

    What arrives is checked by the server (Content-MD5); an upload in parts that was cut short is
    gone on with.
    """

    def __init__(self, stash: Stash) -> None:
        where = expanded_url(stash.url)
        self.bucket, _, prefix = where.removeprefix("s3://").strip("/").partition("/")
        self.prefix = f"{prefix}/" if prefix else ""
        self.stash = stash
        self.asking = Asking(self.bucket, stash.endpoint or where)
        self.ask = self.asking.ask
        self.client, self.keys, is_known = client(stash)
        check_lifetime(stash, self.keys)
        if not is_known:
            region = self.ask(lambda: region_of(self.client, self.bucket), "")
            self.client, self.keys, _ = client(stash, region)
        self.url = f"s3://{self._host()}/{prefix}".rstrip("/")

    def fetch_url(self, name: str) -> str:
        """See Store. One that is signed for GET is https, and can be used by whoever sees it."""
        lifetime = self.stash.presigned_s
        if not lifetime:
            return self.object_url(name)
        return str(
            self.client.generate_presigned_url(
                "get_object",
                Params={"Bucket": self.bucket, "Key": self.key(name)},
                ExpiresIn=lifetime,
            )
        )

    def _host(self) -> str:
        """What stands before the key in a URL for HTCondor, which signs for this very host.

        Raises StagingError for a bucket of AWS that HTCondor can name in no URL.
        Source: HTCondor's generate_presigned_url (AWSv4-utils.cpp): of hosts in .amazonaws.com it
        takes <bucket>.s3.<region>.amazonaws.com only, of others <host>/<bucket>, with aws_region.
        """
        host = aws_host(self.client)
        if not host.endswith(AWS):
            return f"{host}/{self.bucket}"
        if "." in self.bucket and not self.stash.presigned_s:
            raise StagingError(
                "HTCondor cannot fetch from a bucket of AWS with dots in its name: the certificate "
                "of AWS is for no such host",
                where=self.stash.url,
                fix="Use a bucket with - in place of the dots, or --allow-presigned TIME.",
            )
        return f"{self.bucket}.s3.{self._region()}{AWS}"

    def _region(self) -> str:
        return str(self.client.meta.region_name or "us-east-1")

    def key(self, name: str) -> str:
        """Where an object is in the bucket."""
        return f"{self.prefix}{FOLDER}/{name}"

    def sizes(self, names: Iterable[str]) -> dict[str, int]:
        """See Store. What came in parts and was not looked at since is not there yet."""
        left = sorted(set(names))
        found: dict[str, int] = {}
        if len(left) > FEW:
            left = self._find(left, "", FIRST_PAGES, found)
        folders: dict[str, list[str]] = {}
        for name in left:
            folders.setdefault(name.partition("/")[0], []).append(name)
        for some in self.asking.each(
            [partial(self._sizes_in, folder, some) for folder, some in folders.items()]
        ):
            found.update(some)
        for name in unlooked(self, found):
            del found[name]
        return found

    def _sizes_in(self, folder: str, names: list[str]) -> dict[str, int]:
        """Sizes of objects of one folder, with few requests however many it has."""
        found: dict[str, int] = {}
        if len(names) > 2:
            names = self._find(names, f"{folder}/", len(names), found)
        for name in names:
            head = self._head(name)
            if head is not None:
                found[name] = int(head["ContentLength"])
        return found

    def _find(self, names: list[str], below: str, most: int, found: dict[str, int]) -> list[str]:
        """Add those of some names, in order, that a listing of at most so many pages has to found.

        Returns the names that it did not come to.
        """
        prefix = self.key(below)
        wanted = set(names)
        for count, page in enumerate(self.pages("list_objects_v2", prefix, Prefix=prefix), 1):
            last = ""
            for one in page.get("Contents") or []:
                last = one["Key"][len(self.key("")) :]
                if last in wanted:
                    found[last] = int(one["Size"])
            if not page.get("IsTruncated"):
                return []
            # A server with another order: `put` asks for each object anyway.
            names = [name for name in names if name > last]
            if count >= most or not names:
                return names
        return []

    def _head(self, name: str) -> Any:
        """What the server says of an object; None when it is not there."""
        key = self.key(name)
        return self.ask(
            lambda: self.client.head_object(Bucket=self.bucket, Key=key), key, missing=True
        )

    def put(self, source: Path, wanted: Object, advance: Advance) -> bool:
        """See Store."""
        try:
            return self._put(source, wanted, advance)
        except OSError as error:
            raise StagingError(
                f"cannot be read: {error.strerror or error}", where=str(source)
            ) from None

    def _put(self, source: Path, wanted: Object, advance: Advance) -> bool:
        head = self._head(wanted.name)
        if head is not None:
            if int(head["ContentLength"]) != wanted.size:
                raise self.other_size(wanted.name, int(head["ContentLength"]), wanted.size)
            if unlooked(self, [wanted.name]):
                InParts(self, source, wanted).look()
            return False
        if wanted.size <= WHOLE:
            self._put_whole(source, wanted)
            advance(wanted.size)
        else:
            InParts(self, source, wanted).put(advance)
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
        return self.asking.each([partial(self.put, path, one, advance) for path, one in files])

    def _put_whole(self, source: Path, wanted: Object) -> None:
        key = self.key(wanted.name)
        with source.open("rb") as stream:
            whole, check = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
            while data := stream.read(CHUNK):
                self.asking.look()
                whole.update(data)
                check.update(data)
            if stream.tell() != wanted.size or whole.hexdigest() != wanted.sha256:
                raise changed(source)
            md5 = base64.b64encode(check.digest()).decode()

            self.asking.send(
                lambda body: self.client.put_object(
                    Bucket=self.bucket, Key=key, Body=body, ContentMD5=md5
                ),
                Sending(stream, wanted.size, source, self.asking.look),
                key,
            )

    def pages(self, what: str, where: str, **arguments: Any) -> Iterator[Any]:
        """The pages of a listing, each asked for with patience.

        No paginator of boto3: once it has raised, it is at its end, and what came would be all.
        """
        call = getattr(self.client, what)
        more: dict[str, Any] = {}
        while True:
            asked = {"Bucket": self.bucket, **arguments, **more}
            page = self.ask(lambda: call(**asked), where)  # noqa: B023 - called at once
            yield page
            more = {name: page[token] for name, token in _CONTINUED[what] if page.get(token)}
            if not page.get("IsTruncated") or not more:
                return

    def listing(self) -> Iterator[Kept]:
        """See Store."""
        prefix = self.key("")
        for page in self.pages("list_objects_v2", prefix, Prefix=prefix):
            for one in page.get("Contents") or []:
                name = one["Key"][len(prefix) :]
                if checksum_of(name):
                    yield Kept(name, int(one["Size"]), one["LastModified"].timestamp())

    def keys_below(self, prefix: str, *, deep: bool = True) -> Iterator[tuple[str, int, str]]:
        """Every key that begins so, whatever it is: key, bytes, and what the server has as its tag.

        prefix: below the stash's own. deep: also those with a slash behind it. Raises StagingError.
        """
        start = self.prefix + prefix
        flat = {} if deep else {"Delimiter": "/"}
        for page in self.pages("list_objects_v2", start, Prefix=start, **flat):
            for one in page.get("Contents") or []:
                tag = str(one.get("ETag", "")).strip('"')
                yield one["Key"][len(self.prefix) :], int(one["Size"]), tag

    def tag_is_md5(self, key: str) -> bool:
        """Whether the tag of a key that looks like an MD5 is one, as the server tells of it.

        Source: Amazon S3 API, Object: the ETag of what is encrypted with a key of KMS or of the
        customer (SSE-KMS, SSE-C) is no MD5.
        """
        key = self.prefix + key
        try:
            head = self.ask(lambda: self.client.head_object(Bucket=self.bucket, Key=key), key)
        except StagingError:  # not without the customer's key, or not by this user
            return False
        return not (
            str(head.get("ServerSideEncryption", "")).startswith("aws:kms")
            or head.get("SSECustomerAlgorithm")
        )

    def checksum(self, name: str, advance: Advance) -> str:
        """See Store."""
        key = self.key(name)
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
                    raise self.asking.away(error) from None
                self.asking.pause(1)

    def remove(self, name: str) -> None:
        """See Store."""
        key = self.key(name)
        self.ask(lambda: self.client.delete_object(Bucket=self.bucket, Key=key), key)

    def tidy(self, older_s: float) -> int:
        """See Store."""
        count = 0
        prefix = self.key("")
        for page in self.pages("list_multipart_uploads", prefix, Prefix=prefix):
            for one in page.get("Uploads") or []:
                if time.time() - one["Initiated"].timestamp() > older_s:
                    key, upload = one["Key"], one["UploadId"]
                    self.abort(key, upload)
                    forget(self, key[len(prefix) :])
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
        commands = (
            ("aws_access_key_id_file", str(files.access)),
            ("aws_secret_access_key_file", str(files.secret)),
        )
        if aws_host(self.client).endswith(AWS) or self._region() == "us-east-1":
            return commands  # by the URL, or by HTCondor's own default
        return (*commands, ("aws_region", self._region()))

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
