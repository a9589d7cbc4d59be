"""Weights in every format: the same arrays come back, and what is broken is told."""

from __future__ import annotations

import io
import json
import sys
import zipfile

import numpy as np
import pytest

import netspec
import runtime
from netspec import room
from netspec.errors import FileError, MachineError, SpecError, SpecWarning
from netspec.schema import TEST, NetParameter
from netspec.weights import (
    as_model,
    open_weights,
    read_weights,
    save_weights,
    stored,
)

NET = """
layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 5 } } }
layer { name: "a/b" type: "InnerProduct" bottom: "x" top: "a" param { name: "w" }
        inner_product_param { num_output: 5 weight_filler { type: "gaussian" }
                              bias_filler { type: "gaussian" } } }
layer { name: "a" type: "InnerProduct" bottom: "a" top: "b" param { name: "w" }
        inner_product_param { num_output: 5 bias_filler { type: "gaussian" } } }
layer { name: "é 0/7" type: "PReLU" bottom: "b" top: "b"
        prelu_param { channel_shared: true } }
"""
SUFFIXES = ["caffemodel", "h5", "hdf5", "caffemodel.h5", "safetensors", "npz"]
RNG = np.random.default_rng(3)


def arrays(net):
    return [blob.data.copy() for blobs in net.params.values() for blob in blobs]


def assert_same(one, other):
    for left, right in zip(arrays(one), arrays(other), strict=True):
        np.testing.assert_array_equal(left, right)


def saved(net, path):
    if "h5" in path.name or "hdf5" in path.name:
        pytest.importorskip("h5py")
        with pytest.warns(SpecWarning, match="'a/b' the first, have names with '/'"):
            net.save(path)
    else:
        net.save(path)
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_net_is_saved_and_read_in_every_format(tmp_path, suffix):
    one, other, third = (runtime.Net(NET, TEST, seed=seed) for seed in (1, 2, 3))
    path = saved(one, tmp_path / f"w.{suffix}")
    assert other.copy_from(path).copied == ("a/b", "a", "é 0/7")
    assert_same(one, other)
    model = as_model(NET, path)
    again = path.with_name(f"again.{suffix}")
    saved(model, again)
    third.copy_from(again)
    assert_same(one, third)
    given = runtime.Net(NET, TEST, str(path))
    assert_same(one, given)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_contents_tell_the_format_and_no_suffix(tmp_path, suffix):
    one, other = (runtime.Net(NET, TEST, seed=seed) for seed in (1, 2))
    path = saved(one, tmp_path / f"w.{suffix}").rename(tmp_path / "w.prototxt")
    other.copy_from(path)
    assert_same(one, other)


def test_shared_parameters_are_repeated_under_keys(tmp_path):
    net = runtime.Net(NET, TEST)
    for suffix in ("safetensors", "npz"):
        net.save(tmp_path / f"w.{suffix}")
        with open_weights(tmp_path / f"w.{suffix}") as layers:
            shapes = {each.name: [b.shape for b in each.blobs] for each in layers}
        assert shapes == {"a/b": [(5, 5), (5,)], "a": [(5, 5), (5,)], "é 0/7": [()]}


def test_the_library_of_safetensors_reads_what_is_written_and_the_other_way(tmp_path):
    library = pytest.importorskip("safetensors.numpy")
    values = RNG.normal(size=(3, 4, 5)).astype(np.float32)
    strided = {"c/0": values.transpose(2, 0, 1), "c/1": values[::2, 1], "d/0": values}
    weights = {"c": [strided["c/0"], strided["c/1"]], "d": [strided["d/0"]]}
    save_weights(tmp_path / "w.safetensors", weights)
    found = library.load_file(tmp_path / "w.safetensors")
    assert list(found) == list(strided)
    for key, array in found.items():
        np.testing.assert_array_equal(array, strided[key])
    plain = {key: np.ascontiguousarray(array) for key, array in strided.items()}
    library.save_file(plain, tmp_path / "lib.safetensors", {"who": "library"})
    again = read_weights(tmp_path / "lib.safetensors")
    assert list(again) == ["c", "d"]
    for name, held in again.items():
        for slot, array in enumerate(held):
            np.testing.assert_array_equal(array, strided[f"{name}/{slot}"])


def safetensors(tensors, data=b"", length=None, metadata=None):
    header = dict(tensors)
    if metadata is not None:
        header["__metadata__"] = metadata
    text = json.dumps(header).encode()
    size = len(text) if length is None else length
    return size.to_bytes(8, "little") + text + data


