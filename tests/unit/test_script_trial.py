"""The imports of a sweep's scripts are tried in the packed environment, once for each."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from test_packing_given import tarball

from osgbatch.cli.packs import Asked, pack_environment
from osgbatch.errors import PackingError
from osgbatch.packing.environment import script_trial
from osgbatch.packing.environment.cache import EnvironmentArchive, file_sha256, write_entry
from osgbatch.packing.environment.given import given_fingerprint
from osgbatch.packing.environment.script_trial import try_scripts
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
    "site/shape/dies.py": "import os\nos.abort()\n",
    "site/shape/asks.py": "import os\nos.environ['SHAPE_HOME']\n",
    "site/shape/wants.py": "import os\nif 'SHAPE' not in os.environ:\n    import is_nowhere\n",
}


def environment(cache: Path) -> EnvironmentArchive:
    folder = cache / "environments/x"
    folder.mkdir(parents=True)
    tarball(folder / "e.tar.gz", FILES)
    return EnvironmentArchive(
        folder / "e.tar.gz", file_sha256(folder / "e.tar.gz"), 1, 1, "3", (), modules=("shape",)
    )


def tried(
    folder: Path, script: str, archive: EnvironmentArchive, more: str = ""
) -> tuple[list[str], list[str]]:
    """Warnings, and what was said meanwhile. more: lines of the spec."""
    (folder / "job.py").write_text(script)
    (folder / "sweep.yaml").write_text(f"command: python job.py\nfiles: job.py\n{more}")
    said: list[str] = []
    spec = load_spec(folder / "sweep.yaml")
    return try_scripts(spec, archive, folder / "cache", said.append), said


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
        ("import shape.dies\n", "ended with -6"),
    ],
)
def test_an_import_that_fails_is_an_error_at_its_line(
    tmp_path: Path, script: str, told: str
) -> None:
    archive = environment(tmp_path / "cache")
    for _ in range(2):  # the second time it is known
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
        ("import contextlib\nwith contextlib.suppress(ImportError):\n    import shape.bad\n", 0),
        ("with open('x'):\n    import shape.bad\n", 1),
        ("try:\n    import shape.bad\nexcept OSError:\n    pass\n", 1),
        ("try:\n    import shape\nexcept ImportError:\n    pass\nelse:\n    import shape.bad\n", 1),
        ("import os\nos.environ['SHAPE'] = '1'\nimport shape.wants\n", 1),
        ("import sys\nsys.path.insert(0, 'vendor')\nimport shape.bad\n", 1),
        ("import shape.asks\n", 1),
        ("import shape.ends\n", 1),
    ],
)
def test_an_import_that_may_not_be_needed_here_is_no_error(
    tmp_path: Path, script: str, warned: int
) -> None:
    warnings, _ = tried(tmp_path, script, environment(tmp_path / "cache"))
    assert len(warnings) == warned


def test_variables_that_all_tasks_have_are_set(tmp_path: Path) -> None:
    archive = environment(tmp_path / "cache")
    script = "import shape.wants, shape.asks\n"
    with pytest.raises(PackingError, match="is_nowhere"):
        tried(tmp_path, script, archive)
    more = 'environment_variables: {SHAPE: 1, SHAPE_HOME: "secret"}\n'
    assert tried(tmp_path, script, archive, more)[0] == []
    assert "secret" not in (archive.path.parent / script_trial.NOTED).read_text()
    varying = 'sweep: {x: [1]}\nenvironment_variables: {SHAPE_HOME: "{x}"}\n'
    assert len(tried(tmp_path, "import shape.asks\n", archive, varying)[0]) == 1


def test_a_failure_is_kept_until_the_machine_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = environment(tmp_path / "cache")
    script = "import shape.good, shape.gpu\n"
    warnings, said = tried(tmp_path, script, archive)
    assert len(warnings) == len(said) == 1
    assert tried(tmp_path, script, archive) == (warnings, [])
    monkeypatch.setattr(script_trial.platform, "node", lambda: "another")
    assert tried(tmp_path, script, archive) == (warnings, said)
    assert tried(tmp_path, "import shape.good\n", archive) == ([], [])


def test_packing_a_sweeps_environment_refuses_what_submitting_it_does(tmp_path: Path) -> None:
    cache, sweep = tmp_path / "cache", tmp_path / "sweep.yaml"
    tarball(tmp_path / "e.tar.gz", FILES)
    (tmp_path / "job.py").write_text("import shape.bad\n")
    sweep.write_text("command: python job.py\nfiles: job.py\nenvironment: e.tar.gz\n")
    for test in (True, False):  # the archive is in the cache as if it had been tried
        wanted = replace(load_spec(sweep).environment, test=test)
        fingerprint = given_fingerprint(wanted, tmp_path / "e.tar.gz")
        packed = environment(cache)
        size = packed.path.stat().st_size
        write_entry(cache, packed.path.parent, replace(packed, size=size, fingerprint=fingerprint))
    with pytest.raises(PackingError, match="is_nowhere"):
        pack_environment(sweep, cache, Asked(), print)
    assert pack_environment(sweep, cache, Asked(test=False), print)[1] == []
