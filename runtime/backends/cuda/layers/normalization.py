"""BatchNorm and Scale, also as one with a sum and a ReLU behind them.

x is kept from forward to backward as it came, beside one mean and one deviation a
channel: what was normalized is computed again from these.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from netspec.graph import Node
from netspec.ops.base import count
from netspec.ops.batch_norm import BatchNorm as BatchNormOp
from netspec.ops.scale import Scale as ScaleOp
from runtime.arrays import Array, ArraySpec
from runtime.backends.cuda.columns import TILE_THREADS, Columns
from runtime.backends.cuda.layer import CudaLayer, Wanted
from runtime.backends.cuda.machine.launch import Call, CudaKernel, Launch
from runtime.backends.cuda.tensor import CARRIERS, Blob, Order, memory_of
from runtime.layers.base import Context

_STATISTICS = CudaKernel("normalize.cu", "statistics")
_STATISTICS_WHOLE = CudaKernel("normalize.cu", "statistics_whole")
_STATISTICS_FINISH = CudaKernel("normalize.cu", "statistics_finish")
_NORMALIZE = CudaKernel("normalize.cu", "normalize")
_NORMALIZE_WHOLE = CudaKernel("normalize.cu", "normalize_whole")
_SUMS = CudaKernel("normalize.cu", "gradient_sums")
_SUMS_WHOLE = CudaKernel("normalize.cu", "gradient_sums_whole")
_SUMS_FINISH = CudaKernel("normalize.cu", "gradient_finish")
_GRADIENT = CudaKernel("normalize.cu", "gradient")
_GRADIENT_WHOLE = CudaKernel("normalize.cu", "gradient_whole")

# Up to how many rows a block takes all of them: one launch for the sums and for what
# they are for is worth more than blocks for all of the device.
WHOLE_ROWS = 2048
STREAMING = 16  # blocks for each multiprocessor, of what leaves no sums

# What `passed` gets, and which gradients pass: see normalize.cu.
PASS_MASKED, PASS_SCALED = 1, 2
MASK_BY_SIGN, MASK_BY_VALUE = 1, 2


class _ByChannel(CudaLayer[Any]):
    """A layer over blobs with the channels last, as matrices of rows by channels.

    y = (x - mean) inverse gamma + beta, where what a layer has not got is None.
    """

    mean: Array | None = None
    inverse: Array | None = None
    gamma: Array | None = None
    beta: Array | None = None

    @classmethod
    def wanted(cls, node: Node) -> tuple[Wanted, Wanted]:
        """Want the channels last."""
        channels: Order = "last"
        one = Wanted((channels,), (True,))
        return one, one

    def __init__(self, node: Node, context: Context) -> None:
        super().__init__(node, context)
        shape, storage = self.op.bottoms[0], self.storage
        self.matrix = Columns.of(self.device, shape, storage)
        self.whole = self.matrix.rows <= WHOLE_ROWS
        if self.whole:
            self.matrix = Columns.whole(shape, storage)
        self._stream = Columns.of(self.device, shape, storage, STREAMING)

    def _copy_of_x(self) -> ArraySpec:
        size = count(self.op.bottoms[0])
        return ArraySpec((size,), CARRIERS[self.storage], life="saved")

    def _normalize(
        self,
        x: Blob,
        y: Blob,
        line: Sequence[Array | None],
        *,
        added: Blob | None = None,
        saved: Array | None = None,
        weight: Array | None = None,
        normal: bool = False,
        eps: float = 0.0,
        rectified: bool = False,
    ) -> Launch:
        """Return the launch of `normalize`; line: mean, inverse, gamma, beta.

        normal: whether what was normalized is saved, instead of x.
        """
        tiles = self._stream
        defines = {"RECTIFY": int(rectified), "NORMAL": int(normal)}
        kernel = tiles.compiled(_NORMALIZE, **defines)
        mean, inverse, gamma, beta = line
        blobs, known = (x, added, y, saved), (mean, inverse, weight, gamma, beta)
        block = (TILE_THREADS,)
        return self.launch(kernel, tiles.grid, block, *blobs, *known, *tiles.sizes, eps)

    def _sums(
        self,
        dy: Blob,
        x: Blob,
        line: Sequence[Array | None],
        gradients: tuple[Array | None, Array | None],
        accumulate: Sequence[bool],
        factors: Array | None,
        *,
        more: Blob | None = None,
        sign: Blob | None = None,
        mask: int = 0,
        passed: Blob | None = None,
        passes: int = 0,
    ) -> list[Call]:
        """Return the launches that sum over channels; gradients: dgamma, dbeta."""
        tiles, block = self.matrix, (TILE_THREADS,)
        blobs = (dy, more, x, sign, passed)
        results = (*gradients, factors)
        add = (int(accumulate[0]), int(accumulate[-1]))
        defines = {"MASK": mask, "PASS": passes}
        if self.whole:
            kernel = tiles.compiled(_SUMS_WHOLE, **defines)
            given = (*blobs, *line, *results, *tiles.sizes, *add)
            return [self.launch(kernel, tiles.grid, block, *given)]
        kernel, partial = tiles.compiled(_SUMS, **defines), self.work["partial"]
        sizes = (tiles.groups, tiles.rows, tiles.columns)
        given = (*blobs, *line, partial, *tiles.sizes)
        finish = (partial, line[1], *results, *sizes, *add)
        return [
            self.launch(kernel, tiles.grid, block, *given),
            self.launch(_SUMS_FINISH, *tiles.finish, *finish),
        ]


class BatchNorm(_ByChannel):
    """See `runtime.layers.batch_norm.BatchNorm`."""

    op: BatchNormOp
    options = (
        *("channels", "use_global_stats", "moving_average_fraction", "eps"),
        "reads_bottom",  # never: blobs are not computed again there
    )

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for the statistics and x, which the gradient needs, and for sums."""
        if self.op.use_global_stats:
            return {}
        channels = self.op.channels
        specs = {
            "mean": ArraySpec((channels,), life="saved"),
            "inverse": ArraySpec((channels,), life="saved"),
            "factors": ArraySpec((2 * channels,)),
            "partial": self.matrix.partial(2),
        }
        if self.node.backward:
            specs["x"] = self._copy_of_x()
        return specs

    def setup(self) -> None:
        """Find the statistics: those of this pass, or the remembered ones."""
        if self.op.use_global_stats:
            self.mean, self.inverse, self._weight = self.params
        else:
            self.mean, self.inverse = self.work["mean"], self.work["inverse"]
            self._weight = None

    # ------------------------------------------------------------ parts of passes

    @property
    def _numbers(self) -> tuple[float, float, float]:
        """Return what kernels of statistics need: eps, fraction, correction."""
        op, rows = self.op, self.matrix.rows
        correction = rows / (rows - 1) if rows > 1 else 1.0
        return op.eps, op.moving_average_fraction, correction

    def statistics(self, x: Blob) -> list[Call]:
        """Return the calls that measure x and update the remembered sums."""
        if self.op.use_global_stats:
            return []
        tiles, block = self.matrix, (TILE_THREADS,)
        kept = (self.mean, self.inverse, *self.params)
        if self.whole:
            kernel = tiles.compiled(_STATISTICS_WHOLE)
            given = (x, *kept, *tiles.sizes, *self._numbers)
            return [self.launch(kernel, tiles.grid, block, *given)]
        kernel, partial = tiles.compiled(_STATISTICS), self.work["partial"]
        sizes = (tiles.groups, tiles.rows, tiles.columns, tiles.chunk)
        finish = (partial, *kept, *sizes, *self._numbers)
        return [
            self.launch(kernel, tiles.grid, block, x, partial, *tiles.sizes),
            self.launch(_STATISTICS_FINISH, *tiles.finish, *finish),
        ]

    def normalized(
        self, x: Blob, y: Blob, scale: Scale | None = None, *, rectified: bool = False
    ) -> list[Call]:
        """Return the calls of `statistics` and of `applied`, for one and the same x."""
        if self.op.use_global_stats or not self.whole:
            return [
                *self.statistics(x),
                self.applied(x, y, scale, rectified=rectified),
            ]
        tiles = self.matrix
        kernel = tiles.compiled(_NORMALIZE_WHOLE, RECTIFY=int(rectified))
        blobs = (x, y, self._saved_from(x))
        line = self._line(scale)[2:]
        kept = (self.mean, self.inverse, *self.params)
        given = (*blobs, *kept, *line, *tiles.sizes, *self._numbers)
        return [self.launch(kernel, tiles.grid, (TILE_THREADS,), *given)]

    def applied(
        self,
        x: Blob,
        y: Blob,
        scale: Scale | None = None,
        *,
        added: Blob | None = None,
        rectified: bool = False,
    ) -> Launch:
        """Return the launch that normalizes x, and what follows as one with that.

        y = (x - mean) inverse gamma + beta + added, and 0 for less if `rectified`
        """
        normal = None
        if scale is not None and self.op.use_global_stats:
            normal = scale.work.get("x")  # which its gradient reads
        return self._normalize(
            x,
            y,
            self._line(scale),
            added=added,
            saved=self._saved_from(x) if normal is None else normal,
            normal=normal is not None,
            weight=self._weight,
            eps=self.op.eps,
            rectified=rectified,
        )

    def _saved_from(self, x: Blob) -> Array | None:
        """Return where x is to be kept, or None where it is not or is there already."""
        saved, address = self.work.get("x"), self.device.address
        if saved is None or address(memory_of(x)) == address(saved):
            return None
        return saved

    def _line(self, scale: Scale | None) -> tuple[Array | None, ...]:
        if scale is None:
            return self.mean, self.inverse, None, None
        return self.mean, self.inverse, scale.gamma, scale.beta

    def summed(
        self,
        dy: Blob,
        scale: Scale | None = None,
        accumulate: Sequence[bool] = (False,),
        **masked: Any,
    ) -> list[Call]:
        """Return the calls that sum the gradient dy of `applied` over channels.

        They give the gradients of gamma and beta and what `derived` needs. masked: as
        `_sums` takes it.
        """
        given = (dy, self.work["x"], self._line(scale), _gradients(scale), accumulate)
        return self._sums(*given, self.work["factors"], **masked)

    def derived(
        self,
        dy: Blob,
        dx: Blob,
        scale: Scale | None = None,
        *,
        mask: int = 0,
        passed: Blob | None = None,
        passes: int = 0,
    ) -> Launch:
        """Return the launch that computes dx after `summed`."""
        tiles = self._stream
        kernel = tiles.compiled(_GRADIENT, MASK=mask, PASS=passes)
        blobs, factors = (dy, self.work["x"], dx, passed), self.work["factors"]
        return self.launch(
            kernel,
            tiles.grid,
            (TILE_THREADS,),
            *blobs,
            *self._line(scale),
            factors,
            *tiles.sizes,
        )

    def gradients(
        self,
        dy: Blob,
        dx: Blob,
        scale: Scale | None = None,
        accumulate: Sequence[bool] = (False,),
        *,
        mask: int = 0,
        **passed: Any,
    ) -> list[Call]:
        """Return the calls of `summed` and of `derived`, for one and the same dy."""
        if not self.whole:
            return [
                *self.summed(dy, scale, accumulate, mask=mask),
                self.derived(dy, dx, scale, mask=mask, **passed),
            ]
        tiles = self.matrix
        defines = {"MASK": mask, "PASS": passed.get("passes", 0)}
        kernel = tiles.compiled(_GRADIENT_WHOLE, **defines)
        blobs = (dy, self.work["x"], dx, passed.get("passed"))
        add = (int(accumulate[0]), int(accumulate[-1]))
        given = (*blobs, *self._line(scale), *_gradients(scale), *tiles.sizes, *add)
        return [self.launch(kernel, tiles.grid, (TILE_THREADS,), *given)]

    # ------------------------------------------------------------ by itself

    def forward_calls(self) -> list[Call]:
        """Return the calls that compute y and update the sums."""
        return self.normalized(self.x, self.y)

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Return the calls that compute dx."""
        if self.dx is None:
            return []
        if self.op.use_global_stats:
            line, eps = (None, self.inverse, None, None), self.op.eps
            weight = self._weight
            return [self._normalize(self.dy, self.dx, line, weight=weight, eps=eps)]
        return self.gradients(self.dy, self.dx)


class Scale(_ByChannel):
    """See `runtime.layers.scale.Scale`: a parameter for every channel.

    `behind` is the BatchNorm that this layer follows in place: what that normalized is
    this layer's x, so that no copy is kept.
    """

    op: ScaleOp
    options = ("axis", "scale_shape", "bias_term", "over_bottom")
    behind: BatchNorm | None = None

    @classmethod
    def suits(cls, op: ScaleOp) -> bool:
        """Whether the scale is a parameter along the channels."""
        x = op.bottoms[0]
        return len(op.bottoms) == 1 and op.axis == 1 and op.scale_shape == x[1:2]

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for sums, and for a copy of x where y is written over it."""
        specs = {}
        if any(self.node.learn):
            specs["partial"] = self.matrix.partial(2)
        in_place = 0 not in self.op.backward_bottoms
        if self.node.learn[0] and in_place and self.behind is None:
            specs["x"] = self._copy_of_x()
        return specs

    def setup(self) -> None:
        """Find the parameters and their gradients."""
        self.gamma, self.beta, dbeta = self.params[0], None, None
        if self.op.bias_term:
            self.beta, dbeta = self.params[1], self.dparams[1]
        self.gradients = (self.dparams[0], dbeta)

    def forward_calls(self) -> list[Call]:
        """Return the call that computes y."""
        line, saved = (None, None, self.gamma, self.beta), self.work.get("x")
        return [self._normalize(self.x, self.y, line, saved=saved)]

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Return the calls that compute the wanted gradients."""
        if all(one is None for one in self.gradients):
            if self.dx is None:
                return []
            line = (None, None, self.gamma, None)
            return [self._normalize(self.dy, self.dx, line)]
        x, mean, inverse = self.work.get("x", self.x), None, None
        if self.gradients[0] is None:
            x = self.dy  # nobody looks at the sum of products
        elif self.behind is not None:
            norm = self.behind
            x, mean, inverse = norm.work["x"], norm.mean, norm.inverse
        line = (mean, inverse, self.gamma, None)
        passes = PASS_SCALED if self.dx is not None else 0
        given = (self.dy, x, line, self.gradients, accumulate, None)
        return self._sums(*given, passed=self.dx, passes=passes)


def _gradients(scale: Scale | None) -> tuple[Array | None, Array | None]:
    """Return the gradients of gamma and beta."""
    return (None, None) if scale is None else scale.gradients
