"""Gradients of forks: the sum of several goes where the first of them is."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace

from netspec.graph.memory import kept_edges
from netspec.graph.types import Graph


def share_fork_gradients(graph: Graph, keep: Container[str] | None) -> Graph:
    """Return a graph whose Splits add up gradients in the memory of the first.

    The gradient of a Split is the sum of those of its tops, dx = dy_0 + dy_1 + ..., of
    which nobody needs the first any more. One that is kept, or that holds the weight of
    a loss, stays as it is. keep: as of `requests_of`.
    """
    if keep is None or graph.stale:
        return graph
    gradients = [edge.gradient for edge in graph.edges]
    filled = {
        gradients[edge]
        for node in graph.nodes
        for edge, weight in zip(node.tops, node.loss_weights, strict=True)
        if weight
    }
    held = filled | {gradients[edge] for edge in kept_edges(graph, keep)}
    for node in graph.nodes:
        if node.type != "Split" or not (node.backward and node.propagate[0]):
            continue
        first = next((top for top in node.tops if _is_written(graph, top)), None)
        if first is None or gradients[first] in held:
            continue
        before, after = gradients[node.bottoms[0]], gradients[first]
        if before in filled:
            continue
        gradients = [before if one == after else one for one in gradients]
    edges = (
        replace(edge, gradient=gradient)
        for edge, gradient in zip(graph.edges, gradients, strict=True)
    )
    return replace(graph, edges=tuple(edges))


def _is_written(graph: Graph, number: int) -> bool:
    """Tell whether a layer computes the gradient of an edge."""
    return any(
        graph.nodes[node].backward and graph.nodes[node].propagate[place]
        for node, place in graph.edges[number].consumers
    )
