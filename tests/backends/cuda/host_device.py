"""A device in main memory: the `.cu` files compiled as C++, products by NumPy.

It is for tests on machines without a GPU. Its arrays are NumPy's, but the backend over
it does not take them for arrays of the host. Launches, copies, allocations and waits
are counted; a capture records calls, and its replay does them again.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from netspec.errors import MachineError
from runtime.backends.by_name import MAKERS, get_backend
from runtime.backends.cuda import CudaBackend
from runtime.backends.cuda.machine.convolutions import Convolution
from runtime.backends.cuda.machine.launch import CudaKernel, Launch
from runtime.backends.cuda.machine.products import Product
from runtime.backends.cuda.machine.sources import functions_of, text_of
from tests.backends.cuda.host_libraries import HostConvolution, HostProduct

HEADER = Path(__file__).with_name("host_cuda.h")
# Hidden, so that libraries do not share the static variables of inline functions, which
# shared memory is on the host. Without the headers of C++: to read those takes several
# times as long as to compile a kernel. Not optimized: that would save less in running
# than it takes, as most of several hundred variants run a few times.
FLAGS = (
    *("-std=c++17", "-O0", "-shared", "-fPIC", "-w", "-ffp-contract=off"),
    *("-fvisibility=hidden", "-nostdinc++"),
)


def compiler() -> str | None:
    """Return the C++ compiler of this machine, if there is one."""
    names = [os.environ.get("CXX", ""), "c++", "g++", "clang++"]
    return next((path for name in names if name and (path := shutil.which(name))), None)


@cache
def library(
    file: str, defines: tuple[tuple[str, str], ...], flags: tuple[str, ...] = ()
):
    """Compile a source for the host, once for every text, and load it."""
    found = compiler()
    if found is None:
        raise MachineError("no C++ compiler is on this machine")
    wrappers = "\n".join(f"HOST_KERNEL({name})" for name in functions_of(file))
    text = f"{HEADER.read_text()}\n{text_of(file)}\n{wrappers}\n"
    options = [*FLAGS, *flags, *(f"-D{name}={value}" for name, value in defines)]
    key = hashlib.sha256("\0".join([found, *options, text]).encode()).hexdigest()[:24]
    folder = Path(tempfile.gettempdir()) / f"netspec-host-kernels-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"{Path(file).stem}-{key}.so"
    if not path.exists():
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            source, built = Path(scratch) / f"{file}.cpp", Path(scratch) / "built.so"
            source.write_text(text)
            words = [found, *options, str(source), "-o", str(built)]
            # What a sanitizer needs loaded ahead is not for the compiler.
            plain = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
            subprocess.run(words, check=True, env=plain)
            built.replace(path)
    return ctypes.CDLL(str(path))


def host_backend(**options: bool) -> CudaBackend:
    """Return the CUDA backend over the device of this module."""
    if compiler() is None:
        raise MachineError("no C++ compiler, which kernels for the host device need")
    return CudaBackend(HostDevice(), **options)


def named_backend(name: str) -> CudaBackend:
    """Return a backend by name, "host" among the others; nets may be given the name."""
    MAKERS["host"] = host_backend
    return get_backend(name)


_CURRENT = threading.local()  # the device of each thread


class HostFull(MemoryError):
    """As of CuPy, where the memory of a device ends."""


class HostEvent:
    """A mark: everything before it is done, as the host does one thing at a time."""

    def record(self) -> None:
        pass

    def synchronize(self) -> None:
        pass

    def milliseconds_since(self, earlier: HostEvent) -> float:
        return 0.0


class HostFetched:
    """Bytes that are there at once."""

    def __init__(self, array: np.ndarray) -> None:
        self._bytes = np.frombuffer(array.tobytes(), np.uint8)

    def result(self) -> np.ndarray:
        return self._bytes.copy()


class HostDevice:
    """The device of this module.

    counts: what was asked for since it was last cleared.
    """

    name = "host"
    xp = np
    number = 0
    multiprocessors = 4
    stream = 0
    memory_errors = (HostFull,)

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.loaded: set[tuple[str, tuple[tuple[str, str], ...]]] = set()
        self.enter()
        self._recording: list[Callable[[], None]] | None = None
        self._staged: list[np.ndarray] = []
        self.free_bytes = 1 << 34

    def enter(self) -> None:
        _CURRENT.device = self

    def entered(self) -> bool:
        """As for CUDA, whether this is the device of the calling thread."""
        return getattr(_CURRENT, "device", None) is self

    # ------------------------------------------------------------ memory

    def zeros(self, shape: Sequence[int], dtype: str) -> np.ndarray:
        assert self._recording is None, "memory taken while a graph is captured"
        self.counts["allocations"] += 1
        return np.zeros(tuple(shape), dtype)

    def cut(self, memory, offset, shape, dtype) -> np.ndarray:
        nbytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        data = memory.reshape(-1).view(np.uint8)
        return data[offset : offset + nbytes].view(dtype).reshape(shape)

    def address(self, array: np.ndarray) -> int:
        return array.ctypes.data

    def upload(self, host: np.ndarray, out: np.ndarray) -> None:
        assert self._recording is None, "a copy from the host while a graph is captured"
        assert host.shape == out.shape
        self.counts["uploads"] += 1
        out[...] = host

    def stage(self, host: np.ndarray) -> np.ndarray:
        assert self._recording is None, "a copy from the host while a graph is captured"
        self.counts["uploads"] += 1
        self._staged = [host.copy(), *self._staged[:1]]
        return self._staged[0]

    def download(self, array: np.ndarray, out: np.ndarray) -> None:
        assert self._recording is None, "a copy to the host while a graph is captured"
        self.counts["downloads"] += 1
        out[...] = array

    def memory_bytes(self) -> tuple[int, int]:
        return self.free_bytes, 1 << 34

    # ------------------------------------------------------------ work

    def has_code(self, kernel: CudaKernel) -> bool:
        return (kernel.file, kernel.defines) in self.loaded

    def load_code(self, kernel: CudaKernel) -> None:
        library(kernel.file, kernel.defines)
        self.loaded.add((kernel.file, kernel.defines))

    def launcher(self, launch: Launch) -> Callable[[Sequence], None]:
        def run(arguments: Sequence) -> None:
            other = replace(launch, arguments=tuple(arguments))
            self.prepare_launch(other)()

        return run

    def prepare_launch(self, launch: Launch) -> Callable[[], None]:
        kernel: CudaKernel = launch.kernel
        function = kernel.function
        run = getattr(library(kernel.file, kernel.defines), f"{kernel.name}_host")
        values = []
        for value, declared in zip(launch.arguments, function.parameters, strict=True):
            if declared is None:
                address = 0 if value is None else self.address(value)
                values.append(ctypes.c_void_p(address))
            else:
                values.append(np.ctypeslib.as_ctypes_type(declared)(declared(value)))
        # Pointers by `cast` refer to themselves: the collector of garbage would have
        # many to free, and has crashed in ctypes over it (CPython 3.11).
        pointers = (ctypes.c_void_p * len(values))(*map(ctypes.addressof, values))
        grid = (ctypes.c_uint * 3)(*launch.grid, *(1,) * (3 - len(launch.grid)))
        block = (ctypes.c_uint * 3)(*launch.block, *(1,) * (3 - len(launch.block)))
        keep = (launch.arguments, values)

        def work() -> None:
            assert keep
            apart = run(grid, block, int(function.waits), pointers)
            assert not apart, f"threads of {kernel.name} left while others waited"

        def launch_it() -> None:
            self.enter()
            self._do("launches", work)

        return launch_it

    def _do(self, kind: str, work: Callable[[], None]) -> None:
        if self._recording is not None:
            self._recording.append(work)
            return
        assert self.entered(), "a library is called for the device of another backend"
        self.counts[kind] += 1
        work()

    def product(self, product: Product) -> HostProduct:
        return HostProduct(product, self._do)

    def supports(self, convolution: Convolution) -> bool:
        return True

    def convolution(self, convolution: Convolution) -> HostConvolution:
        return HostConvolution(convolution, self._do)

    def prepare_convolutions(self, convolutions: Sequence[Convolution]) -> None:
        pass

    def capture(self, run: Callable[[], None]) -> Callable[[], None]:
        assert self._recording is None, "a capture within a capture"
        self._recording = []
        try:
            run()
            recorded = self._recording
        finally:
            self._recording = None
        self.counts["captures"] += 1

        def replay() -> None:
            self.counts["graphs"] += 1
            self.counts["nodes"] += len(recorded)
            for work in recorded:
                work()

        return replay

    def fetch(self, array: np.ndarray) -> HostFetched:
        assert self._recording is None, "a copy to the host while a graph is captured"
        self.counts["fetches"] += 1
        return HostFetched(array)

    def event(self) -> HostEvent:
        return HostEvent()

    def synchronize(self) -> None:
        assert self._recording is None, "a wait while a graph is captured"
        self.counts["waits"] += 1
