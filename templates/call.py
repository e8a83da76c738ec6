"""Calls a Python function with a task's row and keeps what it returns: `call.py MODULE NAME`.

It runs on the execution point, in the task's folder, under any Python from 3.6 on. The row is read
from params.json; what the function returns is kept in outputs/result.json, NumPy arrays beside it
as result.npy or result-<where it was>.npy. NaN and infinities, which JSON has not, are written as
the text "NaN", "Infinity", "-Infinity".
"""

import contextlib
import datetime
import importlib
import importlib.util
import inspect
import json
import math
import os
import pathlib
import re
import sys
import traceback

try:
    import dataclasses
except ImportError:  # Python 3.6
    dataclasses = None

OUTPUTS = "outputs"


class Refused(Exception):
    """What the user can do something about, in words."""


def main(module_name, name):
    """Call MODULE's NAME with the row; exit 1 with a message if that cannot be done."""
    own = os.path.dirname(os.path.realpath(__file__))
    if sys.path and os.path.realpath(sys.path[0]) == own:  # not so under PYTHONSAFEPATH
        del sys.path[0]
    sys.path.insert(0, os.getcwd())
    try:
        with open("params.json", encoding="utf-8") as file:
            row = json.load(file)
        function = find_function(module_name, name)
        arguments = choose_arguments(function, module_name + ":" + name, row)
        result = call(function, arguments)
        if inspect.isgenerator(result) or inspect.isasyncgen(result):
            raise Refused(f"{module_name}:{name} is a generator; return its values as a list")
        keep(result)
    except Refused as error:
        flush()
        sys.stderr.write(f"osgbatch: {error}\n")
        return 1
    except Exception:
        flush()
        show_exception()
        return 1
    return 0


def flush():
    """What the function printed comes before the message about it."""
    with contextlib.suppress(Exception):
        sys.stdout.flush()


def find_function(module_name, name):
    """The function, imported; whatever fails inside the user's module is shown as it is."""
    try:
        found = importlib.import_module(module_name)
    except ImportError as error:
        missing = getattr(error, "name", None)
        # Not when something that the module imports is missing.
        if (
            isinstance(error, ModuleNotFoundError)
            and missing
            and (module_name == missing or module_name.startswith(missing + "."))
            and not user_frames(error.__traceback__)
        ):
            raise Refused(
                'there is no module "{}" to import; `files:` brings a module of your own to the '
                "task, `libraries:` a package, `environment:` what pip installs\n"
                "  looked in: {}".format(missing, ", ".join(path for path in sys.path if path))
            ) from None
        raise
    where = found
    for part in name.split("."):
        try:
            where = getattr(where, part)
        except AttributeError:
            callables = sorted(
                key
                for key, value in vars(found).items()
                if callable(value)
                and not key.startswith("_")
                and getattr(value, "__module__", None) == found.__name__
            )
            raise Refused(
                '{} has no "{}"; it has {}'.format(
                    module_name, name, ", ".join(callables) or "no functions of its own"
                )
            ) from None
    if not callable(where):
        raise Refused(f"{module_name}:{name} is no function but {a(where)}")
    return where


def choose_arguments(function, label, row):
    """Of the row, and `index`, what the function takes."""
    offered = dict(row)
    task = os.environ.get("OSGBATCH_TASK", "")
    if task:
        offered["index"] = int(task)
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # made in C, without a signature
        return row
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    required = [p.name for p in named if p.default is p.empty]
    required += [p.name for p in parameters if p.kind == p.POSITIONAL_ONLY and p.default is p.empty]
    positional = {p.name for p in parameters if p.kind == p.POSITIONAL_ONLY}
    missing = [name for name in required if name not in offered or name in positional]
    if missing:
        raise Refused(
            "{} needs {}, which the sweep has no column for; its columns: {}".format(
                label, ", ".join(missing), ", ".join(row) or "none"
            )
            if not positional.intersection(missing)
            else "{} takes {} by position only; take it by name".format(label, ", ".join(missing))
        )
    chosen = {p.name: offered[p.name] for p in named if p.name in offered}
    if any(p.kind == p.VAR_KEYWORD for p in parameters):
        chosen.update(row)
    return chosen


