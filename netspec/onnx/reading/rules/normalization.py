"""Normalisations: BatchNorm with Scale, LRN, and what is made of means and roots.

ONNX has eps inside the root, Caffe's MVN outside. So the normalisation of an instance
or a layer is an MVN that only subtracts the mean, and the inverse root of the mean
square plus eps as the factor of a Scale:

    d = x - mean(x), y = d (eps + mean(d^2))^(-1/2)
"""

from __future__ import annotations

import math

import numpy as np

from netspec.onnx.reading.build import Build, as_weight
from netspec.onnx.reading.node import Node
from netspec.onnx.reading.rules.pooling import whole_planes
from netspec.onnx.reading.rules.table import rule
from netspec.onnx.reading.values import Blob, Constant, Weight
from netspec.schema import (
    BatchNormParameter,
    LayerParameter,
    LRNParameter,
    MVNParameter,
    ScaleParameter,
)


@rule("BatchNormalization")
def batch_normalization(node: Node, net: Build) -> list[Blob | None]:
    """BatchNorm with the stored statistics in TEST, and Scale."""
    names = ("scale", "B", "mean", "var")
    x = net.blob(node, 0)
    if len(x.shape) < 2:
        node.refuse(f"x has shape {x.shape}; expected (N, C, ...)")
    if node.flag("training_mode"):
        node.refuse(
            "training_mode is 1, so it normalizes with the statistics of the batch; "
            "export in evaluation mode (model.eval())"
        )
    if node.version < 7 and not node.flag("is_test"):
        node.refuse("is_test is 0; export it for use")
    node.only("spatial", 1)
    if any(node.proto.output[1:]):
        node.refuse("outputs beside the first are used; export it for use")
    scale, shift, mean, variance = (
        node.constant(place, name) for place, name in enumerate(names, 1)
    )
    for each, name in zip((scale, shift, mean, variance), names, strict=True):
        if each.shape != (x.shape[1],):
            node.refuse(f"{name} has shape {each.shape}; expected ({x.shape[1]},)")
    param = BatchNormParameter()
    eps, kept = node.option("epsilon"), node.option("momentum")
    if np.float32(eps) != np.float32(1e-5):
        param.eps = eps
    if 0 < kept < 1:
        param.moving_average_fraction = kept
    statistics = [
        as_weight(mean),
        as_weight(variance),
        Weight(np.ones(1, np.float32), f"{mean.source}|count" if mean.source else ""),
    ]
    message = LayerParameter(type="BatchNorm", batch_norm_param=param)
    y = net.layer(message, [x], statistics)
    return [net.scaled(y, 1, as_weight(scale), as_weight(shift))]


@rule("LRN")
def lrn(node: Node, net: Build) -> Blob:
    """LRN across channels; alpha is divided by the size in both."""
    x = net.blob(node, 0)
    size = node.option("size")
    if size is None or size % 2 == 0:
        node.refuse(f"size is {size}; LRN has a window of an odd number of channels")
    shape = x.shape
    if len(shape) < 3:
        node.refuse(f"x has shape {shape}; expected (N, C, ...)")
    param = LRNParameter(
        local_size=size, alpha=node.option("alpha"), beta=node.option("beta")
    )
    if node.option("bias") != 1:
        param.k = node.option("bias")
    if len(shape) != 4:
        x = net.reshape(x, (*shape[:2], math.prod(shape[2:]), 1))
    y = net.layer(LayerParameter(type="LRN", lrn_param=param), [x])
    return net.reshape(y, shape, "shape")


@rule("InstanceNormalization")
def instance_normalization(node: Node, net: Build) -> Blob:
    """Every plane of every item to mean 0 and variance 1, then Scale."""
    x = net.blob(node, 0)
    if len(x.shape) < 3:
        node.refuse(f"x has shape {x.shape}; expected (N, C, ...)")
    y = _normalized(net, x, 2, node.option("epsilon"))
    return _affine(node, net, y, 1, node.constant(1, "scale"), node.constant(2, "B"))


