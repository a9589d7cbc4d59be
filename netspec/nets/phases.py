"""The layers of one phase, for readers that know no rules."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from netspec.errors import SpecError, layer_label
from netspec.nets.state import PHASES as PHASES
from netspec.nets.state import phase_number
from netspec.schema import TEST, TRAIN, LayerParameter, NetParameter
from netspec.site import user_site, warn_at

PHASE_NAMES = {number: name for name, number in PHASES.items()}


def one_phase(net: Any, phase: str | int) -> NetParameter:
    """Return the layers of `net` for `phase`, without rules, as other readers need.

    net: a path, prototxt text, a message, or anything with `to_proto()`. phase: "TRAIN"
    or "TEST", or its number.

    Warns where one of them reads what only a layer of another phase makes.
    """
    phase = phase_number(phase)
    if not isinstance(net, NetParameter):
        from netspec.nets.current import current  # which most callers do not need

        net = current(net)
    kept = layers_of_phase(net, phase)
    tops = {top for layer in net.layer for top in layer.top}
    read = {blob for layer in net.layer for blob in layer.bottom}
    missing = unmade(kept.layer, phase, inputs=read - tops)
    if missing is not None:
        warn_at(user_site(), str(missing))
    return kept


def unmade(
    layers: Iterable[LayerParameter], phase: int, inputs: Iterable[str] = ()
) -> SpecError | None:
    """Return the error of a layer that reads what is neither an input nor made before.

    None if no layer does.
    """
    made = set(inputs)
    for layer in layers:
        for blob in layer.bottom:
            if blob not in made:
                return SpecError(
                    f"reads {blob!r}, which no layer of the {PHASE_NAMES[phase]} phase "
                    f"makes; change the rules of one of them",
                    layer=layer_label(layer.name, layer.type),
                )
        made.update(layer.top)
    return None


def phases_with_data(net: NetParameter) -> list[int]:
    """Return the phases in which a layer brings data, TEST first; both if none does.

    net: with its inputs as layers, as `current` returns it. SSD, SegNet and others have
    files for training, whose data layers are of the phase TRAIN alone.
    """
    from netspec.nets.filter import kept_layers, merge_state

    phases = [TEST, TRAIN]
    found = [
        phase
        for phase in phases
        if any(not layer.bottom for layer in kept_layers(net, merge_state(net, phase)))
    ]
    return found or phases


def layers_of_phase(net: NetParameter, phase: int) -> NetParameter:
    """Return the layers of `net` for `phase`, without rules."""
    from netspec.nets.filter import (  # PHASES alone need not wait for it
        filter_net,
        merge_state,
    )

    kept = filter_net(net, merge_state(net, phase))
    kept.ClearField("state")
    for layer in kept.layer:
        layer.ClearField("include")
        layer.ClearField("exclude")
    return kept