@pytest.mark.parametrize(
    ("code", "dtype"),
    [
        ("F64", "<f8"),
        ("F32", "<f4"),
        ("F16", "<f2"),
        ("I64", "<i8"),
        ("I32", "<i4"),
        ("I16", "<i2"),
        ("I8", "i1"),
        ("U64", "<u8"),
        ("U32", "<u4"),
        ("U16", "<u2"),
        ("U8", "u1"),
        ("BOOL", "u1"),
    ],
)
def test_numbers_of_every_type_are_read_as_float32(tmp_path, monkeypatch, code, dtype):
    monkeypatch.setattr(stored, "CHUNK_VALUES", 4)
    values = np.array([[1, 0, 1, 1, 0], [0, 0, 1, 0, 1]]).astype(dtype)
    said = {"dtype": code, "shape": [2, 5], "data_offsets": [0, values.nbytes]}
    (tmp_path / "w").write_bytes(safetensors({"a/0": said}, values.tobytes()))
    (found,) = read_weights(tmp_path / "w")["a"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, values)


def test_bfloat16_is_read_as_the_upper_half_of_a_float32(tmp_path):
    bits = np.array([0x3F80, 0xC040, 0x0001, 0x7F80], "<u2")
    said = {"dtype": "BF16", "shape": [4], "data_offsets": [0, 8]}
    (tmp_path / "w").write_bytes(safetensors({"a/0": said}, bits.tobytes()))
    (found,) = read_weights(tmp_path / "w")["a"]
    want = np.array([1.0, -3.0, 9.183549615799121e-41, np.inf], np.float32)
    np.testing.assert_array_equal(found, want)


F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            safetensors({"a/0": F32}, bytes(8))[:-1],
            r"array 'a/0', of shape \(2,\), does",
        ),
        (safetensors({"a/0": {**F32, "shape": [3]}}, bytes(12)), "does not lie where"),
        (safetensors({"a/0": {**F32, "data_offsets": [4, 12]}}, bytes(8)), "cut short"),
        (
            safetensors({"a/0": {**F32, "shape": [-2]}}, bytes(8)),
            "expected dtype, shape",
        ),
        (safetensors({"a/0": {**F32, "shape": [1] * 33}}, bytes(8)), "expected dtype"),
        (safetensors({"a/0": {**F32, "shape": 2}}, bytes(8)), "expected dtype, shape"),
        (safetensors({"a/0": {**F32, "shape": [True]}}, bytes(8)), "expected dtype"),
        (
            safetensors({"a/0": {**F32, "dtype": "F8_E4M3"}}, bytes(8)),
            "has type 'F8_E4",
        ),
        (safetensors({"a/0": {"shape": [2]}}, bytes(8)), "expected dtype, shape"),
        (safetensors({"a/0": 3}, bytes(8)), "expected dtype, shape and data_offsets"),
        (safetensors({}, b"", 10**9), "its header has 1,000,000,000 bytes"),
        (safetensors({"a/0": F32}, bytes(8), 7), "is no safetensors file"),
        (b"\x40\x9c\0\0\0\0\0\0" + b'{"a":' * 8000, "is no safetensors file"),
    ],
)
def test_broken_safetensors_are_told(tmp_path, content, said):
    (tmp_path / "w.safetensors").write_bytes(content)
    with pytest.raises(FileError, match=rf"w.safetensors: .*{said}"):
        read_weights(tmp_path / "w.safetensors")


def npz(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, data in members.items():
            file.writestr(name.replace("__", "/") + ".npy", data)
    return buffer.getvalue()


def npy(array, **options):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, **options)
    return buffer.getvalue()


