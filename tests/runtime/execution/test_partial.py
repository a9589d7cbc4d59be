"""Passes over a part of a net after its inputs got another shape."""

import numpy as np
import pytest

import runtime
from netspec.errors import ShapeError, SpecError

NET = """
force_backward: true
layer { name: "data" type: "Input" top: "data"
  input_param { shape { dim: 2 dim: 3 dim: 9 dim: 8 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "flat" type: "Flatten" bottom: "conv" top: "flat" }
layer { name: "drop" type: "Dropout" bottom: "flat" top: "flat" }
layer { name: "fold" type: "Reshape" bottom: "conv" top: "fold"
  reshape_param { shape { dim: 2 dim: 2 dim: 84 } } }
layer { name: "ip" type: "InnerProduct" bottom: "flat" top: "ip"
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }
"""


@pytest.fixture
def net(backend):
    return runtime.Net(NET, runtime.TEST, backend=backend.name)


def at_size(net, height, width):
    x = np.random.default_rng(height).normal(size=(2, 3, height, width))
    net.blobs["data"].reshape(*x.shape)
    net.blobs["data"].data[...] = x
    return x.astype(np.float32)


def conv_alone(net, x):
    alone = NET[: NET.index('layer { name: "flat"')]
    alone = alone.replace("dim: 9 dim: 8", f"dim: {x.shape[2]} dim: {x.shape[3]}")
    other = runtime.Net(alone, runtime.TEST, backend=net.backend.name, share_with=net)
    return other, other.forward(data=x)["conv"]


def test_a_pass_up_to_a_layer_asks_only_of_the_layers_below(net):
    for height, width in ((12, 7), (6, 10), (9, 8), (5, 5)):
        x = at_size(net, height, width)
        other, wanted = conv_alone(net, x)
        got = net.forward(end="relu")["conv"]
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)
        dy = np.random.default_rng(1).normal(size=got.shape)
        net.blobs["conv"].diff[...] = dy
        dx = net.backward(start="relu")["data"]
        assert dx.shape == x.shape
        wanted_dx = other.backward(conv=dy)["data"]
        np.testing.assert_allclose(dx, wanted_dx, rtol=1e-4, atol=1e-5)


def test_the_whole_net_runs_again_at_its_own_size(net):
    before = net.forward(data=at_size(net, 9, 8))["prob"].copy()
    at_size(net, 12, 7)
    net.forward(end="conv")
    assert net.blobs["ip"].shape == (2, 5)
    at_size(net, 9, 8)
    np.testing.assert_array_equal(net.forward()["prob"], before)


def test_layers_that_do_not_suit_are_refused_when_they_would_run(net):
    at_size(net, 12, 7)
    net.forward(end="conv")
    fold = r"layer 'fold' \(Reshape\): shape \(2, 2, 84\) holds 336 values"
    ip = r"'ip' \(InnerProduct\): with the new input shapes its parameter 0 would"
    with pytest.raises(ShapeError, match=ip):
        net.forward(start="ip")
    for run in (
        net.forward,
        net.forward_backward,
        net.forward_steps,
        net.reshape,
        net.backward,
        lambda: net.backward(start="ip"),
    ):
        with pytest.raises(ShapeError, match=fold):
            run()
    with pytest.raises(SpecError, match=r"'fold' \(Reshape\): .*\(2, 4, 10, 5\)"):
        net.forward(end="fold")
    assert net.forward(end="flat")["flat"].shape == (2, 4 * 10 * 5)
    assert net.forward(start="prob", end="prob")["prob"].shape == (2, 5)


def test_a_layer_below_the_end_that_does_not_suit_is_refused_at_once(net):
    x = at_size(net, 9, 8)
    net.forward(data=x)
    net.blobs["data"].reshape(2, 3, 2, 2)
    with pytest.raises(ShapeError, match=r"'conv' \(Convolution\)"):
        net.forward(end="conv")
    assert net.blobs["data"].shape == (2, 3, 9, 8)
    np.testing.assert_array_equal(net.blobs["data"].data, x)
    net.blobs["data"].reshape(2, 3, 12, 7)
    with pytest.raises(ShapeError, match=r"'fold' \(Reshape\)"):
        net.forward()
    assert net.blobs["data"].shape == (2, 3, 9, 8)
