"""Tests for callbacks that train, and for what else is given as callbacks."""

import pytest

import runtime
from netspec.errors import FileError, SpecError, SpecWarning
from runtime.callbacks import BestCheckpoint
from tests.runtime.fitting.common import arrays, losses, spec

DATA = arrays()


def fit(**kwargs):
    return runtime.fit(spec(), DATA, epochs=2, progress=False, **kwargs)


@pytest.mark.parametrize("way", ["step", "solve", "fit"])
def test_a_callback_cannot_train_the_solver_that_trains(way):
    class Trains(runtime.Callback):
        def on_epoch_end(self, solver, epoch):
            if way == "fit":
                runtime.fit(solver, epochs=1, progress=False)
            else:
                getattr(solver, way)()

    trains = Trains()
    history = fit(callbacks=None)
    solver = history.solver
    solver.callbacks.add(trains)
    before = solver.iter
    with pytest.raises(SpecError, match="'small' is training already") as caught:
        solver.step(history.epoch_size + 1)
    assert "Trains, on_epoch_end" in caught.value.__notes__[0]
    solver.callbacks.remove(trains)
    solver.step(2)  # nothing of it is left
    assert solver.iter == len(losses(history)) == before + history.epoch_size + 2


def test_another_solver_may_be_trained_in_a_callback():
    other = fit().solver

    class Trains(runtime.Callback):
        def on_epoch_end(self, solver, epoch):
            other.step(1)

    before = other.iter
    fit(callbacks=Trains())
    assert other.iter == before + 2


def test_a_folder_is_no_file_for_the_best_weights(tmp_path):
    with pytest.raises(FileError, match="is a folder; give BestCheckpoint the name"):
        fit(callbacks=BestCheckpoint(tmp_path, "loss"))


def test_a_snapshot_beyond_the_end_is_warned_of(tmp_path):
    end = fit(out=tmp_path).solver.iter
    again = fit(out=tmp_path, resume="last")  # a script that runs again
    assert (again.solver.iter, again.train) == (end, [])
    with pytest.warns(SpecWarning, match=rf"iteration {end}, .* ends after 2, so noth"):
        runtime.fit(
            spec(), DATA, max_iter=2, out=tmp_path, resume="last", progress=False
        )


def test_wrong_labels_of_the_validation_data_are_told_as_theirs():
    x, y = DATA
    with pytest.raises(SpecError, match="^validation: 'label' has the label"):
        fit(validation=(x, y + 5))
