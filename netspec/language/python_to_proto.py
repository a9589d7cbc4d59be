"""Python values to proto fields.

What NetSpec has always taken: scalars, lists, dictionaries, enums by name or number.
What has one obvious meaning is taken too: a filler, a shape, a rule or a shared
parameter in short (`weight_filler="xavier"`, `shape=[1, 3, 8, 8]`, `include=TEST`,
`param="w"`), and a pair where Pooling has two fields (`kernel_size=(3, 2)`).
"""

from __future__ import annotations

import numbers
import operator
import os
from collections.abc import Callable, Iterable, Mapping, Set
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from netspec.errors import SpecError, did_you_mean, shown
from netspec.schema.kept import UNKNOWN_FIELDS, known_fields

PAIRS = {  # fields that are given as one number, or as two
    "kernel_size": ("kernel_h", "kernel_w"),
    "stride": ("stride_h", "stride_w"),
    "pad": ("pad_h", "pad_w"),
}


def assign(message: Message, values: Mapping[str, Any], path: str = "") -> list[str]:
    """Write `values` into `message`; return what is wrong with them, in sentences.

    A value None means that the field is not written. `path` is what to call `message`
    in a sentence, with a dot at its end.
    """
    descriptor = message.DESCRIPTOR
    problems: list[str] = []
    for name, value in values.items():
        if value is None:
            continue
        field = descriptor.fields_by_name.get(name)
        if field is None:
            problems += assign_unknown(message, name, value, path)
        else:
            problems += assign_field(message, field, value, path)
    return problems


def assign_unknown(
    message: Message, name: str, value: Any, path: str = ""
) -> list[str]:
    """Keep a field that our schema lacks, if a fork has it; else say that it lacks."""
    if not name.isidentifier():
        return [unknown_field(name, message.DESCRIPTOR, path)]
    from netspec.forks.keywords import keep  # which most nets do not need

    kept = keep(message, name, value, path, assign_field)
    return [unknown_field(name, message.DESCRIPTOR, path)] if kept is None else kept


def assign_field(message: Message, field: Any, value: Any, path: str = "") -> list[str]:
    """Write `value` into `field` of `message`; return what is wrong with it."""
    where = path + field.name
    try:
        if is_repeated(field):
            return _assign_repeated(message, field, value, where)
        if field.message_type is not None:
            item = getattr(message, field.name)
            return _assign_message(item, value, where)
        if field.name in PAIRS and _is_list(value):
            return _assign_pair(message, field, list(value), path)
        setattr(message, field.name, _scalar(field, value, where))
    except _Wrong as wrong:
        if field.enum_type is not None and _of_fork(message, field, value, path):
            return []
        return [str(wrong)]
    except (ValueError, TypeError):
        return [f"{where} is {shown(value)}; expected {_RANGES[field.cpp_type]}"]
    return []


def _of_fork(message: Message, field: Any, value: Any, path: str) -> bool:
    """Keep the word of an enum that our schema lacks, if a fork has it."""
    if not isinstance(value, str) or not value.isidentifier():
        return False
    from netspec.forks.keywords import keep  # which most nets do not need

    return keep(message, field.name, value, path, assign_field) == []


def with_whole_numbers(field: Any, value: Any, taken: list[str], path: str = "") -> Any:
    """Return `value` for `field` with integers for floats such as 32.0.

    Only where the field has integers; `taken` gets "num_output is 32.0" for each.
    Without any it is the same object, which a script may still change.
    """
    where = path + field.name
    before = len(taken)
    changed: Any = value
    if isinstance(value, list | tuple):
        changed = [with_whole_numbers(field, each, taken, path) for each in value]
    elif isinstance(value, Mapping) and field.message_type is not None:
        inner = field.message_type.fields_by_name
        changed = {
            name: with_whole_numbers(inner[name], each, taken, f"{where}.")
            if name in inner
            else each
            for name, each in value.items()
        }
    elif field.cpp_type in _INTEGERS and _is_whole_float(value):
        taken.append(f"{where} is {shown(value)}")
        changed = int(value)
    return changed if len(taken) > before else value


