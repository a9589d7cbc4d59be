"""MemoryData layers: arrays that the program gives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from netspec.errors import ShapeError, SpecError
from netspec.ops.base import Shape, label
from netspec.schema import LayerParameter


class MemorySource:
    """Batches of the arrays given to `set_arrays`, over and over.

    Shapes: data (N, C, H, W), label (N, 1, 1, 1).
    """

    def __init__(self, layer: LayerParameter) -> None:
        param = layer.memory_data_param
        self._layer = layer
        self._item = (param.channels, param.height, param.width)
        self._size = param.batch_size
        if min(*self._item, self._size) < 1:
            raise SpecError(
                f"batch_size, channels, height and width must be given and above 0, "
                f"got {self._size} and {self._item}",
                layer=label(layer),
            )
        self.shapes: tuple[Shape, ...] = ((self._size, *self._item), (self._size,))
        self._arrays: tuple[np.ndarray, np.ndarray] | None = None
        self._batch, self._step, self._first = 0, 1, 0

    def set_arrays(self, data: np.ndarray, labels: np.ndarray) -> None:
        """Deliver these arrays from now on, from their start.

        Shapes: data (M, C, H, W), labels (M) or (M, 1, 1, 1); M a multiple of N.
        """
        data = np.ascontiguousarray(data, np.float32)
        labels = np.ascontiguousarray(labels, np.float32)
        if data.ndim != 4 or data.shape[1:] != self._item:
            raise ShapeError(
                f"data must have shape (M, {', '.join(map(str, self._item))}), got "
                f"{data.shape}",
                layer=label(self._layer),
            )
        if labels.shape not in ((len(data),), (len(data), 1, 1, 1)):
            raise ShapeError(
                f"labels must have shape ({len(data)},) or ({len(data)}, 1, 1, 1), "
                f"one for each item, got {labels.shape}",
                layer=label(self._layer),
            )
        if len(data) == 0 or len(data) % self._size:
            raise ShapeError(
                f"{len(data)} items are no multiple of the batch_size {self._size}; "
                f"leave some out or change batch_size",
                layer=label(self._layer),
            )
        self._arrays = (data, labels.reshape(-1, 1, 1, 1))
        self._batch = self._first

    def next(self) -> Sequence[np.ndarray]:
        """Return the next batch."""
        if self._arrays is None:
            raise SpecError(
                "has no data yet; call net.set_input_arrays", layer=label(self._layer)
            )
        start = self._batch * self._size % len(self._arrays[0])
        self._batch += self._step
        return [array[start : start + self._size] for array in self._arrays]

    def seek(self, batch: int) -> None:
        """Go to where `batch` batches of the arrays have been delivered."""
        self._batch = batch

    def take_every(self, step: int, first: int) -> None:
        """Deliver the batches `first`, `first` + `step` and so on, from the start."""
        self._batch, self._step, self._first = first, step, first

    def close(self) -> None:
        """Forget the arrays."""
        self._arrays = None
