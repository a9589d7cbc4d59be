"""The layers that nodes become, a rule a type, one file a family."""

from netspec.onnx.reading.rules import activation as activation
from netspec.onnx.reading.rules import arithmetic as arithmetic
from netspec.onnx.reading.rules import convolution as convolution
from netspec.onnx.reading.rules import normalization as normalization
from netspec.onnx.reading.rules import pooling as pooling
from netspec.onnx.reading.rules import products as products
from netspec.onnx.reading.rules import reduction as reduction
from netspec.onnx.reading.rules import resize as resize
from netspec.onnx.reading.rules import selection as selection
from netspec.onnx.reading.rules import shapes as shapes
from netspec.onnx.reading.rules.table import RULES as RULES
from netspec.onnx.reading.rules.table import WHOLE_NUMBERS as WHOLE_NUMBERS
