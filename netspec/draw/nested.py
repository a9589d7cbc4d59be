"""Coordinates in open modules within each other, the innermost first.

Modules make a compound graph. Each open one is placed by itself (by
`netspec.draw.layout`) and is then a box of that extent, a panel, in the module around
it, with the ends of its lines where its inside has them.

`netspec/draw/viewer/nested.js` does the same in a page, where what is open changes.
What does not depend on that is worked out here for both.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from netspec.draw.box_svg import box_size, module_size
from netspec.draw.boxes import Picture
from netspec.draw.grid import Net, Size
from netspec.draw.layout import MARGIN, Frame, Layout, place
from netspec.draw.line_captions import caption_widths, room_with_captions, stem
from netspec.draw.modules import Line, Module
from netspec.draw.text_width import text_width

HEADER_SIZE = 12.0  # of the letters of a panel's name
HEADER = 26.0  # of a panel: what its name takes
HEADER_PADDING = 28.0  # beside the name
PANEL_GAP = 16.0  # between a panel and what it holds
NOTHING = Size(0.0, 0.0)  # the extent of a line's end on the border


@dataclass(frozen=True)
class Closed:
    """A child of a module as one box.

    size: on the page. room: what it takes with its captions, across the flow and along
    it. stem: how far its lines lead straight away from it.
    """

    size: Size
    room: Size
    stem: float


@dataclass(frozen=True)
class Placed:
    """An open module: where everything in it stands, from its own corner."""

    module: Module
    layout: Layout
    sizes: tuple[Size, ...]  # of all nodes, as on the page
    insides: dict[int, Placed]  # of the nodes that are open modules
    size: Size


def place_modules(
    picture: Picture, module: Module, opened: Collection[Module], sideways: bool
) -> Placed:
    """Place what is in an open module, and in those of its modules that are open."""
    insides: dict[int, Placed] = {}
    ends = [NOTHING] * len(module.entries)
    sizes, rooms = list(ends), list(ends)
    longest = 0.0
    for node, child in enumerate(module.children, len(module.entries)):
        if isinstance(child, Module) and child in opened:
            inside = place_modules(picture, child.shown, opened, sideways)
            insides[node] = inside
            sizes.append(inside.size)
            rooms.append(turned(inside.size, sideways))
        else:
            closed = closed_child(picture, module, node, sideways)
            sizes.append(closed.size)
            rooms.append(closed.room)
            longest = max(longest, closed.stem)
    sizes += [NOTHING] * len(module.exits)
    rooms += [NOTHING] * len(module.exits)
    nets = [Net(line.source, line.targets) for line in module.lines]
    grid, frame = module.grid(), _frame(module, insides, sideways)
    layout = place(grid, rooms, nets, longest, frame)
    extent = layout.height if sideways else layout.width
    extra = header_room(module) - extent
    if extra > 0:
        layout = place(grid, rooms, nets, longest, _wider(frame, extra, sideways))
    size = turned(Size(layout.width, layout.height), sideways)
    return Placed(module, layout, tuple(sizes), insides, size)


def turned(size: Size, sideways: bool) -> Size:
    """Exchange the sides if the flow is to the right: of the page, of the layout."""
    return Size(size.height, size.width) if sideways else size


# --- what does not depend on which modules are open


def closed_child(picture: Picture, module: Module, node: int, sideways: bool) -> Closed:
    """Return a child of a module as one box."""
    child = module.children[node - len(module.entries)]
    captions = caption_widths(picture, module, node)
    if isinstance(child, Module):
        size = module_size(child, picture, captions)
    else:
        size = box_size(picture.boxes[child], module, captions)
    room = room_with_captions(size, captions, sideways)
    return Closed(size, room, stem(captions, sideways))


def space(module: Module, sideways: bool) -> Frame:
    """Return the free space around what is in an open module, and its lines' ends."""
    entries, exits = len(module.entries), len(module.exits)
    if module.parent is None:
        return Frame(entries, exits, MARGIN, MARGIN, (MARGIN, MARGIN))
    if sideways:
        return Frame(entries, exits, 28, 20, (HEADER + 4, PANEL_GAP))
    return Frame(entries, exits, HEADER + 14, 18, (PANEL_GAP, PANEL_GAP))


def header_width(module: Module) -> float:
    """Return how wide the name of an open module is."""
    return text_width(module.header, HEADER_SIZE, bold=True)


def header_room(module: Module) -> float:
    """Return how wide an open module is at least; the net itself has no name there."""
    return 0.0 if module.parent is None else header_width(module) + HEADER_PADDING


def line_start(module: Module, line: Line) -> int | None:
    """Return which node of a panel a line starts from; None if it is from no module."""
    child = _child(module, line.source)
    if child is None:
        return None
    shown = child.shown
    place = shown.exits.index(line.blob)
    return len(shown.entries) + len(shown.children) + place


def line_end(module: Module, line: Line, target: int) -> int | None:
    """Return which node of a panel a line ends at; None if it is to no module."""
    child = _child(module, target)
    if child is None:
        return None
    return child.shown.entries.index(line.blob)


def _child(module: Module, node: int) -> Module | None:
    """Return the module that is a node of the grid of `module`."""
    place = node - len(module.entries)
    if not 0 <= place < len(module.children):
        return None
    child = module.children[place]
    return child if isinstance(child, Module) else None


# --- what does


def _frame(module: Module, insides: dict[int, Placed], sideways: bool) -> Frame:
    """Return what is around a module's inside, and where its panels' lines end."""
    ends: dict[tuple[int, int], float] = {}
    starts: dict[tuple[int, int], float] = {}
    for number, line in enumerate(module.lines):
        start = line_start(module, line)
        if start is not None and line.source in insides:
            starts[line.source, number] = _offset(insides[line.source], start)
        for target in line.targets:
            end = line_end(module, line, target)
            if end is not None and target in insides:
                ends[target, number] = _offset(insides[target], end)
    return replace(space(module, sideways), ends=ends, starts=starts)


def _offset(inside: Placed, node: int) -> float:
    """Return how far a line's end stands from the middle of a panel."""
    return inside.layout.centres[node][0] - inside.layout.width / 2


def _wider(frame: Frame, extra: float, sideways: bool) -> Frame:
    """Make a panel as wide as its name needs."""
    if sideways:
        return replace(frame, before=frame.before + extra)
    aside = (frame.aside[0] + extra / 2, frame.aside[1] + extra / 2)
    return replace(frame, aside=aside)
