"""The ONNX nodes of every layer type, one file a family as in `netspec/ops`."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from pathlib import Path


@cache
def load() -> None:
    """Import every file of this package, so that its writers are registered."""
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        importlib.import_module(f"{__name__}.{module.name}")
