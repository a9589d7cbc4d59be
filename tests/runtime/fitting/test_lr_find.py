"""`lr_find`: rates and losses, where they end, and that nothing is changed."""

import numpy as np
import pytest

import runtime
from netspec import NetSpec
from netspec import layers as L
from netspec.errors import SpecError, SpecWarning
from runtime.fitting.lr_find import RateSearch, _smoothed
from tests.runtime.training.test_solver import FIXED, NOISE, assert_same, make, values

MIXED = NOISE.replace(
    'layer { name: "drop"',
    'layer { name: "bn" type: "BatchNorm" bottom: "h" top: "h"\n'
    "        batch_norm_param { moving_average_fraction: 0.9 } }\n"
    'layer { name: "drop"',
)
LSTM = """
layer { name: "d" type: "DummyData" top: "x" top: "cont" top: "t" dummy_data_param {
  shape { dim: 3 dim: 2 dim: 4 } shape { dim: 3 dim: 2 } shape { dim: 3 dim: 2 dim: 5 }
  data_filler { type: "gaussian" } data_filler { value: 1 }
  data_filler { type: "gaussian" } } }
layer { name: "ip" type: "LSTM" bottom: "x" bottom: "cont" top: "y" recurrent_param {
  num_output: 5 weight_filler { type: "uniform" min: -0.4 max: 0.4 } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "y" bottom: "t" top: "loss" }
"""


def classes(batch=16):
    n = NetSpec("classes")
    n.x, n.t = L.Input(shape=[batch, 8]), L.Input(shape=[batch])
    n.h = L.InnerProduct(n.x, num_output=12, weight_filler="xavier")
    n.r = L.ReLU(n.h, in_place=True)
    n.d = L.Dropout(n.r)
    n.y = L.InnerProduct(n.d, num_output=3, weight_filler="xavier")
    n.loss = L.SoftmaxWithLoss(n.y, n.t)
    return n


def points(number=200):
    x = np.random.default_rng(0).normal(size=(number, 8)).astype(np.float32)
    return x, (x[:, 0] > 0).astype(int) + (x[:, 1] > 0)


def found_by(**options):
    return runtime.lr_find(classes(), points(), seed=3, **{"end": 100.0, **options})


# ---------------------------------------------------------------- rates


def test_fields_of_a_solver_need_no_rate_and_one_that_is_given_does_not_count():
    kind = {"type": "Adam", "momentum": 0.8}
    without = found_by(solver=kind)
    rated = found_by(solver={**kind, "base_lr": 0.3, "lr_policy": "exp", "gamma": 0.5})
    np.testing.assert_array_equal(without.losses, rated.losses)
    assert not np.array_equal(without.losses, found_by().losses)  # of SGD


def test_rates_grow_until_the_loss_does():
    found = found_by()
    n = len(found.rates)
    np.testing.assert_allclose(found.rates, 1e-6 * 1e8 ** (np.arange(n) / 99))
    assert found.diverged
    assert 20 < n < 100
    assert len(found.losses) == len(found.smoothed) == n
    assert found.losses[-1] > 4 * found.losses.min() or n < 100
    assert 1e-3 < found.suggestion < found.minimum < 1
    assert repr(found) == (
        f"<RateSearch: {n} rates from 1e-06 to {found.rates[-1]:.3g}, suggestion "
        f"{found.suggestion:g}, least loss at {found.minimum:.2g}, diverged at "
        f"{found.rates[-1]:.2g}>"
    )


def test_the_suggestion_is_where_the_loss_falls_fastest():
    found = found_by()
    slopes = np.gradient(found.smoothed, np.log(found.rates))
    at = np.argmin(slopes[: np.argmin(found.smoothed) + 1])
    assert found.suggestion == pytest.approx(found.rates[at], rel=0.05)
    # and training at that rate is better than at a hundredth of it
    losses = [
        runtime.fit(
            classes(),
            points(),
            epochs=4,
            solver={"base_lr": rate},
            progress=False,
        ).best("loss")
        for rate in (found.suggestion, found.suggestion / 100)
    ]
    assert losses[0].value < losses[1].value


@pytest.mark.filterwarnings("ignore:lr_find. the loss hardly falls")
def test_the_first_loss_is_that_of_the_net_and_equal_searches_are_equal():
    first, second = found_by(iterations=10), found_by(iterations=10)
    np.testing.assert_array_equal(first.losses, second.losses)
    history = runtime.fit(
        classes(),
        points(),
        max_iter=1,
        seed=3,
        progress=False,
        solver={"base_lr": 1e-6},
    )
    assert first.losses[0] == history.train[0].loss


def test_smoothing_is_a_mean_to_both_sides():
    values = np.array([0.0, 0.0, 1.0, 0.0, 0.0])
    smoothed = _smoothed(values, 1.0)
    np.testing.assert_allclose(smoothed, smoothed[::-1])
    assert smoothed.argmax() == 2
    np.testing.assert_array_equal(_smoothed(values, 0), values)
    np.testing.assert_allclose(_smoothed(np.ones(7), 3.0), 1)


def test_a_loss_that_never_falls_has_no_suggestion():
    with pytest.warns(SpecWarning, match="the loss hardly falls between 1e-09 and"):
        found = found_by(start=1e-9, end=1e-7, iterations=20)
    assert found.suggestion is None
    assert not found.diverged
    assert "no suggestion" in repr(found)


