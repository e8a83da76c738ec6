"""What changes of the files that an image is built from are seen."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from osgbatch.packing.container_build import fingerprint, local_sources
from osgbatch.packing.container_definition import read_definition

STAGES = """\
# two stages
bootstrap: localimage
from: base.sif   # ours
stage: build

%files
    a.txt /opt
    "b c.txt" /opt/b
    # c.txt
    d*.py
    folder/ /opt/folder
%setup
    # nothing
%post
    cp x.txt y.txt

Bootstrap: docker
From: {{ IMAGE }}
%arguments
    IMAGE=debian:12
    NAME=named
%files from build
    /opt/not-here /opt
%appfiles tool
    {{ NAME }}.txt bin
%Files
    $UNKNOWN/x /x
    $(pwd)/y /y
%pre
    date >stamp
"""


def test_all_that_a_definition_takes_is_found_in_all_its_stages() -> None:
    found = read_definition(STAGES)
    assert found.sources == ("base.sif", "a.txt", "b c.txt", "d*.py", "folder/", "named.txt")
    assert found.unseen == ("debian:12", "$UNKNOWN/x", "$(pwd)/y", "%pre")


@pytest.mark.parametrize(
    ("header", "sources", "unseen"),
    [
        ("Bootstrap: docker-archive\nFrom: x.tar:tool:1", ("x.tar:tool:1", "x.tar"), ()),
        ("Bootstrap: oci-archive\nFrom: x.tar", ("x.tar",), ()),
        ("Bootstrap: oci\nFrom: layout:1.0", ("layout:1.0", "layout"), ()),
        ("Bootstrap: docker\nFrom: debian@sha256:0123", (), ()),
        ("Bootstrap: library\nFrom: ada/x/y:sha256.0123", (), ()),
        ("Bootstrap: docker-daemon\nFrom: x:latest", (), ("x:latest",)),
        ("Bootstrap: debootstrap\nMirrorURL: http://deb/", (), ("http://deb/",)),
        ("Bootstrap: localimage\nFrom: /cvmfs/x/y:latest", (), ("/cvmfs/x/y:latest",)),
        ("Bootstrap: scratch", (), ()),
    ],
)
def test_what_an_image_starts_from_is_a_file_or_cannot_be_seen(
    header: str, sources: tuple[str, ...], unseen: tuple[str, ...]
) -> None:
    found = read_definition(f"{header}\n%post\n    true\n")
    assert (found.sources, found.unseen) == (sources, unseen)


def rewrite(name: str) -> Callable[[], object]:
    """Other content of the same size, with the time of before put back."""

    def change() -> None:
        status = os.stat(name)
        Path(name).write_text("B")
        os.utime(name, ns=(status.st_atime_ns, status.st_mtime_ns))

    return change


CHANGES: dict[str, Callable[[], object]] = {
    "a file": rewrite("a.txt"),
    "a file that a wildcard finds": rewrite("d1.py"),
    "one more that it finds": lambda: Path("d2.py").write_text("A"),
    "what a link leads to": rewrite("elsewhere/far.txt"),
    "in a folder behind a link": rewrite("elsewhere/deep/e.txt"),
    "a new file in such a folder": lambda: Path("elsewhere/deep/f.txt").write_text("A"),
    "in a home folder": rewrite("home/h.txt"),
    "an archive": rewrite("x.tar"),
    "the definition": lambda: Path("x.def").write_text(Path("x.def").read_text() + "\n"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_what_an_image_is_made_of_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("a.txt", "d1.py", "elsewhere/far.txt", "elsewhere/deep/e.txt", "home/h.txt"):
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("A")
    Path("x.tar").write_text("A")
    Path("near.txt").symlink_to("elsewhere/far.txt")
    Path("folder").mkdir()
    Path("folder/sub").symlink_to("../elsewhere/deep")
    Path("elsewhere/deep/round").symlink_to("..")  # without an end
    Path("x.def").write_text(
        "Bootstrap: docker-archive\nFrom: x.tar:latest\n"
        "%files\n a.txt\n d?.py /opt\n near.txt\n folder\n ~/h.txt /h\n"
    )
    before = fingerprint(Path("x.def"))
    assert fingerprint(tmp_path / "x.def") == before
    CHANGES[change]()
    assert fingerprint(Path("x.def")) != before
    assert Path("d1.py") in local_sources(Path("x.def"))


def test_a_definition_may_be_moved_with_its_files(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old/a.txt").write_text("A")
    (tmp_path / "old/x.def").write_text("Bootstrap: scratch\n%files\n a.txt\n")
    before = fingerprint(tmp_path / "old/x.def")
    (tmp_path / "old").rename(tmp_path / "new")
    assert fingerprint(tmp_path / "new/x.def") == before
