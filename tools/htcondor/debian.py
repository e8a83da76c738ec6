"""A Debian package with all it needs, fetched and unpacked without root."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from common import ToolError, aptget, say


def fetch_and_unpack(
    package: str, suites: tuple[str, ...], work: Path, more: tuple[str, ...] = ()
) -> tuple[Path, str, str]:
    """Unpack a package with all its dependencies into a folder below work.

    suites: tried in order; the first that has the package, and can give all it needs, serves.
    more: other packages that come with it.
    Returns the folder, the version, the suite. Raises ToolError when no suite has it.
    """
    for tool in ("apt-get", "dpkg-deb"):
        if not shutil.which(tool):
            raise ToolError(
                f"The package {package} is not installed and there is no {tool} here to get it "
                "with. Install it so that its programs are on PATH."
            )
    problems: list[str] = []
    for suite in suites:
        say(f"fetching {package} from Debian {suite}")
        try:
            files = aptget.download([package, *more], suite, work / suite)
        except SystemExit as error:
            problems.append(str(error))
            continue
        version = next(f.name.split("_")[1] for f in files if f.name.startswith(f"{package}_"))
        say(f"unpacking {package} {version.replace('%3a', ':')} and {len(files) - 1} packages")
        root = work / "root"
        try:
            aptget.extract(files, root)
        except subprocess.CalledProcessError as error:
            raise ToolError(f"dpkg-deb cannot unpack {error.cmd[-2]}") from None
        return root, version.replace("%3a", ":"), suite
    raise ToolError(f"{package} could not be fetched.\n" + "\n".join(problems))
