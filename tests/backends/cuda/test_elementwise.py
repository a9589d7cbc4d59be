"""Functions of one value on the device, alone, in any place and in chains."""

from dataclasses import replace

import numpy as np
import pytest

import runtime
from netspec import NetSpec
from netspec import layers as L
from netspec.schema import TEST
from runtime.backends.cuda.formulas import FORMULAS
from runtime.backends.cuda.layers.elementwise import (
    Dropout,
    Elementwise,
    chained,
    chained_gradient,
    may_join,
)
from runtime.backends.cuda.table import KERNELS
from tests.backends.cuda.oracle import PORTABLE, check_own
from tests.layers.harness import LoneLayer

LAYERS = [
    'type: "AbsVal"',
    'type: "BNLL"',
    'type: "Clip" clip_param { min: -0.6 max: 0.9 }',
    'type: "ReLU6"',
    'type: "ReLU6" relu6_param { negative_slope: 0.25 n: 0.75 }',
    'type: "ELU" elu_param { alpha: 0.7 }',
    'type: "ELU" elu_param { alpha: -0.7 }',
    'type: "Exp"',
    'type: "Exp" exp_param { base: 2.5 scale: 0.7 shift: -0.3 }',
    'type: "Log" log_param { base: 3 scale: 0.01 shift: 1.5 }',
    'type: "Power" power_param { power: 0 scale: 2 shift: 3 }',
    'type: "Power" power_param { power: 1.7 scale: 0 shift: 3 }',
    'type: "Power" power_param { power: -1 scale: 0 shift: 0 }',
    'type: "Power" power_param { power: 1 scale: 2 shift: 3 }',
    'type: "Power" power_param { power: 2 scale: 2 shift: 3 }',
    'type: "Power" power_param { power: 3 scale: -2 shift: 0.5 }',
    'type: "Power" power_param { power: 0.5 scale: 0.1 shift: 3 }',
    'type: "Power" power_param { power: 1.5 scale: 0.1 shift: 3 }',
    'type: "Power" power_param { power: -1 scale: 0.1 shift: 3 }',
    'type: "ReLU"',
    'type: "ReLU" relu_param { negative_slope: 0.25 }',
    'type: "ReLU" relu_param { negative_slope: -0.25 }',
    'type: "Sigmoid"',
    'type: "Swish"',
    'type: "Swish" swish_param { beta: 1.3 }',
    'type: "TanH"',
    'type: "Threshold" threshold_param { threshold: 0.3 }',
    'type: "Dropout" dropout_param { dropout_ratio: 0.3 }',
    'type: "Dropout" dropout_param { dropout_ratio: 0 }',
]
IN_PLACE = ["ELU", "Exp", "ReLU", "Sigmoid", "TanH", "Dropout"]
SHAPES = [(3, 5), (2, 8, 3, 5), (1,), (0, 4), (2, 3, 700), (2, 12, 9, 31)]


def is_in_place(text):
    return any(f'"{one}"' in text for one in IN_PLACE) and ": -0" not in text


@pytest.mark.parametrize("text", LAYERS)
@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_the_portable_one(cuda, text, shape):
    check_own(cuda, text, [shape])


HALF = [
    one for one in LAYERS if any(f'"{t}"' in one for t in ("ReLU", "Swish", "TanH"))
]


@pytest.mark.parametrize("text", HALF)
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_blobs_of_16_bits(cuda, text, precision):
    for shape in [(2, 8, 3, 5), (3, 5, 2, 7), (4, 16), (1,)]:
        check_own(cuda, text, [shape], precision=precision, order="last")


@pytest.mark.parametrize("text", LAYERS)
def test_channels_last(cuda, text):
    for shape in [(2, 8, 3, 5), (3, 5, 2, 7), (4, 16)]:
        check_own(cuda, text, [shape], order="last")


@pytest.mark.parametrize("text", [one for one in LAYERS if is_in_place(one)])
@pytest.mark.parametrize("order", [None, "last"])
def test_in_place(cuda, text, order):
    check_own(cuda, text + ' bottom: "x" top: "x"', [(2, 12, 4, 5)], order=order)


