"""What is refused before text is parsed: too much of it, bytes, false escapes."""

from __future__ import annotations

import contextlib
import re
import warnings
from pathlib import Path
from typing import Any

from netspec.errors import SpecWarning, TextError

MAX_TEXT_BYTES = 32 << 20  # parsing takes half a second a megabyte; nets have far less
MAX_ITEMS = 2_000_000  # fields and list items; they take 5 microseconds each
BINARY_BYTE = re.compile(rb"[\x00-\x08\x0e-\x1f]")
_STRING = re.compile(
    r"""\#[^\n]*|(?P<text>"(?:\\.|[^"\\\n])*+"|'(?:\\.|[^'\\\n])*+')|["'][^\n]*""",
    re.VERBOSE,
)
_ESCAPE = re.compile(
    r"""\\(?:[abfnrtv\\'"]|[0-7]{1,2}(?![0-7])|[0-3][0-7]{2}|x[0-9A-Fa-f]{1,2}
    |u[0-9A-Fa-f]{4}|U00(?:0[0-9A-Fa-f]|10)[0-9A-Fa-f]{4}|(?P<wrong>.))""",
    re.VERBOSE,
)

_told: dict[Any, Any] = {}  # what `warnings` knows of, as it keeps it for modules


def warn_at(said: str, file: str, line: int, column: int) -> None:
    """Give a `SpecWarning` of a place in text, by default once."""
    warnings.warn_explicit(
        f"{file}:{line}:{column}: {said}",
        SpecWarning,
        filename=file,
        lineno=line,
        registry=_told,
    )


def check_size(path: Path) -> None:
    """Refuse a file that is too large to be read as text before it fills the memory."""
    with contextlib.suppress(OSError):  # told when the file is read
        size = path.stat().st_size
        if size > 4 * MAX_TEXT_BYTES:  # characters have up to four bytes
            raise too_long(size, "bytes", str(path))


def too_long(size: int, what: str, source: str) -> TextError:
    """Return the error for text that is too long to be parsed."""
    return TextError(
        f"{size:,} {what} are more than the {MAX_TEXT_BYTES:,} that are read as text; "
        f"use the binary form",
        file=source,
        line=1,
        column=1,
    )


def check_items(text: str, source: str) -> None:
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


def check_escapes(text: str, source: str) -> None:
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


def decoded(data: bytes, path: Path) -> str:
    """Return text; bytes that are not UTF-8 may stand in comments."""
    binary = BINARY_BYTE.search(data, 0, 4096)
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
