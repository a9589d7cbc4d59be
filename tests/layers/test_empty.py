"""Blobs of no values: nothing in, nothing out, and losses of 0."""

from __future__ import annotations

import numpy as np
import pytest

import runtime
from netspec.errors import SpecError

KINDS = [("portable", "float64"), ("portable", "float32"), ("numpy", "float32")]
LAYERS = [
    ('type: "Softmax"', [(2, 0, 4)], (2, 0, 4)),
    ('type: "Softmax"', [(0, 3)], (0, 3)),
    ('type: "Softmax" softmax_param { axis: 2 }', [(2, 3, 0)], (2, 3, 0)),
    ('type: "ArgMax"', [(0, 4)], (0, 1, 1)),
    ('type: "ArgMax" argmax_param { out_max_val: true top_k: 2 }', [(0, 4)], (0, 2, 2)),
    ('type: "BatchReindex"', [(3, 0), (5,)], (5, 0)),
    ('type: "BatchReindex"', [(3, 4), (0,)], (0, 4)),
    ('type: "SPP" spp_param { pyramid_height: 2 }', [(0, 3, 5, 4)], (0, 15)),
    (
        'type: "Deconvolution" convolution_param { num_output: 2 kernel_size: 3 }',
        [(0, 3, 5, 4)],
        (0, 2, 7, 6),
    ),
    (
        'type: "Convolution" convolution_param { num_output: 2 kernel_size: 3 }',
        [(0, 3, 5, 4)],
        (0, 2, 3, 2),
    ),
    (
        'type: "Convolution" convolution_param { num_output: 0 kernel_size: 1 }',
        [(2, 3, 5, 4)],
        None,
    ),
    ('type: "LSTM" recurrent_param { num_output: 3 }', [(4, 0, 2), (4, 0)], (4, 0, 3)),
    ('type: "RNN" recurrent_param { num_output: 3 }', [(4, 0, 2), (4, 0)], (4, 0, 3)),
    ('type: "LSTM" recurrent_param { num_output: 3 }', [(4, 2, 0), (4, 2)], (4, 2, 3)),
]
LOSSES = [
    ('type: "SoftmaxWithLoss"', [(0, 3), (0,)]),
    ('type: "SoftmaxWithLoss"', [(2, 3, 0), (2, 0)]),
    ('type: "SigmoidCrossEntropyLoss"', [(0, 3), (0, 3)]),
    ('type: "InfogainLoss"', [(0, 3), (0,), (3, 3)]),
    ('type: "HingeLoss"', [(0, 3), (0,)]),
    ('type: "MultinomialLogisticLoss"', [(0, 3), (0,)]),
    ('type: "EuclideanLoss"', [(0, 3), (0, 3)]),
    ('type: "SmoothL1Loss"', [(0, 3), (0, 3)]),
    ('type: "ContrastiveLoss"', [(0, 3), (0, 3), (0,)]),
    ('type: "Accuracy"', [(0, 3), (0,)]),
]


def built(layer: str, shapes: list, kind: tuple[str, str]) -> runtime.Net:
    inputs = ""
    for index, shape in enumerate(shapes):
        dims = " ".join(f"dim: {size}" for size in shape)
        inputs += (
            f'layer {{ name: "in{index}" type: "Input" top: "x{index}" '
            f"input_param {{ shape {{ {dims} }} }} }}\n"
        )
        layer += f' bottom: "x{index}"'
    text = f'force_backward: true {inputs} layer {{ name: "one" {layer} top: "y" }}'
    net = runtime.Net(text, runtime.TRAIN, backend=kind[0], dtype=kind[1])
    for name in net.inputs:
        net.blobs[name].data[...] = 0
    return net


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("layer", "shapes", "top"), LAYERS)
def test_nothing_in_is_nothing_out(layer, shapes, top, kind):
    if top is None:
        with pytest.raises(SpecError, match="num_output"):
            built(layer, shapes, kind)
        return
    net = built(layer, shapes, kind)
    y = net.forward()["y"]
    assert y.shape == top
    assert np.all(np.isfinite(y))
    net.backward()
    assert net.blobs["x0"].diff.shape == shapes[0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("layer", "shapes"), LOSSES)
def test_the_loss_of_nothing_is_zero(layer, shapes, kind):
    net = built(layer, shapes, kind)
    assert float(net.forward()["y"]) == 0
    net.backward()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("loss", ["SoftmaxWithLoss", "HingeLoss"])
def test_a_label_without_classes_is_an_error(loss, kind):
    net = built(f'type: "{loss}"', [(2, 0), (2,)], kind)
    with pytest.raises(SpecError, match=r"the label 0 at place 0; but there are no cl"):
        net.forward()
