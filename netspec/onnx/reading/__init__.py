"""ONNX in: the graph of a file to layers that compute the same, and their values."""

from netspec.onnx.reading.entry import from_onnx as from_onnx