def test_arrays_of_numpy_are_read_as_it_writes_them(tmp_path):
    values = RNG.normal(size=(3, 4, 2))
    given = {
        "c/0": values,
        "c/1": np.asfortranarray(values),
        "c/2": values.astype(">f4"),
        "d/0": np.array(7),
    }
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "w.npz", **given)
        found = read_weights(tmp_path / "w.npz")
        assert list(found) == ["c", "d"]
        assert found["d"] == [7]
        for array in found["c"]:
            np.testing.assert_array_equal(array, values.astype(np.float32))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            npz(a__0=npy(np.array([{}], object), allow_pickle=True)),
            "'a/0' holds Python objects, which are not read, as they may run code",
        ),
        (npz(a__0=npy(np.array(["x"]))), "'a/0' holds <U1 .*expected real numbers"),
        (npz(a__0=npy(np.ones(3))[:-1]), r"'a/0', of shape \(3,\), does not have 24 b"),
        (npz(a__0=npy(np.ones(3)) + b"x"), "does not have 24 bytes"),
        (npz(a__0=b"\x93NUMPY\x01\x00\x10\x00{'descr'"), "'a/0' is broken"),
        (npz(a__0=b"\x93NUMPY\x03\x00\x10\x00\x00\x00"), r"has format \(3, 0\)"),
        (npz(a__0=b"hello"), "'a/0' is broken"),
        (npz(a=b"").replace(b"a.npy", b"\0.npy"), "it holds '', which is no .npy file"),
        (npz(a=b"").replace(b"PK\1\2\x14\3\x14", b"PK\1\2\x14\3\xff"), "zip file ver"),
        (npz(a__0=npy(np.ones(3)))[:-30], "is no whole .npz file"),
        (
            npz(a__0=npy(np.ones(3))).replace(b"0.npy", b"0.txt"),
            "which is no .npy file",
        ),
        (
            npz(a__0=npy(np.zeros(3)).replace(b"(3,)", b"(3, ")),
            "'a/0' is broken: ",
        ),
    ],
)
def test_broken_npz_files_are_told(tmp_path, content, said):
    (tmp_path / "w.npz").write_bytes(content)
    with pytest.raises(FileError, match=rf"w.npz: .*{said}"):
        read_weights(tmp_path / "w.npz")


def test_damage_in_a_member_changes_nothing_in_the_net(tmp_path):
    net = runtime.Net(NET, TEST, seed=1)
    net.save(tmp_path / "w.npz")
    data = bytearray((tmp_path / "w.npz").read_bytes())
    last = arrays(net)[-2].tobytes()
    data[data.rindex(last) + 5] ^= 1
    (tmp_path / "w.npz").write_bytes(data)
    other = runtime.Net(NET, TEST, seed=2)
    before = arrays(other)
    with pytest.raises(FileError, match=r"w.npz: array 'a/1' is broken: Bad CRC"):
        other.copy_from(tmp_path / "w.npz")
    for array, kept in zip(arrays(other), before, strict=True):
        np.testing.assert_array_equal(array, kept)


@pytest.mark.parametrize("suffix", ["caffemodel", "safetensors", "npz"])
def test_what_does_not_fit_into_memory_is_refused(tmp_path, monkeypatch, suffix):
    large = np.zeros((17, 2**20), np.float32)
    save_weights(tmp_path / f"w.{suffix}", {"fc": [large]})
    monkeypatch.setattr(room, "room_bytes", lambda: 2**26)
    said = (
        rf"w.{suffix}: what it holds, .* 'fc', of shape \(17, 1048576\), needs 68.0 MiB"
    )
    with pytest.raises(MachineError, match=said):
        read_weights(tmp_path / f"w.{suffix}")


def test_names_that_a_format_cannot_store_are_refused(tmp_path):
    with pytest.raises(SpecError, match=r"layer 'a\\x00b': .npz cannot store"):
        save_weights(tmp_path / "w.npz", {"a\0b": [np.ones(2)]})
    with pytest.raises(SpecError, match=r"layer 'x{99}: .npz cannot store a name"):
        save_weights(tmp_path / "w.npz", {"x" * 65530: [np.ones(2)]})
    for suffix in ("safetensors", "caffemodel"):
        save_weights(tmp_path / f"w.{suffix}", {"a\0b": [np.ones(2)]})
        assert list(read_weights(tmp_path / f"w.{suffix}")) == ["a\0b"]


