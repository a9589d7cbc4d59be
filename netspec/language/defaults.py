"""What a call takes from the blocks around it: defaults and the phase."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf.message import Message

from netspec.catalogue.parameters import STATISTICS, parameter_roles
from netspec.language.options import LAYER_FIELDS, fields_of, layer_with, own_param
from netspec.language.python_to_proto import PAIRS
from netspec.language.scope import Defaults, current_defaults, current_phase

# What makes a layer of Caffe one of a fork, and is meant for layers of other types
# where a default says nothing of types.
_OF_FORKS = {"BatchNorm": frozenset(("scale_filler", "bias_filler", "bias_term"))}


def add_defaults(
    type_name: str, bottoms: int, given: Mapping[str, Any], params: dict[str, Any]
) -> None:
    """Add to `params` what blocks around say of fields that are not `given`."""
    around = current_defaults()
    for defaults in reversed(around):
        if not defaults.types or type_name in defaults.types:
            _add(type_name, defaults, given, params)
    for name in [name for name, value in params.items() if value is None]:
        del params[name]
    if around and "param" in params and "param" not in given:
        _shorten(type_name, bottoms, params)
    phase = current_phase()
    if phase is not None and not {"include", "exclude"} & params.keys():
        params["include"] = {"phase": phase}


def _add(
    type_name: str,
    defaults: Defaults,
    given: Mapping[str, Any],
    params: dict[str, Any],
) -> None:
    own = own_param(type_name)
    known = fields_of(own) if own is not None else {}
    whole = params.get(own) if own is not None else None
    for name, value in defaults.fields.items():
        if name in given or name in params or given.keys() & PAIRS.get(name, ()):
            continue
        if name == "bias_filler" and given.get("bias_term") is False:
            continue
        if not defaults.types and name in _OF_FORKS.get(type_name, ()):
            continue
        if name in known:
            if not _names(whole, name):
                params[name] = value
        elif name in LAYER_FIELDS:
            params[name] = value


def _names(message: Any, field: str) -> bool:
    """Tell whether a message that was given as a whole says something of a field."""
    if isinstance(message, Message):
        return any(each.name == field for each, _ in message.ListFields())
    return isinstance(message, Mapping) and field in message


def _shorten(type_name: str, bottoms: int, params: dict[str, Any]) -> None:
    """Cut a default `param` to as many entries as the layer has parameters."""
    entries = params["param"]
    if isinstance(entries, str | Mapping | Message):
        entries = [entries]
    rest = {name: value for name, value in params.items() if name != "param"}
    roles = parameter_roles(layer_with(type_name, rest), bottoms)
    if roles is None:
        return
    kept = list(entries)[: len(roles)] if type_name not in STATISTICS else []
    if kept:
        params["param"] = kept
    else:
        del params["param"]
