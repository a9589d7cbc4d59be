"""BatchNorm and BN."""

from __future__ import annotations

import numpy as np

from netspec.onnx.writing.families.normalization import standardized
from netspec.onnx.writing.layer import Layer, writes
from netspec.onnx.writing.values import Value


@writes("BatchNorm", "BN")
def batch_norm(layer: Layer) -> Value:
    """Write BatchNormalization by stored statistics, or what it says by others."""
    op = layer.op
    if len(op.tops) > 1:
        raise layer.refused(
            "its tops tell the statistics of the batch, which are for training; "
            "remove them"
        )
    if op.statistics == "none":
        return _affine(layer, layer.x)
    axes = len(op.bottoms[0])
    if op.statistics == "batch":
        each = [axis for axis in range(axes) if axis != 1]

        def mean(values: Value) -> Value:
            return layer.reduce("ReduceMean", values, each, keep=True)

        return _affine(layer, standardized(layer, layer.x, mean, op.eps, inside=True))
    inputs = [*_learned(layer), *_stored(layer)]
    if axes == 1:  # one channel; ONNX wants an axis for it
        x = layer.add("Unsqueeze", layer.x, layer.integers(1))
        y = layer.add("BatchNormalization", x, *inputs, epsilon=op.eps)
        return layer.add("Squeeze", y, layer.integers(1))
    x = _apart(layer, layer.x)
    return layer.add("BatchNormalization", x, *inputs, epsilon=op.eps)


def _apart(layer: Layer, x: Value) -> Value:
    """Return x with a node behind it where it comes from a ConvTranspose with groups.

    OpenCV 4.14 folds what follows that directly into its kernels, in a wrong order.
    """
    makers = reversed(layer.draft.pieces)
    maker = next((piece for piece in makers if x in piece.outputs), None)
    if maker is None or maker.kind != "ConvTranspose" or maker.attributes["group"] == 1:
        return x
    return layer.add("Reshape", x, layer.integers(*(0,) * len(layer.op.bottoms[0])))


def _stored(layer: Layer) -> tuple[Value, Value]:
    """Return the stored mean and variance."""
    op, slots, name = layer.op, layer.op.slots, layer.node.name

    def statistics() -> tuple[Value, Value]:
        share = np.float32(1)
        if slots.weight is not None:
            factor = layer.array(slots.weight).reshape(())
            share = np.float32(0 if factor == 0 else 1 / factor)
        mean, variance = (
            layer.array(slot).reshape(op.channels) * share
            for slot in (slots.mean, slots.variance)
        )
        return Value(f"{name}_mean", mean), Value(f"{name}_variance", variance)

    taken = [slots.mean, slots.variance]
    taken += [slots.weight] if slots.weight is not None else []
    return layer.derived(taken, "statistics", statistics)


def _learned(layer: Layer) -> tuple[Value, Value]:
    """Return factor and bias, which ONNX's node always has."""
    op, slots, name = layer.op, layer.op.slots, layer.node.name
    ones = np.ones(op.channels, np.float32)
    missing = layer.derived(
        [slot for slot in slots if slot is not None],
        "factor and bias",
        lambda: (Value(f"{name}_scale", ones), Value(f"{name}_bias", 0 * ones)),
    )
    return (
        missing[0] if slots.gamma is None else layer.parameter(slots.gamma, ones.shape),
        missing[1] if slots.beta is None else layer.parameter(slots.beta, ones.shape),
    )


def _affine(layer: Layer, x: Value) -> Value:
    """Multiply and add what the layer has learned."""
    op, slots = layer.op, layer.op.slots
    wide = (op.channels, *(1,) * (len(op.bottoms[0]) - 2))
    if slots.gamma is not None:
        x = layer.add("Mul", x, layer.parameter(slots.gamma, wide))
    if slots.beta is not None:
        x = layer.add("Add", x, layer.parameter(slots.beta, wide))
    return x
