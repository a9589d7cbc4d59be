"""Add, Mul and their like: Eltwise, Scale, Bias and Power, by who is broadcast.

Of two blobs, equal shapes make an Eltwise. Where one is smaller and covers axes side by
side, as the factors (N, C, 1, 1) of an image do, it is the second bottom of a Scale or
Bias; else it is repeated with Tile first. A number makes a Power, a constant array a
Scale with values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from netspec.onnx.reading.build import Build, as_weight, check_made, is_blob
from netspec.onnx.reading.node import Node
from netspec.onnx.reading.rules.activation import clipped
from netspec.onnx.reading.rules.table import rule
from netspec.onnx.reading.values import Blob, Constant, Value, Weight
from netspec.ops.base import Shape
from netspec.schema import (
    BiasParameter,
    ExpParameter,
    LayerParameter,
    ScaleParameter,
)

_OPERATIONS = {"Add": "SUM", "Sub": "SUM", "Mul": "PROD", "Div": "PROD"}
_WITH_BIAS = ("Convolution", "Deconvolution", "InnerProduct", "Scale")


@rule("Add", "Sub", "Mul", "Div")
def arithmetic(node: Node, net: Build) -> Blob:
    """Add, subtract, multiply or divide blobs and constants."""
    a, b = node.inputs[0], node.inputs[1]
    if node.version < 7 and a is not None and b is not None:
        b = _aligned(node, net, a.shape, b)
    if isinstance(b, Constant):
        return _with_constant(node, net, net.blob(node, 0), b)
    if isinstance(a, Constant):
        return _of_constant(node, net, a, net.blob(node, 1))
    x = net.blob(node, 0)
    y = b if isinstance(b, Blob) else net.blob(node, 1)
    if x is y:
        return _with_itself(node, net, x)
    if node.op == "Div":
        y = net.power(y, power=-1, role="inverse")
    if x.shape == y.shape:
        coeff = (1, -1) if node.op == "Sub" else ()
        return net.eltwise(_OPERATIONS[node.op], [x, y], coeff)
    if node.op == "Sub":
        y = net.power(y, scale=-1, role="negative")
    return _broadcast(net, _OPERATIONS[node.op], x, y)


@rule("Sum", "Mean", "Max", "Min")
def several(node: Node, net: Build) -> Blob:
    """Take the sum, mean, maximum or minimum of any number of tensors."""
    blobs = [net.blob(node, i) for i, x in enumerate(node.inputs) if is_blob(x)]
    constants = [x for x in node.inputs if isinstance(x, Constant)]
    if node.op in ("Max", "Min"):
        return _extreme(node, net, blobs, constants)
    y = _together(net, "SUM", blobs)
    for constant in constants:
        y = _shifted(node, net, y, constant)
    if node.op == "Mean":
        y = net.power(y, scale=1 / len(node.inputs), role="mean")
    return y


@rule("Pow")
def pow_(node: Node, net: Build) -> Blob:
    """X to a constant power, or a constant to x."""
    if is_blob(node.inputs[0]):
        exponent = node.number(1, "the exponent")
        if exponent is None:
            node.refuse("the exponent is not given")
        return net.power(net.blob(node, 0), power=exponent)
    base = node.number(0, "the base")
    if base is None or not base > 0:
        node.refuse(f"the base is {base}; expected a positive number")
    x = net.blob(node, 1, "the exponent")
    if base == 1:
        return net.power(x, scale=0, shift=1)
    message = LayerParameter(type="Exp", exp_param=ExpParameter(base=base))
    return net.layer(message, [x])


def _aligned(node: Node, net: Build, whole: Shape, b: Value) -> Value:
    """Return the second operand with axes as from version 7 on.

    Before that it met the first one from `axis` on, if `broadcast` was set.
    """
    if b.shape == whole:
        return b
    axis = node.option("axis")
    if not node.flag("broadcast"):
        node.refuse(f"shapes {whole} and {b.shape} differ, and broadcast is not set")
    first = len(whole) - len(b.shape) if axis is None else axis
    behind = len(whole) - first - len(b.shape)
    if first < 0 or behind < 0:
        node.refuse(f"axis is {axis} for shapes {whole} and {b.shape}")
    shape = (*b.shape, *(1,) * behind)
    if isinstance(b, Constant):
        return Constant(b.values.reshape(shape), b.source, b.learned)
    x = b if isinstance(b, Blob) else net.padding(b)
    return net.reshape(x, shape, "shape")


def _with_itself(node: Node, net: Build, x: Blob) -> Blob:
    """Return x + x, x x, or what is 0 or 1."""
    if node.op == "Add":
        return net.power(x, scale=2)
    if node.op == "Mul":
        return net.power(x, power=2)
    return net.power(x, scale=0, shift=0 if node.op == "Sub" else 1)


def _with_constant(node: Node, net: Build, x: Blob, constant: Constant) -> Blob:
    if node.op == "Add":
        return _shifted(node, net, x, constant)
    if node.op == "Mul":
        return _multiplied(node, net, x, constant)
    with np.errstate(divide="ignore"):
        if node.op == "Sub":
            changed, done = -constant.real(), "negative"
        else:
            changed, done = 1 / constant.real(), "inverse"
    if not np.all(np.isfinite(changed)):
        node.refuse("it divides by 0, or by a number that is too small")
    source = f"{constant.source}|{done}" if constant.source else ""
    other = Constant(changed, source, constant.learned)
    act = _shifted if node.op == "Sub" else _multiplied
    return act(node, net, x, other)


def _of_constant(node: Node, net: Build, constant: Constant, x: Blob) -> Blob:
    """Return constant + x, constant - x, constant x or constant / x."""
    if node.op == "Sub":
        x = net.power(x, scale=-1, role="negative")
    elif node.op == "Div":
        x = net.power(x, power=-1, role="inverse")
    act = _shifted if node.op in ("Add", "Sub") else _multiplied
    return act(node, net, x, constant)


def _shifted(node: Node, net: Build, x: Blob, constant: Constant) -> Blob:
    """Return x plus a constant: as the bias of what made x, a Power or a Bias."""
    if constant.values.size == 1 and len(constant.shape) <= len(x.shape):
        values = constant.real().reshape(-1)
        if not (constant.learned and _takes_bias(node, net, x, constant)):
            return net.power(x, shift=float(values[0]))
    if _takes_bias(node, net, x, constant):
        return _bias_into(x, constant)
    x, axis, weight = _placed(node, net, x, constant)
    param = BiasParameter()
    if axis != 1:
        param.axis = axis
    if weight.values.ndim != 1:
        param.num_axes = weight.values.ndim
    return net.layer(LayerParameter(type="Bias", bias_param=param), [x], [weight])


def _multiplied(node: Node, net: Build, x: Blob, constant: Constant) -> Blob:
    """Return x times a constant: a Power or a Scale."""
    if constant.values.size == 1 and len(constant.shape) <= len(x.shape):
        return net.power(x, scale=float(constant.real().reshape(-1)[0]))
    x, axis, weight = _placed(node, net, x, constant)
    return net.scaled(x, axis, weight, role="")


def _takes_bias(node: Node, net: Build, x: Blob, constant: Constant) -> bool:
    """Tell whether the layer that makes x may take the constant as its bias."""
    maker = x.maker
    if maker is None or maker.type not in _WITH_BIAS or len(maker.weights) != 1:
        return False
    alone = x.tensor in node.proto.input and net.reads.get(x.tensor, 0) == 1
    if not alone or x.readers:
        return False
    axis = 1 if maker.type != "InnerProduct" else len(x.shape) - 1
    if maker.type == "Scale":
        if len(maker.bottoms) > 1 or maker.weights[0].values.ndim != 1:
            return False
        if maker.weights[0].learned != constant.learned:
            return False
        axis = maker.message.scale_param.axis
    shape = (1,) * (len(x.shape) - len(constant.shape)) + constant.shape
    channels = tuple(s if i == axis else 1 for i, s in enumerate(x.shape))
    return shape == channels


def _bias_into(x: Blob, constant: Constant) -> Blob:
    maker = x.maker
    if maker is None:
        return x
    message = maker.message
    if maker.type == "Scale":
        message.scale_param.bias_term = True
    elif maker.type == "InnerProduct":
        message.inner_product_param.ClearField("bias_term")
    else:
        message.convolution_param.ClearField("bias_term")
    values = constant.real().reshape(-1)
    maker.weights.append(as_weight(constant, values, "flat"))
    return x


def _placed(
    node: Node, net: Build, x: Blob, constant: Constant
) -> tuple[Blob, int, Weight]:
    """Return x in its full shape, and the constant along axes side by side of it."""
    try:
        whole = np.broadcast_shapes(x.shape, constant.shape)
    except ValueError:
        node.refuse(f"shapes {x.shape} and {constant.shape} do not meet")
    x = net.expand(x, whole)
    shape = (1,) * (len(whole) - len(constant.shape)) + constant.shape
    long = [axis for axis, size in enumerate(shape) if size != 1]
    if not long:
        return x, 0, as_weight(constant, constant.real().reshape(()), "number")
    first, last = long[0], long[-1]
    values = constant.real().reshape(shape[first : last + 1])
    target = whole[first : last + 1]
    if values.shape == target:
        return x, first, as_weight(constant, values, "flat" if last == first else "")
    check_made(math.prod(target))
    spread = np.broadcast_to(values, target).copy()
    return x, first, as_weight(constant, spread, f"spread {target}")


def _broadcast(net: Build, operation: str, x: Blob, y: Blob) -> Blob:
    """Return the sum or product of blobs of different shapes."""
    try:
        whole = np.broadcast_shapes(x.shape, y.shape)
    except ValueError:
        whole = ()
    for large, small in ((x, y), (y, x)):
        if large.shape != whole:
            continue
        span = covered(whole, small.shape)
        if span is not None:
            small = net.reshape(small, whole[span[0] : span[1]], "shape")
            return _stretched(net, operation, large, small, span[0])
    return net.eltwise(operation, [net.expand(x, whole), net.expand(y, whole)])


def _stretched(net: Build, operation: str, x: Blob, small: Blob, axis: int) -> Blob:
    if operation == "SUM":
        message = LayerParameter(type="Bias", bias_param=BiasParameter(axis=axis))
    else:
        message = LayerParameter(type="Scale", scale_param=ScaleParameter(axis=axis))
    return net.layer(message, [x, small])


def covered(whole: Shape, small: Shape) -> tuple[int, int] | None:
    """Return the axes side by side that a small shape covers, None if there are none.

    An axis of size 1 of both may belong to them; the batch does where it can.
    """
    shape = (1,) * (len(whole) - len(small)) + tuple(small)
    long = [axis for axis, size in enumerate(shape) if size != 1]
    if not long:
        return None
    first, last = long[0], long[-1]
    if len(small) == len(whole) and shape[: first + 1] == whole[: first + 1]:
        first = 0  # so that it holds for any number of items
    if shape[first : last + 1] != whole[first : last + 1]:
        return None
    if len(small) == len(whole) and first and whole[0] == 1:
        return None  # a batch of one is no reason to drop the items
    return first, last + 1


def _together(net: Build, operation: str, blobs: Sequence[Blob]) -> Blob:
    """Return a sum, product or maximum of blobs of any shapes."""
    if len(blobs) == 1:
        return blobs[0]
    whole = np.broadcast_shapes(*(blob.shape for blob in blobs))
    return net.eltwise(operation, [net.expand(blob, whole) for blob in blobs])


def _extreme(
    node: Node, net: Build, blobs: Sequence[Blob], constants: Sequence[Constant]
) -> Blob:
    """Return the maximum; the minimum is that of what has the other sign."""
    largest = node.op == "Max"
    if len(blobs) > 1 and not largest:
        blobs = [net.power(blob, scale=-1, role="negative") for blob in blobs]
    y = _together(net, "MAX", blobs)
    if len(blobs) > 1 and not largest:
        y = net.power(y, scale=-1, role="minimum")
    for constant in constants:
        values = constant.real()
        if values.size != 1 or len(values.shape) > len(y.shape):
            node.refuse(
                f"a constant of shape {values.shape} is compared; expected one number"
            )
        limit = float(values.reshape(-1)[0])
        low, high = (limit, None) if largest else (None, limit)
        y = clipped(net, y, low, high, node)
    return y
