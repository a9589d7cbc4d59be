"""What this backend asks of a device: `Device`, implemented for CuPy and for tests.

Everything else, plans, layouts, fusion, capture and lifetimes, is the same code for
both, so that machines without a GPU run it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from netspec.ops.base import Shape
from runtime.arrays import Array
from runtime.backends.cuda.machine.convolutions import Convolution
from runtime.backends.cuda.machine.launch import CudaKernel, Launcher
from runtime.backends.cuda.machine.products import Product
from runtime.distributed.communicator import Group

FETCHES = 16  # of one size, on their way at once


class Event(Protocol):
    """A mark in the work of a device."""

    def record(self) -> None:
        """Put it behind what was asked for so far."""

    def synchronize(self) -> None:
        """Wait until the device has come to it."""

    def milliseconds_since(self, earlier: Any) -> float:
        """Return the time on the device between two marks."""


class Fetched(Protocol):
    """Bytes that are on their way to the host."""

    def result(self) -> np.ndarray:
        """Return them, uint8; waits until they are there."""


class Planned(Protocol):
    """A product or a convolution for which the device has chosen its way.

    workspace_bytes: the memory that it needs while it runs.
    """

    workspace_bytes: int

    def run(self, addresses: dict[str, int], workspace: int, stream: int) -> None:
        """Do it: `addresses` of the operands by the names of its specification."""


class Device(Launcher, Protocol):
    """One device and its stream of work. Addresses are numbers, as in C."""

    name: str
    xp: ModuleType  # NumPy's functions over its arrays
    number: int  # which of the devices of this machine
    multiprocessors: int

    @property
    def memory_errors(self) -> tuple[type[BaseException], ...]:
        """What is raised where its memory ends."""

    @property
    def stream(self) -> int:
        """The handle of the stream."""

    def enter(self) -> None:
        """Make it the device of the calling thread, which libraries go by."""

    def zeros(self, shape: Sequence[int], dtype: str) -> Array:
        """Return a new array of zeros."""

    def cut(self, memory: Array, offset: int, shape: Shape, dtype: str) -> Array:
        """Return the array that starts at a byte of `memory`."""

    def address(self, array: Array) -> int:
        """Return where an array starts."""

    def upload(self, host: np.ndarray, out: Array) -> None:
        """Copy a host array of equal shape and type to the device."""

    def stage(self, host: np.ndarray) -> Array:
        """Bring a host array to the device beside other work; valid for a short time.

        It may be used by what is asked for until the second next call with as many
        bytes.
        """

    def download(self, array: Array, out: np.ndarray) -> None:
        """Copy an array of the device to one of the host."""

    def has_code(self, kernel: CudaKernel) -> bool:
        """Say whether the source of a kernel is compiled, with its macros."""

    def load_code(self, kernel: CudaKernel) -> None:
        """Compile the source of a kernel, or load what is kept of it."""

    def product(self, product: Product) -> Planned:
        """Choose how to compute a product."""

    def supports(self, convolution: Convolution) -> bool:
        """Say whether this device has a way to compute a convolution."""

    def convolution(self, convolution: Convolution) -> Planned:
        """Choose how to compute a convolution that is supported."""

    def capture(self, run: Callable[[], None]) -> Callable[[], None]:
        """Record what `run` asks of the device; return the function that does it all.

        Nothing may be allocated meanwhile.
        """

    def fetch(self, array: Array) -> Fetched:
        """Ask for the bytes of an array as they are when the device comes to it.

        At most `FETCHES` may be asked for and not read.
        """

    def event(self) -> Event:
        """Return a new mark."""

    def synchronize(self) -> None:
        """Wait until everything asked for is done."""

    @property
    def group(self) -> Group | None:
        """What adds up arrays over the devices of several processes, if there is."""

    def prepare_convolutions(self, convolutions: Sequence[Convolution]) -> None:
        """Choose for many convolutions at once, in parallel."""

    def memory_bytes(self) -> tuple[int, int]:
        """Return how much memory is free, and how much there is."""
