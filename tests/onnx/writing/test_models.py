"""The nets of models/ for use, in ONNX Runtime and in the runtime."""

from pathlib import Path

import pytest

import netspec
from netspec.commands.model_files import load_model
from netspec.graph import build
from netspec.nets.state import State
from netspec.schema import TEST
from tests.onnx.writing.running import (
    check_equal,
    in_onnx,
    in_runtime,
    inputs_of,
    weights_of,
)

MODELS = Path(__file__).resolve().parents[3] / "models"
# Sides of images where a net takes smaller ones than its own, to be fast.
SIZES = {
    "alexnet": 99,
    "caffenet": 99,
    "fcn8s": 32,
    "fcn16s": 32,
    "fcn32s": 32,
    "lrcn": 131,
    "mobilenet": 64,
    "mobilenet_v2": 64,
    "squeezenet": 64,
    "vgg16": 64,
    "vgg19": 64,
}
SLOW = (
    *("alexnet", "fast_rcnn", "fcn8s", "fcn16s", "fcn32s", "lrcn", "resnet"),
    *("resnet101", "resnet152", "ssd300", "vgg16", "vgg19"),
)
# Of large images, where values of a window may be equal but for rounding, and masks are
# not the same then.
SETTINGS = {"segnet": {"height": 45, "width": 70}}
# Nets for use that are derived, from data whose shapes only files tell.
SHAPES = {"mnist_autoencoder": dict(data=(2, 1, 28, 28))}
UNWRITTEN = ("faster_rcnn", "rfcn")  # ONNX has nothing equal to Proposal
NAMES = sorted(
    path.stem
    for path in MODELS.glob("*.py")
    if not path.stem.startswith("_") and path.stem not in UNWRITTEN
)


def for_use(name):
    """The net, with small images and a batch of 1 where that is possible."""
    given = SETTINGS.get(name, {})
    path = MODELS / f"{name}.py"
    net = load_model(path, deploy=True, shapes=SHAPES.get(name), **given)
    size = SIZES.get(name)
    for layer in net.layer:
        for shape in layer.input_param.shape:
            if len(shape.dim) == 4 and shape.dim[3] > 1:
                shape.dim[2:] = [size, size] if size else shape.dim[2:]
                shape.dim[0] = shape.dim[0] if name == "lrcn" else 1
    # Compared are the scores: probabilities of random nets are 0 and 1.
    if len(net.layer) > 2 and net.layer[-1].type == "Softmax":
        del net.layer[-1]
    return net


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in NAMES],
)
@pytest.mark.filterwarnings("ignore::netspec.SpecWarning")
def test_a_model_is_equal_to_the_runtime(name):
    net = for_use(name)
    graph = build(net, State(TEST))
    weights, x = weights_of(graph), inputs_of(graph)
    if "rois" in x:
        x["rois"][:, 0] = 0  # the first image
    y = in_onnx(netspec.to_onnx(net, weights), x)
    check_equal(y, in_runtime(net, weights, x))


def test_all_models_are_tested():
    assert set(SIZES) | set(SLOW) <= set(NAMES)
    assert len(NAMES) > 25
