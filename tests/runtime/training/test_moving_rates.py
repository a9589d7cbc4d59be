"""Rates and momentum that follow losses, tests and iterations, in whole runs."""

import numpy as np
import pytest

import runtime
from netspec.errors import SpecError
from netspec.schema import SolverState
from tests.runtime.training.test_changes import momentum
from tests.runtime.training.test_solver import NOISE, assert_same, make, values

PLATEAU = (
    'base_lr: 0.02 lr_policy: "plateau" gamma: 0.5 plateau_winsize: 2 '
    "plateau_winsize: 1 plateau_winsize: 3 average_loss: 3 momentum: 0.8 "
)

SCORES = """
name: "scores"
layer { name: "data" type: "DummyData" top: "x"
        dummy_data_param { shape { dim: 6 dim: 5 } data_filler { type: "gaussian" } } }
layer { name: "t" type: "DummyData" top: "t"
        dummy_data_param { shape { dim: 6 } data_filler { type: "uniform" max: 2.9 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y"
        inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "y" bottom: "t" top: "loss" }
layer { name: "right" type: "Accuracy" bottom: "y" bottom: "t" top: "right"
        include { phase: TEST } }
"""
STEPEARLY = (
    'base_lr: 0.02 lr_policy: "stepearly" gamma: 0.5 stepearly: 1 test_iter: 1 '
    "test_interval: 2 momentum: 0.8 "
)


def rates(solver):
    return [record.lr for record in solver.history.train]


def test_plateau_follows_the_losses_of_the_run(backend):
    solver = make(backend, options=PLATEAU)
    solver.step(14)
    lowest, event, steps, expected = np.inf, 0, 0, []
    losses = [record.loss for record in solver.history.train]
    for iteration in range(14):
        smoothed = np.mean(losses[max(0, iteration - 2) : iteration + 1])
        if smoothed < lowest:
            lowest, event = smoothed, iteration
        if steps < 3 and iteration - event >= [2, 1, 3][steps]:
            steps, event = steps + 1, iteration
        expected.append(0.02 * 0.5**steps)
    assert rates(solver) == pytest.approx(expected)
    assert len(set(expected)) > 2
    assert solver.lr == pytest.approx(expected[-1])


@pytest.mark.parametrize("extra", ["", "snapshot_format: HDF5"], ids=["binary", "h5"])
@pytest.mark.parametrize(
    "net, options", [(NOISE, PLATEAU), (SCORES, STEPEARLY)], ids=["plateau", "early"]
)
def test_a_resumed_run_remembers(backend, tmp_path, net, options, extra):
    if extra:
        pytest.importorskip("h5py")
    options += f'snapshot_prefix: "{tmp_path}/n" {extra}'
    for stop in (2, 5):
        straight = make(backend, net=net, options=options)
        straight.step(stop)
        state = straight.snapshot().state
        straight.step(9)
        resumed = make(backend, net=net, options=options)
        resumed.restore(state)
        resumed.step(9)
        assert rates(straight)[stop:] == rates(resumed)
        assert_same(values(straight), values(resumed))
        assert len(set(rates(resumed))) > 1


def test_stepearly_follows_the_accuracy_of_the_tests(backend):
    solver = make(backend, net=SCORES, options=STEPEARLY)
    solver.step(12)
    best, steps, expected = -1.0, 0, []
    tests = {test.iteration: test for test in solver.history.tests}
    for iteration in range(12):
        if iteration in tests:
            right = float(tests[iteration].outputs["right"])
            steps += right <= best
            best = max(best, right)
        expected.append(0.02 * 0.5**steps)
    assert rates(solver) == pytest.approx(expected)
    assert len(set(expected)) > 2


def test_a_test_by_hand_is_none_of_stepearlys(backend):
    one, other = (make(backend, net=SCORES, options=STEPEARLY) for _ in range(2))
    one.step(5)
    other.step(3)
    for _ in range(3):
        other.test()
    other.step(2)
    assert rates(one) == rates(other)


def test_stepearly_without_an_accuracy_is_refused(backend):
    solver = make(backend, options=STEPEARLY)
    with pytest.raises(
        SpecError, match="accuracy of test net 0, which has no Accuracy"
    ):
        solver.step(1)


