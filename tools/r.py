"""A real R for tests: Debian 11's, laid out as conda's r-base has it, with a placeholder prefix."""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "htcondor"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import aptget
from common import ToolError, say
from provide import is_elf, patchelf

SUITE = "bullseye"
"""Its glibc is 2.31: what runs there runs on newer execution points too."""
PACKAGES = (
    *("r-base-core", "libblas3", "liblapack3", "libgfortran5", "libquadmath0", "libgomp1"),
    *("libpcre2-8-0", "liblzma5", "libbz2-1.0", "zlib1g", "libreadline8", "libtinfo6", "libicu67"),
    *("libstdc++6", "libgcc-s1", "libtirpc3", "libgssapi-krb5-2", "libkrb5-3", "libk5crypto3"),
    *("libkrb5support0", "libcom-err2", "libkeyutils1"),
)
PLACEHOLDER = "/" + "placehold_" * 25
"""Stands for the prefix, as in the packages of conda-build: 251 bytes."""
LEFT_OUT = ("R_X11.so", "R_de.so", "internet.so", "cairo.so", "libicutest.so.67", "libicuio.so.67")
"""Parts that need X11, cairo or curl, which are not fetched."""
LAYOUT = 2  # raise it when what _build() makes changes: older caches are then built again
TREE, LIST, PACKAGE = "tree", "prefixed.json", "greet"


