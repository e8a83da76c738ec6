"""A packed environment in a root with an older glibc and no Python: what an execution point is."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from osgbatch.packing.environment import environment_archive
from osgbatch.packing.environment.trial import unpack

TOOLS = Path(__file__).parents[2] / "tools"

TASK = """
import multiprocessing, os, sqlite3, ssl, subprocess, sys
import numpy
def square(x): return x * x
if __name__ == "__main__":
    os.chdir("/")
    assert sys.prefix == "/job/another place/env", sys.prefix
    assert sys.stdout.encoding == sys.getfilesystemencoding() == "utf-8"
    assert numpy.linalg.inv(numpy.eye(3) * 2)[0, 0] == 0.5
    assert ssl.create_default_context() and ssl.OPENSSL_VERSION
    assert sqlite3.connect(":memory:").execute("select 1").fetchone() == (1,)
    child = [sys.executable, "-c", "import numpy, sys; print(sys.prefix)"]
    assert subprocess.check_output(child, text=True).strip() == sys.prefix
    old = subprocess.check_output(["ldd", "--version"], text=True).splitlines()[0]
    for how in ("fork", "spawn", "forkserver"):
        with multiprocessing.get_context(how).Pool(2) as pool:
            assert pool.map(square, [1, 2]) == [1, 4]
    maps = open("/proc/self/maps").read().splitlines()
    libraries = {line.split(None, 5)[5] for line in maps if ".so" in line}
    print(sorted(name for name in libraries if not name.startswith("/job/")))
    print("héllo", old)
"""


@pytest.fixture(scope="module")
def bareroot() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bareroot", TOOLS / "bareroot.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = list(sys.path)
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path[:] = before
    reason = module.usable()
    if reason:
        pytest.skip(reason)
    return module


def test_the_root_has_an_old_glibc_and_no_python(bareroot: ModuleType) -> None:
    done = bareroot.run(["sh", "-c", "ldd --version; ls /usr/bin/python*; exit 3"])
    assert "2.31" in done.stdout and "cannot access" in done.stderr
    assert done.returncode == 3


def test_an_environment_with_numpy_runs_in_the_bare_root(
    bareroot: ModuleType, tmp_path: Path
) -> None:
    (tmp_path / "requirements.txt").write_text("numpy\n")
    packed = environment_archive(tmp_path / "requirements.txt", tmp_path, lambda line: None)
    work = tmp_path / "work"
    work.mkdir()
    (work / "task.py").write_text(TASK)
    unpack(packed.path, tmp_path / "unpacked").rename(work / "env")
    python = "/job/another place/env/bin/python"
    binds = [(work, "/job/another place")]
    done = bareroot.run(["env", "-i", python, "/job/another place/task.py"], binds)
    assert done.returncode == 0, done.stderr
    nothing_of_the_system, last = done.stdout.splitlines()
    assert nothing_of_the_system == "[]"
    assert last.startswith("héllo ldd") and "2.31" in last
    code = "import sys; print('héllo', sys.stdout.encoding)"
    done = bareroot.run(["env", "-i", "LANG=de_DE.UTF-8", python, "-c", code], binds)
    assert done.stdout == "héllo utf-8\n"
    done = bareroot.run(["/job/another place/env/bin/f2py", "-v"], binds)
    assert done.returncode == 0, done.stderr
