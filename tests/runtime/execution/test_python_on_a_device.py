"""Layers in Python where arrays must be brought to a device and back."""

from __future__ import annotations

import numpy as np
import pytest

import runtime
from runtime import TRAIN
from tests.runtime.execution import test_own_form
from tests.runtime.execution.own_layers import MODULE, own

HEAD = """
force_backward: true
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 4 dim: 3 } } }
layer { name: "t" type: "Input" top: "t" input_param { shape { dim: 4 dim: 3 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip"
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
"""
LOSS = own("loss", "HalfSquare", "a t", rest="loss_weight: 3")
AFFINE = own("a", "Affine", "ip")
IN_PLACE = own("d", "Double", "a", "a")
SIGMOID = 'layer { name: "s" type: "Sigmoid" bottom: "a" top: "a" }'
X = np.linspace(-1, 2, 12).reshape(4, 3)


@pytest.fixture
def make(stand_in):
    def make_net(text):
        return lambda backend: runtime.Net(
            text, TRAIN, backend=backend, allow_python=[MODULE]
        )

    return make_net


def both(make, text, run):
    """What `run(net)` returns on the host and on the device."""
    return [run(make(text)(backend)) for backend in ("numpy", "stand-in")]


def trained(net):
    found = []
    for scale in (1, -2):
        net.blobs["x"].data[...] = scale * X
        net.blobs["t"].data[...] = X**2
        for index in range(2):
            net.forward_backward(accumulate=index > 0)
        found += [blob.diff.copy() for blobs in net.params.values() for blob in blobs]
        found += [net.blobs["x"].diff.copy(), np.float64(net.loss())]
        w = net.layer_dict["a"].blobs[0]
        found.append(w.diff.copy())
        w.data[...] *= 1.5  # by the layer's own object, between two passes
        found.append(net.params["a"][0].data.copy())
    return found


@pytest.mark.parametrize(
    "text",
    [AFFINE + LOSS, AFFINE + IN_PLACE + LOSS, AFFINE + SIGMOID + IN_PLACE + LOSS],
)
def test_a_pass_gives_the_same_on_host_and_device(make, text):
    host, device = both(make, HEAD + text, trained)
    assert len(host) > 8
    for mine, other in zip(host, device, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-6)


def moved(net):
    found = []
    for rows in (2, 4, 0, 4):
        x = np.full((4, 3), -1.0)
        x[:rows] = X[:rows] + 2
        out = net.forward(x=x, t=X)
        net.blobs["z"].diff[...] = 3
        net.backward()
        found += [out["z"].copy(), out["c"].copy(), net.blobs["x"].diff.copy()]
    return found


def test_tops_that_move_are_followed_on_a_device(make):
    power = 'layer { name: "z" type: "Power" bottom: "r" top: "z" power_param { '
    power += "shift: 1 } }"
    rest = (
        own("r", "Positive", "x", "r n")
        + power
        + own("c", "Counter", "t", rest="propagate_down: false")
    )
    host, device = both(make, HEAD + rest, moved)
    assert host[0].shape == (2, 3)
    for mine, other in zip(host, device, strict=True):
        np.testing.assert_array_equal(mine, other)
    assert host[-2][0].tolist() == [4, 4, 4]


def own_form(net):
    for name in ("x", "t"):
        if name in net.inputs:
            net.blobs[name].data[...] = X
    net.forward_backward()
    net.forward_backward(accumulate=True)
    return [blob.diff.copy() for blobs in net.params.values() for blob in blobs]


@pytest.mark.parametrize("kind", [test_own_form.Swish, test_own_form.StoringSwish])
def test_layers_of_netspec_never_leave_the_device(make, kind):
    text = str(test_own_form.data_net(kind).to_proto())
    host, device = both(make, text, own_form)
    for mine, other in zip(host, device, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-6)
