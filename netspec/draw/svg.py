"""A picture as SVG: lines, boxes, panels and captions, and the style sheet."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from html import escape

from netspec.draw.box_svg import (
    BADGE_SIZE,
    LABEL_SIZE,
    NAME_SIZE,
    TYPE_SIZE,
    draw_box,
    draw_module,
    text,
)
from netspec.draw.boxes import Picture
from netspec.draw.colours import colour_rules
from netspec.draw.layout import Segment
from netspec.draw.line_captions import caption_place, line_caption
from netspec.draw.measures import ARROW, ARROW_WIDTH, STRAIGHT
from netspec.draw.modules import Module
from netspec.draw.nested import (
    HEADER_SIZE,
    Placed,
    header_width,
    place_modules,
)
from netspec.draw.text_width import text_width

FONT = "Helvetica,Arial,'Liberation Sans',sans-serif"
TITLE_SIZE = 17.0
TITLE_HEIGHT = 44.0

MARKS = (
    f".netspec .n{{font-size:{NAME_SIZE}px;font-weight:bold}}"
    f".netspec .t{{font-size:{TYPE_SIZE}px}}"
    f".netspec .s,.netspec .e{{font-size:{LABEL_SIZE}px}}"
    f".netspec .g{{font-size:{HEADER_SIZE}px;font-weight:bold}}"
    f".netspec .h{{font-size:{TITLE_SIZE}px;font-weight:bold}}"
    ".netspec .l{fill:none;stroke-width:1.4}"
    ".netspec .b{fill:none;stroke-width:1.3}"
    ".netspec .b-wrong,.netspec .wrong-border{stroke-width:2.6}"
    f".netspec .p{{font-size:{BADGE_SIZE}px;font-weight:bold}}"
)
_SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" class="netspec netspec-{theme}" '
    'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}" '
    'style="max-width:100%;height:auto">'
)


def to_svg(
    picture: Picture,
    root: Module,
    *,
    opened: Collection[Module] = (),
    sideways: bool = False,
    theme: str = "auto",
) -> str:
    """Lay the picture out, top to bottom or left to right, and write it as SVG."""
    placed = place_modules(picture, root, set(opened), sideways)
    width = max(
        placed.size.width, text_width(picture.title, TITLE_SIZE, bold=True) + 48
    )
    shift = (width - placed.size.width) / 2
    parts = [
        _SVG.format(theme=theme, width=width, height=placed.size.height + TITLE_HEIGHT),
        f"<title>{escape(picture.title)}</title>",
        f"<style>{style(picture, theme)}</style>",
        '<rect class="back" width="100%" height="100%" rx="8"/>',
        text(24, 31, "h", picture.title),
        f'<g transform="translate({shift:.1f} {TITLE_HEIGHT:.0f})">',
        *_inside(picture, placed, sideways),
        "</g>",
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def style(picture: Picture, theme: str) -> str:
    """Return the style sheet, with the colours of the families that are there."""
    families = {row.family for box in picture.boxes for row in box.rows}
    font = f".netspec text{{font-family:{FONT}}}"
    return font + MARKS + colour_rules(families, theme)


# --- marks


def _inside(
    picture: Picture, placed: Placed, sideways: bool, depth: int = 0
) -> Iterator[str]:
    """Draw lines, boxes, panels and shapes, in this order."""
    module, layout = placed.module, placed.layout
    yield from _lines(layout.segments, sideways)
    for node, child in enumerate(module.children, len(module.entries)):
        size = placed.sizes[node]
        x, y = _xy(*layout.centres[node], sideways)
        x, y = x - size.width / 2, y - size.height / 2
        yield f'<g transform="translate({x:.1f} {y:.1f})">'
        if node in placed.insides:
            yield from _panel(picture, placed.insides[node], sideways, depth)
        elif isinstance(child, Module):
            yield draw_module(child, picture, size)
        else:
            yield draw_box(picture.boxes[child], module, size)
        yield "</g>"
    for line, start in zip(module.lines, layout.starts, strict=True):
        caption = line_caption(picture, module, line)
        if caption and line.source not in placed.insides:
            place = caption_place(*_xy(*start, sideways), sideways)
            yield text(*place, "s", caption)


def _panel(
    picture: Picture, placed: Placed, sideways: bool, depth: int
) -> Iterator[str]:
    """Draw an open module: a pale panel with its name, and what it holds."""
    width = header_width(placed.module)
    yield (
        f'<rect class="m m{depth % 2}" width="{placed.size.width:.1f}" '
        f'height="{placed.size.height:.1f}" rx="10"/>'
    )
    yield from _inside(picture, placed, sideways, depth + 1)
    yield (
        f'<rect class="m{depth % 2}" x="8" y="5" width="{width + 8:.1f}" height="17" '
        f'rx="4"/>'
    )
    yield text(12, 18, "g", placed.module.header)


def _xy(across: float, along: float, sideways: bool) -> tuple[float, float]:
    """Turn a place in the layout, whose flow is downwards, into one on the page."""
    return (along, across) if sideways else (across, along)


def _lines(segments: Sequence[Segment], sideways: bool) -> Iterator[str]:
    """Draw every net: straight beside boxes, S-curves between the ranks, arrows.

    Each is one path, in which nothing is drawn twice, as that would look thicker.
    """
    nets: dict[int, _NetPath] = {}
    for segment in segments:
        nets.setdefault(segment.net, _NetPath(sideways)).add(segment)
    for net in nets.values():
        yield f'<path class="l" d="{"".join(net.line)}"/>'
        if net.arrows:
            yield f'<path class="arrow" d="{"".join(net.arrows)}"/>'


class _NetPath:
    """The pieces of the paths of one net."""

    def __init__(self, sideways: bool) -> None:
        self.sideways = sideways
        self.line: list[str] = []
        self.arrows: list[str] = []
        self._begun: set[tuple[float, float]] = set()
        self._end: tuple[float, float] | None = None

    def add(self, s: Segment) -> None:
        """Add a segment; the segments of a net come from its start on."""
        start = s.x0, s.y0
        straight = abs(s.x0 - s.x1) < STRAIGHT
        if start in self._begun:
            self.line.append(f"M{self._point(s.x0, s.leave)}")
        else:
            if start != self._end:
                self.line.append(f"M{self._point(*start)}")
            if not straight:
                self.line.append(self._along(s.leave))
        self._begun.add(start)
        if not straight:
            middle = (s.leave + s.reach) / 2
            ends = (s.x0, middle), (s.x1, middle), (s.x1, s.reach)
            self.line.append("C" + " ".join(self._point(*end) for end in ends))
        self.line.append(self._along(s.y1 - (ARROW / 2 if s.into_box else 0)))
        self._end = s.x1, s.y1
        if s.into_box:
            side, back = ARROW_WIDTH / 2, s.y1 - ARROW
            self.arrows.append(
                f"M{self._point(s.x1 - side, back)}L{self._point(s.x1, s.y1)}"
                f"L{self._point(s.x1 + side, back)}Z"
            )

    def _point(self, across: float, along: float) -> str:
        x, y = _xy(across, along, self.sideways)
        return f"{x:.1f} {y:.1f}"

    def _along(self, place: float) -> str:
        return f"{'H' if self.sideways else 'V'}{place:.1f}"
