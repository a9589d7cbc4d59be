"""pycaffe's `Detector`: windows of images in, scores out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from netspec.errors import UnsupportedError
from netspec.schema import TEST
from runtime.pycaffe import io
from runtime.pycaffe.classifier import transformer_of
from runtime.pycaffe.net import Net

Window = Sequence[float]


class Detector(Net):
    """A net that scores windows of images.

    context_pad: how many pixels of the input show what is around the window; what
    lies beyond the image is filled with the mean. The other arguments are those of
    `caffe.io.Transformer`.
    """

    def __init__(
        self,
        model_file: Any,
        pretrained_file: Any = None,
        mean: np.ndarray | None = None,
        input_scale: float | None = None,
        raw_scale: float | None = None,
        channel_swap: Sequence[int] | None = None,
        context_pad: int | None = None,
    ) -> None:
        super().__init__(model_file, phase=TEST, weights=pretrained_file)
        self.transformer = transformer_of(
            self, mean, input_scale, raw_scale, channel_swap
        )
        self.context_pad = context_pad or 0

    def detect_windows(
        self, images_windows: Iterable[tuple[str, Iterable[Window]]]
    ) -> list[dict[str, Any]]:
        """Return a record of window, prediction and file name for every window.

        images_windows: pairs of an image file and windows (ymin, xmin, ymax, xmax).
        """
        name = self.inputs[0]
        records: list[dict[str, Any]] = []
        inputs = []
        for filename, windows in images_windows:
            image = io.load_image(filename)
            for window in windows:
                inputs.append(
                    self.transformer.preprocess(name, self.crop(image, window))
                )
                records.append({"window": window, "filename": filename})
        if not inputs:
            return []
        scores = self.forward_all(**{name: np.stack(inputs)})[self.outputs[0]]
        for record, row in zip(records, scores, strict=True):
            record["prediction"] = row.reshape(-1)
        return records

    def detect_selective_search(self, *_: Any) -> Any:
        """Refuse: the windows of selective search come from a MATLAB program."""
        raise UnsupportedError(
            "selective search is a MATLAB program; find windows by other means and "
            "use detect_windows"
        )

    def crop(self, im: np.ndarray, window: Window) -> np.ndarray:
        """Return a window of an image, with context around it if that is wanted."""
        top, left, bottom, right = (round(each) for each in window)
        if not self.context_pad:
            return im[top:bottom, left:right]
        size = self.blobs[self.inputs[0]].shape[3]
        grow = size / (size - 2 * self.context_pad)
        half = np.array([bottom - top + 1, right - left + 1]) / 2.0
        centre = np.array([top, left]) + half
        low = np.round(centre - grow * half).astype(int)
        high = np.round(centre + grow * half).astype(int)
        scale = size / (high - low + 1)
        inside_low = np.maximum(low, 0)
        inside_high = np.minimum(high, im.shape[:2])
        start = np.round((inside_low - low) * scale).astype(int)
        shape = np.round((inside_high - inside_low + 1) * scale).astype(int)
        shape = np.minimum(shape, size - start)
        part = im[inside_low[0] : inside_high[0], inside_low[1] : inside_high[1]]
        crop = np.empty((size, size, im.shape[2]), np.float32)
        crop[...] = self._fill(im.shape[2])
        crop[start[0] : start[0] + shape[0], start[1] : start[1] + shape[1]] = (
            io.resize_image(part, shape)
        )
        return crop

    def _fill(self, channels: int) -> np.ndarray:
        """Return the colour of images that the transformer turns into zeros."""
        name = self.inputs[0]
        mean = self.transformer.mean.get(name)
        if mean is None:
            return np.zeros(channels, np.float32)
        colour = mean.mean((1, 2)) / self.transformer.raw_scale.get(name, 1)
        swap = self.transformer.channel_swap.get(name)
        return colour if swap is None else colour[np.argsort(swap)]
