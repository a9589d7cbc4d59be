"""What a net shows of its layers, and what one plan leaves to the next."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from netspec.graph import Edge, Graph, is_inserted
from netspec.ops.base import Shape
from runtime.data.opening import changed_shapes
from runtime.data.source import Source
from runtime.execution.blob import Blob, BlobVec, LayerInfo
from runtime.execution.mirror import HostView, Mirror
from runtime.execution.named import Layers, Params
from runtime.execution.parameters import ParameterArrays
from runtime.execution.plan import Plan
from runtime.execution.python_layers.hosted import PythonLayers


@dataclass(frozen=True)
class LayerViews:
    """`net.params` and `net.layers`: of a Python layer, its own object."""

    params: Params
    layers: Layers


def layer_views(
    graph: Graph,
    arrays: Sequence[ParameterArrays],
    mirror: Mirror,
    python: PythonLayers,
) -> LayerViews:
    """Return the parameters of every layer as blobs, and the layers."""
    params = Params()
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
    hidden = [n.index for n in graph.nodes if is_inserted(graph, n)]
    return LayerViews(params, Layers(layers, hidden))


def inserted_blobs(graph: Graph) -> list[str]:
    """Return the names of the blobs of Split layers that were inserted."""
    return [
        graph.edges[edge].blob
        for node in graph.nodes
        if is_inserted(graph, node)
        for edge in node.tops
    ]


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


def stay_in_place(graph: Graph, old: Plan, new: Plan, node: int) -> bool:
    """Say whether what a pass has computed ahead of `node` lies where a plan has it."""
    for name in _computed(graph, node):
        there = old.known.get(name)
        alive = there is not None and there[0].first <= node <= there[0].last
        if alive and there != new.known.get(name):
            return False
    return True


def _computed(graph: Graph, node: int) -> Iterator[str]:
    """Yield the names of the memory of what a pass has computed ahead of `node`."""
    for edge in graph.edges:
        if _is_there(graph, edge, node):
            yield f"data:{edge.buffer}"
    for one in graph.nodes[:node]:
        for place in range(len(one.bottoms)):
            yield f"kept:{one.index}:{place}"


def _is_there(graph: Graph, edge: Edge, node: int) -> bool:
    """Say whether an edge has its data ahead of `node`."""
    return edge.producer < node or graph.nodes[edge.producer].type == "Input"


def carry_over(graph: Graph, old: Plan, new: Plan, node: int) -> None:
    """Copy what a pass has computed ahead of `node`, and all inputs, to a new plan.

    Only what is still of use has a place of its own there; what lies in the same place
    of the same memory stays.
    """
    copy, same = new.backend.copy, old.arena is new.arena
    for edge in graph.edges:
        if not _is_there(graph, edge, node) or edge.index in old.absent | new.absent:
            continue
        name = f"data:{edge.buffer}"
        there = new.known.get(name)
        if there is not None:
            alive = there[0].first <= node <= there[0].last
            inputs = graph.nodes[edge.producer].type == "Input"
            if not (alive or inputs) or (same and old.known.get(name) == there):
                continue
        copy(old.data[edge.index], new.data[edge.index])
    for index in range(node):
        mine, other = new.kernels[index], old.kernels[index]
        mine.take_over(other)
        if not graph.nodes[index].backward:
            continue
        for place, edge_index in enumerate(graph.nodes[index].bottoms):
            kept = mine.bottoms[place]
            if kept is not new.data[edge_index]:  # a copy of what was overwritten
                name = f"kept:{index}:{place}"
                if not same or old.known.get(name) != new.known.get(name):
                    copy(other.bottoms[place], kept)


def moved_tops(
    graph: Graph, sources: Mapping[str, Source], last: int
) -> dict[str, Shape]:
    """Return the tops of data layers whose next batch has another shape than they.

    last: the last layer of the pass that will take it.
    """
    found: dict[str, Shape] = {}
    if not sources:
        return found
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
