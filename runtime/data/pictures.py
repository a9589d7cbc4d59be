"""Batches of pictures, as the readers of databases and of image files deliver them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from netspec.ops.base import Shape
from netspec.schema import LayerParameter
from runtime.data.augment import Augment, warn_of_unread
from runtime.data.source import Arrays, Place
from runtime.data.transform import Transform


class PictureReader:
    """Batches of a reader that knows its items by number.

    The pictures of a batch have one shape, that of the first of them, unless they are
    cropped. As in Caffe, the next batch may have another one; where a size or a mean
    image is given, all are equal. `resize_param` and `noise_param` of the SSD fork come
    before crop, mirror, mean and scale.

    Tops: data (N, C, H, W) and, if the layer has a second top, label (N,).
    """

    shapes: tuple[Shape, ...]
    varies: bool  # whether batches may have different shapes
    _batch_size: int
    _transform: Transform

    def _item(self, number: int) -> tuple[np.ndarray, int]:
        """Return the picture and the label of item `number` since the start."""
        raise NotImplementedError

    def _begin(
        self, layer: LayerParameter, phase: int, seed: int, batch_size: int, start: int
    ) -> np.ndarray:
        """Look at the first item, number `start`, and return its picture."""
        self._batch_size, self._start = batch_size, start
        warn_of_unread(layer)
        first, _ = self._item(start)
        self._augment = Augment(layer, seed, len(first))
        resized, _ = self._augment.apply(first, 0)
        self._transform = Transform(layer, phase, seed, resized.shape)
        self.varies = self._transform.varies and not self._augment.fixed
        self.shapes = self._shapes(self._transform.shape)[: len(layer.top)]
        return first

    def _shapes(self, picture: Shape) -> tuple[Shape, ...]:
        return ((self._batch_size, *picture), (self._batch_size,))

    def read(self, batch: int, out: Sequence[np.ndarray]) -> None:
        """Write batch number `batch` into the arrays `out`, which have `shapes`."""
        self.read_sized(batch, lambda shapes: out)

    def read_sized(self, batch: int, place: Place) -> Arrays:
        """Write batch number `batch` into arrays that `place` gives; return them."""
        start = batch * self._batch_size
        items = [
            self._item(start + index + self._start) for index in range(self._batch_size)
        ]
        pictures = [
            self._augment.apply(picture, start + index)[0]
            for index, (picture, _) in enumerate(items)
        ]
        shape = self._transform.shape_of(pictures[0], start)
        out = place(self._shapes(shape)[: len(self.shapes)])
        if len(out) > 1:
            out[1][:] = [number for _, number in items]
        self._transform.batch(pictures, start, out[0])
        return out
