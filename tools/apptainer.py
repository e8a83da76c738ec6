"""Provide Apptainer: the installed one, else Debian's, made to run from a cache; and images."""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "htcondor"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import aptget
import bareroot
from common import ToolError, say
from debian import fetch_and_unpack
from provide import copy_libraries, is_elf, patchelf, relocate

SUITES = ("sid", "forky")
PACKAGES = ("apptainer", "squashfs-tools", "squashfuse")
HELPERS = ("mksquashfs", "unsquashfs", "squashfuse", "squashfuse_ll")
"""What apptainer runs: to make an image, and to mount one without root."""
STAMP = "complete.json"
LAYOUT = 1  # raise it when what _build() makes changes: older caches are then built again
SECONDS = 600
IMAGES = {"bare": f"bare-{bareroot.VERSION}.sif", "busybox": "busybox-1.sif"}
BUSYBOX_SUITE = "bookworm"  # that of Debian 11 has no base64, which every Alpine has


def provide() -> Path:
    """The program apptainer: the one on PATH, else the one in the cache, built when missing.

    Raises ToolError where it cannot be had.
    """
    prefix = _folder() / "prefix"
    installed = shutil.which("apptainer")
    if installed and Path(installed).resolve() != prefix / "bin/apptainer":
        return Path(installed)
    if _complete(prefix):
        return prefix / "bin/apptainer"
    with _locked("lock"):
        if not _complete(prefix):
            work = Path(tempfile.mkdtemp(prefix="build-", dir=_folder()))
            try:
                _build(work, prefix)
            finally:
                shutil.rmtree(work, ignore_errors=True)
    return prefix / "bin/apptainer"


def image(name: str) -> Path:
    """An image that tests use, made when missing.

    name: "bare" (Debian 11 without Python) or "busybox" (busybox alone: no bash, no coreutils).
    Raises ToolError.
    """
    program = provide()
    images = _folder() / "images"
    images.mkdir(exist_ok=True)
    made = images / IMAGES[name]
    if made.exists():
        return made
    with _locked(f"{name}.lock"), tempfile.TemporaryDirectory(dir=images) as work:
        if made.exists():
            return made
        say(f"making the image {made.name}")
        root = bareroot.provide() if name == "bare" else busybox_root(Path(work) / "root")
        part = Path(work) / made.name
        build(program, part, str(root))
        part.rename(made)
    return made


def build(program: Path, target: Path, source: str) -> None:
    """`apptainer build`. Raises ToolError with its words."""
    done = subprocess.run(
        [program, "build", target, source],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    if done.returncode:
        raise ToolError(f"apptainer cannot build {target.name}:\n{done.stderr.strip()}")


def busybox_root(root: Path) -> Path:
    """A root with nothing but busybox, linked statically, as in a very small image."""
    with tempfile.TemporaryDirectory(dir=root.parent) as work:
        where = (["busybox-static"], BUSYBOX_SUITE, Path(work) / "apt")
        aptget.extract(aptget.download(*where, follow=False), Path(work) / "unpacked")
        found = next(Path(work, "unpacked").glob("**/bin/busybox"))
        for name in ("bin", "dev", "proc", "sys", "tmp", "var/tmp", "etc", "root", "usr/bin"):
            (root / name).mkdir(parents=True)
        shutil.copy2(found, root / "bin/busybox")
    told = subprocess.run(
        [root / "bin/busybox", "--list"], capture_output=True, text=True, check=True
    )
    for applet in told.stdout.split():
        if applet != "busybox":
            (root / "bin" / applet).symlink_to("busybox")
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\n")
    (root / "etc/os-release").write_text('PRETTY_NAME="busybox alone"\n')
    return root


def trial(program: Path, picture: Path) -> str:
    """Why no container starts here; empty when one does."""
    done = subprocess.run(
        [program, "exec", "-C", picture, "true"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    return done.stderr.strip() or "it fails without a word" if done.returncode else ""


def _folder() -> Path:
    folder = aptget.cache_folder() / "apptainer"
    folder.mkdir(exist_ok=True)
    return folder


class _locked:
    """Only one process at a time; the lock goes with its process."""

    def __init__(self, name: str) -> None:
        self._path = _folder() / name

    def __enter__(self) -> None:
        self._file = self._path.open("w")
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _complete(prefix: Path) -> bool:
    try:
        stamp: Mapping[str, object] = json.loads((prefix / STAMP).read_text())
    except (OSError, ValueError):
        return False
    return stamp.get("layout") == LAYOUT and stamp.get("prefix") == str(prefix)


def _build(work: Path, prefix: Path) -> None:
    """Fetch Apptainer into work, make it run from prefix, try it, and put it there in one step."""
    tool = patchelf()
    root, version, suite = fetch_and_unpack(PACKAGES[0], SUITES, work, PACKAGES[1:])
    staged = work / "prefix"
    starter = next(root.glob("usr/lib*/**/apptainer/bin/starter"))
    home = starter.parents[1].relative_to(root / "usr")  # lib/x86_64-linux-gnu/apptainer
    shutil.copytree(root / "usr" / home, staged / home, symlinks=True)
    (staged / "bin").mkdir()
    shutil.copy2(root / "usr/bin/apptainer", staged / "bin")
    for name in HELPERS:
        shutil.copy2(next(root.glob(f"usr/*bin/{name}")), staged / home / "bin")
    shutil.copytree(root / "etc/apptainer", staged / "etc/apptainer")
    (staged / "var/lib/apptainer/mnt/session").mkdir(parents=True)
    # The starter takes the folder two above itself's libexec for the prefix (1.4.5 in Debian).
    for name in ("bin", "etc", "var"):
        link = staged / home.parent.parent / name
        if not link.exists():
            link.symlink_to(os.path.relpath(staged / name, link.parent))
    (staged / "lib").mkdir(exist_ok=True)
    programs = [path for path in sorted(staged.rglob("*")) if is_elf(path)]
    libraries = copy_libraries(root, staged, programs)
    relocate(tool, staged, prefix, programs, libraries)
    if prefix.exists():
        prefix.rename(work / "old")
    staged.rename(prefix)  # the interpreter's path is absolute: programs start only in their place
    told = subprocess.run([prefix / "bin/apptainer", "--version"], capture_output=True, text=True)
    if told.returncode:
        raise ToolError(f"apptainer {version} does not start here: {told.stderr.strip()}")
    stamp = {
        "layout": LAYOUT,
        "prefix": str(prefix),
        "package": version,
        "suite": suite,
        "machine": platform.machine(),
    }
    temporary = prefix / (STAMP + ".new")
    temporary.write_text(json.dumps(stamp, indent=1) + "\n")
    temporary.rename(prefix / STAMP)
    say(f"Apptainer {version} is ready")


def main(arguments: list[str]) -> int:
    """`apptainer.py provide` prints where the program is, `apptainer.py image NAME` an image."""
    parser = argparse.ArgumentParser(description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("provide", help="get Apptainer if there is none; print where it is")
    pictures = actions.add_parser("image", help="make an image that tests use, if there is none")
    pictures.add_argument("name", choices=IMAGES)
    options = parser.parse_args(arguments)
    try:
        print(provide() if options.action == "provide" else image(options.name))
    except ToolError as error:
        print(f"apptainer: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
