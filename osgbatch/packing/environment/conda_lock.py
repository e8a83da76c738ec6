"""The lock file of a conda environment: the address and sha256 of every package in it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from osgbatch.errors import PackingError
from osgbatch.packing.archive import printable

_PACKAGE = re.compile(r"(\S+/[^/\s]+(?:\.conda|\.tar\.bz2))#(?:sha256:)?([0-9a-f]{64})")


LOCK_HEAD = "# What an environment was made of: osgbatch makes it again with --locked."
WHERE_LOCKS_ARE = (
    "Every batch folder of a conda environment has one, environment.lock, and `osgbatch pack env "
    "environment.yml --out env.tar.gz` writes env.lock."
)
_INCOMPLETE = "# no address or no checksum is known of:"


@dataclass(frozen=True)
class Package:
    """An installed package, as a lock file has it. url: without password and token."""

    name: str
    version: str
    build: str
    url: str
    sha256: str


@dataclass(frozen=True)
class Lock:
    """What a lock file says. packages: addresses with their sums. pip: `name==version`."""

    file: Path
    platform: str
    packages: tuple[tuple[str, str], ...]
    pip: tuple[str, ...]

    @property
    def names(self) -> set[str]:
        """The names of its packages."""
        return {url.rpartition("/")[2].rsplit("-", 2)[0] for url, _ in self.packages}


def lock_text(packages: Sequence[Package], pip: Sequence[str], platform: str) -> str:
    """The text of a lock file, in conda's explicit format.

    pip: `name==version` of what pip installed, which conda overlooks.
    """
    lines = [
        LOCK_HEAD,
        f"# platform: {platform}",
        "@EXPLICIT",
    ]
    for one in packages:
        whole = one.url and one.sha256
        lines.append(f"{one.url}#sha256:{one.sha256}" if whole else f"{_INCOMPLETE} {_known(one)}")
    lines += [f"# pip: {one}" for one in pip]
    return "\n".join(lines) + "\n"


def _known(package: Package) -> str:
    return f"{package.name}=={package.version}"


def incomplete(packages: Sequence[Package]) -> str:
    """A note about packages that a lock file cannot bring back; empty when it brings all."""
    lacking = [_known(one) for one in packages if not (one.url and one.sha256)]
    if not lacking:
        return ""
    more = f" and {len(lacking) - 3} more" if len(lacking) > 3 else ""
    return f"--locked cannot use the lock file: {_INCOMPLETE[2:]} {', '.join(lacking[:3])}{more}"


def read_lock(file: Path, platform: str) -> Lock:
    """Read a lock file.

    platform: this machine's, `linux-64`. Raises PackingError when the file cannot be read, is for
    another platform, or has a package without sha256.
    """
    where = printable(str(file))
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise PackingError(
            f"the lock file cannot be read: {reason}",
            where=where,
            fix=WHERE_LOCKS_ARE,
        ) from error
    said = [line.partition(":")[2].strip() for line in lines if line.startswith("# platform:")]
    if said and said[0] != platform:
        raise PackingError(
            f"the lock file is for {said[0]}, and this machine is {platform}",
            where=where,
            fix="Pack on a machine like that one, or without --locked.",
        )
    lacking = [line for line in lines if line.startswith(_INCOMPLETE)]
    if lacking:
        raise PackingError(
            f"the lock file cannot be used: {lacking[0][2:]}",
            where=f"{where}:{lines.index(lacking[0]) + 1}",
            fix="Pack without --locked, and with OSGBATCH_CONDA unset: the lock is then whole.",
        )
    pip = tuple(line.partition(":")[2].strip() for line in lines if line.startswith("# pip:"))
    packages = []
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#") or text == "@EXPLICIT":
            continue
        match = _PACKAGE.fullmatch(text)
        if match is None:
            raise PackingError(
                "this line is no package with its sha256",
                where=f"{where}:{number}",
                fix=WHERE_LOCKS_ARE,
            )
        packages.append((match[1], match[2]))
    if not packages:
        raise PackingError(
            "the lock file has no packages",
            where=where,
            fix=WHERE_LOCKS_ARE,
        )
    return Lock(file, platform, tuple(packages), pip)
