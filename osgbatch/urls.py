"""URLs as inputs: what is one, what HTCondor calls its file, and whether it holds a key."""

from __future__ import annotations

import re

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)

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


def holds_key(url: str) -> bool:
    """Whether a URL seems to hold a key or a password: anyone can read it in a job's ad."""
    return _KEY.search(url) is not None
