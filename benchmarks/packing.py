"""Packing a conda environment beside conda-pack with its defaults, and unpacking both.

The environment is the same for both: the local Python as a conda package (a channel that this
makes on disk), and numpy, scipy, pandas and matplotlib by pip. Nothing is kept between runs, so
every pack is a cold one, but for the pages that the kernel has read.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests" / "unit"), str(ROOT)]

from measure import Sample, alternate, report, run  # noqa: E402

PACKAGES = ("numpy", "scipy", "pandas", "matplotlib")
OURS = """\
import sys
from pathlib import Path
from osgbatch.packing.archive import write_archive
from osgbatch.packing.environment.conda_files import pack_conda_prefix
made = write_archive(pack_conda_prefix(Path(sys.argv[1])), Path(sys.argv[2]), "environment")
print(made.path)
"""


def make(folder: Path) -> None:
    """The environment, in `env` of the folder."""
    from conda_channel import install_prefix, make_channel

    (folder / "scratch").mkdir()
    channel = make_channel(folder / "channel", folder / "scratch")
    prefix = install_prefix(channel, folder / "env", folder / "packages", "python")
    pip = [sys.executable, "-m", "pip", "--python", prefix / "bin/python", "install", "-q"]
    subprocess.run([*pip, *PACKAGES], check=True, stderr=subprocess.DEVNULL)


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    found = hashlib.sha256()
    with path.open("rb") as stream:
        while part := stream.read(1 << 20):
            found.update(part)
    return found.hexdigest()


def main(runs: int = 3) -> None:
    """Measure and print."""
    print(f"load of the machine: {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory(prefix="osgbatch-bench-") as name:
        folder = Path(name)
        # Made by another process: the peak memory of a child is not less than its parent's size.
        subprocess.run([sys.executable, __file__, "--make", folder], check=True)
        prefix = folder / "env"
        (folder / "ours").mkdir()
        theirs = folder / "theirs.tar.gz"
        seen: list[Path] = []

        def ours_once() -> Sample:
            sample = run([sys.executable, "-c", OURS, prefix, folder / "ours"], ROOT)
            seen.append(Path(sample.stdout.strip()))
            return sample

        def theirs_once() -> Sample:
            theirs.unlink(missing_ok=True)
            command = [sys.executable, "-m", "conda_pack.cli", "-q", "-p", prefix, "-o", theirs]
            return run([*command, "--ignore-missing-files"], folder)

        medians = report(alternate(runs, {"conda-pack": theirs_once, "osgbatch": ours_once}))
        size = {"conda-pack": theirs.stat().st_size, "osgbatch": seen[0].stat().st_size}
        digests = set(map(digest, seen))
        print(
            f"osgbatch is {medians['conda-pack'] / medians['osgbatch']:.2f} times as fast "
            f"(bar: 2.5); archives: {size['conda-pack'] / 1e6:.1f} MB and "
            f"{size['osgbatch'] / 1e6:.1f} MB, {size['osgbatch'] / size['conda-pack']:.2f} times "
            f"(bar: 1.12); {len(seen)} packs, {len(digests)} different"
        )

        def unpack(archive: Path) -> Sample:
            target = folder / "unpacked"
            shutil.rmtree(target, ignore_errors=True)
            target.mkdir()
            return run(["tar", "-xzf", archive, "-C", target])

        report(
            alternate(
                runs,
                {"tar -xzf, conda-pack's": lambda: unpack(theirs),
                 "tar -xzf, osgbatch's": lambda: unpack(seen[0])},
            )
        )  # fmt: skip


if __name__ == "__main__":
    if sys.argv[1:2] == ["--make"]:
        make(Path(sys.argv[2]))
    else:
        main(*map(int, sys.argv[1:2]))
