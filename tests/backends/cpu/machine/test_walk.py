"""Threads that walk through a table do every share once, one call after another."""

from __future__ import annotations

import ctypes
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest

pytest.importorskip("llvmlite")

from runtime.backends.cpu.machine import thread_pool
from runtime.backends.cpu.machine.compiled import Call
from runtime.backends.cpu.machine.processors import TID
from runtime.backends.cpu.machine.thread_pool import Program, ThreadPool
from runtime.backends.cpu.machine.walk import OF_THREAD, PLACED, THREADS
from tests.backends.cpu.shuffled import FUNCTION
from tests.patience import PATIENCE_S

Event = tuple[str, int, int, int, int]  # what, call, part, parts, thread


class Made(NamedTuple):
    """What a call asks of its kernel."""

    address: int
    is_ready: bool = True


class Recorder:
    """Calls whose kernels are functions in Python that write down when they ran.

    delay: takes call, part and thread and returns seconds to sleep amid a share.
    """

    def __init__(self, delay: Any) -> None:
        self.events: list[Event] = []
        self._delay = delay
        self._kept: list[Any] = []

    def call(self, number: int, *, serial: bool, units: int) -> Call:
        """Return a call of this number."""

        def kernel(record: int, part: int, parts: int, thread: int) -> None:
            self.events.append(("begin", number, part, parts, thread))
            time.sleep(self._delay(number, part, thread))
            self.events.append(("end", number, part, parts, thread))

        function = FUNCTION(kernel)
        self._kept.append(function)
        address = ctypes.cast(function, ctypes.c_void_p).value
        record = np.zeros(1)
        made: Any = Made(address)
        return Call(made, record, (), serial, units=units)

    def check(self, calls: Sequence[Call], size: int) -> None:
        """Check one walk through calls, and forget it."""
        events, self.events = self.events, []
        expected = Counter(
            (what, number, part)
            for number, one in enumerate(calls)
            for part in range(_parts(one, size))
            for what in ("begin", "end")
        )
        assert Counter(event[:3] for event in events) == expected
        at_work: dict[int, tuple[int, int]] = {}
        done: Counter[int] = Counter()
        for what, number, part, parts, thread in events:
            assert parts == _parts(calls[number], size)
            assert 0 <= thread < size
            if what == "begin":
                assert all(
                    done[earlier] == _parts(calls[earlier], size)
                    for earlier in range(number)
                ), f"call {number} began before those ahead of it were done"
                if not calls[number].serial:
                    assert thread not in at_work, "two shares in one room at once"
                    at_work[thread] = (number, part)
            else:
                done[number] += 1
                at_work.pop(thread, None)


def _parts(one: Call, size: int) -> int:
    return 1 if one.serial else thread_pool.shares(one, size)


def random_calls(rng: random.Random, recorder: Recorder) -> list[Call]:
    return [
        recorder.call(
            number, serial=rng.random() < 0.3, units=rng.choice([0, 0, 1, 7, 40])
        )
        for number in range(rng.randint(2, 9))
    ]


@pytest.mark.parametrize("spins", [0, 2000])
@pytest.mark.parametrize("size", [2, 3, 6])
def test_every_share_is_done_once_whoever_is_slow(
    monkeypatch: pytest.MonkeyPatch, size: int, spins: int
) -> None:
    monkeypatch.setattr(thread_pool, "SPINS", spins)
    monkeypatch.setattr(thread_pool, "LINGER", spins)
    for seed in range(4):
        rng = random.Random(seed)
        slow = rng.randrange(size)

        def delay(
            number: int,
            part: int,
            thread: int,
            rng: random.Random = rng,
            slow: int = slow,
        ) -> float:
            return rng.choice([0, 0, 0, 0.0003]) + (0.001 if thread == slow else 0)

        pool = ThreadPool(size)
        recorders = [Recorder(delay) for _ in range(3)]
        lists = [random_calls(rng, one) for one in recorders]
        programs = [Program(calls) for calls in lists]
        for _ in range(12):  # a thread that is late meets the next list, or the same
            which = rng.randrange(3)
            pool.run(programs[which])
            recorders[which].check(lists[which], size)


def test_a_thread_that_holds_a_share_keeps_nobody_from_the_others() -> None:
    pool, shares = ThreadPool(2), 2 * thread_pool.MOST_SHARES
    ready = threading.Event()

    def delay(number: int, part: int, thread: int) -> float:
        if thread == 1 and not ready.is_set():
            ready.set()
            return 0.3
        return 0.002

    recorder = Recorder(delay)
    program = Program([recorder.call(0, serial=False, units=100)])
    while not ready.is_set():  # till the other thread comes in time
        recorder.events.clear()
        pool.run(program)
    begun = [event[4] for event in recorder.events if event[0] == "begin"]
    assert begun.count(1) == 1
    assert begun.count(0) == shares - 1


def test_lists_that_are_gone_are_not_walked_through() -> None:
    recorder = Recorder(lambda *_: 0)
    pool = ThreadPool(3)
    for number in range(200):
        calls = [recorder.call(0, serial=False, units=number) for _ in range(3)]
        program = Program(calls)
        pool.run(program)
        assert len(recorder.events) == 2 * sum(_parts(one, 3) for one in calls)
        recorder.events.clear()
        assert program.table(3).address in pool._walked
    end = time.monotonic() + PATIENCE_S
    while len(pool._walked) > 3:  # most are let go of as they are done with
        assert time.monotonic() < end
        pool.run(program)


@pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2,
    reason="the system tells no processors, or one",
)
def test_a_thread_without_a_processor_gets_that_of_one_that_waits_for_it() -> None:
    allowed = os.sched_getaffinity(0)
    fetched: set[int] = set()
    pool = ThreadPool(3)
    rng = random.Random(2)

    def delay(number: int, part: int, thread: int) -> float:
        if part != number % 3:
            return 0
        # Who sleeps has no processor, as if another process had it.
        time.sleep(rng.choice([0.0001, 0.0004, 0.002, 0.01]))
        if len(os.sched_getaffinity(0)) == 1:
            fetched.add(thread)
        return 0

    recorder = Recorder(delay)
    calls = [recorder.call(number, serial=False, units=0) for number in range(6)]
    program = Program(calls)
    end = time.monotonic() + PATIENCE_S
    runs = 0
    while runs < 40 or len(fetched) < 3:
        assert time.monotonic() < end
        pool.run(program)
        recorder.check(calls, 3)
        runs += 1
        for thread in range(3):
            tid = int(pool._state[THREADS + OF_THREAD * thread + PLACED + TID])
            settled = time.monotonic() + PATIENCE_S
            while os.sched_getaffinity(tid) != allowed:  # it is about to go back
                assert time.monotonic() < settled
                time.sleep(0.0001)
