"""URLs: what is one, what HTCondor calls its file, whether it holds a key or a login."""

from __future__ import annotations

import re

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)

_OBJECT = re.compile(
    r"/osgbatch/([0-9a-f]{2})/\1[0-9a-f]{62}(?:\.[A-Za-z0-9]{1,10}){0,2}$", re.ASCII
)

_KEY = re.compile(
    r"[?&;#](?:[^=&;]*[-_.])?(?:sig|auth|authz|authorization|bearer|jwt|key|pwd|pass|sas)="
    r"|[?&;#][^=&;]*(?:signature|token|secret|passw|credential|(?:access|api|private|auth)[-_]?key)"
    r"[^=&;]*="
    r"|://[^/?#]*:[^/?#]*@",
    re.IGNORECASE,
)
"""A signature or key in the query (of S3, Azure, Google, CloudFront, XRootD), or a password."""


def split_url(text: str) -> tuple[str, str]:
    """The scheme of a URL, as written, and what follows its `://`; both empty for a path."""
    match = _URL.match(text)
    return (match[1], match[2]) if match else ("", "")


def is_url(text: str) -> bool:
    """Whether an input is brought from elsewhere instead of from this machine."""
    return _URL.match(text) is not None


def scheme(text: str) -> str:
    """The scheme of an input that is a URL, in small letters; empty for a path."""
    return split_url(text)[0].lower()


def file_name(url: str) -> str:
    """The name under which HTCondor puts a URL into the scratch folder; empty when there is none.

    The query is cut off, also one that holds a slash; escapes and fragment stay (seen on 25.14).
    """
    path = split_url(url)[1].partition("?")[0]
    return path.rpartition("/")[2] if "/" in path else ""


def is_object(url: str) -> bool:
    """Whether a URL leads to an object of a stash, which has its SHA-256 in its name.

    Source of the form: staging/objects.py.
    """
    return _OBJECT.search(url.partition("?")[0]) is not None


def holds_key(url: str) -> bool:
    """Whether a URL seems to hold a key or a password: anyone can read it in a job's ad."""
    return _KEY.search(url) is not None


# No part of these goes beyond the next `://`: else a long list without blanks takes minutes.
_LOGIN = re.compile(
    r"(://)(?:[^/?#\s@\"']*@)+"  # all that stands before the last @ of the host's part
    # A password with / or ? in it: no address then, but people write it, and it is shown.
    r"|(://)[^/?#\s:@\[\"']+:(?!\d*(?:[/?#,)\"'\s]|$))[^/?#\s@\"']*[/?#](?:(?!://)[^\s@\"'])*@(?:[^/?#\s@\"']*@)*"
)
_TOKEN = re.compile(
    r"(https?://[^/?#\s]+)/t/[^/?#\s]+(?=/)"  # directly behind the host
    r"|(https?://(?:(?!://)[^?#\s])+?)/t/(?:tk-[\w-]+|[\w-]{20,})(?![^/?#\s\"'),])",
    re.IGNORECASE,
)
_QUERY = re.compile(r"(://(?:(?!://)[^?#\s])*)\?([^#\s\"'<>]*)")
"""Of any scheme: HTCondor fetches osdf:// with `authz=` in its query, and s3:// signed, too."""


def without_login(text: str) -> str:
    """A text whose addresses have no login, no token of conda's and no key in their query.

    text: an address, or what a program says with addresses in it. Folders named `t` stay: a token
    stands behind the host of an address of the web, or looks like one.
    Source of the form /t/TOKEN: conda's and anaconda.org's manuals.
    """
    text = _LOGIN.sub(lambda found: found[1] or found[2], text)
    text = _TOKEN.sub(lambda found: found[1] or found[2], text)
    return _QUERY.sub(_without_keys, text)


def _without_keys(found: re.Match[str]) -> str:
    left = [one for one in found[2].split("&") if not _KEY.search(f"?{one}")]
    return f"{found[1]}?{'&'.join(left)}" if left else found[1]
