"""Functions of one value, and softmax."""

from __future__ import annotations

import math

import numpy as np

from netspec.onnx.reading.build import Build, as_weight
from netspec.onnx.reading.node import Node
from netspec.onnx.reading.rules.table import rule
from netspec.onnx.reading.values import WHOLE, Blob, Constant
from netspec.schema import (
    ClipParameter,
    DropoutParameter,
    ELUParameter,
    LayerParameter,
    PReLUParameter,
    ReLUParameter,
    SoftmaxParameter,
    ThresholdParameter,
)

LARGEST = float(np.finfo(np.float32).max)

_PLAIN = {
    "Abs": "AbsVal",
    "Exp": "Exp",
    "Log": "Log",
    "Relu": "ReLU",
    "Sigmoid": "Sigmoid",
    "Softplus": "BNLL",
    "Tanh": "TanH",
}
_POWERS = {"Reciprocal": -1.0, "Sqrt": 0.5}


@rule(*_PLAIN)
def plain(node: Node, net: Build) -> Blob:
    """Make a layer of the same function."""
    return net.layer(LayerParameter(type=_PLAIN[node.op]), [net.blob(node, 0)])


@rule("Neg")
def negative(node: Node, net: Build) -> Blob:
    """Make -x a Power."""
    return net.power(net.blob(node, 0), scale=-1)


@rule(*_POWERS)
def power(node: Node, net: Build) -> Blob:
    """Make 1/x and the root a Power."""
    return net.power(net.blob(node, 0), power=_POWERS[node.op])


@rule("LeakyRelu")
def leaky_relu(node: Node, net: Build) -> Blob:
    """ReLU with negative_slope."""
    return _leaky(net, net.blob(node, 0), node.option("alpha"))


@rule("PRelu")
def prelu(node: Node, net: Build) -> Blob:
    """PReLU: a slope a channel, or one for all."""
    x = net.blob(node, 0)
    slope = node.constant(1, "slope")
    shape = (1,) * (len(x.shape) - len(slope.shape)) + slope.shape
    if slope.values.size == 1:
        message = LayerParameter(
            type="PReLU", prelu_param=PReLUParameter(channel_shared=True)
        )
        values = as_weight(slope, slope.real().reshape(()))
    elif len(x.shape) > 1 and shape == (1, x.shape[1], *(1,) * (len(x.shape) - 2)):
        message = LayerParameter(type="PReLU")
        values = as_weight(slope, slope.real().reshape(-1))
    else:
        node.refuse(
            f"slope has shape {slope.shape} for x of shape {x.shape}; expected one "
            f"number, or one for each channel, (C, 1, ...)"
        )
    if len(x.shape) < 2:
        node.refuse(f"x has shape {x.shape}; PReLU takes (N, C, ...)")
    return net.layer(message, [x], [values])


@rule("Elu")
def elu(node: Node, net: Build) -> Blob:
    """ELU with its alpha."""
    return _elu(net, net.blob(node, 0), node.option("alpha"))


@rule("Selu")
def selu(node: Node, net: Build) -> Blob:
    """Gamma times ELU."""
    y = _elu(net, net.blob(node, 0), node.option("alpha"))
    return net.power(y, scale=node.option("gamma"), role="gamma")


@rule("Celu")
def celu(node: Node, net: Build) -> Blob:
    """Alpha elu(x / alpha), elu with alpha 1."""
    alpha = node.option("alpha")
    if not alpha > 0:
        node.refuse(f"alpha is {alpha:g}; expected a positive number")
    x = net.power(net.blob(node, 0), scale=1 / alpha, role="divide")
    return net.power(_elu(net, x, 1.0), scale=alpha, role="multiply")


@rule("Clip")
def clip(node: Node, net: Build) -> Blob:
    """min(max(x, low), high): ReLU for low 0 alone, else Clip."""
    low, high = node.option("min"), node.option("max")
    if len(node.inputs) > 1:
        low, high = node.number(1, "min"), node.number(2, "max")
    return clipped(net, net.blob(node, 0), low, high, node)


@rule("HardSigmoid")
def hard_sigmoid(node: Node, net: Build) -> Blob:
    """max(0, min(1, alpha x + beta)): Power and Clip."""
    return _hard_sigmoid(
        net, net.blob(node, 0), node.option("alpha"), node.option("beta")
    )


@rule("HardSwish")
def hard_swish(node: Node, net: Build) -> Blob:
    """X times the hard sigmoid with 1/6 and 0.5."""
    x = net.blob(node, 0)
    return net.eltwise("PROD", [x, _hard_sigmoid(net, x, 1 / 6, 0.5)])


@rule("Swish")
def swish(node: Node, net: Build) -> Blob:
    """X sigmoid(alpha x): Sigmoid and a product, which every reader has."""
    x = net.blob(node, 0)
    inner = net.power(x, scale=node.option("alpha", 1.0), role="alpha")
    gate = net.layer(LayerParameter(type="Sigmoid"), [inner], role="sigmoid")
    return net.eltwise("PROD", [x, gate])


@rule("Greater", "Less")
def threshold(node: Node, net: Build) -> Blob:
    """Make whether x is above a number a Threshold, of x or of -x; it has 0 and 1."""
    place = int(isinstance(node.inputs[0], Constant))
    limit = node.number(1 - place, "what x is compared with")
    x = net.blob(node, place)
    if limit is None:
        node.refuse("what x is compared with is not given")
    if (node.op == "Less") == (place == 0):
        x, limit = net.power(x, scale=-1, role="minus"), -limit
    param = ThresholdParameter(threshold=limit)
    above = net.layer(LayerParameter(type="Threshold", threshold_param=param), [x])
    above.kind = WHOLE
    return above


