"""Callbacks that watch a number: names, what is better, stopping, rates, the best."""

import math
import warnings

import numpy as np
import pytest

import runtime
from netspec.errors import FileError, SpecError, SpecWarning
from runtime.callbacks import BestCheckpoint, EarlyStopping, ReduceOnPlateau
from runtime.training.snapshot_files import SnapshotWarning
from tests.runtime.callbacks.common import SCORES, scripted, solver_of
from tests.runtime.training.test_solver import FIXED, assert_same, values


@pytest.fixture
def tests_find(monkeypatch):
    """Say what the tests of the next solver find."""

    def find(solver, losses, name="loss"):
        run = scripted(solver, losses, name)
        monkeypatch.setattr("runtime.training.solver_tests.run_tests", run)
        return solver

    return find


def kept(solver):
    """Note the parameters at every test."""
    found = {}
    solver.on_test(lambda record: found.update({record.iteration: values(solver)}))
    return found


# ---------------------------------------------------------------- stopping


def test_training_ends_once_it_got_no_better_so_many_times(backend, tests_find):
    solver = tests_find(solver_of(backend), [5, 3, 4, 2.5, 2.6, 2.7, 1])
    stop = solver.callbacks.add(EarlyStopping("val_loss", patience=2))
    at = kept(solver)
    solver.solve()
    assert solver.iter == stop.stopped_at == 12
    assert (stop.best, stop.best_iteration) == (2.5, 8)
    assert_same(values(solver), at[8])
    assert repr(stop) == "<EarlyStopping of 'val_loss', best 2.5 at 8>"


@pytest.mark.parametrize(
    ("options", "end", "best"),
    [
        ({"patience": 1}, 6, 4),
        ({"patience": 0}, 6, 4),
        ({"patience": 3}, 12, 12),
        ({"patience": 2, "min_delta": 0.6}, 8, 4),
        ({"patience": 1, "mode": "max"}, 4, 2),
    ],
)
def test_patience_mode_and_least_difference(backend, tests_find, options, end, best):
    solver = tests_find(solver_of(backend), [5, 3, 4, 2.5, 2.6, 2.4])
    stop = solver.callbacks.add(EarlyStopping(**options))
    solver.solve()
    assert solver.iter == end
    assert stop.best_iteration == best


def test_the_last_parameters_stay_where_that_is_wanted(backend, tests_find):
    solver = tests_find(solver_of(backend), [1, 2])
    solver.callbacks.add(EarlyStopping(patience=1, restore_best=False))
    at = kept(solver)
    solver.solve()
    assert solver.iter == 4
    assert_same(values(solver), at[4])


def test_the_best_parameters_come_back_at_the_end_alone(backend, tests_find):
    solver = tests_find(solver_of(backend), [1, 2, 3, 4, 5, 6])
    stop = solver.callbacks.add(EarlyStopping(patience=100))
    at = kept(solver)
    solver.step(7)
    now = values(solver)
    assert not np.array_equal(now["ip:0"], at[2]["ip:0"])
    solver.solve()  # to the end
    assert_same(values(solver), at[2])
    solver.step(1)  # and further
    now = values(solver)
    assert not np.array_equal(now["ip:0"], at[2]["ip:0"])
    stop.restore(solver)
    assert_same(values(solver), at[2])
    with pytest.raises(SpecError, match="has kept no parameters"):
        EarlyStopping().restore(solver)


def test_a_training_that_goes_on_has_the_whole_patience_again(backend, tests_find):
    solver = tests_find(solver_of(backend), [1, 2, 3, 4, 5, 6, 7, 8])
    stop = solver.callbacks.add(EarlyStopping(patience=2))
    solver.solve()
    assert solver.iter == 6
    solver.solve()
    assert solver.iter == 10
    assert stop.stopped_at == 10


def test_values_that_are_no_numbers_are_never_better(backend, tests_find):
    solver = tests_find(solver_of(backend), [math.nan, math.inf, 3, math.nan, 4])
    stop = solver.callbacks.add(EarlyStopping(patience=2))
    with pytest.warns(
        SpecWarning, match="val_loss is not a number at iteration 2"
    ) as w:
        solver.solve()
    assert len(w) == 1
    assert (stop.best, solver.iter) == (3.0, 10)


