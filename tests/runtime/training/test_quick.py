"""Iterations as one list of calls: the same bits as those in parts."""

import signal
import warnings

import numpy as np
import pytest

pytest.importorskip("numba")

import runtime
from netspec.errors import SpecError
from runtime.update_rules import UPDATES
from tests.runtime.training.test_solver import (
    FIXED,
    NOISE,
    REGRESSION,
    assert_same,
    feed,
    make,
    solver_text,
    values,
)

# Labels, a convolution, pooling, dropout, and layers that run as one.
LABELS = """
name: "labels"
layer { name: "data" type: "DummyData" top: "x" top: "t"
        dummy_data_param { shape { dim: 5 dim: 2 dim: 9 dim: 8 } shape { dim: 5 }
                           data_filler { type: "gaussian" std: 1 }
                           data_filler { type: "constant" value: 2 } } }
layer { name: "conv" type: "Convolution" bottom: "x" top: "c"
        convolution_param { num_output: 6 kernel_size: 3
                            weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "c" top: "c" }
layer { name: "pool" type: "Pooling" bottom: "c" top: "p"
        pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "drop" type: "Dropout" bottom: "p" top: "p" }
layer { name: "ip" type: "InnerProduct" bottom: "p" top: "y"
        param { lr_mult: 1 } param { lr_mult: 2 decay_mult: 0 }
        inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "y" bottom: "t" top: "loss" }
"""
MOMENTA = {"SGD": 0.9, "Nesterov": 0.9, "AdaDelta": 0.95, "Adam": 0.9}
POLICIES = [
    'lr_policy: "fixed"',
    'lr_policy: "step" gamma: 0.5 stepsize: 2',
    'lr_policy: "multistep" gamma: 0.5 stepvalue: 1 stepvalue: 3',
    'lr_policy: "poly" power: 2 max_iter: 20',
    'lr_policy: "fixed" warmup_iter: 3 warmup_start_lr: 0.001',
]


@pytest.fixture
def cpu():
    return runtime.get_backend("numpy")


def in_parts(solver):
    """Let the passes and the update of a solver be called one after the other."""
    solver.add_callback(lambda: None, lambda: None)
    return solver


def joined(solver):
    return solver._quick._joined is not None


def options(rule, policy=POLICIES[0], more=""):
    momentum = MOMENTA.get(rule, 0)
    return (
        f'type: "{rule}" base_lr: 0.02 momentum: {momentum} weight_decay: 0.01 '
        f"{policy} {more} "
    )


def assert_equal(one, other):
    assert one.iter == other.iter
    assert_same(values(one), values(other))
    for a, b in zip(one.update.history, other.update.history, strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(one.history.train, other.history.train, strict=True):
        assert (a.iteration, a.loss, a.smoothed_loss, a.lr) == (
            *(b.iteration, b.loss, b.smoothed_loss, b.lr),
        )


@pytest.mark.parametrize("net", [NOISE, LABELS], ids=["noise", "labels"])
@pytest.mark.parametrize("rule", [*UPDATES])
def test_every_rule_gives_the_same_bits(cpu, rule, net):
    one, other = (make(cpu, net, options(rule)) for _ in range(2))
    in_parts(other)
    for count in (1, 1, 3, 1):
        one.step(count)
        other.step(count)
    assert joined(one)
    assert not joined(other)
    assert_equal(one, other)


@pytest.mark.parametrize("more", ["", "average_loss: 3", "regularization_type: 'L1'"])
@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_gives_the_same_bits(cpu, policy, more):
    one, other = (make(cpu, LABELS, options("SGD", policy, more)) for _ in range(2))
    in_parts(other)
    for count in (2, 1, 1, 4):
        one.step(count)
        other.step(count)
    assert joined(one)
    assert_equal(one, other)


@pytest.mark.parametrize(
    "more",
    [
        "iter_size: 2",
        "clip_gradients: 0.1",
        'momentum_policy: "poly" max_momentum: 0.9 max_iter: 9',
    ],
)
def test_what_must_run_in_between_does(cpu, more):
    check_in_between(cpu, options("SGD", more=more))


def test_a_rate_that_waits_for_the_loss_is_followed(cpu):
    policy = 'lr_policy: "plateau" gamma: 0.5 plateau_winsize: 2'
    check_in_between(cpu, options("SGD", policy))


def check_in_between(cpu, text):
    one, other = (make(cpu, LABELS, text) for _ in range(2))
    in_parts(other)
    one.step(4)
    other.step(4)
    assert not joined(one)
    assert_equal(one, other)


def test_what_is_changed_in_the_message_holds_at_once(cpu):
    one, other = make(cpu), in_parts(make(cpu))
    for solver in (one, other):
        solver.step(1)
        solver.step(1)
        solver.param.base_lr = 0.005
        solver.step(1)
        solver.param.momentum = 0.3
        solver.step(1)
        solver.param.lr_policy, solver.param.gamma = "exp", 0.7
        solver.step(2)
        solver.param.clip_gradients = 0.01
        solver.step(1)
        solver.param.clip_gradients = -1
        solver.step(1)
        solver.lr = 0.004
        solver.step(1)
    assert joined(one)
    assert_equal(one, other)


def test_a_display_that_is_asked_for_later_shows(cpu, capsys):
    solver = make(cpu)
    for _ in range(3):
        solver.step(1)
    assert not capsys.readouterr().err
    solver.param.display = 1
    solver.step(1)
    assert "Iteration 3" in capsys.readouterr().err


def test_callbacks_and_snapshots_come_in_their_places(cpu, tmp_path):
    more = f'snapshot: 3 snapshot_prefix: "{tmp_path}/s" '
    solver = make(cpu, options=options("SGD", more=more))
    seen = []
    for _ in range(7):
        solver.step(1)
    solver.on_step(lambda record: seen.append((record.iteration, solver.iter)))
    solver.step(2)
    assert seen == [(7, 8), (8, 9)]
    assert [one.iteration for one in solver.history.snapshots] == [3, 6, 9]


def spoiled(cpu, value, careful_options=FIXED):
    solver = make(cpu, REGRESSION, careful_options + " max_iter: 4")
    feed(solver)
    solver.step(2)
    solver.net.blobs["x"].data[1, 2] = value
    return solver


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e16, 1e25])
def test_what_is_not_plain_is_told_as_ever(cpu, value):
    one, other = spoiled(cpu, value), in_parts(spoiled(cpu, value))
    told = []
    for solver in (one, other):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            solver.step(1)
            solver.step(1)
        told.append([str(one.message) for one in caught])
    assert told[0] == told[1]
    assert joined(one)
    assert one.iter == 4
    assert_same(values(one), values(other))


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e25])
def test_solve_ends_ahead_of_an_update(cpu, value):
    one, other = spoiled(cpu, value), in_parts(spoiled(cpu, value))
    before, said = values(one), []
    for solver in (one, other):
        with pytest.raises(runtime.NonFiniteLossError) as caught:
            solver.solve()
        said.append((type(caught.value), str(caught.value)))
    assert said[0] == said[1]
    assert_same(values(one), before)
    assert one.iter == 2


