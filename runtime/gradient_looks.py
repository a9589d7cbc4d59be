"""What of the gradients of large nets is looked at in every iteration."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence

from netspec.graph import Parameter
from netspec.ops.base import count
from runtime.arena import Flat
from runtime.arrays import Array

# Multiply-adds forward for which one more element is looked at. With backward they take
# at least 30 nanoseconds on two cores, and a look .15: less than .5 %.
MACS_A_LOOK = 1 << 10


def looked_at(
    parameters: Sequence[Parameter], flat: Flat, macs: Mapping[int, int], large: int
) -> list[Array]:
    """Return what of the gradients of a large net is looked at in every iteration.

    All elements of those with most multiply-adds for each, while one in `MACS_A_LOOK`
    multiply-adds of the net pays for them, and the edges of the others, if they are `large`.
    """
    sizes = {p.index: count(p.shape) for p in parameters if count(p.shape)}
    left = sum(macs.values()) // MACS_A_LOOK
    whole: list[slice] = []
    rest = {p.index: p for p in parameters}
    for index in sorted(sizes, key=lambda one: -macs.get(one, 0) / sizes[one]):
        if sizes[index] <= left:
            left -= sizes[index]
            whole.append(flat.slices[index])
            del rest[index]
    views = [flat.diff[place] for place in _joined(whole, flat)]
    return [*views, *(view for p in rest.values() for view in edges(p, flat, large))]


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
