"""Archives made elsewhere, projects and lock files, and the choice of a Python."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import sys
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from test_packing_environment import SMALL, run, wheel

from osgbatch.errors import PackingError
from osgbatch.model import Environment, Place, UserPath
from osgbatch.packing.archive import Member
from osgbatch.packing.environment import (
    EnvironmentArchive,
    environment_archive,
    known_environment,
    packed_environment,
    projects,
    standalone,
)
from osgbatch.packing.environment.imports import importable, missing, script_imports
from osgbatch.packing.environment.strip import strip
from osgbatch.packing.environment.trial import unpack

OWN = "{}.{}".format(*sys.version_info[:2])
STARTED = "#!/bin/sh\necho started\n"


def wanted(kind: str, path: Path, **how: object) -> Environment:
    there = UserPath(str(path), Place("sweep.yaml", 1, 1))
    return replace(Environment(kind, there), **how)  # type: ignore[arg-type]


def take(path: Path, cache: Path, **how: object) -> EnvironmentArchive:
    made = packed_environment(wanted("archive", path, **how), Path("/"), cache, lambda line: None)
    assert made is not None
    return made


def tarball(path: Path, files: dict[str, str], links: dict[str, str] | None = None) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(text), 0o755
            tar.addfile(info, io.BytesIO(text.encode()))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    return path


# --- archives -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of a small environment, as somebody else has made it."""
    folder = tmp_path_factory.mktemp("made elsewhere")
    (folder / "requirements.txt").write_text(f"./{wheel(folder, 'tiny', SMALL).name}\n")
    made = environment_archive(folder / "requirements.txt", folder / "cache", lambda line: None)
    shutil.copyfile(made.path, folder / "my-env.tar.gz")
    return folder / "my-env.tar.gz"


