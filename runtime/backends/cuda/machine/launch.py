"""Calls of a device: kernels with their arguments, and what runs beside a graph.

A call is an object without arguments that does its work when it is called. Lists of
them are what layers give a plan (`Kernel.forward_calls`), and what `Program` captures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

from runtime.backends.cuda.machine.sources import Function, functions_of

THREADS = 256  # of a block, where nothing speaks for another number
MOST_BLOCKS = 1 << 16  # of a kernel that strides through its elements


@dataclass(frozen=True)
class CudaKernel:
    """A kernel of the source `file`, compiled with `defines`.

    By convention `STORE` is the type in which blobs are stored (see `storage.cuh`).
    """

    file: str
    name: str
    defines: tuple[tuple[str, str], ...] = ()

    @cached_property
    def function(self) -> Function:
        """What the source declares."""
        found = functions_of(self.file)
        if self.name not in found:
            raise KeyError(f"{self.file} has no kernel {self.name!r}")
        return found[self.name]

    def with_defines(self, **defines: object) -> CudaKernel:
        """Return the kernel compiled with other macros."""
        merged = {**dict(self.defines), **{k: str(v) for k, v in defines.items()}}
        return CudaKernel(self.file, self.name, tuple(sorted(merged.items())))


class Call:
    """Something that a device does.

    constant: whether it depends on the parameters alone, so that it need not be done
    again while they stay what they are. outside: whether it runs ahead of a graph that
    it would be part of, as it tells the device what changes from run to run.
    """

    constant = False
    outside = False

    def __call__(self) -> None:
        """Do it."""
        raise NotImplementedError


class Launcher(Protocol):
    """A device that launches kernels."""

    def prepare_launch(self, launch: Launch) -> Callable[[], None]:
        """Compile the kernel of a launch and return the function that launches it."""

    def launcher(self, launch: Launch) -> Callable[[Sequence[Any]], None]:
        """Return a function that launches a kernel with other arguments."""


@dataclass(eq=False)
class Launch(Call):
    """One launch of a kernel.

    grid, block: numbers of blocks and of threads in each, up to three. arguments:
    arrays of the device (anything with an address, `None` is a null pointer), and
    numbers, in the order in which the source declares them.
    """

    device: Launcher
    kernel: CudaKernel
    grid: tuple[int, ...]
    block: tuple[int, ...]
    arguments: tuple[Any, ...]
    constant: bool = False
    outside: bool = False
    _ready: Any = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        expected = self.kernel.function.parameters
        if len(self.arguments) != len(expected):
            raise TypeError(
                f"kernel {self.kernel.name!r} of {self.kernel.file} takes "
                f"{len(expected)} arguments, got {len(self.arguments)}"
            )

    def __call__(self) -> None:
        """Launch it."""
        if self._ready is None:
            self._ready = self.device.prepare_launch(self)
        self._ready()


@dataclass(eq=False)
class Does(Call):
    """A call made of a function; `name` is for reports."""

    name: str
    function: Callable[[], None]
    constant: bool = False
    outside: bool = False

    def __call__(self) -> None:
        """Do it."""
        self.function()


def blocks_for(count: int, per_block: int = THREADS) -> tuple[int]:
    """Return the grid of a kernel that strides through `count` elements."""
    return (max(1, min(MOST_BLOCKS, -(-count // per_block))),)