def test_several_nets_and_names(backend):
    solver = solver_of(
        backend,
        options=FIXED + "test_iter: 2 test_iter: 1 test_interval: 2 max_iter: 4 "
        "test_initialization: false snapshot_after_train: false "
        'test_state { } test_state { stage: "b" } ',
    )
    first, second, bare, old = (
        solver.callbacks.add(EarlyStopping(name, 100))
        for name in ("val_accuracy", "val1_accuracy", "accuracy", "test_accuracy")
    )
    solver.solve()
    best = solver.history.best("val_accuracy")
    assert first.best == bare.best == old.best == best.value
    assert first.best_iteration == best.iteration
    assert second.best == solver.history.best("val1_accuracy").value != first.best


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda: EarlyStopping("val_acuracy"),
            r"'val_acuracy' .* did you mean 'val_accuracy'\?; there are: loss, ",
        ),
        (
            lambda: EarlyStopping("val_rows"),
            "are: loss, val_accuracy, val_loss\n",
        ),
        (lambda: EarlyStopping("accuracy", mode="most"), "mode must be .* got 'most'"),
        (lambda: EarlyStopping(3), "monitor must be a name, got 3"),
        (lambda: EarlyStopping(patience=1.5), "patience must be a whole number"),
        (lambda: EarlyStopping(patience=-1), "at least 0, got -1"),
        (lambda: EarlyStopping(min_delta=math.nan), "min_delta must be a number"),
        (lambda: ReduceOnPlateau(factor=1.0), "above 0 and below 1, got 1.0"),
        (lambda: ReduceOnPlateau(factor="x"), "factor must be a number"),
        (lambda: ReduceOnPlateau(cooldown=True), "cooldown must be a whole number"),
        (lambda: BestCheckpoint("a_{acc}.caffemodel"), r"\{iteration\}, \{epoch\}"),
        (lambda: BestCheckpoint("a_{}.caffemodel"), "cannot be filled in"),
    ],
)
def test_mistakes_are_told_before_the_first_iteration(backend, make, said):
    solver = solver_of(backend)
    with pytest.raises(SpecError, match=said):
        solver.callbacks.add(make())
        solver.solve()
    assert solver.iter == 0


def test_modes_that_cannot_be_told(backend):
    net = SCORES.replace('top: "accuracy"', 'top: "speed"')
    solver = solver_of(backend, net=net)
    stop = solver.callbacks.add(EarlyStopping("val_speed"))
    with pytest.raises(SpecError, match=r"'val_speed' .* say mode='min' or mode='max'"):
        solver.solve()
    solver.callbacks.remove(stop)
    solver.callbacks.add(EarlyStopping("val_speed", mode="max"))
    solver.solve()


def test_a_name_of_tests_needs_tests(backend):
    solver = solver_of(backend, FIXED + "max_iter: 4 snapshot_after_train: false")
    solver.callbacks.add(EarlyStopping())
    with pytest.raises(SpecError, match=r"has no test net; .* or monitor='loss'"):
        solver.solve()
    solver.callbacks.clear()
    solver.callbacks.add(EarlyStopping("loss", patience=1))
    with pytest.raises(SpecError, match=r"end of an epoch .* set solver.epoch_size"):
        solver.solve()
    solver.epoch_size = 2
    solver.solve()
    lacks = solver_of(backend, test_interval=0)
    lacks.callbacks.add(EarlyStopping())
    with pytest.raises(SpecError, match="test_iter or test_interval missing"):
        lacks.solve()


def test_the_loss_of_epochs_is_their_mean(backend):
    solver = solver_of(backend, max_iter=9)
    solver.epoch_size = 3
    seen = []

    class Looks(EarlyStopping):
        def looked(self, value, iteration, better):
            seen.append((iteration, value))

    solver.callbacks.add(Looks("loss"))
    solver.solve()
    rows = solver.history.as_dict()
    assert seen == list(zip(rows["iteration"], rows["loss"], strict=True))


# ---------------------------------------------------------------- rates


@pytest.mark.parametrize(
    ("options", "rates"),
    [
        ({"patience": 2}, {6: 0.002, 10: 0.0002}),
        ({"patience": 1, "factor": 0.5}, {4: 0.01, 6: 0.005, 8: 0.0025, 10: 0.00125}),
        ({"patience": 1, "factor": 0.5, "cooldown": 2}, {4: 0.01, 8: 0.005}),
        ({"patience": 1, "min_lr": 0.01, "factor": 0.3}, {4: 0.01}),
    ],
)
def test_rates_fall_where_nothing_gets_better(backend, tests_find, options, rates):
    solver = tests_find(solver_of(backend, max_iter=11), [1, 1, 2, 1, 3, 1])
    callback = solver.callbacks.add(ReduceOnPlateau("val_loss", **options))
    solver.solve()
    expected, rate = [], 0.02
    for iteration in range(11):
        rate = rates.get(iteration, rate)
        expected.append(rate)
    assert [r.lr for r in solver.history.train] == pytest.approx(expected, rel=1e-6)
    assert [at for at, _, _ in callback.reductions] == list(rates)


# ---------------------------------------------------------------- best weights


