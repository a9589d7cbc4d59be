"""What a net shows of its layers, and what one plan leaves to the next."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from netspec.graph import Graph
from netspec.graph.memory import requests_of
from netspec.ops.base import Shape
from runtime.data.opening import changed_shapes
from runtime.data.source import Source
from runtime.execution.blob import Blob, BlobVec, LayerInfo
from runtime.execution.mirror import HostView, Mirror
from runtime.execution.parameters import ParameterArrays
from runtime.execution.plan import Plan
from runtime.execution.python_layers.hosted import PythonLayers


@dataclass(frozen=True)
class LayerViews:
    """`net.params` and `net.layers`: of a Python layer, its own object."""

    params: OrderedDict[str, list[Blob]]
    layers: list[Any]


def layer_views(
    graph: Graph,
    arrays: Sequence[ParameterArrays],
    mirror: Mirror,
    python: PythonLayers,
) -> LayerViews:
    """Return the parameters of every layer as blobs, and the layers."""
    params: OrderedDict[str, list[Blob]] = OrderedDict()
    layers: list[Any] = []
    for node in graph.nodes:
        blobs = BlobVec()
        own = python.of(node.layer).layer if node.type == "Python" else None
        for slot, index in enumerate(node.params):
            shape = node.op.params[slot].shape
            w = mirror.weight(arrays[index].data, shape)
            dw = mirror.weight_diff(arrays[index].diff, shape)
            blobs.append(Blob(f"{node.name}[{slot}]", shape, w, dw))
        if blobs:
            params[node.name] = blobs
        layers.append(own or LayerInfo(node.name, node.layer.type, blobs))
    return LayerViews(params, layers)


def edge_views(
    graph: Graph, plan: Plan, mirror: Mirror, name: str, keep: Container[str] | None
) -> tuple[HostView | None, HostView | None]:
    """Return views of the data and the gradient of a blob, as far as they are kept."""
    always = name in graph.inputs or name in graph.outputs
    if keep is not None and name not in keep and not always:
        return None, None
    edge = graph.blobs[name]
    gradient = plan.diff[edge]
    return (
        mirror.view(plan.data[edge]),
        None if gradient is None else mirror.view(gradient),
    )


def carry_over(
    graph: Graph, old: Plan, new: Plan, node: int, keep: Container[str] | None
) -> None:
    """Copy what a pass has computed ahead of `node`, and all inputs, to a new plan.

    Only what is still of use has a place of its own there.
    """
    copy = new.backend.copy
    training = any(one.backward for one in graph.nodes)
    alive = {
        request.name
        for request in requests_of(graph, training=training, keep=keep)
        if request.first <= node <= request.last
    }
    for edge in graph.edges:
        inputs = graph.nodes[edge.producer].type == "Input"
        if inputs or (edge.producer < node and f"data:{edge.buffer}" in alive):
            copy(old.data[edge.index], new.data[edge.index])
    for index in range(node):
        mine, other = new.kernels[index], old.kernels[index]
        mine.take_over(other)
        if not graph.nodes[index].backward:
            continue
        for place, edge_index in enumerate(graph.nodes[index].bottoms):
            kept = mine.bottoms[place]
            if kept is not new.data[edge_index]:  # a copy of what was overwritten
                copy(other.bottoms[place], kept)


def moved_tops(
    graph: Graph, sources: Mapping[str, Source], last: int
) -> dict[str, Shape]:
    """Return the tops of data layers whose next batch has another shape than they.

    last: the last layer of the pass that will take it.
    """
    found: dict[str, Shape] = {}
    for node in graph.nodes[: last + 1]:
        source = sources.get(node.name)
        if source is None:
            continue
        edges = [graph.edges[edge] for edge in node.tops]
        shapes = changed_shapes(source, [edge.shape for edge in edges])
        if shapes is not None:
            names = [edge.blob for edge in edges]
            found.update(zip(names, shapes, strict=True))
    return found
