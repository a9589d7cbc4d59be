"""Which processors threads are on, on Linux: machine code to see and to change it.

A thread that was taken off its processor by another process comes back after
milliseconds. If it holds the last share of a call, those who wait for it give it their
processor: they *fetch* it. It goes back as soon as its share is done.
"""

from __future__ import annotations

import sys

from runtime.backends.cpu.machine.atomics import (
    atomic_add,
    atomic_load,
    atomic_store,
    exchange,
)
from runtime.backends.cpu.machine.parts import helper, outlined, outside
from runtime.backends.cpu.machine.simd import i64

# What there is of every thread, in int64: the system's number of it, whether it is at
# work on a share, whether it is fetched; room for a time and two sets of processors.
TID, AT_WORK, FETCHED, TIME, ALLOWED, SPARE = 0, 1, 2, 4, 16, 32
OF_PROCESSOR = 48
SET_BYTES = 128
NOT, BEING, IS = 0, 1, 2  # values of FETCHED
LEAST_NS = 2000  # that a thread works meanwhile, if it is on a processor

if sys.platform == "linux":
    _three = ("int32", "int64", "int64")
    processor = outside("sched_getcpu", "int32")
    _get_allowed = outside("sched_getaffinity", "int32", *_three)
    _set_allowed = outside("sched_setaffinity", "int32", *_three)
    _get_time = outside("clock_gettime", "int32", "int32", "int64")
    _yield = outside("sched_yield", "int32")

    @outlined
    def leave_processor(number: int, own: int) -> None:
        """Move this thread away from a processor, if it may run on others.

        Linux wakes a thread where it slept, even if the thread that woke it is still
        busy there, and then takes milliseconds to notice.
        """
        if number < 0 or number >= 8 * SET_BYTES or processor() != number:
            return
        spare = own + 8 * SPARE
        if _get_allowed(0, SET_BYTES, spare) != 0:
            return
        words = i64(spare)
        words[number // 64] ^= 1 << (number % 64)
        _set_allowed(0, SET_BYTES, spare)  # fails where there is no other
        words[number // 64] ^= 1 << (number % 64)
        _set_allowed(0, SET_BYTES, spare)

    @outlined
    def time_of(other: int, own: int) -> int:
        """Return the nanoseconds that a thread has had a processor, -1 if unknown."""
        tid = atomic_load(other + 8 * TID)
        # The number of the clock of a thread, as the kernel makes it.
        if _get_time(((-1 - tid) << 3) | 6, own + 8 * TIME) != 0:
            return -1
        return i64(own)[TIME] * 1000000000 + i64(own)[TIME + 1]

    @outlined
    def fetch(other: int, own: int) -> bool:
        """Bring a thread that is at work to this processor; whether it comes."""
        here = processor()
        if here < 0 or here >= 8 * SET_BYTES:
            return False
        if not exchange(other + 8 * FETCHED, NOT, BEING):
            return False
        # Of this and `go_back`, which looks the other way round, one sees the other.
        tid, comes = atomic_load(other + 8 * TID), False
        if atomic_add(other + 8 * AT_WORK, 0) != 0:
            allowed, only = i64(other + 8 * ALLOWED), i64(own + 8 * SPARE)
            for word in range(SET_BYTES // 8):
                allowed[word], only[word] = 0, 0
            only[here // 64] = 1 << (here % 64)
            failed = _get_allowed(tid, SET_BYTES, other + 8 * ALLOWED) != 0
            if not failed and allowed[here // 64] & only[here // 64] != 0:
                comes = _set_allowed(tid, SET_BYTES, own + 8 * SPARE) == 0
        atomic_store(other + 8 * FETCHED, IS if comes else NOT)
        return comes

    @outlined
    def go_back(own: int) -> None:
        """Leave the processor that this thread was fetched to, as its work is done."""
        while atomic_load(own + 8 * FETCHED) == BEING:
            _yield()
        if atomic_load(own + 8 * FETCHED) != IS:
            return
        here = processor()
        words = i64(own + 8 * ALLOWED)
        words[here // 64] ^= 1 << (here % 64)
        _set_allowed(0, SET_BYTES, own + 8 * ALLOWED)
        words[here // 64] ^= 1 << (here % 64)
        _set_allowed(0, SET_BYTES, own + 8 * ALLOWED)
        atomic_store(own + 8 * FETCHED, NOT)

else:  # nobody is moved

    @helper
    def processor() -> int:
        """Return -1, for unknown."""
        return -1

    @helper
    def leave_processor(number: int, own: int) -> None:
        """Do nothing."""

    @helper
    def time_of(other: int, own: int) -> int:
        """Return -1, for unknown."""
        return -1

    @helper
    def fetch(other: int, own: int) -> bool:
        """Return that it does not come."""
        return False

    @helper
    def go_back(own: int) -> None:
        """Do nothing."""
