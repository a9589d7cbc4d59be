"""Arrays are added up in their order, as soon as they are ready."""

from __future__ import annotations

import gc
import threading
import time

import pytest

from netspec.errors import MachineError
from runtime.distributed.sending import SendAfter, SendBeside
from tests.patience import PATIENCE_S


class Slow:
    """A communicator whose sums take some looks; it notes what it is asked for."""

    def __init__(self, looks: int = 3, fails: str | None = None) -> None:
        self.looks, self.fails = looks, fails
        self.begun: list[str] = []
        self.threads: set[int] = set()

    def start_sum(self, values: str) -> Slow.Request:
        self.threads.add(threading.get_ident())
        if values == self.fails:
            raise OSError("the line is cut")
        self.begun.append(values)
        return Slow.Request(self.looks)

    class Request:
        def __init__(self, left: int) -> None:
            self.left = left

        def done(self) -> bool:
            self.left -= 1
            return self.left < 0


def until(condition) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


@pytest.mark.parametrize("looks", [0, 3, 40])
def test_what_is_ready_is_sent_at_once_and_in_order(looks):
    line = Slow(looks)
    sending = SendBeside(line, "abc")
    for _ in range(3):
        line.begun.clear()
        sending.begin()
        assert line.begun == []
        sending.ready(2)
        until(lambda: line.begun == ["a", "b"])
        sending.ready(1)  # it was ready before
        sending.wait()
        assert line.begun == ["a", "b", "c"]
    assert threading.get_ident() not in line.threads
    assert len(line.threads) == 1


def test_nothing_is_sent_of_a_pass_that_is_not_the_last():
    line = Slow()
    sending = SendBeside(line, "ab")
    sending.ready(2)  # of a pass before `begin`
    sending.begin()
    assert line.begun == []
    sending.wait()
    sending.ready(2)
    assert line.begun == ["a", "b"]


def test_what_fails_in_the_thread_is_raised_where_it_is_waited_for():
    sending = SendBeside(Slow(fails="b"), "abc")
    sending.begin()
    with pytest.raises(OSError, match="the line is cut"):
        sending.wait()
    with pytest.raises(MachineError, match="amid the sums .* resume from a snapshot"):
        sending.begin()


def test_an_iteration_that_was_left_can_be_repeated_if_nothing_was_sent():
    line = Slow()
    sending = SendBeside(line, "ab")
    sending.begin()  # a forward pass that raises
    sending.begin()
    sending.ready(1)  # a backward pass that raises
    with pytest.raises(MachineError, match="out of step with the others"):
        sending.begin()


def test_its_thread_ends_with_it():
    sending = SendBeside(Slow(), "ab")
    sending.begin()
    sending.wait()
    thread = sending._thread
    del sending
    gc.collect()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def test_one_array_is_sent_by_who_waits():
    line = Slow()
    sending = SendAfter(line, ["a"])
    sending.begin()
    sending.ready(1)
    assert line.begun == []
    sending.wait()
    assert line.begun == ["a"]
    assert line.threads == {threading.get_ident()}
