"""The batch of a model: as it is, another number, or any.

That a batch may be any is found by building the net for two: what differs between the
two graphs is not known before the model runs.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Literal, TypeAlias

from netspec.errors import SpecError, UnsupportedError
from netspec.graph import Graph, Node, build
from netspec.nets.filter import merge_state
from netspec.ops.base import Shape, label
from netspec.schema import TEST, NetParameter

Batch: TypeAlias = "int | Literal['dynamic'] | None"
# Another batch is a multiple of the net's own, so that it divides whatever that does.
MULTIPLES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37)
# Fields of ops that are shapes by another name.
_SHAPES = {
    *("layer", "bottoms", "tops", "params", "macs"),
    *("timesteps", "streams", "scale_shape", "bias_shape"),
}


@dataclasses.dataclass(frozen=True)
class Symbol:
    """A size that only a run tells: its name, and what it is in the two graphs."""

    name: str
    size: int
    other: int


@dataclasses.dataclass(frozen=True)
class Batches:
    """The graph of a net, and the one for another batch if it may have any."""

    graph: Graph
    other: Graph | None = None
    symbols: tuple[Symbol, ...] = ()

    def shape(self, edge: int) -> tuple[int | str | None, ...]:
        """Return the shape of an edge: names for symbols, None for what follows."""
        shape = self.graph.edges[edge].shape
        if self.other is None:
            return shape
        names = {(each.size, each.other): each.name for each in self.symbols}
        pairs = zip(shape, self.other.edges[edge].shape, strict=True)
        return tuple(a if a == b else names.get((a, b)) for a, b in pairs)


@dataclasses.dataclass(frozen=True)
class _Size:
    """A first axis that may be any, and the blobs that have it."""

    name: str
    size: int
    is_input: bool
    blobs: dict[str, Shape]


def with_batch(net: NetParameter, batch: Batch) -> Batches:
    """Return the graph of the TEST phase of a net for a batch.

    batch: None leaves it; a number becomes the first axis of every Input; with
    "dynamic" that axis may have any size, a size for each input if the net allows that,
    otherwise the same for all inputs that have the same size now; where a net fixes
    that of a side input, it stays. A Reshape that states the batch copies it instead.
    How many items a Filter leaves is not known in any case.

    Raises `SpecError` naming the layer that only takes the net's own batch.
    """
    state = merge_state(net, TEST)
    graph = build(net, state)
    if batch is not None:
        graph = build(_relaxed(graph), state)
    if isinstance(batch, int):
        shapes = {
            top: (batch, *shape[1:]) for top, shape in _inputs(graph).items() if shape
        }
        return _for_any(_rebuilt(graph, shapes), inputs=False)
    return _for_any(graph, inputs=batch is not None)


def _for_any(graph: Graph, *, inputs: bool) -> Batches:
    """Return a graph, and one of other sizes where the first ones may be any.

    inputs: whether those of inputs may be; those behind a Filter always are.
    """
    whole = _sizes(graph, inputs=inputs, apart=True)
    if not whole:
        return Batches(graph)
    try:
        return _varied(graph, whole)
    except SpecError:
        if not inputs:
            raise
    groups = _sizes(graph, inputs=True, apart=False)
    try:
        return _varied(graph, groups)
    except SpecError as error:
        found = _most(graph, groups)
        if found is None:
            raise error from None
        return found


def _most(graph: Graph, groups: Sequence[_Size]) -> Batches | None:
    """Return batches of the first size, and of those of the others that may be any.

    What a side input gives an axis of, say channels, stays as it is.
    """
    kept = [size for size in groups if not size.is_input or size is groups[0]]
    found = None
    for size in (None, *(each for each in groups if each not in kept)):
        more = kept if size is None else [*kept, size]
        try:
            found = _varied(graph, more)
            kept = more
        except SpecError:
            if found is None:
                return None
    return found


def _varied(graph: Graph, sizes: Sequence[_Size]) -> Batches:
    """Return the graph, and that in which these sizes are others."""
    symbols, shapes = [], {}
    for size, times in zip(sizes, itertools.cycle(MULTIPLES)):
        symbols.append(Symbol(size.name, size.size, size.size * times))
        for blob, shape in size.blobs.items():
            shapes[blob] = (symbols[-1].other, *shape[1:])
    other = _rebuilt(graph, shapes)
    _compare(graph, other)
    return Batches(graph, other, tuple(symbols))


def _inputs(graph: Graph) -> dict[str, Shape]:
    return {
        graph.edges[edge].blob: graph.edges[edge].shape
        for node in graph.nodes
        if node.type == "Input"
        for edge in node.tops
    }


def _sizes(graph: Graph, *, inputs: bool, apart: bool) -> list[_Size]:
    """Return the first axes that may be any, those of inputs first.

    apart: each input has a size of its own; otherwise those of one size share one.
    """
    found: dict[int | str, _Size] = {}
    for node in sorted(graph.nodes, key=lambda node: node.type != "Input"):
        is_input = node.type == "Input"
        if not (inputs and is_input) and node.type != "Filter":
            continue
        for edge in (graph.edges[number] for number in node.tops):
            if not edge.shape:
                continue
            key: int | str = node.name  # all tops of a Filter have as many items
            if is_input:
                key = f"top {edge.blob}" if apart else edge.shape[0]
            name = "batch" if is_input and not found else f"{edge.blob}_items"
            size = found.setdefault(key, _Size(name, edge.shape[0], is_input, {}))
            size.blobs[edge.blob] = edge.shape
    return list(found.values())


def _relaxed(graph: Graph) -> NetParameter:
    """Return the net of a graph with 0, a copy, where a Reshape states the batch."""
    net = NetParameter()
    net.CopyFrom(graph.message)
    for node, layer in zip(graph.nodes, net.layer, strict=True):
        if node.type != "Reshape" or layer.reshape_param.axis:
            continue
        dims, x = layer.reshape_param.shape.dim, node.op.bottoms[0]
        if len(dims) and x and dims[0] == x[0]:
            dims[0] = 0
    return net


def _rebuilt(graph: Graph, shapes: dict[str, Shape]) -> Graph:
    try:
        return build(graph.message, graph.state, shapes=shapes)
    except SpecError as error:
        told = ", ".join(f"{top!r} {shape}" for top, shape in shapes.items())
        raise error.replaced(
            text=f"{'' if error.layer else 'the net '}only takes its own batch; with "
            f"shapes {told}: {error.text}"
        ) from None


def _compare(graph: Graph, other: Graph) -> None:
    """Refuse layers whose options or parameters depend on the batch."""
    for node, twin in zip(graph.nodes, other.nodes, strict=True):
        what = _difference(node, twin)
        if what:
            raise UnsupportedError(
                f"cannot be written as ONNX: its {what} depends on a size that may be "
                f"any; fix the batch with a number",
                layer=label(node.layer),
            )


def _difference(node: Node, twin: Node) -> str:
    if [each.shape for each in node.op.params] != [
        each.shape for each in twin.op.params
    ]:
        return "parameters' shape"
    fields: Sequence[dataclasses.Field] = dataclasses.fields(node.op)
    for field in fields:
        if field.name not in _SHAPES and getattr(node.op, field.name) != getattr(
            twin.op, field.name
        ):
            return field.name
    return ""
