"""Runs that go on: from snapshots, from an interrupt, for more epochs, other data."""

import os
import signal

import numpy as np
import pytest

import runtime
from netspec.errors import FileError, SpecError, SpecWarning
from tests.runtime.fitting.common import (
    arrays,
    assert_same_run,
    losses,
    parameters,
    spec,
)

X, Y = arrays()
ADAM = {"type": "Adam", "base_lr": 0.01}


def noisy(item, rng):
    x, y = item
    return x + rng.normal(size=x.shape), y


WAYS = {
    "arrays": lambda: (X, Y),
    "function": lambda: lambda: zip(X, Y, strict=True),
    "batches": lambda: [(X[i : i + 16], Y[i : i + 16]) for i in range(0, 96, 16)],
}


def fit(net, data, **kwargs):
    return runtime.fit(
        net,
        data,
        **({"progress": False, "solver": ADAM, "validation": (X, Y)} | kwargs),
    )


def interrupt_after(iteration):
    """Return a callback that sends what Ctrl-C sends, once."""

    class Interrupt(runtime.Callback):
        name = "interrupt"
        armed = True

        def on_step(self, record):
            if self.armed and record.iteration == iteration - 1:
                self.armed = False
                os.kill(os.getpid(), signal.SIGINT)

    return Interrupt()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("transform", [None, noisy])
def test_a_run_from_a_snapshot_is_bit_exact(tmp_path, way, transform):
    more = {"epochs": 4, "transform": transform, "seed": 3}
    net = spec(dropout=True)
    straight = fit(net, WAYS[way](), **more)
    fit(net, WAYS[way](), **(more | {"epochs": 2}), out=tmp_path, snapshot=1)
    names = sorted(path.name for path in tmp_path.glob("*.solverstate"))
    size = straight.epoch_size
    assert names == sorted(f"small_iter_{size * n}.solverstate" for n in (1, 2))
    resumed = fit(net, WAYS[way](), **more, out=tmp_path, resume="last")
    assert losses(resumed) == losses(straight)[2 * size :]
    for mine, its in zip(
        parameters(resumed.net), parameters(straight.net), strict=True
    ):
        np.testing.assert_array_equal(mine, its)
    state = tmp_path / f"small_iter_{size}.solverstate"
    early = fit(net, WAYS[way](), **more, resume=state)
    assert losses(early) == losses(straight)[size:]


def test_the_last_snapshot_is_looked_for_in_its_folder(tmp_path):
    with pytest.raises(FileError, match="there is no snapshot to go on from"):
        fit(spec(), (X, Y), out=tmp_path, resume="last")


@pytest.mark.parametrize("way", [*WAYS, "generator"])
@pytest.mark.parametrize("at", [3, 7, 10])
def test_the_same_call_goes_on_after_an_interrupt(way, at, capsys):
    def data():
        if way == "generator":
            return (pair for _ in range(3) for pair in zip(X, Y, strict=True))
        return WAYS[way]()

    epochs = {"epochs": 1 if way == "generator" else 3}
    straight = fit(spec(dropout=True), data(), **epochs)
    with pytest.raises(KeyboardInterrupt, match=f"stopped after iteration {at}"):
        fit(spec(dropout=True), data(), **epochs, callbacks=[interrupt_after(at)])
    assert runtime.interrupted().solver.iter == at
    assert capsys.readouterr().out == ""
    again = fit(spec(dropout=True), data(), **epochs, callbacks=interrupt_after(at))
    assert f"going on after iteration {at}" in capsys.readouterr().out
    assert_same_run(straight, again)
    assert runtime.interrupted() is None
    anew = fit(spec(dropout=True), data(), **epochs)  # a finished run is not continued
    assert anew is not again
    assert_same_run(straight, anew)


def interrupted(**kwargs):
    with pytest.raises(KeyboardInterrupt):
        more = {"epochs": 2, "fresh": True} | kwargs
        fit(spec(), (X, Y), callbacks=interrupt_after(3), **more)
    return runtime.interrupted().solver


@pytest.mark.parametrize(
    "other",
    [
        {"fresh": True},
        {"net": spec(dropout=True)},
        {"data": (X, 1 - Y)},
        {"solver": {**ADAM, "base_lr": 0.02}},
        {"batch_size": 10},
        {"seed": 1},
        {"validation": 0.1},
        {"transform": noisy},
        {"shuffle": False},
    ],
)
def test_another_call_begins_anew(other):
    solver = interrupted()
    call = {"net": spec(), "data": (X, Y), "epochs": 2, "callbacks": ()} | other
    history = fit(**call)
    assert history.solver is not solver
    assert history.train[0].iteration == 0
    assert (runtime.interrupted() is None) == ("fresh" in other)  # its memory is free


def test_more_epochs_and_equal_data_go_on_too():
    solver = interrupted()
    history = fit(spec(), (X.copy(), Y.copy()), epochs=5)
    assert history.solver is solver
    assert solver.iter == 35


