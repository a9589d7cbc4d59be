"""Nets to ONNX and back: the same outputs, and the same number of parameters."""

from pathlib import Path

import pytest

import netspec
from netspec.commands.model_files import load_model
from netspec.graph import build
from netspec.nets.state import State
from netspec.schema import TEST
from tests.onnx.writing.running import check_equal, in_runtime, inputs_of, weights_of

MODELS = Path(__file__).resolve().parents[2] / "models"
NAMES = ("cifar10_full", "cifar10_local", "lenet", "mnist_autoencoder_tied", "resnet18")


@pytest.mark.parametrize("name", NAMES)
def test_a_model_that_is_written_and_read_is_equal(tmp_path, name):
    net = load_model(MODELS / f"{name}.py", deploy=True, batch_size=2)
    if net.layer[-1].type == "Softmax":
        del net.layer[-1]  # probabilities of random nets are 0 and 1
    graph = build(net, State(TEST))
    weights, x = weights_of(graph), inputs_of(graph)
    path = tmp_path / "net.onnx"
    netspec.to_onnx(net, weights, path=path)
    read = netspec.from_onnx(path)
    check_equal(in_runtime(read.net, read.weights, x), in_runtime(net, weights, x))
