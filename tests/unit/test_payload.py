"""What lies in a batch folder does not change with what it was made from."""

from __future__ import annotations

from pathlib import Path

import pytest

from osgbatch.steps import _link_or_copy


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
        _link_or_copy(source, target)
        assert (target.stat().st_nlink == 2) == (source == cached)
    theirs.write_text("after")
    assert (tmp_path / "payload-image.sif").read_text() == "before"
