"""A listing of a bucket is whole, or it is an error."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import stashes
from botocore.exceptions import EndpointConnectionError
from s3_place import files_in, nothing, place_of, use_keys

from osgbatch.errors import StagingError
from osgbatch.staging import s3, s3_asking


def test_a_server_that_is_away_is_no_empty_bucket(
    stash: stashes.Stash, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_keys(stash, tmp_path, monkeypatch)
    monkeypatch.setattr(s3_asking, "FIRST_PATIENCE_S", 0.2)
    store = s3.S3Store(replace(place_of(stash, tmp_path), endpoint="https://127.0.0.1:1"))
    for ask in (lambda: list(store.listing()), lambda: list(store.keys_below("x/"))):
        with pytest.raises(StagingError, match="the server cannot be asked"):
            ask()


def test_a_listing_goes_on_after_a_fault_at_any_page(
    stash: stashes.Stash, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_keys(stash, tmp_path, monkeypatch)
    store = s3.S3Store(place_of(stash, tmp_path))
    paths, objects = files_in(tmp_path, b"one", b"two", b"three", b"four", b"five")
    for path, one in zip(paths, objects, strict=True):
        store.put(path, one, nothing)
    real = store.client.list_objects_v2
    for bad in range(3):
        calls: list[dict[str, Any]] = []

        def faulty(bad: int = bad, calls: list[dict[str, Any]] = calls, **asked: Any) -> Any:
            calls.append(asked)
            if len(calls) == bad + 1:
                raise EndpointConnectionError(endpoint_url="https://away")
            return real(**asked, MaxKeys=2)

        monkeypatch.setattr(store.client, "list_objects_v2", faulty)
        assert {kept.name for kept in store.listing()} == {one.name for one in objects}
        assert len(calls) == 3 + 1
