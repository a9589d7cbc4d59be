"""Text to messages and back; the modules of a net are written out."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar, cast

from google.protobuf import text_format
from google.protobuf.message import Message

from netspec import schema
from netspec.errors import SpecError, TextError, shown
from netspec.files import read_bytes
from netspec.schema import NetParameter
from netspec.text.checks import (
    MAX_TEXT_BYTES,
    check_escapes,
    check_items,
    check_size,
    decoded,
    too_long,
    warn_at,
)
from netspec.text.kept_text import in_place
from netspec.text.mistakes import text_error
from netspec.text.modules import flatten_text, has_modules
from netspec.text.modules.flatten import Locate
from netspec.text.modules.tree import Place
from netspec.text.numbers import check_kinds, check_numbers
from netspec.text.strict import is_strict
from netspec.text.telling import kept_of, tell

M = TypeVar("M", bound=Message)

_BYTE = re.compile(  # `decoded` makes a surrogate of a byte that is not UTF-8
    r"#.*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'|(?P<byte>[\udc80-\udcff])"
)


def parse(
    text: str,
    message: type[M] | str,
    *,
    source: str = "<text>",
    folder: str | Path | None = None,
    strict: bool | None = None,
) -> M:
    """Parse prototxt text into a new message; the modules of a net are written out.

    message: a message class of `netspec.schema`, or its name.
    source: what errors call the text.
    folder: where the modules that it imports are; the current one if not given.
    strict: whether fields and values that our schema lacks are refused, as commands do
    with `--strict`. Else they are kept as text in `unknown_fields` of the message where
    they stand, which a warning tells with the forks of Caffe whose they are.

    Raises `TextError` with the line and the column of the first mistake. It tells all
    fields and enum values that are slips of known ones, with the nearest spelling.
    """
    kind: Any = getattr(schema, message) if isinstance(message, str) else message
    strict = is_strict() if strict is None else strict
    if len(text) > MAX_TEXT_BYTES:
        raise too_long(len(text), "characters", source)
    check_items(text, source)
    if text.startswith("\ufeff"):
        text = text[1:]
        said = "a byte order mark, which Caffe and others refuse; save it without one"
        warn_at(f"the text begins with {said}", source, 1, 1)
    check_escapes(text, source)
    check_numbers(text, source)
    if kind is NetParameter and has_modules(text):
        return cast("M", _flattened(text, source, Path(folder or ""), strict=strict))

    def locate(line: int, column: int) -> tuple[Place, str]:
        return Place(source, line, column), ""

    result = _parse(text, kind, locate, strict=strict)
    if missing := missing_fields(result):
        raise TextError(
            f"the text ends, but {', '.join(missing)} must be given",
            file=source,
            line=text.count("\n") + 1,
            column=len(text) - text.rfind("\n"),
        )
    return result


def to_text(message: Any) -> str:
    """Return a message, or a spec, as prototxt text, the same for equal messages.

    Fields that our schema lacks stand in their message, as they were written.

    Raises `SpecError` for anything else, and what `to_proto` of a spec raises.
    """
    if hasattr(type(message), "to_proto"):  # attributes of a spec are its tops
        message = message.to_proto()
    if not isinstance(message, Message):
        raise SpecError(f"to_text of {shown(message)}; expected a message or a NetSpec")
    return in_place(text_format.MessageToString(message, as_utf8=True))


def add_fields(message: Message, texts: Iterable[str]) -> None:
    """Put fields into a message: those that it has as such, others as kept text.

    texts: one field each, as in `unknown_fields` of another message.
    """
    kind = type(message)
    for text in texts:
        kept = kept_of(text, kind, lambda line, column: (Place("", line, column), ""))
        part = kind()
        if _parsed_into(part, text if kept is None else kept.rest) is not None:
            target: Any = message
            target.unknown_fields.append(text)
            continue
        if kept is not None:
            kept.put_into(part)
        message.MergeFrom(part)


def _flattened(text: str, source: str, folder: Path, *, strict: bool) -> NetParameter:
    """Return the net of a text with modules."""

    def read_text(path: Path) -> str:
        check_size(path)
        text = decoded(read_bytes(path), path).removeprefix("\ufeff")
        check_escapes(text, str(path))
        check_numbers(text, str(path))
        return text

    def parse_flat(flat: str, locate: Locate) -> NetParameter:
        return _parse(flat, NetParameter, locate, strict=strict)

    return flatten_text(text, source, folder, read_text, parse_flat)


def _parse(text: str, kind: type[M], locate: Locate, *, strict: bool) -> M:
    """Parse text; `locate` tells where a line and a column of it come from."""
    result = kind()
    error = _parsed_into(result, text)
    kept = None
    if error is not None:
        kept = kept_of(text, kind, locate)
        if kept is not None:
            text, result = kept.rest, kind()
            error = _parsed_into(result, text)
    if error is not None:
        raise text_error(text, error, kind, locate) from None
    check_kinds(text, kind, locate)
    if kept is not None:
        tell(kept, locate, strict=strict)
        kept.put_into(result)
    return result


def _parsed_into(message: Message, text: str) -> text_format.ParseError | None:
    """Parse text into a message; return the error where that fails."""
    try:
        text_format.Parse(text, message)
    except text_format.ParseError as error:
        return error
    except (SystemError, UnicodeError):  # of a name with bytes that are no text
        return _no_text(text)
    return None


def _no_text(text: str) -> text_format.ParseError:
    """Return the error for the first byte that is not UTF-8, outside comments."""
    found = (match for match in _BYTE.finditer(text) if match["byte"])
    place = next((match.start() for match in found), 0)
    byte = f"byte 0x{ord(text[place]) & 0xFF:02x}"
    line = text.count("\n", 0, place) + 1
    column = place - text.rfind("\n", 0, place)
    return text_format.ParseError(f"{byte} is not UTF-8 text", line, column)


def missing_fields(message: Any) -> list[str]:
    """Return the paths of required fields that are not set."""
    return message.FindInitializationErrors()