def provide() -> Path:
    """The folder with R, made when it is not there (some 40 MB of downloads, half a minute).

    In it: `tree/`, what a package r-base has; `greet/`, a small R package, installed;
    `prefixed.json`, name → "text" or "binary" of the files of the tree with the placeholder.
    Raises ToolError or SystemExit where packages cannot be had.
    """
    base = aptget.cache_folder() / "r"
    base.mkdir(parents=True, exist_ok=True)
    made = base / f"{SUITE}-{LAYOUT}"
    if made.exists():
        return made
    with (base / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if made.exists():
            return made
        for stale in base.glob("build-*"):
            shutil.rmtree(stale, ignore_errors=True)
        work = Path(tempfile.mkdtemp(prefix="build-", dir=base))
        try:
            _build(work, base)
            (work / "made").rename(made)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return made


def _build(work: Path, base: Path) -> None:
    say(f"fetching R from Debian {SUITE}")
    root, tree = work / "root", work / "made" / TREE
    files = aptget.download(PACKAGES, SUITE, work / "apt", follow=False)
    aptget.extract(files, root)
    shutil.copytree(root / "usr/lib/R", tree / "lib/R", ignore=_unwanted, symlinks=True)
    shutil.copytree(root / "usr/share/R/share", tree / "lib/R/share", ignore=_unwanted)
    shutil.rmtree(tree / "lib/R/etc")
    shutil.copytree(root / "etc/R", tree / "lib/R/etc")
    shutil.copy2(root / "usr/lib/R/etc/Renviron.orig", tree / "lib/R/etc/Renviron")
    (tree / "bin").mkdir()
    prefixed = {"lib/R/bin/Rscript": "binary", "bin/Rscript": "binary"}
    for name in prefixed:
        _hold_placeholder(root / "usr/bin/Rscript", tree / name)
    shutil.copy2(tree / "lib/R/bin/R", tree / "bin/R")
    _copy_libraries(root, tree)
    for path in sorted((*(tree / "bin").iterdir(), *(tree / "lib/R").rglob("*"))):
        if path.is_file() and not is_elf(path) and _put_placeholder(path):
            prefixed[path.relative_to(tree).as_posix()] = "text"
    for path in sorted(tree.rglob("*")):
        if is_elf(path) and path.name != "Rscript":
            up = os.path.relpath(tree / "lib", path.parent)
            found = f"$ORIGIN/{up}:$ORIGIN/{up}/R/lib"
            command = [patchelf(), "--set-rpath", found.replace("/./", "/"), path]
            subprocess.run(command, check=True)
    _install_package(work, tree, prefixed)
    (work / "made" / LIST).write_text(json.dumps(prefixed, indent=1) + "\n")
    say("R is ready")


def _unwanted(folder: str, names: list[str]) -> list[str]:
    """Documentation, translations, and what needs libraries that are not fetched."""
    dropped = {"doc", "html", "help", "translations", "tcltk", "texmf", "site-library", *LEFT_OUT}
    dead = (n for n in names if os.path.islink(f"{folder}/{n}") and n in ("COPYING", "library"))
    return [*(name for name in names if name in dropped), *dead]


def _copy_libraries(root: Path, tree: Path) -> None:
    """All shared libraries, by their soname, beside each other in lib/."""
    for path in sorted(root.glob("**/x86_64-linux-gnu/**/lib*.so.*")):
        if path.is_symlink() and path.name not in LEFT_OUT:
            shutil.copy2(path.resolve(), tree / "lib" / path.name)
    for path in root.glob("**/x86_64-linux-gnu/libgcc_s.so.1"):
        shutil.copy2(path, tree / "lib" / path.name)


def _put_placeholder(path: Path) -> bool:
    """Write the placeholder where Debian's paths stand in a text file; whether there were any."""
    old = path.read_bytes()
    new = old
    for here, there in (
        (b"/usr/share/R/share", b"/lib/R/share"),
        (b"/usr/share/R/", b"/lib/R/"),
        (b"/usr/local/lib/R/site-library:/usr/lib/R/site-library:", b""),
        (b"/usr/lib/R", b"/lib/R"),
        (b"/etc/R/", b"/lib/R/etc/"),
        (b"/usr/${libnn", b"/${libnn"),
        (b"/usr/lib/x86_64-linux-gnu", b"/lib"),
    ):
        new = new.replace(here, PLACEHOLDER.encode() + there if there else b"")
    if new == old:
        return False
    path.write_bytes(new)
    return True


def _hold_placeholder(source: Path, target: Path) -> None:
    """Rscript with the home of R below the placeholder, as a conda build would have compiled it.

    The text is longer than Debian's /usr/lib/R and stands in the zeros behind a segment that is
    only read; the instructions that name the old one name it.
    """
    data = bytearray(source.read_bytes())
    segments = list(_loaded(data))
    old = data.index(b"\0/usr/lib/R\0") + 1
    address = next(v + old - o for _, o, v, size in segments if o <= old < o + size)
    text = f"{PLACEHOLDER}/lib/R".encode() + b"\0"
    header, offset, virtual, size = next(
        one
        for one in segments
        if not any(data[one[1] + one[3] : one[1] + one[3] + len(text) + 8])
        and (one[1] + one[3]) % 4096 + len(text) + 8 < 4096
        and struct.unpack_from("<I", data, one[0] + 4)[0] == 4
    )
    new = offset + size + -size % 8
    data[new : new + len(text)] = text
    length = new + len(text) - offset
    struct.pack_into("<QQ", data, header + 32, length, length)
    code = next(one for one in segments if struct.unpack_from("<I", data, one[0] + 4)[0] == 5)
    changed = 0
    for at in range(code[1], code[1] + code[3] - 7):
        if data[at] in (0x48, 0x4C) and data[at + 1] == 0x8D and data[at + 2] & 0xC7 == 0x05:
            after = at + 7 - code[1] + code[2]  # lea, relative to the next instruction
            if struct.unpack_from("<i", data, at + 3)[0] + after == address:
                struct.pack_into("<i", data, at + 3, new - offset + virtual - after)
                changed += 1
    if not changed:
        raise ToolError("Debian's Rscript is not the one that is known: nothing names its home")
    target.write_bytes(data)
    target.chmod(0o755)


def _loaded(data: bytearray) -> Iterator[tuple[int, int, int, int]]:
    """Where the header stands, offset, address and size of the loaded segments of a program."""
    start = struct.unpack_from("<Q", data, 32)[0]
    size, count = struct.unpack_from("<HH", data, 54)
    for at in range(start, start + size * count, size):
        if struct.unpack_from("<I", data, at)[0] == 1:
            yield (
                at,
                *struct.unpack_from("<QQ", data, at + 8),
                *struct.unpack_from("<Q", data, at + 32),
            )


def _install_package(work: Path, tree: Path, prefixed: dict[str, str]) -> None:
    """Let R itself install a small package: R makes databases of it that nobody else can."""
    prefix = work / "prefix"
    shutil.copytree(tree, prefix, symlinks=True)
    for name, mode in prefixed.items():
        data = (prefix / name).read_bytes()
        if mode == "text":
            (prefix / name).write_bytes(data.replace(PLACEHOLDER.encode(), os.fsencode(prefix)))
    source = work / "source" / PACKAGE
    (source / "R").mkdir(parents=True)
    (source / "R/greet.R").write_text("greet <- function(name) paste('hello', name)\n")
    (source / "NAMESPACE").write_text("export(greet)\n")
    (source / "DESCRIPTION").write_text(
        f"Package: {PACKAGE}\nVersion: 1.0\nTitle: Greets\nDescription: Greets.\nLicense: GPL-3\n"
        "Author: Nobody\nMaintainer: Nobody <nobody@example.org>\n"
    )
    command = [
        prefix / "bin/R",
        "CMD",
        "INSTALL",
        "--no-docs",
        f"--library={work / 'made'}",
        source,
    ]
    environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(work), "LC_ALL": "C"}
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if done.returncode:
        raise ToolError(f"R does not work: {(done.stderr or done.stdout).strip()}")


def main(arguments: list[str]) -> int:
    """`r.py provide` prints the folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("provide", help="get R if it is not there; print where it is")
    parser.parse_args(arguments)
    try:
        print(provide())
    except ToolError as error:
        print(f"r: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
