"""Gradients and parameters that are not finite."""

import warnings

import numpy as np
import pytest

import runtime
from runtime import update_rules
from runtime.training.divergence import (
    NonFiniteGradientError,
    NonFiniteLossError,
    NonFiniteParameterError,
)
from tests.runtime.training.test_solver import make

# The slope of a square root at 0 is infinite; the root itself is 0.
ROOT = """
name: "root"
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y"
        inner_product_param { num_output: 4 bias_term: false } }
layer { name: "root" type: "Power" bottom: "y" top: "r" power_param { power: 0.5 } }
layer { name: "sum" type: "Reduction" bottom: "r" top: "sum" loss_weight: 1 }
"""
OPTIONS = 'base_lr: 0.1 lr_policy: "fixed" max_iter: 3 '


def root(backend, folder, options=""):
    prefix = f'snapshot_prefix: "{folder}/n"'
    solver = make(backend, ROOT, OPTIONS + prefix + options)
    solver.net.blobs["x"].data[...] = 1
    return solver


@pytest.mark.parametrize("options", ["", " clip_gradients: 1", ' type: "Adam"'])
def test_solve_stops_before_an_infinite_gradient(backend, tmp_path, options):
    solver = root(backend, tmp_path, options)
    with pytest.raises(
        NonFiniteGradientError,
        match=r"the gradient of parameter 0 of layer 'ip' \(InnerProduct\) in "
        r"iteration 0 is not finite, although the loss is 0; no snapshot",
    ) as caught:
        solver.solve()
    assert isinstance(caught.value, NonFiniteLossError)
    assert (caught.value.iteration, caught.value.loss) == (0, 0)
    assert caught.value.snapshot is None
    assert (solver.net.params["ip"][0].data == 0).all()
    assert list(tmp_path.iterdir()) == []


def test_step_warns_once_of_an_infinite_gradient(backend, tmp_path):
    solver = root(backend, tmp_path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        solver.step(3)
    messages = [str(one.message)[:49] for one in caught]
    assert messages == ["the gradient of parameter 0 of layer 'ip' (InnerP"]
    assert caught[0].filename == __file__


def test_solve_stops_even_where_step_has_warned(backend, tmp_path):
    solver = root(backend, tmp_path)
    with pytest.warns(RuntimeWarning, match="gradient of parameter 0"):
        solver.step(1)
    with pytest.raises(NonFiniteLossError):
        solver.solve()


def test_apply_update_warns_too(backend, tmp_path):
    solver = root(backend, tmp_path)
    solver.net.forward_backward()
    with pytest.warns(RuntimeWarning, match="gradient of parameter 0 .* iteration 0"):
        solver.apply_update()


def test_a_callback_may_mend_gradients(backend, tmp_path):
    solver = root(backend, tmp_path, " snapshot_after_train: false")
    gradient = solver.net.params["ip"][0]

    def after():
        gradient.diff[...] = np.nan_to_num(gradient.diff, posinf=-1)

    solver.add_callback(lambda: None, after)
    solver.param.max_iter = 1
    solver.solve()
    np.testing.assert_allclose(gradient.data, 0.1, rtol=1e-6)
    assert solver.iter == 1


def test_large_gradients_are_finite(backend, tmp_path):
    solver = root(backend, tmp_path, " snapshot_after_train: false")
    gradient = solver.net.params["ip"][0]
    solver.param.base_lr = 1e-25

    def after():
        gradient.diff[...] = 1e25  # whose square is infinite in float32

    solver.add_callback(lambda: None, after)
    solver.step(1)
    np.testing.assert_allclose(gradient.data, -1, rtol=1e-5)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_a_row_or_a_column_of_a_large_net(backend, tmp_path, axis, value, monkeypatch):
    monkeypatch.setattr(update_rules, "LARGE_NET", 100)
    monkeypatch.setattr(update_rules, "LARGE_ARRAY", 100)
    net = ROOT.replace("dim: 3", "dim: 30").replace("num_output: 4", "num_output: 20")
    options = OPTIONS + f'snapshot_prefix: "{tmp_path}/n"'
    solver = make(backend, net.replace("power: 0.5", "power: 2"), options)
    gradient = solver.net.params["ip"][0]

    def after():
        gradient.diff[...] = 1
        gradient.diff.swapaxes(0, axis)[11] = value

    solver.add_callback(lambda: None, after)
    with pytest.raises(NonFiniteGradientError, match="parameter 0 of layer 'ip'"):
        solver.solve()
    assert (gradient.data == 0).all()


MIXED = """
name: "mixed"
layer { name: "x" type: "DummyData" top: "x" top: "t"
        dummy_data_param { shape { dim: 2 dim: 3 dim: 40 dim: 40 } shape { dim: 2 }
                           data_filler { type: "gaussian" }
                           data_filler { type: "constant" } } }
layer { name: "c" type: "Convolution" bottom: "x" top: "c"
        convolution_param { num_output: 40 kernel_size: 5
                            weight_filler { type: "xavier" } } }
layer { name: "p" type: "Pooling" bottom: "c" top: "p"
        pooling_param { pool: AVE kernel_size: 6 stride: 6 } }
layer { name: "ip" type: "InnerProduct" bottom: "p" top: "y"
        inner_product_param { num_output: 30 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "y" bottom: "t" top: "loss" }
"""


@pytest.mark.parametrize("layer", ["c", "ip"])
def test_each_element_of_convolutions_of_large_nets(
    backend, tmp_path, layer, monkeypatch
):
    monkeypatch.setattr(update_rules, "LARGE_NET", 100)
    monkeypatch.setattr(update_rules, "LARGE_ARRAY", 100)
    options = OPTIONS + f'snapshot_prefix: "{tmp_path}/n"'
    found = {}
    for size in (1, 50):
        solver = make(backend, MIXED, f"{options} iter_size: {size}")
        if not solver.net.backend.on_host:
            return
        assert len(solver.update.checked) < 6  # neighbours are one array
        assert solver.update.finite()
        solver.net.params[layer][0].diff[7, 2] = np.inf
        found[size] = solver.update.finite()
    # Edges stand for an inner product with few multiply-adds an iteration.
    assert found == {1: layer == "ip", 50: False}


def test_parameters_that_an_update_made_infinite_reach_no_snapshot(backend, tmp_path):
    solver = root(backend, tmp_path, " snapshot: 1")
    gradient = solver.net.params["ip"][0]
    solver.param.base_lr = 1e20

    def after():
        gradient.diff[...] = -1e20

    solver.add_callback(lambda: None, after)
    with pytest.raises(
        NonFiniteParameterError,
        match=r"parameter 0 of layer 'ip' .* is not finite after 1 iterations, so no "
        r"snapshot of it is written; no snapshot. Lower base_lr",
    ):
        solver.solve()
    assert list(tmp_path.iterdir()) == []


def test_errors_are_reached_from_the_front_door():
    assert runtime.NonFiniteLossError is NonFiniteLossError
