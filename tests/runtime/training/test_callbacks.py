"""Callbacks of a solver: when they are called, removed, replaced, and what they ask."""

import gc
import weakref

import pytest

import runtime
from netspec.errors import SpecError
from runtime.training.callbacks import Callback
from tests.runtime.training.test_solver import FIXED, assert_same, make, values

TESTED = (
    FIXED + "test_iter: 2 test_interval: 3 test_initialization: false max_iter: 6 "
    "snapshot: 2 snapshot_after_train: false "
)


class Told(Callback):
    """Writes down what it is told."""

    def __init__(self, told, mark=""):
        self.told, self.mark = told, mark

    def say(self, *what):
        self.told.append((self.mark, *what) if self.mark else what)

    def on_train_begin(self, solver):
        self.say("begin", solver.iter)

    def on_step(self, record):
        self.say("step", record.iteration)

    def on_test(self, record):
        self.say("test", record.iteration)

    def on_snapshot(self, snapshot):
        self.say("snapshot", snapshot.iteration)

    def on_epoch_end(self, solver, epoch):
        self.say("epoch", epoch, solver.iter)

    def on_train_end(self, solver):
        self.say("end", solver.iter)


def solver_of(backend, tmp_path, **fields):
    solver = make(backend, options=TESTED)
    solver.param.snapshot_prefix = str(tmp_path / "s")
    for name, value in fields.items():
        setattr(solver.param, name, value)
    return solver


def test_the_order_of_all_that_is_told(backend, tmp_path):
    solver, told = solver_of(backend, tmp_path), []
    solver.epoch_size = 3
    assert isinstance(solver.callbacks.add(Told(told)), Told)
    solver.solve()
    assert told == [
        ("begin", 0),
        *[("step", 0), ("step", 1), ("snapshot", 2), ("step", 2)],
        *[("test", 3), ("epoch", 1, 3), ("step", 3), ("snapshot", 4)],
        *[("step", 4), ("step", 5), ("snapshot", 6), ("test", 6), ("epoch", 2, 6)],
        ("end", 6),
    ]


def test_an_epoch_of_step_waits_for_its_test(backend, tmp_path):
    solver, told = solver_of(backend, tmp_path, snapshot=0), []
    solver.epoch_size = 3
    solver.on_epoch_end(lambda solver, epoch: told.append(epoch))
    solver.step(3)
    assert told == []  # its test is due ahead of the next iteration
    solver.step(1)
    assert told == [1]
    solver.solve()
    solver.solve()
    assert told == [1, 2]
    solver.param.test_interval = 1000
    solver.step(3)
    assert told == [1, 2, 3]


def test_functions_and_objects_are_called_in_the_order_in_which_they_came(backend):
    solver, told = make(backend), []
    solver.on_step(lambda record: told.append("first"))
    solver.callbacks.add(Told(told, mark="second"))
    solver.on_step(lambda record: told.append("third"))
    solver.step(1)
    begin, *steps, end = told
    assert steps == ["first", ("second", "step", 0), "third"]
    assert (begin, end) == (("second", "begin", 0), ("second", "end", 1))


def test_what_is_not_overridden_is_not_called(backend):
    solver = make(backend)
    solver.callbacks.add(Callback())
    assert not any(solver.callbacks.has(event) for event in ("on_step", "on_test"))
    one = Callback()
    one.on_step = lambda record: None
    solver.callbacks.add(one)
    assert solver.callbacks.has("on_step")


