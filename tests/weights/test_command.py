"""`python -m netspec.weights`: from one format to another."""

from __future__ import annotations

import re

import numpy as np
import pytest

import runtime
from netspec.schema import TEST
from netspec.text import read_net, write_message
from netspec.weights import read_weights
from netspec.weights.__main__ import main

NET = """
layer { name: "in" type: "Input" top: "x" input_param { shape { dim: [2, 5] } } }
layer { name: "enc" type: "InnerProduct" bottom: "x" top: "a" param { name: "w" }
        inner_product_param { num_output: 3 weight_filler { type: "gaussian" } } }
layer { name: "dec" type: "InnerProduct" bottom: "a" top: "b" param { name: "w" }
        inner_product_param { num_output: 5 transpose: true } }
"""


@pytest.fixture
def net(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.prototxt").write_text(NET)
    net = runtime.Net(NET, TEST, seed=4)
    net.save("w.caffemodel")
    return net


def same(net, path):
    other = runtime.Net(NET, TEST, str(path), seed=9)
    return all(
        np.array_equal(one.data, two.data)
        for name in net.params
        for one, two in zip(net.params[name], other.params[name], strict=True)
    )


@pytest.mark.parametrize("suffix", ["caffemodel", "h5", "safetensors", "npz"])
def test_any_format_becomes_any_other(net, capsys, suffix):
    if suffix == "h5":
        pytest.importorskip("h5py")
    assert main(["w.caffemodel", f"one.{suffix}"]) == 0
    assert f"one.{suffix}: 2 layers, 4 arrays, 38 values\n" in capsys.readouterr().out
    assert main([f"one.{suffix}", "two.caffemodel"]) == 0
    assert main([f"one.{suffix}", "three.caffemodel", "--net", "net.prototxt"]) == 0
    for path in (f"one.{suffix}", "two.caffemodel", "three.caffemodel"):
        assert same(net, path)
    types = [layer.type for layer in read_net("three.caffemodel").layer]
    assert types == ["Input", "InnerProduct", "InnerProduct"]


def test_a_caffemodel_keeps_its_net(net):
    assert main(["w.caffemodel", "out.caffemodel"]) == 0
    assert same(net, "out.caffemodel")
    assert len(read_net("out.caffemodel").layer) == 3


def test_shared_arrays_that_a_file_leaves_out_are_filled_in_by_the_net(net, capsys):
    pytest.importorskip("h5py")
    net.save("w.h5")
    assert main(["w.h5", "out.caffemodel"]) == 1
    error = capsys.readouterr().err
    assert "error: layer 'dec' () leaves an array to a layer that shares it" in error
    assert "so does --net of the command" in error
    assert main(["w.h5", "out.caffemodel", "--net", "net.prototxt"]) == 0
    assert same(net, "out.caffemodel")
    assert len(read_weights("out.caffemodel")["dec"]) == 2


def test_layers_get_other_names(net, capsys):
    renamed = ["--rename", "enc=a/b", "--rename", "dec=c"]
    assert main(["w.caffemodel", "out.npz", *renamed]) == 0
    assert list(read_weights("out.npz")) == ["a/b", "c"]
    assert main(["w.caffemodel", "out.npz", "--rename", "encc=a"]) == 1
    assert "gives 'encc' another name" in capsys.readouterr().err


def test_arrays_of_layers_that_the_net_does_not_have_are_told(net, capsys):
    more = NET[NET.index('layer { name: "dec"') :].replace('"dec"', '"more"')
    runtime.Net(NET + more.replace('top: "b"', 'top: "c"'), TEST).save("big.npz")
    assert main(["big.npz", "out.npz", "--net", "net.prototxt"]) == 0
    assert "not in net.prototxt: more\n" in capsys.readouterr().out
    assert list(read_weights("out.npz")) == ["enc", "dec"]


def old_file(net, path):
    """Write the arrays of a net with four axes, as all files were before."""
    message = read_net("w.caffemodel")
    for layer in message.layer:
        for blob in layer.blobs:
            dims = [1] * (4 - len(blob.shape.dim)) + list(blob.shape.dim)
            blob.num, blob.channels, blob.height, blob.width = dims
            blob.ClearField("shape")
    write_message(path, message)


def test_arrays_of_old_files_get_the_shapes_of_their_layers(net, capsys):
    old_file(net, "old.caffemodel")
    for out in ("new.caffemodel", "new.npz"):
        assert main(["old.caffemodel", out]) == 0
        assert [each.shape for each in read_weights(out)["enc"]] == [(3, 5), (3,)]
        assert same(net, out)
    assert capsys.readouterr().err == ""
    assert main(["old.caffemodel", "new.npz", "--rename", "enc=other"]) == 0
    said = "warning: old.caffemodel: an old file, .* as those of layer 'other' still"
    assert re.search(said, capsys.readouterr().err)
    assert read_weights("new.npz")["other"][1].shape == (1, 1, 1, 3)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["w.caffemodel", "out.npz", "--deploy"], "--deploy is for a net; give it"),
        (["w.caffemodel", "out.npz", "--pixels"], "--pixels changes a net of --names"),
        (["lost.npz", "out.npz"], "lost.npz: cannot be read"),
        (
            ["net.prototxt", "o.npz"],
            "net.prototxt: is no weight file: it is text; give",
        ),
        (["w.caffemodel", "out.onnx"], "out.onnx: .onnx files do not hold weights"),
        (
            ["w.caffemodel", "o.npz", "--names", "torchvision-vgg", "--rename", "a=b"],
            "--names and --rename are both given",
        ),
        (
            ["w.caffemodel", "out.npz", "--names", "torchvision-resnet"],
            "w.caffemodel: has 'enc', so it is no state dict",
        ),
    ],
)
def test_bad_arguments_are_one_line(net, capsys, arguments, said):
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
