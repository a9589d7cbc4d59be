"""Images that are a run of the channels of larger images, for kernels that write them.

Every image is contiguous; the next one begins where the larger image's successor does.
"""

from __future__ import annotations

import numpy as np

from netspec.ops.base import count
from runtime.arrays import Array


def whole(y: Array) -> Array:
    """Return the memory from the first to the last element of images, as one row."""
    if y.flags.c_contiguous:
        return y
    last = (y.shape[0] - 1) * y.strides[0] // y.itemsize + count(y.shape, 1)
    return np.lib.stride_tricks.as_strided(y, (last,), (y.itemsize,))


def between(y: Array) -> int:
    """Return the elements from the end of an image to the start of the next one."""
    if y.flags.c_contiguous:
        return 0
    return int(y.strides[0]) // y.itemsize - count(y.shape, 1)
