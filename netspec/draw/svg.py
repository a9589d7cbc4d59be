"""A picture as SVG: lines, boxes, panels and captions, and the style sheet."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from html import escape

from netspec.draw.box_svg import (
    BADGE_SIZE,
    COLOURS,
    LABEL_SIZE,
    NAME_SIZE,
    TYPE_SIZE,
    draw_box,
    draw_module,
    text,
)
from netspec.draw.boxes import Picture
from netspec.draw.layout import Segment
from netspec.draw.line_captions import caption_place, line_caption
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
_INK = {
    "text": "fill:#1c2430",
    ".s": "fill:#566374",
    ".e": "fill:#8f0f1c",
    ".g": "fill:#5b6878",
    ".l": "stroke:#5d6b7a",
    ".arrow": "fill:#5d6b7a",
    ".m": "stroke:#c6ced9",
    ".m0": "fill:#f4f6f9",
    ".m1": "fill:#e9edf3",
    ".c": "fill:#eef2f7;stroke:#4a5a6e;stroke-width:1.3",
    ".k-module": "fill:#4a5a6e",
    ".wrong": "fill:#ffd9d9",
    ".b-wrong": "stroke:#d11a2a",
    ".wrong-border": "stroke:#d11a2a",
    ".p": "fill:#fff",
}
_SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" class="netspec" width="{width:.0f}" '
    'height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}">'
)
ARROW_MARK = (
    '<defs><marker id="netspec-arrow" viewBox="0 0 8 8" refX="7.5" refY="4" '
    'markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0.6 8 4 0 7.4Z" '
    'class="arrow"/></marker></defs>'
)


def to_svg(
    picture: Picture,
    root: Module,
    *,
    opened: Collection[Module] = (),
    sideways: bool = False,
) -> str:
    """Lay the picture out, top to bottom or left to right, and write it as SVG."""
    placed = place_modules(picture, root, set(opened), sideways)
    width = max(
        placed.size.width, text_width(picture.title, TITLE_SIZE, bold=True) + 48
    )
    shift = (width - placed.size.width) / 2
    parts = [
        _SVG.format(width=width, height=placed.size.height + TITLE_HEIGHT),
        f"<title>{escape(picture.title)}</title>",
        f"<style>{style(picture)}</style>",
        ARROW_MARK,
        '<rect width="100%" height="100%" fill="#fff"/>',
        text(24, 31, "h", picture.title),
        f'<g transform="translate({shift:.1f} {TITLE_HEIGHT:.0f})">',
        *_inside(picture, placed, sideways),
        "</g>",
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def style(picture: Picture) -> str:
    """Return the style sheet, with the colours of the families that are there."""
    families = {row.family for box in picture.boxes for row in box.rows}
    rules = [f".netspec text{{font-family:{FONT}}}", MARKS]
    rules += [f".netspec {selector}{{{ink}}}" for selector, ink in _INK.items()]
    for family, (fill, border) in COLOURS.items():
        if family in families:
            rules.append(f".netspec .f-{family}{{fill:{fill}}}")
            rules.append(f".netspec .b-{family}{{stroke:{border}}}")
            rules.append(f".netspec .k-{family}{{fill:{border}}}")
    return "".join(rules)


# --- marks


def _inside(
    picture: Picture, placed: Placed, sideways: bool, depth: int = 0
) -> Iterator[str]:
    """Draw lines, boxes, panels and shapes, in this order."""
    module, layout = placed.module, placed.layout
    for segment in layout.segments:
        yield _line(segment, sideways)
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


def _line(segment: Segment, sideways: bool) -> str:
    """Draw one piece: straight beside boxes, an S-curve between the ranks."""

    def point(across: float, along: float) -> str:
        x, y = _xy(across, along, sideways)
        return f"{x:.1f} {y:.1f}"

    s = segment
    middle = (s.leave + s.reach) / 2
    path = (
        f"M{point(s.x0, s.y0)}L{point(s.x0, s.leave)}"
        f"C{point(s.x0, middle)} {point(s.x1, middle)} {point(s.x1, s.reach)}"
        f"L{point(s.x1, s.y1)}"
    )
    arrow = ' marker-end="url(#netspec-arrow)"' if s.into_box else ""
    return f'<path class="l" d="{path}"{arrow}/>'
