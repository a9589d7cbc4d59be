"""Nets for the rules of convolutions, pooling, shapes and parts of blobs."""

from tests.readers.value_cases import case, of

CASES = (
    case(
        "convolution-pairs",
        of("Convolution", "num_output: 3 kernel_size: 3", bottom="x w", top="y z"),
        {"opencv": "refused", "mnn": "1.0e+00"},
        x=(2, 4, 5, 6),
        w=(2, 4, 5, 6),
    ),
    case(
        "im2col",
        of("Im2col", "kernel_h: 3 kernel_w: 2 stride: 2 pad: 1"),
        {"opencv": "refused", "mnn": "refused"},
        x=(2, 3, 5, 6),
    ),
    case(
        "im2col",
        of("Im2col", "kernel_size: 2 dilation: 2"),
        {"opencv": "refused", "mnn": "refused"},
        x=(2, 3, 4, 5),
    ),
    case(
        "convolution-axes-mnn",
        of(
            "Convolution",
            "num_output: 4 kernel_size: 3 group: 2 pad: 1",
            top="c",
            name="conv",
        )
        + of("ReLU", "", bottom="c", name="relu"),
        {"mnn": "1.5e+32"},
        x=(2, 6, 7),
    ),
    case(
        "convolution-axes-mnn",
        of(
            "Convolution",
            "num_output: 4 kernel_size: [2, 3, 2] stride: [2, 1, 1] "
            "pad: [1, 0, 1] dilation: [1, 1, 2] group: 2",
        ),
        {"mnn": "shape (2, 4, 3, 3, 0) for (2, 4, 3, 2, 5)"},
        x=(2, 2, 5, 4, 5),
    ),
    case(
        "convolution-axes-mnn",
        of(
            "Deconvolution",
            "num_output: 2 kernel_size: [2, 3, 2] stride: [2, 1, 2] pad: [1, 0, 1]",
        ),
        {"mnn": "shape (2, 2, 5, 2, 0) for (2, 2, 4, 4, 6)"},
        x=(2, 3, 3, 2, 4),
    ),
    case(
        "convolution-axes-opencv",
        of("Convolution", "num_output: 4 kernel_size: 3 axis: 2"),
        {"opencv": "refused"},
        x=(2, 3, 4, 6, 7),
    ),
    case(
        "convolution-axes-opencv",
        of("Convolution", "num_output: 4 axis: -1"),
        {"opencv": "refused"},
        x=(2, 3, 5),
    ),
    case(
        "convolution-axes-opencv",
        of("Deconvolution", "num_output: 4 kernel_size: 3 stride: 2 group: 2"),
        {"opencv": "refused"},
        x=(2, 6, 5),
    ),
    case(
        "convolution-lists",
        of(
            "Convolution",
            "num_output: 4 kernel_size: [3, 2] stride: [1, 2] pad: [0, 1]",
        ),
        {"mnn": "shape (2, 4, 4, 3) for (2, 4, 5, 3)"},
        x=(2, 6, 7, 5),
    ),
    case(
        "convolution-lists",
        of("Deconvolution", "num_output: 4 kernel_size: [3, 2] stride: [1, 2]"),
        {"mnn": "shape (2, 4, 14, 7) for (2, 4, 9, 10)"},
        x=(2, 6, 7, 5),
    ),
    case(
        "convolution-halves",
        of("Convolution", "num_output: 4 kernel_size: 2 pad_h: 1"),
        {"opencv": "shape (2, 4, 6, 4) for (2, 4, 8, 4)"},
        x=(2, 6, 7, 5),
    ),
    case(
        "convolution-short-lists",
        of("Convolution", "num_output: 2 kernel_size: 2 stride: 2"),
        {"opencv": "refused"},
        x=(2, 3, 5, 4, 6),
    ),
    case(
        "convolution-dilations",
        of(
            "Convolution",
            "num_output: 3 kernel_size: 2 dilation: [3, 2] group: 3 pad: 1",
        ),
        {"mnn": "shape (2, 3, 7, 4) for (2, 3, 6, 5)"},
        x=(2, 6, 7, 5),
    ),
    case(
        "deconvolution-dilation",
        of("Deconvolution", "num_output: 3 kernel_size: 2 dilation: 2 stride: 2"),
        {"opencv": "shape (2, 3, 14, 10) for (2, 3, 15, 11)"},
        x=(2, 6, 7, 5),
    ),
    case(
        "deconvolution-point",
        of("Deconvolution", "num_output: 3 kernel_size: 1 pad: 1"),
        {"opencv": "1.2e+00"},
        x=(2, 6, 7, 5),
    ),
    case(
        "deconvolution-pad",
        of("Deconvolution", "num_output: 6 group: 6 kernel_size: 1 stride: 2 pad: 2"),
        {"mnn": "ended its process"},
        x=(2, 6, 7, 5),
    ),
    case(
        "convolution-name",
        of("Convolution", "num_output: 3 kernel_size: 3", name="conv", top="c")
        + of("TanH", "", bottom="c", name="c"),
        {"opencv": "refused"},
        x=(2, 6, 7, 5),
    ),
    case(
        "spp",
        of("SPP", "pyramid_height: 3 pool: AVE"),
        {"opencv": "refused", "mnn": "refused"},
        x=(2, 3, 7, 9),
    ),
    case(
        "spp",
        of("SPP", "pyramid_height: 1"),
        {"opencv": "refused", "mnn": "refused"},
        x=(2, 3, 7, 9),
    ),
    case(
        "pooling-default",
        of("Pooling", "global_pooling: true"),
        {"opencv": "refused"},
        x=(2, 6, 7, 5),
    ),
    case(
        "pooling-round-mode",
        of("Pooling", "kernel_size: 3 stride: 2 round_mode: FLOOR"),
        {},
        x=(2, 6, 7, 5),
    ),
    case(
        "pooling-round-mode-word",
        of("Pooling", "kernel_size: 3 stride: 2 round_mode: FLOOR"),
        {"opencv": "refused"},
        x=(2, 6, 6, 8),
    ),
    case(
        "pooling-ceil-mode",
        of("Pooling", "kernel_size: 3 stride: 2 ceil_mode: true"),
        {"mnn": "refused"},
        x=(2, 6, 6, 8),
    ),
    case(
        "pooling-floor",
        of("Pooling", "kernel_size: 3 stride: 3 pad: 1 pool: AVE round_mode: FLOOR"),
        {"mnn": "shape (2, 3, 4, 4) for (2, 3, 3, 3)"},
        x=(2, 3, 8, 9),
    ),
    case(
        "pooling-floor",
        of("Pooling", "kernel_size: 1 stride: 3 ceil_mode: false"),
        {"mnn": "refused"},
        x=(2, 3, 9, 8),
    ),
    case(
        "pooling-floor-slices",
        of("Pooling", "kernel_size: 2 stride: 2 round_mode: FLOOR"),
        {},
        x=(2, 3, 7, 9),
    ),
    case(
        "pooling-end",
        of("Pooling", "kernel_size: 2 stride: 3 pad: 1"),
        {"mnn": "shape (2, 3, 3, 4) for (2, 3, 2, 3)"},
        x=(2, 3, 5, 7),
    ),
    case(
        "pooling-end",
        of(
            "Pooling",
            "pool: AVE kernel_h: 2 kernel_w: 3 stride_h: 3 stride_w: 2 pad: 1",
        ),
        {"mnn": "shape (2, 3, 3, 5) for (2, 3, 2, 5)"},
        x=(2, 3, 5, 8),
    ),
    case(
        "pooling-kernel",
        of("Pooling", "pool: AVE kernel_size: 4 stride_h: 3 stride_w: 2"),
        {"opencv": "refused"},
        x=(2, 3, 3, 8),
    ),
    case(
        "pooling-mask-read",
        of("Pooling", "kernel_size: 2 stride: 2", top="z m", name="z")
        + of("TanH", "", bottom="m"),
        {"opencv": "refused"},
        x=(2, 3, 4, 6),
    ),
    case(
        "reshape-part",
        of("Reshape", "shape { dim: 1 } axis: 1 num_axes: 0"),
        {"opencv": "refused", "mnn": "refused"},
        x=(2, 6, 7, 5),
    ),
    case(
        "reshape-scalar-opencv",
        of("Reshape", "shape { }"),
        {"opencv": "refused"},
        x=(1, 1, 1),
    ),
    case(
        "reshape-scalar-mnn",
        of("Reshape", "shape { }"),
        {"mnn": "ended its process"},
        x=(1, 1, 1),
    ),
    case(
        "flatten-mnn",
        of("Flatten", "", name="f", top="f") + of("Eltwise", "", bottom="f w"),
        {},
        x=(2, 3, 4, 5),
        w=(2, 60),
    ),
    case(
        "flatten-part",
        of("Flatten", "axis: 2 end_axis: 1"),
        {"opencv": "refused"},
        x=(2, 3, 4, 5),
    ),
    case(
        "split-output",
        of("Split", "", top="y z", name="split")
        + of("TanH", "", bottom="z", top="t", name="t"),
        {"opencv": "refused", "mnn": "refused"},
        x=(2, 6, 7, 5),
    ),
    case(
        "tile",
        of("Tile", "tiles: 3 axis: 2"),
        {"opencv": "refused", "mnn": "refused"},
        x=(2, 3, 4, 5),
    ),
    case(
        "old-axis",
        of("Concat", "concat_dim: 2", bottom="x x"),
        {"opencv": "1.7e+00", "mnn": "1.7e+00"},
        x=(2, 3, 4, 5),
    ),
    case(
        "old-axis",
        of("Slice", "slice_dim: 2 slice_point: 1", top="y z"),
        {
            "opencv": "shape (2, 1, 4, 5) for (2, 3, 1, 5)",
            "mnn": "shape (2, 1, 4, 5) for (2, 3, 1, 5)",
        },
        x=(2, 3, 4, 5),
    ),
    case(
        "negative-axis-of-parts",
        of("Crop", "axis: -1 offset: 1", bottom="x w"),
        {"mnn": "shape (2, 3, 3, 4) for (2, 6, 7, 4)"},
        x=(2, 6, 7, 5),
        w=(2, 3, 3, 4),
    ),
    case(
        "slice-points",
        of("Slice", "axis: 1", top="y z"),
        {"opencv": "refused", "mnn": "ended its process"},
        x=(2, 6, 7, 5),
    ),
    case(
        "slice-one",
        of("Slice", ""),
        {"opencv": "refused", "mnn": "refused"},
        x=(2, 6, 7, 5),
    ),
    case(
        "concat-one",
        of("Concat", "", top="z", name="z") + of("PReLU", "", bottom="z"),
        {"opencv": "9.0e+23"},
        x=(1, 3, 4, 5),
    ),
    case("concat-one", of("Concat", ""), {"mnn": "refused"}, x=(2, 6, 7, 5)),
    case(
        "eltwise-no-coeff",
        of("Eltwise", "operation: MAX coeff: [2, 3]", bottom="x w"),
        {"opencv": "refused", "mnn": "refused"},
        x=(2, 3, 4, 5),
        w=(2, 3, 4, 5),
    ),
    case(
        "eltwise-coeff",
        of("Eltwise", "coeff: [2, -0.5, 1]", bottom="x w x"),
        {"mnn": "refused"},
        x=(2, 3, 4, 5),
        w=(2, 3, 4, 5),
    ),
    case(
        "eltwise-many",
        of("Eltwise", "operation: PROD", bottom="x w x"),
        {},
        x=(2, 3, 4, 5),
        w=(2, 3, 4, 5),
    ),
    case(
        "eltwise-axes",
        of("Eltwise", "operation: PROD", bottom="x w x"),
        {"opencv": "refused"},
        x=(2, 1, 2, 3, 2, 2),
        w=(2, 1, 2, 3, 2, 2),
    ),
    case(
        "eltwise-in-place",
        of("TanH", name="z", top="z")
        + of("Eltwise", name="sum", bottom="z x", top="z")
        + of("Sigmoid", bottom="z"),
        {"mnn": "0.49"},
        x=(2, 5, 3, 4),
    ),
    case(
        "eltwise-before-channels",
        of("Eltwise", "", bottom="x w", top="z", name="z")
        + of("PReLU", "", bottom="z"),
        {"opencv": "2.8e-01"},
        x=(2, 3, 4),
        w=(2, 3, 4),
    ),
    case(
        "parts-of-one-axis",
        of("Slice", "axis: 0 slice_point: 2", top="a b", name="a")
        + of("Crop", "axis: 0 offset: 1", bottom="x a"),
        {"opencv": "refused"},
        x=(5,),
    ),
    case(
        "parts-of-one-axis",
        of("Reshape", "shape { dim: 5 }", top="z", name="z")
        + of("Concat", "axis: 0", bottom="x z x"),
        {"opencv": "refused"},
        x=(5,),
    ),
    case(
        "crop-offset",
        of("Crop", "", bottom="x w"),
        {"mnn": "refused"},
        x=(2, 3, 6, 5),
        w=(1, 2, 4, 3),
    ),
    case(
        "crop-channels",
        of("Crop", "offset: [2, 0]", bottom="x w"),
        {},
        x=(2, 3, 6, 5),
        w=(1, 2, 4, 3),
    ),
    case(
        "reduction",
        of("Reduction", "operation: SUMSQ axis: 2 coeff: 0.5"),
        {"opencv": "refused"},
        x=(2, 3, 4, 5),
    ),
    case(
        "reduction",
        of("Reduction", "operation: ASUM", top="z", name="z")
        + of("Power", "shift: 1", bottom="z"),
        {"opencv": "refused"},
        x=(2, 3, 4),
    ),
    case(
        "reduction-coeff",
        of("Reduction", "operation: MEAN axis: 1 coeff: -2"),
        {"mnn": "1.5e+00"},
        x=(2, 3, 4, 5),
    ),
    case(
        "reduction-many-axes",
        of("Reduction", "operation: ASUM axis: 3"),
        {"mnn": "shape (2, 3, 2, 3) for (2, 3, 2)"},
        x=(2, 3, 2, 5, 3),
    ),
    case(
        "reduction-axis",
        of("Reduction", "axis: -2"),
        {"mnn": "shape (2, 3) for (2,)"},
        x=(2, 3, 4),
    ),
    case(
        "output-in-place",
        of("Convolution", "num_output: 3 kernel_size: 2", top="y", name="conv")
        + of("ReLU", "", bottom="y", name="relu"),
        {},
        x=(2, 6, 7, 5),
    ),
    case(
        "name-of-blob",
        of("TanH", "", name="y", top="z") + of("Sigmoid", "", bottom="z", name="other"),
        {},
        x=(2, 6, 7, 5),
    ),
    case("output-name", of("Power", "scale: 2", name="other"), {}, x=(2, 6, 7, 5)),
    case(
        "argmax-by-layers",
        of("ArgMax", "top_k: 3 out_max_val: true"),
        {"opencv": "refused", "mnn": "shape (4, 2) for (4, 2, 3)"},
        x=(4, 7),
    ),
    case(
        "argmax-by-layers",
        of("Power", "scale: 3", name="z", top="z")
        + of("ArgMax", "axis: -2 top_k: 2", bottom="z"),
        {"opencv": "refused", "mnn": "1.0e+00"},
        x=(2, 5, 4, 3),
    ),
    # All equal: the last one is the largest.
    case(
        "argmax-by-layers",
        of("ArgMax", "axis: 1"),
        {"opencv": "refused", "mnn": "1.0e+00"},
        values={"x": 0.5},
        x=(2, 5, 4, 3),
    ),
)
