"""What a limit of memory refuses: nets that only infer, and the least it tells."""

from __future__ import annotations

import numpy as np
import pytest

import runtime
from netspec.errors import SpecError
from netspec.graph.recompute import LimitError
from runtime import TEST, TRAIN
from runtime.execution import net as net_module
from tests.runtime.execution.random_sized import text_of

USE = """
layer { name: "in" type: "Input" top: "data"
        input_param { shape { dim: [3, 5, 18, 14] } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
        convolution_param { num_output: 33 kernel_size: 3 pad: 1
                            weight_filler { type: "msra" } } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "lrn" type: "LRN" bottom: "conv1" top: "lrn" }
layer { name: "pool" type: "Pooling" bottom: "lrn" top: "pool"
        pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "ip" type: "InnerProduct" bottom: "pool" top: "ip"
        inner_product_param { num_output: 7 weight_filler { type: "xavier" } } }
layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }
"""
DEEP = """
layer { name: "in" type: "Input" top: "data" top: "label"
        input_param { shape { dim: [6, 3, 19, 17] } shape { dim: 6 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 9 kernel_size: 3
                            weight_filler { type: "msra" } } }
layer { name: "norm" type: "LRN" bottom: "conv" top: "norm" }
layer { name: "relu" type: "ReLU" bottom: "norm" top: "relu" }
layer { name: "pool" type: "Pooling" bottom: "relu" top: "pool"
        pooling_param { pool: MAX kernel_size: 3 stride: 2 } }
layer { name: "ip" type: "InnerProduct" bottom: "pool" top: "ip"
        inner_product_param { num_output: 7 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
SOLVER = {"base_lr": 0.01, "lr_policy": "fixed", "momentum": 0.9, "max_iter": 4}
TESTS = {"test_iter": [1], "test_interval": 2}


def refused(make, limit=1000):
    """Return the error of a limit, which must be met by what it tells, not by less."""
    with pytest.raises(LimitError, match=r"least (\d+) bytes \(.*give at least '\1'"):
        make(limit)
    with pytest.raises(LimitError) as caught:
        make(limit)
    least = caught.value.least
    made = make(least)
    with pytest.raises(LimitError, match=f"least {least} bytes"):
        make(least - 1)
    return caught.value, made


def taken(net, copies):
    return net.memory_bytes + copies * net.flat.data.nbytes


@pytest.mark.parametrize("backend", ["numpy", "portable"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_net_for_use_stays_within_its_limit(backend, dtype):
    how = {"backend": backend, "dtype": dtype}
    error, net = refused(lambda n: runtime.Net(USE, TEST, memory_limit=n, **how))
    assert "to run net ''" in str(error)
    assert "nothing of it runs backward" in str(error)
    assert taken(net, 1) <= error.least
    assert net.recomputation.again == frozenset()
    free = runtime.Net(USE, TEST, **how)
    for one in (free, net):
        one.blobs["data"].data[...] = np.linspace(-1, 1, 3780).reshape(3, 5, 18, 14)
    for one, other in zip(net.forward().values(), free.forward().values(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert free.memory_bytes > net.memory_bytes  # which keeps no blob


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("phase", [TRAIN, TEST])
def test_what_is_told_can_be_met(seed, phase):
    text = text_of(np.random.default_rng(seed))
    error, net = refused(lambda n: runtime.Net(text, phase, memory_limit=n), limit=1)
    backward = any(node.backward for node in net.graph.nodes)
    assert taken(net, 2 if backward else 1) <= error.least
    for name in net.inputs:
        net.blobs[name].data[...] = 1
    net.forward()


def test_other_shapes_are_refused_too():
    conv = USE[: USE.index('layer { name: "ip"')]
    error, net = refused(lambda n: runtime.Net(conv, TEST, memory_limit=n))
    before = net.forward(data=np.ones((3, 5, 18, 14), "float32"))["pool"].copy()
    net.blobs["data"].reshape(3, 5, 180, 140)
    with pytest.raises(LimitError, match="takes at least"):
        net.forward()
    net.blobs["data"].reshape(2, 5, 9, 14)
    net.forward()
    assert taken(net, 1) <= error.least
    net.blobs["data"].reshape(3, 5, 18, 14)
    again = net.forward(data=np.ones((3, 5, 18, 14), "float32"))["pool"]
    np.testing.assert_array_equal(again, before)
    assert taken(net, 1) <= error.least


def test_a_part_of_a_net_that_other_shapes_suit_is_refused_too():
    net = runtime.Net(USE, TEST, memory_limit="1MB", keep=["pool"])
    net.blobs["data"].reshape(3, 5, 20, 16)
    net.forward(end="pool")
    net.blobs["data"].reshape(3, 5, 180, 140)
    with pytest.raises(LimitError, match="takes at least"):
        net.forward(end="pool")


def test_the_least_of_a_solver_counts_its_history_and_its_tests():
    def make(limit, **more):
        fields = {"net_param": DEEP, **SOLVER, **more}
        return runtime.Solver(fields, memory_limit=limit)

    alone, _ = refused(make)
    adam, _ = refused(lambda n: make(n, type="Adam"))
    error, solver = refused(lambda n: make(n, **TESTS))
    (tests,) = solver.test_nets
    assert error.least == alone.least + tests.memory_bytes
    assert taken(solver.net, 3) + tests.memory_bytes <= error.least
    assert adam.least > alone.least


@pytest.fixture
def built(monkeypatch):
    """The nets whose parameters were filled."""
    names = []
    allocate = net_module.allocate

    def counted(graph, *rest):
        names.append(graph.edges[graph.blobs["data"]].shape[0])
        return allocate(graph, *rest)

    monkeypatch.setattr(net_module, "allocate", counted)
    return names


DATA = """
layer { name: "in" type: "DummyData" top: "data" top: "label" dummy_data_param {
        shape { dim: [12, 3, 19, 17] } shape { dim: 12 } } }
