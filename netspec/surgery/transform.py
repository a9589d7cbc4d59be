"""What is done to images before a net, as a part of the net."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from netspec.errors import ShapeError, SpecError
from netspec.nets.phases import layers_of_phase
from netspec.schema import TEST, LayerParameter
from netspec.surgery.folding import Folded, fold_layers
from netspec.surgery.inputs import image_top, input_tops, reads_shape_only
from netspec.surgery.parts import copied, free_name
from netspec.weights import Model


def fold_transform(
    model: Any,
    mean: float | Sequence[float] = 0.0,
    scale: float | Sequence[float] = 1.0,
    *,
    blob: str | None = None,
) -> Folded:
    """Return a model that takes images as they are, and prepares them itself.

        x = scale (image - mean)

    is done by the weights of the layer that reads the images, where that is the only
    one and pads nothing, or the mean is 0: a border of zeros would stand for black, and
    not for the mean. Elsewhere a Scale layer before it does it, which is exact as well;
    `left` has the reason. The model is that of the TEST phase.

    model: a `Model`, or what `as_model` takes; it does not change. mean, scale: one
    number for all channels, or one for each, in the order of the images; mean has the
    units of the images, as mean_value of transform_param, and scale those of its scale.
    blob: the input with the images, where there are several.

    Raises `SpecError` for values that are no numbers, `ShapeError` for another count.
    """
    given = copied(model)
    if given.weights is None:
        raise SpecError(
            "folding changes values, and the model has none; give its weights: "
            "as_model(net, 'x.caffemodel')"
        )
    net = layers_of_phase(given.net, TEST)
    top = image_top(input_tops(net), blob)
    factor = _for_channels(scale, top.shape[1], "scale")
    shift = -_for_channels(mean, top.shape[1], "mean") * factor
    transform = top.layer.transform_param
    if transform.mean_value or transform.mean_file or transform.scale != 1:
        raise SpecError(
            "transforms its images already; take its transform_param away first",
            layer=f"layer {top.layer.name!r} ({top.layer.type})",
        )
    names = {x.name for x in net.layer} | {b for x in net.layer for b in x.top}
    name = free_name(f"{top.blob}_transform", names)
    layer = LayerParameter(name=name, type="Scale", bottom=[top.blob], top=[name])
    layer.scale_param.bias_term = True
    place = next(p for p, x in enumerate(net.layer) if top.blob in x.top) + 1
    layers = [*net.layer]
    for each in layers[place:]:
        each.bottom[:] = [
            name if x == top.blob and not reads_shape_only(each, slot) else x
            for slot, x in enumerate(each.bottom)
        ]
        each.top[:] = [name if x == top.blob else x for x in each.top]
    del net.layer[:]
    net.layer.extend([*layers[:place], layer, *layers[place:]])
    given.weights[name] = [np.asarray(x, np.float32) for x in (factor, shift)]
    return fold_layers(Model(net, given.weights), only=[name])


def _for_channels(values: Any, channels: int, what: str) -> np.ndarray:
    try:
        numbers = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        numbers = np.asarray(np.nan)
    if not np.isfinite(numbers).all():
        raise SpecError(f"{what} is {values!r}; expected numbers")
    if numbers.shape not in ((), (1,), (channels,)):
        raise ShapeError(
            f"{what} has shape {numbers.shape}; expected one number, or one for each "
            f"of the {channels} channels (of an image of means, take the mean of each "
            f"channel)"
        )
    return np.broadcast_to(numbers.reshape(-1), (channels,))
