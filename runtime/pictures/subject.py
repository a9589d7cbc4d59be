"""The net that a picture is of, and its layers and modules by name."""

from __future__ import annotations

from typing import Any

import numpy as np

from netspec.errors import SpecError, SpecWarning, did_you_mean
from netspec.graph import Graph, Node, is_inserted
from netspec.notebooks import warn_user
from runtime.execution.net import Net


def net_of(subject: Any, weights: Any = None) -> Net:
    """Return the net of a `Net`, a `Solver`, a `History`, or of a spec and weights.

    Raises `SpecError` for weights of a net that has its own, and what `Net` raises.
    """
    net = _built(subject)
    if net is not None:
        if weights is not None:
            raise SpecError(
                "weights are given, but the net has values already; give the spec or "
                "the file of the net with weights=, or net.copy_from(weights) first"
            )
        return net
    return Net(subject, weights=weights)


def trained_net_of(subject: Any, weights: Any = None) -> Net:
    """Return the net, and warn of one that has the values of its fillers."""
    net = net_of(subject, weights)
    if weights is None and _built(subject) is None and not _holds_values(subject):
        warn_user(
            "the net was given without weights, so that the picture is of the values "
            "that its fillers start with; give weights=, or a trained net",
            SpecWarning,
        )
    return net


def _built(subject: Any) -> Net | None:
    if isinstance(subject, Net):
        return subject
    found = getattr(subject, "net", None)
    return found if isinstance(found, Net) else None


def _holds_values(subject: Any) -> bool:
    """Say whether what a net is made of has values in it, as a caffemodel has."""
    layers = getattr(subject, "layer", ())
    if isinstance(subject, str):
        return subject.endswith((".caffemodel", ".onnx", ".h5"))
    return any(len(getattr(layer, "blobs", ())) for layer in layers)


def nodes_of(graph: Graph) -> list[Node]:
    """Return the layers that the net was written with."""
    return [node for node in graph.nodes if not is_inserted(graph, node)]


def layer_of(graph: Graph, name: str) -> Node:
    """Return a layer by name.

    Raises `SpecError` for a name of none, and for a module, naming its layers with
    parameters.
    """
    _check_name(name)
    nodes = nodes_of(graph)
    for node in nodes:
        if node.name == name:
            return node
    inside = [n.name for n in nodes if n.name.startswith(f"{name}/") and n.params]
    if inside:
        raise SpecError(
            f"{name!r} is a module; name one of its layers: {', '.join(inside)}"
        )
    hint = did_you_mean(name, [node.name for node in nodes])
    raise SpecError(f"no layer {name!r} in this net{hint}")


def blob_of(graph: Graph, name: str) -> str:
    """Return the blob of a name: its own, a layer's first top, a module's output.

    Raises `SpecError` for a name of none.
    """
    _check_name(name)
    nodes = nodes_of(graph)
    for node in nodes:
        if node.name == name and node.tops:
            return graph.edges[node.tops[0]].blob
    if name in graph.blobs:
        return name
    inside = [node for node in nodes if node.name.startswith(f"{name}/") and node.tops]
    if inside:
        return graph.edges[inside[-1].tops[0]].blob
    modules = {n.name.rpartition("/")[0] for n in nodes} - {""}
    hint = did_you_mean(name, [*graph.blobs, *(n.name for n in nodes), *modules])
    raise SpecError(f"no blob, layer or module {name!r} in this net{hint}")


def _check_name(name: Any) -> None:
    if not isinstance(name, str):
        raise SpecError(f"expected the name of a layer, as 'conv1', got {name!r}")


def run_before(net: Net) -> bool:
    """Say whether a pass of the net was made, so that its blobs have values."""
    return net.clock.value > 0


def takes_by_hand(net: Net) -> bool:
    """Say whether all that a net takes is what its inputs hold."""
    made = [node for node in nodes_of(net.graph) if not node.bottoms]
    return bool(net.inputs) and not net.sources and all(n.type == "Input" for n in made)


def check_inputs(net: Net, what: str) -> None:
    """Raise `SpecError` where all inputs hold zeros, as those of a new net do."""
    if not any(np.any(net.blobs[name].data) for name in net.inputs):
        raise SpecError(
            f"the inputs of the net, {', '.join(net.inputs)}, hold nothing yet; give "
            f"{what}, or run the net with some"
        )
