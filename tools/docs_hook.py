"""What mkdocs needs changed in our pages, which are written to be read as plain Markdown, too."""

from __future__ import annotations

import re
from typing import Any


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Give the second word of a fence (`yaml sweep.yaml`) as its title; our comments are for tests.

    Links out of docs/ (README.md, examples) lead nowhere in a site: their words stay.
    """
    markdown = re.sub(r"<!--.*?-->\n?", "", markdown, flags=re.S)
    markdown = re.sub(
        r"^```(\w+)[ \t]+([\w./-]+)[ \t]*$",
        lambda fence: (
            f'```{fence[1]} title="{fence[2]}"'
            if re.search(r"[./]", fence[2])
            else f"```{fence[1]}"
        ),
        markdown,
        flags=re.M,
    )
    return re.sub(r"\[([^\]]+)\]\(\.\./[^)]*\)", r"\1", markdown)
