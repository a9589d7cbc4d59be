"""Concat and Slice: copies along one axis, in any order of axes and any storage."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from netspec.ops import concat as ops
from netspec.ops.base import Shape
from runtime.backends.cuda.layer import CudaLayer
from runtime.backends.cuda.machine.launch import Call, CudaKernel
from runtime.backends.cuda.tensor import Blob, along, place_of

_JOIN = CudaKernel("pieces.cu", "join")
_CUT = CudaKernel("pieces.cu", "cut")
MOST = 8  # pieces of one launch


class _Pieces(CudaLayer[Any]):
    """What Concat and Slice share: eight pieces a launch, each byte moved once."""

    @property
    def _shapes(self) -> Sequence[Shape]:
        """The shapes of the pieces."""
        raise NotImplementedError

    def _copies(
        self, kernel: CudaKernel, whole: Blob, parts: Sequence[Blob | None]
    ) -> list[Call]:
        """Return the launches between a blob and the pieces of its axis."""
        outer, total, inner = along(whole, self.op.axis)
        if not outer * total * inner:
            return []
        sizes = [shape[self.op.axis] * inner for shape in self._shapes]
        item = place_of(whole).itemsize
        unit = math.gcd(16, *(size * item for size in sizes))
        widths = [size * item // unit for size in sizes]
        starts = list(itertools.accumulate(widths, initial=0))
        calls: list[Call] = []
        for first in range(0, len(parts), MOST):
            group = list(parts[first : first + MOST])
            start = starts[first]
            ends = [end - start for end in starts[first + 1 : first + 1 + MOST]]
            units = outer * ends[-1]
            unused = kernel is _CUT and all(part is None for part in group)
            if not units or unused:
                continue
            empty = MOST - len(group)
            calls.append(
                self.strided(
                    kernel.with_defines(UNIT=unit, PIECES=len(group)),
                    units,
                    whole,
                    *group,
                    *(None,) * empty,
                    *ends,
                    *(0,) * empty,
                    outer,
                    starts[-1],
                    start,
                )
            )
        return calls


class Concat(_Pieces):
    """Join blobs along one axis; see the portable kernel."""

    options = ("axis",)
    op: ops.Concat

    @property
    def _shapes(self) -> Sequence[Shape]:
        return self.op.bottoms

    def forward_calls(self) -> list[Call]:
        """Return the calls that bring every bottom to its place."""
        return self._copies(_JOIN, self.y, self.bottoms)

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Return the calls that bring every place to the gradient of its bottom."""
        if all(dx is None for dx in self.dbottoms):
            return []
        return self._copies(_CUT, self.dy, self.dbottoms)


class Slice(_Pieces):
    """Cut a blob along one axis; see the portable kernel."""

    options = ("axis", "slice_point")
    op: ops.Slice

    @property
    def _shapes(self) -> Sequence[Shape]:
        return self.op.tops

    def forward_calls(self) -> list[Call]:
        """Return the calls that bring every piece to its top."""
        return self._copies(_CUT, self.x, self.tops)

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Return the calls that join the gradients; a top without one gives 0."""
        if self.dx is None:
            return []
        return self._copies(_JOIN, self.dx, self.dtops)
