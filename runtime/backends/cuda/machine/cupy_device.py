"""`CupyDevice`: memory, streams, events, kernels and graphs of a GPU through CuPy."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from netspec.errors import MachineError
from netspec.notebooks import warn_user
from netspec.ops.base import Shape, count
from netspec.room import in_words
from runtime.arrays import Array
from runtime.backends.cuda.machine.convolutions import Convolution
from runtime.backends.cuda.machine.device import FETCHES, Planned
from runtime.backends.cuda.machine.launch import CudaKernel, Launch
from runtime.backends.cuda.machine.nccl import Nccl
from runtime.backends.cuda.machine.products import Product
from runtime.backends.cuda.machine.sources import text_of


class DeviceFull(MachineError, MemoryError):
    """The memory of a device has come to its end."""

    def __init__(self, nbytes: int, free: int, total: int, number: int) -> None:
        super().__init__(
            f"GPU {number} has no {in_words(nbytes)} in one piece: {in_words(free)} of "
            f"its {in_words(total)} are free. Use a smaller batch or precision 'bf16', "
            f"end other programs that use it, or use a GPU with more memory"
        )


class CupyEvent:
    """A mark in a stream of CuPy."""

    def __init__(self, cupy: Any, stream: Any) -> None:
        self._cupy, self._stream = cupy, stream
        self._event = cupy.cuda.Event()

    def record(self) -> None:
        """Put it behind what was asked for so far."""
        self._event.record(self._stream)

    def synchronize(self) -> None:
        """Wait until the device has come to it."""
        self._event.synchronize()

    def milliseconds_since(self, earlier: CupyEvent) -> float:
        """Return the time on the device between two marks."""
        return float(self._cupy.cuda.get_elapsed_time(earlier._event, self._event))


class CupyFetched:
    """A piece of pinned memory, and a mark behind the copy into it."""

    def __init__(self, cupy: Any, nbytes: int) -> None:
        self._pinned = cupy.cuda.alloc_pinned_memory(nbytes)
        self._host = np.frombuffer(self._pinned, np.uint8, nbytes)
        self._copied = cupy.cuda.Event(disable_timing=True)

    def ask(self, array: Array, stream: Any) -> None:
        """Ask for the bytes of an array."""
        array.data.copy_to_host_async(self._pinned.ptr, array.nbytes, stream)
        self._copied.record(stream)

    def result(self) -> np.ndarray:
        """Return them, uint8; waits until they are there."""
        self._copied.synchronize()
        return self._host.copy()


class CupyDevice:
    """The CUDA device `number`, with a stream of its own.

    Raises `MachineError` where CuPy is not installed or the device does not answer.
    """

    name = "cupy"

    def __init__(self, number: int = 0) -> None:
        try:
            import cupy
        except ImportError as error:
            raise MachineError(
                "backend 'cupy' needs CuPy, which is not installed; "
                "install the extra netspec[cuda]"
            ) from error
        try:
            devices = cupy.cuda.runtime.getDeviceCount()
        except cupy.cuda.runtime.CUDARuntimeError as error:
            raise MachineError(
                f"backend 'cupy': no CUDA device answers: {error}"
            ) from error
        if devices == 0:
            raise MachineError("backend 'cupy': this machine has no CUDA device")
        if not 0 <= number < devices:
            raise MachineError(
                f"backend 'cupy': there is no device {number}; this process sees "
                f"{devices}, numbered from 0"
            )
        self.xp = self._cupy = cupy
        self.number = number
        self._device = cupy.cuda.Device(number)
        self.enter()
        self.multiprocessors = int(self._device.attributes["MultiProcessorCount"])
        self._fetches: dict[int, Iterator[CupyFetched]] = {}
        self._rings: dict[int, _Ring] = {}
        self._copies = cupy.cuda.Stream(non_blocking=True)
        self._modules: dict[tuple[str, tuple[tuple[str, str], ...]], Any] = {}

    def enter(self) -> None:
        """Make this device and its stream those of the calling thread.

        CUDA and CuPy have a current device and stream for each thread, which other
        backends and scripts change; so everything here that depends on them enters.
        """
        self._device.use()
        self._stream.use()

    @cached_property
    def _stream(self) -> Any:
        # Graphs cannot be captured on the default stream.
        return self._cupy.cuda.Stream(non_blocking=True)

    @property
    def memory_errors(self) -> tuple[type[BaseException], ...]:
        """What is raised where its memory ends."""
        return DeviceFull, self._cupy.cuda.memory.OutOfMemoryError

    @property
    def stream(self) -> int:
        """The handle of the stream."""
        return int(self._stream.ptr)

    # ------------------------------------------------------------ memory

    def zeros(self, shape: Sequence[int], dtype: str) -> Array:
        """Return a new array of zeros."""
        self.enter()
        try:
            return self._cupy.zeros(tuple(shape), dtype)
        except MemoryError as error:
            nbytes = count(tuple(shape)) * np.dtype(dtype).itemsize
            raise DeviceFull(nbytes, *self.memory_bytes(), self.number) from error

    def cut(self, memory: Array, offset: int, shape: Shape, dtype: str) -> Array:
        """Return the array that starts at a byte of `memory`.

        It is made from a pointer: views of an array above 2 GiB would have 64-bit
        indices in every kernel that CuPy makes for them.
        """
        nbytes = count(shape) * np.dtype(dtype).itemsize
        if offset + nbytes > memory.nbytes:
            raise ValueError(f"{nbytes} bytes at {offset} of {memory.nbytes}")
        return self._cupy.ndarray(shape, dtype, memory.data + offset)

    def address(self, array: Array) -> int:
        """Return where an array starts."""
        return int(array.data.ptr)

    def upload(self, host: np.ndarray, out: Array) -> None:
        """Copy a host array of equal shape to the device."""
        self.enter()
        out.set(np.asarray(host, out.dtype, order="C").reshape(out.shape))

    def stage(self, host: np.ndarray) -> Array:
        """Bring a host array to a new place on the device, while it does other work.

        The copy runs on a stream of its own, from memory that the driver has pinned;
        what is asked for next waits for it. The array that is returned is valid until
        the second next call with as many bytes.
        """
        self.enter()
        ring = self._rings.get(host.nbytes)
        if ring is None:
            made = _Ring(self._cupy, host.nbytes, self._stream)
            ring = self._rings[host.nbytes] = made
        return ring.stage(host, self._stream, self._copies)

    def download(self, array: Array, out: np.ndarray) -> None:
        """Copy an array of the device to one of the host."""
        self.enter()
        out[...] = array.get()

    def memory_bytes(self) -> tuple[int, int]:
        """Return how much memory is free, and how much there is.

        What CuPy's pool keeps of arrays that are gone is free for others.
        """
        self.enter()
        free, total = self._device.mem_info
        pooled = self._cupy.get_default_memory_pool().free_bytes()
        return int(free) + int(pooled), int(total)

    # ------------------------------------------------------------ work

    def launcher(self, launch: Launch) -> Callable[[Sequence[Any]], None]:
        """Return a function that launches a kernel with other arguments."""
        kernel = launch.kernel
        declared = kernel.function.parameters
        function = self._module(kernel).get_function(kernel.name)
        grid, block = _three(launch.grid), _three(launch.block)

        def run(arguments: Sequence[Any]) -> None:
            self.enter()
            values = tuple(map(self._argument, arguments, declared))
            function(grid, block, values)

        return run

    def prepare_launch(self, launch: Launch) -> Callable[[], None]:
        """Compile the kernel of a launch and return the function that launches it."""
        kernel = launch.kernel
        function = self._module(kernel).get_function(kernel.name)
        declared = kernel.function.parameters
        values = tuple(map(self._argument, launch.arguments, declared))
        grid, block = _three(launch.grid), _three(launch.block)

        def run() -> None:
            self.enter()
            function(grid, block, values)

        return run

    def _argument(self, value: Any, declared: Any) -> Any:
        if declared is not None:
            return declared(value)
        return np.uintp(0 if value is None else self.address(value))

    def has_code(self, kernel: CudaKernel) -> bool:
        """Say whether the source of a kernel is compiled, with its macros."""
        return (kernel.file, kernel.defines) in self._modules

    def load_code(self, kernel: CudaKernel) -> None:
        """Compile the source of a kernel, or load what is kept of it."""
        self._module(kernel).get_function(kernel.name)

    def _module(self, kernel: CudaKernel) -> Any:
        self.enter()
        key = (kernel.file, kernel.defines)
        if key not in self._modules:
            options = ("-std=c++17", *(f"-D{k}={v}" for k, v in kernel.defines))
            self._modules[key] = self._cupy.RawModule(
                code=text_of(kernel.file), options=options, backend="nvrtc"
            )
        return self._modules[key]

    def product(self, product: Product) -> Planned:
        """Choose how to compute a product."""
        self.enter()
        return self._cublas.plan(product)

    @cached_property
    def _cublas(self) -> Any:
        from runtime.backends.cuda.machine.cublas import Cublas

        return Cublas()

    def supports(self, convolution: Convolution) -> bool:
        """Say whether this device has a way to compute a convolution."""
        return self._cudnn is not None and bool(self._cudnn.supports(convolution))

    def convolution(self, convolution: Convolution) -> Planned:
        """Choose how to compute a convolution that is supported."""
        self.enter()
        return self._cudnn.plan(convolution)

    def prepare_convolutions(self, convolutions: Sequence[Convolution]) -> None:
        """Choose for many convolutions at once, in parallel."""
        if self._cudnn is not None:
            self._cudnn.prepare(convolutions, 8)

    @cached_property
    def _cudnn(self) -> Any:
        self.enter()
        from runtime.backends.cuda.machine.cudnn import Cudnn

        try:
            return Cudnn(self.number)
        except MachineError as error:
            warn_user(
                f"{error}; convolutions run as products of unfolded images, which "
                f"takes several times longer",
                RuntimeWarning,
            )
            return None

    def capture(self, run: Callable[[], None]) -> Callable[[], None]:
        """Record what `run` asks of the device; return what does it all."""
        taken: list[int] = []
        self.enter()
        with _Watch(self._cupy, taken):
            self._stream.begin_capture()
            try:
                run()
            finally:
                graph = self._stream.end_capture()
        if taken:
            raise MachineError(
                f"{len(taken)} blocks of device memory were taken while a graph was "
                f"recorded, {sum(taken)} bytes; please report this"
            )
        stream = self._stream

        def replay() -> None:
            self.enter()
            graph.launch(stream)

        return replay

    def fetch(self, array: Array) -> CupyFetched:
        """Ask for the bytes of an array as they are when the device comes to it."""
        self.enter()
        ring = self._fetches.get(array.nbytes)
        if ring is None:
            made = (CupyFetched(self._cupy, array.nbytes) for _ in range(FETCHES))
            ring = self._fetches[array.nbytes] = itertools.cycle(list(made))
        fetched = next(ring)
        fetched.ask(array, self._stream)
        return fetched

    def event(self) -> CupyEvent:
        """Return a new mark."""
        self.enter()
        return CupyEvent(self._cupy, self._stream)

    def synchronize(self) -> None:
        """Wait until everything asked for is done."""
        self._stream.synchronize()

    @cached_property
    def group(self) -> Nccl:
        """What adds up arrays over the GPUs of several processes."""
        self.enter()
        return Nccl(self._cupy, self._device, self._stream)


class _Watch:
    """Notes what is taken from CuPy's pool of memory meanwhile."""

    def __init__(self, cupy: Any, taken: list[int]) -> None:
        class Hook(cupy.cuda.MemoryHook):  # type: ignore[misc]
            name = "netspec"

            def malloc_preprocess(self, **kwargs: Any) -> None:
                taken.append(int(kwargs["mem_size"]))

        self._hook = Hook()

    def __enter__(self) -> None:
        self._hook.__enter__()

    def __exit__(self, *_: object) -> None:
        self._hook.__exit__(*_)


