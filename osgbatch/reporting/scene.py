"""A drawing of few kinds of shapes, in colours that have a meaning; written as SVG.

The same drawing is written as PNG by another module: what a figure looks like is worked out once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape

Point = tuple[float, float]
Box = tuple[float, float, float, float]
"""x, y, width, height in pixels; y grows downwards."""

INKS: dict[str, tuple[str, str]] = {
    "paper": ("#ffffff", "#16191d"),
    "ink": ("#1d2329", "#e8eaed"),
    "soft": ("#5d6770", "#a3adb7"),
    "line": ("#d9dee3", "#363d45"),
    "band": ("#eef1f4", "#22272d"),
    "ok": ("#1f6fa8", "#5aa9de"),
    "bad": ("#d1540a", "#f2853f"),
    "held": ("#e3a008", "#f0bd3c"),
    "gone": ("#7b858e", "#8d97a1"),
    "unknown": ("#3f464d", "#c3cad1"),
    "run": ("#8fc1e3", "#2f6d98"),
    "move": ("#b9a3c9", "#7d6591"),
    "wait": ("#dfe4e8", "#343a41"),
    "mark": ("#8a2f5d", "#e58fba"),
}
"""The colours, on light and on dark paper. Okabe and Ito's blue and vermillion, which all who are
colour-blind tell apart, stand for what succeeded and what did not."""
STATE_INKS = {
    "succeeded": "ok", "failed": "bad", "held": "held", "removed": "gone", "unknown": "unknown",
    "running": "run", "suspended": "gone", "transferring input": "move",
    "transferring output": "move", "waiting": "wait",
    "good": "ok", "overhead": "run", "lost": "unknown", "evicted": "held", "open": "wait",
}  # fmt: skip

VIRIDIS = (
    "#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30",
    "#fde725",
)  # fmt: skip
"""Nine of matplotlib's viridis: even steps to every eye, also in print without colours."""
STEPS = 24


def ramp(share: float) -> str:
    """The colour of a heat map for 0 (low) to 1 (high), one of STEPS."""
    at = min(max(round(share * (STEPS - 1)), 0), STEPS - 1) / (STEPS - 1) * (len(VIRIDIS) - 1)
    low = min(int(at), len(VIRIDIS) - 2)
    pair = (VIRIDIS[low], VIRIDIS[low + 1])
    parts = [[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in pair]
    mixed = (round(a + (b - a) * (at - low)) for a, b in zip(*parts, strict=True))
    return "#" + "".join(f"{part:02x}" for part in mixed)


@dataclass(frozen=True)
class Boxes:
    """Filled rectangles of one colour: an ink, or one of `ramp`."""

    boxes: tuple[Box, ...]
    ink: str
    tip: str = ""


@dataclass(frozen=True)
class Line:
    """A line through points; dashes: it is broken."""

    points: tuple[Point, ...]
    ink: str
    width: float = 1.0
    dashes: bool = False


@dataclass(frozen=True)
class Area:
    """A filled outline."""

    points: tuple[Point, ...]
    ink: str
    opacity: float = 1.0


@dataclass(frozen=True)
class Dots:
    """Small marks: round, or crosses for what has failed."""

    points: tuple[Point, ...]
    ink: str
    radius: float = 2.5
    cross: bool = False
    opacity: float = 1.0


@dataclass(frozen=True)
class Text:
    """One line of text. anchor: start, middle or end; size in pixels; turned: read upwards."""

    x: float
    y: float
    text: str
    ink: str = "ink"
    anchor: str = "start"
    size: float = 12.0
    bold: bool = False
    turned: bool = False


Item = Boxes | Line | Area | Dots | Text


@dataclass
class Drawing:
    """A figure in pixels. title: what it shows, for those who cannot see it."""

    width: float
    height: float
    title: str
    items: list[Item] = field(default_factory=list)

    def boxes(self, boxes: Iterable[Box], ink: str, tip: str = "") -> None:
        """Add rectangles; those without an area are left out."""
        kept = tuple(box for box in boxes if box[2] > 0 and box[3] > 0)
        if kept:
            self.items.append(Boxes(kept, ink, tip))

    def line(
        self, points: Iterable[Point], ink: str, width: float = 1.0, *, dashes: bool = False
    ) -> None:
        """Add a line."""
        self.items.append(Line(tuple(points), ink, width, dashes))

    def area(self, points: Iterable[Point], ink: str, opacity: float = 1.0) -> None:
        """Add a filled outline."""
        self.items.append(Area(tuple(points), ink, opacity))

    def dots(
        self,
        points: Iterable[Point],
        ink: str,
        radius: float = 2.5,
        *,
        cross: bool = False,
        opacity: float = 1.0,
    ) -> None:
        """Add marks."""
        self.items.append(Dots(tuple(points), ink, radius, cross, opacity))

    def text(
        self,
        x: float,
        y: float,
        text: str,
        ink: str = "ink",
        anchor: str = "start",
        size: float = 12.0,
        *,
        bold: bool = False,
        turned: bool = False,
    ) -> None:
        """Add a line of text."""
        self.items.append(Text(x, y, text, ink, anchor, size, bold, turned))


def text_width(text: str, size: float = 12.0) -> float:
    """Pixels that a text takes, about: fonts differ. Wide characters (CJK) take twice as much."""
    return sum(1.0 if ord(c) > 0x2E7F else 0.57 for c in text) * size


def fitted(text: str, room: float, size: float = 12.0) -> str:
    """A text that takes no more pixels than there are, its beginning and its end kept."""
    if text_width(text, size) <= room:
        return text
    fit = max(3, int(room / (0.57 * size)))
    head = (fit - 1) // 2
    return f"{text[:head]}…{text[len(text) - (fit - 1 - head) :]}"


# --- SVG ------------------------------------------------------------------------------------------

_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
"""What XML and terminals do not take."""


def clean(text: str) -> str:
    """A text without control characters and halves of characters, on one line."""
    return " ".join(_UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text).split())


