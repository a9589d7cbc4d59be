"""Layers that may work in place though their blobs have names of their own.

Files of converters give every layer a blob of its own. A blob that one layer reads and
nobody keeps is *private*: the layer may write over it, as if the file had said so.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, replace

from netspec.graph.memory import kept_edges
from netspec.graph.types import Edge, Graph, Node
from netspec.ops.base import Op
from netspec.ops.batch_norm import BatchNorm
from netspec.ops.opaque import Opaque
from netspec.ops.scale import Scale


def share_private(graph: Graph, keep: Container[str] | None) -> Graph:
    """Return a graph whose layers write over private blobs where they can.

    keep: the names of the blobs that are kept; with None nothing is private. The rules
    are those of layers in place: what a gradient reads, what several layers read, and
    gradients that hold loss weights stay as they are. A blob that is kept keeps its
    gradient to itself.
    """
    if keep is None or graph.stale:
        return graph
    sharing = _Sharing(graph, kept_edges(graph, keep))
    for node in graph.nodes:
        sharing.take(node)
    return sharing.graph()


@dataclass(frozen=True)
class _Memory:
    """The edges that lie in the same memory, and who reads it in its own gradient."""

    edges: list[int]
    readers: list[Op]


class _Sharing:
    """The memory of edges while private blobs get that of others."""

    def __init__(self, graph: Graph, kept: Container[int]) -> None:
        self._graph, self._kept = graph, kept
        self._ops = [node.op for node in graph.nodes]
        self._data = [edge.buffer for edge in graph.edges]
        self._diff = [edge.gradient for edge in graph.edges]
        self._memory: dict[int, _Memory] = {}
        for edge in graph.edges:
            memory = self._memory.setdefault(edge.buffer, _Memory([], []))
            memory.edges.append(edge.index)
        self._diffs: dict[int, list[int]] = {}
        for edge in graph.edges:
            self._diffs.setdefault(edge.gradient, []).append(edge.index)
        for node in graph.nodes:
            for place in node.op.backward_tops if node.backward else ():
                buffer = graph.edges[node.tops[place]].buffer
                self._memory[buffer].readers.append(node.op)
        self._seeded = _seeded(graph)

    def graph(self) -> Graph:
        """Return the graph with the memory as it is now."""
        graph = self._graph
        edges = [
            replace(edge, buffer=data, gradient=diff)
            for edge, data, diff in zip(
                graph.edges, self._data, self._diff, strict=True
            )
        ]
        nodes = [
            node if node.op is op else replace(node, op=op)
            for node, op in zip(graph.nodes, self._ops, strict=True)
        ]
        return replace(graph, nodes=tuple(nodes), edges=tuple(edges))

    def take(self, node: Node) -> None:
        """Let a node write over its bottom if it can."""
        if not _may_write_over(node):
            return
        source, target = (self._graph.edges[e[0]] for e in (node.bottoms, node.tops))
        before, after = self._data[source.index], self._data[target.index]
        if before == after or after != target.index:
            return
        if any(not self._is_private(edge) for edge in self._memory[before].edges):
            return
        op = self._over_bottom(node)
        if node.backward and 0 in op.backward_bottoms:
            return
        writers = [
            self._ops[self._graph.edges[e].producer] for e in self._memory[after].edges
        ]
        keeps_sign = op.keeps_sign and all(one.keeps_sign for one in writers)
        readers = self._memory[before].readers
        if any(not (one.reads_sign and keeps_sign) for one in readers):
            return
        self._ops[node.index] = op
        moved = self._memory.pop(after)
        for edge in moved.edges:
            self._data[edge] = before
        self._memory[before].edges.extend(moved.edges)
        self._memory[before].readers.extend(moved.readers)
        if node.backward and node.propagate[0]:
            self._share_gradient(source.index, target.index)

    def _share_gradient(self, source: int, target: int) -> None:
        before, after = self._diff[source], self._diff[target]
        together = self._diffs[after]
        if before == after or any(
            edge in self._seeded or edge in self._kept for edge in together
        ):
            return
        for edge in together:
            self._diff[edge] = before
        self._diffs[before].extend(self._diffs.pop(after))

    def _is_private(self, index: int) -> bool:
        """Whether an edge is read by one layer only, and by nobody else."""
        edge = self._graph.edges[index]
        producer = self._graph.nodes[edge.producer]
        op = producer.op
        return (
            index not in self._kept
            and len(edge.consumers) == 1
            and producer.type != "Split"
            and not (op.is_source or op.learns_shapes or op.resizable)
        )

    def _over_bottom(self, node: Node) -> Op:
        """Return the op of a node as it is where it writes over its bottom.

        A Scale in training would copy its bottom; behind a BatchNorm of the same
        channels, what that keeps is its bottom.
        """
        op = node.op
        if node.backward and isinstance(op, Scale) and len(op.bottoms) == 1:
            below = self._producer(node)
            if _normalizes(below, op):
                return replace(op, over_bottom=True)
        return op

    def _producer(self, node: Node) -> Node:
        edge: Edge = self._graph.edges[node.bottoms[0]]
        return self._graph.nodes[edge.producer]


def _normalizes(node: Node, scale: Scale) -> bool:
    """Whether a node keeps what a Scale behind it multiplies."""
    op = node.op
    return (
        type(op) is BatchNorm
        and node.backward
        and op.statistics == "batch"
        and (scale.axis, scale.scale_shape) == (1, (op.channels,))
    )


def _may_write_over(node: Node) -> bool:
    op = node.op
    return (
        op.in_place
        and not op.alias
        and not isinstance(op, Opaque)
        and len(node.bottoms) > 0
        and len(node.tops) > 0
        and op.tops[0] == op.bottoms[0]
    )


def _seeded(graph: Graph) -> set[int]:
    """Return the edges whose gradient memory holds a loss weight."""
    found: set[int] = set()
    for node in graph.nodes:
        weights: Sequence[float] = node.loss_weights
        found.update(e for e, w in zip(node.tops, weights, strict=True) if w)
    gradients = {graph.edges[edge].gradient for edge in found}
    return {edge.index for edge in graph.edges if edge.gradient in gradients}