def test_callbacks_are_removed_and_counted(backend):
    solver, told = make(backend), []

    @solver.on_step
    def show(record):
        told.append("show")

    def before():
        told.append("before")

    solver.add_callback(before, lambda: told.append("after"))
    first, second = (solver.callbacks.add(Told(told, mark=mark)) for mark in "ab")
    assert next(iter(solver.callbacks)) is show
    assert len(solver.callbacks) == 4
    assert solver.callbacks[2] is first
    assert first in solver.callbacks
    assert before in solver.callbacks
    solver.callbacks.remove(first)
    solver.callbacks.remove(show)
    solver.step(1)
    passes = ["before", "after", ("b", "step", 0)]
    assert told == [("b", "begin", 0), *passes, ("b", "end", 1)]
    with pytest.raises(SpecError, match=r"callback Told cannot be .*; there are: \(.*"):
        solver.callbacks.remove(first)
    assert repr(solver.callbacks).endswith(", Told]")
    solver.callbacks.remove(before)
    assert list(solver.callbacks) == [second]
    solver.callbacks.clear()
    assert list(solver.callbacks) == []
    with pytest.raises(SpecError, match="there are: none"):
        solver.callbacks.remove(second)


CELL = """
@solver.on_step
def show(record):
    told.append({0})

solver.on_test(lambda record: told.append("test"))

class Own(Callback):
    def on_step(self, record):
        told.append("own {0}")

solver.callbacks.add(Own())
solver.callbacks.add(Told(told, mark="object"))

def made(number):
    def inner(record):
        told.append(("made", number, {0}))
    return inner

for number in (1, 2):
    solver.on_step(made(number))
"""


def test_a_cell_that_runs_twice_adds_nothing_twice(backend):
    solver, told = make(backend), []
    names = {"solver": solver, "told": told, "Callback": Callback, "Told": Told}
    names["__name__"] = "__main__"
    for number in (1, 1, 2):
        exec(CELL.format(number), names)
    solver.step(1)
    steps = [one for one in told if one not in {("object", "begin", 0)}][:-1]
    assert steps == [2, "own 2", ("object", "step", 0), ("made", 1, 2), ("made", 2, 2)]
    assert sum(callable(one) for one in solver.callbacks) == 4


def test_functions_of_one_loop_are_all_called(backend):
    solver, told = make(backend), []
    for number in range(3):

        @solver.on_step
        def show(record, number=number):
            told.append(number)

        solver.on_step(lambda record, number=number: told.append(-number))
    solver.step(1)
    assert told == [0, 0, 1, -1, 2, -2]


def test_an_equal_callback_takes_the_place_and_the_state_of_the_old_one(backend):
    class Counts(Callback):
        def __init__(self, by=1):
            self.count, self.by = 0, by

        def on_step(self, record):
            self.count += self.by

        def state_dict(self):
            return {"count": self.count}

        def load_state_dict(self, state):
            self.count = state["count"]

    solver = make(backend)
    first, other = Counts(), Counts(by=10)
    solver.callbacks.add(first)
    solver.callbacks.add(other)
    solver.step(2)
    again = solver.callbacks.add(Counts())
    assert list(solver.callbacks) == [again, other]
    solver.step(1)
    assert (first.count, again.count, other.count) == (2, 3, 30)
    named = Counts(by=5)
    named.name = "five"
    solver.callbacks.add(named)
    assert len(solver.callbacks) == 3
    solver.callbacks.add(named)
    assert len(solver.callbacks) == 3


def test_what_a_callback_raises_names_it_and_leaves_whole_iterations(backend):
    class Fails(Callback):
        def on_step(self, record):
            if record.iteration == 1:
                raise ZeroDivisionError("mine")

    solver, told = make(backend), []
    solver.callbacks.add(Fails())
    solver.callbacks.add(Told(told))
    with pytest.raises(ZeroDivisionError, match="mine") as caught:
        solver.step(5)
    assert caught.value.__notes__ == [
        "raised by the callback Fails, on_step; training ends here"
    ]
    assert solver.iter == len(solver.history.train) == 2
    assert told[-1] == ("end", 2)
    other = make(backend)
    other.step(2)
    assert_same(values(solver), values(other))
    solver.step(1)
    assert solver.iter == 3

    @solver.on_step
    def breaks(record):
        raise KeyError("none")

    with pytest.raises(KeyError) as raised:
        solver.step(1)
    assert "breaks" in raised.value.__notes__[0]


