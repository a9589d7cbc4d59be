"""The states of callbacks in snapshots: what is kept, who gets it, and equal runs."""

import warnings

import numpy as np
import pytest

from netspec.errors import FileError, SpecError, SpecWarning
from netspec.schema import SolverState
from runtime.training.callback_state import packed, unpacked
from runtime.training.callbacks import Callback
from runtime.training.snapshot_files import SnapshotWarning
from tests.runtime.training.test_solver import FIXED, assert_same, make, values

STATE = {
    "numbers": [1, -2.5, float("inf"), True, None],
    "text": 'two\nlines and "quotes"',
    "nested": {"a": {"b": []}, "$array": 3, "$float": "x"},
    "small": np.float32(0.1),
    "count": np.int64(1 << 60),
    "weights": np.arange(6, dtype=np.float64).reshape(2, 3).T,
    "bytes": np.array([[0, 255]], np.uint8),
    "flags": np.array([True, False]),
    "words": np.array(["ab", "c"]),
    "empty": np.zeros((0, 3), np.float16),
    "pair": (1, np.array(2.5)),
}


def test_states_come_back_as_they_were():
    [(name, state)] = unpacked([packed("one", STATE)], "file").items()
    assert name == "one"
    assert state.keys() == STATE.keys()
    for key in ("numbers", "text", "nested"):
        assert state[key] == STATE[key], key
    assert state["pair"] == [1, 2.5]
    for key in ("small", "count", "weights", "bytes", "flags", "words", "empty"):
        assert state[key].dtype == STATE[key].dtype, key
        np.testing.assert_array_equal(state[key], STATE[key])
    state["weights"][0, 0] = 7  # arrays are one's own
    nan = unpacked([packed("one", {"x": float("nan")})], "file")["one"]["x"]
    assert np.isnan(nan)


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"net": {"deep": [1, object()]}}, r"\['net'\]\['deep'\]\[1\] is a object"),
        ({"by": {3: 4}}, r"\['by'\] is a dict with keys that are no strings"),
        ({"a": np.array([None])}, r"\['a'\] is a array of object"),
        ([1], "must return a dict, got list"),
        ({3: 4}, "'one' has the key 3; its keys must be strings"),
    ],
)
def test_what_cannot_be_kept_is_named(state, said):
    with pytest.raises(SpecError, match=said):
        packed("one", state)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}\n",
        b"[]\n",
        b"\xff\n",
        packed("one", STATE)[:-1],
        b'{"name": "a", "state": {}, "arrays": [{"type": "O", "shape": [1]}]}\n'
        + b"." * 8,
        b'{"name": "a", "state": {}, "arrays": [{"type": "<f4", "shape": [-1]}]}\n',
        b'{"name": "a", "state": {}, "arrays": [{"type": "<f4", "shape": [9]}]}\n',
        b'{"name": "a", "state": {"x": {"$array": 0}}, "arrays": []}\n',
        b'{"name": "a", "state": 5, "arrays": []}\n',
    ],
)
def test_broken_states_are_errors_of_their_file(data):
    with pytest.raises(FileError, match=r"run.solverstate: .* is broken"):
        unpacked([data], "run.solverstate")


class Halves(Callback):
    """Halves the rate when a test is no better than the best one."""

    def __init__(self):
        self.best, self.seen, self.kept = None, [], None

    def on_train_begin(self, solver):
        self.solver = solver

    def on_test(self, record):
        loss = record.scalars()["loss"]
        self.seen.append(loss)
        if self.best is None or loss < self.best:
            self.best = loss
            self.kept = self.solver.net.params["ip"][0].data.copy()
        else:
            self.solver.lr = self.solver.lr / 2

    def on_epoch_end(self, solver, epoch):
        self.seen.append(-epoch)
        if epoch == 2:
            solver.lr = solver.lr * 0.7

    def state_dict(self):
        return {"best": self.best, "seen": self.seen, "kept": self.kept}

    def load_state_dict(self, state):
        self.best, self.seen, self.kept = state["best"], state["seen"], state["kept"]


OPTIONS = (
    FIXED + "test_iter: 2 test_interval: 2 max_iter: 12 snapshot_after_train: false "
)


