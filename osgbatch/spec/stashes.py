"""Reads `stash:`, which is a word, a bucket, or keys and values."""

from __future__ import annotations

import re
from typing import Any

from osgbatch.spec.reading import Reading
from osgbatch.spec.schema import SpecModel, StashModel
from osgbatch.spec_model import Stash
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
    for key, folder in (("folder", model.folder), ("key_folder", model.key_folder)):
        _variables(reading, key, folder or "")
    if kind == "folder":
        _folder_url(reading, url)
    elif kind == "s3" and not re.match(r"s3://[^/]", text):
        fix = "Write s3://bucket, or s3://bucket/prefix."
        reading.fail(f'"{text}" names no bucket', reading.place(("stash", "s3")), fix)
    elif kind == "pelican" and scheme(text) not in ("osdf", "pelican"):
        fix = "Write osdf:///namespace/folder."
        reading.fail(f'"{text}" is no place in the OSDF', reading.place(("stash", "pelican")), fix)
    elif kind == "pelican":
        _names_place(reading, "pelican", text)
    is_folder = kind == "folder"
    endpoint, region = model.endpoint or "", model.region or ""
    if endpoint:
        _endpoint(reading, endpoint)
    if not re.fullmatch(r"[A-Za-z0-9-]*", region):
        what = f'"{region}" is no region: letters, digits and - are'  # it is a part of the URL
        reading.fail(what, reading.place(("stash", "region")))
    return Stash(
        kind,
        url=_plain(reading, ("stash", "url" if is_folder else kind), url if is_folder else text),
        folder=text if is_folder else "",
        endpoint=endpoint,
        region=region,
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
    else:
        _names_place(reading, "url", url)


def _variables(reading: Reading, key: str, folder: str) -> None:
    """Note a variable that is not known in the path of a folder."""
    found = re.findall(r"\$(?:\{(\w+)\}|(\w+))", folder)
    for name in {braced or plain for braced, plain in found} - {"USER", "HOME"}:
        what = f"the variable ${name} is not known in a stash"
        reading.fail(what, reading.place(("stash", key)), "Known are $USER and $HOME.")


def _names_place(reading: Reading, key: str, url: str) -> None:
    """Note a URL that has a host's name where its scheme has none, or none where it needs one."""
    kind = scheme(url)
    rest = re.sub(r"\{folder\}|\$HOME\b|\$\{HOME\}", "/folder", split_url(url)[1])
    if not re.fullmatch(_WHOLE.get(kind, r"[^/]+.*"), rest) and not stash_url_fault(url)[0]:
        hosts = {"osdf": "osdf:// needs a third slash", "file": "file:// needs a third slash"}
        fix = f"Write {_LIKE.get(kind, f'{kind}://host/folder')}."
        why = hosts.get(kind, "it has no host") if rest.strip("/") else "it ends too soon"
        reading.fail(f'"{url}" names no place: {why}', reading.place(("stash", key)), fix)


def _endpoint(reading: Reading, url: str) -> None:
    """Note an endpoint that is no address of a server, or that holds a key."""
    place = reading.place(("stash", "endpoint"))
    what, fix = stash_url_fault(url)
    if what:
        reading.fail(f"endpoint: {what}", place, fix)
    elif scheme(url) not in ("http", "https") or not split_url(url)[1].strip("/"):
        fix = "Write https://, the server's name, and :port where it needs one."
        reading.fail(f'"{url}" is no address of a server', place, fix)


def _plain(reading: Reading, loc: tuple[str, ...], url: str) -> str:
    """A URL, noted when it holds a key or what HTCondor could not be given."""
    what, fix = stash_url_fault(url)
    if what:
        reading.fail(what, reading.place(loc), fix)
    return url


def stash_url_fault(url: str) -> tuple[str, str]:
    """Why a URL cannot be that of a stash, and what to do; empty when it can.

    It stands in submit files, job ads and event logs, which others can read.
    """
    if holds_key(url) or "@" in split_url(url)[1].partition("/")[0]:
        fix = "Keys belong into the usual files of AWS, the environment, or key_folder."
        return "the URL holds what looks like a key or a password", fix
    plain = re.sub(r"\$(USER|HOME)\b|\$\{(USER|HOME)\}|\{folder\}", "", url)
    odd = re.search(r"[\s\x00-\x1f\x7f,\"'?#;$\\<>|^`{}]", plain)
    if odd:
        known = {"$": "Known are $USER and $HOME.", "{": "Known is {folder}."}
        fix = known.get(odd[0], "")
        return f"the URL of a stash cannot hold {odd[0]!r}", fix
    return "", ""
