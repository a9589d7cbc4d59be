"""Gradients that need no memory of their own: of forks, and of sums."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace

from netspec.graph.memory import kept_edges
from netspec.graph.types import Graph, Node
from netspec.ops.eltwise import Eltwise


def share_gradients(graph: Graph, keep: Container[str] | None) -> Graph:
    """Return a graph whose forks and sums write over gradients that nobody needs.

    The gradient of a Split is the sum of those of its tops, dx = dy_0 + dy_1 + ..., and
    goes where the first of them was. That of a sum is the same for every bottom of
    coefficient 1, dx_i = dy, so that the first of them needs no copy. One that is kept,
    or that holds the weight of a loss, stays as it is. keep: as of `requests_of`.
    """
    if keep is None or graph.stale:
        return graph
    sharing = _Sharing(graph, keep)
    for node in graph.nodes:
        if node.backward and node.type == "Split":
            sharing.fork(node)
        elif node.backward and isinstance(node.op, Eltwise):
            sharing.sum(node, node.op)
    edges = (
        replace(edge, gradient=gradient)
        for edge, gradient in zip(graph.edges, sharing.gradients, strict=True)
    )
    return replace(graph, edges=tuple(edges))


class _Sharing:
    """Where the gradient of every edge lies, while some move together."""

    def __init__(self, graph: Graph, keep: Container[str]) -> None:
        self._graph = graph
        self.gradients = [edge.gradient for edge in graph.edges]
        self._filled = {
            self.gradients[edge]
            for node in graph.nodes
            for edge, weight in zip(node.tops, node.loss_weights, strict=True)
            if weight
        }
        kept = {self.gradients[edge] for edge in kept_edges(graph, keep)}
        self._held = self._filled | kept

    def fork(self, node: Node) -> None:
        """Let the sum go where the first of the gradients of a Split is."""
        first = next((top for top in node.tops if self._is_written(top)), None)
        if first is None or not node.propagate[0]:
            return
        bottom = node.bottoms[0]
        if self.gradients[bottom] not in self._filled:
            self._join(bottom, first)

    def sum(self, node: Node, op: Eltwise) -> None:
        """Let the first bottom that may have the gradient of a sum itself have it."""
        top = node.tops[0]
        if op.operation != "SUM" or self.gradients[top] in self._held:
            return
        for bottom, coeff, wanted in zip(
            node.bottoms, op.coeff, node.propagate, strict=True
        ):
            alone = len(self._graph.edges[bottom].consumers) == 1
            if coeff == 1 and wanted and alone and self._join(top, bottom):
                return

    def _join(self, stays: int, moves: int) -> bool:
        """Give the gradient of an edge the memory of another, if nobody needs it."""
        before, after = self.gradients[stays], self.gradients[moves]
        if after in self._held or before == after:
            return False
        self.gradients = [before if one == after else one for one in self.gradients]
        return True

    def _is_written(self, number: int) -> bool:
        """Tell whether a layer computes the gradient of an edge."""
        nodes = self._graph.nodes
        return any(
            nodes[node].backward and nodes[node].propagate[place]
            for node, place in self._graph.edges[number].consumers
        )
