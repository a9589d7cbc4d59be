"""Signals during training: iterations stay whole, and one clean interrupt comes out."""

import signal
import traceback

import numpy as np
import pytest

import runtime
from tests.runtime.training.test_solver import (
    FIXED,
    NOISE,
    TESTED,
    assert_same,
    make,
    values,
)


@pytest.fixture(autouse=True)
def handlers():
    """Python's handler of Ctrl-C."""
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def interrupt_in(solver, iteration):
    """Let Ctrl-C come in the middle of an iteration."""

    def before():
        if solver.iter == iteration:
            signal.raise_signal(signal.SIGINT)

    solver.add_callback(before, lambda: None)


def names(caught):
    frames = traceback.extract_tb(caught.value.__traceback__)
    return [frame.name for frame in frames][1:]


def test_step_ends_its_iteration_and_raises_from_its_own_frame(backend):
    straight, broken = make(backend), make(backend)
    straight.step(7)
    interrupt_in(broken, 2)
    with pytest.raises(KeyboardInterrupt) as caught:
        broken.step(7)
    assert names(caught) == ["step"]
    assert broken.iter == 3
    broken.step(4)
    assert_same(values(straight), values(broken))
    assert [r.loss for r in broken.history.train] == [
        r.loss for r in straight.history.train
    ]


def test_smoothed_losses_go_on_after_an_interrupt(backend):
    options = FIXED + "average_loss: 4"
    straight, broken = (make(backend, options=options) for _ in range(2))
    straight.step(6)
    interrupt_in(broken, 2)
    with pytest.raises(KeyboardInterrupt):
        broken.step(6)
    broken.step(3)
    smoothed = [record.smoothed_loss for record in straight.history.train]
    assert [record.smoothed_loss for record in broken.history.train] == smoothed


def test_solve_writes_a_snapshot_where_a_prefix_is_given(backend, tmp_path):
    options = TESTED + f'snapshot_prefix: "{tmp_path}/n"'
    straight, broken = (make(backend, options=options) for _ in range(2))
    straight.solve()
    assert list(tmp_path.iterdir()) == []  # snapshot_after_train is false
    interrupt_in(broken, 1)
    with pytest.raises(KeyboardInterrupt) as caught:
        broken.solve()
    assert names(caught) == ["solve"]
    assert broken.iter == 2
    assert broken.last_snapshot.state == tmp_path / "n_iter_2.solverstate"
    resumed = make(backend, options=options)
    resumed.solve(resume=broken.last_snapshot.state)
    assert_same(values(straight), values(resumed))


def test_solve_writes_none_where_nobody_named_a_prefix(backend, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    solver = make(backend, options=TESTED)
    interrupt_in(solver, 1)
    with pytest.raises(KeyboardInterrupt):
        solver.solve()
    assert solver.iter == 2
    assert list(tmp_path.iterdir()) == []


def test_a_test_pass_that_was_left_is_done_again_and_recorded_once(backend):
    straight, broken = (make(backend, options=TESTED) for _ in range(2))
    straight.step(4)
    broken.step(2)
    net = broken.test_nets[0]
    forward, calls = net.forward, []

    def interrupted():
        calls.append(1)
        signal.raise_signal(signal.SIGINT)
        return forward()

    net.forward = interrupted
    with pytest.raises(KeyboardInterrupt) as caught:
        broken.step(2)
    assert names(caught) == ["step"]
    assert len(calls) == 1
    with pytest.raises(KeyboardInterrupt) as caught:
        broken.test()
    assert names(caught) == ["test"]
    assert len(broken.history.tests) == 1
    net.forward = forward
    broken.step(2)
    seen = [
        [(r.iteration, r.scalars()) for r in s.history.tests]
        for s in (broken, straight)
    ]
    assert seen[0] == seen[1]


def test_a_test_that_was_done_is_not_done_twice(backend):
    solver = make(backend, options=TESTED)
    solver.on_test(lambda record: solver.stop())
    solver.step(3)
    assert (solver.iter, len(solver.history.tests)) == (0, 1)
    solver.step(1)
    assert (solver.iter, len(solver.history.tests)) == (1, 1)


def test_a_handler_that_does_not_raise_lets_training_go_on(backend):
    solver = make(backend)
    seen = []
    signal.signal(signal.SIGINT, lambda *_: seen.append(solver.iter))
    interrupt_in(solver, 2)
    solver.step(5)
    assert (seen, solver.iter) == ([3], 5)
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.parametrize(
    "call", ["forward", "backward", "forward_backward", "forward_steps"]
)
def test_a_pass_of_a_net_is_whole_too(backend, call, monkeypatch):
    whole, broken = (
        runtime.Net(NOISE, runtime.TRAIN, backend=backend.name) for _ in range(2)
    )
    for net in (whole, broken):
        net.forward()
    getattr(whole, call)()
    mirror = broken.mirror
    before_steps = mirror.before_steps

    def interrupted(*arguments, **options):
        signal.raise_signal(signal.SIGINT)
        before_steps(*arguments, **options)

    monkeypatch.setattr(mirror, "before_steps", interrupted)
    with pytest.raises(KeyboardInterrupt) as caught:
        getattr(broken, call)()
    assert names(caught) == [call]
    monkeypatch.undo()
    assert broken.clock.value == whole.clock.value
    for name, blob in whole.blobs.items():
        np.testing.assert_array_equal(blob.data, broken.blobs[name].data)
    for one, other in zip(whole.params["ip"], broken.params["ip"], strict=True):
        np.testing.assert_array_equal(one.diff, other.diff)


def test_an_update_is_whole_even_if_somebody_insists(backend, monkeypatch):
    monkeypatch.setattr("runtime.interrupts.ABORT_AFTER_S", 0)
    straight, broken = make(backend), make(backend)
    straight.step(3)
    if backend.on_host:  # else all of an iteration is one list
        broken.add_callback(lambda: None, lambda: None)

    def interrupting(call):
        def interrupted(*arguments, **options):
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            call(*arguments, **options)

        return interrupted

    # One of them is called, as the backend has updates alone or whole iterations.
    for holder, name in ((broken.update, "apply"), (broken.net, "iterate")):
        monkeypatch.setattr(holder, name, interrupting(getattr(holder, name)))
    with pytest.raises(KeyboardInterrupt):
        broken.step(3)
    assert broken.iter == 1
    monkeypatch.undo()
    broken.step(2)
    assert_same(values(straight), values(broken))