def test_pictures():
    found = found_by()
    html = found._repr_html_()
    assert "<svg" in html
    assert "<script" not in html
    assert f"suggestion {found.suggestion:g}" in html
    pytest.importorskip("matplotlib")
    (axes,) = found.plot().axes
    assert axes.get_xscale() == "log"
    assert axes.get_lines()[2].get_xdata()[0] == found.suggestion
    assert found.plot(log=True).axes[0].get_yscale() == "log"
    assert found.plot()._repr_png_().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"start": 0}, "from start to a larger end, .* start=0"),
        ({"start": 2.0, "end": 1.0}, "from start to a larger end"),
        ({"end": "a"}, "end is 'a'; expected a number"),
        ({"iterations": None}, "iterations is None; expected a number"),
        ({"iterations": 2}, "iterations must be at least 5, got 2"),
        ({"diverge": 1.0}, "diverge must be above 1"),
        ({"smooth": 1.0}, "smooth must be from 0 to below 1"),
    ],
)
def test_values_that_cannot_be(options, said):
    with pytest.raises(SpecError, match=said):
        found_by(**options)


def test_losses_that_are_no_numbers():
    x, t = points()
    with pytest.raises(SpecError, match="the loss is (nan|inf) at the first rate"):
        runtime.lr_find(classes(), (np.full_like(x, 1e38), t))
    with pytest.warns(SpecWarning, match="diverges at .* already, .* a smaller start"):
        found = found_by(start=1e3, end=1e9)
    assert found.suggestion is None


# ---------------------------------------------------------------- nothing is changed


def everything(solver):
    moments = [np.array(array) for array in solver.update.history]
    losses = [(record.iteration, record.loss) for record in solver.history.train]
    return values(solver), moments, losses, solver.iter, solver.net.clock.value


def assert_equal(one, other):
    assert_same(one[0], other[0])
    for first, second in zip(one[1], other[1], strict=True):
        np.testing.assert_array_equal(first, second)
    assert one[2:] == other[2:]


@pytest.mark.filterwarnings("ignore:lr_find. the loss hardly falls")
@pytest.mark.parametrize("net", [NOISE, MIXED, LSTM])
@pytest.mark.parametrize("before", [0, 3])
@pytest.mark.parametrize("options", [FIXED, FIXED + "iter_size: 2 "])
def test_a_solver_goes_on_as_if_nothing_had_been(backend, net, before, options):
    plain, tried = (make(backend, net, options) for _ in range(2))
    for solver in (plain, tried):
        solver.step(before)
    state = everything(tried)
    found = runtime.lr_find(tried, iterations=30, end=10.0)
    assert isinstance(found, RateSearch)
    assert_equal(everything(tried), state)
    for solver in (plain, tried):
        solver.step(4)
    assert_equal(everything(tried), everything(plain))


@pytest.mark.filterwarnings("ignore:lr_find. the loss hardly falls")
def test_a_fed_solver_goes_on_as_if_nothing_had_been():
    def fitted():
        return runtime.fit(
            classes(), points(70), epochs=2, batch_size=16, seed=1, progress=False
        )

    plain, tried = fitted(), fitted()
    state = everything(tried.solver)
    runtime.lr_find(tried, iterations=13)
    assert_equal(everything(tried.solver), state)
    for history in (plain, tried):
        runtime.fit(history, epochs=2, progress=False)
    assert_equal(everything(tried.solver), everything(plain.solver))


def test_a_solver_with_inputs_gets_data_for_now():
    solver = runtime.Solver(classes(), base_lr=0.1, max_iter=5)
    x, t = points(16)
    solver.net.blobs["x"].data[...], solver.net.blobs["t"].data[...] = x, t
    found = runtime.lr_find(solver, points(), batch_size=32, end=10.0)
    assert found.suggestion is not None
    assert solver.net.its_feed is None
    np.testing.assert_array_equal(solver.net.blobs["x"].data, x)
    solver.step(1)
    other = runtime.Solver(classes(), base_lr=0.1, max_iter=5)
    other.net.blobs["x"].data[...], other.net.blobs["t"].data[...] = x, t
    other.step(1)
    assert_same(values(solver), values(other))


def test_an_error_leaves_the_net_as_it_was(backend, monkeypatch):
    solver = make(backend)
    solver.step(2)
    state = everything(solver)
    calls = []

    def fails(*args):
        calls.append(args)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return passes(*args)

    from runtime.fitting import lr_find as module

    passes = module.mean_gradients
    monkeypatch.setattr(module, "mean_gradients", fails)
    with pytest.raises(KeyboardInterrupt):
        runtime.lr_find(solver)
    assert_equal(everything(solver), state)


def test_what_belongs_to_a_solver_that_is_made():
    solver = runtime.Solver(classes(), base_lr=0.1, max_iter=5)
    with pytest.raises(SpecError, match="weights is given, but the solver is there"):
        runtime.lr_find(solver, points(), weights="a.caffemodel")
    history = runtime.fit(classes(), points(32), epochs=1, progress=False)
    with pytest.raises(SpecError, match="data are given, but the solver is fed"):
        runtime.lr_find(history, points())
    with pytest.raises(SpecError, match="this history has no solver"):
        runtime.lr_find(runtime.History(), points())
