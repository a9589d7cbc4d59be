"""Where every blob of a net lies on the device: order of axes and storage.

Channels come last in every blob that a kernel wants so (a convolution, a pooling), and
in those that kernels which do not mind tie to it. Values are of 16 bits where the
precision says so and every kernel that touches the blob allows it: labels and losses
stay float32. Blobs of layers written in Python, which find them as they left them, lie
as Caffe has them, and so does one that shares its memory with one of another shape, as
the shapes are views of each other only there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from netspec.graph import Graph, Node
from runtime.backends.cuda.converted import ANYWHERE, Converted
from runtime.backends.cuda.layer import STORAGE
from runtime.backends.cuda.tensor import Order, Place
from runtime.layers.base import Kernel


class _Groups:
    """Edges that lie alike (a disjoint-set forest)."""

    def __init__(self, count: int) -> None:
        self._above = list(range(count))

    def find(self, one: int) -> int:
        """Return the edge that stands for the group of an edge."""
        while self._above[one] != one:
            self._above[one] = one = self._above[self._above[one]]
        return one

    def join(self, one: int, other: int) -> None:
        """Make one group of the groups of two edges."""
        self._above[self.find(one)] = self.find(other)


def arrange(
    graph: Graph, kernels: Sequence[Kernel[Any]], precision: str
) -> tuple[list[Place], list[Kernel[Any]]]:
    """Return the place of every edge, and the kernels, which know them.

    Kernels that get all blobs where they want them come without their conversions.
    """
    groups = _grouped(graph, kernels)
    last: set[int] = set()
    half: set[int] = set()
    barred_half: set[int] = set()
    plain: set[int] = set()
    for node, kernel in zip(graph.nodes, kernels, strict=True):
        for edge, order, may_be_half in _wants(node, kernel):
            group = groups.find(edge)
            if order == "last":
                last.add(group)
            if order is not None and may_be_half:
                half.add(group)
            if not may_be_half:
                barred_half.add(group)
            if node.op.keeps_blobs:
                plain.add(group)
    shapes: dict[int, set[tuple[int, ...]]] = {}
    for one in graph.edges:
        shapes.setdefault(groups.find(one.index), set()).add(one.shape)
    storage = STORAGE[precision]
    places = []
    for one in graph.edges:
        group = groups.find(one.index)
        lies: Order = "first"
        if group in last and group not in plain and len(shapes[group]) == 1:
            lies = "last"
        halved = group in half and group not in barred_half
        places.append(Place(lies, storage if halved else "float32"))
    settled = []
    for node, kernel in zip(graph.nodes, kernels, strict=True):
        if isinstance(kernel, Converted):
            bottoms = [places[edge] for edge in node.bottoms]
            tops = [places[edge] for edge in node.tops]
            kernel.settle(bottoms, tops)
            settled.append(kernel if kernel.converts else kernel.inner)
        else:
            settled.append(kernel)
    return places, settled


def _grouped(graph: Graph, kernels: Sequence[Kernel[Any]]) -> _Groups:
    groups = _Groups(len(graph.edges))
    first_of: dict[tuple[str, int], int] = {}
    for edge in graph.edges:
        for key in (("data", edge.buffer), ("gradient", edge.gradient)):
            groups.join(edge.index, first_of.setdefault(key, edge.index))
    for node, kernel in zip(graph.nodes, kernels, strict=True):
        loose: dict[tuple[int, ...], int] = {}
        own = isinstance(kernel, Converted) and kernel.wanted is not None
        for one, order, may_be_half in _wants(node, kernel) if own else ():
            shape = graph.edges[one].shape
            if order is None and may_be_half:
                groups.join(one, loose.setdefault(shape, one))
    return groups


def _wants(node: Node, kernel: Kernel[Any]) -> list[tuple[int, Order | None, bool]]:
    """Return for every edge of a node where it is wanted, and whether of 16 bits."""
    edges = (*node.bottoms, *node.tops)
    wanted = kernel.wanted if isinstance(kernel, Converted) else None
    if wanted is None:
        # A portable kernel reads a converted copy. Half types are left to own kernels.
        anywhere = node.type in ANYWHERE
        return [(edge, None, anywhere) for edge in edges]
    bottoms, tops = wanted
    orders = (*bottoms.orders, *tops.orders)
    half = (*bottoms.half, *tops.half)
    return list(zip(edges, orders, half, strict=True))
