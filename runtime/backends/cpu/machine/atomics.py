"""What threads share: integers that several of them read and write, and sleeping.

Everything takes addresses (integers) and is called from compiled code.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any

from llvmlite import ir

from runtime.backends.cpu.machine.llvm import I64, TARGET, declared
from runtime.backends.cpu.machine.parts import intrinsic, outlined, outside, types

# A place where threads sleep: a lock, a condition, and how many are there.
LOCK_BYTES = CONDITION_BYTES = 128  # more than any system needs
SLEEPERS_AT = LOCK_BYTES + CONDITION_BYTES
PLACE_BYTES = SLEEPERS_AT + 128


def _external(name: str, arguments: int) -> Any:
    """Return a function of the system that takes addresses."""
    return outside(name, "int32", *["int64"] * arguments)


if os.name == "posix":
    _lock = _external("pthread_mutex_lock", 1)
    _unlock = _external("pthread_mutex_unlock", 1)
    _wait = _external("pthread_cond_wait", 2)
    _wake_all = _external("pthread_cond_broadcast", 1)
else:
    _lock = _external("AcquireSRWLockExclusive", 1)
    _unlock = _external("ReleaseSRWLockExclusive", 1)
    _wake_all = _external("WakeAllConditionVariable", 1)
    _sleep = _external("SleepConditionVariableSRW", 4)

    @outlined
    def _wait(condition: int, lock: int) -> Any:
        return _sleep(condition, lock, 0xFFFFFFFF, 0)


def make_place(address: int) -> None:
    """Make a place where threads sleep, of PLACE_BYTES zeros at an address."""
    if os.name == "posix":
        libc = ctypes.CDLL(None)
        libc.pthread_mutex_init(ctypes.c_void_p(address), None)
        libc.pthread_cond_init(ctypes.c_void_p(address + LOCK_BYTES), None)


@intrinsic
def atomic_add(context: Any, address: Any, value: Any) -> Any:
    """Add to an int64 that threads share; returns what it held before."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = builder.inttoptr(args[0], I64.as_pointer())
        return builder.atomic_rmw("add", pointer, args[1], "seq_cst")

    return types.int64(types.int64, types.int64), generate


@intrinsic
def atomic_load(context: Any, address: Any) -> Any:
    """Read an int64 that another thread may write."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = builder.inttoptr(args[0], I64.as_pointer())
        return builder.load_atomic(pointer, "acquire", 8)

    return types.int64(types.int64), generate


@intrinsic
def atomic_store(context: Any, address: Any, value: Any) -> Any:
    """Write an int64 that another thread may read."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = builder.inttoptr(args[0], I64.as_pointer())
        builder.store_atomic(args[1], pointer, "release", 8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


@intrinsic
def exchange(context: Any, address: Any, before: Any, after: Any) -> Any:
    """Write `after` where an int64 still is `before`; returns whether it was."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = builder.inttoptr(args[0], I64.as_pointer())
        pair = builder.cmpxchg(pointer, args[1], args[2], "seq_cst", "acquire")
        return builder.extract_value(pair, 1)

    return types.boolean(types.int64, types.int64, types.int64), generate


@intrinsic
def pause(context: Any) -> Any:
    """Let the processor rest for some cycles, amid a loop that waits."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if TARGET[0].startswith(("x86_64", "i686")):
            function = declared(builder, "llvm.x86.sse2.pause", ir.VoidType(), [])
            builder.call(function, [])
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def call(
    context: Any, function: Any, record: Any, part: Any, parts: Any, thread: Any
) -> Any:
    """Call a compiled kernel by its address; one that takes fewer is given all."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [I64] * 4)
        pointer = builder.inttoptr(args[0], kind.as_pointer())
        builder.call(pointer, args[1:])
        return context.get_dummy_value()

    return types.void(*[types.int64] * 5), generate


@outlined
def wait_until(address: int, least: int, spins: int, place: int) -> None:
    """Wait until an int64 is `least` or more; whoever makes it so calls `wake`.

    Args:
        address: of the integer.
        least: what is waited for.
        spins: looks at it, some 20 ns each, before the thread goes to sleep.
        place: address of where it sleeps.
    """
    for _ in range(spins):
        if atomic_load(address) >= least:
            return
        pause()
    _lock(place)
    # Seen by whoever changes the integer after this, or the change is seen here.
    atomic_add(place + SLEEPERS_AT, 1)
    while atomic_load(address) < least:
        _wait(place + LOCK_BYTES, place)
    atomic_add(place + SLEEPERS_AT, -1)
    _unlock(place)


@outlined
def wake(place: int) -> None:
    """Wake all threads that sleep at a place."""
    if atomic_add(place + SLEEPERS_AT, 0) != 0:
        _lock(place)  # they sleep by now, or have seen the change
        _unlock(place)
        _wake_all(place + LOCK_BYTES)
