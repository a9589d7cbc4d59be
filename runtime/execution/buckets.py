"""Gradients in the order in which passes complete them, a stretch at a time.

The gradients of all parameters lie in one flat array, those of the first layers first,
and a pass backward writes it from its end. Whoever wants to work on a stretch while the
rest is computed is told when its last writer is done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from netspec.graph import Graph
from runtime.arena import Flat
from runtime.arrays import Array

if TYPE_CHECKING:
    from runtime.execution.plan import Step
    from runtime.layers.base import Kernel

BUCKET_BYTES = 4 * 2**20  # no other size was faster, from 1 to 16 MiB


@dataclass(frozen=True)
class Bucket:
    """The elements `start` to `stop` of the flat gradient, of these parameters."""

    start: int
    stop: int
    parameters: tuple[int, ...]


def buckets_of(graph: Graph, flat: Flat, nbytes: int = BUCKET_BYTES) -> list[Bucket]:
    """Return the gradients that some layer computes as buckets, in the order of sums.

    Neighbours share one up to `nbytes`; a larger gradient has several to itself. That
    whose last writer comes first in backward is the first, on every rank.
    """
    lowest = {
        parameter.index: min(
            use.node for use in parameter.users if graph.nodes[use.node].learn[use.slot]
        )
        for parameter in graph.parameters
        if parameter.learn and parameter.index in flat.slices
    }
    places = sorted(lowest, key=lambda index: flat.slices[index].start, reverse=True)
    room = max(1, nbytes // flat.diff.dtype.itemsize)
    found: list[Bucket] = []
    stop = flat.unlearned
    held: list[int] = []
    for place, index in enumerate(places):
        held.append(index)
        below = places[place + 1] if place + 1 < len(places) else None
        start = flat.slices[index].start if below is not None else 0
        if below is None or stop - flat.slices[below].start > room:
            found += _pieces(start, stop, tuple(held), room)
            stop, held = start, []
    return sorted(found, key=lambda one: -min(lowest[p] for p in one.parameters))


def _pieces(
    start: int, stop: int, parameters: tuple[int, ...], room: int
) -> list[Bucket]:
    """Cut a stretch into as many equal pieces as it needs, the last one first."""
    count = max(1, -(-(stop - start) // room))
    ends = [start + (stop - start) * place // count for place in range(count + 1)]
    return [
        Bucket(ends[place], ends[place + 1], parameters)
        for place in reversed(range(count))
    ]


class Completion:
    """Who is told how many of some buckets are complete, by all plans of a net.

    tell: called amid a pass backward with the number of buckets, in their order, whose
    gradients nothing of the pass writes any more.
    """

    def __init__(self) -> None:
        self.buckets: Sequence[Bucket] = ()
        self.tell: Callable[[int], None] | None = None

    def within(
        self,
        steps: Sequence[Step],
        kernels: Sequence[Kernel[Any]],
        gradients: Sequence[Array],
    ) -> Sequence[Step]:
        """Return steps of backward, and among them those that tell.

        gradients: of all parameters, as flat arrays.
        """
        if self.tell is None or not self.buckets:
            return steps
        last = _last_writers(steps, kernels, gradients)
        told: dict[int, int] = {}  # behind which step, how many are complete
        behind = 0
        for number, bucket in enumerate(self.buckets, 1):
            behind = max([behind, *(last[index] for index in bucket.parameters)])
            told[behind] = number
        made = []
        for place, step in enumerate(steps):
            made.append(step)
            if place in told:
                made.append(_telling(partial(self.tell, told[place])))
        return made


def _telling(run: Callable[[], None]) -> Step:
    from runtime.execution.plan import Step

    return Step(-1, "gradients", run)


def _last_writers(
    steps: Sequence[Step], kernels: Sequence[Kernel[Any]], gradients: Sequence[Array]
) -> dict[int, int]:
    """Return for each parameter the number of the last step that writes its gradient.

    That is the step of a layer that learns it, or a later one with a call that touches
    it: layers that run as one do so in the step of one of them. Where neither tells, it
    is the last step of all.
    """
    end = max(0, len(steps) - 1)
    last = dict.fromkeys(range(len(gradients)), end)
    found: dict[int, int] = {}
    moved: set[int] = set()
    for place, step in enumerate(steps):
        if step.again is not None or step.node < 0:
            continue
        node = kernels[step.node].node
        for index, learn in zip(node.params, node.learn, strict=True):
            if learn:
                found[index] = place
                if step.calls is not None and not step.calls:
                    moved.add(index)
    touched = dict(_touches(steps, [gradients[index] for index in found], [*found]))
    for index, place in found.items():
        if index in touched:
            last[index] = max(place, touched[index])
        elif index not in moved:
            last[index] = place
    return last


def _touches(
    steps: Sequence[Step], gradients: Sequence[Array], indices: Sequence[int]
) -> Iterable[tuple[int, int]]:
    """Yield (parameter, step) for gradients that calls on the host touch, in order."""
    bounds = sorted(
        (*_bounds(gradient), index)
        for gradient, index in zip(gradients, indices, strict=True)
        if isinstance(gradient, np.ndarray) and gradient.size
    )
    if not bounds:
        return
    low, high = bounds[0][0], max(stop for _, stop, _ in bounds)
    for place, step in enumerate(steps):
        for call in step.calls or ():
            for array in getattr(call, "arrays", ()):
                start, stop = _bounds(array)
                if stop <= low or start >= high:
                    continue
                for first, end, index in bounds:
                    if start < end and first < stop:
                        yield index, place


def _bounds(array: np.ndarray) -> tuple[int, int]:
    """Return the first address of an array and the one behind its last."""
    start = int(array.__array_interface__["data"][0])
    if array.flags.c_contiguous:
        return start, start + array.nbytes
    if not array.size:
        return start, start
    spans = [(n - 1) * s for n, s in zip(array.shape, array.strides, strict=True)]
    below, above = (sum(one for one in spans if (one < 0) == low) for low in (1, 0))
    return start + below, start + above + array.itemsize
