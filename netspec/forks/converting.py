"""Messages of a fork as ours, and back: by the names of fields, whatever their numbers.

A field goes over where both schemas have it with types that hold the same values. What
ours lacks becomes text in `unknown_fields`, as it does where a prototxt is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from google.protobuf import text_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

UNKNOWN_FIELDS = "unknown_fields"
_INTEGERS = frozenset(
    (
        FieldDescriptor.CPPTYPE_INT32,
        FieldDescriptor.CPPTYPE_INT64,
        FieldDescriptor.CPPTYPE_UINT32,
        FieldDescriptor.CPPTYPE_UINT64,
    )
)
_FLOATS = frozenset((FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE))
_ENUM = FieldDescriptor.CPPTYPE_ENUM
_BLOB = "BlobProto"


def is_repeated(field: Any) -> bool:
    """Tell whether `field` holds a list, on any version of protobuf."""
    repeated = getattr(field, "is_repeated", None)
    if repeated is None:
        return bool(field.label == FieldDescriptor.LABEL_REPEATED)
    return bool(repeated)


def to_ours(theirs: Message, ours: Message) -> None:
    """Add the fields of a fork's message to one of ours."""
    if theirs.DESCRIPTOR.name == _BLOB and ours.DESCRIPTOR.name == _BLOB:
        _array_to_ours(theirs, ours)
        return
    known = ours.DESCRIPTOR.fields_by_name
    for field, value in theirs.ListFields():
        target = known.get(field.name)
        left = value
        if target is not None and field.name != UNKNOWN_FIELDS:
            left = _moved(field, value, ours, target, to_ours)
        if left is None:
            continue
        if is_repeated(field):
            for each in left:
                _keep(theirs, field, each, ours)
        else:
            _keep(theirs, field, left, ours)


def from_ours(ours: Message, theirs: Message) -> list[str]:
    """Add the fields of our message to a fork's; return what it cannot hold.

    That is in words, a sentence without a subject each: "LayerParameter has no field
    x". Text in `unknown_fields` becomes fields of the fork.
    """
    problems: list[str] = []
    _from_ours(ours, theirs, problems)
    return problems


def _from_ours(ours: Message, theirs: Message, problems: list[str]) -> None:
    known = theirs.DESCRIPTOR.fields_by_name
    name = theirs.DESCRIPTOR.name
    same = name == _BLOB and same_arrays(theirs.DESCRIPTOR, ours.DESCRIPTOR)
    if same:
        theirs.MergeFromString(ours.SerializeToString())
        return

    def inner(ours: Message, theirs: Message) -> None:
        _from_ours(ours, theirs, problems)

    for field, value in ours.ListFields():
        if field.name == UNKNOWN_FIELDS:
            for text in value:
                try:
                    text_format.Merge(text, theirs)
                except text_format.ParseError as error:
                    said = str(error).rpartition(" : ")[2]
                    problems.append(f"{name}: {text}: {said}")
            continue
        target = known.get(field.name)
        if target is None:
            problems.append(f"{name} has no field {field.name}")
        elif (left := _moved(field, value, theirs, target, inner)) is not None:
            problems.append(f"{name}.{field.name} cannot hold {left!r:.60}")


def _moved(
    field: Any,
    value: Any,
    message: Message,
    target: Any,
    convert: Callable[[Any, Any], None],
) -> Any:
    """Write a value into field `target` of `message`; return what does not go there."""
    if (field.message_type is None) != (target.message_type is None):
        return value
    values = list(value) if is_repeated(field) else [value]
    if not is_repeated(target) and len(values) > 1:
        return value
    if field.message_type is not None:
        for each in values:
            if is_repeated(target):
                convert(each, getattr(message, target.name).add())
            else:
                inner = getattr(message, target.name)
                inner.SetInParent()
                convert(each, inner)
        return None
    if (field.type == field.TYPE_BYTES) != (target.type == target.TYPE_BYTES):
        return value
    fitted = [_fitted(field, each, target) for each in values]
    if None in fitted:
        return value
    try:
        if is_repeated(target):
            getattr(message, target.name).extend(fitted)
        else:
            setattr(message, target.name, fitted[0])
    except ValueError:  # a number that its type does not hold
        return value
    return None


def _fitted(field: Any, value: Any, target: Any) -> Any:
    """Return a value as one of `target`, or None where it cannot be one."""
    ours, theirs = target.cpp_type, field.cpp_type
    if theirs == _ENUM or ours == _ENUM:
        if theirs != ours:
            return None
        word = field.enum_type.values_by_number.get(value)
        entry = word and target.enum_type.values_by_name.get(word.name)
        return None if not entry else entry.number
    if theirs == ours:
        return value
    if ours in _INTEGERS and theirs in _INTEGERS:
        return value
    if ours in _INTEGERS and theirs in _FLOATS:
        return int(value) if float(value).is_integer() else None
    if ours in _FLOATS and (theirs in _INTEGERS or theirs in _FLOATS):
        return float(value)
    return None


def _keep(theirs: Message, field: Any, value: Any, ours: Message) -> None:
    """Keep one value of a field as text."""
    alone = type(theirs)()
    if is_repeated(field):
        if field.message_type is None:
            getattr(alone, field.name).append(value)
        else:
            getattr(alone, field.name).add().CopyFrom(value)
    elif field.message_type is None:
        setattr(alone, field.name, value)
    else:
        inner = getattr(alone, field.name)
        inner.SetInParent()
        inner.CopyFrom(value)
    kept: Any = ours
    kept.unknown_fields.append(as_text(alone))


def as_text(message: Message) -> str:
    """Return the fields of a message as prototxt on one line."""
    return text_format.MessageToString(message, as_utf8=True, as_one_line=True).strip()


# ---------------------------------------------------------------- arrays


def same_arrays(theirs: Any, ours: Any) -> bool:
    """Tell whether a `BlobProto` of another schema has our numbers."""
    return all(
        (other := theirs.fields_by_name.get(field.name)) is None
        or other.number == field.number
        for field in ours.fields
    )


def _array_to_ours(theirs: Any, ours: Any) -> None:
    if same_arrays(theirs.DESCRIPTOR, ours.DESCRIPTOR):
        # Through bytes, which are the same: of any number of values.
        ours.MergeFromString(theirs.SerializeToString())
        return
    names = {field.name for field, _ in theirs.ListFields()}
    if "length" in names:  # C3D's arrays have five axes
        axes: Iterable[str] = ("num", "channels", "length", "height", "width")
        ours.shape.dim.extend(getattr(theirs, axis) for axis in axes)
    for name in ("num", "channels", "height", "width"):
        if name in names and "length" not in names:
            setattr(ours, name, getattr(theirs, name))
    for name in ("data", "diff", "double_data", "double_diff"):
        if name in names:
            getattr(ours, name).extend(getattr(theirs, name))
