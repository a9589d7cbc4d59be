"""Reading and writing nets and solvers: prototxt text and binary messages."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

from google.protobuf import text_format
from google.protobuf.message import DecodeError, Message

from netspec import schema
from netspec.errors import FileError, SpecError, TextError, did_you_mean
from netspec.files import read_bytes, replacing
from netspec.schema import NetParameter, SolverParameter, wire
from netspec.text_modules import flatten_text, has_modules
from netspec.text_modules.flatten import Locate
from netspec.text_modules.tree import Place

M = TypeVar("M", bound=Message)

TEXT_SUFFIXES = frozenset({".prototxt", ".txt", ".pbtxt", ".pt"})
BINARY_SUFFIXES = frozenset({".caffemodel", ".binaryproto", ".pb", ".solverstate"})

MAX_TEXT_BYTES = 32 << 20  # parsing takes half a second a megabyte; nets have far less
MAX_ITEMS = 2_000_000  # fields and list items; they take 5 microseconds each
MAX_RETRY_CHARACTERS = 4 << 20  # parsed again to find more than the first mistake
MAX_LAYERS = 100_000  # of a binary net; an empty one of 3 bytes takes 600 in memory
MAX_MISTAKES = 20
MAX_SENTENCE = 400  # characters

_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_BINARY_BYTE = re.compile(rb"[\x00-\x08\x0e-\x1f]")

# What a file may be that is given in the place of another one.
_OTHER_FILE: Mapping[str, type[Message]] = {
    "NetParameter": SolverParameter,
    "SolverParameter": NetParameter,
}

# How protobuf's parser words what is better said with the known names.
_POSITION = re.compile(r"^\d+:\d+ : ")
_UNKNOWN_FIELD = re.compile(
    r'Message type "netspec\.(?P<type>\w+)" has no field named "(?P<field>\w+)"'
)
_UNKNOWN_ENUM = re.compile(
    r'Enum type "netspec\.(?P<type>[\w.]+)" has no value (named|with number) '
    r"(?P<value>\w+)"
)
_NOT_UTF8_BYTES = re.compile(r"can't encode characters in position .* surrogates")
_NOT_UTF8 = re.compile(r"can't encode character '\\udc(?P<byte>..)'")

_TOKEN = re.compile(
    r"""(?P<gap>\s+|\#[^\n]*)
    |(?P<text>"(?:\\.|[^"\\\n])*+"|'(?:\\.|[^'\\\n])*+')
    |["'][^\n]*  # a string that does not end
    |(?P<open>[{<\[])|(?P<close>[}>\]])|(?P<word>[\w.+-]+)|(?P<other>.)""",
    re.VERBOSE,
)
_STRING = re.compile(
    r"""\#[^\n]*|(?P<text>"(?:\\.|[^"\\\n])*+"|'(?:\\.|[^'\\\n])*+')|["'][^\n]*""",
    re.VERBOSE,
)
_ESCAPE = re.compile(
    r"""\\(?:[abfnrtv\\'"]|[0-7]{1,2}(?![0-7])|[0-3][0-7]{2}|x[0-9A-Fa-f]{1,2}
    |u[0-9A-Fa-f]{4}|U00(?:0[0-9A-Fa-f]|10)[0-9A-Fa-f]{4}|(?P<wrong>.))""",
    re.VERBOSE,
)


def parse(
    text: str,
    message: type[M] | str,
    *,
    source: str = "<text>",
    folder: str | Path | None = None,
) -> M:
    """Parse prototxt text into a new message; the modules of a net are written out.

    message: a message class of `netspec.schema`, or its name.
    source: what errors call the text.
    folder: where the modules that it imports are; the current one if not given.

    Raises `TextError` with the line and the column of the first mistake. It tells all
    fields and enum values that do not exist, with the nearest spelling.
    """
    kind: Any = getattr(schema, message) if isinstance(message, str) else message
    if len(text) > MAX_TEXT_BYTES:
        raise _too_long(len(text), "characters", source)
    _check_items(text, source)
    text = text.removeprefix("\ufeff")
    _check_escapes(text, source)
    if kind is NetParameter and has_modules(text):
        return cast("M", _flattened(text, source, Path(folder or "")))
    result = _parse(text, kind, lambda line, column: (Place(source, line, column), ""))
    if missing := _missing(result):
        raise TextError(
            f"the text ends, but {', '.join(missing)} must be given",
            file=source,
            line=text.count("\n") + 1,
            column=len(text) - text.rfind("\n"),
        )
    return result


