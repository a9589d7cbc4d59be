"""Prototxt as a tree of fields, read slowly and without a schema."""

from __future__ import annotations

import ast
import re
import struct
from typing import Any

TOKEN = re.compile(
    r"""[\s,;]+|\#.*|("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[\w.+-]+|[:{}<>\[\]])"""
)

# Words that files have as numbers, too.
AS_NUMBERS = {
    "true": 1.0,
    "t": 1.0,
    "false": 0.0,
    "f": 0.0,
    "CPU": 0.0,
    "GPU": 1.0,
    "PROD": 0.0,
    "SUM": 1.0,
}


def tree_of(text: str) -> Any:
    """Return a dictionary of lists: the values of every field, in their order.

    Numbers are compared as float32, since that is what messages hold.
    """
    tokens = [found[1] for found in TOKEN.finditer(text) if found[1]]
    tree, rest = message(tokens, 0)
    assert rest == len(tokens)
    return tree


def message(tokens: list[str], at: int) -> tuple[Any, int]:
    """Return the fields from a token on, and where they end."""
    tree: dict[str, list[Any]] = {}
    while at < len(tokens) and tokens[at] not in "}>":
        name = tokens[at]
        at += 1
        if tokens[at] == ":":
            at += 1
        values, at = value_list(tokens, at)
        tree.setdefault(name, []).extend(values)
    return tree, at


def value_list(tokens: list[str], at: int) -> tuple[list[Any], int]:
    """Return the value or values of one field."""
    if tokens[at] != "[":
        one, at = value(tokens, at)
        return [one], at
    at += 1
    values = []
    while tokens[at] != "]":
        one, at = value(tokens, at)
        values.append(one)
    return values, at + 1


def value(tokens: list[str], at: int) -> tuple[Any, int]:
    """Return one value."""
    if tokens[at] in "{<":
        tree, at = message(tokens, at + 1)
        return tree, at + 1
    if tokens[at][0] not in "\"'":
        return number(tokens[at]), at + 1
    parts = []
    while at < len(tokens) and tokens[at][0] in "\"'":
        parts.append(ast.literal_eval(tokens[at]))
        at += 1
    return ("text", "".join(parts)), at


def number(word: str) -> Any:
    """Return a number, or a word as it is."""
    if re.fullmatch(r"-?0[xX][0-9a-fA-F]+", word):
        return int(word, 16)
    if re.fullmatch(r"-?0[0-7]+", word):
        return int(word, 8)
    if re.fullmatch(r"-?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?[fF]?", word):
        plain = word.rstrip("fF")
        return struct.unpack("f", struct.pack("f", float(plain)))[0]
    return AS_NUMBERS.get(word, word)