@rule("LayerNormalization")
def layer_normalization(node: Node, net: Build) -> Blob:
    """All axes from one on to mean 0 and variance 1, then Scale."""
    if any(node.proto.output[1:]):
        node.refuse("outputs beside the first are used")
    x = net.blob(node, 0)
    axis = node.axis(len(x.shape), default=-1)
    if axis == 0:
        node.refuse("axis is 0, so it normalizes over all items of a batch")
    y = _normalized(net, x, axis, node.option("epsilon"))
    scale = node.constant(1, "Scale")
    shift = node.constant(2, "B") if node.has(2) else None
    return _affine(node, net, y, axis, scale, shift)


@rule("GroupNormalization")
def group_normalization(node: Node, net: Build) -> Blob:
    """Every group of channels to mean 0 and variance 1, then Scale."""
    x = net.blob(node, 0)
    groups, shape = node.option("num_groups"), x.shape
    if len(shape) < 3 or not groups or groups < 1 or shape[1] % groups:
        node.refuse(f"num_groups is {groups} for x of shape {shape}")
    inner = math.prod(shape[1:]) // groups
    y = _normalized(net, net.reshape(x, (shape[0], groups, inner, 1)), 2, _eps(node))
    y = net.reshape(y, shape)
    scale, shift = node.constant(1, "scale"), node.constant(2, "bias")
    if scale.shape == (groups,) and groups != shape[1] and node.version < 21:
        times = shape[1] // groups
        scale, shift = (
            Constant(np.repeat(each.values, times), f"{each.source}|spread", True)
            for each in (scale, shift)
        )
    return _affine(node, net, y, 1, scale, shift)


@rule("MeanVarianceNormalization")
def mean_variance_normalization(node: Node, net: Build) -> Blob:
    """MVN over planes; ONNX adds 1e-9 to the deviation."""
    x = net.blob(node, 0)
    axes = sorted(node.axes(len(x.shape), node.option("axes") or (0, 2, 3)))
    if len(x.shape) != 4 or axes not in ([2, 3], [1, 2, 3]):
        node.refuse(f"axes is {axes} for shape {x.shape}; MVN is over [2, 3]")
    param = MVNParameter(eps=1e-9, across_channels=axes == [1, 2, 3])
    return net.layer(LayerParameter(type="MVN", mvn_param=param), [x])


def _eps(node: Node) -> float:
    return float(node.option("epsilon"))


def _normalized(net: Build, x: Blob, axis: int, eps: float) -> Blob:
    """Return x with mean 0 and variance 1 over all axes from `axis` on."""
    shape = x.shape
    flat = _as_planes(shape, axis)
    centred = net.layer(
        LayerParameter(type="MVN", mvn_param=MVNParameter(normalize_variance=False)),
        [net.reshape(x, flat, "planes")],
        role="centre",
    )
    square = net.power(centred, power=2, role="square")
    mean = whole_planes(net, square, "AVE", role="mean")
    inverse = net.power(mean, power=-0.5, shift=eps, role="inverse")
    factors = net.reshape(inverse, flat[:2], "factors")
    message = LayerParameter(type="Scale", scale_param=ScaleParameter(axis=0))
    y = net.layer(message, [centred, factors], role="divide")
    return net.reshape(y, shape, "shape")


def _as_planes(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    """Return (N, C, H, W) with all axes from `axis` on in the last two."""
    inner = shape[axis:]
    outer = (shape[0], math.prod(shape[1:axis]))
    if len(inner) == 2:
        return (*outer, *inner)
    return (*outer, math.prod(inner), 1)


def _affine(
    node: Node, net: Build, x: Blob, axis: int, scale: Constant, shift: Constant | None
) -> Blob:
    """Return x times a factor plus a shift; ones and zeros that are fixed go."""
    for each in (scale, shift):
        known = each.shape if each is not None else scale.shape
        covered = x.shape[axis : axis + len(known)]
        if known != scale.shape or known != covered:
            node.refuse(
                f"a factor or shift has shape {known} for {x.shape} from axis {axis}"
            )
    plain = not scale.learned and np.all(scale.values == 1)
    if plain and (shift is None or (not shift.learned and not np.any(shift.values))):
        return x
    bias = None if shift is None else as_weight(shift)
    return net.scaled(x, axis, as_weight(scale), bias)
