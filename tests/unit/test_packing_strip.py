"""What is stripped where something compiles while a task runs."""

from __future__ import annotations

import pytest

from osgbatch.packing.archive import Member
from osgbatch.packing.environment.strip import compilers, note, strip

SITE = "lib/python3.11/site-packages"
HEADERS = {"include/python3.11/Python.h", f"{SITE}/numpy/_core/include/numpy/n.h", "lib/libx.a"}
NEEDLESS = {f"{SITE}/numpy/tests/test_a.py", f"{SITE}/x/__pycache__/y.cpython-311.pyc"}


@pytest.mark.parametrize(
    ("compiling", "name"),
    [
        (f"{SITE}/triton/backends/include/cuda.h", "triton"),
        (f"{SITE}/torch/utils/cpp_extension.py", "torch"),
        (f"{SITE}/cffi/api.py", "cffi"),
        (f"{SITE}/pyximport/__init__.py", "pyximport"),
        (f"{SITE}/numba/core.py", "numba"),
        ("lib/R/library/Rcpp/DESCRIPTION", "Rcpp"),
        ("bin/x86_64-conda-linux-gnu-g++", "bin/x86_64-conda-linux-gnu-g++"),
        ("bin/gcc-12", "bin/gcc-12"),
        ("bin/nvcc", "bin/nvcc"),
    ],
)
def test_headers_stay_where_something_compiles(compiling: str, name: str) -> None:
    names = {*HEADERS, *NEEDLESS, compiling}
    left = strip(Member(one, data=b"12") for one in names)
    assert {member.name for member in left.members} == {*HEADERS, compiling}
    assert left.compiling == (name,)
    assert name in note(left.files, left.bytes, left.compiling)


def test_headers_go_where_nothing_compiles() -> None:
    harmless = {"bin/python", "bin/gcd", "bin/accelerate", f"{SITE}/torchvision/io.py", "bin/ccx"}
    left = strip(Member(one, data=b"12") for one in {*HEADERS, *NEEDLESS, *harmless})
    assert {member.name for member in left.members} == harmless
    assert compilers(harmless) == () and "headers" in note(left.files, left.bytes)


def test_the_note_says_that_bytecode_is_left_out_too() -> None:
    assert note(0, 0).endswith("nothing to leave out but bytecode")
    assert "1 file of" in note(1, 3 << 20) and "3.0 MB; and bytecode" in note(1, 3 << 20)
