"""Whole iterations as graphs: what a step asks of the device, and the same bits."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format

import runtime
from netspec import NetSpec
from netspec import layers as L
from netspec.errors import SpecError
from netspec.schema import NetParameter
from runtime.backends.by_name import get_backend
from tests.backends.cuda.model_nets import CLASSES, train_net

# What a step asks of the device once it runs as a graph: nodes of the graph, and
# launches ahead of it, which set words: rate and iteration, and a key a dropout.
# A number that grows is time that every step takes: look at what is launched anew.
MODELS = {
    "lenet": ((1, 28, 28), 1, 34, 1),
    "googlenet": ((3, 112, 112), 2, 348, 4),
    "resnet50": ((3, 32, 32), 4, 316, 1),
}
BATCH = 2
MODULE = __name__  # where nets find `Triple`


class Triple(runtime.Layer):
    """y = 3 x."""

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        top[0].data[...] = 3 * bottom[0].data

    def backward(self, top, propagate_down, bottom):
        bottom[0].diff[...] = 3 * top[0].diff


def solver_of(
    net: NetParameter | NetSpec, backend: str, options: str = "", **more: Any
) -> runtime.Solver:
    """Return a solver over a net whose inputs are drawn."""
    if isinstance(net, NetSpec):
        net = net.to_proto()
    rate = "" if "base_lr" in options else "base_lr: 0.01 lr_policy: 'fixed' "
    text = f"{rate}{options} net_param {{ {text_format.MessageToString(net)} }}"
    solver = runtime.get_solver(text, backend=backend, seed=3, **more)
    draw(solver.net)
    return solver


def draw(net: runtime.Net, seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    for name in net.inputs:
        blob = net.blobs[name].data
        whole = name == "label"
        size = blob.shape
        blob[...] = rng.integers(CLASSES, size=size) if whole else rng.normal(size=size)


def losses(solver: runtime.Solver) -> list[float]:
    return [record.loss for record in solver.history.train]


def parameters(solver: runtime.Solver) -> dict[str, np.ndarray]:
    return {
        f"{name}:{slot}": blob.data.copy()
        for name, blobs in solver.net.params.items()
        for slot, blob in enumerate(blobs)
    }


def same(one: runtime.Solver, other: runtime.Solver) -> None:
    """Both have come to the same bits."""
    assert losses(one) == losses(other)
    assert all(np.isfinite(losses(one)))
    first, second = parameters(one), parameters(other)
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name], err_msg=name)


def close(one: runtime.Solver, other: runtime.Solver, limit: float) -> None:
    np.testing.assert_allclose(losses(one), losses(other), rtol=limit)
    second = parameters(other)
    for name, values in parameters(one).items():
        most = limit * np.abs(second[name]).max()
        np.testing.assert_allclose(values, second[name], atol=most, rtol=0)


def step_counts(solver: runtime.Solver) -> Counter[str]:
    """What one more step asks of the device."""
    counts = solver.net.backend.device.counts
    counts.clear()
    solver.step(1)
    return Counter(counts)


def steady(nodes: int, launches: int, pieces: int = 1) -> Counter[str]:
    """What a step is to ask for: nothing is taken, copied or waited for."""
    return Counter(graphs=pieces, nodes=nodes, launches=launches, fetches=2)


# ---------------------------------------------------------------- models


@pytest.mark.parametrize("model", MODELS)
def test_a_step_of_a_model_is_one_graph_with_the_bits_of_single_calls(host, model):
    image, narrower, nodes, ahead = MODELS[model]
    net = train_net(model, BATCH, image, narrower)
    options = "momentum: 0.9 weight_decay: 0.0005"
    graphs = solver_of(net, "host", options, keep=())
    single = solver_of(net, "host", options, keep=(), graphs=False)
    graphs.step(2)
    assert step_counts(graphs) == steady(nodes, ahead)
    single.step(3)
    assert single.net.backend.device.counts["graphs"] == 0
    same(graphs, single)


def test_lenet_has_the_losses_of_the_portable_kernels(host):
    net = train_net("lenet", 5, (1, 28, 28))
    options = "momentum: 0.9 weight_decay: 0.0005"
    graphs, portable = (solver_of(net, name, options) for name in ("host", "portable"))
    for solver in (graphs, portable):
        solver.step(4)
    close(graphs, portable, 1e-5)
    assert losses(portable)[-1] < 0.8 * losses(portable)[0]


# ---------------------------------------------------------------- what changes


def small(layer: str = "") -> NetSpec:
    """Two layers with dropout between them; `layer`: a layer in Python, or none."""
    n = NetSpec("small")
    n.data, n.label = L.Input(shape=[5, 7]), L.Input(shape=[5])
    filler = dict(weight_filler=dict(type="xavier"))
    n.hidden = L.InnerProduct(n.data, num_output=12, **filler)
    n.tanh = L.TanH(n.hidden)
    n.drop = L.Dropout(n.tanh, dropout_ratio=0.3)
    below = n.drop
    if layer:
        param = dict(module=MODULE, layer=layer)
        below = n.own = L.Python(below, python_param=param)
    n.scores = L.InnerProduct(below, num_output=CLASSES, **filler)
    n.loss = L.SoftmaxWithLoss(n.scores, n.label, loss_weight=2)
    return n


STEP = "base_lr: 0.1 lr_policy: 'step' gamma: 0.5 stepsize: 2 "
RULES = ["momentum: 0.9", "type: 'Adam' momentum: 0.9", "clip_gradients: 0.5"]
ITERATIONS = 6


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("size", [1, 2, 3])
def test_what_changes_from_step_to_step_reaches_the_graph(host, rule, size):
    # By hand, rate, Adam's corrections and dropout's keys come with every call.
    options = f"{STEP} {rule} iter_size: {size}"
    graphs, single, by_hand, portable = (
        solver_of(small(), name, options, **more)
        for name, more in (
            ("host", {}),
            ("host", {"graphs": False}),
            ("host", {}),
            ("portable", {}),
        )
    )
    by_hand.add_callback(lambda: None, lambda: None)
    for solver in (graphs, single, by_hand, portable):
        solver.step(ITERATIONS)
    assert graphs.net.backend.device.counts["graphs"] > 0
    same(graphs, single)
    for name, values in parameters(by_hand).items():
        np.testing.assert_array_equal(values, parameters(graphs)[name])
    np.testing.assert_allclose(losses(by_hand), losses(graphs), rtol=1e-6)
    close(graphs, portable, 1e-4)
    assert len({record.lr for record in graphs.history.train}) == 3


def test_several_batches_are_as_many_graphs_and_one_report(host):
    solver = solver_of(small(), "host", f"{STEP} iter_size: 3")
    solver.step(2)
    counts = step_counts(solver)
    assert (counts["graphs"], counts["fetches"]) == (3, 2)
    assert counts["allocations"] == counts["waits"] == counts["downloads"] == 0
    solver.param.iter_size = 1  # a new rule over the same running values
    solver.step(2)
    assert step_counts(solver)["graphs"] == 1


def test_another_batch_size_is_captured_again(host):
    graphs, single = (solver_of(small(), "host", STEP, graphs=g) for g in (True, False))
    for solver in (graphs, single):
        solver.step(3)
        for name in ("data", "label"):
            blob = solver.net.blobs[name]
            blob.reshape(3, *blob.shape[1:])
        solver.net.reshape()
        draw(solver.net, 7)
        solver.step(3)
    same(graphs, single)
    counts = step_counts(graphs)
    assert (counts["graphs"], counts["captures"], counts["allocations"]) == (1, 0, 0)


def test_a_setting_that_is_changed_takes_effect(host):
    solvers = [solver_of(small(), name, STEP) for name in ("host", "portable")]
    for solver in solvers:
        solver.step(3)
        solver.param.weight_decay = 0.3
        solver.param.base_lr = 0.05
        solver.step(3)
    close(*solvers, 1e-4)


# ---------------------------------------------------------------- data, Python


def test_data_in_memory_goes_to_the_device_ahead_of_the_graph(host):
    def net() -> NetSpec:
        n = NetSpec("memory")
        n.data, n.label = L.MemoryData(
            batch_size=4, channels=2, height=3, width=5, ntop=2
        )
        n.scores = L.InnerProduct(
            n.data, num_output=CLASSES, weight_filler=dict(type="xavier")
        )
        n.loss = L.SoftmaxWithLoss(n.scores, n.label)
        return n

    rng = np.random.default_rng(1)
    images = rng.normal(size=(12, 2, 3, 5)).astype("float32")
    labels = rng.integers(CLASSES, size=12).astype("float32")
    solvers = []
    for name in ("host", "portable"):
        solver = solver_of(net(), name, STEP)
        solver.net.set_input_arrays(images, labels)
        solver.step(5)
        solvers.append(solver)
    close(*solvers, 1e-5)
    solvers[0].step(1)  # after which parameters are no longer lent
    counts = step_counts(solvers[0])
    assert counts["graphs"] == 1
    assert counts["uploads"] == 2
    assert counts["allocations"] == counts["waits"] == counts["downloads"] == 0


def test_a_layer_in_python_splits_the_graph(host):
    options = dict(allow_python=[MODULE])
    net = small("Triple")
    graphs = solver_of(net, "host", STEP, **options)
    single = solver_of(net, "host", STEP, graphs=False, **options)
    portable = solver_of(net, "portable", STEP, **options)
    for solver in (graphs, single, portable):
        solver.step(ITERATIONS)
    same(graphs, single)
    close(graphs, portable, 1e-5)
    counts = step_counts(graphs)
    assert (counts["graphs"], counts["captures"], counts["allocations"]) == (3, 0, 0)


def test_tops_that_change_within_a_pass(host):
    def net() -> NetSpec:
        n = NetSpec("filtered")
        n.data, n.label, n.chosen = (
            L.Input(shape=[6, 7]),
            L.Input(shape=[6]),
            L.Input(shape=[6]),
        )
        n.hidden = L.InnerProduct(
            n.data, num_output=CLASSES, weight_filler=dict(type="xavier")
        )
        n.kept, n.answers = L.Filter(n.hidden, n.label, n.chosen, ntop=2)
        n.loss = L.SoftmaxWithLoss(n.kept, n.answers, propagate_down=[True, False])
        return n

    solvers = [
        solver_of(net(), name, STEP, precision=precision)
        for name, precision in (
            ("host", "float32"),
            ("host", "fp16"),
            ("portable", "float32"),
        )
    ]
    for many in (4, 2, 6, 6):
        for solver in solvers:
            solver.net.blobs["chosen"].data[...] = np.arange(6) < many
            solver.step(2)
    close(solvers[0], solvers[2], 1e-5)
    close(solvers[1], solvers[2], 1e-2)


# ---------------------------------------------------------------- scaled losses


def scale_of(solver: runtime.Solver) -> Any:
    return solver.update.whole.read()


def test_an_overflow_leaves_a_step_out_and_halves_the_scale(host):
    solver = solver_of(small(), "host", STEP, precision="fp16")
    solver.step(3)
    assert scale_of(solver).loss_scale == 65536
    before = parameters(solver)
    whole = solver.update.whole
    whole.set_loss_scale(2.0**24, 0)
    solver.net.blobs["data"].data[...] *= 500  # gradients of `hidden` overflow
    solver.step(1)
    state = scale_of(solver)
    assert (state.loss_scale, state.skipped, state.bad) == (2.0**23, 1, None)
    for name, values in parameters(solver).items():
        np.testing.assert_array_equal(values, before[name])
    assert np.isfinite(losses(solver)).all()


@pytest.mark.parametrize("size", [1, 2])
def test_scaled_losses_train_as_others_do(host, size):
    options = f"{STEP} momentum: 0.9 iter_size: {size} clip_gradients: 1.5"
    fp16, single = (
        solver_of(small(), "host", options, precision="fp16", graphs=graphs)
        for graphs in (True, False)
    )
    by_hand = solver_of(small(), "host", options, precision="fp16")
    by_hand.add_callback(lambda: None, lambda: None)
    plain = solver_of(small(), "host", options)
    for solver in (fp16, single, by_hand, plain):
        solver.step(ITERATIONS)
    same(fp16, single)
    close(fp16, plain, 2e-2)
    close(by_hand, plain, 2e-2)
    assert scale_of(fp16).good == ITERATIONS
    assert scale_of(by_hand).good == 0


def test_a_changed_setting_keeps_the_scale(host):
    solver = solver_of(small(), "host", STEP, precision="fp16")
    solver.step(1)
    solver.update.whole.set_loss_scale(512.0, 3, 2)
    solver.param.weight_decay = 0.25
    solver.step(1)
    state = scale_of(solver)
    assert (state.loss_scale, state.good, state.skipped) == (512, 4, 2)


# ---------------------------------------------------------------- portable kernels


def test_portable_kernels_run_on_the_device(host):
    oracle = solver_of(small(), "host", STEP, kernels="portable")
    plain = solver_of(small(), "portable", STEP)
    for solver in (oracle, plain):
        solver.step(3)
    assert oracle.net.backend.device.counts["launches"] == 0
    close(oracle, plain, 1e-6)
    with pytest.raises(SpecError, match="'fp16' needs own kernels, but kernels is"):
        solver_of(small(), "host", STEP, kernels="portable", precision="fp16")
    assert get_backend("host", kernels="portable") is oracle.net.backend
