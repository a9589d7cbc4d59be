"""What the format knows of each layer type: message, arity, required fields, roles."""

from netspec.catalogue.base import LayerType
from netspec.catalogue.table import LAYER_TYPES

__all__ = ["LAYER_TYPES", "LayerType"]
