"""The catalogue: every layer type by its name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from netspec.catalogue.activation import ACTIVATION
from netspec.catalogue.base import LayerType
from netspec.catalogue.data import DATA
from netspec.catalogue.detection import DETECTION
from netspec.catalogue.loss import LOSS
from netspec.catalogue.normalization import NORMALIZATION
from netspec.catalogue.recurrent import RECURRENT
from netspec.catalogue.region import REGION
from netspec.catalogue.shape import SHAPE
from netspec.catalogue.vision import VISION

# By what they are for, in the order in which an index shows them.
FAMILIES: Mapping[str, tuple[LayerType, ...]] = MappingProxyType(
    {
        "Data": tuple(DATA),
        "Convolution, pooling and products": tuple(VISION),
        "Activation": tuple(ACTIVATION),
        "Normalization": tuple(NORMALIZATION),
        "Shape, choice and arithmetic": tuple(SHAPE),
        "Sequences": tuple(RECURRENT),
        "Loss and measure": tuple(LOSS),
        "Detection": tuple(DETECTION),
        "Regions": tuple(REGION),
    }
)
_ROWS = [row for rows in FAMILIES.values() for row in rows]

LAYER_TYPES: Mapping[str, LayerType] = MappingProxyType(
    {row.name: row for row in sorted(_ROWS, key=lambda row: row.name)}
)
