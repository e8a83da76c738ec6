"""Provide the stash's programs (Ceph's radosgw, XRootD, nginx, openssl) and rclone, in a cache."""

from __future__ import annotations

import fcntl
import json
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "htcondor"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import aptget
from common import ToolError
from provide import copy_libraries, is_elf, patchelf, relocate

STAMP = "complete.json"
LAYOUT = 1  # raise it when what build() makes changes: older caches are then built again
# What the packages depend on and the programs do not load; half of what would be downloaded. When
# a program does not start without it, all is fetched.
LEAVE_OUT = (
    r"(lib)?(python|perl|systemd).*|librgw2|librbd1|libcephfs2|libradosstriper1|libglib2.*|libtcl.*"
    r"|libpam.*|libdb5.*|libbabeltrace.*|libdw1.*|libcryptsetup.*|libdevmapper.*|libncurses.*"
    r"|libreadline.*|libc-gconv.*|libsemanage.*|libsepol.*|openssl-provider.*|dmsetup|debconf"
    r"|passwd|login.*|adduser|dpkg|tar|tzdata|media-types|netbase|ca-certificates|base-passwd"
)


@dataclass(frozen=True)
class Bundle:
    """Packages that are fetched together, and what is taken from them.

    programs, plugins: patterns below usr/. trial: (program, argument) of what must start.
    leave_out: names of packages that the programs do not need, as a regular expression.
    """

    name: str
    packages: tuple[str, ...]
    programs: tuple[str, ...]
    plugins: tuple[str, ...]
    trial: tuple[tuple[str, str], ...]
    suites: tuple[str, ...] = ("forky", "sid")
    leave_out: str = LEAVE_OUT


SERVERS = Bundle(
    "servers",
    ("radosgw", "ceph-common", "xrootd-server", "xrootd-server-plugins", "nginx", "openssl"),
    ("bin/radosgw", "bin/radosgw-admin", "bin/xrootd", "sbin/nginx", "bin/openssl"),
    (
        "lib/*-linux-gnu*/ceph/libceph-common.so.*",
        "lib/*-linux-gnu*/libXrdHttp-*.so",
        "lib/*-linux-gnu*/libXrdXrootd-*.so",
    ),
    (
        ("radosgw", "--version"),
        ("radosgw-admin", "--version"),
        ("xrootd", "-v"),
        ("nginx", "-v"),
        ("openssl", "version"),
    ),
)
RCLONE = Bundle(
    "rclone", ("rclone",), ("bin/rclone",), (), (("rclone", "version"),), ("sid", "trixie")
)


def say(text: str) -> None:
    """One line per step, on stderr so that the output of a command that is run stays its own."""
    print(f"stash: {text}", file=sys.stderr, flush=True)


def provide(bundle: Bundle = SERVERS) -> Path:
    """The folder with a bundle's programs, built when missing. Raises ToolError."""
    try:
        base = aptget.cache_folder() / "stash"
        base.mkdir(exist_ok=True)
    except (SystemExit, OSError) as error:
        raise ToolError(str(error)) from None
    prefix = base / bundle.name
    if _complete(prefix):
        return prefix / "bin"
    with (base / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _complete(prefix):
            for stale in base.glob("build-*"):
                shutil.rmtree(stale, ignore_errors=True)
            work = Path(tempfile.mkdtemp(prefix="build-", dir=base))
            try:
                _build(bundle, work, prefix)
            finally:
                shutil.rmtree(work, ignore_errors=True)
    return prefix / "bin"


def rclone() -> Path:
    """The program rclone: the one on PATH, else Debian's. Raises ToolError."""
    installed = shutil.which("rclone")
    return Path(installed) if installed else provide(RCLONE) / "rclone"


def _complete(prefix: Path) -> bool:
    try:
        stamp = json.loads((prefix / STAMP).read_text())
    except (OSError, ValueError):
        return False
    return bool(stamp.get("layout") == LAYOUT and stamp.get("prefix") == str(prefix))


def _build(bundle: Bundle, work: Path, prefix: Path) -> None:
    """Fetch, make the programs run from the prefix, try them, and say that they are ready."""
    for tool in ("apt-get", "dpkg-deb"):
        if not shutil.which(tool):
            raise ToolError(f"there is no {tool} here to get {', '.join(bundle.packages)} with")
    problems: list[str] = []
    for suite in bundle.suites:
        for leave_out in (bundle.leave_out, ""):
            folder = work / f"{suite}-{'part' if leave_out else 'all'}"
            try:
                root, version = _fetch(bundle, suite, folder, leave_out)
                _put(bundle, root, folder / "prefix", prefix, work)
            except (SystemExit, ToolError) as error:
                problems.append(f"{suite}: {error}")
                continue
            stamp = {"layout": LAYOUT, "prefix": str(prefix), "package": version, "suite": suite}
            temporary = prefix / (STAMP + ".new")
            temporary.write_text(json.dumps({**stamp, "machine": platform.machine()}) + "\n")
            temporary.rename(prefix / STAMP)
            say(f"{bundle.packages[0]} {version} is ready")
            return
    raise ToolError(f"{bundle.packages[0]} could not be provided.\n" + "\n".join(problems))


def _fetch(bundle: Bundle, suite: str, work: Path, leave_out: str) -> tuple[Path, str]:
    """Download and unpack; returns the folder and the version of the first package."""
    say(f"fetching {', '.join(bundle.packages)} from Debian {suite}")
    files = aptget.download(bundle.packages, suite, work, leave_out=leave_out)
    size = sum(path.stat().st_size for path in files)
    version = next(f.name.split("_")[1] for f in files if f.name.startswith(bundle.packages[0]))
    say(f"unpacking {len(files)} packages ({size / 1e6:.0f} MB)")
    try:
        aptget.extract(files, work / "root")
    except subprocess.CalledProcessError as error:
        raise ToolError(f"dpkg-deb cannot unpack {error.cmd[-2]}") from None
    return work / "root", version.replace("%3a", ":")


def _put(bundle: Bundle, root: Path, staged: Path, prefix: Path, work: Path) -> None:
    """Put the programs with their libraries into the prefix and try them there."""
    (staged / "bin").mkdir(parents=True)
    (staged / "lib").mkdir()
    copy = _copier(root / "usr")
    for pattern in bundle.programs:
        copy(pattern, staged / "bin")
    for pattern in bundle.plugins:
        copy(pattern, staged / "lib")
    programs = [path for path in sorted(staged.rglob("*")) if is_elf(path)]
    relocate(patchelf(), staged, prefix, programs, copy_libraries(root, staged, programs))
    if prefix.exists():
        prefix.rename(Path(tempfile.mkdtemp(dir=work)) / "old")
    staged.rename(prefix)  # the interpreter's path is absolute: programs start only in their place
    for name, argument in bundle.trial:
        done = subprocess.run(
            [prefix / "bin" / name, argument],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ToolError(f"{name} does not start here: {done.stderr.strip()}")


def _copier(folder: Path) -> Callable[[str, Path], None]:
    def copy(pattern: str, into: Path) -> None:
        found = sorted(folder.glob(pattern))
        if not found:
            raise ToolError(f"the packages hold no {pattern}")
        shutil.copy2(found[0], into)

    return copy
