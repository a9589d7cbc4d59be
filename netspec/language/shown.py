"""Messages as text: `str` shows fields that they keep as fields."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message

from netspec import schema
from netspec.schema.kept import UNKNOWN_FIELDS


def show_kept_fields() -> None:
    """Let `str` of all messages show in its place what they keep as text."""
    for name in schema.DESCRIPTOR.message_types_by_name:
        kind: Any = getattr(schema, name)
        kind.__str__ = kind.__repr__ = _with_fields(kind.__str__)


def _with_fields(plain: Any) -> Any:
    def shown(message: Message) -> str:
        text: str = plain(message)
        if UNKNOWN_FIELDS not in text:
            return text
        from netspec.text.kept_text import in_place

        return in_place(text)

    return shown
