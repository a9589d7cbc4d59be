"""The options of a layer: which message they go into, and written into it."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from netspec.catalogue import LAYER_TYPES
from netspec.errors import an, did_you_mean
from netspec.language.calls import Function, describe
from netspec.language.python_to_proto import (
    assign_field,
    assign_unknown,
    unknown_field,
    with_whole_numbers,
)
from netspec.schema import LayerParameter
from netspec.schema.kept import UNKNOWN_FIELDS, known_fields
from netspec.site import warn_at

LAYER_FIELDS: Mapping[str, Any] = LayerParameter.DESCRIPTOR.fields_by_name


def write_params(message: LayerParameter, fn: Function) -> list[str]:
    """Write the options of `fn` into `message`; return what is wrong with them.

    Of a call as Caffe has it, whole numbers that are floats are taken with a warning.
    """
    if not fn.strict:
        _take_whole_floats(fn)
    return write_options(message, fn.type_name, fn.params)


def _take_whole_floats(fn: Function) -> None:
    """Make 32.0 an integer where a field has one: scripts of Python 2 divide so."""
    own = own_param(fn.type_name)
    fields = {**LAYER_FIELDS, **(fields_of(own) if own is not None else {})}
    taken: list[str] = []
    for name, value in fn.params.items():
        if name in fields:
            fn.params[name] = with_whole_numbers(fields[name], value, taken)
    if taken:
        warn_at(
            fn.site,
            f"{describe(fn)}: {', '.join(taken)}; taken as whole, but the file has "
            f"integers there, so divide with // or write int(...)",
        )


def write_options(
    message: LayerParameter, type_name: str, params: Mapping[str, Any]
) -> list[str]:
    """Write the options of a layer into `message`; return what is wrong with them."""
    own = own_param(type_name)
    fields = fields_of(own) if own is not None else {}
    problems = []
    inner: dict[str, dict[str, Any]] = {}
    for name, value in params.items():
        if value is None:
            continue
        if name in fields:
            target = getattr(message, str(own))
            problems += assign_field(target, fields[name], value)
        elif name in LAYER_FIELDS and name != "type":
            problems += assign_field(message, LAYER_FIELDS[name], value)
        else:
            problems += _fork_field(message, type_name, name, value, own, inner)
    for name, values in inner.items():
        if name in LAYER_FIELDS:
            problems += assign_field(message, LAYER_FIELDS[name], values)
        else:
            problems += assign_unknown(message, name, values)
    return problems


def _fork_field(
    message: LayerParameter,
    type_name: str,
    name: str,
    value: Any,
    own: str | None,
    inner: dict[str, dict[str, Any]],
) -> list[str]:
    """Keep an option that our schema lacks, if a fork has it; return what is wrong.

    inner: gets the options that go into a parameter of the type that is not `own`.
    """
    from netspec.forks.keywords import param_with, schemas_with

    if own is not None and schemas_with(_message_of(own), name):
        return assign_unknown(getattr(message, own), name, value)
    if name not in LAYER_FIELDS and schemas_with("LayerParameter", name):
        return assign_unknown(message, name, value)
    param = param_with(type_name, name)
    if param is None and name in LAYER_FIELDS:
        return assign_field(message, LAYER_FIELDS[name], value)
    if param is None:
        return [_unknown(type_name, name, own)]
    inner.setdefault(param, {})[name] = value
    return []


def _message_of(param: str) -> str:
    return str(LAYER_FIELDS[param].message_type.name)


def own_param(type_name: str) -> str | None:
    """Return the field of LayerParameter with the options of a layer type, or None."""
    row = LAYER_TYPES.get(type_name)
    return row.param if row is not None else params_by_message().get(type_name)


def fields_of(param: str) -> Mapping[str, Any]:
    """Return the fields of a message in LayerParameter, such as `convolution_param`."""
    kind = LAYER_FIELDS[param].message_type
    return {} if kind is None else known_fields(kind)


@functools.cache
def params_by_message() -> dict[str, str]:
    """Return the field of options of a layer by its message, without "Parameter"."""
    return {
        field.message_type.name.removesuffix("Parameter"): name
        for name, field in LAYER_FIELDS.items()
        if field.message_type is not None and name.endswith("_param")
    }


def _unknown(type_name: str, name: str, own: str | None) -> str:
    from netspec.text.near import near_miss  # for mistakes

    fields = fields_of(own) if own is not None else {}
    slip = near_miss(name, fields)
    elsewhere = None if slip else _elsewhere(type_name, name, fields)
    if elsewhere is not None:
        return f"{name} is no field of {an(type_name)} layer; {elsewhere}"
    if did_you_mean(name, fields):
        return unknown_field(name, LAYER_FIELDS[str(own)].message_type)
    common = [
        field
        for field in LAYER_FIELDS
        if not field.endswith("_param") and field != UNKNOWN_FIELDS
    ]
    from netspec.forks.keywords import fields_known

    known = list(dict.fromkeys([*fields, *fields_known(type_name), *common]))
    hint = did_you_mean(name, [*known, "in_place", "ntop", "share"])
    return (
        f"{name} is no field of {an(type_name)} layer"
        f"{hint or '; its fields are ' + ', '.join(known)}"
    )


def _elsewhere(type_name: str, name: str, fields: Mapping[str, Any]) -> str | None:
    """Return where an option belongs: in a message beside, or under another name."""
    row = LAYER_TYPES.get(type_name)
    for param in row.extra_params if row is not None else ():
        if name in fields_of(param):
            return f"it is one of {param}: write {param}=dict({name}=...)"
    from netspec.language.foreign_words import field_here  # right names do without

    return field_here(name, [*fields, "in_place"])


def layer_of(fn: Function) -> LayerParameter:
    """Return the layer of a call, without its wires."""
    return layer_with(fn.type_name, fn.params)


def layer_with(type_name: str, params: Mapping[str, Any]) -> LayerParameter:
    """Return the layer of a type with these options, as far as they are right."""
    message = LayerParameter(type=type_name)
    write_options(message, type_name, params)
    return message
