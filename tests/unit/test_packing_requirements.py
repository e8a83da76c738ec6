"""Requirements, headers of ELF files and pip's words read; what names its first path rewritten."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osgbatch.errors import PackingError
from osgbatch.packing.archive import Member
from osgbatch.packing.environment import elf, environment_fingerprint, interpreter
from osgbatch.packing.environment.install import failure, pip_knows_python
from osgbatch.packing.environment.packages import (
    relocate_pth,
    relocate_script,
    rewrite_record,
    top_modules,
)
from osgbatch.packing.environment.requirements import check_lines, logical_lines, read_lines


def texts(text: str) -> list[str]:
    return [line.text for line in logical_lines(text, Path("r.txt"))]


def test_comments_go_and_continued_lines_are_joined() -> None:
    text = (
        "# all\nnumpy==2.0  # pinned\n\nscipy \\\n  >=1 \\\n --hash=sha256:ab\nhttps://x/y#egg=z\n"
    )
    joined = ["numpy==2.0", "scipy   >=1  --hash=sha256:ab", "https://x/y#egg=z"]
    assert texts(text) == joined
    lines = list(logical_lines(text, Path("r.txt")))
    assert [line.number for line in lines] == [2, 4, 7]


def test_included_files_are_read_relative_to_the_file_that_names_them(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "r.txt").write_text("-r sub/base.txt\n-cpins.txt\nscipy\n")
    (tmp_path / "sub/base.txt").write_text("--requirement=more.txt\n")
    (tmp_path / "sub/more.txt").write_text("numpy\n")
    (tmp_path / "pins.txt").write_text("numpy==2.0\n")
    found = [line.text for line in read_lines(tmp_path / "r.txt")]
    assert found[1:] == ["--requirement=more.txt", "numpy", "-cpins.txt", "numpy==2.0", "scipy"]
    (tmp_path / "sub/more.txt").write_text("-r base.txt\n")
    with pytest.raises(PackingError, match="includes itself"):
        read_lines(tmp_path / "r.txt")
    (tmp_path / "r.txt").write_text("-r gone.txt\n")
    with pytest.raises(PackingError, match=r"gone\.txt"):
        read_lines(tmp_path / "r.txt")


SKLEARN = """Collecting numpy
Collecting sklearn (from -r r.txt (line 1))
  error: subprocess-exited-with-error
  × Getting requirements to build wheel did not run successfully.
  │ exit code: 1
  ╰─> [15 lines of output]
      The 'sklearn' PyPI package is deprecated, use 'scikit-learn'
      rather than 'sklearn' for pip commands.
      [end of output]
  note: This error originates from a subprocess, and is likely not a problem with pip.
