"""Shapes of data layers, where only their files tell them and others are given."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from netspec.ops.base import Shape, brings_data
from netspec.schema import LayerParameter, NetParameter

USUAL_BATCH = 64  # items at once, where a data layer does not say it


def shapes_told(net: NetParameter, data: Any) -> dict[str, Shape]:
    """Return the shapes that arrays have which are given for the tops of data layers.

    data: an array, a tuple of arrays in the order of the tops, a dict of them by name,
    or the path of an .npy file; other kinds of data tell nothing.
    """
    sources = [x for x in net.layer if brings_data(x.type, len(x.bottom))]
    read = {blob for layer in net.layer for blob in layer.bottom}
    batches = {top: _batch(x) for x in sources for top in x.top if top in read}
    if isinstance(data, str | os.PathLike) and os.fspath(data).endswith(".npy"):
        with contextlib.suppress(OSError, ValueError):  # who reads it will tell
            data = np.load(data, mmap_mode="r", allow_pickle=False)
    if isinstance(data, Mapping):
        given = dict(data)
    elif isinstance(data, tuple):
        given = dict(zip(batches, data, strict=False))
    else:
        given = dict(zip(batches, [data], strict=False))
    found: dict[str, Shape] = {}
    for name, values in given.items():
        shape = getattr(values, "shape", None)
        if name in batches and isinstance(values, np.ndarray) and shape:
            found[name] = (batches[name], *shape[1:])
    return found


def _batch(layer: LayerParameter) -> int:
    """Return how many items a data layer brings at once."""
    for field, param in layer.ListFields():
        size = getattr(param, "batch_size", 0) if field.name.endswith("_param") else 0
        if size:
            return int(size)
    return USUAL_BATCH
