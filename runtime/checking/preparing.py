"""The net to probe: data as inputs, and what no gradient flows through held."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from netspec.errors import FileError, SpecError
from netspec.graph import AUTOMATIC, Graph, Node, counted_twice, is_inserted
from netspec.ops.base import bottom_name, brings_data, label
from netspec.schema import LayerParameter, NetParameter
from runtime.checking.probe import Objective, Runs
from runtime.checking.subject import Subject, insert_input, make_input
from runtime.checking.values import fill_inputs, vary_parameters
from runtime.execution.net import Net
from runtime.execution.python_layers.code import Allow
from runtime.execution.weights import copy_into


@dataclass(frozen=True)
class Prepared:
    """The objective to probe, the inputs that are held, and what has no gradient."""

    objective: Objective
    held: frozenset[str]
    notes: tuple[str, ...]


def prepare(
    subject: Subject, seed: int, weights: str | Path | None, allow_python: Allow
) -> Prepared:
    """Return the net of a subject, ready to be probed.

    weights: a file to copy parameters from. allow_python: as `runtime.Net` takes it.

    Labels, indices, and whatever else a layer has no gradient for are held at the
    values that they have: moving an input then moves nothing through them. So is what
    `propagate_down: false` cuts, unless the net itself says `force_backward: true`,
    which overrides it in training too.
    """
    try:
        base = _net(subject.message, subject, seed, allow_python)
    except FileError as error:
        raise FileError(
            f"{error}; for a data layer, give the shapes of its tops (--shape), and "
            f"random values take the place of the file"
        ) from error
    told = [*subject.notes]
    try:
        if subject.parameters:
            _copy_parameters(subject, base)
        else:
            vary_parameters(base, seed)
        if weights is not None:
            told.extend(_copy_weights(base, weights))
        fill_inputs(base, dict(subject.values), seed)
        message, values, held, notes = _held(base, Runs(base))
        outputs = [name for name in base.outputs if name != AUTOMATIC]
    finally:
        base.close()
    net = _net(message, subject, seed, allow_python, share_with=base)
    fill_inputs(net, values, seed)
    return Prepared(Objective(net, outputs, seed), held, (*told, *notes))


def _net(
    message: NetParameter,
    subject: Subject,
    seed: int,
    allow_python: Allow,
    share_with: Net | None = None,
) -> Net:
    whole = NetParameter()
    whole.CopyFrom(message)
    whole.force_backward = True
    kind = Net if subject.message.force_backward else _Cut
    return kind(
        whole,
        state=subject.state,
        seed=seed,
        dtype="float64",
        share_with=share_with,
        allow_python=allow_python,
    )


class _Cut(Net):
    """A net with all gradients but those that `propagate_down: false` leaves out."""

    def _build(self) -> Graph:
        graph = super()._build()
        return replace(graph, nodes=tuple(map(_as_told, graph.nodes)))


def _as_told(node: Node) -> Node:
    """Return a node without the gradients that its layer asks not to have.

    In place it has them all: what it writes over cannot be held.
    """
    layer = node.layer
    cut = [place for place, told in enumerate(layer.propagate_down) if not told]
    cut = [place for place in cut if layer.bottom[place] not in layer.top]
    if not cut:
        return node
    flows = tuple(f and place not in cut for place, f in enumerate(node.propagate))
    backward = node.backward and (any(flows) or any(node.learn))
    return replace(node, propagate=flows, backward=backward)


def _copy_parameters(subject: Subject, net: Net) -> None:
    for name, arrays in subject.parameters.items():
        for blob, values in zip(net.params.get(name, ()), arrays, strict=False):
            blob.data[...] = values


def _copy_weights(net: Net, path: str | Path) -> list[str]:
    """Copy the parameters of a file; return notes of what it does not have."""
    report = copy_into([net], path)
    if not report.copied:
        raise SpecError(
            f"{path}: no layer of the file has the name of a layer with parameters; "
            f"the file has {', '.join(report.unused) or 'none'}"
        )
    if not report.missing:
        return []
    return [f"{path} has no weights of {', '.join(report.missing)}; theirs are random"]


def _held(
    base: Net, runs: Runs
) -> tuple[NetParameter, dict[str, np.ndarray], frozenset[str], list[str]]:
    """Return the net with held blobs as inputs, all values, the held ones, notes."""
    graph, data = base.graph, base.plan.data
    message = NetParameter()
    message.CopyFrom(graph.message)
    sources: list[Node] = []
    held: dict[tuple[int, int], str] = {}
    notes: list[str] = []
    for node, layer in zip(graph.nodes, message.layer, strict=True):
        if brings_data(node.type, len(node.bottoms)):
            sources.append(node)
            make_input(layer, [graph.edges[edge].shape for edge in node.tops])
            continue
        if counted_twice(graph, node):  # only the Split behind it has a gradient
            del layer.loss_weight[:]
            layer.loss_weight.extend([0.0] * len(node.tops))
        if node.op.inexact:
            notes.append(f"{label(node.layer)}: {node.op.inexact}")
        places = [place for place, flows in enumerate(node.propagate) if not flows]
        if not places:
            continue
        _refuse_in_place(layer, places)
        names = [own_name(graph, node.bottoms[place]) for place in places]
        for place, name in zip(places, names, strict=True):
            held[node.index, place] = f"{name} (held for {node.name})"
        nothing = len(names) == len(node.bottoms) and not any(node.learn)
        what = "" if nothing else f" for {_listed(names)}"
        told = node.layer.propagate_down
        why = "has no gradient"
        if len(told) and not any(told[place] for place in places):
            why, what = "is told propagate_down: false", f" for {_listed(names)}"
        notes.append(f"{label(node.layer)} {why}{what}")
    values: dict[str, np.ndarray] = {}

    def keep(index: int) -> None:
        """Keep what has just been brought, and what the step of a node will read."""
        while sources and sources[0].index < index:
            for edge in sources.pop(0).tops:
                values[graph.edges[edge].blob] = data[edge].copy()
        for place, edge in enumerate(graph.nodes[index].bottoms):
            if (index, place) in held:
                values[held[index, place]] = data[edge].copy()

    runs.rewind()
    runs.forward(keep)
    for node in sources:
        for edge in node.tops:
            values[graph.edges[edge].blob] = data[edge].copy()
    for (index, place), name in held.items():
        message.layer[index].bottom[place] = name
    names_of_held = dict.fromkeys(held.values())
    for name in names_of_held:
        insert_input(message, name, values[name].shape)
    return message, values, frozenset(names_of_held), notes


def _refuse_in_place(layer: LayerParameter, places: Sequence[int]) -> None:
    for place in places:
        if layer.bottom[place] in layer.top:
            raise SpecError(
                f"it runs in place and has no gradient for "
                f"{bottom_name(layer, place)}; give its top another name, so that the "
                f"layers around it can be checked",
                layer=label(layer),
            )


def own_name(graph: Graph, edge: int) -> str:
    """Return the name that a blob has in the net as it was written."""
    producer = graph.nodes[graph.edges[edge].producer]
    if producer.type == "Split" and is_inserted(graph, producer):
        return own_name(graph, producer.bottoms[0])
    return graph.edges[edge].blob


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"bottom {name!r}" for name in dict.fromkeys(names))
