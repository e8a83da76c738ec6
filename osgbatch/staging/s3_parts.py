"""A large file that is brought to a bucket in parts, and gone on with after an interruption."""

from __future__ import annotations

import base64
import hashlib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from osgbatch.errors import StagingError
from osgbatch.places import cache_folder
from osgbatch.staging.hashes import changed
from osgbatch.staging.objects import Object
from osgbatch.staging.store import Advance

if TYPE_CHECKING:
    from osgbatch.staging.s3 import S3Store

PART = 32 * 1024**2
"""Bytes of a part of a large file; S3 wants at least 5 MiB, and at most 10,000 parts."""
MAX_PARTS = 9_000
_SAMPLE = 16 * 1024


class UploadGoneError(StagingError):
    """The server does not know an upload in parts any more."""


class InParts:
    """The upload of one file. key: of its object."""

    def __init__(self, store: S3Store, key: str, source: Path, wanted: Object) -> None:
        self.store = store
        self.key = key
        self.source = source
        self.wanted = wanted
        name = hashlib.sha256(f"{store.object_url('')}{key}".encode()).hexdigest()[:32]
        # Some servers list no uploads, and some users may not ask.
        self.note = cache_folder() / "stashes" / f"{name}.upload"

    def put(self, advance: Advance) -> None:
        """Bring what is missing, and look at what it became. Raises StagingError, OSError."""
        with suppress(UploadGoneError):  # ended by another osgbatch, or by us, its answer lost
            self._put_parts(self.source, self.wanted, advance)
        self._look_at_parts(self.source, self.wanted)
        with suppress(OSError):
            self.note.unlink()

    def _noted(self) -> list[str]:
        with suppress(OSError, ValueError):
            return self.note.read_text().split()
        return []

    def _put_parts(self, source: Path, wanted: Object, advance: Advance) -> None:
        key = self.key
        length = _part_length(wanted)
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
                self.store.abort(key, upload)
            raise changed(source)
        self.store.ask(
            lambda: self.store.client.complete_multipart_upload(
                Bucket=self.store.bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": done}
            ),
            key,
        )

    def _look_at_parts(self, source: Path, wanted: Object) -> None:
        """Compare the start of each part with the file, and remove an object that is wrong.

        Each part was checked as it arrived. This is for servers that put them together wrongly, as
        Ceph 20.2.4 on SQLite does. Raises StagingError.
        """
        key = self.key
        length = _part_length(wanted)
        with source.open("rb") as stream:
            for start in range(0, wanted.size, length):
                stream.seek(start)
                expected = stream.read(_SAMPLE)
                span = f"bytes={start}-{start + len(expected) - 1}"
                if self._piece(key, span) == expected:
                    continue
                self.store.remove(wanted.name)
                raise StagingError(
                    "the server shows the object with another content than it was sent in parts",
                    where=self.store.object_url(wanted.name),
                    fix="This server cannot take large files. The object was removed.",
                )

    def _piece(self, key: str, span: str) -> bytes:
        def get() -> bytes:
            there = self.store.client.get_object(Bucket=self.store.bucket, Key=key, Range=span)
            return bytes(there["Body"].read())

        return self.store.ask(get, key)

    def _put_part(self, key: str, upload: str, number: int, data: bytes) -> str:
        answer = self.store.ask(
            lambda: self.store.client.upload_part(
                Bucket=self.store.bucket,
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
        for upload in [*self._noted(), *self._listed(key)]:
            parts: dict[int, tuple[int, str]] = {}
            with suppress(StagingError):  # gone; or what is wrong is told below
                for page in self.store.pages("list_parts", key, Key=key, UploadId=upload):
                    for part in page.get("Parts") or []:
                        parts[int(part["PartNumber"])] = (int(part["Size"]), str(part["ETag"]))
                return upload, parts
        bucket = self.store.bucket
        made = self.store.ask(
            lambda: self.store.client.create_multipart_upload(Bucket=bucket, Key=key), key
        )
        upload = str(made["UploadId"])
        with suppress(OSError):
            self.note.parent.mkdir(parents=True, exist_ok=True)
            self.note.write_text(upload + "\n")
        return upload, {}

    def _listed(self, key: str) -> list[str]:
        listed = self.store.ask(
            lambda: self.store.client.list_multipart_uploads(Bucket=self.store.bucket, Prefix=key),
            key,
        )
        return [str(one["UploadId"]) for one in listed.get("Uploads") or [] if one["Key"] == key]


def _part_length(wanted: Object) -> int:
    """Bytes of each part of a large file but the last."""
    return max(PART, -(-wanted.size // MAX_PARTS))


def _md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
