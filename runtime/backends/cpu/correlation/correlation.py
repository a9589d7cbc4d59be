"""What convolution and its transpose compute, as correlations.

Both have a larger image, which is the input of a Convolution and the output of a
Deconvolution, and a smaller one. Convolution *gathers* from the larger image, and so
does the gradient of a Deconvolution; the other two *scatter* to it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netspec.ops.base import count
from netspec.ops.convolution import Convolution as ConvolutionOp
from netspec.ops.convolution import Deconvolution as DeconvolutionOp
from runtime.arrays import Array


@dataclass(frozen=True)
class Taps:
    """Where a correlation looks, and which weight it takes there.

    rows, columns: the offsets of the taps from the position times the steps.
    index: which weight of a window each tap takes.
    """

    rows: np.ndarray
    columns: np.ndarray
    index: np.ndarray


@dataclass(frozen=True)
class Correlation:
    """A correlation from x (N, G C, H, W) to y (N, G R, H', W').

    positions: height and width of the positions that are computed. Position (i, j) sees
    x at (steps[0] i, steps[1] j) plus the offsets of the taps, and lies in y at
    (first[0] + steps_out[0] i, first[1] + steps_out[1] j).

    The weight of row r, channel c and tap t of group g is element
    g group_stride + r row_stride + c channel_stride + taps.index[t] of the parameter.
    """

    images: int
    groups: int
    channels: int
    rows: int
    sizes: tuple[int, int]
    sizes_out: tuple[int, int]
    positions: tuple[int, int]
    taps: Taps
    group_stride: int
    row_stride: int
    channel_stride: int
    steps: tuple[int, int] = (1, 1)
    steps_out: tuple[int, int] = (1, 1)
    first: tuple[int, int] = (0, 0)

    @property
    def all_positions(self) -> int:
        """Positions of all images."""
        return self.images * count(self.positions)

    @property
    def depth(self) -> int:
        """Terms of the sum at a position."""
        return self.channels * len(self.taps.index)

    @property
    def weights(self) -> int:
        """Number of weights."""
        return self.groups * self.rows * self.depth


@dataclass(frozen=True)
class Weights:
    """What a correlation multiplies with: arrays, or 0 for those that are not there.

    bias is added to every row of y; scale multiplies the weights of every row.
    constant: their other forms outlive the pass. added: what is added to all of y, by
    algorithms that say they can.
    """

    data: Array
    bias: Array | int = 0
    scale: Array | int = 0
    constant: bool = False
    added: Array | int = 0


def gathering(op: ConvolutionOp | DeconvolutionOp) -> Correlation:
    """Return the correlation from the larger image to the smaller one."""
    (n, c, h, w), (_, o, oh, ow) = _large_and_small(op)
    kh, kw = op.kernel
    i, j = np.divmod(np.arange(kh * kw), kw)
    taps = Taps(
        i * op.dilation[0] - op.pad[0],
        j * op.dilation[1] - op.pad[1],
        np.arange(kh * kw),
    )
    channels, rows = c // op.group, o // op.group
    return Correlation(
        images=n,
        groups=op.group,
        channels=channels,
        rows=rows,
        sizes=(h, w),
        sizes_out=(oh, ow),
        positions=(oh, ow),
        taps=taps,
        group_stride=rows * channels * kh * kw,
        row_stride=channels * kh * kw,
        channel_stride=kh * kw,
        steps=(op.stride[0], op.stride[1]),
    )


def scattering(op: ConvolutionOp | DeconvolutionOp) -> list[Correlation]:
    """Return the correlations that make the larger image, one for each residue.

    Its position s j + r is seen by the taps k for which (r + pad - dilation k) / s is
    whole, from position j + that quotient of the smaller image. A residue that no tap
    sees is left out: what is scattered there is zero.
    """
    (n, c, h, w), (_, o, oh, ow) = _large_and_small(op)
    kh, kw = op.kernel
    channels, rows = o // op.group, c // op.group
    found = []
    for r in range(op.stride[0]):
        for q in range(op.stride[1]):
            height = -(-(h - r) // op.stride[0])
            width = -(-(w - q) // op.stride[1])
            row_offsets, row_taps = _seen(
                r, op.stride[0], op.pad[0], op.dilation[0], kh
            )
            offsets, taps = _seen(q, op.stride[1], op.pad[1], op.dilation[1], kw)
            if min(height, width, len(row_taps), len(taps)) < 1:
                continue
            found.append(
                Correlation(
                    images=n,
                    groups=op.group,
                    channels=channels,
                    rows=rows,
                    sizes=(oh, ow),
                    sizes_out=(h, w),
                    positions=(height, width),
                    taps=Taps(
                        np.repeat(row_offsets, len(taps)),
                        np.tile(offsets, len(row_taps)),
                        (row_taps[:, None] * kw + taps).ravel(),
                    ),
                    group_stride=channels * rows * kh * kw,
                    row_stride=kh * kw,
                    channel_stride=rows * kh * kw,
                    steps_out=(op.stride[0], op.stride[1]),
                    first=(r, q),
                )
            )
    return found


def _large_and_small(
    op: ConvolutionOp | DeconvolutionOp,
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    if isinstance(op, DeconvolutionOp):
        return op.tops[0], op.bottoms[0]
    return op.bottoms[0], op.tops[0]


def _seen(
    residue: int, stride: int, pad: int, dilation: int, kernel: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the offsets, ascending, and numbers of the taps that see a residue."""
    taps = np.arange(kernel)[::-1]
    distance = residue + pad - dilation * taps
    whole = distance % stride == 0
    return distance[whole] // stride, taps[whole]
