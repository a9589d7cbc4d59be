"""A part of a net, with its values, as a net of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from netspec.errors import SpecError, did_you_mean
from netspec.graph import Graph, Node
from netspec.nets.phases import layers_of_phase
from netspec.schema import TEST, LayerParameter, NetParameter
from netspec.surgery.parts import Shapes, copied, free_name, graph_of, own_nodes
from netspec.weights import Model


def extract(
    model: Any,
    end: str | Sequence[str],
    start: str | Sequence[str] | None = None,
    *,
    shapes: Shapes | None = None,
) -> Model:
    """Return the part of a model that leads to some layers, or lies between layers.

    Kept are the layers of the TEST phase that `end` needs, with their values. What the
    first of them read and nobody makes any more becomes an Input of the shape that it
    has, and keeps its name.

    model: a `Model`, or what `as_model` takes; it does not change. end: a layer, or a
    blob as it is in the end; or several. start: the first layers to keep; without it
    the part begins with the data. shapes: of tops of data layers, where only files tell
    them.

    Raises `SpecError` for a name that nothing has, and for a start that the end does
    not need.
    """
    result = copied(model)
    net = layers_of_phase(result.net, TEST)
    graph = graph_of(net, shapes)
    ends = [_find(graph, name) for name in _names(end, "end")]
    starts = [] if start is None else _names(start, "start")
    first = {_layer(graph, name).index for name in starts}
    kept = _needed(graph, ends, first)
    for name in starts:
        if _layer(graph, name).index not in kept:
            raise SpecError(
                f"the end does not need layer {name!r}, with which the part is to start"
            )
    part = NetParameter()
    part.CopyFrom(net)
    del part.layer[:]
    nodes = own_nodes(graph)
    part.layer.extend(_inputs(graph, net, kept))
    part.layer.extend(
        layer
        for node, layer in zip(nodes, net.layer, strict=True)
        if node.index in kept
    )
    weights = result.weights
    if weights is not None:
        names = {node.name for node in nodes if node.index in kept}
        weights = {name: held for name, held in weights.items() if name in names}
    return Model(part, weights)


def _names(given: str | Sequence[str], what: str) -> list[str]:
    names = [given] if isinstance(given, str) else [*given]
    if not names:
        raise SpecError(f"{what} is empty; expected names")
    return names


def _layer(graph: Graph, name: str) -> Node:
    nodes = {node.name: node for node in own_nodes(graph)}
    if name not in nodes:
        raise SpecError(f"the net has no layer {name!r}{did_you_mean(name, nodes)}")
    return nodes[name]


def _find(graph: Graph, name: str) -> Node:
    """Return the layer of a name, or else the last one that writes a blob of it."""
    nodes = {node.name: node for node in own_nodes(graph)}
    if name in nodes:
        return nodes[name]
    if name in graph.blobs:
        return graph.nodes[graph.edges[graph.blobs[name]].producer]
    known = [*nodes, *graph.blobs]
    raise SpecError(f"the net has no layer or blob {name!r}{did_you_mean(name, known)}")


def _needed(graph: Graph, ends: Sequence[Node], first: set[int]) -> set[int]:
    """Return the nodes that lead to the ends, down to the first ones to keep."""
    needed: set[int] = set()
    todo = [node.index for node in ends]
    while todo:
        number = todo.pop()
        if number in needed:
            continue
        needed.add(number)
        if number not in first:
            bottoms = graph.nodes[number].bottoms
            todo.extend(graph.edges[edge].producer for edge in bottoms)
    return needed


def _inputs(graph: Graph, net: NetParameter, kept: set[int]) -> list[LayerParameter]:
    """Return an Input for everything that kept layers read and none of them makes."""
    made: set[str] = set()
    taken = {node.name for node in graph.nodes if node.index in kept}
    inputs: dict[str, LayerParameter] = {}
    for node, layer in zip(own_nodes(graph), net.layer, strict=True):
        if node.index not in kept:
            continue
        for place, blob in enumerate(layer.bottom):
            if blob not in made and blob not in inputs:
                name = free_name(blob, taken)
                new = LayerParameter(name=name, type="Input", top=[blob])
                new.input_param.shape.add(dim=node.op.bottoms[place])
                inputs[blob] = new
        made.update(layer.top)
    return [*inputs.values()]
