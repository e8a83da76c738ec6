"""Environments built for real from a small wheel of our own: moved, cached, reproduced."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import threading
import zipfile
from pathlib import Path

import pytest

from osgbatch.errors import PackingError
from osgbatch.packing.environment import (
    EnvironmentArchive,
    build,
    cached_environment,
    environment_archive,
    environment_fingerprint,
    interpreter,
)
from osgbatch.packing.environment.trial import unpack
from osgbatch.spec_model import Environment

SMALL = {
    "tiny/__init__.py": "def main():\n    import sys\n    print('tiny', sys.argv[1:])\n",
    "tiny-1.0.data/scripts/tiny-script": "#!python\nimport tiny; tiny.main()\n",
    "tiny-1.0.data/data/share/tiny/data.txt": "data\n",
    "tiny-1.0.dist-info/entry_points.txt": "[console_scripts]\ntiny = tiny:main\n",
}


def wheel(folder: Path, name: str, files: dict[str, str]) -> Path:
    """Write a wheel by hand, so that these tests need neither a network nor a build tool."""
    info = f"{name}-1.0.dist-info"
    content = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\n"
        "Tag: py3-none-any\n",
    }
    rows = []
    for path, text in content.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode()
        rows.append(f"{path},sha256={digest.rstrip('=')},{len(text.encode())}")
    content[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,", ""])
    target = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(target, "w") as out:
        for path, text in content.items():
            item = zipfile.ZipInfo(path)
            item.external_attr = (0o100755 if "/scripts/" in path else 0o100644) << 16
            out.writestr(item, text)
    return target


def project(folder: Path, name: str, files: dict[str, str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    requirements = folder / "requirements.txt"
    requirements.write_text(f"./{wheel(folder, name, files).name}\n")
    return requirements


@pytest.fixture(scope="module")
def requirements(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return project(tmp_path_factory.mktemp("a project"), "tiny", SMALL)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("a cache")


@pytest.fixture(scope="module")
def packed(requirements: Path, cache: Path) -> EnvironmentArchive:
    return environment_archive(requirements, cache, lambda line: None)


@pytest.fixture(scope="module")
def unpacked(packed: EnvironmentArchive, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack(packed.path, tmp_path_factory.mktemp("x" * 130))


def run(*command: str | Path, **variables: str) -> str:
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_says_what_is_in_it(packed: EnvironmentArchive, requirements: Path) -> None:
    assert packed.packages == ("tiny==1.0",)
    assert packed.fingerprint == environment_fingerprint(requirements)
    assert packed.path.stat().st_size == packed.size < packed.unpacked_size
    assert hashlib.sha256(packed.path.read_bytes()).hexdigest() == packed.sha256
    manifest = json.loads((packed.path.parent / "manifest.json").read_text())
    assert manifest["sha256"] == packed.sha256 and manifest["python"] == packed.python


def test_it_is_its_own_python_wherever_it_lies(unpacked: Path) -> None:
    code = "import sys, os; os.chdir('/'); import ssl, sqlite3, lzma; print(sys.prefix); "
    code += "print(sys.executable); print(*sys.path[1:], sep='\\n')"
    prefix, executable, *path = run(unpacked / "bin/python", "-c", code).splitlines()
    assert Path(prefix).resolve() == unpacked
    assert executable == str(unpacked / "bin/python")
    assert all(Path(entry).resolve().is_relative_to(unpacked) for entry in path)


def test_it_starts_by_a_link_a_relative_path_and_from_path(unpacked: Path, tmp_path: Path) -> None:
    code = "import sys, os, tiny; os.chdir('/'); import _ssl; print(os.path.realpath(sys.prefix))"
    link = tmp_path / "my-python"
    link.symlink_to(unpacked / "bin/python3")
    relative = os.path.relpath(unpacked / "bin/python")
    for command in ([link], [relative], ["env", "python"], ["sh", unpacked / "bin/python"]):
        out = run(*command, "-c", code, PATH=f"{unpacked / 'bin'}:/usr/bin:/bin")
        assert out == f"{unpacked}\n"


def test_entry_points_and_scripts_start_from_a_long_path_with_blanks(unpacked: Path) -> None:
    for name in ("tiny", "tiny-script"):
        assert run(unpacked / "bin" / name, "a b", PATH="/usr/bin:/bin") == "tiny ['a b']\n"
    assert (unpacked / "share/tiny/data.txt").read_text() == "data\n"


def test_programs_that_it_starts_keep_their_own_libraries(unpacked: Path) -> None:
    code = (
        "import subprocess; print(subprocess.run(['env'], capture_output=True, text=True).stdout)"
    )
    out = run(unpacked / "bin/python", "-c", code, PATH="/usr/bin:/bin", PYTHONHOME="/nowhere")
    assert "LD_LIBRARY_PATH" not in out and "PYTHONHOME" not in out


def test_a_driver_that_the_container_brings_is_found(unpacked: Path, tmp_path: Path) -> None:
    """apptainer --nv names the folder of libcuda in LD_LIBRARY_PATH."""
    (library,) = (unpacked / "lib/system").glob("libm.so.6")
    (tmp_path / "libdriver.so.1").write_bytes(library.read_bytes())
    code = "import ctypes; ctypes.CDLL('libdriver.so.1')"
    run(unpacked / "bin/python", "-c", code, LD_LIBRARY_PATH=str(tmp_path))


def test_a_path_that_the_loader_cannot_take_is_said_so(unpacked: Path, tmp_path: Path) -> None:
    folder = tmp_path / "at 12:30/bin"
    folder.mkdir(parents=True)
    (folder / "python").write_bytes((unpacked / "bin/python").read_bytes())
    done = subprocess.run(["sh", folder / "python"], capture_output=True, text=True, check=False)
    assert done.returncode == 126 and "colon" in done.stderr


def test_processes_start_in_every_way(unpacked: Path, tmp_path: Path) -> None:
    script = tmp_path / "pools.py"
    script.write_text(
        "import multiprocessing as mp, sys\n"
        "def f(x): return x * x, sys.executable\n"
        "if __name__ == '__main__':\n"
        "    for how in ('fork', 'spawn', 'forkserver'):\n"
        "        with mp.get_context(how).Pool(1) as pool: print(pool.map(f, [3]))\n"
    )
    expected = f"[(9, {str(unpacked / 'bin/python')!r})]\n" * 3
    assert run(unpacked / "bin/python", script) == expected


def test_a_loader_that_cannot_name_a_program_is_helped(unpacked: Path, tmp_path: Path) -> None:
    """glibc before 2.33 has no --argv0: a .pth file says what sys.executable is."""
    header = interpreter.elf.read(interpreter.running_interpreter())
    assert header is not None
    (binary,) = (unpacked / "libexec").iterdir()
    loader = Path(header.interpreter).name
    old = unpacked / "bin/old-python"
    old.write_text(interpreter.wrapper(loader, f"libexec/{binary.name}", argv0=False))
    old.chmod(0o755)
    hook = unpacked / "lib" / binary.name / "site-packages/_osgbatch.pth"
    hook.write_text(interpreter._EXECUTABLE_HOOK)
    try:
        code = "import sys, os; print(sys.executable); print(os.path.realpath(sys.prefix))"
        executable, prefix = run(old, "-c", code).splitlines()
    finally:
        hook.unlink()
        old.unlink()
    assert Path(executable).resolve() == unpacked / "bin/python" and prefix == str(unpacked)


def test_another_prefix_gives_the_same_bytes(packed: EnvironmentArchive, tmp_path: Path) -> None:
    again = project(tmp_path / "another project", "tiny", SMALL)
    (again.parent / wheel(again.parent, "tiny", SMALL).name).touch()
    cache, untried = (
        tmp_path / "another, longer cache folder",
        Environment("requirements", test=False),
    )
    other = environment_archive(again, cache, lambda line: None, wanted=untried)
    assert other.sha256 == packed.sha256


def test_the_second_time_nothing_is_built(
    packed: EnvironmentArchive, requirements: Path, cache: Path
) -> None:
    said: list[str] = []
    assert environment_archive(requirements, cache, said.append) == packed
    assert said == []
    assert cached_environment(environment_fingerprint(requirements), cache) == packed
    assert cached_environment("0" * 32, cache) is None
    left = {path.name for path in (cache / "environments").iterdir()}
    assert left == {packed.fingerprint, f".{packed.fingerprint}.lock", ".packing.lock"}


@pytest.mark.parametrize("damage", ["truncated", "altered", "no archive", "no manifest"])
def test_a_damaged_entry_counts_as_none(
    packed: EnvironmentArchive, tmp_path: Path, damage: str
) -> None:
    folder = tmp_path / "environments" / packed.fingerprint
    folder.mkdir(parents=True)
    archive = folder / packed.path.name
    archive.write_bytes(packed.path.read_bytes())
    text = (packed.path.parent / "manifest.json").read_text()
    (folder / "manifest.json").write_text(text)
    assert cached_environment(packed.fingerprint, tmp_path) is not None
    if damage == "truncated":
        os.truncate(archive, 100)
    elif damage == "altered":
        with archive.open("r+b") as file:
            file.seek(1000)
            file.write(b"\0\1\2\3")
    elif damage == "no archive":
        archive.unlink()
    else:
        (folder / "manifest.json").write_text(text[:40])
    assert cached_environment(packed.fingerprint, tmp_path) is None


@pytest.fixture
def quick_build(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replace the packing proper by a small archive; gives the list of what was built."""
    built: list[str] = []

    def pack(installed: object, shop: Path, file: Path, say: object) -> object:
        built.append(file.name)
        made = build.write_archive([build.Member("x", data=b"x")], shop / "built", "environment")
        return made, ()

    monkeypatch.setattr(build, "_pack_and_try", pack)
    return built


