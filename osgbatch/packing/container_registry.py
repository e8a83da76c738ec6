"""Asks a registry what a Docker image was built for, in a few seconds or not at all."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

SECONDS = 4.0
"""Whoever submits waits no longer for an answer, and goes on without."""
_LARGEST = 4 << 20
"""Registries take no larger manifest. Source: distribution's limits.MaxManifestSize."""
_REFERENCE = re.compile(
    r"docker://(?:(?P<host>[\w-]*[.:][\w.:-]*|localhost)/)?(?P<name>[a-z0-9][a-z0-9._/-]*)"
    r"(?::(?P<tag>[\w][\w.-]*))?(?:@(?P<digest>\w+:[0-9a-fA-F]+))?"
)
_DOCKER_HUB = "registry-1.docker.io"
_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64", "386": "i686", "arm": "armv7l"}


def can_be_asked(reference: str) -> bool:
    """Whether there is a registry that could be asked for this: it is a docker:// image."""
    return _REFERENCE.fullmatch(reference) is not None


def image_architectures(reference: str, seconds: float = SECONDS) -> frozenset[str] | None:
    """What a docker:// image was built for, as uname says it; empty when there is no such image.

    seconds: how long to wait. None when it cannot be known: no network, no answer in time, an
    image that not everybody may read. No password is sent, none is looked for.
    Source: the distribution specification of the Open Container Initiative, 1.1.
    """
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        return None
    found: list[frozenset[str]] = []

    def ask() -> None:
        # Whatever is wrong with the network or the answer: then it is not known.
        with contextlib.suppress(Exception):
            found.append(_Registry(match, seconds).architectures())

    # A thread, since the resolver of names keeps to no time limit; it never keeps us from ending.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(seconds)
    return found[0] if found else None


class _Registry:
    """One image at its registry."""

    def __init__(self, match: re.Match[str], seconds: float) -> None:
        host, name = match["host"], match["name"]
        if host in (None, "docker.io", "index.docker.io"):
            host, name = _DOCKER_HUB, name if "/" in name else f"library/{name}"
        scheme = "http" if _is_loopback(host) else "https"
        self._base, self._name = f"{scheme}://{host}/v2/{name}", name
        self._wanted = match["digest"] or match["tag"] or "latest"
        self._seconds, self._token = seconds, ""

    def architectures(self) -> frozenset[str]:
        """Raises OSError, ValueError and more, when the registry does not tell."""
        manifest = self._get(f"{self._base}/manifests/{self._wanted}")
        if manifest is None:
            return frozenset()
        if "manifests" in manifest:
            platforms = [entry.get("platform") or {} for entry in manifest["manifests"]]
        elif "config" in manifest:
            platforms = [self._get(f"{self._base}/blobs/{manifest['config']['digest']}") or {}]
        else:
            platforms = [manifest]  # the first version of manifests says it itself
        names = {
            str(each["architecture"])
            for each in platforms
            if each.get("os", "linux") == "linux" and each.get("architecture")
        }
        if not names:
            raise ValueError("nothing is said of an architecture")
        return frozenset(_MACHINES.get(name, name) for name in names)

    def _get(self, url: str) -> dict[str, Any] | None:
        """A JSON document; None when the registry says that it has no such image."""
        from urllib.error import HTTPError

        try:
            return self._read(url)
        except HTTPError as error:
            with error:
                if error.code == 401 and not self._token:
                    self._token = self._new_token(error.headers.get("WWW-Authenticate", ""))
                elif error.code == 404 and b"_UNKNOWN" in error.read(_LARGEST):
                    return None
                else:
                    raise
        return self._get(url)

    def _read(self, url: str) -> dict[str, Any]:
        from urllib.request import Request, urlopen

        request = Request(url, headers={"Accept": ", ".join((*_TYPES, "application/json"))})
        if self._token:  # and not to where the registry sends us for a blob
            request.add_unredirected_header("Authorization", f"Bearer {self._token}")
        with urlopen(request, timeout=self._seconds) as answer:
            found = json.loads(answer.read(_LARGEST))
        if not isinstance(found, dict):
            raise ValueError("no document of a registry")
        return found

    def _new_token(self, challenge: str) -> str:
        """The token that everybody gets. Source: distribution's docs/spec/auth/token.md."""
        asked: Mapping[str, str] = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
        realm = urlsplit(asked["realm"])
        if realm.scheme != "https" and not _is_loopback(realm.netloc):
            raise ValueError("no safe place to ask for a token")
        query = {"service": asked.get("service", ""), "scope": f"repository:{self._name}:pull"}
        found = self._read(f"{asked['realm']}?{urlencode(query)}")
        return str(found.get("token") or found["access_token"])


def _is_loopback(host: str) -> bool:
    """Whether this is a registry on this machine, which speaks plain HTTP, as Docker has it."""
    return bool(re.fullmatch(r"(localhost|127(\.\d+){3})(:\d+)?", host))
