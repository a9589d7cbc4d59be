"""Compiling kernels ahead of their first use, in several processes.

Numba compiles one function at a time, so that other processes have to help. What they
compile reaches this one through the disk.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Collection, Sequence
from contextlib import ExitStack, suppress
from importlib import import_module
from pathlib import Path

from runtime.backends.cpu.machine.compiled import CompiledKernel, keeps_code

LEAST = 3  # kernels that are worth another process, which has to import Numba first
MOST = 8  # processes, each of which takes some 200 MB


def compile_ahead(kernels: Collection[CompiledKernel], processes: int) -> None:
    """Compile those of the kernels that are not on the disk yet."""
    if not keeps_code():
        return  # other processes could not hand over what they compiled
    missing = [one for one in kernels if not one.is_ready and _is_found(one)]
    workers = min(processes, MOST, len(missing) // LEAST)
    if workers < 2 or not sys.executable or getattr(sys, "frozen", False):
        return  # each is compiled when it is used
    missing.sort(key=lambda one: -len(one.function.__code__.co_code))
    with ExitStack() as stack:
        with suppress(OSError):  # no more processes: the rest is compiled when used
            for number in range(1, workers):
                stack.enter_context(_helper(missing[number::workers]))
        for one in missing[::workers]:
            _ = one.address


def _is_found(kernel: CompiledKernel) -> bool:
    """Whether another process finds a kernel under its name."""
    function = kernel.function
    module = sys.modules.get(function.__module__)
    return getattr(module, function.__name__, None) is kernel


def _helper(kernels: Sequence[CompiledKernel]) -> subprocess.Popen[bytes]:
    """Start a process that compiles some kernels. What it cannot do is done here."""
    names = [f"{one.function.__module__}:{one.function.__name__}" for one in kernels]
    path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    return subprocess.Popen(
        [sys.executable, "-P", "-m", __spec__.name, *names],
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def main(names: Sequence[str]) -> None:
    """Compile kernels that are named `module:function`."""
    for name in names:
        module, _, function = name.partition(":")
        _ = getattr(import_module(module), function).address


if __name__ == "__main__":
    main(sys.argv[1:])
