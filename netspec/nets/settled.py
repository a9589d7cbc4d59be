"""Rules decided but for the phase; and batches of another size."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from netspec.errors import SpecError
from netspec.nets.current import current
from netspec.nets.filter import keeps, kept_layers, merge_state
from netspec.nets.phases import PHASES
from netspec.ops.base import brings_data
from netspec.schema import NetParameter


def settled(net: Any, level: int = 0, stages: Iterable[str] = ()) -> NetParameter:
    """Return the net in the current form, with rules that ask for its phase alone.

    What they ask of level and stages is decided: a layer that no phase keeps is left
    out, one that a single phase keeps has a rule for it, and the rest have none.

    net: what `current` takes.
    """
    whole = current(net)
    states = [
        merge_state(whole, phase, level, tuple(stages)) for phase in PHASES.values()
    ]
    kept_layers(whole, states[0])  # refuses layers with rules of both kinds
    result = NetParameter()
    result.CopyFrom(whole)
    result.ClearField("state")
    del result.layer[:]
    for layer in whole.layer:
        phases = [state.phase for state in states if keeps(state, layer)]
        if not phases:
            continue
        new = result.layer.add()
        new.CopyFrom(layer)
        new.ClearField("include")
        new.ClearField("exclude")
        if len(phases) == 1:
            new.include.add(phase=phases[0])
    return result


def with_batch_size(net: Any, batch_size: int) -> NetParameter:
    """Return the net in the current form with another size of batches.

    It is the first axis of all that Input and DummyData layers make, and the
    `batch_size` of other data layers, in all phases.

    Raises `SpecError` for a net that has no such layer.
    """
    whole = current(net)
    result = NetParameter()
    result.CopyFrom(whole)
    changed = False
    for layer in result.layer:
        if brings_data(layer.type, len(layer.bottom)):
            changed |= _resize(layer, batch_size)
    if not changed:
        raise SpecError(
            f"batch size {batch_size}: no layer of the net has inputs or data in "
            f"batches; change the layer that makes them"
        )
    return result


def _resize(layer: Any, batch_size: int) -> bool:
    """Change the batches of a layer that brings data; tell whether it has any."""
    if layer.type in ("Input", "DummyData"):
        param = layer.input_param if layer.type == "Input" else layer.dummy_data_param
        for shape in param.shape:
            if shape.dim:
                shape.dim[0] = batch_size
        if layer.type == "DummyData" and param.num:
            param.num[:] = [batch_size] * len(param.num)
        return any(shape.dim for shape in param.shape) or bool(
            layer.type == "DummyData" and param.num
        )
    for field, value in layer.ListFields():
        known = getattr(field.message_type, "fields_by_name", {})
        if "batch_size" in known and value.HasField("batch_size"):
            value.batch_size = batch_size
            return True
    return False
