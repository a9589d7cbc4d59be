"""NetSpec for scripts that were written for Caffe: they give what Caffe's own gives.

    from netspec.compatible import NetSpec, layers as L, params as P

The language is that of `netspec`; what differs is how much is refused. Caffe writes any
net down and finds out when it is run whether it can be, so here that is a
`SpecWarning`: a missing field or bottom, shapes that cannot meet, a blob that a layer,
called later, changes in place before it is read. `L` has every layer type, known or
not. Names are given and taken as by Caffe: the last name of a top counts, and a top
whose name went to another one is numbered. All tops of a layer may have one name, as
long as it is given to another top before `to_proto`. A float such as 32.0 is taken for
an integer, with a warning. A field that does not exist is an error here as there.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from netspec import layers as _functions
from netspec import net_spec as _spec
from netspec import params as _params
from netspec import schema
from netspec.catalogue import LAYER_TYPES
from netspec.errors import SpecError, join_lines
from netspec.language.calls import Function as Function
from netspec.language.calls import Top as Top
from netspec.language.emit import to_proto as to_proto
from netspec.language.folder import Entry, Folder
from netspec.language.naming import AS_CAFFE
from netspec.language.options import params_by_message
from netspec.language.python_to_proto import assign_field, with_whole_numbers
from netspec.language.record import record
from netspec.language.unknown import no_such_param
from netspec.site import user_site, warn_at


class NetSpec(_spec.NetSpec):
    """A `netspec.NetSpec` that takes and gives names as Caffe's does."""

    def __init__(self, name: str | None = None, **fields: Any) -> None:
        super().__init__(name, **fields)
        vars(self)["_naming"] = AS_CAFFE

    def update(
        self,
        other: Mapping[str, Entry] | Folder | str,
        params: Mapping[str, Any] | None = None,
    ) -> None:
        """Change options of the layer of a top: `n.update("conv1", dict(pad=1))`.

        Without `params`, assign every entry of `other`.
        """
        if isinstance(other, str):
            entry = self[other]
            if isinstance(entry, tuple | list):
                raise SpecError(
                    f"{user_site()}: {other!r} is a tuple of {len(entry)} tops; update "
                    f"takes the name of one, so name them first"
                )
            entry.fn.params.update(_without_empty(params or {}))
        else:
            super().update(other)


class Layers:
    """Layer functions by type: `layers.Convolution(n.data, num_output=20)`."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)

        def call(*bottoms: Any, **fields: Any) -> Any:
            return record(name, bottoms, _without_empty(fields), strict=False)

        known = vars(_functions).get(name)
        return functools.wraps(known)(call) if known is not None else call

    def __dir__(self) -> list[str]:
        return list(LAYER_TYPES)


class Parameters:
    """Enum values by message: `params.Pooling.MAX` is that of `PoolingParameter`."""

    def __getattr__(self, name: str) -> Any:
        message = vars(schema).get(f"{name}Parameter")
        if message is None:
            raise no_such_param(name, vars(_params))
        return message


def _without_empty(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """Leave out empty messages, which Caffe does not write.

    In a list they stay: there each is an item. Where there is none the same objects are
    returned, which a script may still change.
    """
    kept: dict[str, Any] = {}
    for name, value in fields.items():
        inner: Any = value
        if isinstance(value, dict):
            inner = _without_empty(value)
        elif isinstance(value, list | tuple):
            inner = [_without_empty(v) if isinstance(v, dict) else v for v in value]
            if all(new is old for new, old in zip(inner, value, strict=True)):
                inner = value
        if not isinstance(inner, dict) or inner:
            kept[name] = inner
    same = len(kept) == len(fields)
    return fields if same and all(kept[k] is fields[k] for k in kept) else kept


layers = Layers()
params = Parameters()


def param_name_dict() -> dict[str, str]:
    """Return the prefix of the field of options by layer type: "LRN" is "lrn"."""
    return {
        kind: name.removesuffix("_param") for kind, name in params_by_message().items()
    }


def assign_proto(proto: Any, name: str, val: Any) -> None:
    """Write a number, a text, a list or a dictionary into a field of a message."""
    field = proto.DESCRIPTOR.fields_by_name.get(name)
    if field is None:
        raise AttributeError(f"{proto.DESCRIPTOR.name} has no field {name!r}")
    taken: list[str] = []
    val = with_whole_numbers(field, val, taken)
    if taken:
        warn_at(user_site(), f"{', '.join(taken)}; taken as whole, so divide with //")
    problems = assign_field(proto, field, val)
    if problems:
        raise SpecError(f"{user_site()}: " + join_lines(problems))
