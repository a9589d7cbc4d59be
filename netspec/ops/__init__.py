"""What is statically true of one layer: options, shapes, parameters, multiply-adds."""

from netspec.ops.base import Op as Op
from netspec.ops.base import ParamDef as ParamDef
from netspec.ops.base import Shape as Shape
from netspec.ops.families import infer as infer
from netspec.ops.families import is_known_type as is_known_type
from netspec.ops.families import known_types as known_types
from netspec.ops.families import op_class as op_class