error: subprocess-exited-with-error
╰─> See above for output.
note: This error originates from a subprocess, and is likely not a problem with pip.
"""


@pytest.mark.parametrize("line", ["-e ./pkg", "--editable=./pkg", "-e  ./pkg # mine"])
def test_editable_requirements_are_refused_with_the_way_out(tmp_path: Path, line: str) -> None:
    (tmp_path / "r.txt").write_text(f"numpy\n{line}\n")
    with pytest.raises(PackingError, match=r"\./pkg is editable") as caught:
        check_lines(read_lines(tmp_path / "r.txt"))
    assert "r.txt:2" in str(caught.value) and "libraries:" in str(caught.value)


def test_a_fingerprint_follows_what_counts_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "r.txt"
    file.write_text("numpy==2.0\n")
    first = environment_fingerprint(file)
    file.write_text("# a comment\n\nnumpy==2.0   # why\n")
    assert environment_fingerprint(file) == first
    file.write_text("numpy==2.1\n")
    assert environment_fingerprint(file) != first
    file.write_text("numpy==2.0\n-c pins.txt\n")
    (tmp_path / "pins.txt").write_text("scipy==1\n")
    pinned = environment_fingerprint(file)
    (tmp_path / "pins.txt").write_text("scipy==2\n")
    assert environment_fingerprint(file) != pinned


def test_a_fingerprint_follows_the_content_of_a_local_package(tmp_path: Path) -> None:
    file = tmp_path / "r.txt"
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg/setup.py").write_text("1")
    file.write_text("./pkg\n")
    first = environment_fingerprint(file)
    (tmp_path / "pkg/setup.py").write_text("2")
    assert environment_fingerprint(file) != first


@pytest.mark.parametrize(
    ("output", "what", "way_out"),
    [
        (
            "ERROR: (from versions: none)\nERROR: No matching distribution found for numpi",
            "pip finds no numpi",
            "Check the name",
        ),
        (
            "ERROR: (from versions: 1.0, 2.0)\nERROR: No matching distribution found for numpy==99",
            "pip finds no numpy==99",
            "1.0, 2.0",
        ),
        ("ERROR: Cannot install a==1 and b==2 because these", "a==1 and b==2", "Loosen"),
        ("ERROR: Failed building wheel for mpi4py\nERROR: x", "cannot build mpi4py", "wheel"),
        ("Something else\nwent wrong", "pip failed", "went wrong"),
        (SKLEARN, "cannot build sklearn", "use 'scikit-learn'"),
    ],
)
def test_what_pip_says_becomes_an_error_with_a_way_out(
    output: str, what: str, way_out: str
) -> None:
    error = failure(output, Path("requirements.txt"))
    assert what in error.what and way_out in error.fix
    assert str(error).startswith("requirements.txt: ")


def test_of_a_failed_build_its_own_words_are_shown_once() -> None:
    said = failure(SKLEARN, Path("r.txt")).fix
    assert said.count("deprecated") == 1 and "originates" not in said and "╰" not in said
    trace = "\n".join(["Traceback (most recent call last):", *"abcdefghijkl", "Error: why"])
    shown = failure(SKLEARN.replace("      The", f"{trace}\nThe"), Path("r.txt")).fix
    assert "Error: why" in shown and "Traceback" not in shown


def test_old_pips_are_passed_over() -> None:
    assert [pip_knows_python(v) for v in ("22.2.9", "22.3", "25.0.1", "")] == [
        *(False, True, True, False)
    ]


def test_the_interpreter_names_its_loader_and_libc() -> None:
    header = elf.read(interpreter.running_interpreter())
    assert header is not None and "ld-" in header.interpreter
    assert any(name.startswith("libc.so") for name in header.needed)


@given(st.binary(max_size=300))
def test_damaged_elf_files_are_no_elf_files(tail: bytes) -> None:
    elf.parse(elf.MAGIC + tail)
    assert elf.parse(tail[:3]) is None


def test_a_closure_follows_libraries_of_libraries(tmp_path: Path) -> None:
    system = elf.this_system()
    needs = elf.closure([interpreter.running_interpreter()], [tmp_path], system)
    assert "libc.so.6" in needs.found and not needs.missing
    assert all(path.is_file() for path in needs.found.values())


def test_a_wheels_own_library_goes_before_this_machines(tmp_path: Path) -> None:
    system = elf.this_system()
    known = {name: paths[0] for name, paths in system.known.items()}
    headers = ((path, elf.read(path)) for path in known.values())
    wanted = {"libm.so.6", "libc.so.6"}
    using_libm = next(path for path, header in headers if header and set(header.needed) == wanted)
    site = tmp_path / "site"
    (site / "a.libs").mkdir(parents=True)
    program, own = site / "extension.so", site / "a.libs/libm.so.6"
    program.write_bytes(using_libm.read_bytes())
    own.write_bytes(known["libm.so.6"].read_bytes())
    assert "libm.so.6" in elf.closure([program], [site], system).found
    covered = elf.closure([program, own], [site], system, packages=site)
    assert "libm.so.6" not in covered.found and "libc.so.6" in covered.found


def test_drivers_never_travel() -> None:
    names = ["libcuda.so.1", "libnvidia-ml.so.1", "libcudart.so.12", "libm.so.6"]
    assert [bool(elf.DRIVERS.match(name)) for name in names] == [True, True, False, False]


def test_the_cpu_level_that_a_file_needs_is_read() -> None:
    note = struct.pack("<III4s", 4, 48, 5, b"GNU")
    features = struct.pack("<IIII", 0xC0000002, 4, 3, 0)
    for bits, level in ((1, 1), (3, 2), (4, 3), (15, 4)):
        needed = struct.pack("<IIII", elf.ISA_NEEDED, 4, bits, 0)
        assert elf.isa_level(note + features + needed, 8) == level
    assert elf.isa_level(note + features, 8) == 0


def test_variants_for_newer_cpus_are_left_out() -> None:
    text = (
        "2 libs found in cache `/etc/ld.so.cache'\n"
        "\tlibz.so.1 (libc6,x86-64, hwcap: x) => /usr/lib64/glibc-hwcaps/x86-64-v3/libz.so.1\n"
        "\tlibz.so.1 (libc6,x86-64) => /usr/lib64/libz.so.1\n"
    )
    assert elf.parse_ldconfig(text) == [("libz.so.1", Path("/usr/lib64/libz.so.1"))]


def test_packages_go_where_the_interpreter_looks() -> None:
    debian = ["local/lib/python3.11/dist-packages", "lib/python3/dist-packages"]
    debian += ["lib/python3.11/dist-packages"]
    plain = ["lib64/python3.11/site-packages", "lib/python3.11/site-packages"]
    folder = interpreter.packages_folder
    assert folder([f"/prefix/{s}" for s in debian], "3.11") == debian[2]
    assert folder([f"/prefix/{s}" for s in plain], "3.11") == plain[0]
    assert folder([], "3.12") == "lib/python3.12/site-packages"


@pytest.mark.parametrize("argv0", [True, False])
def test_the_wrapper_is_posix_shell(argv0: bool) -> None:
    text = interpreter.wrapper("ld-linux-x86-64.so.2", "libexec/python3.11", argv0)
    subprocess.run(["sh", "-n"], input=text, text=True, check=True)
    assert ("--argv0" in text) is argv0 and "export LD_LIBRARY_PATH" not in text


@pytest.mark.parametrize(
    "start",
    [
        b"#!/build dir/venv/bin/python3.11\n",
        b"#!/bin/sh\n'''exec' \"/build dir/venv/bin/python\" \"$0\" \"$@\"\n' '''\n",
    ],
)
def test_scripts_start_with_the_python_beside_them(tmp_path: Path, start: bytes) -> None:
    body = b"import sys\nprint(sys.argv[1:])\n"
    script = relocate_script(start + body, Path("/build dir/venv"))
    assert script.endswith(body) and b"/build dir" not in script
    folder = tmp_path / ("long " * 30) / "bin"
    folder.mkdir(parents=True)
    (folder / "python").symlink_to(sys.executable)
    (folder / "tool").write_bytes(script)
    (folder / "tool").chmod(0o755)
    (tmp_path / "link").symlink_to(folder / "tool")
    for path in (folder / "tool", tmp_path / "link"):
        done = subprocess.run([path, "a b", "$x"], capture_output=True, text=True, check=True)
        assert done.stdout == "['a b', '$x']\n"


@pytest.mark.parametrize("data", [b"\x7fELF\x02\x01", b"#!/bin/bash\npython x\n", b""])
def test_other_programs_stay_as_they_are(data: bytes) -> None:
    assert relocate_script(data, Path("/venv")) == data


def test_pth_files_are_made_relative_or_refused() -> None:
    site, venv = Path("/v/lib/python3.11/site-packages"), Path("/v")
    data = b"# c\nimport x; x.y()\n/v/lib/python3.11/site-packages/sub\nother\n"
    moved = relocate_pth(data, site / "a.pth", site, venv)
    assert moved == b"# c\nimport x; x.y()\nsub\nother\n"
    with pytest.raises(PackingError, match="/home/me/src"):
        relocate_pth(b"/home/me/src\n", site / "a.pth", site, venv)


def test_a_record_lists_what_travels_with_its_hashes() -> None:
    name = "lib/python3.11/site-packages/a-1.dist-info/RECORD"
    members = {
        "lib/python3.11/site-packages/a.py": Member("x", source=Path("a.py")),
        "bin/a": Member("bin/a", data=b"hello"),
        name: Member(name, source=Path("RECORD")),
    }
    text = (
        "../../../bin/a,sha256=old,3\n__pycache__/a.cpython-311.pyc,,\na.py,sha256=kept,1\n"
        "a-1.dist-info/direct_url.json,sha256=x,1\na-1.dist-info/RECORD,,\n"
    )
    assert rewrite_record(text, name, members) == (
        "../../../bin/a,sha256=LPJNul-wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ,5\n"
        "a-1.dist-info/RECORD,,\na.py,sha256=kept,1\n"
    )


def test_what_a_package_is_imported_as() -> None:
    files = ["numpy/__init__.py", "numpy/core/__init__.py", "six.py", "tests/__init__.py"]
    assert top_modules(files) == ("numpy", "six")
    assert top_modules(["google/cloud/storage/__init__.py"]) == ("google.cloud.storage",)
    assert top_modules(["_cffi_backend.cpython-311-x86_64-linux-gnu.so"]) == ("_cffi_backend",)
    assert top_modules(["../../../bin/x", "x-1.dist-info/RECORD", "a-b.py"]) == ()
    assert top_modules(["_yaml/__init__.py", "yaml/__init__.py"]) == ("yaml",)
