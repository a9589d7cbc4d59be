"""Compiling kernels ahead of their first use, in several processes.

Numba compiles one function at a time, so that other processes do it. What they compile
reaches this one through the disk, so that it need not import Numba.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack, suppress
from importlib import import_module
from pathlib import Path
from typing import TypeAlias

from runtime.backends.cpu.machine.compiled import Compiled, keeps_code
from runtime.backends.cpu.machine.parts import code_bytes

Told: TypeAlias = Callable[[int, int], None]  # takes how many of how many are compiled

TELL_INTERVAL_S = 0.05
LEAST = 3  # kernels that are worth one more process, which has to import Numba first
MOST = 8  # processes, each of which takes some 200 MB


def compile_ahead(kernels: Collection[Compiled], processes: int, told: Told) -> None:
    """Compile those of the kernels that are not on the disk yet.

    told: called with how many of how many are compiled, from 0 on, if any are missing.
    """
    missing = [one for one in kernels if not one.is_ready]
    if not missing:
        return
    told(0, len(missing))
    _compile(
        missing,
        processes,
        lambda: told(sum(one.is_ready for one in missing), len(missing)),
    )
    told(len(missing), len(missing))


def _compile(
    missing: Sequence[Compiled], processes: int, tell: Callable[[], None]
) -> None:
    """Compile kernels by other processes, or here where there are none."""
    found = [one for one in missing if _is_found(one)] if keeps_code() else []
    workers = min(processes, MOST, -(-len(found) // LEAST))
    if not sys.executable or getattr(sys, "frozen", False):
        workers = 0
    with ExitStack() as stack:
        helpers = []
        with suppress(OSError):  # no more processes: the rest is compiled here
            for some in _divided(found, workers) if workers else ():
                helpers.append(stack.enter_context(_helper(some)))
        while any(helper.poll() is None for helper in helpers):
            time.sleep(TELL_INTERVAL_S)
            tell()
    for one in missing:
        _ = one.address
        tell()


def _divided(kernels: Sequence[Compiled], parts: int) -> list[list[Compiled]]:
    """Divide kernels into parts that take about as long to compile."""
    found: list[list[Compiled]] = [[] for _ in range(parts)]
    sizes = [0] * parts
    for one in sorted(kernels, key=lambda one: -code_bytes(one.function)):
        part = sizes.index(min(sizes))
        found[part].append(one)
        sizes[part] += code_bytes(one.function)
    return found


def _is_found(kernel: Compiled) -> bool:
    """Whether another process finds a kernel under its name."""
    function = kernel.function
    module = sys.modules.get(function.__module__)
    return getattr(module, function.__name__, None) is kernel


def _helper(kernels: Sequence[Compiled]) -> subprocess.Popen[bytes]:
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
    sys.modules["scipy"] = None  # type: ignore[assignment]  # Numba looks for it
    gc.disable()  # which would take a sixth of the time, and find next to nothing
    for name in names:
        module, _, function = name.partition(":")
        _ = getattr(import_module(module), function).address


if __name__ == "__main__":
    main(sys.argv[1:])
