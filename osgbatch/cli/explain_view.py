"""How `osgbatch explain` prints."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from osgbatch import ui
from osgbatch.cli import paging

if TYPE_CHECKING:
    from osgbatch.submission.explained_words import Explained

WIDTH = 80
_BOTH = (
    "Two files would be made of this sweep. The submit file tells HTCondor what the jobs are and "
    "what they need. The shim is a shell script that HTCondor starts in place of your command, on "
    "the execution point: it looks whether the place is fit, unpacks, runs the tasks one after the "
    "other, and packs what comes back. Both follow, line by line; --submit or --shim shows one."
)
_BLANK = "~"
"""Stands for a blank at which no line is broken; no word has it."""
_MOST = 40
"""Lines of a part that are shown at most."""


def show_word(text: str, as_json: bool) -> None:
    """All that a word means. Raises OsgbatchError when nothing is known of it."""
    from osgbatch.submission.explained_words import explain

    found = explain(text)
    if as_json:
        ui.out_json([asdict(one) for one in found])
        return
    ui.out("\n\n".join(_paragraph(one) for one in found))


def _paragraph(one: Explained) -> str:
    lines = [ui.one_line(one.title), *_wrapped(one.text)]
    if one.todo:
        lines += _wrapped(one.todo)
    lines += [f"    {command}" for command in one.commands]
    lines += _leads(one)
    if one.manual:
        lines += _wrapped(f"{one.manual}")
    if one.url:
        lines.append(f"  {one.url}")
    if one.see:
        lines += _wrapped(f"See {one.see}.")
    return "\n".join(lines)


def _leads(one: Explained) -> Iterator[str]:
    """What to type next, and why, in two columns."""
    widest = max((len(lead.command) for lead in one.leads), default=0)
    for lead in one.leads:
        first = f"    {lead.command:<{widest}}  "
        yield textwrap.fill(
            lead.why, WIDTH, initial_indent=first, subsequent_indent=" " * len(first)
        )


def _wrapped(text: str, indent: str = "  ") -> list[str]:
    return textwrap.wrap(
        ui.one_line(text), WIDTH, initial_indent=indent, subsequent_indent=indent,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def show_list(as_json: bool) -> None:
    """All that can be asked."""
    from osgbatch.submission.explained_words import listed

    found = listed()
    if as_json:
        ui.out_json(found)
        return
    parts = []
    for kind, names in found.items():
        kept = ", ".join(name.replace(" ", _BLANK) for name in names)
        parts.append("\n".join([f"{kind}:", *_wrapped(kept)]))
    paging.out("\n".join(parts).replace(_BLANK, " "))


def show_sweep(
    path: Path, settings: list[str], only_submit: bool, only_shim: bool, as_json: bool
) -> None:
    """The submit file and the shim of a sweep, each line with its sentence."""
    from osgbatch.submission import explained_sweep

    made = explained_sweep.explain_sweep(path, settings)
    both = only_submit == only_shim
    parts = {
        "submit": made.submit if both or only_submit else (),
        "shim": made.shim if both or only_shim else (),
    }
    if as_json:
        shown = {name: [asdict(piece) for piece in part] for name, part in parts.items() if part}
        ui.out_json({"placeholders": list(made.placeholders), **shown})
        return
    titles = {
        "submit": "The submit file, which condor_submit is given (its comments are left out):",
        "shim": "The shim, which HTCondor starts on the execution point:",
    }
    shown_parts = []
    for name, part in parts.items():
        if part:
            body = "\n\n".join(_piece(piece) for piece in part)
            shown_parts.append(f"{titles[name]}\n\n{body}")
    if made.placeholders:
        shown_parts.append("\n".join(_wrapped(
            "<…> stands for what is known only when the sweep is submitted: "
            + ", ".join(made.placeholders) + ".", "")))  # fmt: skip
    if both:
        shown_parts.insert(0, "\n".join(_wrapped(_BOTH, "")))
    paging.out("\n\n".join(shown_parts))


def _piece(piece: object) -> str:
    from osgbatch.submission.explained_sweep import Piece

    assert isinstance(piece, Piece)
    shown = piece.lines
    if len(shown) > _MOST:  # what all shims share: its title says what it does
        shown = (*shown[:1], f"… ({len(shown) - 1} more lines; --json has them)")
    lines = [f"| {ui.one_line(line)}" for line in shown]
    told = piece.why + (f" ({piece.manual})" if piece.manual else "")
    return "\n".join([*(_cut(line) for line in lines), *_wrapped(told, "    ")])


def _cut(line: str) -> str:
    """A long line of a file over several lines, so that it stays whole at 80 columns."""
    found = textwrap.wrap(
        line, WIDTH, subsequent_indent="|   ", break_on_hyphens=False, drop_whitespace=False,
        replace_whitespace=False,
    )  # fmt: skip
    return "\n".join(part.rstrip() for part in found)
