"""Callbacks that write or note what happens: logs, TensorBoard, spreads, functions."""

import struct
import sys

import numpy as np
import pytest

from netspec.errors import FileError, MachineError, SpecError, SpecWarning
from runtime.callbacks import (
    ActivationStats,
    CSVLog,
    JSONLog,
    LambdaCallback,
    TensorBoard,
    TimeLimit,
)
from runtime.callbacks.tensorboard import tiled
from runtime.training.history import History
from runtime.training.snapshot_files import SnapshotWarning
from tests.runtime.callbacks.common import TESTS, solver_of
from tests.runtime.training.test_solver import FIXED

LOGS = [(CSVLog, "log.csv"), (JSONLog, "log.jsonl"), (JSONLog, "log.txt")]


# ---------------------------------------------------------------- logs


@pytest.mark.parametrize(("kind", "name"), LOGS)
def test_logs_have_every_record(backend, tmp_path, kind, name):
    solver = solver_of(backend)
    solver.callbacks.add(kind(tmp_path / "new" / name))
    solver.solve()
    found = History.read(tmp_path / "new" / name)
    assert found.as_dict()["loss"] == pytest.approx(solver.history.as_dict()["loss"])
    assert [r.iteration for r in found.tests] == [2, 4, 6, 8, 10, 12]
    assert found.tests[0].scalars().keys() == {"accuracy", "loss"}


def timeless(path):
    return [line for line in path.read_text().splitlines() if "seconds" not in line]


@pytest.mark.parametrize("at", [3, 4, 12])
def test_the_log_of_a_resumed_run_is_that_of_one_that_was_not(backend, tmp_path, at):
    def begun(name):
        solver = solver_of(backend)
        solver.param.snapshot_prefix = str(tmp_path / "s")
        solver.callbacks.add(CSVLog(tmp_path / name))
        return solver

    begun("a.csv").solve()
    stopped = begun("b.csv")
    stopped.step(at)
    path = stopped.snapshot().state
    stopped.step(5)  # is lost, and comes again
    begun("b.csv").solve(resume=path)
    assert timeless(tmp_path / "a.csv") == timeless(tmp_path / "b.csv")
    # in the same process, by another object for the same file
    stopped = begun("c.csv")
    stopped.solve()
    stopped.param.max_iter = 20
    stopped.callbacks.add(CSVLog(tmp_path / "c.csv"))
    assert len(stopped.callbacks) == 1
    stopped.solve()
    longer = begun("d.csv")
    longer.param.max_iter = 20
    longer.solve()
    assert timeless(tmp_path / "c.csv") == timeless(tmp_path / "d.csv")


def test_steps_one_by_one_are_one_log(backend, tmp_path):
    solver = solver_of(backend)
    solver.callbacks.add(CSVLog(tmp_path / "log.csv"))
    for _ in range(5):
        solver.step(1)
    assert len(History.read(tmp_path / "log.csv").train) == 5
    solver = solver_of(backend)
    solver.callbacks.add(CSVLog(tmp_path / "log.csv"))
    solver.step(2)  # a training from the start writes it anew
    assert len(History.read(tmp_path / "log.csv").train) == 2


def test_a_log_that_cannot_be_written(backend, tmp_path, monkeypatch):
    solver = solver_of(backend)
    (tmp_path / "file").write_text("")
    refused = solver.callbacks.add(CSVLog(tmp_path / "file" / "log.csv"))
    with pytest.raises(FileError, match="log.csv: its folder cannot be made"):
        solver.step(1)
    solver.callbacks.remove(refused)
    log = solver.callbacks.add(CSVLog(tmp_path / "log.csv"))
    solver.step(1)

    def full(text):
        raise FileError("log.csv: no space left")

    monkeypatch.setattr(log._log, "_write", full)
    with pytest.warns(SnapshotWarning, match="no space left; training goes on"):
        solver.step(3)
    solver.step(1)
    assert solver.iter == 5


# ---------------------------------------------------------------- TensorBoard


def events(folder):
    """Read what tensorboardX wrote: (step, tag or kind) of every event."""
    event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2")
    found = []
    for path in sorted(folder.iterdir()):
        data, at = path.read_bytes(), 0
        while at + 12 < len(data):
            (size,) = struct.unpack("<Q", data[at : at + 8])
            event = event_pb2.Event.FromString(data[at + 12 : at + 12 + size])
            at += 16 + size
            tags = [value.tag for value in event.summary.value]
            found += [(event.step, tag) for tag in tags or [event.WhichOneof("what")]]
    return found


