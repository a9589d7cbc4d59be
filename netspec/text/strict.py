"""`--strict`: fields that our schema lacks are refused, not kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from google.protobuf.message import Message

from netspec.errors import SpecError, join_lines
from netspec.schema.kept import UNKNOWN_FIELDS
from netspec.schema.unread import unread_names
from netspec.text.whose import said_of

MAX_TOLD = 50  # fields, where unknown ones are refused
MAX_SHOWN = 60  # characters of a field
_VALUES = frozenset(("BlobProto", "BlobShape"))  # of which there are many

_strict = [False]


@contextmanager
def refusing(wanted: bool = True) -> Iterator[None]:
    """Refuse unknown fields in whatever is read, until the end of the block."""
    before = _strict[0]
    _strict[0] = wanted
    try:
        yield
    finally:
        _strict[0] = before


def is_strict() -> bool:
    """Tell whether unknown fields are refused now."""
    return _strict[0]


def refuse_unknown(message: Message, where: str) -> None:
    """Refuse a message that has unknown fields, kept as text or without a name.

    Raises `SpecError` that names all of them.
    """
    found = [*kept_names(message), *unread_names(message)]
    if found:
        told = found[:MAX_TOLD]
        if len(found) > MAX_TOLD:
            told.append(f"{len(found) - MAX_TOLD:,} more")
        said = join_lines(told)
        raise SpecError(f"{where}: has fields that are not known here: {said}")


def kept_names(message: Message) -> list[str]:
    """Return what is kept as text in a message and all in it, with its place."""
    return [f"{place}{said}" for place, said in _kept(message, "")]


def _kept(message: Any, place: str) -> Iterator[tuple[str, str]]:
    for field, value in message.ListFields():
        if field.name == UNKNOWN_FIELDS:
            for text in value:
                name = text.split(":")[0].split("{")[0].strip()
                whose = said_of(f"{message.DESCRIPTOR.name}.{name:.{MAX_SHOWN}}")
                yield place, whose
        elif field.message_type is not None and field.message_type.name not in _VALUES:
            items: Any = [value] if isinstance(value, Message) else value
            for item in items:
                of_layer = field.name in ("layer", "layers") and item.HasField("name")
                yield from _kept(item, f"layer {item.name!r}: " if of_layer else place)
