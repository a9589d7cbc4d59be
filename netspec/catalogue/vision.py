"""Layers with windows over images, and those with weights for a whole input."""

from __future__ import annotations

from netspec.catalogue.base import LayerType

_KERNEL = {"kernel_size": (("kernel_h", "kernel_w"),)}

VISION = (
    LayerType(
        name="Convolution",
        param="convolution_param",
        bottoms=(1, None),
        tops=(1, None),
        same_count=True,
        required=("num_output", "kernel_size"),
        instead=_KERNEL,
        summary="Slide learned filters over the input.",
        formula="y[n, o] = b[o] + sum_c w[o, c] * x[n, c], * a correlation",
        shapes="x (N, C, H, W) -> y (N, num_output, H', W'), H' = floor((H + 2 pad - "
        "dilation (kernel - 1) - 1) / stride) + 1; weights (num_output, C / group, kh, "
        "kw), bias (num_output,)",
        notes="Weights start at 0 unless `weight_filler` is given. Several inputs of "
        "one shape give as many outputs with the same weights (`ntop`).",
        source="LeCun et al., Gradient-based learning (1998)",
    ),
    LayerType(
        name="DepthwiseConvolution",
        param="convolution_param",
        bottoms=(1, None),
        tops=(1, None),
        same_count=True,
        required=("num_output", "kernel_size", "group"),
        instead=_KERNEL,
        summary="Slide filters of its own over every channel: a Convolution by groups.",
        shapes="x (N, C, H, W) -> y (N, num_output, H', W') as Convolution; weights "
        "(num_output, C / group, kh, kw)",
        notes="Caffe calls it Convolution; the kernels are the same here.",
        source="forks of MobileNet",
    ),
    LayerType(
        name="ConvolutionDepthwise",
        param="convolution_param",
        bottoms=(1, None),
        tops=(1, None),
        same_count=True,
        required=("kernel_size",),
        instead=_KERNEL,
        summary="Slide one filter over every channel.",
        shapes="x (N, C, H, W) -> y (N, C, H', W') as Convolution; weights "
        "(C, 1, kh, kw)",
        notes="num_output and group are C, whether given or not. Caffe calls it "
        "Convolution; the kernels are the same here.",
        source="forks of MobileNet, R-FCN of soeaver",
    ),
    LayerType(
        name="Deconvolution",
        param="convolution_param",
        bottoms=(1, None),
        tops=(1, None),
        same_count=True,
        required=("num_output", "kernel_size"),
        instead=_KERNEL,
        summary="Transpose a convolution: every value adds a scaled window to y.",
        formula="y[n, o] = b[o] + the transpose of a Convolution of x",
        shapes="x (N, C, H, W) -> y (N, num_output, H', W'), H' = stride (H - 1) + "
        "dilation (kernel - 1) + 1 - 2 pad; weights (C, num_output / group, kh, kw)",
        notes="With group = C = num_output and a bilinear filler it enlarges images.",
        source="Long et al., arXiv:1411.4038",
    ),
    LayerType(
        name="Im2col",
        param="convolution_param",
        required=("kernel_size",),
        instead=_KERNEL,
        summary="Write out the windows of a convolution as channels.",
        shapes="x (N, C, H, W) -> y (N, C kh kw, H', W'), sizes as in Convolution",
    ),
    LayerType(
        name="Local",
        param="local_param",
        required=("num_output", "kernel_size"),
        summary="Slide a window with weights of its own at every place.",
        formula="y[n, o, p] = b[o, p] + sum_k w[o, k, p] x[n, window p, k]",
        shapes="x (N, C, H, W) -> y (N, num_output, H', W') as Convolution; weights "
        "(num_output, 1, C k k, H' W'), bias (1, 1, num_output, H' W')",
        source="forks: ducha-aiki, caffe-windows, JULE",
    ),
    LayerType(
        name="Pooling",
        param="pooling_param",
        tops=(1, 2),
        required=("kernel_size",),
        instead={"kernel_size": (("kernel_h", "kernel_w"), ("global_pooling",))},
        summary="Reduce every window to its largest, mean or a random value.",
        formula="y = max, mean or a draw over the window",
        shapes="x (N, C, H, W) -> y (N, C, H', W'), H' = ceil((H + 2 pad - kernel) / "
        "stride) + 1 (floor with round_mode FLOOR, or ceil_mode false), less a last "
        "window that would start in the far padding; a second top of MAX holds the "
        "places of the maxima",
        notes="Sizes are rounded up where Convolution rounds down. AVE counts the "
        "padding in its divisor.",
    ),
    LayerType(
        name="SPP",
        param="spp_param",
        required=("pyramid_height",),
        summary="Pool over grids of 1x1, 2x2, 4x4, ... bins and join the results.",
        shapes="x (N, C, H, W) -> y (N, C (4^pyramid_height - 1) / 3), or (N, C, 1, 1) "
        "for a height of 1",
        source="He et al., arXiv:1406.4729",
    ),
    LayerType(
        name="LRN",
        param="lrn_param",
        summary="Divide each value by the energy of its neighbours.",
        formula="y = x / (k + alpha / n sum x'^2)^beta over local_size channels (n = "
        "local_size), or over a square of pixels (WITHIN_CHANNEL, n = local_size^2)",
        shapes="x (N, C, H, W) -> y (same shape)",
        notes="alpha is divided by the window size, unlike in the paper. "
        "WITHIN_CHANNEL takes k = 1 whatever `k` says.",
        source="Krizhevsky et al., ImageNet classification (2012), section 3.3",
    ),
    LayerType(
        name="Crop",
        param="crop_param",
        bottoms=(2, 2),
        bottom_names=("x", "reference"),
        summary="Cut the input to the size of a reference.",
        shapes="x (N, C, H, W), reference (N, C, H', W') -> y (N, C, H', W') for axis "
        "2",
        notes="Axes before `axis` stay whole. The reference never has a gradient.",
        source="Long et al., arXiv:1411.4038",
    ),
    LayerType(
        name="InnerProduct",
        param="inner_product_param",
        required=("num_output",),
        summary="Connect every input value with every output value.",
        formula="y = x w^T + b",
        shapes="x (N, K...) -> y (N, num_output); weights (num_output, K), with "
        "`transpose` (K, num_output); bias (num_output,)",
        notes="Weights start at 0 unless `weight_filler` is given.",
    ),
    LayerType(
        name="LargeMarginInnerProduct",
        param="largemargin_inner_product_param",
        bottoms=(2, 2),
        bottom_names=("x", "label"),
        tops=(1, 2),
        required=("num_output",),
        summary="Connect every input with every class, the label's angle made larger.",
        formula="y = |x| |w| cos(angle); of the label |x| |w| (lambda cos(angle) + "
        "psi(angle)) / (1 + lambda), psi = (-1)^k cos(m angle) - 2 k",
        shapes="x (N, K...), label (N,) -> y (N, num_output); weights (num_output, K); "
        "a second top (1,) holds lambda = max(base (1 + gamma passes)^-power, "
        "lambda_min)",
        source="fork: large-margin-softmax; Liu et al. (2016)",
    ),
    LayerType(
        name="MarginInnerProduct",
        param="margin_inner_product_param",
        bottoms=(2, 2),
        bottom_names=("x", "label"),
        tops=(1, 2),
        required=("num_output",),
        summary="Measure angles to every class, the label's angle made larger.",
        formula="y = |x| cos(angle); of the label |x| (lambda cos(angle) + "
        "psi(angle)) / (1 + lambda), psi = (-1)^k cos(m angle) - 2 k",
        shapes="x (N, K...), label (N,) -> y (N, num_output); weights (num_output, K); "
        "a second top (1,) holds lambda = max(base (1 + gamma passes)^-power, "
        "lambda_min)",
        source="fork: SphereFace; Liu et al. (2017)",
    ),
    LayerType(
        name="Embed",
        param="embed_param",
        required=("num_output", "input_dim"),
        bottom_names=("index",),
        summary="Look up a learned vector for every index.",
        formula="y = w[index] + b",
        shapes="index (M...) -> y (M..., num_output); weights (input_dim, num_output)",
        notes="Indices have no gradient.",
    ),
)
