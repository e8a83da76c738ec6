"""Where the data of a batch goes that does not come home (`outputs_to`), and how it is fetched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from osgbatch import names
from osgbatch.batches.folder import Batch, load
from osgbatch.errors import OsgbatchError, ResultError, StagingError
from osgbatch.plan_model import Delivery, Plan
from osgbatch.returned import told_data
from osgbatch.spec_model import Stash
from osgbatch.staging.fetch import Source, fetch, open_source
from osgbatch.staging.stage import Progress
from osgbatch.staging.store import expanded_url, stash_url
from osgbatch.submission.planned import stash_here
from osgbatch.urls import scheme, split_url

if TYPE_CHECKING:
    from osgbatch.staging.s3 import S3Store


def delivery_of(plan: Plan, batch: str) -> Delivery | None:
    """Where the data of a batch goes; None when it comes home.

    batch: its name, which no other has. Raises StagingError when it can be told already that
    nothing could be brought there.
    """
    if not plan.spec.outputs_to:
        return None
    url = f"{expanded_url(plan.spec.outputs_to)}/{batch}"
    kind = scheme(url)
    if kind == "s3":
        from osgbatch.staging.s3 import S3Store

        # A server of one's own is named once, in `stash:`.
        stash = plan.stash if plan.stash.kind == "s3" else Stash("s3")
        stash = replace(stash, url=url, presigned_s=0)
        store = S3Store(stash)
        _make_sure(store)
        return Delivery(store.url, stash, store.commands())
    if kind == "file":
        return Delivery(url, Stash("folder", url, unquote(split_url(url)[1])))
    for served in (plan.stash, stash_here(None, plan.spec.profile, plan.spec.folder)):
        if served.kind == "folder":
            start = f"{stash_url(served)}/"
            if url.startswith(start):
                below = unquote(url[len(start) :])
                return Delivery(url, Stash("folder", url, f"{served.folder}/{below}"))
    return Delivery(url)


def _make_sure(store: S3Store) -> None:
    """See that outputs can be brought to a bucket. Raises StagingError when they cannot.

    Who may put objects need not be allowed to list them; then an upload that is begun and given
    up tells.
    """
    try:
        next(store.keys_below(""), None)
    except StagingError as error:
        if "AccessDenied" not in error.what:
            raise
        key = f"{store.prefix}.osgbatch-may-put"
        begun = store.ask(
            lambda: store.client.create_multipart_upload(Bucket=store.bucket, Key=key), key
        )
        with suppress(StagingError):
            store.abort(key, begun["UploadId"])


def fault_of(delivery: Delivery, version: tuple[int, ...]) -> str:
    """What is known to go wrong with this version of HTCondor; empty when nothing is.

    25.14.1 refuses the empty file name with which its own starter asks for URLs to be signed
    (FileTransfer::LegalPathInSandbox); both archives arrive all the same.
    """
    if scheme(delivery.url) != "s3" or version < (25, 14):
        return ""
    return (
        "HTCondor 25.14.1 holds each job whose output goes to s3://, after the output has arrived "
        "(seen on that version). `osgbatch cancel` then lets the tasks count; or use osdf://, http://"
    )


def prepare(delivery: Delivery | None) -> None:
    """Make the folder of a file:// URL: HTCondor's plugin makes none (seen on 25.14).

    Raises StagingError when it cannot be made.
    """
    if delivery is None or scheme(delivery.url) != "file":
        return
    folder = Path(delivery.stash.folder)
    if not folder.parent.is_dir():
        raise StagingError(
            "outputs_to: there is no such folder",
            where=str(folder.parent),
            fix="Make it; every execution point must see it, too.",
        )
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise StagingError(
            f"outputs_to: cannot be written: {error.strerror}", where=str(folder.parent)
        ) from None


def withdraw(batch: Path) -> None:
    """Undo what was prepared for a batch that came to nothing. batch: its folder."""
    with suppress(OsgbatchError, OSError):
        told = load(batch).data.get("outputs_to")
        if told and scheme(told["url"]) == "file":
            Path(told["stash"]["folder"]).rmdir()


class Data:
    """The data of a batch that did not come home, by the names of the archives that did."""

    def __init__(self, batch: Batch, progress: Progress) -> None:
        told = batch.data["outputs_to"]
        self._url = str(told["url"])
        self._stash = Stash(**told["stash"])
        self._folder = batch.folder / names.FETCHED
        self._progress = progress
        self._source: Source | None = None

    def url(self, archive: str) -> str:
        """Where the data is that belongs to an archive of this name."""
        return f"{self._url}/{archive}"

    def told(self, count: int) -> str:
        """That the data of so many tasks is not here."""
        tasks = "task" if count == 1 else "tasks"
        return (
            f"the data of {count:,} {tasks} is at {self._url}; `osgbatch collect --fetch` brings it"
        )

    @contextmanager
    def fetched(self, archive: str, job: Mapping[str, str]) -> Iterator[Path]:
        """The data that belongs to an archive, whole and verified, as a file on this machine.

        job: the record of its job, which tells checksum and size. Raises ResultError when the data
        is not there or not what the record says, StagingError when that cannot be asked.
        """
        told = told_data(job)
        if told is None:
            raise ResultError("the job's record does not tell the checksum and size of its data")
        if self._source is None:
            self._source = open_source(self._url, self._stash)
        target = self._folder / archive
        path = fetch(self._source, archive, target, *told, self._progress)
        yield path
        # Where this fails half way, what was fetched stays for the next time.
        if path == target:
            target.unlink()
            with suppress(OSError):
                self._folder.rmdir()
