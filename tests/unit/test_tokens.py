"""A token for the OSDF that is past its time is noticed before anything is submitted."""

from __future__ import annotations

import base64
import json
import os
import time
from pathlib import Path

import pytest

from osgbatch.errors import StagingError
from osgbatch.staging.tokens import Token, find_token, token_warning


def jwt(**claims: object) -> str:
    """A token of one's own; its signature is none."""

    def part(data: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(data).encode()).decode().rstrip("=")

    return f"{part({'alg': 'ES256'})}.{part(claims)}.c2lnbmF0dXJl"


def test_the_time_is_read_from_the_token() -> None:
    for extra in ("", "a", "ab", "abc"):  # any length of base64
        assert Token("x", jwt(exp=12345, sub=extra)).expires == 12345
    for odd in ("", "word", "a.b.c", "e30.e30.e30", jwt(exp="never"), jwt(sub="nobody"), "..."):
        assert Token("x", odd).expires is None


def test_an_expired_token_is_an_error_and_a_late_one_a_warning() -> None:
    token = Token("/run/bt_u1", jwt(exp=10_000))
    assert token_warning(token, now=10_000 - 7200) == ""
    assert "/run/bt_u1" in token_warning(token, now=10_000 - 3599)
    with pytest.raises(StagingError, match="expired at 1970-01-01") as caught:
        token_warning(token, now=10_001)
    assert caught.value.where == "/run/bt_u1"
    assert token_warning(None) == token_warning(Token("x", "no JWT")) == ""


def test_a_token_is_never_shown() -> None:
    text = jwt(exp=1)
    with pytest.raises(StagingError) as caught:
        token_warning(Token("x", text))
    assert text not in str(caught.value) + repr(Token("x", text))


def test_tokens_are_looked_for_where_the_client_does(tmp_path: Path) -> None:
    for name in ("file", f"bt_u{os.getuid()}", "token"):
        (tmp_path / name).write_text(f"{name}\n")
    (tmp_path / "scitokens.use").write_text(json.dumps({"access_token": "inner"}))
    where = {
        "BEARER_TOKEN": "direct",
        "BEARER_TOKEN_FILE": str(tmp_path / "file"),
        "XDG_RUNTIME_DIR": str(tmp_path),
        "TOKEN": str(tmp_path / "token"),
        "_CONDOR_CREDS": str(tmp_path),
    }
    found = []
    for name in list(where):
        if not (name == "TOKEN" and Path(f"/tmp/bt_u{os.getuid()}").exists()):
            found.append(find_token(where).text)  # type: ignore[union-attr]
        del where[name]
    assert found == ["direct", "file", f"bt_u{os.getuid()}", "token", "inner"]
    assert find_token({"BEARER_TOKEN_FILE": str(tmp_path / "gone")}) is None


def test_a_token_of_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEARER_TOKEN", jwt(exp=time.time() + 60))
    assert "$BEARER_TOKEN" in token_warning(find_token())
