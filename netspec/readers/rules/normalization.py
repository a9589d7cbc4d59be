"""BatchNorm, LRN, MVN, Normalize and Softmax."""

from __future__ import annotations

import math

import numpy as np

from netspec.readers.draft import Made, Place
from netspec.readers.forms import Form
from netspec.readers.rule import Rule, chain, power, refused, silent
from netspec.schema import LayerParameter, LRNParameter
from netspec.schema.in_force import fork
from netspec.schema.norms import NORMALIZE_ITEMS, has_scale

WITHIN = LRNParameter.WITHIN_CHANNEL
MAX_MIXED = 2048  # channels of all items whose means are taken by one matrix


def _standardized(
    form: Form, rows: int, size: int, mix: np.ndarray | None = None
) -> tuple[str, str]:
    """Add x minus the mean of its row, and the variance of the row.

    mix: what takes the means of several rows together. Shapes: (rows, size), (rows, 1).
    """
    x = form.reshape("rows", form.x, (rows, size))
    mean = _mean_of_rows(form, "mean", x, rows, size, mix)
    means = form.product("means", mean, -np.ones((size, 1)))
    centred = form.both("centred", "SUM", x, means)
    squares = form.power("squares", centred, power=2)
    return centred, _mean_of_rows(form, "variance", squares, rows, size, mix)


def _mean_of_rows(
    form: Form, suffix: str, x: str, rows: int, size: int, mix: np.ndarray | None
) -> str:
    mean = form.product(suffix, x, np.full((1, size), 1 / size))
    if mix is None:
        return mean
    flat = form.reshape(f"{suffix}_flat", mean, (1, rows))
    mixed = form.product(f"{suffix}_mixed", flat, mix)
    return form.reshape(f"{suffix}_rows", mixed, (rows, 1))


def _mvn(place: Place) -> list[Made]:
    param, shape = place.layer.mvn_param, place.tops[0]
    size = math.prod(shape[1 if param.across_channels else 2 :])
    form, rows = Form(place), math.prod(shape) // max(size, 1)
    y, variance = _standardized(form, rows, size)
    if param.normalize_variance:
        root = form.power("root", variance, power=0.5)
        factor = form.power("factor", root, 1, param.eps, -1)
        factors = form.product("factors", factor, np.ones((size, 1)))
        y = form.both("scaled", "PROD", y, factors)
    return form.end(form.reshape("shape", y, shape))


def uses_batch(layer: LayerParameter) -> bool:
    """Tell whether a layer is a BatchNorm that takes the statistics of the batch."""
    param = layer.batch_norm_param
    return param.HasField("use_global_stats") and not param.use_global_stats


def _uses_batch(place: Place) -> bool:
    return uses_batch(place.layer)


def _mixed(place: Place) -> int:
    """Return the number of means that a BatchNorm of the batch takes at first."""
    return math.prod(place.bottoms[0][:2])


def _batch_statistics(place: Place) -> list[Made]:
    shape, eps = place.bottoms[0], place.layer.batch_norm_param.eps
    form = Form(place)
    if len(shape) == 1:
        items, channels, size = 1, 1, shape[0]
    else:
        (items, channels), size = shape[:2], math.prod(shape[2:])
    mix = np.tile(np.eye(channels), (items, items)) / items if items > 1 else None
    y, variance = _standardized(form, items * channels, size, mix)
    factor = form.power("factor", variance, 1, eps, -0.5)
    factors = form.product("factors", factor, np.ones((size, 1)))
    y = form.both("scaled", "PROD", y, factors)
    return form.end(form.reshape("shape", y, shape))


def _write_alpha(place: Place) -> None:
    place.layer.lrn_param.alpha = place.layer.lrn_param.alpha


def _is_across(place: Place) -> bool:
    return bool(place.layer.lrn_param.norm_region != WITHIN)


def _lrn_with_k_of_1(place: Place) -> list[Made]:
    param = place.layer.lrn_param
    if param.k <= 0:
        return _lrn_by_powers(place)
    one = LRNParameter()
    one.CopyFrom(param)
    one.alpha, one.k = param.alpha / param.k, 1
    return chain(
        place, ("norm", "LRN", {"lrn_param": one}, ()), power("k", param.k**-param.beta)
    )


