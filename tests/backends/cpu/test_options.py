"""An option that compiled layers do not know is never ignored."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import runtime
from netspec.ops import base as ops
from netspec.ops import infer, op_class
from runtime.backends.cpu import fusion
from runtime.backends.cpu.layers.elementwise import ReLU
from runtime.backends.cpu.layers.fork_norm import ForkNorm
from runtime.backends.cpu.table import KERNELS
from runtime.backends.layer_kernel import COMMON, LayerKernel
from runtime.layers.base import portable_kernels
from tests.backends.cpu.oracle import CPU, PORTABLE, numbers, results
from tests.layers import harness
from tests.layers.harness import LoneLayer, parse_layer

IMAGE = (3, 4, 9, 7)
# By layer type: its options, and the shapes of its bottoms.
LAYERS: dict[str, tuple[str, list[tuple[int, ...]]]] = {
    "Axpy": ("", [(3, 4), IMAGE, IMAGE]),
    "BN": ("bn_param { eps: 0.01 }", [IMAGE]),
    "BatchNorm": ("", [IMAGE]),
    "Bias": ("", [IMAGE]),
    "Concat": ("", [IMAGE, (3, 2, 9, 7)]),
    "ContrastiveLoss": ("", [(3, 4), (3, 4), (3,)]),
    "Convolution": ("convolution_param { num_output: 5 kernel_size: 3 }", [IMAGE]),
    "Crop": ("crop_param { axis: 2 offset: 1 }", [IMAGE, (3, 4, 5, 3)]),
    "Deconvolution": ("convolution_param { num_output: 5 kernel_size: 3 }", [IMAGE]),
    "DetectionOutput": (
        # One row, as planned.
        "detection_output_param { num_classes: 2 keep_top_k: 1 }",
        [(1, 12), (1, 6), (1, 2, 12)],
    ),
    "Dropout": ("dropout_param { dropout_ratio: 0.3 }", [IMAGE]),
    "Eltwise": ("eltwise_param { coeff: 2 coeff: -3 }", [IMAGE, IMAGE]),
    "Im2col": ("convolution_param { kernel_size: 3 }", [IMAGE]),
    "InnerProduct": ("inner_product_param { num_output: 5 }", [(3, 8)]),
    "Interp": ("interp_param { height: 5 width: 8 }", [IMAGE]),
    "LRN": ("", [IMAGE]),
    "LSTM": ("recurrent_param { num_output: 5 }", [(4, 3, 7), (4, 3)]),
    "LSTMUnit": ('top: "c" top: "h"', [(1, 3, 5), (1, 3, 20), (1, 3)]),
    "MVN": ("mvn_param { eps: 0.01 }", [IMAGE]),
    "Normalize": ("norm_param { across_spatial: false }", [IMAGE]),
    "PReLU": ("", [IMAGE]),
    "PSROIPooling": (
        "psroi_pooling_param { spatial_scale: 0.5 output_dim: 1 group_size: 2 }",
        [IMAGE, (5, 5)],
    ),
    "Permute": ("permute_param { order: [0, 2, 3, 1] }", [IMAGE]),
    "Pooling": ("pooling_param { kernel_size: 3 stride: 2 }", [IMAGE]),
    "Proposal": (
        "proposal_param { ratio: 1 scale: 1 post_nms_topn: 1 min_size: 0 }",
        [(1, 2, 3, 4), (1, 4, 3, 4), (1, 3)],
    ),
    "RNN": ("recurrent_param { num_output: 5 }", [(4, 3, 7), (4, 3)]),
    "ROIAlign": (
        "roi_align_param { pooled_h: 2 pooled_w: 3 sampling_ratio: 2 }",
        [IMAGE, (5, 5)],
    ),
    "ROIPooling": ("roi_pooling_param { pooled_h: 2 pooled_w: 3 }", [IMAGE, (5, 5)]),
    "ReLU": ("relu_param { negative_slope: 0.2 }", [IMAGE]),
    "ReLU6": ("", [IMAGE]),
    "ShuffleChannel": ("shuffle_channel_param { group: 2 }", [IMAGE]),
    "AbsVal": ("", [IMAGE]),
    "BNLL": ("", [IMAGE]),
    "Clip": ("clip_param { min: -0.5 max: 0.7 }", [IMAGE]),
    "ELU": ("elu_param { alpha: 0.5 }", [IMAGE]),
    "Embed": ("embed_param { num_output: 5 input_dim: 4 }", [(3, 4)]),
    "Exp": ("exp_param { base: 2 }", [IMAGE]),
    "Log": ("log_param { scale: 0.1 shift: 3 }", [IMAGE]),
    "Power": ("power_param { power: 2 shift: 1 }", [IMAGE]),
    "SeLu": ("", [IMAGE]),
    "Sigmoid": ("", [IMAGE]),
    "Swish": ("swish_param { beta: 2 }", [IMAGE]),
    "TanH": ("", [IMAGE]),
    "Threshold": ("threshold_param { threshold: 0.3 }", [IMAGE]),
    "EuclideanLoss": ("", [IMAGE, IMAGE]),
    "SigmoidCrossEntropyLoss": ("", [IMAGE, IMAGE]),
    "SmoothL1Loss": ("", [IMAGE, IMAGE]),
    "Reduction": ("reduction_param { operation: ASUM axis: 1 coeff: 2 }", [IMAGE]),
    "Upsample": ("upsample_param { scale: 2 }", [IMAGE]),
    "Scale": ("scale_param { bias_term: true }", [IMAGE]),
    "Slice": ('top: "a" top: "b"', [IMAGE]),
    "Softmax": ("", [IMAGE]),
    "SoftmaxWithLoss": ("", [(3, 4), (3,)]),
    "Split": ('top: "a" top: "b"', [IMAGE]),
}


def options(name: str) -> set[str]:
    """The fields of the ops of a layer type that not every layer has."""
    return {field.name for field in dataclasses.fields(op_class(name))} - COMMON


def extended(op: ops.Op, value: int = 1) -> ops.Op:
    """Return `op` with one more option, `extra`, which is 0 by default."""
    made = dataclasses.make_dataclass(
        "Extended",
        [("extra", int, dataclasses.field(default=0))],
        bases=(type(op),),
        frozen=True,
        kw_only=True,
    )
    given = {field.name: getattr(op, field.name) for field in dataclasses.fields(op)}
    return made(**given, extra=value)


def inferred(layer: Any, bottoms: Any) -> ops.Op:
    return extended(infer(layer, bottoms))


def test_all_compiled_layers_are_tried() -> None:
    assert set(LAYERS) == set(KERNELS)


@pytest.mark.parametrize("name", KERNELS)
def test_compiled_layers_know_the_options_of_their_type(name: str) -> None:
    for kernel in KERNELS[name]:
        known = set(kernel.options)
        # One is of two types, and of a BatchNorm with options of forks.
        assert known == options(name) or (kernel is ForkNorm and known > options(name))


@pytest.mark.parametrize("kernel", fusion.OPTIONS)
def test_joined_layers_know_the_options_of_their_type(kernel: Any) -> None:
    names = [name for name, found in KERNELS.items() if kernel in found]
    if kernel is not ForkNorm:
        assert set(fusion.OPTIONS[kernel]) == options(*names)
    assert fusion.OPTIONS[kernel] is not None


@pytest.mark.parametrize("name", KERNELS)
def test_an_option_that_a_compiled_layer_does_not_know_runs_portably(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    param, shapes = LAYERS[name]
    text = f'name: "layer" type: "{name}" {param}'
    bottoms = [numbers(shape, index) for index, shape in enumerate(shapes)]
    if name == "SoftmaxWithLoss":
        bottoms[1] = np.array([2, 0, 3], np.float32)
    if "ROI" in name:
        bottoms[1] = np.arange(25, dtype=np.float32).reshape(5, 5) % 3
    if name == "Proposal":
        bottoms[2] = np.array([[30, 40, 1]], np.float32)
    usual = LoneLayer(text, shapes, backend=CPU, dtype="float32")
    assert type(usual.kernel) in KERNELS[name]
    slow = LoneLayer(text, shapes, backend=PORTABLE, dtype="float32")
    monkeypatch.setattr(harness, "infer", inferred)
    fast = LoneLayer(text, shapes, backend=CPU, dtype="float32")
    assert type(fast.kernel) is portable_kernels()[name]
    pairs = zip(results(fast, bottoms, True), results(slow, bottoms, True), strict=True)
    for got, want in pairs:
        np.testing.assert_array_equal(got, want)


def test_an_option_at_its_default_runs_portably_too() -> None:
    text, shapes = LAYERS["Pooling"]
    op = infer(parse_layer(f'type: "Pooling" {text}', 1), shapes)
    node = harness.lone_node(extended(op, value=0), 0, [True], [])
    assert CPU.kernel(node, "float32") is portable_kernels()["Pooling"]


NET = """
    layer { name: "x" type: "Input" top: "x"
            input_param { shape { dim: 2 dim: 3 dim: 8 dim: 7 } } }
    layer { name: "conv" type: "Convolution" bottom: "x" top: "conv"
            convolution_param { num_output: 5 kernel_size: 3
                                weight_filler { type: "xavier" } } }
    layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