def test_momentum_that_moves(backend):
    options = (
        'base_lr: 0 lr_policy: "fixed" momentum: 0.5 momentum_policy: "poly" '
        "max_momentum: 0.75 momentum_power: 2 max_iter: 4 "
    )
    solver = make(backend, options=options)
    solver.param.base_lr = 0.01
    solver.step(1)
    solver.param.base_lr = 0
    for iteration in range(1, 6):
        before = momentum(solver)
        assert np.abs(before).max() > 0
        solver.step(1)
        kept = 0.5 + 0.25 * min(1, iteration / 4) ** 2
        np.testing.assert_allclose(momentum(solver), kept * before, rtol=1e-5)


def test_best_momentum_of_a_rate(backend):
    options = 'base_lr: 0.04 lr_policy: "fixed" momentum_policy: "opt" type: "Nesterov"'
    plain = 'base_lr: 0.04 lr_policy: "fixed" momentum: 0.81 type: "Nesterov"'
    bound = options + " max_momentum: 0.25"
    solvers = [make(backend, options=o) for o in (options, plain, bound)]
    for solver in solvers:
        solver.step(4)
    found = [np.concatenate([v.ravel() for v in values(s).values()]) for s in solvers]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5, atol=1e-6)
    assert np.abs(found[2] - found[1]).max() > 1e-4


@pytest.mark.parametrize(
    "options, message",
    [
        ('momentum_policy: "ply"', "'ply'; did you mean 'poly'"),
        ('momentum_policy: "poly"', "'poly' needs a positive max_iter, got 0"),
        ('momentum_policy: "opt" type: "Adam"', "is for type SGD and Nesterov, not"),
        ('momentum_policy: "opt" max_momentum: 1', "max_momentum must be .* below 1"),
        (
            'momentum_policy: "poly" max_iter: 9 momentum_power: -1',
            "momentum_power must be at least 0, got -1",
        ),
    ],
)
def test_momentum_policies_that_cannot_be(backend, options, message):
    with pytest.raises(SpecError, match=message):
        make(backend, options='base_lr: 1 lr_policy: "fixed" ' + options)


@pytest.mark.parametrize(
    "options, rate, base",
    [
        ('lr_policy: "fixed" warmup_iter: 4 warmup_start_lr: 0.25', 0.5, 1.25),
        ('lr_policy: "fixed" rampup_interval: 4 rampup_lr: 0.5', 0.6875, 3.5),
        ('lr_policy: "poly" power: 1 max_iter: 4 min_lr: 0.25', 0.625, 0.75),
    ],
)
def test_a_rate_is_set_where_it_grows_and_has_an_end(backend, options, rate, base):
    solver = make(backend, options="base_lr: 0.5 " + options)
    solver.step(1)
    solver.lr = rate
    assert solver.lr == pytest.approx(rate)
    assert solver.param.base_lr == pytest.approx(base)


def test_a_rate_below_the_lowest_is_refused(backend):
    solver = make(backend, options='base_lr: 0.5 lr_policy: "fixed" min_lr: 0.25')
    with pytest.raises(SpecError, match=r"in iteration 0 it is at least 0\.25; change"):
        solver.lr = 0.125
    assert solver.param.base_lr == 0.5


def test_files_of_ssd_give_their_lowest_loss(tmp_path, backend):
    options = PLATEAU + f'snapshot_prefix: "{tmp_path}/n"'
    solver = make(backend, options=options)
    solver.step(5)
    path = solver.snapshot().state
    state = SolverState.FromString(path.read_bytes())
    smoothed = [record.smoothed_loss for record in solver.history.train]
    assert state.minimum_loss == pytest.approx(min(smoothed))
    state.minimum_loss = -1  # nothing is ever lower
    state.iter_last_event = 5
    del state.recent_losses[:]
    path.write_bytes(state.SerializeToString())
    resumed = make(backend, options=options)
    resumed.restore(path)
    resumed.step(5)
    first = 0.02 * 0.5**state.current_step
    size = [2, 1, 3][state.current_step]
    assert rates(resumed)[: size + 1] == pytest.approx([first] * size + [first / 2])


def test_runs_in_pieces_have_the_rates_of_one(backend):
    one, other = (make(backend, options=PLATEAU) for _ in range(2))
    one.step(10)
    for _ in range(10):
        other.step(1)
    assert rates(one) == rates(other)
    assert isinstance(one, runtime.Solver)
