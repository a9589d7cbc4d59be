"""What operations share: a model of its own to change, graphs, names of layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from netspec.errors import SpecError, did_you_mean
from netspec.graph import Graph, Node, build, is_inserted
from netspec.nets.filter import kept_layers, merge_state
from netspec.nets.state import State
from netspec.schema import TEST, TRAIN, LayerParameter, NetParameter
from netspec.site import user_site, warn_at
from netspec.weights import Model, Weights, as_model

Shapes: TypeAlias = Mapping[str, Sequence[int]]


def copied(model: Any) -> Model:
    """Return a model whose net and dictionary may be changed; arrays are shared.

    Parameters that a file leaves to a layer that shares them are filled in.

    model: a `Model`, or what `as_model` takes.
    """
    given = as_model(model)
    net = NetParameter()
    net.CopyFrom(given.net)
    weights = given.weights
    if weights is not None:
        weights = {name: list(held) for name, held in weights.items()}
        _fill_shared(net, weights)
    return Model(net, weights)


def _fill_shared(net: NetParameter, weights: Weights) -> None:
    known: dict[str, Any] = {}
    for layer in net.layer:
        for param, values in zip(
            layer.param, weights.get(layer.name, ()), strict=False
        ):
            if param.name and values is not None:
                known.setdefault(param.name, values)
    for layer in net.layer:
        held = weights.get(layer.name)
        shared = [known.get(param.name) for param in layer.param]
        if held:
            for slot, values in enumerate(shared[: len(held)]):
                if held[slot] is None:
                    held[slot] = values
        elif shared and all(values is not None for values in shared):
            weights[layer.name] = shared


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


@dataclass(frozen=True)
class Seen:
    """A net in one state: its graph, and where its layers stand in the whole net.

    places: by the index of a node, the index of its layer; added Splits have none.
    """

    phase: int
    graph: Graph
    places: Mapping[int, int]


def seen_in_each_phase(net: NetParameter, shapes: Shapes | None = None) -> list[Seen]:
    """Return the net as each phase has it; as TEST has it where no layer has rules.

    shapes: of tops of data layers, where only files tell them.

    Raises `SpecError` for a shape that is no top in any phase, and what `build` raises.
    """
    known = [top for layer in net.layer for top in layer.top]
    for name in shapes or {}:
        if name not in known:
            raise SpecError(
                f"a shape is given for {name!r}, which no layer makes"
                f"{did_you_mean(name, known)}"
            )
    ruled = any(layer.include or layer.exclude for layer in net.layer)
    found = []
    for phase in (TEST, TRAIN) if ruled else (TEST,):
        state = merge_state(net, phase)
        kept = kept_layers(net, state)
        if not kept:
            continue
        tops = {top for layer in kept for top in layer.top}
        given = {name: shape for name, shape in (shapes or {}).items() if name in tops}
        graph = build(net, state, shapes=given)
        found.append(Seen(phase, graph, _places(net, kept, graph)))
    return found


def _places(
    net: NetParameter, kept: Sequence[LayerParameter], graph: Graph
) -> dict[int, int]:
    # What is kept has the order of the whole; equal layers have equal rules.
    remaining = iter(enumerate(net.layer))
    places = [next(place for place, each in remaining if each == one) for one in kept]
    indices = [node.index for node in own_nodes(graph)]
    return dict(zip(indices, places, strict=True))
