"""Layers that bring data into a net, take it out, or hold it.

The shapes of most data layers depend on a file. `source_op` makes their op from shapes
that somebody who has read the file knows; `infer` makes one from what the layer itself
says, as far as that goes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from netspec.errors import ShapeError, SpecError, UnknownShape
from netspec.ops.base import (
    CLASSES,
    NoReadOp,
    Op,
    ParamDef,
    PartialShape,
    Shape,
    SourceOp,
    bottom_name,
    check_count,
    constant,
    infers,
    label,
)
from netspec.ops.families import infer, op_class
from netspec.ops.python import python_op
from netspec.schema import FillerParameter, LayerParameter, ResizeParameter


@dataclass(frozen=True, kw_only=True)
class Input(SourceOp):
    """Blobs that the caller fills."""

    type: ClassVar[str] = "Input"


@dataclass(frozen=True, kw_only=True)
class DummyData(SourceOp):
    """Blobs filled by fillers: once if constant, else anew in every forward pass.

    `data_filler` has one filler for every top.
    """

    type: ClassVar[str] = "DummyData"
    data_filler: tuple[FillerParameter, ...]


@dataclass(frozen=True, kw_only=True)
class FileSource(SourceOp):
    """Batches from a file or from arrays: data, and labels for a second top."""

    @classmethod
    def labels(cls, images: Shape) -> Shape:
        """Return the shape of the second top beside `images`: a label for each."""
        return images[:1]

    @classmethod
    def shapes(cls, images: Shape) -> tuple[Shape, ...]:
        """Return the shapes of all tops that there can be."""
        return images, cls.labels(images)


@dataclass(frozen=True, kw_only=True)
class Data(FileSource):
    """Images and labels from a database."""

    type: ClassVar[str] = "Data"

    @classmethod
    def told_tops(cls, layer: LayerParameter) -> Sequence[PartialShape | None]:
        """Return the number of images and a crop; the rest is in the database."""
        batch, size = layer.data_param.batch_size, size_of(layer)
        return ((batch, None, *size), (batch,))[: len(layer.top)]


@dataclass(frozen=True, kw_only=True)
class HDF5Data(FileSource):
    """Data sets of the tops' names from HDF5 files."""

    type: ClassVar[str] = "HDF5Data"


@dataclass(frozen=True, kw_only=True)
class MemoryData(FileSource):
    """Arrays that the caller hands over."""

    type: ClassVar[str] = "MemoryData"


@dataclass(frozen=True, kw_only=True)
class ImageData(FileSource):
    """Image files named in a list, with their labels."""

    type: ClassVar[str] = "ImageData"

    @classmethod
    def told_tops(cls, layer: LayerParameter) -> Sequence[PartialShape | None]:
        """Return the number of images, the channels and a crop."""
        param = layer.image_data_param
        channels = 3 if param.is_color else 1
        images = (param.batch_size, channels, *size_of(layer))
        return (images, images[:1])[: len(layer.top)]


@dataclass(frozen=True, kw_only=True)
class WindowData(FileSource):
    """Windows of image files named in a list, with their labels."""

    type: ClassVar[str] = "WindowData"


@dataclass(frozen=True, kw_only=True)
class AnnotatedData(FileSource):
    """Images and boxes from a database, of the SSD fork.

    The number of boxes differs from batch to batch: the second top is (1, 1, boxes, 8).
    """

    type: ClassVar[str] = "AnnotatedData"

    @classmethod
    def labels(cls, images: Shape) -> Shape:
        """Return the shape of the second top for a batch with one box."""
        return (1, 1, 1, 8)

    @classmethod
    def told_tops(cls, layer: LayerParameter) -> Sequence[PartialShape | None]:
        """Return the number of images and a crop; how many boxes is not known."""
        batch, size = layer.data_param.batch_size, size_of(layer)
        return ((batch, None, *size), (1, 1, None, 8))[: len(layer.top)]


@dataclass(frozen=True, kw_only=True)
class VideoData(FileSource):
    """Frames of a video or camera, of the SSD fork."""

    type: ClassVar[str] = "VideoData"


@dataclass(frozen=True, kw_only=True)
class HDF5Output(NoReadOp):
    """Writes its bottoms, data and label, to a file."""

    type: ClassVar[str] = "HDF5Output"
    file_name: str

    @property
    def gradient_bottoms(self) -> tuple[int, ...]:
        """No bottom: what is written to a file has no gradient."""
        return ()


@dataclass(frozen=True, kw_only=True)
class Parameter(NoReadOp):
    """A learned array as a blob: its top is parameter 0."""

    type: ClassVar[str] = "Parameter"