def test_an_interrupt_keeps_a_snapshot_where_there_is_a_folder(tmp_path):
    solver = interrupted(out=tmp_path)
    assert solver.last_snapshot.iteration == 3
    assert (tmp_path / "small_iter_3.solverstate").exists()


def test_a_history_goes_on_for_more_epochs():
    straight = fit(spec(), (X, Y), epochs=5)
    history = fit(spec(), (X, Y), epochs=2)
    runtime.fit(history, epochs=1, progress=False)
    runtime.fit(history, (X.copy(), Y), epochs=1, progress=False)
    runtime.fit(history.solver, (X, Y), epochs=1, validation=(X, Y), progress=False)
    assert_same_run(straight, history)


def test_other_data_begin_with_their_first_batch():
    history = fit(spec(), (X, Y), epochs=1, shuffle=False, validation=None)
    first = losses(history)[0]
    solver = history.solver
    solver.param.base_lr = 0
    order = slice(None, None, -1)
    runtime.fit(history, (X[order], Y[order]), epochs=2, shuffle=False, progress=False)
    train = losses(history)[7:]
    assert len(train) == 14
    assert train[:7] == train[7:]
    x, y = X[order][:16], Y[order][:16]
    net = solver.net
    net.forward(data=x, label=y)
    assert train[0] == net.loss() != first
    runtime.fit(history, zip(X, Y, strict=True), max_iter=3, progress=False)
    net.forward(data=X[:16], label=Y[:16])
    assert losses(history)[21] == net.loss()


def test_validation_may_come_later():
    history = fit(spec(), (X, Y), epochs=1, validation=None)
    assert not history.tests
    runtime.fit(history, (X, Y), epochs=2, validation=(X[:30], Y[:30]), progress=False)
    assert [test.iteration for test in history.tests] == [7, 14, 21]
    runtime.fit(history, (X[:64], Y[:64]), epochs=1, progress=False)
    assert history.tests[-1].iteration == 25  # with the same data to test


def test_a_solver_that_is_there_is_not_made_again():
    history = fit(spec(), (X, Y), epochs=1)
    for name in ("solver", "weights", "resume", "seed"):
        with pytest.raises(SpecError, match=f"so {name} cannot be given"):
            runtime.fit(history, (X, Y), **{name: 1})
    with pytest.raises(SpecError, match="no solver to go on with"):
        runtime.fit(type(history)(), (X, Y))


def test_iterations_by_hand_go_on_with_the_data_and_passes_by_hand_do_not():
    straight = fit(spec(), (X, Y), epochs=2)
    history = fit(spec(), (X, Y), epochs=1)
    history.net.forward(data=X[:16], label=Y[:16])
    history.solver.step(7)
    history.solver.test()
    assert_same_run(straight, history)
    history.net.forward(data=X[:16], label=Y[:16])
    np.testing.assert_array_equal(history.net.blobs["data"].data, X[:16])


def test_weights_to_start_from(tmp_path):
    first = fit(spec(), (X, Y), epochs=1)
    path = tmp_path / "a.caffemodel"
    first.net.save(path)
    again = fit(spec(), (X, Y), max_iter=1, weights=path, solver={"base_lr": 1e-30})
    np.testing.assert_array_equal(
        again.net.params["conv"][0].data, first.net.params["conv"][0].data
    )
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_is_written_unless_it_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    class Stop(runtime.Callback):
        def on_train_begin(self, solver):
            self.solver = solver

        def on_step(self, record):
            if record.iteration == 2:
                self.solver.stop()

    assert fit(spec(), (X, Y), epochs=3, callbacks=[Stop()]).solver.iter == 3
    fit(spec(), (X, Y))
    assert not list(tmp_path.iterdir())


def test_a_generator_is_read_from_its_start_where_a_snapshot_goes_on(tmp_path):
    def data():
        return zip(X, Y, strict=True)

    straight = fit(spec(), data(), max_iter=6)
    fit(spec(), data(), max_iter=4, out=tmp_path)
    resumed = fit(spec(), data(), max_iter=6, out=tmp_path, resume="last")
    assert losses(resumed) == losses(straight)[4:]


def test_rates_that_go_by_the_length_of_training_are_told_where_it_grows():
    cosine = {"base_lr": 0.1, "lr_policy": "cosine"}
    history = fit(spec(), (X, Y), solver=cosine, epochs=2)
    with pytest.warns(SpecWarning, match=r"'cosine' goes by max_iter, which is 21 now"):
        fit(history, None, solver=None, validation=None, epochs=1)
    assert history.solver.iter == 21
    history.solver.param.lr_policy = "fixed"
    history.solver.lr = 0.01
    fit(history, None, solver=None, validation=None, epochs=1)
    assert history.train[-1].lr == pytest.approx(0.01)