def test_scalars_histograms_and_filters(backend, tmp_path):
    pytest.importorskip("tensorboardX")
    solver = solver_of(backend)
    board = TensorBoard(tmp_path / "tb", every=2, histograms=4)
    solver.callbacks.add(board)
    solver.step(6)
    board.close()
    found = events(tmp_path / "tb")
    assert (2, "val/accuracy") in found
    assert (4, "val/loss") in found
    assert [at for at, tag in found if tag == "train/loss"] == [0, 2, 4]
    layers = [tag for at, tag in found if at == 4 and "parameters" in tag]
    assert layers == [
        f"parameters/{layer}/{n}" for layer in ("ip", "out") for n in "01"
    ]
    solver.net.params["ip"][0].data[0, 0] = np.nan
    board.on_train_begin(solver)
    board._write_histograms(9)
    board.close()
    late = [tag for at, tag in events(tmp_path / "tb") if at == 9]
    assert late == layers[1:]
    # The files of one second do not overwrite each other.
    other = solver_of(backend)
    again = other.callbacks.add(TensorBoard(tmp_path / "tb"))
    other.step(2)
    again.close()
    assert [at for at, tag in events(tmp_path / "tb") if tag == "train/lr"] == [
        *[0, 2, 4],
        *[0, 1],
    ]


def test_a_resumed_run_hides_what_comes_again(backend, tmp_path):
    pytest.importorskip("tensorboardX")
    solver = solver_of(backend)
    solver.param.snapshot_prefix = str(tmp_path / "s")
    board = solver.callbacks.add(TensorBoard(tmp_path / "tb"))
    solver.step(3)
    path = solver.snapshot().state
    solver.step(2)
    assert len(list((tmp_path / "tb").iterdir())) == 1
    solver.restore(path)
    solver.step(2)
    board.close()
    found = events(tmp_path / "tb")
    assert (3, "session_log") in found
    assert len([at for at, tag in found if tag == "train/loss"]) == 7


def test_filters_are_tiled():
    filters = np.arange(5 * 3 * 2 * 4, dtype=np.float32).reshape(5, 3, 2, 4)
    picture = tiled(filters)
    assert picture.shape == (3, 2 * 3 - 1, 3 * 5 - 1)
    np.testing.assert_allclose(picture[:, 3:5, 5:9], filters[4] / (filters.size - 1))
    assert tiled(np.ones((1, 1, 2, 2), np.float32)).max() == 0


def test_pictures_of_filters_are_written(backend, tmp_path):
    pytest.importorskip("tensorboardX")
    pytest.importorskip("PIL")
    net = """
    layer { name: "d" type: "DummyData" top: "x" dummy_data_param {
      shape { dim: 2 dim: 3 dim: 6 dim: 6 } data_filler { type: "gaussian" } } }
    layer { name: "conv" type: "Convolution" bottom: "x" top: "y" convolution_param {
      num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
    layer { name: "loss" type: "Reduction" bottom: "y" top: "l" loss_weight: 1
      reduction_param { operation: SUMSQ } }
    """
    solver = solver_of(backend, options='base_lr: 0.0001 lr_policy: "fixed"', net=net)
    board = solver.callbacks.add(TensorBoard(tmp_path, filters=2))
    solver.step(4)
    board.close()
    found = [at for at, tag in events(tmp_path) if tag == "filters/conv"]
    assert found == [2, 4]


def test_tensorboard_without_its_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(MachineError, match=r"extra netspec\[tensorboard\], or"):
        TensorBoard("runs")


# ---------------------------------------------------------------- spreads

UNITS = """
layer { name: "d" type: "DummyData" top: "x" dummy_data_param {
  shape { dim: 4 dim: 5 } data_filler { type: "gaussian" std: 2 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "h"
  inner_product_param { num_output: 6 weight_filler { type: "xavier" } } }
layer { name: "relu1" type: "ReLU" bottom: "h" top: "h" }
layer { name: "tanh" type: "TanH" bottom: "h" top: "t" }
layer { name: "out" type: "InnerProduct" bottom: "t" top: "y"
  inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "Reduction" bottom: "y" top: "l" loss_weight: 1
  reduction_param { operation: SUMSQ } }
"""


def units(backend, **more):
    text = 'base_lr: 0.001 lr_policy: "fixed" max_iter: 12 '
    return solver_of(backend, options=text, net=UNITS, **more)


