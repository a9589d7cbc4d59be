"""Weights on the wire, read without one object a number."""

from __future__ import annotations

import contextlib
import struct
import tracemalloc
from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netspec.errors import SpecError
from netspec.schema import BlobProto, LayerParameter, NetParameter, V1LayerParameter
from netspec.schema.wire import WireBlob, encode_layer, scan

SHAPE = (2, 3, 1, 4)
VALUES = [float(value) - 11.5 for value in range(24)]


def net_bytes(*blobs: BlobProto) -> bytes:
    net = NetParameter(name="n", layer=[{"name": "data"}])
    net.layer.add(name="conv1", type="Convolution", blobs=blobs)
    return net.SerializeToString()


def values(blob: WireBlob) -> list[float]:
    letter, size = {"float": ("f", 4), "double": ("d", 8)}[blob.dtype]
    found: list[float] = []
    for piece in blob.pieces:
        found += struct.unpack(f"<{len(piece) // size}{letter}", piece)
    return found


def test_a_current_layer_is_found_by_name_with_its_arrays():
    data = net_bytes(
        BlobProto(shape={"dim": SHAPE}, data=VALUES),
        BlobProto(shape={"dim": [3]}, data=[0.5, 0.25, -0.125]),
    )
    first, second = scan(data)
    assert (first.name, first.blobs) == ("data", [])
    assert (second.name, second.type) == ("conv1", "Convolution")
    weights, bias = second.blobs
    assert (weights.shape, weights.legacy, weights.dtype) == (SHAPE, False, "float")
    assert values(weights) == VALUES
    assert weights.nbytes == 96
    assert (bias.shape, values(bias)) == ((3,), [0.5, 0.25, -0.125])


def test_values_are_views_of_the_file():
    data = net_bytes(BlobProto(shape={"dim": SHAPE}, data=VALUES))
    (piece,) = list(scan(data))[1].blobs[0].pieces
    assert piece.obj is data


def test_old_shapes_and_doubles_are_told():
    old = BlobProto(num=2, channels=3, height=1, width=4, double_data=VALUES)
    (blob,) = list(scan(net_bytes(old)))[1].blobs
    assert (blob.shape, blob.legacy, blob.dtype) == (SHAPE, True, "double")
    assert values(blob) == VALUES


def test_doubles_beat_floats():
    both = BlobProto(shape={"dim": [2]}, data=[1, 2], double_data=[3, 4])
    (blob,) = list(scan(net_bytes(both)))[1].blobs
    assert (blob.dtype, values(blob)) == ("double", [3, 4])


def test_a_shape_beats_old_sizes():
    both = BlobProto(num=9, channels=8, shape={"dim": [24]}, data=VALUES)
    (blob,) = list(scan(net_bytes(both)))[1].blobs
    assert (blob.shape, blob.legacy) == ((24,), False)


def test_layers_of_the_v1_and_v0_forms_are_read():
    old = V1LayerParameter(name="ip1", type="INNER_PRODUCT")
    old.blobs.add(num=1, channels=1, height=2, width=3, data=VALUES[:6])
    oldest = V1LayerParameter(layer={"name": "conv1", "type": "conv"})
    oldest.layer.blobs.add(num=1, channels=1, height=1, width=4, data=VALUES[:4])
    net = NetParameter(layers=[old, oldest])
    first, second = scan(net.SerializeToString())
    assert (first.name, first.blobs[0].shape) == ("ip1", (1, 1, 2, 3))
    assert values(first.blobs[0]) == VALUES[:6]
    assert (second.name, second.blobs[0].shape) == ("conv1", (1, 1, 1, 4))
    assert values(second.blobs[0]) == VALUES[:4]


def varint(number: int) -> bytes:
    encoded = b""
    while number > 127:
        encoded += bytes([number & 127 | 128])
        number >>= 7
    return encoded + bytes([number])


def field(number: int, contents: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(contents)) + contents


def net_around(blob: bytes) -> bytes:
    return field(100, field(1, b"fc") + field(7, blob))


def unpacked(number: int, letter: str, numbers: list[float]) -> bytes:
    key = bytes([number << 3 | {"f": 5, "d": 1}[letter]])
    return b"".join(key + struct.pack(f"<{letter}", each) for each in numbers)