def test_a_bad_label_is_told_and_changes_nothing(cpu):
    solver = make(cpu, LABELS.replace("value: 2", "value: 4"))
    before = values(solver)
    for _ in range(2):
        with pytest.raises(SpecError, match="label"):
            solver.step(1)
    assert solver.iter == 0
    assert_same(values(solver), before)


def test_other_shapes_are_followed(cpu):
    one, other = (make(cpu, REGRESSION) for _ in range(2))
    in_parts(other)
    rng = np.random.default_rng(0)
    for rows in (4, 6, 6, 4, 4, 3):
        x, t = rng.normal(size=(rows, 3)), rng.normal(size=(rows, 2))
        for solver in (one, other):
            solver.net.blobs["x"].reshape(rows, 3)
            solver.net.blobs["t"].reshape(rows, 2)
            solver.net.reshape()
            solver.net.blobs["x"].data[...] = x
            solver.net.blobs["t"].data[...] = t
            solver.step(1)
    assert_equal(one, other)


def test_passes_by_hand_do_not_change_what_is_trained_on(cpu):
    one, other = make(cpu), make(cpu)
    for _ in range(4):
        one.step(1)
        one.net.forward()
        other.step(1)
    assert_equal(one, other)


def test_another_net_sees_the_parameters_as_they_are(cpu):
    solver = make(cpu, LABELS)
    solver.step(2)
    text = solver_text(LABELS).partition("net_param {")[2].rpartition("}")[0]
    test = runtime.Net(text, runtime.TEST, share_with=solver.net, keep=())
    for _ in range(3):
        solver.step(1)
        fresh = runtime.Net(text, runtime.TEST, keep=())
        for name, blobs in solver.net.params.items():
            for mine, theirs in zip(fresh.params[name], blobs, strict=True):
                mine.data[...] = theirs.data
        test.clock.value = fresh.clock.value = solver.iter
        assert test.forward()["loss"] == fresh.forward()["loss"]


def test_an_interrupt_amid_the_list_leaves_a_whole_iteration(cpu, monkeypatch):
    monkeypatch.setattr("runtime.interrupts.ABORT_AFTER_S", 0)
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    straight, broken = make(cpu), make(cpu)
    straight.step(4)
    try:
        for count in (1, 3):
            broken.step(1)
            go_on = broken.net.clock.go_on

            def interrupting(call=go_on):
                signal.raise_signal(signal.SIGINT)
                signal.raise_signal(signal.SIGINT)
                call()

            broken.net.clock.go_on = interrupting
            with pytest.raises(KeyboardInterrupt):
                broken.step(count)
            del broken.net.clock.go_on
    finally:
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        signal.signal(signal.SIGINT, before)
    assert joined(broken)
    assert_equal(straight, broken)
