"""Circles among modules that read each other.

Source: Tarjan, "Depth-first search and linear graph algorithms", 1972.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def circles(readers: Sequence[Iterable[int]]) -> list[list[int]]:
    """Return the largest groups, of two or more, in which each is read by each.

    readers: for every place those that read from it, none of them itself. A group is
    in order; readers need not be read by it directly.
    """
    number = [-1] * len(readers)  # in which order places were found; -1 is not yet
    lowest = [0] * len(readers)  # the first found that can be come to from there
    on_way = [False] * len(readers)
    way: list[int] = []
    found: list[list[int]] = []
    count = 0
    for root in range(len(readers)):
        stack = [(root, iter(readers[root]))] if number[root] < 0 else []
        while stack:
            place, rest = stack[-1]
            if number[place] < 0:
                number[place] = lowest[place] = count
                count += 1
                way.append(place)
                on_way[place] = True
            for target in rest:
                if number[target] < 0:
                    stack.append((target, iter(readers[target])))
                    break
                if on_way[target]:
                    lowest[place] = min(lowest[place], number[target])
            else:
                stack.pop()
                if stack:
                    below = stack[-1][0]
                    lowest[below] = min(lowest[below], lowest[place])
                if lowest[place] == number[place]:
                    at = len(way) - 1
                    while way[at] != place:
                        at -= 1
                    group, way[at:] = way[at:], []
                    for each in group:
                        on_way[each] = False
                    if len(group) > 1:
                        found.append(sorted(group))
    return sorted(found)