def with_halves(backend, tmp_path, hdf5=False, **fields):
    solver = make(backend, options=OPTIONS)
    solver.param.snapshot_prefix = str(tmp_path / "s")
    if hdf5:
        pytest.importorskip("h5py")
        solver.param.snapshot_format = solver.param.HDF5
    for name, value in fields.items():
        setattr(solver.param, name, value)
    solver.epoch_size = 2
    return solver, solver.callbacks.add(Halves())


def rates(solver):
    return [record.lr for record in solver.history.train]


def assert_equal_runs(solver, halves, other, again):
    assert_same(values(solver), values(other))
    assert halves.seen == again.seen
    assert halves.best == again.best
    np.testing.assert_array_equal(halves.kept, again.kept)
    done = len(rates(other))
    assert rates(solver)[-done:] == rates(other)
    assert len(set(rates(solver))) > 2


@pytest.mark.parametrize("hdf5", [False, True])
@pytest.mark.parametrize("at", [1, 7, 8])
def test_a_run_that_is_resumed_decides_as_one_that_was_not(backend, tmp_path, at, hdf5):
    solver, halves = with_halves(backend, tmp_path, hdf5)
    solver.solve()
    stopped, _ = with_halves(backend, tmp_path, hdf5)
    stopped.on_step(lambda record: record.iteration == at - 1 and stopped.stop())
    stopped.solve()
    other, again = with_halves(backend, tmp_path, hdf5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        other.solve(resume=stopped.last_snapshot.state)
    assert_equal_runs(solver, halves, other, again)
    # and the same solver goes back to it
    stopped.callbacks.remove(
        next(c for c in stopped.callbacks if not isinstance(c, Halves))
    )
    stopped.step(3)
    stopped.solve(resume=stopped.last_snapshot.state)
    assert_equal_runs(solver, halves, stopped, next(iter(stopped.callbacks)))


@pytest.mark.parametrize("event", ["on_test", "on_epoch_end"])
def test_what_was_told_before_the_snapshot_is_not_told_again(backend, tmp_path, event):
    solver, halves = with_halves(backend, tmp_path)
    solver.solve()
    stopped, _ = with_halves(backend, tmp_path)
    told = []

    def stop(*args):
        at = args[0].iteration if event == "on_test" else args[0].iter
        told.append(at)
        if at == 6:
            stopped.stop()

    getattr(stopped, event)(stop)
    stopped.solve()
    assert stopped.iter == 6
    other, again = with_halves(backend, tmp_path)
    heard = []
    other.on_test(lambda record: heard.append(record.iteration))  # it has no state
    other.restore(stopped.last_snapshot.state)
    other.solve()
    assert_equal_runs(solver, halves, other, again)
    assert heard == [6, 8, 10, 12]


def test_a_callback_that_is_added_after_the_snapshot_was_read(backend, tmp_path):
    solver, halves = with_halves(backend, tmp_path)
    solver.solve()
    stopped, _ = with_halves(backend, tmp_path, max_iter=7, snapshot=7)
    stopped.solve()
    other, first = with_halves(backend, tmp_path)
    other.callbacks.clear()
    other.restore(stopped.last_snapshot.state)
    again = other.callbacks.add(Halves())
    other.solve()
    assert_equal_runs(solver, halves, other, again)
    assert first.seen == []


def test_states_go_by_names_or_by_classes_and_numbers(backend, tmp_path):
    class Count(Callback):
        def __init__(self, start, name=None):
            self.count, self.name = start, name

        def state_dict(self):
            return {"count": self.count}

        def load_state_dict(self, state):
            self.count = state["count"]

    def build(*starts, names):
        solver, _ = with_halves(backend, tmp_path)
        solver.callbacks.clear()
        pairs = zip(starts, names, strict=True)
        return solver, [solver.callbacks.add(Count(*pair)) for pair in pairs]

    solver, _ = build(1, 2, 3, 4, names=[None, "x", None, "y"])
    solver.step(1)
    path = solver.snapshot().state
    other, counts = build(10, 20, 30, names=["x", None, None])
    with pytest.warns(SpecWarning, match=r"callbacks that are not there: y; add"):
        other.solve(resume=path)
    assert [one.count for one in counts] == [2, 1, 3]
    less, counts = build(10, 20, 30, 40, 50, names=["y", None, "x", None, None])
    with pytest.warns(SpecWarning, match=r"no state of .* they are: Count 3$"):
        less.solve(resume=path)
    assert [one.count for one in counts] == [4, 1, 2, 3, 50]


def test_snapshots_without_callbacks_are_as_before(backend, tmp_path):
    solver, _ = with_halves(backend, tmp_path)
    solver.callbacks.clear()
    solver.on_test(lambda record: None)
    solver.step(3)
    path = solver.snapshot().state
    assert not SolverState.FromString(path.read_bytes()).callback_state
    other, halves = with_halves(backend, tmp_path)
    halves.best = 0.0
    with pytest.warns(SpecWarning, match=r"no state of .* they are: Halves"):
        other.solve(resume=path)


def test_a_state_that_cannot_be_kept_costs_no_snapshot(backend, tmp_path):
    class Broken(Callback):
        def state_dict(self):
            return {"solver": self}

    class Raises(Callback):
        def state_dict(self):
            raise KeyError("gone")

    solver, halves = with_halves(backend, tmp_path)
    solver.callbacks.add(Broken())
    solver.callbacks.add(Raises())
    solver.step(3)
    with pytest.warns(SnapshotWarning) as told:
        path = solver.snapshot().state
    assert [str(one.message).split(":")[0] for one in told] == [
        "the state of the callback Broken cannot be kept",
        "the state of the callback Raises cannot be kept",
    ]
    other, again = with_halves(backend, tmp_path)
    other.restore(path)
    assert again.seen == halves.seen


def test_what_load_state_dict_raises_names_its_callback(backend, tmp_path):
    solver, _ = with_halves(backend, tmp_path)
    solver.step(1)
    path = solver.snapshot().state
    other, again = with_halves(backend, tmp_path)
    again.load_state_dict = lambda state: state["none"]
    with pytest.raises(KeyError) as raised:
        other.restore(path)
    assert (
        "Halves" in raised.value.__notes__[0] or "lambda" in raised.value.__notes__[0]
    )


def test_broken_states_leave_the_solver_as_it_is(backend, tmp_path):
    solver, _ = with_halves(backend, tmp_path)
    solver.step(3)
    path = solver.snapshot().state
    state = SolverState.FromString(path.read_bytes())
    state.callback_state[0] = state.callback_state[0][:-1]
    path.write_bytes(state.SerializeToString())
    other, again = with_halves(backend, tmp_path)
    before = values(other)
    with pytest.raises(FileError, match=r"state of a callback in it is broken"):
        other.restore(path)
    assert_same(before, values(other))
    assert (other.iter, again.seen) == (0, [])


# ---------------------------------------------------------------- rates that were set


def set_at(backend, tmp_path, at, rate, **fields):
    solver, _ = with_halves(backend, tmp_path, **fields)
    solver.callbacks.clear()

    @solver.on_step
    def change(record):
        if record.iteration == at:
            solver.lr = rate

    return solver


def test_a_rate_that_was_set_in_training_is_resumed(backend, tmp_path):
    first = set_at(backend, tmp_path, 3, 0.004, max_iter=8, snapshot=2)
    first.solve()
    paths = [one.state for one in first.history.snapshots]
    other, _ = with_halves(backend, tmp_path, max_iter=8)
    other.callbacks.clear()
    other.solve(resume=paths[2])  # of iteration 6
    assert rates(other) == rates(first)[6:] == pytest.approx([0.004, 0.004])
    first.solve(resume=paths[0])  # of iteration 2: the rate was not set yet
    assert rates(first) == pytest.approx([0.02] * 4 + [0.004] * 4)


def test_another_base_lr_of_the_solver_counts_and_is_told(backend, tmp_path):
    first = set_at(backend, tmp_path, 3, 0.004, max_iter=8, snapshot=6)
    first.solve()
    path = first.history.snapshots[0].state
    other, _ = with_halves(backend, tmp_path, max_iter=8, base_lr=0.5)
    other.callbacks.clear()
    with pytest.warns(
        SpecWarning, match=r"base_lr is 0.5, but was 0.02 .* 0.004 until"
    ):
        other.solve(resume=path)
    assert rates(other) == [0.5, 0.5]


def test_a_rate_that_was_set_by_hand_stays(backend, tmp_path):
    first = set_at(backend, tmp_path, 3, 0.004, max_iter=8, snapshot=6)
    first.solve()
    path = first.history.snapshots[0].state
    first.lr = 0.25
    first.solve(resume=path)
    assert rates(first)[-2:] == [0.25, 0.25]