def _is_whole_float(value: Any) -> bool:
    if not _is_number(value) or isinstance(value, numbers.Integral):
        return False
    return float(value).is_integer()


def is_repeated(field: Any) -> bool:
    """Tell whether `field` holds a list, on any version of protobuf."""
    repeated = getattr(field, "is_repeated", None)
    if repeated is None:
        return bool(field.label == FieldDescriptor.LABEL_REPEATED)
    return bool(repeated)


def unknown_field(name: str, descriptor: Any, path: str = "") -> str:
    """Say that `descriptor` has no field `name`, with the nearest spelling."""
    known = list(known_fields(descriptor))
    hint = did_you_mean(name, known) or f"; its fields are {', '.join(known)}"
    return f"{path}{name} is no field of {descriptor.name}{hint}"


class _Wrong(Exception):
    """A sentence about a value that does not fit its field."""


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _is_list(value: Any) -> bool:
    return isinstance(value, Iterable) and not isinstance(
        value, str | bytes | Mapping | Message | Set
    )


def _assign_repeated(message: Message, field: Any, value: Any, where: str) -> list[str]:
    target = getattr(message, field.name)
    kind = field.message_type
    if kind is None:
        values = list(value) if _is_list(value) else [value]
        if field.name == UNKNOWN_FIELDS:
            values = [_kept(each, where) for each in values]
        target.extend(_scalar(field, item, where) for item in values)
        return []
    problems = []
    for index, item in enumerate(_messages(kind, value)):
        problems += _assign_message(target.add(), item, f"{where}[{index}]")
    return problems


def _kept(value: Any, where: str) -> str:
    """Return a field that our schema lacks as its text on one line."""
    if not isinstance(value, str):
        raise _Wrong(f"{where} is {shown(value)}; expected the text of a field")
    from netspec.text.kept_text import one_line, parsed_field  # for few

    try:
        return one_line(parsed_field(value))
    except SpecError as error:
        raise _Wrong(f"{where.removesuffix(UNKNOWN_FIELDS)}{error}") from None


def _messages(kind: Any, value: Any) -> list[Any]:
    """Return the items of a repeated message field; one alone may stand for a list."""
    if not _is_list(value):
        return [value]
    items = list(value)
    if kind.name == "BlobShape" and items and not any(map(_is_item, items)):
        return [items]
    return items


def _is_item(value: Any) -> bool:
    return isinstance(value, Mapping | Message) or _is_list(value)


def _assign_message(message: Message, value: Any, where: str) -> list[str]:
    name = message.DESCRIPTOR.name
    if isinstance(value, Message):
        if value.DESCRIPTOR.full_name == message.DESCRIPTOR.full_name:
            # Through bytes, as the classes may come from different pools.
            message.MergeFromString(value.SerializeToString())
            return []
        return [f"{where} is a {value.DESCRIPTOR.name}; expected a {name}"]
    if not isinstance(value, Mapping):
        in_short = _SHORT.get(name)
        short = in_short(value) if in_short is not None else None
        if short is None:
            example = _EXAMPLES.get(name, f"dict({_first_fields(message)}=...)")
            return [f"{where} is {shown(value)}; expected {example}"]
        value = short
    message.SetInParent()  # an empty dictionary is an empty message, not none
    return assign(message, value, f"{where}.")


def _short_filler(value: Any) -> dict[str, Any] | None:
    if isinstance(value, str):
        return {"type": value}
    if _is_number(value):
        return {"type": "constant", "value": value}
    return None


def _short_shape(value: Any) -> dict[str, Any] | None:
    return {"dim": value} if _is_list(value) else None


def _short_name(value: Any) -> dict[str, Any] | None:
    return {"name": value} if isinstance(value, str) else None


def _short_phase(value: Any) -> dict[str, Any] | None:
    if isinstance(value, str) or (isinstance(value, int) and value in (0, 1)):
        return {"phase": value}
    return None