def source_op(layer: LayerParameter, top_shapes: Sequence[Shape]) -> Op:
    """Return the op of a source layer whose top shapes are known."""
    if len(top_shapes) != len(layer.top):
        raise ShapeError(
            f"got {len(top_shapes)} shapes for {len(layer.top)} tops "
            f"{tuple(layer.top)}; expected one for each",
            layer=label(layer),
        )
    tops = tuple(tuple(int(size) for size in shape) for shape in top_shapes)
    for index, shape in enumerate(tops):
        check_count(layer, f"top {index}", shape)
    if layer.type == "Input":
        return Input(layer=layer, bottoms=(), tops=tops)
    if layer.type == "DummyData":
        fillers = _fillers(layer)
        return DummyData(layer=layer, bottoms=(), tops=tops, data_filler=fillers)
    return _file_source(layer)(layer=layer, bottoms=(), tops=tops)


def _file_source(layer: LayerParameter) -> type[FileSource]:
    kind = CLASSES.get(layer.type)
    if kind is None or not issubclass(kind, FileSource):
        raise SpecError(
            "this is not a data layer; it has no source", layer=label(layer)
        )
    return kind


def infer_with(
    layer: LayerParameter,
    bottoms: Sequence[Shape],
    given: Mapping[str, Sequence[int]],
) -> Op:
    """Read a layer as `infer` does, using the shapes `given` for its tops by name.

    They hold for data layers, and for Python layers, Filter and others that learn their
    shapes when they run. Where the images of a data layer are given, its labels follow.
    """
    if not any(top in given for top in layer.top):
        return infer(layer, bottoms)
    if layer.type == "Python" and all(top in given for top in layer.top):
        tops = [tuple(given[top]) for top in layer.top]
        return python_op(layer, tuple(bottoms), tops)
    if layer.type != "Python" and op_class(layer.type).learns_shapes:
        op = infer(layer, bottoms)
        found = zip(layer.top, op.tops, strict=True)
        return replace(op, tops=tuple(tuple(given.get(t, own)) for t, own in found))
    if not op_class(layer.type).is_source:
        return infer(layer, bottoms)
    missing = [top for top in layer.top if top not in given]
    if not missing:
        return source_op(layer, [tuple(given[top]) for top in layer.top])
    if list(layer.top[1:]) == missing and issubclass(op_class(layer.type), FileSource):
        return images_of(layer, tuple(given[layer.top[0]]))
    own = infer(layer, ()).tops
    shapes = [given.get(top, own[place]) for place, top in enumerate(layer.top)]
    return source_op(layer, [tuple(shape) for shape in shapes])


