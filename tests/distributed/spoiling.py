"""A layer in Python that spoils the gradients of a rank."""

from __future__ import annotations

from typing import Any

import numpy as np

import runtime


class Spoiling(runtime.Layer):
    """Lets its bottom through, and spoils a gradient of it where `places` says."""

    places: tuple[int, ...] = ()  # the number of the pass backward, or none
    passes = 0

    def setup(self, bottom: Any, top: Any) -> None:
        pass

    def reshape(self, bottom: Any, top: Any) -> None:
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom: Any, top: Any) -> None:
        top[0].data[...] = bottom[0].data

    def backward(self, top: Any, propagate_down: Any, bottom: Any) -> None:
        bottom[0].diff[...] = top[0].diff
        if self.passes in self.places:
            bottom[0].diff[1, 2] = np.nan
        Spoiling.passes += 1
