"""Reading and writing nets and solvers: prototxt text and binary messages."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf import text_format
from google.protobuf.message import DecodeError, Message

from netspec import schema
from netspec.errors import FileError, TextError, did_you_mean
from netspec.files import read_bytes, replacing
from netspec.schema import NetParameter

M = TypeVar("M", bound=Message)

TEXT_SUFFIXES = frozenset({".prototxt", ".txt", ".pbtxt", ".pt"})
BINARY_SUFFIXES = frozenset({".caffemodel", ".binaryproto", ".pb", ".solverstate"})

_POSITION = re.compile(r"^\d+:\d+ : ")
_ECHO = re.compile(r"^'.*?': ", re.DOTALL)
_UNKNOWN_FIELD = re.compile(
    r'Message type "netspec\.(?P<type>[\w.]+)" has no field named "(?P<field>\w+)"'
)
_UNKNOWN_ENUM = re.compile(
    r'Enum type "netspec\.(?P<type>[\w.]+)" has no value named (?P<value>\w+)'
)


def parse(text: str, message: type[M] | str, *, source: str = "<text>") -> M:
    """Parse prototxt text into a new message.

    message: a message class of `netspec.schema`, or its name.
    source: what errors call the text.

    Raises `TextError` with the line, the column and the nearest spelling.
    """
    kind: Any = getattr(schema, message) if isinstance(message, str) else message
    result = kind()
    try:
        text_format.Parse(text, result)
    except text_format.ParseError as error:
        raise _text_error(error, source) from None
    except RecursionError:
        raise TextError(
            "braces are nested too deeply", file=source, line=1, column=1
        ) from None
    return result


def to_text(message: Message) -> str:
    """Return `message` as prototxt text, the same for equal messages."""
    return text_format.MessageToString(message)


def read_message(path: str | Path, kind: type[M]) -> M:
    """Read a message from a text or a binary file.

    The suffix decides (`.prototxt` is text, `.caffemodel` and `.binaryproto` are
    binary); with another one the contents do.

    Raises `FileError` for a file that cannot be read, `TextError` for bad text.
    """
    path = Path(path)
    data = read_bytes(path)
    if path.suffix in BINARY_SUFFIXES:
        return _from_binary(data, kind, path)
    if path.suffix in TEXT_SUFFIXES or _looks_like_text(data):
        return parse(_decoded(data, path), kind, source=str(path))
    return _from_binary(data, kind, path)


def read_net(path: str | Path) -> NetParameter:
    """Read a net from prototxt or caffemodel, as it stands (not upgraded)."""
    return read_message(path, NetParameter)


def as_net(net: Any) -> NetParameter:
    """Return the net that `net` names, holds, or is.

    net: a path, prototxt text (a string with a brace or a line break), a
    `NetParameter`, or anything with `to_proto()`. The net is not upgraded.
    """
    if isinstance(net, NetParameter):
        return net
    if hasattr(net, "to_proto"):
        return net.to_proto()
    if isinstance(net, str) and ("{" in net or "\n" in net):
        return parse(net, NetParameter)
    return read_net(os.fspath(net))


def write_message(path: str | Path, message: Message) -> None:
    """Write `message` as text, or in binary where the suffix says so.

    The file appears whole or not at all. Raises `FileError`.
    """
    binary = Path(path).suffix in BINARY_SUFFIXES
    data = message.SerializeToString() if binary else to_text(message).encode()
    with replacing(path) as file:
        file.write(data)


def _text_error(error: text_format.ParseError, source: str) -> TextError:
    said = _ECHO.sub("", _POSITION.sub("", str(error))).rstrip(".")
    if found := _UNKNOWN_FIELD.search(said):
        fields = schema.DESCRIPTOR.pool.FindMessageTypeByName(
            f"netspec.{found['type']}"
        ).fields_by_name
        hint = did_you_mean(found["field"], fields)
        said = f"{found['type']} has no field {found['field']!r}{hint}"
    elif found := _UNKNOWN_ENUM.search(said):
        values = schema.DESCRIPTOR.pool.FindEnumTypeByName(
            f"netspec.{found['type']}"
        ).values_by_name
        hint = did_you_mean(found["value"], values)
        said = (
            f"{found['value']!r} is no {found['type']}{hint} (one of "
            f"{', '.join(values)})"
        )
    return TextError(
        said, file=source, line=error.GetLine() or 1, column=error.GetColumn() or 1
    )


def _looks_like_text(data: bytes) -> bool:
    head = data[:4096]
    return all(byte >= 32 or byte in b"\t\n\r\f" for byte in head)


def _decoded(data: bytes, path: Path) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        before = data[: error.start]
        raise TextError(
            f"byte 0x{data[error.start]:02x} is not UTF-8 text; is this a binary file?",
            file=str(path),
            line=before.count(b"\n") + 1,
            column=len(before) - (before.rfind(b"\n") + 1) + 1,
        ) from None


def _from_binary(data: bytes, kind: type[M], path: Path) -> M:
    try:
        return kind.FromString(data)
    except DecodeError:
        raise FileError(
            f"{path}: is not a binary {kind.DESCRIPTOR.name}, or was cut short"
        ) from None
