"""Asking for memory ahead of its use."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from runtime.backends.cpu.machine.compiled import helper
from runtime.backends.cpu.machine.llvm import I32, declared, intrinsic
from runtime.backends.cpu.machine.parts import types

LINE_BYTES = 64  # of the caches


@intrinsic
def prefetch(context: Any, address: Any) -> Any:
    """Ask for the line of an address, which need not be one of ours, to be read."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = builder.inttoptr(args[0], ir.IntType(8).as_pointer())
        kinds = [pointer.type, I32, I32, I32]
        function = declared(builder, "llvm.prefetch.p0", ir.VoidType(), kinds)
        reading, all_caches, data = (ir.Constant(I32, value) for value in (0, 3, 1))
        builder.call(function, [pointer, reading, all_caches, data])
        return context.get_dummy_value()

    return types.void(types.int64), generate


@helper
def prefetch_run(address: int, nbytes: int) -> None:
    """Ask for the lines of some bytes."""
    for at in range(0, nbytes, LINE_BYTES):
        prefetch(address + at)
