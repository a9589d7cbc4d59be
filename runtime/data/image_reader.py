"""ImageData layers: image files named in a list."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from netspec.errors import SpecError
from netspec.ops.base import check_count, label
from netspec.schema import LayerParameter
from runtime.counter_random import stream_keys
from runtime.data.images import decode
from runtime.data.lists import read_labelled
from runtime.data.order import Order
from runtime.data.pictures import PictureReader


class ImageReader(PictureReader):
    """Batches of images, in the order of the list or shuffled anew in every epoch.

    A line of the list is a path and a label. `new_height` and `new_width` give all
    images one size; see `PictureReader` for the sizes of others.

    Tops: data (N, C, H, W) and, if the layer has a second top, label (N,).
    """

    def __init__(self, layer: LayerParameter, phase: int, seed: int) -> None:
        param = layer.image_data_param
        if param.batch_size < 1:
            raise SpecError("batch_size is 0; give at least 1", layer=label(layer))
        if (param.new_height > 0) != (param.new_width > 0):
            raise SpecError(
                "new_height and new_width must be given together", layer=label(layer)
            )
        images = (param.batch_size, 3 if param.is_color else 1)
        check_count(layer, "top 0", (*images, param.new_height, param.new_width))
        self._layer = layer
        self._lines = read_labelled(param.source, label(layer), param.root_folder)
        self._order = Order(seed, layer.name, len(self._lines), shuffle=param.shuffle)
        skip = 0
        if param.rand_skip:
            skip = stream_keys(seed, layer.name, 0, 1)[0] % param.rand_skip
        self._begin(layer, phase, seed, param.batch_size, skip)
        if param.new_height:
            self.varies = False

    def close(self) -> None:
        """Do nothing: no file stays open."""

    def _item(self, number: int) -> tuple[np.ndarray, int]:
        param = self._layer.image_data_param
        path, item_label = self._lines[self._order.item(number)]
        full = Path(param.root_folder + path)
        size = (param.new_height, param.new_width) if param.new_height else None
        what = f"{label(self._layer)}: image {full}"
        return decode(full, what, color=param.is_color, size=size), item_label
