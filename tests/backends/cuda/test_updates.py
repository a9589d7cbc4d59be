"""Update rules on the device against the portable ones in float64."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netspec.errors import SpecError
from netspec.graph import Parameter, Use
from netspec.schema import FillerParameter, SolverParameter
from netspec.text import parse
from runtime.arena import flat_buffers
from runtime.backends.cuda.machine.program import Program
from runtime.backends.cuda.updates import RULES, FusedUpdate, Scaling, loss_totals
from runtime.backends.portable import PortableBackend
from runtime.training.updates import update_of
from runtime.update_rules import Update

OPTIONS = {
    "SGD": "momentum: 0.75",
    "Nesterov": "momentum: 0.75",
    "AdaGrad": "delta: 0.00390625",
    "RMSProp": "rms_decay: 0.625 delta: 0.00390625",
    "AdaDelta": "momentum: 0.75 delta: 0.00390625",
    "Adam": "momentum: 0.75 momentum2: 0.9375 delta: 0.00390625",
}
# Shape, lr_mult, decay_mult, learn: several pieces, tails, one element, none.
OWN = [
    ((61, 77), 1.0, 1.0, True),
    ((61,), 2.0, 0.0, True),
    ((5, 3), 1.0, 1.0, False),  # decays, though nothing computes its gradient
    ((2048,), 1.0, 1.0, True),
    ((300,), 0.0, 0.0, False),  # a statistic
    ((0, 4), 1.0, 1.0, True),
    ((2, 2, 517), 1.0, 3.0, True),
    ((1,), 0.5, 3.0, True),
    ((7, 9), 0.0, 1.0, True),  # counts in the norm, stays as it is
]


def parameters(rows):
    use, filler = Use(0, 0), FillerParameter()
    return [
        Parameter(index, "", shape, filler, use, (use,), lr, decay, learn, None)
        for index, (shape, lr, decay, learn) in enumerate(rows)
    ]


class Bound:
    """An update bound to arrays with random values."""

    def __init__(self, backend, text, dtype="float32", rows=OWN, seed=3):
        self.backend, self.own = backend, parameters(rows)
        self.flat = flat_buffers(backend, self.own, dtype)
        self.rng = np.random.default_rng(seed)
        self._scatter(self.flat.data)
        solver = parse(text, SolverParameter)
        self.update = update_of(solver, self.flat, self.own, backend)

    def _scatter(self, array, factor=1.0):
        values = np.zeros(array.shape, str(array.dtype))
        for parameter in self.own:
            place = self.flat.slices[parameter.index]
            size = place.stop - place.start
            drawn = self.rng.normal(size=size).astype("float32")
            values[place] = factor * drawn
        self.backend.upload(values, array)

    def draw(self, factor=1.0):
        """Fill in new gradients."""
        self._scatter(self.flat.diff, factor)

    def put(self, index, value):
        """Set the last value of the gradient of a parameter."""
        values = self.host(self.flat.diff)
        values[self.flat.slices[index].stop - 1] = value
        self.backend.upload(values, self.flat.diff)

    def host(self, array):
        out = np.empty(array.shape, str(array.dtype))
        self.backend.download(array, out)
        return out

    def arrays(self):
        mine = (self.flat.data, self.flat.diff, *self.update.history)
        return [self.host(array) for array in mine]

    def values(self):
        """Return the same arrays without the gaps between parameters."""
        places = self.flat.slices.values()
        return [np.concatenate([one[p] for p in places]) for one in self.arrays()]

    def fused(self, **options) -> FusedUpdate:
        return FusedUpdate(
            self.backend.device, self.backend.runner, self.update, **options
        )


def solver_text(rule, more=""):
    return f'type: "{rule}" {OPTIONS[rule]} weight_decay: 0.375 {more}'


def check(cuda, text, rows=OWN, steps=3):
    fast = Bound(cuda, text, rows=rows)
    slow = Bound(PortableBackend(), text, "float64", rows=rows)
    assert isinstance(fast.update.whole, FusedUpdate)
    for iteration in range(steps):
        for one in (fast, slow):
            one.draw()
            one.update.apply(0.1 * 0.9**iteration, iteration)
        for got, want in zip(fast.values(), slow.values(), strict=True):
            np.testing.assert_allclose(got, want, rtol=3e-5, atol=3e-6)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    "more",
    [
        "",
        'regularization_type: "L1"',
        "clip_gradients: 7.5 iter_size: 3",
        "clip_gradients: 7500",
        "clip_gradients: 0",
    ],
)
def test_it_is_the_portable_one(cuda, rule, more):
    check(cuda, solver_text(rule, more))


@settings(max_examples=25)
@given(data=st.data(), rule=st.sampled_from(list(RULES)))
def test_parameters_of_any_size(cuda, data, rule):
    size = st.integers(0, 40) | st.integers(2030, 4200)
    row = st.tuples(
        st.tuples(size),
        st.sampled_from([0.0, 1.0, 2.0]),
        st.sampled_from([0.0, 1.0]),
        st.booleans(),
    )
    rows = data.draw(st.lists(row, min_size=1, max_size=7))
    check(cuda, solver_text(rule, "clip_gradients: 3"), rows, steps=2)


@pytest.mark.parametrize("rule", RULES)
def test_parameters_without_elements_join_no_others(cuda, rule):
    rows = [((1,), 0.0, 0.0, False), ((0,), 1.0, 1.0, False), ((0,), 1.0, 1.0, True)]
    check(cuda, solver_text(rule), rows)
    for backend in (cuda, PortableBackend()):
        bound = Bound(backend, solver_text(rule), rows=rows)
        before = bound.host(bound.flat.data)
        bound.draw()
        bound.update.apply(0.1, 0)
        np.testing.assert_array_equal(bound.host(bound.flat.data), before)
        assert not any(moment.any() for moment in bound.arrays()[2:])


def test_a_net_without_parameters_is_no_error(cuda):
    bound = Bound(cuda, solver_text("SGD"), rows=[])
    bound.update.apply(0.1, 0)
    assert bound.update.finite()


def test_delta_0_leaves_the_gaps_at_zero(cuda):
    text = 'type: "Adam" momentum: 0.75 momentum2: 0.9375 delta: 0'
    bound = Bound(cuda, text)
    bound.draw()
    bound.update.apply(0.1, 0)
    covered = np.zeros(bound.flat.data.size, bool)
    for place in bound.flat.slices.values():
        covered[place] = True
    assert not covered.all()
    for values in bound.arrays():
        assert not values[~covered].any()


def test_others_run_as_they_are_written(cuda):
    assert Bound(cuda, solver_text("SGD"), "float64").update.whole is None


class Halving(Update):
    """A rule that no backend knows."""

    type = "Halving"
    moments = 0


def test_a_rule_that_is_new_is_left_to_its_own_code(cuda):
    bound = Bound(cuda, solver_text("SGD"))
    update = Halving(bound.flat, bound.own, bound.update.settings, cuda)
    assert cuda.whole_update(update) is None


# ---------------------------------------------------------------- finiteness

BAD = [float("nan"), float("inf"), float("-inf")]


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("index", [0, 1, 3, 6, 7, 8])
def test_any_gradient_that_is_not_finite_is_seen(cuda, index, value):
    bound = Bound(cuda, solver_text("SGD"))
    bound.draw()
    assert bound.update.finite()
    bound.put(index, value)
    assert not bound.update.finite()


@pytest.mark.parametrize("index", [2, 4])
def test_what_nothing_computes_does_not_count_and_is_cleared(cuda, index):
    text = solver_text("SGD", "clip_gradients: 7.5")
    bound, other = Bound(cuda, text), Bound(cuda, text)
    bound.draw()
    other.draw()
    bound.put(index, float("nan"))
    assert bound.update.finite()
    for one in (bound, other):
        one.update.apply(0.1, 0)
    for got, want in zip(bound.arrays(), other.arrays(), strict=True):
        np.testing.assert_array_equal(got, want)
    assert not bound.host(bound.flat.diff[bound.flat.slices[4]]).any()


def test_large_values_whose_squares_overflow_are_finite(cuda):
    bound = Bound(cuda, solver_text("SGD"))
    bound.draw(1e30)
    assert bound.update.finite()


def run_calls(bound, fused, iteration, *, careful=False):
    fused.prepare(0.1, iteration, 0.5, careful=careful)
    for call in fused.calls:
        call()


def test_careful_steps_end_at_what_is_not_finite(cuda):
    bound = Bound(cuda, solver_text("Adam"))
    fused = bound.fused()
    bound.draw()
    run_calls(bound, fused, 4, careful=True)
    assert fused.read().bad is None
    before = bound.arrays()
    bound.draw()
    bound.put(3, float("nan"))
    run_calls(bound, fused, 5, careful=True)
    bound.draw()
    run_calls(bound, fused, 6, careful=True)  # all is finite again, but it is late
    after = bound.arrays()
    for kind in (0, 2, 3):  # parameters and running values
        np.testing.assert_array_equal(after[kind], before[kind])
    state = fused.read()
    assert (state.bad, state.halted) == (5, True)
    assert (state.bad_gradient, state.bad_loss) == (True, False)
    fused.clear()
    run_calls(bound, fused, 7, careful=True)
    assert fused.read().bad is None
    assert (bound.arrays()[0] != before[0]).any()


def test_other_steps_are_taken_and_remembered(cuda):
    bound = Bound(cuda, solver_text("SGD"))
    fused = bound.fused()
    bound.draw()
    bound.put(3, float("nan"))
    run_calls(bound, fused, 5)
    assert np.isnan(bound.arrays()[0][bound.flat.slices[3].stop - 1])
    bound.draw()
    run_calls(bound, fused, 6)
    state = fused.read()
    assert (state.bad, state.halted, state.gradient) == (5, False, False)


@pytest.mark.parametrize("value", BAD)
def test_losses_are_watched(cuda, value):
    bound = Bound(cuda, solver_text("SGD"))
    fused = bound.fused()
    losses = cuda.zeros((3,), "float32")
    fused.watch(losses)
    bound.draw()
    before = bound.arrays()[0]
    cuda.upload(np.array([1, 2, value], "float32"), losses)
    run_calls(bound, fused, 0, careful=True)
    np.testing.assert_array_equal(bound.arrays()[0], before)
    state = fused.read()
    assert (state.loss, state.gradient, state.bad_loss) == (True, False, True)
    with pytest.raises(SpecError, match="watched before the calls are taken"):
        fused.watch(losses)


def test_a_captured_step_has_the_same_bits(cuda):
    text = solver_text("Adam", "clip_gradients: 7.5")
    one, other = Bound(cuda, text), Bound(cuda, text)
    fused = other.fused()
    program = Program(cuda.device, fused.calls)
    for iteration in range(4):
        one.draw()
        other.draw()
        one.update.apply(0.1 / (1 + iteration), iteration)
        fused.prepare(0.1 / (1 + iteration), iteration, 1.0)
        program()
        for got, want in zip(other.arrays(), one.arrays(), strict=True):
            np.testing.assert_array_equal(got, want)


# ---------------------------------------------------------------- scaled losses


def test_a_scale_of_the_losses_changes_no_bit(cuda):
    bound, plain = Bound(cuda, solver_text("Adam")), Bound(cuda, solver_text("Adam"))
    fused = bound.fused(scaling=Scaling(first=1024))
    for iteration in range(2):
        bound.draw(1024)
        plain.draw()
        run_calls(bound, fused, iteration)
        plain.update.whole.apply(0.1, iteration, 0.5)
    fixed = bound.flat.slices[8]  # its gradient is nobody's update
    for got, want in zip(bound.arrays(), plain.arrays(), strict=True):
        np.testing.assert_array_equal(got[: fixed.start], want[: fixed.start])


def test_clipping_is_of_gradients_without_their_scale(cuda):
    text = solver_text("SGD", "clip_gradients: 7.5")
    bound, plain = Bound(cuda, text), Bound(cuda, text)
    fused = bound.fused(scaling=Scaling(first=1024))
    bound.draw(1024)
    plain.draw()
    fused.prepare(0.1, 0, 1.0)
    for call in fused.calls:
        call()
    plain.update.apply(0.1, 0)
    np.testing.assert_allclose(bound.arrays()[0], plain.arrays()[0], rtol=1e-6)


def test_the_scale_halves_and_doubles_on_the_device(cuda):
    bound = Bound(cuda, solver_text("SGD"))
    scaling = Scaling(first=8, growth=2, lowest=2, highest=16)
    fused = bound.fused(scaling=scaling)
    scales, moved = [], []
    steps = "good good good good good good over over over over good good"
    for iteration, kind in enumerate(steps.split()):
        bound.draw()
        if kind == "over":
            bound.put(3, float("inf"))
        before = bound.arrays()[0]
        run_calls(bound, fused, iteration)
        moved.append(bool((bound.arrays()[0] != before).any()))
        scales.append(float(bound.host(fused.loss_scale)))
    assert scales == [8, 16, 16, 16, 16, 16, 8, 4, 2, 2, 2, 4]
    assert moved == [True] * 6 + [False] * 4 + [True] * 2
    state = fused.read()
    assert (state.loss_scale, state.good, state.skipped) == (4, 0, 4)
    assert state.bad == 9  # at the lowest scale


def test_an_overflow_does_not_end_careful_training_but_a_loss_does(cuda):
    bound = Bound(cuda, solver_text("SGD"))
    fused = bound.fused(scaling=Scaling())
    losses = cuda.zeros((1,), "float32")
    fused.watch(losses)
    bound.draw()
    bound.put(0, float("inf"))
    run_calls(bound, fused, 0, careful=True)
    assert (fused.read().bad, fused.read().halted) == (None, False)
    cuda.upload(np.array([np.nan], "float32"), losses)
    run_calls(bound, fused, 1, careful=True)
    assert (fused.read().bad, fused.read().halted) == (1, True)


def test_a_run_goes_on_with_its_scale(cuda):
    fused = Bound(cuda, solver_text("SGD")).fused(scaling=Scaling(growth=3))
    fused.set_loss_scale(32, 2)
    fused.prepare(0.1, 0, 1.0)
    for call in fused.calls:
        call()
    assert fused.read().loss_scale == 64


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"first": 0.5}, "lowest <= first <= highest, got 1, 0.5"),
        ({"lowest": 0}, "0 < lowest"),
        ({"highest": float("inf")}, "got 1, 65536, inf"),
        ({"growth": 0}, "after at least 1 step, not after 0"),
    ],
)
def test_scales_that_cannot_be(options, message):
    with pytest.raises(SpecError, match=message):
        Scaling(**options)


@pytest.mark.parametrize("shape", [(), (1,), (3, 5, 7), (999,)])
def test_losses_are_summed_up_and_added(cuda, shape):
    rng = np.random.default_rng(2)
    values = [rng.normal(size=shape).astype("float32") for _ in range(2)]
    blobs = [cuda.zeros(shape, "float32") for _ in values]
    for blob, value in zip(blobs, values, strict=True):
        cuda.upload(value, blob)
    out = cuda.zeros((2,), "float32")
    pairs = list(zip(blobs, (0.5, 3.0), strict=True))
    for add in (False, True, True):
        for call in loss_totals(cuda.device, pairs, out, add=add):
            call()
    got = np.empty(2, "float32")
    cuda.download(out, got)
    want = [3 * w * v.sum() for v, w in zip(values, (0.5, 3.0), strict=True)]
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