def call(function, arguments):
    """What the function returns; an async function is run to its end."""
    result = function(**arguments)
    if inspect.iscoroutine(result):
        import asyncio

        if hasattr(asyncio, "run"):
            return asyncio.run(result)
        loop = asyncio.new_event_loop()  # Python 3.6
        asyncio.set_event_loop(loop)
        try:
            return loop.run_until_complete(result)
        finally:
            loop.close()
    return result


# ---- what is kept ---------------------------------------------------------------------------


def keep(result):
    """Write the result whole: a name that stands in outputs/ is a complete file.

    A function that returns nothing may have written outputs/result.json itself.
    """
    if result is None and os.path.lexists(os.path.join(OUTPUTS, "result.json")):
        return
    arrays = {}
    plain = to_plain(result, "result", (), arrays, ())
    text = json.dumps(plain, indent=2, allow_nan=False) + "\n"
    os.makedirs(OUTPUTS, exist_ok=True)
    for file_name, array in arrays.items():
        save_array(os.path.join(OUTPUTS, file_name), array)
    replace(os.path.join(OUTPUTS, "result.json"), lambda file: file.write(text.encode("utf-8")))


def replace(path, write):
    """Write a file under another name, then give it its own."""
    temporary = path + ".part"
    try:
        with open(temporary, "wb") as file:
            write(file)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.remove(temporary)
        raise


def save_array(path, array):
    numpy = sys.modules["numpy"]  # there is one: it made the array
    replace(path, lambda file: numpy.save(file, array, allow_pickle=False))


def to_plain(value, path, keys, arrays, above):
    """`value` as JSON has it; arrays are put into `arrays` by the name of their file.

    path: how Python would write where it stands, for messages; keys: the same, as a tuple.
    above: the ids of what it stands in, so that nothing is followed in a circle.
    """
    if value is None or isinstance(value, (bool, str, int, float)):
        return scalar(value, path)
    if id(value) in above:
        raise Refused(f"{path} holds itself, which JSON cannot")
    above = (*above, id(value))
    if is_dataclass(value):
        fields = ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
        return {
            name: to_plain(inner, path + "." + name, (*keys, name), arrays, above)
            for name, inner in fields
        }
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return {
            name: to_plain(inner, path + "." + name, (*keys, name), arrays, above)
            for name, inner in zip(value._fields, value)  # noqa: B905
        }
    if isinstance(value, dict):
        return plain_dict(value, path, keys, arrays, above)
    if isinstance(value, (list, tuple)):
        return [
            to_plain(inner, f"{path}[{place}]", (*keys, place), arrays, above)
            for place, inner in enumerate(value)
        ]
    if isinstance(value, pathlib.PurePath):
        return scalar(str(value), path)
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if of_numpy(value):
        return from_numpy(value, path, keys, arrays, above)
    raise cannot(value, path)


def plain_dict(value, path, keys, arrays, above):
    plain = {}
    for key, inner in value.items():
        here = f"{path}[{json.dumps(key) if isinstance(key, str) else repr(key)}]"
        name = plain_key(key, here)
        if name in plain:
            raise Refused(f'{here}: there is another key that JSON would write as "{name}"')
        plain[name] = to_plain(inner, here, (*keys, name), arrays, above)
    return plain


def plain_key(key, here):
    """A dict's key as text: JSON has no others."""
    if of_numpy(key) and hasattr(key, "item"):
        key = key.item()
    if isinstance(key, str):
        return scalar(key, here)
    if key is None or isinstance(key, (bool, int, float)):
        plain = scalar(key, here)
        return plain if isinstance(plain, str) else json.dumps(plain)
    if isinstance(key, pathlib.PurePath):
        return scalar(str(key), here)
    if isinstance(key, (datetime.date, datetime.time)):
        return key.isoformat()
    raise Refused(f"{here}: a key must be text or a number in JSON, and this is {a(key)}")


