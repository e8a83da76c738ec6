"""Reads `stash:`, which is a word, a bucket, or keys and values."""

from __future__ import annotations

import re
from typing import Any

from osgbatch.model import Stash
from osgbatch.spec.reading import Reading
from osgbatch.spec.schema import SpecModel, StashModel
from osgbatch.urls import holds_key, scheme, split_url

KINDS = ("folder", "s3", "pelican")
"""The keys of which one says where the stash is."""
_FITS = {
    "url": ("folder", "s3"),
    "endpoint": ("s3",),
    "region": ("s3",),
    "key_folder": ("s3",),
}
SERVED = ("osdf", "pelican", "http", "https", "file")
"""Schemes of URLs that serve a folder."""


def read_stash(reading: Reading, model: SpecModel) -> Stash | None:
    """`stash:` as it is meant; None when the pool's is. What is wrong is noted."""
    found = model.stash
    if found is None:
        return None
    if isinstance(found, str):
        if found == "none":
            return Stash()
        return Stash("s3", _plain(reading, ("stash",), found), place=reading.place(("stash",)))
    return _from_keys(reading, found)


def _from_keys(reading: Reading, model: StashModel) -> Stash | None:
    raw: dict[str, Any] = reading.document.data["stash"]
    named = [kind for kind in KINDS if kind in raw]
    if not named:
        what = f"stash: one of {', '.join(KINDS)} is missing"
        fix = "Write {folder: DIR, url: …}, s3://bucket/prefix, or none."
        reading.fail(what, reading.place(("stash",)), fix)
        return None
    kind = named[0]
    for other in named[1:]:
        what = f'"{other}" beside "{kind}": a stash is one of them'
        reading.fail(what, reading.key(("stash", other)), "Leave one of them out.")
    for key, kinds in _FITS.items():
        if key in raw and kind not in kinds:
            place = reading.key(("stash", key))
            reading.fail(
                f'"{key}" means nothing beside "{kind}"', place, f"It goes with {kinds[0]}."
            )
    text = getattr(model, kind) or ""
    url = model.url or ""
    if kind == "folder":
        _folder_url(reading, url)
    elif kind == "s3" and not re.match(r"s3://[^/]", text):
        fix = "Write s3://bucket, or s3://bucket/prefix."
        reading.fail(f'"{text}" names no bucket', reading.place(("stash", "s3")), fix)
    elif kind == "pelican" and scheme(text) not in ("osdf", "pelican"):
        fix = "Write osdf:///namespace/folder."
        reading.fail(f'"{text}" is no place in the OSDF', reading.place(("stash", "pelican")), fix)
    return Stash(
        kind,
        url=_plain(reading, ("stash", "url"), url) if kind == "folder" else text,
        folder=text if kind == "folder" else "",
        endpoint=model.endpoint or "",
        region=model.region or "",
        key_folder=model.key_folder or "",
        place=reading.place(("stash",)),
    )


DELIVERED = ("s3", "osdf", "pelican", "file", "http", "https")
"""Schemes of URLs that outputs can be brought to."""
_WHOLE = {"s3": r"[^/:@]+(/.*)?", "osdf": r"/.+", "file": r"/.+"}
_LIKE = {"s3": "s3://bucket/prefix", "osdf": "osdf:///namespace/folder", "file": "file:///folder"}


def read_outputs_to(reading: Reading, model: SpecModel) -> str:
    """`outputs_to:` as it was written, without a slash at its end; what is wrong is noted."""
    url = (model.outputs_to or "").strip()
    if not url:
        return ""
    place, kind = reading.place(("outputs_to",)), scheme(url)
    known = ", ".join(f"{one}://" for one in DELIVERED)
    if kind not in DELIVERED:
        what = f'unknown kind of URL "{kind}://"' if kind else f'"{url}" is no URL'
        reading.fail(f"outputs_to: {what}", place, f"Known are {known}.")
        return ""
    rest = split_url(url)[1]
    odd = re.search(r"[^A-Za-z0-9._~:/@!+%-]", rest.replace("${USER}", "").replace("$USER", ""))
    if holds_key(url) or "@" in rest.partition("/")[0]:
        what = "outputs_to: holds what looks like a key or a password"
        fix = "Keys belong into the usual files of AWS, the environment, or key_folder of `stash:`."
        reading.fail(what, place, fix)
    elif odd:
        fix = "Placeholders are not known here; $USER is." if odd[0] in "{}$" else ""
        reading.fail(f"outputs_to: a URL cannot hold {odd[0]!r} here", place, fix)
    elif not re.fullmatch(_WHOLE.get(kind, r"[^/]+.*"), rest) or not rest.strip("/"):
        fix = f"Write {_LIKE.get(kind, f'{kind}://host/folder')}."
        reading.fail("outputs_to: the URL names no place", place, fix)
    return url.rstrip("/")


def _folder_url(reading: Reading, url: str) -> None:
    """Note a missing or odd URL of a folder."""
    if not url:
        what = "jobs need a URL that serves the folder"
        fix = "Add url: osdf:///…, https://… or file:///…"
        reading.fail(what, reading.place(("stash", "folder")), fix)
    elif scheme(url) not in SERVED:
        known = ", ".join(f"{one}://" for one in SERVED)
        what = f'"{url}" is no URL that serves a folder'
        reading.fail(what, reading.place(("stash", "url")), f"Known are {known}.")


def _plain(reading: Reading, loc: tuple[str, ...], url: str) -> str:
    """A URL, noted when it holds a key or what HTCondor could not be given."""
    if holds_key(url):
        what = "holds what looks like a key or a password"
        fix = "Keys belong into the usual files of AWS, the environment, or key_folder."
        reading.fail(f"the URL {what}", reading.place(loc), fix)
    odd = re.search(r'[\s,"?#;]', url)
    if odd:
        reading.fail(f"the URL of a stash cannot hold {odd[0]!r}", reading.place(loc))
    return url
