"""Nets of which nothing runs backward, or not before somebody asks for it."""

import gc
import weakref

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import netspec as ns
import runtime
from netspec import layers as L
from netspec.errors import SpecError
from netspec.schema import TEST, TRAIN
from netspec.summary import summarize


@pytest.fixture
def definition():
    """A net with a loss, whose BatchNorm and Scale follow a convolution."""
    n = ns.NetSpec("net")
    n.data, n.label = L.DummyData(
        shape=[dict(dim=[5, 3, 9, 8]), dict(dim=[5])],
        data_filler=[dict(type="gaussian"), dict(type="constant", value=2)],
        ntop=2,
    )
    n.c = L.Convolution(n.data, num_output=6, kernel_size=3, weight_filler="msra")
    n.b = L.BatchNorm(n.c, moving_average_fraction=0.3)
    n.s = L.Scale(n.b, bias_term=True)
    n.r = L.ReLU(n.s)
    n.p = L.Pooling(n.r, pool="MAX", kernel_size=2, stride=2)
    n.score = L.InnerProduct(n.p, num_output=4, weight_filler="xavier")
    n.loss = L.SoftmaxWithLoss(n.score, n.label)
    return n.to_proto()


TRAINS = {
    "type": "SGD",
    "base_lr": 0.01,
    "max_iter": 9,
    "momentum": 0.9,
    "lr_policy": "fixed",
}
TESTS = {"test_iter": [2], "test_interval": 2}


def left_out(net):
    fusion = net.plan.fusion
    return {edge for _, edges in fusion.left_out() for edge in edges} if fusion else ()


def test_nothing_runs_backward_and_layers_are_joined(definition):
    free = runtime.Net(definition, TEST, gradients=False, keep=())
    usual = runtime.Net(definition, TEST, keep=())
    assert not any(node.backward for node in free.graph.nodes)
    assert any(node.backward for node in usual.graph.nodes)
    whole = runtime.Net(definition, TEST, gradients=False)
    assert left_out(whole)
    assert not left_out(runtime.Net(definition, TEST))
    assert free.memory_bytes < usual.memory_bytes
    for _ in range(2):
        want = usual.forward()["loss"].copy()
        for net in (free, whole):
            np.testing.assert_allclose(net.forward()["loss"], want, rtol=1e-5)
    for run in (free.backward, free.forward_backward):
        with pytest.raises(SpecError, match="made with gradients=False.*gradients=Tru"):
            run()
    with pytest.raises(SpecError, match="gradients is 'no'; expected True, False or N"):
        runtime.Net(definition, TEST, gradients="no")


def test_the_forecast_is_that_of_a_net_without_gradients(definition):
    told = summarize(definition, phase=TEST).memory
    net = runtime.Net(definition, TEST, gradients=False, keep=())
    assert net.plan.memory["arena_bytes"] >= told["arena"] > 0
    assert told["gradients"] == 0


def test_training_without_gradients_is_refused(definition):
    net = runtime.Net(definition, TRAIN, gradients=False)
    net.forward()
    with pytest.raises(SpecError, match="gradients=False"):
        net.backward()


