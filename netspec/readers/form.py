"""The form that every reader takes: one phase, plain inputs, no rules, own names."""

from __future__ import annotations

from collections import Counter
from typing import Any

from netspec.errors import SpecError
from netspec.graph import build
from netspec.nets.filter import filter_net, merge_state
from netspec.nets.state import State
from netspec.ops import op_class
from netspec.ops.base import brings_data
from netspec.schema import TEST, LayerParameter, NetParameter
from netspec.weights import Model, as_model, complete

# What says how a net is trained, or which code of Caffe runs a layer.
_OF_TRAINING = ("include", "exclude", "phase", "propagate_down")


def plain_form(net: Any, weights: Any = None) -> Model:
    """Return the layers of the TEST phase with their values, in the form for readers.

    Every input is an Input layer of its own with its shape, layers have no rules and
    names of their own, `Silence` layers are gone. Values, where there are some, are
    complete, so that no layer refers to those of another by name.

    Raises `SpecError` for a net with data layers, and what `complete` raises.
    """
    model = as_model(net, weights)
    kept = filter_net(model.net, merge_state(model.net, TEST))
    data = [
        layer
        for layer in kept.layer
        if brings_data(layer.type, len(layer.bottom))
        and layer.type not in ("Input", "DummyData")
    ]
    if data:
        names = ", ".join(repr(layer.name) for layer in data)
        raise SpecError(
            f"data layers ({names}) are for training; give the net for use: --deploy, "
            f"or netspec.deploy(net)"
        )
    _own_names(kept, model)
    model = complete(Model(kept, model.weights), build(kept, State(TEST)))
    result = NetParameter(name=kept.name) if kept.name else NetParameter()
    # Inputs first, so that whatever is written may read them.
    names = {layer.name for layer in model.net.layer}
    for layer in sorted(model.net.layer, key=lambda layer: layer.type != "Input"):
        made = _inputs(layer, names) if layer.type == "Input" else [layer]
        result.layer.extend(made)
    for layer in result.layer:
        for field in _OF_TRAINING:
            layer.ClearField(field)
        if not op_class(layer.type).is_loss:  # whose second top needs one
            layer.ClearField("loss_weight")
        if model.weights is not None:
            layer.ClearField("param")
    silent = [layer for layer in result.layer if layer.type == "Silence"]
    for layer in silent:
        result.layer.remove(layer)
    return Model(result, model.weights)


def _inputs(layer: LayerParameter, names: set[str]) -> list[LayerParameter]:
    """Return an Input layer for each top, with its shape and a name not in `names`."""
    shapes = layer.input_param.shape
    found = []
    for index, top in enumerate(layer.top):
        one = LayerParameter(name=_unused(top, names), type="Input", top=[top])
        shape = shapes[index if len(shapes) > 1 else 0]
        one.input_param.shape.add().dim.extend(shape.dim)
        found.append(one)
    if len(found) == 1:
        found[0].name = layer.name
    return found


def _unused(name: str, taken: set[str]) -> str:
    """Return a name, with a number where it is taken, and count it as taken."""
    unused, number = name, 1
    while unused in taken:
        number += 1
        unused = f"{name}_{number}"
    taken.add(unused)
    return unused


def _own_names(net: NetParameter, model: Model) -> None:
    """Refuse two layers of one name that both have values; number the others."""
    counts = Counter(layer.name for layer in net.layer)
    again = {name for name, count in counts.items() if count > 1}
    clash = sorted(again & set(model.weights or ()))
    if clash:
        raise SpecError(
            f"several layers have the name {clash[0]!r}, so their values cannot be "
            f"told apart; rename them"
        )
    taken = set(counts)
    seen: set[str] = set()
    for layer in net.layer:
        if layer.name in seen:
            layer.name = _unused(layer.name, taken)
        seen.add(layer.name)
