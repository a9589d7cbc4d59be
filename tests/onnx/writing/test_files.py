"""Models on disk: whole or not at all, and values beside them."""

import subprocess
import sys

import numpy as np
import pytest

import netspec
from netspec.errors import FileError, SpecError
from netspec.export import main
from netspec.graph import build
from netspec.nets.state import State
from netspec.onnx.writing import saving
from netspec.schema import TEST
from netspec.text import as_net, to_text
from netspec.weights import Model
from tests.onnx.writing.running import (
    check_equal,
    in_onnx,
    in_runtime,
    inputs_of,
    onnx,
    run,
    weights_of,
)

TEXT = """
name: "small"
layer { name: "in" type: "Input" top: "x"
        input_param { shape { dim: 2 dim: 3 dim: 6 dim: 7 } } }
layer { name: "conv" type: "Convolution" bottom: "x" top: "c"
        convolution_param { num_output: 16 kernel_size: 3 } }
layer { name: "end" type: "InnerProduct" bottom: "c" top: "y"
        inner_product_param { num_output: 9 transpose: true } }
"""
TRAINED = """
layer { name: "data" type: "DummyData" top: "data" top: "label"
        dummy_data_param { shape { dim: 2 dim: 3 } shape { dim: 2 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
        inner_product_param { num_output: 4 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "l" }
"""
MODEL = """
from netspec import NetSpec
from netspec import layers as L


def net(batch_size=3):
    n = NetSpec("py")
    n.x = L.Input(shape=[batch_size, 5])
    n.ip = L.InnerProduct(n.x, num_output=4)
    return n
"""


class Small:
    """A net, its values, an input and what comes out."""

    def __init__(self):
        self.net = as_net(TEXT)
        graph = build(self.net, State(TEST))
        self.weights, self.x = weights_of(graph), inputs_of(graph)
        self.y = in_runtime(self.net, self.weights, self.x)


@pytest.fixture(scope="module")
def small():
    return Small()


def test_what_is_written_is_what_is_returned(tmp_path, small):
    path = tmp_path / "net.onnx"
    model = netspec.to_onnx(small.net, small.weights, path=path)
    assert onnx.load(str(path)) == model
    assert path.stat().st_size == model.ByteSize()
    assert [each.name for each in tmp_path.iterdir()] == ["net.onnx"]
    check_equal(run(str(path), small.x), small.y)


@pytest.mark.parametrize("large", [True, False])
def test_values_lie_beside_a_large_model(tmp_path, small, monkeypatch, large):
    path = tmp_path / "net.onnx"
    if large:  # as if one message held a few bytes only
        monkeypatch.setattr(saving, "LARGEST_MESSAGE", saving.RESERVED + 100)
    netspec.to_onnx(
        small.net, small.weights, path=path, external_data=None if large else True
    )
    assert {each.name for each in tmp_path.iterdir()} == {"net.onnx", "net.onnx.data"}
    values = sum(each.nbytes for held in small.weights.values() for each in held)
    assert path.stat().st_size < values
    onnx.checker.check_model(str(path), full_check=True)
    check_equal(run(str(path), small.x), small.y)
    whole = onnx.load(str(path))
    wanted = {"conv_w": small.weights["conv"][0], "end_w": small.weights["end"][0]}
    for tensor in whole.graph.initializer:
        if tensor.name in wanted:
            found = onnx.numpy_helper.to_array(tensor)
            np.testing.assert_array_equal(found, wanted.pop(tensor.name))
    assert not wanted
    # Written once more, the file of values does not grow.
    size = (tmp_path / "net.onnx.data").stat().st_size
    netspec.to_onnx(small.net, small.weights, path=path, external_data=True)
    assert (tmp_path / "net.onnx.data").stat().st_size == size


def test_values_of_a_file_of_their_own_begin_at_pages(tmp_path, small):
    path = tmp_path / "net.onnx"
    model = netspec.to_onnx(small.net, small.weights, path=path, external_data=True)
    starts = [
        int(entry.value)
        for tensor in model.graph.initializer
        for entry in tensor.external_data
        if entry.key == "offset"
    ]
    assert starts == [0, 4096]


def test_a_large_model_needs_a_path(small, monkeypatch):
    monkeypatch.setattr(saving, "LARGEST_MESSAGE", saving.RESERVED + 100)
    with pytest.raises(SpecError, match="give the path of a file"):
        netspec.to_onnx(small.net, small.weights)
    with pytest.raises(SpecError, match="one message holds less than 2 GiB"):
        netspec.to_onnx(small.net, small.weights, external_data=False)


