"""Sliding windows over an image, for convolution and pooling: im2col and back.

An image has shape (N, C, *sizes). Its windows, written out, are columns of shape
(N, C, *kernel, *positions): the element that each output position sees under each
offset in the kernel.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType

from netspec.ops import Shape
from runtime.arrays import Array


@dataclass(frozen=True)
class Tap:
    """One offset in a kernel, for the output positions whose element is no padding.

    `image` selects these elements, `positions` the positions, along the spatial axes.
    """

    offset: tuple[int, ...]
    image: tuple[slice, ...]
    positions: tuple[slice, ...]


@dataclass(frozen=True)
class Windows:
    """Where the windows lie: a value for every spatial axis."""

    sizes: Shape
    positions: Shape
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pad: tuple[int, ...]
    dilation: tuple[int, ...]

    @property
    def padded(self) -> Shape:
        """The sizes of the image with its padding."""
        return tuple(s + 2 * p for s, p in zip(self.sizes, self.pad, strict=True))

    @property
    def pointwise(self) -> bool:
        """Whether every window is one element, and every element one window."""
        whole = set(self.kernel) <= {1} and not any(self.pad)
        return whole and self.sizes == self.positions

    def taps(self) -> Iterator[Tap]:
        """Yield every kernel offset that sees some element, in row-major order."""
        axes = zip(
            self.sizes,
            self.positions,
            self.kernel,
            self.stride,
            self.pad,
            self.dilation,
            strict=True,
        )
        per_axis = [_axis_taps(*axis) for axis in axes]
        for parts in itertools.product(*per_axis):
            yield Tap(
                tuple(part[0] for part in parts),
                tuple(part[1] for part in parts),
                tuple(part[2] for part in parts),
            )


def _axis_taps(
    size: int, positions: int, kernel: int, stride: int, pad: int, dilation: int
) -> list[tuple[int, slice, slice]]:
    found = []
    for offset in range(kernel):
        shift = offset * dilation - pad
        first = max(0, -(shift // stride))
        last = min(positions - 1, (size - 1 - shift) // stride)
        if first <= last:
            start, stop = first * stride + shift, last * stride + shift + 1
            image = slice(start, stop, stride)
            found.append((offset, image, slice(first, last + 1)))
    return found


class Columns:
    """An image and its columns, bound once; `gather` and `spread` go between them.

    Shapes: image (N, C, *sizes), columns (N, C, *kernel, *positions) with any strides,
    padded (N, C, *padded) is scratch, None where there is no padding.
    """

    def __init__(
        self,
        xp: ModuleType,
        windows: Windows,
        image: Array,
        columns: Array,
        padded: Array | None,
    ) -> None:
        self._xp = xp
        self._image, self._columns, self._padded = image, columns, padded
        source = image
        if padded is not None:
            source = padded
            inner = (
                slice(pad, pad + size)
                for pad, size in zip(windows.pad, windows.sizes, strict=True)
            )
            self._inner = padded[(..., *inner)]
        # Written in the order of memory, read through a view that repeats elements.
        self._views = sliding(xp, source, windows)
        self._pairs = [
            (image[(..., *tap.image)], columns[(slice(None), slice(None), *at)])
            for tap in windows.taps()
            for at in [(*tap.offset, *tap.positions)]
        ]
        self._whole = windows.pointwise

    def gather(self) -> None:
        """Write the windows of the image, zeros for padding, into the columns."""
        if self._padded is not None:
            self._padded.fill(0)
            self._xp.copyto(self._inner, self._image)
        self._xp.copyto(self._columns, self._views)

    def spread(self) -> None:
        """Make every element of the image the sum of its copies in the columns."""
        if self._whole:
            image, columns = self._pairs[0]
            self._xp.copyto(image, columns)
            return
        self._image.fill(0)
        for image, columns in self._pairs:
            self._xp.add(image, columns, out=image)


def sliding(xp: ModuleType, image: Array, windows: Windows) -> Array:
    """View an image (N, C, *padded) as (N, C, *kernel, *positions), without a copy."""
    outer, inner = image.strides[:2], image.strides[2:]
    over_kernel = (s * d for s, d in zip(inner, windows.dilation, strict=True))
    over_positions = (s * d for s, d in zip(inner, windows.stride, strict=True))
    return xp.lib.stride_tricks.as_strided(
        image,
        shape=(*image.shape[:2], *windows.kernel, *windows.positions),
        strides=(*outer, *over_kernel, *over_positions),
    )


def blocks(total: int, size: int) -> list[slice]:
    """Cut `total` items into runs of about equal length, `size` at most."""
    if total == 0:
        return []
    parts = -(-total // max(1, size))
    length = -(-total // parts)
    return [slice(s, min(s + length, total)) for s in range(0, total, length)]
