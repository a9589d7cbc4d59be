"""What stands in text that our schema lacks: of a fork, unknown, or a mistake."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from google.protobuf.descriptor import FieldDescriptor

from netspec import schema
from netspec.forks import owners
from netspec.forks.catalogue import BVLC, REPEATED, Row, catalogue
from netspec.forks.chosen import given_owners, given_value_owners
from netspec.schema.kept import known_fields
from netspec.text.near import near_miss

_OTHER_FILE = {"NetParameter": "SolverParameter", "SolverParameter": "NetParameter"}
_OTHER_FORM = {
    "V1LayerParameter": "LayerParameter",
    "LayerParameter": "V1LayerParameter",
}
_OURS = ("module", "import")  # of nets in text; a solver has none
MAX_NAME = 100  # characters of a field or a value that is kept
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*|0[0-7]+|0[xX][0-9a-fA-F]+)")
_NOT_FINITE = re.compile(r"-?(?:inf|infinity|nan)f?", re.IGNORECASE)
_BOOLEANS = frozenset(("true", "false", "True", "False", "t", "f", "0", "1"))
_SCALARS = {
    FieldDescriptor.TYPE_DOUBLE: "double",
    FieldDescriptor.TYPE_FLOAT: "float",
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_UINT64: "uint64",
    FieldDescriptor.TYPE_INT32: "int32",
    FieldDescriptor.TYPE_UINT32: "uint32",
    FieldDescriptor.TYPE_BOOL: "bool",
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_BYTES: "bytes",
}
_FLOATS = ("float", "double")
_INTEGERS = ("int32", "int64", "sint32", "sint64", "sfixed32", "sfixed64")


class Token(NamedTuple):
    """A value as it is written: "open" for a message, "text", "word" or "number"."""

    kind: str
    text: str


def field_verdict(message: Any, field: str, around: tuple[Any, ...]) -> bool:
    """Tell whether a field that `message` lacks is kept; a mistake is not.

    A field of a fork is kept whatever it looks like. Without one, a slip of a known
    field is a mistake, and so is what belongs elsewhere: into a message around this
    one or in it, into the other kind of file or of layer.
    """
    # A schema that a user gives may come and go; all else stays.
    own = given_owners(message.name, field)
    return bool(own) or _field_verdict(message, field, around)


@functools.cache
def _field_verdict(message: Any, field: str, around: tuple[Any, ...]) -> bool:
    if owners(message.name, field):
        return True
    if len(field) > MAX_NAME or field in _OURS:
        return False
    places = [*around, *_inside(message)]
    for table in (_OTHER_FILE, _OTHER_FORM):
        if message.name in table:
            places.append(getattr(schema, table[message.name]).DESCRIPTOR)
    if any(field in known_fields(place) for place in places):
        return False
    return near_miss(field, known_fields(message)) is None


@functools.cache
def _inside(message: Any) -> tuple[Any, ...]:
    kinds = (field.message_type for field in known_fields(message).values())
    return tuple(dict.fromkeys(kind for kind in kinds if kind is not None))


@functools.cache
def kind_of(field: Any) -> str:
    """Return how the type of a field is called: a scalar, "enum" or "message"."""
    if field.message_type is not None:
        return "message"
    return "enum" if field.enum_type is not None else _SCALARS[field.type]


def fits(field: Any, value: Token) -> bool:
    """Tell whether a value may stand in a field of our schema, by its kind."""
    kind = kind_of(field)
    if kind == "message":
        return value.kind == "open"
    if kind == "enum":
        return value.text in _numbers(field.enum_type)
    return _fits_scalar(kind, value)


def value_verdict(field: Any, values: Sequence[Token], *, several: bool) -> bool:
    """Tell whether values that our field has no place for are kept.

    They are where a fork has the field with such values, and where an enum lacks one
    that is no slip of a known one. several: whether they are written as a list.
    """
    if value_owners(field, values, several=several):
        return True
    if kind_of(field) != "enum" or (several and not is_repeated(field)):
        return False
    enum = field.enum_type
    unknown = [each for each in values if not fits(field, each)]
    return bool(unknown) and all(
        each.kind == "word"
        and len(each.text) <= MAX_NAME
        and near_miss(each.text, enum.values_by_name) is None
        for each in unknown
    )


def value_owners(
    field: Any, values: Sequence[Token], *, several: bool
) -> tuple[str, ...]:
    """Return the forks whose field of the same name takes all of these values."""
    tables = catalogue()
    bvlc = 1 << tables.by_word[BVLC].place
    mask = 0
    for row in tables.fields(field.containing_type.name):
        if row.name != field.name or (several and row.label != REPEATED):
            continue
        # Forks have Caffe's own fields too, and may have added to their enums.
        inherited = row.forks & bvlc and row.type in tables.enums
        forks = -1 if inherited else row.forks
        for value in dict.fromkeys(values):
            forks &= _takers(row, value)
        mask |= forks if forks > 0 else 0
    own = given_value_owners(field, [each.text for each in values])
    return (*own, *(fork.name for fork in tables.in_mask(mask & ~bvlc)))


def _takers(row: Row, value: Token) -> int:
    """Return the set of forks that have a value in the field of a row."""
    tables = catalogue()
    if row.type in tables.messages:
        return -1 if value.kind == "open" else 0
    if row.type not in tables.enums:
        return -1 if _fits_scalar(row.type, value) else 0
    mask = 0
    for known in tables.values(row.type):
        if value.text in (known.name, str(known.number)):
            mask |= known.forks
    bvlc = 1 << tables.by_word[BVLC].place
    return -1 if mask & bvlc else mask


def _fits_scalar(kind: str, value: Token) -> bool:
    """Tell whether a value is one of a scalar type, by how it is written."""
    if kind in ("string", "bytes"):
        return value.kind == "text"
    if kind == "bool":
        return value.text in _BOOLEANS
    if kind in _FLOATS:
        finite = value.kind == "number"
        return finite or (value.kind == "word" and _is_not_finite(value.text))
    whole = value.kind == "number" and _INTEGER.fullmatch(value.text) is not None
    return whole and (kind in _INTEGERS or value.text[0] != "-")


def _is_not_finite(text: str) -> bool:
    return _NOT_FINITE.fullmatch(text) is not None


@functools.cache
def _numbers(enum: Any) -> frozenset[str]:
    """Return how the values of an enum may be written."""
    values: Iterable[Any] = enum.values
    return frozenset(text for each in values for text in (each.name, str(each.number)))


@functools.cache
def is_repeated(field: Any) -> bool:
    """Tell whether a field holds a list, on any version of protobuf."""
    repeated = getattr(field, "is_repeated", None)
    if repeated is None:  # before protobuf 6
        return bool(field.label == FieldDescriptor.LABEL_REPEATED)
    return bool(repeated)
