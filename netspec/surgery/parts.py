"""What operations share: a model of its own to change, graphs, names of layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from netspec.errors import SpecError, did_you_mean
from netspec.graph import Graph, Node, build, is_inserted
from netspec.nets.state import State
from netspec.schema import TEST, NetParameter
from netspec.site import user_site, warn_at
from netspec.weights import Model, as_model

Shapes: TypeAlias = Mapping[str, Sequence[int]]


def copied(model: Any) -> Model:
    """Return a model whose net and dictionary may be changed; arrays are shared.

    model: a `Model`, or what `as_model` takes.
    """
    given = as_model(model)
    net = NetParameter()
    net.CopyFrom(given.net)
    weights = given.weights
    if weights is not None:
        weights = {name: list(held) for name, held in weights.items()}
    return Model(net, weights)


def graph_of(net: NetParameter, shapes: Shapes | None = None) -> Graph:
    """Return the graph of a net without rules, in the TEST phase."""
    return build(net, State(TEST), shapes=shapes)


def own_nodes(graph: Graph) -> list[Node]:
    """Return the nodes of the layers of a net, in their order, without added Splits."""
    return [node for node in graph.nodes if not is_inserted(graph, node)]


def find_layer(net: NetParameter, name: str) -> Any:
    """Return the first layer of a name.

    Raises `SpecError` with the nearest name where there is none.
    """
    for layer in net.layer:
        if layer.name == name:
            return layer
    names = [layer.name for layer in net.layer]
    raise SpecError(f"the net has no layer {name!r}{did_you_mean(name, names)}")


def free_name(wanted: str, taken: Sequence[str] | set[str]) -> str:
    """Return `wanted`, or the first of wanted_2, wanted_3 ... that nobody has."""
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}_{number}"
    return name


def warn(text: str) -> None:
    """Give a `SpecWarning` at the caller's place outside this package."""
    warn_at(user_site(), text)