def test_what_raises_at_the_beginning_ends_the_run_there(backend):
    class Fails(Callback):
        def on_train_begin(self, solver):
            raise SpecError("no")

    solver, told = make(backend), []
    solver.callbacks.add(Told(told))
    fails = solver.callbacks.add(Fails())
    with pytest.raises(SpecError, match="no"):
        solver.step(2)
    assert told == [("begin", 0), ("end", 0)]
    solver.callbacks.remove(fails)
    solver.step(1)
    assert told[2:] == [("begin", 0), ("step", 0), ("end", 1)]


def test_a_training_of_several_steps_is_one_for_those_who_are_told(backend):
    solver, told = make(backend), []
    solver.callbacks.add(Told(told))
    with solver.training():
        solver.step(1)
        solver.callbacks.add(Told(told, mark="late"))
        solver.step(1)
    assert told == [
        *[("begin", 0), ("step", 0), ("late", "begin", 1)],
        *[("step", 1), ("late", "step", 1), ("end", 2), ("late", "end", 2)],
    ]


def test_callbacks_may_stop_set_the_rate_and_ask_for_a_snapshot(backend, tmp_path):
    class Asks(Callback):
        def on_train_begin(self, solver):
            self.solver = solver

        def on_step(self, record):
            if record.iteration == 1:
                self.solver.lr = 0.001
                self.solver.snapshot_soon()
            if record.iteration == 3:
                self.solver.stop()

    solver = solver_of(backend, tmp_path, snapshot=0, test_interval=100)
    solver.callbacks.add(Asks())
    solver.solve()
    assert solver.iter == 4
    rates = [record.lr for record in solver.history.train]
    assert rates == pytest.approx([0.02, 0.02, 0.001, 0.001])
    assert [one.iteration for one in solver.history.snapshots] == [2, 4]
    solver.callbacks.clear()
    solver.step(1)
    assert solver.iter == 5


def test_a_stop_after_the_last_test_does_not_end_the_next_run(backend, tmp_path):
    solver = solver_of(backend, tmp_path)
    solver.on_test(lambda record: record.iteration == 6 and solver.stop())
    solver.solve()
    solver.step(2)
    assert solver.iter == 8


def test_a_snapshot_wanted_in_the_last_test_is_written(backend, tmp_path):
    solver = solver_of(backend, tmp_path, snapshot=0)
    solver.on_test(lambda record: record.iteration == 6 and solver.snapshot_soon())
    solver.solve()
    assert [one.iteration for one in solver.history.snapshots] == [6]


@pytest.mark.parametrize("size", [0, -3, 2.5, "ten"])
def test_sizes_of_epochs_are_whole_numbers(backend, size):
    solver = make(backend)
    assert solver.epoch_size is None
    with pytest.raises(SpecError, match=f"above 0, got {size!r}"):
        solver.epoch_size = size


def test_what_is_no_callback_is_refused_with_what_to_do(backend):
    solver = make(backend)
    with pytest.raises(SpecError, match=r"on_step, on_test, .* say when to call it"):
        solver.callbacks.add(lambda record: None)
    with pytest.raises(SpecError, match=r"add an object: Told\(...\)"):
        solver.callbacks.add(Told)
    with pytest.raises(SpecError, match=r"3 is no callback; .* runtime.Callback"):
        solver.callbacks.add(3)
    with pytest.raises(SpecError, match="on_step takes a function; got None"):
        solver.on_step(None)
    with pytest.raises(SpecError, match=r"got Told; add it by solver.callbacks.add"):
        solver.on_test(Told([]))


def test_a_solver_is_freed_with_its_callbacks(backend):
    solver = make(backend)
    solver.callbacks.add(Callback())
    solver.step(1)
    gone = weakref.ref(solver.callbacks)
    gc.disable()
    try:
        del solver
        assert gone() is None
    finally:
        gc.enable()


def test_callback_is_a_public_name():
    assert runtime.Callback is Callback
