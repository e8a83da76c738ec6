"""Validates a crate with rocrate-validator, offline: prints what is wrong, as a list of texts.

What the validator would fetch, the context of RO-Crate, is taken from the library rocrate: that of
1.3, which has all terms of 1.1.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import requests
import rocrate
from requests_cache import CachedResponse, CachedSession
from rocrate_validator import models, services

CONTEXT = "https://w3id.org/ro/crate/1.1/context"


def main(crate: str, cache: str) -> None:
    """Fill the validator's cache, and validate what the profile requires."""
    content = (Path(rocrate.__file__).parent / "data/ro-crate.jsonld").read_bytes()
    session = CachedSession(cache_name=cache, backend="sqlite", expire_after=-1)
    kept = CachedResponse(
        content=content, headers={"Content-Type": "application/ld+json"}, status_code=200,
        url=CONTEXT,
    )  # fmt: skip
    session.cache.save_response(kept, session.cache.create_key(requests.Request("GET", CONTEXT)))
    session.close()
    settings = services.ValidationSettings(
        rocrate_uri=crate,
        profile_identifier="process-run-crate",
        requirement_severity=models.Severity.REQUIRED,
        offline=True,
        cache_path=Path(cache),
    )
    found = services.validate(settings).get_issues()
    print(json.dumps([f"{one.check.identifier}: {one.message}" for one in found]))


if __name__ == "__main__":
    main(*sys.argv[1:])
