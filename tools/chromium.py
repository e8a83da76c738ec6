"""Provide Chromium without a window: Debian's chromium-headless-shell, run from a cache."""

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
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "htcondor"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import aptget
from common import ToolError, say
from provide import copy_libraries, patchelf, relocate

SUITES = ("bookworm", "trixie")
PACKAGES = ("chromium-headless-shell", "fonts-dejavu-core")
LEAVE_OUT = (
    r"libgl1.*|libglx.*|libllvm.*|libz3.*|libicu.*|libxml2|libgles.*|libegl.*|mesa-.*|x11-.*|xkb-data"
    r"|libx(aw|t|mu|ft|i|kbfile|pm|v|tst|xf86.*)[0-9]+|libxcb-shape0|xdg-utils|libsqlite3-0|dbus.*"
    r"|fontconfig-config|perl.*|systemd.*|dpkg|tar|adduser|passwd|debconf|login.*|ucf|ca-certificates"
    r"|sensible-utils|libpam.*|libc-bin|openssl.*|init-system.*|media-types|mime-support|at-spi2.*"
)
"""What the packages ask for and a page on a disk does not take."""
NAME = "chromium-headless-shell"
STAMP = "complete.json"
LAYOUT = 1  # raise it when what _build() makes changes: older caches are then built again
FONTS = """\
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd">
<fontconfig><dir>{fonts}</dir><cachedir>{cache}</cachedir></fontconfig>
"""


def provide() -> Path:
    """The program, built when missing (some 100 MB of downloads, half a minute).

    It is started with the fonts of the same folder. Raises ToolError where it cannot be had.
    """
    try:
        base = aptget.cache_folder() / "chromium"
        base.mkdir(exist_ok=True)
    except (SystemExit, OSError) as error:
        raise ToolError(str(error)) from None
    prefix = base / "prefix"
    if _complete(prefix):
        return prefix / NAME
    with (base / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _complete(prefix):
            for stale in base.glob("build-*"):
                shutil.rmtree(stale, ignore_errors=True)
            work = Path(tempfile.mkdtemp(prefix="build-", dir=base))
            try:
                _build(work, prefix)
            finally:
                shutil.rmtree(work, ignore_errors=True)
    return prefix / NAME


def _complete(prefix: Path) -> bool:
    try:
        stamp = json.loads((prefix / STAMP).read_text())
    except (OSError, ValueError):
        return False
    return bool(stamp.get("layout") == LAYOUT and stamp.get("prefix") == str(prefix))


def _fetched(work: Path) -> tuple[list[Path], str]:
    """The packages, and the suite that has them."""
    problems = []
    for suite in SUITES:
        say(f"fetching {PACKAGES[0]} from Debian {suite}")
        try:
            return aptget.download(PACKAGES, suite, work / suite, leave_out=LEAVE_OUT), suite
        except (SystemExit, subprocess.TimeoutExpired) as error:
            problems.append(str(error))
    raise ToolError("\n".join(problems))


def _build(work: Path, prefix: Path) -> None:
    """Fetch into work, make it run from prefix, try it, and put it there in one step."""
    files, suite = _fetched(work)
    root, staged = work / "root", work / "prefix"
    try:
        aptget.extract(files, root)
    except subprocess.CalledProcessError as error:
        raise ToolError(f"dpkg-deb cannot unpack {error.cmd[-2]}") from None
    home = staged / "lib"
    # The program finds its data beside itself.
    shutil.copytree(root / "usr/lib/chromium", home, ignore=_unwanted)
    shutil.copytree(root / "usr/share/fonts/truetype/dejavu", staged / "fonts")
    for folder in root.glob("usr/lib/*-linux-gnu/pulseaudio"):
        for path in folder.iterdir():
            shutil.copy2(path, root / "usr/lib")
    program = home / NAME
    libraries = copy_libraries(root, staged, [program])
    relocate(patchelf(), staged, prefix, [program], libraries)
    fonts = FONTS.format(fonts=prefix / "fonts", cache=prefix / "cache")
    (staged / "fonts.conf").write_text(fonts)
    starter = staged / NAME
    starter.write_text(
        f'#!/bin/sh\nFONTCONFIG_FILE="{prefix}/fonts.conf" exec "{prefix}/lib/{NAME}" "$@"\n'
    )
    starter.chmod(0o755)
    if prefix.exists():
        prefix.rename(work / "old")
    staged.rename(prefix)  # the interpreter's path is absolute: it starts only in its place
    version = _trial(prefix / NAME, work)
    stamp = {
        "layout": LAYOUT, "prefix": str(prefix), "version": version, "suite": suite,
        "machine": platform.machine(),
    }  # fmt: skip
    temporary = prefix / (STAMP + ".new")
    temporary.write_text(json.dumps(stamp, indent=1) + "\n")
    temporary.rename(prefix / STAMP)
    say(f"{version} is ready")


def _unwanted(folder: str, names: list[str]) -> list[str]:
    """Languages that no test speaks, and what only a window needs."""
    if os.path.basename(folder) == "locales":
        return [name for name in names if not name.startswith("en-US")]
    return [name for name in names if name in ("chrome_crashpad_handler", "chrome-sandbox")]


def _trial(program: Path, work: Path) -> str:
    """Let it read a page. Returns what it calls itself; raises ToolError with its words."""
    page = work / "page.html"
    page.write_text("<p id=a></p><script>a.textContent = 6 * 7</script>")
    options = ("--no-sandbox", "--disable-gpu", f"--user-data-dir={work / 'user'}")
    try:
        told = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60)
        shown = subprocess.run(
            [program, *options, "--dump-dom", page.as_uri()],
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise ToolError("chromium does not start here: it hangs") from None
    if "42" not in shown.stdout:
        raise ToolError(f"chromium does not start here: {shown.stderr.strip()}")
    return told.stdout.strip()


def main(arguments: list[str]) -> int:
    """`chromium.py provide` prints where the program is."""
    parser = argparse.ArgumentParser(description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("provide", help="get Chromium if there is none; print where it is")
    parser.parse_args(arguments)
    try:
        print(provide())
    except ToolError as error:
        print(f"chromium: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
