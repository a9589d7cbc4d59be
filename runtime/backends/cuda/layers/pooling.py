"""Pooling of blobs with their channels last.

A maximum keeps the place of the winner in its window, one byte where the window has
fewer than 255 elements, so that the gradient reads no blob and is a gather.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from netspec.graph import Node
from netspec.ops.base import count
from netspec.ops.pooling import Pooling as PoolingOp
from runtime.arrays import ArraySpec
from runtime.backends.cuda.layer import CudaLayer, Wanted, stored_as
from runtime.backends.cuda.machine.launch import Call, CudaKernel
from runtime.backends.cuda.tensor import Blob, Order, place_of
from runtime.backends.cuda.tiles import (
    MOST_DEEP,
    THREADS,
    Tiles,
    channels_together,
    deal,
    tiles,
)

MOST_TAPS = 64  # elements of a window that one thread goes through
LONGEST = 11  # row of such a window, which is in registers
LEAST_TAPS = 16  # of a window that several share
ENOUGH = 1024  # threads of a multiprocessor, so that each may have its own window


class Pooling(CudaLayer[PoolingOp]):
    """The maximum or the average of every window; see the portable kernel.

    A maximum reads x and writes y and the winners once; its gradient reads these and
    dy and writes dx, as that of an average does.
    """

    # The last two are in the kernel and in the shape of the top.
    options = ("pool", "kernel", "stride", "pad", "global_pooling", "round_mode")

    @classmethod
    def suits(cls, op: PoolingOp) -> bool:
        """Whether it is a maximum or an average."""
        return op.pool in ("MAX", "AVE")

    @classmethod
    def wanted(cls, node: Node) -> tuple[Wanted, Wanted]:
        """Want channels last; the mask holds numbers too large for 16 bits."""
        last: Order = "last"
        tops = len(node.op.tops)
        return (
            Wanted((last,), (True,)),
            Wanted((last,) * tops, (True, False)[:tops]),
        )

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for the winners where a gradient needs them."""
        if self.op.pool == "MAX" and any(self.node.propagate):
            shape = self.op.tops[0]
            return {"won": ArraySpec((count(shape),), self._code[1], life="saved")}
        return {}

    @property
    def _code(self) -> tuple[str, str]:
        """The type of winners, in the sources and of arrays."""
        taps = count(self.op.kernel)
        for bits in (8, 16):
            if taps < 2**bits:
                return f"u{bits}", f"uint{bits}"
        return "u32", "uint32"

    def _wide(self, y: Blob) -> bool:
        """Whether a window is so large, or they are so few, that threads share it."""
        kernel = self.op.kernel
        if count(kernel) > MOST_TAPS or kernel[1] > LONGEST:
            return True
        enough = self.device.multiprocessors * ENOUGH
        few = count(y.shape) // channels_together(y) < enough
        return few and count(kernel) >= LEAST_TAPS

    def _kernel(self, name: str, blob: Any) -> CudaKernel:
        (kh, kw), (sh, sw), (ph, pw) = self.op.kernel, self.op.stride, self.op.pad
        file = "pool_wide.cu" if name.endswith("_wide") else "pool.cu"
        return stored_as(
            CudaKernel(file, name),
            blob,
            VEC=channels_together(blob),
            WON=self._code[0] if self.op.pool == "MAX" else "u8",
            KH=kh,
            KW=kw,
            SH=sh,
            SW=sw,
            PH=ph,
            PW=pw,
        )

    def _sizes(self) -> tuple[int, ...]:
        (n, c, h, w), (oh, ow) = self.op.bottoms[0], self.op.tops[0][2:]
        return n, h, w, oh, ow, c

    def _tiles(self, blob: Any) -> Tiles:
        n, c, h, w = blob.shape
        vec = channels_together(blob)
        return tiles(n, h, w, c // vec, vec * place_of(blob).itemsize)

    def forward_calls(self) -> list[Call]:
        """Return the call that computes y, the winners and the mask."""
        if count(self.op.tops[0]) == 0:
            return []
        x, y = self.x, self.y
        arguments = [x, y]
        if self.op.pool == "MAX":
            masks = self.tops[1:] or (None,)
            arguments += [self.work.get("won"), masks[0]]
        name = "max_pool" if self.op.pool == "MAX" else "average_pool"
        cut = self._tiles(y)
        if self._wide(y):
            name, cut = f"{name}_wide", self._wide_tiles(y)
        kernel = self._kernel(name, x)
        return [self.launch(kernel, cut.grid, cut.block, *arguments, *self._sizes())]

    def _wide_tiles(self, y: Any) -> Tiles:
        n, c, oh, ow = y.shape
        packs = c // channels_together(y)
        across = deal(packs)
        threads = 1 << (THREADS // across).bit_length() - 1
        wide = -(-packs // across) * ow
        deep = min(oh, MOST_DEEP), min(n, MOST_DEEP)
        return Tiles((wide, *deep), (across, threads, 1))

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Return the call that computes dx."""
        if self.dx is None or count(self.op.bottoms[0]) == 0:
            return []
        cut = self._tiles(self.dx)
        arguments = [self.dy, self.dx]
        name = "average_pool_gradient"
        if self.op.pool == "MAX":
            name = "max_pool_gradient"
            arguments = [self.work["won"], *arguments]
        kernel = self._kernel(name, self.dx)
        return [self.launch(kernel, cut.grid, cut.block, *arguments, *self._sizes())]
