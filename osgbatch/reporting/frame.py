"""Axes, their marks and names, and keys of colours: what figures have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from osgbatch.reporting.quantities import Axis
from osgbatch.reporting.scene import Drawing, fitted, text_width

SMALL = 11.0
KEY_ROW = 18.0


@dataclass(frozen=True)
class Frame:
    """Where a figure is drawn: pixels of its left, top, right and bottom, and its two scales."""

    left: float
    top: float
    right: float
    bottom: float
    across: Axis
    up: Axis

    def x(self, number: float) -> float:
        """Pixels from the left for a number on the lower axis."""
        return self.left + self.across.share(number) * (self.right - self.left)

    def y(self, number: float) -> float:
        """Pixels from the top for a number on the other axis."""
        return self.bottom - self.up.share(number) * (self.bottom - self.top)


def framed(
    drawing: Drawing,
    across: Axis,
    up: Axis,
    *,
    top: float,
    name: str,
    above: str = "",
    bottom: float | None = None,
    right: float = 14.0,
    rules: bool = True,
) -> Frame:
    """Draw the axes; gives the place that is left.

    name: of the lower axis; above: of the other one, which stands over it, level, to be read
    without turning one's head.
    """
    labels = [text for _, text in up.marks]
    left = max((text_width(text, SMALL) for text in labels), default=0.0) + 10
    low = drawing.height - 38 if bottom is None else bottom
    if above:
        drawing.text(0, top + 9, fitted(above, drawing.width, SMALL), "soft", size=SMALL)
        top += 20
    frame = Frame(left, top, drawing.width - right, low, across, up)
    for number, text in up.marks:
        y = frame.y(number)
        if rules and top - 1 <= y <= low + 1:
            drawing.line([(left, y), (frame.right, y)], "line")
        drawing.text(left - 6, y + 4, text, "soft", "end", SMALL)
    drawing.line([(left, low), (frame.right, low)], "soft")
    marks(drawing, frame, name)
    return frame


def marks(drawing: Drawing, frame: Frame, name: str) -> None:
    """The marks of the lower axis, as many as have room, and its name."""
    taken = -1e9
    for number, text in frame.across.marks:
        x = frame.x(number)
        half = text_width(text, SMALL) / 2
        if not frame.left - 1 <= x <= frame.right + 1:
            continue
        drawing.line([(x, frame.bottom), (x, frame.bottom + 4)], "soft")
        x = min(x, drawing.width - half)
        if x - half < taken + 4:
            continue
        taken = x + half
        drawing.text(x, frame.bottom + 16, text, "soft", "middle", SMALL)
    if name:
        unit = frame.across.unit
        room = frame.right - frame.left
        shown = fitted(f"{name} ({unit})" if unit else name, room, SMALL)
        middle = (frame.left + frame.right) / 2
        drawing.text(middle, frame.bottom + 32, shown, "soft", "middle", SMALL)


def key(drawing: Drawing, top: float, entries: Sequence[tuple[str, str]]) -> float:
    """Colours and what they stand for, in rows; gives where the next thing may begin.

    entries: ink and text.
    """
    x, y = 0.0, top
    for ink, text in entries:
        wide = 14 + text_width(text, SMALL) + 16
        if x and x + wide > drawing.width + 10:
            x, y = 0.0, y + KEY_ROW
        drawing.boxes([(x, y + 2, 10, 10)], ink)
        drawing.text(x + 14, y + 11, text, "ink", size=SMALL)
        x += wide
    return y + KEY_ROW if entries else top


def key_rows(width: float, entries: Sequence[tuple[str, str]]) -> int:
    """How many rows a key takes."""
    probe = Drawing(width, 0, "")
    return round(key(probe, 0.0, entries) / KEY_ROW)
