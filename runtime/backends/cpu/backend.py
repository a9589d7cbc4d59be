"""`CpuBackend`: which layers and update rules run compiled."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Container, Mapping, Sequence
from functools import cached_property, partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from netspec.errors import MachineError, SpecError
from runtime.backends.base import Backend, Fusion
from runtime.distributed.processors import usual_threads
from runtime.layers.base import Context, Kernel
from runtime.update_rules import Block, GuardedUpdate, Settings

if TYPE_CHECKING:
    from netspec.graph import Graph, Node
    from runtime.backends.cpu.machine.compiled import Call
    from runtime.backends.cpu.machine.thread_pool import ThreadPool

THREADS_VARIABLE = "NETSPEC_NUM_THREADS"
OLDEST = (0, 44)  # version of llvmlite
_INSTALL = "pip install 'netspec[cpu]', or pip install -U llvmlite"


class CpuBackend(Backend):
    """Arrays in main memory; device and host arrays are the same.

    Nets of float32 run on compiled kernels where llvmlite is installed; what has none,
    and nets of float64, run on the portable kernels.

    Args:
        threads: how many run compiled kernels; by default `NETSPEC_NUM_THREADS`, or as
            many as the process may use processors, divided by the ranks that share
            them. The results do not depend on it.
    """

    name: ClassVar[str] = "numpy"
    leaves_out: ClassVar[bool] = True

    def __init__(self, threads: int | None = None) -> None:
        super().__init__(np)
        self._threads = threads or _threads()
        self._thread_pool: ThreadPool | None = None

    @property
    def threads(self) -> int:
        """How many threads run compiled kernels; set once, when the backend is made.

        Kernels ask for scratch memory with a room for each thread, so that one more
        would write past its end.
        """
        return self._threads

    def kernel(self, node: Node, dtype: str) -> Callable[[Node, Context], Kernel[Any]]:
        """Return the compiled kernel class of a node where there is one."""
        if dtype == "float32":
            for kernel in self._compiled.get(node.type, ()):
                if kernel.fits(node):
                    made: type[Kernel[Any]] = kernel
                    return made
        return super().kernel(node, dtype)

    def synced_norm(
        self, node: Node, dtype: str
    ) -> Callable[[Node, Context], Kernel[Any]]:
        """Return the compiled kernel class where there is one."""
        if dtype == "float32" and self.compiles:
            from runtime.backends.cpu.layers.synced_norm import CompiledSyncedNorm

            if CompiledSyncedNorm.suits(node.op):
                return CompiledSyncedNorm
        return super().synced_norm(node, dtype)

    @property
    def title(self) -> str:
        """The name, and whether there are compiled kernels."""
        return f"{self.name} ({'compiled' if self.compiles else 'portable'})"

    def __repr__(self) -> str:
        how = "compiled kernels" if self.compiles else "no compiled kernels"
        return f"<backend {self.name!r}: {how}, {self.threads} threads>"

    @property
    def compiles(self) -> bool:
        """Whether there are compiled kernels."""
        return bool(self._compiled)

    @cached_property
    def lacks(self) -> tuple[str, str] | None:
        """Why kernels are not compiled, and how to change that; None if they are."""
        if not find_spec("llvmlite"):
            return "llvmlite is not installed", _INSTALL
        if (found := _old_llvmlite()) is not None:
            return f"llvmlite {found} is too old", _INSTALL
        # Kernels are made from their text, which a frozen program may be without.
        if not Path(__file__).with_suffix(".py").is_file():
            said = "the source files of the package `runtime` are not there"
            return said, "leave its .py files where its modules are"
        return None

    @cached_property
    def _compiled(self) -> Mapping[str, Sequence[Any]]:
        # It is imported where kernels are compiled, which most programs do not do.
        if self.lacks is not None:
            return {}
        from runtime.backends.cpu.table import KERNELS

        return KERNELS

    @property
    def thread_pool(self) -> ThreadPool:
        """The threads that run compiled kernels, as many as `threads`."""
        if self._thread_pool is None:
            from runtime.backends.cpu.machine.thread_pool import ThreadPool

            self._thread_pool = ThreadPool(self.threads)
        return self._thread_pool

    def runner(self, calls: Sequence[Call]) -> Callable[[], None]:
        """Return a function that runs compiled calls in order."""
        from runtime.backends.cpu.machine.thread_pool import Program

        return partial(self.thread_pool.run, Program(calls, self.compilation))

    def prepare(self, calls: Sequence[Call]) -> None:
        """Compile the kernels of these calls."""
        if not calls:
            return
        from runtime.backends.cpu.machine.ahead import compile_ahead
        from runtime.backends.cpu.machine.walk import NATIVE

        kernels = {*NATIVE, *(call.kernel for call in calls)}
        with self.compilation.taking_time():
            compile_ahead(kernels, self.threads, self.compilation.tell)

    def compile_all(self) -> tuple[int, int]:
        """Compile every kernel; returns how many there are, and how many were missing.

        Raises `MachineError` where they cannot be compiled or kept.
        """
        if self.lacks is not None:
            why, fix = self.lacks
            raise MachineError(f"kernels cannot be compiled, as {why}: {fix}")
        from runtime.backends.cpu.machine.ahead import compile_ahead
        from runtime.backends.cpu.machine.compiled import keeps_code
        from runtime.backends.cpu.machine.walk import NATIVE
        from runtime.backends.cpu.table import all_kernels

        if not keeps_code():
            raise MachineError(
                "machine code can be kept nowhere; set NETSPEC_CACHE_DIR to a folder "
                "that can be written to"
            )
        kernels = [*all_kernels(), *NATIVE]
        missing = sum(not one.is_ready for one in kernels)
        with self.compilation.taking_time():
            compile_ahead(kernels, self.threads, self.compilation.tell)
        return len(kernels), missing

    def fusion(
        self,
        graph: Graph,
        kernels: Sequence[Kernel[Any]],
        keep: Container[str] | None = None,
    ) -> Fusion | None:
        """Find layers that run as one, before the kernels ask for arrays.

        keep: the names of the blobs that are kept, None for all.
        """
        if not self._compiled:
            return None
        from runtime.backends.cpu import fusion

        return fusion.Fusion(graph, kernels, keep)

    def fused_update(
        self, rule: str, blocks: Sequence[Block], settings: Settings
    ) -> GuardedUpdate | None:
        """Return the compiled update rule, if there is one, for float32."""
        if not self._compiled or any(block.w.dtype != np.float32 for block in blocks):
            return None
        from runtime.backends.cpu import updates

        if rule not in updates.RULES:
            return None
        return updates.FusedUpdate(rule, blocks, settings, self.runner)


def _threads() -> int:
    """Return how many threads to use: the variable, or this process's processors."""
    text = os.environ.get(THREADS_VARIABLE)
    if not text:
        return usual_threads()
    if not text.isdigit() or int(text) < 1:
        raise SpecError(f"{THREADS_VARIABLE} is {text!r}; expected a number from 1")
    return int(text)


def _old_llvmlite() -> str | None:
    """Return the version of llvmlite where it is too old, else None."""
    import llvmlite

    found = str(llvmlite.__version__)
    numbers = re.match(r"(\d+)\.(\d+)", found)
    if numbers is None:  # somebody's own; it will show
        return None
    return found if tuple(map(int, numbers.groups())) < OLDEST else None