@pytest.mark.parametrize("text", LAYERS)
def test_numbers_that_are_none(cuda, text):
    special = [np.nan, np.inf, -np.inf, 0, -0.0, 200, -200, 1e-30]
    x = np.array([special, special[::-1]], "float64")
    fast = LoneLayer(text, [x.shape], backend=cuda, dtype="float32")
    slow = LoneLayer(text, [x.shape], backend=PORTABLE, dtype="float32")
    with np.errstate(all="ignore"):
        (got,), (want,) = fast.forward([x]), slow.forward([x])
    if "Dropout" in text:  # what is dropped is 0 here, as in the CPU's own kernel
        want = np.where(np.isnan(want) & np.isfinite(got), got, want)
    np.testing.assert_allclose(got, want, rtol=1e-5)


@pytest.mark.parametrize("text", LAYERS)
def test_gradients_that_are_not_wanted(cuda, text):
    fast = LoneLayer(
        text, [(3, 5)], backend=cuda, dtype="float32", wanted_bottoms=[False]
    )
    assert isinstance(fast.kernel.inner, Elementwise)
    assert fast.kernel.inner.backward_calls(()) == []


def test_every_row_is_in_the_table_of_kernels_and_is_tested():
    for name in FORMULAS:
        assert issubclass(KERNELS[name][0], Elementwise)
        assert any(f'"{name}"' in text for text in LAYERS)


def test_a_layer_that_passes_values_on_in_place_does_nothing(cuda):
    text = 'type: "Dropout" bottom: "x" top: "x"'
    layer = LoneLayer(text, [(3, 5)], backend=cuda, dtype="float32", phase=TEST)
    assert layer.kernel.forward_calls() == []
    assert layer.kernel.backward_calls(()) == []


# ---------------------------------------------------------------- dropout


def mask_of(backend, text, shape, **options):
    layer = LoneLayer(text, [shape], backend=backend, dtype="float32", **options)
    (y,) = layer.forward([np.ones(shape)])
    return y


@pytest.mark.parametrize("ratio", [0.001, 0.5, 0.9])
def test_the_mask_is_that_of_every_backend(cuda, ratio):
    text = f'type: "Dropout" dropout_param {{ dropout_ratio: {ratio} }}'
    shape = (3, 7, 11, 13)
    want = mask_of(PORTABLE, text, shape)
    np.testing.assert_array_equal(mask_of(cuda, text, shape) != 0, want != 0)
    check_own(cuda, text, [shape], own=Dropout)


@pytest.mark.parametrize("channels", [8, 7])
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_channels_last_have_the_mask_of_their_places(cuda, channels, precision):
    shape = (3, channels, 5, 6)
    text = 'type: "Dropout" dropout_param { dropout_ratio: 0.5 }'
    x = np.full(shape, 2.0)
    options = {"precision": precision, "order": "last"}
    check_own(cuda, text, [x], own=Dropout, **options)


def test_every_pass_has_a_mask_of_its_own_also_captured(cuda):
    text = 'type: "Dropout" dropout_param { dropout_ratio: 0.5 }'
    shape = (40, 50)
    fast = LoneLayer(text, [shape], backend=cuda, dtype="float32")
    slow = LoneLayer(text, [shape], backend=PORTABLE, dtype="float32")
    x, dy = np.ones(shape), np.full(shape, 3.0)
    seen = []
    for value in (0, 1, 2, 1, 3):
        fast.clock.value = slow.clock.value = value
        (got,), (want,) = fast.forward([x]), slow.forward([x])
        np.testing.assert_array_equal(got, want)
        (got_dx,), _ = fast.backward([dy])
        np.testing.assert_array_equal(got_dx, 3 * got)
        seen.append(got.tobytes())
    assert len(set(seen)) == 4
    assert seen[1] == seen[3]


def net(backend, shape=(4, 6, 5, 7), **options):
    n = NetSpec()
    n.data = L.Input(shape=list(shape))
    n.target = L.Input(shape=[shape[0], 5])
    n.conv = L.Convolution(
        n.data, num_output=8, kernel_size=3, weight_filler=dict(type="xavier")
    )
    n.act = L.TanH(n.conv, in_place=True)
    n.scaled = L.Power(n.act, scale=0.5, shift=0.25, in_place=True)
    n.rect = L.ReLU(n.scaled, in_place=True)
    n.drop = L.Dropout(n.rect, dropout_ratio=0.4, in_place=True)
    n.ip = L.InnerProduct(n.drop, num_output=5, weight_filler=dict(type="xavier"))
    n.loss = L.EuclideanLoss(n.ip, n.target)
    made = runtime.Net(n.to_proto(), backend=backend, phase="TRAIN", **options)
    rng = np.random.default_rng(0)
    made.blobs["data"].data[...] = rng.normal(size=shape)
    made.blobs["target"].data[...] = rng.normal(size=(shape[0], 5))
    return made


