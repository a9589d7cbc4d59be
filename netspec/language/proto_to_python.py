"""Proto fields to Python values, as one would write them by hand."""

from __future__ import annotations

import math
import struct
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from netspec.language.options import own_param
from netspec.language.python_to_proto import is_repeated
from netspec.schema import LayerParameter
from netspec.schema.kept import UNKNOWN_FIELDS

MAX_DIGITS = 9  # of a float32 in decimal, so that it is read back as it was
WHOLE = 1e9  # floats below that are whole numbers are written as integers

_NOT_OPTIONS = ("name", "type", "bottom", "top")
_ALONE = (
    "data_filler",
    "exclude",
    "include",
    "shape",
)  # lists that stand alone when they have one
_AS_MESSAGES = ("blobs",)  # values of parameters are no reading matter


def options_of(layer: LayerParameter) -> dict[str, Any]:
    """Return the options of `layer` as keyword arguments of its layer function.

    What stands in the message of its type stands by itself: `num_output=20` and not
    `convolution_param=dict(num_output=20)`. Enums are names, messages dictionaries.
    Only the unknown fields of that message stay in it, as the layer has some too.
    """
    own = own_param(layer.type)
    options: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    for field, value in layer.ListFields():
        if field.name in _NOT_OPTIONS:
            continue
        if field.name == own and value.ListFields():
            values = values_of(value)
            if UNKNOWN_FIELDS in values:
                rest[own] = {UNKNOWN_FIELDS: values.pop(UNKNOWN_FIELDS)}
            options.update(values)
        else:
            rest[field.name] = _value(field, value)
    return {**options, **rest}


def values_of(message: Message) -> dict[str, Any]:
    """Return the fields of `message` that are set, in the order of their numbers."""
    return {field.name: _value(field, value) for field, value in message.ListFields()}


def _value(field: Any, value: Any) -> Any:
    if not is_repeated(field):
        return _item(field, value)
    if field.name in _AS_MESSAGES:
        return [_copied(item) for item in value]
    items = [_item(field, item) for item in value]
    single = field.message_type is None or field.name in _ALONE
    single = single and field.name != UNKNOWN_FIELDS
    return items[0] if single and len(items) == 1 else items


def _copied(message: Message) -> Message:
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def _item(field: Any, value: Any) -> Any:
    if field.message_type is not None:
        return values_of(value)
    if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
        return field.enum_type.values_by_number[value].name
    if field.cpp_type == FieldDescriptor.CPPTYPE_FLOAT:
        return _shortest(value)
    if field.cpp_type == FieldDescriptor.CPPTYPE_DOUBLE:
        return _whole(value)
    return value


def _shortest(value: float) -> float:
    """Return the number of fewest digits that is `value` as a float32."""
    if not math.isfinite(value):
        return value
    wanted = struct.pack("f", value)
    for digits in range(6, MAX_DIGITS + 1):
        short = float(f"{value:.{digits}g}")
        try:
            if struct.pack("f", short) == wanted:
                return _whole(short)
        except OverflowError:  # rounded up beyond the largest
            continue
    return value


def _whole(value: float) -> float:
    """Return an integer for a small whole number: `lr_mult=1`."""
    negative_zero = value == 0 and math.copysign(1, value) < 0
    if negative_zero or abs(value) >= WHOLE or not value.is_integer():
        return value
    return int(value)
