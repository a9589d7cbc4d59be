"""Update rules against plain recurrences in float64."""

import math

import numpy as np
import pytest

from netspec.errors import SpecError
from netspec.graph import Parameter, Use
from netspec.schema import FillerParameter, SolverParameter
from netspec.text import parse
from runtime.arena import flat_buffers
from runtime.backends import get_backend
from runtime.training.updates import settings_of, update_of
from runtime.update_rules import UPDATES, Settings, Update
from tests.allocation import allocated_bytes

SHAPES = [(3, 5), (7,), (2, 3, 4), (11,)]
LR_MULTS = [1.0, 1.0, 2.5, 0.5]
DECAY_MULTS = [1.0, 1.0, 0.0, 3.0]
DELTA = 2.0**-8  # like all numbers here, the same in float32 and float64


def parameter(index, shape, lr_mult=1.0, decay_mult=1.0, learn=True):
    use, filler = Use(index, 0), FillerParameter()
    return Parameter(
        index, "", shape, filler, use, (use,), lr_mult, decay_mult, learn, None
    )


def parameters():
    rows = zip(SHAPES, LR_MULTS, DECAY_MULTS, strict=True)
    return [parameter(index, *row) for index, row in enumerate(rows)]


def solver(text: str) -> SolverParameter:
    return parse(text, SolverParameter)


class State:
    """One parameter in float64, with the running values of its rule."""

    def __init__(self, w):
        self.w = w
        self.h = np.zeros_like(w)
        self.d = np.zeros_like(w)


SETTINGS = {}  # options of the solver, by rule
FORMULAS = {}  # what is subtracted from w in step t from 1, by rule


def reference(settings):
    """The decorated function is the formula of the rule of its name."""

    def register(function):
        SETTINGS[function.__name__] = settings
        FORMULAS[function.__name__] = function
        return function

    return register


@reference("momentum: 0.75")
def SGD(s, g, rate, t):
    s.h = 0.75 * s.h + rate * g
    return s.h


@reference("momentum: 0.75")
def Nesterov(s, g, rate, t):
    old, s.h = s.h, 0.75 * s.h + rate * g
    return 1.75 * s.h - 0.75 * old


@reference(f"delta: {DELTA}")
def AdaGrad(s, g, rate, t):
    s.h = s.h + g**2
    return rate * g / (np.sqrt(s.h) + DELTA)


@reference(f"rms_decay: 0.625 delta: {DELTA}")
def RMSProp(s, g, rate, t):
    s.h = 0.625 * s.h + 0.375 * g**2
    return rate * g / (np.sqrt(s.h) + DELTA)


@reference(f"momentum: 0.75 delta: {DELTA}")
def AdaDelta(s, g, rate, t):
    s.h = 0.75 * s.h + 0.25 * g**2
    u = g * np.sqrt((s.d + DELTA) / (s.h + DELTA))
    s.d = 0.75 * s.d + 0.25 * u**2
    return rate * u


@reference(f"momentum: 0.75 momentum2: 0.9375 delta: {DELTA}")
def Adam(s, g, rate, t):
    s.h = 0.75 * s.h + 0.25 * g
    s.d = 0.9375 * s.d + 0.0625 * g**2
    correction = math.sqrt(1 - 0.9375**t) / (1 - 0.75**t)
    return rate * correction * s.h / (np.sqrt(s.d) + DELTA)


def run(backend, text, steps=5, dtype="float64", own=None, seed=0):
    """Update random parameters; return them with the update and the gradients used."""
    rng = np.random.default_rng(seed)
    own = own or parameters()
    flat = flat_buffers(backend, own, dtype)
    start = {p.index: rng.normal(size=p.shape) for p in own}
    for p in own:
        values = start[p.index].reshape(-1).astype(dtype)
        backend.upload(values, out=flat.data[flat.slices[p.index]])
    update = update_of(solver(text), flat, own, backend)
    gradients = []
    for iteration in range(steps):
        drawn = {p.index: rng.normal(size=p.shape) for p in own}
        gradients.append(drawn)
        for p in own:
            values = drawn[p.index].reshape(-1).astype(dtype)
            backend.upload(values, out=flat.diff[flat.slices[p.index]])
        update.apply(0.1 * 0.9**iteration, iteration)
    return flat, update, start, gradients


