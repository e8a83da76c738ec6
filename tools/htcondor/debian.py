"""Debian packages without root: fetch one with everything it needs, and unpack it into a folder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from common import ToolError, last_lines, say

ENV_MIRROR = "OSGBATCH_DEV_DEBIAN_MIRROR"
ETC_APT = Path("/etc/apt")
KEYRINGS = (
    Path("/usr/share/keyrings/debian-archive-keyring.pgp"),
    Path("/usr/share/keyrings/debian-archive-keyring.gpg"),
)


@dataclass(frozen=True)
class Mirror:
    """A Debian mirror as this machine's apt knows it; keyring is None for apt's own default."""

    uri: str
    keyring: Path | None


def one_line_sources(text: str) -> Iterator[tuple[str, str]]:
    """(URI, Signed-By) of each entry of a sources.list."""
    for line in text.splitlines():
        found = re.match(r"\s*deb\s+(?:\[([^]]*)\]\s+)?(\S+)\s+\S+", line)
        if found:
            signed = re.search(r"signed-by=(\S+)", found.group(1) or "", re.IGNORECASE)
            yield found.group(2), signed.group(1) if signed else ""


def deb822_sources(text: str) -> Iterator[tuple[str, str]]:
    """(URI, Signed-By) of each entry of a .sources file."""
    plain = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for stanza in re.split(r"\n\s*\n", plain):
        fields: dict[str, str] = {}
        for found in re.finditer(r"^([\w-]+):[ \t]*(.*(?:\n[ \t]+.*)*)", stanza, re.MULTILINE):
            fields[found.group(1).lower()] = " ".join(found.group(2).split())
        if fields.get("enabled", "yes").lower() in ("no", "false"):
            continue
        if "deb" in fields.get("types", "").split():
            for uri in fields.get("uris", "").split():
                yield uri, fields.get("signed-by", "")


def machine_mirror() -> Mirror:
    """The Debian mirror that this machine's own apt uses.

    Raises ToolError when apt knows none (another distribution) and ENV_MIRROR names none.
    """
    known = next((ring for ring in KEYRINGS if ring.is_file()), None)
    chosen = os.environ.get(ENV_MIRROR)
    if chosen:
        return Mirror(chosen, known)
    entries: list[tuple[str, str]] = []
    for path in [ETC_APT / "sources.list", *sorted((ETC_APT / "sources.list.d").glob("*"))]:
        if path.suffix == ".list" and path.is_file():
            entries += one_line_sources(path.read_text(errors="replace"))
        elif path.suffix == ".sources" and path.is_file():
            entries += deb822_sources(path.read_text(errors="replace"))
    for uri, signed_by in entries:
        if re.search(r"/debian/?$", uri):
            ring = Path(signed_by) if signed_by.startswith("/") else None
            return Mirror(uri, ring if ring and ring.is_file() else known)
    raise ToolError(
        "HTCondor is not installed, and this machine's apt knows no Debian mirror to take it from. "
        "Install HTCondor so that condor_master is on PATH, or set "
        f"{ENV_MIRROR} to a Debian mirror."
    )


class Apt:
    """apt-get with lists, cache and state of its own, for one suite of one mirror."""

    def __init__(self, folder: Path, mirror: Mirror, suite: str) -> None:
        self.folder = folder
        self.suite = suite
        for part in ("lists/partial", "cache/archives/partial", "state", "preferences.d"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        (folder / "state" / "status").write_text("")
        signed = f"Signed-By: {mirror.keyring}\n" if mirror.keyring else ""
        (folder / "debian.sources").write_text(
            f"Types: deb\nURIs: {mirror.uri}\nSuites: {suite}\nComponents: main\n{signed}"
        )

    def run(self, tool: str, *arguments: str) -> str:
        """Run apt-get or apt-cache; raises ToolError with the end of what it said."""
        options = {
            "Dir::State": self.folder / "state",
            "Dir::State::lists": self.folder / "lists",
            "Dir::State::status": self.folder / "state" / "status",
            "Dir::Cache": self.folder / "cache",
            "Dir::Etc::sourcelist": self.folder / "debian.sources",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::Etc::preferences": "/dev/null",
            "Dir::Etc::preferencesparts": self.folder / "preferences.d",
            "Acquire::Check-Valid-Until": "false",
            "Acquire::Languages": "none",
            "Acquire::Retries": "3",
            "APT::Sandbox::User": os.environ.get("USER", "root") if os.getuid() else "root",
            "APT::Get::List-Cleanup": "false",
            "Debug::NoLocking": "true",
        }
        command = [tool, "-q", *(f"-o{key}={value}" for key, value in options.items()), *arguments]
        log = self.folder / "log"
        with log.open("w") as stderr:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                env={**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
                check=False,
            )
        if done.returncode:
            tail = "\n".join(done.stdout.splitlines()[-5:])
            raise ToolError(
                f"{tool} {arguments[0]} ({self.suite}) failed:\n{tail}\n{last_lines(log, 15)}"
            )
        return done.stdout

    def candidate(self, package: str) -> str | None:
        """The version that the suite has, or None."""
        found = re.search(r"Candidate: (\S+)", self.run("apt-cache", "policy", package))
        return found.group(1) if found and found.group(1) != "(none)" else None

    def download(self, package: str) -> list[Path]:
        """Fetch the package and all that it depends on; returns the .deb files."""
        self.run("apt-get", "install", "-y", "--no-install-recommends", "--download-only", package)
        return sorted((self.folder / "cache" / "archives").glob("*.deb"))


def fetch_and_unpack(package: str, suites: tuple[str, ...], work: Path) -> tuple[Path, str, str]:
    """Unpack a package with all its dependencies into a folder below work.

    suites: tried in order; the first that has the package, and can give all it needs, serves.
    Returns the folder, the version, the suite. Raises ToolError when no suite has it.
    """
    for tool in ("apt-get", "apt-cache", "dpkg"):
        if not shutil.which(tool):
            raise ToolError(
                f"HTCondor is not installed and there is no {tool} here to get it with. "
                "Install HTCondor so that condor_master is on PATH."
            )
    mirror = machine_mirror()
    problems: list[str] = []
    for suite in suites:
        apt = Apt(work / suite, mirror, suite)
        try:
            say(f"reading the package index of Debian {suite}")
            apt.run("apt-get", "update")
            version = apt.candidate(package)
            if version is None:
                problems.append(f"Debian {suite} has no package {package}.")
                continue
            say(f"fetching {package} {version} from Debian {suite}")
            files = apt.download(package)
        except ToolError as error:
            problems.append(str(error))
            continue
        say(f"unpacking {len(files)} packages")
        root = work / "root"
        root.mkdir()
        for file in files:
            done = subprocess.run(
                ["dpkg", "-x", str(file), str(root)], capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise ToolError(f"dpkg cannot unpack {file.name}: {done.stderr.strip()}")
        return root, version, suite
    raise ToolError("HTCondor could not be fetched.\n" + "\n".join(problems))
