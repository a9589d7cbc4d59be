"""Write the table of the gradients of all layer types in docs/gradients.md.

    python tools/gen_gradients.py [--check]

Every type is checked against central differences with the options below. With --check
nothing is written; the exit status is 1 if the table differs.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from netspec.catalogue.table import LAYER_TYPES
from netspec.errors import SpecWarning
from runtime.checking.gradients import check_gradients
from runtime.checking.report import GradientCheck
from runtime.layers import portable_kernels
from tools.generated_page import write_table

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "gradients.md"
BEGIN, END = "<!-- gradients: begin -->\n", "<!-- gradients: end -->\n"
HEAD = """
| type | with respect to | error below | notes |
| --- | --- | --- | --- |
"""
BOUNDS = (1e-7, 1e-5, 1e-3)  # as exact digits differ from machine to machine
RTOL = {"ContrastiveLoss": 1e-3}  # by type, where the gradient is not quite exact

IMAGE = (2, 3, 5, 4)
THREE = 'bottom: "a" bottom: "b" bottom: "c"'
SCORES = [(4, 3), (4,)]
ALL_NEGATIVE = "mining_type: NONE background_label_id: 2"
TWO = "loss_weight: 2 loss_weight: 0 "
MARGINS = ("SINGLE", "DOUBLE", "TRIPLE", "QUADRUPLE")
REGIONS = (7, 5)
BOXES = [(1, 2, 3, 4), (1, 4, 3, 4), (1, 3)]
# Of each type what to check: the rest of its text, and the shapes of its bottoms.
EXAMPLES: Mapping[str, Sequence[tuple[str, Sequence[tuple[int, ...]]]]] = {
    "AbsVal": [("", [(3, 4)])],
    "Accuracy": [("", SCORES)],
    "ArgMax": [("", [(3, 4)])],
    "Axpy": [("", [(2, 3), (2, 3, 4), (2, 3, 4)])],
    "BN": [
        ("bn_param { eps: 0.5 }", [IMAGE]),
        ("bn_param { frozen: true }", [IMAGE]),
        ("bn_param { bn_mode: LEARN }", [IMAGE]),
        ("bn_param { bn_mode: INFERENCE }", [IMAGE]),
    ],
    "BNLL": [("", [(3, 4)])],
    "BatchNorm": [
        ("", [IMAGE]),
        ("batch_norm_param { use_global_stats: true eps: 0.5 }", [IMAGE]),
        ("batch_norm_param { scale_bias: true eps: 0.5 }", [IMAGE]),
    ],
    "BatchReindex": [("", [(3, 4), (5,)])],
    "Bias": [("", [(2, 3, 4)]), ('bottom: "x" bottom: "b"', [(2, 3, 4), (3, 4)])],
    "BoxAnnotatorOHEM": [
        (
            'top: "a" top: "b" box_annotator_ohem_param { roi_per_img: 2 }',
            [(6, 5), (6, 1), (6, 1), (6, 8)],
        ),
    ],
    "Clip": [("clip_param { min: -0.4 max: 0.7 }", [(3, 4)])],
    "Concat": [('bottom: "a" bottom: "b"', [(2, 3, 4), (2, 5, 4)])],
    "ContrastiveLoss": [
        ("contrastive_loss_param { margin: 2.5 }", [(5, 3), (5, 3), (5,)]),
        (
            "contrastive_loss_param { margin: 6 legacy_version: true }",
            [(5, 3), (5, 3), (5,)],
        ),
    ],
    "Convolution": [
        ("convolution_param { num_output: 2 kernel_size: 3 }", [IMAGE]),
        (
            "convolution_param { num_output: 6 kernel_size: 2 stride: 3 group: 3 }",
            [IMAGE],
        ),
    ],
    "CenterLoss": [("center_loss_param { num_output: 3 }", SCORES)],
    "FocalLoss": [
        ("focal_loss_param { gamma: 1.5 alpha: 0.5 }", SCORES),
        ("focal_loss_param { type: ONEADDP }", SCORES),
    ],
    "Interp": [
        ("interp_param { height: 7 width: 3 }", [IMAGE]),
        ("interp_param { shrink_factor: 2 zoom_factor: 3 pad_beg: -1 }", [IMAGE]),
    ],
    "Local": [("local_param { num_output: 2 kernel_size: 3 pad: 1 }", [IMAGE])],
    "L1Loss": [("", [(4, 3), (4, 3)])],
    "EltwiseAffine": [
        ("", [IMAGE]),
        ("eltwise_affine_param { channel_shared: true }", [IMAGE]),
    ],
    "LargeMarginInnerProduct": [
        (f"largemargin_inner_product_param {{ num_output: 3 type: {m} }}", SCORES)
        for m in MARGINS
    ],
    "MarginInnerProduct": [
        (f"margin_inner_product_param {{ num_output: 3 type: {m} }}", SCORES)
        for m in MARGINS
    ],
    "ReLUX": [("relux_param { maximal_value: 0.7 }", [(3, 4)])],
    "SeLu": [("", [(3, 4)])],
    "SeLuDropout": [("selu_dropout_param { dropout_ratio: 0.3 }", [(3, 4)])],
    "SegAccuracy": [("", [(2, 3, 5), (2, 5)])],
    "SigmoidCrossEntropyBalanceLoss": [("", [(3, 4), (3, 4)])],
    "TripletLoss": [("triplet_loss_param { margin: 2 }", [(4, 3)] * 3)],
    "ReLU6": [("", [(3, 4)]), ("relu6_param { negative_slope: 0.5 }", [(3, 4)])],
    "Reorg": [
        ("reorg_param { stride: 2 }", [(1, 4, 2, 6)]),
        ("reorg_param { stride: 2 reverse: true }", [(1, 4, 3, 2)]),
    ],
    "ShuffleChannel": [("shuffle_channel_param { group: 2 }", [(2, 6, 3)])],
    "Upsample": [
        ("upsample_param { scale: 2 }", [IMAGE]),
        ('bottom: "x" bottom: "mask"', [(2, 3, 1, 1), (2, 3, 1, 1)]),
    ],
    "ConvolutionDepthwise": [("convolution_param { kernel_size: 3 }", [IMAGE])],
    "DepthwiseConvolution": [
        ("convolution_param { num_output: 6 group: 3 kernel_size: 2 hole: 2 }", [IMAGE])
    ],
    "Crop": [
        ("crop_param { offset: 1 }", [IMAGE, (2, 2, 4, 3)]),
    ],
    "Deconvolution": [
        ("convolution_param { num_output: 2 kernel_size: 3 stride: 2 }", [IMAGE]),
    ],
    "DetectionEvaluate": [
        (
            "detection_evaluate_param { num_classes: 3 }",
            [(1, 1, 2, 7), (1, 1, 3, 8)],
        )
    ],
    "DetectionOutput": [
        (
            "detection_output_param { num_classes: 3 keep_top_k: 1 }",
            [(1, 16), (1, 12), (1, 2, 16)],
        ),
    ],
    "Dropout": [("dropout_param { dropout_ratio: 0.3 }", [(3, 4)])],
    "ELU": [("elu_param { alpha: 0.6 }", [(3, 4)])],
    "Eltwise": [
        (
            f"{THREE} eltwise_param {{ {more} }}",
            [(3, 4)] * 3,
        )
        for more in (
            "coeff: 2 coeff: -0.5 coeff: 1",
            "operation: PROD",
            "operation: PROD stable_prod_grad: false",
            "operation: MAX",
        )
    ],
    "Embed": [("embed_param { num_output: 3 input_dim: 5 }", [(4,)])],
    "EuclideanLoss": [("", [(3, 4), (3, 4)])],
    "Exp": [("exp_param { base: 2 scale: -0.5 shift: 0.3 }", [(3, 4)])],
    "Filter": [('bottom: "a" bottom: "keep" top: "y"', [(6, 3), (6,)])],
    "Flatten": [("", [(2, 3, 4)])],
    "HDF5Output": [('hdf5_output_param { file_name: "-" }', [(2, 3), (2,)])],
    "HingeLoss": [
        ("", SCORES),
        ("hinge_loss_param { norm: L2 }", SCORES),
    ],
    "Im2col": [("convolution_param { kernel_size: 3 stride: 2 pad: 1 }", [IMAGE])],
    "InfogainLoss": [(THREE, [(4, 3), (4,), (3, 3)])],
    "InnerProduct": [
        ("inner_product_param { num_output: 3 }", [(2, 5)]),
        ("inner_product_param { num_output: 3 transpose: true }", [(2, 5)]),
    ],
    "LRN": [
        ("lrn_param { local_size: 3 alpha: 0.6 beta: 0.8 k: 1.5 }", [IMAGE]),
        (
            "lrn_param { local_size: 3 alpha: 0.6 norm_region: WITHIN_CHANNEL }",
            [IMAGE],
        ),
    ],
    "LSTM": [
        ("recurrent_param { num_output: 2 }", [(4, 3, 2), (4, 3)]),
        (
            'recurrent_param { num_output: 2 } bottom: "x" bottom: "cont" bottom: "s"',
            [(4, 3, 2), (4, 3), (3, 5)],
        ),
    ],
    "LSTMUnit": [("", [(1, 3, 2), (1, 3, 8), (1, 3)])],
    "Log": [("log_param { base: 2 scale: -1.5 shift: 0.5 }", [(3, 4)])],
    "MVN": [
        ("", [IMAGE]),
        ("mvn_param { normalize_variance: false across_channels: true }", [IMAGE]),
    ],
    "MultiBoxLoss": [
        (
            f"multibox_loss_param {{ {ALL_NEGATIVE} num_classes: 3 }}",
            [(2, 16), (2, 12), (1, 2, 16), (1, 1, 3, 8)],
        )
    ],
    "MultinomialLogisticLoss": [("", SCORES)],
    "Normalize": [
        ("norm_param { across_spatial: true }", [IMAGE]),
        ("norm_param { across_spatial: false channel_shared: false }", [IMAGE]),
    ],
    "PReLU": [("", [(2, 3, 4)]), ("prelu_param { channel_shared: true }", [(2, 3, 4)])],
    "Parameter": [("parameter_param { shape { dim: 3 dim: 4 } }", [])],
    "Permute": [("permute_param { order: 0 order: 2 order: 1 }", [(2, 3, 4)])],
    "Pooling": [
        ("pooling_param { kernel_size: 3 stride: 2 }", [IMAGE]),
        ("pooling_param { kernel_size: 3 stride: 2 pad: 1 pool: AVE }", [IMAGE]),
        ("pooling_param { kernel_size: 3 stride: 2 pool: STOCHASTIC }", [IMAGE]),
    ],
    "Power": [
        ("power_param { power: 3 scale: -0.5 shift: 0.3 }", [(3, 4)]),
        ("power_param { power: -1.5 scale: 2 }", [(3, 4)]),
    ],
    "PriorBox": [("prior_box_param { min_size: 2 }", [IMAGE, (2, 3, 20, 16)])],
    "PSROIPooling": [
        (
            "psroi_pooling_param { spatial_scale: 0.5 output_dim: 2 group_size: 3 }",
            [(5, 18, 6, 4), REGIONS],
        ),
    ],
    "Proposal": [
        ("proposal_param { ratio: 1 scale: 2 post_nms_topn: 1 min_size: 0 }", BOXES),
    ],
    "RNN": [("recurrent_param { num_output: 2 }", [(4, 3, 2), (4, 3)])],
    "ROIAlign": [
        (
            "roi_align_param { pooled_h: 2 pooled_w: 3 sampling_ratio: 2 }",
            [(5, 3, 6, 4), REGIONS],
        ),
        (
            "roi_align_param { pooled_h: 2 pooled_w: 3 spatial_scale: 0.7 }",
            [(5, 3, 6, 4), REGIONS],
        ),
    ],
    "ROIPooling": [
        (
            "roi_pooling_param { pooled_h: 2 pooled_w: 3 spatial_scale: 0.7 }",
            [(5, 3, 6, 4), REGIONS],
        ),
    ],
    "ReLU": [
        ("", [(3, 4)]),
        ("relu_param { negative_slope: -0.5 }", [(3, 4)]),
    ],
    "Reduction": [
        (f"reduction_param {{ operation: {one} axis: 1 coeff: -2 }}", [(2, 3, 4)])
        for one in ("SUM", "ASUM", "SUMSQ", "MEAN")
    ],
    "Reshape": [("reshape_param { shape { dim: 4 dim: -1 } }", [(2, 3, 4)])],
    "SPP": [
        ("spp_param { pyramid_height: 2 }", [IMAGE]),
        ("spp_param { pyramid_height: 2 pool: AVE }", [IMAGE]),
    ],
    "Scale": [
        ("scale_param { bias_term: true }", [(2, 3, 4)]),
        ('bottom: "x" bottom: "s" scale_param { axis: 0 }', [(2, 3, 4), (2, 3)]),
    ],
    "Sigmoid": [("", [(3, 4)])],
    "SigmoidCrossEntropyLoss": [("", [(3, 4), (3, 4)])],
    "Silence": [("", [(3, 4)])],
    "Slice": [('top: "a" top: "b" slice_param { slice_point: 2 }', [(3, 5, 2)])],
    "SmoothL1Loss": [
        ("smooth_l1_loss_param { sigma: 1.5 }", [(3, 4)] * 2),
        ('bottom: "a" bottom: "b" bottom: "i" bottom: "o"', [(3, 4)] * 4),
        (TWO + 'top: "l" top: "t" loss_param { normalization: NONE }', [(3, 4)] * 2),
    ],
    "SmoothL1LossOHEM": [
        ("", [(3, 4)] * 2),
        ('bottom: "a" bottom: "b" bottom: "w"', [(3, 4)] * 3),
        (TWO + 'top: "l" top: "t"', [(3, 4)] * 2),
    ],
    "Softmax": [("", [(2, 3, 4)])],
    "SoftmaxWithLoss": [
        ("", SCORES),
        ("", [(2, 3, 4), (2, 4)]),
        ("loss_param { weight_by_label_freqs: true label_smoothing: 0.2 }", SCORES),
    ],
    "SoftmaxWithLossOHEM": [
        ("", SCORES),
        (TWO + 'loss_weight: 0 top: "l" top: "p" top: "t"', SCORES),
    ],
    "Split": [('top: "a" top: "b"', [(3, 4)])],
    "Swish": [("swish_param { beta: -1.5 }", [(3, 4)])],
    "TanH": [("", [(3, 4)])],
    "Threshold": [("", [(3, 4)])],
    "Tile": [("tile_param { tiles: 3 }", [(2, 3, 4)])],
}
OWN = ("Python",)  # types whose gradient is that of their code
SOURCES = sorted(
    kind
    for kind in portable_kernels()
    if LAYER_TYPES[kind].bottoms == (0, 0) and kind != "Parameter"
)


def checks(kind: str) -> Iterator[GradientCheck]:
    """Check a type of layer with each of its examples."""
    for text, shapes in EXAMPLES[kind]:
        layer = f'type: "{kind}" name: "layer" {text}'
        with warnings.catch_warnings():  # of what other forks compute by the type
            warnings.simplefilter("ignore", SpecWarning)
            result = check_gradients(layer, shapes=shapes, rtol=RTOL.get(kind, 1e-5))
        yield result


def table() -> str:
    """Return the table of all types that do not bring data."""
    return HEAD + "".join(row(kind) for kind in sorted(EXAMPLES)) + "\n"


def row(kind: str) -> str:
    """Return the line of one type."""
    results = list(checks(kind))
    rows = [row for result in results for row in result.rows]
    wrong = [row.name for row in rows if not row.ok]
    if wrong:
        raise ValueError(f"{kind}: the gradient of {', '.join(wrong)} is wrong")
    names = [f"`{one.name}`" for one in rows]
    said = [note for result in results for note in result.notes]
    notes = [re.sub(r"^layer '.*?' \(.*?\):? ", "", note) for note in said]
    kinks = sum(one.kinks for one in rows)
    if kinks:
        notes.append(f"{kinks} elements at a kink")
    error = max((one.error for one in rows), default=None)
    bound = "" if error is None else f"{next(b for b in BOUNDS if error <= b):.0e}"
    arrays, remarks = ", ".join(dict.fromkeys(names)), "; ".join(dict.fromkeys(notes))
    cells = (kind, arrays, bound, remarks)
    return f"| {' | '.join(cells)} |\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    return write_table(PAGE, (BEGIN, END), table, "layers", arguments)


if __name__ == "__main__":
    sys.exit(main())
