"""Staging beside `rclone copy --checksum`: the same tree, to a folder of the same disk, one core.

The tree has 10,000 files of 10 kB and one of 2 GB. Then one of 100,000 files that does not change.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
os.environ["PYTHONPATH"] = str(ROOT)

from measure import Sample, alternate, report, run  # noqa: E402

CORE = ["taskset", "-c", "0"]
LARGE = 2 * 10**9
FIRST = 1.3
"""The first staging takes at most so many times as long as rclone's."""
AGAIN = 20
"""The second is at least so many times as fast as the first, and no slower than rclone's."""
MANY_S = 3.0
MANY_MB = 200
"""For a tree of 100,000 files that has not changed."""


def make(folder: Path, files: int, size: int, large: int = 0) -> None:
    """A tree of files that all differ, made some time ago."""
    numbers = random.Random(1)
    for index in range(files):
        path = folder / f"{index // 1000:03}" / f"{index}.dat"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(numbers.randbytes(size))
    if large:
        with (folder / "large.bin").open("wb") as stream:
            for _ in range(large // 10**7):
                stream.write(numbers.randbytes(10**7))
    os.sync()


def verdict(is_met: bool) -> str:
    """What is printed behind a bar."""
    return "" if is_met else " MISSED"


def main(runs: int = 3) -> None:
    """Measure and print."""
    print(f"load of the machine: {os.getloadavg()[0]:.1f}")
    tool = [sys.executable, ROOT / "tools/stash/servers.py", "provide", "--rclone"]
    rclone = subprocess.run(tool, capture_output=True, text=True, check=True).stdout.strip()
    with tempfile.TemporaryDirectory(prefix="osgbatch-bench-", dir=os.environ.get("BENCH")) as name:
        folder = Path(name)
        # Made by another process: the peak memory of a child is not less than its parent's size.
        subprocess.run([sys.executable, __file__, "--make", folder], check=True)
        time.sleep(3)  # what changed just now is not remembered
        for kind in ("cache", "state"):
            os.environ[f"XDG_{kind.upper()}_HOME"] = str(folder / kind)
        # Compiled beforehand, as what pip installs is; here that may be switched off.
        os.environ["PYTHONPYCACHEPREFIX"] = str(folder / "compiled")
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        (folder / "sweep.yaml").write_text(
            "command: 'true'\nstash: {folder: stash, url: 'osdf:///x'}\n"
        )
        words = [sys.executable, "-m", "osgbatch", "stage", "put", "--tree"]
        spec = ["--spec", folder / "sweep.yaml"]

        def theirs() -> Sample:
            copy = [*CORE, rclone, "copy", "--checksum", "--config", "/dev/null"]
            return run([*copy, folder / "tree", folder / "copy"], folder)

        def ours() -> Sample:
            return run([*CORE, *words, *spec, folder / "tree"], folder)

        def anew(place: str) -> None:
            for one in (place, "cache", "state"):
                shutil.rmtree(folder / one, ignore_errors=True)
            (folder / place).mkdir()
            os.sync()

        def theirs_first() -> Sample:
            anew("copy")
            return theirs()

        def ours_first() -> Sample:
            anew("stash")
            return ours()

        both = {
            "rclone, first": theirs_first, "rclone, again": theirs,
            "osgbatch, first": ours_first, "osgbatch, again": ours,
        }  # fmt: skip
        (folder / "stash").mkdir()
        (folder / "one").write_bytes(b"1")
        run([*CORE, *words, *spec, folder / "one"], folder)
        samples = alternate(runs, both)
        found = report(samples)
        cpu = {name: median(one.cpu_s for one in taken) for name, taken in samples.items()}
        first, again = found["osgbatch, first"], found["osgbatch, again"]
        ratio = first / found["rclone, first"]
        print(f"first: {ratio:.2f} times rclone's (bar: {FIRST}){verdict(ratio <= FIRST)}")
        ratio, of_cpu = first / again, cpu["osgbatch, first"] / cpu["osgbatch, again"]
        print(
            f"again: {ratio:.1f} times as fast as first (bar: {AGAIN}){verdict(ratio >= AGAIN)}; "
            f"by processor time {of_cpu:.1f}"
        )
        ratio = again / found["rclone, again"]
        print(f"again: {ratio:.2f} times rclone's (bar: 1){verdict(ratio <= 1)}")

        def many() -> Sample:
            return run([*CORE, *words, *spec, folder / "many"], folder)

        many()
        samples = alternate(runs, {"100,000 files, unchanged": many})
        (wall,) = report(samples).values()
        memory = max(one.memory_mb for taken in samples.values() for one in taken)
        met = wall <= MANY_S and memory <= MANY_MB
        print(f"bar: {MANY_S:.0f} s, {MANY_MB} MiB{verdict(met)}")
    print(f"load of the machine: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--make"]:
        make(Path(sys.argv[2], "tree"), 10_000, 10_000, LARGE)
        make(Path(sys.argv[2], "many"), 100_000, 20)
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
