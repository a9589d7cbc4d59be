"""What `fit` made is freed with its last name, not when Python looks for circles."""

import gc
import weakref

import numpy as np
import pytest

import runtime
from runtime.callbacks import EarlyStopping
from tests.runtime.fitting.common import arrays, spec

X, Y = arrays()
SOLVER = {"base_lr": 0.01}


@pytest.fixture(autouse=True)
def _no_collection():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def fit(net, data, **kwargs):
    return runtime.fit(net, data, epochs=2, progress=False, solver=SOLVER, **kwargs)


@pytest.mark.parametrize("data", [(X, Y), lambda: zip(X, Y, strict=True)])
def test_a_history_takes_all_with_it(data):
    history = fit(spec(), data, validation=(X, Y), callbacks=EarlyStopping("loss"))
    history = runtime.fit(history, epochs=1, progress=False)
    runtime.predict(history, X)
    runtime.evaluate(history, (X, Y))
    solver = history.solver
    gone = [weakref.ref(one) for one in (solver, solver.net, *solver.test_nets)]
    del solver, history
    assert [one() for one in gone] == [None] * 3


def test_a_fit_that_fails_leaves_nothing():
    gone = []

    class Fails(runtime.Callback):
        def on_train_begin(self, solver):
            gone.append(weakref.ref(solver.net))
            raise OSError

    with pytest.raises(OSError):
        fit(spec(), (X, Y), callbacks=Fails())
    assert gone[0]() is None


def test_a_solver_alone_goes_on():
    solver = fit(spec(), (X, Y)).solver
    assert runtime.fit(solver, epochs=1, progress=False).solver is solver
    assert solver.iter == 3 * solver.epoch_size


def test_a_net_is_freed_and_its_blobs_reshape():
    net = runtime.Net(spec())
    for batch in (3, 5):
        net.blobs["data"].reshape(batch, 1, 6, 6)
        net.blobs["label"].reshape(batch)
        net.forward(data=np.ones((batch, 1, 6, 6)), label=np.zeros(batch))
        assert net.blobs["score"].shape == (batch, 2)
    gone = weakref.ref(net)
    del net
    assert gone() is None
