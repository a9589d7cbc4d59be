"""Layers that treat every value alone."""

from __future__ import annotations

from netspec.catalogue.base import LayerType

_SAME = "x (any shape) -> y (same shape)"

ACTIVATION = (
    LayerType(
        name="AbsVal",
        summary="Take the absolute value.",
        formula="y = |x|",
        shapes=_SAME,
        notes="Not in place: the gradient reads the sign of x, with sign(0) = 0.",
    ),
    LayerType(
        name="BNLL",
        summary="Take the binomial normal log likelihood, also called softplus.",
        formula="y = log(1 + exp(x))",
        shapes=_SAME,
        notes="Computed without overflow for large x.",
    ),
    LayerType(
        name="Clip",
        param="clip_param",
        required=("min", "max"),
        summary="Limit values to a range.",
        formula="y = min(max(x, min), max)",
        shapes=_SAME,
        notes="The gradient passes at both bounds.",
    ),
    LayerType(
        name="Dropout",
        param="dropout_param",
        summary="Set a random part of the values to 0 in training.",
        formula="y = m x / (1 - dropout_ratio), m = 0 with probability dropout_ratio",
        shapes=_SAME,
        notes="Scales while training, so that in the TEST phase y = x. The paper "
        "scales when testing.",
        source="Srivastava et al., Dropout (2014)",
    ),
    LayerType(
        name="ELU",
        param="elu_param",
        summary="Rectify with an exponential tail: the exponential linear unit.",
        formula="y = x if x > 0, else alpha (exp(x) - 1)",
        shapes=_SAME,
        source="Clevert et al., arXiv:1511.07289",
    ),
    LayerType(
        name="Exp",
        param="exp_param",
        summary="Raise a base to the scaled and shifted input.",
        formula="y = base^(shift + scale x)",
        shapes=_SAME,
        notes="base -1, the default, means e.",
    ),
    LayerType(
        name="Log",
        param="log_param",
        summary="Take the logarithm of the scaled and shifted input.",
        formula="y = log_base(shift + scale x)",
        shapes=_SAME,
        notes="base -1, the default, means e.",
    ),
    LayerType(
        name="PReLU",
        param="prelu_param",
        summary="Rectify with a learned slope for negative values.",
        formula="y = max(x, 0) + a_c min(x, 0)",
        shapes="x (N, C, ...) -> y (same shape); slopes a (C,), or () if shared",
        notes="The slopes start at 0.25 unless `filler` says otherwise.",
        source="He et al., arXiv:1502.01852",
    ),
    LayerType(
        name="Power",
        param="power_param",
        summary="Scale, shift and raise to a power.",
        formula="y = (shift + scale x)^power",
        shapes=_SAME,
        notes="In place it spoils its own gradient unless power is 1.",
    ),
    LayerType(
        name="ReLU",
        param="relu_param",
        summary="Rectify: keep positive values, scale negative ones.",
        formula="y = max(x, 0) + negative_slope min(x, 0)",
        shapes=_SAME,
        notes="Right in place for negative_slope >= 0; at exactly 0 the gradient is "
        "that of the negative side.",
        source="Nair and Hinton, Rectified linear units (2010)",
    ),
    LayerType(
        name="ReLU6",
        param="relu6_param",
        summary="Keep what is between 0 and 6; less is 0 and more is 6.",
        formula="y = min(max(x, 0), 6)",
        shapes="x (any shape) -> y (same shape)",
        source="forks: SSD of chuanqi305, YOLO",
    ),
    LayerType(
        name="ReLUX",
        param="relux_param",
        summary="Keep what is between 0 and maximal_value.",
        formula="y = min(max(x, 0), maximal_value) + negative_slope min(x, 0)",
        shapes=_SAME,
        source="fork: py-RFCN-priv",
    ),
    LayerType(
        name="SeLu",
        param="selu_param",
        summary="Exponential below 0, so scaled that values keep mean 0, variance 1.",
        formula="y = lambda x where x > 0, else lambda alpha (exp(x) - 1)",
        shapes=_SAME,
        notes="lambda is a word of Python: give it as selu_param={'lambda': 1.05}.",
        source="fork: py-RFCN-priv; Klambauer et al. (2017)",
    ),
    LayerType(
        name="SeLuDropout",
        param="selu_dropout_param",
        summary="Drop values to alpha while training, keeping mean 0 and variance 1.",
        formula="TRAIN: y = a (x or alpha) + b, q = 1 - dropout_ratio, "
        "a = (q (1 + (1 - q) alpha^2))^-1/2, b = -a (1 - q) alpha; TEST: y = x",
        shapes=_SAME,
        source="fork: py-RFCN-priv; Klambauer et al. (2017)",
    ),
    LayerType(
        name="Sigmoid",
        param="sigmoid_param",
        summary="Squash values to between 0 and 1.",
        formula="y = 1 / (1 + exp(-x))",
        shapes=_SAME,
    ),
    LayerType(
        name="Swish",
        param="swish_param",
        summary="Weigh the input by its own sigmoid.",
        formula="y = x / (1 + exp(-beta x))",
        shapes=_SAME,
        source="Ramachandran et al., arXiv:1710.05941",
    ),
    LayerType(
        name="TanH",
        param="tanh_param",
        summary="Squash values to between -1 and 1.",
        formula="y = tanh(x)",
        shapes=_SAME,
    ),
    LayerType(
        name="Threshold",
        param="threshold_param",
        summary="Tell which values are above a threshold.",
        formula="y = 1 if x > threshold, else 0",
        shapes=_SAME,
        notes="Has no gradient.",
    ),
)