def test_spreads_are_those_of_the_blobs(backend):
    solver = units(backend)
    stats = solver.callbacks.add(ActivationStats(["relu*", "t"], every=2, dead_after=2))
    seen = []

    @solver.on_step
    def look(record):
        seen.append(
            (solver.net.blobs["h"].data.copy(), solver.net.blobs["t"].data.copy())
        )

    solver.net.params["ip"][0].data[[1, 4]] = 0
    solver.net.params["ip"][1].data[[1, 4]] = -1
    solver.step(4)
    assert list(stats.spreads) == ["h", "t"]
    last = stats.spreads["h"][-1]
    h, t = seen[3]
    assert last.iteration == 3
    assert last.mean == pytest.approx(h.mean(), rel=1e-5)
    assert last.std == pytest.approx(h.std(), rel=1e-5)
    assert last.zeros == pytest.approx((h == 0).mean())
    assert last.saturated is None
    assert stats.spreads["t"][-1].saturated == pytest.approx((abs(t) > 0.99).mean())
    dead = np.flatnonzero(~(seen[1][0].any(0) | seen[3][0].any(0))).tolist()
    assert set(dead) >= {1, 4}
    assert stats.dead["h"] == dead
    assert "dead units" in stats._repr_html_()
    assert f"{len(dead)} of 6: {', '.join(map(str, dead))}" in str(stats)
    assert repr(stats).startswith("<ActivationStats of 2 blobs, 2 looks, ")


def test_spreads_go_on_after_a_snapshot(backend, tmp_path):
    def begun():
        solver = units(backend)
        solver.param.snapshot_prefix = str(tmp_path / "s")
        return solver, solver.callbacks.add(ActivationStats(every=3))

    solver, stats = begun()
    solver.step(10)
    stopped, _ = begun()
    stopped.step(7)
    path = stopped.snapshot().state
    other, again = begun()
    other.restore(path)
    other.step(3)
    assert again.spreads == stats.spreads
    assert again.dead == stats.dead


def test_a_layer_that_is_dead_is_told(backend):
    solver = units(backend)
    solver.callbacks.add(ActivationStats("h", every=1, dead_after=2))
    solver.net.params["ip"][0].data[...] = 0
    solver.net.params["ip"][1].data[...] = -1
    with pytest.warns(
        SpecWarning, match=r"all 6 units of blob 'h' were 0 .* 2 looks"
    ) as w:
        solver.step(5)
    assert len(w) == 1


def test_blobs_that_there_are_not(backend):
    solver = units(backend)
    bad = solver.callbacks.add(ActivationStats("rellu1"))
    with pytest.raises(SpecError, match=r"'rellu1'; did you mean 'relu1'\?; there"):
        solver.step(1)
    solver.callbacks.remove(bad)
    plain = solver_of(backend, options=TESTS)
    plain.callbacks.add(ActivationStats())
    with pytest.raises(SpecError, match="no layer of activations; name blobs"):
        plain.step(1)


# ---------------------------------------------------------------- functions and time


def test_functions_by_the_names_of_methods(backend):
    solver, told = solver_of(backend, FIXED + "max_iter: 3"), []
    solver.callbacks.add(
        LambdaCallback(
            on_train_begin=lambda solver: told.append("begin"),
            on_step=lambda record: told.append(record.iteration),
        )
    )
    solver.step(2)
    assert told == ["begin", 0, 1]
    with pytest.raises(SpecError, match=r"has no 'on_stepp'; did you mean 'on_step'\?"):
        LambdaCallback(on_stepp=print)
    with pytest.raises(SpecError, match="on_step takes a function, got 3"):
        LambdaCallback(on_step=3)


def test_training_ends_after_its_time(backend, tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("runtime.callbacks.simple.time.monotonic", lambda: now[0])

    def begun():
        solver = solver_of(backend, FIXED + "max_iter: 50 snapshot_after_train: false")
        solver.param.snapshot_prefix = str(tmp_path / "s")
        solver.on_step(lambda record: now.__setitem__(0, now[0] + 10))
        return solver, solver.callbacks.add(TimeLimit(seconds=30, minutes=1))

    solver, limit = begun()
    assert limit.limit == 90
    solver.step(4)
    now[0] += 1000  # between runs
    path = solver.snapshot().state
    assert limit.spent == 40
    other, again = begun()
    other.solve(resume=path)
    assert other.iter == 9
    assert repr(again) == "<TimeLimit of 90 s, 90.0 s spent>"
    with pytest.raises(SpecError, match="needs a time"):
        TimeLimit()
