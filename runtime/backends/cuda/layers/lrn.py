"""Local response normalization of blobs with their channels last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from netspec.graph import Node
from netspec.ops.base import count
from netspec.ops.lrn import LRN as LrnOp  # noqa: N811
from runtime.arrays import ArraySpec
from runtime.backends.cuda.layer import CudaLayer, Wanted, stored_as
from runtime.backends.cuda.machine.launch import Call, CudaKernel, Launch
from runtime.backends.cuda.tensor import place_of
from runtime.backends.cuda.tiles import channels_together, tiles

_ACROSS = CudaKernel("lrn.cu", "lrn")
_ACROSS_GRADIENT = CudaKernel("lrn.cu", "lrn_gradient")
_WINDOWS = CudaKernel("lrn_windows.cu", "lrn_windows")
_TERMS = CudaKernel("lrn_windows.cu", "lrn_terms")
_WINDOWS_GRADIENT = CudaKernel("lrn_windows.cu", "lrn_windows_gradient")
LONGEST = 9  # window across channels that registers hold
POWERS = {0.75: 75, 0.5: 50}  # made of roots; see lrn.cuh


class LRN(CudaLayer[LrnOp]):
    """Divide every value by a power of the energy around it; see the portable kernel.

    Nothing is kept for the gradient, which computes s anew. Across channels it is one
    launch that reads x and dy and writes dx; else two, with an array of terms between
    them.
    """

    options = ("local_size", "alpha", "beta", "k", "norm_region")

    @classmethod
    def wanted(cls, node: Node) -> tuple[Wanted, Wanted]:
        """Want channels last."""
        return Wanted(("last",), (True,)), Wanted(("last",), (True,))

    @property
    def _across(self) -> bool:
        return self.op.norm_region == "ACROSS_CHANNELS"

    @property
    def _near(self) -> bool:
        """Whether a thread holds its window in registers."""
        return self._across and self.op.local_size <= LONGEST

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for the terms of a gradient in two launches."""
        if self._near or not any(self.node.propagate):
            return {}
        return {"terms": ArraySpec((count(self.op.tops[0]),), "float32")}

    def _launch(self, kernel: CudaKernel, *arguments: Any, factor: bool) -> Launch:
        op, x = self.op, self.x
        size = op.local_size if self._across else op.local_size**2
        share, k = op.alpha / size, op.k if self._across else 1.0
        numbers = [share, k, op.beta]
        if factor:
            numbers.append(2 * share * op.beta)
        n, c, h, w = op.bottoms[0]
        vec = channels_together(x)
        defines = {"HALF": op.local_size // 2, "POWER": POWERS.get(op.beta, 0)}
        if self._near:
            kernel = stored_as(kernel, x, VEC=vec, CHANNELS=c, **defines)
            packs = count(op.bottoms[0]) // vec
            return self.strided(kernel, packs, *arguments, packs, *numbers)
        if self._across:
            vec = 1
        kernel = stored_as(kernel, x, VEC=vec, WITHIN=int(not self._across), **defines)
        cut = tiles(n, h, w, c // vec, vec * place_of(x).itemsize)
        sizes = (n, h, w, c)
        return self.launch(kernel, cut.grid, cut.block, *arguments, *sizes, *numbers)

    def forward_calls(self) -> list[Call]:
        """Return the call that computes y."""
        if not count(self.op.tops[0]):
            return []
        kernel = _ACROSS if self._near else _WINDOWS
        return [self._launch(kernel, self.x, self.y, factor=False)]

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Return the calls that compute dx."""
        x, dx, dy = self.x, self.dx, self.dy
        if dx is None or not count(self.op.tops[0]):
            return []
        if self._near:
            return [self._launch(_ACROSS_GRADIENT, x, dy, dx, factor=True)]
        terms = self.work["terms"]
        return [
            self._launch(_TERMS, x, dy, terms, factor=False),
            self._launch(_WINDOWS_GRADIENT, x, dy, terms, dx, factor=True),
        ]
