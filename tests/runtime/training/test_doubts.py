"""A run warns once of what is valid but hardly meant."""

import warnings

import numpy as np
import pytest

import netspec
import runtime
from netspec import NetSpec
from netspec import layers as L
from netspec.errors import SpecWarning
from netspec.schema import SolverParameter


def make(fraction=0.9375, loss=True, **options):
    n = NetSpec("young")
    n.data = L.DummyData(
        shape=[[6, 3, 4, 5], [6]],
        data_filler=[dict(type="gaussian", std=1), dict(value=1)],
        ntop=2,
    )[0]
    n.label = n.data.fn.tops[1]
    n.conv = L.Convolution(n.data, num_output=2, kernel_size=3, weight_filler="msra")
    n.bn = L.BatchNorm(n.conv, moving_average_fraction=fraction, **options)
    n.fc = L.InnerProduct(n.bn, num_output=2, weight_filler="xavier")
    if loss:
        n.loss = L.SoftmaxWithLoss(n.fc, n.label)
    return n


def solver_of(n, **fields):
    given = dict(base_lr=0.01, lr_policy="fixed", test_iter=[1], test_interval=1000)
    param = SolverParameter(net_param=n.to_proto(), **{**given, **fields})
    return runtime.get_solver(param)


def said(call, text):
    """The texts of the SpecWarnings of a call that contain something."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        call()
    return [str(each.message) for each in found if text in str(each.message)]


YOUNG = "means and variances of the first"


def test_a_test_by_young_statistics_says_so_once():
    solver = solver_of(make(), test_initialization=False)
    solver.step(5)
    (text,) = said(solver.test, YOUNG)
    assert text.startswith("layer 'bn' (BatchNorm): this test uses")
    assert "first 5 training iterations" in text
    assert "moving_average_fraction: 0.9375 those of 16 iterations count" in text
    assert "moving_average_fraction: 0.9, as in" in text
    assert said(solver.test, YOUNG) == []


def test_a_run_says_so_at_the_line_that_runs_it():
    solver = solver_of(make(), test_interval=4)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        solver.step(9)
    young = [each for each in found if YOUNG in str(each.message)]
    assert [each.filename for each in young] == [__file__]
    assert issubclass(young[0].category, SpecWarning)


def test_nothing_is_said_of_a_net_that_is_not_trained_or_trained_enough():
    solver = solver_of(make(), test_initialization=False)
    assert said(solver.test, YOUNG) == []
    solver.step(16)
    assert said(solver.test, YOUNG) == []


def test_iterations_of_several_passes_count_as_passes():
    solver = solver_of(make(), iter_size=4, test_initialization=False)
    solver.step(3)
    (text,) = said(solver.test, YOUNG)
    assert "first 12 training iterations" in text
    solver.step(1)
    assert said(solver_after(solver), YOUNG) == []


def solver_after(solver):
    """A new solver's test with the state of another one."""
    other = solver_of(make(), iter_size=4)
    for name, blobs in solver.net.params.items():
        for mine, theirs in zip(other.net.params[name], blobs, strict=True):
            mine.data[...] = theirs.data
    other._iteration = solver.iter
    return other.test


@pytest.mark.parametrize("count", [1, 999.5])
def test_nothing_is_said_of_statistics_from_a_file(count, tmp_path):
    net = runtime.Net(make())
    net.params["bn"][2].data[...] = count
    net.params["bn"][1].data[...] = count
    net.save(tmp_path / "old.caffemodel")
    solver = solver_of(make(), test_initialization=False)
    solver.copy_from(tmp_path / "old.caffemodel")
    solver.step(3)
    assert said(solver.test, YOUNG) == []


def test_a_run_that_goes_on_says_it_as_well(tmp_path):
    fields = dict(test_initialization=False, snapshot_prefix=str(tmp_path / "s"))
    solver = solver_of(make(), **fields)
    solver.step(4)
    state = solver.snapshot().state
    other = solver_of(make(), **fields)
    other.restore(state)
    other.step(2)
    assert "first 6 training" in said(other.test, YOUNG)[0]


def test_statistics_of_the_batch_are_never_young():
    solver = solver_of(make(use_global_stats=False), test_initialization=False)
    solver.step(3)
    assert said(solver.test, YOUNG) == []


