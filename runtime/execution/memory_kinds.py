"""What the passes of a plan do to each piece of memory, for the mirror."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from netspec.graph import Edge, Graph
from netspec.schema import TRAIN
from runtime.arrays import Array
from runtime.execution.mirror import BlobCopies, HostCopy, Kind, Mirror, Steps
from runtime.execution.parameters import ParameterArrays

_FORWARD = Steps(
    reads=frozenset({Kind.INPUT, Kind.DATA, Kind.WEIGHT, Kind.OTHER}),
    changes=frozenset({Kind.DATA, Kind.OTHER}),
)
_LEARNING = replace(_FORWARD, changes=_FORWARD.changes | {Kind.WEIGHT})
_BACKWARD = Steps(changes=frozenset({Kind.DIFF, Kind.WEIGHT_DIFF, Kind.OTHER}))


@dataclass(frozen=True)
class Passes:
    """What passes forward and backward do.

    parts, wholes: of some layers and of all, by "forward", "backward", "accumulate".
    copies: of the memory of all blobs, which live as long as this does.
    """

    parts: Mapping[str, Steps]
    wholes: Mapping[str, Steps]
    copies: Sequence[HostCopy] = field(repr=False)


def passes_over(
    graph: Graph,
    data: Sequence[Array],
    diff: Sequence[Array | None],
    parameters: Sequence[ParameterArrays],
    blobs: BlobCopies,
    mirror: Mirror,
) -> Passes:
    """Note which arrays are the same memory, and say what passes do to it.

    data, diff: the arrays of all edges. blobs: learns of them; it must come before
    views of them are made.
    """
    # Layers whose phase is TRAIN may keep running values as parameters.
    learning = any(node.phase == TRAIN for node in graph.nodes)
    parts = {
        "forward": _LEARNING if learning else _FORWARD,
        "backward": _BACKWARD,
        "accumulate": _BACKWARD,
    }
    if mirror.backend.on_host:
        return Passes(parts, parts, ())
    copies = []
    computed = set()
    for edges in _by(edge.buffer for edge in graph.edges):
        given = all(_is_input(graph, graph.edges[edge]) for edge in edges)
        arrays = _distinct(data[edge] for edge in edges)
        copies.append(blobs.copy(arrays, Kind.INPUT if given else Kind.DATA))
        if all(_is_computed(graph, graph.edges[edge]) for edge in edges):
            computed.add(copies[-1])
    gradients = set()
    for edges in _by(edge.gradient for edge in graph.edges):
        arrays = _distinct(diff[edge] for edge in edges)
        if not arrays:
            continue
        copies.append(blobs.copy(arrays, Kind.DIFF))
        if all(_gets_gradient(graph, graph.edges[edge]) for edge in edges):
            gradients.add(copies[-1])
    learned = {
        mirror.diff_copy(parameters[index].diff)
        for node in graph.nodes
        if node.backward and node.index not in graph.stale
        for index, learn in zip(node.params, node.learn, strict=True)
        if learn
    }
    rewrites = {
        "forward": computed,
        "backward": gradients | learned,
        "accumulate": gradients,
    }
    wholes = {
        kind: replace(steps, rewrites=frozenset(rewrites[kind]))
        for kind, steps in parts.items()
    }
    return Passes(parts, wholes, copies)


def _by(keys: Iterable[int]) -> Iterable[list[int]]:
    """Return the places of equal keys together."""
    found: dict[int, list[int]] = {}
    for place, key in enumerate(keys):
        found.setdefault(key, []).append(place)
    return found.values()


def _distinct(arrays: Iterable[Array | None]) -> list[Array]:
    return list({id(array): array for array in arrays if array is not None}.values())


def _is_input(graph: Graph, edge: Edge) -> bool:
    """Say whether no step writes the data of an edge."""
    producer = graph.nodes[edge.producer]
    return producer.type == "Input" or producer.op.alias


def _is_computed(graph: Graph, edge: Edge) -> bool:
    """Say whether a pass fills the data of an edge, whatever was there."""
    producer = graph.nodes[edge.producer]
    # DummyData fills constants once; a `Layer` may go on from what it left there.
    return not (producer.type in ("Input", "DummyData") or producer.op.keeps_blobs)


def _gets_gradient(graph: Graph, edge: Edge) -> bool:
    """Say whether a pass fills the gradient of an edge, whatever was there."""
    return any(
        graph.nodes[node].backward
        and graph.nodes[node].propagate[place]
        and not graph.nodes[node].op.keeps_blobs
        for node, place in edge.consumers
    )
