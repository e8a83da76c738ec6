"""apt-get with folders of its own: Debian packages of any suite, downloaded without root."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

APT_FOLDER = Path("/etc/apt")
CHECKOUT = Path(__file__).resolve().parents[1]
ENV_CACHE = "OSGBATCH_DEV_CACHE"
ENV_MIRROR = "OSGBATCH_DEV_DEBIAN_MIRROR"
KEYRINGS = (
    Path("/usr/share/keyrings/debian-archive-keyring.pgp"),
    Path("/usr/share/keyrings/debian-archive-keyring.gpg"),
)
SECONDS = 900


@dataclass(frozen=True)
class Source:
    """One `deb` line, or one stanza of a .sources file, of this machine."""

    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: str = ""


def usable(folder: Path) -> bool:
    """True when the folder is there, or can be made, and files can be written into it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


def cache_folder() -> Path:
    """The folder that the developers' tools keep what they have downloaded in.

    OSGBATCH_DEV_CACHE, else osgbatch-dev below XDG_CACHE_HOME or ~/.cache; where there is no usable
    home folder, below .cache/ of the checkout, else below the folder for temporary files.
    Raises SystemExit when none of them can be written.
    """
    chosen = os.environ.get(ENV_CACHE)
    if chosen:
        folder = Path(chosen).expanduser().resolve()
        if not usable(folder):
            raise SystemExit(f"{ENV_CACHE} is {chosen}, but nothing can be written there.")
        return folder
    candidates: list[Path] = []
    xdg, home = os.environ.get("XDG_CACHE_HOME", ""), os.environ.get("HOME", "")
    if Path(xdg).is_absolute():
        candidates.append(Path(xdg))
    if Path(home).is_absolute() and Path(home).is_dir():
        candidates.append(Path(home) / ".cache")
    candidates += [CHECKOUT / ".cache", Path(tempfile.gettempdir()) / f"osgbatch-{os.getuid()}"]
    for base in candidates:
        if usable(base / "osgbatch-dev"):
            return base / "osgbatch-dev"
    raise SystemExit(f"No folder to keep downloads in. Set {ENV_CACHE} to one that can be written.")


def one_line_sources(text: str) -> Iterator[Source]:
    """The binary sources in the text of a sources.list. Source: sources.list(5)."""
    for line in text.splitlines():
        words = re.sub(r"\[[^]]*\]", " ", line.split("#")[0]).split()
        if len(words) >= 4 and words[0] == "deb":
            signed = re.search(r"signed-by=([^] ]+)", line, re.IGNORECASE)
            yield Source((words[1],), (words[2],), tuple(words[3:]), signed[1] if signed else "")


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
                fields.get("signed-by", ""),
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


def mirror(suite: str, known: Iterable[Source] | None = None) -> tuple[str, str]:
    """Where to take a suite's main packages from, and the keyring that signs them ("": apt's own).

    This machine's own suite comes from where its apt takes it, another of Debian's from the Debian
    mirror that its apt knows, or that OSGBATCH_DEV_DEBIAN_MIRROR names. Raises SystemExit where
    there is none.
    """
    own = list(sources() if known is None else known)
    chosen = os.environ.get(ENV_MIRROR)
    if suite != codename() and chosen:
        return chosen, _keyring("")
    for source in own:
        is_own = suite == codename() and suite in source.suites
        is_debian = suite != codename() and any(re.search(r"/debian/?$", u) for u in source.uris)
        if "main" in source.components and source.uris and (is_own or is_debian):
            return source.uris[0], _keyring(source.signed_by)
    raise SystemExit(
        f"apt on this machine has no source for {suite} main (looked in {APT_FOLDER}); "
        f"for Debian's packages set {ENV_MIRROR} to a Debian mirror"
    )


def _keyring(signed_by: str) -> str:
    rings = [Path(signed_by), *KEYRINGS] if signed_by.startswith("/") else list(KEYRINGS)
    return next((str(ring) for ring in rings if ring.is_file()), "")


def download(
    packages: Iterable[str], suite: str, into: Path, follow: bool = True, leave_out: str = ""
) -> list[Path]:
    """Download packages of a suite, with what they depend on, as if nothing were installed.

    packages: names, as apt-get takes them.
    suite: `bullseye`, from the mirror that apt on this machine uses.
    into: the folder for lists, state and .deb files; made when absent, may be kept and used again.
    follow: without it exactly these packages, no dependencies.
    leave_out: a regular expression; dependencies whose whole name it matches are not downloaded.
    Returns the .deb files, sorted. Raises SystemExit with apt's own words when apt fails.
    """
    into = into.resolve()
    for name in ("state/lists/partial", "cache/archives/partial", "etc/apt.conf.d", "log"):
        (into / name).mkdir(parents=True, exist_ok=True)
    (into / "status").write_text("")
    address, keyring = mirror(suite)
    options = f"check-valid-until=no{f' signed-by={keyring}' if keyring else ''}"
    (into / "sources.list").write_text(f"deb [{options}] {address} {suite} main\n")
    (into / "apt.conf").write_text(_configuration(into))
    environment = {**os.environ, "APT_CONFIG": str(into / "apt.conf"), "LC_ALL": "C"}
    _apt(["update"], environment)
    arguments = ["install", "--download-only", "--yes", "--no-install-recommends", *packages]
    if follow and not leave_out:
        _apt(arguments, environment)
    else:
        wanted = list(packages)
        if follow:
            wanted = _chosen(_apt([*arguments, "--print-uris"], environment), leave_out, wanted)
        _apt(["download", *wanted], environment, folder=into / "cache/archives")
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


def _chosen(told: str, leave_out: str, packages: Iterable[str]) -> list[str]:
    """name=version of what `apt-get --print-uris` told of, without what is left out."""
    found = re.findall(r"^'[^']*' ([^ _]+)_([^ _]+)_[^ _]+\.deb ", told, re.MULTILINE)
    asked = set(packages)
    return [
        f"{name}={version.replace('%3a', ':')}"
        for name, version in found
        if name in asked or not re.fullmatch(leave_out, name)
    ]


def _apt(arguments: list[str], environment: dict[str, str], folder: Path | None = None) -> str:
    """Run apt-get and return what it prints; its words become the error."""
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
    return done.stdout


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