def host(backend, array):
    out = np.empty(array.shape, str(array.dtype))
    backend.download(array, out=out)
    return out


def no_penalty(w):
    return 0 * w


def check_rule(backend, rule, decay="", penalty=no_penalty):
    """Compare a rule with its formula over some steps."""
    text = f'type: "{rule}" {SETTINGS[rule]} {decay} iter_size: 3'
    flat, _, start, gradients = run(backend, text)
    for p in parameters():
        s = State(start[p.index])
        for iteration, drawn in enumerate(gradients):
            g = drawn[p.index] / 3 + p.decay_mult * penalty(s.w)
            rate = 0.1 * 0.9**iteration * p.lr_mult
            s.w = s.w - FORMULAS[rule](s, g, rate, iteration + 1)
        got = host(backend, flat.data[flat.slices[p.index]]).reshape(p.shape)
        np.testing.assert_allclose(got, s.w, rtol=1e-10)


@pytest.mark.parametrize("rule", UPDATES)
@pytest.mark.parametrize(
    "decay, penalty",
    [
        ("", no_penalty),
        ("weight_decay: 0.375", lambda w: 0.375 * w),
        ('weight_decay: 0.375 regularization_type: "L1"', lambda w: 0.375 * np.sign(w)),
    ],
    ids=["plain", "L2", "L1"],
)
def test_rule_follows_its_formula(backend, rule, decay, penalty):
    check_rule(backend, rule, decay, penalty)


def test_norm_of_all_summed_gradients_is_clipped_before_decay_and_iter_size(backend):
    text = 'type: "SGD" clip_gradients: 0.75 iter_size: 3 weight_decay: 0.25'
    flat, _, start, (drawn,) = run(backend, text, steps=1)
    norm = math.sqrt(sum(float((g**2).sum()) for g in drawn.values()))
    assert norm > 0.75
    for p in parameters():
        g = drawn[p.index] * 0.75 / norm / 3 + 0.25 * p.decay_mult * start[p.index]
        got = host(backend, flat.data[flat.slices[p.index]]).reshape(p.shape)
        expected = start[p.index] - 0.1 * p.lr_mult * g
        np.testing.assert_allclose(got, expected, rtol=1e-10)


def test_gradients_below_the_limit_are_not_clipped(backend):
    clipped, *_ = run(backend, 'type: "SGD" clip_gradients: 1000')
    plain, *_ = run(backend, 'type: "SGD"')
    expected = host(backend, plain.data)
    np.testing.assert_array_equal(host(backend, clipped.data), expected)


def test_clip_gradients_zero_leaves_decay_only(backend):
    text = 'type: "SGD" clip_gradients: 0 weight_decay: 0.5'
    flat, _, start, _ = run(backend, text, steps=1)
    got = host(backend, flat.data[flat.slices[0]]).reshape(SHAPES[0])
    np.testing.assert_allclose(got, start[0] * (1 - 0.1 * 0.5), rtol=1e-10)


def test_frozen_parameter_stays_but_its_gradient_counts_for_clipping(backend):
    own = [parameter(0, (3, 5), lr_mult=0), parameter(1, (7,))]
    flat, _, start, (drawn,) = run(
        backend, 'type: "SGD" clip_gradients: 0.75 weight_decay: 0.5', steps=1, own=own
    )
    norm = math.sqrt(sum(float((g**2).sum()) for g in drawn.values()))
    frozen = host(backend, flat.data[flat.slices[0]]).reshape(3, 5)
    np.testing.assert_array_equal(frozen, start[0])
    expected = start[1] - 0.1 * (drawn[1] * 0.75 / norm + 0.5 * start[1])
    got = host(backend, flat.data[flat.slices[1]])
    np.testing.assert_allclose(got, expected, rtol=1e-10)