def _lrn_by_powers(place: Place) -> list[Made]:
    """Return the sum of squares as a convolution over channels, or a mean of pixels."""
    param, form = place.layer.lrn_param, Form(place)
    size, squares = param.local_size, form.power("squares", form.x, power=2)
    if _is_across(place):
        channel = np.arange(place.bottoms[0][1])
        near = abs(channel[:, None] - channel) <= size // 2
        weights = (near * param.alpha / size)[:, :, None, None]
        total = form.convolution("sums", squares, weights)
        base = form.power("base", total, 1, param.k, -param.beta)
    else:
        window = {"pool": 1, "kernel_size": size, "pad": size // 2}
        mean = form.put("means", "Pooling", squares, pooling_param=window)
        base = form.power("base", mean, param.alpha, 1, -param.beta)
    return form.end(form.both("product", "PROD", form.x, base))


def _normalize(place: Place) -> list[Made]:
    param, (items, channels, *plane) = place.layer.norm_param, place.bottoms[0]
    form, learns = Form(place), has_scale(place.layer)
    squares = form.power("squares", form.x, power=2)
    if param.across_spatial if learns else fork() in NORMALIZE_ITEMS:
        size = math.prod((channels, *plane))
        rows = form.reshape("rows", squares, (items, size))
        total = form.product("sum", rows, np.ones((1, size)))
        factor = form.power("factor", total, 1, param.eps, -0.5)
        factors = form.product("factors", factor, np.ones((size, 1)))
        factors = form.reshape("factors_shape", factors, place.bottoms[0])
    else:
        ones = np.ones((1, channels, 1, 1))
        total = form.convolution("sum", squares, ones)
        factor = form.power("factor", total, 1, param.eps, -0.5)
        factors = form.convolution("factors", factor, ones.reshape(-1, 1, 1, 1))
    y = form.both("product", "PROD", form.x, factors)
    values = place.values[0].reshape(-1) if learns else np.ones(1)
    scale = np.broadcast_to(values, (channels,))
    return form.end(form.put("scale", "Scale", y, [np.array(scale)]))


_OF_BATCH = "takes the stored statistics instead"

RULES = (
    Rule(
        name="many-batch-statistics",
        types=("BatchNorm",),
        says=f"use_global_stats: false, with more than {MAX_MIXED} channels in a batch",
        readers={
            "opencv": refused("takes one item at a time"),
            "mnn": silent(_OF_BATCH),
        },
        applies=lambda place: _uses_batch(place) and _mixed(place) > MAX_MIXED,
    ),
    Rule(
        name="batch-statistics",
        types=("BatchNorm",),
        says="use_global_stats: false",
        readers={
            "opencv": refused("takes one item at a time"),
            "mnn": silent(_OF_BATCH),
        },
        applies=lambda place: _uses_batch(place) and _mixed(place) <= MAX_MIXED,
        rewrite=_batch_statistics,
        instead="means by InnerProduct, of the batch for which the net is written",
        needs_values=True,
    ),
    Rule(
        name="no-batch-statistics",
        types=("BatchNorm",),
        says="use_global_stats: false",
        readers={
            "ncnn": silent(_OF_BATCH),
            "openvino": silent(_OF_BATCH),
            "rknn": silent(_OF_BATCH),
            "x2paddle": silent(_OF_BATCH),
        },
        applies=_uses_batch,
    ),
    Rule(
        name="lrn-alpha",
        types=("LRN",),
        says="the default alpha",
        readers={"opencv": silent("takes 0.0001 for it, not 1")},
        applies=lambda place: not place.layer.lrn_param.HasField("alpha"),
        edit=_write_alpha,
        instead="alpha written as a number",
    ),
    Rule(
        name="lrn-k",
        types=("LRN",),
        says="k other than 1",
        readers={
            "opencv": silent("ignores it"),
            "mnn": silent("ignores it"),
            "ncnn": silent("ignores it"),
            "openvino": silent("takes the whole part of it"),
            "rknn": silent("ignores it"),
        },
        applies=lambda place: _is_across(place) and place.layer.lrn_param.k != 1,
        rewrite=_lrn_with_k_of_1,
        instead="alpha / k, and Power with k^-beta",
    ),
    Rule(
        name="lrn-within",
        types=("LRN",),
        says="norm_region: WITHIN_CHANNEL",
        readers={"rknn": silent("takes it for ACROSS_CHANNELS")},
        applies=lambda place: not _is_across(place),
        rewrite=_lrn_by_powers,
        instead="powers of a mean by Pooling",
    ),
    Rule(
        name="lrn-size",
        types=("LRN",),
        says="norm_region: ACROSS_CHANNELS",
        readers={"x2paddle": silent("divides alpha by the size twice")},
        applies=_is_across,
        rewrite=_lrn_by_powers,
        instead="powers of a sum by Convolution",
        needs_values=True,
    ),
    Rule(
        name="mvn",
        types=("MVN",),
        says="MVN",
        readers={
            "opencv": silent("has eps in the root, and refuses some inputs"),
            "mnn": silent("does not subtract the mean before it squares"),
            "openvino": silent("takes each channel by itself, and has eps in the root"),
            "rknn": refused(),
            "x2paddle": refused(),
        },
        applies=lambda _: True,
        rewrite=_mvn,
        instead="means by InnerProduct",
        needs_values=True,
    ),
    Rule(
        name="normalize-of-all",
        types=("Normalize",),
        says="across_spatial or channel_shared",
        readers={"opencv": refused("does not load its values, or takes other sums")},
        applies=lambda place: (
            not has_scale(place.layer)
            or place.layer.norm_param.across_spatial
            or place.layer.norm_param.channel_shared
        ),
        rewrite=_normalize,
        instead="powers of a sum, and Scale",
        needs_values=True,
    ),
    Rule(
        name="normalize",
        types=("Normalize",),
        says="Normalize",
        readers={
            "mnn": refused(),
            "ncnn": refused("was not tried with it"),
            "openvino": refused("was not tried with it"),
            "rknn": refused("was not tried with it"),
            "x2paddle": refused("was not tried with it"),
        },
        applies=lambda _: True,
        rewrite=_normalize,
        instead="powers of a sum, and Scale",
        needs_values=True,
    ),
)
