"""Text without what our schema lacks, and that put back into the message."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from google.protobuf.message import Message

from netspec.errors import SpecError
from netspec.schema.kept import known_fields
from netspec.text.judging import (
    Token,
    field_verdict,
    fits,
    is_repeated,
    kind_of,
    value_verdict,
)
from netspec.text.kept_text import one_line, parsed_field

_TOKEN = re.compile(
    r"""(?:\s+|\#[^\n]*)*+  # between tokens
    (?:(?P<text>"(?:\\.|[^"\\\n])*+"|'(?:\\.|[^'\\\n])*+')
    |(?P<word>[A-Za-z_][\w+-]*)|(?P<number>[\w.+-]+)
    |(?P<open>[{<])|(?P<close>[}>])|(?P<mark>[:,;\[\]])|(?P<other>.)|(?P<end>\Z))""",
    re.VERBOSE,
)
_VISIBLE = re.compile(r"\S")
_CLOSING = {"{": "}", "<": ">"}
_VALUES = ("text", "word", "number")
_BLOCK = Token("open", "{")


class KeptField(NamedTuple):
    """A field that is kept: whose it is, its text, and where it stands.

    values: what it is given, where our schema has the field but not for these; several:
    whether they are a list.
    """

    message: Any
    name: str
    text: str
    start: int
    frame: _Frame
    values: tuple[Token, ...]
    several: bool


@dataclass(frozen=True)
class Kept:
    """Text with blanks for what is kept, so that all else keeps its place.

    fields: what is kept, in the order of the text.
    """

    rest: str
    fields: Sequence[KeptField]

    def put_into(self, message: Message) -> None:
        """Let the messages in `message`, made of `rest`, have what they keep."""
        for each in self.fields:
            each.frame.of(message).unknown_fields.append(each.text)


class Malformed(Exception):
    """Text that has no fields to tell apart: a parser says why."""


class _Span(NamedTuple):
    start: int
    end: int
    values: tuple[Token, ...]
    listed: bool


@dataclass(slots=True, eq=False)
class _Frame:
    """A message in the text: where it is in the message around, what it holds.

    counts: how many messages each of its fields has so far. spans: where its fields
    stand. doubtful: those whose values have no place in our schema.
    """

    message: Any
    closing: str
    around: _Frame | None = None
    name: str = ""
    index: int | None = None
    start: int = 0
    listed: bool = False
    counts: dict[str, int] = field(default_factory=dict)
    spans: dict[str, list[_Span]] = field(default_factory=dict)
    doubtful: dict[str, None] = field(default_factory=dict)

    def of(self, root: Message) -> Any:
        """Return the message that this is in `root`."""
        path = []
        frame: _Frame | None = self
        while frame is not None and frame.around is not None:
            path.append(frame)
            frame = frame.around
        message: Any = root
        for each in reversed(path):
            message = getattr(message, each.name)
            if each.index is not None:
                message = message[each.index]
        return message

    def ancestors(self) -> tuple[Any, ...]:
        """Return the messages around, as descriptors."""
        found = []
        frame = self.around
        while frame is not None:
            found.append(frame.message)
            frame = frame.around
        return tuple(found)


def kept_fields(text: str, kind: type[Message]) -> Kept | None:
    """Return what of `text` is kept, read as a message of a kind; None for nothing.

    Raises `Malformed` for text that is none, where fields were kept up to there, and
    `SpecError` for a field that cannot be kept.
    """
    walker = _Walker(text, kind.DESCRIPTOR)
    try:
        walker.walk()
    except Malformed:
        if walker.cuts or walker.keeping:
            raise
        return None
    if not walker.cuts:
        return None
    pieces, fields, done = [], [], 0
    known: dict[str, str] = {}  # as most fields of a net are like others
    for cut in sorted(walker.cuts, key=lambda cut: (cut[0].start, -cut[0].end)):
        span, name, frame, several = cut
        if span.start < done:
            continue  # in one that is kept whole
        pieces.append(text[done : span.start])
        done = span.end
        source = text[span.start : span.end]
        written = known.get(source)
        if written is None:
            written = known[source] = _written(source)
        pieces.append(_VISIBLE.sub(" ", source))
        one = KeptField(
            frame.message, name, written, span.start, frame, span.values, several
        )
        fields.append(one)
    return Kept("".join([*pieces, text[done:]]), fields)


def _written(source: str) -> str:
    """Return a field as it is kept."""
    try:
        written = one_line(parsed_field(source))
    except SpecError as error:
        raise Malformed from error
    try:
        written.encode()
    except UnicodeError:
        raise SpecError(
            "bytes in a string are not UTF-8; save the file as such"
        ) from None
    return written


class Lines:
    """Lines and columns of places in a text, from 1."""

    def __init__(self, text: str) -> None:
        self.starts = [0, *(found.end() for found in re.finditer("\n", text))]

    def of(self, place: int) -> tuple[int, int]:
        """Return the line and the column of a place."""
        line = bisect_right(self.starts, place)
        return line, place - self.starts[line - 1] + 1


class _Walker:
    """Goes through text field by field, with a stack in place of recursion."""

    def __init__(self, text: str, message: Any) -> None:
        self.end = 0  # of the last token that was taken
        self.tokens = self._tokens(text)
        self.frame = _Frame(message, "")
        self.cuts: list[tuple[_Span, str, _Frame, bool]] = []
        self.keeping = False  # whether the field that is read is kept
        self.kind, self.text, self.start = "", "", 0
        self._after = 0
        self.next()

    def _tokens(self, text: str) -> Iterator[tuple[str, str, int, int]]:
        for found in _TOKEN.finditer(text):
            kind = found.lastgroup or "end"
            if kind != "end":
                yield kind, found[kind], *found.span(kind)
        while True:
            yield "end", "", len(text), len(text)

    def next(self) -> None:
        """Take the token."""
        self.end = self._after
        self.kind, self.text, self.start, self._after = next(self.tokens)

    def walk(self) -> None:
        """Find what is kept; raises `Malformed` where text is no text format."""
        while True:
            if self.kind == "word":
                self.field()
            elif self.kind == "close" and self.text == self.frame.closing:
                self.close()
            elif self.kind == "end" and not self.frame.closing:
                self.decide(self.frame)
                return
            else:
                raise Malformed

    def field(self) -> None:
        """Read a field, or its beginning where it is a message that we know."""
        frame, name, start = self.frame, self.text, self.start
        self.next()
        known = known_fields(frame.message).get(name)
        if known is None:
            self.keeping = name.isidentifier() and field_verdict(
                frame.message, name, frame.ancestors()
            )
            span = self.value(start)
            if self.keeping:
                self.cuts.append((span, name, frame, False))
            self.keeping = False
            return
        if kind_of(known) == "message":
            colon = self.text == ":"
            if colon:
                self.next()
            listed = self.text == "[" and is_repeated(known)
            if listed:
                self.next()
            if self.kind == "open":
                self.open(known, start, listed=listed)
                return
            if listed and self.text == "]":
                self.next()
                self.separator()
                return
            span = self.value(start, colon=colon)
        else:
            span = self.value(start)
        self.note(known, span)

    def note(self, known: Any, span: _Span) -> None:
        """Keep in mind where a field stands, and whether its values have a place."""
        frame, name = self.frame, known.name
        fit = all(fits(known, value) for value in span.values)
        repeated = is_repeated(known)
        if fit and repeated and kind_of(known) != "enum":
            return  # there may be millions
        spans = frame.spans.setdefault(name, [])
        spans.append(span)
        if not fit or (not repeated and (span.listed or len(spans) > 1)):
            frame.doubtful[name] = None

    def open(self, known: Any, start: int, *, listed: bool) -> None:
        """Begin a message."""
        frame, name = self.frame, known.name
        count = frame.counts.get(name, 0)
        frame.counts[name] = count + 1
        index = count if is_repeated(known) else None
        self.frame = _Frame(
            known.message_type,
            _CLOSING[self.text],
            frame,
            name,
            index,
            start,
            listed,
        )
        self.next()

    def close(self) -> None:
        """End a message."""
        frame = self.frame
        around = frame.around
        if around is None:
            raise Malformed
        self.decide(frame)
        self.frame = around
        self.next()
        known = known_fields(around.message)[frame.name]
        if frame.listed and self.text == ",":
            self.next()
            if self.kind != "open":
                raise Malformed
            self.open(known, frame.start, listed=True)
            return
        if frame.listed:
            if self.text != "]":
                raise Malformed
            self.next()
        self.separator()
        if frame.index is None:
            self.note(known, _Span(frame.start, self.end, (_BLOCK,), listed=False))

    def decide(self, frame: _Frame) -> None:
        """Keep the fields of a message whose values only forks have a place for."""
        for name in frame.doubtful:
            known = known_fields(frame.message)[name]
            spans = frame.spans[name]
            values = tuple(value for span in spans for value in span.values)
            several = len(spans) > 1 or any(span.listed for span in spans)
            if value_verdict(known, values, several=several):
                self.cuts += [(span, name, frame, several) for span in spans]
        frame.spans.clear()

    def value(self, start: int, *, colon: bool = False) -> _Span:
        """Read the value of a field whose name begins at `start`, whatever it is."""
        if self.text == ":":
            colon = True
            self.next()
        if self.kind == "open":
            self.block()
            values: tuple[Token, ...] = (_BLOCK,)
            listed = False
        elif self.text == "[":
            values, listed = self.array(), True
        elif colon:
            values, listed = (self.atom(),), False
        else:
            raise Malformed
        self.separator()
        return _Span(start, self.end, values, listed)

    def separator(self) -> None:
        if self.text in (",", ";"):
            self.next()

    def atom(self) -> Token:
        if self.kind not in _VALUES:
            raise Malformed
        token = Token(self.kind, self.text)
        self.next()
        while token.kind == self.kind == "text":
            self.next()
        return token

    def array(self) -> tuple[Token, ...]:
        self.next()
        values: list[Token] = []
        while self.text != "]" or self.kind != "mark":
            if values:
                if self.text != ",":
                    raise Malformed
                self.next()
            if self.kind == "open":
                self.block()
                values.append(_BLOCK)
            else:
                values.append(self.atom())
        self.next()
        return tuple(values)

    def block(self) -> None:
        """Read over a message."""
        open_marks = []
        while True:
            if self.kind == "open":
                open_marks.append(_CLOSING[self.text])
            elif self.kind == "close":
                if self.text != open_marks.pop():
                    raise Malformed
            elif self.kind in ("end", "other"):
                raise Malformed
            self.next()
            if not open_marks:
                return
