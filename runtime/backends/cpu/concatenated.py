"""Concat whose bottoms are written where they belong, by the kernels that can.

With several images these are convolutions, poolings of the usual windows, and Concat
itself. What others compute is written in place where it is contiguous in the top.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Sequence
from typing import Any

from netspec.graph import Graph
from netspec.graph.concatenated import Concatenated
from runtime.arrays import Array
from runtime.backends.cpu.inference import Groups, redirected
from runtime.backends.cpu.layers.convolution import Convolution, Deconvolution
from runtime.backends.cpu.layers.elementwise import Concat, EltwiseSum, ReLU
from runtime.backends.cpu.layers.inner_product import InnerProduct
from runtime.backends.cpu.layers.pooling import Pooling
from runtime.backends.cpu.machine.compiled import Call
from runtime.layers.base import Kernel

ALONE = (Concat, Convolution, Deconvolution, EltwiseSum, InnerProduct, Pooling, ReLU)


class InPlace:
    """The calls that write bottoms of Concat in place.

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
        self._graph, self._kernels = graph, kernels
        self._grouped, self._linked = groups.nodes, linked
        self._group_of = {one.nodes[-1]: one for one in groups.groups}
        self.bottoms = Concatenated(graph, kept, self._together, self._fits)
        self._inside = self.bottoms.inside

    def _together(self, node: int) -> Sequence[int]:
        group = self._group_of.get(node)
        return [node] if group is None else group.nodes

    def _fits(self, nodes: Sequence[int], contiguous: bool) -> bool:
        group = self._group_of.get(nodes[-1])
        if group is not None:
            return contiguous or (group.total is None and _skips(group.head))
        kernel = self._kernels[nodes[-1]]
        linked = nodes[-1] in self._grouped or nodes[-1] in self._linked
        if linked and not isinstance(kernel, Concat):
            return False
        return isinstance(kernel, ALONE) and (contiguous or _skips(kernel))

    def _place(self, edge: int, y: Array) -> Array:
        """Return the memory of an edge, which is y unless it is written in place."""
        if edge not in self._inside:
            return y
        node, place = self._inside[edge]
        kernel: Any = self._kernels[node]
        axis = kernel.op.axis
        start = sum(shape[axis] for shape in kernel.op.bottoms[:place])
        end = start + kernel.op.bottoms[place][axis]
        whole = self._place(self._graph.nodes[node].tops[0], kernel.y)
        return whole[(slice(None),) * axis + (slice(start, end),)]

    def calls(self) -> dict[int, list[Call]]:
        """Return the calls of all nodes that write, or are, one of these."""
        found: dict[int, list[Call]] = {}
        for edge, (concat, _) in self._inside.items():
            nodes = self._together(self.bottoms.maker(edge))
            last: Any = self._kernels[nodes[-1]]
            y = self._place(edge, last.y)
            found[concat] = self._joined(concat)
            if nodes[-1] in self._group_of:
                found[nodes[0]] = self._group_of[nodes[-1]].calls(y)
            elif isinstance(last, Concat):
                found[nodes[0]] = self._joined(nodes[0])
            else:
                found[nodes[0]] = redirected(last, y, last.forward_calls)
        return found

    def _joined(self, node: int) -> list[Call]:
        """Return the calls of a Concat, which copy what is not in its place."""
        kernel: Any = self._kernels[node]
        y = self._place(kernel.node.tops[0], kernel.y)
        there = [self._inside.get(e, (-1, 0))[0] == node for e in kernel.node.bottoms]
        calls: list[Call] = kernel.calls_beside(y, there)
        return calls

    def left_out(self) -> list[tuple[Sequence[int], Sequence[int]]]:
        """Return the nodes that compute these bottoms, and what they do not write."""
        found: list[tuple[Sequence[int], Sequence[int]]] = []
        for edge in self._inside:
            nodes: set[int] = set()
            edges = {edge}
            self._made_by(edge, nodes, edges)
            found.append((sorted(nodes), sorted(edges, key=self.bottoms.maker)))
        return found

    def _made_by(self, edge: int, nodes: set[int], edges: set[int]) -> None:
        """Add what makes a bottom, and what is not written of what that reads."""
        producer = self.bottoms.maker(edge)
        nodes.update(self._together(producer))
        if producer in self._group_of:
            edges.update(self._group_of[producer].unwritten)
            return
        for bottom in self._graph.nodes[producer].bottoms:
            if self._inside.get(bottom, (-1, 0))[0] == producer:
                edges.add(bottom)
                self._made_by(bottom, nodes, edges)


def _skips(kernel: Kernel[Any]) -> bool:
    """Whether a kernel can leave other memory between the images that it writes."""
    if isinstance(kernel, Convolution | Deconvolution):
        return all(algorithm.skips for algorithm in kernel.algorithms())
    if isinstance(kernel, Pooling):
        return kernel.skips
    return isinstance(kernel, Concat) and kernel.op.axis == 1
