"""From a NetParameter to a Graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from netspec.catalogue.check import check_arity
from netspec.errors import MAX_TOLD, ShapeError, SpecError, joined
from netspec.graph.buffers import share_memory
from netspec.graph.gradients import Gradients, analyse, nothing
from netspec.graph.looking import (
    kind_of,
    look_at,
    may_be_given,
    told_type,
    unreadable,
)
from netspec.graph.sharing import Shared, share
from netspec.graph.splits import insert_splits, with_own_names
from netspec.graph.types import Earlier, Edge, Graph, Node, Parameter
from netspec.graph.wiring import Wires, wire
from netspec.nets.filter import KeptNet, kept_net
from netspec.nets.given import check_given, check_given_blobs
from netspec.nets.state import State
from netspec.nets.upgrade import upgrade_net
from netspec.nets.words import check_words
from netspec.ops import is_known_type, known_types, op_class
from netspec.ops.base import Op, Shape, label
from netspec.ops.data import infer_with
from netspec.schema import TRAIN, LayerParameter, NetParameter

ReadPython: TypeAlias = Callable[[LayerParameter, tuple[Shape, ...]], Op]


def build(
    net: NetParameter,
    state: State,
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
) -> Graph:
    """Return the graph of `net`, of any form, in `state`: see `build_kept`."""
    return build_kept(kept_net(upgrade_net(net), state), shapes=shapes)


def build_kept(
    kept: KeptNet,
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
    python: ReadPython | None = None,
    earlier: Earlier | None = None,
    opaque: bool = False,
    gradients: bool = True,
) -> Graph:
    """Return the graph of the layers that a state keeps.

    shapes: shapes of tops of Input and data layers by blob name; they replace what the
    layers say, or supply what only a file would tell.
    opaque: layers that cannot be read are `Opaque`; `shapes` may then be of any blob,
    and has those of their tops. Without it they are refused.
    gradients: whether any may be computed; else nothing runs backward, as in use.
    python: reads Python layers, whose code knows their shapes and parameters; without
    it none runs.
    earlier: the graph of these layers with other shapes, from which upper layers may
    stay: see `Graph.stale`.

    Raises `SpecError` (`ShapeError` where shapes cannot meet); the message lists all
    mistakes of the kind that was found first.
    """
    _check_layers(kept.message.layer, opaque)
    message = insert_splits(kept.message, kept.left_out)
    for layer in message.layer:
        if not layer.HasField("phase"):
            layer.phase = kept.state.phase
    wires = wire(message.layer, [automatic_tops(layer) for layer in message.layer])
    ops, stale = _infer_all(message.layer, wires, shapes or {}, python, earlier, opaque)
    loss_weights = _loss_weights(ops)
    parameters, slots = share(ops)
    found = nothing(ops)
    if gradients:
        found = analyse(ops, wires, loss_weights, message.force_backward)
    errors = [with_own_names(error, message.layer) for error in found.errors]
    if errors and kept.state.phase == TRAIN:
        raise joined(errors)
    data, diff = share_memory(ops, wires, found, loss_weights, stale)
    return Graph(
        name=message.name,
        state=kept.state,
        nodes=_nodes(ops, wires, slots, loss_weights, found),
        edges=_edges(ops, wires, data, diff),
        parameters=_parameters(parameters, found),
        inputs=tuple(wires.inputs),
        outputs=tuple(wires.outputs),
        blobs=dict(wires.last),
        message=message,
        gradient_errors=tuple(map(str, errors)),
        stale=stale,
    )


def _check_layers(layers: Sequence[LayerParameter], opaque: bool) -> None:
    """Refuse unknown types, wrong numbers of bottoms and tops, and the like.

    opaque: layers of unknown types may be there, but none without a type.
    """
    known = known_types()
    unknown: list[SpecError] = []
    for layer in layers:
        if layer.type not in known and not (opaque and kind_of(layer)):
            told = len(unknown) < MAX_TOLD
            said = told_type(layer) if told else ""
            unknown.append(SpecError(said, layer=label(layer)))
    if unknown:
        raise joined(unknown)
    mistakes: list[SpecError] = []
    for layer in layers:
        try:
            if not opaque or unreadable(layer) is None:
                check_arity(layer)
        except SpecError as error:
            mistakes.append(error)
        given = len(layer.propagate_down)
        if given and given != len(layer.bottom):
            mistakes.append(
                SpecError(
                    f"propagate_down is given {given} times for {len(layer.bottom)} "
                    f"bottoms; give it once for each, or not at all",
                    layer=label(layer),
                )
            )
    if mistakes:
        raise joined(mistakes)


def automatic_tops(layer: LayerParameter) -> int:
    """Return how many tops without a name a layer has: 1 for a loss that names none."""
    if not is_known_type(layer.type):
        return 0
    return 1 if op_class(layer.type).is_loss and not len(layer.top) else 0


def _infer_all(
    layers: Sequence[LayerParameter],
    wires: Wires,
    given: Mapping[str, Sequence[int]],
    python: ReadPython | None,
    earlier: Earlier | None,
    opaque: bool,
) -> tuple[list[Op], dict[int, SpecError]]:
    """Read every layer; report the mistakes of all that can be read.

    Returns what was read, and the mistakes of layers that stay as they were.
    """
    if opaque:
        check_given_blobs(given, [top for layer in layers for top in layer.top])
    else:
        check_given(given, tops_of_data(layers))
    shapes: dict[int, Shape] = {}
    ops: list[Op] = []
    mistakes: list[SpecError] = []
    stale: dict[int, SpecError] = {}
    for index, layer in enumerate(layers):
        edges = wires.bottoms[index]
        if any(edge not in shapes for edge in edges):
            continue  # a mistake further up hides the shapes
        kept = None
        if earlier is not None and index > earlier.last:
            kept = earlier.graph.nodes[index].op
        bottoms = tuple(shapes[edge] for edge in edges)
        try:
            if python is not None and layer.type == "Python":
                op = python(layer, bottoms)
            elif opaque:
                op = look_at(layer, bottoms, given)
            else:
                op = infer_with(layer, bottoms, given)
            if kept is not None:
                check_parameters(kept, op)
            else:
                check_words(layer)
        except SpecError as error:
            if kept is None:
                mistakes.append(error)
                continue
            op = kept
            stale[index] = with_own_names(error, layers)
        except Exception as error:  # what code in Python raised
            if kept is None:
                raise
            op = kept
            said = f"{type(error).__name__}: {error}"
            stale[index] = SpecError(said, layer=label(layer))
        ops.append(op)
        shapes.update(zip(wires.tops[index], op.tops, strict=True))
    if mistakes:
        raise with_own_names(joined(mistakes), layers)
    return ops, stale


def check_parameters(old: Op, new: Op) -> None:
    """Refuse another shape of a parameter of a layer, which has its values already."""
    pairs = zip(old.params, new.params, strict=True)
    for slot, (before, after) in enumerate(pairs):
        if before.shape != after.shape:
            raise ShapeError(
                f"with the new input shapes its parameter {slot} would change from "
                f"{before.shape} to {after.shape}; reshape inputs only to sizes that "
                f"keep parameters",
                layer=label(new.layer),
            )


def tops_of_data(layers: Sequence[LayerParameter]) -> list[str]:
    """Return the blobs whose shapes may be given: what only a file or code tells."""
    return [top for layer in layers if may_be_given(layer) for top in layer.top]


def _loss_weights(ops: Sequence[Op]) -> list[tuple[float, ...]]:
    """Return the weight of every top in the objective."""
    weights = []
    mistakes: list[SpecError] = []
    for op in ops:
        given = tuple(op.layer.loss_weight)
        if not given:
            given = (1.0,) if op.is_loss else (0.0,) * len(op.tops)
        if len(given) != len(op.tops):
            mistakes.append(
                SpecError(
                    f"loss_weight is given {len(op.layer.loss_weight)} times for "
                    f"{len(op.tops)} tops; give it once for each",
                    layer=label(op.layer),
                )
            )
        weights.append(given)
    if mistakes:
        raise joined(mistakes)
    return weights


def _edges(
    ops: Sequence[Op], wires: Wires, data: Sequence[int], diff: Sequence[int]
) -> tuple[Edge, ...]:
    return tuple(
        Edge(
            index=index,
            blob=blob,
            shape=ops[producer].tops[top],
            producer=producer,
            top=top,
            consumers=tuple(wires.consumers[index]),
            buffer=data[index],
            gradient=diff[index],
        )
        for index, (blob, (producer, top)) in enumerate(
            zip(wires.names, wires.ends, strict=True)
        )
    )


def _nodes(
    ops: Sequence[Op],
    wires: Wires,
    slots: Sequence[tuple[int, ...]],
    loss_weights: Sequence[tuple[float, ...]],
    gradients: Gradients,
) -> tuple[Node, ...]:
    return tuple(
        Node(
            index=index,
            op=op,
            bottoms=wires.bottoms[index],
            tops=wires.tops[index],
            params=slots[index],
            phase=op.layer.phase,
            loss_weights=loss_weights[index],
            backward=gradients.backward[index],
            propagate=gradients.propagate[index],
            learn=gradients.learn[index],
        )
        for index, op in enumerate(ops)
    )


def _parameters(
    parameters: Sequence[Shared], gradients: Gradients
) -> tuple[Parameter, ...]:
    return tuple(
        Parameter(
            index=index,
            name=shared.name,
            shape=shared.shape,
            filler=shared.filler,
            owner=shared.users[0],
            users=tuple(shared.users),
            lr_mult=shared.lr_mult,
            decay_mult=shared.decay_mult,
            learn=any(gradients.learn[use.node][use.slot] for use in shared.users),
            blob=shared.blob,
        )
        for index, shared in enumerate(parameters)
    )
