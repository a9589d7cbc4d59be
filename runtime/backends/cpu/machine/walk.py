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

import numpy as np

from runtime.backends.cpu.machine.atomics import (
    PLACE_BYTES,
    atomic_add,
    atomic_load,
    atomic_store,
    call,
    exchange,
    make_place,
    pause,
    wait_until,
    wake,
)
from runtime.backends.cpu.machine.compiled import Compiled
from runtime.backends.cpu.machine.parts import helper, outlined
from runtime.backends.cpu.machine.processors import (
    AT_WORK,
    LEAST_NS,
    OF_PROCESSOR,
    TID,
    fetch,
    go_back,
    leave_processor,
    processor,
    time_of,
)
from runtime.backends.cpu.machine.simd import i64

# Columns of the table. SHARES is 0 if one thread does this call and those behind it,
# RUN in all; RUN is 0 within such a run.
FUNCTION, RECORD, SHARES, RUN = range(4)
COLUMNS = 4

# What threads share, int64 in lines of the cache: the number of the last job, odd
# while it is written, and what it is; looks before sleeping, amid a walk and between
# walks; of every thread, whether it serves, the last job that it is done with, and what
# `processors` has of it.
JOB, TABLE, COUNTERS, ROWS, TURN, PROCESSOR = range(6)
SPINS_AT, LINGER_AT = 16, 17
PLACE = 32  # where threads sleep amid a walk
JOBS_PLACE = PLACE + PLACE_BYTES // 8  # and where they wait for walks
THREADS = JOBS_PLACE + PLACE_BYTES // 8
SERVING, FINISHED, PLACED = 0, 16, 32
OF_THREAD = PLACED + OF_PROCESSOR

LOOKS = 1000  # of a thread that waits, between those at what the others do


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


@helper
def _placed(state: int, thread: int) -> int:
    """Return the address of what `processors` has of a thread."""
    return state + 8 * (THREADS + OF_THREAD * thread + PLACED)


@outlined
def _wait(done: int, total: int, thread: int, threads: int, state: int) -> None:
    """Wait until a call is done.

    Where that takes long, and a thread that is at work has no processor, it gets the
    one of this thread.
    """
    spins = i64(state)[SPINS_AT]
    own = _placed(state, thread)
    last, last_ns = -1, 0
    for look in range(spins):
        if atomic_load(done) >= total:
            return
        pause()
        if look % LOOKS != LOOKS - 1:
            continue
        for k in range(1, threads):
            other = (thread + k) % threads
            if atomic_load(_placed(state, other) + 8 * AT_WORK) != 0:
                now = time_of(_placed(state, other), own)
                stands = other == last and 0 <= now < last_ns + LEAST_NS
                if stands and fetch(_placed(state, other), own):
                    spins = 0
                last, last_ns = other, now
                break
        if spins == 0:
            break
    wait_until(done, total, 0, state + 8 * PLACE)


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
    place, at_work = state + 8 * PLACE, _placed(state, thread) + 8 * AT_WORK
    row = 0
    while row < rows:
        entry = i64(table + 8 * COLUMNS * row)
        function, record, parts = entry[FUNCTION], entry[RECORD], entry[SHARES]
        done = counters + 8 * (8 + row)
        taken = done + 8 * stride
        if parts == 0:
            total, following = turn, row + entry[RUN]
            if exchange(taken, turn - 1, turn):
                atomic_store(at_work, 1)
                for at in range(row, following):
                    one = i64(table + 8 * COLUMNS * at)
                    call(one[FUNCTION], one[RECORD], 0, 1, 0)
                atomic_add(done, 1)
                wake(place)
                atomic_add(at_work, -1)
                go_back(_placed(state, thread))
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
                        atomic_store(at_work, 1)
                        call(function, record, part, parts, thread)
                        if atomic_add(done, 1) == total - 1:
                            wake(place)
                        atomic_add(at_work, -1)
                        go_back(_placed(state, thread))
        if following < rows or thread == 0:
            _wait(done, total, thread, threads, state)
        row = following


@Compiled
def walk(table: int, counters: int, rows: int, threads: int, state: int) -> None:
    """Walk through a table as thread 0, and tell the other threads of it."""
    turn = i64(counters)[0] + 1
    i64(counters)[0] = turn
    job = atomic_load(state + 8 * JOB)
    atomic_store(state + 8 * JOB, job + 1)
    atomic_store(state + 8 * TABLE, table)
    atomic_store(state + 8 * COUNTERS, counters)
    atomic_store(state + 8 * ROWS, rows)
    atomic_store(state + 8 * TURN, turn)
    atomic_store(state + 8 * PROCESSOR, processor())
    atomic_add(state + 8 * JOB, 1)
    wake(state + 8 * JOBS_PLACE)
    _walk(table, counters, rows, turn, 0, threads, state)


@Compiled
def walk_with(thread: int, threads: int, state: int, tid: int) -> None:
    """Walk with the others, job after job; returns if another serves as this thread."""
    own = state + 8 * (THREADS + OF_THREAD * thread)
    if not exchange(own + 8 * SERVING, 0, 1):
        return
    atomic_store(own + 8 * (PLACED + TID), tid)
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
        where = atomic_load(state + 8 * PROCESSOR)
        if job % 2 != 0 or atomic_load(state + 8 * JOB) != job:
            continue  # it was being written
        seen = job
        leave_processor(where, own + 8 * PLACED)
        _walk(table, counters, rows, turn, thread, threads, state)
        atomic_store(own + 8 * FINISHED, job)


@Compiled
def walk_alone(table: int, rows: int) -> None:
    """Run the calls of a table by this thread."""
    for row in range(rows):
        entry = i64(table + 8 * COLUMNS * row)
        call(entry[FUNCTION], entry[RECORD], 0, 1, 0)


NATIVE = (walk, walk_with, walk_alone)
