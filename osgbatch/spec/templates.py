"""Text with placeholders: `{name}` is a column, `{index}` the task, `{{` a brace."""

from __future__ import annotations

import re

from osgbatch.errors import SpecError
from osgbatch.model import Place, Template

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|\{|\}")


def parse_template(text: str, place: Place) -> Template:
    """Parse text with placeholders; whether their names are known is for the planner to say.

    Raises SpecError, pointing at it, for a single brace.
    """
    parts = [""]
    position = 0
    for match in _TOKEN.finditer(text):
        parts[-1] += text[position : match.start()]
        position = match.end()
        token = match[0]
        if token in ("{{", "}}"):
            parts[-1] += token[0]
        elif match[1] is None:
            raise SpecError(
                f'single "{token}" in a text with placeholders',
                place.at(token),
                fix=f'Write "{token}{token}" for a brace, {{name}} for a column.',
            )
        else:
            parts += [match[1].strip(), ""]
    parts[-1] += text[position:]
    return Template(tuple(parts), place)