"""


def joined(net: runtime.Net) -> set[str]:
    calls = net.plan.fusion.forward()  # type: ignore[union-attr]
    return {net.graph.nodes[index].name for index in calls}


def output(net: runtime.Net) -> np.ndarray:
    net.blobs["x"].data[...] = numbers(net.blobs["x"].shape, 0)
    return net.forward()["conv"].copy()


@pytest.mark.parametrize("compiled", [False, True])
def test_layers_with_an_option_that_joined_ones_do_not_know_stay_apart(
    monkeypatch: pytest.MonkeyPatch, compiled: bool
) -> None:
    want = output(runtime.Net(NET, runtime.TEST, seed=3, backend="portable"))
    usual = runtime.Net(NET, runtime.TEST, seed=3)
    assert joined(usual) == {"conv", "relu"}
    read = ops.READERS["ReLU"]
    monkeypatch.setitem(ops.READERS, "ReLU", lambda *given: extended(read(*given)))
    if compiled:  # the layer knows the option, its joined form does not
        monkeypatch.setattr(ReLU, "options", (*ReLU.options, "extra"))
    net = runtime.Net(NET, runtime.TEST, seed=3)
    assert isinstance(net.plan.kernels[-1], LayerKernel) == compiled
    assert joined(net) == set()
    for each in (usual, net):
        np.testing.assert_allclose(output(each), want, rtol=1e-5, atol=1e-5)
