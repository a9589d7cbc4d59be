"""ROIPooling, PSROIPooling and ROIAlign: a blob for every region of interest.

Which pixels count is read from the regions on the host, so a device is waited for.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from netspec.ops import region as ops
from runtime.arrays import Array, ArraySpec
from runtime.layers._gradient import OneGradient
from runtime.layers._host import HostCopies
from runtime.layers._regions import Bins, maximum_bins, mean_bins, read_regions
from runtime.layers.base import OpT, register

NOBODY = -1  # the winner of an empty part


class _Regions(OneGradient[OpT]):
    """What all have in common: features and regions on the host."""

    def setup(self) -> None:
        """Make room for copies where blobs are elsewhere."""
        self._host = HostCopies(self)

    def gradient(self, dx: Array) -> None:
        """Compute dx on the host."""
        host = self._host.room(dx)
        host.fill(0)
        if self.op.tops[0][0]:
            self.add(self._host.read(self.dy), host)
        self._host.write(dx)

    def add(self, dy: np.ndarray, dx: np.ndarray) -> None:
        """Add what every region gives to `dx`."""
        raise NotImplementedError


def parts(bins: Bins) -> Iterator[tuple[int, int, int, int, slice, slice]]:
    """Give region, image, row and column, and the pixels of all that are not empty."""
    edges = zip(bins.items, bins.top, bins.bottom, bins.left, bins.right, strict=True)
    for r, (item, tops, bottoms, lefts, rights) in enumerate(edges):
        for i, (top, bottom) in enumerate(zip(tops, bottoms, strict=True)):
            for j, (left, right) in enumerate(zip(lefts, rights, strict=True)):
                if top < bottom and left < right:
                    yield r, item, i, j, slice(top, bottom), slice(left, right)


@register
class ROIPooling(_Regions[ops.ROIPooling]):
    """The maximum of every part of a region, and the gradient to where it was found.

        start, end = round(corner * spatial_scale);  side = max(end - start + 1, 1)
        part i: pixels start + floor(i side / P) to start + ceil((i + 1) side / P) - 1
        y = max of x over the part, 0 where no pixel of it is in the image

    The first of equal maxima gets the gradient. NaN is larger than any number, where
    Caffe passes it over. `pad_ratio` is that of Cascade R-CNN.

    Shapes: x (N, C, H, W), regions (R, 5) -> y (R, C, pooled_h, pooled_w).
    Source: Girshick, Fast R-CNN, 2015, arXiv:1504.08083.
    """

    types = ("ROIPooling",)

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for the places of the maxima in their planes where they are needed."""
        if not any(self.node.propagate):
            return {}
        return {"won": ArraySpec(self.op.tops[0], "int32", life="saved")}

    def forward(self) -> None:
        """Compute y, and find the winners."""
        bins = maximum_bins(self.op, self._host.read(self.bottoms[1]))
        x, y = self._host.read(self.x), self._host.room(self.y)
        won = self._host.room(self.work["won"]) if "won" in self.work else None
        y.fill(0)
        if won is not None:
            won.fill(NOBODY)
        channels, width = np.arange(x.shape[1]), x.shape[3]
        for r, item, i, j, rows, columns in parts(bins):
            part = x[item, :, rows, columns]
            flat = part.reshape(len(part), -1)
            place = flat.argmax(axis=1)
            y[r, :, i, j] = flat[channels, place]
            if won is not None:
                down, along = np.divmod(place, part.shape[2])
                won[r, :, i, j] = (rows.start + down) * width + columns.start + along
        self._host.write(self.y)
        if won is not None:
            self._host.write(self.work["won"])

    def add(self, dy: np.ndarray, dx: np.ndarray) -> None:
        """Add dy where the maxima were found."""
        won = self._host.read(self.work["won"])
        items, _ = read_regions(self.op, self._host.read(self.bottoms[1]))
        planes = dx.reshape(*dx.shape[:2], -1)
        for r, item in enumerate(items):
            for i, j in np.ndindex(*won.shape[2:]):
                place = won[r, :, i, j]
                found = np.flatnonzero(place >= 0)
                planes[item, found, place[found]] += dy[r, found, i, j]


