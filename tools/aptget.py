"""apt-get with folders of its own: Debian packages of any suite, downloaded without root."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

APT_FOLDER = Path("/etc/apt")
SECONDS = 900


@dataclass(frozen=True)
class Source:
    """One `deb` line, or one stanza of a .sources file, of this machine."""

    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]


def cache_folder() -> Path:
    """The folder that the developers' tools keep what they have downloaded in.

    OSGBATCH_DEV_CACHE, else XDG_CACHE_HOME/osgbatch-dev, else ~/.cache/osgbatch-dev; HOME may be
    empty.
    """
    named = os.environ.get("OSGBATCH_DEV_CACHE")
    if named:
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME") or ""
    if not base:
        try:
            base = str(Path(os.environ.get("HOME") or "~").expanduser() / ".cache")
        except RuntimeError:
            base = f"/tmp/cache-{os.getuid()}"
    return Path(base) / "osgbatch-dev"


def one_line_sources(text: str) -> Iterator[Source]:
    """The binary sources in the text of a sources.list. Source: sources.list(5)."""
    for line in text.splitlines():
        words = re.sub(r"\[[^]]*\]", " ", line.split("#")[0]).split()
        if len(words) >= 4 and words[0] == "deb":
            yield Source((words[1],), (words[2],), tuple(words[3:]))


def stanza_sources(text: str) -> Iterator[Source]:
    """The binary sources in the text of a .sources file. Source: sources.list(5)."""
    without_comments = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for stanza in re.split(r"\n\s*\n", without_comments):
        fields: dict[str, str] = {}
        name = ""
        for line in stanza.splitlines():
            if line[:1].isspace():
                fields[name] = f"{fields.get(name, '')} {line.strip()}"
            elif ":" in line:
                name, _, value = line.partition(":")
                name = name.strip().lower()
                fields[name] = value.strip()
        if "deb" in fields.get("types", "").split() and fields.get("enabled", "yes") != "no":
            yield Source(
                tuple(fields.get("uris", "").split()),
                tuple(fields.get("suites", "").split()),
                tuple(fields.get("components", "").split()),
            )


def sources(folder: Path = APT_FOLDER) -> list[Source]:
    """Every binary source that apt on this machine is configured with."""
    found: list[Source] = []
    for path in [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*"))]:
        if not path.is_file():
            continue
        text = path.read_text(errors="replace")
        found += stanza_sources(text) if path.suffix == ".sources" else one_line_sources(text)
    return found


def codename() -> str:
    """The code name of the distribution of this machine. Source: os-release(5)."""
    text = Path("/etc/os-release").read_text()
    match = re.search(r'^VERSION_CODENAME="?([\w-]+)"?$', text, re.MULTILINE)
    return match[1] if match else "stable"


def mirror(known: Iterable[Source] | None = None, suite: str | None = None) -> str:
    """The address that this machine takes its own distribution's main packages from.

    Raises SystemExit where apt knows none.
    """
    name = suite or codename()
    for source in sources() if known is None else known:
        if name in source.suites and "main" in source.components and source.uris:
            return source.uris[0]
    raise SystemExit(f"apt on this machine has no source for {name} main (looked in {APT_FOLDER})")


def download(packages: Iterable[str], suite: str, into: Path, follow: bool = True) -> list[Path]:
    """Download packages of a suite, with what they depend on, as if nothing were installed.

    packages: names, as apt-get takes them.
    suite: `bullseye`, from the mirror that apt on this machine uses.
    into: the folder for lists, state and .deb files; made when absent, may be kept and used again.
    follow: without it exactly these packages, no dependencies.
    Returns the .deb files, sorted. Raises SystemExit with apt's own words when apt fails.
    """
    into = into.resolve()
    for name in ("state/lists/partial", "cache/archives/partial", "etc/apt.conf.d", "log"):
        (into / name).mkdir(parents=True, exist_ok=True)
    (into / "status").write_text("")
    (into / "sources.list").write_text(f"deb [check-valid-until=no] {mirror()} {suite} main\n")
    (into / "apt.conf").write_text(_configuration(into))
    environment = {**os.environ, "APT_CONFIG": str(into / "apt.conf"), "LC_ALL": "C"}
    _apt(["update"], environment)
    if follow:
        arguments = ["install", "--download-only", "--yes", "--no-install-recommends", *packages]
        _apt(arguments, environment)
    else:
        _apt(["download", *packages], environment, folder=into / "cache/archives")
    return sorted((into / "cache/archives").glob("*.deb"))


def extract(debs: Iterable[Path], root: Path) -> None:
    """Unpack .deb files into a folder, without running their scripts."""
    root.mkdir(parents=True, exist_ok=True)
    for deb in debs:
        subprocess.run(["dpkg-deb", "--extract", str(deb), str(root)], check=True)


def _configuration(into: Path) -> str:
    """An apt.conf that touches nothing outside of one folder. Source: apt.conf(5)."""
    lines = {
        "Dir::State": into / "state",
        "Dir::State::status": into / "status",
        "Dir::Cache": into / "cache",
        "Dir::Log": into / "log",
        "Dir::Etc::sourcelist": into / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::Etc::preferences": "/dev/null",
        "Dir::Etc::preferencesparts": "/dev/null",
        "Acquire::Check-Valid-Until": "false",
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
        "APT::Sandbox::User": "",
        "APT::Get::AllowUnauthenticated": "false",
        "Debug::NoLocking": "true",
        "pkgCacheGen::ForceEssential": ",",
    }
    return "".join(f'{key} "{value}";\n' for key, value in lines.items())


def _apt(arguments: list[str], environment: dict[str, str], folder: Path | None = None) -> None:
    """Run apt-get; its words become the error."""
    command = shutil.which("apt-get")
    if command is None:
        raise SystemExit("apt-get is not here: this tool needs Debian or Ubuntu")
    done = subprocess.run(
        [command, "-q", *arguments],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        raise SystemExit(f"apt-get {arguments[0]} failed:\n{tail}")


def main(arguments: list[str]) -> int:
    """`aptget.py SUITE INTO PACKAGE...` prints the files it has downloaded."""
    if len(arguments) < 3:
        print("usage: aptget.py SUITE INTO PACKAGE...", file=sys.stderr)
        return 2
    for path in download(arguments[2:], arguments[0], Path(arguments[1])):
        print(path)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
