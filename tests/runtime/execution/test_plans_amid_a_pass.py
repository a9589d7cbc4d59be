"""Plans of layers that learn their sizes when they run."""

from __future__ import annotations

import numpy as np

import runtime
from runtime import TRAIN, Layer
from tests.runtime.execution.own_layers import own as own_layer
from tests.runtime.execution.test_kept_plans import turns

FILTER = """
layer { name: "in" type: "Input" top: "data" top: "keep"
        input_param { shape { dim: [6, 3, 5, 4] } shape { dim: 6 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 8 kernel_size: 3
                            weight_filler { type: "xavier" } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "bn" }
layer { name: "drop" type: "Dropout" bottom: "bn" top: "drop" }
layer { name: "filter" type: "Filter" bottom: "drop" bottom: "keep" top: "some" }
layer { name: "ip" type: "InnerProduct" bottom: "some" top: "ip"
        inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
layer { name: "sum" type: "Reduction" bottom: "ip" top: "sum" loss_weight: 1
        reduction_param { operation: SUMSQ } }
"""


def test_chosen_rows_take_the_plan_of_their_number(backend):
    """Also what lies above the layer is computed once, and its gradient is right."""
    how = {"backend": backend.name, "seed": 1}
    net = runtime.Net("force_backward: true " + FILTER, TRAIN, **how)
    rng = np.random.default_rng(0)
    runs = []
    step = next(s for s in net.plan.forward if s.name == "filter")
    assert step.node > 0
    for number in range(24):
        keep = np.zeros(6)
        keep[rng.permutation(6)[: 1 + number % 4]] = 1
        x = rng.normal(size=(6, 3, 5, 4))
        params = [one.data.copy() for p in net.params.values() for one in p]
        new = runtime.Net("force_backward: true " + FILTER, TRAIN, **how)
        for one, value in zip(
            (one for p in new.params.values() for one in p), params, strict=True
        ):
            one.data[...] = value
        new.clock.value = net.clock.value
        for one in (net, new):
            one.forward(data=x, keep=keep)
            one.clear_param_diffs()
            one.backward()
        for name in net.blobs:
            np.testing.assert_array_equal(net.blobs[name].data, new.blobs[name].data)
            np.testing.assert_array_equal(net.blobs[name].diff, new.blobs[name].diff)
        for name, blobs in net.params.items():
            for one, other in zip(blobs, new.params[name], strict=True):
                np.testing.assert_array_equal(one.data, other.data)
                np.testing.assert_array_equal(one.diff, other.diff)
        runs.append(net.plans.compiled)
    assert runs[-1] == runs[4] <= 5


class Sized(Layer):
    """y has as many rows as its only number says; it makes them up."""

    rows = 2
    calls = 0

    def setup(self, bottom, top):
        pass

    def reshape(self, bottom, top):
        top[0].reshape(type(self).rows, 3)

    def forward(self, bottom, top):
        type(self).calls += 1
        top[0].data[...] = np.arange(top[0].count).reshape(top[0].shape)

    def backward(self, top, propagate_down, bottom):
        pass


def test_a_layer_in_python_takes_the_plan_of_its_size(backend):
    layer = own_layer("own", "Sized", "").replace(
        'module: "tests.runtime.execution.own_layers"', f'module: "{__name__}"'
    )
    text = layer + (
        'layer { name: "y" type: "Power" bottom: "own" top: "y" '
        "power_param { scale: 2 } }"
    )
    net = runtime.Net(text, backend=backend.name, allow_python=True)
    Sized.calls = compiled = 0
    for turn in range(4):
        for rows in (2, 5, 300, 1):
            Sized.rows = rows
            out = net.forward()["y"]
            np.testing.assert_array_equal(out, 2 * np.arange(3 * rows).reshape(rows, 3))
        if turn >= turns(net):
            assert net.plans.compiled == compiled
        compiled = net.plans.compiled
        assert compiled <= 4 * turns(net)
    assert Sized.calls == 16
    Sized.rows = 2
