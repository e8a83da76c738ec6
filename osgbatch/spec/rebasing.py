"""Makes the paths of a file of settings start from another folder: that of the spec."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from osgbatch.names import SWEEP_WORDS
from osgbatch.spec.document import Document, Loc
from osgbatch.spec.environment_kinds import ENVIRONMENT_KINDS, environment_kind
from osgbatch.spec.gathering import is_function
from osgbatch.spec.profiles import is_profile_path


def rebase(document: Document, folder: Path, home: Path) -> None:
    """Rewrite the paths in a document that start from `folder`, so that they start from `home`.

    Both are real folders. URLs, absolute paths and `none` stay; so do the values of columns that
    are no files, and `"{column}"`, of which nobody knows what it will be. Places stay too.
    """
    prefix = os.path.relpath(folder, home)
    if prefix != "." and isinstance(document.data, dict):
        _Rebase(document, prefix).all()


class _Rebase:
    def __init__(self, document: Document, prefix: str) -> None:
        self.document = document
        self.prefix = prefix

    def all(self) -> None:
        data = self.document.data
        self._each(data, ("libraries",), self._pattern)
        self._inputs(data, ("files",), self._pattern)
        self._change(data, ("results_to",), self._path)
        for key in ("inputs", "related"):
            self._inputs(data, (key,))
        if isinstance(gather := data.get("gather"), dict):
            self._change(gather, ("gather", "script"), self._path)
            self._inputs(gather, ("gather", "inputs"))
        else:
            self._change(data, ("gather",), lambda t: t if is_function(t) else self._path(t))
        self._change(data, ("profile",), lambda t: self._path(t) if is_profile_path(t) else t)
        if isinstance(data.get("environment"), dict):
            for kind in ENVIRONMENT_KINDS:
                here = ("environment", kind)
                certain = kind in ("requirements", "prefix")
                self._change(data["environment"], here, self._path if certain else self._maybe)
            self._each(data["environment"], ("environment", "channels"), self._channel)
        else:
            self._change(data, ("environment",), self._maybe)
        if isinstance(data.get("sweep"), dict):
            self._columns(data["sweep"], ("sweep",))

    def _columns(self, sweep: dict[str, Any], loc: Loc) -> None:
        """The columns and tables of `sweep:`, or of a zip in it."""
        for key, value in sweep.items():
            here = (*loc, key)
            if key == "table":
                self._each(sweep, here, self._path)
            elif key == "zip" and isinstance(value, dict):
                self._columns(value, here)
            elif key == "zip" and isinstance(value, list):
                for i, part in enumerate(value):
                    if isinstance(part, dict):
                        self._columns(part, (*here, i))
            elif key not in SWEEP_WORDS and isinstance(value, dict):
                self._each(value, (*here, "files"), self._glob)
                self._each(value, (*here, "lines"), self._path)

    def _inputs(
        self, data: dict[str, Any], loc: Loc, path: Callable[[str], str] | None = None
    ) -> None:
        """Inputs, or files; path: makes the new path of the latter."""
        value = data.get(str(loc[-1]))
        if not isinstance(value, list):  # one entry
            self._entry(data, loc, path or self._input)
            return
        for i in range(len(value)):
            self._entry(value, (*loc, i), path or self._input)

    def _entry(self, holder: Any, loc: Loc, path: Callable[[str], str]) -> None:
        """A path, `{path: …}`, or `{source: target}`."""
        item = holder.get(loc[-1]) if isinstance(holder, dict) else holder[loc[-1]]
        if not isinstance(item, dict):
            self._change(holder, loc, path)
        elif "path" in item:
            self._change(item, (*loc, "path"), path)
        else:
            holder[loc[-1]] = self._renamed(item, loc, path)

    def _renamed(
        self, item: dict[str, Any], loc: Loc, path: Callable[[str], str]
    ) -> dict[str, Any]:
        """`{source: target}`: the source is a key."""
        found: dict[str, Any] = {}
        for source, target in item.items():
            new = path(source) if target is not None else source
            found[new] = target
            if new != source:
                self._move((*loc, source), (*loc, new))
        return found

    def _move(self, old: Loc, new: Loc) -> None:
        document = self.document
        tables: tuple[dict[Loc, Any], ...] = (document.keys, document.values, document.texts)
        for table in tables:
            if old in table:
                table[new] = table.pop(old)

    # --- one value --------------------------------------------------------------------------

    def _each(self, holder: Any, loc: Loc, new: Callable[[str], str]) -> None:
        """Change a text, or each text of a list."""
        value = holder.get(loc[-1])
        if isinstance(value, list):
            if value and isinstance(value[0], dict):  # the rows of a table
                return
            for i in range(len(value)):
                self._change(value, (*loc, i), new)
        else:
            self._change(holder, loc, new)

    def _change(self, holder: Any, loc: Loc, new: Callable[[str], str]) -> None:
        key = loc[-1]
        value = holder.get(key) if isinstance(holder, dict) else holder[key]
        if isinstance(value, str) and value.strip():
            holder[key] = self.document.texts[loc] = new(value)

    def _path(self, text: str, prefix: str = "") -> str:
        if text.startswith(("/", "~/")) or "://" in text:
            return text
        return f"{prefix or self.prefix}/{text.removeprefix('./')}"

    def _maybe(self, text: str) -> str:
        """An environment: a file's path, or a word such as `none`."""
        return self._path(text) if "/" in text or environment_kind(text) else text

    def _channel(self, text: str) -> str:
        """A channel of conda: a folder, or a name, `conda-forge/label/dev`."""
        return self._path(text) if text.startswith(("./", "../")) else text

    def _pattern(self, text: str) -> str:
        """A path, or a pattern."""
        return self._glob(text) if glob.has_magic(text) else self._path(text)

    def _glob(self, text: str) -> str:
        return self._path(text, glob.escape(self.prefix))

    def _input(self, text: str) -> str:
        """A path with placeholders, or `@list` of paths."""
        if text.startswith("{") and not text.startswith("{{"):
            return text
        if text.startswith("@"):
            return f"@{self._path(text[1:], _no_placeholders(self.prefix))}"
        prefix = _no_placeholders(glob.escape(self.prefix) if glob.has_magic(text) else self.prefix)
        return self._path(text, prefix)


def _no_placeholders(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