def line(text: str) -> str:
    """A line that a program wrote, with its blanks, and without control characters."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text.expandtabs(4)).rstrip()


def escaped(text: str) -> str:
    """A text from anywhere as text and as an attribute of HTML and SVG."""
    return escape(clean(text), quote=True)


def svg(drawing: Drawing, name: str = "") -> str:
    """A drawing for a page whose style sheet knows the inks: f-ok fills, s-ok strokes.

    name: a class of its own.
    """
    size = f'viewBox="0 0 {_n(drawing.width)} {_n(drawing.height)}"'
    label = f'role="img" aria-label="{escaped(drawing.title)}"'
    parts = [f'<svg class="figure {escaped(name)}" {size} {label}>']
    parts += map(_element, drawing.items)
    parts.append("</svg>")
    return "".join(parts)


def _n(number: float) -> str:
    text = f"{number:.1f}"
    return text[:-2] if text.endswith(".0") else text


def _fill(ink: str) -> str:
    return f'fill="{ink}"' if ink.startswith("#") else f'class="f-{ink}"'


def _path(points: Sequence[Point]) -> str:
    return "M" + "L".join(f"{_n(x)} {_n(y)}" for x, y in points)


def _element(item: Item) -> str:
    if isinstance(item, Boxes):
        path = "".join(f"M{_n(x)} {_n(y)}h{_n(w)}v{_n(h)}h{_n(-w)}z" for x, y, w, h in item.boxes)
        tip = f"<title>{escaped(item.tip)}</title>" if item.tip else ""
        return f'<path {_fill(item.ink)} d="{path}">{tip}</path>'
    if isinstance(item, Line):
        dashes = ' stroke-dasharray="4 3"' if item.dashes else ""
        width = f' stroke-width="{_n(item.width)}"' if item.width != 1 else ""
        return f'<path class="s-{item.ink}"{width}{dashes} d="{_path(item.points)}"/>'
    if isinstance(item, Area):
        opacity = f' fill-opacity="{item.opacity:.2g}"' if item.opacity != 1 else ""
        return f'<path {_fill(item.ink)}{opacity} d="{_path(item.points)}z"/>'
    if isinstance(item, Dots):
        return _dots(item)
    anchor = f' text-anchor="{item.anchor}"' if item.anchor != "start" else ""
    bold = ' font-weight="600"' if item.bold else ""
    turned = f' transform="rotate(-90 {_n(item.x)} {_n(item.y)})"' if item.turned else ""
    return (
        f'<text {_fill(item.ink)} x="{_n(item.x)}" y="{_n(item.y)}" font-size="{_n(item.size)}"'
        f"{anchor}{bold}{turned}>{escaped(item.text)}</text>"
    )


def _dots(item: Dots) -> str:
    r = item.radius
    opacity = f' opacity="{item.opacity:.2g}"' if item.opacity != 1 else ""
    if item.cross:
        wide = _n(2 * r)
        path = "".join(
            f"M{_n(x - r)} {_n(y - r)}l{wide} {wide}m0 -{wide}l-{wide} {wide}"
            for x, y in item.points
        )
        return f'<path class="s-{item.ink}" stroke-width="1.5"{opacity} d="{path}"/>'
    # A line of no length with round ends is a dot, in a fifth of the bytes of a circle.
    path = "".join(f"M{_n(x)} {_n(y)}h0" for x, y in item.points)
    return (
        f'<path class="s-{item.ink}" stroke-linecap="round" stroke-width="{_n(2 * r)}"{opacity} '
        f'd="{path}"/>'
    )
