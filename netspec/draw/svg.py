"""A picture as SVG: places, from the innermost open module outwards, then marks."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape

from netspec.draw.box_svg import (
    BADGE_SIZE,
    COLOURS,
    LABEL_SIZE,
    NAME_SIZE,
    TYPE_SIZE,
    box_size,
    draw_box,
    draw_module,
    module_size,
    text,
)
from netspec.draw.boxes import Picture
from netspec.draw.grid import Net, Size
from netspec.draw.layout import Frame, Layout, Segment, place
from netspec.draw.measures import CAPTION_SHIFT, CAPTION_SHIFT_SIDEWAYS
from netspec.draw.modules import Line, Module
from netspec.draw.text_width import shape_text, text_width

FONT = "Helvetica,Arial,'Liberation Sans',sans-serif"
TITLE_SIZE = 17.0
HEADER_SIZE = 12.0  # of the name of an open module
TITLE_HEIGHT = 44.0
LABEL_HEIGHT = 17.0
LABEL_OVERHANG = 10.0  # how far a label may stand out below its box
HEADER = 26.0  # of a panel: what its name takes
PANEL_GAP = 16.0  # between a panel and what it holds

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


@dataclass(frozen=True)
class Placed:
    """An open module: where everything in it stands, from its own corner."""

    module: Module
    layout: Layout
    sizes: tuple[Size, ...]  # of all nodes, as on the page
    insides: dict[int, Placed]  # of the nodes that are open modules
    size: Size


def to_svg(
    picture: Picture,
    root: Module,
    *,
    opened: Collection[Module] = (),
    sideways: bool = False,
) -> str:
    """Lay the picture out, top to bottom or left to right, and write it as SVG."""
    placed = _Placer(picture, opened, sideways).place(root)
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


# --- places


def label_widths(picture: Picture, module: Module, node: int) -> list[float]:
    """Return how wide the shapes are that stand at the lines from one child."""
    blobs = [picture.blobs[line.blob] for line in module.lines if line.source == node]
    return [
        text_width(shape_text(blob.shape), LABEL_SIZE)
        for blob in blobs
        if blob.shape is not None
    ]


def closed_size(picture: Picture, module: Module, node: int) -> Size:
    """Return the extent of a child as one box."""
    child = module.children[node - len(module.entries)]
    labels = label_widths(picture, module, node)
    if isinstance(child, Module):
        return module_size(child, picture, labels)
    return box_size(picture.boxes[child], module, labels)


class _Placer:
    """Places modules, each after the open ones that it holds."""

    def __init__(
        self, picture: Picture, opened: Collection[Module], sideways: bool
    ) -> None:
        self.picture = picture
        self.opened = set(opened)
        self.sideways = sideways

    def place(self, module: Module) -> Placed:
        """Place what is in an open module."""
        insides: dict[int, Placed] = {}
        sizes, rooms = [Size(0, 0)] * len(module.entries), []
        rooms += sizes
        stem = 0.0
        for node, child in enumerate(module.children, len(module.entries)):
            if isinstance(child, Module) and child in self.opened:
                insides[node] = self.place(child.shown)
                sizes.append(insides[node].size)
                rooms.append(self._turned(sizes[-1]))
                continue
            size = closed_size(self.picture, module, node)
            labels = label_widths(self.picture, module, node)
            sizes.append(size)
            rooms.append(self._room(size, labels))
            if labels:
                widest = max(labels) + 8 if self.sideways else LABEL_HEIGHT
                stem = max(stem, widest)
        sizes += [Size(0, 0)] * len(module.exits)
        rooms += [Size(0, 0)] * len(module.exits)
        nets = [Net(line.source, line.targets) for line in module.lines]
        frame = self._frame(module, insides)
        layout = place(module.grid(), rooms, nets, stem, frame)
        if module.parent is not None:
            layout = self._widened(module, rooms, nets, stem, frame, layout)
        across, along = layout.width, layout.height
        size = Size(along, across) if self.sideways else Size(across, along)
        return Placed(module, layout, tuple(sizes), insides, size)

    def _turned(self, size: Size) -> Size:
        return Size(size.height, size.width) if self.sideways else size

    def _room(self, size: Size, labels: Sequence[float]) -> Size:
        """Return the room a box takes with the labels at its lines."""
        if self.sideways:
            return self._turned(size)
        widest = max((2 * (width - LABEL_OVERHANG) for width in labels), default=0.0)
        return Size(max(size.width, widest), size.height)

    def _frame(self, module: Module, insides: dict[int, Placed]) -> Frame:
        """Return what is around a module's inside, and where its panels' lines end."""
        ends: dict[tuple[int, int], float] = {}
        starts: dict[tuple[int, int], float] = {}
        for number, line in enumerate(module.lines):
            if line.source in insides:
                inside = insides[line.source]
                place = exit_place(inside.module, module, line)
                starts[line.source, number] = _offset(inside, place)
            for target in line.targets:
                if target in insides:
                    inside = insides[target]
                    place = entry_place(inside.module, module, line, target)
                    ends[target, number] = _offset(inside, place)
        entries, exits = len(module.entries), len(module.exits)
        if module.parent is None:
            return Frame(entries, exits, ends=ends, starts=starts)
        if self.sideways:
            aside = (HEADER + 4, PANEL_GAP)
            return Frame(entries, exits, 28, 20, aside, ends, starts)
        aside = (PANEL_GAP, PANEL_GAP)
        return Frame(entries, exits, HEADER + 14, 18, aside, ends, starts)

    def _widened(
        self,
        module: Module,
        rooms: Sequence[Size],
        nets: Sequence[Net],
        stem: float,
        frame: Frame,
        layout: Layout,
    ) -> Layout:
        """Make a panel as wide as its name needs."""
        needed = text_width(header(module), HEADER_SIZE, bold=True) + 28
        extra = needed - (layout.height if self.sideways else layout.width)
        if extra <= 0:
            return layout
        if self.sideways:
            wider = replace(frame, before=frame.before + extra)
        else:
            aside = (frame.aside[0] + extra / 2, frame.aside[1] + extra / 2)
            wider = replace(frame, aside=aside)
        return place(module.grid(), rooms, nets, stem, wider)


def entry_place(shown: Module, around: Module, line: Line, target: int) -> int:
    """Return which entry of a panel a line ends at; of a fold, that of the first."""
    child = around.children[target - len(around.entries)]
    if isinstance(child, Module) and child.is_fold:
        return 0
    return shown.entries.index(line.blob)


def exit_place(shown: Module, around: Module, line: Line) -> int:
    """Return which node of a panel a line starts from."""
    child = around.children[line.source - len(around.entries)]
    start = len(shown.entries) + len(shown.children)
    if isinstance(child, Module) and child.is_fold:
        return start
    return start + shown.exits.index(line.blob)


def _offset(inside: Placed, node: int) -> float:
    """Return how far a line's end stands from the middle of a panel."""
    return inside.layout.centres[node][0] - inside.layout.width / 2


