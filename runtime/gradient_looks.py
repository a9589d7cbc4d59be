"""What of the gradients of large nets is looked at in every iteration."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence

from netspec.graph import Graph, Parameter
from netspec.ops.base import count
from runtime.arena import Flat
from runtime.arrays import Array

# Multiply-adds forward for which one more element is looked at. With backward they take
# at least 30 nanoseconds on two cores, and a look .15: less than .5 %.
MACS_A_LOOK = 1 << 10


def looked_at(
    parameters: Sequence[Parameter],
    flat: Flat,
    macs: Mapping[int, int],
    large: int,
) -> list[Array]:
    """Return what of the gradients of a large net is looked at in every iteration.

    All elements of some, as of `paid`, and the edges of others that are `large`.
    """
    whole = paid(parameters, macs)
    joined = _joined([flat.slices[index] for index in whole], flat)
    views = [flat.diff[place] for place in joined]
    rest = [one for one in parameters if one.index not in whole]
    return [*views, *(view for one in rest for view in edges(one, flat, large))]


def paid(parameters: Sequence[Parameter], macs: Mapping[int, int]) -> frozenset[int]:
    """Return the parameters of which every element can be looked at.

    Those with most multiply-adds for each come first, while one element in
    `MACS_A_LOOK` multiply-adds of the net pays for them.

    macs: of an iteration, forward, by parameter.
    """
    sizes = {one.index: count(one.shape) for one in parameters if count(one.shape)}
    left = sum(macs.values()) // MACS_A_LOOK
    found: set[int] = set()
    for index in sorted(sizes, key=lambda one: -macs.get(one, 0) / sizes[one]):
        if sizes[index] <= left:
            left -= sizes[index]
            found.add(index)
    return frozenset(found)


def macs_of(graph: Graph) -> dict[int, int]:
    """Return the multiply-adds of a pass forward, by parameter.

    Those of a layer are divided among its parameters by their sizes.
    """
    found: dict[int, int] = {}
    for node in graph.nodes:
        sizes = [count(graph.parameters[index].shape) for index in node.params]
        for index, size in zip(node.params, sizes, strict=True):
            share = node.op.macs * size // max(1, sum(sizes))
            found[index] = found.get(index, 0) + share
    return found


def _joined(places: Sequence[slice], flat: Flat) -> list[slice]:
    """Return slices that cover others, with only the gaps of alignment between."""
    every = sorted(place.start for place in flat.slices.values())
    found: list[slice] = []
    for place in sorted(places, key=lambda one: one.start):
        before = bisect_left(every, place.start)
        if found and before and every[before - 1] < found[-1].stop:
            found[-1] = slice(found[-1].start, place.stop)
        else:
            found.append(place)
    return found


def edges(parameter: Parameter, flat: Flat, large: int) -> Iterator[Array]:
    """Yield the first row and the first column of a gradient, or all of one not large.

    large: how many elements that has at most.
    """
    gradient = flat.diff[flat.slices[parameter.index]]
    if gradient.size <= large or len(parameter.shape) < 2:
        yield gradient
        return
    rows = gradient.reshape(parameter.shape[0], -1)
    yield rows[0]
    yield rows[:, 0]
