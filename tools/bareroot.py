"""An execution point in a folder: Debian 11, older than most access points, without Python."""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import aptget

SUITE = "bullseye"
PACKAGES = (
    *("base-files", "bash", "coreutils", "dash", "diffutils", "findutils", "grep", "gzip"),
    *("hostname", "libc-bin", "libc6", "mawk", "ncurses-bin", "procps", "sed", "tar", "util-linux"),
)
"""What an execution point has at the least; /bin/sh is dash's postinst's work, and so is ours."""
LINKS = {"bin/sh": "dash", "usr/bin/awk": "mawk"}
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
FOLDERS = ("dev/shm", "proc", "sys", "tmp", "root", "job", "run", "var/tmp", "etc")
VERSION = "2"
"""Raise it when a root made before will not do."""


def provide() -> Path:
    """The root, made when it is not there yet (some 10 s and 40 MB of downloads).

    Returns the folder. Raises SystemExit where packages cannot be had.
    """
    folder = aptget.cache_folder() / "bareroot"
    folder.mkdir(parents=True, exist_ok=True)
    root = folder / f"{SUITE}-{VERSION}"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (root / "bin/sh").exists():
            return root
        building = folder / f"{root.name}.part"
        shutil.rmtree(building, ignore_errors=True)
        aptget.extract(aptget.download(PACKAGES, SUITE, folder / "apt"), building)
        complete(building)
        if os.geteuid() == 0:
            owned_by_root(building)
        building.rename(root)
    return root


def complete(root: Path) -> None:
    """What the packages' scripts would have made."""
    for name, target in LINKS.items():
        link = root / name
        if not link.is_symlink():
            link.symlink_to(target)
    for name in FOLDERS:
        (root / name).mkdir(parents=True, exist_ok=True)
    for name in ("tmp", "var/tmp"):
        (root / name).chmod(0o1777)
    for name in DEVICES:
        (root / "dev" / name).touch()
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\n")
    (root / "etc/nsswitch.conf").write_text("passwd: files\ngroup: files\nhosts: files dns\n")
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n")


def owned_by_root(root: Path) -> None:
    """As it is when it is made by somebody else, who may then make an image of it.

    A group of Debian's, as of unix_chkpwd, does not exist in a user name space of one account.
    """
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            os.lchown(os.path.join(folder, name), 0, 0)


def command(root: Path, binds: Sequence[tuple[Path, str]], argv: Sequence[str]) -> list[str]:
    """The command line that runs argv in the root, in name spaces of its own, as root or not.

    binds: (folder or file of this machine, where it appears in the root). The mounts end with the
    command. Raises FileNotFoundError for a source that is not there.
    """
    steps = ["set -e", "root=$1; shift", 'mount --rbind "$root" "$root"']
    steps += [f'mount --bind /dev/{name} "$root/dev/{name}"' for name in DEVICES]
    steps += ['mount -t proc proc "$root/proc" 2>/dev/null || mount --rbind /proc "$root/proc"']
    steps += ['mount -t tmpfs tmpfs "$root/dev/shm"', 'mount -t tmpfs tmpfs "$root/tmp"']
    words: list[str] = []
    for source, target in binds:
        real = source.resolve(strict=True)
        words += [str(real), target]
        make = "mkdir -p" if real.is_dir() else ": >"
        steps.append(
            f'mkdir -p "$(dirname "$root/$2")"; {make} "$root/$2"; '
            'mount --rbind "$1" "$root/$2"; shift 2'
        )
    steps.append('exec chroot "$root" "$@"')
    spaces = ["--user", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child"]
    script = "\n".join(steps)
    return ["unshare", *spaces, "sh", "-c", script, "sh", str(root), *words, *argv]


def run(
    argv: Sequence[str], binds: Sequence[tuple[Path, str]] = (), timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    """Run a command in the root as `env -i` would; its output is captured."""
    return subprocess.run(
        command(provide(), binds, argv),
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def usable() -> str:
    """Why no root can be used on this machine; empty when one can."""
    if sys.platform != "linux" or not shutil.which("unshare"):
        return "no unshare"
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "true"], capture_output=True, text=True
    )
    if done.returncode != 0:
        return done.stderr.strip() or "no user name spaces"
    return "" if shutil.which("apt-get") and shutil.which("dpkg-deb") else "no apt-get"


def main(arguments: list[str]) -> int:
    """`bareroot.py provide` prints the folder; `bareroot.py run [--bind SRC:DST] -- CMD` runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("provide", help="make the root when needed, and print where it is")
    runner = actions.add_parser("run", help="run a command in it")
    runner.add_argument("--bind", action="append", default=[], metavar="SRC:DST")
    runner.add_argument("argv", nargs="+", metavar="CMD")
    options = parser.parse_args(arguments)
    root = provide()
    if options.action == "provide":
        print(root)
        return 0
    binds = []
    for text in options.bind:
        source, _, target = text.partition(":")
        binds.append((Path(source), target or source))
    line = command(root, binds, options.argv)
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    return subprocess.run(line, env=environment, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
