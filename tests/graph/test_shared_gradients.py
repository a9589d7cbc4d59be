"""Gradients of forks and sums that lie in the memory of others."""

from __future__ import annotations

import numpy as np
import pytest

import runtime
from netspec.graph import share_gradients
from runtime import TRAIN

NET = """
layer { name: "in" type: "Input" top: "data"
        input_param { shape { dim: [2, 3, 5, 4] } } }
layer { name: "a" type: "Convolution" bottom: "data" top: "a"
        convolution_param { num_output: 6 kernel_size: 1
                            weight_filler { type: "msra" } } }
layer { name: "b" type: "Convolution" bottom: "a" top: "b"
        convolution_param { num_output: 6 kernel_size: 1
                            weight_filler { type: "msra" } } }
layer { name: "c" type: "TanH" bottom: "a" top: "c" }
layer { name: "sum" type: "Eltwise" bottom: "b" bottom: "a" bottom: "c" top: "sum"
        eltwise_param { coeff: [COEFF] } }
layer { name: "relu" type: "ReLU" bottom: "sum" top: "sum" }
layer { name: "loss" type: "Reduction" bottom: "sum" top: "loss" loss_weight: 0.5
        reduction_param { operation: SUMSQ } }
"""


def gradients(text, keep, backend):
    net = runtime.Net(text, TRAIN, seed=2, keep=keep, backend=backend)
    net.blobs["data"].data[...] = np.random.default_rng(1).normal(size=(2, 3, 5, 4))
    net.forward_backward()
    return net.flat.diff.copy()


@pytest.mark.parametrize("backend", ["numpy", "portable"])
@pytest.mark.parametrize("coeff", ["1, 1, 1", "2, 1, -1", "0.5, 2, 3"])
@pytest.mark.parametrize("keep", [(), ("a",), ("b",), ("sum",), ("c", "sum")])
def test_gradients_are_those_of_blobs_apart(keep, coeff, backend):
    text = NET.replace("COEFF", coeff)
    whole = gradients(text, None, backend)
    np.testing.assert_array_equal(gradients(text, keep, backend), whole)


def shared(keep, coeff="1, 1, 1"):
    graph = runtime.Net(NET.replace("COEFF", coeff), TRAIN).graph
    found = share_gradients(graph, keep)
    gradient = {edge.blob: edge.gradient for edge in found.edges}
    fork = graph.node_of["a_a_0_split"]
    tops = [found.edges[top].gradient for top in fork.tops]
    return gradient, tops


def test_the_sum_of_a_fork_lies_where_its_first_gradient_is():
    gradient, tops = shared(())
    assert tops[0] == gradient["a"]
    assert len(set(tops)) == 3


def test_the_gradient_of_a_sum_is_that_of_its_first_bottom_of_coefficient_1():
    gradient, tops = shared(())
    assert gradient["b"] == gradient["sum"]
    gradient, tops = shared((), "2, 1, 1")
    assert gradient["b"] != gradient["sum"]
    assert gradient["sum"] in tops


def test_gradients_that_are_kept_are_left_alone():
    gradient, _ = shared(("b", "sum"))
    assert gradient["b"] != gradient["sum"]
    whole, _ = shared(None)
    assert len(set(whole.values())) == len(whole)