def test_two_at_once_build_once(requirements: Path, tmp_path: Path, quick_build: list[str]) -> None:
    found: list[EnvironmentArchive] = []

    def one() -> None:
        found.append(environment_archive(requirements, tmp_path, lambda line: None))

    threads = [threading.Thread(target=one) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(quick_build) == 1 and len(set(found)) == 1


def test_refresh_builds_again(requirements: Path, tmp_path: Path, quick_build: list[str]) -> None:
    first = environment_archive(requirements, tmp_path, lambda line: None)
    second = environment_archive(requirements, tmp_path, lambda line: None, refresh=True)
    assert len(quick_build) == 2 and first == second and second.path.is_file()


def test_an_empty_file_means_python_alone(tmp_path: Path, quick_build: list[str]) -> None:
    (tmp_path / "requirements.txt").write_text("# nothing\n")
    made = environment_archive(tmp_path / "requirements.txt", tmp_path, lambda line: None)
    assert made.packages == ()


def test_what_pip_cannot_find_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("--no-index\nno-such-package-of-ours==1.0\n")
    with pytest.raises(PackingError, match=r"pip finds no no-such-package-of-ours==1\.0"):
        environment_archive(tmp_path / "requirements.txt", tmp_path / "c", lambda line: None)
    left = [path for path in (tmp_path / "c/environments").iterdir() if path.suffix != ".lock"]
    assert left == []


def test_what_cannot_be_imported_is_found_before_anything_is_submitted(tmp_path: Path) -> None:
    broken = {"broken/__init__.py": "import not_in_the_requirements\n"}
    file = project(tmp_path / "p", "broken", broken)
    with pytest.raises(PackingError, match="No module named 'not_in_the_requirements'") as caught:
        environment_archive(file, tmp_path / "c", lambda line: None)
    assert "broken cannot be imported" in str(caught.value)


def test_a_python_that_is_no_program_of_linux_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of macOS, say: there its own words tell where environments are packed."""
    (tmp_path / "python3").write_bytes(b"\xcf\xfa\xed\xfe macOS")
    with pytest.raises(PackingError, match="no dynamically linked program"):
        interpreter.header_of(tmp_path / "python3")
    monkeypatch.setattr(interpreter.sys, "platform", "darwin")
    with pytest.raises(PackingError, match="on macOS") as told:
        interpreter.header_of(tmp_path / "python3")
    assert "--host" in told.value.fix


def test_a_library_that_is_loaded_by_name_travels_too(tmp_path: Path) -> None:
    candidates = ("libmount.so.1", "libsystemd.so.0", "libudev.so.1", "libgmp.so.10")
    known = interpreter.elf.this_system().known
    names = [name for name in candidates if name in known]
    if not names:
        pytest.skip("none of the libraries is here")
    code = f"import ctypes\nctypes.CDLL({names[0]!r})\n"
    file = project(tmp_path / "p", "loader", {"loader/__init__.py": code})
    said: list[str] = []
    made = environment_archive(file, tmp_path / "c", said.append)
    assert any("loaded while it runs" in line for line in said) and made.notes == ()
    root = unpack(made.path, tmp_path / "u")
    assert (root / "lib/system" / names[0]).is_file()
    code = "import loader, sys; maps = open('/proc/self/maps').readlines(); "
    code += "print([line for line in maps if '.so' in line and sys.prefix not in line])"
    assert run(root / "bin/python", "-W", "ignore", "-c", code) == "[]\n"


def test_what_works_on_this_machine_only_is_found_too(tmp_path: Path) -> None:
    code = "import sys\nassert 'venv' in sys.prefix, 'bound to its first path'\n"
    file = project(tmp_path / "p", "bound", {"bound/__init__.py": code})
    with pytest.raises(PackingError, match="once packed: AssertionError: bound to its first path"):
        environment_archive(file, tmp_path / "c", lambda line: None)
