"""A history as numbers, tables and curves: lines, HTML, dicts, frames and figures."""

import copy
import gc
import math
import pickle
import re
import sys
import weakref

import numpy as np
import pytest

from netspec.errors import FileError, MachineError, SpecError
from runtime.training.history import History, StepRecord, TestRecord
from runtime.training.plots import draw_history
from tests.runtime.training.test_solver import FIXED, make

LR = float(np.float32(0.05))


def step(iteration, loss, lr=LR):
    return StepRecord(iteration, loss, loss + 1, lr, 0.5)


def result(iteration, loss, accuracy, net=0, **more):
    outputs = {"loss": np.array(loss), "accuracy": np.array([accuracy])} | more
    return TestRecord(iteration, net, outputs, {"loss": 2.0})


def run(epoch_size=3, extra=()):
    losses = [9.0, 6.0, 3.0, 3.0, 2.0, 1.0, 0.5]
    tests = [result(0, 78.0, 0.1), result(3, 4.0, 0.5), result(6, 5.0, 0.7), *extra]
    train = [step(i, loss) for i, loss in enumerate(losses)]
    return History(train, tests, epoch_size=epoch_size)


# ---------------------------------------------------------------- numbers


def test_lists_per_epoch():
    assert run().as_dict() == {
        "epoch": [1, 2, 3],
        "iteration": [3, 6, 7],
        "loss": [6.0, 2.0, 0.5],
        "lr": [0.05] * 3,
        "seconds": [1.5, 1.5, 0.5],
        "val_loss": [4.0, 5.0, pytest.approx(math.nan, nan_ok=True)],
        "val_accuracy": [0.5, 0.7, pytest.approx(math.nan, nan_ok=True)],
    }


def test_lists_between_tests():
    found = run(epoch_size=None).as_dict("test")
    assert found["iteration"] == [0, 3, 6]
    assert found["test"] == [1, 2, 3]
    assert math.isnan(found["loss"][0])
    assert found["loss"][1:] == [6.0, 2.0]
    assert found["val_loss"] == [78.0, 4.0, 5.0]


def test_lists_per_iteration_and_of_several_nets():
    second = result(3, 0.25, 0.75, net=1, top5=np.array(0.9))
    found = run(epoch_size=None, extra=[second]).as_dict()
    assert found["iteration"] == list(range(7))
    assert found["loss"][:2] == [9.0, 6.0]
    assert found["lr"] == [0.05] * 7
    assert found["val_iteration"] == [0, 3, 6]
    assert found["val_accuracy"] == [0.1, 0.5, 0.7]
    assert found["val1_iteration"] == [3]
    assert found["val1_top5"] == [0.9]
    assert run().as_dict("iteration")["loss"] == found["loss"]


def test_the_objective_is_a_loss_where_no_output_has_that_name():
    outputs = {"a": np.array(1.0), "b": np.array(3.0), "rows": np.ones(4)}
    test = TestRecord(3, 0, outputs, {"a": 0.5, "b": 2.0})
    found = History(tests=[test]).as_dict()
    assert found["val_loss"] == [6.5]
    assert "val_rows" not in found


def test_a_run_that_was_resumed_has_its_own_epochs():
    history = History([step(i, i) for i in range(4, 9)], epoch_size=3)
    assert history.as_dict()["epoch"] == [2, 3]
    assert history.as_dict()["loss"] == [4.5, 7.0]


def test_ways_that_there_are_not():
    with pytest.raises(SpecError, match=r"per='epochs'; did you mean 'epoch'\?"):
        run().as_dict("epochs")
    with pytest.raises(SpecError, match="has no epochs; set solver.epoch_size"):
        run(epoch_size=None).as_dict("epoch")