@pytest.mark.parametrize(
    ("number", "letter", "dtype"), [(5, "f", "float"), (8, "d", "double")]
)
def test_unpacked_values_are_joined(number, letter, dtype):
    # 0x2d and 0x41 are also the keys: a value must not be taken for one.
    bits = {"f": 0x2D2D2D2D, "d": 0x4141414141414141}[letter]
    like_keys = struct.unpack(f"<{letter}", bits.to_bytes(struct.calcsize(letter)))
    numbers = [1.5, *like_keys * 3, -0.25, *map(float, range(50))]
    shape = field(7, field(1, bytes([len(numbers)])))
    data = net_around(unpacked(number, letter, numbers) + shape)
    assert len(NetParameter.FromString(data).layer[0].blobs) == 1
    (blob,) = next(scan(data)).blobs
    assert (blob.shape, blob.dtype) == ((55,), dtype)
    assert values(blob) == numbers
    assert len(blob.pieces) == 1


def test_packed_and_unpacked_parts_follow_each_other():
    parts = unpacked(5, "f", [1, 2]) + field(5, struct.pack("<2f", 3, 4))
    parts += unpacked(5, "f", [5])
    (blob,) = next(scan(net_around(parts))).blobs
    assert values(blob) == [1, 2, 3, 4, 5]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
            st.lists(st.lists(st.floats(width=32, allow_nan=False), max_size=5)),
        ),
        max_size=4,
    )
)
def test_what_is_encoded_is_a_net_and_is_scanned_again(layers):
    data = b""
    for name, arrays in layers:
        header = LayerParameter(name=name, type="Scale").SerializeToString()
        blobs = [((len(each), 1), array("f", each).tobytes()) for each in arrays]
        data += b"".join(bytes(piece) for piece in encode_layer(header, blobs))
    net = NetParameter.FromString(data)
    found = list(scan(data))
    assert [layer.name for layer in net.layer] == [name for name, _ in layers]
    assert [layer.name for layer in found] == [name for name, _ in layers]
    for (_, arrays), ours, parsed in zip(layers, found, net.layer, strict=True):
        assert [values(blob) for blob in ours.blobs] == arrays
        assert [list(blob.data) for blob in parsed.blobs] == arrays
        assert [tuple(blob.shape.dim) for blob in parsed.blobs] == [
            (len(each), 1) for each in arrays
        ]


def test_encoding_copies_no_values():
    buffer = memoryview(bytearray(48))
    pieces = encode_layer(b"", [((3, 4), buffer)])
    assert any(piece is buffer for piece in pieces)


def test_big_arrays_cost_no_memory_and_no_time():
    count = 4_000_000
    buffer = bytes(4 * count)
    header = LayerParameter(name="fc6").SerializeToString()
    data = b"".join(encode_layer(header, [((2, count // 2), buffer)]))
    tracemalloc.start()
    layers = list(scan(data))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert layers[0].blobs[0].nbytes == 4 * count
    assert peak < 100_000


def test_names_in_another_encoding_stay_apart():
    data = b"".join(b"\xa2\x06\x04\x0a\x02" + name for name in (b"\xff\xfe", b"\xff!"))
    assert [layer.name for layer in scan(data)] == ["\\xff\\xfe", "\\xff!"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (net_bytes(BlobProto(data=VALUES))[:-7], "field 100 needs .* bytes"),
        (b"\xa2\x06\xff", "a number does not end"),
        (b"\xa2" * 20, "a number does not end"),
        (b"name: 'x'", "wire type 6"),
        (b"\xa3\x06\xa4\x06", "wire type 3 of field 100"),
        (b"\xa0\x06\x05", "a number stands where a message should be"),
        (net_around(unpacked(5, "f", [1, 2, 3])[:-2]), "field 5 needs 4 bytes, 2 are"),
        (net_around(field(5, b"\0" * 6)), "an array ends within a value"),
        (net_around(field(7, field(1, b"\xff" * 9 + b"\x01"))), "an axis .* no size"),
        (net_around(b"\x08" + b"\xff" * 9 + b"\x01"), "an axis .* no size"),
    ],
)
def test_broken_files_are_refused(data, said):
    with pytest.raises(SpecError, match=said):
        list(scan(data))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60))
def test_no_bytes_end_in_another_error(data):
    for each in (data, net_around(data)):
        with contextlib.suppress(SpecError):
            list(scan(each))


def test_values_of_alternating_fields_are_joined():
    count = 40_000
    blob = unpacked(5, "f", [1.0]) + unpacked(6, "f", [2.0])
    (layer,) = scan(net_around(blob * count))
    values = b"".join(bytes(piece) for piece in layer.blobs[0].pieces)
    assert values == struct.pack("<f", 1.0) * count