def test_gradient_that_no_layer_computes_is_zero_but_decay_acts(backend):
    own = [parameter(0, (3, 5), learn=False), parameter(1, (7,))]
    text = 'type: "SGD" clip_gradients: 0.75 weight_decay: 0.5'
    flat, _, start, (drawn,) = run(backend, text, steps=1, own=own)
    norm = math.sqrt(float((drawn[1] ** 2).sum()))
    got = host(backend, flat.data[flat.slices[0]]).reshape(3, 5)
    np.testing.assert_allclose(got, start[0] * (1 - 0.1 * 0.5), rtol=1e-10)
    expected = start[1] - 0.1 * (drawn[1] * 0.75 / norm + 0.5 * start[1])
    got = host(backend, flat.data[flat.slices[1]])
    np.testing.assert_allclose(got, expected, rtol=1e-10)


def test_neighbours_with_equal_multipliers_are_one_block(backend):
    _, update, _, _ = run(backend, 'type: "SGD" weight_decay: 0.1', steps=1)
    assert [(block.lr_mult, block.decay) for block in update.blocks] == [
        (1.0, pytest.approx(0.1)),
        (2.5, 0.0),
        (0.5, pytest.approx(0.3)),
    ]
    assert update.blocks[0].w.size > 15 + 7  # the gap between the two included


def test_parameters_without_gradients_lie_last_and_are_cleared_at_once(backend):
    shapes = [(3, 5), (7,), (2, 3, 4), (), (11,)]
    own = [parameter(i, shape, learn=i in (0, 2, 4)) for i, shape in enumerate(shapes)]
    flat, update, start, gradients = run(backend, 'type: "SGD"', own=own)
    assert [flat.slices[i].start for i in (0, 2, 4, 1, 3)] == sorted(
        place.start for place in flat.slices.values()
    )
    # What is learned is one run, though others come between in the net.
    first = flat.slices[1].start
    assert flat.unlearned == first
    assert [block.w.size > first for block in update.blocks] == [True]
    for p in own:
        drawn = [0.1 * 0.9**i * one[p.index] for i, one in enumerate(gradients)]
        expected = start[p.index] - (sum(drawn) if p.learn else 0)
        got = host(backend, flat.data[flat.slices[p.index]]).reshape(p.shape)
        np.testing.assert_allclose(got, expected, rtol=1e-10)
    for index in (1, 3):
        flat.diff[flat.slices[index]].fill(np.nan)
    assert update.finite()
    assert not host(backend, flat.diff[first:]).any()
    flat.diff[flat.slices[4]].fill(np.nan)
    assert not update.finite()


@pytest.mark.parametrize("rule", UPDATES)
def test_blocks_of_any_size_give_the_same(backend, rule, monkeypatch):
    text = f'type: "{rule}" {SETTINGS[rule]} weight_decay: 0.375'
    whole, *_ = run(backend, text)
    monkeypatch.setattr(type(backend), "block_elements", 4)
    cut, update, *_ = run(backend, text)
    assert len(update.blocks) > 12
    np.testing.assert_array_equal(host(backend, whole.data), host(backend, cut.data))


@pytest.mark.parametrize("rule", ["AdaGrad", "RMSProp", "AdaDelta", "Adam"])
def test_a_gradient_whose_square_overflows_moves_nothing(backend, rule):
    own = [parameter(0, (50,))]
    flat = flat_buffers(backend, own, "float32")
    text = f'type: "{rule}" {SETTINGS[rule]}'
    update = update_of(solver(text), flat, own, backend)
    large = np.full(50, 1e25, np.float32)
    with np.errstate(all="ignore"):
        for iteration in range(2):
            backend.upload(large, out=flat.diff[flat.slices[0]])
            update.apply(0.1, iteration)
    np.testing.assert_array_equal(host(backend, flat.data), 0)


@pytest.mark.parametrize("rule", ["AdaGrad", "RMSProp", "AdaDelta", "Adam"])
def test_gaps_between_parameters_stay_zero_even_without_delta(backend, rule):
    text = SETTINGS[rule].replace(f"delta: {DELTA}", "delta: 0")
    flat, *_ = run(backend, f'type: "{rule}" {text} clip_gradients: 50')
    covered = np.zeros(flat.data.size, bool)
    for place in flat.slices.values():
        covered[place] = True
    assert not covered.all()
    for array in (flat.data, flat.diff):
        values = host(backend, array)
        assert np.isfinite(values).all()
        assert not values[~covered].any()


