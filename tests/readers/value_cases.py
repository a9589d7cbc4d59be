"""Nets for the rules of activations, normalizations, products and recurrent layers."""

from dataclasses import dataclass, field
from typing import Any

from netspec.catalogue import LAYER_TYPES
from tests.readers.running import net_of


@dataclass(frozen=True)
class ValueCase:
    """A net that a rule mends.

    rule: its name. text: the net. values: of inputs where not every number means
    something. before: by reader, what it made of the net as it is (with the values of
    seed 0): the largest difference as a part of the largest value, or what it did.
    """

    rule: str
    text: str
    values: dict[str, Any] = field(default_factory=dict)
    before: dict[str, str] = field(default_factory=dict)

    def __str__(self):
        return self.rule


def of(kind, options="", name="y", bottom="x", top="y"):
    """Return the text of one layer; options are those of its parameter message."""
    if options:
        options = f"{LAYER_TYPES[kind].param} {{ {options} }}"
    bottoms = "".join(f' bottom: "{blob}"' for blob in bottom.split())
    tops = "".join(f' top: "{blob}"' for blob in top.split())
    return f'layer {{ name: "{name}" type: "{kind}"{bottoms}{tops} {options} }}\n'


def case(rule, layers, before, *, values=None, **inputs):
    """Return a case; inputs are shapes by name."""
    return ValueCase(rule, net_of(layers, **inputs), values or {}, before)


def before(**found):
    """Return what readers made of a net, by name."""
    return found


# What these readers get right as it is, so the rule is for others, or for safety.
RIGHT: dict[str, str] = {}

_IMAGE = (2, 3, 4, 5)
_CONT = {"cont": [[1], [1], [0]]}
_SEQUENCE = {"x": (3, 1, 4), "cont": (3, 1)}

