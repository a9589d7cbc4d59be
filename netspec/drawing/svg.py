"""A picture as SVG text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from itertools import accumulate

from netspec.drawing.boxes import Box, Picture, Row
from netspec.drawing.grid import Size
from netspec.drawing.layout import Segment, lay_out
from netspec.drawing.text import shape_text, text_width

NAME_SIZE, TYPE_SIZE, LABEL_SIZE, TITLE_SIZE = 12.5, 11.0, 10.5, 17.0
MAIN_HEIGHT, ROW_HEIGHT = 40.0, 20.0  # of a box's own layer, of a layer stacked on it
PADDING = 11.0
MIN_WIDTH = 84.0
RADIUS = 6.0
TITLE_HEIGHT = 44.0
LABEL_HEIGHT = 17.0
LABEL_OVERHANG = 10.0  # how far a label may stand out below its box

# family: (fill, border)
COLOURS = {
    "data": ("#e3e8ee", "#66788c"),
    "convolution": ("#cfe2fb", "#2f6fc2"),
    "dense": ("#cdeee6", "#17826b"),
    "pooling": ("#fbdccb", "#c4581f"),
    "normalization": ("#e6daf8", "#7446b5"),
    "activation": ("#fdf2c4", "#a8850a"),
    "joining": ("#dbf0cf", "#4d8a24"),
    "loss": ("#fad2d8", "#bf2b44"),
    "output": ("#f9d9ee", "#a8377f"),
    "other": ("#ececec", "#707070"),
}
_STYLE = (
    "text{font-family:Helvetica,Arial,'Liberation Sans',sans-serif;fill:#1c2430}"
    f".n{{font-size:{NAME_SIZE}px;font-weight:bold}}"
    f".t{{font-size:{TYPE_SIZE}px}}"
    f".s{{font-size:{LABEL_SIZE}px;fill:#566374}}"
    ".g{font-size:12px;font-weight:bold;fill:#7d8896}"
    f".h{{font-size:{TITLE_SIZE}px;font-weight:bold}}"
    ".l{fill:none;stroke:#5d6b7a;stroke-width:1.4}"
    ".m{fill:#f5f7fa;stroke:#d5dbe3}"
    ".p{font-size:9px;font-weight:bold;fill:#fff}"
)
_SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" '
    'height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}">'
)
_ARROW = (
    '<defs><marker id="a" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="7" '
    'markerHeight="7" orient="auto"><path d="M0 0.6 8 4 0 7.4Z" fill="#5d6b7a"/>'
    "</marker></defs>"
)


def to_svg(picture: Picture, *, sideways: bool = False) -> str:
    """Lay the picture out, top to bottom or left to right, and write it as SVG."""
    nets = [blob.net for blob in picture.blobs]
    labels: list[list[float]] = [[] for _ in picture.boxes]
    for blob in picture.blobs:
        if blob.shape is not None:
            labels[blob.net.source].append(
                text_width(shape_text(blob.shape), LABEL_SIZE)
            )
    sizes = [_size(*pair) for pair in zip(picture.boxes, labels, strict=True)]
    widest = max((width for each in labels for width in each), default=0.0)
    if sideways:
        turned = [Size(size.height, size.width) for size in sizes]
        layout = lay_out(turned, nets, widest + 8 if widest else 0.0)
    else:
        roomy = [
            Size(
                max([size.width] + [2 * (width - LABEL_OVERHANG) for width in each]),
                size.height,
            )
            for size, each in zip(sizes, labels, strict=True)
        ]
        layout = lay_out(roomy, nets, LABEL_HEIGHT if widest else 0.0)
    centres = [_xy(*centre, sideways) for centre in layout.centres]
    starts = [_xy(*start, sideways) for start in layout.starts]
    right, bottom = _xy(layout.width, layout.height, sideways)
    width = max(right, text_width(picture.title, TITLE_SIZE, bold=True) + 48)
    height = bottom + TITLE_HEIGHT
    shift = (width - right) / 2
    parts = [
        _SVG.format(width=width, height=height),
        f"<title>{escape(picture.title)}</title>",
        f"<style>{_STYLE}</style>",
        _ARROW,
        '<rect width="100%" height="100%" fill="#fff"/>',
        _text(24, 31, "h", picture.title),
        f'<g transform="translate({shift:.1f} {TITLE_HEIGHT:.0f})">',
        *_panels(picture, centres, sizes),
        *(_line(segment, sideways) for segment in layout.segments),
        *map(_box, picture.boxes, sizes, centres),
        *_labels(picture, starts, sideways),
        "</g>",
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _size(box: Box, labels: Sequence[float]) -> Size:
    """Return the extent of a box around its text; below it are `labels` so wide."""
    widest = MIN_WIDTH
    if len(labels) > 1:
        widest = max(widest, len(labels) * (max(labels) + 12))
    for index, row in enumerate(box.rows):
        badge = _badge_width(row)
        if index == 0:
            name = text_width(row.name, NAME_SIZE, bold=True) + badge
            widest = max(widest, name, text_width(describe(row), TYPE_SIZE))
        else:
            widest = max(widest, text_width(_stacked(row), TYPE_SIZE) + badge)
    height = MAIN_HEIGHT + ROW_HEIGHT * (len(box.rows) - 1)
    return Size(widest + 2 * PADDING, height)


def _xy(across: float, along: float, sideways: bool) -> tuple[float, float]:
    """Turn a place in the layout, whose flow is downwards, into one on the page."""
    return (along, across) if sideways else (across, along)


def describe(row: Row) -> str:
    """Return the second line of a box: the type, its options, what is shared."""
    words = f"{row.type} {row.options}".strip()
    return f"{words}  ⇄ {row.shared}" if row.shared else words


def _stacked(row: Row) -> str:
    """Return the one line of an in-place layer."""
    return f"{row.name} · {describe(row)}"


def _badge_width(row: Row) -> float:
    return text_width(row.phase, 9, bold=True) + 16 if row.phase else 0.0


def _text(x: float, y: float, kind: str, text: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{escape(text)}</text>'


def _box(box: Box, size: Size, centre: tuple[float, float]) -> str:
    """Draw one box: its own layer on top, stacked layers below."""
    x, y = centre[0] - size.width / 2, centre[1] - size.height / 2
    heights = [MAIN_HEIGHT] + [ROW_HEIGHT] * (len(box.rows) - 1)
    border = COLOURS[box.rows[0].family][1]
    parts = ["<g>", f"<title>{escape(_tooltip(box))}</title>"]
    for index, (row, bottom) in enumerate(
        zip(box.rows, accumulate(heights), strict=True)
    ):
        top = y + bottom - heights[index]
        parts.append(
            _panel(x, top, size.width, heights[index], index == 0, row is box.rows[-1])
            + f' fill="{COLOURS[row.family][0]}"/>'
        )
        if index == 0:
            parts.append(_text(x + PADDING, top + 17, "n", row.name))
            parts.append(_text(x + PADDING, top + 32, "t", describe(row)))
        else:
            parts.append(_text(x + PADDING, top + 14, "t", _stacked(row)))
        if row.phase:
            parts.append(_badge(row, x + size.width, top))
    parts.append(
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{size.width:.1f}" '
        f'height="{size.height:.1f}" rx="{RADIUS}" fill="none" stroke="{border}" '
        f'stroke-width="1.3"/></g>'
    )
    return "\n".join(parts)


def _panel(x: float, y: float, w: float, h: float, first: bool, last: bool) -> str:
    """Begin a path around one row, with round corners where the box ends."""
    a, b = (RADIUS if first else 0), (RADIUS if last else 0)
    return (
        f'<path d="M{x:.1f} {y + a:.1f}q0 {-a} {a} {-a}h{w - 2 * a:.1f}q{a} 0 {a} {a}'
        f'v{h - a - b:.1f}q0 {b} {-b} {b}h{2 * b - w:.1f}q{-b} 0 {-b} {-b}Z"'
    )


def _badge(row: Row, right: float, top: float) -> str:
    """Draw the phase of a layer that only one phase has."""
    width = _badge_width(row) - 6
    x = right - width - 6
    return (
        f'<rect x="{x:.1f}" y="{top + 4:.1f}" width="{width:.1f}" height="13" rx="6.5" '
        f'fill="{COLOURS[row.family][1]}"/>' + _text(x + 5, top + 13.7, "p", row.phase)
    )


def _tooltip(box: Box) -> str:
    return "\n".join(f"{row.name}: {describe(row)}" for row in box.rows)


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
    arrow = ' marker-end="url(#a)"' if s.into_box else ""
    return f'<path class="l" d="{path}"{arrow}/>'


def _labels(
    picture: Picture, starts: Sequence[tuple[float, float]], sideways: bool
) -> Iterable[str]:
    """Write each blob's shape where its line starts."""
    for blob, (x, y) in zip(picture.blobs, starts, strict=True):
        if blob.shape is None:
            continue
        dx, dy = (6, -5) if sideways else (5, 13)
        yield _text(x + dx, y + dy, "s", shape_text(blob.shape))


def _panels(
    picture: Picture, centres: Sequence[tuple[float, float]], sizes: Sequence[Size]
) -> Iterable[str]:
    """Put a pale panel behind every module that no other box stands in."""
    boxes = [_span(centre, size) for centre, size in zip(centres, sizes, strict=True)]
    for name, members in picture.groups.items():
        mine = [boxes[i] for i in members]
        left, top = min(b[0] for b in mine) - 12, min(b[1] for b in mine) - 24
        right, bottom = max(b[2] for b in mine) + 12, max(b[3] for b in mine) + 20
        foreign = (box for index, box in enumerate(boxes) if index not in members)
        if any(
            x0 < right and x1 > left and y0 < bottom and y1 > top
            for x0, y0, x1, y1 in foreign
        ):
            continue
        yield (
            f'<rect class="m" x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" '
            f'height="{bottom - top:.1f}" rx="10"/>'
        )
        yield _text(left + 10, top + 16, "g", name)


def _span(centre: tuple[float, float], size: Size) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of a box."""
    (x, y), w, h = centre, size.width / 2, size.height / 2
    return x - w, y - h, x + w, y + h
