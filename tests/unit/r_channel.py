"""Makes a conda channel on disk with a real R: r-base, its libraries, and a small R package."""

from __future__ import annotations

import importlib.util
import json
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import conda_channel
from conda_channel import Package

VERSION = "4.0.4"
TOOL = Path(__file__).parents[2] / "tools" / "r.py"
ACTIVATE = b'export RSTUDIO_WHICH_R="$CONDA_PREFIX/bin/R"\n'
"""What conda-forge's r-base has in etc/conda/activate.d, but for Java."""


@cache
def tool() -> ModuleType:
    """tools/r.py, loaded from its path."""
    spec = importlib.util.spec_from_file_location("provide_r", TOOL)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = list(sys.path)
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path[:] = before
    return module


def add_r(channel: Path) -> None:
    """Add r-base, r-libraries, r-greet and r-broken to a channel, which is to be indexed then."""
    made: Path = tool().provide()
    tree = made / tool().TREE
    prefixed = json.loads((made / tool().LIST).read_text())
    files = {path.relative_to(tree).as_posix(): path for path in _files(tree)}
    libraries = {name: path for name, path in files.items() if name.startswith("lib/lib")}
    base: dict[str, bytes | str | Path] = {
        name: path for name, path in files.items() if name not in libraries
    }
    base["etc/conda/activate.d/activate-r-base.sh"] = ACTIVATE
    conda_channel.write_package(channel, Package("r-libraries", files=libraries))
    package = Package("r-base", VERSION, ["r-libraries"], base, prefixed)
    conda_channel.write_package(channel, package)
    below = "lib/R/library/greet"
    greet = {
        f"{below}/{path.relative_to(made / 'greet').as_posix()}": path
        for path in _files(made / "greet")
    }
    conda_channel.write_package(channel, Package("r-greet", "1.0", ["r-base"], greet))
    broken = {name.replace("/greet/", "/broken/"): path for name, path in greet.items()}
    broken.pop("lib/R/library/broken/R/greet.rdb")
    conda_channel.write_package(channel, Package("r-broken", "1.0", ["r-base"], broken))


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() or path.is_symlink())