CASES = (
    case(
        "log-options",
        of("Log", "base: 2 scale: 0.5 shift: 3"),
        before(opencv="off by 1.2"),
        values={"x": 0.7},
        x=_IMAGE,
    ),
    case("log-base", of("Log"), before(mnn="no result"), values={"x": 0.7}, x=_IMAGE),
    case("exp-options", of("Exp", "base: 2 scale: 0.4 shift: 0.7"), RIGHT, x=_IMAGE),
    case("swish", of("Swish", "beta: -0.6"), before(mnn="refused"), x=(2, 3, 5)),
    case(
        "swish-beta", of("Swish", "beta: 1.7"), before(opencv="off by 0.0902"), x=_IMAGE
    ),
    case(
        "clip",
        of("Clip", "min: -0.4 max: 0.9"),
        before(opencv="refused", mnn="refused"),
        x=_IMAGE,
    ),
    case(
        "clip",
        of("Clip", "min: -0.4 max: 1e9"),
        before(opencv="refused", mnn="refused"),
        x=(2, 7),
    ),
    case(
        "clip",
        of("Clip", "min: -3.4028234e38 max: 0.5"),
        before(opencv="refused", mnn="refused"),
        x=(2, 3, 4),
    ),
    case(
        "threshold",
        of("Threshold", "threshold: -0.4"),
        before(opencv="refused"),
        x=_IMAGE,
    ),
    case("absval", of("AbsVal"), RIGHT, x=_IMAGE),
    case(
        "shared-slope",
        of("PReLU", "channel_shared: true"),
        before(opencv="refused"),
        x=_IMAGE,
    ),
    case("dropout-at-ends", of("Dropout"), before(mnn="no result"), x=_IMAGE),
    case(
        "dropout-at-ends",
        of("ReLU", top="a", name="a")
        + of("Dropout", bottom="a")
        + of("TanH", bottom="a", top="z", name="z"),
        before(mnn="no result"),
        x=_IMAGE,
    ),
    case("negative-axis", of("Softmax", "axis: -2"), RIGHT, x=_IMAGE),
    case(
        "negative-axis",
        of("InnerProduct", "num_output: 6 axis: -1"),
        before(mnn="ended the process"),
        x=(2, 3, 5),
    ),
    case(
        "negative-axis",
        of("Scale", "axis: -3 bias_term: true"),
        before(opencv="refused"),
        x=_IMAGE,
    ),
    case(
        "one-axis",
        of("InnerProduct", "num_output: 1 axis: 0", name="a", top="a")
        + of("TanH", bottom="a", name="b", top="b")
        + of("Exp", bottom="b")
        + of("AbsVal", bottom="b", top="z", name="z"),
        RIGHT,
        x=(2, 4),
    ),
    case("one-axis-norm", of("Softmax", "axis: 0"), before(mnn="off by 1"), x=(5,)),
    case("one-axis-norm", of("BatchNorm"), before(mnn="off by 1"), x=(5,)),
    case(
        "transpose",
        of("InnerProduct", "num_output: 5 transpose: true"),
        before(opencv="off by 1.5"),
        x=(2, 7),
    ),
    case(
        "behind-reshape",
        of("Reshape", "shape { dim: 6 dim: 4 }", name="r", top="r")
        + of("InnerProduct", "num_output: 5", bottom="r"),
        before(mnn="refused"),
        x=(2, 3, 4),
    ),
    case(
        "product-of-rows",
        of("InnerProduct", "num_output: 3 axis: 4"),
        before(mnn="refused"),
        x=(2, 3, 1, 4, 5),
    ),
    case(
        "embed",
        of("Embed", "num_output: 4 input_dim: 6"),
        before(opencv="refused", mnn="off by 1.17"),
        values={"x": [[0, 5, 2], [3, 3, 1]]},
        x=(2, 3),
    ),
    case(
        "parameter",
        of("Parameter", "shape { dim: 3 dim: 4 }", name="p", bottom="", top="p")
        + of("Eltwise", bottom="x p"),
        before(opencv="refused", mnn="refused"),
        x=(3, 4),
    ),
    case(
        "dummy-constants",
        of(
            "DummyData",
            "shape { dim: 3 dim: 4 } data_filler { value: 0.7 }",
            name="p",
            bottom="",
            top="p",
        )
        + of("Eltwise", bottom="x p"),
        before(opencv="refused", mnn="refused"),
        x=(3, 4),
    ),
    case(
        "batch-statistics",
        of("BatchNorm", "use_global_stats: false eps: 0.1"),
        before(opencv="refused", mnn="off by 0.093"),
        x=_IMAGE,
    ),
    case(
        "lrn-alpha",
        of("LRN", "local_size: 3 beta: 0.6"),
        before(opencv="off by 0.94"),
        x=_IMAGE,
    ),
    case(
        "lrn-k",
        of("LRN", "local_size: 3 alpha: 1.5 beta: 0.6 k: 2"),
        before(opencv="off by 0.225", mnn="off by 0.225"),
        x=_IMAGE,
    ),
    case(
        "lrn-k",
        of("LRN", "local_size: 3 alpha: 1.5 beta: 0.6 k: 0"),
        before(opencv="off by 0.832", mnn="off by 0.832"),
        x=_IMAGE,
    ),
    case(
        "lrn-within",
        of("LRN", "local_size: 3 alpha: 1.5 beta: 0.6 norm_region: WITHIN_CHANNEL"),
        RIGHT,
        x=_IMAGE,
    ),
    case("lrn-size", of("LRN", "local_size: 3 alpha: 1.5 beta: 0.6"), RIGHT, x=_IMAGE),
    case(
        "mvn",
        of("MVN", "eps: 0.2"),
        before(opencv="off by 0.0949", mnn="off by 0.137"),
        x=_IMAGE,
    ),
    case(
        "mvn",
        of("MVN", "across_channels: true"),
        before(mnn="off by 0.112"),
        x=(2, 3, 5),
    ),
    case("mvn", of("MVN", "normalize_variance: false"), RIGHT, x=_IMAGE),
    case(
        "bias",
        of("Bias", "axis: 1 num_axes: 2"),
        before(opencv="refused", mnn="refused"),
        x=(2, 3, 5),
    ),
    case(
        "scalar-scale",
        of("Scale", "num_axes: 0 bias_term: true"),
        before(opencv="refused", mnn="off by 0.978"),
        x=_IMAGE,
    ),
    case(
        "bias-of-product",
        of("Scale", "axis: 1 bias_term: true", bottom="x s"),
        before(opencv="off by 1.33", mnn="ended the process"),
        x=_IMAGE,
        s=(3, 4),
    ),
    case(
        "stretched",
        of("Scale", "axis: 1", bottom="x s"),
        before(mnn="ended the process"),
        x=_IMAGE,
        s=(3, 4),
    ),
    case(
        "stretched",
        of("Bias", "axis: 0", bottom="x s"),
        before(mnn="no result"),
        x=(2, 3, 5),
        s=(2,),
    ),
    case(
        "sum-of-two",
        of("Bias", "axis: 2", bottom="x s"),
        before(opencv="refused"),
        x=_IMAGE,
        s=(4,),
    ),
    case(
        "other-axes",
        of("Scale", "axis: 2 bias_term: true"),
        before(mnn="off by 1.51"),
        x=(3, 3, 3, 3),
    ),
    case(
        "other-axes-joined",
        of("Convolution", "num_output: 4 kernel_size: 1", name="c", top="c")
        + of("Scale", "axis: 2", bottom="c"),
        before(opencv="off by 0.743"),
        x=(4, 4, 4, 4),
    ),
    case(
        "joined-by-rows",
        of("InnerProduct", "num_output: 4 axis: 2", name="p", top="p")
        + of("BatchNorm", bottom="p"),
        before(opencv="off by 0.346"),
        x=(2, 4, 3),
    ),
    case(
        "joined-by-rows",
        of("InnerProduct", "num_output: 4 axis: 2", name="p", top="p")
        + of("PReLU", bottom="p"),
        before(opencv="off by 0.878"),
        x=(2, 4, 3),
    ),
    case(
        "joined-with-power",
        of("Power", "power: 2 scale: 1.3", name="p", top="p")
        + of("Power", "scale: 0.5 shift: 0.1", bottom="p"),
        before(opencv="off by 0.255"),
        x=_IMAGE,
    ),
    case(
        "joined-with-power",
        of("Power", "power: 3", name="p", top="p") + of("BatchNorm", bottom="p"),
        before(opencv="off by 2.2"),
        x=(2, 1, 4),
    ),
    case(
        "joined-with-groups",
        of("Deconvolution", "num_output: 4 kernel_size: 2 group: 2", name="p", top="p")
        + of("BatchNorm", "", bottom="p"),
        before(opencv="off by 0.149"),
        x=(1, 6, 10, 8),
    ),
    case(
        "joined-with-groups",
        of("Deconvolution", "num_output: 4 kernel_size: 2 group: 2", name="p", top="p")
        + of("Scale", "bias_term: true", bottom="p"),
        before(opencv="off by 1.91"),
        x=(1, 6, 10, 8),
    ),
    case(
        "twin-output",
        of("TanH", name="a", top="a")
        + of("TanH")
        + of("Exp", bottom="a", name="e", top="e"),
        before(mnn="no result"),
        x=_IMAGE,
    ),
    case(
        "lstm",
        of("LSTM", "num_output: 2", bottom="x cont"),
        before(opencv="refused", mnn="refused"),
        values=_CONT,
        **_SEQUENCE,
    ),
    case(
        "lstm",
        of(
            "LSTM",
            "num_output: 2 expose_hidden: true",
            bottom="x cont s h c",
            top="y h1 c1",
        ),
        before(opencv="refused", mnn="refused"),
        values={"cont": 1},
        x=(1, 3, 4),
        cont=(1, 3),
        s=(3, 5),
        h=(1, 3, 2),
        c=(1, 3, 2),
    ),
    case(
        "rnn",
        of("RNN", "num_output: 2", bottom="x cont"),
        before(opencv="refused", mnn="refused"),
        values=_CONT,
        **_SEQUENCE,
    ),
    case(
        "rnn",
        of("RNN", "num_output: 2 expose_hidden: true", bottom="x cont s h", top="y h1"),
        before(opencv="refused", mnn="refused"),
        values=_CONT,
        x=(3, 2, 4),
        cont=(3, 2),
        s=(2, 5),
        h=(1, 2, 2),
    ),
    case(
        "lstm-unit",
        of("LSTMUnit", bottom="c gates cont", top="y h"),
        before(opencv="refused", mnn="refused"),
        values={"cont": [[1, 0, 1]]},
        c=(1, 3, 2),
        gates=(1, 3, 8),
        cont=(1, 3),
    ),
    case(
        "depthwise",
        of("Convolution", "num_output: 3 kernel_size: 3 pad: 1 group: 3"),
        before(opencv="off by 0.51"),
        x=(2, 3, 1, 4),
    ),
    case(
        "depthwise",
        of("Convolution", "num_output: 2 kernel_size: 3 pad: 1 group: 2 dilation: 2"),
        before(opencv="off by 0.974"),
        x=(2, 2, 4, 5),
    ),
    case(
        "product-of-one-axis",
        of("Power", "scale: 1.2", bottom="x", name="p", top="p")
        + of("Power", "scale: 0.7", bottom="s", name="q", top="q")
        + of("Scale", "axis: 0", bottom="p q"),
        RIGHT,
        x=(1,),
        s=(1,),
    ),
    case(
        "other-axes-joined",
        of("BatchNorm", name="b", top="b") + of("Scale", "axis: 0", bottom="b"),
        before(opencv="off by 0.746"),
        x=(4, 4),
    ),
)
