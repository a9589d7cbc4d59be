"""`python -m netspec.surgery`: operations in a row, from files to files."""

import re
from pathlib import Path

import numpy as np
import pytest

import runtime
from netspec.surgery.__main__ import OPERATIONS, main
from netspec.text import to_text
from netspec.weights import as_model
from tests.example_nets import fc, layer, names
from tests.surgery.common import outputs, random_model

ROOT = Path(__file__).resolve().parents[2]
NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape {
  dim: 2 dim: 3 dim: 9 dim: 8 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "x"
  convolution_param { num_output: 4 kernel_size: 3 stride: 2 bias_term: false } }
"""
NET += layer("bn", "BatchNorm", "x", "x") + layer("relu", "ReLU", "x", "x")
NET += fc("ip", "x", "ip", 5, "") + layer("prob", "Softmax", "ip", "prob")


@pytest.fixture
def files(tmp_path):
    """A net and its values as files, and the model."""
    model = random_model(NET)
    (tmp_path / "net.prototxt").write_text(to_text(model.net))
    model.save(tmp_path / "w.caffemodel")
    return model, [str(tmp_path / "net.prototxt"), str(tmp_path / "w.caffemodel")]


def operate(files, tmp_path, words):
    given = files[1] if isinstance(files, tuple) else files
    status = main([*given, *words.split(), "-o", str(tmp_path / "out")])
    assert status == 0
    return as_model(tmp_path / "out.prototxt", tmp_path / "out.caffemodel")


def test_operations_in_a_row(files, tmp_path, capsys):
    words = "fold cast resize 11x12 batch_size=1 rename ip=fc channels 1 how=mean"
    result = operate(files, tmp_path, words)
    assert names(result.net) == ["data", "conv", "relu", "fc", "prob"]
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "fold: 1 layer folded, 0 left",
        "  bn -> conv",
        "cast: ip",
        "resize: 11x12 batch_size=1",
        "rename: 1 names",
        "channels: 1 channels, mean",
        f"{tmp_path}/out.prototxt",
        f"{tmp_path}/out.caffemodel",
    ]
    gray = np.random.default_rng(2).normal(size=(1, 1, 11, 12))
    got = runtime.Net(result).forward(data=gray)["prob"].copy()
    assert got.shape == (1, 5, 2, 3)
    net = runtime.Net(files[0])
    colour = gray[:, :, :9, :8].repeat(3, 1).repeat(2, 0)
    wanted = net.forward(data=colour)["prob"][0]
    np.testing.assert_allclose(got[0, :, 0, 0], wanted, 1e-4)


def test_named_layers_and_shapes(files, tmp_path):
    result = operate(files, tmp_path, "cast ip resize data=1,3,9,10")
    assert outputs(result)["prob"].shape == (1, 5, 1, 2)


def test_parts_and_prepared_images(files, tmp_path, capsys):
    result = operate(files, tmp_path, "transform mean=10,20,30 scale=0.5 extract end=x")
    assert names(result.net) == ["data", "conv", "bn", "relu"]
    said = capsys.readouterr().out
    assert "data_transform -> conv" in said
    assert "extract: 4 layers" in said
    raw = np.random.default_rng(2).normal(size=(2, 3, 9, 8)) * 50
    image = (raw - np.reshape([10, 20, 30], (3, 1, 1))) / 2
    wanted = runtime.Net(files[0]).forward(["x"], data=image)["x"]
    got = runtime.Net(result).forward(data=raw)["x"]
    np.testing.assert_allclose(got, wanted, 1e-4, 1e-4)
    part = operate(files, tmp_path, "extract start=bn end=prob")
    assert names(part.net) == ["x", "bn", "relu", "ip", "prob"]


def test_a_new_classifier_is_written_without_values(files, tmp_path, capsys):
    words = "replace 7 layer=ip name=mine weight_filler=xavier"
    result = operate(files, tmp_path, words)
    assert list(result.weights) == ["conv", "bn"]
    assert "replace: mine, without values" in capsys.readouterr().out


def test_a_net_with_values_needs_no_weights(files, tmp_path, capsys):
    result = operate(files[1][1:], tmp_path, "fold")
    assert names(result.net) == ["data", "conv", "relu", "ip", "prob"]
    assert main([files[1][0], "rename", "ip=fc", "-o", str(tmp_path / "text")]) == 0
    assert "no values, so no caffemodel" in capsys.readouterr().out
    assert not (tmp_path / "text.caffemodel").exists()


def test_models_and_nets_for_use(tmp_path, capsys):
    given = [str(ROOT / "models/lenet.py"), "--deploy", "cast", "-o"]
    assert main([*given, str(tmp_path / "lenet")]) == 0
    assert "cast: ip1, ip2" in capsys.readouterr().out
    net = tmp_path / "train.prototxt"
    more = 'layer { name: "l" type: "Data" top: "l" data_param { source: "x" } }'
    loss = layer("loss", "SoftmaxWithLoss", "ip l", "loss")
    net.write_text(NET.replace(layer("prob", "Softmax", "ip", "prob"), more + loss))
    given = [str(net), "--deploy", "rename", "ip=fc", "-o", str(tmp_path / "deploy")]
    assert main(given) == 0
    assert names(as_model(tmp_path / "deploy.prototxt").net)[-2:] == ["fc", "prob"]


def test_warnings_are_lines(files, tmp_path, capsys):
    operate(files, tmp_path, "replace 7")
    assert re.search(
        r"^warning: layer 'ip' .* has no weight_filler", capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("flod", "no operation is given: one of rename, cast, "),
        (
            "X.prototxt flod",
            r"'flod' is no operation; did you mean 'fold'\? \(one",
        ),
        ("fold here", "fold: 'here' is not expected here"),
        ("fold a=b", r"fold: a= is not known \(one of none"),
        ("rename ip", "rename: 'ip' is not expected here"),
        ("rename", "rename: expected OLD=NEW, once or more; got none"),
        ("rename ip=a ip=b", "rename: a word before = is given twice"),
        (
            "rename ipp=a",
            "rename: the net has no layer or blob 'ipp'; did you",
        ),
        ("replace", "replace: expected one number, of outputs; got none"),
        ("replace 3 4", "got 3 4"),
        (
            "replace 3 leyer=x",
            r"leyer= is not known; did you mean 'layer'\? \(one of layer=",
        ),
        ("resize 3xx", "resize: expected a size, as in 320 or 240x320; got '3xx'"),
        ("resize data=3,x", "expected sizes, as in data=1,3,224,224; got '3,x'"),
        ("resize batch_size=x", "expected one number, batch_size; got x"),
        ("resize 17", r"resize: layer 'ip' .* cast it to a convolution first"),
        ("channels x", "channels: expected one number, of channels; got x"),
        ("transform", "transform: expected mean=, scale= or both"),
        ("transform mean=1,b", "expected numbers, as in 104,117,123; got '1,b'"),
        ("extract", "extract: expected end=, the name"),
        ("cast a=b", "cast: a= is not known"),
    ],
)
def test_what_is_wrong_is_one_line(files, tmp_path, capsys, words, reason):
    given = files[1][:1] if words.startswith(("flod", "X")) else files[1]
    assert main([*given, *words.split(), "-o", str(tmp_path / "out")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(rf"^error: .*{reason}", line), line
    assert not list(tmp_path.glob("out*"))


def test_weights_of_another_net_are_named(files, tmp_path, capsys):
    model, (net, weights) = files
    as_model(model.net, {"ip": model.weights["ip"]}).save(weights)
    operate(files, tmp_path, "rename relu=r")
    assert (
        f"warning: {weights} has no values for 'conv', 'bn'" in capsys.readouterr().err
    )
    other = [weights.replace("w.", "other."), net]
    renamed = random_model(NET.replace('"ip"', '"i"').replace('"conv"', '"c"'))
    renamed.weights.pop("bn")
    renamed.save(other[0])
    assert main([net, other[0], "fold", "-o", str(tmp_path / "out2")]) == 1
    assert "no values for any layer of the net" in capsys.readouterr().err


def test_what_is_read_is_never_written_over(files, tmp_path, capsys):
    for out in ("net", "w"):
        assert main([*files[1], "fold", "-o", str(tmp_path / out)]) == 1
        assert "is what is read; it stays as it is" in capsys.readouterr().err


def test_every_operation_is_in_the_help(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    said = capsys.readouterr().out
    import netspec.surgery.__main__ as module

    for name in OPERATIONS:
        assert name in said
        assert f"\n    {name}" in module.__doc__
