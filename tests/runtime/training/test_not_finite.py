"""Where values that are not finite began, as errors and warnings tell it."""

import warnings

import numpy as np
import pytest

import runtime
from netspec import NetSpec
from netspec import layers as L
from runtime.training.divergence import NonFiniteLossError

OPTIONS = {"base_lr": 0.1, "max_iter": 3, "snapshot_after_train": False}
LOSSES = ["EuclideanLoss", "SigmoidCrossEntropyLoss", "SmoothL1Loss"]


def regression(kind="EuclideanLoss", shape=(4, 3)):
    n = NetSpec("regression")
    n.x, n.t = L.Input(shape=[4, 5]), L.Input(shape=list(shape))
    n.y = L.InnerProduct(n.x, num_output=3, weight_filler="xavier")
    n.loss = getattr(L, kind)(n.y, n.t)
    return n


def solver_of(net, backend, **options):
    solver = runtime.Solver(net, backend=backend.name, **OPTIONS | options)
    for name in solver.net.inputs:
        solver.net.blobs[name].data[...] = 0.5
    return solver


@pytest.mark.parametrize("kept", [None, ()])
@pytest.mark.parametrize("kind", LOSSES)
def test_a_target_that_is_no_number_is_named(backend, kind, kept):
    solver = solver_of(regression(kind), backend, keep=kept)
    solver.net.blobs["t"].data.flat[[7, 9]] = np.nan
    with pytest.raises(
        NonFiniteLossError,
        match=r"the first blob that is not finite is 't' of layer 't' \(Input\): 2 of "
        r"12 values are not, the first, value 7, is nan; no snapshot\. Look for "
        r"bad values in the data",
    ) as caught:
        solver.solve()
    assert "base_lr" not in str(caught.value)
    assert caught.value.began.blob == "t"


@pytest.mark.parametrize("kind", LOSSES)
def test_step_names_the_target_in_its_warning(backend, kind):
    solver = solver_of(regression(kind), backend)
    solver.net.blobs["t"].data.flat[2] = np.inf
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        solver.step(2)
    (said,) = [str(one.message) for one in caught]
    assert said.replace("-", "") == (
        "the loss of iteration 0 is inf; the first blob that is not finite is 't' of "
        "layer 't' (Input): value 2 of 12 is inf"
    )


def test_large_finite_values_are_followed_to_where_they_overflow(backend):
    solver = solver_of(regression(), backend)
    solver.net.blobs["t"].data.flat[2] = 1e25
    with pytest.raises(
        NonFiniteLossError,
        match=r"'loss' of layer 'loss' \(EuclideanLoss\): it is inf; .*Lower base_lr",
    ):
        solver.solve()


def in_place():
    """A logarithm over what an inner product made, without blobs of their own."""
    n = NetSpec("in place")
    n.x = L.Input(shape=[4, 5])
    n.y = L.InnerProduct(n.x, num_output=3, weight_filler={"value": -1})
    n.log = L.Log(n.y, in_place=True)
    n.total = L.Reduction(n.log, loss_weight=1)
    return n


@pytest.mark.parametrize("kept", [None, ()])
def test_of_layers_in_place_the_one_is_named_that_did_it(backend, kept):
    solver = solver_of(in_place(), backend, keep=kept)
    with pytest.raises(NonFiniteLossError, match=r"is 'y' of layer 'log' \(Log\): 12"):
        solver.solve()
    with pytest.warns(RuntimeWarning, match="loss of iteration 0 is nan") as caught:
        solver_of(in_place(), backend).step(1)
    said = str(caught[0].message)
    assert "'y' of layer 'y' (InnerProduct), then layer 'log' (Log): 12 of 12" in said


# The middle batch of the three of iteration 1, or the one that it has.
@pytest.mark.parametrize(("iter_size", "image"), [(3, 17), (1, 5)])
def test_the_batch_of_an_iteration_that_was_bad_is_read_again(
    backend, iter_size, image
):
    n = NetSpec("batches")
    n.x, n.t = L.MemoryData(batch_size=4, channels=5, height=1, width=1, ntop=2)
    n.norm = L.BatchNorm(n.x)
    n.drop = L.Dropout(n.norm)
    n.y = L.InnerProduct(n.drop, num_output=3, weight_filler="xavier")
    n.loss = L.SoftmaxWithLoss(n.y, n.t)
    options = {"keep": (), "iter_size": iter_size, **OPTIONS}
    solver = runtime.Solver(n, backend=backend.name, **options)
    images = np.random.default_rng(3).normal(size=(40, 5, 1, 1)).astype(np.float32)
    images[image, 2] = np.nan
    solver.net.set_input_arrays(images, np.zeros(40, np.float32))
    solver.step(1)
    with pytest.raises(
        NonFiniteLossError,
        match=r"loss of iteration 1 is nan .* is 'x' of layer .x. \(MemoryData\): "
        r"value 7 of 20 is nan",
    ):
        solver.solve()


def test_statistics_of_batchnorm_stay_where_a_pass_runs_again(backend):
    def trained(keep):
        n = in_place()
        n.norm = L.BatchNorm(n.x)
        n.also = L.Reduction(n.norm, loss_weight=1)
        solver = solver_of(n, backend, keep=keep)
        with pytest.raises(NonFiniteLossError):
            solver.solve()
        return [blob.data.copy() for blob in solver.net.params["norm"]]

    for one, other in zip(trained(None), trained(()), strict=True):
        np.testing.assert_array_equal(one, other)
        assert np.isfinite(one).all()