_SHORT: dict[str, Callable[[Any], dict[str, Any] | None]] = {
    "FillerParameter": _short_filler,
    "BlobShape": _short_shape,
    "ParamSpec": _short_name,
    "NetStateRule": _short_phase,
}
_EXAMPLES = {
    "FillerParameter": "a filler such as 'xavier', 0.1 or dict(type='gaussian', "
    "std=0.01)",
    "BlobShape": "a shape such as [1, 3, 8, 8] or dict(dim=[1, 3, 8, 8])",
    "ParamSpec": "dict(lr_mult=..., decay_mult=...) for every parameter, or a name",
    "NetStateRule": "a rule such as dict(phase=TEST), or TRAIN or TEST",
}


def _first_fields(message: Message) -> str:
    return next(iter(known_fields(message.DESCRIPTOR)), "field")


def _assign_pair(
    message: Message, field: Any, values: list[Any], path: str
) -> list[str]:
    if len(values) == 1:
        return assign_field(message, field, values[0], path)
    names = PAIRS[field.name]
    if len(values) != len(names) or names[0] not in message.DESCRIPTOR.fields_by_name:
        given = f"{path}{field.name} is {tuple(values)}"
        return [f"{given}; expected one integer, or a pair of height and width"]
    return assign(message, dict(zip(names, values, strict=True)), path)


def _scalar(field: Any, value: Any, where: str) -> Any:
    kind = field.cpp_type
    if kind == FieldDescriptor.CPPTYPE_ENUM:
        return _enum(field, value, where)
    if kind == FieldDescriptor.CPPTYPE_STRING:
        if field.type == FieldDescriptor.TYPE_BYTES and isinstance(value, bytes):
            return value
        if isinstance(value, str | os.PathLike):
            text = os.fspath(value)
            return text.encode() if field.type == FieldDescriptor.TYPE_BYTES else text
        raise _Wrong(f"{where} is {shown(value)}; expected text")
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        if value in (True, False) and not isinstance(value, float):
            return bool(value)
        raise _Wrong(f"{where} is {shown(value)}; expected True or False")
    if not _is_number(value):
        way = ""
        if value is None and field.name == "dim":  # any size, elsewhere
            way = "; write a number: batches of other sizes are taken all the same"
        raise _Wrong(f"{where} is {shown(value)}; expected {_RANGES[kind]}{way}")
    if kind in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
        return float(value)
    try:
        return operator.index(value)
    except TypeError:
        whole = float(value).is_integer()
        fix = f"; write {int(value)}, or divide with //" if whole else ""
        raise _Wrong(
            f"{where} is {shown(value)}; expected {_RANGES[kind]}{fix}"
        ) from None


_INTEGERS = frozenset(
    (
        FieldDescriptor.CPPTYPE_INT32,
        FieldDescriptor.CPPTYPE_INT64,
        FieldDescriptor.CPPTYPE_UINT32,
        FieldDescriptor.CPPTYPE_UINT64,
    )
)
_RANGES = {
    FieldDescriptor.CPPTYPE_INT32: "an integer",
    FieldDescriptor.CPPTYPE_INT64: "an integer",
    FieldDescriptor.CPPTYPE_UINT32: "an integer of at least 0",
    FieldDescriptor.CPPTYPE_UINT64: "an integer of at least 0",
    FieldDescriptor.CPPTYPE_FLOAT: "a number",
    FieldDescriptor.CPPTYPE_DOUBLE: "a number",
    FieldDescriptor.CPPTYPE_BOOL: "True or False",
    FieldDescriptor.CPPTYPE_STRING: "text",
    FieldDescriptor.CPPTYPE_ENUM: "the name or the number of a value",
    FieldDescriptor.CPPTYPE_MESSAGE: "a dictionary",
}


def _enum(field: Any, value: Any, where: str) -> int:
    numbers_by_name = {
        name: entry.number for name, entry in field.enum_type.values_by_name.items()
    }
    if field.enum_type.name == "Phase" and isinstance(value, str):
        value = value.upper() if value.upper() in numbers_by_name else value
    if isinstance(value, str) and value in numbers_by_name:
        return numbers_by_name[value]
    if isinstance(value, numbers.Integral) and int(value) in numbers_by_name.values():
        return int(value)
    hint = did_you_mean(value, numbers_by_name) if isinstance(value, str) else ""
    names = ", ".join(f"{name!r}" for name in numbers_by_name)
    raise _Wrong(f"{where} is {shown(value)}; expected one of {names}{hint}")
