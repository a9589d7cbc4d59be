"""Layers that compute y = factor x + shift, and what that makes of weights beside them.

Factors and shifts are float64 arrays with as many axes as x, of size 1 along those over
which they are broadcast.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from netspec.graph import Node
from netspec.ops.batch_norm import ChannelNorm
from netspec.ops.convolution import Convolution, Deconvolution
from netspec.ops.inner_product import InnerProduct
from netspec.ops.scale import Bias, Scale

AFFINE = ("BatchNorm", "BN", "Scale", "Bias")
LINEAR = ("Convolution", "Deconvolution", "InnerProduct")
Linear = Convolution | Deconvolution | InnerProduct


@dataclass(frozen=True)
class Affine:
    """y = factor x + shift."""

    factor: np.ndarray
    shift: np.ndarray

    def then(self, after: Affine) -> Affine:
        """Return this one followed by another."""
        return Affine(
            self.factor * after.factor, self.shift * after.factor + after.shift
        )


def affine_of(node: Node, values: Sequence[np.ndarray]) -> Affine:
    """Return what a BatchNorm, BN, Scale or Bias of one bottom does to it.

    values: its parameters. A BatchNorm takes its remembered statistics: parameters 0
    and 1 over parameter 2, or 0 where that is 0, as in Caffe.
    """
    op = node.op
    axes = len(op.bottoms[0])
    arrays = [np.asarray(each, np.float64) for each in values]
    if isinstance(op, ChannelNorm):
        factor, shift = _normalization(op, arrays)
        axis = 1 if axes > 1 else 0
        return Affine(_spread(factor, axis, axes), _spread(shift, axis, axes))
    if isinstance(op, Scale):
        shift = arrays[1] if op.bias_term else np.zeros(op.scale_shape)
        return Affine(_spread(arrays[0], op.axis, axes), _spread(shift, op.axis, axes))
    if isinstance(op, Bias):
        shift = _spread(arrays[0], op.axis, axes)
        return Affine(np.ones_like(shift), shift)
    raise TypeError(f"{op.type} is no affine layer")


def _normalization(
    op: ChannelNorm, arrays: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return factor and shift by stored statistics, (C,) each."""
    slots = op.slots
    factor, shift = np.ones(op.channels), np.zeros(op.channels)
    if slots.mean is not None and slots.variance is not None:
        share = 1.0
        if slots.weight is not None:
            divisor = float(arrays[slots.weight].reshape(()))
            share = 1 / divisor if divisor else 0
        mean, variance = (
            arrays[slot].reshape(-1) * share for slot in (slots.mean, slots.variance)
        )
        factor = 1 / np.sqrt(variance + op.eps)
        shift = -mean * factor
    if slots.gamma is not None:
        gamma = arrays[slots.gamma].reshape(-1)
        factor, shift = factor * gamma, shift * gamma
    if slots.beta is not None:
        shift = shift + arrays[slots.beta].reshape(-1)
    return factor, shift


def _spread(values: np.ndarray, axis: int, axes: int) -> np.ndarray:
    after = axes - axis - values.ndim
    return values.reshape((1,) * axis + values.shape + (1,) * after)


def goes_by_channels(op: Linear, affine: Affine, *, follows: bool) -> bool:
    """Tell whether a layer can take in what has a value for each of its channels.

    follows: whether it stands behind the layer, or before it; what stands before an
    InnerProduct may have one for each value that is multiplied.
    """
    each = affine.factor.shape, affine.shift.shape
    if isinstance(op, InnerProduct) and not follows:
        return all(size == 1 for shape in each for size in shape[: op.axis])
    return all(math.prod(shape) == shape[op.axis] for shape in each)


def with_output(
    op: Linear, values: Sequence[np.ndarray], after: Affine
) -> list[np.ndarray]:
    """Return weights and bias of a layer that does what `after` did to its output.

        w' = factor w,  b' = factor b + shift    for every channel of the output

    Shapes: of Deconvolution weights (C, num_output / group, ...), of others
    (num_output, ...), or (K, num_output) where an InnerProduct has `transpose`.
    """
    outputs = op.num_output
    factor, shift = _along(after, outputs)
    w = np.asarray(values[0], np.float64)
    if isinstance(op, Deconvolution):
        grouped = w.reshape(op.group, op.channels // op.group, outputs // op.group, -1)
        w = (grouped * factor.reshape(op.group, 1, -1, 1)).reshape(w.shape)
    elif isinstance(op, InnerProduct) and op.transpose:
        w = w * factor
    else:
        w = w * factor.reshape(-1, *(1,) * (w.ndim - 1))
    b = np.asarray(values[1], np.float64) if op.bias_term else np.zeros(outputs)
    return _with_bias(op, w, b * factor + shift)


def with_input(
    op: Linear, values: Sequence[np.ndarray], before: Affine
) -> list[np.ndarray]:
    """Return weights and bias of a layer that does what `before` did to its input.

        w' = w factor,  b' = b + sum of w shift    over every channel of the input

    It is equal where no border is padded, and where all shifts are 0; a Deconvolution
    needs the latter.
    """
    w = np.asarray(values[0], np.float64)
    b = np.asarray(values[1], np.float64) if op.bias_term else np.zeros(op.num_output)
    if isinstance(op, InnerProduct):
        inner = op.bottoms[0][op.axis :]
        factor, shift = (
            np.broadcast_to(each.reshape(each.shape[op.axis :]), inner).reshape(-1)
            for each in (before.factor, before.shift)
        )
        rows = w.T if op.transpose else w
        b = b + rows @ shift
        rows = rows * factor
        return _with_bias(op, rows.T if op.transpose else rows, b)
    factor, shift = _along(before, op.channels)
    if isinstance(op, Deconvolution):
        w = w * factor.reshape(-1, *(1,) * (w.ndim - 1))
        return _with_bias(op, w, b)
    inputs = op.channels // op.group
    grouped = w.reshape(op.group, op.num_output // op.group, inputs, -1)
    sums = np.einsum("goik,gi->go", grouped, shift.reshape(op.group, inputs))
    grouped = grouped * factor.reshape(op.group, 1, inputs, 1)
    return _with_bias(op, grouped.reshape(w.shape), b + sums.reshape(-1))


def _along(affine: Affine, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return factor and shift for each of `size` channels."""
    factor, shift = (
        np.broadcast_to(each.reshape(-1), (size,))
        for each in (affine.factor, affine.shift)
    )
    return factor, shift


def _with_bias(op: Linear, w: np.ndarray, b: np.ndarray) -> list[np.ndarray]:
    """Return the arrays as float32; a bias that is 0 is not added where none was."""
    arrays = [w, b] if op.bias_term or b.any() else [w]
    with np.errstate(over="ignore"):
        return [np.ascontiguousarray(each, np.float32) for each in arrays]
