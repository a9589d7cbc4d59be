"""The weights of a binary net, found and written without one Python object a number.

Packed floats lie on the wire as plain little-endian bytes. `scan` walks a serialized
`NetParameter` of any generation, in memory or in a file of any size, and tells where
the values of every array lie; `without_values` returns the net itself. `encode_layer`
makes the pieces of a layer around buffers that are not copied.

Source: the protobuf encoding, https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol, TypeAlias

from netspec.errors import SpecError

Buffer: TypeAlias = bytes | bytearray | memoryview
Dtype: TypeAlias = Literal["float", "double", "half"]

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_VARINT_BYTES = 10  # at most

# Field numbers of the schema.
_NET_LAYERS, _NET_LAYER = 2, 100
_LAYER_NAME, _LAYER_TYPE, _LAYER_BLOBS = 1, 2, 7
_V1_LAYER, _V1_NAME, _V1_TYPE, _V1_BLOBS = 1, 4, 5, 6
_V0_NAME, _V0_TYPE, _V0_BLOBS = 1, 2, 50
_BLOB_LEGACY = (1, 2, 3, 4)  # num, channels, height, width
_BLOB_DATA, _BLOB_DIFF, _BLOB_SHAPE = 5, 6, 7
_BLOB_DOUBLE, _BLOB_DOUBLE_DIFF = 8, 9
_SHAPE_DIM = 1
# Not of Caffe: NVIDIA's fork and OpenCV store numbers of other sizes as plain bytes.
_BLOB_RAW_TYPE, _BLOB_RAW_DIFF_TYPE, _BLOB_RAW, _BLOB_RAW_DIFF = 10, 11, 12, 13
_RAW_TYPES: Sequence[Dtype] = ("double", "float", "half")

WIDTHS: Mapping[Dtype, int] = {"float": 4, "double": 8, "half": 2}

# Of the fields of an array those of its values, and the bytes of one; 0 for numbers.
_VALUE_BYTES = {
    _BLOB_DATA: 4,
    _BLOB_DIFF: 4,
    _BLOB_DOUBLE: 8,
    _BLOB_DOUBLE_DIFF: 8,
    _BLOB_RAW: 1,
    _BLOB_RAW_DIFF: 1,
    _BLOB_RAW_TYPE: 0,
    _BLOB_RAW_DIFF_TYPE: 0,
}
# The numbers of the fields on the way to them.
_Tree: TypeAlias = Mapping[int, "_Tree"]
_BLOB: _Tree = {number: {} for number in _VALUE_BYTES}
_NET: _Tree = {
    _NET_LAYER: {_LAYER_BLOBS: _BLOB},
    _NET_LAYERS: {_V1_BLOBS: _BLOB, _V1_LAYER: {_V0_BLOBS: _BLOB}},
}

# No net has more; a broken file that does would take memory and time without an end.
MAX_FIELDS = 1_000_000  # of a net, where a run of values counts as one
MAX_BLOBS = 1000  # of a layer
MAX_AXES = 32  # as Caffe
MAX_NAME_BYTES = 1 << 20
_WINDOW_BYTES = 4096
_RUN_BYTES = 1 << 20  # looked through at once for values with a key each


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


@dataclass
class WireBlob:
    """One parameter array: its shape, and where its little-endian values lie.

    legacy: the shape is num, channels, height, width, so 1s in front say nothing.
    plain: the values are in a field that Caffe does not have, as plain bytes.
    """

    shape: tuple[int, ...] = ()
    legacy: bool = False
    dtype: Dtype = "float"
    plain: bool = False
    pieces: list[Piece] = field(default_factory=list)

    @property
    def count(self) -> int:
        """The number of values."""
        return sum(piece.length for piece in self.pieces)


@dataclass
class WireLayer:
    """The name and the arrays of one layer; `type` is empty for V1 layers."""

    name: str = ""
    type: str = ""
    blobs: list[WireBlob] = field(default_factory=list)


def scan(data: Buffer | Bytes) -> Iterator[WireLayer]:
    """Yield the layers of a serialized `NetParameter` (current, V1 or V0 form).

    Raises `SpecError` for bytes that are no such message.
    """
    walk = Walk(data)
    for each in walk.fields(0, walk.data.size):
        if each.number == _NET_LAYER:
            place = walk.message(each)
            yield _layer(walk, place, _LAYER_NAME, _LAYER_TYPE, _LAYER_BLOBS)
        elif each.number == _NET_LAYERS:
            yield _old_layer(walk, walk.message(each))


def without_values(data: Buffer | Bytes) -> bytes:
    """Return a serialized `NetParameter` without the values of its arrays.

    Their number and their shapes stay. Raises `SpecError` for bytes that are no net.
    """
    walk = Walk(data)
    return b"".join(_kept(walk, (0, walk.data.size), _NET))


def has_more_fields(data: Buffer | Bytes, most: int) -> bool:
    """Tell whether `data` has more than `most` fields at its outermost level.

    Of bytes that are no message the answer is no.
    """
    walk = Walk(data)
    try:
        fields = walk.fields(0, walk.data.size)
        return any(count > most for count, _ in enumerate(fields, 1))
    except SpecError:
        return False


def encode_layer(
    header: bytes, blobs: Iterable[tuple[Sequence[int], Buffer]]
) -> list[Buffer]:
    """Return the pieces of one `layer` field of a `NetParameter`.

    header: a serialized `LayerParameter` without blobs.
    blobs: the shape and the float32 little-endian bytes of each array.
    """
    pieces: list[Buffer] = [header]
    for shape, values in blobs:
        dims = b"".join(varint(size) for size in shape)
        packed_dims = _tag(_SHAPE_DIM, _BYTES) + varint(len(dims)) + dims
        start = _tag(_BLOB_SHAPE, _BYTES) + varint(len(packed_dims)) + packed_dims
        nbytes = memoryview(values).nbytes
        start += _tag(_BLOB_DATA, _BYTES) + varint(nbytes)
        length = len(start) + nbytes
        pieces.append(_tag(_LAYER_BLOBS, _BYTES) + varint(length) + start)
        pieces.append(values)
    total = sum(memoryview(piece).nbytes for piece in pieces)
    return [_tag(_NET_LAYER, _BYTES) + varint(total), *pieces]


# ---------------------------------------------------------------- layers and arrays

_Place: TypeAlias = tuple[int, int]  # of a message: its first byte, and past its last


def _old_layer(walk: Walk, place: _Place) -> WireLayer:
    for each in walk.fields(*place):
        if each.number == _V1_LAYER:
            inner = _layer(walk, walk.message(each), _V0_NAME, _V0_TYPE, _V0_BLOBS)
            inner.type = ""
            return inner
    return _layer(walk, place, _V1_NAME, -1, _V1_BLOBS)


def _layer(walk: Walk, place: _Place, name: int, type_: int, blobs: int) -> WireLayer:
    layer = WireLayer()
    for each in walk.fields(*place):
        if each.number == name:
            layer.name = walk.text(each)
        elif each.number == type_:
            layer.type = walk.text(each)
        elif each.number == blobs:
            if len(layer.blobs) == MAX_BLOBS:
                raise SpecError(
                    f"not a binary net, or broken: a layer has more than {MAX_BLOBS:,} "
                    f"arrays"
                )
            layer.blobs.append(_blob(walk, walk.message(each)))
    return layer


def _blob(walk: Walk, place: _Place) -> WireBlob:
    blob = WireBlob()
    legacy = [0, 0, 0, 0]  # what protobuf takes for missing fields
    found: dict[int, list[Field]] = {}
    raw_type = 0
    has_shape = False
    for each in walk.fields(*place):
        if each.number in _BLOB_LEGACY and isinstance(each.value, int):
            legacy[each.number - 1] = _size(each.value)
            blob.legacy = True
        elif each.number == _BLOB_SHAPE:
            blob.shape = _dims(walk, walk.message(each))
            has_shape = True
        elif each.number == _BLOB_RAW_TYPE and isinstance(each.value, int):
            raw_type = each.value
        elif each.number in (_BLOB_DATA, _BLOB_DOUBLE, _BLOB_RAW):
            found.setdefault(each.number, []).append(each)
    for number in (_BLOB_DOUBLE, _BLOB_DATA, _BLOB_RAW):
        if number in found:
            dtype = _dtype(number, raw_type)
            # Of a field that occurs once only, the last counts.
            held = found[number][-1:] if number == _BLOB_RAW else found[number]
            blob.pieces = [_values(each.value, WIDTHS[dtype]) for each in held]
            blob.dtype, blob.plain = dtype, number == _BLOB_RAW
            if blob.count:
                break
    if has_shape:
        blob.legacy = False
    elif blob.legacy:
        blob.shape = tuple(legacy)
    return blob


def _dtype(number: int, raw_type: int) -> Dtype:
    if number != _BLOB_RAW:
        return "double" if number == _BLOB_DOUBLE else "float"
    if raw_type >= len(_RAW_TYPES):
        raise SpecError(
            f"an array of plain bytes (raw_data) has type {raw_type}; {_RAW_TYPES} are "
            f"read, of numbers 0 to {len(_RAW_TYPES) - 1}"
        )
    return _RAW_TYPES[raw_type]


def _values(value: int | Piece, width: int) -> Piece:
    """Return the place of values of `width` bytes, packed or each with a key."""
    if isinstance(value, Piece):
        if value.width == width:
            return value
        if value.width == 1 and value.length % width == 0:
            return Piece(value.start, value.length // width, width, width)
    raise SpecError("not a binary net, or broken: an array ends within a value")


def _dims(walk: Walk, place: _Place) -> tuple[int, ...]:
    dims: list[int] = []
    for each in walk.fields(*place):
        if each.number != _SHAPE_DIM:
            continue
        if isinstance(each.value, int):
            dims.append(_size(each.value))
            continue
        inner, end = walk.message(each)
        while inner < end and len(dims) <= MAX_AXES:
            size, inner = walk.varint(inner, end)
            dims.append(_size(size))
    if len(dims) > MAX_AXES:
        raise SpecError(f"not a binary net, or broken: more than {MAX_AXES} axes")
    return tuple(dims)


def _size(value: int) -> int:
    if value >> 31:  # negative numbers look like very large ones here
        raise SpecError("not a binary net, or broken: an axis of an array has no size")
    return value


def _kept(walk: Walk, place: _Place, tree: _Tree) -> Iterator[Buffer]:
    """Yield the pieces of a message without what is a leaf of `tree`."""
    start, end = place
    for each in walk.fields(start, end):
        inner = tree.get(each.number)
        if inner is None:
            continue
        yield walk.data.read(start, each.begin - start)
        start = each.end
        if inner:
            kept = b"".join(_kept(walk, walk.message(each), inner))
            yield _tag(each.number, _BYTES) + varint(len(kept)) + kept
        elif width := _VALUE_BYTES[each.number]:
            if isinstance(each.value, int):  # C3D has the width of an array there
                yield walk.data.read(each.begin, each.end - each.begin)
            else:
                _values(each.value, width)
    yield walk.data.read(start, end - start)


# ---------------------------------------------------------------- the wire itself


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
            if kind == _VARINT:
                value, place = self.varint(place, end)
                yield Field(number, value, begin, place)
                continue
            if kind == _BYTES:
                size, place = self.varint(place, end)
                piece = Piece(place, size, 1, 1)
            elif kind in (_FIXED32, _FIXED64):
                width = 4 if kind == _FIXED32 else 8
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

    def message(self, found: Field) -> _Place:
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


def _tag(number: int, kind: int) -> bytes:
    return varint(number << 3 | kind)
