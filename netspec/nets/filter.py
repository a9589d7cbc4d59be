"""Rules applied: the state of a net, and the layers that it keeps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from netspec.errors import SpecError, layer_label, shown
from netspec.nets.own_types import as_own
from netspec.nets.state import State, phase_number
from netspec.schema import LayerParameter, NetParameter, NetState, NetStateRule


@dataclass(frozen=True)
class KeptNet:
    """A net in the current form with the layers that `state` keeps, and no others.

    left_out: of every blob that others make, the first layer that does.
    """

    message: NetParameter
    state: State
    left_out: Mapping[str, LayerParameter] = field(default_factory=dict)


def kept_net(net: NetParameter, state: State) -> KeptNet:
    """Return what `state` keeps of `net`, which is in the current form.

    Layers whose type is that of a class in Python are Python layers there.
    """
    kept = filter_net(net, state)
    for layer in kept.layer:
        own = as_own(layer)
        if own is not layer:
            layer.CopyFrom(own)
    return KeptNet(kept, state, left_out(net, state))


def left_out(net: NetParameter, state: State) -> dict[str, LayerParameter]:
    """Return, of every blob that a layer makes which `state` does not keep, that."""
    found: dict[str, LayerParameter] = {}
    for layer in net.layer:
        if (len(layer.include) or len(layer.exclude)) and not keeps(state, layer):
            for top in layer.top:
                found.setdefault(top, layer)
    return found


def merge_state(
    net: NetParameter, phase: str | int, level: int = 0, stages: Iterable[str] = ()
) -> State:
    """Return the state of a net that is built by itself.

    Phase and level replace those of the net's own `state`; stages are added to its.
    """
    given: Any = (stages,) if isinstance(stages, str) else stages
    words = tuple(given) if isinstance(given, Iterable) else (None,)
    if not all(isinstance(word, str) for word in words):
        raise SpecError(
            f"stages is {shown(stages)}; expected names, such as ['deploy']"
        )
    if not hasattr(level, "__index__") or type(level) is bool:
        raise SpecError(f"level is {shown(level)}; expected an integer")
    return State(phase_number(phase), int(level), (*net.state.stage, *words))


def solver_state(net: NetParameter, phase: int, override: NetState | None) -> State:
    """Return the state of a net that a solver builds.

    First `phase`, then the net's own `state`, then `override`, the solver's
    `train_state` or `test_state`: given values replace, stages add up.
    """
    merged = NetState(phase=phase)
    merged.MergeFrom(net.state)
    if override is not None:
        merged.MergeFrom(override)
    return State(merged.phase, merged.level, tuple(merged.stage))


def filter_net(net: NetParameter, state: State) -> NetParameter:
    """Return `net` with the layers that `state` keeps, and that state in it."""
    kept = NetParameter()
    if net.HasField("name"):
        kept.name = net.name
    if net.HasField("force_backward"):
        kept.force_backward = net.force_backward
    if net.HasField("debug_info"):
        kept.debug_info = net.debug_info
    kept.state.phase = state.phase
    kept.state.level = state.level
    kept.state.stage.extend(state.stages)
    kept.layer.extend(kept_layers(net, state))
    return kept


def kept_layers(net: NetParameter, state: State) -> list[LayerParameter]:
    """Return the layers of `net` that `state` keeps.

    A layer with `include` is kept if any of these rules holds, one with `exclude` is
    dropped if any holds.
    """
    both = [layer for layer in net.layer if len(layer.include) and len(layer.exclude)]
    if both:
        names = ", ".join(layer_label(layer.name, layer.type) for layer in both)
        raise SpecError(
            "include and exclude rules are both given; keep one kind", layer=names
        )
    return [layer for layer in net.layer if keeps(state, layer)]


def keeps(state: State, layer: LayerParameter) -> bool:
    """Tell whether a state keeps a layer with one kind of rules."""
    if len(layer.include):
        return any(_meets(state, rule) for rule in layer.include)
    return not any(_meets(state, rule) for rule in layer.exclude)


def _meets(state: State, rule: NetStateRule) -> bool:
    """Tell whether all conditions of `rule` hold."""
    if rule.HasField("phase") and rule.phase != state.phase:
        return False
    if rule.HasField("min_level") and state.level < rule.min_level:
        return False
    if rule.HasField("max_level") and state.level > rule.max_level:
        return False
    if any(stage not in state.stages for stage in rule.stage):
        return False
    return not any(stage in state.stages for stage in rule.not_stage)


def drop_blobs(net: NetParameter) -> NetParameter:
    """Remove the blobs of all layers of a net in the current form; return the net."""
    for layer in net.layer:
        layer.ClearField("blobs")
    return net


def drop_values(net: NetParameter) -> None:
    """Remove the values of the blobs of a net, for those who only look at layers."""
    layers: list[Any] = [*net.layer, *net.layers]
    for layer in layers:
        for blob in layer.blobs:
            for name in ("data", "diff", "double_data", "double_diff"):
                blob.ClearField(name)