def to_text(message: Message) -> str:
    """Return `message` as prototxt text, the same for equal messages."""
    return text_format.MessageToString(message, as_utf8=True)


def read_message(path: str | Path, kind: type[M]) -> M:
    """Read a message from a text or a binary file.

    The suffix decides (`.prototxt` is text, `.caffemodel` and `.binaryproto` are
    binary); with another one the contents do.

    Raises `FileError` for a file that cannot be read, `TextError` for bad text.
    """
    path = Path(path)
    if path.suffix in TEXT_SUFFIXES:
        _check_size(path)
    data = read_bytes(path)
    if path.suffix in BINARY_SUFFIXES:
        return _from_binary(data, kind, path)
    if path.suffix in TEXT_SUFFIXES or not _BINARY_BYTE.search(data, 0, 4096):
        text = _decoded(data, path)
        return parse(text, kind, source=str(path), folder=path.parent)
    return _from_binary(data, kind, path)


def read_net(path: str | Path) -> NetParameter:
    """Read a net from prototxt or caffemodel, as it stands (not upgraded)."""
    return read_message(path, NetParameter)


def as_net(net: Any) -> NetParameter:
    """Return the net that `net` names, holds, or is.

    net: a path, prototxt text (a string with a brace or a line break), a
    `NetParameter` (also that of another `caffe_pb2`), or anything with `to_proto()`.
    The net is not upgraded.
    """
    if isinstance(net, NetParameter):
        return net
    if hasattr(net, "to_proto"):
        return net.to_proto()
    if isinstance(net, Message) and net.DESCRIPTOR.name == "NetParameter":
        return NetParameter.FromString(net.SerializeToString())
    if isinstance(net, str) and ("{" in net or "\n" in net):
        return parse(net, NetParameter)
    if isinstance(net, str | os.PathLike) and net != "":
        return read_net(os.fspath(net))
    raise SpecError(
        f"expected a net: a path, prototxt text, a NetParameter or a NetSpec; got "
        f"{net!r:.60}"
    )


def write_message(path: str | Path, message: Message) -> None:
    """Write `message` as text, or in binary where the suffix says so.

    The file appears whole or not at all. Raises `FileError`, or `SpecError` for a
    message that lacks a required field.
    """
    if missing := _missing(message):
        raise SpecError(f"{path}: {', '.join(missing)} must be given")
    binary = Path(path).suffix in BINARY_SUFFIXES
    data = message.SerializeToString() if binary else to_text(message).encode()
    with replacing(path) as file:
        file.write(data)


def _flattened(text: str, source: str, folder: Path) -> NetParameter:
    """Return the net of a text with modules."""

    def read_text(path: Path) -> str:
        _check_size(path)
        text = _decoded(read_bytes(path), path).removeprefix("\ufeff")
        _check_escapes(text, str(path))
        return text

    def parse_flat(flat: str, locate: Locate) -> NetParameter:
        return _parse(flat, NetParameter, locate)

    return flatten_text(text, source, folder, read_text, parse_flat)


def _parse(text: str, kind: type[M], locate: Locate) -> M:
    """Parse text; `locate` tells where a line and a column of it come from."""
    result = kind()
    try:
        text_format.Parse(text, result)
    except text_format.ParseError as error:
        raise _text_error(text, error, kind, locate) from None
    return result


def text_lines(text: str) -> dict[str, list[int]]:
    """Return the lines on which the fields `layer` and `layers` of a net begin."""
    lines: dict[str, list[int]] = {"layer": [], "layers": []}
    depth, line, done = 0, 1, 0
    for token in _TOKEN.finditer(text):
        kind = token.lastgroup
        if kind == "open":
            depth += 1
        elif kind == "close":
            depth -= 1
        elif kind == "word" and depth == 0 and token.group() in lines:
            line += text.count("\n", done, token.start())
            done = token.start()
            lines[token.group()].append(line)
    return lines


def _missing(message: Any) -> list[str]:
    """Return the paths of required fields that are not set."""
    return message.FindInitializationErrors()


