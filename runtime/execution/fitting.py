"""Whether a net fits into memory, asked before any of it is taken."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from netspec import room
from netspec.errors import MachineError
from netspec.graph import Graph, Node, Parameter
from netspec.graph.memory import lay_out, requests_of
from netspec.ops.base import count, label
from runtime.arena import Arenas
from runtime.layers.base import Context
from runtime.primitives import Primitives


@contextmanager
def fitting(
    graph: Graph,
    context: Context,
    parameters: Iterable[Parameter],
    keep: Container[str] | None,
    arenas: Arenas | None = None,
    most: int | None = None,
) -> Iterator[None]:
    """Run a block that takes the memory of a graph, if there is enough of it.

    parameters: those that are still to be taken, with their gradients.
    keep: the blobs whose contents are kept, None for all.
    arenas: what the net has already for blobs of other shapes.
    most: what it will take at most, where that is known.

    Raises `MachineError`, naming the largest layer, where the forecast is above what
    can be had on the host or on the device, before the block runs; or where memory ends
    within it.
    """
    own = tuple(parameters)
    sizes = _sizes_of(context)
    _check(graph, own, keep, sizes, context.backend, arenas, most)
    try:
        yield
    except MemoryError as error:
        raise _ended(graph, own, keep, sizes, context.backend) from error


def refuse_if_ran_out(
    error: MemoryError, graph: Graph, context: Context, keep: Container[str] | None
) -> None:
    """Raise `MachineError` if an error of a pass means that the device is full."""
    if context.backend.ran_out(error):
        own, sizes = graph.parameters, _sizes_of(context)
        raise _ended(graph, own, keep, sizes, context.backend) from error


def check_arena(graph: Graph, context: Context, nbytes: int) -> None:
    """Refuse the arena of a plan on a device that has no room for it.

    Its size is known to the byte only then, with what kernels ask for.

    Raises `MachineError`.
    """
    backend = context.backend
    if backend.on_host or nbytes <= room.ALWAYS_FITS:
        return
    there = backend.room_bytes()
    if there is not None and nbytes > there:
        said = _had(there, backend)
        raise MachineError(_said(graph, nbytes, _sizes_of(context), said, backend))


@dataclass(frozen=True)
class _Sizes:
    """Bytes of a value: the least of a blob, and of a parameter."""

    blob: int
    parameter: int


def _sizes_of(context: Context) -> _Sizes:
    itemsize = np.dtype(context.dtype).itemsize
    half = context.precision in ("bf16", "fp16")
    return _Sizes(2 if half else itemsize, itemsize)


def _check(
    graph: Graph,
    own: Sequence[Parameter],
    keep: Container[str] | None,
    sizes: _Sizes,
    backend: Primitives,
    arenas: Arenas | None,
    at_most: int | None,
) -> None:
    blobs = sum(count(edge.shape) for edge in graph.edges)
    values = sum(count(p.shape) for p in own)
    most = 2 * (sizes.blob * blobs + sizes.parameter * values)
    if most <= room.ALWAYS_FITS:
        return
    there = backend.room_bytes()
    if there is None or most <= there:
        return
    there = there if arenas is None else arenas.room(there)
    needed = _needed(graph, own, keep, sizes)
    needed = needed if at_most is None else min(needed, at_most)
    if needed > there:
        raise MachineError(_said(graph, needed, sizes, _had(there, backend), backend))


def _had(there: int, backend: Primitives) -> str:
    where = "here" if backend.on_host else f"on device {backend.name!r}"
    return f"of which {room.in_words(there)} can be had {where}"


def _ended(
    graph: Graph,
    own: Sequence[Parameter],
    keep: Container[str] | None,
    sizes: _Sizes,
    backend: Primitives,
) -> MachineError:
    needed = _needed(graph, own, keep, sizes)
    where = "there" if backend.on_host else f"on device {backend.name!r}"
    return MachineError(_said(graph, needed, sizes, f"which is not {where}", backend))


def _needed(
    graph: Graph,
    own: Sequence[Parameter],
    keep: Container[str] | None,
    sizes: _Sizes,
) -> int:
    training = any(node.backward for node in graph.nodes)
    requests = requests_of(graph, training=training, keep=keep, itemsize=sizes.blob)
    parameters = 2 * sizes.parameter * sum(count(p.shape) for p in own)
    return parameters + lay_out(requests).total_bytes


def _said(
    graph: Graph, needed: int, sizes: _Sizes, rest: str, backend: Primitives
) -> str:
    layers = [_bytes_of(graph, node, sizes) for node in graph.nodes]
    largest = graph.nodes[layers.index(max(layers))]
    half = "" if backend.on_host or sizes.blob == 2 else ", precision 'bf16'"
    return (
        f"net {graph.name!r} needs {room.in_words(needed)} of memory, {rest}; most of "
        f"it takes {label(largest.layer)}, {room.in_words(max(layers))} for its "
        f"blobs and parameters. Use a smaller batch or fewer outputs{half}, or a "
        f"machine with more memory"
    )


def _bytes_of(graph: Graph, node: Node, sizes: _Sizes) -> int:
    """Return what the tops and parameters of a layer take, with their gradients."""
    read = {graph.edges[edge].buffer for edge in node.bottoms}
    tops = (graph.edges[edge] for edge in node.tops)
    values = sum(
        count(edge.shape) * (1 + node.backward)
        for edge in tops
        if edge.buffer not in read
    )
    owned = (p for p in graph.parameters if p.owner.node == node.index)
    parameters = 2 * sum(count(p.shape) for p in owned)
    return sizes.blob * values + sizes.parameter * parameters
