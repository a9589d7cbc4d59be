"""The text of one field that is kept: checked, on one line, and as a file has it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from google.protobuf import text_encoding

from netspec.errors import SpecError, TextError
from netspec.schema.kept import UNKNOWN_FIELDS
from netspec.text.modules.tree import Array, Atom, Block, Field, parse_tree

INDENT = "  "
_LINE = re.compile(
    rf'^(?P<indent> *){UNKNOWN_FIELDS}: "(?P<text>(?:\\.|[^"\\\n])*+)"\n?', re.MULTILINE
)
_PLACE = re.compile(r"^\S*:\d+:\d+: ")


def parsed_field(text: str) -> Field:
    """Return the one field that `text` is; raises `SpecError` for anything else."""
    try:
        fields = parse_tree(text, "").fields
    except TextError as error:
        said = _PLACE.sub("", str(error))
        raise SpecError(f"{UNKNOWN_FIELDS}: {text[:80]!r}: {said}") from None
    if len(fields) != 1:
        raise SpecError(
            f"{UNKNOWN_FIELDS}: {text[:80]!r} is {len(fields)} fields of prototxt; "
            f"expected one, such as 'norm_region: WITHIN_CHANNEL'"
        )
    return fields[0]


def one_line(field: Field) -> str:
    """Return a field on one line, values as they were written, without comments."""
    value = field.value
    if isinstance(value, Block):
        return f"{field.name} {_block(value)}"
    if isinstance(value, Array):
        return f"{field.name}: [{', '.join(map(_item, value.items))}]"
    return f"{field.name}: {value.text}"


def _block(block: Block) -> str:
    inner = " ".join(map(one_line, block.fields))
    return f"{{ {inner} }}" if inner else "{ }"


def _item(item: Atom | Block) -> str:
    return _block(item) if isinstance(item, Block) else item.text


def in_place(text: str) -> str:
    """Return text of messages with the fields that they keep as fields.

    text: what protobuf writes, in which every kept field stands as a string.
    """
    if UNKNOWN_FIELDS not in text:
        return text
    return _LINE.sub(_shown, text)


def _shown(found: re.Match[str]) -> str:
    unescape: Any = text_encoding.CUnescape
    text = unescape(found["text"]).decode() if "\\" in found["text"] else found["text"]
    depth = len(found["indent"]) // len(INDENT)
    return "".join(f"{line}\n" for line in _lines(parsed_field(text), depth))


def _lines(field: Field, depth: int) -> Iterator[str]:
    """Yield a field as lines; `parse_tree` has limited how deep it is."""
    indent = INDENT * depth
    if isinstance(field.value, Block):
        yield f"{indent}{field.name} {{"
        for inner in field.value.fields:
            yield from _lines(inner, depth + 1)
        yield f"{indent}}}"
    else:
        yield indent + one_line(field)
