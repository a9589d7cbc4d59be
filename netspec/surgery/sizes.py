"""Another size of images, or of batches, with all layers checked."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import Any

from netspec.errors import ShapeError, SpecError, did_you_mean
from netspec.graph import Node
from netspec.ops.base import Shape, label
from netspec.schema import NetParameter
from netspec.surgery.inputs import (
    IMAGE_AXES,
    InputTop,
    input_tops,
    layers_of,
    size_pair,
    write_shapes,
)
from netspec.surgery.parts import Seen, Shapes, copied, seen_in_each_phase, warn
from netspec.weights import Model

_BATCHES = {
    "AnnotatedData": "data_param",
    "Data": "data_param",
    "HDF5Data": "hdf5_data_param",
    "DenseImageData": "dense_image_data_param",
    "ImageData": "image_data_param",
    "ImageLabelmapData": "image_data_param",
    "ImageSegData": "image_data_param",
    "VideoData": "data_param",
    "WindowData": "window_data_param",
}


def resize_input(
    model: Any,
    size: int | Sequence[int] | None = None,
    *,
    batch_size: int | None = None,
    shapes: Shapes | None = None,
) -> Model:
    """Return a model for images of another size, or for batches of another number.

    model: a `Model`, or what `as_model` takes; it does not change. size: one number, or
    (height, width), of all images that the net takes; data layers get it as crop_size,
    or as new_height and new_width. batch_size: the first axis of all inputs. shapes:
    whole shapes by the name of a top; of data layers these are what their files have,
    and are looked at only.

    Raises `ShapeError` where a layer cannot have the new shapes, or has values for the
    old ones: an InnerProduct behind an image has a weight for each place of it, and
    `cast_to_convolution` makes it slide instead. Without values that is a warning.
    """
    if size is None and batch_size is None and not shapes:
        raise SpecError("resize_input needs a size, a batch_size or shapes")
    result = copied(model)
    net = result.net
    before = _seen(net, None)
    tops = input_tops(net)
    new: list[Shape] = [top.shape for top in tops]
    if size is not None:
        pair = size_pair(size)
        new = _with_size(net, tops, new, pair)
    if batch_size is not None:
        new = _with_batch(net, tops, new, _above_0(batch_size))
    _check_names(net, shapes or {})
    for place, top in enumerate(tops):
        new[place] = tuple(map(index, (shapes or {}).get(top.blob, new[place])))
    changed = [
        InputTop(top.layer, top.place, shape)
        for top, shape in zip(tops, new, strict=True)
    ]
    for layer, all_shapes in layers_of(changed):
        write_shapes(layer, all_shapes)
    _check_values(result, before, seen_in_each_phase(net, shapes))
    return result


def _seen(net: NetParameter, shapes: Shapes | None) -> list[Seen]:
    try:
        return seen_in_each_phase(net, shapes)
    except SpecError:
        return []  # shapes that only files tell


def _above_0(batch_size: int) -> int:
    try:
        count = index(batch_size)
    except TypeError:
        count = 0
    if count < 1:
        raise SpecError(f"batch_size is {batch_size!r}; expected a number above 0")
    return count


def _check_names(net: NetParameter, shapes: Shapes) -> None:
    sources = [top for x in net.layer if not x.bottom for top in x.top]
    for name in shapes:
        if name not in sources:
            raise SpecError(
                f"a shape is given for {name!r}, which is no input"
                f"{did_you_mean(name, sources)}"
            )


# ---------------------------------------------------------------- what is written


def _with_size(
    net: NetParameter, tops: list[InputTop], shapes: list[Shape], pair: tuple[int, int]
) -> list[Shape]:
    """Return the shapes with other heights and widths of images."""
    images = [
        place
        for place, shape in enumerate(shapes)
        if len(shape) == IMAGE_AXES and shape[2:] != (1, 1)
    ]
    if len({shapes[place][2:] for place in images}) > 1:
        listed = ", ".join(f"{tops[p].blob!r} {shapes[p]}" for p in images)
        raise SpecError(
            f"the net takes images of several sizes: {listed}; give them by name: "
            f"shapes={{{tops[images[0]].blob!r}: {(*shapes[images[0]][:2], *pair)}}}"
        )
    files = [_crop(layer, pair) for layer in net.layer if layer.type in _BATCHES]
    if not images and not any(files):
        raise SpecError(
            "the net has no input of shape (N, C, H, W), and no data layer tells a "
            "size; give shapes by the names of inputs"
        )
    resized = list(shapes)
    for place in images:
        resized[place] = (*shapes[place][:2], *pair)
    return resized


def _crop(layer: Any, pair: tuple[int, int]) -> bool:
    """Give a data layer another size; tell whether it told one."""
    transform = layer.transform_param
    dense = layer.type == "DenseImageData"
    images = layer.dense_image_data_param if dense else layer.image_data_param
    for message in (transform, images) if dense else (transform,):
        for rows, columns in (("crop_h", "crop_w"), ("crop_height", "crop_width")):
            if getattr(message, rows, 0) and getattr(message, columns, 0):
                setattr(message, rows, pair[0])
                setattr(message, columns, pair[1])
                return True
    if transform.crop_size:
        if pair[0] != pair[1]:
            raise SpecError(
                f"crop_size cuts out a square, so {pair[0]} x {pair[1]} cannot be; "
                f"give one number",
                layer=label(layer),
            )
        transform.crop_size = pair[0]
        return True
    if images.new_height and images.new_width:
        images.new_height, images.new_width = pair
        return True
    resize = transform.resize_param
    if resize.height and resize.width:
        resize.height, resize.width = pair
        return True
    return False


def _with_batch(
    net: NetParameter, tops: list[InputTop], shapes: list[Shape], count: int
) -> list[Shape]:
    firsts = {shape[0] for shape in shapes if shape}
    if len(firsts) > 1:
        listed = ", ".join(
            f"{top.blob!r} {shape}" for top, shape in zip(tops, shapes, strict=True)
        )
        raise SpecError(
            f"the first axes of inputs differ: {listed}; give them by name, in shapes"
        )
    for layer in net.layer:
        if layer.type in _BATCHES:
            getattr(layer, _BATCHES[layer.type]).batch_size = count
    return [(count, *shape[1:]) if shape else shape for shape in shapes]


# ---------------------------------------------------------------- what still fits


def _check_values(model: Model, before: list[Seen], after: list[Seen]) -> None:
    old = {node.name: node for seen in before for node in seen.graph.nodes}
    found: dict[str, str] = {}
    valued = False
    for seen in after:
        for node in seen.graph.nodes:
            held = (model.weights or {}).get(node.name, ())
            for slot, param in enumerate(node.op.params):
                values = held[slot] if slot < len(held) else None
                has: Shape | None = None
                if values is not None:
                    has = tuple(values.shape)
                    if has == (1,) * (4 - len(param.shape)) + param.shape:
                        continue
                elif node.name in old:
                    has = old[node.name].op.params[slot].shape
                if has is not None and has != param.shape:
                    found[node.name] = _misfit(node, slot, has)
                    valued |= values is not None
    text = "; ".join(found.values())
    if valued:
        raise ShapeError(text)
    if found:
        warn(f"{text}. As there are no values, they start anew")


def _misfit(node: Node, slot: int, has: Shape) -> str:
    op: Any = node.op
    (x, *_), needed = op.bottoms, op.params[slot].shape
    said = (
        f"{label(node.layer)}: parameter {slot} has shape {has}, with the new input "
        f"{x} it needs {needed}"
    )
    if node.type == "InnerProduct" and op.axis == 1:
        return (
            f"{said}; cast it to a convolution first: "
            f"netspec.surgery.cast_to_convolution(model, [{node.name!r}])"
        )
    return f"{said}; take a size that leaves it, or start it anew under another name"
