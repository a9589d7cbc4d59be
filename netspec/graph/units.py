"""What may be dropped and computed again: layers, their blobs, and estimates of times.

Blobs are dropped in *units*: what layers in place on one another write is computed by
all of them or not at all.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass

from netspec.graph.memory import FLOAT_BYTES, aligned, backward_reads
from netspec.graph.types import Graph, Node
from netspec.ops.base import count
from netspec.ops.convolution import Convolution

# Rates of one of today's processors with two threads; only their ratios matter.
MACS_PER_SECOND = 1.1e11
BYTES_PER_SECOND = 3e10
# Of the multiply-adds of kernels of 3 x 3 and 5 x 5 that move by one place, those that
# Winograd's algorithm leaves.
WINOGRAD = 0.4
# Passes over their blobs that layers take the time of, where it is not one: ReLU and
# Scale mostly run as one with the layer ahead.
PASSES = {
    "BN": 1.5,
    "BatchNorm": 1.5,
    "LRN": 13.0,
    "MVN": 3.0,
    "Pooling": 1.5,
    "ReLU": 0.3,
    "Scale": 0.3,
}
BACKWARD = 2.0  # times that of forward
# Layers whose tops follow from bottoms, parameters and the number of the pass alone.
REPEATABLE = frozenset(
    [
        *("AbsVal", "Axpy", "BN", "BNLL", "BatchNorm", "Bias", "Clip", "Concat"),
        *("Convolution", "Crop", "Deconvolution", "Dropout", "ELU", "Eltwise", "Exp"),
        *("InnerProduct", "Interp", "LRN", "Log", "MVN", "Normalize", "PReLU"),
        *("Permute", "Pooling", "Power", "ReLU", "ReLU6", "Reorg", "SPP", "Scale"),
        *("SeLu", "ShuffleChannel", "Sigmoid", "Slice", "Softmax", "Swish", "TanH"),
        *("Threshold", "Tile", "Upsample"),
    ]
)


@dataclass(frozen=True)
class Unit:
    """Layers that are computed again together, and the buffers that they write."""

    nodes: tuple[int, ...]
    buffers: tuple[int, ...]
    needs: frozenset[int]  # buffers that they read and others write
    nbytes: int  # of the buffers, and of what the layers save
    seconds: float


def seconds_of(node: Node) -> float:
    """Estimate the time of one layer forward."""
    if node.op.alias:
        return 0.0
    moved = sum(count(shape) for shape in (*node.op.bottoms, *node.op.tops))
    passes = PASSES.get(node.type, 1.0)
    bandwidth = FLOAT_BYTES * moved * passes / BYTES_PER_SECOND
    macs = node.op.macs * (WINOGRAD if _saves_macs(node) else 1)
    return macs / MACS_PER_SECOND + bandwidth


def _saves_macs(node: Node) -> bool:
    """Tell whether Winograd's algorithm can do a convolution."""
    op = node.op
    if not isinstance(op, Convolution) or op.group > 1:
        return False
    return op.kernel in {(3, 3), (5, 5)} and {*op.stride, *op.dilation} == {1}


def units_of(
    graph: Graph,
    whole: Container[int],
    times: Sequence[float],
    saved: Mapping[int, int],
    itemsize: int,
    fixed: Container[int] = (),
) -> Iterator[Unit]:
    """Yield what may be dropped and computed again.

    whole: buffers that are kept the whole time. fixed: nodes that must not run again.
    """
    buffers_of = [
        tuple(dict.fromkeys(graph.edges[top].buffer for top in node.tops))
        if not node.op.alias
        else ()
        for node in graph.nodes
    ]
    group = {buffer: buffer for buffers in buffers_of for buffer in buffers}

    def root(buffer: int) -> int:
        while group[buffer] != buffer:
            buffer = group[buffer]
        return buffer

    for buffers in buffers_of:
        for other in buffers[1:]:
            group[root(other)] = root(buffers[0])
    nodes: dict[int, list[Node]] = {}
    for node in graph.nodes:
        if buffers_of[node.index]:
            nodes.setdefault(root(buffers_of[node.index][0]), []).append(node)
    read_by_others = _read_by_others(graph)
    for members in nodes.values():
        own = {one for node in members for one in buffers_of[node.index]}
        numbers = tuple(node.index for node in members)
        if read_by_others & own or any(one in whole for one in own):
            continue
        if any(one in fixed for one in numbers):
            continue
        if not all(_repeats(graph, node, numbers[0], own) for node in members):
            continue
        read = {graph.edges[e].buffer for node in members for e in node.bottoms}
        sizes: dict[int, int] = {}
        for edge in graph.edges:
            if edge.buffer in own:
                nbytes = aligned(count(edge.shape) * itemsize)
                sizes[edge.buffer] = max(nbytes, sizes.get(edge.buffer, 0))
        yield Unit(
            nodes=numbers,
            buffers=tuple(sorted(own)),
            needs=frozenset(read - own),
            nbytes=sum(sizes.values()) + sum(saved.get(one, 0) for one in numbers),
            seconds=sum(times[one] for one in numbers),
        )


def _read_by_others(graph: Graph) -> set[int]:
    """Return the buffers that the gradients of layers read which are not repeatable."""
    return {
        graph.edges[edge].buffer
        for node in graph.nodes
        if node.backward and node.type not in REPEATABLE and not node.op.alias
        for edge in backward_reads(node)
    }


def _repeats(graph: Graph, node: Node, first: int, own: Container[int]) -> bool:
    """Tell whether a node can run again as part of a unit that begins with `first`.

    What it reads must be there before the unit begins, and be the last that is written
    into its memory, unless the unit itself writes it.
    """
    op = node.op
    if node.type not in REPEATABLE or op.keeps_blobs or op.learns_shapes:
        return False
    if node.index in graph.stale:
        return False
    for edge in (graph.edges[one] for one in node.bottoms):
        if edge.buffer in own:
            continue
        if edge.producer >= first or _is_overwritten(graph, edge.index):
            return False
    return True


def _is_overwritten(graph: Graph, number: int) -> bool:
    """Tell whether a layer in place writes over an edge later."""
    edge = graph.edges[number]
    return any(
        other.buffer == edge.buffer
        and other.producer > edge.producer
        and not graph.nodes[other.producer].op.alias
        for other in graph.edges
    )
