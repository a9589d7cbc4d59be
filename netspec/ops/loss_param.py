"""What all losses read in the same way: `loss_param`."""

from __future__ import annotations

import math
from typing import Any

from netspec.errors import SpecError, SpecWarning
from netspec.notebooks import warn_user
from netspec.ops.base import enum_name, label
from netspec.schema import LayerParameter

_WEIGHING = ("weight_by_label_freqs", "class_weighting", "label_smoothing")


def normalization(layer: LayerParameter, default: str) -> str:
    """Resolve `loss_param`: "FULL", "VALID", "BATCH_SIZE", "NONE" or "PRE_FIXED".

    `normalization` beats its old form `normalize`. Warns, with `SpecWarning`, of class
    weights and smoothing where only SoftmaxWithLoss has them.
    """
    param = layer.loss_param
    given = [field for field in _WEIGHING if getattr(param, field)]
    if given and layer.type != "SoftmaxWithLoss":
        warn_user(
            f"{label(layer)}: loss_param.{given[0]} has no effect here; only "
            f"SoftmaxWithLoss has it, so remove it",
            SpecWarning,
        )
    if param.HasField("normalization"):
        return enum_name(param, "normalization")
    if param.HasField("normalize"):
        return "VALID" if param.normalize else "BATCH_SIZE"
    return default


def weighing(layer: LayerParameter, classes: int) -> dict[str, Any]:
    """Read how `loss_param` weighs classes and smooths labels, for the op.

    Raises `SpecError` for weights and shares that cannot be. Warns, with `SpecWarning`,
    of weights that are not asked for, which SegNet passes over.
    """
    param = layer.loss_param
    weights = tuple(param.class_weighting)
    if not 0 <= param.label_smoothing < 1:
        raise SpecError(
            f"loss_param.label_smoothing is {param.label_smoothing:g}; expected at "
            f"least 0 and below 1",
            layer=label(layer),
        )
    if not param.weight_by_label_freqs:
        if weights:
            warn_user(
                f"{label(layer)}: loss_param.class_weighting has no effect without "
                f"weight_by_label_freqs: true; add that, or remove the weights",
                SpecWarning,
            )
        weights = ()
    elif weights and len(weights) != classes:
        raise SpecError(
            f"loss_param.class_weighting is given {len(weights)} times for {classes} "
            f"classes; give a weight for every class",
            layer=label(layer),
        )
    if not all(0 <= weight < math.inf for weight in weights):
        raise SpecError(
            f"loss_param.class_weighting is {weights}; expected finite numbers from 0",
            layer=label(layer),
        )
    return {
        "class_weighting": weights,
        "by_frequency": param.weight_by_label_freqs and not weights,
        "label_smoothing": param.label_smoothing,
    }


def fixed_divisor(layer: LayerParameter) -> float:
    """Return the divisor of the normalization PRE_FIXED, 1 for any other.

    Less than 1 divides by 1, as every divisor does.
    """
    param = layer.loss_param
    if normalization(layer, default="VALID") != "PRE_FIXED":
        return 1.0
    divisor = float(param.pre_fixed_normalizer)
    if not (math.isfinite(divisor) and divisor > 0):
        raise SpecError(
            f"loss_param.pre_fixed_normalizer is {divisor:g}; expected what the loss "
            f"is divided by, a number above 0",
            layer=label(layer),
        )
    return divisor


def ignore_label(layer: LayerParameter) -> int | None:
    """Return `loss_param.ignore_label`, or None where it is not given."""
    param = layer.loss_param
    return int(param.ignore_label) if param.HasField("ignore_label") else None