@register
class PSROIPooling(_Regions[ops.PSROIPooling]):
    """The mean of every part of a region, part (i, j) of channels of its own.

        start = round(x1) s, end = (round(x2) + 1) s;  side = max(end - start, 0.1)
        part i: pixels floor(i side / G + start) to ceil((i + 1) side / G + start) - 1
        y[d, i, j] = mean of x[(d G + i) G + j] over the part, 0 where it is empty

    Shapes: x (N, D G^2, H, W), regions (R, 5) -> y (R, D, G, G), s = spatial_scale.
    Source: Dai and others, R-FCN, 2016, arXiv:1605.06409.
    """

    types = ("PSROIPooling",)

    def _by_part(self, x: np.ndarray) -> np.ndarray:
        """View features by what they are for: (N, D, G, G, H, W)."""
        n, _, h, w = x.shape
        group = self.op.group_size
        return x.reshape(n, self.op.output_dim, group, group, h, w)

    def forward(self) -> None:
        """Compute y."""
        bins = mean_bins(self.op, self._host.read(self.bottoms[1]))
        x, y = self._by_part(self._host.read(self.x)), self._host.room(self.y)
        y.fill(0)
        for r, item, i, j, rows, columns in parts(bins):
            y[r, :, i, j] = x[item, :, i, j, rows, columns].mean(axis=(1, 2))
        self._host.write(self.y)

    def add(self, dy: np.ndarray, dx: np.ndarray) -> None:
        """Spread dy over the parts."""
        bins = mean_bins(self.op, self._host.read(self.bottoms[1]))
        planes = self._by_part(dx)
        for r, item, i, j, rows, columns in parts(bins):
            pixels = (rows.stop - rows.start) * (columns.stop - columns.start)
            share = dy[r, :, i, j] / pixels
            planes[item, :, i, j, rows, columns] += share[:, None, None]