@pytest.mark.parametrize("name", ["w.prototxt", "w.onnx", "w.PTH", "w.npy"])
def test_suffixes_of_something_else_are_refused(tmp_path, name):
    with pytest.raises(
        SpecError, match=rf"{name}: .* do not hold weights here; name it"
    ):
        runtime.Net(NET, TEST).save(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_what_a_name_promises_and_is_not_there_is_told(tmp_path):
    (tmp_path / "w.safetensors").write_bytes((1 << 62).to_bytes(8, "little") + b"{}")
    with pytest.raises(FileError, match=r"no safetensors file: its header, of 4,6"):
        read_weights(tmp_path / "w.safetensors")
    (tmp_path / "w.onnx").write_bytes(b"\x08\x09\x12\x01a")
    with pytest.raises(FileError, match="w.onnx: is an ONNX file, .*as the net"):
        read_weights(tmp_path / "w.onnx")


def test_a_caffemodel_without_a_net_has_names_and_arrays(tmp_path):
    values = RNG.normal(size=(2, 3)).astype(np.float32)
    save_weights(tmp_path / "w.caffemodel", {"fc": [values, values[0]]})
    net = NetParameter.FromString((tmp_path / "w.caffemodel").read_bytes())
    assert [(layer.name, layer.type) for layer in net.layer] == [("fc", "")]
    assert list(net.layer[0].blobs[1].shape.dim) == [3]
    with pytest.raises(SpecError, match=r"no layer 'fc', .*did you mean 'fc1'\?"):
        save_weights(
            tmp_path / "w.h5", {"fc": [values]}, NetParameter(layer=[{"name": "fc1"}])
        )
    with pytest.raises(SpecError, match="layer 'fc' .*leaves an array to a layer that"):
        save_weights(tmp_path / "w.caffemodel", {"fc": [None, values]})


def test_two_layers_of_one_name_stand_in_a_caffemodel_only(tmp_path):
    layer = 'layer {{ name: "s" type: "Scale" bottom: "x" top: "{}" }}'
    net = runtime.Net(NET.replace("a/b", "c") + "".join(map(layer.format, "st")), TEST)
    net.save(tmp_path / "w.caffemodel")
    for suffix, said in (("safetensors", "two layers are called 's'"), ("npz", "two")):
        with pytest.raises(SpecError, match=said):
            net.save(tmp_path / f"w.{suffix}")
    pytest.importorskip("h5py")
    with pytest.raises(SpecError, match=r"layer 's' \(Scale\).*another layer has this"):
        net.save(tmp_path / "w.h5")


def test_a_model_writes_the_layers_of_its_net_only(tmp_path):
    model = as_model(NET, {"gone": [np.ones(3)], "a": [np.ones((5, 5)), np.ones(5)]})
    model.save(tmp_path / "w.npz")
    assert list(read_weights(tmp_path / "w.npz")) == ["a"]


def test_files_of_weights_alone_are_no_nets(tmp_path):
    for suffix in ("safetensors", "npz"):
        path = tmp_path / f"w.{suffix}"
        save_weights(path, {"fc": [np.ones(2)]})
        with pytest.raises(
            FileError, match=rf"w.{suffix}: holds arrays and no net; give"
        ):
            as_model(path)
        with pytest.raises(FileError, match="holds arrays and no net"):
            runtime.Net(str(path))


FP16 = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: [1, 3, 6, 5] } } }
layer { name: "c" type: "Convolution" bottom: "x" top: "c" convolution_param {
  num_output: 4 kernel_size: 3 weight_filler { type: "xavier" }
  bias_filler { type: "gaussian" } } }
"""


def test_the_form_of_opencv_with_16_bits_is_read(tmp_path):
    cv2 = pytest.importorskip("cv2")
    net, other = runtime.Net(FP16, seed=1), runtime.Net(FP16, seed=2)
    net.save(tmp_path / "w.caffemodel")
    small = str(tmp_path / "half.caffemodel")
    cv2.dnn.shrinkCaffeModel(str(tmp_path / "w.caffemodel"), small)
    other.copy_from(small)
    for half, array in zip(arrays(other), arrays(net), strict=True):
        np.testing.assert_array_equal(half, array.astype(np.float16))
    np.testing.assert_array_equal(as_model(small).weights["c"][0], arrays(other)[0])
    assert_same(runtime.Net(small), other)
    with pytest.warns(SpecWarning, match=r"half.caffemodel: has arrays as plain bytes"):
        spec = netspec.load(small)
    assert not any(blob.data for layer in spec.to_proto().layer for blob in layer.blobs)


def test_what_pytorch_saved_is_read_by_it_or_named(tmp_path, monkeypatch):
    path = tmp_path / "w.pth"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", b"")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MachineError, match=r"w.pth: was saved by PyTorch, .* .npz"):
        read_weights(path)


def test_keys_of_their_own_are_arrays_of_layers_of_that_name(tmp_path):
    keys = ["conv1.weight", "conv1.bias", "fc/1", "fc/01", "fc/1000", "n", "3"]
    np.savez(tmp_path / "w.npz", **{key: np.ones(2) for key in keys})
    with open_weights(tmp_path / "w.npz") as layers:
        found = {each.name: [b is not None for b in each.blobs] for each in layers}
    names = ["conv1.weight", "conv1.bias", "fc", "fc/01", "fc/1000", "n", "3"]
    assert found == {name: [True] for name in names} | {"fc": [False, True]}
