"""Convolution by the compiled kernels of `runtime.backends.cpu.correlate`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from netspec.graph import Node
from netspec.ops.base import count
from netspec.ops.convolution import Convolution as ConvolutionOp
from runtime.backends.cpu.compiled import Call
from runtime.backends.cpu.correlate import (
    TILE,
    add_partial_weights,
    correlate,
    correlate_weights,
    pack_weights,
)
from runtime.backends.cpu.kernel import CompiledKernel, round_up
from runtime.backends.cpu.simd import LANES, ROWS
from runtime.layers.base import Array, ArraySpec

PANEL_PLACES = 4 * TILE  # of a full panel
BLOCK_DEPTH = 384  # about as many k are packed at a time: a panel stays in the L2 cache
CHUNKS = 4  # gradients of small weights are summed in so many parts
SMALL_WEIGHTS = 1 << 18  # elements


@dataclass(frozen=True)
class Taps:
    """Where a correlation looks, and which weight it takes there.

    rows, columns: the offsets of the taps from the place times the steps.
    index: the place of each tap in a window of weights.
    """

    rows: np.ndarray
    columns: np.ndarray
    index: np.ndarray


@dataclass(frozen=True)
class Correlation:
    """The geometry of a correlation from x (N, G C, H, W) to y (N, G R, ...).

    places: (height, width) of the places that are computed; place (i, j) lies at
    (first[0] + steps_out[0] i, first[1] + steps_out[1] j) of y.
    """

    images: int
    groups: int
    channels: int
    rows: int
    sizes: tuple[int, int]
    sizes_out: tuple[int, int]
    places: tuple[int, int]
    taps: Taps
    steps: tuple[int, int]
    steps_out: tuple[int, int] = (1, 1)
    first: tuple[int, int] = (0, 0)
    threads: int = 1
    packing: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "packing", self._packing())

    @property
    def all_places(self) -> int:
        return self.images * count(self.places)

    @property
    def depth(self) -> int:
        return self.channels * len(self.taps.index)

    @property
    def panel_places(self) -> int:
        """Places of a panel: few enough that every thread has one."""
        panels = -(-self.all_places // PANEL_PLACES)
        panels = round_up(panels, self.threads) if self.all_places > TILE else panels
        return max(LANES, round_up(-(-self.all_places // panels), LANES))

    @property
    def channel_block(self) -> int:
        """Channels packed at a time; with several blocks, k is a multiple of ROWS."""
        taps = len(self.taps.index)
        step = ROWS // int(np.gcd(taps, ROWS))
        if self.depth <= BLOCK_DEPTH or self.channels <= step:
            return self.channels
        block = max(step, BLOCK_DEPTH // taps // step * step)
        blocks = -(-self.channels // block)
        return min(block, round_up(-(-self.channels // blocks), step))

    @property
    def padded_depth(self) -> int:
        return round_up(self.depth, ROWS)

    @property
    def packed_size(self) -> int:
        """Elements of the packed weights."""
        return self.groups * round_up(self.rows, ROWS) * self.depth

    @property
    def packed_biases(self) -> int:
        return self.groups * round_up(self.rows, ROWS)

    def _packing(self) -> dict[str, Any]:
        rows, columns = self.taps.rows, self.taps.columns
        first_row, first_column = int(rows.min()), int(columns.min())
        span = int(rows.max()) - first_row + 1
        column_span = int(columns.max()) - first_column + 1
        row_step, column_step = self.steps
        pitch = min(row_step, span)
        phases = min(column_step, column_span)
        phase_length = self.places[1] + (column_span - 1) // column_step
        row_length = phases * phase_length
        direct = (
            len(rows) == 1
            and self.steps == (1, 1)
            and self.places == self.sizes
            and first_row == first_column == 0
        )
        u, v = rows - first_row, columns - first_column
        line = u // row_step * pitch + u % row_step if span < row_step else u
        offsets = 4 * (
            line * row_length + v % column_step * phase_length + v // column_step
        )
        if direct:
            offsets = np.zeros(1, np.int64)
        return {
            "channels": self.channels,
            "height": self.sizes[0],
            "width": self.sizes[1],
            "out_height": self.places[0],
            "out_width": self.places[1],
            "images": self.images,
            "groups": self.groups,
            "taps": len(rows),
            "tap_offsets": np.ascontiguousarray(offsets, np.int64),
            "direct": int(direct),
            "row_step": row_step,
            "pitch": pitch,
            "span": span,
            "first_row": first_row,
            "column_step": column_step,
            "phases": phases,
            "phase_length": phase_length,
            "first_column": first_column,
            "panel_places": self.panel_places,
            "channel_block": self.channel_block,
        }

    def kept_rows(self) -> int:
        """Return the most rows of a channel that a panel keeps."""
        if self.packing["direct"]:
            return 0
        height, width = self.places
        pitch, span = self.packing["pitch"], self.packing["span"]
        plane = height * width
        whole, rest = divmod(self.panel_places, plane)
        # Every image touched adds a span; rows of places are cut at both ends.
        images = min(self.images, whole + 2)
        lines = min(images * height, -(-self.panel_places // width) + 2 * images)
        return (
            (lines - images) * pitch + images * span
            if lines > images
            else (images * span)
        )

    def workspace(self, other: int) -> dict[str, int]:
        """Lay out the workspace of a thread; `other`: elements at its end."""
        block_depth = self.channel_block * len(self.taps.index)
        panel = round_up(block_depth, ROWS) * round_up(self.panel_places, LANES)
        row_length = self.packing["phases"] * self.packing["phase_length"]
        rows = self.channel_block * self.kept_rows() * row_length
        panel_at = 64
        rows_at = panel_at + round_up(4 * panel, 64)
        other_at = rows_at + round_up(4 * (rows + LANES), 64)
        return {
            "panel_at": panel_at,
            "rows_at": rows_at,
            "other_at": other_at,
            "workspace_bytes": round_up(other_at + 4 * other, 64) + 64,
        }

    @property
    def forward_workspace(self) -> dict[str, int]:
        blocks = round_up(self.rows, ROWS)
        return self.workspace(blocks * round_up(self.panel_places, LANES))

    @property
    def weights_workspace(self) -> dict[str, int]:
        width = round_up(self.rows, LANES)
        return self.workspace((self.panel_places + LANES) * width)

    @property
    def chunk_places(self) -> int:
        """Places of a chunk of the gradient of the weights."""
        small = self.groups * self.rows * self.depth <= SMALL_WEIGHTS
        return max(1, -(-self.all_places // (CHUNKS if small else 1)))

    @property
    def chunks(self) -> int:
        return -(-self.all_places // self.chunk_places)

    @property
    def partial_size(self) -> int:
        """Elements of the parts of the gradient of the weights, and of the bias."""
        width = round_up(self.rows, LANES)
        return self.groups * self.chunks * width * (self.padded_depth + 1)


def forward_geometry(op: ConvolutionOp, threads: int) -> Correlation:
    """Return the correlation that the layer computes."""
    (n, c, h, w), (_, o, oh, ow) = op.bottoms[0], op.tops[0]
    kh, kw = op.kernel
    i, j = np.divmod(np.arange(kh * kw), kw)
    taps = Taps(
        i * op.dilation[0] - op.pad[0],
        j * op.dilation[1] - op.pad[1],
        np.arange(kh * kw),
    )
    return Correlation(
        images=n,
        groups=op.group,
        channels=c // op.group,
        rows=o // op.group,
        sizes=(h, w),
        sizes_out=(oh, ow),
        places=(oh, ow),
        taps=taps,
        steps=(op.stride[0], op.stride[1]),
        threads=threads,
    )


def backward_geometries(op: ConvolutionOp, threads: int) -> list[Correlation]:
    """Return the correlations that make the gradient of x, one for each residue.

    x[s j + r] is seen by the taps k for which (r + pad - dilation k) / s is whole, from
    the place j + that quotient. A residue that no tap sees is left out: the gradient
    there is zero.
    """
    (n, c, h, w), (_, o, oh, ow) = op.bottoms[0], op.tops[0]
    kh, kw = op.kernel
    found = []
    for r in range(op.stride[0]):
        for q in range(op.stride[1]):
            height = -(-(h - r) // op.stride[0])
            width = -(-(w - q) // op.stride[1])
            rows, row_taps = _seen(r, op.stride[0], op.pad[0], op.dilation[0], kh)
            columns, column_taps = _seen(q, op.stride[1], op.pad[1], op.dilation[1], kw)
            if min(height, width, len(rows), len(columns)) < 1:
                continue
            taps = Taps(
                np.repeat(rows, len(columns)),
                np.tile(columns, len(rows)),
                (row_taps[:, None] * kw + column_taps).ravel(),
            )
            found.append(
                Correlation(
                    images=n,
                    groups=op.group,
                    channels=o // op.group,
                    rows=c // op.group,
                    sizes=(oh, ow),
                    sizes_out=(h, w),
                    places=(height, width),
                    taps=taps,
                    steps=(1, 1),
                    steps_out=(op.stride[0], op.stride[1]),
                    first=(r, q),
                    threads=threads,
                )
            )
    return found


def _seen(
    residue: int, stride: int, pad: int, dilation: int, kernel: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the offsets and numbers of the taps that see a residue."""
    taps = np.arange(kernel)
    distance = residue + pad - dilation * taps
    whole = distance % stride == 0
    return distance[whole] // stride, taps[whole]


