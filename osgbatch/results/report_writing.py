"""Writes the report of a batch: the page, the figures, the text; never over files of others."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from osgbatch import exits, names
from osgbatch.batches.folder import Batch
from osgbatch.batches.writing import write_bytes
from osgbatch.errors import OsgbatchError
from osgbatch.rendering.templates import template_folder
from osgbatch.reporting.data import Report
from osgbatch.reporting.notebook import MARK
from osgbatch.results.reported import report_of

PAGE = "report.html"
LOOKED_AT = 8192
"""Bytes at the start of a file in which our mark stands, if it is ours."""
OURS = {
    "page": re.compile(
        rb"<!doctype html>\n(?:(?!<title>).)*"
        rb'\n<meta name="generator" content="osgbatch [^"<>\n]*">\n',
        re.DOTALL,
    ),
    "text": re.compile(re.escape(MARK.encode()) + rb"\r?\n"),
    "figure": re.compile(
        rb"\x89PNG\r\n\x1a\n.*?\x00\x00\x00\x11tEXtSoftware\x00osgbatch", re.DOTALL
    ),
}
"""How files begin that are written anew: any other may be somebody's work that names osgbatch."""


@dataclass(frozen=True)
class Written:
    """What was made: kind and path of each file."""

    report: Report
    paths: tuple[tuple[str, Path], ...]

    @property
    def exit_code(self) -> int:
        """As of `osgbatch status`: tasks that have not ended have not failed."""
        return exits.SOME_FAILED if self.report.wrong else exits.OK


def write(
    batch: Batch, out: Path | None, png: Path | None, md: Path | None, *, page: bool = True
) -> Written:
    """Make the report of a batch as it is now.

    out: the page, `results/report.html` of the batch where it is None; page: whether it is wanted;
    png: a folder for the figures; md: a text. Files that were there and are no report of osgbatch
    are left alone: OsgbatchError, before anything is written.
    """
    target = out if out is not None else batch.folder / names.RESULTS / PAGE
    if page and (out is not None or os.path.lexists(target)):
        _free(target, "page")
    if md is not None:
        _free(md, "text")
    if png is not None:
        from osgbatch.reporting import png as drawn

        drawn.check()
        _may_hold_figures(png)
    report = report_of(batch)
    paths: list[tuple[str, Path]] = []
    if page:
        from osgbatch.reporting.html import page as made

        if out is None:
            target.parent.mkdir(exist_ok=True)
        text = made(report, template_folder())
        write_bytes(target, text.encode("utf-8", "replace"))
        paths.append(("report", target))
    if md is not None:
        from osgbatch.reporting.notebook import notebook

        write_bytes(md, notebook(report).encode("utf-8", "replace"))
        paths.append(("notebook", md))
    if png is not None:
        paths += _pictures(report, png)
    return Written(report, tuple(paths))


def _free(path: Path, kind: str) -> None:
    """Raises OsgbatchError when something else is at a path, or it cannot be written to.

    kind: one of OURS, which may be there.
    """
    if path.is_dir():
        raise OsgbatchError("this is a folder", where=str(path), fix="Name a file to write.")
    if not path.parent.is_dir():
        raise OsgbatchError(
            "there is no such folder", where=str(path.parent), fix="Make it, or name another."
        )
    if not os.path.lexists(path):
        return
    try:
        with path.open("rb") as stream:
            start = stream.read(LOOKED_AT)
    except OSError as error:
        raise OsgbatchError(
            f"cannot be written: {error.strerror}", where=str(path), fix="Name another file."
        ) from None
    if start and not OURS[kind].match(start):
        raise OsgbatchError(
            "this file is there already, and is no report of osgbatch",
            where=str(path),
            fix="Name another one, or remove it.",
        )


def _may_hold_figures(folder: Path) -> None:
    """Raises OsgbatchError when figures cannot be put there; nothing is made yet."""
    for path in (folder, *folder.absolute().parents):
        if os.path.lexists(path):
            break
    if path.is_dir():
        return
    what = "this is a link to nothing" if path.is_symlink() else "this is a file, and no folder"
    raise OsgbatchError(what, where=str(path), fix="Name a folder for the figures: --png figures/")


def _pictures(report: Report, folder: Path) -> Iterator[tuple[str, Path]]:
    """The figures as PNG."""
    from osgbatch.reporting.figures import all_figures
    from osgbatch.reporting.png import write_png

    folder.mkdir(parents=True, exist_ok=True)
    made = [(folder / f"{name}.png", drawing) for name, drawing in all_figures(report)]
    for path, _ in made:
        _free(path, "figure")
    for path, drawing in made:
        write_png(drawing, path)
        yield "figure", path
