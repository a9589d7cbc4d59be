"""Layers that bring images with a label for every pixel into a net."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from netspec.ops.base import Op, PartialShape, Shape, infers
from netspec.ops.data import FileSource, batch_of, images_of, size_of, unknown_shapes
from netspec.schema import (
    DenseImageDataParameter,
    ImageDataParameter,
    LayerParameter,
)


@dataclass(frozen=True, kw_only=True)
class _LabelImages(FileSource):
    """Images, and a label for every pixel of each."""

    @classmethod
    def labels(cls, images: Shape) -> Shape:
        """Return the shape of the second top: a label for every pixel."""
        return (images[0], 1, *images[2:])


@dataclass(frozen=True, kw_only=True)
class DenseImageData(_LabelImages):
    """Images and images of their labels, of SegNet."""

    type: ClassVar[str] = "DenseImageData"

    @classmethod
    def told_tops(cls, layer: LayerParameter) -> Sequence[PartialShape | None]:
        """Return the number of images, the channels and a crop."""
        return _told(layer, layer.dense_image_data_param)


@dataclass(frozen=True, kw_only=True)
class ImageLabelmapData(_LabelImages):
    """Images and images of their edges, of HED."""

    type: ClassVar[str] = "ImageLabelmapData"

    @classmethod
    def told_tops(cls, layer: LayerParameter) -> Sequence[PartialShape | None]:
        """Return the number of images, the channels and a crop."""
        return _told(layer, layer.image_data_param)


@dataclass(frozen=True, kw_only=True)
class ImageSegData(_LabelImages):
    """Images, labels of their pixels and their sizes, of DeepLab and PSPNet."""

    type: ClassVar[str] = "ImageSegData"

    @classmethod
    def shapes(cls, images: Shape) -> tuple[Shape, ...]:
        """Return the shapes of images, labels and sizes."""
        return images, cls.labels(images), (images[0], 1, 1, 2)

    @classmethod
    def told_tops(cls, layer: LayerParameter) -> Sequence[PartialShape | None]:
        """Return the number of images, the channels and a crop."""
        return _told(layer, layer.image_data_param)


@infers("DenseImageData", "ImageLabelmapData", "ImageSegData")
def label_images(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> Op:
    """Read a layer of images with labels for their pixels, which are not at hand."""
    dense = layer.type == "DenseImageData"
    field = "dense_image_data_param" if dense else "image_data_param"
    param = getattr(layer, field)
    batch = batch_of(layer, field, param.batch_size)
    images = _told(layer, param)[0]
    if images is None or None in images:
        raise unknown_shapes(
            layer,
            f"{field} tells the image only with new_height and new_width, or "
            f"transform_param with a crop",
        )
    return images_of(layer, (batch, *(int(size or 0) for size in images[1:])))


def _told(
    layer: LayerParameter, param: DenseImageDataParameter | ImageDataParameter
) -> Sequence[PartialShape | None]:
    """Return what a layer of images with labels tells of its tops."""
    height, width = size_of(layer)
    if isinstance(param, DenseImageDataParameter) and param.crop_height:
        height, width = param.crop_height, param.crop_width or None
    scaled = len(layer.transform_param.scale_factors) > 0
    if not (height and width) and not scaled:
        height, width = param.new_height or None, param.new_width or None
    batch, channels = param.batch_size, 3 if param.is_color else 1
    images = (batch, channels, height, width)
    labels = (batch, 1, height, width)
    return (images, labels, (batch, 1, 1, 2))[: len(layer.top)]
