"""calls/values.py: what fits comes back with its exact type, and nothing else is trusted."""

from __future__ import annotations

import json
import math
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from osgbatch.calls import values
from osgbatch.calls.values import Damaged, Pickled, Unfit, decode, decode_text, encode, encode_text

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(alphabet=st.characters())
    | st.binary(),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text() | st.integers() | st.tuples(st.text()), inner)
    ),
    max_leaves=12,
)


def same(one: Any, other: Any) -> bool:
    """Equal, of the same types all the way down, and no number is another."""
    return type(one) is type(other) and repr(one) == repr(other)


@given(PLAIN)
def test_what_fits_comes_back_as_it_was(value: Any) -> None:
    assert same(decode(encode(value)), value)
    text = encode_text(value)
    assert text.isascii()
    assert text.isprintable()
    assert same(decode_text(text), value)


ARRAYS = [
    numpy.arange(6).reshape(2, 3),
    numpy.asfortranarray(numpy.ones((2, 3), "f4")),
    numpy.arange(10, dtype=">i2")[::3],
    numpy.array(["a", "bc"]),
    numpy.array([b"x"]),
    numpy.zeros((0, 3)),
    numpy.array(5),
    numpy.array([1 + 2j]),
    numpy.array(["2026-01-02"], "M8[D]"),
    numpy.array([True]),
]


@pytest.mark.parametrize("array", ARRAYS, ids=repr)
def test_arrays_and_their_scalars_keep_type_and_shape(array: numpy.ndarray[Any, Any]) -> None:
    found = decode(encode({"a": array}))["a"]
    assert (type(found), found.dtype, found.shape) == (type(array), array.dtype, array.shape)
    assert (found == array).all()
    assert found.flags.writeable
    for scalar in array.flat:
        back = decode_text(encode_text([scalar]))[0]
        assert type(back) is type(scalar)
        assert back == scalar


class Number(int):
    """A subclass, of which JSON would make another type."""


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ([{1}], "value[0] is a set"),
        ({"a": (Number(3),)}, "value['a'][0] is a Number"),
        (numpy.array([None]), "value is a ndarray"),
        (numpy.ma.array([1]), "value is a MaskedArray"),
        ({(1, "x"): object()}, "value[(1, 'x')] is an object"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_named_or_pickled(value: Any, where: str) -> None:
    with pytest.raises(Unfit, match=r".*") as caught:
        encode(value)
    assert str(caught.value) == where
    assert not values.fits(value)
    with pytest.raises(Pickled):
        decode(encode(value, pickle.dumps))
    assert type(decode(encode(value, pickle.dumps), pickle.loads)) is type(value)
    assert type(decode_text(encode_text(value, pickle.dumps), pickle.loads)) is type(value)


def test_a_list_in_itself_does_not_fit() -> None:
    value: list[Any] = [1]
    value.append(value)
    with pytest.raises(Unfit, match="nested in itself"):
        encode(value)


def npy(header: str, data: bytes = b"") -> bytes:
    """A .npy file with any header."""
    text = header.encode().ljust(117) + b"\n"
    part = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data
    return json.dumps({"value": {"$array": 0}, "parts": [len(part)]}).encode() + b"\n" + part


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"[" * 100_000,
        b'{"value": 1}\n',
        b'{"value": {"$bytes": 0}, "parts": [5]}\nabc',
        b'{"value": {"$bytes": 0}, "parts": [-1]}\nabc',
        b'{"value": {"$bytes": 7}, "parts": []}\n',
        b'{"value": {"$bytes": true}, "parts": [0]}\n',
        b'{"value": {"$other": 7}, "parts": []}\n',
        b'{"value": {"$dict": [[[1], 2]]}, "parts": []}\n',
        b'{"value": {"$dict": 3}, "parts": []}\n',
        b'{"value": {"$float": "x"}, "parts": []}\n',
        b'{"value": {"$pickle": 9}, "parts": []}\n',
        b'{"value": ' + b"[" * 5000 + b"]" * 5000 + b', "parts": []}\n',
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }", b"12345678"),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }", b"12345678"),
        npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", b"12345678"),
        npy("__import__('os')"),
        npy("{'descr': '<U0', 'fortran_order': False, 'shape': (1000000000000,), }"),
    ],
    ids=lambda data: repr(data[:40]),
)
def test_what_an_execution_point_makes_up_is_refused(data: bytes) -> None:
    with pytest.raises((Damaged, Pickled)):
        decode(data, unpickle=pickle.loads)


def test_it_runs_by_itself_under_the_python_of_the_system(tmp_path: Path) -> None:
    python = "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else sys.executable
    (tmp_path / "copied.py").write_bytes(Path(values.__file__).read_bytes())
    value = {"a": [1, (2.5, b"x")], 3: math.inf}
    code = "import sys, copied; sys.stdout.buffer.write(copied.encode(copied.decode(%r)))"
    done = subprocess.run(
        [python, "-c", code % encode(value)], cwd=tmp_path, capture_output=True, check=True
    )
    assert same(decode(done.stdout), value)