def test_frames():
    pytest.importorskip("pandas")
    frame = run().to_pandas()
    assert frame.index.name == "epoch"
    assert list(frame.index) == [1, 2, 3]
    assert frame.loc[2, "val_accuracy"] == 0.7
    frame = run(extra=[result(7, 1.0, 0.8)]).to_pandas("iteration")
    assert list(frame.columns) == ["loss", "lr", "seconds", "val_loss", "val_accuracy"]
    assert frame.loc[3].tolist() == [3.0, 0.05, 0.5, 4.0, 0.5]
    assert frame["val_loss"].count() == 4
    assert frame.loc[7, "val_accuracy"] == 0.8
    assert math.isnan(frame.loc[7, "loss"])
    assert History().to_pandas().empty


def test_frames_without_pandas(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MachineError, match="needs pandas, .* or use as_dict"):
        run().to_pandas()


@pytest.mark.parametrize(
    ("name", "mode", "best"),
    [
        ("val_loss", "auto", (4.0, 3, 1)),
        ("val_loss", "max", (78.0, 0, 0)),
        ("val_accuracy", "auto", (0.7, 6, 2)),
        ("accuracy", "auto", (0.7, 6, 2)),
        ("test_accuracy", "min", (0.1, 0, 0)),
        ("loss", "auto", (0.5, 7, 3)),
    ],
)
def test_the_best_value(name, mode, best):
    assert run().best(name, mode) == best


def test_best_values_that_cannot_be_told():
    assert run(epoch_size=None).best("loss") == (1.5, 7, None)
    with pytest.raises(SpecError, match=r"'val_acc' .* did you mean 'val_accuracy'"):
        run().best("val_acc")
    odd = run(extra=[result(6, 1.0, 0.5, speed=np.array(3.0))])
    with pytest.raises(SpecError, match="'val_speed' is better cannot be told"):
        odd.best("speed")
    assert odd.best("val_speed", "max").value == 3.0
    with pytest.raises(SpecError, match="mode must be .* got 'most'"):
        odd.best("val_speed", "most")
    bad = History(tests=[result(0, math.nan, 0.5)])
    with pytest.raises(SpecError, match="'val_loss' has no value yet"):
        bad.best()


# ---------------------------------------------------------------- looks


def test_a_line():
    text = "val_loss 5, val_accuracy 0.7 at 6>"
    end = f"loss 1.5, lr 0.05, {text}"
    assert repr(run()) == f"<History: 2 epochs of 3 iterations, 7 iterations, {end}"
    assert repr(run(None)) == f"<History: 7 iterations, {end}"
    assert repr(History()) == "<History: nothing yet>"
    assert repr(step(3, 0.25)) == (
        "StepRecord(iteration=3, loss=0.25, smoothed_loss=1.25, lr=0.05, seconds=0.5)"
    )
    record = result(3, 0.5, 0.25, rows=np.ones(3))
    assert repr(record) == (
        "TestRecord(iteration=3, net=0, loss=0.5, accuracy=0.25, rows=...)"
    )


def test_html_has_curves_and_a_table_without_scripts_and_ids():
    odd = {"<b>": np.array(0.5)}
    html = run(extra=[result(7, 1.0, 0.8, **odd)])._repr_html_()
    assert html.count("<svg") == 2
    assert "<script" not in html
    assert " id=" not in html
    assert "<b>" not in html
    cells = re.findall(r"<t[hd](?: [^>]*)?>([^<]*)", html)
    heads = ["epoch", "iteration", "loss", "lr", "val_loss", "val_accuracy"]
    assert cells[:7] == [*heads, "val_&lt;b&gt;"]
    assert cells[7:13] == ["1", "3", "6", "0.05", "4", "0.5"]
    assert "0.05000" not in html


@pytest.mark.parametrize(
    "history", [History(), History(train=run().train), History(tests=run().tests)]
)
def test_parts_of_a_history_are_shown(history, tmp_path):
    assert "History: " in history._repr_html_()
    pytest.importorskip("matplotlib")
    draw_history(history, tmp_path / "curve.svg")
    assert (tmp_path / "curve.svg").stat().st_size > 1000


def test_long_tables_show_the_last_rows():
    history = History([step(i, 1.0) for i in range(1000)])
    html = history._repr_html_()
    assert html.count("<tr>") == 9
    assert ">999<" in html


