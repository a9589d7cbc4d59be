"""Rates by a cosine, with restarts, and one cycle with its momentum, by hand."""

import math

import numpy as np
import pytest

import runtime
from netspec.errors import SpecError
from netspec.schema import SolverParameter
from netspec.text import parse
from runtime.training.lr_policy import policy_of
from runtime.training.momentum import momentum_at, moves
from tests.runtime.training.test_solver import NOISE, assert_same, make, values

COSINE = 'lr_policy: "cosine" base_lr: 0.3 min_lr: 0.05 '
ONE = 'lr_policy: "onecycle" base_lr: 0.3 '


def read(text):
    return parse(text, SolverParameter)


def rates(text, count):
    policy = policy_of(read(text))
    return [policy.rate(iteration) for iteration in range(count)]


def by_cosine(low, high, share):
    return low + (high - low) * (1 + math.cos(math.pi * share)) / 2


def test_cosine_goes_from_base_lr_to_min_lr_and_stays():
    found = rates(COSINE + "max_iter: 8", 12)
    expected = [by_cosine(0.05, 0.3, min(1, t / 8)) for t in range(12)]
    assert found == pytest.approx(expected, rel=1e-6)
    assert found[0] == pytest.approx(0.3)
    assert found[4] == pytest.approx(0.175)
    assert found[8] == found[11] == pytest.approx(0.05)


def test_cosine_without_min_lr_ends_at_zero():
    assert rates('lr_policy: "cosine" base_lr: 0.3 max_iter: 5', 6)[5] == 0


def test_restarts_begin_anew_and_are_longer_each_time():
    """Counted one by one: cycles of 3, 6 and 12 iterations."""
    expected = []
    for length in (3, 6, 12):
        expected += [by_cosine(0.05, 0.3, place / length) for place in range(length)]
    found = rates(COSINE + "restart_iter: 3 restart_mult: 2", 21)
    assert found == pytest.approx(expected, rel=1e-6)
    equal = rates(COSINE + "restart_iter: 3 max_iter: 9", 9)
    assert equal == pytest.approx(expected[:3] * 3, rel=1e-6)


def test_a_cycle_need_not_be_whole_iterations_long():
    """Cycles of 2, 3 and 4.5 iterations: the third begins at 5, the fourth at 9.5."""
    found = rates(COSINE + "restart_iter: 2 restart_mult: 1.5", 11)
    assert found[5] == pytest.approx(0.3)
    assert found[9] == pytest.approx(by_cosine(0.05, 0.3, 4 / 4.5))
    assert found[10] == pytest.approx(by_cosine(0.05, 0.3, 0.5 / 6.75))


def test_warm_up_comes_ahead_of_a_cosine():
    text = COSINE + "max_iter: 20 warmup_iter: 4 warmup_start_lr: 0.1"
    found = rates(text, 6)
    assert found[:4] == pytest.approx([0.1, 0.15, 0.2, 0.25])
    assert found[4:] == pytest.approx([by_cosine(0.05, 0.3, t / 20) for t in (4, 5)])


def slow_cycle(base, total, start, div, final):
    """One cycle with half cosines, as an explicit walk over two legs."""
    low = base / div
    legs = [
        (0, start * total - 1, low, base),
        (start * total - 1, total - 1, base, low / final),
    ]
    found = []
    for t in range(total):
        first, last, one, other = legs[0] if t <= legs[0][1] else legs[1]
        found.append(by_cosine(other, one, (t - first) / (last - first)))
    return found


def test_one_cycle_grows_and_falls():
    text = ONE + "max_iter: 20 pct_start: 0.25 div_factor: 10 final_div_factor: 40"
    found = rates(text, 23)
    assert found[:20] == pytest.approx(slow_cycle(0.3, 20, 0.25, 10, 40), rel=1e-5)
    assert found[0] == pytest.approx(0.03)
    assert found[4] == pytest.approx(0.3)
    assert max(found) == found[4]
    assert found[19] == found[22] == pytest.approx(0.00075)


def test_one_cycle_by_default_is_that_of_pytorch():
    """The numbers are of OneCycleLR(max_lr=0.3, total_steps=10), worked out by hand."""
    found = rates(ONE + "max_iter: 10", 10)
    assert found == pytest.approx(slow_cycle(0.3, 10, 0.3, 25, 1e4), rel=1e-5)
    assert found[0] == pytest.approx(0.3 / 25)
    assert found[1] == pytest.approx(0.156)
    assert found[2] == pytest.approx(0.3)
    assert found[9] == pytest.approx(0.3 / 25 / 1e4, rel=1e-4)


@pytest.mark.parametrize("start", [0, 0.01, 1])
@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_one_cycle_of_any_length_is_finite(start, count):
    found = rates(ONE + f"max_iter: {count} pct_start: {start}", count + 2)
    assert all(0 < rate <= 0.3 * (1 + 1e-6) for rate in found)


def test_the_momentum_of_one_cycle_mirrors_the_rate():
    param = read(
        ONE + 'max_iter: 11 pct_start: 0.37 momentum_policy: "onecycle" momentum: 0.85'
    )
    assert moves(param)
    policy = policy_of(param)
    found = [momentum_at(param, t, policy.rate(t)) for t in range(13)]
    top = 0.37 * 11 - 1
    expected = [by_cosine(0.85, 0.95, t / top) for t in range(4)]
    expected += [by_cosine(0.95, 0.85, (t - top) / (10 - top)) for t in range(4, 11)]
    assert found == pytest.approx([*expected, 0.95, 0.95], rel=1e-6)
    param.max_momentum = 0.9
    assert momentum_at(param, 0, 0.1) == pytest.approx(0.9)


