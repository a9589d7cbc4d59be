"""The front door of this package: `from_onnx`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from netspec.errors import SpecError, shown
from netspec.onnx.reading.convert import Graph
from netspec.onnx.reading.file import read_model
from netspec.onnx.reading.finish import finished
from netspec.site import user_site, warn_at
from netspec.weights import Model

_MADE_UP = ("", "main_graph", "torch_jit", "torch-jit-export")  # what exporters write


def from_onnx(
    path: str | Path,
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
    batch_size: int | None = None,
) -> Model:
    """Return the net of an ONNX file with its values; see the documentation.

    Nodes become layers that compute the same numbers, those of torch.onnx under the
    names of their modules: `/layer1/layer1.0/conv1/Conv` is `layer1.0/conv1`. Inputs
    and outputs keep their names. Arrays that several nodes read are shared parameters,
    those that are no initializers do not learn (`lr_mult: 0`).

    path: of the file; values may lie in files beside it. shapes: of inputs, by name,
    where the file leaves sizes open or others are wanted. batch_size: the first axis of
    the inputs; 1, with a warning, where it is open and not given.

    Raises `FileError` for a file that cannot be read or is broken, `UnsupportedError`
    naming every node that no layers are equal to, and why, `ShapeError` for sizes that
    nobody tells, `MachineError` where the library `onnx` is missing.
    """
    if not isinstance(path, str | os.PathLike):
        raise SpecError(f"from_onnx of {shown(path)}; expected the path of a file")
    path = os.fspath(path)
    model = read_model(path)
    graph = Graph(model, path)
    graph.convert(shapes or {}, batch_size)
    name = model.graph.name
    result = finished(graph, Path(path).stem if name in _MADE_UP else name)
    for text in graph.build.doubts:
        warn_at(user_site(), f"{path}: {text}")
    return result
