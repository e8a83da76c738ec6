"""A large file that is brought to a bucket in parts, and gone on with after an interruption."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from osgbatch.errors import StagingError
from osgbatch.places import cache_folder
from osgbatch.staging.hashes import changed
from osgbatch.staging.objects import Object
from osgbatch.staging.s3_asking import Sending, UploadGoneError
from osgbatch.staging.s3_client import S3RefusedError
from osgbatch.staging.store import Advance

if TYPE_CHECKING:
    from osgbatch.staging.s3 import S3Store

PART = 32 * 1024**2
"""Bytes of a part of a large file; S3 wants at least 5 MiB, and at most 10,000 parts."""
MAX_PARTS = 9_000
_SAMPLE = 16 * 1024
_MAY_NOT = ("AccessDenied", "403", "NotImplemented", "501", "MethodNotAllowed", "405")


class InParts:
    """The upload of one file.

    Its note is there from before the first part until what became of the parts was looked at: an
    object that has one is not trusted, and the note names the upload to go on with.
    """

    def __init__(self, store: S3Store, source: Path, wanted: Object) -> None:
        self.store = store
        self.key = store.key(wanted.name)
        self.source = source
        self.wanted = wanted
        self.note = _note(store, wanted.name)
        self._told = 0
        self._starts: list[str] = []  # a hash of the start of each part, as it was sent
        self._are_sent = False

    def put(self, advance: Advance) -> None:
        """Bring what is missing, and look at what it became. Raises StagingError, OSError."""
        try:
            self._put_parts(advance)
        except UploadGoneError:
            # Ended by another osgbatch, or by us and the answer was lost; or somebody removed it.
            if self.store.size_of_key(self.key) is None:
                _remove(self.note)
                self._put_parts(advance)
        self.look()

    def look(self) -> None:
        """Compare the start of each part with what was sent, and remove an object that is wrong.

        Each part was checked as it arrived. This is for servers that put them together wrongly, as
        Ceph 20.2.4 on SQLite does. Raises StagingError, OSError; what is right is never removed.
        """
        if not self._are_sent:
            self._read_source()
        # Also when a sample differs, only all of it tells: nothing that is right may be removed.
        if not self._samples_are_right() and (
            self.store.checksum(self.wanted.name, lambda count: None) != self.wanted.sha256
        ):
            self.store.remove(self.wanted.name)
            _remove(self.note)
            error = self.store.damaged(
                self.wanted.name, "the server shows another content than it was sent in parts"
            )
            error.fix = "This server cannot take large files. The object was removed."
            raise error
        _remove(self.note)

    def _pieces(self) -> Iterator[bytes]:
        """The parts of the source. Raises StagingError after the last when it is another file."""
        length = _part_length(self.wanted)
        whole = hashlib.sha256()
        size = 0
        self._starts = []
        with self.source.open("rb") as stream:
            while data := stream.read(length):
                self.store.asking.look()
                whole.update(data)
                size += len(data)
                if size > self.wanted.size:
                    break
                self._starts.append(_hash(data[:_SAMPLE]))
                yield data
        if size != self.wanted.size or whole.hexdigest() != self.wanted.sha256:
            raise changed(self.source)
        self._are_sent = True

    def _read_source(self) -> None:
        for _ in self._pieces():
            pass

    def _put_parts(self, advance: Advance) -> None:
        upload, there = self._begun()
        done: list[dict[str, object]] = []
        position = 0
        pieces = self._pieces()
        while True:
            try:
                data = next(pieces, None)
            except StagingError:  # the source is another file by now
                with suppress(StagingError):
                    self.store.abort(self.key, upload)
                _remove(self.note)
                raise
            if data is None:
                break
            number = len(done) + 1
            tag = f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'
            if there.get(number) != (len(data), tag):
                tag = self._put_part(upload, number, data)
            done.append({"PartNumber": number, "ETag": tag})
            position += len(data)
            advance(max(0, position - self._told))
            self._told = max(position, self._told)
        self.store.ask(
            lambda: self.store.client.complete_multipart_upload(
                Bucket=self.store.bucket,
                Key=self.key,
                UploadId=upload,
                MultipartUpload={"Parts": done},
            ),
            self.key,
        )

    def _samples_are_right(self) -> bool:
        length = _part_length(self.wanted)
        for number, expected in enumerate(self._starts):
            start = number * length
            end = min(start + _SAMPLE, start + length, self.wanted.size)
            if _hash(self._piece(f"bytes={start}-{end - 1}")) != expected:
                return False
        return True

    def _piece(self, span: str) -> bytes:
        def get() -> bytes:
            there = self.store.client.get_object(Bucket=self.store.bucket, Key=self.key, Range=span)
            return bytes(there["Body"].read())

        return self.store.ask(get, self.key)

    def _put_part(self, upload: str, number: int, data: bytes) -> str:
        answer = self.store.asking.send(
            lambda body: self.store.client.upload_part(
                Bucket=self.store.bucket,
                Key=self.key,
                UploadId=upload,
                PartNumber=number,
                Body=body,
                ContentMD5=_md5(data),
            ),
            Sending(io.BytesIO(data), len(data), self.source, self.store.asking.look),
            self.key,
        )
        return str(answer["ETag"])

    def _begun(self) -> tuple[str, dict[int, tuple[int, str]]]:
        """An upload in parts of this key, an older one if there is one: its id, and its parts."""
        for upload in self._older():
            parts: dict[int, tuple[int, str]] = {}
            with suppress(UploadGoneError, S3RefusedError):
                for page in self.store.pages("list_parts", self.key, Key=self.key, UploadId=upload):
                    for part in page.get("Parts") or []:
                        parts[int(part["PartNumber"])] = (int(part["Size"]), str(part["ETag"]))
                self._write_note(upload)
                return upload, parts
        bucket = self.store.bucket
        made = self.store.ask(
            lambda: self.store.client.create_multipart_upload(Bucket=bucket, Key=self.key), self.key
        )
        upload = str(made["UploadId"])
        self._write_note(upload)
        return upload, {}

    def _older(self) -> Iterator[str]:
        """Uploads of this key: that of the note; then those that the server lists, if it does."""
        with suppress(OSError, ValueError):
            yield from self.note.read_text().split()
        where = self.key
        try:
            for page in self.store.pages("list_multipart_uploads", where, Prefix=where):
                for one in page.get("Uploads") or []:
                    if one["Key"] == self.key:
                        yield str(one["UploadId"])
        except S3RefusedError as error:
            if error.code not in _MAY_NOT:  # some servers list none, and some users may not ask
                raise

    def _write_note(self, upload: str) -> None:
        with suppress(OSError):
            self.note.parent.mkdir(parents=True, exist_ok=True)
            self.note.write_text(upload + "\n")


def unlooked(store: S3Store, names: Iterable[str]) -> list[str]:
    """Those of these objects whose upload in parts was not looked at after its end."""
    try:
        notes = {path.name for path in _note(store, "").parent.glob("*.upload")}
    except OSError:
        return []
    return [name for name in names if _note(store, name).name in notes] if notes else []


def forget(store: S3Store, name: str) -> None:
    """There is no upload of this object any more."""
    _remove(_note(store, name))


def _note(store: S3Store, name: str) -> Path:
    digest = _hash(f"{store.object_url('')}{store.key(name)}".encode())[:32]
    return cache_folder() / "stashes" / f"{digest}.upload"


def _remove(note: Path) -> None:
    with suppress(OSError):
        note.unlink()


def _part_length(wanted: Object) -> int:
    """Bytes of each part of a large file but the last."""
    return max(PART, -(-wanted.size // MAX_PARTS))


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
