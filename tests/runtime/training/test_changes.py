"""What is changed on a solver between iterations, and iterations by hand."""

import numpy as np
import pytest

import runtime
import runtime.pycaffe as caffe
from netspec.errors import SpecError
from tests.runtime.training.test_solver import (
    FIXED,
    REGRESSION,
    assert_same,
    feed,
    make,
    solver_text,
    values,
)

INV = 'base_lr: 0.5 lr_policy: "inv" gamma: 0.5 power: 1 '


def momentum(solver):
    (history,) = solver.update.history
    host = np.empty(history.shape, str(history.dtype))
    solver.net.backend.download(history, out=host)
    return host


def test_a_changed_rate_holds_from_the_next_iteration(backend):
    solver = make(backend)
    solver.step(2)
    before = momentum(solver)
    solver.param.base_lr = 0.0
    assert solver.lr == 0
    solver.step(1)
    # Momentum goes on, and no gradient joins it.
    np.testing.assert_allclose(momentum(solver), 0.8 * before, rtol=1e-6)
    assert [record.lr for record in solver.history.train] == pytest.approx(
        [0.02, 0.02, 0]
    )


def test_lr_can_be_set_and_the_policy_goes_on_from_there(backend):
    solver = make(backend, options=INV)
    solver.step(2)
    assert solver.lr == pytest.approx(0.25)
    solver.lr = 0.1
    assert solver.lr == pytest.approx(0.1)
    assert solver.param.base_lr == pytest.approx(0.2)
    solver.step(2)
    assert solver.lr == pytest.approx(0.2 / 3)


@pytest.mark.parametrize(
    "options, rate, message",
    [
        (INV, -1, "lr must be at least 0 and finite, got -1"),
        (INV, float("nan"), "lr must be at least 0 and finite, got nan"),
        (
            'base_lr: 0.5 lr_policy: "poly" power: 1 max_iter: 1 ',
            0.1,
            "be set to 0.1: in iteration 1 lr_policy 'poly' multiplies base_lr by 0;",
        ),
    ],
)
def test_a_rate_that_cannot_be_is_refused(backend, options, rate, message):
    solver = make(backend, options=options)
    solver.step(1)
    before = solver.param.base_lr
    with pytest.raises(SpecError, match=message):
        solver.lr = rate
    assert solver.param.base_lr == before


def test_changed_settings_keep_the_running_values(backend):
    solver = make(backend)
    solver.step(2)
    before = momentum(solver)
    solver.param.momentum = 0.25
    solver.param.base_lr = 0
    solver.step(1)
    np.testing.assert_allclose(momentum(solver), 0.25 * before, rtol=1e-6)


def test_a_changed_iter_size_counts_in_the_update_too(backend):
    frozen = FIXED.replace("momentum: 0.8", "")
    one, other = make(backend, options=frozen), make(backend, options=frozen)
    one.param.iter_size = 2
    other.param.CopyFrom(one.param)
    one.step(2)
    fresh = make(backend, options=frozen + "iter_size: 2")
    fresh.step(2)
    assert_same(values(one), values(fresh))


def test_what_cannot_be_changed_is_refused_before_anything_happens(backend):
    solver = make(backend)
    solver.step(1)
    before = values(solver)
    solver.param.iter_size = 0
    with pytest.raises(SpecError, match="iter_size must be at least 1, got 0"):
        solver.step(1)
    solver.param.iter_size = 1
    solver.param.type = "Adam"
    with pytest.raises(SpecError, match="type was changed from 'SGD' to 'Adam'.*new"):
        solver.step(1)
    solver.param.type = "SGD"
    assert_same(values(solver), before)
    solver.step(1)
    assert solver.iter == 2


