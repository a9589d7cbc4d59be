"""Scale and Bias: multiplying by, or adding, a smaller array that is broadcast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from netspec.graph import Node
from netspec.ops import Shape
from netspec.ops.base import count
from netspec.ops.scale import Bias as BiasOp
from netspec.ops.scale import Scale as ScaleOp
from runtime.arrays import Array, ArraySpec
from runtime.backends.cuda.columns import REDUCING, Columns
from runtime.backends.cuda.layer import CudaLayer, Wanted, stored_as
from runtime.backends.cuda.machine.launch import THREADS, Call, CudaKernel
from runtime.backends.cuda.tensor import Blob, Order, along, place_of
from runtime.backends.cuda.tiles import together

_COLUMNS = CudaKernel("scale.cu", "scale_columns")
_COLUMNS_GRADIENT = CudaKernel("scale.cu", "scale_columns_gradient")
_PLANES = CudaKernel("scale.cu", "scale_planes")
_PLANES_GRADIENT = CudaKernel("scale.cu", "scale_planes_gradient")
_FINISH = CudaKernel("scale.cu", "scale_finish")
MOST_COLUMNS = 256  # of a block, in any storage


class _Broadcast(CudaLayer[Any]):
    """y = x s + b, with s or b left out; all gradients of a layer in one pass.

    Forward reads x and writes y; the gradients read dy and x and write dx, and a
    second launch adds up what the blocks leave, in a fixed order.
    """

    @classmethod
    def covered(cls, op: Any) -> Shape:
        """Return the shape of the smaller array."""
        raise NotImplementedError

    @classmethod
    def wanted(cls, node: Node) -> tuple[Wanted, Wanted]:
        """Want Caffe's order where the smaller array has several axes."""
        op: Any = node.op
        order: Order | None = None if len(cls.covered(op)) < 2 else "first"
        orders: tuple[Order | None, ...] = (order, "first")
        two = len(op.bottoms)
        return Wanted(orders[:two], (True, False)[:two]), Wanted((order,), (True,))

    @property
    def _two(self) -> bool:
        """Whether the smaller array is the second bottom."""
        return len(self.op.bottoms) > 1

    @property
    def _small(self) -> Shape:
        return self.covered(self.op)

    @property
    def _learns(self) -> bool:
        """Whether the smaller array has a gradient."""
        return any(self.node.learn) or any(self.node.propagate[1:])

    def _keeps(self) -> bool:
        """Whether x is needed after it has been written over."""
        return False

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for partial sums, and for a copy of x where y is written over it."""
        specs = {}
        if self._learns:
            size = max(1, count(self._small))
            blocks = self.device.multiprocessors * REDUCING
            groups = min(blocks, blocks * MOST_COLUMNS // size + 1)
            specs["partial"] = ArraySpec((2 * size * groups,), "float32")
        if self._keeps():
            specs["x"] = ArraySpec((count(self.op.bottoms[0]),), "float32", "saved")
        return specs

    @cached_property
    def _cut(self) -> tuple[int, int, int]:
        """The first bottom as memory has it: (outer, covered, inner)."""
        small, x, axis = self._small, self.x, self.op.axis
        if len(small) == 1:
            return along(x, axis)
        shape = x.shape
        return count(shape, 0, axis), count(small), count(shape, axis + len(small))

    @property
    def _matrix(self) -> Columns:
        outer, covered, _ = self._cut
        storage = place_of(self.x).storage
        return Columns.of(self.device, (outer, covered), storage)

    def _apply(
        self,
        x: Blob,
        scale: Array | None,
        shift: Array | None,
        y: Blob,
        kept: Array | None = None,
    ) -> list[Call]:
        """Return the call that computes y = x scale + shift."""
        _, covered, inner = self._cut
        if not count(x.shape):
            return []
        blobs = (x, scale, shift, y, kept)
        if inner == 1:
            matrix = self._matrix
            kernel = matrix.compiled(_COLUMNS)
            sizes = matrix.sizes
            return [self.launch(kernel, matrix.grid, (THREADS,), *blobs, *sizes)]
        vec = together(inner, itemsize=place_of(x).itemsize)
        packs = count(x.shape) // vec
        kernel = stored_as(_PLANES, x, VEC=vec)
        return [self.strided(kernel, packs, *blobs, packs, covered, inner // vec)]

    def _gradients(
        self,
        x: Blob | None,
        scale: Array | None,
        results: tuple[Array | None, Array | None],
        add: tuple[bool, bool],
    ) -> list[Call]:
        """Return the calls that compute dx and the sums of dy x and of dy.

        results: what gets these sums, or None; add: where they are added to it.
        """
        dx, dy = self.dx, self.dy
        if scale is None and dx is dy:
            dx = None
        if all(one is None for one in results):
            return [] if dx is None else self._apply(dy, scale, None, dx)
        outer, covered, inner = self._cut
        if not covered:
            return []
        partial = self.work["partial"]
        blobs = (dy, x, scale, dx, partial)
        matrix = self._matrix
        if inner == 1:
            groups = matrix.groups
            kernel = matrix.compiled(_COLUMNS_GRADIENT)
            sizes: tuple[int, ...] = matrix.sizes
            grid: tuple[int, ...] = matrix.grid
        else:
            places = outer * inner
            most = self.device.multiprocessors * REDUCING // covered
            groups = max(1, min(most, -(-places // THREADS)))
            chunk = max(1, -(-places // groups))
            kernel = stored_as(_PLANES_GRADIENT, dy)
            sizes, grid = (places, covered, inner, chunk), (covered, groups)
        first = self.launch(kernel, grid, (THREADS,), *blobs, *sizes)
        tiles = replace(matrix, rows=groups, chunk=1, columns=2 * covered, vector=1)
        last = self.launch(
            _FINISH, *tiles.finish, partial, *results, groups, covered, *map(int, add)
        )
        return [first, last]


class BroadScale(_Broadcast):
    """Multiply by a smaller array, and add one; see the portable kernel of Scale.

    The usual case, a parameter for every channel, is in `normalization.py`.
    """

    options = ("axis", "scale_shape", "bias_term", "over_bottom")
    op: ScaleOp

    @classmethod
    def covered(cls, op: ScaleOp) -> Shape:
        """Return the shape of the scale."""
        return op.scale_shape

    def _keeps(self) -> bool:
        node = self.node
        learns = node.propagate[1] if self._two else node.learn[0]
        return bool(learns) and 0 not in self.op.backward_bottoms

    @property
    def _scale(self) -> Array:
        return self.bottoms[1] if self._two else self.params[0]

    def forward_calls(self) -> list[Call]:
        """Return the call that computes y."""
        shift = self.params[-1] if self.op.bias_term else None
        return self._apply(self.x, self._scale, shift, self.y, self.work.get("x"))

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Return the calls that compute the wanted gradients."""
        dscale = self.dbottoms[1] if self._two else self.dparams[0]
        dshift = self.dparams[-1] if self.op.bias_term else None
        add_scale = not self._two and accumulate[0]
        add_shift = self.op.bias_term and accumulate[-1]
        x = None if dscale is None else self.work.get("x", self.x)
        add = (add_scale, add_shift)
        return self._gradients(x, self._scale, (dscale, dshift), add)


class Bias(_Broadcast):
    """Add a smaller array; see the portable kernel."""

    options = ("axis", "bias_shape")
    op: BiasOp

    @classmethod
    def covered(cls, op: BiasOp) -> Shape:
        """Return the shape of the bias."""
        return op.bias_shape

    def forward_calls(self) -> list[Call]:
        """Return the call that computes y."""
        shift = self.bottoms[1] if self._two else self.params[0]
        return self._apply(self.x, None, shift, self.y)

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Return the calls that compute the wanted gradients."""
        dshift = self.dbottoms[1] if self._two else self.dparams[0]
        add = not self._two and accumulate[0]
        return self._gradients(None, None, (None, dshift), (False, add))
