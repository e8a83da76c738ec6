"""Functions and items as bytes: cloudpickle, the user's own modules by value."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import sysconfig
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from osgbatch.calls import values
from osgbatch.errors import OsgbatchError

PROTOCOL = 4
"""Of pickle: that of Python 3.6, though the function's code needs the very minor version."""
_LOCK = threading.Lock()
"""cloudpickle keeps what goes by value in one place for all threads."""


class PickleError(OsgbatchError):
    """A function or an item cannot travel."""


class Pickler:
    """Pickles what belongs to one batch of calls.

    by_reference: top-level names of modules that tasks are brought by `libraries` and `files`.
    Modules that are neither Python's own nor installed, and so are not in any environment, go by
    value: those beside the script, or beside the notebook.
    """

    def __init__(self, by_reference: Collection[str] = ()) -> None:
        self._by_reference = frozenset(by_reference)
        self._loaded = 0
        self._own: list[ModuleType] = []

    @contextmanager
    def _ready(self) -> Iterator[None]:
        """The user's own modules are known to cloudpickle meanwhile."""
        import cloudpickle

        with _LOCK:
            known = cloudpickle.list_registry_pickle_by_value()
            own = [m for m in self._own_modules() if m.__name__ not in known]
            for module in own:
                cloudpickle.register_pickle_by_value(module)
            try:
                yield
            finally:
                for module in own:
                    cloudpickle.unregister_pickle_by_value(module)

    def _own_modules(self) -> list[ModuleType]:
        """The user's own modules, looked for again when modules were loaded since."""
        loaded = len(sys.modules)
        if self._loaded != loaded:
            self._loaded, self._own = loaded, own_modules(self._by_reference)
        return self._own

    def function(self, function: Callable[..., Any]) -> bytes:
        """A function. Raises PickleError, which says what of it cannot travel."""
        if not callable(function):
            raise PickleError(
                f"{_short(function)} cannot be called",
                fix="The first argument is a function, then come the items.",
            )
        try:
            with self._ready():
                return dumps(function)
        except Exception as error:
            raise PickleError(
                f"the function {name_of(function)} cannot be pickled: {_told(error)}",
                fix="Open files, locks and connections inside of the function.",
            ) from error

    def item(self, value: Any, name: str) -> str:
        """An item as one line of text. name: for messages, `item 3`. Raises PickleError."""
        try:
            try:
                return values.encode_text(value)
            except values.Unfit:
                with self._ready():
                    return values.encode_text(value, dumps)
        except Exception as error:
            raise PickleError(
                f"{name} cannot be pickled: {_told(error)}: {_short(value)}",
                fix="Nothing was submitted. Send what the task needs to make it there.",
            ) from error


def dumps(value: Any) -> bytes:
    """A pickle of any value that cloudpickle can."""
    import cloudpickle

    data: bytes = cloudpickle.dumps(value, protocol=PROTOCOL)
    return data


def own_modules(besides: Collection[str] = ()) -> list[ModuleType]:
    """The modules that are loaded here and that no environment would bring: the user's own.

    besides: top-level names that are left out.
    """
    found: dict[str, ModuleType] = {}
    for name, module in sorted(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if not isinstance(module, ModuleType) or not isinstance(file, str) or name == "__main__":
            continue
        top = name.partition(".")[0]
        if top in besides or top == "osgbatch" or top in found or module.__name__ != name:
            continue
        if file.endswith(".py") and not _is_installed(file):
            found[name] = module
    return list(found.values())


@cache
def _is_installed(file: str) -> bool:
    return os.path.realpath(file).startswith(_installed())


@cache
def _installed() -> tuple[str, ...]:
    """Folders of what Python brings or pip installs, each with a slash at its end."""
    import cloudpickle

    folders = set(sysconfig.get_paths().values())
    folders.update(path for path in sys.path if re.search("(site|dist)-packages/*$", path))
    folders.add(str(Path(cloudpickle.__file__).parents[1]))  # wherever it was put
    folders.discard("")
    bins = {sysconfig.get_path("scripts"), sysconfig.get_path("data")}
    return ("/usr/lib/", *(os.path.realpath(folder) + "/" for folder in folders - bins))


def name_of(function: Callable[..., Any]) -> str:
    """What a function is called: `simulate`; of a partial that of its function."""
    inner = getattr(function, "func", function)
    name = getattr(inner, "__name__", "") or type(inner).__name__
    return "function" if name == "<lambda>" else str(name)


def _told(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else f"{text[:300]}..."


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:
        text = f"a {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:77]}..."


def cloudpickle_files() -> Iterator[tuple[str, bytes]]:
    """The files of the cloudpickle that is here, with their names below PYTHONPATH.

    It travels, so that tasks have the very one that the function was pickled with.
    """
    spec = importlib.util.find_spec("cloudpickle")
    assert spec is not None and spec.origin is not None
    folder = Path(spec.origin).parent
    for path in sorted(folder.glob("*.py")):
        yield f"cloudpickle/{path.name}", path.read_bytes()
