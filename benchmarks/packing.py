"""Packing a conda environment beside conda-pack with its defaults, and unpacking what both made.

The environment is the same for both: the local Python as a conda package (a channel that this
makes on disk), and numpy, scipy, pandas and matplotlib by pip. osgbatch is run as its user runs it,
`osgbatch pack env PREFIX`, with a cache that is emptied before every cold pack; the pages that the
kernel has read are kept for all alike.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests" / "unit"), str(ROOT)]

from measure import Sample, alternate, report, run  # noqa: E402

PACKAGES = ("numpy", "scipy", "pandas", "matplotlib")
OSGBATCH = Path(sys.executable).parent / "osgbatch"
FASTER = 2.5
LARGER = 1.12
REPACK_S = 0.5
MEMORY_MB = 300
FIRST_IMPORT = "import numpy, scipy.signal, pandas, matplotlib.pyplot"


def make(folder: Path, place: str) -> None:
    """The environment, in `env` of a folder in this one; the channel is made once.

    Python's own modules are compiled, as they are in the packages of the usual channels.
    """
    from conda_channel import install_prefix, make_channel

    channel = folder / "channel"
    if not channel.exists():
        (folder / "scratch").mkdir()
        make_channel(channel, folder / "scratch")
    (folder / place).mkdir()
    prefix = install_prefix(channel, folder / place / "env", folder / "packages", "python")
    python = prefix / "bin/python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "-q", *PACKAGES]
    subprocess.run(pip, check=True, stderr=subprocess.DEVNULL)
    stdlib = [python, "-m", "compileall", "-q", *prefix.glob("lib/python3.*")]
    subprocess.run(stdlib, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    found = hashlib.sha256()
    with path.open("rb") as stream:
        while part := stream.read(1 << 20):
            found.update(part)
    return found.hexdigest()


def size_mb(top: Path) -> float:
    """What lies in a folder, in MB; a file with several names counts once."""
    seen: dict[tuple[int, int], int] = {}
    for folder, _, names in os.walk(top):
        for name in names:
            status = os.lstat(os.path.join(folder, name))
            seen[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(seen.values()) / 1e6


def verdict(is_met: bool) -> str:
    """The end of a line about a bar."""
    return "" if is_met else " MISSED"


def main(runs: int = 3) -> None:
    """Measure and print."""
    print(f"load of the machine: {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory(prefix="osgbatch-bench-") as name:
        folder = Path(name)
        # Made by other processes: the peak memory of a child is not less than its parent's size.
        # The second one lies at another path, under another umask and time zone.
        for place, umask, zone in (("one", 0o022, "UTC"), ("a second", 0o077, "Asia/Tokyo")):
            subprocess.run(
                [sys.executable, __file__, "--make", folder, place],
                env={**os.environ, "TZ": zone}, umask=umask, check=True,
            )  # fmt: skip
        measure(folder, runs)
    print(f"load of the machine: {os.getloadavg()[0]:.1f}")


def measure(folder: Path, runs: int) -> None:
    """Everything, in a folder with two environments."""
    prefix = folder / "one" / "env"
    print(f"the environment: {', '.join(PACKAGES)}; {size_mb(prefix):.0f} MB")
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    theirs = folder / "theirs.tar.gz"
    seen: list[Path] = []

    def pack(where: Path, *options: str) -> Sample:
        sample = run([OSGBATCH, "pack", "env", where, *options], folder)
        seen.append(Path(sample.stdout.splitlines()[-1]))
        return sample

    def cold(*options: str) -> Sample:
        shutil.rmtree(folder / "cache", ignore_errors=True)
        return pack(prefix, *options)

    def theirs_once() -> Sample:
        theirs.unlink(missing_ok=True)
        command = [sys.executable, "-m", "conda_pack.cli", "-q", "-p", prefix, "-o", theirs]
        return run([*command, "--ignore-missing-files"], folder)

    taken = alternate(
        runs,
        {
            "conda-pack": theirs_once,
            "osgbatch pack env --no-test": lambda: cold("--no-test"),
            "osgbatch pack env": cold,
        },
    )
    medians = report(taken)
    cpu = {name: statistics.median(one.cpu_s for one in taken[name]) for name in taken}
    ours_names = list(taken)[1:]
    memory = max(sample.memory_mb for name in ours_names for sample in taken[name])
    for name in ours_names:
        ratio = medians["conda-pack"] / medians[name]
        bar = f"bar: {FASTER}" if "no-test" in name else "no bar: conda-pack tries nothing"
        print(
            f"{name} is {ratio:.2f} times as fast as conda-pack ({bar}), by processor time "
            f"{cpu['conda-pack'] / cpu[name]:.2f} times"
            f"{verdict(ratio >= FASTER or 'no-test' not in name)}"
        )
    print(f"peak memory {memory:.0f} MiB (bar: {MEMORY_MB}){verdict(memory <= MEMORY_MB)}")
    ours = seen[-1]
    sizes = ours.stat().st_size, theirs.stat().st_size
    print(
        f"archives: osgbatch {sizes[0] / 1e6:.1f} MB, conda-pack {sizes[1] / 1e6:.1f} MB, "
        f"{sizes[0] / sizes[1]:.2f} times (bar: {LARGER}){verdict(sizes[0] <= LARGER * sizes[1])}"
    )
    again = report(alternate(max(runs, 5), {"the same again, unchanged": lambda: pack(prefix)}))
    unchanged = next(iter(again.values()))
    print(f"unchanged: {unchanged:.2f} s (bar: {REPACK_S}){verdict(unchanged <= REPACK_S)}")
    kept = folder / "ours.tar.gz"
    shutil.copy(ours, kept)
    digests = {digest(kept)}
    pack(folder / "a second" / "env")
    digests.add(digest(seen[-1]))
    print(
        f"another prefix (path, umask, time zone): {len(digests)} different archives (bar: 1)"
        f"{verdict(len(digests) == 1)}"
    )
    unpacking(folder, {"conda-pack's": theirs, "osgbatch's": kept}, runs)


def unpacking(folder: Path, archives: Mapping[str, Path], runs: int) -> None:
    """The shim's way beside plain tar, and what comes after it: conda-unpack, the first import."""
    target = folder / "unpacked"

    def fresh() -> None:
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()

    def plain(archive: Path) -> Sample:
        fresh()
        return run(["tar", "-xzf", archive, "-C", target])

    def as_the_shim(archive: Path) -> Sample:
        fresh()
        return run(
            ["sh", "-c", 'gzip -dc <"$1" | tar -xof - -C "$2"', "sh", str(archive), str(target)]
        )

    def moved(archive: Path) -> Sample:
        as_the_shim(archive)
        return run([target / "bin" / "conda-unpack"])

    def imported(archive: Path) -> Sample:
        moved(archive)
        began = time.perf_counter()
        python = target / "bin" / "python"
        first = run(
            ["env", "-i", f"HOME={target}", "PATH=/usr/bin:/bin", python, "-c", FIRST_IMPORT]
        )
        return Sample(time.perf_counter() - began, first.memory_mb, "", first.cpu_s)

    ours = archives["osgbatch's"]
    medians = report(
        alternate(
            runs,
            {
                **{
                    f"tar -xzf, {name}": lambda path=path: plain(path)
                    for name, path in archives.items()
                },
                "as the shim does, osgbatch's": lambda: as_the_shim(ours),
            },
        )
    )
    mine, usual = medians["as the shim does, osgbatch's"], medians["tar -xzf, osgbatch's"]
    theirs = medians["tar -xzf, conda-pack's"]
    print(
        f"the shim unpacks in {mine / usual:.2f} times the time of plain tar -xzf, whose of "
        f"conda-pack's archive is {theirs / usual:.2f} (bar: no slower, within 10 %)"
        f"{verdict(mine <= 1.1 * min(usual, theirs))}"
    )
    actions = {"conda-unpack": moved, "first import": imported}
    report(
        alternate(
            runs,
            {
                f"{what}, {name}": lambda act=act, path=path: act(path)
                for what, act in actions.items()
                for name, path in archives.items()
            },
        )
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--make"]:
        make(Path(sys.argv[2]), sys.argv[3])
    else:
        main(*map(int, sys.argv[1:2]))
