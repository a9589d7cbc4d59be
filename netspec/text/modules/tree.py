"""Text format as a tree whose every field and value knows where it stands."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, NoReturn, TypeAlias

from google.protobuf import text_encoding

from netspec.errors import TextError

MAX_DEPTH = 100  # of messages in messages, and of uses in uses
MAX_TEXT_CHARACTERS = 8 << 20  # of a file with modules and all that it imports

_TOKEN = re.compile(
    r"""(?P<gap>\s+|\#[^\n]*)
    |(?P<text>"(?:\\.|[^"\\\n])*+"|'(?:\\.|[^'\\\n])*+')
    |(?P<unclosed>["'][^\n]*)
    |(?P<word>[A-Za-z_][\w+-]*)|(?P<number>[\w.+-]+)
    |(?P<open>[{<])|(?P<close>[}>])|(?P<mark>[:,;\[\]])|(?P<other>.)""",
    re.VERBOSE,
)


class Place(NamedTuple):
    """A place in a file; lines and columns count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"

    def error(self, said: str) -> TextError:
        """Return the error that tells `said` of this place."""
        return TextError(said, file=self.file, line=self.line, column=self.column)


@dataclass(frozen=True, slots=True)
class Atom:
    """A number, a word (`MAX`, `true`, the name of a value), or a string as written.

    given: for what stands in place of a value's name, that name and where it is given.
    """

    kind: Literal["text", "word", "number"]
    text: str
    place: Place
    given: tuple[str, Place] | None = None

    def content(self) -> str:
        """Return the string that a text stands for, or the word or number itself."""
        if self.kind != "text":
            return self.text
        parts = []
        for token in _TOKEN.finditer(self.text):
            if token.lastgroup == "text":
                parts.append(_unescaped(token.group()[1:-1]))
        return "".join(parts)


@dataclass(frozen=True, slots=True)
class Block:
    """A message: fields in braces."""

    fields: list[Field]
    place: Place


@dataclass(frozen=True, slots=True)
class Array:
    """Values in brackets."""

    items: list[Atom | Block]
    place: Place


Value: TypeAlias = Atom | Block | Array


@dataclass(frozen=True, slots=True)
class Field:
    """A name and a value."""

    name: str
    value: Value
    place: Place


def text_atom(content: str, place: Place) -> Atom:
    """Return `content` as a string."""
    escape: Any = text_encoding.CEscape
    escaped = escape(content, as_utf8=True)
    return Atom("text", f'"{escaped}"', place)


def items(value: Value) -> list[Atom | Block]:
    """Return the values of a list, or the one value."""
    return value.items if isinstance(value, Array) else [value]


def parse_tree(text: str, file: str) -> Block:
    """Return the fields of `text`.

    Raises `TextError` for what is no text format at all. Whether the fields exist is
    not looked at.
    """
    return _Reader(text, file).read()


class _Token(NamedTuple):
    kind: str
    text: str
    start: int


class _Open(NamedTuple):
    """A message whose end is not read yet, its name, and the list that it is in."""

    block: Block
    closing: str
    name: str
    array: Array | None


class _Reader:
    """Reads token by token, with a stack in place of recursion.

    Hostile text could drive recursion too deep.
    """

    def __init__(self, text: str, file: str) -> None:
        self.file = file
        self.line_starts = [0]
        self.line_starts += [found.end() for found in re.finditer("\n", text)]
        self.end = len(text)
        self.tokens = self._tokens(text)
        self.token = next(self.tokens)

    def _tokens(self, text: str) -> Iterator[_Token]:
        for found in _TOKEN.finditer(text):
            kind = found.lastgroup or "other"
            if kind != "gap":
                yield _Token(kind, found.group(), found.start())
        while True:
            yield _Token("end", "", self.end)

    def place(self, token: _Token) -> Place:
        line = bisect_right(self.line_starts, token.start)
        return Place(self.file, line, token.start - self.line_starts[line - 1] + 1)

    def next(self) -> _Token:
        token = self.token
        self.token = next(self.tokens)
        return token

    def fail(self, expected: str) -> NoReturn:
        token = self.token
        if token.kind == "unclosed":
            raise self.place(token).error(
                "the string has no closing quote on its line; add it"
            )
        found = f"found {token.text:.40}" if token.kind != "end" else "the text ends"
        raise self.place(token).error(f"expected {expected}, but {found}")

    def read(self) -> Block:
        top = Block([], Place(self.file, 1, 1))
        stack = [_Open(top, "", "", None)]
        while True:
            message = stack[-1]
            opened: _Open | None = None
            if self.token.kind == "end":
                if not message.closing:
                    return top
                self.fail(
                    f"{message.closing} for {message.name} {{ of {message.block.place}"
                )
            if self.token.kind == "close":
                if self.token.text != message.closing:
                    self.fail("a field" if len(stack) == 1 else message.closing)
                self.next()
                stack.pop()
                if message.array is not None:
                    opened = self.rest_of(message.array, message.name)
                else:
                    self.skip_separator()
            elif self.token.kind == "word":
                opened = self.field(message.block)
            else:
                self.fail("the name of a field")
            if opened is not None:
                if len(stack) > MAX_DEPTH:
                    raise opened.block.place.error(
                        f"messages lie in each other more than {MAX_DEPTH} deep"
                    )
                stack.append(opened)

    def field(self, block: Block) -> _Open | None:
        """Read a field up to its end or its first brace; return what that opens."""
        name = self.next()
        place = self.place(name)
        colon = self.token.text == ":"
        if colon:
            self.next()
        if self.token.kind == "open":
            opened = self.open(name.text, None)
            block.fields.append(Field(name.text, opened.block, place))
            return opened
        if self.token.text == "[":
            array = Array([], self.place(self.next()))
            block.fields.append(Field(name.text, array, place))
            return self.rest_of(array, name.text)
        if not colon:
            self.fail(f"a colon or a brace after {name.text:.60}")
        block.fields.append(Field(name.text, self.atom(), place))
        self.skip_separator()
        return None

    def rest_of(self, array: Array, name: str) -> _Open | None:
        """Read on in a list up to its end or the next brace; return what that opens."""
        while self.token.text != "]":
            if array.items:
                if self.token.text != ",":
                    self.fail("a comma or ]")
                self.next()
            if self.token.kind == "open":
                opened = self.open(name, array)
                array.items.append(opened.block)
                return opened
            array.items.append(self.atom())
        self.next()
        self.skip_separator()
        return None

    def open(self, name: str, array: Array | None) -> _Open:
        token = self.next()
        closing = "}" if token.text == "{" else ">"
        return _Open(Block([], self.place(token)), closing, name, array)

    def skip_separator(self) -> None:
        if self.token.text in (",", ";"):
            self.next()

    def atom(self) -> Atom:
        if self.token.kind not in ("text", "word", "number"):
            self.fail("a value")
        token = self.next()
        place = self.place(token)
        if token.kind == "text":
            parts = [token.text]
            while self.token.kind == "text":
                parts.append(self.next().text)
            return Atom("text", " ".join(parts), place)
        return Atom("word" if token.kind == "word" else "number", token.text, place)


def _unescaped(text: str) -> str:
    if "\\" not in text:
        return text
    # Bytes that are no UTF-8 are refused when the flat text is parsed.
    try:
        return text_encoding.CUnescape(text).decode(errors="surrogateescape")
    except UnicodeError:
        return text