def header(module: Module) -> str:
    """Return the name of an open module, and how often it is repeated."""
    parent = module.parent
    if parent is not None and parent.is_fold:
        return f"{parent.name}  ×{len(parent.children)}"
    return module.name


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
        blob = picture.blobs[line.blob]
        own = line.source >= len(module.entries) and line.source not in placed.insides
        if own and blob.shape is not None:
            x, y = _xy(*start, sideways)
            dx, dy = CAPTION_SHIFT_SIDEWAYS if sideways else CAPTION_SHIFT
            yield text(x + dx, y + dy, "s", shape_text(blob.shape))


def _panel(
    picture: Picture, placed: Placed, sideways: bool, depth: int
) -> Iterator[str]:
    """Draw an open module: a pale panel with its name, and what it holds."""
    title = header(placed.module)
    width = text_width(title, HEADER_SIZE, bold=True)
    yield (
        f'<rect class="m m{depth % 2}" width="{placed.size.width:.1f}" '
        f'height="{placed.size.height:.1f}" rx="10"/>'
    )
    yield from _inside(picture, placed, sideways, depth + 1)
    yield (
        f'<rect class="m{depth % 2}" x="8" y="5" width="{width + 8:.1f}" height="17" '
        f'rx="4"/>'
    )
    yield text(12, 18, "g", title)


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
