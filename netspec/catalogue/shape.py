"""Layers that join, cut, copy or rearrange blobs."""

from __future__ import annotations

from netspec.catalogue.base import LayerType

SHAPE = (
    LayerType(
        name="ArgMax",
        param="argmax_param",
        summary="Find the indices of the largest values.",
        shapes="x (N, ...) -> y (N, 1, top_k), with out_max_val (N, 2, top_k); with "
        "axis, x (..., C, ...) -> y (..., top_k, ...)",
        notes="With `axis`, out_max_val gives values instead of indices. Has no "
        "gradient.",
    ),
    LayerType(
        name="Axpy",
        bottoms=(3, 3),
        bottom_names=("factor", "x", "b"),
        summary="Weigh every channel of every item, and add another blob.",
        formula="y = factor x + b",
        shapes="factor (N, C) or (N, C, 1, 1), x and b (N, C, ...) -> y (same as x)",
        source="fork: SENet",
    ),
    LayerType(
        name="BatchReindex",
        bottoms=(2, 2),
        bottom_names=("x", "index"),
        summary="Select, repeat or reorder the items of a batch.",
        formula="y[m] = x[index[m]]",
        shapes="x (N, ...), index (M,) -> y (M, ...)",
        notes="Indices have no gradient.",
    ),
    LayerType(
        name="Concat",
        param="concat_param",
        bottoms=(1, None),
        bottom_names=("x",),
        summary="Join blobs along an axis.",
        shapes="x_i (N, C_i, H, W) -> y (N, sum of C_i, H, W) for axis 1",
    ),
    LayerType(
        name="Eltwise",
        param="eltwise_param",
        bottoms=(2, None),
        bottom_names=("a", "b"),
        summary="Combine blobs value by value.",
        formula="y = a b ... (PROD), coeff_0 a + coeff_1 b + ... (SUM), max (MAX)",
        shapes="a, b, ... (same shape) -> y (same shape)",
    ),
    LayerType(
        name="Filter",
        bottoms=(2, None),
        bottom_names=("x", "selector"),
        tops=(1, None),
        summary="Keep the items of a batch that the last input selects.",
        shapes="x_i (N, ...), selector (N,) last -> y_i (M, ...), M the number of "
        "non-zero selectors",
        notes="One top for every input but the selector (`ntop`). The batch size "
        "changes at every pass.",
    ),
    LayerType(
        name="Flatten",
        param="flatten_param",
        summary="Make one axis of several.",
        shapes="x (N, C, H, W) -> y (N, C H W)",
        notes="end_axis is inclusive. Shares the memory of its input.",
    ),
    LayerType(
        name="Reduction",
        param="reduction_param",
        summary="Reduce all axes from one on to a number.",
        formula="y = coeff times the sum, sum of |x|, sum of x^2, or mean",
        shapes="x (M..., K...) -> y (M...), K from axis on",
    ),
    LayerType(
        name="Reshape",
        param="reshape_param",
        summary="Give the same values another shape.",
        shapes="x (any shape) -> y (shape); 0 keeps the size of the input's axis, -1 "
        "is what remains",
        notes="Shares the memory of its input.",
    ),
    LayerType(
        name="Silence",
        bottoms=(1, None),
        bottom_names=("x",),
        tops=(0, 0),
        summary="Take blobs that nothing else uses, so that they are no outputs.",
        shapes="x_i (any shape) -> nothing",
    ),
    LayerType(
        name="Slice",
        param="slice_param",
        tops=(1, None),
        summary="Cut a blob into several along an axis.",
        shapes="x (N, C, H, W) -> y_i (N, C_i, H, W) for axis 1, equal parts or cut at "
        "slice_point",
        notes="`ntop` gives the number of parts.",
    ),
    LayerType(
        name="Split",
        tops=(1, None),
        summary="Copy a blob for several users.",
        shapes="x (any shape) -> y_i (same shape)",
        notes="Inserted by itself wherever a blob has several users; the gradients "
        "are added.",
    ),
    LayerType(
        name="Tile",
        param="tile_param",
        required=("tiles",),
        summary="Repeat a blob along an axis.",
        shapes="x (N, C, H, W) -> y (N, tiles C, H, W) for axis 1",
    ),
    LayerType(
        name="Interp",
        param="interp_param",
        bottoms=(1, 2),
        bottom_names=("x", "size"),
        summary="Interpolate images bilinearly, with corners on corners.",
        formula="y[i, j] = x at (i (h - 1) / (H' - 1), j (w - 1) / (W' - 1))",
        shapes="x (N, C, H, W) -> y (N, C, H', W'): `height` and `width`, or "
        "(h - 1) / shrink_factor + 1, or h + (h - 1) (zoom_factor - 1), or one after "
        "the other; h = H + pad_beg + pad_end",
        notes="pad_beg and pad_end are at most 0 and cut rows and columns off. With "
        "`use_blob_size` a second input gives the size.",
        source="forks: DeepLab, PSPNet",
    ),
    LayerType(
        name="Reorg",
        param="reorg_param",
        required=("stride",),
        summary="Move the pixels of squares to channels, or back with `reverse`.",
        shapes="x (N, C, H, W) -> y (N, C stride^2, H / stride, W / stride), or "
        "(N, C / stride^2, H stride, W stride)",
        notes="The order is Darknet's: x is read as if it had C / stride^2 channels.",
        source="forks: YOLO",
    ),
    LayerType(
        name="ShuffleChannel",
        param="shuffle_channel_param",
        summary="Mix groups of channels.",
        formula="channels (group, C / group) become (C / group, group)",
        shapes="x (N, C, ...) -> y (same shape)",
        source="fork: ShuffleNet, arXiv:1707.01083",
    ),
    LayerType(
        name="Upsample",
        param="upsample_param",
        bottoms=(1, 2),
        bottom_names=("x", "mask"),
        summary="Repeat every value, or put it back where a max Pooling took it.",
        formula="y = x, scale by scale times; with a mask y[mask] = x, else 0",
        shapes="x (N, C, H, W) -> y (N, C, H scale, W scale), with a mask less "
        "pad_out_h and pad_out_w, or (N, C, upsample_h, upsample_w)",
        notes="The mask is the second top of a Pooling. scale is 1 by default, 2 with "
        "a mask.",
        source="forks: YOLO, SegNet",
    ),
)
