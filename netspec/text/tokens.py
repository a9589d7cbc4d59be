"""Prototxt as tokens: where fields begin and end."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

_TOKEN = re.compile(
    r"""(?P<gap>\s+|\#[^\n]*)
    |(?P<text>"(?:\\.|[^"\\\n])*+"|'(?:\\.|[^'\\\n])*+')
    |["'][^\n]*  # a string that does not end
    |(?P<open>[{<\[])|(?P<close>[}>\]])|(?P<word>[\w.+-]+)|(?P<other>.)""",
    re.VERBOSE,
)


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


def outer_fields(text: str) -> Iterator[tuple[str, str]]:
    """Yield the names of the fields that stand in no block, with a value of one word.

    The value is as it is written; "" for a block. What is no prototxt yields anything.
    """
    depth, name, colon = 0, "", False
    for token in _TOKEN.finditer(text):
        kind = token.lastgroup
        if kind == "gap":
            continue
        if kind == "open":
            if depth == 0 and name:
                yield name, ""
            depth, name, colon = depth + 1, "", False
        elif kind == "close":
            depth -= 1
        elif depth != 0:
            continue
        elif token.group() == ":":
            colon = bool(name)
        elif colon:
            yield name, token.group()
            name, colon = "", False
        elif kind == "word":
            name = token.group()


def without_field(text: str, name: str, start: int) -> str | None:
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


def values(text: str, kind: Any) -> Iterator[tuple[FieldDescriptor, re.Match[str]]]:
    """Yield the field and the token of every value that is no string or message.

    text: what is parsed already, as a message with the descriptor `kind`.
    """
    stack: list[tuple[Any, Any, bool]] = []  # what is around the open message
    message, listed = kind, False
    field: Any = None  # whose value comes next
    for token in _TOKEN.finditer(text):
        part, mark = token.lastgroup, token.group()
        if mark == "[":
            listed = True
        elif mark == "]":
            field, listed = None, False
        elif part == "open":
            stack.append((message, field, listed))
            message, field, listed = field.message_type, None, False
        elif part == "close":
            message, field, listed = stack.pop()
            field = field if listed else None
        elif part == "word" and field is None:
            field = message.fields_by_name[mark]
        elif part in ("word", "text"):
            if part == "word":
                yield field, token
            field = field if listed else None