"""


@pytest.mark.parametrize("tests", [{}, TESTS])
def test_auto_plans_and_builds_one_net_only(built, tests):
    text = DATA + DEEP[DEEP.index('layer { name: "conv"') :]

    def make(limit):
        fields = {"net_param": text, **SOLVER, **tests}
        return runtime.Solver(fields, memory_limit=limit, micro_batch="auto")

    error, solver = refused(make)
    assert "with micro_batch up to 12" in str(error)
    assert solver.micro_batch == 12
    others = sum(one.memory_bytes for one in solver.test_nets)
    assert solver.net.limit.others == others
    del built[:]
    some = make(others + 2 * (error.least - others)).micro_batch
    assert some in (2, 3, 4, 6)
    assert built == [12 // some] + [12] * len(solver.test_nets)


def test_a_test_net_in_python_is_counted_once_it_is_there(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "limit_watch.py").write_text(
        "import runtime\n"
        "class Watch(runtime.Layer):\n"
        "    def setup(self, bottom, top): pass\n"
        "    def reshape(self, bottom, top): top[0].reshape(1)\n"
        "    def forward(self, bottom, top): top[0].data[...] = 1\n"
        "    def backward(self, top, propagate_down, bottom): pass\n"
    )
    watch = (
        'layer { name: "w" type: "Python" bottom: "ip" top: "w" include { phase: TEST }'
        ' python_param { module: "limit_watch" layer: "Watch" } }'
    )
    text = DATA + DEEP[DEEP.index('layer { name: "conv"') :] + watch
    fields = {"net_param": text, **SOLVER, **TESTS}
    how = {"memory_limit": "2MB", "micro_batch": "auto", "allow_python": True}
    solver = runtime.Solver(fields, **how)
    (tests,) = solver.test_nets
    assert taken(solver.net, 3) + tests.memory_bytes <= 2_000_000
    with pytest.raises(SpecError, match="with micro_batch up to 12"):
        runtime.Solver(fields, **{**how, "memory_limit": tests.memory_bytes + 100})
