"""Values as bytes or text with their exact types: JSON and NumPy where they fit, else pickle.

This file also travels to execution points and runs there by itself, under any Python from 3.6 on.

What fits is None, bool, int, float, str, bytes, list, tuple, dict, and NumPy's arrays and scalars
of numbers, text and times: of exactly these types, no subclasses. A value is a JSON document in
which an object with one key that begins with "$" stands for what JSON has not: {"$tuple": [...]},
{"$dict": [[key, value], ...]}, {"$float": "nan"}, {"$int": "0x..."}, {"$bytes": PART},
{"$array": PART}, {"$scalar": PART}, and {"$pickle": PART} for a whole value that does not fit. In
text a PART is base64; in bytes it is the place in a list of sizes, and the parts follow the line:

    {"value": [1, {"$array": 0}], "parts": [168]}\\n...
"""

import base64
import io
import json
import math
import sys
from typing import Any

KINDS = "biufcmMSU"
"""Kinds of NumPy's types that a .npy file keeps exactly."""
_LARGE = 1 << 2048
"""From here on an int is written as hexadecimal: Python refuses to read very long decimal ones."""


class Unfit(Exception):
    """A value does not fit; `where` it stands in the whole (value[3]["a"]), and `what` it is."""

    def __init__(self, where: str, what: str) -> None:
        super().__init__(where + " is " + what)
        self.where = where
        self.what = what


class Damaged(ValueError):
    """What should be a value is none."""


class Pickled(Exception):
    """A value is a pickle, and nobody said that it may be unpickled."""


def encode(value: Any, pickle: Any = None) -> bytes:
    """The value as bytes.

    pickle: makes bytes of a value that does not fit, as cloudpickle.dumps does; None: such a value
    raises Unfit. What pickle raises is let through.
    """
    parts = []  # type: Any

    def part(data: bytes) -> Any:
        parts.append(data)
        return len(parts) - 1

    plain = _plain(value, pickle, part, parts.clear)
    head = json.dumps({"value": plain, "parts": list(map(len, parts))}, separators=(",", ":"))
    return b"".join([head.encode("ascii"), b"\n", *parts])


def decode(data: bytes, unpickle: Any = None) -> Any:
    """The value of these bytes.

    unpickle: as pickle.loads; it runs code that the pickle names, so it is given only for what is
    trusted. None: a pickle raises Pickled. Raises Damaged; what unpickle raises is let through.
    """
    head, _, rest = data.partition(b"\n")
    parts = []  # type: Any
    try:
        document = json.loads(head.decode("ascii"))
        plain, sizes = document["value"], document["parts"]
        begin = 0
        for size in sizes:
            if type(size) is not int or not 0 <= size <= len(rest) - begin:
                raise Damaged("a part of it is missing")
            parts.append(rest[begin : begin + size])
            begin += size
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise Damaged("it is no encoded value: " + str(error)) from None

    def part(place: Any) -> bytes:
        if type(place) is not int or not 0 <= place < len(parts):
            raise Damaged("a part of it is missing")
        return bytes(parts[place])

    return _value(plain, part, unpickle)


def encode_text(value: Any, pickle: Any = None) -> str:
    """The same as `encode`, as one line of ASCII text."""
    kind = type(value)
    if kind is int and -_LARGE < value < _LARGE:  # most are
        return str(value)

    def part(data: bytes) -> Any:
        return base64.b64encode(data).decode("ascii")

    return json.dumps(_plain(value, pickle, part, None), separators=(",", ":"))


def decode_text(text: str, unpickle: Any = None) -> Any:
    """The inverse of `encode_text`; the same as `decode`."""
    try:
        plain = json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise Damaged("it is no encoded value: " + str(error)) from None

    def part(word: Any) -> bytes:
        return base64.b64decode(word, validate=True)

    return _value(plain, part, unpickle)


def fits(value: Any) -> bool:
    """Whether a value travels without pickle."""
    try:
        _Fitting(len).plain(value, "", ())
    except Unfit:
        return False
    return True


# ---- to JSON --------------------------------------------------------------------------------


def _plain(value: Any, pickle: Any, part: Any, forget: Any) -> Any:
    try:
        return _Fitting(part).plain(value, "value", ())
    except Unfit:
        if pickle is None:
            raise
    if forget is not None:
        forget()
    return {"$pickle": part(pickle(value))}