@rule("Softsign")
def softsign(node: Node, net: Build) -> Blob:
    """X / (1 + |x|)."""
    x = net.blob(node, 0)
    size = net.layer(LayerParameter(type="AbsVal"), [x], role="abs")
    divisor = net.power(size, shift=1, power=-1, role="divide")
    return net.eltwise("PROD", [x, divisor])


@rule("Mish")
def mish(node: Node, net: Build) -> Blob:
    """X tanh(log(1 + e^x))."""
    x = net.blob(node, 0)
    soft = net.layer(LayerParameter(type="BNLL"), [x], role="softplus")
    gate = net.layer(LayerParameter(type="TanH"), [soft], role="tanh")
    return net.eltwise("PROD", [x, gate])


@rule("Gelu")
def gelu(node: Node, net: Build) -> Blob:
    """Make 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), the form with tanh."""
    if node.option("approximate") != "tanh":
        node.refuse(
            "approximate is 'none', which needs the error function; Caffe has none. "
            "Export with GELU(approximate='tanh')"
        )
    x = net.blob(node, 0)
    cubed = net.power(x, power=3, role="cube")
    factor = math.sqrt(2 / math.pi)
    inner = net.eltwise("SUM", [x, cubed], (factor, factor * 0.044715), role="inner")
    gate = net.layer(LayerParameter(type="TanH"), [inner], role="tanh")
    half = net.power(gate, scale=0.5, shift=0.5, role="half")
    return net.eltwise("PROD", [x, half])


@rule("Softmax", "LogSoftmax")
def softmax(node: Node, net: Build) -> Blob:
    """Softmax along an axis; before version 13 over all axes from it on."""
    x = net.blob(node, 0)
    axis = node.axis(len(x.shape))
    shape = x.shape
    if node.version < 13 and math.prod(shape[axis + 1 :]) != 1:
        # What is flattened to two axes for the purpose keeps the batch where it can.
        outer = shape[:axis] or (1,)
        x = net.reshape(x, (*outer, math.prod(shape[axis:])))
        axis = len(outer)
    message = LayerParameter(type="Softmax")
    if axis != 1:
        message.softmax_param.CopyFrom(SoftmaxParameter(axis=axis))
    y = net.layer(message, [x])
    if node.op == "LogSoftmax":
        y = net.layer(LayerParameter(type="Log"), [y], role="log")
        net.doubt(
            "LogSoftmax is a Softmax and a Log here, so values below about -87 become "
            "-inf; leave it out, and train with SoftmaxWithLoss"
        )
    return net.reshape(y, shape, "shape")


@rule("Dropout")
def dropout(node: Node, net: Build) -> list[Blob | None]:
    """Dropout, which only drops while training."""
    if sum(bool(name) for name in node.proto.output) > 1:
        node.refuse("its second output, the mask, is used")
    x = net.blob(node, 0)
    ratio = node.option("ratio", 0.5)
    if node.version >= 12:
        given = node.number(1, "ratio")
        ratio = 0.5 if given is None else given
        if node.number(2, "training_mode"):
            net.doubt(
                "Dropout has training_mode 1, so ONNX drops at random in use too; "
                "here it does in phase TRAIN only"
            )
    elif node.version < 7 and not node.flag("is_test"):
        net.doubt("Dropout has is_test 0; here it drops in phase TRAIN only")
    if not 0 <= ratio < 1:
        node.refuse(f"ratio is {ratio:g}; expected at least 0 and less than 1")
    if ratio == 0:
        return [x]
    message = LayerParameter(type="Dropout")
    if ratio != 0.5:
        message.dropout_param.CopyFrom(DropoutParameter(dropout_ratio=ratio))
    return [net.layer(message, [x])]


def clipped(
    net: Build, x: Blob, low: float | None, high: float | None, node: Node
) -> Blob:
    """Return x limited to [low, high]; None is no limit."""
    low = -LARGEST if low is None else max(low, -LARGEST)
    high = LARGEST if high is None else min(high, LARGEST)
    if math.isnan(low) or math.isnan(high) or low > high:
        node.refuse(f"min is {low:g} and max {high:g}; expected min <= max")
    if low == -LARGEST and high == LARGEST:
        return x
    if low == 0 and high == LARGEST:
        return net.layer(LayerParameter(type="ReLU"), [x])
    param = ClipParameter(min=low, max=high)
    return net.layer(LayerParameter(type="Clip", clip_param=param), [x])


def _leaky(net: Build, x: Blob, slope: float) -> Blob:
    param = ReLUParameter(negative_slope=slope)
    return net.layer(LayerParameter(type="ReLU", relu_param=param), [x])


def _elu(net: Build, x: Blob, alpha: float) -> Blob:
    message = LayerParameter(type="ELU")
    if alpha != 1:
        message.elu_param.CopyFrom(ELUParameter(alpha=alpha))
    return net.layer(message, [x])


def _hard_sigmoid(net: Build, x: Blob, alpha: float, beta: float) -> Blob:
    y = net.power(x, scale=alpha, shift=beta, role="line")
    param = ClipParameter(min=0, max=1)
    return net.layer(LayerParameter(type="Clip", clip_param=param), [y], role="clip")
