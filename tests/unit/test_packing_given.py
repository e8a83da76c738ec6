"""Archives made elsewhere, projects and lock files, and the choice of a Python."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import struct
import sys
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from test_packing_environment import SMALL, run, wheel

from osgbatch.errors import PackingError
from osgbatch.packing.archive import Archive, Member
from osgbatch.packing.environment import (
    EnvironmentArchive,
    environment_archive,
    given,
    known_environment,
    packed_environment,
    projects,
    standalone,
)
from osgbatch.packing.environment.imports import importable, missing, script_imports
from osgbatch.packing.environment.strip import strip
from osgbatch.packing.environment.trial import unpack
from osgbatch.spec_model import Environment, Place, UserPath

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


@pytest.mark.parametrize("kind", ["conda-pack's", "with its own glibc"])
@pytest.mark.parametrize("test", [True, False])
def test_what_an_archive_needs_of_an_execution_point_is_read(
    tmp_path: Path, kind: str, test: bool
) -> None:
    (tmp_path / "Rscript").write_text(STARTED)
    (tmp_path / "Rscript").chmod(0o755)
    program = shutil.which("sh")
    assert program
    needy = bytearray(Path(program).read_bytes())
    with tarfile.open(tmp_path / "r.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "Rscript", "bin/Rscript")
        info = tarfile.TarInfo("lib/needy.so")
        info.size = len(needy)
        tar.addfile(info, io.BytesIO(needy))
        if kind == "with its own glibc":
            tar.add(tmp_path / "Rscript", "lib/ld-linux-x86-64.so.2")
    made = take(tmp_path / "r.tar.gz", tmp_path / "c", test=test)
    assert made.glibc_needed.startswith("" if kind == "with its own glibc" else "2.")
    assert bool(made.glibc_needed) == (kind != "with its own glibc") and made.glibc == ""


def test_the_cpu_that_an_archive_needs_is_read(tmp_path: Path) -> None:
    """Also of one of ours, given by a colleague, that nobody tries here."""
    program = shutil.which("sh")
    assert program
    data = with_cpu_level(Path(program).read_bytes(), 3)
    for name, files in {
        "ours": {"lib/system/libc.so.6": data, "lib/system/ld-linux-x86-64.so.2": data},
        "other": {"lib/libx.so": data},
    }.items():
        with tarfile.open(tmp_path / f"{name}.tar.gz", "w:gz") as tar:
            for one, content in {"bin/Rscript": STARTED.encode(), **files}.items():
                info = tarfile.TarInfo(one)
                info.size, info.mode = len(content), 0o755
                tar.addfile(info, io.BytesIO(content))
        made = take(tmp_path / f"{name}.tar.gz", tmp_path / "c", test=False)
        assert made.microarch == "x86_64-v3", name


def with_cpu_level(data: bytes, level: int) -> bytes:
    """A binary that says which CPU it needs: its PT_NOTE becomes one with that property.

    Source: the x86-64 psABI, GNU_PROPERTY_X86_ISA_1_NEEDED (0xc0008002).
    """
    raw = bytearray(data)
    start, size, count = (
        struct.unpack_from("<Q", raw, 32)[0],
        *struct.unpack_from("<HH", raw, 54),
    )
    note = struct.pack("<III4sIII4x", 4, 16, 5, b"GNU\0", 0xC0008002, 4, (1 << level) - 1)
    for at in range(start, start + size * count, size):
        if struct.unpack_from("<I", raw, at)[0] in (4, 0x6474E553):  # PT_NOTE, PT_GNU_PROPERTY
            struct.pack_into("<Q", raw, at + 8, len(raw))
            struct.pack_into("<QQ", raw, at + 32, len(note), len(note))
    return bytes(raw) + note


def test_the_copy_is_what_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody writes the archive again while it is taken: nothing that was not looked at goes."""
    path = tarball(tmp_path / "e.tar.gz", {"bin/Rscript": STARTED})
    evil = tarball(tmp_path / "f.tar.gz", {"bin/Rscript": STARTED, "/etc/x": "x"}).read_bytes()
    copied = given._copied

    def then_changed(source: Path, shop: Path) -> Archive:
        done = copied(source, shop)
        source.write_bytes(evil)
        return done

    monkeypatch.setattr(given, "_copied", then_changed)
    with pytest.raises(PackingError, match="changed while it was copied"):
        take(path, tmp_path / "c")
    path.write_bytes(evil)
    monkeypatch.setattr(given, "_copied", copied)
    listing = given.read_listing

    def before_listing(copy: Path, named: Path) -> object:
        path.write_bytes(b"something else")
        return listing(copy, named)

    monkeypatch.setattr(given, "read_listing", before_listing)
    with pytest.raises(PackingError, match="/etc/x would be unpacked outside"):
        take(path, tmp_path / "c")


