"""Places across the flow: a straight trunk, and branches close beside it.

A link is made straight where it is the middle one at both of its ends, leaning left
(or right) where two are in the middle. Nodes joined by straight links form blocks that
share one place, and blocks are pushed together from the left (or from the right). The
four layouts so made are laid over each other, and each node takes the mean of its two
middle places, which keeps every distance that all four keep.

Source: after Brandes, Köpf, "Fast and simple horizontal coordinate assignment", 2002;
there one end decides, which lets side branches pull the trunk apart.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence

from netspec.drawing.grid import Grid

BOX_GAP = 28.0  # free space between neighbours in a rank
BEND_GAP = 18.0  # the same beside a line
CLEARLY_MORE = 1.25  # straightness: the other leaning is not looked at


def positions(grid: Grid) -> list[float]:
    """Return the place of every node's centre."""
    left, right = _align(grid, lean_left=True), _align(grid, lean_left=False)
    # A trunk that only one leaning keeps straight would be a staircase in the mean.
    if _straightness(left) > CLEARLY_MORE * _straightness(right):
        right = left
    elif _straightness(right) > CLEARLY_MORE * _straightness(left):
        left = right
    layouts: list[list[float]] = []
    for root, pack_left in itertools.product((left, right), (True, False)):
        rows = [row if pack_left else row[::-1] for row in grid.rows]
        x = _compact(grid, rows, root)
        layouts.append(x if pack_left else [-place for place in x])
    return _balance(grid, layouts)


def _straightness(root: Sequence[int]) -> int:
    """Return the sum of the squared lengths of the blocks: long ones count most."""
    return sum(length**2 for length in Counter(root).values())


def _align(grid: Grid, lean_left: bool) -> list[int]:
    """Return the root of every node's block."""
    origin, reach = _extents(grid)
    root = list(range(len(grid.rank)))
    for row in grid.rows:
        chosen = []
        for node in row:
            link = _middle(grid, grid.below[node], 1, reach, lean_left)
            if link is None:
                continue
            lower = grid.links[link][1]
            if link == _middle(grid, grid.above[lower], 0, origin, lean_left):
                chosen.append(link)
        for link in _without_crossings(grid, chosen):
            upper, lower, _ = grid.links[link]
            root[lower] = root[upper]
    return root


def _extents(grid: Grid) -> tuple[list[int], list[int]]:
    """Return how far paths lead from each node: minus the first rank, and the last."""
    origin, reach = [-rank for rank in grid.rank], list(grid.rank)
    for row in grid.rows:
        for upper, lower, _ in (
            grid.links[k] for node in row for k in grid.below[node]
        ):
            origin[lower] = max(origin[lower], origin[upper])
    for row in reversed(grid.rows):
        for upper, lower, _ in (
            grid.links[k] for node in row for k in grid.below[node]
        ):
            reach[upper] = max(reach[upper], reach[lower])
    return origin, reach


def _middle(
    grid: Grid, links: Sequence[int], end: int, far: Sequence[int], lean_left: bool
) -> int | None:
    """Return the middle one of the links that lead farthest, so that trunks run on."""
    if not links:
        return None
    farthest = max(far[grid.links[link][end]] for link in links)
    able = [link for link in links if far[grid.links[link][end]] == farthest]
    able.sort(key=lambda link: grid.place[grid.links[link][end]])
    return able[(len(able) - 1) // 2 if lean_left else len(able) // 2]


def _without_crossings(grid: Grid, links: Sequence[int]) -> list[int]:
    """Drop links until none cross; pieces between two bends are kept first."""
    kept: list[int] = []
    for link in sorted(links, key=lambda link: not _between_bends(grid, link)):
        if not any(_cross(grid, link, other) for other in kept):
            kept.append(link)
    return kept


def _between_bends(grid: Grid, link: int) -> bool:
    upper, lower, _ = grid.links[link]
    return grid.is_bend(upper) and grid.is_bend(lower)


def _cross(grid: Grid, first: int, second: int) -> bool:
    (a, b, _), (c, d, _) = grid.links[first], grid.links[second]
    return (grid.place[a] - grid.place[c]) * (grid.place[b] - grid.place[d]) < 0


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
