"""Layer types: parameter message, bottoms, tops, required fields, and what they do."""

from netspec.catalogue.base import LayerType
from netspec.catalogue.table import LAYER_TYPES

__all__ = ["LAYER_TYPES", "LayerType"]
