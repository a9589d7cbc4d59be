"""A pool of threads that runs lists of compiled kernels together.

The list is a table of addresses. Every thread walks through the whole table and does
its share of each kernel; between kernels the threads wait for each other. Nothing of
this holds Python's lock, and a list costs about a tenth of a microsecond a kernel.
"""

from __future__ import annotations

import _thread
import ctypes
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache, cached_property
from typing import Any

import numpy as np

from runtime.backends.cpu.machine.compiled import Call, machine_code
from runtime.backends.cpu.machine.parts import outlined, outside, types
from runtime.backends.cpu.machine.simd import (
    atomic_add,
    atomic_load,
    atomic_store,
    call,
)
from runtime.compilation import Compilation

# Rounds of looking before a waiting thread offers its processor to others.
SPINS = 2000

START_S = 5.0  # that a thread may take to start

# The table: columns of a row, and the state that threads share, one cache line apart.
FUNCTION, RECORD, SERIAL = 0, 1, 2
ARRIVED, ROUND, LEFT = 0, 16, 32

if os.name == "posix":
    _yield_processor = outside("sched_yield", "int32")
else:
    _yield_processor = outside("SwitchToThread", "int32")


@outlined
def _meet(state: int, parts: int) -> bool:
    """Wait until all threads are here; False if one of them never comes."""
    now = atomic_load(state + 8 * ROUND)
    if atomic_add(state + 8 * ARRIVED, 1) == parts - 1:
        atomic_store(state + 8 * ARRIVED, 0)
        atomic_add(state + 8 * ROUND, 1)
        return True
    spins = 0
    while atomic_load(state + 8 * ROUND) == now:
        spins += 1
        if spins > SPINS:
            if atomic_load(state + 8 * LEFT) != 0:
                return False
            _yield_processor()
    return True


def _walk(table: Any, state: int, first: int, last: int, part: int, parts: int) -> None:
    """Run the calls of rows `first` to `last` of a table, together with other threads.

    Args:
        table: int64 (rows, 3): FUNCTION, RECORD and SERIAL of every call.
        state: address of what the threads share: ARRIVED, ROUND, and LEFT, which is
            not 0 once the walk is given up.
        first: the number of the first row.
        last: the number of the last one, plus 1.
        part: the number of this thread.
        parts: how many threads walk.
    """
    for row in range(first, last):
        serial = table[3 * row + 2]
        if serial == 0:
            call(table[3 * row], table[3 * row + 1], part, parts)
        elif part == 0:
            call(table[3 * row], table[3 * row + 1], 0, 1)
        meets = serial == 0 or row + 1 == last or table[3 * row + 5] == 0
        if parts > 1 and meets and not _meet(state, parts):
            return


@cache
def _walker() -> Callable[..., None]:
    """Return the compiled `_walk`; calling it lets go of Python's lock."""
    kind = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 6)
    walk: Callable[..., None] = kind(machine_code(_walk, _walk_kinds))
    return walk


def _walk_kinds() -> list[Any]:
    return [types.CPointer(types.int64), *[types.int64] * 5]


@cache
def _libc() -> Any:
    return ctypes.CDLL(None) if sys.platform == "linux" else None


def _processor() -> int:
    """Return the number of the processor that this thread is on, -1 if unknown."""
    libc = _libc()
    return int(libc.sched_getcpu()) if hasattr(libc, "sched_getcpu") else -1


def _leave_processor(number: int) -> None:
    """Move this thread away from a processor, if it may run on others.

    Linux wakes a thread where it slept, even if the thread that woke it is still busy
    there, and then takes milliseconds to notice.
    """
    allowed = os.sched_getaffinity(0)
    if len(allowed) > 1:
        os.sched_setaffinity(0, allowed - {number})
        os.sched_setaffinity(0, allowed)


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

    @cached_property
    def table(self) -> np.ndarray:
        """What threads walk through; the kernels are compiled for it, or loaded."""
        with self._compilation.taking_time():
            _walker()
            rows = [
                (one.kernel.address, one.record.ctypes.data, one.serial)
                for one in self.calls
            ]
        return np.array(rows, np.int64).reshape(-1, 3)

    @cached_property
    def address(self) -> int:
        """The address of the table."""
        return self.table.ctypes.data


