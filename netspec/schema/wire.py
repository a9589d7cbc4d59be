"""The weights of a binary net, read and written without one Python object a number.

Packed floats lie on the wire as plain little-endian bytes. `scan` walks a serialized
`NetParameter` of any generation and hands out views of these bytes; `encode_layer`
makes the pieces of a layer around buffers that are not copied. (Unpacked floats, each
with a key of its own, are joined at the speed of copying.)

Source: the protobuf encoding, https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from netspec.errors import SpecError

Buffer: TypeAlias = bytes | memoryview

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

# Field numbers of the schema.
_NET_LAYERS, _NET_LAYER = 2, 100
_LAYER_NAME, _LAYER_TYPE, _LAYER_BLOBS = 1, 2, 7
_V1_LAYER, _V1_NAME, _V1_TYPE, _V1_BLOBS = 1, 4, 5, 6
_V0_NAME, _V0_TYPE, _V0_BLOBS = 1, 2, 50
_BLOB_LEGACY = (1, 2, 3, 4)  # num, channels, height, width
_BLOB_DATA, _BLOB_SHAPE, _BLOB_DOUBLE = 5, 7, 8
_SHAPE_DIM = 1


@dataclass
class WireBlob:
    """One parameter array: its shape and views of its packed little-endian values.

    legacy: the shape is num, channels, height, width, so 1s in front say nothing.
    """

    shape: tuple[int, ...] = ()
    legacy: bool = False
    dtype: Literal["float", "double"] = "float"
    pieces: list[memoryview] = field(default_factory=list)

    @property
    def nbytes(self) -> int:
        """The bytes of all values."""
        return sum(len(piece) for piece in self.pieces)


@dataclass
class WireLayer:
    """The name and the arrays of one layer; `type` is empty for V1 layers."""

    name: str = ""
    type: str = ""
    blobs: list[WireBlob] = field(default_factory=list)


def scan(data: Buffer) -> Iterator[WireLayer]:
    """Yield the layers of a serialized `NetParameter` (current, V1 or V0 form).

    Raises `SpecError` for bytes that are no such message.
    """
    for number, value in _fields(memoryview(data)):
        if number == _NET_LAYER:
            yield _layer(_message(value), _LAYER_NAME, _LAYER_TYPE, _LAYER_BLOBS)
        elif number == _NET_LAYERS:
            yield _old_layer(_message(value))


def has_more_fields(data: Buffer, most: int) -> bool:
    """Tell whether `data` has more than `most` fields at its outermost level.

    Of bytes that are no message the answer is no.
    """
    try:
        return any(count > most for count, _ in enumerate(_fields(memoryview(data)), 1))
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
        dims = b"".join(_varint(size) for size in shape)
        packed_dims = _tag(_SHAPE_DIM, _BYTES) + _varint(len(dims)) + dims
        start = _tag(_BLOB_SHAPE, _BYTES) + _varint(len(packed_dims)) + packed_dims
        nbytes = memoryview(values).nbytes
        start += _tag(_BLOB_DATA, _BYTES) + _varint(nbytes)
        length = len(start) + nbytes
        pieces.append(_tag(_LAYER_BLOBS, _BYTES) + _varint(length) + start)
        pieces.append(values)
    total = sum(memoryview(piece).nbytes for piece in pieces)
    return [_tag(_NET_LAYER, _BYTES) + _varint(total), *pieces]


def _old_layer(view: memoryview) -> WireLayer:
    for number, value in _fields(view):
        if number == _V1_LAYER:
            inner = _layer(_message(value), _V0_NAME, _V0_TYPE, _V0_BLOBS)
            inner.type = ""
            return inner
    return _layer(view, _V1_NAME, -1, _V1_BLOBS)


def _layer(view: memoryview, name: int, type_: int, blobs: int) -> WireLayer:
    layer = WireLayer()
    for number, value in _fields(view):
        if number == name:
            layer.name = _text(value)
        elif number == type_:
            layer.type = _text(value)
        elif number == blobs:
            layer.blobs.append(_blob(_message(value)))
    return layer


def _blob(view: memoryview) -> WireBlob:
    blob = WireBlob()
    legacy = [0, 0, 0, 0]  # what protobuf takes for missing fields
    floats: list[memoryview] = []
    doubles: list[memoryview] = []
    has_shape = False
    for number, value in _fields(view):
        if number in _BLOB_LEGACY and isinstance(value, int):
            legacy[number - 1] = _size(value)
            blob.legacy = True
        elif number == _BLOB_SHAPE:
            blob.shape = _dims(_message(value))
            has_shape = True
        elif number == _BLOB_DATA:
            floats.append(_message(value))
        elif number == _BLOB_DOUBLE:
            doubles.append(_message(value))
    if doubles:
        blob.dtype = "double"
    blob.pieces = doubles or floats
    value_bytes = 8 if doubles else 4
    if any(len(piece) % value_bytes for piece in blob.pieces):
        raise SpecError("not a binary net, or broken: an array ends within a value")
    if has_shape:
        blob.legacy = False
    elif blob.legacy:
        blob.shape = tuple(legacy)
    return blob


def _dims(view: memoryview) -> tuple[int, ...]:
    dims: list[int] = []
    for number, value in _fields(view):
        if number != _SHAPE_DIM:
            continue
        if isinstance(value, int):
            dims.append(_size(value))
            continue
        place = 0
        while place < len(value):
            size, place = _read_varint(value, place)
            dims.append(_size(size))
    return tuple(dims)


def _size(value: int) -> int:
    if value >> 31:  # negative numbers look like very large ones here
        raise SpecError("not a binary net, or broken: an axis of an array has no size")
    return value


def _text(value: int | memoryview) -> str:
    # Names in another encoding stay apart and can be printed.
    return bytes(_message(value)).decode(errors="backslashreplace")


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise SpecError("not a binary net: a number stands where a message should be")
    return value


def _fields(view: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield the number and the value of every field: an int, or a view of its bytes.

    Values of a fixed size come together where fields of one number follow each other.
    """
    place = 0
    while place < len(view):
        start = place
        key, place = _read_varint(view, place)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, place = _read_varint(view, place)
            yield number, value
            continue
        if kind == _BYTES:
            size, place = _read_varint(view, place)
        elif kind in (_FIXED32, _FIXED64):
            size = 4 if kind == _FIXED32 else 8
            count = _run_length(view, start, place - start + size)
            if count > 1:
                yield number, _joined(view, start, size, count)
                place = start + count * (1 + size)
                continue
        else:
            raise SpecError(f"not a binary net: wire type {kind} of field {number}")
        if place + size > len(view):
            raise SpecError(
                f"not a binary net, or cut short: field {number} needs {size} bytes, "
                f"{len(view) - place} are left"
            )
        yield number, view[place : place + size]
        place += size


def _run_length(view: memoryview, start: int, step: int) -> int:
    """Return how many whole fields of `step` bytes with the key at `start` follow."""
    key = view[start : start + 1].tobytes()
    most = (len(view) - start) // step
    count = 1
    # Twice as many at a time: the work is in proportion to what is found.
    while key[0] < 0x80 and count < most:
        end = min(2 * count, most)
        keys = view[start + count * step : start + end * step : step].tobytes()
        same = len(keys) - len(keys.lstrip(key))
        count += same
        if same < len(keys):
            break
    return count


def _joined(view: memoryview, start: int, size: int, count: int) -> memoryview:
    """Return the values of `count` fields, each a key of one byte and `size` bytes."""
    joined = bytearray(count * size)
    end = start + count * (1 + size)
    for byte in range(size):
        joined[byte::size] = view[start + 1 + byte : end : 1 + size].tobytes()
    return memoryview(joined)


def _read_varint(view: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while place < len(view) and shift < 70:  # at most ten bytes
        byte = view[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
    raise SpecError("not a binary net, or cut short: a number does not end")


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _tag(number: int, kind: int) -> bytes:
    return _varint(number << 3 | kind)
