"""A net of any kind as layers whose `param` and options can be changed in place."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from netspec.catalogue.parameters import parameter_roles
from netspec.errors import SpecError, an
from netspec.language.calls import Function, Top
from netspec.language.editing import emitted, folders_in
from netspec.language.folder import Folder
from netspec.language.options import layer_of, own_param
from netspec.language.proto_to_python import values_of
from netspec.net_spec import load
from netspec.nets.upgrade import upgrade_net
from netspec.ops.own_layer import DEFINED
from netspec.schema import LayerParameter, NetParameter, ParamSpec
from netspec.schema.norms import statistics_slots
from netspec.weights import Model


class Part:
    """One layer: its message, and the call that it is made of, if any.

    layer: as it stands in the net; to change that, call `set_params` or `set_option`.
    """

    def __init__(self, layer: LayerParameter, fn: Function | None) -> None:
        self.layer = layer
        self.fn = fn

    @property
    def name(self) -> str:
        """The layer's name."""
        return self.layer.name

    @property
    def roles(self) -> tuple[str, ...] | None:
        """What its parameters are, in order; None where only its code knows."""
        known = parameter_roles(self.layer, len(self.layer.bottom))
        if known is not None:
            return known
        python = self.layer.python_param
        definition = DEFINED.get((python.module, python.layer))
        if self.layer.type == "Python" and definition is not None:
            return tuple(definition.learned)
        given = len(self.layer.param)
        return tuple(f"parameter {slot}" for slot in range(given)) or None

    @property
    def statistics(self) -> tuple[int, ...]:
        """Which of its parameters are statistics, which no gradient changes."""
        return statistics_slots(self.layer)

    @property
    def learned(self) -> list[int]:
        """Which of its parameters gradients may change."""
        slots = range(len(self.roles or ()))
        return [slot for slot in slots if slot not in self.statistics]

    def own_params(self) -> list[ParamSpec]:
        """Return copies of what was written of its parameters, one for each of them."""
        written = self.layer if self.fn is None else layer_of(self.fn)
        specs = []
        for slot in range(max(len(self.roles or ()), len(written.param))):
            spec = ParamSpec()
            if slot < len(written.param):
                spec.CopyFrom(written.param[slot])
            specs.append(spec)
        return specs

    def set_params(self, specs: Sequence[ParamSpec]) -> None:
        """Write what is said of its parameters."""
        if self.fn is not None:
            self.fn.params["param"] = [values_of(spec) for spec in specs]
            if not specs:
                del self.fn.params["param"]
        names = [spec.name for spec in self.layer.param]
        del self.layer.param[:]
        self.layer.param.extend(specs)
        for spec, name in zip(self.layer.param, names, strict=False):
            if name:  # that of a parameter that calls share, which is made when written
                spec.name = name

    def set_option(self, field: str, value: Any) -> None:
        """Write an option of its type, such as use_global_stats; None takes it away."""
        own = own_param(self.layer.type)
        if own is None:
            raise SpecError(f"{an(self.layer.type)} layer has no options of its own")
        message = getattr(self.layer, own)
        if value is None:
            message.ClearField(field)
        else:
            setattr(message, field, value)
        if self.fn is None:
            return
        params = self.fn.params
        inner = params.get(own)
        if isinstance(inner, Mapping):
            inner = {name: held for name, held in inner.items() if name != field}
            params[own] = inner
        elif inner is not None:
            params[own] = values_of(inner)
            params[own].pop(field, None)
        params.pop(field, None)
        if value is not None:
            params[field] = value


class Opened:
    """A net whose layers can be changed where they are.

    net: the `NetSpec`, message or `Model` that was given; of a path or text, the spec
    that it was loaded as.
    """

    def __init__(self, net: Any) -> None:
        if isinstance(net, str | os.PathLike):
            net = load(net)
        self.net = net
        if isinstance(net, Folder):
            self.parts = [Part(layer, fn) for fn, layer in emitted(net).items()]
            return
        message = net.net if isinstance(net, Model) else net
        if not isinstance(message, NetParameter):
            raise SpecError(
                f"the net is {net!r}; expected a NetSpec, a NetParameter, a Model, or "
                f"the path or text of a net"
            )
        current = upgrade_net(message)
        if current is not message:
            message.CopyFrom(current)
        self.parts = [Part(layer, None) for layer in message.layer]

    def names(self) -> list[str]:
        """Return the names of all layers, in order."""
        return [part.name for part in self.parts]

    def as_pattern(self, wanted: Any) -> Any:
        """Return a pattern for a top, a call or a folder of the spec."""
        if isinstance(wanted, Top | Function):
            for part in self.parts:
                if part.fn is wanted.fn:
                    return part.name
            raise SpecError(f"{wanted!r} is not in this net")
        if isinstance(wanted, Folder) and isinstance(self.net, Folder):
            for prefix, folder in folders_in(self.net):
                if folder is wanted and prefix:
                    return prefix
            raise SpecError("a NetSpec is given that is no folder of this net")
        return wanted

    def with_name(self, names: Sequence[str]) -> list[Part]:
        """Return the layers that have these names."""
        wanted = set(names)
        return [part for part in self.parts if part.name in wanted]

    def sharers(self, part: Part, slot: int) -> list[tuple[Part, int]]:
        """Return all layers that have a parameter, each with the place it has there."""
        shared = [spec.name for spec in part.layer.param]
        if slot >= len(shared) or not shared[slot]:
            return [(part, slot)]
        return [
            (each, place)
            for each in self.parts
            for place, spec in enumerate(each.layer.param)
            if spec.name == shared[slot]
        ]
