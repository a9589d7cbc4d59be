"""`fit` with callbacks, evaluation and what is shown, as a user has them together."""

import numpy as np

import runtime
from runtime.callbacks import BestCheckpoint, CSVLog, EarlyStopping, ReduceOnPlateau
from tests.runtime.fitting.common import arrays, losses, spec

X, Y = arrays()


def fit(epochs, out, **more):
    return runtime.fit(
        spec(dropout=True),
        (X, Y),
        epochs=epochs,
        validation=0.2,
        solver=dict(type="Adam", base_lr=0.02),
        callbacks=[
            EarlyStopping(patience=3),
            ReduceOnPlateau(patience=1),
            BestCheckpoint(out / "best"),
            CSVLog(out / "log.csv"),
        ],
        out=out,
        progress=False,
        fresh=True,
        **more,
    )


def test_callbacks_decide_the_same_in_a_run_that_is_resumed(tmp_path):
    straight = fit(30, tmp_path / "straight")
    assert straight.solver.iter < 30 * straight.epoch_size
    assert straight.train[-1].lr < straight.train[0].lr
    first = fit(4, tmp_path / "parts")
    rest = fit(30, tmp_path / "parts", resume="last")
    assert losses(first) + losses(rest) == losses(straight)
    rates = [record.lr for record in (*first.train, *rest.train)]
    assert rates == [record.lr for record in straight.train]
    assert (tmp_path / "parts" / "best").stat().st_size > 0


def test_four_lines_of_a_newcomer(capsys):
    history = runtime.fit(spec(), (X, Y), epochs=6, validation=0.2)
    scores = runtime.predict(history, X)
    result = runtime.evaluate(history, (X, Y))
    told = capsys.readouterr().out
    assert "epoch 6 of 6: loss" in told
    assert "test at iteration 30: accuracy" in told
    assert np.mean(scores.argmax(1) == Y) == result.accuracy > 0.7
    table = history.as_dict()
    assert table["epoch"] == [1, 2, 3, 4, 5, 6]
    assert table["val_accuracy"][-1] == history.tests[-1].scalars()["accuracy"]
