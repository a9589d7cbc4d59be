"""Passes in use that repeat the last one: never after something has changed."""

import gc

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import runtime
from runtime import pycaffe

NET = """
name: "use"
layer { name: "x" type: "Input" top: "x"
        input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }
layer { name: "conv" type: "Convolution" bottom: "x" top: "c"
        convolution_param { num_output: 4 kernel_size: 3
                            weight_filler { type: "xavier" } } }
layer { name: "norm" type: "BatchNorm" bottom: "c" top: "n" }
layer { name: "relu" type: "ReLU" bottom: "n" top: "r" }
layer { name: "ip" type: "InnerProduct" bottom: "r" top: "y"
        inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "prob" type: "Softmax" bottom: "y" top: "p" }
"""


def make(keep=(), kind=runtime.Net):
    net = kind(NET, runtime.TEST, keep=keep, seed=3)
    net.params["norm"][1].data[...] = 2.0
    net.params["norm"][2].data[...] = 1.0
    return net


def give(net, seed):
    values = np.random.default_rng(seed).normal(size=net.blobs["x"].shape)
    net.blobs["x"].data[...] = values


def expected(net, keep=()):
    """Return the outputs of a new net with the values of this one."""
    other = make(keep)
    shape = net.blobs["x"].shape
    if other.blobs["x"].shape != shape:
        other.blobs["x"].reshape(*shape)
        other.reshape()
    for name, blobs in net.params.items():
        for mine, theirs in zip(other.params[name], blobs, strict=True):
            mine.data[...] = theirs.data
    other.blobs["x"].data[...] = net.blobs["x"].data
    return other.forward()


def check(net, keep=()):
    got = net.forward()
    assert list(got) == ["p"]
    np.testing.assert_array_equal(got["p"], expected(net, keep)["p"])


@pytest.mark.parametrize("keep", [(), None])
def test_passes_see_their_inputs(keep):
    net = make(keep)
    gc.collect()
    for seed in range(4):
        give(net, seed)
        check(net, keep)
    assert net._repeats is not None
    assert net.clock.value == 4


@pytest.mark.parametrize("keep", [(), None])
def test_changed_parameters_count_at_once(keep):
    net = make(keep)
    give(net, 0)
    for number in range(3):
        for _ in range(2):
            check(net, keep)
        net.params["conv"][0].data[number] += 1
        check(net, keep)
    held = net.params["ip"][0].data
    for number in range(3):
        held[number] *= 2
        check(net, keep)
    del held
    for _ in range(3):
        check(net, keep)


def test_blobs_between_are_those_of_the_last_pass():
    net = make(None)
    for seed in range(4):
        give(net, seed)
        net.forward()
    other = make(None)
    other.blobs["c"].data, other.blobs["n"].data
    give(other, 3)
    other.forward()
    for name in ("c", "n", "r", "y", "p"):
        np.testing.assert_array_equal(net.blobs[name].data, other.blobs[name].data)
        give(net, 4)
        net.forward()
        give(net, 3)
        net.forward()


def test_other_shapes_and_back():
    net = make()
    results = {}
    for rows in (2, 2, 5, 5, 2, 1, 5, 2):
        net.blobs["x"].reshape(rows, 3, 8, 8)
        give(net, rows)
        got = net.forward()
        kept = results.setdefault(rows, got["p"].copy())
        np.testing.assert_array_equal(got["p"], kept)


def test_a_result_that_is_kept_stays_while_shapes_change():
    net = make()
    give(net, 0)
    net.forward()
    first = net.forward()["p"]
    values = first.copy()
    net.blobs["x"].reshape(3, 3, 8, 8)
    give(net, 1)
    net.forward()
    np.testing.assert_array_equal(first, values)


def test_changing_shapes_need_no_more_memory_than_before():
    net = make()
    for rows in (4, 2, 4, 2, 3, 4):
        net.blobs["x"].reshape(rows, 3, 8, 8)
        for _ in range(3):
            net.forward()
    assert len(net.plans.shared.arenas) == 1


def test_passes_over_parts_of_a_net_in_between():
    net = make(None)
    give(net, 0)
    check(net, None)
    check(net, None)
    net.forward(end="ip")
    check(net, None)
    net.forward(blobs=["p"])
    check(net, None)


def test_functions_around_layers_are_called():
    net = make(None, pycaffe.Net)
    give(net, 0)
    net.forward()
    net.forward()
    seen = []
    net.after_forward(seen.append)
    net.forward()
    assert seen == list(range(len(net.layers)))


def test_a_feed_takes_over():
    net = make()
    give(net, 0)
    net.forward()
    net.forward()
    images = np.random.default_rng(1).normal(size=(4, 3, 8, 8)).astype(np.float32)
    net.feed(images, batch_size=2)
    fed = [net.forward()["p"].copy() for _ in range(2)]
    net.feed(None)
    for number, values in enumerate(fed):
        net.blobs["x"].data[...] = images[2 * number : 2 * number + 2]
        np.testing.assert_array_equal(net.forward()["p"], values)


def test_a_trained_net_shares_what_it_learns():
    text = NET + (
        'layer { name: "t" type: "Input" top: "t" input_param { shape { dim: 2 } } }'
        'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "y" bottom: "t" '
        'top: "loss" }'
    )
    solver = runtime.get_solver(
        f'base_lr: 0.1 lr_policy: "fixed" net_param {{ {text} }}', keep=()
    )
    give(solver.net, 0)
    net = runtime.Net(NET, runtime.TEST, keep=(), share_with=solver.net)
    give(net, 1)
    for _ in range(3):
        solver.step(1)
        check(net)
        check(net)
