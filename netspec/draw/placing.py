"""Coordinates across the flow: a straight trunk, and branches close beside it.

From the lowest rank up, every node that is on no path yet starts one, which climbs by
the middle one of the links that come from farthest above, leaning left (or right) where
two are in the middle, until it meets another path. Nodes of one path form a block that
shares one place, and blocks are pushed together from the left (or from the right). The
four layouts so made are laid over each other, and each node takes the mean of its two
middle places, which keeps every distance that all four keep.

Source: after Brandes, Köpf, "Fast and simple horizontal coordinate assignment", 2002,
where links are aligned one by one; whole paths keep a long trunk straight.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Sequence

from netspec.draw.grid import Grid
from netspec.draw.measures import BEND_GAP, BOX_GAP


def positions(grid: Grid) -> list[float]:
    """Return the place of every node's centre."""
    layouts: list[list[float]] = []
    for lean_left, pack_left in itertools.product((True, False), (True, False)):
        root = _align(grid, lean_left)
        rows = [row if pack_left else row[::-1] for row in grid.rows]
        x = _compact(grid, rows, root)
        layouts.append(x if pack_left else [-place for place in x])
    return _balance(grid, layouts)


def _align(grid: Grid, lean_left: bool) -> list[int]:
    """Return the root of every node's block: the lowest node of its path."""
    start = _starts(grid)
    root = [-1] * len(grid.rank)
    # Places at both ends of the links on paths, by the rank they leave; none cross.
    straight: list[list[tuple[int, int]]] = [[] for _ in grid.rows]
    for row in reversed(grid.rows):
        for first in sorted(row, key=start.__getitem__):
            if root[first] >= 0:
                continue
            node = first
            while True:
                root[node] = first
                link = _middle(grid, grid.above[node], start, lean_left)
                if link is None:
                    break
                lower, node = node, grid.links[link][0]
                if root[node] >= 0:
                    break
                beside = straight[grid.rank[node]]
                ends = grid.place[node], grid.place[lower]
                at = bisect.bisect(beside, ends)
                if at > 0 and beside[at - 1][1] > ends[1]:
                    break
                if at < len(beside) and beside[at][1] < ends[1]:
                    break
                beside.insert(at, ends)
    return root


def _starts(grid: Grid) -> list[int]:
    """Return the highest rank that a path to each node can come from."""
    start = list(grid.rank)
    for row in grid.rows:
        for upper, lower, _ in (
            grid.links[k] for node in row for k in grid.below[node]
        ):
            start[lower] = min(start[lower], start[upper])
    return start


def _middle(
    grid: Grid, links: Sequence[int], start: Sequence[int], lean_left: bool
) -> int | None:
    """Return the middle one of the links that come from farthest above."""
    if not links:
        return None
    farthest = min(start[grid.links[link][0]] for link in links)
    able = [link for link in links if start[grid.links[link][0]] == farthest]
    able.sort(key=lambda link: grid.place[grid.links[link][0]])
    return able[(len(able) - 1) // 2 if lean_left else len(able) // 2]


def _compact(
    grid: Grid, rows: Sequence[Sequence[int]], root: Sequence[int]
) -> list[float]:
    """Push blocks to the left as far as they go, then back to what they link to."""
    left: dict[int, dict[int, float]] = {}  # block -> blocks at its left: distance
    right: dict[int, dict[int, float]] = {}
    for row in rows:
        for a, b in itertools.pairwise(row):
            gap = _distance(grid, a, b)
            u, v = root[a], root[b]
            gap = max(gap, left.get(v, {}).get(u, 0.0))
            left.setdefault(v, {})[u] = gap
            right.setdefault(u, {})[v] = gap
    order = _topological(root, left, right)
    x = [0.0] * len(root)
    for block in order:
        x[block] = max(
            (x[u] + gap for u, gap in left.get(block, {}).items()), default=0
        )
    linked: dict[int, list[int]] = {}  # block -> blocks that lines join it to
    for upper, lower, _ in grid.links:
        if root[upper] != root[lower]:
            linked.setdefault(root[upper], []).append(root[lower])
            linked.setdefault(root[lower], []).append(root[upper])
    for block in reversed(order):
        wishes = [x[other] for other in linked.get(block, ())]
        room = [x[v] - gap for v, gap in right.get(block, {}).items()]
        if wishes:
            x[block] = max(x[block], min([sum(wishes) / len(wishes), *room]))
    return [x[block] for block in root]


def _topological(
    root: Sequence[int],
    left: dict[int, dict[int, float]],
    right: dict[int, dict[int, float]],
) -> list[int]:
    """Order the blocks so that each comes after all at its left."""
    waiting = {block: len(left.get(block, ())) for block in dict.fromkeys(root)}
    order = [block for block, count in waiting.items() if count == 0]
    for block in order:
        for other in right.get(block, ()):
            waiting[other] -= 1
            if waiting[other] == 0:
                order.append(other)
    return order


def _distance(grid: Grid, a: int, b: int) -> float:
    """Return the smallest distance between the centres of two neighbours."""
    gap = BEND_GAP if grid.is_bend(a) or grid.is_bend(b) else BOX_GAP
    return (grid.width[a] + grid.width[b]) / 2 + gap


def _balance(grid: Grid, layouts: Sequence[Sequence[float]]) -> list[float]:
    """Shift all layouts to the narrowest one and take the mean of the middle two."""

    def extent(x: Sequence[float]) -> tuple[float, float]:
        nodes = range(len(x))
        low = min((x[n] - grid.width[n] / 2 for n in nodes), default=0.0)
        return low, max((x[n] + grid.width[n] / 2 for n in nodes), default=0.0)

    extents = [extent(x) for x in layouts]
    low, high = min(extents, key=lambda span: span[1] - span[0])
    shifts = [
        (low - start) if index % 2 == 0 else (high - end)
        for index, (start, end) in enumerate(extents)
    ]
    balanced = []
    for node in range(len(grid.rank)):
        places = sorted(x[node] + s for x, s in zip(layouts, shifts, strict=True))
        balanced.append((places[1] + places[2]) / 2)
    return balanced
