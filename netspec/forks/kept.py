"""Text of fields that our schema lacks: read as a tree, and looked up by names."""

from __future__ import annotations

import functools
import operator
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

from google.protobuf.message import Message

from netspec.forks.catalogue import BVLC
from netspec.forks.converting import UNKNOWN_FIELDS, is_repeated
from netspec.forks.meanings import OURS, Meaning, Meanings
from netspec.forks.schemas import SCALARS
from netspec.schema import LayerParameter

_TOKEN = re.compile(
    r"""\s+|\#[^\n]*|(?P<text>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')"""
    r"""|(?P<word>[-+]?[\w.][\w.+-]*)|(?P<mark>[:{}<>\[\],;])""",
    re.DOTALL,
)
_NUMBER = re.compile(r"[-+]?(\d|\.\d|inf|nan)", re.IGNORECASE)
_MAX_DEPTH = 50


class Field(NamedTuple):
    """A field of a text: its name, and its values.

    Each value is a word or a quoted text as it stands, or the fields of a message.
    """

    name: str
    values: tuple[Any, ...]


Fields: TypeAlias = tuple[Field, ...]


class NoText(ValueError):
    """What is no prototxt, or too deep."""


def fields_in(text: str) -> Fields:
    """Return the fields of a prototxt. Raises `NoText`."""
    tokens, place = [], 0
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None:
            raise NoText(text)
        if found.lastgroup:
            tokens.append(found[0])
        place = found.end()
    fields, place = _fields(tokens, 0, "", 0)
    if place < len(tokens):
        raise NoText(text)
    return fields


def _fields(
    tokens: Sequence[str], place: int, end: str, depth: int
) -> tuple[Fields, int]:
    """Return the fields up to the token `end`, and the place of it."""
    if depth > _MAX_DEPTH:
        raise NoText("too deep")
    fields = []
    while place < len(tokens) and tokens[place] != end:
        name = tokens[place]
        if not (name[0].isalpha() or name[0] == "_") or place + 1 >= len(tokens):
            raise NoText(name)
        place += 2 if tokens[place + 1] == ":" else 1
        values, place = _values(tokens, place, depth)
        fields.append(Field(name, values))
        while place < len(tokens) and tokens[place] in (",", ";"):
            place += 1
    return tuple(fields), place


def _values(
    tokens: Sequence[str], place: int, depth: int
) -> tuple[tuple[Any, ...], int]:
    if place >= len(tokens):
        raise NoText("cut short")
    first = tokens[place]
    if first in ("{", "<"):
        end = "}" if first == "{" else ">"
        fields, place = _fields(tokens, place + 1, end, depth + 1)
        if place >= len(tokens):
            raise NoText("cut short")
        return (fields,), place + 1
    if first == "[":
        values: list[Any] = []
        place += 1
        while place < len(tokens) and tokens[place] != "]":
            if tokens[place] == ",":
                place += 1
                continue
            one, place = _values(tokens, place, depth + 1)
            values += one
        if place >= len(tokens):
            raise NoText("cut short")
        return tuple(values), place + 1
    if len(first) == 1 and first in ":}>],;":
        raise NoText(first)
    place += 1
    if first[0] in "\"'":  # texts side by side are one
        while place < len(tokens) and tokens[place][0] in "\"'":
            place += 1
    return (first,), place


# ---------------------------------------------------------------- who has such fields


def kept_texts(message: Message) -> Iterator[tuple[str, str]]:
    """Yield the name of a message and the text of a field, of all that are kept."""
    for field, value in message.ListFields():
        if field.name == UNKNOWN_FIELDS:
            for text in value:
                yield message.DESCRIPTOR.name, text
        elif field.message_type is not None and field.message_type.name != "BlobProto":
            for inner in value if is_repeated(field) else [value]:
                yield from kept_texts(inner)


def explaining(message: Message, known: Meanings) -> int:
    """Return the forks that have the fields of a message which Caffe lacks.

    Those are the kept ones, and those of our schema that forks have; and layer types.
    """
    everyone = known.forks & ~known.bits[BVLC]
    for each in known.given:
        if each.word != OURS:
            everyone |= known.bits[each.word]
    return _explaining(message, known, everyone)


def _explaining(message: Message, known: Meanings, live: int) -> int:
    name = message.DESCRIPTOR.name
    if isinstance(message, LayerParameter):
        knows = known.knows(message.type)
        live = live & knows or live & known.unlisted or live
    for field, value in message.ListFields():
        if field.name == UNKNOWN_FIELDS:
            for text in value:
                live &= named(name, text, known)
            continue
        having = known.having(name, field.name)
        live &= having or -1
        if field.message_type is not None and field.message_type.name != "BlobProto":
            for inner in value if is_repeated(field) else [value]:
                live = _explaining(inner, known, live)
    return live


def named(message: str, text: str, known: Meanings) -> int:
    """Return the schemas in which the fields of a text can stand in a message."""
    try:
        fields = fields_in(text)
    except NoText:
        return 0
    return _named(message, fields, known, -1)


def _named(message: str, fields: Fields, known: Meanings, live: int) -> int:
    for field in fields:
        fits = 0
        for meaning in known.named(message, field.name):
            schemas = meaning.schemas & live
            if schemas:
                each = [_holds(meaning, v, known, schemas) for v in field.values]
                fits |= functools.reduce(operator.and_, each, schemas)
        live &= fits
    return live


def _holds(meaning: Meaning, value: Any, known: Meanings, schemas: int) -> int:
    """Return those of `schemas` in which a field takes a value."""
    kind = meaning.row.type
    if isinstance(value, tuple):
        is_message = kind not in SCALARS and not known.is_enum(kind)
        return _named(kind, value, known, schemas) if is_message else 0
    if known.is_enum(kind):
        return known.with_value(kind, value) & schemas
    if kind not in SCALARS:
        return 0
    quoted = value[0] in "\"'"
    if kind in ("string", "bytes"):
        return schemas if quoted else 0
    if kind == "bool":
        words = ("true", "false", "True", "False", "t", "f", "0", "1")
        return schemas if value in words else 0
    return schemas if not quoted and _NUMBER.match(value) else 0
