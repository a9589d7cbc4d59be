"""ROIPooling, PSROIPooling and ROIAlign: a blob for every region of interest.

Which pixels count is read from the regions on the host, so a device is waited for.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from netspec.ops import region as ops
from runtime.arrays import Array, ArraySpec
from runtime.layers._gradient import OneGradient
from runtime.layers._host import HostCopies
from runtime.layers._regions import (
    Bins,
    align_shares,
    maximum_bins,
    mean_bins,
    read_regions,
    scaled_corners,
    sides,
)
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
            items, (down, along) = align_shares(self.op, regions)
            for r, item in enumerate(items):
                y[r] = down[r] @ x[item] @ along[r].T
        self._host.write(self.y)

    def add(self, dy: np.ndarray, dx: np.ndarray) -> None:
        """Give dy to the pixels of the samples."""
        regions = self._host.read(self.bottoms[1])
        if self.op.sampling_ratio is not None:
            items, (downs, alongs) = align_shares(self.op, regions)
            for r, item in enumerate(items):
                dx[item] += downs[r].T @ dy[r] @ alongs[r]
            return
        won = self._host.read(self.work["won"])
        for r, item, i, j, down, along in self._samples(regions):
            place = won[r, :, i, j]
            found = np.flatnonzero(place >= 0)
            rows, columns = np.divmod(place[found], len(along))
            for row, share in neighbours(down[rows], dx.shape[2]):
                for column, part in neighbours(along[columns], dx.shape[3]):
                    dx[item, found, row, column] += share * part * dy[r, found, i, j]

    def _samples(
        self, regions: np.ndarray
    ) -> Iterator[tuple[int, int, int, int, np.ndarray, np.ndarray]]:
        """Give every part that is not empty with the places of its samples."""
        items, scaled = scaled_corners(self.op, regions)
        for r, (item, corners) in enumerate(zip(items, scaled, strict=True)):
            axes: list[list[np.ndarray]] = []
            for axis, (pooled, size) in enumerate(sides(self.op)):
                start = corners[axis]
                side = (corners[axis + 2] - start + 1) / pooled
                lines = np.clip(start + np.arange(pooled + 1) * side, 0, size)
                axes.append([np.arange(*ends) for ends in itertools.pairwise(lines)])
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
            rows, row = around(down, x.shape[2])
            columns, column = around(along, x.shape[3])
            shares = (between(down - row, rows), between(along - column, columns))
            part = x[item, :, row : row + rows, column : column + columns]
            samples = (shares[0].astype(x.dtype) @ part) @ shares[1].astype(x.dtype).T
            samples = samples.reshape(len(channels), -1)
            place = samples.argmax(axis=1)
            y[r, :, i, j] = samples[channels, place]
            if won is not None:
                won[r, :, i, j] = place
        if won is not None:
            self._host.write(self.work["won"])


def between(places: np.ndarray, size: int) -> np.ndarray:
    """Return what the pixels of a line count in bilinear samples at `places`.

    Shapes: places (S,) -> (S, size).
    """
    distance = np.abs(places[:, None] - np.arange(size))
    shares: np.ndarray = np.maximum(1 - distance, 0)
    return shares


def around(places: np.ndarray, size: int) -> tuple[int, int]:
    """Return how many pixels of a line samples need, and the first of them."""
    first = int(places[0])
    return min(int(places[-1]) + 2, size) - first, first


def neighbours(places: np.ndarray, size: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the pixels on both sides of samples, and what they count.

    Shapes: places (S,) -> twice pixels (S,) int64, shares (S,).
    """
    low = places.astype(np.int64)
    far = places - low
    high = np.minimum(low + 1, size - 1)  # what lies outside counts nothing
    return [(low, 1 - far), (high, np.where(low + 1 < size, far, 0))]
