"""Learning rate policies against their formulas and Caffe's peculiarities."""

import math

import numpy as np
import pytest

from netspec.errors import SpecError
from netspec.schema import SolverParameter
from netspec.text import parse
from runtime.training.lr_policy import policy_of
from runtime.training.progress import Progress

STEPEARLY = (
    'lr_policy: "stepearly" base_lr: 1 gamma: 0.5 test_iter: 1 test_interval: 9 '
)


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
        ('lr_policy: "exp10" base_lr: 0.3 stepsize: 4', 6, 0.3 * 10**-1.5),
        (
            'lr_policy: "poly" base_lr: 0.3 power: 1.5 max_iter: 20 min_lr: 0.1',
            5,
            0.1 + 0.2 * 0.75**1.5,
        ),
        ('lr_policy: "exp" base_lr: 0.3 gamma: 0.5 min_lr: 0.07', 2, 0.075),
        ('lr_policy: "exp" base_lr: 0.3 gamma: 0.5 min_lr: 0.07', 3, 0.07),
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
            'lr_policy: "poly" base_lr: 0.5 max_iter: 9 min_lr: 0.75',
            r"min_lr 0\.75 is above base_lr 0\.5.*lower min_lr",
        ),
        ('lr_policy: "fixed" base_lr: 1 min_lr: -2', "min_lr must be at least 0"),
        (
            'lr_policy: "fixed" base_lr: 1 warmup_iter: 2 rampup_interval: 3',
            "both warmup_iter 2 and rampup_interval 3 are given; keep one",
        ),
        ('lr_policy: "exp10" base_lr: 1 stepsize: 0', "a positive stepsize, got 0"),
        ('lr_policy: "multifixed"', "needs stagelr and stageiter"),
        (
            'lr_policy: "multifixed" stagelr: 1 stagelr: 2 stageiter: 5',
            "2 stagelr and 1 stageiter; give a rate and its last iteration",
        ),
        (
            'lr_policy: "multifixed" stagelr: 1 stagelr: 2 stageiter: 5 stageiter: 3',
            r"stageiter must not decrease, got \(5, 3\)",
        ),
        ('lr_policy: "multifixed" stagelr: 1 stageiter: 5 warmup_iter: 2', "base_lr"),
        ('lr_policy: "plateau" base_lr: 1 gamma: 0.1', "needs plateau_winsize"),
        (
            'lr_policy: "plateau" base_lr: 1 gamma: 0.1 plateau_winsize: 0',
            r"plateau_winsize of at least 1, got \(0,\)",
        ),
        (
            'lr_policy: "stepearly" base_lr: 1 gamma: 0.1 stepearly: 2',
            "'stepearly' needs test_iter and test_interval",
        ),
        (
            STEPEARLY + "stepearly: 0",
            "a positive stepearly, got 0",
        ),
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


def test_multifixed_holds_a_rate_up_to_the_end_of_its_stage():
    one = policy(
        'lr_policy: "multifixed" stagelr: 0.5 stagelr: 0.25 stagelr: 0.125 '
        "stageiter: 2 stageiter: 3 stageiter: 6"
    )
    found = [one.rate(iteration) for iteration in range(9)]
    assert found == [0.5, 0.5, 0.5, 0.25, 0.125, 0.125, 0.125, 0.125, 0.125]


def test_a_rate_warms_up_evenly():
    one = policy(
        'lr_policy: "step" base_lr: 0.5 gamma: 0.5 stepsize: 3 warmup_iter: 4 '
        "warmup_start_lr: 0.25"
    )
    found = [one.rate(iteration) for iteration in range(7)]
    assert found == [0.25, 0.3125, 0.375, 0.4375, 0.25, 0.25, 0.125]


def test_a_rate_ramps_up_with_the_square():
    one = policy(
        'lr_policy: "fixed" base_lr: 0.5 rampup_interval: 4 rampup_lr: 0.25 '
        "min_lr: 0.26"
    )
    found = [one.rate(iteration) for iteration in range(6)]
    expected = [0.26, 0.265625, 0.3125, 0.390625, 0.5, 0.5]
    assert found == pytest.approx(expected, rel=1e-6)


def test_multistep_steps_once_an_iteration_after_a_warm_up():
    text = MULTISTEP + "stepvalue: 1 stepvalue: 2 warmup_iter: 3 warmup_start_lr: 0.3"
    assert rates(text, 6) == [0, 0, 0, 1, 2, 2]


def plateau_reference(losses, sizes, average, warm):
    """The steps taken at every iteration, in the plainest words."""
    lowest, event, steps, found = 1e38, 0, 0, []
    for iteration, _ in enumerate(losses):
        window = losses[max(0, iteration - average + 1) : iteration + 1]
        smoothed = sum(window) / len(window)
        if iteration >= warm:
            if smoothed < lowest:
                lowest, event = smoothed, iteration
            if steps < len(sizes) and iteration - event >= sizes[steps]:
                steps, event = steps + 1, iteration
        found.append(steps)
    return found


@pytest.mark.parametrize("average", [1, 3])
@pytest.mark.parametrize("warm", [0, 6])
def test_plateau_steps_where_no_loss_is_lower(average, warm):
    rng = np.random.default_rng(7)
    losses = (
        np.round(rng.random(60) * 64) / 64 + 2.0**-6 * np.arange(60, 0, -1)
    ).tolist()
    one = policy(
        'lr_policy: "plateau" base_lr: 0.5 gamma: 0.5 plateau_winsize: 5 '
        f"plateau_winsize: 3 plateau_winsize: 8 average_loss: {average} "
        f"warmup_iter: {warm} warmup_start_lr: 0.5"
    )
    progress, found = Progress(), []
    for iteration, loss in enumerate(losses):
        progress = one.after_loss(progress, iteration, loss)
        found.append(progress.steps)
        assert one.rate(iteration, progress.steps) == 0.5 * 0.5**progress.steps
    assert found == plateau_reference(losses, [5, 3, 8], average, warm)
    assert set(found) >= {0, 1, 2, 3}


def test_plateau_never_steps_on_the_way_down():
    one = policy('lr_policy: "plateau" base_lr: 1 gamma: 0.1 plateau_winsize: 2')
    progress = Progress()
    for iteration in range(20):
        progress = one.after_loss(progress, iteration, 1.0 - 0.01 * iteration)
    assert progress.steps == 0


def test_stepearly_steps_after_tests_without_a_higher_accuracy():
    one = policy(STEPEARLY + "stepearly: 2")
    accuracies = [0.2, 0.5, 0.5, 0.4, 0.45, 0.6, 0.6, 0.7, 0.1, 0.1, 0.1, 0.1]
    progress, found = Progress(), []
    for number, accuracy in enumerate(accuracies):
        progress = one.after_test(progress, 10 * number, accuracy)
        progress = one.after_test(progress, 10 * number, 0.99)  # done again: no news
        found.append(progress.steps)
    assert found == [0, 0, 0, 1, 1, 1, 1, 1, 1, 2, 2, 3]