class _Ring:
    """Two pairs of a pinned host buffer and a device buffer, used by turns."""

    def __init__(self, cupy: Any, nbytes: int, compute: Any) -> None:
        self._slots = [_Slot(cupy, nbytes) for _ in range(2)]
        # Their memory may have been lent before: work on it that was asked for on the
        # one stream is not done yet for the other.
        for slot in self._slots:
            slot.read.record(compute)
        self._turn = 0

    def stage(self, host: np.ndarray, compute: Any, copies: Any) -> Array:
        """See `CupyDevice.stage`."""
        # What was asked of the slot that was used last is by now all asked for.
        self._slots[self._turn].read.record(compute)
        self._turn = 1 - self._turn
        return self._slots[self._turn].fill(host, compute, copies)


class _Slot:
    def __init__(self, cupy: Any, nbytes: int) -> None:
        self._cupy = cupy
        self._pinned = cupy.cuda.alloc_pinned_memory(nbytes)
        self._host = np.frombuffer(self._pinned, np.uint8, nbytes)
        self._device = cupy.empty(nbytes, "uint8")
        self._copied, self.read = cupy.cuda.Event(), cupy.cuda.Event()

    def fill(self, host: np.ndarray, compute: Any, copies: Any) -> Array:
        """Copy `host` over, behind what still reads this slot."""
        self._copied.synchronize()  # the last copy out of the pinned memory
        np.copyto(self._host.view(host.dtype).reshape(host.shape), host)
        copies.wait_event(self.read)
        self._device.data.copy_from_host_async(self._pinned.ptr, host.nbytes, copies)
        self._copied.record(copies)
        compute.wait_event(self._copied)
        shaped = self._device.view(host.dtype)
        return shaped.reshape(host.shape)


def _three(sizes: tuple[int, ...]) -> tuple[int, ...]:
    return (*sizes, *(1,) * (3 - len(sizes)))