def _text_error(
    text: str, error: text_format.ParseError, kind: type[Message], locate: Locate
) -> TextError:
    """Return the error for `error` and for what else does not exist in `text`."""
    first, _ = locate(error.GetLine() or 1, error.GetColumn() or 1)
    found: dict[str, str] = {}  # what is wrong, where it first is
    problem: text_format.ParseError | None = error
    parsed = 0  # characters
    for _ in range(MAX_MISTAKES):
        if problem is None:
            break
        place, note = locate(problem.GetLine() or 1, problem.GetColumn() or 1)
        where = str(place) if place.file != first.file else f"{place[1]}:{place[2]}"
        found.setdefault(_sentence(problem, text) + note, where)
        parsed += len(text)
        again = parsed <= MAX_RETRY_CHARACTERS
        repaired = _without(text, problem) if again else None
        if repaired is None:
            break
        text = repaired
        try:
            text_format.Parse(text, kind())
        except text_format.ParseError as next_problem:
            problem = next_problem
        else:
            problem = None
    sentence, *others = found
    said = [sentence, *(f"{found[other]}: {other}" for other in others)]
    return first.error("\n  and: ".join(said))


def _sentence(error: text_format.ParseError, text: str) -> str:
    said = _POSITION.sub("", str(error)).rstrip(".")
    if line := error.GetLine():
        echo = text.split("\n", line)[line - 1]
        said = said.removeprefix(f"'{echo}': ").removeprefix("'': ")
    pool = schema.DESCRIPTOR.pool
    if found := _UNKNOWN_FIELD.search(said):
        message = pool.FindMessageTypeByName(f"netspec.{found['type']}")
        field = _shortened(found["field"], 60)
        hint = did_you_mean(field, message.fields_by_name)
        other = _OTHER_FILE.get(found["type"])
        if other is not None and field in other.DESCRIPTOR.fields_by_name:
            hint = f"; {other.DESCRIPTOR.name} has"
        said = f"{found['type']} has no field {field!r}{hint}"
    elif found := _UNKNOWN_ENUM.search(said):
        values = pool.FindEnumTypeByName(f"netspec.{found['type']}").values_by_name
        value = _shortened(found["value"], 60)
        hint = did_you_mean(value, values)
        said = f"{value!r} is no {found['type']}{hint} (one of {', '.join(values)})"
    elif _NOT_UTF8_BYTES.search(said):
        said = "bytes in a string are not UTF-8; save the file as such"
    elif found := _NOT_UTF8.search(said):
        said = f"byte 0x{found['byte']} in a string is not UTF-8; save the file as such"
    return _shortened(said, MAX_SENTENCE)


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 3] + "..."


def _without(text: str, error: text_format.ParseError) -> str | None:
    """Return `text` with blanks for what does not exist, or None for other mistakes.

    All else keeps its place.
    """
    start = 0
    for _ in range((error.GetLine() or 1) - 1):
        start = text.index("\n", start) + 1
    start += (error.GetColumn() or 1) - 1
    if found := _UNKNOWN_FIELD.search(str(error)):
        return _without_field(text, found["field"], start)
    if found := _UNKNOWN_ENUM.search(str(error)):
        enum = schema.DESCRIPTOR.pool.FindEnumTypeByName(f"netspec.{found['type']}")
        number = str(enum.values[0].number)
        length = len(found["value"])
        if len(number) <= length and text.startswith(found["value"], start):
            return text[:start] + number.ljust(length) + text[start + length :]
    return None


def _without_field(text: str, name: str, start: int) -> str | None:
    """Blank out every field `name` from `start` on; None if there is none."""
    pieces = []
    done = 0
    for token in _TOKEN.finditer(text, start):
        if token.group() != name or token.start() < done:
            continue
        end = _end_of_field(text, token.end())
        if end is None:
            break
        pieces.append(text[done : token.start()])
        pieces.append(re.sub(r"\S", " ", text[token.start() : end]))
        done = end
    return "".join([*pieces, text[done:]]) if pieces else None


