"""The imports of a sweep's scripts are tried in the packed environment, once for each."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from test_packing_given import tarball

from osgbatch.errors import PackingError
from osgbatch.packing.environment.cache import EnvironmentArchive, file_sha256
from osgbatch.packing.environment.imports import needed_imports
from osgbatch.packing.environment.script_trial import try_imports
from osgbatch.spec.load import load_spec

PYTHON = f"""#!/bin/sh
PYTHONPATH=$(dirname "$0")/../site exec {sys.executable} "$@"
"""
FILES = {
    "bin/python": PYTHON,
    "site/shape/__init__.py": "def area(): pass\n",
    "site/shape/good.py": "",
    "site/shape/bad.py": "import is_nowhere\n",
    "site/shape/gpu.py": "raise ImportError('libcuda.so.1: cannot open shared object file')\n",
    "site/shape/ends.py": "import os\nos._exit(3)\n",
}


def environment(cache: Path) -> EnvironmentArchive:
    folder = cache / "environments/x"
    folder.mkdir(parents=True)
    tarball(folder / "e.tar.gz", FILES)
    return EnvironmentArchive(
        folder / "e.tar.gz", file_sha256(folder / "e.tar.gz"), 1, 1, "3", (), modules=("shape",)
    )


def tried(folder: Path, script: str, archive: EnvironmentArchive) -> tuple[list[str], list[str]]:
    """Warnings, and what was said meanwhile."""
    (folder / "job.py").write_text(script)
    (folder / "sweep.yaml").write_text("command: python job.py\nfiles: job.py\n")
    said: list[str] = []
    imports = needed_imports(load_spec(folder / "sweep.yaml"))
    return try_imports(archive, imports, folder / "cache", said.append), said


def test_imports_are_tried_once(tmp_path: Path) -> None:
    archive = environment(tmp_path / "cache")
    script = "import os, numpy\nfrom shape import area, good\nimport shape.good\n"
    warnings, said = tried(tmp_path, script, archive)
    assert warnings == [] and len(said) == 1  # numpy is not in it, which others warn of
    assert tried(tmp_path, script + "import shape\n", archive)[1] == said
    assert tried(tmp_path, "import shape, shape.good\n", archive)[1] == []


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("import shape.bad\n", "No module named 'is_nowhere'"),
        (
            "import shape.good\nfrom shape import (area,\n  missing)\n",
            "cannot import name 'missing'",
        ),
        ("if __name__ == '__main__':\n    import shape.bad\n", "No module named 'is_nowhere'"),
        ("import shape.ends\n", "ended with 3"),
    ],
)
def test_an_import_that_fails_is_an_error_at_its_line(
    tmp_path: Path, script: str, told: str
) -> None:
    archive = environment(tmp_path / "cache")
    for _ in range(2):  # a failure is not kept
        with pytest.raises(PackingError, match=told) as caught:
            tried(tmp_path, script, archive)
        assert f"job.py:{2 if script.count(chr(10)) > 1 else 1}" in str(caught.value)


@pytest.mark.parametrize(
    ("script", "warned"),
    [
        ("try:\n    import shape.bad\nexcept ImportError:\n    pass\n", 0),
        ("def f():\n    import shape.bad\n", 1),
        ("import sys\nif sys.argv[1:]:\n    from shape.bad import x\n", 1),
        ("import shape.gpu\n", 1),
        ("from .shape import bad\n", 0),
    ],
)
def test_an_import_that_may_not_be_needed_here_is_no_error(
    tmp_path: Path, script: str, warned: int
) -> None:
    warnings, _ = tried(tmp_path, script, environment(tmp_path / "cache"))
    assert len(warnings) == warned
