"""Every layer type with options away from their defaults: equal to the runtime."""

import numpy as np
import pytest

import netspec
from netspec.catalogue import LAYER_TYPES
from netspec.onnx.writing.families import load
from netspec.onnx.writing.layer import WRITERS
from tests.onnx.writing.layer_examples import EXAMPLES, IMAGE
from tests.onnx.writing.running import (
    check_equal,
    compare,
    in_onnx,
    in_runtime,
    inputs_of,
    net_of,
)

ELSEWHERE = {"DetectionOutput", "Normalize", "Permute", "PriorBox", "ROIPooling"}
# Nets for use do not have them, or nobody but their own code knows what they compute.
REFUSED = {
    *("Accuracy", "AnnotatedData", "ContrastiveLoss", "Data", "DetectionEvaluate"),
    *("CenterLoss", "FocalLoss", "L1Loss", "TripletLoss"),
    *("LargeMarginInnerProduct", "MarginInnerProduct"),
    *("SegAccuracy", "SigmoidCrossEntropyBalanceLoss"),
    *("BoxAnnotatorOHEM", "PSROIPooling", "Proposal", "ROIAlign"),
    *("SmoothL1LossOHEM", "SoftmaxWithLossOHEM"),
    *("EuclideanLoss", "HDF5Data", "HDF5Output", "HingeLoss", "ImageData"),
    *("InfogainLoss", "MemoryData", "MultiBoxLoss", "MultinomialLogisticLoss"),
    *("Python", "SigmoidCrossEntropyLoss", "SmoothL1Loss", "SoftmaxWithLoss"),
    *("DenseImageData", "ImageLabelmapData", "ImageSegData", "VideoData", "WindowData"),
}
CASES = [
    pytest.param(kind, *example, id=f"{kind}-{number}")
    for kind, examples in EXAMPLES.items()
    for number, example in enumerate(examples)
]


@pytest.mark.parametrize("opset", [13, 17, 21])
@pytest.mark.parametrize(("kind", "options", "shapes", "tops"), CASES)
@pytest.mark.filterwarnings("ignore:.*begins every run:netspec.SpecWarning")
def test_a_layer_is_equal_to_the_runtime(kind, options, shapes, tops, opset):
    net, _ = net_of(f'type: "{kind}" {options}', shapes, tops)
    compare(net, opset=opset)


def test_every_layer_type_is_written_or_refused():
    load()
    assert set(EXAMPLES) | ELSEWHERE == set(WRITERS)
    assert set(LAYER_TYPES) == set(WRITERS) | REFUSED | {"Input"}


@pytest.mark.parametrize(
    ("layer", "wanted"),
    [
        ('type: "Exp" exp_param { scale: 0 shift: 800 }', np.inf),
        ('type: "Power" power_param { power: 99 scale: 0 shift: -1e9 }', -np.inf),
        ('type: "Power" power_param { power: -3 scale: 0 shift: -0.5 }', -8),
    ],
)
def test_numbers_that_are_too_large_are_infinite(layer, wanted):
    net, graph = net_of(layer, [(2, 3)])
    y = in_onnx(netspec.to_onnx(net), inputs_of(graph))
    check_equal(y, {"y0": np.full((2, 3), wanted)})


@pytest.mark.parametrize(
    ("layer", "tops"),
    [
        ('type: "ArgMax"', 1),
        ('type: "ArgMax" argmax_param { axis: 1 }', 1),
        ('type: "ArgMax" argmax_param { axis: 3 top_k: 3 }', 1),
        ('type: "ArgMax" argmax_param { top_k: 30 out_max_val: true }', 1),
        ('type: "Pooling" pooling_param { pool: MAX kernel_size: 3 stride: 2 }', 2),
        ('type: "Threshold" threshold_param { threshold: 1 }', 1),
        ('type: "Sigmoid"', 1),
    ],
)
def test_of_equal_values_the_same_one_is_taken(layer, tops):
    net, graph = net_of(layer, [IMAGE], tops)
    x = {name: np.round(values) for name, values in inputs_of(graph).items()}
    check_equal(in_onnx(netspec.to_onnx(net), x), in_runtime(net, {}, x))
