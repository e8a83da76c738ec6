"""What lies in an environment's folder and is not its own, or may be secret, stays at home."""

from __future__ import annotations

import tarfile
from pathlib import Path

from test_packing_given import STARTED, take
from test_packing_prefix import SITE, new_venv, pack, wanted

from osgbatch.packing.environment import elf, prefix


def test_only_what_was_installed_travels_from_a_projects_folder(tmp_path: Path) -> None:
    """`python -m venv .` beside a project: its data, batches and passwords stay at home."""
    made = new_venv(tmp_path / "project")
    info = made / SITE / "odd-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: odd\nVersion: 1.0\n")
    (info / "RECORD").write_text('../../../data/of odd.txt,,\n"../../../tables/a,b.txt",,\n')
    mine = [
        ".git/config", ".env", ".netrc", "uv.toml", "pip.conf", "data/mine.npy", "etc/pip.conf",
        "etc/uv/uv.toml", f"{SITE}/.pypirc", "batches/one/sweep.yaml", "code/mine/__init__.py",
        "code/pyproject.toml",
    ]  # fmt: skip
    theirs = ["data/of odd.txt", "tables/a,b.txt", "etc/odd/pip.txt", "lib/libodd.so.1"]
    for name in (*mine, *theirs):
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text(name)
    (made / "code/mine/__init__.py").write_text("")
    (made / SITE / "mine.pth").write_text(f"{made}/code\n")  # what pip install -e leaves
    fingerprint = prefix.prefix_fingerprint(wanted(made), made)
    found = pack(made, tmp_path / "c", test=False)
    with tarfile.open(found.path) as tar:
        names = set(tar.getnames())
    assert not names & {*mine, ".git", "batches", "code"}
    assert names >= {*theirs, f"{SITE}/mine/__init__.py"}
    assert "left out, for no package has installed it: .env, .git, .netrc and 3 more" in " ".join(
        found.notes
    )
    (made / "batches/one/more").write_text("")
    (made / "data/more.npy").write_text("")
    assert prefix.prefix_fingerprint(wanted(made), made) == fingerprint
    (made / "tables/a,b.txt").write_text("changed")
    assert prefix.prefix_fingerprint(wanted(made), made) != fingerprint


def without_a_library() -> bytes:
    """A library of this machine that asks for one that is nowhere, instead of for libc."""
    libm = elf.this_system().known["libm.so.6"][0].read_bytes()
    return libm.replace(b"\0libc.so.6\0", b"\0libx.so.6\0")


def test_libraries_that_are_nowhere_are_told(tmp_path: Path) -> None:
    said = "libx.so.6 is nowhere; {} asks for it"
    made = new_venv(tmp_path / "v")
    (made / SITE / "odd.so").write_bytes(without_a_library())
    found = pack(made, tmp_path / "c", test=False)
    assert said.format(f"{SITE}/odd.so") in found.notes
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/odd.so").write_bytes(without_a_library())
    (tmp_path / "lib/Rscript").write_text(STARTED)
    with tarfile.open(tmp_path / "e.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "lib/odd.so", "lib/odd.so")
        tar.add(tmp_path / "lib/Rscript", "bin/Rscript")
    assert said.format("lib/odd.so") in take(tmp_path / "e.tar.gz", tmp_path, test=False).notes
