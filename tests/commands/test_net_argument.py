"""The net that an argument of a command names, and `--shape`."""

import pytest

from netspec.commands.cli import Parser
from netspec.commands.net_argument import (
    add_net_argument,
    add_shape_option,
    read_net_argument,
)
from netspec.errors import FileError, ShapeError
from netspec.text import write_message
from tests.example_nets import DATA, fc, net

MODEL = """
from netspec import NetSpec, layers as L

def net():
    n = NetSpec("trained")
    n.data, n.label = L.HDF5Data(source="list.txt", batch_size=4, ntop=2)
    n.fc = L.InnerProduct(n.data, num_output=3)
    n.loss = L.SoftmaxWithLoss(n.fc, n.label)
    return n
"""


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.py"
    path.write_text(MODEL)
    return str(path)


def types(message):
    return [layer.type for layer in message.layer]


def test_a_file_is_read_as_it_stands_without_its_values(tmp_path):
    message = net(DATA + fc("a", "data", "a", 5))
    message.layer[1].blobs.add(data=[1, 2, 3]).shape.dim.append(3)
    path = tmp_path / "net.caffemodel"
    write_message(path, message)
    found = read_net_argument(str(path))
    assert types(found) == ["Input", "InnerProduct"]
    assert list(found.layer[1].blobs[0].shape.dim) == [3]
    assert not found.layer[1].blobs[0].data
    old = tmp_path / "old.prototxt"
    old.write_text('layers { name: "r" type: RELU bottom: "x" top: "x" }')
    assert len(read_net_argument(str(old)).layers) == 1


def test_a_model_file_gives_its_net_or_the_one_for_use(model):
    assert types(read_net_argument(model))[0] == "HDF5Data"
    assert types(read_net_argument(model))[-1] == "SoftmaxWithLoss"
    with pytest.raises(ShapeError, match="--shape data="):
        read_net_argument(model, deploy=True)
    found = read_net_argument(model, deploy=True, shapes={"data": (7, 5)})
    assert types(found) == ["Input", "InnerProduct", "Softmax"]
    assert list(found.layer[0].input_param.shape[0].dim) == [7, 5]


def test_the_net_for_use_of_a_prototxt_is_derived(model, tmp_path):
    path = str(tmp_path / "train_val.prototxt")
    write_message(path, read_net_argument(model))
    with pytest.raises(ShapeError, match="--shape data="):
        read_net_argument(path, deploy=True)
    found = read_net_argument(path, deploy=True, shapes={"data": (7, 5)})
    assert types(found) == ["Input", "InnerProduct", "Softmax"]
    assert list(found.layer[0].input_param.shape[0].dim) == [7, 5]
    with pytest.raises(FileError, match="missing.prototxt: cannot be read"):
        read_net_argument(str(tmp_path / "missing.prototxt"), deploy=True)


def test_shapes_are_named_and_may_be_repeated(capsys):
    parser = Parser(prog="x")
    add_net_argument(parser, metavar="FILE")
    add_shape_option(parser, only="sometimes: ")
    options = parser.parse_args(["n", "--shape", "data=1,3,8,9", "--shape", "label=4"])
    assert options.net == "n"
    assert dict(options.shape) == {"data": (1, 3, 8, 9), "label": (4,)}
    assert parser.parse_args(["n"]).shape == []
    with pytest.raises(SystemExit):
        parser.parse_args(["n", "--shape", "data"])
    assert "as in data=1,3,224,224; got 'data'" in capsys.readouterr().err
    assert "sometimes: shape of the top" in parser.format_help().replace("\n", " ")