def bad(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def special(path: Path, kind: bytes, target: str) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, of_kind in (("bin/python", tarfile.REGTYPE), ("odd", kind)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = of_kind, target if name == "odd" else ""
            tar.addfile(info)
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
    "absolute link": (
        lambda p: tarball(p / "e.tar.gz", {"bin/python": "x"}, {"share/x": "/etc/passwd"}),
        "share/x is a link that leads out of the archive, to /etc/passwd",
        "cp -rL",
    ),
    "link with dots": (
        lambda p: tarball(p / "e.tar.gz", {"bin/python": "x"}, {"share/x": "../../x"}),
        "share/x is a link that leads out",
        "cp -rL",
    ),
    "link through links": (
        lambda p: tarball(
            p / "e.tar.gz", {"bin/python": "x"}, {"a/b/top": "../..", "a/b/out": "top/../x"}
        ),
        "a/b/out is a link that leads out",
        "cp -rL",
    ),
    "through a link": (
        lambda p: tarball(p / "e.tar.gz", {"bin/python": "x", "l/x": "x"}, {"l": "bin"}),
        "l/x would be unpacked through the link l",
        "tar -C",
    ),
    "hard link": (
        lambda p: special(p / "e.tar.gz", tarfile.LNKTYPE, "../../etc/passwd"),
        "odd is a link to a file outside",
        "tar -C",
    ),
    "device": (
        lambda p: special(p / "e.tar.gz", tarfile.CHRTYPE, ""),
        "odd is a device or a pipe",
        "tar -C",
    ),
    "xz": (
        lambda p: bad(p / "e.tar.xz", b"\xfd7zXZ\0...."),
        "packed with xz",
        "`xz -dc e.tar.xz | gzip > env.tar.gz`",
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
    (file.parent / "build/lib.x").mkdir(parents=True)
    (file.parent / "build/lib.x/old.py").write_text("not part of it")
    assert known_environment(how, Path("/"), tmp_path / "c") == made
    (file.parent / "backend.py").write_text(BACKEND + "# changed\n")
    assert known_environment(how, Path("/"), tmp_path / "c") is None


def test_all_of_a_project_is_copied_but_what_is_known_not_to_belong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    top = tmp_path / "p"
    belongs = [
        "data/table.csv", "inputs/__init__.py", "build/backend.py", "dist/readme", "results/r.txt",
        "env/config.toml", "batches/make.py", "src/pkg/data/x",
    ]  # fmt: skip
    not_part = [
        ".git/x", ".venv/x", "env2/pyvenv.cfg", "env2/x", "build2/__pycache__/x.pyc",
        "outputs/a.npy", "x.egg-info/PKG-INFO", "src/node_modules/x",
    ]  # fmt: skip
    for name in (*belongs, *not_part):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text("x")
    (top / "outputs/a.npy").write_bytes(os.urandom(5000))
    monkeypatch.setattr(projects, "LARGE", 4097)
    found = {one.name for one in projects._project_members(top) if one.source}
    assert found == set(belongs)
    assert projects.large_data(top) == [top / "outputs"]
    for name in ("build/backend.py", "dist/readme", "batches/make.py"):
        (top / name).unlink()
    for name in ("build/lib.linux/x", "dist/p-1.0.tar.gz", "batches/p-2026/sweep.yaml"):
        (top / name).parent.mkdir(parents=True) if not (top / name).parent.exists() else None
        (top / name).write_text("x")
    left = {one.name for one in projects._project_members(top) if one.source}
    assert left == found - {"build/backend.py", "dist/readme", "batches/make.py"}


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
    assert f"Here are {OWN}, 3.97, 3.99. " in caught.value.fix and "uv" in caught.value.fix
    with pytest.raises(PackingError) as caught:
        standalone.chosen_python("3.98", place=Place("sweep.yaml", 3, 11))
    assert caught.value.where == "sweep.yaml:3:11"


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
    assert missing({"torch"}, None) == []
    assert missing({"torch"}, ()) == ["torch"]  # an environment without packages


def test_only_what_a_job_never_needs_is_stripped() -> None:
    site = "lib/python3.11/site-packages"
    needless = {
        f"{site}/numpy/tests", f"{site}/numpy/tests/test_a.py", f"{site}/numpy/core/lib/n.a",
        f"{site}/numpy/include/numpy/n.h", f"{site}/x/__pycache__/y.pyc", "include/python3/P.h",
        "lib/libz.a", f"{site}/numpy/n.pxd", "lib/python3.11/test/t.py", "lib/R/library/a/tests/b",
    }  # fmt: skip
    needed = {
        f"{site}/numpy/testing/__init__.py", f"{site}/include.py", f"{site}/x/include/__init__.py",
        "bin/test", f"{site}/x/test.py", "lib/libz.so.1",
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
