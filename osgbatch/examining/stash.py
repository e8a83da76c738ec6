"""Checks of the stash: what it is, its room and keys, and a small file that goes there and back."""

from __future__ import annotations

import email.utils
import glob
import hashlib
import os
import shutil
import ssl
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

from osgbatch.condor import examined
from osgbatch.errors import CondorError, OsgbatchError, StagingError
from osgbatch.examining.check import (
    CLOCKS,
    STASH,
    Check,
    Found,
    Here,
    failure,
    ok,
    skipped,
    warning,
)
from osgbatch.examining.folders import clock_found, left_found
from osgbatch.staging.objects import FOLDER, Object
from osgbatch.staging.quota import room_left
from osgbatch.staging.store import Store, expanded, open_store, quota_command
from osgbatch.staging.tokens import find_token, token_warning
from osgbatch.texts import size
from osgbatch.urls import scheme

BY_WEB = ("http", "https")
FETCH_S = 20.0
"""Seconds that a server of the stash has for an answer."""


def stash(here: Here) -> Found:
    """Whether there is one, and what it is."""
    if here.stash_fault:
        return failure(
            here.stash_fault.splitlines()[0], "\n".join(here.stash_fault.splitlines()[1:])
        )
    if here.stash.kind == "none":
        most = here.profile.facts.stash_bytes
        wants = f"; files over {size(most)} want one" if most else ""
        return skipped(
            f"no stash is configured: all files travel with the jobs{wants}",
            "`stash:` in your sweep.yaml or config.yaml names one (docs/stash.md).",
        )
    store = open_store(here.stash, here.profile.facts)
    where = f", {here.stash.folder} here" if here.stash.folder else ""
    if others := _others(here):
        where += f" (the first of your folders in it; there is {', '.join(others)}, too)"
    return ok(f"{store.url}{where}", url=store.url, kind=here.stash.kind)


def _others(here: Here) -> list[str]:
    """Other folders that the pattern of the pool's stash means."""
    pools = here.profile.facts.stash
    if pools.kind != "folder" or here.stash.url != pools.url:
        return []
    return sorted({*glob.glob(expanded(pools.folder))} - {here.stash.folder})


def room(here: Here) -> Found:
    """How much may still be brought."""
    folder = Path(here.stash.folder) if here.stash.kind == "folder" else None
    command = quota_command(here.stash, here.profile.facts)
    found = room_left(command, folder)
    if found.fault:
        return warning(f"the quota command of the stash is of no use: {found.fault}",
                       "It stands in the profile, under `quotas`.")  # fmt: skip
    if found.left is None:
        return skipped("nothing here tells how much may be brought")
    fix = "Remove what no batch needs: `osgbatch stage gc ~`."
    return left_found(f"{size(found.left)} left, by {found.by}", found.left, fix)


def credentials(here: Here) -> Found:
    """Tokens or keys that writing needs."""
    if here.stash.kind == "s3":
        from osgbatch.staging.s3 import S3Store

        S3Store(here.stash).commands()  # raises when HTCondor could not use the keys
        return ok("there are keys, and HTCondor can use them")
    if here.stash.kind != "pelican":
        return skipped("writing to a folder needs none; those of jobs are HTCondor's business")
    token = find_token()
    try:
        told = token_warning(token)
    except StagingError as error:
        return failure(f"{error.where}: {error.what}", error.fix)
    if told:
        return warning(told, "Get a new one.")
    if token is None:
        return skipped("no token is visible: the pelican command may make its own")
    return ok(f"a token is there ({token.where})")


def round_trip(here: Here) -> Found:
    """A file of some bytes: put, read back, fetched by its URL, removed."""
    content = _content(here)
    wanted = _object(here)
    with tempfile.TemporaryDirectory(prefix="osgbatch-") as folder:
        source = Path(folder, "small.txt")
        source.write_bytes(content)
        store = open_store(here.stash, here.profile.facts)
        if not store.put(source, wanted, lambda count: None):
            return failure("a name that nobody can have used is there already", "Try again.")
        if store.checksum(wanted.name, lambda count: None) != wanted.sha256:
            return failure(
                "what was written to the stash reads back as something else",
                "The disk or network under it may be faulty: tell its administrator.",
            )
        found = _fetched(store, wanted, content, Path(folder, "fetched"))
        store.remove(wanted.name)
        if store.sizes([wanted.name]):
            return failure("what was put there cannot be removed again",
                           f"Remove {store.object_url(wanted.name)} by hand.")  # fmt: skip
    return found


