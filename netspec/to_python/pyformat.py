"""Python values and calls as text of at most 88 columns, laid out as ruff does."""

from __future__ import annotations

import json
import keyword
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

WIDTH = 88
INDENT = "    "

Items: TypeAlias = "tuple[str | Param, ...]"  # characters, and parameters among them


@dataclass(frozen=True, eq=False)
class Param:
    """A parameter of a generated function."""

    name: str


@dataclass(frozen=True)
class Template:
    """Text with parameters in it: an f-string."""

    items: Items


@dataclass(frozen=True)
class Constant:
    """A value that has a name at the top of the file."""

    name: str
    value: Any


@dataclass(frozen=True)
class Group:
    """Something in brackets that can be split over lines."""

    opening: str
    items: tuple[tuple[str, Doc], ...]  # what stands before each item, and the item
    closing: str


Doc: TypeAlias = "str | Group"


def document(value: Any) -> Doc:
    """Return how `value` is written."""
    if isinstance(value, Param | Constant):
        return value.name
    if isinstance(value, Template):
        return _f_string(value.items)
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    if isinstance(value, Mapping):
        if all(is_name(key) for key in value):
            return call("dict", [], value)
        items = [(f"{quoted(str(key))}: ", document(v)) for key, v in value.items()]
        return Group("{", tuple(items), "}")
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return Group("[", tuple(("", document(item)) for item in value), "]")
    return repr(value)


def call(function: str, positional: Sequence[Doc], named: Mapping[str, Any]) -> Group:
    """Return a call; a name that Python reserves goes through a dictionary."""
    items: list[tuple[str, Doc]] = [("", doc) for doc in positional]
    items += [(f"{k}=", document(v)) for k, v in named.items() if is_name(k)]
    rest = {k: v for k, v in named.items() if not is_name(k)}
    if rest:
        items.append(("**", document(rest)))
    return Group(f"{function}(", tuple(items), ")")


def is_name(text: str) -> bool:
    """Tell whether `text` can be an attribute or the name of an argument."""
    return text.isidentifier() and text.isascii() and not keyword.iskeyword(text)


def quoted(text: str) -> str:
    """Return `text` as a literal, with double quotes unless there are some in it."""
    if '"' in text and "'" not in text:
        return repr(text)
    if text.isprintable():
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return json.dumps(text) if text.isascii() and "\x7f" not in text else repr(text)


def flat(doc: Doc) -> str:
    """Return `doc` on one line."""
    if isinstance(doc, str):
        return doc
    items = ", ".join(before + flat(item) for before, item in doc.items)
    return doc.opening + items + doc.closing


def layout(before: str, doc: Doc, after: str = "", indent: str = "") -> str:
    """Return `before`, `doc` and `after`, split over lines where they are too long."""
    line = f"{indent}{before}{flat(doc)}{after}"
    if len(line) <= WIDTH:
        return line
    if isinstance(doc, str):
        return _long_text(before, doc, after, indent)
    if not doc.items:
        return line
    inner = indent + INDENT
    start, end = f"{indent}{before}{doc.opening}", f"{indent}{doc.closing}{after}"
    row = inner + ", ".join(prefix + flat(item) for prefix, item in doc.items)
    last = doc.items[-1]
    if len(doc.items) == 1 and isinstance(last[1], Group) and doc.opening == "[":
        row = " " * (WIDTH + 1)  # a list of one message: ruff puts the comma
    if len(row) <= WIDTH:
        return f"{start}\n{row}\n{end}"
    rows = [layout(prefix, item, ",", inner) for prefix, item in doc.items]
    return "\n".join((start, *rows, end))


def _long_text(before: str, text: str, after: str, indent: str) -> str:
    """Split a long literal into several, side by side in brackets."""
    inner = indent + INDENT
    room = WIDTH - len(inner) - len('""')
    plain = text[1:-1]
    simple = text[:1] == '"' and "\\" not in text
    if not simple or len(before) + len(indent) > WIDTH - 2:
        return f"{indent}{before}{text}{after}"
    if len(text) <= WIDTH - len(inner):
        pieces = [plain]
    else:
        pieces = [plain[at : at + room] for at in range(0, len(plain), room)]
    rows = [f'{inner}"{piece}"' for piece in pieces]
    return "\n".join((f"{indent}{before}(", *rows, f"{indent}){after}"))


def _f_string(items: Items) -> str:
    if len(items) == 1 and isinstance(items[0], Param):
        return items[0].name
    text = ""
    for item in items:
        if isinstance(item, Param):
            text += f"{{{item.name}}}"
        elif item in "{}":
            text += item * 2
        else:
            text += item if item.isprintable() and item not in '\\"' else _escaped(item)
    return f'f"{text}"'


def _escaped(character: str) -> str:
    return {"\\": "\\\\", '"': '\\"'}.get(character) or repr(character)[1:-1]