@pytest.mark.parametrize("keep", [None, ()], ids=["all", "none"])
def test_nets_that_test_wait_and_use_new_weights(definition, keep):
    solver = runtime.Solver(definition, **TRAINS, **TESTS, keep=keep)
    (net,) = solver.test_nets
    want = runtime.Net(definition, TEST, share_with=solver.net)
    for _ in range(3):
        solver.step(2)
        (record,) = solver.test()
        first = -(-solver.iter // 2) * 2
        assert not any(node.backward for node in net.graph.nodes)
        want.clock.value = first
        mean = np.mean([want.forward()["loss"].copy() for _ in range(2)])
        np.testing.assert_allclose(record.outputs["loss"], mean, rtol=1e-5)


def test_blobs_stay_where_somebody_looks_after_a_test(definition):
    solver = runtime.Solver(definition, **TRAINS, **TESTS)
    (net,), want = solver.test_nets, runtime.Net(definition, share_with=solver.net)
    solver.test()
    held = net.blobs["score"].data
    assert any(node.backward for node in net.graph.nodes)
    want.clock.value = 1
    want.forward()
    want.backward()
    for name in want.blobs:
        got = net.blobs[name].data
        np.testing.assert_allclose(got, want.blobs[name].data, rtol=1e-4, atol=1e-5)
    net.clear_param_diffs()
    net.backward()
    for name in ("c", "p", "score"):
        got, there = net.blobs[name].diff, want.blobs[name].diff
        np.testing.assert_allclose(got, there, rtol=1e-4, atol=1e-6)
        assert there.any()
    solver.step(1)
    solver.test()
    assert np.shares_memory(held, net.blobs["score"].data)


@pytest.mark.parametrize("how", ["forward", "diff", "backward", "share"])
def test_scripts_may_run_test_nets_by_hand(definition, how):
    from netspec.schema import SolverParameter
    from runtime import pycaffe as caffe

    param = SolverParameter(**TRAINS, **TESTS, net_param=definition)
    solver = caffe.SGDSolver(param)
    (net,) = solver.test_nets
    assert not any(node.backward for node in net.graph.nodes)
    solver.test()
    if how == "share":
        net.share_with(solver.net)
    if how in ("forward", "share"):
        net.forward()
    elif how == "diff":
        net.blobs["score"].diff[...] = 2
        net.backward(start="score")
        assert np.all(net.params["score"][1].diff == 10)
        return
    net.backward()
    assert net.params["c"][0].diff.any()


def test_backward_asks_for_a_pass_where_blobs_are_gone(definition):
    solver = runtime.Solver(definition, **TRAINS, **TESTS, keep=())
    (net,) = solver.test_nets
    solver.test()
    with pytest.raises(SpecError, match="run forward before it"):
        net.backward()
    net.forward()
    net.backward()
    assert net.params["c"][0].diff.any()


def test_a_net_that_waits_is_freed_at_once(definition):
    net = runtime.Net(definition, TEST, gradients=None)
    gc.disable()
    try:
        gone = weakref.ref(net)
        del net
        assert gone() is None
    finally:
        gc.enable()


def test_nets_that_carry_states_over_do_not_wait():
    n = ns.NetSpec("net")
    n.x, n.cont, n.t = L.DummyData(
        shape=[dict(dim=[3, 2, 4]), dict(dim=[3, 2]), dict(dim=[3, 2, 5])], ntop=3
    )
    n.h = L.LSTM(n.x, n.cont, num_output=5, weight_filler="xavier")
    n.loss = L.EuclideanLoss(n.h, n.t)
    net = runtime.Net(n, TEST, gradients=None)
    assert any(node.backward for node in net.graph.nodes)
    alone = runtime.Net(n, TEST, gradients=False)
    assert not any(node.backward for node in alone.graph.nodes)


def test_a_limit_of_memory_leaves_test_nets_no_gradients(definition):
    given = {**TRAINS, **TESTS, "memory_limit": "1GB"}
    (net,) = runtime.Solver(definition, **given).test_nets
    net.forward()
    with pytest.raises(SpecError, match="gradients=False"):
        net.backward()


def test_inputs_of_other_sizes_do_not_make_it_run_backward():
    n = ns.NetSpec("net")
    n.x = L.Input(shape=dict(dim=[4, 3, 6, 6]))
    n.t = L.Input(shape=dict(dim=[4]))
    n.y = L.InnerProduct(n.x, num_output=3, weight_filler="xavier")
    n.loss = L.SoftmaxWithLoss(n.y, n.t)
    x = np.random.default_rng(0).normal(size=(10, 3, 6, 6))
    t = np.arange(10) % 3
    history = runtime.fit(n, (x, t), validation=(x, t), batch_size=4, epochs=2)
    (net,) = history.solver.test_nets
    assert len(history.tests) >= 2
    assert not any(node.backward for node in net.graph.nodes)