@pytest.mark.parametrize(
    "options",
    [
        'base_lr: 0.1 lr_policy: "step" gamma: 0.1 stepsize: 2 momentum: 0.9',
        'base_lr: 0.1 lr_policy: "fixed" type: "Adam" momentum: 0.9',
        'base_lr: 0.1 lr_policy: "multistep" gamma: 0.5 stepvalue: 1 stepvalue: 3',
    ],
)
def test_forward_backward_apply_update_is_a_step(backend, options):
    one, other = (make(backend, REGRESSION, options) for _ in range(2))
    feed(one)
    feed(other)
    one.step(5)
    for _ in range(5):
        other.net.clear_param_diffs()
        other.net.forward()
        other.net.backward()
        other.apply_update()
    assert one.iter == other.iter == 5
    assert one.lr == other.lr
    for name, array in values(one).items():
        np.testing.assert_allclose(array, values(other)[name], rtol=1e-5)


def test_batches_by_hand_are_those_of_iterations(backend):
    one, other = make(backend), make(backend)
    one.step(3)
    for _ in range(2):
        other.net.forward_backward()
        other.apply_update()
    other.step(1)
    assert_same(values(one), values(other))


def test_a_forward_pass_of_a_pycaffe_script_takes_a_batch():
    solver = caffe.get_solver(solver_text(options=FIXED + "snapshot_prefix: 'x'"))
    passes = runtime.Net(solver_text().partition("net_param {")[2][:-1], runtime.TRAIN)
    seen = []
    for call in (solver.net.forward, lambda: solver.step(1), lambda: solver.step(1)):
        call()
        seen.append(solver.net.blobs["x"].data.copy())
    for batch in seen:
        passes.forward()
        np.testing.assert_array_equal(passes.blobs["x"].data, batch)


def test_a_pycaffe_solver_goes_back_to_the_batches_of_a_state(tmp_path):
    options = FIXED + f'snapshot_prefix: "{tmp_path}/n"'
    solver = caffe.get_solver(solver_text(options=options))
    solver.step(2)
    state = solver.snapshot().state
    solver.step(3)
    expected = values(solver)
    solver.net.forward()
    solver.restore(str(state))
    solver.step(3)
    assert_same(expected, values(solver))


# ---------------------------------------------------------------- without a loss

SCORES = REGRESSION.partition('layer { name: "loss"')[0]


@pytest.mark.parametrize("call", ["step", "solve"])
def test_a_net_without_a_loss_is_refused(backend, call):
    solver = make(backend, SCORES, FIXED + "max_iter: 3 snapshot_after_train: false")
    with pytest.raises(
        SpecError,
        match=r"'regression' has no loss: .*loss_weight: 1.*force_backward: true",
    ):
        getattr(solver, call)()
    assert solver.iter == 0


def test_gradients_of_ones_own_need_no_loss(backend):
    net = SCORES.replace('name: "regression"', 'name: "r" force_backward: true')
    options = 'base_lr: 0.5 lr_policy: "fixed"'
    one, other = make(backend, net, options), make(backend, net, options)
    for solver in (one, other):
        feed(solver)
        solver.net.blobs["y"].diff[...] = 3
    one.step(2)
    np.testing.assert_allclose(one.net.params["ip"][1].data, -0.5 * 12 * 2, rtol=1e-6)
    for _ in range(2):
        other.net.clear_param_diffs()
        other.net.forward()
        other.net.backward(y=np.full((4, 2), 3))
        other.apply_update()
    assert_same(values(one), values(other))


def test_a_loss_weight_is_a_loss(backend):
    net = SCORES.replace('top: "y"', 'top: "y" loss_weight: 2')
    solver = make(backend, net, FIXED)
    feed(solver)
    solver.step(1)
    assert (solver.net.params["ip"][1].data < 0).all()


# ---------------------------------------------------------------- no test batches


def test_a_test_of_no_batch_has_no_results(backend):
    options = FIXED + "test_iter: 0 test_interval: 2 max_iter: 4 "
    solver = make(backend, options=options + "snapshot_after_train: false")
    seen = []
    solver.on_test(seen.append)
    solver.solve()
    assert solver.iter == 4
    assert solver.history.tests == seen == []
    assert solver.test() == []
