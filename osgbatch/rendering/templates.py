"""Where the Jinja templates are, and how they are filled."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from osgbatch.rendering.rows import shell_word


def template_folder() -> Path:
    """The templates: in the wheel, or in the checkout that osgbatch runs from."""
    package = Path(__file__).parent.parent
    shipped = package / "_templates"
    return shipped if shipped.is_dir() else package.parent / "templates"


def submit_value(text: str) -> str:
    """`text` as the value of a submit command: `$` would start a macro."""
    return text.replace("$", "$(DOLLAR)")


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template_folder()),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters["sh"] = shell_word
    environment.filters["value"] = submit_value
    return environment


def fill(template: str, values: Mapping[str, Any]) -> str:
    """The template's text with its values; a missing value is an error."""
    return _environment().get_template(template).render(values)
