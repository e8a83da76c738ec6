"""Bytecode in archives: the same from anywhere, whatever was there before, and used by Python."""

from __future__ import annotations

import importlib.util
import os
import py_compile
import subprocess
import sys
import time
from pathlib import Path

import pytest

from osgbatch.errors import PackingError
from osgbatch.packing.archive import Member, write_archive
from osgbatch.packing.disk_full import is_full
from osgbatch.packing.environment.bytecode import (
    NoBytecodeError,
    bytecode_members,
    bytecode_or_note,
)
from osgbatch.packing.environment.trial import unpack

MODULES = {
    "one.py": "A = ('x', 1, 1.0, -0.0, True, b'y')\n"
    "def f(x):\n    return x in {'b', 'a', 'c', 'long one'} and 'long one' or (1, 'x')\n"
    "def g(x):\n    return x in {'c', 'long one', 'a', 'b'}, lambda: ((1, 'x'), 'long one')\n",
    "deep/__init__.py": "class C:\n    'what it is'\n    def m(self, *, k=b'y'): return f'{k}(('\n",
    "deep/two.py": "import json\nASKED = __file__\n",
    "deep/tests/test_two.py": "",
    "broken.py": "print 1\n",
}
TOP = f"lib/python3.{sys.version_info[1]}"


def installed(folder: Path) -> list[Member]:
    """Modules in a folder, and the members that they are packed as."""
    for name, text in MODULES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return [Member(f"{TOP}/{name}", folder / name) for name in MODULES]


def made(members: list[Member], folder: Path) -> dict[str, bytes]:
    found = bytecode_members(members, Path(sys.executable), folder)
    written = (folder / "bytecode").read_bytes()
    return {one.name: written[one.part[0] : sum(one.part)] for one in found if one.part}


def test_bytecode_is_the_same_wherever_it_comes_from(tmp_path: Path) -> None:
    fresh = made(installed(tmp_path / "a"), tmp_path / "made-a")
    tag = sys.implementation.cache_tag
    assert sorted(fresh) == [
        f"{TOP}/__pycache__/one.{tag}.pyc",
        f"{TOP}/deep/__pycache__/__init__.{tag}.pyc",
        f"{TOP}/deep/__pycache__/two.{tag}.pyc",
    ]
    members = installed(tmp_path / "b at another path")
    for seed, name in enumerate(("one.py", "deep/__init__.py", "deep/two.py")):
        path = tmp_path / "b at another path" / name
        command = [sys.executable, "-m", "py_compile", str(path)]
        subprocess.run(command, env={"PYTHONHASHSEED": str(seed)}, check=True)
    assert made(members[::-1], tmp_path / "made-b") == fresh
    assert all(str(tmp_path).encode() not in data for data in fresh.values())


def test_what_does_not_fit_its_source_is_compiled(tmp_path: Path) -> None:
    members = installed(tmp_path / "a")
    before = made(members, tmp_path / "made")
    path = tmp_path / "a/deep/two.py"
    py_compile.compile(str(path))
    path.write_text("import json\nASKED = 'else'\n")
    os.utime(path, (1, 1))
    changed = made(members, tmp_path / "made-2")
    assert changed != before
    compiled = Path(importlib.util.cache_from_source(path))
    compiled.write_bytes(compiled.read_bytes()[:30])
    assert made(members, tmp_path / "made-3") == changed


def test_an_edit_with_its_time_put_back_is_compiled(tmp_path: Path) -> None:
    members = installed(tmp_path / "a")
    path = tmp_path / "a/deep/two.py"
    py_compile.compile(str(path))
    old, compiled = path.stat(), Path(importlib.util.cache_from_source(path)).stat()
    until = time.monotonic() + 10
    while path.stat().st_ctime_ns <= compiled.st_ctime_ns:  # file systems' clocks are coarse
        path.write_text(MODULES["deep/two.py"].replace("ASKED", "ASKEE"))
        os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))
        assert time.monotonic() < until
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (old.st_size, old.st_mtime_ns)
    (data,) = (data for name, data in made(members, tmp_path / "m").items() if "/two." in name)
    assert b"ASKEE" in data


def test_a_full_disk_is_no_reason_for_a_note(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'OSError: [Errno 28] No space left on device' >&2\nexit 1\n")
    python.chmod(0o755)
    notes: list[str] = []
    with pytest.raises(PackingError, match="No space left") as caught:
        bytecode_or_note(installed(tmp_path / "a"), python, tmp_path / "made", notes)
    assert is_full(caught.value) and notes == []


def test_python_takes_the_unpacked_bytecode(tmp_path: Path) -> None:
    members = installed(tmp_path / "a")
    bytecode = bytecode_members(members, Path(sys.executable), tmp_path / "made")
    archive = write_archive([*members, *bytecode], tmp_path / "out", "environment")
    root = unpack(archive.path, tmp_path)
    script = "import one, deep.two; print(deep.two.ASKED, one.f.__code__.co_filename)"
    done = subprocess.run(
        [sys.executable, "-v", "-c", script],
        env={"PYTHONPATH": str(root / TOP)}, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.split("\n")[0] == f"{root / TOP}/deep/two.py {root / TOP}/one.py"
    for name in ("one.", "deep/__pycache__/__init__.", "deep/__pycache__/two."):
        place = name if "/" in name else f"__pycache__/{name}"
        assert f"matches {root / TOP}/{name.replace('__pycache__/', '')}py" in done.stderr, place
    assert "wrote" not in done.stderr


def test_an_interpreter_that_fails_is_told_of_and_no_reason_not_to_pack(tmp_path: Path) -> None:
    members = installed(tmp_path / "a")
    with pytest.raises(NoBytecodeError):
        bytecode_members(members, Path("/bin/false"), tmp_path / "made")
    notes: list[str] = []
    assert bytecode_or_note(members, Path("/bin/false"), tmp_path / "made", notes) == []
    assert len(notes) == 1 and "bytecode" in notes[0]
    assert bytecode_or_note(members, tmp_path / "no/python", tmp_path / "made", notes) == []
    assert len(notes) == 1
