"""Learning rate policies against their formulas and Caffe's peculiarities."""

import math

import pytest

from netspec.errors import SpecError
from netspec.schema import SolverParameter
from netspec.text import parse
from runtime.training.lr_policy import policy_of


def policy(text: str):
    return policy_of(parse(text, SolverParameter))


@pytest.mark.parametrize(
    "text, iteration, expected",
    [
        ('lr_policy: "fixed" base_lr: 0.3', 17, 0.3),
        ('lr_policy: "step" base_lr: 0.3 gamma: 0.2 stepsize: 5', 4, 0.3),
        ('lr_policy: "step" base_lr: 0.3 gamma: 0.2 stepsize: 5', 14, 0.3 * 0.2**2),
        ('lr_policy: "exp" base_lr: 0.3 gamma: 0.9', 7, 0.3 * 0.9**7),
        ('lr_policy: "inv" base_lr: 0.3 gamma: 0.2 power: 0.75', 9, 0.3 * 2.8**-0.75),
        ('lr_policy: "inv" base_lr: 0.3 gamma: 0.2', 9, 0.3),
        (
            'lr_policy: "poly" base_lr: 0.3 power: 1.5 max_iter: 20',
            5,
            0.3 * 0.75**1.5,
        ),
        (
            'lr_policy: "sigmoid" base_lr: 0.3 gamma: 0.4 stepsize: 6',
            9,
            0.3 / (1 + math.exp(-0.4 * 3)),
        ),
    ],
)
def test_rate_is_that_of_the_formula(text, iteration, expected):
    assert policy(text).rate(iteration) == pytest.approx(expected, rel=1e-6)


MULTISTEP = 'lr_policy: "multistep" base_lr: 0.3 gamma: 0.2 '


def rates(text: str, count: int) -> list[float]:
    """The rates of the first iterations, as powers of gamma."""
    one, steps, powers = policy(text), 0, []
    for iteration in range(count):
        rate = one.rate(iteration, steps)
        steps = one.steps_at(iteration, steps)
        powers.append(round(math.log(rate / 0.3) / math.log(0.2)))
    return powers


def test_multistep_steps_at_its_values():
    assert rates(MULTISTEP + "stepvalue: 2 stepvalue: 5", 7) == [0, 0, 1, 1, 1, 2, 2]


def test_repeated_stepvalues_take_successive_iterations():
    text = MULTISTEP + "stepvalue: 1 stepvalue: 1 stepvalue: 1"
    assert rates(text, 5) == [0, 1, 2, 3, 3]


def test_multistep_begins_where_a_snapshot_left_it():
    one = policy(MULTISTEP + "stepvalue: 2 stepvalue: 5 stepvalue: 9")
    assert one.rate(6, steps=1) == pytest.approx(0.3 * 0.2**2)
    assert one.rate(6, steps=2) == pytest.approx(0.3 * 0.2**2)


def test_poly_is_zero_after_max_iter():
    one = policy('lr_policy: "poly" base_lr: 0.3 power: 0.5 max_iter: 20')
    assert one.rate(20) == 0
    assert one.rate(31) == 0


def test_sigmoid_far_from_its_middle_does_not_overflow():
    one = policy('lr_policy: "sigmoid" base_lr: 0.3 gamma: -4 stepsize: 600')
    assert one.rate(0) == pytest.approx(0.3)
    assert one.rate(10_000) == 0


def test_growing_rate_ends_at_infinity_not_in_an_exception():
    one = policy('lr_policy: "exp" base_lr: 0.3 gamma: 10')
    assert one.rate(400) == math.inf


@pytest.mark.parametrize(
    "text, message",
    [
        ("base_lr: 1", "lr_policy is missing; expected one of fixed, step, exp"),
        ('lr_policy: "stpe" base_lr: 1', "'stpe'; did you mean 'step'"),
        ('lr_policy: "fixed"', "'fixed' needs base_lr; add `base_lr: ...`"),
        ('lr_policy: "step" base_lr: 1', "'step' needs gamma and stepsize"),
        ('lr_policy: "exp" base_lr: 1', "'exp' needs gamma"),
        ('lr_policy: "multistep" base_lr: 1 gamma: 0.1', "needs stepvalue"),
        ('lr_policy: "poly" base_lr: 1 power: 2', "'poly' needs max_iter"),
        (
            'lr_policy: "step" base_lr: 1 gamma: 0.1 stepsize: 0',
            "a positive stepsize, got 0",
        ),
        (
            'lr_policy: "multistep" base_lr: 1 gamma: 0.1 stepvalue: 9 stepvalue: 3',
            r"stepvalue must not decrease, got \(9, 3\)",
        ),
    ],
)
def test_policy_that_gives_no_rate_is_refused(text, message):
    with pytest.raises(SpecError, match=message):
        policy(text)
