"""Steps of small nets with kernels under sanitizers; a program of its own.

It runs with libasan loaded ahead of everything. The arrays of a launch are copied into
memory of exactly their size, so that what lies beside them in an arena is out of
bounds. Kernels whose threads wait for each other do nothing here, as their stacks are
of their own making. Prints the names of the kernels that were looked at.

    python -m tests.backends.cuda.sanitized steps|overrun|misaligned
"""

from __future__ import annotations

import ctypes
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

import runtime
from netspec import NetSpec
from netspec.errors import SpecWarning
from runtime.backends.by_name import MAKERS
from runtime.backends.cuda import CudaBackend
from runtime.backends.cuda.machine.launch import CudaKernel, Launch
from tests.backends.cuda.host_device import HostDevice, library
from tests.backends.cuda.model_nets import train_net
from tests.backends.cuda.taken_kernels import NETS
from tests.backends.cuda.test_iterations import solver_of

FLAGS = (
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
    "-fno-sanitize=vptr",
    "-g1",
)


class Apart:
    """The arrays of a launch in memory of their own, those that overlap in one."""

    def __init__(self, arrays: list[np.ndarray]) -> None:
        spans = sorted((a.ctypes.data, a.ctypes.data + a.nbytes) for a in arrays)
        self._pieces: list[tuple[int, np.ndarray, np.ndarray]] = []
        joined: list[list[int]] = []
        for start, stop in spans:
            if joined and start < joined[-1][1]:
                joined[-1][1] = max(joined[-1][1], stop)
            else:
                joined.append([start, stop])
        for start, stop in joined:
            there = np.frombuffer(
                (ctypes.c_char * (stop - start)).from_address(start), np.uint8
            )
            self._pieces.append((start, there, there.copy()))

    def address(self, array: np.ndarray) -> int:
        at = array.ctypes.data
        for start, there, own in self._pieces:
            if start <= at < start + there.nbytes or at == start:
                return own.ctypes.data + at - start
        raise AssertionError("an array that is no argument")

    def give_back(self) -> None:
        for _, there, own in self._pieces:
            there[...] = own


class SanitizedDevice(HostDevice):
    """The device in main memory, with kernels without barriers under sanitizers."""

    name = "sanitized"

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def prepare_launch(self, launch: Launch) -> Callable[[], None]:
        kernel = launch.kernel
        if kernel.function.waits:
            return lambda: None
        run = getattr(
            library(kernel.file, kernel.defines, FLAGS), f"{kernel.name}_host"
        )
        grid = (ctypes.c_uint * 3)(*launch.grid, *(1,) * (3 - len(launch.grid)))
        block = (ctypes.c_uint * 3)(*launch.block, *(1,) * (3 - len(launch.block)))

        def work() -> None:
            self.seen.add(kernel.name)
            pairs = list(zip(launch.arguments, kernel.function.parameters, strict=True))
            given = [value for value, kind in pairs if kind is None]
            apart = Apart([value for value in given if value is not None])
            values: list[Any] = []
            for value, kind in pairs:
                if kind is None:
                    at = 0 if value is None else apart.address(value)
                    values.append(ctypes.c_void_p(at))
                else:
                    values.append(np.ctypeslib.as_ctypes_type(kind)(kind(value)))
            pointers = (ctypes.c_void_p * len(values))(*map(ctypes.addressof, values))
            run(grid, block, 0, pointers)
            apart.give_back()

        return lambda: (self.enter(), self._do("launches", work))[0]


def steps() -> set[str]:
    """Take steps of nets with every own layer; return the kernels that ran."""
    device = SanitizedDevice()
    MAKERS["sanitized"] = lambda: CudaBackend(device)
    warnings.simplefilter("ignore", SpecWarning)
    for build in NETS:
        n = NetSpec("layers")
        build(n)
        message = n.to_proto()
        used = runtime.Net(message, backend="sanitized", precision="bf16", keep=())
        used.forward()
        message.force_backward = True
        solver = solver_of(message, "sanitized", "", precision="fp16")
        solver.step(1)
    net = train_net("resnet50", 1, (3, 32, 32), narrower=8)
    solver_of(net, "sanitized", "", precision="bf16", keep=()).step(1)
    return device.seen


def filled(values: np.ndarray, size: int, offset: int) -> None:
    """Fill `size` values from a byte on by the kernel that does that."""
    kernel = CudaKernel("fill.cu", "fill")
    shifted = np.frombuffer(values.data, np.uint8)[offset:]
    launch = Launch(HostDevice(), kernel, (1,), (32,), (shifted, size, 1.5))
    run = library(kernel.file, kernel.defines, FLAGS).fill_host
    one = (ctypes.c_uint * 3)(1, 1, 1)
    threads = (ctypes.c_uint * 3)(32, 1, 1)
    kinds = kernel.function.parameters
    given = [
        ctypes.c_void_p(shifted.ctypes.data)
        if kind is None
        else np.ctypeslib.as_ctypes_type(kind)(kind(value))
        for value, kind in zip(launch.arguments, kinds, strict=True)
    ]
    pointers = (ctypes.c_void_p * len(given))(*map(ctypes.addressof, given))
    run(one, threads, 0, pointers)


if __name__ == "__main__":
    what = sys.argv[1]
    if what == "steps":
        print(*sorted(steps()), sep="\n")
    else:
        filled(
            np.zeros(100, "float32"),
            101 if what == "overrun" else 99,
            what == "misaligned",
        )
