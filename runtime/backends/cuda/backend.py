"""The backend of NVIDIA GPUs, over a `Device`."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from netspec.errors import SpecError
from netspec.ops.base import Shape, count
from runtime.arrays import Array
from runtime.backends.base import PRECISIONS, Backend, Fusion, Iterations
from runtime.backends.cuda.arrange import arrange
from runtime.backends.cuda.converted import Converted, bare
from runtime.backends.cuda.machine.device import Device
from runtime.backends.cuda.machine.launch import Call, Launch
from runtime.backends.cuda.machine.program import Program
from runtime.backends.cuda.tensor import Blob, Place, Tensor, conversion, made
from runtime.distributed.communicator import Group
from runtime.layers.base import Context, Kernel

if TYPE_CHECKING:
    from netspec.graph import Graph, Node
    from runtime.backends.cuda.layer import CudaLayer
    from runtime.update_rules import Update, WholeUpdate


STAGED_BYTES = 1 << 16  # from which a batch is copied beside other work


class CudaBackend(Backend):
    """Arrays in the memory of one device.

    Nets of float32 run on own kernels where there are any; what has none, and nets of
    float64, run on the portable kernels, which are the oracle on the device.

    Args:
        device: what does the work.
        own_kernels: False for the portable kernels alone.
        graphs: whether the calls of a pass are recorded as a CUDA graph and launched
            as one.
    """

    block_elements: ClassVar[int] = 1 << 26  # few launches matter more than caches
    precisions: ClassVar[Sequence[str]] = PRECISIONS
    threads = 1

    def __init__(
        self, device: Device, *, own_kernels: bool = True, graphs: bool = True
    ) -> None:
        super().__init__(device.xp)
        self.name = device.name  # type: ignore[misc]
        self.device, self.graphs = device, graphs
        self.on_host = False
        self.random_block = 1 << 22
        self._own = own_kernels
        self._spare: Array | None = None

    def check_precision(self, precision: str, dtype: str) -> None:
        """Refuse a precision that the kernels do not have; raises `SpecError`."""
        super().check_precision(precision, dtype)
        if precision != "float32" and not self._own:
            raise SpecError(
                f"precision {precision!r} needs own kernels, but kernels is "
                f"'portable', which compute in float32; leave one of them out"
            )

    # ------------------------------------------------------------ memory

    def zeros(self, shape: Sequence[int], dtype: str) -> Array:
        """Return a new array of zeros on the device."""
        return self.device.zeros(shape, dtype)

    def ran_out(self, error: MemoryError) -> bool:
        """Say whether an error means that the device has no more memory."""
        return isinstance(error, self.device.memory_errors)

    def room_bytes(self) -> int | None:
        """Return how many bytes the device has left."""
        return self.device.memory_bytes()[0]

    def cut(
        self, memory: Array, offset: int, shape: Sequence[int], dtype: str
    ) -> Array:
        """Return the array that starts at a byte of `memory`."""
        return self.device.cut(memory, offset, tuple(shape), dtype)

    def blob(
        self,
        cut: Callable[[Shape, str], Array],
        shape: Shape,
        dtype: str,
        place: Any,
    ) -> Blob:
        """Return a blob in memory that `cut(shape, dtype)` gives."""
        return cut(shape, dtype) if place is None else made(cut, shape, place, dtype)

    def upload(self, host: np.ndarray, out: Blob) -> None:
        """Copy a host array into a blob or an array of the same shape."""
        values = np.asarray(host, out.dtype).reshape(out.shape)
        if isinstance(out, Tensor):
            plain = self._plain(out.shape)
            self.device.upload(values, plain)
            self.copy(plain, out)
        else:
            self.device.upload(values, out)

    def feed(self, host: np.ndarray, out: Blob) -> None:
        """Copy a batch into a blob; the device goes on with its work meanwhile.

        It has two buffers for each size of batch, and the host as many.
        """
        values = np.asarray(host, out.dtype).reshape(out.shape)
        if values.nbytes < STAGED_BYTES:
            self.upload(values, out)
        else:
            self.copy(self.device.stage(values), out)

    def download(self, array: Blob, out: np.ndarray) -> None:
        """Copy a blob or an array into a host array of the same shape."""
        if isinstance(array, Tensor):
            plain = self._plain(array.shape)
            self.copy(array, plain)
            array = plain
        self.device.download(array, out)

    def _plain(self, shape: Shape) -> Array:
        """Return a plain array to convert by, valid until the next call."""
        nbytes = 4 * count(shape)
        if self._spare is None or self._spare.size < nbytes:
            self._spare = self.device.zeros((nbytes,), "uint8")
        return self.device.cut(self._spare, 0, shape, "float32")

    def copy(self, source: Blob, out: Blob) -> None:
        """Copy a blob to another one of equal shape."""
        if isinstance(source, Tensor) or isinstance(out, Tensor):
            conversion(self.device, source, out)()
        else:
            self.device.enter()
            self.xp.copyto(out, source)

    def fill(self, out: Blob, value: float) -> None:
        """Set all values of a blob."""
        if isinstance(out, Tensor):
            self.upload(np.full(out.shape, value, "float32"), out)
        else:
            self.device.enter()
            out.fill(value)

    def total(self, array: Blob) -> float:
        """Return the sum of a blob's values; waits for the device."""
        if isinstance(array, Tensor):
            host = np.empty(array.shape, "float32")
            self.download(array, host)
            return float(host.sum(dtype="float64"))
        self.device.enter()
        return float(array.sum())

    def synchronize(self) -> None:
        """Wait until everything asked of the device is done."""
        self.device.synchronize()

    @property
    def group(self) -> Group | None:
        """What adds up arrays over the devices of several processes, if there is."""
        return self.device.group

    # ------------------------------------------------------------ kernels

    def kernel(self, node: Node, dtype: str) -> Callable[[Node, Context], Kernel[Any]]:
        """Return what makes the kernel of a node: an own one or the portable one."""
        portable = super().kernel(node, dtype)
        own = [one for one in self._kernels.get(node.type, ()) if one.fits(node)]
        if dtype != "float32" or not own:
            return partial(Converted, portable)

        def make(node: Node, context: Context) -> Kernel[Any]:
            device = self.device
            able = [one for one in own if one.runs_on(device, node, context)]
            return Converted(able[0] if able else portable, node, context)

        return make

    def synced_norm(
        self, node: Node, dtype: str
    ) -> Callable[[Node, Context], Kernel[Any]]:
        """Return what makes the portable kernel, on the device."""
        return partial(Converted, super().synced_norm(node, dtype))

    @cached_property
    def _kernels(self) -> Mapping[str, Sequence[type[CudaLayer[Any]]]]:
        if not self._own:
            return {}
        from runtime.backends.cuda.table import KERNELS

        return KERNELS

    def arrange(
        self, graph: Graph, kernels: Sequence[Kernel[Any]], context: Context
    ) -> tuple[Sequence[Place | None], Sequence[Kernel[Any]]]:
        """Choose where every blob lies; kernels get theirs where they want them."""
        if context.dtype != "float32":
            return [None] * len(graph.edges), [bare(kernel) for kernel in kernels]
        return arrange(graph, kernels, context.precision)

    def runner(self, calls: Sequence[Call]) -> Callable[[], None]:
        """Return a function that does calls in order, later as a graph."""
        return Program(self.device, calls, graphs=self.graphs)

    def prepare(self, calls: Sequence[Call]) -> None:
        """Compile the kernels of these calls, or load them."""
        launches = (call for call in calls if isinstance(call, Launch))
        # A source has many kernels, and is compiled once for each set of macros.
        sources = {(one.kernel.file, one.kernel.defines): one for one in launches}
        missing = [
            one.kernel
            for one in sources.values()
            if not self.device.has_code(one.kernel)
        ]
        if not missing:
            return
        with self.compilation.taking_time():
            for done, one in enumerate(missing):
                self.compilation.tell(done, len(missing))
                self.device.load_code(one)
            self.compilation.tell(len(missing), len(missing))

    def fusion(
        self,
        graph: Graph,
        kernels: Sequence[Kernel[Any]],
        keep: Container[str] | None = None,
    ) -> Fusion | None:
        """Find layers that run as one, before the kernels ask for arrays.

        keep: the names of the blobs that are kept, None for all.
        """
        if not self._own:
            return None
        from runtime.backends.cuda import fusion, joined

        groups = fusion.Fusion(graph, kernels, keep)
        bares = [bare(kernel) for kernel in kernels]
        found = [getattr(kernel, "convolutions", {}) for kernel in bares]
        with self.compilation.taking_time():
            self.device.prepare_convolutions([c for one in found for c in one.values()])
        return joined.Joined(self.device, graph, kernels, groups)

    def whole_update(
        self, update: Update, precision: str = "float32"
    ) -> WholeUpdate | None:
        """Return the update rule as launches, if there is one, for float32."""
        from runtime.backends.cuda.updates import RULES, FusedUpdate, Scaling

        if not self._own or update.type not in RULES:
            return None
        if update.flat.data.dtype != np.float32:
            return None
        scaling = Scaling() if precision == "fp16" else None
        return FusedUpdate(self.device, self.runner, update, scaling=scaling)

    def iterations(self, update: Update, losses: int) -> Iterations | None:
        """Return what runs whole iterations with an update rule."""
        from runtime.backends.cuda import iteration
        from runtime.backends.cuda.updates import FusedUpdate

        if not isinstance(update.whole, FusedUpdate):
            return None
        return iteration.Iterations(self.device, update.whole, losses)
