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
from typing import Literal, TypeAlias

from netspec.errors import SpecError
from netspec.schema.walk import BYTES as BYTES
from netspec.schema.walk import Buffer as Buffer
from netspec.schema.walk import Bytes as Bytes
from netspec.schema.walk import Field as Field
from netspec.schema.walk import Held as Held
from netspec.schema.walk import Piece as Piece
from netspec.schema.walk import Place, tag
from netspec.schema.walk import Walk as Walk
from netspec.schema.walk import varint as varint

Dtype: TypeAlias = Literal["float", "double", "half"]

# Field numbers of the schema.
_NET_LAYERS, _NET_LAYER = 2, 100
_LAYER_NAME, _LAYER_TYPE, _LAYER_BLOBS = 1, 2, 7
_V1_LAYER, _V1_NAME, _V1_TYPE, _V1_BLOBS = 1, 4, 5, 6
_V0_NAME, _V0_TYPE, _V0_BLOBS = 1, 2, 50
_BLOB_LEGACY = (1, 2, 3, 4)  # num, channels, height, width
_BLOB_DATA, _BLOB_DIFF, _BLOB_SHAPE = 5, 6, 7
_BLOB_DOUBLE, _BLOB_DOUBLE_DIFF = 8, 9
_SHAPE_DIM = 1
# Of C3D 1.0, whose arrays have a length between channels and height.
_C3D_AXES, _C3D_DATA = (1, 2, 3, 4, 5), 6
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

MAX_BLOBS = 1000  # of a layer
MAX_AXES = 32  # as Caffe


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
        packed_dims = tag(_SHAPE_DIM, BYTES) + varint(len(dims)) + dims
        start = tag(_BLOB_SHAPE, BYTES) + varint(len(packed_dims)) + packed_dims
        nbytes = memoryview(values).nbytes
        start += tag(_BLOB_DATA, BYTES) + varint(nbytes)
        length = len(start) + nbytes
        pieces.append(tag(_LAYER_BLOBS, BYTES) + varint(length) + start)
        pieces.append(values)
    total = sum(memoryview(piece).nbytes for piece in pieces)
    return [tag(_NET_LAYER, BYTES) + varint(total), *pieces]


# ---------------------------------------------------------------- layers and arrays


def _old_layer(walk: Walk, place: Place) -> WireLayer:
    for each in walk.fields(*place):
        if each.number == _V1_LAYER:
            inner = _layer(walk, walk.message(each), _V0_NAME, _V0_TYPE, _V0_BLOBS)
            inner.type = ""
            return inner
    return _layer(walk, place, _V1_NAME, -1, _V1_BLOBS)


def _layer(walk: Walk, place: Place, name: int, type_: int, blobs: int) -> WireLayer:
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


def _blob(walk: Walk, place: Place) -> WireBlob:
    blob = WireBlob()
    fields = list(walk.fields(*place))
    fifth = [x.value for x in fields if x.number == _BLOB_DATA]
    if fifth and all(isinstance(value, int) for value in fifth):
        return _blob_of_c3d(fields)
    legacy = [0, 0, 0, 0]  # what protobuf takes for missing fields
    found: dict[int, list[Field]] = {}
    raw_type = 0
    has_shape = False
    for each in fields:
        if each.number in _BLOB_LEGACY and isinstance(each.value, int):
            legacy[each.number - 1] = _size(each.value)
            blob.legacy = True
        elif each.number == _BLOB_SHAPE:
            blob.shape = _dims(walk, walk.message(each))
            has_shape = True
        elif each.number == _BLOB_RAW_TYPE and isinstance(each.value, int):
            raw_type = each.value
        elif each.number in (_BLOB_DATA, _BLOB_DOUBLE) or (
            # A number there is of another fork.
            each.number == _BLOB_RAW and isinstance(each.value, Piece)
        ):
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


def _blob_of_c3d(fields: Sequence[Field]) -> WireBlob:
    """Return an array of C3D 1.0: five axes, the width in the place of the values."""
    axes = [0] * len(_C3D_AXES)
    for each in fields:
        if each.number in _C3D_AXES and isinstance(each.value, int):
            axes[each.number - 1] = _size(each.value)
    blob = WireBlob(shape=tuple(axes), legacy=True)
    values = [x.value for x in fields if x.number == _C3D_DATA]
    blob.pieces = [_values(value, WIDTHS[blob.dtype]) for value in values]
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


def _dims(walk: Walk, place: Place) -> tuple[int, ...]:
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


def _kept(walk: Walk, place: Place, tree: _Tree) -> Iterator[Buffer]:
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
            yield tag(each.number, BYTES) + varint(len(kept)) + kept
        elif width := _VALUE_BYTES[each.number]:
            if isinstance(each.value, int):  # C3D has the width of an array there
                yield walk.data.read(each.begin, each.end - each.begin)
            else:
                _values(each.value, width)
    yield walk.data.read(start, end - start)