def scalar(value, path):
    """Text, a number, a truth value or None; of a subclass (an enum, numpy.float64) the value."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        text = str.__str__(value)
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise Refused(f"{path}: {text!a} is text that is not UTF-8") from None
        return text
    if isinstance(value, int):
        return int.__int__(value)
    number = float.__float__(value)
    if math.isfinite(number):
        return number
    return "NaN" if number != number else "Infinity" if number > 0 else "-Infinity"


def is_dataclass(value):
    return (
        dataclasses is not None and dataclasses.is_dataclass(value) and not isinstance(value, type)
    )


def of_numpy(value):
    """Whether numpy made it; numpy is not imported for the question."""
    numpy = sys.modules.get("numpy")
    kinds = tuple(getattr(numpy, name, ()) or () for name in ("ndarray", "generic"))
    return any(isinstance(kind, type) and isinstance(value, kind) for kind in kinds)


def from_numpy(value, path, keys, arrays, above):
    numpy = sys.modules["numpy"]
    if not isinstance(value, numpy.ndarray):
        if isinstance(value, numpy.datetime64):
            return str(value)
        if isinstance(value, numpy.timedelta64):  # its number without its unit says nothing
            raise cannot(value, path)
        inner = value.item()
        # a longdouble gives itself back, a complex number is none of JSON's
        if type(inner) is type(value) and isinstance(value, numpy.floating):
            inner = float(value)
        if inner is value or of_numpy(inner):
            raise cannot(value, path)
        return to_plain(inner, path, keys, arrays, above)
    if value.dtype.hasobject:
        raise Refused(f"{path}: an array of objects cannot be kept; make it one of numbers or text")
    if isinstance(value, numpy.ma.MaskedArray):
        raise Refused(
            f"{path}: a masked array loses its mask in a file; return .filled() or .data and .mask"
        )
    file_name = array_name(keys, arrays)
    arrays[file_name] = value
    return {"$npy": file_name, "shape": list(value.shape), "dtype": str(value.dtype)}


def array_name(keys, taken):
    """result.npy, or result-<key>-<key>.npy, a `_` for what is odd in a key; never one twice."""
    words = [re.sub(r"[^A-Za-z0-9_.]+", "_", str(key)) for key in keys]
    stem = "-".join(["result", *words])[:100]
    name, number = stem, 1
    while name.lower() + ".npy" in {known.lower() for known in taken}:
        number += 1
        name = f"{stem}-{number}"
    return name + ".npy"


def cannot(value, path):
    return Refused(
        f"{path}: {a(value)} cannot be kept as JSON; "
        "return numbers, text, lists, dicts or NumPy arrays, or write files into outputs/"
    )


def a(value):
    """What a value is, for a message: `a Model`, `an Array`."""
    name = type(value).__name__
    return ("an " if name[:1].lower() in "aeiou" else "a ") + name


# ---- what went wrong ------------------------------------------------------------------------


def user_frames(frames):
    """A traceback from where this file, and Python's import machinery after it, end; or None."""
    while frames is not None:
        code = frames.tb_frame.f_code.co_filename
        ours = code == __file__ or code.startswith("<frozen importlib")
        if not ours and not in_importlib(code):
            return frames
        frames = frames.tb_next
    return None


def in_importlib(file_name):
    return os.path.dirname(os.path.abspath(file_name)) == os.path.dirname(importlib.__file__)


def show_exception():
    """The traceback as if the user's own code had been started directly."""
    kind, error, frames = sys.exc_info()
    theirs = user_frames(frames)
    traceback.print_exception(kind, error.with_traceback(theirs), theirs)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: call.py MODULE NAME")
    sys.exit(main(sys.argv[1], sys.argv[2]))
