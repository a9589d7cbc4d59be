"""From the data layers of a net to their sources, and to the shapes of its inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from netspec.catalogue.check import check_arity
from netspec.errors import SpecError, UnsupportedError
from netspec.nets.state import State
from netspec.ops.base import Shape, check_count, label
from netspec.room import enough_memory
from netspec.schema import LayerParameter, NetParameter
from runtime.data.annotated_reader import AnnotatedReader
from runtime.data.feeding import FedSource
from runtime.data.hdf5_reader import Hdf5Reader
from runtime.data.image_reader import ImageReader
from runtime.data.label_image_reader import (
    DenseImageReader,
    LabelmapReader,
    SegmentedReader,
)
from runtime.data.lmdb_reader import LmdbReader
from runtime.data.memory import MemorySource
from runtime.data.source import ReadAhead, Reader, Source
from runtime.data.video_reader import VideoReader
from runtime.data.window_reader import WindowReader

Open: TypeAlias = Callable[[LayerParameter, int, int], Source]  # layer, phase, seed


def read_ahead(reader: Callable[[LayerParameter, int, int], Reader]) -> Open:
    """Return what opens a source that reads one batch ahead with such a reader."""

    def opens(layer: LayerParameter, phase: int, seed: int) -> Source:
        with enough_memory(f"{label(layer)}: its first item"):
            opened = reader(layer, phase, seed)
        for index, shape in enumerate(opened.shapes):
            check_count(layer, f"top {index}", shape)
        return ReadAhead(opened, layer.name, label(layer))

    return opens


def _memory(layer: LayerParameter, phase: int, seed: int) -> Source:
    return MemorySource(layer)


def _refuse(layer: LayerParameter, phase: int, seed: int) -> Source:
    readable = ["Data (LMDB)" if name == "Data" else name for name in DATA_LAYERS]
    raise UnsupportedError(
        f"data of this type cannot be read here; use {', '.join(readable[:-1])} or "
        f"{readable[-1]}",
        layer=label(layer),
    )


# Every type of data layer, and what opens its source; messages list them in this order.
DATA_LAYERS: dict[str, Open] = {
    "Data": read_ahead(LmdbReader),
    "HDF5Data": read_ahead(Hdf5Reader),
    "ImageData": read_ahead(ImageReader),
    "MemoryData": _memory,
    "AnnotatedData": read_ahead(AnnotatedReader),
    "DenseImageData": read_ahead(DenseImageReader),
    "ImageLabelmapData": read_ahead(LabelmapReader),
    "ImageSegData": read_ahead(SegmentedReader),
    "VideoData": read_ahead(VideoReader),
    "WindowData": read_ahead(WindowReader),
}


def open_source(layer: LayerParameter, phase: int, seed: int) -> Source:
    """Open what a data layer reads from.

    phase: decides between random and central crops. seed: of all that is random.

    Raises `FileError` for what cannot be read, `SpecError` for options or a number of
    tops that cannot be, `UnsupportedError` for a type of layer that has no reader here.
    """
    check_arity(layer)
    return DATA_LAYERS.get(layer.type, _refuse)(layer, phase, seed)


def open_sources(message: NetParameter, state: State, seed: int) -> dict[str, Source]:
    """Open the source of every data layer of a filtered net, by layer name.

    Raises `SpecError` for a seed below 0.
    """
    if seed < 0:
        raise SpecError(f"seed is {seed}; expected a number from 0")
    sources = {}
    for layer in message.layer:
        if layer.type in DATA_LAYERS:
            phase = layer.phase if layer.HasField("phase") else state.phase
            sources[layer.name] = open_source(layer, phase, seed)
    return sources


def changed_shapes(source: Source, shapes: Sequence[Shape]) -> tuple[Shape, ...] | None:
    """Return the shapes of the next batch where they are not `shapes`, or None.

    Raises what reading the batch raises.
    """
    if isinstance(source, ReadAhead):
        if not source.varies:
            return None
    elif not isinstance(source, FedSource):
        return None
    following = source.next_shapes()
    return None if following == tuple(shapes) else following


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
