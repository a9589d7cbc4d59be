"""Images with other channels: gray for colour, colour for gray, another order."""

from __future__ import annotations

from collections.abc import Callable
from operator import index
from typing import Any

import numpy as np

from netspec.errors import ShapeError, SpecError, did_you_mean
from netspec.graph import Node
from netspec.ops.base import count, label
from netspec.ops.convolution import Deconvolution
from netspec.ops.inner_product import InnerProduct
from netspec.schema import LayerParameter
from netspec.surgery.affine import LINEAR
from netspec.surgery.inputs import (
    InputTop,
    image_top,
    input_tops,
    reads_shape_only,
    write_shapes,
)
from netspec.surgery.parts import Seen, copied, seen_in_each_phase
from netspec.weights import Model

# Weights of blue, green and red in a gray value, the order of Caffe's images.
# Source: ITU-R BT.601.
_LUMA_BGR = (0.114, 0.587, 0.299)


def change_channels(
    model: Any,
    channels: int | None = None,
    how: str = "mean",
    *,
    blob: str | None = None,
) -> Model:
    """Return a model for images with other channels, equal on images that are alike.

        w'[o, j] = sum over i of w[o, i] m[i, j]

    for the weights of the layers that read the images, from n channels to m:

    - "mean": m[i, j] = 1 / m. Equal where every old channel was the mean of the new
      ones: from colour to gray the weights are added up (the old image has the gray
      value three times), from gray to colour each is a third.
    - "luma": from gray to 3 channels, by 0.114, 0.587 and 0.299 for B, G and R. Equal
      where the gray image was made of the colour image so.
    - "repeat": to a multiple of n, the weights over and over, divided by how often.
      Equal where the image is given so often, and where the mean of these was.
    - "zeros": new channels get weights of 0, those beyond m go. Equal whatever new
      channels hold, and where those that go held 0.
    - "swap": as many channels in the opposite order, BGR for RGB. Equal always.

    model: a `Model`, or what `as_model` takes; it does not change. channels: their new
    number, none for "swap". blob: the input with the images, where there are several.

    Raises `SpecError` for what is no number or way, and for a layer that reads the
    images and has no weights for each of their channels.
    """
    result = copied(model)
    top = image_top(input_tops(result.net), blob)
    old = top.shape[1]
    mixed = _mixture(old, channels, how)
    found: dict[str, Node] = {}
    for seen in seen_in_each_phase(result.net):
        found |= _readers(seen, top.blob)
    for each in input_tops(result.net):
        if each.blob == top.blob:
            _change_means(each.layer, how)
            _change_shape(result, each, mixed.shape[1])
    for name, node in found.items():
        held = (result.weights or {}).get(name)
        if held and held[0] is not None:
            held[0] = _mixed(node, held[0], mixed)
    seen_in_each_phase(result.net)
    return result


def _mixture(old: int, channels: int | None, how: str) -> np.ndarray:
    """Return how much of each old channel's weights each new one gets: (n, m)."""
    if how not in _WAYS:
        raise SpecError(
            f"how is {how!r}{did_you_mean(str(how), _WAYS)} (one of {', '.join(_WAYS)})"
        )
    if channels is None:
        if how != "swap":
            raise SpecError(f"how {how!r} needs channels, their new number")
        channels = old
    try:
        new = index(channels)
    except TypeError:
        new = 0
    if new < 1:
        raise SpecError(f"channels is {channels!r}; expected a number above 0")
    mixed = _WAYS[how](old, new)
    if mixed is None:
        raise SpecError(
            f"how {how!r} cannot make {new} channels of {old}: {_NEEDS[how]}"
        )
    return mixed


def _mean(old: int, new: int) -> np.ndarray:
    return np.full((old, new), 1 / new)


def _luma(old: int, new: int) -> np.ndarray | None:
    return np.array([_LUMA_BGR]) if (old, new) == (1, 3) else None


