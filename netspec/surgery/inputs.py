"""Shapes of the data that a net takes: read from its layers, and written there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import index
from typing import Any

from netspec.errors import ShapeError, SpecError, did_you_mean
from netspec.ops import infer
from netspec.ops.base import Shape, label
from netspec.schema import LayerParameter, NetParameter

SHAPED = frozenset(("DummyData", "Input", "MemoryData"))  # that tell their own shapes
IMAGE_AXES = 4  # of a blob (N, C, H, W)


@dataclass(frozen=True)
class InputTop:
    """A top of a layer that brings data in, with the shape that the layer tells."""

    layer: LayerParameter
    place: int
    shape: Shape

    @property
    def blob(self) -> str:
        """The name of the top."""
        return self.layer.top[self.place]


def input_tops(net: NetParameter) -> list[InputTop]:
    """Return the tops of layers that tell the shapes of their data."""
    return [
        InputTop(layer, place, shape)
        for layer in net.layer
        if layer.type in SHAPED
        for place, shape in enumerate(infer(layer, ()).tops)
    ]


def write_shapes(layer: LayerParameter, shapes: Sequence[Shape]) -> None:
    """Let a layer of `SHAPED` tell other shapes of its tops.

    Raises `ShapeError` for what a MemoryData cannot have.
    """
    if layer.type == "MemoryData":
        images, labels = shapes[0], shapes[1:]
        if len(images) != IMAGE_AXES or any(x != images[:1] for x in labels):
            raise ShapeError(
                f"its tops would have shapes {tuple(shapes)}; expected (N, C, H, W), "
                f"and (N,) for labels",
                layer=label(layer),
            )
        param = layer.memory_data_param
        param.batch_size, param.channels, param.height, param.width = images
        return
    options: Any = layer.input_param
    if layer.type == "DummyData":
        options = layer.dummy_data_param
        for field in ("num", "channels", "height", "width"):
            options.ClearField(field)
    one = len(options.shape) == 1 and len({*shapes}) == 1
    del options.shape[:]
    for shape in shapes[:1] if one else shapes:
        options.shape.add(dim=shape)


def size_pair(size: Any) -> tuple[int, int]:
    """Return height and width from one number for both, or two.

    Raises `SpecError` for anything else.
    """
    try:
        pair = (
            (index(size),) * 2 if not hasattr(size, "__len__") else (*map(index, size),)
        )
    except TypeError:
        pair = ()
    if len(pair) != 2 or min(pair) < 1:
        raise SpecError(
            f"size is {size!r}; expected one number above 0, or (height, width)"
        )
    return pair[0], pair[1]


def image_top(tops: Sequence[InputTop], blob: str | None) -> InputTop:
    """Return the top with images that is meant: the one named, or the only one.

    Raises `SpecError` where it is not clear.
    """
    names = [top.blob for top in tops if len(top.shape) == IMAGE_AXES]
    if blob is None:
        if len({*names}) != 1:
            raise SpecError(
                f"which input has the images? Those with shapes (N, C, H, W) are "
                f"{', '.join(map(repr, dict.fromkeys(names))) or 'none'}; name it with "
                f"blob, or take the net for use (netspec.deploy) where files tell it"
            )
        blob = names[0]
    if blob not in names:
        raise SpecError(
            f"{blob!r} is no input of a shape (N, C, H, W) that its layer tells"
            f"{did_you_mean(blob, names)}"
        )
    return next(top for top in tops if top.blob == blob)


def layers_of(tops: Sequence[InputTop]) -> Iterator[tuple[LayerParameter, list[Shape]]]:
    """Yield every layer once, with the shapes of all its tops, in order."""
    start = 0
    while start < len(tops):
        count = len(tops[start].layer.top)
        yield tops[start].layer, [top.shape for top in tops[start : start + count]]
        start += count


def reads_shape_only(layer: LayerParameter, place: int) -> bool:
    """Tell whether a layer looks at the height and width of a bottom, not at values."""
    return place == 1 and (
        layer.type == "PriorBox"
        or (layer.type == "Crop" and layer.crop_param.axis in (2, 3, -2, -1))
    )