def test_an_archive_is_tried_and_taken_as_it_is(ours: Path, tmp_path: Path) -> None:
    made = take(ours, tmp_path, imports=("tiny",))
    assert made.path.read_bytes() == ours.read_bytes()
    assert made.path.name.startswith("environment-") and made.kind == "archive"
    assert made.python.startswith(OWN) and made.packages == ("tiny==1.0",)
    assert "tiny" in made.modules and made.unpacked_size > made.size
    before = ours.stat()
    said: list[str] = []
    how = wanted("archive", ours, imports=("tiny",))
    assert packed_environment(how, Path("/"), tmp_path, said.append) == made
    assert known_environment(how, Path("/"), tmp_path) == made and said == []
    with pytest.raises(PackingError, match="no_such, named under imports"):
        take(ours, tmp_path, imports=("no_such",))
    os.utime(ours, ns=(1, 1))
    try:
        assert known_environment(how, Path("/"), tmp_path) is None
    finally:
        os.utime(ours, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_writing_over_an_archive_leaves_what_was_taken(tmp_path: Path) -> None:
    path = tarball(tmp_path / "e.tar.gz", {"bin/Rscript": STARTED})
    made = take(path, tmp_path / "c")
    kept = made.path.read_bytes()
    path.write_bytes(b"something else")
    assert made.path.read_bytes() == kept


def test_conda_unpack_is_run_first_and_r_alone_will_do(tmp_path: Path) -> None:
    files = {
        "bin/Rscript": '#!/bin/sh\ntest -f "$(dirname "$0")/mended"\n',
        "bin/conda-unpack": '#!/bin/sh\ntouch "$(dirname "$0")/mended"\n',
        "conda-meta/r-base-4.4.1-h1_0.json": "{}",
    }
    made = take(tarball(tmp_path / "r.tar.gz", files), tmp_path / "c")
    assert made.packages == ("r-base==4.4.1",) and made.python == ""
    files["bin/conda-unpack"] = "#!/bin/sh\necho cannot mend >&2\nexit 3\n"
    with pytest.raises(PackingError, match="conda-unpack fails at another path: cannot mend"):
        take(tarball(tmp_path / "s.tar.gz", files), tmp_path / "c")
    assert take(tmp_path / "s.tar.gz", tmp_path / "c", test=False).notes == (
        "not tried before it was sent",
    )


@pytest.mark.parametrize("kind", ["conda", "ours"])
def test_what_a_conda_archive_needs_of_an_execution_point_is_read(
    tmp_path: Path, kind: str
) -> None:
    (tmp_path / "Rscript").write_text(STARTED)
    (tmp_path / "Rscript").chmod(0o755)
    with tarfile.open(tmp_path / "r.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "Rscript", "bin/Rscript")
        tar.add(os.path.realpath(sys.executable), "bin/program")
        if kind == "conda":
            tar.add(tmp_path / "Rscript", "bin/conda-unpack")
    made = take(tmp_path / "r.tar.gz", tmp_path / "c")
    assert bool(made.glibc_needed) == (kind == "conda") and made.glibc == ""
    assert kind == "ours" or made.glibc_needed.startswith("2.")


def bad(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


REFUSED: dict[str, tuple[Callable[[Path], Path], str, str]] = {
    "not there": (lambda p: p / "no.tar.gz", "cannot be read: No such file", "Check the path"),
    "empty": (lambda p: bad(p / "e.tar.gz", b""), "the archive is empty", "conda-pack"),
    "zip": (lambda p: bad(p / "e.tar.gz", b"PK\3\4....."), "is a zip file", "{prefix: DIR}"),
    "zstd": (
        lambda p: bad(p / "e.tar.zst", b"\x28\xb5\x2f\xfd...."),
        "packed with zstd",
        "`zstd -dc e.tar.zst | gzip > env.tar.gz`",
    ),
    "text": (lambda p: bad(p / "e.tar.gz", b"hello, world"), "is no .tar.gz", "conda-pack"),
    "no gzip": (lambda p: bad(p / "e.tar.gz", b"\x1f\x8b\x08...."), "is damaged", "again"),
    "no tar": (lambda p: bad(p / "e.tar.gz", gzip.compress(b"x" * 2000)), "is damaged", "again"),
    "cut off": (
        lambda p: bad(
            p / "f.tar.gz",
            tarball(p / "e.tar.gz", {"bin/python": os.urandom(4096).hex()}).read_bytes()[:3000],
        ),
        "is damaged",
        "again",
    ),
    "no python": (
        lambda p: tarball(p / "e.tar.gz", {"bin/sh": "x", "lib/x": "x"}),
        "neither bin/python nor bin/Rscript",
        "conda-pack",
    ),
    "in a folder": (
        lambda p: tarball(p / "e.tar.gz", {"my-env/bin/python": "x", "my-env/lib/x": "x"}),
        "lies in a folder, my-env/",
        "`tar -czf env.tar.gz -C my-env .`",
    ),
    "absolute": (
        lambda p: tarball(p / "e.tar.gz", {"bin/python": "x", "/etc/passwd": "x"}),
        "/etc/passwd would be unpacked outside",
        "tar -C",
    ),
    "dots": (
        lambda p: tarball(p / "e.tar.gz", {"bin/python": "x", "lib/../../x": "x"}),
        "lib/../../x would be unpacked outside",
        "tar -C",
    ),
    "venv-pack": (
        lambda p: tarball(
            p / "e.tar.gz", {"x": "x"}, {"bin/python": "python3", "bin/python3": "/usr/bin/python3"}
        ),
        "bin/python is a link to /usr/bin/python3, which is not in the archive",
        "{prefix: DIR}",
    ),
    "does not start": (
        lambda p: tarball(p / "e.tar.gz", {"bin/python": "#!/home/alice/env/bin/python9\n"}),
        "does not work at another path",
        "conda-pack",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_an_environment_is_refused(case: str, tmp_path: Path) -> None:
    make, message, fix = REFUSED[case]
    with pytest.raises(PackingError) as caught:
        take(make(tmp_path), tmp_path / "c")
    assert message in str(caught.value) and fix in caught.value.fix
    left = (tmp_path / "c/environments").glob("*") if (tmp_path / "c").exists() else ()
    assert [path for path in left if path.suffix != ".lock"] == []


# --- projects, lock files, versions ---------------------------------------------------------------

PROJECT = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "tiny"
version = "1.0"
"""
BACKEND = """\
import shutil
def build_wheel(folder, settings=None, metadata=None):
    open("litter", "w").close()
    shutil.copy("ready.whl", folder + "/tiny-1.0-py3-none-any.whl")
    return "tiny-1.0-py3-none-any.whl"
"""


def project(folder: Path) -> Path:
    """A project with a build backend of its own, so that no network is needed."""
    (folder / "data").mkdir(parents=True)
    wheel(folder, "tiny", SMALL).rename(folder / "ready.whl")
    (folder / "backend.py").write_text(BACKEND)
    (folder / "pyproject.toml").write_text(PROJECT)
    return folder / "pyproject.toml"


def test_a_project_is_installed_and_its_folder_stays_clean(tmp_path: Path) -> None:
    file = project(tmp_path / "my project")
    how = wanted("requirements", file, imports=("tiny",))
    made = packed_environment(how, Path("/"), tmp_path / "c", lambda line: None)
    assert made is not None and made.packages == ("tiny==1.0",)
    assert sorted(path.name for path in file.parent.iterdir()) == [
        "backend.py", "data", "pyproject.toml", "ready.whl",
    ]  # fmt: skip
    root = unpack(made.path, tmp_path / "u")
    assert run(root / "bin/tiny", PATH="/usr/bin:/bin") == "tiny []\n"
    assert known_environment(how, Path("/"), tmp_path / "c") == made
    (file.parent / "data/large.bin").write_text("not part of it")
    assert known_environment(how, Path("/"), tmp_path / "c") == made
    (file.parent / "backend.py").write_text(BACKEND + "# changed\n")
    assert known_environment(how, Path("/"), tmp_path / "c") is None


def test_a_project_that_is_no_package_gives_its_dependencies(tmp_path: Path) -> None:
    file = tmp_path / "pyproject.toml"
    file.write_text("[project]\nname = 'x'\ndependencies = ['numpy>=1', 'scipy']\n")
    assert not projects._is_package(file)
    assert projects._dependencies(file) == ["numpy>=1", "scipy"]
    file.write_text("[tool.ruff]\n")
    with pytest.raises(PackingError, match=r"there is no \[project\] in it"):
        projects._dependencies(file)
    file.write_text("[project\n")
    with pytest.raises(PackingError, match="it is not TOML"):
        projects._is_package(file)


@pytest.mark.parametrize("name", ["uv.lock", "pylock.toml"])
def test_a_lock_file_without_uv_is_told(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).write_text("version = 1\n")
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    monkeypatch.setattr(shutil, "which", lambda command, **how: None)
    with pytest.raises(PackingError, match="uv is needed") as caught:
        environment_archive(tmp_path / name, tmp_path / "c", lambda line: None)
    assert "requirements.txt" in caught.value.fix


def test_uv_exports_and_installs_what_a_lock_file_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    log = tmp_path / "log"
    uv = tmp_path / "bin/uv"
    uv.write_text(f'#!/bin/sh\necho "$PWD $*" >>{log}\n[ "$1" != python ]\n')
    uv.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin", prepend=os.pathsep)
    (tmp_path / "p").mkdir()
    (tmp_path / "p/uv.lock").write_text("version = 1\n")
    (tmp_path / "p/pyproject.toml").write_text("[project]\nname = 'x'\n")
    (tmp_path / "shop").mkdir()
    python: object = None
    projects.install(
        tmp_path / "p/uv.lock",
        tmp_path / "venv/bin/python",
        python,  # type: ignore[arg-type]
        tmp_path / "shop",
        lambda line: None,
    )
    export, install = log.read_text().splitlines()
    assert export.startswith(f"{tmp_path}/shop/project export --frozen --no-dev --no-editable")
    assert "pip install --python" in install and "locked-requirements.txt" in install


def test_another_python_is_chosen_or_its_absence_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standalone, "installed_standalone", lambda minor: None)
    assert standalone.chosen_python(OWN) == standalone.chosen_python("3")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    (tmp_path / "pyenv/versions/3.97.1/bin").mkdir(parents=True)
    for name, body in {
        "python3.99": "#!/bin/sh\necho 3.99\necho /opt/python3.99\n",
        "pyenv/versions/3.97.1/bin/python3.97": "#!/bin/sh\necho 3.97\necho /opt/python3.97\n",
        "python3.98": "#!/bin/sh\necho 'pyenv: python3.98: command not found' >&2\nexit 127\n",
    }.items():
        (tmp_path / name).write_text(body)
        (tmp_path / name).chmod(0o755)
    assert standalone.chosen_python("3.99") == Path("/opt/python3.99")
    assert standalone.chosen_python("3.97") == Path("/opt/python3.97")
    with pytest.raises(PackingError, match=r"there is no Python 3\.98") as caught:
        standalone.chosen_python("3.98")
    assert f"Here are {OWN}, 3.99, 3.97. " in caught.value.fix and "uv" in caught.value.fix


# --- what scripts import, what is left out ------------------------------------------------------


def test_the_imports_of_scripts_are_found(tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(
        "import os, sys, numpy as np\n"
        "import helper, beside\n"
        "from scipy.signal import find_peaks\n"
        "from . import other\n"
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import only_types\nelse:\n    import real\n"
        "try:\n    import fast\nexcept ImportError:\n    fast = None\n"
        "try:\n    import needed\nexcept ValueError:\n    pass\n"
        "def f():\n    import inside.deep\n"
    )
    (tmp_path / "helper.py").write_text("import pandas\n")
    (tmp_path / "beside").mkdir()
    (tmp_path / "broken.py").write_text("def (:\n")
    paths = [tmp_path / name for name in ("job.py", "helper.py", "broken.py", "gone.py", "x.npy")]
    assert script_imports(paths) == {"numpy", "scipy", "real", "needed", "inside", "pandas"}


def test_missing_modules_are_those_that_are_nowhere() -> None:
    names = [
        "lib/python3.11/site-packages/numpy/__init__.py",
        "lib/python3.11/site-packages/six.py",
        "lib/python3.11/site-packages/fast.cpython-311-x86_64-linux-gnu.so",
        "lib/python3.11/site-packages/numpy-2.0.dist-info/RECORD",
        "lib/python3.11/os.py",
        "lib/libfoo.so",
    ]
    assert importable(names) == ("fast", "numpy", "six")
    assert missing({"numpy", "util", "waves", "torch"}, ("numpy",), ["util.py", "l/waves"]) == [
        "torch"
    ]
    assert missing({"torch"}, ()) == []


def test_only_what_a_job_never_needs_is_stripped() -> None:
    site = "lib/python3.11/site-packages"
    needless = {
        f"{site}/numpy/tests", f"{site}/numpy/tests/test_a.py", f"{site}/numpy/core/lib/n.a",
        f"{site}/numpy/include/numpy/n.h", f"{site}/x/__pycache__/y.pyc", "include/python3/P.h",
        "lib/libz.a", f"{site}/numpy/n.pxd", "lib/python3.11/test/t.py", "lib/R/library/a/tests/b",
    }  # fmt: skip
    needed = {
        f"{site}/numpy/testing/__init__.py", f"{site}/include.py", f"{site}/x/include/__init__.py",
        f"{site}/triton/backends/include/cuda.h", "bin/test", f"{site}/x/test.py", "lib/libz.so.1",
        f"{site}/x/stub.pyi", f"{site}/x/data.bin",
    }  # fmt: skip
    members = [
        Member(name) if name.endswith("/tests") else Member(name, data=b"12")
        for name in (*needless, *needed)
    ]
    left = strip(members)
    assert {member.name for member in left.members} == needed
    assert (left.files, left.bytes) == (len(needless) - 1, 2 * (len(needless) - 1))
    kept = strip(members, keep={"numpy"})
    assert f"{site}/numpy/tests/test_a.py" in {member.name for member in kept.members}