FROZEN = "all parameters are frozen"


def test_training_of_a_net_that_is_all_frozen_says_so():
    n = make()
    netspec.freeze(n, "*")
    solver = solver_of(n, test_initialization=False)
    (text,) = said(lambda: solver.step(1), FROZEN)
    assert "net 'young'" in text
    assert "layer 'conv' (Convolution), layer 'fc' (InnerProduct)" in text
    assert said(lambda: solver.step(1), FROZEN) == []
    netspec.unfreeze(n, "fc")
    solver = solver_of(n, test_initialization=False)
    assert said(lambda: solver.step(1), FROZEN) == []


def test_what_lies_under_no_loss_is_not_trained():
    n = make(loss=False)
    n.free = L.Silence(n.fc, n.label)
    n.zero = L.Input(shape=[6, 2])
    n.loss = L.EuclideanLoss(n.zero, n.zero, propagate_down=[False, False])
    solver = solver_of(n, test_initialization=False)
    (text,) = said(lambda: solver.step(1), "no parameter is trained")
    assert "lies under no loss" in text


def test_the_count_of_a_layer_tells_its_passes():
    net = solver_of(make(fraction=0.999), test_initialization=False)
    net.step(40)
    assert "first 40 training" in said(net.test, YOUNG)[0]
    assert np.isfinite(net.net.params["bn"][2].data).all()


@pytest.mark.parametrize(
    "fields, said",
    [
        ({"base_lr": -0.1}, "base_lr is -0.1: below 0"),
        ({"base_lr": 0.1, "momentum": 1.5}, "momentum is 1.5: outside 0 to 1"),
        ({"base_lr": 0.1, "weight_decay": -1}, "weight_decay is -1: below 0"),
    ],
)
def test_values_by_which_parameters_grow_are_told(fields, said):
    n = NetSpec("small")
    n.data, n.target = L.Input(shape=[2, 3]), L.Input(shape=[2, 1])
    n.y = L.InnerProduct(n.data, num_output=1, weight_filler="xavier")
    n.loss = L.EuclideanLoss(n.y, n.target)
    with pytest.warns(SpecWarning, match=f"solver: .*{said}"):
        runtime.Solver(n, **fields)


READ = "reads this loss, too"


def reading(weights=None, above=0.0):
    n = NetSpec("read")
    n.data, n.target = L.Input(shape=[4, 3]), L.Input(shape=[4, 2])
    n.y = L.InnerProduct(n.data, num_output=2, weight_filler="xavier")
    given = {} if weights is None else {"loss_weight": weights}
    n.loss = L.EuclideanLoss(n.y, n.target, **given)
    n.more = L.Power(n.loss, scale=3, loss_weight=above)
    n.end = L.Silence(n.more)
    n.other = L.EuclideanLoss(n.y, n.target)
    solver = runtime.Solver(n, base_lr=0.0)
    solver.net.blobs["target"].data[...] = 1
    return solver


def test_a_weighted_loss_that_is_read_counts_twice_in_the_displayed_loss_alone():
    solver = reading(2)
    (text,) = said(lambda: solver.step(1), READ)
    assert (
        "displayed loss has it 3 times, as in Caffe; its gradient is right, 2" in text
    )
    blobs = solver.net.blobs
    shown = 3 * blobs["loss"].data + blobs["other"].data
    assert solver.history.train[0].loss == pytest.approx(float(shown))
    assert blobs["loss"].diff == 2
    assert not said(lambda: solver.step(1), READ)


@pytest.mark.parametrize(
    ("above", "what"), [(0, "gradient is 0"), (1, "has only what comes down from")]
)
def test_a_loss_without_a_weight_of_its_own_that_is_read_says_what_it_lacks(
    above, what
):
    solver = reading(None, above)
    (text,) = said(lambda: solver.step(1), READ)
    assert what in text
    assert "Write loss_weight: 1 into the layer" in text
    assert solver.net.blobs["loss"].diff == 3 * above


def test_of_losses_that_nobody_reads_nothing_is_said():
    solver = solver_of(make(), test_initialization=False)
    assert not said(lambda: solver.step(1), READ)