# ---------------------------------------------------------------- figures


def test_figures_are_shown_by_notebooks_and_smoothed():
    pytest.importorskip("matplotlib")
    figure = run().plot(title="lenet")
    assert figure._repr_png_().startswith(b"\x89PNG")
    losses, scores = figure.axes
    assert losses.get_title() == "lenet"
    assert len(scores.get_lines()) == 1
    for smooth, last in ((1, 0.5), (2, 0.75), (7, 3.5)):
        line = run().plot(smooth=smooth).axes[0].get_lines()[1]
        assert line.get_ydata()[-1] == pytest.approx(last)
    with pytest.raises(SpecError, match="number of iterations above 0, got 0"):
        run().plot(smooth=0)


def scale(history, **options):
    pytest.importorskip("matplotlib")
    axes = history.plot(**options).axes[0]
    return axes.get_yscale(), axes.get_ylim()[1]


def test_a_test_loss_far_above_the_others_leaves_them_visible():
    train = [step(i, 2.0 - i / 50) for i in range(50)]
    tests = [result(0, 78.0, 0.1), result(25, 2.0, 0.1), result(50, 1.0, 0.1)]
    assert scale(History(train, tests))[0] == "log"
    assert scale(History(train, tests), log=False) == ("linear", pytest.approx(82, 0.1))
    assert scale(History(train, tests[1:]))[0] == "linear"
    assert scale(History(train, tests[1:]), log=True)[0] == "log"
    below = [*train, step(50, -0.5)]  # no logarithm
    kind, top = scale(History(below, tests))
    assert kind == "linear"
    assert 2.0 < top < 3.0
    assert "up to 78" in History(below, tests)._repr_html_()


# ---------------------------------------------------------------- files, copies


@pytest.mark.parametrize("name", ["log.csv", "log.jsonl"])
def test_logs_are_read_again(tmp_path, name):
    history = run(extra=[result(7, math.inf, 0.5, net=1)])
    history.write(tmp_path / name)
    again = History.read(tmp_path / name, epoch_size=3)
    assert again.as_dict().keys() == history.as_dict().keys()
    for column, values in history.as_dict().items():
        assert again.as_dict()[column] == pytest.approx(values, nan_ok=True)
    assert [one.net for one in again.tests] == [0, 0, 0, 1]
    assert again.tests[0].loss_weights == {"loss": 1.0}


def test_files_that_are_no_logs(tmp_path):
    path = tmp_path / "log.csv"
    for text in ("", "a,b\n1,2\n", '{"a": 1}\n', "1,train,loss,x\n"):
        path.write_text(text)
        with pytest.raises(FileError, match=r"log.csv: is no log of a training"):
            History.read(path)
    path.write_text('{"iteration": 3, "phase": "train", "loss": 1.5}\n{"iterat')
    assert History.read(path).train[0].loss == 1.5


def test_copies_are_equal_and_have_no_solver(backend):
    solver = make(backend)
    solver.step(2)
    history = solver.history
    assert history is solver.history
    assert history.solver is solver
    assert history.net is solver.net
    for other in (copy.deepcopy(history), pickle.loads(pickle.dumps(history))):
        assert other == history
        assert other.solver is None
        with pytest.raises(SpecError, match=r"has no net: it was read from a file"):
            _ = other.net


def test_what_solve_returns_keeps_its_solver_and_what_nobody_has_is_freed(backend):
    options = FIXED + "max_iter: 3 snapshot_after_train: false"
    history = make(backend, options=options).solve()
    gc.collect()
    assert history.solver.iter == len(history.train) == 3
    history.solver.step(2)
    assert len(history.train) == 5
    history.solver.epoch_size = 2
    assert history.as_dict()["epoch"] == [1, 2, 3]
    gone = weakref.ref(history.solver)
    gc.disable()
    try:
        del history
        assert gone() is None
    finally:
        gc.enable()