class _Fitting:
    """Makes JSON of a value, or raises Unfit. part: keeps bytes, and gives what stands for them."""

    def __init__(self, part: Any) -> None:
        self.part = part

    def plain(self, value: Any, where: str, above: Any) -> Any:
        kind = type(value)
        if value is None or kind is bool or kind is str:
            return value
        if kind is int:
            return value if -_LARGE < value < _LARGE else {"$int": hex(value)}
        if kind is float:
            return value if math.isfinite(value) else {"$float": repr(value)}
        if kind is bytes:
            return {"$bytes": self.part(value)}
        if kind is list or kind is tuple or kind is dict:
            if id(value) in above or len(above) > 200:
                raise Unfit(where, "nested in itself, or too deep")
            return self.nested(value, kind, where, (*above, id(value)))
        return self.of_numpy(value, where)

    def nested(self, value: Any, kind: Any, where: str, above: Any) -> Any:
        if kind is not dict:
            items = [
                self.plain(inner, where + "[" + str(place) + "]", above)
                for place, inner in enumerate(value)
            ]
            return items if kind is list else {"$tuple": items}
        if all(type(key) is str and key[:1] != "$" for key in value):
            return {
                key: self.plain(inner, where + "[" + repr(key) + "]", above)
                for key, inner in value.items()
            }
        pairs = []
        for key, inner in value.items():
            here = where + "[" + repr(key)[:60] + "]"
            pairs.append([self.plain(key, here, above), self.plain(inner, here, above)])
        return {"$dict": pairs}

    def of_numpy(self, value: Any, where: str) -> Any:
        numpy = sys.modules.get("numpy")  # if it made the value, it is there
        kind = type(value)
        array = getattr(numpy, "ndarray", None)
        generic = getattr(numpy, "generic", None)
        if numpy is None or array is None or generic is None:
            raise Unfit(where, _a(value))
        exact = isinstance(value, (array, generic)) and _is_kept(value.dtype)
        if exact and kind is array:
            return {"$array": self.part(_npy(numpy, value))}
        if exact and kind is value.dtype.type:
            return {"$scalar": self.part(_npy(numpy, numpy.asarray(value)))}
        raise Unfit(where, _a(value))


def _is_kept(dtype: Any) -> bool:
    """Whether a .npy file keeps a type of NumPy's exactly."""
    return dtype.kind in KINDS and dtype.itemsize > 0 and not dtype.metadata


def _npy(numpy: Any, array: Any) -> bytes:
    out = io.BytesIO()
    numpy.save(out, array, allow_pickle=False)
    return out.getvalue()


def _a(value: Any) -> str:
    name = type(value).__name__
    return ("an " if name[:1].lower() in "aeiou" else "a ") + name


# ---- from JSON ------------------------------------------------------------------------------


def _value(plain: Any, part: Any, unpickle: Any) -> Any:
    if type(plain) is dict and list(plain) == ["$pickle"]:
        try:
            data = part(plain["$pickle"])
        except (ValueError, TypeError) as error:
            raise Damaged("it is no encoded value: " + str(error)) from None
        if unpickle is None:
            raise Pickled("it is a pickle")
        return unpickle(data)
    try:
        return _read(plain, part)
    except (ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
        raise Damaged("it is no encoded value: " + str(error)) from None


def _read(plain: Any, part: Any) -> Any:
    kind = type(plain)
    if kind is list:
        return [_read(inner, part) for inner in plain]
    if kind is not dict:
        return plain
    if len(plain) == 1:
        tag, inner = next(iter(plain.items()))
        if tag[:1] == "$":
            return _tagged(tag, inner, part)
    return {key: _read(inner, part) for key, inner in plain.items()}


def _tagged(tag: str, inner: Any, part: Any) -> Any:
    if tag == "$tuple" and type(inner) is list:
        return tuple(_read(each, part) for each in inner)
    if tag == "$dict":
        return {_read(key, part): _read(each, part) for key, each in inner}
    if tag == "$float":
        return float(inner)
    if tag == "$int":
        return int(inner, 16)
    if tag == "$bytes":
        return part(inner)
    if tag == "$array":
        return _array(part(inner))
    if tag == "$scalar":
        return _array(part(inner))[()]
    raise Damaged("unknown kind of value: " + tag)


def _array(data: bytes) -> Any:
    """The array of a .npy file, no larger than the file says it is; its header is not trusted."""
    import numpy
    from numpy.lib import format as npy

    stream = io.BytesIO(data)
    version = npy.read_magic(stream)
    read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
    if read is None:
        raise Damaged("an array in an unknown format")
    shape, fortran, dtype = read(stream)
    if dtype.kind not in KINDS or any(size < 0 for size in shape):
        raise Damaged("an array of an unknown kind")
    count = 1
    for size in shape:
        count *= size
    begin = stream.tell()
    if count * dtype.itemsize != len(data) - begin or not dtype.itemsize:
        raise Damaged("an array of another size than it says")
    order = "F" if fortran else "C"  # type: Any
    if not count:
        return numpy.empty(shape, dtype, order=order)
    return numpy.frombuffer(data, dtype, count, begin).reshape(shape, order=order).copy(order="K")


__all__ = ["Damaged", "Pickled", "Unfit", "decode", "decode_text", "encode", "encode_text", "fits"]
