"""`CudaLayer`: what all own kernels of layers share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runtime.backends.cuda.machine.device import Device
from runtime.backends.cuda.machine.launch import (
    THREADS,
    CudaKernel,
    Launch,
    blocks_for,
)
from runtime.backends.cuda.tensor import (
    IN_SOURCES,
    Blob,
    Order,
    memory_of,
    place_of,
)
from runtime.backends.layer_kernel import LayerKernel
from runtime.layers.base import Context, OpT

if TYPE_CHECKING:
    from netspec.graph import Node

# What blobs are stored as under a precision.
STORAGE: dict[str, Any] = {
    "float32": "float32",
    "tf32": "float32",
    "bf16": "bfloat16",
    "fp16": "float16",
}


@dataclass(frozen=True)
class Wanted:
    """Where a kernel wants its blobs: their gradients lie as they do.

    An order None is any, the same for all blobs of one shape that have None. `half`
    says for every blob whether it may have a storage of 16 bits; among those of a
    kernel with `alike` all have the same storage.
    """

    orders: tuple[Order | None, ...]
    half: tuple[bool, ...]


class CudaLayer(LayerKernel[OpT]):
    """A kernel whose steps are launches on the device.

    Its blobs are plain arrays or `Tensor`s, as `wanted` says. float32 nets only.
    """

    backend: Any  # the `CudaBackend`

    @classmethod
    def wanted(cls, node: Node) -> tuple[Wanted, Wanted]:
        """Say where the bottoms and the tops are wanted: by default anywhere, alike."""
        op = node.op
        return (
            Wanted((None,) * len(op.bottoms), (True,) * len(op.bottoms)),
            Wanted((None,) * len(op.tops), (True,) * len(op.tops)),
        )

    @classmethod
    def runs_on(cls, device: Device, node: Node, context: Context) -> bool:
        """Whether a device has all that a node needs, beside own kernels."""
        return True

    def __init__(self, node: Node, context: Context) -> None:
        super().__init__(node, context)
        self.device = self.backend.device
        self.precision = context.precision

    @property
    def storage(self) -> str:
        """What blobs are stored as where they may be of 16 bits."""
        return str(STORAGE[self.precision])

    def launch(
        self,
        kernel: CudaKernel,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        *arguments: Any,
        constant: bool = False,
    ) -> Launch:
        """Return a launch; blobs among the arguments are passed as their memory."""
        given = tuple(memory_of(one) for one in arguments)
        return Launch(self.device, kernel, grid, block, given, constant=constant)

    def strided(
        self, kernel: CudaKernel, count: int, *arguments: Any, per_thread: int = 1
    ) -> Launch:
        """Return a launch of a kernel that strides through `count` elements.

        per_thread: how many of them a thread takes at once.
        """
        grid = blocks_for(-(-count // per_thread))
        return self.launch(kernel, grid, (THREADS,), *arguments)


def stored_as(kernel: CudaKernel, blob: Blob, **defines: object) -> CudaKernel:
    """Return a kernel compiled for the storage of a blob."""
    return kernel.with_defines(STORE=IN_SOURCES[place_of(blob).storage], **defines)


def channels_last(blob: Blob) -> bool:
    """Whether the channels of a blob come last in memory."""
    return place_of(blob).order == "last"


def same_place(*blobs: Blob | None) -> bool:
    """Whether all of these blobs lie in memory alike."""
    places = [place_of(one) for one in blobs if one is not None]
    return all(one == places[0] for one in places)