@infers("Input")
def input_(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> Op:
    """Read an Input layer."""
    given = [tuple(shape.dim) for shape in layer.input_param.shape]
    if not given:
        raise ShapeError(
            "input_param.shape is missing; give one shape for all tops, or one for "
            "each",
            layer=label(layer),
        )
    return source_op(layer, _spread(layer, "input_param.shape", given))


@infers("DummyData")
def dummy_data(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> Op:
    """Read a DummyData layer."""
    param = layer.dummy_data_param
    old = [list(getattr(param, f)) for f in ("num", "channels", "height", "width")]
    if any(old):
        if len(param.shape):
            raise SpecError(
                "both shape and num/channels/height/width are given; keep shape",
                layer=label(layer),
            )
        names = ("num", "channels", "height", "width")
        spread = [
            _spread(layer, f"dummy_data_param.{name}", values)
            for name, values in zip(names, old, strict=True)
        ]
        return source_op(layer, list(zip(*spread, strict=True)))
    given = [tuple(shape.dim) for shape in param.shape]
    return source_op(layer, _spread(layer, "dummy_data_param.shape", given))


def _spread(layer: LayerParameter, field: str, given: list[Shape]) -> list[Shape]:
    """Return a value for every top, given one for all or one for each."""
    if len(given) == 1:
        return given * len(layer.top)
    if len(given) != len(layer.top):
        raise SpecError(
            f"{field} is given {len(given)} times for {len(layer.top)} tops; give one "
            f"for all tops, or one for each",
            layer=label(layer),
        )
    return given


def _fillers(layer: LayerParameter) -> tuple[FillerParameter, ...]:
    given = list(layer.dummy_data_param.data_filler)
    if not given:
        return (constant(0),) * len(layer.top)
    if len(given) == 1:
        return tuple(given * len(layer.top))
    if len(given) != len(layer.top):
        raise SpecError(
            f"data_filler is given {len(given)} times for {len(layer.top)} tops; give "
            f"one for all tops, or one for each",
            layer=label(layer),
        )
    return tuple(given)


@infers("MemoryData")
def memory_data(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> Op:
    """Read a MemoryData layer."""
    param = layer.memory_data_param
    shape = (param.batch_size, param.channels, param.height, param.width)
    if min(shape) < 1:
        raise SpecError(
            f"memory_data_param gives batch_size, channels, height and width {shape}; "
            f"expected at least 1 for each",
            layer=label(layer),
        )
    return images_of(layer, shape)


@infers("Data", "AnnotatedData")
def data(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> Op:
    """Read a Data or AnnotatedData layer whose database is not at hand."""
    batch = batch_of(layer, "data_param", layer.data_param.batch_size)
    height, width = size_of(layer)
    channels = _channels(layer)
    if not (height and width and channels):
        raise unknown_shapes(
            layer,
            "transform_param tells the image only with crop_size and either mean_value "
            "for every channel, force_color or force_gray",
        )
    return images_of(layer, (batch, channels, height, width))


@infers("ImageData")
def image_data(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> Op:
    """Read an ImageData layer whose images are not at hand."""
    param = layer.image_data_param
    batch = batch_of(layer, "image_data_param", param.batch_size)
    height, width = size_of(layer)
    if not (height and width):
        height, width = param.new_height, param.new_width
    if not (height and width):
        raise unknown_shapes(
            layer,
            "image_data_param tells the image only with new_height and new_width, or "
            "transform_param with crop_size",
        )
    channels = 3 if param.is_color else 1
    return images_of(layer, (batch, channels, height, width))


@infers("WindowData")
def window_data(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> Op:
    """Read a WindowData layer."""
    param = layer.window_data_param
    batch = batch_of(layer, "window_data_param", param.batch_size)
    crop = layer.transform_param.crop_size or param.crop_size
    if not crop:
        raise SpecError(
            "crop_size is missing; give the size of the windows", layer=label(layer)
        )
    return images_of(layer, (batch, 3, crop, crop))


@infers("HDF5Data", "VideoData")
def file_data(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> Op:
    """Refuse an HDF5Data or VideoData layer whose file is not at hand."""
    raise unknown_shapes(layer, "the layer does not tell them")


@infers("HDF5Output")
def hdf5_output(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> HDF5Output:
    """Read an HDF5Output layer."""
    for index, shape in enumerate(bottoms):
        if shape[:1] != bottoms[0][:1] or not 1 <= len(shape) <= 4:
            raise ShapeError(
                f"data and label must have the same first axis and at most 4 axes; "
                f"{bottom_name(layer, 0)} has {bottoms[0]} and "
                f"{bottom_name(layer, index)} has {shape}",
                layer=label(layer),
            )
    name = layer.hdf5_output_param.file_name
    if not name:
        raise SpecError(
            "hdf5_output_param.file_name is missing; name the file to write",
            layer=label(layer),
        )
    return HDF5Output(layer=layer, bottoms=bottoms, tops=(), file_name=name)


@infers("Parameter")
def parameter(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> Parameter:
    """Read a Parameter layer."""
    shape = tuple(int(dim) for dim in layer.parameter_param.shape.dim)
    return Parameter(
        layer=layer, bottoms=(), tops=(shape,), params=(ParamDef(shape, constant(0)),)
    )


def batch_of(layer: LayerParameter, param: str, size: int) -> int:
    """Return the number of items of a batch; raises `SpecError` for none."""
    if size < 1:
        raise SpecError(
            f"{param}.batch_size is {size}; give at least 1", layer=label(layer)
        )
    return size


def _channels(layer: LayerParameter) -> int:
    transform = layer.transform_param
    if transform.force_color:
        return 3
    if transform.force_gray:
        return 1
    # One mean_value may stand for all channels, so it tells nothing.
    return len(transform.mean_value) if len(transform.mean_value) > 1 else 0


def images_of(layer: LayerParameter, images: Shape) -> Op:
    """Return the op of a data layer from the shape of its images."""
    shapes = _file_source(layer).shapes(images)
    return source_op(layer, shapes[: len(layer.top)])


def size_of(layer: LayerParameter) -> tuple[int | None, int | None]:
    """Return rows and columns of images as `transform_param` gives them, or None."""
    param = layer.transform_param
    if param.crop_size:
        return param.crop_size, param.crop_size
    for rows, columns in (("crop_h", "crop_w"), ("crop_height", "crop_width")):
        if getattr(param, rows) and getattr(param, columns):
            return getattr(param, rows), getattr(param, columns)
    resize = param.resize_param
    if resize.resize_mode == ResizeParameter.FIT_SMALL_SIZE:
        return None, None
    return resize.height or None, resize.width or None


def unknown_shapes(layer: LayerParameter, reason: str) -> UnknownShape:
    """Return the error of a data layer whose shapes are in its file."""
    top = layer.top[0] if len(layer.top) else "data"
    return UnknownShape(
        f"the shapes of its tops {tuple(layer.top)} are in the file it reads; "
        f"{reason}. Give them, as in --shape {top}=N,C,H,W on the command line or "
        f"shapes={{{top!r}: (n, c, h, w)}}",
        layer=label(layer),
    )
