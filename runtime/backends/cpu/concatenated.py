"""Concat whose bottoms are written where they belong, where nothing runs backward.

Whoever computes a bottom that nobody else reads, and nobody keeps, writes it into the
top. With several images a bottom is a run of channels of each: that is done by
convolutions, poolings of the usual windows, and Concat itself. What others compute is
contiguous there if nothing lies ahead of the axis.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterator, Sequence
from typing import Any

from netspec.graph import Graph, Node
from netspec.graph.memory import Touch
from netspec.ops.base import count
from runtime.arrays import Array
from runtime.backends.cpu.inference import Group, Groups, redirected
from runtime.backends.cpu.layers.convolution import Convolution, Deconvolution
from runtime.backends.cpu.layers.elementwise import Concat, EltwiseSum, ReLU
from runtime.backends.cpu.layers.inner_product import InnerProduct
from runtime.backends.cpu.layers.pooling import Pooling
from runtime.backends.cpu.machine.compiled import Call
from runtime.layers.base import Kernel

ALONE = (Concat, Convolution, Deconvolution, EltwiseSum, InnerProduct, Pooling, ReLU)


class Concatenated:
    """The bottoms of Concat layers that are written in place.

    groups: layers that run as one. linked: nodes whose calls depend on neighbours in
    other ways. kept: the edges whose data must be there after a pass.
    """

    def __init__(
        self,
        graph: Graph,
        kernels: Sequence[Kernel[Any] | None],
        groups: Groups,
        linked: Collection[int],
        kept: Container[int],
    ) -> None:
        self._graph, self._kernels, self._groups = graph, kernels, groups
        self._linked, self._kept = linked, kept
        self._group_of = {one.nodes[-1]: one for one in groups.groups}
        self._inside: dict[int, tuple[int, int]] = {}  # edge: Concat, which bottom
        self._apart: set[int] = set()  # those of them with other memory between images
        for node in reversed(graph.nodes):
            kernel = kernels[node.index]
            if isinstance(kernel, Concat) and not node.backward:
                self._take(node, kernel)

    def _take(self, node: Node, kernel: Concat) -> None:
        """Find the bottoms of a Concat that can be written in place."""
        op = kernel.op
        top = node.tops[0]
        first = count(op.tops[0], 0, op.axis) == 1 and top not in self._apart
        if not first and op.axis != 1:
            return
        for place, edge in enumerate(node.bottoms):
            if self._can_be_inside(edge, contiguous=first):
                self._inside[edge] = node.index, place
                if not first:
                    self._apart.add(edge)

    def _can_be_inside(self, index: int, *, contiguous: bool) -> bool:
        edge = self._graph.edges[index]
        node = self._graph.nodes[edge.producer]
        if index in self._kept or len(edge.consumers) != 1 or len(node.tops) != 1:
            return False
        if node.backward or any(node.loss_weights) or not count(edge.shape):
            return False
        group = self._group_of.get(node.index)
        if group is not None:
            return contiguous or (group.total is None and _skips(group.head))
        if node.index in self._groups.nodes or node.index in self._linked:
            return False
        kernel = self._kernels[node.index]
        return isinstance(kernel, ALONE) and (contiguous or _skips(kernel))

    def place(self, edge: int, y: Array) -> Array:
        """Return the memory of an edge, which is y unless it is written in place."""
        if edge not in self._inside:
            return y
        node, place = self._inside[edge]
        kernel: Any = self._kernels[node]
        axis = kernel.op.axis
        start = sum(shape[axis] for shape in kernel.op.bottoms[:place])
        end = start + kernel.op.bottoms[place][axis]
        whole = self.place(self._graph.nodes[node].tops[0], kernel.y)
        return whole[(slice(None),) * axis + (slice(start, end),)]

    def calls(self) -> dict[int, list[Call]]:
        """Return the calls of all nodes that write, or are, one of these."""
        found: dict[int, list[Call]] = {}
        for group in self._groups.groups:
            top = self._graph.nodes[group.nodes[-1]].tops[0]
            last: Any = self._kernels[group.nodes[-1]]
            if top in self._inside:
                found[group.nodes[0]] = group.calls(self.place(top, last.y))
        into = {node for node, _ in self._inside.values()}
        alone = {
            self._maker(edge)
            for edge in self._inside
            if self._maker(edge) not in self._group_of
        }
        for index in sorted(into | alone):
            kernel: Any = self._kernels[index]
            y = self.place(kernel.node.tops[0], kernel.y)
            if isinstance(kernel, Concat):
                inside = [edge in self._inside for edge in kernel.node.bottoms]
                found[index] = kernel.calls_beside(y, inside)
            else:
                found[index] = redirected(kernel, y, kernel.forward_calls)
        return found

    def touched(self) -> Iterator[Touch]:
        """Yield the tops that are written ahead of their own step, and when."""
        for edge in self._inside:
            node = self._maker(edge)
            group = self._group_of.get(node)
            yield self._outermost(edge), "forward", group.nodes[0] if group else node

    def _outermost(self, edge: int) -> int:
        while edge in self._inside:
            edge = self._graph.nodes[self._inside[edge][0]].tops[0]
        return edge

    def left_out(self) -> list[tuple[Sequence[int], Sequence[int]]]:
        """Return the nodes that compute these bottoms, and what they do not write."""
        found: list[tuple[Sequence[int], Sequence[int]]] = []
        for edge in self._inside:
            nodes: set[int] = set()
            edges = {edge}
            self._made_by(edge, nodes, edges)
            found.append((sorted(nodes), sorted(edges, key=self._maker)))
        return found

    def _maker(self, edge: int) -> int:
        return self._graph.edges[edge].producer

    def _made_by(self, edge: int, nodes: set[int], edges: set[int]) -> None:
        """Add what makes a bottom, and what is not written of what that reads."""
        producer = self._maker(edge)
        group: Group | None = self._group_of.get(producer)
        if group is not None:
            nodes.update(group.nodes)
            edges.update(group.unwritten)
            return
        nodes.add(producer)
        for bottom in self._graph.nodes[producer].bottoms:
            if self._inside.get(bottom, (-1, 0))[0] == producer:
                edges.add(bottom)
                self._made_by(bottom, nodes, edges)

    @property
    def heads(self) -> set[int]:
        """The first nodes of groups whose result is one of these bottoms."""
        return {
            group.nodes[0]
            for last, group in self._group_of.items()
            if self._graph.nodes[last].tops[0] in self._inside
        }


def _skips(kernel: Kernel[Any]) -> bool:
    """Whether a kernel can leave other memory between the images that it writes."""
    if isinstance(kernel, Convolution | Deconvolution):
        return all(algorithm.skips for algorithm in kernel.algorithms())
    if isinstance(kernel, Pooling):
        return kernel.skips
    return isinstance(kernel, Concat) and kernel.op.axis == 1
