"""The least of an S3 client: requests with AWS signature version 4, standard library only."""

from __future__ import annotations

import datetime
import hashlib
import hmac
import http.client
import ssl
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

REGION = "us-east-1"


@dataclass(frozen=True)
class Answer:
    """What the server said."""

    status: int
    body: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Client:
    """Talks to one server as one user. host: with the port. Objects are addressed by path."""

    host: str
    access_key: str
    secret_key: str
    authority: Path
    region: str = REGION

    def request(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request. Raises OSError without a connection.

        path: /bucket/key, not quoted. headers: sent besides those of the signature, and signed.
        """
        target = urllib.parse.quote(path, safe="/-_.~")
        words = sorted((query or {}).items())
        asked = "&".join(f"{_quoted(k)}={_quoted(v)}" for k, v in words)
        context = ssl.create_default_context(cafile=str(self.authority))
        connection = http.client.HTTPSConnection(self.host, timeout=60, context=context)
        try:
            signed = self._signed(method, target, asked, body, headers or {})
            connection.request(method, f"{target}?{asked}" if asked else target, body, signed)
            answer = connection.getresponse()
            return Answer(answer.status, answer.read(), dict(answer.getheaders()))
        finally:
            connection.close()

    def _signed(
        self, method: str, target: str, asked: str, body: bytes, more: Mapping[str, str]
    ) -> dict[str, str]:
        """Source: AWS General Reference, "Create a signed AWS API request"."""
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        digest = hashlib.sha256(body).hexdigest()
        headers = {name.lower(): value.strip() for name, value in more.items()}
        headers |= {"host": self.host, "x-amz-content-sha256": digest, "x-amz-date": now}
        names = ";".join(sorted(headers))
        lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
        whole = "\n".join((method, target, asked, lines, names, digest))
        scope = f"{now[:8]}/{self.region}/s3/aws4_request"
        hashed = hashlib.sha256(whole.encode()).hexdigest()
        text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashed}"
        key = f"AWS4{self.secret_key}".encode()
        for part in scope.split("/"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
        credential = f"Credential={self.access_key}/{scope}"
        headers["authorization"] = (
            f"AWS4-HMAC-SHA256 {credential}, SignedHeaders={names}, Signature={signature}"
        )
        return headers


def _quoted(text: str) -> str:
    return urllib.parse.quote(text, safe="-_.~")
