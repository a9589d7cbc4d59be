"""What a net reads from outside: its data sources and the shapes of its inputs."""

from __future__ import annotations

from collections.abc import Mapping

from netspec.errors import SpecError
from netspec.nets import State
from netspec.ops.base import Shape
from netspec.schema import LayerParameter, NetParameter
from runtime.data import Source, open_source

FILE_SOURCES = frozenset({"Data", "HDF5Data", "MemoryData", "ImageData", "WindowData"})


def open_sources(message: NetParameter, state: State, seed: int) -> dict[str, Source]:
    """Open the source of every data layer of a filtered net, by layer name.

    Raises `SpecError` for a seed below 0.
    """
    if seed < 0:
        raise SpecError(f"seed is {seed}; expected a number from 0")
    sources = {}
    for layer in message.layer:
        if layer.type in FILE_SOURCES:
            phase = layer.phase if layer.HasField("phase") else state.phase
            sources[layer.name] = open_source(layer, phase, seed)
    return sources


def source_shapes(
    message: NetParameter, sources: Mapping[str, Source]
) -> dict[str, Shape]:
    """Return the shapes of the tops of Input and data layers, by blob name."""
    shapes: dict[str, Shape] = {}
    for layer in message.layer:
        if layer.name in sources:
            shapes.update(zip(layer.top, sources[layer.name].shapes, strict=True))
        elif layer.type == "Input":
            shapes.update(_input_shapes(layer))
    return shapes


def _input_shapes(layer: LayerParameter) -> dict[str, Shape]:
    given = [tuple(shape.dim) for shape in layer.input_param.shape]
    if len(given) == 1:
        given *= len(layer.top)
    # A wrong number of shapes is the graph's to refuse, with the layer named.
    return dict(zip(layer.top, given, strict=False))
