"""Text with placeholders: `{name}` is a column, `{index}` the task, `{{` a brace."""

from __future__ import annotations

import re

from osgbatch.errors import SpecError
from osgbatch.spec_model import Place, Template

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|\{|\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def parse_template(text: str, place: Place) -> Template:
    """Parse text with placeholders; whether there is a column of that name, the planner says.

    Raises SpecError, pointing at it, for a single brace, and for what no column can be called.
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
                _place(place, text, match),
                fix=f'Write "{token}{token}" for a brace, {{name}} for a column.',
            )
        else:
            name = match[1].strip()
            if not _NAME.fullmatch(name):
                said = f'no column can be called "{name}"' if name else "no column between braces"
                raise SpecError(
                    said, _place(place, text, match), fix=f"Write {{{token}}} for braces."
                )
            parts += [name, ""]
    parts[-1] += text[position:]
    return Template(tuple(parts), place)


def _place(place: Place, text: str, match: re.Match[str]) -> Place:
    """The place of a match in `text`, where the line shows the text as it is."""
    found = place.inside(text, match.start(), len(match[0]))
    return place.at(match[0]) if found is place else found
