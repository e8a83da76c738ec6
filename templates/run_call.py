"""Runs one call on an execution point: `python -m osgbatch_call`, in the task's folder.

This file travels as `__main__.py` of a package that osgbatch makes (calls/package.py), beside
`values.py` and `call.py`, and runs under any Python from 3.6 on. The row says what to call with;
what comes of it is one file in outputs/: what the function returned, or what it raised.
"""

import json
import os
import pickle
import platform
import sys
import traceback

from . import call, values

HERE = os.path.dirname(os.path.abspath(__file__))


class Refused(Exception):
    """What the user can do something about, in words."""


def main():
    """Call the function; exit 1 when it raised, with its traceback on stderr."""
    with open(os.path.join(HERE, "call.json"), encoding="utf-8") as file:
        told = json.load(file)
    if os.getcwd() not in sys.path and "" not in sys.path:  # PYTHONSAFEPATH
        sys.path.insert(0, os.getcwd())
    try:
        check_python(told["python"])
        with open("params.json", encoding="utf-8") as params:
            row = json.load(params)
        function, arguments, names = what_to_call(told, row)
        result = call.call(lambda: function(*arguments, **names), {})
        data = encoded(result, told["plain"])
    except Refused as error:
        call.flush()
        sys.stderr.write(f"osgbatch: {error}\n")
        keep(told["raised"], raised(error, ""))
        return 1
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        call.flush()
        frames = own_frames(error.__traceback__)
        text = "".join(traceback.format_exception(type(error), error, frames))
        sys.stderr.write(text)
        keep(told["raised"], raised(error, text))
        return 1
    keep(told["returned"], data)
    return 0


def check_python(wanted):
    """A function travels as bytecode, which another minor version cannot run."""
    if list(sys.version_info[:2]) != wanted:
        raise Refused(
            "this is Python {}, and the function was sent by Python {}.{}, whose code it cannot "
            "run; give `environment=` one with that version".format(
                platform.python_version(), *wanted
            )
        )


def what_to_call(told, row):
    """The function, its positional arguments and those by name, of a row."""
    number = int(row.get("function", 0))
    begin, end = told["functions"][number]
    with open(os.path.join(HERE, "functions.bin"), "rb") as file:
        file.seek(begin)
        function = loads(file.read(end - begin), "the function")
    form = told["form"]
    if "block" in row:
        with open(os.path.join("inputs", row["block"]), "rb") as file:
            file.seek(int(row["offset"]))
            text = file.read(int(row["size"])).decode("ascii")
    else:
        text = row[form]
    try:
        value = values.decode_text(text, loads)
    except ImportError as error:  # of NumPy
        raise missing("the item", error) from None
    if form == "item":
        return function, (value,), {}
    return function, value[0], value[1]


def loads(data, what="the item"):
    """Unpickle what the user's own osgbatch sent."""
    try:
        return pickle.loads(data)
    except ImportError as error:
        raise missing(what, error) from None


def missing(what, error):
    return Refused(
        f"{what} needs {error.name or error}, which is not here: `environment=` brings what pip "
        "installs, `libraries=` a package of your own"
    )


def encoded(result, plain):
    """What the function returned, as bytes. plain: without pickle."""
    if plain:
        try:
            return values.encode(result)
        except values.Unfit as error:
            what = str(error).replace("value", "what it returned", 1)
            raise Refused(what + ", which plain=True does not let come back") from None
    try:
        return values.encode(result, dumps)
    except Exception as error:
        name = type(result).__name__
        raise Refused(
            f"what it returned, {name}, cannot be pickled: {type(error).__name__}: {error}"
        ) from None


def dumps(value):
    import cloudpickle

    return cloudpickle.dumps(value, protocol=4)


def raised(error, text):
    """An exception as bytes: in words, and pickled where that can be done."""
    refused = isinstance(error, Refused)
    pickled = None
    if not refused:
        try:
            pickled = dumps(error)
        except BaseException:  # whatever a class of the user's does
            pickled = None
    try:
        message = str(error)
    except Exception:
        message = ""
    return values.encode(
        {
            "type": "" if refused else type(error).__name__,
            "message": message,
            "traceback": text,
            "pickle": pickled,
        }
    )


def keep(path, data):
    """Write a file whole: under another name, then its own."""
    folder = os.path.dirname(path)
    if folder:
        os.makedirs(folder, exist_ok=True)
    with open(path + ".part", "wb") as file:
        file.write(data)
    os.replace(path + ".part", path)


def own_frames(frames):
    """A traceback without the frames of this file and of call.py."""
    ours = {__file__, call.__file__, pickle.__file__}
    while frames is not None and frames.tb_frame.f_code.co_filename in ours:
        frames = frames.tb_next
    return frames


if __name__ == "__main__":
    sys.exit(main())