def _repeat(old: int, new: int) -> np.ndarray | None:
    if new % old:
        return None
    return np.tile(np.eye(old), (1, new // old)) * (old / new)


def _zeros(old: int, new: int) -> np.ndarray:
    return np.eye(old, new)


def _swap(old: int, new: int) -> np.ndarray | None:
    return np.eye(old)[::-1] if old == new else None


_WAYS: dict[str, Callable[[int, int], np.ndarray | None]] = {
    "mean": _mean,
    "luma": _luma,
    "repeat": _repeat,
    "zeros": _zeros,
    "swap": _swap,
}
_NEEDS = {
    "luma": "it is for 1 and 3",
    "repeat": "it needs a multiple of them",
    "swap": "it keeps their number",
}


# ---------------------------------------------------------------- who reads the images


def _readers(seen: Seen, blob: str) -> dict[str, Node]:
    """Return the layers that have weights for the channels of a blob, by name.

    Raises `SpecError` for other layers that the images reach.
    """
    found: dict[str, Node] = {}
    todo = [edge.index for edge in seen.graph.edges if edge.blob == blob]
    while todo:
        edge = seen.graph.edges[todo.pop()]
        for number, place in edge.consumers:
            node = seen.graph.nodes[number]
            if reads_shape_only(node.layer, place):
                continue
            if _keeps_channels(node):
                todo.extend(node.tops)
            elif node.type != "Silence":
                _check_reader(node, blob)
                found[node.name] = node
    for node in found.values():
        for use in seen.graph.parameters[node.params[0]].users:
            other = seen.graph.nodes[use.node]
            if other.name not in found:
                raise SpecError(
                    f"its weights are also those of {label(other.layer)}, which does "
                    f"not read {blob!r}; take the shared name from both",
                    layer=label(node.layer),
                )
    return found


def _keeps_channels(node: Node) -> bool:
    """Tell whether a layer treats every channel alike, and means of them too."""
    if node.type == "Power":
        return node.layer.power_param.power == 1
    return node.type in ("Dropout", "Split")


def _check_reader(node: Node, blob: str) -> None:
    op: Any = node.op
    if node.type in ("BatchNorm", "Bias", "BN", "Scale"):
        raise SpecError(
            f"has values for each channel of {blob!r}; fold it into the layer behind "
            f"it first, with fold_batchnorm",
            layer=label(node.layer),
        )
    if node.type not in LINEAR or op.axis != 1:
        raise SpecError(
            f"reads {blob!r} and has no weights for each of its channels, so it would "
            f"compute something else; expected a Convolution or InnerProduct",
            layer=label(node.layer),
        )
    if not isinstance(op, InnerProduct) and op.group > 1:
        raise SpecError(
            f"takes the channels of {blob!r} in {op.group} groups; only one that mixes "
            f"all of them can take others",
            layer=label(node.layer),
        )


def _mixed(node: Node, values: np.ndarray, mixed: np.ndarray) -> np.ndarray:
    """Return the weights of a layer for the new channels."""
    op: Any = node.op
    if values.size != count(op.params[0].shape):
        raise ShapeError(
            f"its weights have shape {values.shape}; expected {op.params[0].shape}",
            layer=label(node.layer),
        )
    w = values.reshape(op.params[0].shape).astype(np.float64)
    if isinstance(op, InnerProduct):
        rows = w.T if op.transpose else w
        split = rows.reshape(op.num_output, mixed.shape[0], -1)
        rows = np.einsum("oik,ij->ojk", split, mixed).reshape(op.num_output, -1)
        new = rows.T if op.transpose else rows
    elif isinstance(op, Deconvolution):
        new = np.einsum("io...,ij->jo...", w, mixed)
    else:
        new = np.einsum("oi...,ij->oj...", w, mixed)
    return np.ascontiguousarray(new, np.float32)


def _change_shape(model: Model, top: InputTop, channels: int) -> None:
    tops = [x for x in input_tops(model.net) if x.layer == top.layer]
    shapes = [x.shape for x in tops]
    shapes[top.place] = (top.shape[0], channels, *top.shape[2:])
    write_shapes(top.layer, shapes)


def _change_means(layer: LayerParameter, how: str) -> None:
    """Keep what is subtracted from the images, or refuse it."""
    transform = layer.transform_param
    means = [*transform.mean_value]
    if transform.mean_file or (len({*means}) > 1 and how != "swap"):
        raise SpecError(
            "subtracts another mean from each channel of the images; subtract it "
            "before, and take mean_value and mean_file away",
            layer=label(layer),
        )
    if how == "swap":
        transform.mean_value[:] = means[::-1]
    elif len(means) > 1:
        transform.mean_value[:] = means[:1]
