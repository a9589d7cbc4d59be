"""A pool of threads that runs lists of compiled kernels together.

The list is a table of addresses, through which every thread walks; `walk` has how they
share it. Nothing of this holds Python's lock, and a list costs about a tenth of a
microsecond a kernel.
"""

from __future__ import annotations

import _thread
import os
import threading
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from runtime.backends.cpu.machine.ahead import compile_ahead
from runtime.backends.cpu.machine.compiled import Call
from runtime.backends.cpu.machine.processors import TID
from runtime.backends.cpu.machine.walk import (
    COLUMNS,
    FINISHED,
    JOB,
    LINGER_AT,
    NATIVE,
    OF_THREAD,
    PLACED,
    RUN,
    SERVING,
    SHARES,
    SPINS_AT,
    THREADS,
    new_counters,
    new_state,
    walk,
    walk_alone,
    walk_with,
)
from runtime.compilation import Compilation

# Looks of a thread that waits, some 20 ns each, before it sleeps: for other threads
# amid a list, and for the next list. Who sleeps leaves its processor to others, who may
# be those that it waits for.
SPINS = 20000
LINGER = 2000

MOST_SHARES = 4  # for each thread, in one call

START_S = 5.0  # that a thread may take to start


@dataclass(frozen=True, slots=True)
class Table:
    """What threads walk through, and counters of what is done.

    Their addresses are kept: a pass has left nothing of Python in the near caches, so
    that all it does counts many times.
    """

    entries: np.ndarray
    counters: np.ndarray
    address: int
    counters_address: int
    rows: int


# Tables where a helper may still be looking for something to do, by their address, with
# the number of their last job.
Walked: TypeAlias = dict[int, tuple[int, Table]]


class Program:
    """A list of calls, ready to run."""

    def __init__(
        self, calls: Sequence[Call], compilation: Compilation | None = None
    ) -> None:
        self.calls = tuple(calls)
        self._compilation = compilation or Compilation()
        self.serial = all(one.serial for one in self.calls)
        self.checks = [one.check for one in self.calls if one.check is not None]
        self.prepared = [
            (one.prepare, one.record) for one in self.calls if one.prepare is not None
        ]
        self._tables: dict[int, Table] = {}

    def table(self, threads: int) -> Table:
        """Return what so many threads walk through.

        The kernels are compiled for it, or loaded.
        """
        found = self._tables.get(threads)
        if found is None:
            found = self._tables[threads] = self._made(threads)
        return found

    def _made(self, threads: int) -> Table:
        rows: list[list[int]] = []
        run: list[int] = []  # the row where calls of one thread begin
        with self._compilation.taking_time():
            kernels = {*NATIVE, *(one.kernel for one in self.calls)}
            compile_ahead(kernels, threads, self._compilation.tell)
            for one in self.calls:
                row = [one.kernel.address, one.record.ctypes.data, 0, 0]
                rows.append(row)
                if one.serial:
                    run = run or row
                    run[RUN] += 1
                else:
                    run = []
                    row[SHARES] = shares(one, threads)
        table = np.array(rows, np.int64).reshape(-1, COLUMNS)
        counters = new_counters(len(rows), threads)
        places = table.ctypes.data, counters.ctypes.data
        return Table(table, counters, *places, len(rows))


def shares(one: Call, threads: int) -> int:
    """Return into how many shares so many threads divide a call: as many for each."""
    return min(max(1, one.units // threads), MOST_SHARES) * threads


class ThreadPool:
    """The calling thread and `size` - 1 others that work with it.

    An exception may come at any moment, as those of signals do and those that one
    thread raises in another, but within a walk, which is one call of machine code.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._busy = threading.Lock()
        self._state = np.zeros(0, np.int64)
        self._numbers = self._state.data  # the same; read without an array
        self._address = 0
        self._helpers: list[_Helper] = []
        self._process = 0
        self._all_serve = False
        self._walked: Walked = {}
        if hasattr(os, "register_at_fork"):
            pool = weakref.ref(self)
            os.register_at_fork(after_in_child=lambda: _unlock(pool()))

    def run(self, program: Program) -> None:
        """Run every call of the program in order."""
        for prepare, record in program.prepared:
            prepare(record)
        self._walk(program)
        for check in program.checks:
            check()

    def _walk(self, program: Program) -> None:
        table = program.table(self.size)  # which loads all code
        if program.serial or self.size == 1:
            walk_alone.native(table.address, table.rows)
            return
        with self._busy:  # nets in different threads take turns
            if not self._all_serve or self._process != os.getpid():
                self._see_helpers()
            numbers, walked = self._numbers, self._walked
            if len(walked) > 1 or table.address not in walked:
                passed = min(one.finished for one in self._helpers)
                for address in [k for k, v in walked.items() if v[0] <= passed]:
                    del walked[address]
            walked[table.address] = (numbers[JOB] + 2, table)
            numbers[THREADS + PLACED + TID] = threading.get_native_id()
            walk.native(
                table.address,
                table.counters_address,
                table.rows,
                self.size,
                self._address,
            )

    def unlock(self) -> None:
        """Take a new lock, in a process that was forked while a thread had the old."""
        self._busy = threading.Lock()

    def _see_helpers(self) -> None:
        """See that there are helpers, also after a fork, which copies no thread."""
        if self._process != os.getpid():
            self._walked, self._helpers, self._all_serve = {}, [], False
            self._state = new_state(self.size)
            self._numbers = self._state.data
            self._address = self._state.ctypes.data
            self._state[SPINS_AT], self._state[LINGER_AT] = SPINS, LINGER
            self._process = os.getpid()
        for thread in range(1, self.size):
            if len(self._helpers) < thread:
                helper = _Helper(self._state, self._walked, thread, self.size)
                self._helpers.append(helper)
            self._helpers[thread - 1].start()
        self._all_serve = True  # for ever, but in a process that is forked


def _unlock(pool: ThreadPool | None) -> None:
    """Unlock a pool, if it is still there."""
    if pool is not None:
        pool.unlock()


class _Helper:
    """A thread that walks with the one that calls; it never ends."""

    def __init__(
        self, state: np.ndarray, walked: Walked, thread: int, threads: int
    ) -> None:
        self._state, self._thread, self._threads = state, thread, threads
        self._walked = walked  # kept alive, as the thread may outlive its pool
        at = THREADS + OF_THREAD * thread
        self._own = state[at : at + OF_THREAD]

    @property
    def finished(self) -> int:
        """The number of the last job that it is done with."""
        return int(self._own[FINISHED])

    def start(self) -> None:
        """Start the thread if it is not there, and see that it is.

        An exception that is meant for the calling thread may reach the new one, and end
        it, as both have one number until the new one runs.
        """
        while not self._own[SERVING]:
            # Not by `threading`, whose locks such an exception may leave locked.
            _thread.start_new_thread(self._serve, ())
            end = time.monotonic() + START_S
            while not self._own[SERVING] and time.monotonic() < end:
                time.sleep(0)

    def _serve(self) -> None:
        walk_with.native(
            self._thread,
            self._threads,
            self._state.ctypes.data,
            threading.get_native_id(),
        )