@pytest.mark.parametrize("kind", ["SGD", "Nesterov", "Adam"])
def test_a_run_follows_one_cycle_and_resumes(backend, tmp_path, kind):
    options = (
        f'type: "{kind}" lr_policy: "onecycle" base_lr: 0.02 max_iter: 9 momentum: 0.7 '
        f'momentum_policy: "onecycle" max_momentum: 0.9 snapshot_prefix: "{tmp_path}/n"'
    )
    straight = make(backend, options=options)
    straight.step(4)
    state = straight.snapshot().state
    seen = []
    straight.on_step(lambda record: seen.append(straight.update.settings.momentum))
    straight.step(5)
    found = [record.lr for record in straight.history.train]
    assert found == pytest.approx(slow_cycle(0.02, 9, 0.3, 25, 1e4), rel=1e-4)
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(0.9)
    resumed = make(backend, options=options)
    resumed.restore(state)
    resumed.step(5)
    assert_same(values(straight), values(resumed))


def test_a_rate_that_is_set_holds_on_a_cosine(backend):
    text = 'lr_policy: "cosine" base_lr: 0.03 min_lr: 0.005 max_iter: 40'
    solver = make(backend, net=NOISE, options=text)
    solver.step(10)
    solver.lr = 0.02
    assert solver.lr == pytest.approx(0.02)
    later = by_cosine(0.005, solver.param.base_lr, 0.75)
    assert solver.rates()[30] == pytest.approx(later)
    with pytest.raises(SpecError, match="lr cannot be set to 0.001: .* least 0.005"):
        solver.lr = 0.001


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ('lr_policy: "cosine" base_lr: 1', "'cosine' needs max_iter"),
        ('lr_policy: "onecycle" base_lr: 1', "'onecycle' needs max_iter"),
        ('lr_policy: "onecycle" max_iter: 3', "'onecycle' needs base_lr"),
        (COSINE + "max_iter: 0", "needs a positive max_iter, got 0"),
        (COSINE + "max_iter: 9 restart_iter: -1", "restart_iter must be at least 0"),
        (COSINE + "restart_iter: 3 restart_mult: 0.5", "restart_mult must be at least"),
        ('lr_policy: "cosine" base_lr: 1 min_lr: 2 max_iter: 3', "'cosine' would grow"),
        (
            ONE + "max_iter: 9 pct_start: 30",
            "pct_start is a part of max_iter, .* got 30",
        ),
        (ONE + "max_iter: 9 div_factor: 0", "div_factor must be at least 1, got 0"),
        (
            ONE + "max_iter: 9 final_div_factor: nan",
            "final_div_factor must be at least",
        ),
        (
            ONE + "max_iter: 9 warmup_iter: 3",
            "warmup_iter is given, but onecycle grows",
        ),
        ('lr_policy: "cosin" base_lr: 1', "did you mean 'cosine'"),
    ],
)
def test_what_cannot_be_is_told(text, match):
    with pytest.raises(SpecError, match=match):
        policy_of(read(text))


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (
            "max_iter: 9 type: 'RMSProp'",
            "for type SGD and Nesterov and Adam, not 'RMSP",
        ),
        ("max_iter: 9 momentum: 0.99", "goes down from 0.95, but momentum is 0.99"),
        ("max_iter: 9 lr_policy: 'fixed'", "mirrors the rate .* but that is 'fixed'"),
    ],
)
def test_what_the_momentum_cannot_be_is_told(text, match):
    text = f"{ONE if 'lr_policy' not in text else 'base_lr: 1 '} {text}"
    with pytest.raises(SpecError, match=match):
        moves(read(text + ' momentum_policy: "onecycle"'))


# ------------------------------------------------------------ ahead of training


def test_rates_ahead_of_training_are_those_of_the_run(backend):
    steps = 'lr_policy: "multistep" gamma: 0.5 stepvalue: 2 stepvalue: 2 stepvalue: 5 '
    text = f"base_lr: 0.02 max_iter: 8 warmup_iter: 1 {steps}"
    solver = make(backend, options=text)
    ahead = solver.rates()
    assert ahead.shape == (8,)
    solver.step(8)
    assert [record.lr for record in solver.history.train] == list(ahead)
    assert len(set(ahead)) == 5
    np.testing.assert_array_equal(runtime.rates(solver), ahead)


def test_rates_need_no_net():
    found = runtime.rates(lr_policy="cosine", base_lr=0.5, max_iter=4, min_lr=0.1)
    assert found == pytest.approx([by_cosine(0.1, 0.5, t / 4) for t in range(4)])
    assert list(runtime.rates("base_lr: 0.5 lr_policy: 'fixed'", 2)) == [0.5, 0.5]
    assert runtime.rates(base_lr=0.5, iterations=0).shape == (0,)


def test_rates_that_nobody_knows_are_told():
    with pytest.raises(SpecError, match="'plateau' follow from the losses of a run"):
        runtime.rates(
            lr_policy="plateau", base_lr=1, gamma=0.5, plateau_winsize=3, max_iter=4
        )
    with pytest.raises(SpecError, match="max_iter is missing; say how many"):
        runtime.rates(base_lr=0.1)
    with pytest.raises(SpecError, match="iterations is -1; expected an integer from 0"):
        runtime.rates(base_lr=0.1, iterations=-1)