class Convolution(CompiledKernel[ConvolutionOp]):
    """Convolution of images, forward and backward; see the portable kernel."""

    @classmethod
    def fits(cls, node: Node) -> bool:
        """Whether the layer is a convolution of images with something to compute."""
        op = node.op
        return (
            isinstance(op, ConvolutionOp)
            and len(op.kernel) == 2
            and op.axis == 1
            and len(op.bottoms) == 1
            and count(op.tops[0]) > 0
            and count(op.bottoms[0]) > 0
        )

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for packed weights, parts of their gradient, and room for panels."""
        threads = self.backend.threads
        self._ahead = forward_geometry(self.op, threads)
        self._back = []
        if any(self.node.propagate):
            self._back = backward_geometries(self.op, threads)
        every = [self._ahead, *self._back]
        learns = any(self.node.learn)
        bytes_needed = max(one.forward_workspace["workspace_bytes"] for one in every)
        partial = 1
        if learns:
            weights = self._ahead.weights_workspace["workspace_bytes"]
            bytes_needed = max(bytes_needed, weights, 64 + 4 * LANES * LANES)
            partial = self._ahead.partial_size
        return {
            "packed": ArraySpec((max(one.packed_size for one in every),)),
            "biases": ArraySpec((max(one.packed_biases for one in every),)),
            "partial": ArraySpec((partial,)),
            "workspace": ArraySpec((threads * bytes_needed,), "uint8"),
        }

    def forward_calls(self) -> list[Call]:
        """Compute y."""
        return self.correlation_calls(float("-inf"))

    def correlation_calls(self, floor: float) -> list[Call]:
        """Compute y = max(floor, the convolution)."""
        ahead, op = self._ahead, self.op
        window = count(op.kernel)
        bias = self.params[1] if op.bias_term else 0
        return self._correlate(
            ahead,
            self.x,
            self.y,
            bias,
            floor,
            group_stride=ahead.rows * ahead.channels * window,
            row_stride=ahead.channels * window,
            channel_stride=window,
        )

    def _correlate(
        self,
        shape: Correlation,
        x: Array,
        y: Array,
        bias: Array | int,
        floor: float,
        **strides: int,
    ) -> list[Call]:
        work = self.work
        pack = pack_weights(
            w=self.params[0],
            bias=bias,
            packed=work["packed"],
            packed_bias=work["biases"],
            groups=shape.groups,
            rows=shape.rows,
            channels=shape.channels,
            taps=len(shape.taps.index),
            tap_index=np.ascontiguousarray(shape.taps.index, np.int64),
            **strides,
        )
        panels = -(-shape.all_places // shape.panel_places)
        crowded = shape.groups * panels >= self.backend.threads
        run = correlate(
            x=x,
            **shape.packing,
            **shape.forward_workspace,
            workspace=work["workspace"],
            y=y,
            packed=work["packed"],
            packed_bias=work["biases"],
            rows=shape.rows,
            y_plane=count(shape.sizes_out),
            y_width=shape.sizes_out[1],
            y_row_step=shape.steps_out[0] * shape.sizes_out[1],
            y_column_step=shape.steps_out[1],
            y_first=shape.first[0] * shape.sizes_out[1] + shape.first[1],
            units_by_rows=1 if crowded else self.backend.threads,
            floor=floor,
        )
        return [pack, run]

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Compute the wanted gradients."""
        calls = []
        dbias = self.dparams[1] if self.op.bias_term else None
        if self.dparams[0] is not None or dbias is not None:
            calls += self._weight_calls(self.dparams[0], dbias, accumulate)
        if self.dx is not None:
            calls += self._input_calls()
        return calls

    def _weight_calls(
        self, dw: Array | None, dbias: Array | None, accumulate: Sequence[bool]
    ) -> list[Call]:
        ahead, work = self._ahead, self.work
        split = -(-ahead.channels // ahead.channel_block)
        units = ahead.groups * ahead.chunks
        shares = 1 if units >= self.backend.threads else self.backend.threads
        partial = work["partial"]
        width = round_up(ahead.rows, LANES)
        biases = partial[ahead.groups * ahead.chunks * width * ahead.padded_depth :]
        products = correlate_weights(
            x=self.x,
            **ahead.packing,
            **ahead.weights_workspace,
            workspace=work["workspace"],
            dy=self.dy,
            rows=ahead.rows,
            partial=partial,
            partial_bias=biases,
            chunks=ahead.chunks,
            chunk_places=ahead.chunk_places,
            channel_shares=min(shares, split),
        )
        add = add_partial_weights(
            partial=partial,
            partial_bias=biases,
            dw=0 if dw is None else dw,
            dbias=0 if dbias is None else dbias,
            groups=ahead.groups,
            rows=ahead.rows,
            depth=ahead.depth,
            chunks=ahead.chunks,
            accumulate=accumulate[0],
            accumulate_bias=accumulate[1] if self.op.bias_term else False,
            workspace=work["workspace"],
            workspace_bytes=ahead.weights_workspace["workspace_bytes"],
        )
        return [products, add]

    def _input_calls(self) -> list[Call]:
        calls = []
        covered = sum(count(shape.places) for shape in self._back)
        if covered < count(self.op.bottoms[0][2:]):
            calls.append(self.backend.fill(self.dx, 0))
        window = count(self.op.kernel)
        for shape in self._back:
            calls += self._correlate(
                shape,
                self.dy,
                self.dx,
                0,
                float("-inf"),
                group_stride=shape.channels * shape.rows * window,
                row_stride=window,
                channel_stride=shape.rows * window,
            )
        return calls