def test_the_best_weights_are_a_file(backend, tests_find, tmp_path):
    solver = tests_find(solver_of(backend), [5, 3, 4, 2, 9, 9])
    path = tmp_path / "new" / "best.caffemodel"
    best = solver.callbacks.add(BestCheckpoint(path))
    at = kept(solver)
    solver.solve()
    assert [one.name for one in path.parent.iterdir()] == ["best.caffemodel"]
    other = solver_of(backend)
    other.copy_from(path)
    assert_same(values(other), at[8])
    assert not np.array_equal(values(solver)["ip:0"], at[8]["ip:0"])
    best.restore_best(solver)
    assert_same(values(solver), at[8])


@pytest.mark.parametrize("keep_all", [False, True])
def test_names_with_fields(backend, tests_find, tmp_path, keep_all):
    solver = tests_find(solver_of(backend), [0.5, 0.75, 0.625, 0.875], "accuracy")
    solver.epoch_size = 2
    path = tmp_path / "{epoch}_{iteration}_{value:.2f}.npz"
    solver.callbacks.add(BestCheckpoint(path, "val_accuracy", keep_all=keep_all))
    solver.solve()
    names = sorted(one.name for one in tmp_path.iterdir())
    assert names == (["1_2_0.50.npz", "2_4_0.75.npz"] if keep_all else []) + [
        "4_8_0.88.npz"
    ]


def test_the_best_weights_are_read_at_the_end(backend, tests_find, tmp_path):
    solver = tests_find(solver_of(backend), [1, 2, 3, 4, 5, 6])
    path = tmp_path / "best.caffemodel"
    best = solver.callbacks.add(BestCheckpoint(path, restore=True))
    at = kept(solver)
    solver.step(5)
    assert not np.array_equal(values(solver)["ip:0"], at[2]["ip:0"])
    solver.solve()
    assert_same(values(solver), at[2])
    path.unlink()
    with pytest.raises(FileError, match="the best weights are gone"):
        best.restore_best(solver)
    with pytest.raises(SpecError, match="has written nothing yet"):
        BestCheckpoint(path).restore_best(solver)


def test_files_that_cannot_be_written(backend, tests_find, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    solver = tests_find(solver_of(backend), [3, 2, 1, 4, 5, 6])
    refused = solver.callbacks.add(BestCheckpoint(tmp_path / "file" / "a.caffemodel"))
    with pytest.raises(FileError, match="choose another path for BestCheckpoint"):
        solver.solve()
    solver.callbacks.remove(refused)
    best = solver.callbacks.add(BestCheckpoint(tmp_path / "best.caffemodel"))
    save = type(solver.net).save

    def fails(net, path):
        if solver.iter == 4:
            raise FileError(f"{path}: no room")
        save(net, path)

    monkeypatch.setattr(type(solver.net), "save", fails)
    with pytest.warns(SnapshotWarning, match="no room; training goes on without"):
        solver.solve()
    assert (solver.iter, best.best) == (12, 1.0)
    assert best.path_of_best.exists()


# ---------------------------------------------------------------- resumed


def everything(tmp_path, folder, monitor):
    return [
        EarlyStopping(monitor, patience=3),
        ReduceOnPlateau(monitor, patience=1, factor=0.5, cooldown=1),
        BestCheckpoint(tmp_path / folder / "best.caffemodel", monitor),
    ]


def states(callbacks):
    found = []
    for callback in callbacks:
        state = callback.state_dict()
        state.pop("path", None)
        state["kept"] = [a.tobytes() for a in state.get("kept") or []]
        found.append(state)
    return found


@pytest.mark.parametrize("monitor", ["val_loss", "loss"])
@pytest.mark.parametrize("epochs", [None, 3])
@pytest.mark.parametrize("at", [1, 4, 7, 8, 11])
def test_resumed_runs_decide_the_same(
    backend, tests_find, tmp_path, monitor, epochs, at
):
    losses = [5, 3, 4, 3.5, 2, 6, 7, 1.5, 8, 9, 9, 9]

    def begun(folder):
        solver = solver_of(backend, max_iter=24)
        solver.param.snapshot_prefix = str(tmp_path / folder / "s")
        solver.epoch_size = epochs
        added = everything(tmp_path, folder, monitor)
        for callback in added:
            solver.callbacks.add(callback)
        return tests_find(solver, losses), added

    solver, straight = begun("a")
    solver.solve()
    stopped, _ = begun("b")
    stopped.on_step(lambda record: record.iteration == at - 1 and stopped.stop())
    stopped.solve()
    other, resumed = begun("b")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        other.solve(resume=stopped.last_snapshot.state)
    assert other.iter == solver.iter
    assert_same(values(solver), values(other))
    assert states(straight) == states(resumed)
    assert straight[1].reductions
    rates = [record.lr for record in solver.history.train]
    assert [record.lr for record in other.history.train] == rates[at:]
    best = [tmp_path / folder / "best.caffemodel" for folder in "ab"]
    assert best[0].read_bytes() == best[1].read_bytes()


def test_they_are_public():
    assert runtime.callbacks.EarlyStopping is EarlyStopping