def gradients_of(net):
    return [blob.diff.copy() for blobs in net.params.values() for blob in blobs]


def test_two_forward_passes_and_one_backward_use_the_last_mask(cuda):
    fast, slow = net(cuda.name, seed=2), net("portable", seed=2)
    for one in (fast, slow):
        for _ in range(3):
            one.forward()
        one.backward()
    for got, want in zip(gradients_of(fast), gradients_of(slow), strict=True):
        np.testing.assert_allclose(got, want, atol=2e-5 * np.abs(want).max())


# ---------------------------------------------------------------- chains


CHAINS = [
    ['type: "ReLU"', 'type: "Dropout"'],
    ['type: "Power" power_param { scale: 2 shift: 1 }', 'type: "ReLU"'],
    [
        'type: "Swish"',
        'type: "Power" power_param { scale: 2 }',
        'type: "ReLU"',
        'type: "Dropout"',
    ],
]


class Chain:
    """Layers in place on one blob, the first of which reads another one."""

    def __init__(self, backend, texts, shape):
        self.layers = [
            LoneLayer(text, [shape], backend=backend, dtype="float32") for text in texts
        ]
        first = self.layers[0].bound
        y, dy = first.tops[0], first.dtops[0]
        for layer in self.layers[1:]:
            layer.bound = replace(
                layer.bound, bottoms=(y,), tops=(y,), dbottoms=(dy,), dtops=(dy,)
            )
            layer.kernel.bind(layer.bound)
        self.kernels = [layer.kernel for layer in self.layers]
        self.x, self.dx, self.y, self.dy = first.bottoms[0], first.dbottoms[0], y, dy


@pytest.mark.parametrize("texts", CHAINS)
@pytest.mark.parametrize("shape", [(3, 5), (2, 8, 3, 5)])
def test_a_chain_is_one_launch_with_the_values_of_its_layers(cuda, texts, shape):
    chain = Chain(cuda, texts, shape)
    inner = [kernel.inner for kernel in chain.kernels]
    assert may_join(inner)
    rng = np.random.default_rng(1)
    x, dy = (rng.normal(size=shape).astype("float32") for _ in range(2))

    def result(array):
        out = np.empty(shape, "float32")
        cuda.download(array, out)
        return out

    cuda.upload(x, chain.x)
    for kernel in chain.kernels:
        kernel.forward()
    want = result(chain.y)
    cuda.upload(dy, chain.dy)
    for kernel in reversed(chain.kernels):
        kernel.backward(())
    want_dx, want_dy = result(chain.dx), result(chain.dy)
    assert want_dx.any()
    assert (want_dy != dy).any()

    forward, backward = chained(inner), chained_gradient(inner)
    assert len([call for call in forward if not call.outside]) == 1
    assert len(backward) == 1
    cuda.fill(chain.y, np.nan)
    cuda.fill(chain.dx, np.nan)
    for call in forward:
        call()
    np.testing.assert_allclose(result(chain.y), want, rtol=1e-6)
    cuda.upload(dy, chain.dy)
    for call in backward:
        call()
    np.testing.assert_allclose(result(chain.dx), want_dx, rtol=1e-6)
    np.testing.assert_array_equal(result(chain.dy), dy)
    for call in chained_gradient(inner, keeps_top=True):
        call()
    np.testing.assert_allclose(result(chain.dx), want_dx, rtol=1e-6)
    np.testing.assert_allclose(result(chain.dy), want_dy, rtol=1e-6)


@pytest.mark.parametrize(
    "texts",
    [['type: "ReLU"', 'type: "Swish"'], ['type: "Dropout"', 'type: "Dropout"']],
)
def test_what_cannot_be_one_launch(cuda, texts):
    layers = [LoneLayer(one, [(3, 5)], backend=cuda, dtype="float32") for one in texts]
    assert not may_join([layer.kernel.inner for layer in layers])
