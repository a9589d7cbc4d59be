"""Files of 2 GiB and more, which no message holds."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import netspec
import runtime
from netspec import export
from netspec.draw import draw
from netspec.errors import FileError, SpecWarning
from netspec.files import FileBytes
from netspec.schema import TEST, NetParameter
from netspec.summary import summarize
from netspec.text import messages, read_net, to_text
from netspec.weights import as_model, writing

NET = """
name: "large"
layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 5 } } }
layer { name: "fc" type: "InnerProduct" bottom: "x" top: "y"
        inner_product_param { num_output: 3 weight_filler { type: "gaussian" } } }
layer { name: "act" type: "PReLU" bottom: "y" top: "y" }
"""
HOLE_BYTES = (1 << 32) + 12  # of gradients, which nobody reads


def varint(number):
    encoded = b""
    while number > 127:
        encoded += bytes([number & 127 | 128])
        number >>= 7
    return encoded + bytes([number])


def around(field, inner, more):
    """A field around bytes, of which `more` follow later."""
    return varint(field << 3 | 2) + varint(len(inner) + more) + inner


@pytest.fixture(scope="module")
def net():
    return runtime.Net(NET, TEST, seed=7)


def large_file(path, net, hole):
    """Write the file: the layer `fc` with its hole, between the others."""
    net.save(path)
    message = NetParameter.FromString(path.read_bytes())
    with path.open("wb") as file:
        file.write(NetParameter(name=message.name).SerializeToString())
        for layer in message.layer:
            if layer.name != "fc":
                file.write(around(100, layer.SerializeToString(), 0))
                continue
            weights, bias = (blob.SerializeToString() for blob in layer.blobs)
            del layer.blobs[:]
            start = weights + varint(6 << 3 | 2) + varint(hole)
            end = around(7, bias, 0)
            head = layer.SerializeToString() + around(7, start, hole)
            file.write(around(100, head, hole + len(end)))
            file.seek(hole, 1)
            file.write(end)
    return path


def arrays(net):
    return [blob.data.copy() for blobs in net.params.values() for blob in blobs]


def assert_same(one, other):
    for left, right in zip(arrays(one), arrays(other), strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.fixture(params=[pytest.param(HOLE_BYTES, marks=pytest.mark.slow), 40_000])
def path(request, net, tmp_path, monkeypatch):
    if request.param < 2**31:
        monkeypatch.setattr(messages, "MESSAGE_BYTES", request.param)
    return large_file(tmp_path / "x.caffemodel", net, request.param)


def test_the_net_of_a_large_file_is_read_without_its_values(path, capsys):
    assert "fc " in str(summarize(str(path)))
    assert read_net(path, values=False).name == "large"
    out = path.with_name("x.prototxt")
    assert export.main([str(path), "-o", str(out)]) == 0
    assert "read without the values" not in capsys.readouterr().err
    assert 'name: "fc"' in out.read_text()
    assert "<svg" in draw(str(path))


def test_who_wants_values_is_told_that_the_net_has_none(path):
    said = r"x.caffemodel: has .* bytes, a message holds less than 2 GiB, so .*without"
    with pytest.warns(SpecWarning, match=said):
        spec = netspec.load(str(path))
    assert not any(len(blob.data) for x in spec.to_proto().layer for blob in x.blobs)


def test_the_values_of_a_large_file_are_read_past_protobuf(path, net):
    model = as_model(path)
    for name, blobs in net.params.items():
        for array, blob in zip(model.weights[name], blobs, strict=True):
            np.testing.assert_array_equal(array, blob.data)
    assert not any(layer.blobs for layer in model.net.layer)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_same(runtime.Net(str(path), TEST, seed=1), net)
        assert_same(runtime.Net(path, TEST, path, seed=1), net)
        assert_same(runtime.Net(NET, TEST, path, seed=1), net)


def test_a_large_file_that_is_cut_short_is_refused(path, net):
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 40)
    other = runtime.Net(NET, TEST, seed=1)
    before = arrays(other)
    with pytest.raises(FileError, match=r"x.caffemodel: .* or cut short"):
        other.copy_from(path)
    with pytest.raises(FileError, match=r"x.caffemodel: is not a .* cut short"):
        summarize(str(path))
    for array, kept in zip(arrays(other), before, strict=True):
        np.testing.assert_array_equal(array, kept)


def test_a_file_that_shrinks_while_it_is_read_is_refused(tmp_path):
    (tmp_path / "w").write_bytes(bytes(100))
    with FileBytes(tmp_path / "w") as data:
        (tmp_path / "w").write_bytes(bytes(50))
        assert data.read(10, 40) == bytes(40)
        with pytest.raises(FileError, match="w: was cut short while it was read; copy"):
            data.read(10, 41)


def test_who_cannot_read_a_large_caffemodel_is_said_when_it_is_written(
    tmp_path, monkeypatch, net
):
    monkeypatch.setattr(writing, "MESSAGE_BYTES", 84)  # of 21 values
    said = r"w.caffemodel: the parameters have 84 bytes; Caffe, OpenCV and all others"
    given = {name: [blob.data for blob in x] for name, x in net.params.items()}
    model = as_model(NET, given)
    for each in (net, model):
        with pytest.warns(SpecWarning, match=said) as seen:
            each.save(tmp_path / "w.caffemodel")
        assert len(seen) == 1
        each.save(tmp_path / "w.safetensors")
    monkeypatch.setattr(writing, "MESSAGE_BYTES", 85)
    net.save(tmp_path / "w.caffemodel")
    assert (
        to_text(read_net(tmp_path / "w.caffemodel", values=False)).count("blobs") == 3
    )


def test_the_net_of_a_caffemodel_as_text_takes_its_weights_again(tmp_path, net):
    net.save(tmp_path / "w.caffemodel")
    out = tmp_path / "net.prototxt"
    assert export.main([str(tmp_path / "w.caffemodel"), "-o", str(out)]) == 0
    assert "blobs" not in out.read_text()
    assert_same(runtime.Net(out, TEST, tmp_path / "w.caffemodel", seed=1), net)


def test_values_that_are_apart_go_on_to_other_formats_or_are_refused(path, capsys):
    out = path.with_name("out.caffemodel")
    assert export.main([str(path), "-o", str(out)]) == 1
    said = f"write it with python -m netspec.weights {path} {out}"
    assert said in capsys.readouterr().err
    pytest.importorskip("onnx")
    onnx = path.with_name("out.onnx")
    assert export.main([str(path), "-o", str(onnx)]) == 0
    again = netspec.load(str(onnx)).to_proto()
    assert sum(len(blob.data) for layer in again.layer for blob in layer.blobs) == 21