def _end_of_field(text: str, start: int) -> int | None:
    """Return where the field ends whose name ends at `start`; None if nowhere."""
    depth = 0
    end = None  # of the last string: more strings may follow and are part of it
    first = True
    for token in _TOKEN.finditer(text, start):
        kind = token.lastgroup
        if kind == "gap":
            continue
        if first and kind != "open" and token.group() != ":":
            return None
        first = False
        if kind == "open":
            depth += 1
        elif kind == "close":
            depth -= 1
            if depth == 0:
                return _after_separator(text, token.end())
        if depth < 0 or (depth == 0 and end is not None and kind != "text"):
            break
        if depth == 0 and kind == "text":
            end = token.end()
        elif depth == 0 and kind == "word":
            return _after_separator(text, token.end())
    return None if end is None else _after_separator(text, end)


def _after_separator(text: str, start: int) -> int:
    end = start
    while text[end : end + 1].isspace():
        end += 1
    return end + 1 if text[end : end + 1] in (",", ";") else start


def _check_size(path: Path) -> None:
    """Refuse a file that is too large to be read as text before it fills the memory."""
    with contextlib.suppress(OSError):  # told when the file is read
        size = path.stat().st_size
        if size > 4 * MAX_TEXT_BYTES:  # characters have up to four bytes
            raise _too_long(size, "bytes", str(path))


def _too_long(size: int, what: str, source: str) -> TextError:
    return TextError(
        f"{size:,} {what} are more than the {MAX_TEXT_BYTES:,} that are read as text; "
        f"use the binary form",
        file=source,
        line=1,
        column=1,
    )


def _check_items(text: str, source: str) -> None:
    """Refuse text of which a short parse cannot be expected, by the marks in it."""
    items = sum(text.count(mark) for mark in ":{<,;")
    if items > MAX_ITEMS:
        raise TextError(
            f"there are more than {MAX_ITEMS:,} fields and list items, too many to be "
            f"read as text; use the binary form",
            file=source,
            line=1,
            column=1,
        )


def _check_escapes(text: str, source: str) -> None:
    """Refuse what only looks like an escape sequence, such as a Windows path."""
    if "\\" not in text:
        return
    for token in _STRING.finditer(text):
        if token.group()[0] == "#" or "\\" not in token.group():
            continue
        if token.lastgroup != "text":
            said = "the string has no closing quote on its line; add it"
            raise _at(text, token.start(), source, said)
        for escape in _ESCAPE.finditer(token.group()):
            if escape["wrong"] is not None:
                said = (
                    f"\\{escape['wrong']} in a string means nothing; write \\\\ for a "
                    f"backslash (or / in a path)"
                )
                raise _at(text, token.start() + escape.start(), source, said)


def _at(text: str, place: int, source: str, said: str) -> TextError:
    """Return the error for `said` of the character at `place`."""
    line = text.count("\n", 0, place) + 1
    column = place - text.rfind("\n", 0, place)
    return TextError(said, file=source, line=line, column=column)


def _decoded(data: bytes, path: Path) -> str:
    """Return text; bytes that are not UTF-8 may stand in comments."""
    binary = _BINARY_BYTE.search(data, 0, 4096)
    if binary is not None:
        before = data[: binary.start()]
        raise TextError(
            f"byte 0x{data[binary.start()]:02x} is not UTF-8 text; is this a binary "
            f"file, or UTF-16?",
            file=str(path),
            line=before.count(b"\n") + 1,
            column=len(before) - before.rfind(b"\n"),
        )
    return data.decode(errors="surrogateescape")


def _from_binary(data: bytes, kind: type[M], path: Path) -> M:
    name = kind.DESCRIPTOR.name
    if data.startswith(_HDF5_SIGNATURE):
        raise FileError(f"{path}: is an HDF5 file; expected a {name}")
    if kind is NetParameter and wire.has_more_fields(data, MAX_LAYERS):
        raise FileError(f"{path}: has more than {MAX_LAYERS:,} layers; is it broken?")
    try:
        message = kind.FromString(data)
    except (DecodeError, RecursionError, UnicodeDecodeError):
        raise FileError(f"{path}: is not a binary {name}, or was cut short") from None
    if isinstance(message, NetParameter):
        _check_names(message, path)
    return message


def _check_names(net: NetParameter, path: Path) -> None:
    """Refuse names that are not UTF-8, which protobuf hands out as bytes."""
    for index, layer in enumerate(net.layer):
        for name in (layer.name, layer.type, *layer.bottom, *layer.top):
            if not isinstance(name, str):
                raise FileError(f"{path}: a name in layer {index} is not UTF-8")
