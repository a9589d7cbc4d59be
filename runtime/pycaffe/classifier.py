"""pycaffe's `Classifier`: images in, scores out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from netspec.schema import TEST
from runtime.pycaffe import io
from runtime.pycaffe.net import Net


def transformer_of(
    net: Net,
    mean: np.ndarray | None,
    input_scale: float | None,
    raw_scale: float | None,
    channel_swap: Sequence[int] | None,
) -> io.Transformer:
    """Return a transformer for the first input, from images (H, W, C)."""
    name = net.inputs[0]
    transformer = io.Transformer({name: net.blobs[name].data.shape})
    transformer.set_transpose(name, (2, 0, 1))
    if mean is not None:
        transformer.set_mean(name, mean)
    if input_scale is not None:
        transformer.set_input_scale(name, input_scale)
    if raw_scale is not None:
        transformer.set_raw_scale(name, raw_scale)
    if channel_swap is not None:
        transformer.set_channel_swap(name, channel_swap)
    return transformer


class Classifier(Net):
    """A net that scores images.

    image_dims: height and width to which images are resized before they are cropped to
    the size of the input; by default that size. mean, input_scale, raw_scale,
    channel_swap: see `caffe.io.Transformer`.
    """

    def __init__(
        self,
        model_file: Any,
        pretrained_file: Any = None,
        image_dims: Sequence[int] | None = None,
        mean: np.ndarray | None = None,
        input_scale: float | None = None,
        raw_scale: float | None = None,
        channel_swap: Sequence[int] | None = None,
    ) -> None:
        super().__init__(model_file, phase=TEST, weights=pretrained_file)
        self.transformer = transformer_of(
            self, mean, input_scale, raw_scale, channel_swap
        )
        self.crop_dims = np.array(self.blobs[self.inputs[0]].data.shape[2:])
        self.image_dims = self.crop_dims if image_dims is None else image_dims

    def predict(
        self, inputs: Sequence[np.ndarray], oversample: bool = True
    ) -> np.ndarray:
        """Return the scores of images, one row for each.

        oversample: whether to average over the crops of the four corners and the
            centre and their mirror images; else the centre alone counts.

        Shapes: inputs (H, W, C) each -> (N, classes).
        """
        images = np.stack([io.resize_image(each, self.image_dims) for each in inputs])
        if oversample:
            crops = io.oversample(images, self.crop_dims)
        else:
            centre = np.array(self.image_dims) / 2.0
            top, left = (centre - self.crop_dims / 2.0).astype(int)
            height, width = self.crop_dims
            crops = images[:, top : top + height, left : left + width]
        name = self.inputs[0]
        ready = np.stack([self.transformer.preprocess(name, each) for each in crops])
        scores = self.forward_all(**{name: ready})[self.outputs[0]]
        if oversample:
            scores = scores.reshape(len(scores) // 10, 10, -1).mean(1)
        return scores
