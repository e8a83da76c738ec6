"""The token with which the `pelican` command may write: found where it looks, and not yet expired.

Jobs use none of these: an access point that gives them tokens makes and renews them itself, by the
condor_credmon, in a folder that only root can read.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from osgbatch.errors import StagingError

SOON_S = 3600.0
"""A token that expires before this may not outlast the upload."""


@dataclass(frozen=True)
class Token:
    """A token as it was found. where: the variable or file; text: never printed."""

    where: str
    text: str

    def __repr__(self) -> str:
        return f"Token({self.where})"

    @property
    def expires(self) -> float | None:
        """Seconds since 1970; None when the token does not say, or is no JWT.

        Nothing is verified: only the server can. Source: RFC 7519, section 4.1.4.
        """
        parts = self.text.split(".")
        if len(parts) != 3:
            return None
        try:
            claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
            return float(claims["exp"])
        except (binascii.Error, ValueError, TypeError, KeyError, OverflowError):
            return None


def find_token(environment: Mapping[str, str] = os.environ) -> Token | None:
    """The token that the `pelican` command would use, if any is visible to this user.

    Source: WLCG Bearer Token Discovery (BEARER_TOKEN, BEARER_TOKEN_FILE, bt_u<uid>), and the
    Pelican client, getToken: then TOKEN and the folder of HTCondor's own tokens in a job.
    """
    text = environment.get("BEARER_TOKEN", "").strip()
    if text:
        return Token("$BEARER_TOKEN", text)
    for path in _files(environment):
        try:
            text = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            continue
        if text:
            return Token(str(path), _inner(text))
    return None


def _files(environment: Mapping[str, str]) -> Iterator[Path]:
    def given(name: str, below: str = "") -> Iterator[Path]:
        if environment.get(name):
            yield Path(environment[name], below)

    own = f"bt_u{os.getuid()}"
    yield from given("BEARER_TOKEN_FILE")
    yield from given("XDG_RUNTIME_DIR", own)
    yield Path("/tmp", own)
    yield from given("TOKEN")
    yield from given("_CONDOR_CREDS", "scitokens.use")


def _inner(text: str) -> str:
    """The token of a file that holds it as it is, or in JSON under `access_token`."""
    try:
        return str(json.loads(text)["access_token"])
    except (ValueError, TypeError, KeyError):
        return text


def token_warning(token: Token | None, now: float | None = None) -> str:
    """What is worth a word about a token; empty when nothing is.

    now: seconds since 1970. Raises StagingError when the token has expired.
    """
    expires = token.expires if token else None
    if token is None or expires is None:
        return ""
    left = expires - (time.time() if now is None else now)
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(expires))
    if left <= 0:
        raise StagingError(
            f"the token for the OSDF expired at {when}",
            where=token.where,
            fix="Get a new one, or remove this one where the pelican command can make its own.",
        )
    if left < SOON_S:
        return (
            f"the token for the OSDF expires at {when} ({token.where}), maybe before all is there"
        )
    return ""
