"""Drawings as PNG, by matplotlib: in an extra, since it is large and few access points need it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from osgbatch.errors import OsgbatchError
from osgbatch.reporting.scene import INKS, Area, Boxes, Dots, Drawing, Line, clean

MARGIN = 16.0
SCALE = 2.0
"""Pixels of the picture for one of the drawing: sharp on paper and on a projector."""


def _matplotlib() -> Any:
    """matplotlib's object that draws. Raises OsgbatchError where it is not installed."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise OsgbatchError(
            f"--png draws with matplotlib, which cannot be loaded here: {error}",
            fix='Install it: pip install "osgbatch[report]". The HTML page does without.',
        ) from None
    return Figure, FigureCanvasAgg


def check() -> None:
    """Raises OsgbatchError where no PNG can be drawn."""
    _matplotlib()


def colour(ink: str) -> str:
    """An ink on white paper, or a colour as it is."""
    return ink if ink.startswith("#") else INKS[ink][0]


def write_png(drawing: Drawing, path: Path) -> None:
    """Draw into a new file, whole or not at all. Raises OsgbatchError, OSError."""
    make_figure, make_canvas = _matplotlib()
    wide, high = drawing.width + 2 * MARGIN, drawing.height + 2 * MARGIN
    figure = make_figure(figsize=(wide / 100, high / 100), dpi=100 * SCALE, facecolor="white")
    make_canvas(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(-MARGIN, drawing.width + MARGIN)
    axes.set_ylim(drawing.height + MARGIN, -MARGIN)
    axes.set_axis_off()
    for item in drawing.items:
        _add(axes, item)
    temporary = path.with_name(f".{path.name}.part")
    try:
        figure.savefig(temporary, format="png", metadata={"Software": "osgbatch"})
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _add(axes: Any, item: object) -> None:
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    points_per_pixel = 0.72
    if isinstance(item, Boxes):
        boxes = [Rectangle((x, y), w, h) for x, y, w, h in item.boxes]
        axes.add_collection(PatchCollection(boxes, facecolor=colour(item.ink), edgecolor="none"))
    elif isinstance(item, Line):
        xs, ys = zip(*item.points, strict=True) if item.points else ((), ())
        width = item.width * points_per_pixel
        style = (0, (4, 3)) if item.dashes else "-"
        axes.plot(xs, ys, color=colour(item.ink), linewidth=width, linestyle=style, zorder=2)
    elif isinstance(item, Area):
        xs, ys = zip(*item.points, strict=True) if item.points else ((), ())
        axes.fill(xs, ys, color=colour(item.ink), alpha=item.opacity, linewidth=0)
    elif isinstance(item, Dots):
        if item.points:
            xs, ys = zip(*item.points, strict=True)
            size = (2 * item.radius * points_per_pixel) ** 2
            ink = colour(item.ink)
            if item.cross:
                axes.scatter(xs, ys, s=size, marker="x", color=ink, linewidths=1.1, zorder=3)
            else:
                axes.scatter(xs, ys, s=size, color=ink, alpha=item.opacity, linewidths=0, zorder=3)
    else:
        _text(axes, item, points_per_pixel)


def _text(axes: Any, item: Any, points_per_pixel: float) -> None:
    axes.text(
        item.x,
        item.y,
        clean(item.text),
        color=colour(item.ink),
        fontsize=item.size * points_per_pixel * 0.92,  # DejaVu is wider than what pages use
        ha={"start": "left", "middle": "center", "end": "right"}[item.anchor],
        va="baseline",
        fontweight="bold" if item.bold else "normal",
        rotation=90 if item.turned else 0,
        rotation_mode="anchor",
        parse_math=False,
        zorder=4,
    )
