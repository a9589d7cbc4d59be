"""The wire of protobuf itself: fields, one after the other, without any schema.

Source: the protobuf encoding, https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol, TypeAlias

from netspec.errors import SpecError

Buffer: TypeAlias = bytes | bytearray | memoryview

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_VARINT_BYTES = 10  # at most

# No net has more; a broken file that does would take memory and time without an end.
MAX_FIELDS = 1_000_000  # of a net, where a run of values counts as one
MAX_NAME_BYTES = 1 << 20
_WINDOW_BYTES = 4096
_RUN_BYTES = 1 << 20  # looked through at once for values with a key each

Place: TypeAlias = tuple[int, int]  # of a message: its first byte, and past its last


class Bytes(Protocol):
    """Bytes wherever they lie: `netspec.files.FileBytes`, or `Held` in memory."""

    size: int

    def read(self, place: int, nbytes: int) -> Buffer:
        """Return `nbytes` bytes from `place` on, which are there."""


class Held:
    """Bytes in memory, handed out as views."""

    def __init__(self, data: Buffer) -> None:
        self._view = memoryview(data)
        self.size = self._view.nbytes

    def read(self, place: int, nbytes: int) -> memoryview:
        """Return a view of `nbytes` bytes from `place` on."""
        return self._view[place : place + nbytes]


class Piece(NamedTuple):
    """Where `length` values of `width` bytes lie, one every `step` bytes."""

    start: int
    length: int
    width: int
    step: int


class Field(NamedTuple):
    """A field: its number, a number or the place of its bytes, and all that it takes.

    Values of a fixed size are one field where those of one number follow each other.
    """

    number: int
    value: int | Piece
    begin: int
    end: int


class Walk:
    """Reads the fields of messages, through a window on the bytes."""

    def __init__(self, data: Buffer | Bytes) -> None:
        if isinstance(data, bytes | bytearray | memoryview):
            data = Held(data)
        self.data: Bytes = data
        self._window: Buffer = b""
        self._start = 0  # of the window
        self._left = MAX_FIELDS

    def fields(self, place: int, end: int) -> Iterator[Field]:
        """Yield the fields from `place` to `end`."""
        while place < end:
            self._left -= 1
            if self._left < 0:
                raise SpecError(
                    f"not a binary net, or broken: more than {MAX_FIELDS:,} fields"
                )
            begin = place
            key, place = self.varint(place, end)
            number, kind = key >> 3, key & 7
            if kind == VARINT:
                value, place = self.varint(place, end)
                yield Field(number, value, begin, place)
                continue
            if kind == BYTES:
                size, place = self.varint(place, end)
                piece = Piece(place, size, 1, 1)
            elif kind in (FIXED32, FIXED64):
                width = 4 if kind == FIXED32 else 8
                step = place - begin + width
                count = self._run_length(begin, end, step)
                piece = Piece(place, count, width, step)
                size = count * step - (place - begin)
            else:
                raise SpecError(f"not a binary net: wire type {kind} of field {number}")
            if place + size > end:
                raise SpecError(
                    f"not a binary net, or cut short: field {number} needs {size} "
                    f"bytes, {end - place} are left"
                )
            place += size
            yield Field(number, piece, begin, place)

    def message(self, found: Field) -> Place:
        """Return where the bytes of a field lie, from the first to past the last."""
        piece = found.value
        if isinstance(piece, int) or piece.width > 1:
            raise SpecError(
                "not a binary net: a number stands where a message should be"
            )
        return piece.start, found.end

    def text(self, found: Field) -> str:
        """Return the text of a field."""
        start, end = self.message(found)
        if end - start > MAX_NAME_BYTES:
            raise SpecError(
                f"not a binary net, or broken: a name of {end - start:,} bytes"
            )
        # Names in another encoding stay apart and can be printed.
        text = bytes(self.data.read(start, end - start))
        return text.decode(errors="backslashreplace")

    def varint(self, place: int, end: int) -> tuple[int, int]:
        """Return a number, and where it ends."""
        at = place - self._start
        if not 0 <= at <= len(self._window) - _VARINT_BYTES:
            at = self._move(place)
        window = self._window
        stop = min(at + _VARINT_BYTES, len(window), end - self._start)
        value = shift = 0
        while at < stop:
            byte = window[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, self._start + at
            shift += 7
        raise SpecError("not a binary net, or cut short: a number does not end")

    def _move(self, place: int) -> int:
        """Let the window begin at `place`, unless it goes on to the end of all."""
        at = place - self._start
        if at < 0 or self._start + len(self._window) < self.data.size:
            size = min(_WINDOW_BYTES, self.data.size - place)
            self._window, self._start = self.data.read(place, size), place
            return 0
        return at

    def _run_length(self, start: int, end: int, step: int) -> int:
        """Return how many whole fields of `step` bytes with the key at `start` follow.

        That is 1 where the key has more than one byte.
        """
        key = bytes(self.data.read(start, 1))
        most = (end - start) // step
        count = looked = 1
        # Twice as many at a time: the work is in proportion to what is found.
        while key[0] < 0x80 and count < most:
            looked = min(2 * looked, max(_RUN_BYTES // step, 1), most - count)
            piece = memoryview(self.data.read(start + count * step, looked * step))
            keys = piece[::step].tobytes()
            same = len(keys) - len(keys.lstrip(key))
            count += same
            if same < len(keys):
                break
        return count


def varint(value: int) -> bytes:
    """Return a number in sevens of bits, lowest first, as lengths and keys are."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def tag(number: int, kind: int) -> bytes:
    """Return the key of a field of wire type `kind`."""
    return varint(number << 3 | kind)