class ThreadPool:
    """The calling thread and `size` - 1 others that work with it.

    An exception may come at any moment, as those of signals do and those that one
    thread raises in another. If it leaves a walk in the middle the other threads are
    replaced, as they wait for somebody who does not come or are ahead by a list.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._busy = threading.Lock()
        self._state = np.zeros(64, np.int64)
        self._helpers: list[_Helper] = []
        self._process = 0
        self._left = True  # whether the helpers, if any, are of no use any more
        self._unfinished: Program | None = None  # its arrays may still be written to

    def run(self, program: Program) -> None:
        """Run every call of the program in order."""
        for prepare, record in program.prepared:
            prepare(record)
        self._walk(program)
        for check in program.checks:
            check()

    def _walk(self, program: Program) -> None:
        address = program.address  # which loads all code
        walk, rows = _walker(), len(program.calls)
        if program.serial or self.size == 1:
            walk(address, 0, 0, rows, 0, 1)
            return
        with self._busy:  # nets in different threads take turns
            # Also after a fork, which copies no thread.
            if self._left or self._process != os.getpid():
                self._replace_helpers()
            try:
                self._left = True
                here = _processor()
                for one in self._helpers:
                    one.start_on(address, rows, here)
                walk(address, self._state.ctypes.data, 0, rows, 0, self.size)
                self._left = False
            except BaseException:
                self._unfinished = program
                self._end_helpers()
                raise

    def _replace_helpers(self) -> None:
        self._left = True
        if self._process == os.getpid():
            self._end_helpers()
        self._state = np.zeros(64, np.int64)
        self._helpers = []
        self._process = os.getpid()
        for part in range(1, self.size):
            # It is known before it starts, so that no exception can lose it.
            helper = _Helper(self._state, part, self.size)
            self._helpers.append(helper)
            helper.start()
        self._left = False

    def _end_helpers(self) -> None:
        """Let all helpers go and wait until they touch no array any more."""
        for one in self._helpers:
            one.end()
        for one in self._helpers:
            while one.walking:
                time.sleep(0)
        self._helpers = []
        self._unfinished = None


class _Helper:
    """A thread that waits for lists to walk through."""

    def __init__(self, state: np.ndarray, part: int, parts: int) -> None:
        self._state, self._part, self._parts = state, part, parts
        self._go = threading.Lock()
        self._go.acquire()
        self._job = (0, 0, -1)
        self._alive = False
        self._ended = False
        self.walking = False  # whether it may touch arrays

    def start(self) -> None:
        """Start the thread, and see that it is there.

        An exception that is meant for the calling thread may reach the new one, and end
        it, as both have one number until the new one runs.
        """
        while not self._alive:
            # Not by `threading`, whose locks such an exception may leave locked.
            _thread.start_new_thread(self._serve, ())
            end = time.monotonic() + START_S
            while not self._alive and time.monotonic() < end:
                time.sleep(0)

    def start_on(self, table: int, rows: int, processor: int) -> None:
        self._job = (table, rows, processor)
        self._go.release()

    def end(self) -> None:
        """Let the thread end, whatever it waits for."""
        self._ended = True
        self._state[LEFT] = 1
        with suppress(RuntimeError):  # it is on its way: it has not seen its last job
            self._go.release()

    def _serve(self) -> None:
        self._alive = True
        state, walk = self._state.ctypes.data, _walker()
        while True:
            self._go.acquire()
            self.walking = True
            # Looked at after that is set: whoever ends it sees one or the other.
            if not self._ended:
                table, rows, taken = self._job
                if 0 <= taken == _processor():
                    _leave_processor(taken)
                walk(table, state, 0, rows, self._part, self._parts)
            self.walking = False
            if self._ended:
                return
