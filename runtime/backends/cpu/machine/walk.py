"""The machine code of threads that walk through a table of calls together.

Every call is divided into *shares*. A thread owns a run of them, which it takes one
after the other, and then takes those that other threads have not begun: who is late, or
has been taken off the processor, is helped. The next call starts once all shares of the
last one are done.

Integers tell how many shares of an owner are taken, and how many of a call are done.
They only grow: in walk number `turn` of a table, the `own` shares of an owner are taken
as its numbers (turn - 1) own to turn own - 1. A thread that comes late thus finds all
of its walk taken and done, and touches nothing, even if the others walk again.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba import types

from runtime.backends.cpu.machine.atomics import (
    PLACE_BYTES,
    atomic_add,
    atomic_load,
    atomic_store,
    call,
    exchange,
    make_place,
    wait_until,
    wake,
)
from runtime.backends.cpu.machine.compiled import compile_function, helper, outlined
from runtime.backends.cpu.machine.simd import i64

# Columns of the table. SHARES is 0 if one thread does this call and those behind it,
# RUN in all; RUN is 0 within such a run.
FUNCTION, RECORD, SHARES, RUN = range(4)
COLUMNS = 4

# What threads share, int64 in lines of the cache: the number of the last job, odd
# while it is written, and what it is; looks before sleeping, amid a walk and between
# walks; of every thread, whether it serves, the last job that it is done with, and room
# for a set of processors.
JOB, TABLE, COUNTERS, ROWS, TURN, PROCESSOR = range(6)
SPINS_AT, LINGER_AT = 16, 17
PLACE = 32  # where threads sleep amid a walk
JOBS_PLACE = PLACE + PLACE_BYTES // 8  # and where they wait for walks
THREADS = JOBS_PLACE + PLACE_BYTES // 8
SERVING, FINISHED, ALLOWED = 0, 16, 32
OF_THREAD = 64
SET_BYTES = 128

if sys.platform == "linux":
    _processor: Any = types.ExternalFunction("sched_getcpu", types.int32())
    _three = types.int32(types.int32, types.int64, types.int64)
    _get_allowed: Any = types.ExternalFunction("sched_getaffinity", _three)
    _set_allowed: Any = types.ExternalFunction("sched_setaffinity", _three)

    @outlined
    def _leave_processor(number: int, spare: int) -> None:
        """Move this thread away from a processor, if it may run on others.

        Linux wakes a thread where it slept, even if the thread that woke it is still
        busy there, and then takes milliseconds to notice.
        """
        if number < 0 or number >= 8 * SET_BYTES or _processor() != number:
            return
        if _get_allowed(0, SET_BYTES, spare) != 0:
            return
        words = i64(spare)
        words[number // 64] ^= 1 << (number % 64)
        _set_allowed(0, SET_BYTES, spare)  # fails where there is no other
        words[number // 64] ^= 1 << (number % 64)
        _set_allowed(0, SET_BYTES, spare)

else:

    @helper
    def _processor() -> int:
        return -1

    @helper
    def _leave_processor(number: int, spare: int) -> None:
        pass


def new_state(threads: int) -> np.ndarray:
    """Return what so many threads share, before any job."""
    state = np.zeros(THREADS + OF_THREAD * threads, np.int64)
    for place in (PLACE, JOBS_PLACE):
        make_place(state.ctypes.data + 8 * place)
    return state


def stride_of(rows: int) -> int:
    """Return the integers of a thread, or of what is done, among the counters."""
    return (rows + 15) // 8 * 8


def new_counters(rows: int, threads: int) -> np.ndarray:
    """Return the counters of a table: the turn, what is done, what is taken."""
    return np.zeros(8 + (1 + threads) * stride_of(rows), np.int64)


@outlined
def _walk(
    table: int,
    counters: int,
    rows: int,
    turn: int,
    thread: int,
    threads: int,
    state: int,
) -> None:
    """Run the calls of a table, together with other threads.

    Args:
        table: address of int64 (rows, COLUMNS).
        counters: address of what `new_counters` makes.
        rows: calls.
        turn: the number of this walk through the table, from 1.
        thread: the number of this thread; only number 0 waits for the end.
        threads: how many walk.
        state: address of what the threads share.
    """
    stride = (rows + 15) // 8 * 8
    place, spins = state + 8 * PLACE, i64(state)[SPINS_AT]
    row = 0
    while row < rows:
        entry = i64(table + 8 * COLUMNS * row)
        function, record, parts = entry[FUNCTION], entry[RECORD], entry[SHARES]
        done = counters + 8 * (8 + row)
        taken = done + 8 * stride
        if parts == 0:
            total, following = turn, row + entry[RUN]
            if exchange(taken, turn - 1, turn):
                for at in range(row, following):
                    one = i64(table + 8 * COLUMNS * at)
                    call(one[FUNCTION], one[RECORD], 0, 1, 0)
                atomic_add(done, 1)
                wake(place)
        else:
            total, following = turn * parts, row + 1
            for k in range(threads):
                owner = (thread + k) % threads
                first = parts * owner // threads
                own = parts * (owner + 1) // threads - first
                mine = taken + 8 * owner * stride
                while True:
                    number = atomic_load(mine)
                    if number >= turn * own:
                        break
                    if exchange(mine, number, number + 1):
                        part = first + number - (turn - 1) * own
                        call(function, record, part, parts, thread)
                        if atomic_add(done, 1) == total - 1:
                            wake(place)
        if following < rows or thread == 0:
            wait_until(done, total, spins, place)
        row = following


def _begin(table: int, counters: int, rows: int, threads: int, state: int) -> None:
    """Walk through a table as thread 0, and tell the other threads of it."""
    turn = i64(counters)[0] + 1
    i64(counters)[0] = turn
    job = atomic_load(state + 8 * JOB)
    atomic_store(state + 8 * JOB, job + 1)
    atomic_store(state + 8 * TABLE, table)
    atomic_store(state + 8 * COUNTERS, counters)
    atomic_store(state + 8 * ROWS, rows)
    atomic_store(state + 8 * TURN, turn)
    atomic_store(state + 8 * PROCESSOR, _processor())
    atomic_add(state + 8 * JOB, 1)
    wake(state + 8 * JOBS_PLACE)
    _walk(table, counters, rows, turn, 0, threads, state)


def _serve(thread: int, threads: int, state: int) -> None:
    """Walk with the others, job after job; returns if another serves as this thread."""
    own = state + 8 * (THREADS + OF_THREAD * thread)
    if not exchange(own + 8 * SERVING, 0, 1):
        return
    seen = atomic_load(own + 8 * FINISHED)
    while seen >= 0:  # for ever
        linger = i64(state)[LINGER_AT]
        wait_until(state + 8 * JOB, seen + 2, linger, state + 8 * JOBS_PLACE)
        job = atomic_load(state + 8 * JOB)
        table, counters = (
            atomic_load(state + 8 * TABLE),
            atomic_load(state + 8 * COUNTERS),
        )
        rows, turn = atomic_load(state + 8 * ROWS), atomic_load(state + 8 * TURN)
        processor = atomic_load(state + 8 * PROCESSOR)
        if job % 2 != 0 or atomic_load(state + 8 * JOB) != job:
            continue  # it was being written
        seen = job
        _leave_processor(processor, own + 8 * ALLOWED)
        _walk(table, counters, rows, turn, thread, threads, state)
        atomic_store(own + 8 * FINISHED, job)


def _walk_all(table: int, rows: int) -> None:
    """Run the calls of a table by this thread."""
    for row in range(rows):
        entry = i64(table + 8 * COLUMNS * row)
        call(entry[FUNCTION], entry[RECORD], 0, 1, 0)


def _native(function: Callable[..., None], arguments: int) -> Callable[..., None]:
    """Return a function in machine code; calling it lets go of Python's lock."""
    made = compile_function(types.void(*[types.int64] * arguments), function)
    kind = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * arguments)
    native: Callable[..., None] = kind(made.address)
    return native


@cache
def walk() -> Callable[..., None]:
    """Return the machine code of `_begin`, a walk as thread 0."""
    return _native(_begin, 5)


@cache
def walk_with() -> Callable[..., None]:
    """Return the machine code of `_serve`, all walks as another thread."""
    return _native(_serve, 3)


@cache
def walk_alone() -> Callable[..., None]:
    """Return the machine code of `_walk_all`, a walk without other threads."""
    return _native(_walk_all, 2)
