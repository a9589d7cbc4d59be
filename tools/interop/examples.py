"""Small nets of one layer, for the table of layer types and readers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from netspec.catalogue.table import LAYER_TYPES


@dataclass(frozen=True)
class Example:
    """A layer with options.

    kind: its type. text: the rest of its text; the bottoms are the inputs in order and
    the top has the name "top" where it does not say others. shapes: of the inputs.
    says: the options in a few words, where `text` is not short. values: of inputs, by
    name. also: text of more layers, where one alone is no net.
    """

    kind: str
    text: str
    shapes: Sequence[Sequence[int]]
    says: str = ""
    values: Mapping[str, Any] | None = None
    also: str = ""

    @property
    def options(self) -> str:
        """What the row of the table says of the options."""
        if self.says or "{" not in self.text:
            return self.says
        return f"`{self.text.partition('{')[2].rpartition('}')[0].strip()}`"

    def net(self) -> str:
        """Return the text of the net."""
        inputs = [f"x{number}" for number, _ in enumerate(self.shapes, 1)]
        text = "".join(
            f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape '
            f"{{ {' '.join(f'dim: {size}' for size in shape)} }} }} }}\n"
            for name, shape in zip(inputs, self.shapes, strict=True)
        )
        layer = self.text
        if "bottom:" not in layer:
            layer += "".join(f' bottom: "{name}"' for name in inputs)
        if "top:" not in layer and LAYER_TYPES[self.kind].tops != (0, 0):
            layer += ' top: "top"'
        layer = f'layer {{ name: "layer" type: "{self.kind}" {layer} }}\n'
        return text + layer + self.also


def _of(kind: str, param: str, shape: Sequence[int], *options: str) -> list[Example]:
    """Return examples of a type with one bottom; options are what is in its message."""
    texts = [f"{param} {{ {each} }}" if each else "" for each in options]
    return [Example(kind, text, [shape]) for text in texts]


IMAGE = (2, 4, 6, 5)
REGIONS = [[0, 0, 0, 3, 3], [1, 1, 1, 4, 6], [0, 2, 3, 2, 3]]
ROWS = (3, 8)
CUBE = (2, 3, 4, 5)
SHAPE = "shape { dim: 3 dim: 4 }"


def _convolutions(kind: str, *more: str) -> list[Example]:
    found = [
        Example(kind, f"convolution_param {{ num_output: 6 {text} }}", [IMAGE], text)
        for text in (
            "kernel_size: 3",
            "kernel_size: 3 pad: 1 stride: 2 group: 2",
            "kernel_size: 3 bias_term: false",
            "kernel_size: 3 kernel_size: 2",
            "kernel_h: 3 kernel_w: 2 stride_h: 1 stride_w: 2",
            "kernel_size: 2 dilation: 2",
            "kernel_size: 2 dilation: 2 dilation: 1",
            "kernel_size: 3 axis: 2",
            *more,
        )
    ]
    found = [Example(one.kind, one.text, one.shapes, f"`{one.says}`") for one in found]
    param = "convolution_param { num_output: 6 kernel_size: 3 }"
    return [
        *found,
        Example(
            kind,
            f'{param} bottom: "x1" bottom: "x2" top: "top" top: "top2"',
            [IMAGE, IMAGE],
            "two bottoms, two tops",
        ),
        Example(kind, param, [(2, 4, 9)], "blobs of 3 axes"),
        Example(kind, param, [(2, 4, 5, 6, 7)], "blobs of 5 axes"),
    ]


def _read(blob: str) -> str:
    """Return a layer that reads a blob."""
    name = f"read_{blob}"
    return f'layer {{ name: "{name}" type: "ReLU" bottom: "{blob}" top: "{name}" }}\n'


EXAMPLES: Sequence[Example] = (
    Example("AbsVal", "", [CUBE]),
    *_of("ArgMax", "argmax_param", ROWS, "", "top_k: 2", "axis: 1"),
    Example("BNLL", "", [CUBE]),
    *_of("BatchNorm", "batch_norm_param", IMAGE, "", "eps: 0.1"),
    *_of("BatchNorm", "batch_norm_param", IMAGE, "use_global_stats: false"),
    *_of("BatchNorm", "batch_norm_param", IMAGE, "scale_bias: true"),
    *_of("BN", "bn_param", IMAGE, "eps: 0.1", "bn_mode: INFERENCE"),
    Example("Axpy", "", [(2, 4), IMAGE, IMAGE]),
    *_of("ConvolutionDepthwise", "convolution_param", IMAGE, "kernel_size: 3"),
    *_of(
        "DepthwiseConvolution",
        "convolution_param",
        IMAGE,
        "num_output: 4 group: 4 kernel_size: 3",
    ),
    *_of("Dropout", "dropout_param", IMAGE, "scale_train: false"),
    *_of(
        *("Interp", "interp_param", IMAGE),
        *("height: 9 width: 7", "zoom_factor: 3", "shrink_factor: 2 pad_end: -1"),
    ),
    *_of("Local", "local_param", IMAGE, "num_output: 2 kernel_size: 3"),
    *_of("EltwiseAffine", "eltwise_affine_param", IMAGE, "", "channel_shared: true"),
    Example("ReLU6", "", [CUBE]),
    *_of("ReLUX", "relux_param", IMAGE, "maximal_value: 0.7"),
    Example("SeLu", "", [CUBE]),
    Example("SeLuDropout", "", [CUBE]),
    *_of("ReLU6", "relu6_param", IMAGE, "negative_slope: 0.5"),
    *_of("Reorg", "reorg_param", (2, 8, 4, 6), "stride: 2", "stride: 2 reverse: true"),
    *_of("ShuffleChannel", "shuffle_channel_param", IMAGE, "group: 2"),
    *_of("Upsample", "upsample_param", IMAGE, "scale: 2"),
    Example("BatchReindex", "", [(3, 4), (5,)]),
    *_of("Bias", "bias_param", CUBE, "", "axis: 2", "num_axes: 0"),
    Example("Bias", "", [CUBE, (3,)], "two bottoms"),
    *_of("Clip", "clip_param", CUBE, "min: -0.4 max: 0.7"),
    Example("Concat", "", [CUBE, (2, 5, 4, 5)]),
    Example("Concat", "concat_param { axis: 2 }", [CUBE, (2, 3, 2, 5)]),
    Example("Concat", "concat_param { axis: -1 }", [CUBE, (2, 3, 4, 2)]),
    Example("Concat", "concat_param { concat_dim: 2 }", [CUBE, CUBE]),
    *_convolutions("Convolution"),
    Example("Crop", "crop_param { offset: 1 }", [IMAGE, (2, 4, 4, 3)]),
    Example(
        "Crop", "crop_param { offset: 1 }", [IMAGE, (2, 2, 4, 3)], "fewer channels"
    ),
    Example("Crop", "crop_param { axis: 1 offset: 1 }", [IMAGE, (2, 2, 4, 3)]),
    *_convolutions("Deconvolution"),
    Example(
        "DetectionOutput",
        "detection_output_param { num_classes: 2 keep_top_k: 5 "
        "nms_param { nms_threshold: 0.4 top_k: 10 } }",
        [(1, 24), (1, 12), (1, 2, 24)],
    ),
    Example("Dropout", "", [CUBE]),
    Example("DummyData", f"dummy_data_param {{ {SHAPE} }}", []),
    *_of("ELU", "elu_param", CUBE, "", "alpha: 0.6"),
    Example("Eltwise", "", [CUBE, CUBE]),
    Example("Eltwise", "eltwise_param { coeff: 2 coeff: -0.5 }", [CUBE] * 2),
    Example("Eltwise", "eltwise_param { coeff: 2 coeff: -0.5 coeff: 1 }", [CUBE] * 3),
    Example("Eltwise", "eltwise_param { operation: PROD }", [CUBE] * 2),
    Example("Eltwise", "eltwise_param { operation: MAX }", [CUBE] * 2),
    Example("Eltwise", "eltwise_param { operation: MAX }", [CUBE] * 3, "MAX of three"),
    Example("Embed", "embed_param { num_output: 3 input_dim: 5 }", [(4,)]),
    *_of("Exp", "exp_param", CUBE, "", "base: 2 scale: -0.5 shift: 0.3"),
    Example("Filter", 'bottom: "x1" bottom: "x2" top: "top"', [(6, 3), (6,)]),
    *_of("Flatten", "flatten_param", CUBE, "", "axis: 2", "axis: 1 end_axis: 2"),
    *_of("Im2col", "convolution_param", IMAGE, "kernel_size: 3 stride: 2 pad: 1"),
    *_of("InnerProduct", "inner_product_param", CUBE, "num_output: 3"),
    *_of("InnerProduct", "inner_product_param", CUBE, "num_output: 3 transpose: true"),
    *_of("InnerProduct", "inner_product_param", CUBE, "num_output: 3 axis: 2"),
    Example("Input", f"input_param {{ {SHAPE} }}", [], also=_read("top")),
    Example(
        "Input",
        f'input_param {{ {SHAPE} }} top: "a" top: "b"',
        [],
        "several tops",
        also=_read("a") + _read("b"),
    ),
    *_of("LRN", "lrn_param", IMAGE, "", "local_size: 3 alpha: 0.6 beta: 0.8"),
    *_of("LRN", "lrn_param", IMAGE, "alpha: 0.6 k: 1.5"),
    *_of("LRN", "lrn_param", IMAGE, "norm_region: WITHIN_CHANNEL local_size: 3"),
    Example(
        "LSTM",
        "recurrent_param { num_output: 2 }",
        [(4, 3, 2), (4, 3)],
        values={"x2": [[0], [1], [1], [1]]},
    ),
    Example(
        "LSTM",
        "recurrent_param { num_output: 2 }",
        [(4, 3, 2), (4, 3)],
        "sequences that start anew",
        values={"x2": [[0], [1], [0], [1]]},
    ),
    Example("LSTMUnit", 'top: "c" top: "h"', [(1, 3, 2), (1, 3, 8), (1, 3)]),
    *_of("Log", "log_param", CUBE, "", "base: 2 scale: -1.5 shift: 0.5"),
    *_of("MVN", "mvn_param", IMAGE, "", "normalize_variance: false"),
    *_of("MVN", "mvn_param", IMAGE, "across_channels: true", "eps: 0.1"),
    *_of("Normalize", "norm_param", IMAGE, "across_spatial: false"),
    *_of("PReLU", "prelu_param", CUBE, "", "channel_shared: true"),
    Example("Parameter", f"parameter_param {{ {SHAPE} }}", []),
    *_of("Permute", "permute_param", CUBE, "order: 0 order: 2 order: 3 order: 1"),
    *_of("Pooling", "pooling_param", IMAGE, "kernel_size: 3 stride: 2"),
    *_of("Pooling", "pooling_param", IMAGE, "pool: AVE kernel_size: 3 stride: 2"),
    *_of("Pooling", "pooling_param", IMAGE, "pool: AVE kernel_size: 3 pad: 1"),
    *_of(
        "Pooling", "pooling_param", IMAGE, "kernel_size: 3 stride: 2 round_mode: CEIL"
    ),
    *_of(
        "Pooling", "pooling_param", IMAGE, "kernel_size: 3 stride: 2 round_mode: FLOOR"
    ),
    *_of(
        "Pooling", "pooling_param", IMAGE, "kernel_size: 3 stride: 2 ceil_mode: false"
    ),
    *_of("Pooling", "pooling_param", IMAGE, "global_pooling: true"),
    *_of("Pooling", "pooling_param", IMAGE, "global_pooling: true pool: AVE"),
    *_of("Pooling", "pooling_param", (2, 4, 5, 5), "kernel_size: 2 stride: 3 pad: 1"),
    Example(
        "Pooling",
        'pooling_param { kernel_size: 3 stride: 2 } top: "top" top: "mask"',
        [IMAGE],
        "second top",
    ),
    *_of("Power", "power_param", CUBE, "", "scale: -0.5 shift: 0.3"),
    *_of("Power", "power_param", CUBE, "power: 3 scale: -0.5 shift: 0.3"),
    Example(
        "PriorBox",
        "prior_box_param { min_size: 30 max_size: 60 aspect_ratio: 2 }",
        [IMAGE, (2, 3, 40, 40)],
    ),
    Example("RNN", "recurrent_param { num_output: 2 }", [(4, 3, 2), (4, 3)]),
    Example(
        "Proposal",
        "proposal_param { ratio: 1 scale: 1 min_size: 0 post_nms_topn: 5 }",
        [(1, 2, 3, 4), (1, 4, 3, 4), (1, 3)],
        values={"x3": [[40, 60, 1]]},
    ),
    Example(
        "PSROIPooling",
        "psroi_pooling_param { spatial_scale: 0.5 output_dim: 1 group_size: 2 }",
        [(2, 4, 6, 5), (3, 5)],
        values={"x2": REGIONS},
    ),
    Example(
        "ROIAlign",
        "roi_align_param { pooled_h: 2 pooled_w: 2 sampling_ratio: 2 }",
        [IMAGE, (3, 5)],
        values={"x2": REGIONS},
    ),
    Example(
        "ROIPooling",
        "roi_pooling_param { pooled_h: 2 pooled_w: 2 spatial_scale: 0.5 }",
        [IMAGE, (3, 5)],
        values={"x2": REGIONS},
    ),
    *_of("ReLU", "relu_param", CUBE, "", "negative_slope: -0.5"),
    *_of("Reduction", "reduction_param", CUBE, "", "axis: 1 coeff: -2"),
    *_of("Reduction", "reduction_param", CUBE, "operation: MEAN axis: 1"),
    *_of("Reduction", "reduction_param", CUBE, "operation: ASUM axis: 2"),
    *_of("Reduction", "reduction_param", CUBE, "operation: SUMSQ axis: 1"),
    *_of("Reshape", "reshape_param", CUBE, "shape { dim: 0 dim: -1 dim: 5 }"),
    *_of(
        "Reshape", "reshape_param", CUBE, "shape { dim: 4 dim: 3 } axis: 1 num_axes: 2"
    ),
    *_of("SPP", "spp_param", IMAGE, "pyramid_height: 2", "pyramid_height: 2 pool: AVE"),
    *_of("Scale", "scale_param", CUBE, "", "bias_term: true", "axis: -1"),
    *_of("Scale", "scale_param", CUBE, "axis: 0", "axis: 2", "axis: 1 num_axes: 2"),
    *_of("Scale", "scale_param", CUBE, "num_axes: 0"),
    Example("Scale", "", [CUBE, (3,)], "two bottoms"),
    Example(
        "Scale", "scale_param { axis: 0 }", [CUBE, (2, 3)], "two bottoms, `axis: 0`"
    ),
    Example(
        "Scale",
        "scale_param { bias_term: true }",
        [CUBE, (3,)],
        "two bottoms, `bias_term: true`",
    ),
    Example("Sigmoid", "", [CUBE]),
    Example("Silence", "", [CUBE], also=_read("x1")),
    Example("Slice", 'slice_param { slice_point: 1 } top: "a" top: "b"', [CUBE]),
    Example("Slice", 'slice_param { axis: 2 } top: "a" top: "b"', [CUBE]),
    Example("Slice", 'slice_param { slice_dim: 2 } top: "a" top: "b"', [CUBE]),
    *_of("Softmax", "softmax_param", CUBE, "", "axis: 3"),
    Example("Split", 'bottom: "x1" top: "a" top: "b"', [CUBE]),
    *_of("Swish", "swish_param", CUBE, "", "beta: -1.5"),
    Example("TanH", "", [CUBE]),
    *_of("Threshold", "threshold_param", CUBE, "", "threshold: 0.3"),
    *_of("Tile", "tile_param", CUBE, "tiles: 3", "tiles: 2 axis: 2"),
)
# What a net for use does not have: `netspec.deploy` takes it out.
DATA = tuple(
    kind
    for kind, known in LAYER_TYPES.items()
    if known.bottoms == (0, 0) and kind not in ("Input", "Parameter", "DummyData")
)
LOSSES = (
    "Accuracy",
    "BoxAnnotatorOHEM",
    "CenterLoss",
    "ContrastiveLoss",
    "DetectionEvaluate",
    "EuclideanLoss",
    "FocalLoss",
    "HDF5Output",
    "HingeLoss",
    "InfogainLoss",
    "L1Loss",
    "LargeMarginInnerProduct",
    "MarginInnerProduct",
    "MultiBoxLoss",
    "MultinomialLogisticLoss",
    "SegAccuracy",
    "SigmoidCrossEntropyBalanceLoss",
    "SigmoidCrossEntropyLoss",
    "SmoothL1Loss",
    "SmoothL1LossOHEM",
    "SoftmaxWithLoss",
    "SoftmaxWithLossOHEM",
    "TripletLoss",
)
OWN = ("Python",)  # runs code of its own, which no other reader has
