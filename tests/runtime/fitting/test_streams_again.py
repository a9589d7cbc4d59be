"""Tests for fits on generators that are resumed or gone on with."""

import itertools

import numpy as np
import pytest

import runtime
from netspec.errors import SpecError
from runtime.callbacks import ReduceOnPlateau
from tests.runtime.fitting.common import arrays, parameters, spec

X, Y = arrays()


class StopAt(runtime.Callback):
    def __init__(self, iteration):
        self.iteration = iteration

    def on_train_begin(self, solver):
        self.solver = solver

    def on_step(self, record):
        if record.iteration + 1 == self.iteration:
            self.solver.snapshot_soon()
            self.solver.stop()


def fit(callbacks=(), **kwargs):
    return runtime.fit(
        spec(),
        lambda: zip(X, Y, strict=True),
        epochs=3,
        validation=(X[:20], Y[:20]),
        solver={"type": "Adam", "base_lr": 0.02},
        callbacks=[ReduceOnPlateau("val_loss", patience=0, min_delta=1), *callbacks],
        progress=False,
        **kwargs,
    )


EPOCH = -(-len(X) // 16)


@pytest.mark.parametrize("stop", [EPOCH - 1, EPOCH, EPOCH + 1, 2 * EPOCH])
def test_a_resumed_run_tests_where_the_first_epoch_ends(tmp_path, stop):
    whole = fit()
    fit([StopAt(stop)], out=tmp_path)
    resumed = fit(out=tmp_path, resume="last")
    for mine, its in zip(parameters(resumed.net), parameters(whole.net), strict=True):
        np.testing.assert_array_equal(mine, its)
    assert (EPOCH in [test.iteration for test in resumed.tests]) is (stop <= EPOCH)
    assert resumed.solver.lr == whole.solver.lr


def test_a_generator_that_was_read_is_no_data_for_another_epoch():
    history = runtime.fit(spec(), zip(X, Y, strict=True), epochs=1, progress=False)
    with pytest.raises(SpecError, match="can be read once only; give new data"):
        runtime.fit(history, epochs=1, progress=False)
    again = runtime.fit(history, zip(X, Y, strict=True), epochs=1, progress=False)
    assert again.solver.iter == 2 * EPOCH


def test_the_rest_of_a_generator_is_trained_by_iterations():
    endless = itertools.cycle(zip(np.asarray(X), Y, strict=True))
    history = runtime.fit(spec(), endless, max_iter=3, progress=False)
    assert runtime.fit(history, max_iter=4, progress=False).solver.iter == 7
