"""Whether a net fits into memory, asked before any of it is taken."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from contextlib import contextmanager

import numpy as np

from netspec.errors import MachineError
from netspec.graph import Graph, Node, Parameter
from netspec.graph.memory import lay_out, requests_of
from netspec.ops.base import count, label
from runtime import room
from runtime.layers.base import Context


@contextmanager
def fitting(
    graph: Graph,
    context: Context,
    parameters: Iterable[Parameter],
    keep: Container[str] | None,
) -> Iterator[None]:
    """Run a block that takes the memory of a graph, if there is enough of it.

    parameters: those that are still to be taken, with their gradients.
    keep: the blobs whose contents are kept, None for all.

    Raises `MachineError`, naming the largest layer, where the forecast is above what
    can be had on the host, before the block runs; or where memory ends within it.
    """
    own = tuple(parameters)
    itemsize = np.dtype(context.dtype).itemsize
    if context.backend.xp is np:
        _check(graph, own, keep, itemsize)
    try:
        yield
    except MemoryError as error:
        needed = _needed(graph, own, keep, itemsize)
        raise MachineError(_said(graph, needed, itemsize, "which is not there")) from (
            error
        )


def _check(
    graph: Graph,
    own: tuple[Parameter, ...],
    keep: Container[str] | None,
    itemsize: int,
) -> None:
    blobs = sum(count(edge.shape) for edge in graph.edges)
    most = 2 * itemsize * (blobs + sum(count(p.shape) for p in own))
    if most <= room.ALWAYS_FITS:
        return
    there = room.room_bytes()
    if there is None or most <= there:
        return
    needed = _needed(graph, own, keep, itemsize)
    if needed > there:
        can = f"of which {room.in_words(there)} can be had here"
        raise MachineError(_said(graph, needed, itemsize, can))


def _needed(
    graph: Graph,
    own: tuple[Parameter, ...],
    keep: Container[str] | None,
    itemsize: int,
) -> int:
    training = any(node.backward for node in graph.nodes)
    requests = requests_of(graph, training=training, keep=keep, itemsize=itemsize)
    parameters = 2 * itemsize * sum(count(p.shape) for p in own)
    return parameters + lay_out(requests).total_bytes


def _said(graph: Graph, needed: int, itemsize: int, rest: str) -> str:
    sizes = [_bytes_of(graph, node, itemsize) for node in graph.nodes]
    largest = graph.nodes[sizes.index(max(sizes))]
    return (
        f"net {graph.name!r} needs {room.in_words(needed)} of memory, {rest}; most of "
        f"it takes {label(largest.layer)}, {room.in_words(max(sizes))} for its blobs "
        f"and parameters. Use a smaller batch or fewer outputs, or a machine with more "
        f"memory"
    )


def _bytes_of(graph: Graph, node: Node, itemsize: int) -> int:
    """Return what the tops and parameters of a layer take, with their gradients."""
    read = {graph.edges[edge].buffer for edge in node.bottoms}
    tops = (graph.edges[edge] for edge in node.tops)
    values = sum(
        count(edge.shape) * (1 + node.backward)
        for edge in tops
        if edge.buffer not in read
    )
    owned = (p for p in graph.parameters if p.owner.node == node.index)
    return itemsize * (values + 2 * sum(count(p.shape) for p in owned))
