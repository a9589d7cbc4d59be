"""Circles against a search from every place."""

import random

from netspec.draw.circles import circles


def reached(readers, start):
    found, todo = set(), [start]
    while todo:
        for target in readers[todo.pop()]:
            if target not in found:
                found.add(target)
                todo.append(target)
    return found


def slow_circles(readers):
    ways = [reached(readers, place) for place in range(len(readers))]
    groups = {
        tuple(b for b in range(len(readers)) if b in ways[a] and a in ways[b])
        for a in range(len(readers))
    }
    return sorted(list(group) for group in groups if len(group) > 1)


def test_circles_are_what_a_search_from_every_place_finds():
    rng = random.Random(5)
    for _ in range(300):
        count = rng.randrange(1, 12)
        readers = [
            {b for b in range(count) if b != a and rng.random() < 1.6 / count}
            for a in range(count)
        ]
        assert circles(readers) == slow_circles(readers)


def test_a_long_chain_has_no_circle_and_needs_no_deep_stack():
    chain = [{place + 1} for place in range(50_000)]
    assert circles([*chain, set()]) == []
    assert circles([*chain, {0}]) == [list(range(50_001))]
