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
from netspec.schema import (
    BlobProto,
    LayerParameter,
    NetParameter,
    V1LayerParameter,
    walk,
    wire,
)
from netspec.schema.wire import Piece, WireBlob, encode_layer, scan, without_values

SHAPE = (2, 3, 1, 4)
VALUES = [float(value) - 11.5 for value in range(24)]


def net_bytes(*blobs: BlobProto) -> bytes:
    net = NetParameter(name="n", layer=[{"name": "data"}])
    net.layer.add(name="conv1", type="Convolution", blobs=blobs)
    return net.SerializeToString()


def values(blob: WireBlob, data: bytes) -> list[float]:
    letter = {"float": "f", "double": "d", "half": "e"}[blob.dtype]
    return [
        struct.unpack_from(f"<{letter}", data, piece.start + index * piece.step)[0]
        for piece in blob.pieces
        for index in range(piece.length)
    ]


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
    assert values(weights, data) == VALUES
    assert weights.count == 24
    assert (bias.shape, values(bias, data)) == ((3,), [0.5, 0.25, -0.125])


def test_packed_values_are_one_piece_of_the_file():
    data = net_bytes(BlobProto(shape={"dim": SHAPE}, data=VALUES))
    (piece,) = list(scan(data))[1].blobs[0].pieces
    start = data.index(struct.pack("<2f", *VALUES[:2]))
    assert piece == Piece(start, len(VALUES), 4, 4)


def test_old_shapes_and_doubles_are_told():
    old = BlobProto(num=2, channels=3, height=1, width=4, double_data=VALUES)
    data = net_bytes(old)
    (blob,) = list(scan(data))[1].blobs
    assert (blob.shape, blob.legacy, blob.dtype) == (SHAPE, True, "double")
    assert values(blob, data) == VALUES


def test_doubles_beat_floats():
    both = BlobProto(shape={"dim": [2]}, data=[1, 2], double_data=[3, 4])
    data = net_bytes(both)
    (blob,) = list(scan(data))[1].blobs
    assert (blob.dtype, values(blob, data)) == ("double", [3, 4])


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
    data = net.SerializeToString()
    first, second = scan(data)
    assert (first.name, first.blobs[0].shape) == ("ip1", (1, 1, 2, 3))
    assert values(first.blobs[0], data) == VALUES[:6]
    assert (second.name, second.blobs[0].shape) == ("conv1", (1, 1, 1, 4))
    assert values(second.blobs[0], data) == VALUES[:4]


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
    assert values(blob, data) == numbers
    assert len(blob.pieces) == 1


def test_packed_and_unpacked_parts_follow_each_other():
    parts = unpacked(5, "f", [1, 2]) + field(5, struct.pack("<2f", 3, 4))
    parts += unpacked(5, "f", [5])
    data = net_around(parts)
    (blob,) = next(scan(data)).blobs
    assert values(blob, data) == [1, 2, 3, 4, 5]


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
        assert [values(blob, data) for blob in ours.blobs] == arrays
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
    assert layers[0].blobs[0].count == count
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
        for read in (scan, without_values):
            with contextlib.suppress(SpecError):
                list(read(each))


class Counted:
    """Bytes as a file has them, which counts how many are read."""

    def __init__(self, data: bytes) -> None:
        self._data, self.size, self.count = data, len(data), 0

    def read(self, place: int, nbytes: int) -> bytes:
        assert 0 <= place <= place + nbytes <= self.size
        self.count += nbytes
        return self._data[place : place + nbytes]


def old_net() -> NetParameter:
    old = V1LayerParameter(name="ip1", type="INNER_PRODUCT", bottom=["x"], top=["y"])
    old.blobs.add(num=1, channels=1, height=2, width=3, data=VALUES[:6])
    oldest = V1LayerParameter(layer={"name": "conv1", "type": "conv", "pad": 3})
    oldest.layer.blobs.add(num=1, channels=1, height=1, width=4, diff=VALUES[:4])
    net = NetParameter(name="n", layers=[old, oldest], input=["x"], input_dim=[2, 3])
    layer = net.layer.add(name="c", type="Convolution", param=[{"lr_mult": 2}])
    layer.blobs.add(shape={"dim": SHAPE}, data=VALUES, double_diff=VALUES)
    layer.blobs.add(shape={"dim": [3]}, double_data=[1, 2, 3])
    layer.include.add(phase="TEST")
    return net


def test_a_net_without_values_keeps_everything_else():
    net = old_net()
    found = NetParameter.FromString(without_values(net.SerializeToString()))
    for layer in (*net.layer, net.layers[0], net.layers[1].layer):
        for blob in layer.blobs:
            for name in ("data", "diff", "double_data", "double_diff"):
                blob.ClearField(name)
    assert found == net


def test_of_a_file_little_more_is_read_than_what_is_no_value():
    net = net_bytes(BlobProto(shape={"dim": [10**6]}, data=[0.0] * 10**6)) * 5
    whole = Counted(net)
    assert [layer.name for layer in scan(whole)] == ["data", "conv1"] * 5
    assert whole.count < 10**6
    again = Counted(net)
    assert len(without_values(again)) < 1000
    assert again.count < 10**6


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=30), st.integers(0, 4200))
def test_a_file_is_read_as_memory_is(data, fill):
    """Also where a field lies across two of the pieces in which a file is read."""

    def found(source):
        try:
            return list(scan(source)), without_values(source)
        except SpecError as error:
            return str(error)

    for each in (net_around(data), old_net().SerializeToString() + data):
        whole = field(1, bytes(fill)) + each
        assert found(Counted(whole)) == found(whole)


def test_numbers_of_other_sizes_lie_in_plain_bytes():
    shape = field(7, field(1, bytes([3])))
    for kind, letter, dtype in (
        (0, "d", "double"),
        (1, "f", "float"),
        (2, "e", "half"),
    ):
        raw = field(12, struct.pack(f"<3{letter}", 0.5, -2, 1))
        data = net_around(shape + b"\x50" + bytes([kind]) + field(5, b"") + raw)
        (blob,) = next(scan(data)).blobs
        assert (blob.shape, blob.dtype) == ((3,), dtype)
        assert values(blob, data) == [0.5, -2, 1]
    with pytest.raises(SpecError, match=r"plain bytes \(raw_data\) has type 3"):
        list(scan(net_around(shape + b"\x50\x03" + raw)))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\x08\x01" * 50, "more than 40 fields"),
        (field(100, field(7, b"") * 11), "more than 10 arrays"),
        (net_around(field(7, field(1, bytes(33)))), "more than 32 axes"),
        (field(100, field(1, b"x" * 101)), "a name of 101 bytes"),
        (net_around(field(5, b"\0" * 4) + b"\x28\x00"), "ends within a value"),
    ],
)
def test_numbers_beyond_reason_are_refused(monkeypatch, data, said):
    monkeypatch.setattr(walk, "MAX_FIELDS", 40)
    monkeypatch.setattr(wire, "MAX_BLOBS", 10)
    monkeypatch.setattr(walk, "MAX_NAME_BYTES", 100)
    with pytest.raises(SpecError, match=said):
        list(scan(data))


def test_values_of_alternating_fields_are_joined():
    count = 40_000
    blob = unpacked(5, "f", [1.0]) + unpacked(6, "f", [2.0])
    data = net_around(blob * count)
    (layer,) = scan(data)
    assert values(layer.blobs[0], data) == [1.0] * count
