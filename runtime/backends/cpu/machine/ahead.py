"""Compiling kernels ahead of their first use, in several processes.

LLVM compiles one function at a time in a process, so that others help this one. What
they compile reaches it through the disk.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import TypeAlias

from runtime.backends.cpu.machine.compiled import Compiled, keeps_code
from runtime.backends.cpu.machine.parts import code_bytes

Told: TypeAlias = Callable[[int, int], None]  # takes how many of how many are compiled

TELL_INTERVAL_S = 0.02
LEAST = 3  # kernels that are worth one more process, which has to start first
MOST = 8  # processes, each of which takes some 150 MB


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
    """Compile kernels here, and by other processes where there are any."""
    found = [one for one in missing if _is_found(one)] if keeps_code() else []
    workers = min(processes, MOST, -(-len(found) // LEAST))
    if not sys.executable or getattr(sys, "frozen", False):
        workers = 0
    own, *others = _divided(found, max(workers, 1))
    with ExitStack() as stack, _no_garbage():
        helpers = []
        with suppress(OSError):  # no more processes: the rest is compiled here
            for some in others:
                helpers.append(stack.enter_context(_helper(some)))
        for one in own:
            _ = one.address
            tell()
        _join_in(others, helpers, tell)
    for one in missing:
        _ = one.address
        tell()


def _join_in(
    parts: Sequence[Sequence[Compiled]],
    helpers: Sequence[subprocess.Popen[bytes]],
    tell: Callable[[], None],
) -> None:
    """Compile what helpers have not come to yet, from the ends of their parts."""
    while any(helper.poll() is None for helper in helpers):
        left = [[one for one in part if not one.is_ready] for part in parts]
        longest = max(left, key=len)
        if len(longest) > 1:  # the helper is at its first
            _ = longest[-1].address
        else:
            time.sleep(TELL_INTERVAL_S)
        tell()


@contextmanager
def _no_garbage() -> Iterator[None]:
    """Collect none, which would take a tenth of the time and find next to nothing."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


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
    """Compile kernels that are named `module:function`, but those that are there."""
    with _no_garbage():
        for name in names:
            module, _, function = name.partition(":")
            one = getattr(import_module(module), function)
            if not one.is_ready:
                _ = one.address


if __name__ == "__main__":
    main(sys.argv[1:])
