"""Scale and Bias."""

from __future__ import annotations

from netspec.onnx.writing.layer import Layer, writes
from netspec.onnx.writing.values import Value
from netspec.ops.base import Shape
from netspec.ops.batch_norm import ChannelNorm


@writes("Scale", "EltwiseAffine")
def scale(layer: Layer) -> Value:
    """Write a Mul, and an Add if there is a bias."""
    op = layer.op
    if _taken_in(layer):
        return layer.x
    y = layer.add("Mul", layer.x, _stretched(layer, op.axis, op.scale_shape))
    if not op.bias_term:
        return y
    bias = layer.parameter(len(op.params) - 1, _wide(layer, op.axis, op.scale_shape))
    return layer.add("Add", y, bias)


@writes("Bias")
def bias(layer: Layer) -> Value:
    """Write an Add."""
    added = _stretched(layer, layer.op.axis, layer.op.bias_shape)
    return layer.add("Add", layer.x, added)


def _taken_in(layer: Layer) -> bool:
    """Make the factor and the bias those of the BatchNormalization before, if they fit.

    That is done in place only, where nobody can ask for what is between.
    """
    op, own, pieces = layer.op, layer.node.layer, layer.draft.pieces
    batch_norm = pieces[-1] if pieces and layer.x in pieces[-1].outputs else None
    if batch_norm is None or batch_norm.kind != "BatchNormalization":
        return False
    channels = op.bottoms[0][1:2]
    if own.bottom[0] != own.top[0] or (op.axis, op.scale_shape) != (1, channels):
        return False
    if len(layer.bottoms) > 1:
        return False
    norm = layer.draft.graph.nodes[batch_norm.layer].op
    if isinstance(norm, ChannelNorm) and norm.learned_params:
        return False  # it has a factor of its own
    x, _, bias, *statistics = batch_norm.inputs
    bias = layer.parameter(1) if op.bias_term else bias
    batch_norm.inputs = [x, layer.parameter(0), bias, *statistics]
    batch_norm.taken_in.append(layer.node.index)
    return True


def _wide(layer: Layer, axis: int, shape: Shape) -> Shape:
    """Return the shape with an axis of 1 for each that follows in x."""
    behind = len(layer.op.bottoms[0]) - axis - len(shape) if shape else 0
    return (*shape, *(1,) * behind)


def _stretched(layer: Layer, axis: int, shape: Shape) -> Value:
    """Return the second bottom, or parameter 0, so that it broadcasts over x."""
    wide = _wide(layer, axis, shape)
    if len(layer.bottoms) == 1:
        return layer.parameter(0, wide)
    small = layer.bottoms[1]
    axes = range(len(shape), len(wide))
    return layer.add("Unsqueeze", small, layer.integers(*axes)) if axes else small
