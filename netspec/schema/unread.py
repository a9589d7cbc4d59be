"""Fields of binary messages whose numbers our schema lacks, and where they are.

Protobuf keeps them in messages that are copied or written. What makes a message anew,
as an edited net does, takes them over by `unread` and `restore`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

_VALUES = frozenset(
    ("BlobProto", "BlobShape")
)  # of which there are many and large ones
_VARINT, _FIXED64, _BYTES, _GROUP, _END, _FIXED32 = range(6)

Path = tuple[tuple[str, int], ...]  # fields, and places in lists; -1 for a single one


class UnreadField(NamedTuple):
    """A field that our schema lacks: the path of its message, and its bytes."""

    path: Path
    number: int
    data: bytes


def unread(message: Message) -> list[UnreadField]:
    """Return the fields that our schema lacks, of a message and all in it."""
    return list(_unread(message, ()))


def _unread(message: Message, path: Path) -> Iterator[UnreadField]:
    yield from unread_fields(message, path)
    for field, value in message.ListFields():
        kind = field.message_type
        if kind is None or kind.name in _VALUES:
            continue
        if isinstance(value, Message):
            yield from _unread(value, (*path, (field.name, -1)))
        else:
            for place, item in enumerate(value):
                yield from _unread(item, (*path, (field.name, place)))


def unread_fields(message: Message, path: Path = ()) -> list[UnreadField]:
    """Return the fields of a message itself that our schema lacks."""
    fields: Any = UnknownFieldSet(message)
    return [UnreadField(path, each.field_number, _encoded(each)) for each in fields]


def numbers_of(message: Message) -> list[int]:
    """Return the numbers of the fields of a message itself that our schema lacks."""
    fields: Any = UnknownFieldSet(message)
    return list(dict.fromkeys(each.field_number for each in fields))


def unread_names(message: Any) -> list[str]:
    """Return what messages call the fields that our schema lacks, in their places."""
    return [
        f"{_place(message, each.path)}field {each.number}" for each in unread(message)
    ]


def _place(message: Any, path: Path) -> str:
    """Return how a place in a message is called, a layer by its name."""
    said = ""
    for name, index in path:
        message = getattr(message, name)
        if index >= 0:
            message = message[index]
        if name in ("layer", "layers") and message.HasField("name"):
            said += f"layer {message.name!r}: "
        else:
            said += f"{name}{f'[{index}]' if index >= 0 else ''} "
    return said


def restore(message: Message, fields: Iterable[UnreadField]) -> None:
    """Put fields back that `unread` found in another message like this one.

    Where a message is not there any more, neither are its fields.
    """
    for field in fields:
        target = _at(message, field.path)
        if target is not None:
            target.MergeFromString(field.data)


def _at(message: Message, path: Path) -> Any:
    target: Any = message
    for name, place in path:
        value = getattr(target, name)
        if place < 0 and not target.HasField(name):
            return None
        if place >= 0 and place >= len(value):
            return None
        target = value if place < 0 else value[place]
    return target


def _encoded(field: Any) -> bytes:
    """Return one field as it is on the wire."""
    number, kind, data = field.field_number, field.wire_type, field.data
    tag = _varint(number << 3 | kind)
    if kind == _VARINT:
        return tag + _varint(data)
    if kind == _FIXED64:
        return tag + int(data).to_bytes(8, "little")
    if kind == _FIXED32:
        return tag + int(data).to_bytes(4, "little")
    if kind == _BYTES:
        return tag + _varint(len(data)) + bytes(data)
    inner = b"".join(map(_encoded, data))
    return tag + inner + _varint(number << 3 | _END)


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def bad_text(message: Any) -> str | None:
    """Return where a text stands that is not UTF-8; protobuf hands it out as bytes."""
    for field, value in message.ListFields():
        if field.type == field.TYPE_STRING:
            texts = [value] if isinstance(value, str | bytes) else value
            if any(isinstance(text, bytes) for text in texts):
                return str(field.name)
        elif (
            field.type == field.TYPE_MESSAGE and field.message_type.name not in _VALUES
        ):
            inner = [value] if isinstance(value, Message) else value
            for index, one in enumerate(inner):
                found = bad_text(one)
                if found is not None:
                    number = "" if isinstance(value, Message) else f"[{index}]"
                    return f"{field.name}{number}.{found}"
    return None
