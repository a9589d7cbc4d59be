"""Static facts of every layer type, one file a family."""

import importlib
import pkgutil

from netspec.ops.base import Op as Op
from netspec.ops.base import ParamDef as ParamDef
from netspec.ops.base import Shape as Shape
from netspec.ops.base import infer as infer
from netspec.ops.base import known_types as known_types
from netspec.ops.base import op_class as op_class

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