def test_a_folder_that_is_not_there_is_an_error_of_ours(tmp_path, small):
    with pytest.raises(FileError, match="net.onnx: cannot be written"):
        netspec.to_onnx(small.net, small.weights, path=tmp_path / "no" / "net.onnx")


@pytest.fixture
def files(tmp_path, small):
    """The net as prototxt, and with its values as caffemodel."""
    (tmp_path / "net.prototxt").write_text(to_text(small.net))
    Model(small.net, small.weights).save(tmp_path / "net.caffemodel")
    return tmp_path


def test_the_command_writes_onnx(files, small):
    net, weights, out = (
        str(files / name) for name in ("net.prototxt", "net.caffemodel", "net.onnx")
    )
    assert main([net, "--weights", weights, "-o", out, "--opset", "19"]) == 0
    assert onnx.load(out).opset_import[0].version == 19
    check_equal(run(out, small.x), small.y)


def test_the_command_takes_the_values_of_a_caffemodel(files, small):
    out = str(files / "net.ONNX")
    assert main([str(files / "net.caffemodel"), "-o", out]) == 0
    check_equal(run(out, small.x), small.y)


@pytest.mark.parametrize(("batch", "size"), [("dynamic", "batch"), ("7", 7)])
def test_the_command_takes_a_batch(files, batch, size):
    out = str(files / "net.onnx")
    options = ["-o", out, "--batch", batch, "--external-data"]
    assert main([str(files / "net.caffemodel"), *options]) == 0
    dim = onnx.load(out).graph.input[0].type.tensor_type.shape.dim[0]
    assert size in (dim.dim_param, dim.dim_value)
    assert (files / "net.onnx.data").is_file()


def test_the_command_takes_a_model_file_and_derives_nets_for_use(tmp_path):
    (tmp_path / "net.py").write_text(MODEL)
    (tmp_path / "train.prototxt").write_text(TRAINED)
    values = {"ip": [np.ones((4, 5)), np.ones(4)]}
    Model(as_net('layer { name: "ip" type: "InnerProduct" }'), values).save(
        tmp_path / "py.caffemodel"
    )
    values = {"ip": [np.ones((4, 3)), np.ones(4)]}
    Model(as_net('layer { name: "ip" type: "InnerProduct" }'), values).save(
        tmp_path / "train.caffemodel"
    )
    for name, given in (("net.py", "py"), ("train.prototxt", "train")):
        weights = str(tmp_path / f"{given}.caffemodel")
        options = ["--deploy"] * (given == "train") + ["--batch-size", "6"]
        out = str(tmp_path / f"{given}.onnx")
        arguments = [str(tmp_path / name), *options, "--weights", weights, "-o", out]
        assert main(arguments) == 0
        model = onnx.load(out)
        assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 6
    assert [node.op_type for node in model.graph.node] == ["Gemm", "Softmax"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-o", "a.prototxt", "--opset", "17"], "--opset can only be given with"),
        (["--batch", "2", "--external-data"], "--batch and --external-data can only"),
        (["-o", "a.onnx", "--batch", "0"], "expected a number of at least 1"),
        (["-o", "a.onnx", "--batch", "x"], "expected a number of at least 1"),
        (["-o", "a.onnx", "--phase", "TRAIN"], "an ONNX file has the TEST phase"),
        (["-o", "a.onnx", "--for", "opencv"], "no ONNX"),
        (["-o", "a.prototxt", "--weights", "w"], "or with -o FILE.onnx"),
    ],
)
def test_options_that_do_not_go_together(files, capsys, arguments, said):
    with pytest.raises(SystemExit):
        main([str(files / "net.prototxt"), *arguments])
    assert said in capsys.readouterr().err


def test_a_net_without_values_is_refused_and_nothing_written(files, capsys):
    out = files / "net.onnx"
    assert main([str(files / "net.prototxt"), "-o", str(out)]) == 1
    assert "--weights net.caffemodel" in capsys.readouterr().err
    assert not out.exists()


def test_the_export_of_a_net_for_training_does_not_wait_for_numpy(tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_text(
        'layer { name: "d" type: "Data" top: "x" data_param { source: "s" batch_size: 2'
        ' } } layer { name: "r" type: "ReLU" bottom: "x" top: "y" }'
    )
    code = (
        "import sys; from netspec.export import main; "
        f"main([{str(path)!r}, '-o', {str(tmp_path / 'o.prototxt')!r}]);"
        " sys.exit('numpy' in sys.modules or 'onnx' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_model_needs_no_file(small):
    check_equal(
        in_onnx(netspec.to_onnx(Model(small.net, small.weights)), small.x), small.y
    )
