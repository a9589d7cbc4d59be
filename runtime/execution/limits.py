"""A limit of memory: what of it blobs may have, and layers that run again for it."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from netspec import room
from netspec.errors import UnsupportedError
from netspec.graph import Graph, Node
from netspec.graph.dropping import Facts
from netspec.graph.recompute import Recomputation, recompute, too_small, trains
from netspec.ops.base import count
from runtime.arena import total_bytes
from runtime.arrays import ArraySpec
from runtime.backends import Backend
from runtime.backends.base import Fusion
from runtime.layers.base import Clock, Context, Kernel


@dataclass(frozen=True)
class MemoryLimit:
    """The most bytes that a net may take when it runs, and when it is trained.

    history: arrays that the solver has for each parameter, beside gradients. others:
    bytes of what else shares the limit, such as nets for tests. hint: what more a
    message says that can be done.
    """

    nbytes: int
    history: int = 0
    others: int = 0
    hint: str = ""

    def fixed_bytes(self, graph: Graph, itemsize: int) -> int:
        """Return what parameters take, with their gradients and history.

        Where nothing runs backward, nobody writes a gradient.
        """
        sizes = [itemsize * count(parameter.shape) for parameter in graph.parameters]
        copies = 2 + self.history if trains(graph) else 1
        return self.others + copies * total_bytes(sizes)


def limit_of(
    given: str | float | MemoryLimit | None, backend: Backend
) -> MemoryLimit | None:
    """Return the limit that a caller gives.

    Raises `SpecError` for what is none, `UnsupportedError` for one on a device.
    """
    if given is None:
        return None
    if not backend.on_host:
        raise UnsupportedError(
            f"memory_limit: backend {backend.name!r} computes nothing again in "
            f"backward yet; use backend 'numpy', or a smaller batch with iter_size"
        )
    if isinstance(given, MemoryLimit):
        return given
    return MemoryLimit(room.bytes_of(given))


def check_whole(found: Recomputation | None, first: int, last: int) -> None:
    """Refuse a backward pass over some layers of a net that computes blobs again.

    Their memory is theirs at one time of a whole pass only.

    Raises `UnsupportedError`.
    """
    if found is not None and found.again:
        names = [found.graph.nodes[one].name for one in (last, first)]
        raise UnsupportedError(
            f"backward from layer {names[0]!r} to {names[1]!r}: with memory_limit, "
            f"{len(found.again)} layers are computed again in backward, which goes "
            f"through all layers only; leave start and end out, or make the net "
            f"without memory_limit"
        )


class PastClock(Clock):
    """What the clock of a net was when a layer ran forward: for running it again."""

    def __init__(self, ran: Sequence[int], node: int) -> None:
        self._ran, self._node = ran, node

    @property
    def value(self) -> int:  # type: ignore[override]
        """The number of the pass."""
        return self._ran[self._node]


def sizes_of(
    wanted: Sequence[Mapping[str, ArraySpec]], dtype: str, life: str
) -> dict[int, dict[str, int]]:
    """Return the bytes of the arrays of one life, by node and name."""
    sizes: dict[int, dict[str, int]] = {}
    for index, specs in enumerate(wanted):
        for name, spec in specs.items():
            if spec.life == life:
                nbytes = count(spec.shape) * np.dtype(spec.dtype or dtype).itemsize
                sizes.setdefault(index, {})[name] = nbytes
    return sizes


def most_scratch(wanted: Sequence[Mapping[str, ArraySpec]], dtype: str) -> int:
    """Return the scratch of the layer that needs most."""
    scratch = sizes_of(wanted, dtype, "scratch").values()
    return max((total_bytes(list(sizes.values())) for sizes in scratch), default=0)


def within(
    graph: Graph,
    limit: MemoryLimit,
    made: Callable[[Graph], tuple[Sequence[Kernel[Any]], Fusion | None]],
    keep: Container[str] | None,
    dtype: str,
) -> Recomputation:
    """Choose what runs again so that a net stays within its limit.

    made: returns the kernels of a graph, and which of them run as one.

    Raises `LimitError` that tells the least with which it can be.
    """
    known: dict[int, tuple[list[Mapping[str, ArraySpec]], Facts]] = {}

    def told(one: Graph) -> tuple[list[Mapping[str, ArraySpec]], Facts]:
        if id(one) not in known:
            kernels, fusion = made(one)
            wanted: list[Mapping[str, ArraySpec]] = [one.arrays() for one in kernels]
            saved = sizes_of(wanted, dtype, "saved")
            known[id(one)] = wanted, Facts(saved)
            if fusion is not None:
                fixed = {node for nodes, _ in fusion.left_out() for node in nodes}
                facts = Facts(saved, tuple(fusion.touched()), frozenset(fixed))
                known[id(one)] = wanted, facts
        return known[id(one)]

    itemsize = np.dtype(dtype).itemsize
    first = told(graph)[0]
    beside = most_scratch(first, dtype)
    states = sizes_of(first, dtype, "state").values()
    beside += sum(sum(sizes.values()) for sizes in states)
    fixed = limit.fixed_bytes(graph, itemsize) + beside
    found = recompute(
        graph, keep, lambda one: told(one)[1], limit.nbytes - fixed, itemsize
    )
    least = fixed + found.total_bytes
    if least > limit.nbytes:
        raise too_small(graph, limit.nbytes, least, found, limit.hint)
    return replace(found, beside=beside)


def late_nodes(graph: Graph, found: Recomputation) -> frozenset[int]:
    """Return the nodes whose backward kernels have other arrays than forward."""
    dropped = found.timeline.dropped

    def reads(node: Node) -> bool:
        edges = (*node.bottoms, *node.tops)
        return any(graph.edges[edge].buffer in dropped for edge in edges)

    late = {node.index for node in graph.nodes if node.backward and reads(node)}
    return found.again | late


def late_kernel(
    kernel: Kernel[Any], node: Node, context: Context, ran: Sequence[int]
) -> Kernel[Any]:
    """Return one like the kernel of a node that repeats what it did in a pass.

    ran: the number of the pass in which each node ran last.
    """
    past = replace(context, clock=PastClock(ran, node.index))
    made = type(kernel)(node, past)
    made.again = True
    return made
