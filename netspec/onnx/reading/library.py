"""The library that reads ONNX files, where it is installed."""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

from netspec.errors import MachineError

_PARTS = ("checker", "external_data_helper", "numpy_helper", "reference", "inliner")


@cache
def library() -> Any:
    """Return the library `onnx`, with the parts that are used here.

    Raises `MachineError` where it is missing.
    """
    try:
        onnx = importlib.import_module("onnx")
        for part in _PARTS:
            importlib.import_module(f"onnx.{part}")
    except ImportError as error:
        raise MachineError(
            f"reading ONNX files needs the library onnx ({error}); pip install "
            f"'netspec[interop]'"
        ) from None
    return onnx
