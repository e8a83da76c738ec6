"""The Jinja templates, and how they are filled."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from typing import Any

import jinja2

from osgbatch.places import cache_folder
from osgbatch.places import template_folder as template_folder
from osgbatch.rendering.rows import shell_word


def submit_value(text: str) -> str:
    """`text` as the value of a submit command: `$` would start a macro."""
    return text.replace("$", "$(DOLLAR)")


class _Compiled(jinja2.FileSystemBytecodeCache):
    """Templates that were compiled once, in the user's own cache; to compile ours takes 40 ms.

    It is a cache: where it cannot be read or written, they are compiled each time.
    """

    def __init__(self) -> None:
        super().__init__(str(cache_folder() / "templates"), "%s.compiled")

    def load_bytecode(self, bucket: jinja2.bccache.Bucket) -> None:
        """What was compiled of this very text by this very Jinja, if it is there."""
        with suppress(OSError):
            if os.stat(self.directory).st_uid == os.getuid():
                super().load_bytecode(bucket)

    def dump_bytecode(self, bucket: jinja2.bccache.Bucket) -> None:
        """Keep it, under a name that follows from the template's path."""
        with suppress(OSError):
            os.makedirs(self.directory, mode=0o700, exist_ok=True)
            super().dump_bytecode(bucket)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template_folder()),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
        bytecode_cache=_Compiled(),
    )
    environment.filters["sh"] = shell_word
    environment.filters["value"] = submit_value
    return environment


def fill(template: str, values: Mapping[str, Any]) -> str:
    """The template's text with its values; a missing value is an error."""
    return _environment().get_template(template).render(values)
