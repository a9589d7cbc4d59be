"""The portable arithmetic of every layer type, one file a family."""

import importlib
import pkgutil

from runtime.layers.base import portable_kernels as portable_kernels

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