@register
class ROIAlign(_Regions[ops.ROIAlign]):
    """The mean, or the largest, of samples between pixels in every part of a region.

    With sampling_ratio S, as in Mask R-CNN:

        start, end = corner * spatial_scale;  side = max(end - start, 1) / P
        samples of part i: start + (i + (k + 1/2) / S) side for k = 0, ..., S - 1
        y = mean of S^2 samples; S = 0 takes ceil(side)

    A sample is bilinear; in the first and last half pixel it is that of the edge, and 0
    further than a pixel outside. Without sampling_ratio, as in py-RFCN-priv:

        side = (end - start + 1) / P;  samples start + i side + k, below its end
        y = the largest sample, 0 where the part is outside the image

    where pixels outside count as 0. That code counts a sample on a row or column of
    pixels twice and gives its gradient to one pixel; here a sample is bilinear there,
    too, and its gradient goes to all of its pixels.

    Shapes: x (N, C, H, W), regions (R, 5) -> y (R, C, pooled_h, pooled_w).
    Source: He and others, Mask R-CNN, 2017, arXiv:1703.06870.
    """

    types = ("ROIAlign",)

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for the numbers of the largest samples where they are needed."""
        if self.op.sampling_ratio is not None or not any(self.node.propagate):
            return {}
        return {"won": ArraySpec(self.op.tops[0], "int32", life="saved")}

    def forward(self) -> None:
        """Compute y."""
        regions = self._host.read(self.bottoms[1])
        x, y = self._host.read(self.x), self._host.room(self.y)
        if self.op.sampling_ratio is None:
            self._largest(regions, x, y)
        else:
            for r, item, down, along in self._means(regions):
                y[r] = down @ x[item] @ along.T
        self._host.write(self.y)

    def add(self, dy: np.ndarray, dx: np.ndarray) -> None:
        """Give dy to the pixels of the samples."""
        regions = self._host.read(self.bottoms[1])
        if self.op.sampling_ratio is not None:
            for r, item, down, along in self._means(regions):
                dx[item] += down.T @ dy[r] @ along
            return
        won = self._host.read(self.work["won"])
        for r, item, i, j, down, along in self._samples(regions):
            place, columns = won[r, :, i, j], len(along)
            found = np.flatnonzero(place >= 0)
            rows = down[place[found] // columns] * dy[r, found, i, j, None]
            dx[item, found] += rows[:, :, None] * along[place[found] % columns][:, None]

    def _means(
        self, regions: np.ndarray
    ) -> Iterator[tuple[int, int, np.ndarray, np.ndarray]]:
        """Give every region with what pixels of rows and columns count in its parts."""
        for r, item, corners in self._scaled(regions):
            edges = []
            for axis, (pooled, size) in enumerate(self._axes()):
                start, end = corners[axis], corners[axis + 2]
                side = max(end - start, 1) / pooled
                samples = self.op.sampling_ratio or math.ceil(side)
                k = (np.arange(pooled * samples) + 0.5) / samples
                shares = between(start + k * side, size, outside=1)
                edges.append(shares.reshape(pooled, samples, size).mean(axis=1))
            along, down = (edge.astype(regions.dtype) for edge in edges)
            yield r, item, down, along

    def _samples(
        self, regions: np.ndarray
    ) -> Iterator[tuple[int, int, int, int, np.ndarray, np.ndarray]]:
        """Give every part that is not empty with the pixels of its samples."""
        for r, item, corners in self._scaled(regions):
            axes: list[list[np.ndarray]] = []
            for axis, (pooled, size) in enumerate(self._axes()):
                start = corners[axis]
                side = (corners[axis + 2] - start + 1) / pooled
                lines = np.clip(start + np.arange(pooled + 1) * side, 0, size)
                axes.append(
                    [
                        between(np.arange(first, last), size, outside=0).astype(
                            regions.dtype
                        )
                        for first, last in itertools.pairwise(lines)
                    ]
                )
            for i, down in enumerate(axes[1]):
                for j, along in enumerate(axes[0]):
                    if len(down) and len(along):
                        yield r, item, i, j, down, along

    def _largest(self, regions: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
        won = self._host.room(self.work["won"]) if "won" in self.work else None
        y.fill(0)
        if won is not None:
            won.fill(NOBODY)
        channels = np.arange(x.shape[1])
        for r, item, i, j, down, along in self._samples(regions):
            samples = (down @ x[item] @ along.T).reshape(len(channels), -1)
            place = samples.argmax(axis=1)
            y[r, :, i, j] = samples[channels, place]
            if won is not None:
                won[r, :, i, j] = place
        if won is not None:
            self._host.write(self.work["won"])

    def _axes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return parts and pixels of columns and of rows."""
        _, _, h, w = self.op.bottoms[0]
        return (self.op.pooled_w, w), (self.op.pooled_h, h)

    def _scaled(self, regions: np.ndarray) -> Iterator[tuple[int, int, np.ndarray]]:
        items, corners = read_regions(self.op, regions)
        real: Any = regions.dtype.type
        scaled = (corners * real(self.op.spatial_scale)).astype(np.float64)
        for r, item in enumerate(items):
            yield r, int(item), scaled[r]


def between(places: np.ndarray, size: int, outside: int) -> np.ndarray:
    """Return what the pixels of a line count in bilinear samples at `places`.

    outside: how far from the first and last pixel a sample is that of the edge; beyond,
    and with 0, pixels outside are 0.

    Shapes: places (S,) -> (S, size).
    """
    pixels = np.arange(size)
    if outside:
        seen = (places >= -outside) & (places <= size - 1 + outside)
        places = np.clip(places, 0, size - 1)
    else:
        seen = np.ones(len(places), bool)
    shares: np.ndarray = np.maximum(1 - np.abs(places[:, None] - pixels), 0)
    shares *= seen[:, None]
    return shares
