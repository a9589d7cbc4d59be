"""ONNX out: a net with its values as a `ModelProto`, in standard operators."""

from netspec.onnx.writing.model import DEFAULT_OPSET as DEFAULT_OPSET
from netspec.onnx.writing.model import OLDEST_OPSET as OLDEST_OPSET
from netspec.onnx.writing.model import save_onnx as save_onnx
from netspec.onnx.writing.model import to_onnx as to_onnx