def _fetched(store: Store, wanted: Object, content: bytes, target: Path) -> Found:
    """The object as jobs get it: by its URL, from a server or through a plugin of HTCondor."""
    url = store.fetch_url(wanted.name)
    kind = scheme(url)
    if kind == "s3":
        return ok("a small file came back as it was; a bucket is read by its own protocol")
    by = ""
    try:
        if kind in BY_WEB:
            by = "by its URL"
            with urllib.request.urlopen(url, timeout=FETCH_S, context=_trusted()) as answer:
                got = answer.read(len(content) + 1)
        elif kind == "file":
            by = "by its URL"
            got = Path(urllib.request.url2pathname(url.partition("://")[2])).read_bytes()
        else:
            with suppress(CondorError):  # no HTCondor here
                examined.setting("FILETRANSFER_PLUGINS")
            by = examined.fetch_by_plugin(url, str(target), FETCH_S)
            if not by:
                return warning(
                    f"a small file went there, and was not fetched as jobs fetch it: nothing here "
                    f"can fetch {kind}:// URLs",
                    "Only jobs tell whether they can: `osgbatch submit --canary` tries first.",
                )
            by = f"by its URL, with {by}"
            got = target.read_bytes()
    except (OSError, urllib.error.URLError, OsgbatchError) as error:
        told = getattr(error, "what", None) or getattr(error, "reason", None) or error
        code = getattr(error, "code", None)
        said = f"{code} {told}" if code else f"{told}"
        return failure(
            f"the file is in the stash's folder, and jobs would not get it: {url}: {said}",
            "Does the `url:` of the stash serve its `folder:`? See docs/stash.md.",
        )
    if got != content:
        return failure(
            f"{url} gives something else than what was put there",
            "It, or a cache before it, is faulty: tell its administrator.",
        )
    return ok(f"a small file went there and came back {by}, and was removed")


def tidy(here: Here) -> None:
    """Take away what `round_trip` may have left, and the folders that it made."""
    if here.stash.kind == "none":
        return
    wanted = _object(here)
    store = open_store(here.stash, here.profile.facts)
    with suppress(OsgbatchError):
        store.remove(wanted.name)
    if here.stash.kind == "folder":
        folder = Path(here.stash.folder, FOLDER)
        above = folder / wanted.name.partition("/")[0]
        for part in above.glob(f".part-{wanted.sha256}*"):
            with suppress(OSError):
                part.unlink()
        for made in (above, folder):  # they go only if there is nothing in them
            with suppress(OSError):
                os.rmdir(made)


def _content(here: Here) -> bytes:
    return f"osgbatch doctor {here.token}\n".encode()


def _object(here: Here) -> Object:
    content = _content(here)
    return Object(hashlib.sha256(content).hexdigest(), len(content), ".txt")


def server_clock(here: Here) -> Found:
    """The clock of a web server or bucket, by the Date of its answer."""
    url = here.stash.endpoint
    if here.stash.kind == "folder":
        url = open_store(here.stash).url
    if scheme(url) not in BY_WEB:
        return skipped("the stash has no server that tells its time here")
    before = time.time()
    request = urllib.request.Request(url, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=FETCH_S, context=_trusted()) as answer:
            told = answer.headers.get("Date", "")
    except urllib.error.HTTPError as error:  # an answer all the same
        told = error.headers.get("Date", "")
    except (OSError, ValueError) as error:
        return skipped(f"it did not answer: {getattr(error, 'reason', error)}")
    after = time.time()
    try:
        moment = email.utils.parsedate_to_datetime(told).timestamp()
    except (TypeError, ValueError):
        return skipped("the server of the stash does not tell its time")
    off = min(0.0, moment + 1 - before) + max(0.0, moment - after)
    return clock_found(off, "the clock of the stash's server")


def _trusted() -> ssl.SSLContext:
    """The usual authorities, and that of AWS_CA_BUNDLE, as where the stash is written to."""
    context = ssl.create_default_context()
    with suppress(OSError):
        context.load_verify_locations(os.environ.get("AWS_CA_BUNDLE") or None)
    return context


def client(here: Here) -> Found:
    """The pelican command, where the stash needs it."""
    if here.stash.kind != "pelican":
        return skipped("this stash needs no pelican command")
    found = shutil.which("pelican") or shutil.which("osdf")
    if not found:
        return failure("the pelican command is not here, and the stash is written by it",
                       "Install the Pelican client: https://docs.pelicanplatform.org.")  # fmt: skip
    return ok(found)


CHECKS = (
    Check("stash", STASH, "there is a place for big and shared files", stash),
    Check("room", STASH, "how much may still be brought there", room, limit_s=15,
          needs=["stash"]),
    Check("client", STASH, "the pelican command is there, if the stash is written by it", client,
          needs=["stash"]),
    Check("credentials", STASH, "the token or keys that writing needs", credentials,
          needs=["stash"]),
    Check("round trip", STASH, "a small file goes there, comes back by its URL as it was, and is "
          "removed", round_trip, limit_s=60, needs=["stash"], after=tidy),
    Check("server clock", CLOCKS, "the clock of the stash's server agrees with this machine's",
          server_clock, limit_s=25, needs=["stash"]),
)  # fmt: skip
