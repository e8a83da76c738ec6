"""What lies in a batch folder does not change with what it was made from."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from osgbatch.submission.rendered import link_or_copy


def test_an_image_of_the_users_is_copied_and_what_is_cached_is_linked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    cached = tmp_path / "cache/osgbatch/environments/a.tar.gz"
    cached.parent.mkdir(parents=True)
    theirs = tmp_path / "image.sif"
    for source in (cached, theirs):
        source.write_text("before")
        target = tmp_path / f"payload-{source.name}"
        link_or_copy(source, target)
        assert (target.stat().st_nlink == 2) == (source == cached)
    theirs.write_text("after")
    assert (tmp_path / "payload-image.sif").read_text() == "before"


def test_batches_of_one_sweep_share_the_copy_of_an_image(tmp_path: Path) -> None:
    theirs = tmp_path / "image.sif"
    theirs.write_text("before")
    digest = hashlib.sha256(b"before").hexdigest()
    copies = [tmp_path / f"batches/{n}/payload/container-12.sif" for n in range(3)]
    for copy in copies:
        copy.parent.mkdir(parents=True)
        if copy == copies[2]:
            for other in copies[:2]:
                other.write_text("damage")
        link_or_copy(theirs, copy, digest)
        assert copy.read_text() == "before"
    assert copies[0].samefile(copies[1])
    assert theirs.stat().st_nlink == copies[2].stat().st_nlink == 1
