"""Blobs whose number of rows changes from pass to pass, at the end of a net.

Where nobody reads such a blob, or only layers that take any number of rows, the net
needs no new plan for it: the blob gets an array of its own, and its layers that array.
"""

from __future__ import annotations

from collections.abc import Mapping

from netspec.graph import Graph
from netspec.ops import is_known_type, op_class
from netspec.schema import NetParameter
from runtime.arrays import Array
from runtime.execution.blob import Blob
from runtime.execution.mirror import Mirror
from runtime.execution.plan import Plan
from runtime.layers.base import TopsChanged
from runtime.primitives import Primitives


def moves(net: NetParameter, backend: Primitives) -> bool:
    """Say whether layers above others will get other shapes as a net runs."""
    kinds = {layer.type for layer in net.layer if is_known_type(layer.type)}
    loose = {kind for kind in kinds if op_class(kind).learns_shapes} - {"Python"}
    fixed = {kind for kind in loose if not op_class(kind).resizable}
    if fixed or (loose and not backend.on_host):
        return True
    tops = {top for layer in net.layer if layer.type in loose for top in layer.top}
    return any(
        not (layer.type in kinds and op_class(layer.type).resizable)
        for layer in net.layer
        if tops.intersection(layer.bottom)
    )


def stands_alone(graph: Graph, plan: Plan, node: int) -> bool:
    """Say whether the tops of a node can change their shapes without a new plan."""
    if not (plan.backend.on_host and graph.nodes[node].op.resizable):
        return False
    return all(
        stands_alone(graph, plan, reader)
        for edge in graph.nodes[node].tops
        for reader, _ in graph.edges[edge].consumers
    )


def give_rows(
    graph: Graph,
    plan: Plan,
    change: TopsChanged,
    blobs: Mapping[str, Blob],
    mirror: Mirror,
) -> None:
    """Give the tops of a node that stands alone, and their blobs, other shapes."""
    node = graph.nodes[change.node]
    for edge, shape in zip(node.tops, change.shapes, strict=True):
        rows = plan.backend.zeros(shape, str(plan.data[edge].dtype))
        _put(graph, plan, edge, rows, blobs, mirror)
    _tell(graph, plan, change.node)


def keep_rows(
    graph: Graph, old: Plan, new: Plan, blobs: Mapping[str, Blob], mirror: Mirror
) -> None:
    """Let a plan have the tops that may change their shapes of the one before."""
    for node in graph.nodes:
        if node.op.resizable and stands_alone(graph, new, node.index):
            for edge in node.tops:
                rows = old.data[edge]
                if id(rows) in old.lies:  # memory that another layer has in this plan
                    rows = rows.copy()
                _put(graph, new, edge, rows, blobs, mirror)
            _tell(graph, new, node.index)


def _put(
    graph: Graph,
    plan: Plan,
    edge: int,
    rows: Array,
    blobs: Mapping[str, Blob],
    mirror: Mirror,
) -> None:
    """Let an edge and its blob have another array, which no other plan shares."""
    if plan.data[edge] is not rows:
        plan.lies.pop(id(plan.data[edge]), None)  # another array may get its number
        plan.data[edge] = rows
    blobs[graph.edges[edge].blob].rebind(rows.shape, mirror.view(rows), None)


def _tell(graph: Graph, plan: Plan, node: int) -> None:
    """Tell a node and those that read it which arrays they have now."""
    touched = {node}
    for edge in graph.nodes[node].tops:
        touched.update(reader for reader, _ in graph.edges[edge].consumers)
    for index in touched:
        bottoms = tuple(plan.data[edge] for edge in graph.nodes[index].bottoms)
        tops = tuple(plan.data[edge] for edge in graph.nodes[index].tops)
        plan.kernels[index].resized(bottoms, tops)
