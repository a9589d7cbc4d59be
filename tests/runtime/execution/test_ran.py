"""Backward once more without a pass forward between."""

from __future__ import annotations

import numpy as np
import pytest

import runtime
from netspec.errors import SpecError
from runtime import TRAIN

NET = """
layer { name: "in" type: "Input" top: "x" top: "label"
  input_param { shape { dim: 4 dim: 2 dim: 9 dim: 9 } shape { dim: 4 } } }
layer { name: "conv" type: "Convolution" bottom: "x" top: "conv"
  convolution_param { num_output: 8 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool"
  pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "ip" type: "InnerProduct" bottom: "pool" top: "ip"
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""


def made(keep):
    net = runtime.Net(NET, TRAIN, keep=keep, seed=1)
    rng = np.random.default_rng(2)
    net.blobs["x"].data[...] = rng.standard_normal(net.blobs["x"].shape)
    net.forward()
    return net


def gradients(net):
    return np.concatenate([array.diff.ravel() for array in net.parameters.arrays])


def test_a_net_that_keeps_all_adds_the_same_gradients_again():
    net = made(None)
    net.backward()
    once = gradients(net).copy()
    net.backward()
    np.testing.assert_allclose(gradients(net), 2 * once, rtol=1e-6)


def test_a_net_that_keeps_nothing_refuses_and_loses_nothing():
    net = made(())
    net.backward()
    once = gradients(net).copy()
    with pytest.raises(SpecError, match=r"'loss' again.*run forward"):
        net.backward()
    np.testing.assert_array_equal(gradients(net), once)
    net.forward()
    net.backward()
    np.testing.assert_allclose(gradients(net), 2 * once, rtol=1e-6)


def test_passes_over_parts_go_on_where_the_last_one_ended():
    whole = made({"pool"})
    whole.backward()
    net = made({"pool"})
    net.backward(end="ip")
    with pytest.raises(SpecError, match="'ip' again"):
        net.backward(start="ip")
    net.backward(start="pool")
    np.testing.assert_array_equal(gradients(net), gradients(whole))


def test_what_a_solver_ran_has_run():
    solver = runtime.Solver(NET, base_lr=0.1, max_iter=1, keep=())
    solver.step(1, progress=False)
    with pytest.raises(SpecError, match="again"):
        solver.net.backward()
