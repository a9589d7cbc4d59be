"""Layers that shift and scale, learned or by statistics."""

from __future__ import annotations

from netspec.catalogue.base import LayerType

NORMALIZATION = (
    LayerType(
        name="BatchNorm",
        param="batch_norm_param",
        summary="Normalise every channel to mean 0 and variance 1.",
        formula="y = (x - mean_c) / sqrt(var_c + eps)",
        shapes="x (N, C, ...) -> y (same shape); sums of means (C,), of variances (C,) "
        "and their count (1,)",
        notes="Does not scale or shift: follow it with Scale(bias_term=True). Uses "
        "batch statistics in TRAIN, stored ones in TEST, unless `use_global_stats` is "
        "given. The stored ones are means over about 1 / (1 - "
        "`moving_average_fraction`) iterations, 1,000 by default: for runs that are "
        "not much longer give 0.9. With `scale_bias` (NVCaffe) or `use_weight_bias` "
        "(Intel) it scales and shifts, with two more parameters (C,), and Caffe cannot "
        "read it.",
        source="Ioffe and Szegedy, arXiv:1502.03167",
    ),
    LayerType(
        name="BN",
        param="bn_param",
        tops=(1, 3),
        summary="Normalise every channel, then multiply and add what is learned.",
        formula="y = factor_c (x - mean_c) / sqrt(var_c + eps) + bias_c",
        shapes="x (N, C, ...) -> y (same shape); factor, bias, and in all forks but "
        "SegNet's stored mean and variance (1, C, 1, 1) each",
        notes="The fields that are set tell whose BN it is: `slope_filler`, "
        "`bias_filler`, `momentum`, `eps`, `frozen` PSPNet's, which it also is without "
        "any; `scale_filler`, `shift_filler`, `bn_mode` SegNet's; `var_eps`, "
        "`moving_average`, `decay` ducha-aiki's. PSPNet's uses batch statistics in "
        "TRAIN unless `frozen`; SegNet's in TEST too, and none in mode INFERENCE.",
        source="forks: PSPNet, TSN, SegNet, ducha-aiki",
    ),
    LayerType(
        name="MVN",
        param="mvn_param",
        summary="Normalise every channel of every item to mean 0 and variance 1.",
        formula="y = (x - mean) / (sqrt(var) + eps)",
        shapes="x (N, C, H, W) -> y (same shape)",
        notes="eps is added outside the root.",
    ),
    LayerType(
        name="EltwiseAffine",
        param="eltwise_affine_param",
        summary="Multiply every channel by a learned factor and add a learned bias.",
        formula="y = factor x + bias",
        shapes="x (N, C, ...) -> y (same shape); factor and bias (C,), or () with "
        "channel_shared",
        notes="The factor starts at 1.0001 and the bias at 0.0001.",
        source="forks: ducha-aiki, caffe-windows",
    ),
    LayerType(
        name="Scale",
        param="scale_param",
        bottoms=(1, 2),
        bottom_names=("x", "scale"),
        summary="Multiply by a learned or given factor, and maybe add a bias.",
        formula="y = x scale + bias",
        shapes="x (N, C, ...) -> y (same shape); scale and bias (C,) for axis 1 and "
        "num_axes 1, or the shape of the second input",
        notes="The factor starts at 1, but an empty `filler` fills with 0.",
    ),
    LayerType(
        name="Bias",
        param="bias_param",
        bottoms=(1, 2),
        bottom_names=("x", "bias"),
        summary="Add a learned or given bias.",
        formula="y = x + bias",
        shapes="x (N, C, ...) -> y (same shape); bias (C,) for axis 1 and num_axes 1, "
        "or the shape of the second input",
    ),
)
