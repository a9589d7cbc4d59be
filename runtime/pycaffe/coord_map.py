"""Maps between places of blobs, with pycaffe's names; see `netspec.coord_map`."""

from __future__ import annotations

import numpy as np

from netspec.compatible import Top
from netspec.coord_map import PASS_THROUGH_LAYERS as PASS_THROUGH_LAYERS
from netspec.coord_map import crop as crop
from netspec.coord_map import map_between


def coord_map_from_to(
    top_from: Top, top_to: Top
) -> tuple[int | None, np.ndarray, np.ndarray]:
    """Return axis, scale and offset of the map from `top_to` to `top_from`, as pycaffe.

    A place x of `top_to` is the place (x - offset) / scale of `top_from`.
    """
    mapping = map_between(top_from, top_to)
    scale = np.array([float(each) for each in mapping.scale])
    return mapping.axis, scale, np.array([float(each) for each in mapping.offset])
