"""Coordinates of the boxes of a layered drawing, and the routes of its lines.

A *net* here is one blob: a line from one box that forks to all boxes that read it, so
that ten readers of a label cost one line and not ten.

`netspec/draw/viewer/layout.js` does the same in a page, with the distances from here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from netspec.draw.grid import Grid, Net, Size
from netspec.draw.measures import (
    ARROW,
    FIRST_PORT,
    PORT_GAP,
    PORT_MARGIN,
    RANK_GAP,
    RANK_GAP_MAX,
    RANK_GAP_PER_SHIFT,
)
from netspec.draw.placing import positions

MARGIN = 24.0  # around the net


@dataclass(frozen=True)
class Segment:
    """A piece of a line between two neighbouring ranks; `net` is whose."""

    net: int
    x0: float
    y0: float
    x1: float
    y1: float
    into_box: bool  # it ends at a box, not at a bend
    leave: float  # where the rank of the start ends and the line may curve
    reach: float  # where the rank of the end begins and the line must be straight again


@dataclass(frozen=True)
class Layout:
    """Centres of the boxes, pieces of the lines, starts of the nets, overall extent."""

    centres: list[tuple[float, float]]
    segments: list[Segment]
    starts: list[tuple[float, float]]
    width: float
    height: float


@dataclass(frozen=True)
class Frame:
    """What surrounds the boxes, and where lines end that others have placed.

    The first `entries` boxes and the last `exits` are ends of lines on the border.
    before, after: free space at the start and the end of the flow. aside: the same
    across it, on both sides. ends: where a net ends at a box that is a panel, and
    starts: where it starts there, both by (box, net), as offsets from the middle.
    """

    entries: int = 0
    exits: int = 0
    before: float = MARGIN
    after: float = MARGIN
    aside: tuple[float, float] = (MARGIN, MARGIN)
    ends: Mapping[tuple[int, int], float] = field(default_factory=dict)
    starts: Mapping[tuple[int, int], float] = field(default_factory=dict)


def place(
    grid: Grid, sizes: Sequence[Size], nets: Sequence[Net], stem: float, frame: Frame
) -> Layout:
    """Place the boxes of a grid and the lines between them.

    Every net must lead from a lower index to higher ones. stem: how far a line leads
    straight away from its box, beside its label.
    """
    widths = [size.width for size in sizes]
    bends = len(grid.rank) - len(sizes)
    grid = replace(grid, width=widths + [0.0] * bends)
    x = positions(grid)
    out_ports, in_ports = _ports(grid, nets, frame)
    return _assemble(grid, sizes, nets, x, out_ports, in_ports, stem, frame)


def _ports(
    grid: Grid, nets: Sequence[Net], frame: Frame
) -> tuple[list[float], list[float]]:
    """Return offsets from box centres: where nets leave, and where links end."""
    in_ports = [0.0] * len(grid.links)
    for node in range(grid.boxes):
        links = sorted(grid.above[node], key=lambda k: grid.place[grid.links[k][0]])
        for offset, link in zip(
            _spread(len(links), grid.width[node]), links, strict=True
        ):
            in_ports[link] = frame.ends.get((node, grid.links[link][2]), offset)
    out_ports = [0.0] * len(nets)
    leaving: list[list[int]] = [[] for _ in range(grid.boxes)]
    for index, net in enumerate(nets):
        leaving[net.source].append(index)
    targets: list[list[int]] = [[] for _ in nets]
    for upper, lower, index in grid.links:
        if upper == nets[index].source:
            targets[index].append(grid.place[lower])
    for node, group in enumerate(leaving):
        group.sort(key=lambda k: sum(targets[k]) / len(targets[k]) if targets[k] else 0)
        # One line leaves at the middle; several leave where their labels find room.
        width = grid.width[node]
        room = (width - FIRST_PORT) / max(len(group), 1)
        offsets = [FIRST_PORT + i * room - width / 2 for i in range(len(group))]
        if len(group) == 1:
            offsets = [0.0]
        for offset, number in zip(offsets, group, strict=True):
            out_ports[number] = frame.starts.get((node, number), offset)
    return out_ports, in_ports


def _spread(count: int, width: float) -> list[float]:
    """Return the offsets of `count` line ends around the middle of a side."""
    gap = min(PORT_GAP, max(width - PORT_MARGIN, 0) / max(count - 1, 1))
    return [(i - (count - 1) / 2) * gap for i in range(count)]


def _assemble(
    grid: Grid,
    sizes: Sequence[Size],
    nets: Sequence[Net],
    x: Sequence[float],
    out_ports: Sequence[float],
    in_ports: Sequence[float],
    stem: float,
    frame: Frame,
) -> Layout:
    """Stack the ranks and turn links into pieces of lines."""
    nodes = range(len(x))
    left = min((x[n] - grid.width[n] / 2 for n in nodes), default=0) - frame.aside[0]
    right = max((x[n] + grid.width[n] / 2 for n in nodes), default=0) + frame.aside[1]
    heights = [
        max((sizes[node].height for node in row if not grid.is_bend(node)), default=0)
        for row in grid.rows
    ]
    tops: list[float] = []
    last = len(grid.rows) - 1
    y = 0.0 if frame.entries else frame.before
    for level, row in enumerate(grid.rows):
        tops.append(y)
        shift = max(
            (abs(x[u] - x[v]) for n in row for u, v, _ in _links(grid, n)), default=0
        )
        gap = min(RANK_GAP + RANK_GAP_PER_SHIFT * shift, RANK_GAP_MAX)
        if frame.entries and level == 0:
            y += max(gap, frame.before)
        elif frame.exits and level == last:
            pass
        else:
            y += heights[level] + stem + (gap if level < last else frame.after)

    def centre(node: int) -> tuple[float, float]:
        level = grid.rank[node]
        return x[node] - left, tops[level] + heights[level] / 2

    def half(node: int) -> float:
        return 0.0 if grid.is_bend(node) else sizes[node].height / 2

    panels = {node for node, _ in frame.ends}
    segments = []
    for link, (upper, lower, net) in enumerate(grid.links):
        (x0, y0), (x1, y1) = centre(upper), centre(lower)
        level = grid.rank[upper]
        outside = upper < frame.entries
        ends = lower in panels or lower >= grid.boxes - frame.exits
        segments.append(
            Segment(
                net=net,
                x0=x0 + (0.0 if grid.is_bend(upper) else out_ports[net]),
                y0=y0 + half(upper),
                x1=x1 + in_ports[link],
                y1=y1 - half(lower),
                into_box=not ends,
                leave=tops[level] + heights[level] + (0.0 if outside else stem),
                reach=tops[grid.rank[lower]] - ARROW,
            )
        )
    starts = []
    for index, each in enumerate(nets):
        cx, cy = centre(each.source)
        starts.append((cx + out_ports[index], cy + half(each.source)))
    centres = [centre(node) for node in range(grid.boxes)]
    return Layout(centres, segments, starts, right - left, y)


def _links(grid: Grid, node: int) -> list[tuple[int, int, int]]:
    """Return the links that lead down from `node`."""
    return [grid.links[link] for link in grid.below[node]]