def test_diff_holds_the_update_afterwards_as_in_caffe(backend):
    flat, _, start, _ = run(backend, f'type: "SGD" {SETTINGS["SGD"]}', steps=1)
    place = flat.slices[2]
    moved = start[2].reshape(-1) - host(backend, flat.data[place])
    np.testing.assert_allclose(host(backend, flat.diff[place]), moved, rtol=1e-10)


@pytest.mark.parametrize("rule", UPDATES)
def test_nothing_is_allocated_in_the_steady_state(backend, rule):
    if backend.name != "numpy":
        pytest.skip("tracemalloc sees host memory only")
    own = [parameter(0, (300, 500)), parameter(1, (50_000,), decay_mult=0.5)]
    text = f'type: "{rule}" {SETTINGS[rule]} weight_decay: 0.375 clip_gradients: 9'
    _, update, *_ = run(backend, text, dtype="float32", own=own, steps=2)
    assert allocated_bytes(lambda: update.apply(0.1, 3)) < 4_000


class SignDescent(Update):
    """A rule that no backend has compiled: w -= rate * sign(g)."""

    type = "SignDescent"
    takes_momentum = False

    def step(self, block, rate, iteration):
        self.xp.sign(block.g, out=block.g)
        self.xp.multiply(block.g, rate, out=block.g)


@pytest.mark.parametrize("name", [None, "numpy", "portable"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_rule_that_is_new_trains_on_every_backend(backend, name, dtype, monkeypatch):
    monkeypatch.setitem(UPDATES, "SignDescent", SignDescent)
    backend = get_backend(name) if name else backend
    text = 'type: "SignDescent" weight_decay: 0.375'
    flat, _, start, gradients = run(backend, text, dtype=dtype)
    for p in parameters():
        w = start[p.index]
        for iteration, drawn in enumerate(gradients):
            g = drawn[p.index] + 0.375 * p.decay_mult * w
            w = w - 0.1 * 0.9**iteration * p.lr_mult * np.sign(g)
        got = host(backend, flat.data[flat.slices[p.index]]).reshape(p.shape)
        tolerance = 1e-5 if dtype == "float32" else 1e-10  # of a sum of five steps
        np.testing.assert_allclose(got, w, rtol=tolerance, atol=tolerance)
    with pytest.raises(SpecError, match="'SignDescent' has no momentum.*got 0.5"):
        settings_of(solver(f"{text} momentum: 0.5"))


@pytest.mark.parametrize(
    "text, message",
    [
        ('type: "Adm"', "unknown type 'Adm'; did you mean 'Adam'"),
        ('type: "AdaGrad" momentum: 0.9', "'AdaGrad' has no momentum.*got 0.9"),
        ('type: "RMSProp" momentum: 0.5', "'RMSProp' has no momentum"),
        ('type: "RMSProp" rms_decay: 1', "rms_decay must be .* below 1, got 1"),
        ('type: "Adam" momentum: 1', "momentum must be .* below 1, got 1"),
        ('type: "Adam" momentum2: -0.5', "momentum2 must be at least 0.*got -0.5"),
        ("iter_size: 0", "iter_size must be at least 1, got 0"),
        (
            'weight_decay: 1 regularization_type: "L3"',
            "regularization_type is 'L3'; expected 'L2' or 'L1'",
        ),
    ],
)
def test_settings_that_cannot_be_are_refused(text, message):
    with pytest.raises(SpecError, match=message):
        settings_of(solver(text))


def test_defaults_are_those_of_caffe():
    assert settings_of(solver("")) == Settings(
        momentum=0.0,
        momentum2=pytest.approx(0.999),
        rms_decay=pytest.approx(0.99),
        delta=pytest.approx(1e-8),
        weight_decay=0.0,
        regularization_type="L2",
        clip_gradients=-1.0,
        iter_size=1,
    )
