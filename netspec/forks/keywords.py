"""Fields of forks from Python: `cpm_transform_param=dict(stride=8)` becomes text.

Python values are checked by the fork's own types, as those of Caffe's fields are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any, TypeAlias

from google.protobuf import text_encoding
from google.protobuf.message import Message

from netspec.catalogue import LAYER_TYPES
from netspec.forks.catalogue import catalogue
from netspec.forks.chosen import Schema, in_force, known_meanings, schema_named
from netspec.forks.converting import UNKNOWN_FIELDS, as_text, is_repeated
from netspec.forks.files import message_class
from netspec.forks.kept import Field, NoText, fields_in, named
from netspec.forks.meanings import OURS, squash

# Writes a value into a field, and returns what is wrong with it.
Assign: TypeAlias = Callable[[Any, Any, Any, str], list[str]]

_LAYER = "LayerParameter"
_NO_FIELD = " is no field of "  # as `unknown_field` of netspec.language says it


def schemas_with(message: str, field: str) -> list[Schema]:
    """Return the schemas that have a field, the one in force first, if it has it."""
    known = known_meanings()
    forced = in_force()
    found = [
        schema_named(word)
        for word in known.in_order(known.having(message, field))
        if word != OURS
    ]
    return sorted(found, key=lambda each: each is not forced)


def keep(
    message: Message, name: str, value: Any, path: str, assign: Assign
) -> list[str] | None:
    """Keep a field that our schema lacks as text, with the types of a fork that has it.

    That is the fork in force, or else the first that takes the value. Returns what is
    wrong with the value, and None where no fork has the field.
    """
    described: Any = message.DESCRIPTOR
    if UNKNOWN_FIELDS not in described.fields_by_name:
        return None
    schemas = schemas_with(described.name, name)
    if not schemas:
        return None
    forced = in_force()
    if forced is schemas[0]:
        schemas = schemas[:1]
    told: dict[str, Schema] = {}  # what each says is wrong
    for schema in schemas:
        kind = message_class(schema, described.name)
        if kind is None:
            continue
        theirs = kind()
        field = theirs.DESCRIPTOR.fields_by_name[name]
        problems = assign(theirs, field, value, path)
        if not problems:
            kept: Any = message
            kept.unknown_fields.extend(_texts(theirs, field, value))
            return []
        told.setdefault("; ".join(problems), schema)
    # The one that has the most of what is given, first.
    first, *others = sorted(told.items(), key=lambda each: each[0].count(_NO_FIELD))
    said = f"{first[0]} (fields of {first[1].name})"
    if others:
        names = ", ".join(schema.name for _, schema in others[:3])
        said += (
            f"; {names} {'has' if len(others) == 1 else 'have'} other fields of this "
            f"name: netspec.forks.use chooses"
        )
    return [said]


def params_of(layer_type: str) -> list[str]:
    """Return the parameters of a layer type that Caffe lacks, its own first.

    Those that its code reads in the fork in force or in any, and the one that is called
    like it.
    """
    known = known_meanings()
    squashed = squash(layer_type)
    found = [
        meaning.row.name
        for meanings in known.fields(_LAYER).values()
        for meaning in meanings
        if squash(meaning.row.name.removesuffix("_param")) == squashed
    ]
    for names, _ in known.tables.types.get(layer_type, ()):
        found += names
    return list(dict.fromkeys(found))


def is_type(name: str) -> bool:
    """Tell whether a fork, or a schema that a user gave, has a layer type.

    Not where a known one is spelt alike but for capitals: `ReLu` is a slip of `ReLU`.
    """
    known = known_meanings()
    if known.tables.type_owners(name) or any(
        name in each.types for each in known.given
    ):
        return True
    return squash(name) not in _known_types() and bool(params_of(name))


@cache
def _known_types() -> frozenset[str]:
    return frozenset(map(squash, (*LAYER_TYPES, *catalogue().types)))


def param_with(layer_type: str, field: str) -> str | None:
    """Return the parameter of a layer type in which a field stands, in some fork."""
    known = known_meanings()
    for param in params_of(layer_type):
        for meaning in known.named(_LAYER, param):
            if known.having(meaning.row.type, field):
                return param
    return None


def fields_known(layer_type: str) -> list[str]:
    """Return the parameters of a layer type that Caffe lacks, and their fields."""
    known = known_meanings()
    if layer_type in LAYER_TYPES and not known.tables.type_owners(layer_type):
        return []
    found: dict[str, None] = {}
    forced = in_force()
    mask = known.bits[forced.word] if forced is not None else -1
    for param in params_of(layer_type):
        for meaning in known.named(_LAYER, param):
            if meaning.schemas & mask:
                found[param] = None
                for meanings in known.fields(meaning.row.type).values():
                    names = [m.row.name for m in meanings if m.schemas & mask]
                    found.update(dict.fromkeys(names))
    return list(found)


# ---------------------------------------------------------------- values as text


def _texts(theirs: Message, field: Any, value: Any) -> Iterator[str]:
    """Yield the text of a field, one for each value, in the order of the user."""
    held = getattr(theirs, field.name)
    values = list(held) if is_repeated(field) else [held]
    given = list(value) if _is_list(value) else [value]
    if not is_repeated(field) or len(given) != len(values):
        given = [value] if len(values) == 1 else [None] * len(values)
    for each, said in zip(values, given, strict=True):
        yield f"{field.name}{_text(field, each, said)}"


def _text(field: Any, value: Any, given: Any) -> str:
    """Return the text of a value; `given` is what the user wrote for it."""
    if field.message_type is None:
        return f": {_scalar(field, value, given)}"
    if not isinstance(given, Mapping) or not _has_all(value, given):
        inner = as_text(value)
        return f" {{ {inner} }}" if inner else " { }"
    parts: list[str] = []
    for name, each in given.items():
        if each is not None:
            parts += _texts(value, value.DESCRIPTOR.fields_by_name[name], each)
    return f" {{ {' '.join(parts)} }}" if parts else " { }"


def _has_all(value: Message, given: Mapping[str, Any]) -> bool:
    """Tell whether a message holds what was given and no more: pairs are two fields."""
    fields = {field.name for field, _ in value.ListFields()}
    return fields == {name for name, each in given.items() if each is not None}


def _scalar(field: Any, value: Any, given: Any) -> str:
    if field.cpp_type in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
        number = given if isinstance(given, int | float) else value
        finite = not isinstance(number, float) or math.isfinite(number)
        return repr(number) if finite and not isinstance(number, bool) else str(value)
    if field.enum_type is not None:
        return str(field.enum_type.values_by_number[value].name)
    if field.cpp_type == field.CPPTYPE_BOOL:
        return "true" if value else "false"
    if field.cpp_type == field.CPPTYPE_STRING:
        escaped = text_encoding.CEscape(value, as_utf8=isinstance(value, str))
        return f'"{escaped}"'
    return str(value)


def _is_list(value: Any) -> bool:
    return isinstance(value, Iterable) and not isinstance(
        value, str | bytes | Mapping | Message
    )


# ---------------------------------------------------------------- text as values


def as_keywords(message: str, texts: Iterable[str]) -> tuple[dict[str, Any], list[str]]:
    """Return kept texts as values for Python, and those that are none.

    message: the name of the message that they stand in. A field that several texts have
    is a list.
    """
    known = known_meanings()
    held: dict[str, list[Any]] = {}
    rest: list[str] = []
    for text in texts:
        try:
            (field,) = fields_in(text)
        except (NoText, ValueError):
            rest.append(text)
            continue
        if known.having(message, field.name) and named(message, text, known):
            held.setdefault(field.name, []).extend(map(_value, field.values))
        else:
            rest.append(text)
    single = {n: v[0] if len(v) == 1 else v for n, v in held.items()}
    return single, rest


def _value(value: Any) -> Any:
    if isinstance(value, tuple):
        return _mapping(value)
    if value[0] in "\"'":
        raw = text_encoding.CUnescape(value[1:-1])
        return raw.decode(errors="surrogateescape")
    if value in ("true", "false"):
        return value == "true"
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value


def _mapping(fields: Iterable[Field]) -> dict[str, Any]:
    held: dict[str, list[Any]] = {}
    for field in fields:
        held.setdefault(field.name, []).extend(map(_value, field.values))
    return {n: v[0] if len(v) == 1 else v for n, v in held.items()}
