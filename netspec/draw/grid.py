"""Layering and crossing reduction: boxes and bends by rank, in order.

Ranks are longest paths. A line that crosses a rank gets a *bend* there, which takes a
place in the order like a box. The order within each rank follows the mean place of the
neighbours above, then below, and so on; the one with the fewest crossings is kept.

Source: Sugiyama, Tagawa, Toda, "Methods for visual understanding of hierarchical system
structures", 1981.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

ORDER_SWEEPS = 16


@dataclass(frozen=True)
class Size:
    """Extent of a box across the flow and along it."""

    width: float
    height: float


@dataclass(frozen=True)
class Net:
    """One blob: the box that makes it and the boxes that read it, in reading order."""

    source: int
    targets: tuple[int, ...]


@dataclass
class Grid:
    """Boxes and bends by rank. Nodes from `boxes` up are bends."""

    boxes: int
    rank: list[int]
    links: list[tuple[int, int, int]] = field(default_factory=list)  # upper, lower, net
    rows: list[list[int]] = field(default_factory=list)
    place: list[int] = field(default_factory=list)  # position within its row
    above: list[list[int]] = field(default_factory=list)  # links by their lower node
    below: list[list[int]] = field(default_factory=list)  # links by their upper node
    width: list[float] = field(default_factory=list)  # `place` fills it in

    def is_bend(self, node: int) -> bool:
        """Tell a bend of a line from a box."""
        return node >= self.boxes


def _ranks(count: int, nets: Sequence[Net], entries: int, exits: int) -> list[int]:
    """Longest path from the top; boxes without inputs move down to their readers.

    The first `entries` boxes keep the top to themselves, the last `exits` the bottom.
    """
    outgoing: list[list[int]] = [[] for _ in range(count)]
    has_input = [False] * count
    for net in nets:
        for target in net.targets:
            outgoing[net.source].append(target)
            has_input[target] = True
    rank = [0] * entries + [min(entries, 1)] * (count - entries)
    for node in range(count):
        for target in outgoing[node]:
            rank[target] = max(rank[target], rank[node] + 1)
    inner = count - exits
    rank[inner:] = [max(rank[:inner], default=0) + 1] * exits
    for node in range(entries, inner):
        if not has_input[node] and outgoing[node]:
            rank[node] = min(rank[target] for target in outgoing[node]) - 1
    return rank


def make_grid(
    count: int, nets: Sequence[Net], entries: int = 0, exits: int = 0
) -> Grid:
    """Rank `count` boxes, bend nets in every rank they pass, and order the ranks.

    entries, exits: so many boxes at the start, at the end, are where lines come in from
    outside and where they leave; they have a rank to themselves.
    """
    rank = _ranks(count, nets, entries, exits)
    grid = Grid(count, rank)
    for index, net in enumerate(nets):
        readers: dict[int, list[int]] = {}
        for target in dict.fromkeys(net.targets):
            readers.setdefault(rank[target], []).append(target)
        last = max(readers, default=rank[net.source])
        upper = net.source
        for level in range(rank[net.source] + 1, last + 1):
            grid.links += [(upper, target, index) for target in readers.get(level, ())]
            if level < last:
                bend = len(grid.rank)
                grid.rank.append(level)
                grid.links.append((upper, bend, index))
                upper = bend
    nodes = len(grid.rank)
    grid.rows = [[] for _ in range(max(grid.rank, default=-1) + 1)]
    grid.place = [0] * nodes
    grid.above = [[] for _ in range(nodes)]
    grid.below = [[] for _ in range(nodes)]
    for number, (upper, lower, _) in enumerate(grid.links):
        grid.below[upper].append(number)
        grid.above[lower].append(number)
    for node in _depth_first(grid):
        row = grid.rows[grid.rank[node]]
        grid.place[node] = len(row)
        row.append(node)
    _order(grid)
    return grid


def _depth_first(grid: Grid) -> list[int]:
    """Visit all nodes, a branch at a time, so that branches start out side by side."""
    seen = [False] * len(grid.rank)
    visited: list[int] = []
    for root in range(len(grid.rank)):
        if grid.above[root]:
            continue
        stack = [root]
        while stack:
            node = stack.pop()
            if seen[node]:
                continue
            seen[node] = True
            visited.append(node)
            stack += [grid.links[link][1] for link in reversed(grid.below[node])]
    return visited


# --- order within the ranks


def _order(grid: Grid) -> None:
    """Sort every rank by the mean place of its neighbours; keep the best order seen."""
    best = [list(row) for row in grid.rows]
    weights = [_weight(grid, link) for link in range(len(grid.links))]
    counter = _Counter(grid, weights)
    fewest = counter.total()
    for sweep in range(ORDER_SWEEPS):
        if fewest == 0:
            break
        downwards = sweep % 2 == 0
        rows = grid.rows if downwards else grid.rows[::-1]
        for row in rows:
            _sort_row(grid, row, downwards)
        _swap_neighbours(grid, weights)
        crossings = counter.total()
        if crossings < fewest:
            fewest = crossings
            best = [list(row) for row in grid.rows]
    grid.rows = best
    _number(grid, grid.rows)


def _number(grid: Grid, rows: Sequence[Sequence[int]]) -> None:
    for row in rows:
        for place, node in enumerate(row):
            grid.place[node] = place


def _neighbours(grid: Grid, node: int, above: bool) -> list[int]:
    """Places of the nodes that `node` is linked to in the rank above or below."""
    if above:
        return [grid.place[grid.links[link][0]] for link in grid.above[node]]
    return [grid.place[grid.links[link][1]] for link in grid.below[node]]


def _sort_row(grid: Grid, row: list[int], downwards: bool) -> None:
    keys: dict[int, float] = {}
    for node in row:
        places = _neighbours(grid, node, downwards)
        keys[node] = sum(places) / len(places) if places else grid.place[node]
    row.sort(key=keys.__getitem__)
    _number(grid, [row])


def _swap_neighbours(grid: Grid, weights: Sequence[int]) -> None:
    """Exchange neighbours in a rank wherever that saves crossings."""
    for row in grid.rows:
        for i in range(len(row) - 1):
            left, right = row[i], row[i + 1]
            saved = 0
            for links, end in ((grid.above, 0), (grid.below, 1)):
                for a, b in itertools.product(links[left], links[right]):
                    p = grid.place[grid.links[a][end]]
                    q = grid.place[grid.links[b][end]]
                    if p != q:
                        weight = weights[a] * weights[b]
                        saved += weight if p > q else -weight
            if saved > 0:
                row[i], row[i + 1] = right, left
                grid.place[left], grid.place[right] = i + 1, i


def _weight(grid: Grid, link: int) -> int:
    """Return how bad a crossing of this link is; long lines should be free."""
    lower = grid.links[link][1]
    if grid.is_bend(lower):
        return 6
    return 3 if grid.below[lower] else 1


class _Counter:
    """Counts the crossings between all neighbouring ranks, by weight.

    What it counted between two ranks holds until one of them is in another order.
    """

    def __init__(self, grid: Grid, weights: Sequence[int]) -> None:
        self._grid = grid
        self._weights = weights
        self._rows: list[list[int]] = [[] for _ in grid.rows]
        self._counts = [0] * len(grid.rows)  # below each rank

    def total(self) -> int:
        """Return the crossings as the ranks are ordered now."""
        rows = self._grid.rows
        same = [row == old for row, old in zip(rows, self._rows, strict=True)]
        for level in range(len(rows) - 1):
            if not (same[level] and same[level + 1]):
                self._counts[level] = self._between(rows[level], len(rows[level + 1]))
        self._rows = [list(row) for row in rows]
        return sum(self._counts)

    def _between(self, row: Sequence[int], width: int) -> int:
        grid, total, seen = self._grid, 0, 0
        ends = [
            [(grid.place[grid.links[k][1]], self._weights[k]) for k in grid.below[node]]
            for node in row
        ]
        furthest = -1
        for links in ends:
            if any(place < furthest for place, _ in links):
                break
            furthest = max((furthest, *(place for place, _ in links)))
        else:
            return 0
        sums = [0] * (width + 1)  # a Fenwick tree over the places below
        for links in ends:
            for place, weight in links:
                total += weight * (seen - _up_to(sums, place))
            for place, weight in links:
                seen += weight
                while place < width:
                    sums[place] += weight
                    place |= place + 1
        return total


def _up_to(sums: Sequence[int], place: int) -> int:
    """Return the sum of the weights at the places 0 to `place`."""
    total = 0
    while place >= 0:
        total += sums[place]
        place = (place & (place + 1)) - 1
    return total
